"""A comparison as files: ``comparison.json`` and its tables."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from enface.errors import DataError
from enface_tools.compare.comparison import Against, Comparison, SetValues, changes_of
from enface_tools.compare.groups import Group, Member
from enface_tools.compare.means import GroupMean, Spread, set_spread
from enface_tools.compare.outcomes import ALPHA, RESAMPLES, Outcome, resamples
from enface_tools.compare.values import keys
from enface_tools.evaluate.results import PICTURES
from enface_tools.evaluate.statistics import CONFIDENCE

FORMAT = 1
COMPARISON = "comparison.json"
EFFECTS = ("rank_biserial", "d_z")


def write_files(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """Write a comparison into a folder, in place of an earlier one there.

    Returns:
        What ``comparison.json`` holds.

    Raises:
        DataError: when the folder holds something else, or cannot be written.
    """
    contents = dump(comparison, folder)
    try:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / COMPARISON).is_file():
            raise DataError(f"{folder} holds other files; choose another folder with --out")
        folder.mkdir(parents=True, exist_ok=True)
        for path in [folder / COMPARISON, folder / "by.csv", *folder.glob("images-*.csv")]:
            path.unlink(missing_ok=True)
        _table(comparison).to_csv(folder / "table.csv", index=False)
        if comparison.by:
            _by_table(comparison).to_csv(folder / "by.csv", index=False)
        for number, one in enumerate(comparison.against, 1):
            _images(comparison.control, one).to_csv(folder / f"images-{number}.csv", index=False)
        text = json.dumps(contents, indent=1, allow_nan=False)
        (folder / COMPARISON).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error.strerror})") from error
    return contents


def dump(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """A comparison as plain data without NaN; ``folder`` is what its paths are relative to."""
    whole = {
        "format": FORMAT,
        "confidence": CONFIDENCE,
        "alpha": ALPHA,
        "resamples": RESAMPLES,
        "groups": [
            _group(group, means, comparison, folder)
            for group, means in zip(comparison.groups, comparison.means, strict=True)
        ],
        "tests": {name: item.about() for name, item in comparison.quantities.items()},
        "sets": {name: item.about() for name, item in comparison.sets.items()},
        "by_columns": comparison.by,
        "comparisons": [_against(number, one, comparison) for number, one in enumerate(comparison.against, 1)],
        "cautions": comparison.cautions,
    }
    return dict(_plain(whole))


def _group(group: Group, means: Mapping[str, GroupMean], comparison: Comparison, folder: Path) -> dict[str, Any]:
    control = group is comparison.control
    said = [str(text) for member in group.members for text in member.results.summary.get("cautions") or []]
    return {
        "name": group.name,
        "kind": group.kind,
        "runs": [_run(member, folder) for member in group.members],
        "seeds": list(group.by_seed),
        "left_out": [{"directory": _relative(path, folder), "reason": reason} for path, reason in group.left_out],
        "changes": [] if control else changes_of(comparison.control, group),
        "means": {name: _mean(item) for name, item in means.items()},
        "sets": {name: _spread(set_spread(group, name)) for name in comparison.sets},
        "cautions": list(dict.fromkeys(said)),
    }


def _run(member: Member, folder: Path) -> dict[str, Any]:
    results, report = member.results, member.directory / "report" / "index.html"
    keys_ = ("split", "step", "checkpoint", "images", "identities")
    return {
        "directory": _relative(member.directory, folder),
        "evaluation": _relative(results.folder, folder),
        "seed": member.seed,
        **{key: results.summary.get(key) for key in keys_},
        "pictures": (results.folder / PICTURES).is_file(),
        "report": _relative(report, folder) if report.is_file() else None,
    }


def _mean(item: GroupMean) -> dict[str, Any]:
    seeds = _spread(item.seeds)
    return {**asdict(item.over), "images": item.images, "by_seed": seeds["by_seed"], "seed_sd": seeds["seed_sd"]}


def _spread(item: Spread) -> dict[str, Any]:
    return {"mean": item.mean, "by_seed": dict(item.by_seed), "seed_sd": item.sd}


def _against(number: int, one: Against, comparison: Comparison) -> dict[str, Any]:
    ours, theirs, pairing = comparison.control.by_seed, one.group.by_seed, one.pairing
    people = int(pairing.about["identity"].nunique())
    return {
        "group": number,
        "seeds": {
            "matched": pairing.matched,
            "control_only": [seed for seed in ours if seed not in theirs],
            "group_only": [seed for seed in theirs if seed not in ours],
        },
        "images": {
            "common": len(pairing.about),
            **{f"{side}_only": count for side, count in pairing.only.items()},
            "examples": {f"{side}_only": found for side, found in pairing.examples.items()},
        },
        "identities": people,
        "resamples": resamples(people),
        "images_file": f"images-{number}.csv",
        "results": {outcome.quantity.name: _result(outcome) for outcome in one.outcomes},
        "sets": {item.quantity.name: _set(item) for item in one.sets},
        "by": [
            {
                **{"column": value.column, "value": value.value},
                **{"images": value.images, "identities": value.identities},
                "results": {outcome.quantity.name: _result(outcome, effects=False) for outcome in value.outcomes},
            }
            for value in one.by
        ],
        "verdicts": [
            {"test": outcome.quantity.name, "outcome": outcome.verdict, "text": text} for outcome, text in one.verdicts
        ],
        "left_out": [{"test": name, "reason": reason} for name, reason in one.shared.left_out],
        "cautions": one.cautions,
    }


def _result(outcome: Outcome, *, effects: bool = True) -> dict[str, Any]:
    return {
        **{"images": outcome.images, "missing": outcome.missing, "identities": outcome.identities},
        **{"control_mean": outcome.control, "group_mean": outcome.group},
        "compared": "value" if outcome.quantity.direction.ideal is None else "distance",
        **{"difference": asdict(outcome.difference), "gain": asdict(outcome.gain)},
        "by_seed": {str(seed): value for seed, value in outcome.by_seed.items()},
        **{"p": outcome.p, "p_adjusted": outcome.p_adjusted},
        **{name: getattr(outcome, name) if effects else None for name in EFFECTS},
        "outcome": outcome.verdict,
    }


def _set(item: SetValues) -> dict[str, Any]:
    return {"control": item.control, "group": item.group, "difference": item.difference, "gain": item.gain}


def _table(comparison: Comparison) -> pd.DataFrame:
    lines = [{"group": one.group.name, **_line(outcome)} for one in comparison.against for outcome in one.outcomes]
    return pd.DataFrame(lines)


def _by_table(comparison: Comparison) -> pd.DataFrame:
    lines = [
        {"group": one.group.name, "column": value.column, "value": value.value, **_line(outcome)}
        for one in comparison.against
        for value in one.by
        for outcome in value.outcomes
    ]
    return pd.DataFrame(lines).drop(columns=list(EFFECTS), errors="ignore")


def _line(outcome: Outcome) -> dict[str, Any]:
    difference, gain = outcome.difference, outcome.gain
    return {
        **{"test": outcome.quantity.name, "images": outcome.images, "missing": outcome.missing},
        **{"identities": outcome.identities, "control_mean": outcome.control, "group_mean": outcome.group},
        **{"difference": difference.mean, "low": difference.low, "high": difference.high},
        **{"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high},
        **{"p": outcome.p, "p_adjusted": outcome.p_adjusted},
        **{name: getattr(outcome, name) for name in EFFECTS},
        "outcome": outcome.verdict,
    }


def _images(control: Group, one: Against) -> pd.DataFrame:
    """A line an image that both have."""
    pairing = one.pairing
    columns: dict[str, Any] = {"seeds": pairing.seeds}
    for side, group in (("control", control), ("group", one.group)):
        columns[f"{side}_row"] = _rows(group.members[0], pairing.about, pairing.image)
    for item in one.shared.quantities:
        difference = pairing.difference[item.name]
        columns[f"{item.name}.control"] = pairing.control[item.name]
        columns[f"{item.name}.group"] = pairing.group[item.name]
        columns[f"{item.name}.difference"] = difference
        columns[f"{item.name}.gain"] = difference * item.sign
    return pd.concat([pairing.about, pd.DataFrame(columns)], axis=1)


def _rows(member: Member, about: pd.DataFrame, image: Sequence[str]) -> pd.Series[Any]:
    """Where each image stands in a run's ``images.csv``; empty where it does not."""
    frame = keys(member).to_frame(index=False)
    frame["row"] = np.arange(len(frame))
    places = frame.drop_duplicates(list(image)).set_index(list(image))["row"]
    return places.reindex(about.set_index(list(image)).index).reset_index(drop=True).astype("Int64")


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:
        # On another drive.
        return path.as_posix()


def _plain(value: Any) -> Any:
    """Data as JSON can hold it: None where there is no number."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)
