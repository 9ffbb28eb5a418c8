"""The folder of packs and pretrained weights."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return ``$ENFACE_CACHE``, or the user's cache folder of this system."""
    chosen = os.environ.get("ENFACE_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("enface")
