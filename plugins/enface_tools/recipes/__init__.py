"""The recipes that come with enface."""
