"""Comparison of evaluated runs with a control, image by image.

The Python entry point is :func:`enface_tools.compare.comparison.compare`.
"""
