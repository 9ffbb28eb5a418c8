"""Files, locks, signals, processes, the cache folder, and messages for the user."""
