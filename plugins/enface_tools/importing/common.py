"""Translations that several programs share: folders, epochs and learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from enface.errors import DataError, EnfaceError
from enface_plugins.image_files import list_images
from enface_plugins.image_headers import read_header
from enface_tools.importing.translation import Translation

ASSUMED_IMAGES = 1000
"""Number of training images if neither the folder nor --images gives it."""
PARENTS = 4
"""Folders above the option file in which a relative path is searched: checkpoints lie below the program's folder."""
SAMPLE = 200
METRICS = ["mae", "psnr", "ssim", "lpips"]


class ImportRefused(EnfaceError):
    """The options describe a training that a recipe cannot express, or are no options of the program."""


def located(folder: str, t: Translation) -> Path | None:
    """Return an existing folder for a path of the option file: as given, or below a folder above the file."""
    given = Path(folder).expanduser()
    above = [t.folder, *t.folder.resolve().parents][: PARENTS + 1]
    candidates = [given, *(parent / given for parent in above)]
    return next((path for path in candidates if path.is_dir()), None)


def count_images(folder: Path) -> int | None:
    """Return the number of images below a folder; None without any."""
    try:
        return len(list_images(folder))
    except DataError:
        return None


def smallest_side(folder: Path) -> int | None:
    """Return the smallest height or width among a sample of a folder's images; None if none can be read."""
    names = list_images(folder) if count_images(folder) else []
    headers = [read_header(folder / name) for name in names[:: max(1, len(names) // SAMPLE)]]
    return min((min(header.size) for header in headers if header is not None), default=None)


def steps_per_epoch(t: Translation, batch: int, limit: float = math.inf) -> tuple[int, str]:
    """Return the steps of an epoch and the reason, as text; the last batch of an epoch may be smaller."""
    count = min(t.images or ASSUMED_IMAGES, limit)
    steps = math.ceil(count / batch)
    if t.images:
        return steps, f"{int(count)} images in batches of {batch} are {steps} steps per epoch"
    return steps, f"the folder was not found, so {int(count)} images are assumed; --images gives the number"


def epoch_schedule(
    t: Translation, option: str, lr: float, policy: str, epochs: tuple[int, int], steps: int, every: int
) -> tuple[Any, str]:
    """Return the learning rate of the CycleGAN family as a number or a schedule, and what differs.

    Args:
        policy: ``linear``, ``step``, ``cosine`` or ``plateau``.
        epochs: Epochs at the initial rate, and of its decay.
        steps: Steps per epoch.
        every: Epochs between two decays of the policy ``step``.
    """
    hold, decay = epochs
    smooth = "the rate changes at every step instead of once per epoch"
    if policy in ("linear", "lambda"):
        if not decay:
            return lr, ""
        line = {"use": "linear", "start": lr, "end": 0.0, "begin": hold * steps, "over": (decay + 1) * steps}
        return line, smooth
    if policy == "step":
        return {"use": "step_decay", "start": lr, "every": every * steps, "factor": 0.1}, ""
    if policy == "cosine":
        after = " and stays at 0 in the remaining epochs, where theirs rises again" if decay else ""
        return {"use": "cosine", "start": lr, "end": 0.0, "over": hold * steps}, smooth + after
    if policy == "plateau":
        plateau = {"use": "plateau", "start": lr, "metric": "mae", "factor": 0.2, "patience": 5, "threshold": 0.01}
        return plateau, "follows mae on the validation images at log.validate; theirs follows no metric"
    t.drop(option, f"there is no such policy; the learning rate stays {lr:g}")
    return lr, ""


def flattened(values: dict[str, Any], separator: str) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested maps, by their joined names."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            for name, leaf in flattened(value, separator):
                yield f"{key}{separator}{name}", leaf
        else:
            yield str(key), value


def crop_and_flip(t: Translation, *, crop: bool, flip: bool) -> dict[str, Any]:
    """Return ``augment`` with one crop and one flip for both images of a pair."""
    both = ["source", "target"]
    changes: dict[str, Any] = {}
    if crop:
        changes["crop"] = {"images": both, "share": both}
    if flip:
        changes["flip"] = {"images": both, "share": both, "mirror": {}}
    return changes
