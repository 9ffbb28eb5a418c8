"""Metrics over a split, regions, statistics, and results on disk."""
