"""A local page that shows a trained network's output for a photograph."""
