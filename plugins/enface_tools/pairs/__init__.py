"""Measure images of another system against their targets, file by file."""
