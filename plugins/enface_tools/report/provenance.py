"""Provenance of a run: its recipe, the changes from the parent recipe, the environment, the commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from enface_tools.report.files import FolderReader
from enface_tools.report.numbers import NONE

REMEDY = "it is not shown"


class GitState(BaseModel):
    """The commit that a run was started from."""

    commit: str | None = None
    changed: bool = False


class RunPack(BaseModel):
    """The run's data.

    Attributes:
        skipped: Why an image was skipped, for each one.
    """

    model_config = ConfigDict(extra="allow")

    skipped: list[str] = []


class Environment(BaseModel):
    """``environment.json``, its keys in the order in which they are listed."""

    model_config = ConfigDict(extra="allow")

    enface: str = ""
    python: str = ""
    platform: str = ""
    packages: dict[str, str | None] = {}
    device: str = ""
    precision: str = ""
    processes: int = 1
    threads: int = 1
    cpus: int | None = None
    seed: int = 0
    pack: RunPack = RunPack()
    git: GitState | None = None

    @property
    def lines(self) -> dict[str, str]:
        """All keys, nested ones dotted, with their values as text."""
        return dict(_flat(self.model_dump(exclude_unset=True)))


class RecipeChange(BaseModel):
    """A key with another value than in the parent recipe."""

    key: str
    before: Any = Field(None, alias="from")
    after: Any = Field(None, alias="to")


class Lineage(BaseModel):
    """``lineage.json``.

    Attributes:
        overrides: Keys set on the command line.
    """

    recipe: str = ""
    parent: str | None = None
    changes: list[RecipeChange] = []
    overrides: list[str] = []

    @property
    def parent_name(self) -> str:
        """File name of the parent recipe; empty without one."""
        return Path(self.parent).name if self.parent else ""


@dataclass(frozen=True)
class Provenance:
    """A run's recipe, environment and lineage; None for missing files."""

    recipe: str
    environment: Environment | None
    lineage: Lineage | None

    @classmethod
    def read(cls, reader: FolderReader) -> Provenance:
        """Read them."""
        return cls(
            reader.text("recipe.yaml"),
            reader.model("environment.json", Environment, REMEDY),
            reader.model("lineage.json", Lineage, REMEDY),
        )

    @property
    def name(self) -> str:
        """The recipe's name; empty if it has none or cannot be read."""
        try:
            recipe = yaml.safe_load(self.recipe)
        except (yaml.YAMLError, RecursionError):
            return ""
        return str(recipe.get("name") or "") if isinstance(recipe, dict) else ""

    @property
    def skipped(self) -> int:
        """Number of images skipped because they could not be read."""
        return len(self.environment.pack.skipped) if self.environment else 0

    def commands(self, run: Path, split: str | None) -> list[str]:
        """The commands that reproduce the run, as far as known.

        Args:
            split: The split of its evaluation; None without one.
        """
        commit = self.environment.git.commit if self.environment and self.environment.git else None
        folder = shlex.quote(run.as_posix())
        commands = [f"git checkout {shlex.quote(commit)}"] if commit else []
        if self.recipe:
            commands.append(f"enface run {folder}/recipe.yaml")
        if self.recipe and split:
            commands.append(f"enface evaluate {folder} --split {split}")
        return commands


def value_text(value: Any) -> str:
    """A recipe's value as text; a dash for None."""
    if value is None:
        return NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict):
            yield from _flat(item, f"{name}.")
        elif isinstance(item, list):
            yield name, shlex.join(map(str, item))
        else:
            yield name, "not installed" if item is None else str(item)
