"""Observers: they watch a run through hooks and never change it."""
