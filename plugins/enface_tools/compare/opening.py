"""The opening of a comparison page: the same people side by side, and the curves of all runs over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from enface_tools.compare.models import GroupEntry
from enface_tools.report.curves import Log, Plot, overlaid_plots, read_log
from enface_tools.report.files import FolderReader
from enface_tools.report.rows import Part, PictureRows

PEOPLE = 6
STRIDE = 7
"""Coprime to most counts of poses and lights, so that neighbours differ in both."""


def side_by_side(gallery: Mapping[str, Any] | None) -> PictureRows | None:
    """Source, the output of each group and target of one image of each of six people.

    Args:
        gallery: Data of the gallery, with rows of each group's sheet.

    Returns:
        None without pictures.
    """
    if gallery is None or not gallery["tiles"]:
        return None
    by_person: dict[str, list[int]] = {}
    for item, key in enumerate(gallery["keys"]):
        if all(rows[item] is not None for rows in gallery["rows"]):
            by_person.setdefault(gallery["identities"][item] if gallery["identities"] else key, []).append(item)
    people = list(by_person.values())[:PEOPLE]
    chosen = [items[number * STRIDE % len(items)] for number, items in enumerate(people)]
    rows = [[_part(gallery, tile, item) for tile in gallery["tiles"]] for item in chosen]
    return PictureRows([tile["name"] for tile in gallery["tiles"]], rows) if rows else None


def _part(gallery: Mapping[str, Any], tile: Mapping[str, Any], item: int) -> Part | None:
    sheet, place = gallery["sheets"][tile["sheet"]], gallery["rows"][tile["sheet"]][item]
    number, row = divmod(place, sheet["rows"])
    files = sheet["files"][tile["tile"]]
    if number >= len(files) or not files[number]:
        return None
    lines = min(sheet["rows"], sheet["images"] - number * sheet["rows"])
    alt = f"{tile['name']} of {gallery['keys'][item]}"
    return Part(files[number], 1, lines, 0, 100 * row / max(lines - 1, 1), 1, alt)


def curves(groups: Sequence[GroupEntry], folder: Path, problems: list[str]) -> tuple[dict[str, list[Plot]], int]:
    """Validation metrics and losses of all runs, and their last step.

    Args:
        folder: Of the comparison, to which the runs' directories are relative.
        problems: A sentence is added for each log that cannot be read.
    """
    logs: list[tuple[str, int, Log]] = []
    for place, group in enumerate(groups):
        for run in group.runs:
            log = read_log(FolderReader(folder / run.directory, problems).text("log.jsonl"))
            seed = f", seed {run.seed}" if len(group.runs) > 1 and run.seed is not None else ""
            logs.append((f"{group.name}{seed}", place, log))
    return overlaid_plots(logs), max((log.last_step for _, _, log in logs), default=0)
