"""Outputs of a trained network for image files, and its export."""
