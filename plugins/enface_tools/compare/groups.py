"""The evaluations to compare: read from disk, grouped by recipe, and named."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from enface.errors import DataError
from enface.recipe.files import is_run, runs_in
from enface_tools.compare.changes import fingerprint, recipe_changes
from enface_tools.evaluate.openings import Opening, about_openings, read_openings
from enface_tools.evaluate.results import SUMMARY, Results
from enface_tools.evaluate.splits import Split, evaluation_folder, no_people, without_validation

SkippedRuns = list[tuple[Path, str]]
"""Run directories, each with the reason why it is not used."""


@dataclass(frozen=True)
class Member:
    """One evaluation: of a run, or of images that another system made.

    Attributes:
        directory: The run directory; without a run, the folder of the evaluation.
        recipe: The resolved recipe of the run; None without a run.
    """

    directory: Path
    results: Results
    recipe: dict[str, Any] | None

    @property
    def seed(self) -> int | None:
        """The recipe's seed; None without a run."""
        return None if self.recipe is None else int(self.recipe.get("seed", 0))

    @property
    def checkpoint(self) -> str:
        """Name of the evaluated checkpoint; empty for the run's own evaluation."""
        folder = self.results.folder
        return folder.name if self.recipe is not None and folder.parent.name == "checkpoints" else ""

    @cached_property
    def origins(self) -> frozenset[str]:
        """The run, and the weights that it started from: runs that share one are a pair."""
        return frozenset({str(self.directory), *_loaded_weights(self.directory / "log.jsonl")})

    @property
    def group_key(self) -> Hashable:
        """A value that is equal for all members of a group."""
        return str(self.results.folder) if self.recipe is None else (fingerprint(self.recipe), self.checkpoint)


@dataclass
class Group:
    """Evaluations of one recipe, one per seed.

    Attributes:
        skipped: Run directories that are not used, with reasons.
        notes: Caveats about how its evaluations differ from those of the control.
    """

    members: list[Member]
    name: str = ""
    skipped: SkippedRuns = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def kind(self) -> Literal["run", "pairs"]:
        """``pairs`` for images that another system made."""
        return "pairs" if self.members[0].recipe is None else "run"

    @property
    def by_seed(self) -> dict[int, Member]:
        """Runs by seed, in ascending order."""
        seeds = {member.seed: member for member in self.members if member.seed is not None}
        return dict(sorted(seeds.items()))

    @property
    def caveats(self) -> list[str]:
        """Notes, then the caveats of the members' own evaluations."""
        own = [text for member in self.members for text in member.results.summary.caveats]
        return list(dict.fromkeys([*self.notes, *own]))


@dataclass
class _PathContents:
    """The evaluations at one path."""

    members: list[Member]
    skipped: SkippedRuns


def find_groups(
    paths: Sequence[Path], control: Path | None = None, *, split: Split = "val", each: bool = False
) -> list[Group]:
    """Read evaluations and group them by recipe, one member per seed. The control is the first group.

    Args:
        paths: Run directories, folders of runs, results of ``enface pairs``.
        control: Path of the control; default: the first of ``paths``.
        split: The split whose evaluations of runs are read.
        each: Make every run a group of its own.

    Raises:
        DataError: if a path is none of these or has no evaluation of the split, the control is more than one group, or
            no other group is left.
    """
    ordered = _require_paths([*([] if control is None else [control]), *paths])
    contents = [_read_path(path, split) for path in ordered]
    groups = _grouped(contents, each)
    _require_one_control(ordered[0], contents[0], each)
    if len(groups) < 2:
        raise DataError(_nothing_to_compare(groups[0]))
    if split == "test":
        groups[0].notes += _openings(groups)
    for group in groups[1:]:
        group.notes += _unlike_self_pairs(groups[0], group)
    return groups


def read_groups(paths: Sequence[Path], *, split: Split = "val", each: bool = False) -> list[Group]:
    """Read evaluations and group them by recipe, in order, as :func:`find_groups` does."""
    return _grouped([_read_path(path, split) for path in _require_paths(paths)], each)


def _require_paths(paths: Sequence[Path]) -> Sequence[Path]:
    if not paths:
        raise DataError("there is nothing to compare; name the control and at least one other run")
    return paths


def _grouped(contents: Sequence[_PathContents], each: bool) -> list[Group]:
    """Group evaluations by recipe, in order, and name the groups."""

    def key(member: Member) -> Hashable:
        return str(member.results.folder) if each else member.group_key

    by_key: dict[Hashable, Group] = {}
    for item in contents:
        for member in item.members:
            _add(by_key.setdefault(key(member), Group([])), member)
        # Skipped runs of a folder are listed with its first group.
        first = by_key[key(item.members[0])]
        first.skipped += [run for run in item.skipped if run not in first.skipped]
    groups = list(by_key.values())
    for group in groups:
        group.members.sort(key=lambda member: member.seed or 0)
    _name(groups)
    return groups


