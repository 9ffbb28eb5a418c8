"""Base classes of components, hooks, the plugin manager, and the catalog."""
