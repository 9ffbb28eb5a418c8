"""Pretrained weights: listing and fetching."""
