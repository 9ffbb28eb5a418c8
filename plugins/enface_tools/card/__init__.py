"""Model cards, and sharing a trained network on the Hugging Face hub."""
