"""The report: one self-contained page made of what lies in a run's directory."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from PIL import Image

from enface import report_curves, report_numbers
from enface.errors import EnfaceError

SAMPLE = re.compile(r"(\d+)-(\w+)\.png")
OUTPUTS = "outputs"


@dataclass(frozen=True)
class Picture:
    """An image that is part of the page."""

    uri: str
    width: int
    height: int
    alt: str
    caption: str


@dataclass
class Found:
    """What could be read from a run's directory.

    Attributes:
        problems: Files that are there and cannot be read, each a sentence.
    """

    directory: Path
    problems: list[str]

    def text(self, name: str) -> str:
        """A text file, empty when there is none."""
        path = self.directory / name
        try:
            return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        except OSError as error:
            self.problems.append(f"{name} cannot be read ({error.strerror}).")
            return ""

    def mapping(self, name: str) -> dict[str, Any]:
        """A JSON file's map, empty when there is none."""
        text = self.text(name)
        if not text:
            return {}
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            self.problems.append(f"{name} is damaged; it is not shown.")
            return {}
        return found

    def events(self) -> Iterator[dict[str, Any]]:
        """The log's lines; the one a cut-off run was writing is left out."""
        for line in self.text("log.jsonl").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event

    def table(self, name: str) -> pd.DataFrame:
        """A CSV file, empty when there is none."""
        text = self.text(name)
        try:
            return pd.read_csv(io.StringIO(text), dtype={"key": str}) if text else pd.DataFrame()
        except ValueError:
            self.problems.append(f"{name} is damaged; it is not shown.")
            return pd.DataFrame()

    def picture(self, path: Path, alt: str, caption: str = "") -> Picture | None:
        """An image file to put into the page, None when there is none."""
        if not path.is_file():
            return None
        try:
            content = path.read_bytes()
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                image.verify()
                width, height = image.size
        # A damaged PNG makes Pillow raise OSError, SyntaxError or ValueError.
        except Exception:
            self.problems.append(f"{path.relative_to(self.directory)} is not an image that can be read.")
            return None
        uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        return Picture(uri, width, height, alt, caption)


def write_report(directory: Path) -> Path:
    """Write ``report/index.html``, a page that needs no network, server or script.

    What a run has not made yet (an evaluation, samples, a log) is said to be missing.

    Returns:
        The page's path.

    Raises:
        EnfaceError: when ``directory`` does not exist, or the page cannot be written.
    """
    if not directory.is_dir():
        raise EnfaceError(f"run directory {directory} does not exist")
    page = _template().render(_contents(Found(directory.resolve(), [])))
    path = directory / "report" / "index.html"
    beside = path.with_suffix(".html.new")
    try:
        path.parent.mkdir(exist_ok=True)
        beside.write_text(page, encoding="utf-8", errors="replace")
        os.replace(beside, path)
    except OSError as error:
        raise EnfaceError(f"cannot write {path} ({error.strerror})") from error
    return path


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("enface"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _contents(found: Found) -> dict[str, Any]:
    recipe = found.text("recipe.yaml")
    summary = found.mapping("evaluation/summary.json")
    environment = found.mapping("environment.json")
    log = report_curves.read_log(found.events())
    numbers = report_numbers.key_numbers(summary)
    grid = found.directory / "evaluation" / "grid.png"
    return {
        "name": _recipe_name(recipe) or found.directory.name,
        "run": found.directory.name,
        "summary": summary,
        "numbers": numbers,
        "verdict": report_numbers.verdict(numbers),
        "baselines": report_numbers.baseline_names(summary),
        "labels": report_numbers.BASELINES,
        "unavailable": _mapping(summary.get("unavailable")),
        "grid": found.picture(grid, "Rows of test faces: the source image, the network's output, the target."),
        "ladder": _ladder(found, numbers),
        "poses": _poses(summary),
        "spread": report_numbers.spread(
            found.table("evaluation/images.csv"), {item.name: item.sense for item in numbers}
        ),
        "cards": {name: _mapping(item.get("card")) for name, item in _items(summary.get("metrics"))},
        "stages": log.stages,
        "last_step": log.last_step,
        "plots": report_curves.training_plots(log),
        "samples": _samples(found),
        "skipped": _skipped(environment),
        "recipe": recipe,
        "environment": dict(_flat(environment)),
        "problems": found.problems,
    }


def _recipe_name(text: str) -> str:
    try:
        plain = yaml.safe_load(text)
    except yaml.YAMLError:
        return ""
    return str(plain.get("name", "")) if isinstance(plain, dict) else ""


def _ladder(found: Found, numbers: Sequence[report_numbers.KeyNumber]) -> list[dict[str, Any]]:
    """What every stage bought, when a run had several and they were measured."""
    if not (found.directory / "evaluation" / "stages.json").is_file():
        return []
    stages = found.mapping("evaluation/stages.json")
    table = report_numbers.stage_table(stages, {item.name: item.sense for item in numbers})
    folder = found.directory / "evaluation" / "stages"
    return [
        {
            "name": name,
            "step": step,
            "after": after,
            "cells": cells,
            "picture": found.picture(
                folder / f"{name}.png", f"Sources, outputs and targets of test faces after stage {name}."
            ),
        }
        for name, step, after, cells in table
    ]


def _poses(summary: Mapping[str, Any]) -> list[tuple[report_numbers.PoseTable, Any]]:
    tables = report_numbers.pose_tables(summary)
    return [
        (table, report_curves.pose_plot(table.curves, f"pose-{index}") if table.curves else "")
        for index, table in enumerate(tables)
    ]


def _samples(found: Found) -> list[Picture]:
    """The outputs first, midway and last, then what does not change (inputs, targets) once."""
    kinds: dict[str, dict[int, Path]] = {}
    for path in sorted((found.directory / "samples").glob("*.png")):
        name = SAMPLE.fullmatch(path.name)
        if name:
            kinds.setdefault(name[2], {})[int(name[1])] = path
    chosen = []
    for kind in sorted(kinds, key=lambda kind: (kind != OUTPUTS, kind)):
        steps = sorted(kinds[kind])
        wanted = {0, len(steps) // 2, len(steps) - 1} if kind == OUTPUTS else {len(steps) - 1}
        for place in sorted(wanted):
            step = steps[place]
            caption = f"{kind.capitalize()} at step {step:,}" if kind == OUTPUTS else kind.capitalize()
            alt = f"Grid of the fixed test faces: {kind} at step {step}."
            chosen.append(found.picture(kinds[kind][step], alt, caption))
    return [picture for picture in chosen if picture is not None]


def _skipped(environment: Mapping[str, Any]) -> int:
    skipped = _mapping(environment.get("pack")).get("skipped", 0)
    return len(skipped) if isinstance(skipped, list) else skipped if isinstance(skipped, int) else 0


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict):
            yield from _flat(item, f"{name}.")
        elif isinstance(item, list):
            yield name, shlex.join(map(str, item))
        else:
            yield name, "not installed" if item is None else str(item)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[tuple[str, Mapping[str, Any]]]:
    return [(str(name), _mapping(item)) for name, item in _mapping(value).items()]
