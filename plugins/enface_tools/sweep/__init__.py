"""Running every variant of a recipe with every seed."""
