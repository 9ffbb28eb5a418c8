"""The tables of ``photos.py table``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from enface_tools.evaluate.results import parse_table
from enface_tools.evaluate.splits import evaluation_folder
from enface_tools.evaluate.statistics import mean_estimate
from photo_parts import METRICS, WHOLE, Part

YAWS: Mapping[str, Sequence[int] | None] = {"all": None, "45": (-45, 45), "90": (-90, 90)}
"""Yaws of each group of sources; None for every view but the target itself."""
SHARES = {"ssim": 1, "lpips": -1}
"""Metrics of the shares, with the sign that makes more better."""
OUTPUT, MEAN_FACE, SOURCE = "images.csv", "mean_target.csv", "source.csv"


def result_table(runs: Mapping[Part, Path]) -> str:
    """Return means over validation people, by yaw, with the baselines of both kinds of crops, as Markdown."""
    groups = [f"{metric} {yaw}" for metric in METRICS for yaw in YAWS]
    lines = [f"| {' | '.join(['recipe', *groups])} |", f"|{'---|' * (len(groups) + 1)}"]
    for part, run in runs.items():
        lines.append(_row(part.what, run, OUTPUT))
    for aligned in (True, False):
        run = next((run for part, run in runs.items() if part.aligned is aligned), None)
        if run is not None:
            kind = "aligned" if aligned else "not aligned"
            lines += [_row(f"mean face, {kind}", run, MEAN_FACE), _row(f"source, {kind}", run, SOURCE)]
    return "\n".join(lines)


def share_table(runs: Mapping[Part, Path]) -> str:
    """Return the loss without each part, with 95 % intervals over people, as Markdown.

    Each recipe is measured by its gain over the mean face of its own photographs, because those that are not aligned
    are other images. All recipes saw the same photographs, so differences are paired by image.
    """
    head = [f"{metric} {yaw}" for metric in SHARES for yaw in YAWS]
    lines = [f"| {' | '.join(['loss of gain', *head])} |", f"|{'---|' * (len(head) + 1)}"]
    for part, run in runs.items():
        if part != WHOLE:
            cells = [_share(runs[WHOLE], run, metric, yaw) for metric in SHARES for yaw in YAWS]
            lines.append(f"| {' | '.join([part.what, *cells])} |")
    return "\n".join(lines)


def gains(run: Path, metric: str) -> pd.DataFrame:
    """Return ``identity``, ``pose`` and ``gain`` over the mean face, by the source's key; more gain is better."""
    output, mean_face = (_table(run, name) for name in (OUTPUT, MEAN_FACE))
    gain = SHARES[metric] * (output[metric] - mean_face[metric])
    return output[["identity", "pose"]].assign(gain=gain)


def _share(whole: Path, without: Path, metric: str, yaw: str) -> str:
    all_parts, fewer = gains(whole, metric), gains(without, metric)
    if not all_parts.index.equals(fewer.index):
        raise SystemExit(f"{whole} and {without} were measured on other images; use the same photographs")
    chosen = _of_yaw(all_parts, yaw).index
    difference = (all_parts["gain"] - fewer["gain"])[chosen]
    estimate = mean_estimate(difference.to_numpy(), all_parts.loc[chosen, "identity"].to_numpy())
    low, high = estimate.interval()
    return f"{estimate.mean:+.3f}" if math.isnan(low) else f"{estimate.mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def _row(label: str, run: Path, name: str) -> str:
    return f"| {' | '.join([label, *_means(_table(run, name))])} |"


def _means(table: pd.DataFrame) -> Iterator[str]:
    for metric in METRICS:
        for yaw in YAWS:
            yield f"{_of_yaw(table, yaw)[metric].mean():.3f}"


def _of_yaw(table: pd.DataFrame, yaw: str) -> pd.DataFrame:
    yaws = YAWS[yaw]
    return table if yaws is None else table[table["pose"].isin(yaws)]


def _table(run: Path, name: str) -> pd.DataFrame:
    return parse_table(evaluation_folder(run, "val") / name).set_index("key").sort_index()
