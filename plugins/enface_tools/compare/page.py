"""The page of a comparison: verdicts, differences with their intervals, and the same faces side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from enface.errors import EnfaceError
from enface.plugin.direction import Direction
from enface_tools.compare.gallery import compared_gallery
from enface_tools.report.files import Beside, Found, mapping, writable
from enface_tools.report.numbers import NONE, decimals, get, number, shown, signed
from enface_tools.report.pictures import Sheet, sheet
from enface_tools.report.provenance import Change, changes
from enface_tools.report.render import rendered
from enface_tools.report.tables import count

SIGNS = {"better": "good", "worse": "bad", "unclear": "even"}
DOWNLOADS = ("comparison.json", "table.csv", "by.csv")


@dataclass(frozen=True)
class Difference:
    """One test of a group against the control, as text.

    Attributes:
        outcome: ``good``, ``bad``, ``even`` or ``none``.
        strip: Where 0 and the gain's ``low``, ``mean`` and ``high`` lie on one axis, in percent, the better side
            on the right.
    """

    name: str
    direction: Direction
    images: str
    identities: str
    control: str
    group: str
    difference: str
    interval: str
    gain: float
    p: str
    effect: str
    d_z: str
    seeds: str
    outcome: str
    strip: Mapping[str, float]


@dataclass(frozen=True)
class Group:
    """Runs that were taken together."""

    name: str
    runs: list[tuple[str, str, str]]
    changes: list[Change]
    spread: list[tuple[str, str, str]]
    left_out: list[tuple[str, str]]


def write_comparison(dir: Path) -> Path:
    """Write ``index.html`` into a folder that ``enface compare`` filled; it needs no network and no server.

    Args:
        dir: Holds ``comparison.json`` and the tables; pictures are copied into its ``assets``.

    Returns:
        The page's path.

    Raises:
        EnfaceError: when there is no ``comparison.json``, it is damaged, or the page cannot be written.
    """
    found = Found(dir.resolve())
    comparison = found.mapping("comparison.json")
    if not mapping_list(comparison, "groups"):
        raise EnfaceError(f"{dir / 'comparison.json'} is missing or damaged; make it with enface compare")
    beside = Beside(writable(dir))
    try:
        contents, data = _contents(found, beside, comparison)
        path = beside.page(rendered("compare.html", contents, data))
        beside.tidy("assets")
    except OSError as error:
        raise EnfaceError(f"cannot write {dir} ({error.strerror or error})") from error
    return path


def mapping_list(owner: Any, key: str) -> list[Mapping[str, Any]]:
    """What a map holds under a key, where that is a list: those of its items that are maps."""
    found = get(owner, key)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _contents(found: Found, beside: Beside, comparison: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    groups = mapping_list(comparison, "groups")
    directions = {str(name): _direction(item) for name, item in mapping(comparison, "tests").items()}
    pairs = [pair for pair in mapping_list(comparison, "comparisons") if _group_of(pair, groups) is not None]
    sheets = [_sheet(found, beside, group, place) for place, group in enumerate(groups)]
    names = [str(group.get("name")) for group in groups]
    tables = [(place, found.table(f"images-{place}.csv")) for place in (_group_of(pair, groups) for pair in pairs)]
    shown_images = compared_gallery(names, [(place or 0, table) for place, table in tables], list(directions), sheets)
    contents = {
        "title": f"{' and '.join(names[1:]) or names[0]} against {names[0]}",
        "control": names[0],
        "groups": [_group(group, list(directions), found) for group in groups],
        "pairs": [_pair(pair, names[_group_of(pair, groups) or 0], directions) for pair in pairs],
        "cautions": _sentences(comparison.get("cautions"))
        + [
            f"{names[place]}: {text}"
            for place, group in enumerate(groups)
            for text in _sentences(group.get("cautions"))
        ],
        "confidence": f"{number(comparison.get('confidence')):.0%}".replace("nan%", "The"),
        "resamples": count(comparison.get("resamples")),
        "sets": {str(name): _direction(item) for name, item in mapping(comparison, "sets").items()},
        "gallery": shown_images,
        "pictures": [name for name, one in zip(names, sheets, strict=True) if one is not None],
        "cards": {str(name): mapping(item, "card") for name, item in _cards(comparison)},
        "downloads": [name for name in _files(found, pairs) if (found.directory / name).is_file()],
        "problems": found.problems,
        "plotly": "",
        "parts": [
            ("verdicts", "Verdicts"),
            ("images", "Images"),
            *([("by", "Inside groups of images")] if any(pair.get("by") for pair in pairs) else []),
            ("changes", "What changed"),
            ("made", "Runs and files"),
        ],
    }
    return contents, {"gallery": shown_images}


def _pair(pair: Mapping[str, Any], name: str, directions: Mapping[str, Direction]) -> dict[str, Any]:
    images, seeds = mapping(pair, "images"), mapping(pair, "seeds")
    return {
        "name": name,
        "verdicts": [
            (SIGNS.get(str(item.get("outcome")), "none"), str(item.get("text")))
            for item in mapping_list(pair, "verdicts")
        ],
        "differences": _differences(mapping(pair, "results"), directions),
        "images": {key: count(images.get(key)) for key in ("common", "control_only", "group_only")},
        "identities": count(pair.get("identities")),
        "seeds": {str(key): _listed(value) for key, value in seeds.items() if value},
        "sets": [
            (str(key), [_number(get(item, part)) for part in ("control", "group", "difference")])
            for key, item in mapping(pair, "sets").items()
        ],
        "by": _by(pair, directions),
        "left_out": [(str(item.get("test")), str(item.get("reason"))) for item in mapping_list(pair, "left_out")],
        "cautions": _sentences(pair.get("cautions")),
    }


def _differences(results: Mapping[str, Any], directions: Mapping[str, Direction]) -> list[Difference]:
    return [_difference(str(name), item, directions.get(str(name), Direction(True))) for name, item in results.items()]


def _difference(name: str, item: Any, direction: Direction, scale: float = math.nan) -> Difference:
    """A test's result; ``scale`` is the reach of its axis, its own unless given."""
    control, group = number(get(item, "control_mean")), number(get(item, "group_mean"))
    mean, low, high = (number(mapping(item, "difference").get(key)) for key in ("mean", "low", "high"))
    gains = {key: number(mapping(item, "gain").get(key)) for key in ("low", "mean", "high")}
    places = decimals([control, group, mean, low, high])
    interval = "" if math.isnan(low) else f"[{signed(low, places)}, {signed(high, places)}]"
    p = number(get(item, "p_adjusted"))
    by_seed = mapping(item, "by_seed")
    return Difference(
        name=name,
        direction=direction,
        images=count(get(item, "images")),
        identities=count(get(item, "identities")),
        control=shown(control, places),
        group=shown(group, places),
        difference=signed(mean, places) + (" (of distances)" if get(item, "compared") == "distance" else ""),
        interval=interval,
        gain=gains["mean"],
        p=NONE if math.isnan(p) else ("< 0.001" if p < 0.001 else f"{p:.3f}"),
        effect=_number(get(item, "rank_biserial"), 2),
        d_z=_number(get(item, "d_z"), 2),
        seeds=", ".join(f"{seed}: {signed(number(value), places)}" for seed, value in by_seed.items())
        if len(by_seed) > 1
        else "",
        outcome=SIGNS.get(str(get(item, "outcome")), "none"),
        strip=_strip(gains, scale),
    )


