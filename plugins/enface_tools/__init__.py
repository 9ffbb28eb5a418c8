"""Tools: plugins that bring commands."""
