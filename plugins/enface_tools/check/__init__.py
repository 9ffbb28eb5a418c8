"""Checks of a recipe before training, with the contribution of each loss term to the objective."""
