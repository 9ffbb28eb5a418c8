"""Training of a recipe: terms, phases, steps, checkpoints, and the run directory."""
