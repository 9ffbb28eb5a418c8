"""The page of a comparison: verdicts, differences with their intervals, and the same faces side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from enface.errors import EnfaceError
from enface_tools.compare.gallery import compared_gallery
from enface_tools.compare.models import (
    COMPARISON,
    ComparisonFile,
    GroupComparisonEntry,
    GroupEntry,
    GroupMeanEntry,
    ResultEntry,
    RunEntry,
    read_comparison,
)
from enface_tools.compare.opening import curves, side_by_side
from enface_tools.evaluate.direction import Direction
from enface_tools.evaluate.precision import places
from enface_tools.evaluate.statistics import Outcome
from enface_tools.report.files import FolderReader, PageWriter, make_folder
from enface_tools.report.numbers import NONE, count, number, shown, signed
from enface_tools.report.pictures import SpriteSheet, sprite_sheet
from enface_tools.report.provenance import value_text
from enface_tools.report.render import rendered

DOWNLOADS = (COMPARISON, "table.csv", "by.csv")
# Half the width of a gain's axis in percent; the rest is margin.
HALF_AXIS = 46


@dataclass(frozen=True)
class DifferenceRow:
    """A quantity of a group compared with the control, as text.

    Attributes:
        control_sd, group_sd: Standard deviation of the runs' means; empty for one run.
        strip: Positions of the gain's ``low``, ``mean`` and ``high`` on an axis, in percent; 0 is in the middle and
            the better side on the right. Undefined numbers are missing.
    """

    name: str
    direction: Direction
    images: str
    identities: str
    control: str
    group: str
    difference: str
    interval: str
    p: str
    effect: str
    d_z: str
    control_sd: str
    group_sd: str
    detectable: str
    outcome: Outcome
    strip: Mapping[str, float]


@dataclass(frozen=True)
class ComparisonSection:
    """A group compared with the control.

    Attributes:
        sets: (set metric, [control, group, difference]).
        subsets: For each label, (quantity, [(value of the label, difference)]).
    """

    name: str
    entry: GroupComparisonEntry
    differences: list[DifferenceRow]
    sets: list[tuple[str, list[str]]]
    subsets: dict[str, list[tuple[str, list[tuple[str, DifferenceRow]]]]]


@dataclass(frozen=True)
class GroupSection:
    """A group on its own.

    Attributes:
        runs: (directory, seed and step, link to the report or empty).
        changes: (recipe key, value of the control, value of the group).
        spread: (quantity, mean by seed, standard deviation).
    """

    entry: GroupEntry
    runs: list[tuple[str, str, str]]
    changes: list[tuple[str, str, str]]
    spread: list[tuple[str, str, str]]


def write_comparison(folder: Path) -> Path:
    """Write ``index.html`` into a folder that ``enface compare`` filled. The page needs no network and no server.

    Args:
        folder: Holds ``comparison.json`` and the tables; pictures are copied into its ``assets``.

    Returns:
        Path of the page.

    Raises:
        EnfaceError: if ``comparison.json`` is missing or damaged, or the page cannot be written.
    """
    comparison = read_comparison(folder)
    reader, writer = FolderReader(folder.resolve()), PageWriter(make_folder(folder))
    try:
        contents, data = _contents(reader, writer, comparison)
        path = writer.page(rendered("compare.html", contents, data, package="enface_tools.compare"))
        writer.remove_stale("assets")
    except OSError as error:
        raise EnfaceError(f"cannot write {folder} ({error.strerror or error})") from error
    return path


def _contents(
    reader: FolderReader, writer: PageWriter, comparison: ComparisonFile
) -> tuple[dict[str, Any], dict[str, Any]]:
    groups, comparisons = comparison.groups, comparison.comparisons
    names = [group.name for group in groups]
    directions = {name: item.preference for name, item in comparison.tests.items()}
    sheets = [_sheet(reader, writer, group, place) for place, group in enumerate(groups)]
    tables = [(item.group, reader.table(_images_file(item))) for item in comparisons]
    gallery = compared_gallery(names, tables, list(directions), _decimals(comparisons), sheets)
    plots, last_step = curves(groups, reader.directory, reader.problems)
    shown = side_by_side(gallery)
    drawn = {plot.id: asdict(plot) for items in plots.values() for plot in items}
    own_caveats = [f"{group.name}: {text}" for group in groups for text in group.caveats]
    files = [*DOWNLOADS, *map(_images_file, comparisons)]
    contents = {
        "title": f"{' and '.join(names[1:]) or names[0]} against {names[0]}",
        "control": names[0],
        "groups": [_group(group, list(directions), reader) for group in groups],
        "comparisons": [_section(item, names[item.group], directions) for item in comparisons],
        "caveats": [*comparison.caveats, *own_caveats],
        "confidence": f"{comparison.confidence:.0%}",
        "power": f"{comparison.power:.0%}",
        "sets": {name: item.preference for name, item in comparison.sets.items()},
        "gallery": gallery,
        "pictures": any(one is not None for one in sheets),
        "reductions": sorted({one.reduction for one in sheets if one is not None and one.reduction}),
        "cards": {
            **{item.metric: item.card for item in comparison.tests.values()},
            **{name: item.card for name, item in comparison.sets.items()},
        },
        "downloads": [name for name in files if (reader.directory / name).is_file()],
        "problems": reader.problems,
        "plotly": writer.plotly() if plots else "",
        "shown": shown,
        "plots": plots,
        "last_step": last_step,
        "parts": [
            *([("pictures", "Side by side")] if shown else []),
            *([("curves", "Curves")] if plots else []),
            ("verdicts", "Verdicts"),
            ("images", "Images"),
            *([("by", "Subsets of images")] if any(item.by for item in comparisons) else []),
            ("changes", "Recipe changes"),
            ("files", "Runs and files"),
        ],
    }
    return contents, {"gallery": gallery, "plots": drawn}


def _decimals(comparisons: Sequence[GroupComparisonEntry]) -> dict[tuple[int, str], int]:
    """Decimals of each group's difference in a quantity."""
    return {
        (item.group, name): places(result.difference.mean, result.difference.low, result.difference.high)
        for item in comparisons
        for name, result in item.results.items()
    }


