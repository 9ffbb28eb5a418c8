"""Names of runs: the directory that ``latest``, ``NAME``, ``NAME/ID`` or ``best:METRIC`` stands for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from enface.errors import EnfaceError, RecipeError
from enface.recipe.files import is_run, newest_run
from enface_tools.evaluate.splits import Split
from enface_tools.runs.records import RunRecord, choice_split, read_records, run_directories

LATEST, BEST = "latest", "best"
NEAREST = 3
MAX_LISTED = 10


def find_run(path: Path | str, runs: Path | str = "runs") -> Path:
    """Return the directory of a run.

    Args:
        path: A run directory, or a folder of runs for its newest. Or a name: ``latest``, the newest run of all;
            ``NAME``, the newest run of a recipe; ``NAME/ID``; ``best`` or ``best:METRIC``, the best run by the recipe's
            ``log.best`` or by a metric, ``NAME/best`` of one recipe. Any other path that exists is returned as it is,
            but a folder of images or the like gives way to a name.
        runs: Folder of run directories, below which names are looked up.

    Raises:
        EnfaceError: if there is no such run, listing the nearest names.
    """
    path, runs = Path(path), Path(runs)
    directory = _run_at(path) or named_run(path.as_posix(), runs)
    if directory is None and not path.exists():
        raise EnfaceError(f"{path} is no path, and no run below {runs} has this name{_nearest(path.as_posix(), runs)}")
    return directory or path


def _run_at(path: Path) -> Path | None:
    """Return a file, a run directory, the newest one in a folder of runs, or a folder of results; None otherwise."""
    directory = newest_run(path)
    return directory if path.is_file() or is_run(directory) or (path / "summary.json").is_file() else None


def named_run(text: str, runs: Path) -> Path | None:
    """Return the directory of a run by its name as :func:`find_run` does; None if there is no such name."""
    if Path(text).is_absolute():
        return None
    name, _, last = text.rpartition("/")
    word, colon, metric = last.partition(":")
    of_all = not name and (last == LATEST or word == BEST)
    directories = run_directories(runs, name or ("*" if of_all else last))
    if word == BEST and directories:
        return best_run(directories, metric or None, name or str(runs))
    if name and last != LATEST:
        directories = [path for path in directories if path.name == last]
    return directories[-1] if directories and not colon else None


def best_run(directories: Sequence[Path], metric: str | None = None, where: str = "runs") -> Path:
    """Return the best of several runs; of equal ones the newest.

    Args:
        metric: Default: the metric that ``log.best`` of the recipes names.
        where: The runs' origin, for messages.

    Raises:
        EnfaceError: if no run has measured the metric, or the runs cannot be compared.
    """
    records = read_records(directories)
    split = choice_split(records)
    metric = metric or _chosen_metric(records, where)
    ranked = ranked_by(metric, records, split)
    if not ranked:
        known = dict.fromkeys(name for record in records if (item := record.evaluation(split)) for name in item.names)
        measured = f"measured: {', '.join(known)}" if known else "none is evaluated"
        raise EnfaceError(f"best:{metric}: no run of {where} has measured {metric} on {split} people; {measured}")
    _require_comparable(ranked, metric, split)
    return ranked[0].directory


def ranked_by(metric: str, records: Sequence[RunRecord], split: Split) -> list[RunRecord]:
    """Return the runs that have a number of a metric, the best one first; of equal ones the newest first."""
    scores = {record: item.score(metric) for record in records if (item := record.evaluation(split)) is not None}
    known = [(score, index, record) for index, (record, score) in enumerate(scores.items()) if score is not None]
    return [record for _, _, record in sorted(known, key=lambda item: item[:2], reverse=True)]


def _chosen_metric(records: Sequence[RunRecord], where: str) -> str:
    metrics = list(dict.fromkeys(record.best for record in records if record.best))
    if len(metrics) == 1:
        return metrics[0]
    reason = (
        f"recipes name several metrics as log.best ({', '.join(metrics)})" if metrics else "no recipe sets log.best"
    )
    raise EnfaceError(
        f"best: of the runs of {where}, {reason}; name a metric, as best:{metrics[0] if metrics else 'ssim'}"
    )


def _require_comparable(ranked: Sequence[RunRecord], metric: str, split: Split) -> None:
    """Refuse runs that measured a metric in different ways or on different images."""
    first = ranked[0]
    for other in ranked[1:]:
        reason = _difference(first, other, metric, split)
        if reason:
            pair = " and ".join(f"{record.name}/{record.id}" for record in (first, other))
            raise EnfaceError(
                f"best:{metric}: {pair} cannot be compared: {reason}; choose among runs of one recipe: "
                f"{first.name}/best:{metric}"
            )


def _difference(first: RunRecord, other: RunRecord, metric: str, split: Split) -> str:
    one, two = first.evaluation(split), other.evaluation(split)
    assert one is not None
    assert two is not None
    if (one.images, one.identities) != (two.images, two.identities):
        sizes = [f"{item.images} images of {item.identities} people" for item in (one, two)]
        return f"they are measured on {sizes[0]} and {sizes[1]}"
    infos = [item.info(metric) for item in (one, two)]
    if infos[0] is not None and infos[1] is not None and infos[0].card != infos[1].card:
        return f"the metric cards of {metric} differ"
    return ""


def near_names(text: str, runs: Path) -> list[str]:
    """Return names of runs that resemble a text, the nearest first."""
    directories = run_directories(runs)
    if not directories:
        return []
    names = dict.fromkeys(path.parent.name for path in directories)
    known = [*names, LATEST, BEST, *(f"{path.parent.name}/{path.name}" for path in reversed(directories))]
    return difflib.get_close_matches(text.removeprefix(f"{runs.as_posix()}/"), known, n=NEAREST)


def _nearest(text: str, runs: Path) -> str:
    near = near_names(text, runs)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    names = list(dict.fromkeys(path.parent.name for path in reversed(run_directories(runs))))
    more = f", and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"; known: {', '.join(names[:MAX_LISTED])}{more}" if names else f"; {runs} holds no run"


def find_run_of_recipe(path: Path, runs: Path) -> Path | None:
    """Return the directory of a run that is given in place of a recipe; None if a recipe is meant.

    Recipes come first: a file, or the name of a shipped one.

    Raises:
        EnfaceError: if the name resembles that of a run.
    """
    from enface.plugin.manager import load_plugins

    text = path.as_posix()
    if path.is_file() or path.suffix:
        return None
    directory = _run_at(path) or named_run(text, runs)
    try:
        is_recipe = load_plugins().hook.find_recipe(name=text) is not None
    except RecipeError:
        # Nearly the name of a recipe.
        if directory is None:
            raise
        return directory
    if directory is None and not is_recipe and (text.rpartition("/")[2] == LATEST or near_names(text, runs)):
        raise EnfaceError(f"no recipe or run is called {text}{_nearest(text, runs)}")
    return None if is_recipe else directory


def find_runs(paths: Sequence[Path], runs: Path) -> list[Path]:
    """Return runs by their names as :func:`find_run` does, but keep folders of runs, which are compared as a group."""
    return [path if _run_at(path) else find_run(path, runs) for path in paths]
