"""Evaluations compared with a control, image by image: who is paired with whom, what differs, what that says."""
