"""Observers: plugins that watch a run through hooks and never change it."""
