"""Datasets."""
COMPONENTS = ()