def _images_file(item: GroupComparisonEntry) -> str:
    return f"images-{item.group}.csv"


def _section(item: GroupComparisonEntry, name: str, directions: Mapping[str, Direction]) -> ComparisonSection:
    return ComparisonSection(
        name,
        item,
        [_difference(test, result, directions[test]) for test, result in item.results.items()],
        [
            (metric, [_number(value) for value in (result.control, result.group, result.difference)])
            for metric, result in item.sets.items()
        ],
        _subsets(item, directions),
    )


def _difference(name: str, item: ResultEntry, direction: Direction, reach: float | None = None) -> DifferenceRow:
    """A row; ``reach`` is the gain at the end of its axis, by default its own largest."""
    control, group = number(item.control_mean), number(item.group_mean)
    mean, low, high = (number(value) for value in (item.difference.mean, item.difference.low, item.difference.high))
    # Decimals of the difference, so that a small one is not rounded away.
    digits = places(mean, low, high)
    p = number(item.p_adjusted)
    return DifferenceRow(
        name=name,
        direction=direction,
        images=count(item.images),
        identities=count(item.identities),
        control=shown(control, digits),
        group=shown(group, digits),
        difference=signed(mean, digits) + (" (of distances)" if item.compared == "distance" else ""),
        interval="" if math.isnan(low) else f"[{signed(low, digits)}, {signed(high, digits)}]",
        p=NONE if math.isnan(p) else ("< 0.001" if p < 0.001 else f"{p:.3f}"),
        effect=_number(item.rank_biserial, 2),
        d_z=_number(item.d_z, 2),
        control_sd="" if item.control_seed_sd is None else f"{item.control_seed_sd:.2g}",
        group_sd="" if item.group_seed_sd is None else f"{item.group_seed_sd:.2g}",
        detectable=shown(number(item.detectable), digits),
        outcome=item.outcome,
        strip=_strip(item, _reach([item]) if reach is None else reach),
    )


