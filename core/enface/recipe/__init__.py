"""Recipes: models, reading and merging files, checks, differences."""
