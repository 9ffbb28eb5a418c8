"""Which evaluations are compared: runs found, put together by recipe, and named."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from enface.errors import DataError
from enface.recipe.load import runs_in
from enface_tools.compare.changes import changes, fingerprint
from enface_tools.evaluate.results import Results


@dataclass(frozen=True)
class Member:
    """One evaluation: a run's, or that of images another system made.

    Attributes:
        directory: The run directory; where there is no run, the folder of the evaluation.
        recipe: As the run resolved it; None without a run.
    """

    directory: Path
    results: Results
    recipe: dict[str, Any] | None

    @property
    def seed(self) -> int | None:
        """The recipe's; None without a run."""
        return None if self.recipe is None else int(self.recipe.get("seed", 0))

    @property
    def label(self) -> str:
        """Which of the run's checkpoints was evaluated, when it is not the run's own evaluation; else empty."""
        folder = self.results.folder
        return folder.name if self.recipe is not None and folder.parent.name == "checkpoints" else ""

    @property
    def identity(self) -> Hashable:
        """The same for those that make one group."""
        return str(self.results.folder) if self.recipe is None else (fingerprint(self.recipe), self.label)


@dataclass
class Group:
    """Evaluations of one recipe, a seed each.

    Attributes:
        left_out: (directory, reason) of runs that were found and are not used.
    """

    members: list[Member]
    name: str = ""
    left_out: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """``run`` or ``pairs``."""
        return "pairs" if self.members[0].recipe is None else "run"

    @property
    def by_seed(self) -> dict[int, Member]:
        """Its runs by their seed, in order."""
        seeds = {member.seed: member for member in self.members if member.seed is not None}
        return dict(sorted(seeds.items()))


@dataclass
class _Found:
    members: list[Member]
    left_out: list[tuple[Path, str]]


def find_groups(paths: Sequence[Path], control: Path | None = None, *, each: bool = False) -> list[Group]:
    """Read evaluations and put those of one recipe together, a seed each; the control is the first group.

    Args:
        paths: Run directories, folders of runs, results of pairs of images.
        control: The control's; the first of ``paths`` unless given.
        each: Take every run by itself.

    Raises:
        DataError: when a path is none of these or has no evaluation, when the control is more than one group, or
            when there is nothing to compare it with.
    """
    ordered = [*([] if control is None else [control]), *paths]
    found = [_find(path) for path in ordered]
    groups: dict[Hashable, Group] = {}
    for item in found:
        for member in item.members:
            key = str(member.results.folder) if each else member.identity
            _add(groups.setdefault(key, Group([])), member)
        # Of the runs found beside it, those that cannot be used are told of with the group that could be.
        if item.members:
            first = groups[str(item.members[0].results.folder) if each else item.members[0].identity]
            first.left_out += [one for one in item.left_out if one not in first.left_out]
    made = list(groups.values())
    for group in made:
        group.members.sort(key=lambda member: member.seed or 0)
    _require_one_control(ordered[0], found[0], each)
    if len(made) < 2:
        raise DataError(_nothing_to_compare(made[0]))
    _name(made)
    return made


def _find(path: Path) -> _Found:
    """The evaluations at a path."""
    if not path.is_dir():
        raise DataError(f"{path} is not a folder; name a run directory, a folder of runs, or a result of --pairs")
    if (path / "recipe.yaml").is_file() or (path / "summary.json").is_file():
        return _Found([_read(path)], [])
    runs = runs_in(path)
    if not runs:
        raise DataError(
            f"{path} is neither a run directory (recipe.yaml) nor a folder of runs (runs/NAME) nor a result of "
            "enface evaluate --pairs (summary.json)"
        )
    done = [run for run in runs if (run / "evaluation" / "summary.json").is_file()]
    if not done:
        raise DataError(f"no run in {path} has been evaluated; do that with: enface evaluate {runs[-1]}")
    return _Found([_read(run) for run in done], [(run, "it has no evaluation") for run in runs if run not in done])


def _read(path: Path) -> Member:
    path = path.resolve()
    if (path / "recipe.yaml").is_file() and not (path / "evaluation" / "summary.json").is_file():
        raise DataError(f"{path} has not been evaluated; do that with: enface evaluate {path}")
    results = Results.read(path)
    # RUN, RUN/evaluation or RUN/evaluation/checkpoints/LABEL.
    for folder in (path, *path.parents[:3]):
        if (folder / "recipe.yaml").is_file() and results.summary.get("kind", "run") == "run":
            return Member(folder, results, _recipe(folder / "recipe.yaml"))
    return Member(path, results, None)


def _recipe(path: Path) -> dict[str, Any]:
    try:
        recipe = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        int(recipe.get("seed", 0))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise DataError(f"{path} is damaged: it cannot be read as a recipe") from error
    return recipe


def _add(group: Group, member: Member) -> None:
    """Put an evaluation into its group; of one seed the newest run stays."""
    if any(other.results.folder == member.results.folder for other in group.members):
        return
    same = [other for other in group.members if other.seed == member.seed]
    for other in same:
        # A run's directory is named by the time it began.
        old, new = sorted((other, member), key=lambda one: one.directory.name)
        group.left_out.append((old.directory, f"its recipe and seed are those of {new.directory}, which is newer"))
        if new is member:
            group.members[group.members.index(other)] = member
    if not same:
        group.members.append(member)


def _require_one_control(path: Path, found: _Found, each: bool) -> None:
    recipes = {member.identity: member for member in found.members}
    if each and len(found.members) > 1:
        raise DataError(f"{path} holds {len(found.members)} runs; name one of them as the control")
    if len(recipes) > 1:
        first, second = list(recipes.values())[:2]
        keys = [item["key"] for item in changes(first.recipe or {}, second.recipe or {})]
        raise DataError(
            f"{path} holds runs of {len(recipes)} recipes, so it cannot be the control "
            f"({first.directory.name} and {second.directory.name} differ in {', '.join(keys[:5]) or 'name'}); "
            "name one run with --control"
        )


def _nothing_to_compare(group: Group) -> str:
    first = group.members[0].directory
    seeds = ", ".join(map(str, group.by_seed))
    if len(group.members) + len(group.left_out) == 1:
        return f"there is nothing to compare {first} with; name another run"
    return (
        f"all these runs are of one recipe (seeds {seeds}), so there is nothing to compare; --each compares them one "
        "by one"
    )


def _name(groups: Sequence[Group]) -> None:
    """The shortest kind of name that tells all groups apart."""
    ways: list[Callable[[Member], str]] = [
        lambda member: str((member.recipe or member.results.summary).get("name") or member.directory.name),
        lambda member: member.directory.name if member.recipe is None else "/".join(member.directory.parts[-2:]),
        lambda member: str(member.directory),
    ]
    for way in ways:
        for group in groups:
            first = group.members[0]
            group.name = way(first) + (f" ({first.label})" if first.label else "")
        if len({group.name for group in groups}) == len(groups):
            return