def _strip(item: ResultEntry, reach: float) -> dict[str, float]:
    gains = {"low": item.gain.low, "mean": item.gain.mean, "high": item.gain.high}
    return {
        name: round(50 + HALF_AXIS * max(min(value / (reach or 1.0), 1.0), -1.0), 2)
        for name, value in gains.items()
        if value is not None
    }


def _reach(items: Sequence[ResultEntry]) -> float:
    """The largest absolute gain, ends of intervals included."""
    ends = [end for item in items for end in (item.gain.low, item.gain.mean, item.gain.high)]
    return max((abs(end) for end in ends if end is not None), default=0.0)


def _subsets(
    item: GroupComparisonEntry, directions: Mapping[str, Direction]
) -> dict[str, list[tuple[str, list[tuple[str, DifferenceRow]]]]]:
    """For each label, (quantity, rows of (value, difference)); the rows of a quantity share one axis."""
    columns: dict[str, dict[str, list[tuple[str, ResultEntry]]]] = {}
    for subset in item.by:
        tests = columns.setdefault(subset.column, {})
        for name, result in subset.results.items():
            tests.setdefault(name, []).append((subset.value, result))
    return {
        column: [(name, _subset_rows(name, results, directions[name])) for name, results in tests.items()]
        for column, tests in columns.items()
    }


def _subset_rows(
    name: str, results: Sequence[tuple[str, ResultEntry]], direction: Direction
) -> list[tuple[str, DifferenceRow]]:
    reach = _reach([result for _, result in results])
    return [(value, _difference(name, result, direction, reach)) for value, result in results]


def _group(group: GroupEntry, tests: Sequence[str], reader: FolderReader) -> GroupSection:
    return GroupSection(
        group,
        [_run(run, reader) for run in group.runs],
        [(change.key, value_text(change.before), value_text(change.after)) for change in group.changes],
        [
            _over_seeds(name, group.means[name])
            for name in tests
            if name in group.means and len(group.means[name].by_seed) > 1
        ],
    )


def _over_seeds(name: str, item: GroupMeanEntry) -> tuple[str, str, str]:
    means = {seed: number(value) for seed, value in item.by_seed.items()}
    deviation = number(item.seed_sd)
    mean, half = number(item.mean), deviation
    decimals = places(mean, mean - half, mean + half)
    return name, ", ".join(f"{seed}: {shown(one, decimals)}" for seed, one in means.items()), shown(deviation, decimals)


def _run(run: RunEntry, reader: FolderReader) -> tuple[str, str, str]:
    """Directory, seed and step, and a link to the report if it exists."""
    about = [f"seed {run.seed}"] if run.seed is not None else []
    about += [f"step {count(run.step)}"] if run.step is not None else []
    report = run.report or ""
    link = quote(report) if report.endswith(".html") and (reader.directory / report).is_file() else ""
    return run.directory, ", ".join(about), link


def _sheet(reader: FolderReader, writer: PageWriter, group: GroupEntry, place: int) -> SpriteSheet | None:
    """The pictures of a group's first run, to which the row numbers in ``images-N.csv`` refer."""
    if not group.runs or not group.runs[0].pictures:
        return None
    folder = reader.directory / group.runs[0].evaluation
    return sprite_sheet(FolderReader(folder, reader.problems), writer, "", f"group-{place}")


def _number(value: float | None, decimals: int | None = None) -> str:
    plain = number(value)
    return shown(plain, places(value) if decimals is None else decimals)
