"""Writes a first recipe for a folder of image pairs."""
