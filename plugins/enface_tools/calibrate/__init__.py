"""False verdicts of a recipe against itself."""
