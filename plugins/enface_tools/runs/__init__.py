"""The table of runs, and the names by which commands find a run."""
