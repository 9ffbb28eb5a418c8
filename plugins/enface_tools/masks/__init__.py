"""Masks computed from data, and masks drawn by hand."""