def _read_path(path: Path, split: Split) -> _PathContents:
    if not path.is_dir():
        raise DataError(f"{path} is not a folder; name a run directory, a folder of runs, or results of enface pairs")
    if is_run(path) or (path / SUMMARY).is_file():
        return _PathContents([_read(path, split)], [])
    runs = runs_in(path)
    if not runs:
        raise DataError(
            f"{path} is neither a run directory (recipe.yaml) nor a folder of runs (runs/NAME) nor results of "
            "enface pairs (summary.json)"
        )
    evaluated = [run for run in runs if (evaluation_folder(run, split) / SUMMARY).is_file()]
    if not evaluated:
        raise DataError(f"no run in {path} can be compared: {_not_evaluated(runs[-1], split)}")
    skipped = [(run, f"it has no evaluation of the {split} split") for run in runs if run not in evaluated]
    return _PathContents([_read(run, split) for run in evaluated], skipped)


def _read(path: Path, split: Split) -> Member:
    path = path.resolve()
    if is_run(path) and not (evaluation_folder(path, split) / SUMMARY).is_file():
        raise DataError(_not_evaluated(path, split))
    results = Results.read(path, split)
    measured = results.summary.split
    if results.summary.kind == "run" and measured != split:
        raise DataError(f"{path} holds an evaluation of the {measured} split; compare it with --split {measured}")
    # RUN, RUN/evaluation, RUN/evaluation/val, or checkpoints/NAME in either.
    for folder in (path, *path.parents[:4]):
        if is_run(folder) and results.summary.kind == "run":
            return Member(folder, results, _recipe(folder / "recipe.yaml"))
    return Member(path, results, None)


def _loaded_weights(log: Path) -> Iterator[str]:
    """The digests of the weights that a run loaded from elsewhere."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        if '"weights_loaded"' in line:
            with suppress(ValueError, TypeError, KeyError):
                yield str(json.loads(line)["digest"])


def _recipe(path: Path) -> dict[str, Any]:
    try:
        recipe = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        int(recipe.get("seed", 0))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise DataError(f"{path} is damaged and cannot be read as a recipe; restore the file") from error
    return recipe


def _add(group: Group, member: Member) -> None:
    """Add an evaluation to its group; of several runs with one seed keep the newest."""
    if any(other.results.folder == member.results.folder for other in group.members):
        return
    same_seed = [other for other in group.members if other.seed == member.seed]
    for other in same_seed:
        # A run directory is named after its start time.
        old, new = sorted((other, member), key=lambda run: run.directory.name)
        group.skipped.append((old.directory, f"its recipe and seed are those of {new.directory}, which is newer"))
        if new is member:
            group.members[group.members.index(other)] = member
    if not same_seed:
        group.members.append(member)


def _require_one_control(path: Path, contents: _PathContents, each: bool) -> None:
    recipes = {member.group_key: member for member in contents.members}
    if each and len(contents.members) > 1:
        raise DataError(f"{path} holds {len(contents.members)} runs; name one of them as the control")
    if len(recipes) > 1:
        first, second = list(recipes.values())[:2]
        keys = [change.key for change in recipe_changes(first.recipe or {}, second.recipe or {})]
        raise DataError(
            f"{path} holds runs of {len(recipes)} recipes, so it cannot be the control "
            f"({first.directory.name} and {second.directory.name} differ in {', '.join(keys[:5]) or 'name'}); "
            "name one run with --control"
        )


def _not_evaluated(run: Path, split: Split) -> str:
    if split == "val" and without_validation(_recipe(run / "recipe.yaml")):
        return no_people(run)
    return f"{run} has no evaluation of the {split} split; run: enface evaluate {run} --split {split}"


def _openings(groups: Sequence[Group]) -> list[str]:
    """A caveat on earlier looks at the test people of these groups."""
    runs = dict.fromkeys(member.directory for group in groups for member in group.members if member.recipe is not None)
    by_people: dict[str, list[Opening]] = {}
    for run in runs:
        for item in read_openings(run):
            by_people.setdefault(item.people, []).append(item)
    return [about_openings(openings) for openings in by_people.values()]


def _unlike_self_pairs(control: Group, group: Group) -> list[str]:
    members = [*control.members, *group.members]
    switches = {item.measured for member in members if (item := member.results.summary.self_pairs) is not None}
    if len(switches) < 2:
        return []
    return [
        f"{control.name} and {group.name} differ in evaluation.self_pairs: pairs whose source is their target were "
        "measured in some evaluations only; those without a counterpart are not compared."
    ]


def _nothing_to_compare(group: Group) -> str:
    if len(group.members) + len(group.skipped) == 1:
        return f"there is nothing to compare {group.members[0].directory} with; name another run"
    seeds = ", ".join(map(str, group.by_seed))
    return f"all these runs are of one recipe (seeds {seeds}), so there is nothing to compare; --each compares each run"


def _name(groups: Sequence[Group]) -> None:
    """Give all groups the shortest kind of name that is unique."""
    schemes: list[Callable[[Member], str]] = [
        lambda member: str((member.recipe or {}).get("name") or member.results.summary.name or member.directory.name),
        lambda member: member.directory.name if member.recipe is None else "/".join(member.directory.parts[-2:]),
        lambda member: str(member.directory),
    ]
    for scheme in schemes:
        for group in groups:
            first = group.members[0]
            group.name = scheme(first) + (f" ({first.checkpoint})" if first.checkpoint else "")
        if len({group.name for group in groups}) == len(groups):
            return
