"""Templates of components and plugins."""
