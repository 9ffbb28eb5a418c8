"""Sweeps: run every variant of a recipe with every seed."""