def _strip(gains: Mapping[str, float], scale: float) -> dict[str, float]:
    known = {name: value for name, value in gains.items() if math.isfinite(value)}
    reach = scale if math.isfinite(scale) else max((abs(value) for value in known.values()), default=0.0)
    reach = reach or 1.0
    return {name: round(50 + 46 * max(min(value / reach, 1.0), -1.0), 2) for name, value in known.items()}


def _by(
    pair: Mapping[str, Any], directions: Mapping[str, Direction]
) -> dict[str, list[tuple[str, list[tuple[str, Difference]]]]]:
    """For each column a list of (test, lines of (value, difference)); the lines of a test share one axis."""
    columns: dict[str, dict[str, list[tuple[str, Any]]]] = {}
    for item in mapping_list(pair, "by"):
        tests = columns.setdefault(str(item.get("column")), {})
        for name, result in mapping(item, "results").items():
            about = {"images": item.get("images"), "identities": item.get("identities"), **result}
            tests.setdefault(str(name), []).append((str(item.get("value")), about))
    return {
        column: [(name, _lines(name, lines, directions.get(name, Direction(True)))) for name, lines in tests.items()]
        for column, tests in columns.items()
    }


def _lines(name: str, lines: Sequence[tuple[str, Any]], direction: Direction) -> list[tuple[str, Difference]]:
    ends = [abs(number(mapping(item, "gain").get(key))) for _, item in lines for key in ("low", "mean", "high")]
    reach = max((end for end in ends if math.isfinite(end)), default=math.nan)
    return [(value, _difference(name, item, direction, reach)) for value, item in lines]


