"""A comparison as files: ``comparison.json`` and its tables."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from enface.errors import DataError
from enface_tools.compare.changes import KeyChange
from enface_tools.compare.comparison import Comparison, GroupComparison, SetMetricResult, changes_of
from enface_tools.compare.groups import Group, Member
from enface_tools.compare.means import GroupMean, SeedSpread, set_spread
from enface_tools.compare.models import (
    COMPARISON,
    FORMAT,
    ChangeEntry,
    ClaimEntry,
    ComparisonFile,
    GroupComparisonEntry,
    GroupEntry,
    GroupMeanEntry,
    GroupSetEntry,
    ImageExamplesEntry,
    ImagesEntry,
    QuantityEntry,
    ResultEntry,
    RunEntry,
    SeedsEntry,
    SetResultEntry,
    SkippedQuantityEntry,
    SkippedRunEntry,
    SubsetEntry,
    VerdictEntry,
    number,
)
from enface_tools.compare.outcomes import ALPHA, POWER, MeanInterval, QuantityResult
from enface_tools.compare.quantities import Quantity
from enface_tools.compare.values import image_keys
from enface_tools.evaluate.models import Estimate
from enface_tools.evaluate.results import PICTURES
from enface_tools.evaluate.statistics import CONFIDENCE
from enface_tools.report.files import plain


def write_files(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """Write a comparison into a folder, in place of an earlier one.

    Returns:
        The content of ``comparison.json``.

    Raises:
        DataError: if the folder holds other files, or cannot be written.
    """
    content = comparison_file(comparison, folder).dump()
    try:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / COMPARISON).is_file():
            raise DataError(f"{folder} holds other files; choose another folder with --out")
        folder.mkdir(parents=True, exist_ok=True)
        for path in [folder / COMPARISON, folder / "by.csv", *folder.glob("images-*.csv")]:
            path.unlink(missing_ok=True)
        comparison.table().to_csv(folder / "table.csv", index=False)
        if comparison.by:
            comparison.subset_table().to_csv(folder / "by.csv", index=False)
        for index, item in enumerate(comparison.comparisons, 1):
            _image_table(comparison.control, item).to_csv(folder / f"images-{index}.csv", index=False)
        text = json.dumps(content, indent=1, allow_nan=False)
        (folder / COMPARISON).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error.strerror}); choose another folder with --out") from error
    return content


def comparison_file(comparison: Comparison, folder: Path) -> ComparisonFile:
    """Return the content of ``comparison.json``, with paths relative to ``folder``."""
    return ComparisonFile(
        format=FORMAT,
        confidence=CONFIDENCE,
        alpha=ALPHA,
        power=POWER,
        groups=[
            _group(group, means, comparison, folder)
            for group, means in zip(comparison.groups, comparison.means, strict=True)
        ],
        tests={name: _quantity(item) for name, item in comparison.quantities.items()},
        sets={name: _quantity(item) for name, item in comparison.sets.items()},
        by_columns=comparison.by,
        comparisons=[
            _group_comparison(index, item, comparison) for index, item in enumerate(comparison.comparisons, 1)
        ],
        caveats=comparison.caveats,
    )


def _quantity(item: Quantity) -> QuantityEntry:
    return QuantityEntry(
        metric=item.metric,
        region=item.region or None,
        higher_is_better=item.direction.higher,
        ideal=item.direction.ideal,
        direction=item.direction.words,
        card=dict(item.card),
    )


def _group(group: Group, means: Mapping[str, GroupMean], comparison: Comparison, folder: Path) -> GroupEntry:
    changes = [] if group is comparison.control else changes_of(comparison.control, group)
    return GroupEntry(
        name=group.name,
        kind=group.kind,
        runs=[_run(member, folder) for member in group.members],
        seeds=list(group.by_seed),
        left_out=[SkippedRunEntry(directory=_relative(path, folder), reason=reason) for path, reason in group.skipped],
        changes=[_change(change) for change in changes],
        means={name: _group_mean(item) for name, item in means.items()},
        sets={name: _group_set(set_spread(group, name)) for name in comparison.sets},
        caveats=group.caveats,
    )


def _change(change: KeyChange) -> ChangeEntry:
    values = {"from": plain(change.before), "to": plain(change.after)}
    return ChangeEntry.model_validate({"key": change.key, **values, "training": change.training})


def _run(member: Member, folder: Path) -> RunEntry:
    summary, report = member.results.summary, member.directory / "report" / "index.html"
    return RunEntry(
        directory=_relative(member.directory, folder),
        evaluation=_relative(member.results.folder, folder),
        seed=member.seed,
        split=summary.split,
        step=summary.step,
        checkpoint=summary.checkpoint,
        images=summary.images,
        identities=summary.identities,
        pictures=(member.results.folder / PICTURES).is_file(),
        report=_relative(report, folder) if report.is_file() else None,
    )


def _group_mean(item: GroupMean) -> GroupMeanEntry:
    interval = item.interval
    return GroupMeanEntry(
        mean=number(interval.mean),
        low=number(interval.low),
        high=number(interval.high),
        images=item.images,
        by_seed=_by_seed(item.seeds.by_seed),
        seed_sd=number(item.seeds.sd),
    )


def _group_set(item: SeedSpread) -> GroupSetEntry:
    return GroupSetEntry(mean=number(item.mean), by_seed=_by_seed(item.by_seed), seed_sd=number(item.sd))


def _by_seed(numbers: Mapping[int, float]) -> dict[str, float | None]:
    return {str(seed): number(value) for seed, value in numbers.items()}


def _group_comparison(index: int, item: GroupComparison, comparison: Comparison) -> GroupComparisonEntry:
    pairing = item.pairing
    return GroupComparisonEntry(
        group=index,
        design=pairing.design,
        about=item.about,
        seeds=SeedsEntry(control=pairing.control_seeds, group=pairing.group_seeds),
        images=ImagesEntry(
            common=len(pairing.about),
            control_only=pairing.only["control"],
            group_only=pairing.only["group"],
            examples=ImageExamplesEntry(control_only=pairing.examples["control"], group_only=pairing.examples["group"]),
        ),
        identities=pairing.identities,
        images_file=f"images-{index}.csv",
        results={result.quantity.name: _result(result) for result in item.results},
        sets={result.quantity.name: _set_result(result) for result in item.sets},
        by=[
            SubsetEntry(
                column=subset.column,
                value=subset.value,
                images=subset.images,
                identities=subset.identities,
                results={result.quantity.name: _result(result, effects=False) for result in subset.results},
            )
            for subset in item.subsets
        ],
        verdicts=[
            VerdictEntry(test=result.quantity.name, outcome=result.outcome, text=text) for result, text in item.verdicts
        ],
        claim=None if item.claim is None else ClaimEntry(**{**asdict(item.claim), "p": number(item.claim.p)}),
        left_out=[SkippedQuantityEntry(test=name, reason=reason) for name, reason in item.shared.skipped],
        caveats=item.caveats,
    )


def _result(result: QuantityResult, *, effects: bool = True) -> ResultEntry:
    return ResultEntry(
        images=result.images,
        missing=result.missing,
        identities=result.identities,
        control_mean=number(result.control),
        group_mean=number(result.group),
        compared="value" if result.quantity.direction.ideal is None else "distance",
        difference=_estimate(result.difference),
        gain=_estimate(result.gain),
        control_seed_sd=number(result.seed_sd[0]),
        group_seed_sd=number(result.seed_sd[1]),
        p=number(result.p),
        p_adjusted=number(result.p_adjusted),
        detectable=number(result.detectable),
        margin=result.margin,
        p_equivalent=number(result.p_equivalent),
        rank_biserial=number(result.rank_biserial) if effects else None,
        d_z=number(result.d_z) if effects else None,
        outcome=result.outcome,
    )


def _estimate(interval: MeanInterval) -> Estimate:
    return Estimate(mean=number(interval.mean), low=number(interval.low), high=number(interval.high))


def _set_result(item: SetMetricResult) -> SetResultEntry:
    return SetResultEntry(
        control=number(item.control),
        group=number(item.group),
        difference=number(item.difference),
        gain=number(item.gain),
    )


def _image_table(control: Group, item: GroupComparison) -> pd.DataFrame:
    """One row per image that both groups have."""
    pairing = item.pairing
    columns: dict[str, Any] = {"seeds": pairing.seeds}
    for side, group in (("control", control), ("group", item.group)):
        columns[f"{side}_row"] = _row_numbers(group.members[0], pairing.about, pairing.image)
    for quantity in item.shared.quantities:
        difference = pairing.difference[quantity.name]
        columns[f"{quantity.name}.control"] = pairing.control[quantity.name]
        columns[f"{quantity.name}.group"] = pairing.group[quantity.name]
        columns[f"{quantity.name}.difference"] = difference
        columns[f"{quantity.name}.gain"] = difference * quantity.sign
    return pd.concat([pairing.about, pd.DataFrame(columns)], axis=1)


def _row_numbers(member: Member, about: pd.DataFrame, image: Sequence[str]) -> pd.Series[Any]:
    """The row of each image in a run's ``images.csv``; empty if it has none."""
    frame = image_keys(member).to_frame(index=False)
    frame["row"] = np.arange(len(frame))
    rows = frame.drop_duplicates(list(image)).set_index(list(image))["row"]
    return rows.reindex(about.set_index(list(image)).index).reset_index(drop=True).astype("Int64")


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:
        # On another drive.
        return path.as_posix()
