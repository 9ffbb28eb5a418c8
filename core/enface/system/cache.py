"""The folder of packs and pretrained weights, and the switch that forbids to download into it."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return ``$ENFACE_CACHE``, or the user's cache folder of this system."""
    chosen = os.environ.get("ENFACE_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("enface")


def is_offline() -> bool:
    """Return True if the environment variable ``ENFACE_OFFLINE`` is set, but not to 0; nothing is downloaded then."""
    return os.environ.get("ENFACE_OFFLINE", "0") not in ("", "0")