def _group(group: Mapping[str, Any], tests: Sequence[str], found: Found) -> Group:
    means = mapping(group, "means")
    return Group(
        str(group.get("name")),
        [_run(run, found) for run in mapping_list(group, "runs")],
        changes(group.get("changes")),
        [
            _over_seeds(name, mapping(means, name))
            for name in tests
            if len(mapping(mapping(means, name), "by_seed")) > 1
        ],
        [(str(item.get("directory")), str(item.get("reason"))) for item in mapping_list(group, "left_out")],
    )


def _over_seeds(name: str, item: Mapping[str, Any]) -> tuple[str, str, str]:
    seeds = {str(seed): number(value) for seed, value in mapping(item, "by_seed").items()}
    deviation = number(item.get("seed_sd"))
    places = decimals([*seeds.values(), deviation])
    return name, ", ".join(f"{seed}: {shown(value, places)}" for seed, value in seeds.items()), shown(deviation, places)


def _run(run: Mapping[str, Any], found: Found) -> tuple[str, str, str]:
    """Its directory, what is known of it, and a link to its report where that is there."""
    about = [f"seed {run['seed']}"] if run.get("seed") is not None else []
    about += [f"step {count(run.get('step'))}"] if run.get("step") is not None else []
    report = str(run.get("report") or "")
    link = quote(report) if report.endswith(".html") and (found.directory / report).is_file() else ""
    return str(run.get("directory")), ", ".join(about), link


def _sheet(found: Found, beside: Beside, group: Mapping[str, Any], place: int) -> Sheet | None:
    """The pictures of a group's first run: these are what the rows in ``images-N.csv`` count."""
    runs = mapping_list(group, "runs")
    if not runs or not runs[0].get("pictures"):
        return None
    folder = found.directory / str(runs[0].get("evaluation"))
    return sheet(Found(folder, found.problems), beside, "", f"group-{place}")


def _group_of(pair: Mapping[str, Any], groups: Sequence[Any]) -> int | None:
    place = pair.get("group")
    return place if isinstance(place, int) and 0 < place < len(groups) else None


def _direction(item: Any) -> Direction:
    ideal = number(get(item, "ideal"))
    return Direction(get(item, "higher_is_better") is not False, None if math.isnan(ideal) else ideal)


def _cards(comparison: Mapping[str, Any]) -> list[tuple[str, Any]]:
    tests = {str(get(item, "metric") or name): item for name, item in mapping(comparison, "tests").items()}
    return [*tests.items(), *mapping(comparison, "sets").items()]


def _files(found: Found, pairs: Sequence[Any]) -> list[str]:
    return [*DOWNLOADS, *(f"images-{place}.csv" for place in range(1, len(pairs) + 1))]


def _number(value: Any, places: int | None = None) -> str:
    found = number(value)
    return shown(found, decimals([found]) if places is None else places)


def _sentences(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
