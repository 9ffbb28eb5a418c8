"""Images that a metric treats otherwise than the rest, or without a region, because no face was detected in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from enface.data.images import natural_key
from enface_tools.evaluate.caveats import some_names
from enface_tools.evaluate.features import Flags
from enface_tools.evaluate.metrics import Metric
from enface_tools.evaluate.results import Scores, label_columns

POSE = "pose"
SOURCE = "source"
OUTPUTS, TARGETS = 0, 1


def fallback_caveats(
    about: pd.DataFrame, scores: Scores, baselines: Mapping[str, Scores], metrics: Mapping[str, Metric]
) -> list[str]:
    """A sentence for metrics that needed their fallback, with the number of outputs, targets and sources, by pose.

    Metrics that share a sentence, because they share a network, are named together.

    Args:
        about: One row per image, with its labels.
    """
    poses = about[POSE] if POSE in label_columns(about) else None
    named: dict[str, list[str]] = {}
    for name, flags in scores.fallbacks.items():
        images = {"outputs": flags[:, OUTPUTS], "targets": flags[:, TARGETS]}
        if SOURCE in baselines and name in baselines[SOURCE].fallbacks:
            images["sources"] = baselines[SOURCE].fallbacks[name][:, OUTPUTS]
        if any(flags.any() for flags in images.values()):
            reason, effect = metrics[name].fallback_words
            # A target's pose is not that of its row, which describes the source.
            counts = [_count(role, flags, None if role == "targets" else poses) for role, flags in images.items()]
            named.setdefault(f"{reason} in {_listed(counts)}; {effect}.", []).append(name)
    return [f"{_listed(names)}: {sentence}" for sentence, names in named.items()]


def undetected_caveats(about: pd.DataFrame, scores: Scores) -> list[str]:
    """A sentence for regions that were not found in some targets, with the number of images and the people.

    Regions that share a sentence, because they share a detector, are named together.

    Args:
        about: One row per image, with its identity.
    """
    named: dict[str, list[str]] = {}
    for region, flags in scores.undetected.items():
        if flags.any():
            people = sorted(set(about["identity"].to_numpy()[flags].astype(str)), key=natural_key)
            sentence = (
                f"not detected in the targets of {int(flags.sum())} of {len(flags)} images, of {len(people)} people "
                f"({some_names(people)}); these images have no number there."
            )
            named.setdefault(sentence, []).append(region)
    return [f"Region{'s' if len(names) > 1 else ''} {_listed(names)}: {sentence}" for sentence, names in named.items()]


def _count(role: str, flags: Flags, poses: pd.Series[Any] | None) -> str:
    text = f"{int(flags.sum())} of {len(flags)} {role}"
    if poses is None or not flags.any():
        return text
    affected = sorted(poses[flags].dropna().unique(), key=natural_key)
    parts = [f"{pose}: {int((flags & (poses == pose)).sum())} of {int((poses == pose).sum())}" for pose in affected]
    return f"{text} (pose {', '.join(parts)})"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
