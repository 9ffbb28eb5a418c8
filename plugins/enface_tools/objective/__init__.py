"""Contributions of the loss terms to the objective, measured before training."""
