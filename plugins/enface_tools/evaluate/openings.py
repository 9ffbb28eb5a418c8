"""``openings.jsonl`` of a run: every look at its test people, so that choices made on them can be seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from enface.errors import DataError
from enface_tools.evaluate.models import FileModel, Summary, parse
from enface_tools.evaluate.variants import variant

if TYPE_CHECKING:
    from enface.training.run import Run

OPENINGS = "openings.jsonl"


class Seen(FileModel):
    """Numbers of one network that were seen: the metrics' means, and the checkpoint and weights of the network."""

    checkpoint: str
    weights: str
    metrics: dict[str, float | None]


class Opening(FileModel):
    """One look at the test people: a line of ``openings.jsonl``.

    Attributes:
        date: UTC, ISO 8601.
        by: ``run`` for the end of training, else ``evaluate``.
        variant: Digest of everything that training depends on but the seed, and runs of other seeds to start from.
        people: Digest of the data and its test images.
        seen: Networks by label.
    """

    date: str
    by: str
    variant: str
    people: str
    seen: dict[str, Seen]


def seen_in(summary: Summary) -> Seen:
    """The numbers that an evaluation shows."""
    checkpoint = summary.checkpoint
    return Seen(
        checkpoint=checkpoint.file if checkpoint else f"step-{summary.step or 0:08d}",
        weights=checkpoint.weights if checkpoint else "trained",
        metrics=summary.numbers,
    )


@contextmanager
def opening(run: Run, split: str, by: str) -> Iterator[dict[str, Seen]]:
    """Collect the numbers seen of a split; log them as one opening if it is the test split, also after an error."""
    seen: dict[str, Seen] = {}
    try:
        yield seen
    finally:
        if split == "test" and seen and run.engine.is_main:
            _append(run, by, seen)


def read_openings(directory: Path) -> list[Opening]:
    """Openings of a run, oldest first.

    Raises:
        DataError: if the log is damaged, naming the line.
    """
    path = directory / "evaluation" / OPENINGS
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    remedy = "remove the line"
    return [parse(line, Opening, f"{path}, line {number}", remedy) for number, line in enumerate(lines, 1)]


def _of_other_runs(directory: Path) -> Iterator[Opening]:
    """Openings of the other runs under the same ``runs`` folder."""
    directory = directory.resolve()
    logs = directory.parent.parent.glob(f"*/*/evaluation/{OPENINGS}")
    # A link to a run is not another run.
    for other in sorted({log.resolve().parent.parent for log in logs} - {directory}):
        with suppress(DataError):
            yield from read_openings(other)


def caveats_of_openings(directory: Path) -> list[str]:
    """A sentence if several recipes under the same ``runs`` folder were seen on the test people of a run.

    Raises:
        DataError: if the run's log of openings is damaged; those of other runs are skipped then.
    """
    own = read_openings(directory)
    people = {item.people for item in own}
    openings = [*own, *(item for item in _of_other_runs(directory) if item.people in people)]
    return [about_openings(openings)] if len({item.variant for item in openings}) > 1 else []


def about_openings(openings: Sequence[Opening]) -> str:
    """A sentence on how often test people were seen, with how many recipes."""
    variants = len({item.variant for item in openings})
    looks = "once" if len(openings) == 1 else f"{len(openings)} times"
    recipes = "1 recipe" if variants == 1 else f"{variants} recipes"
    return (
        f"The test people of these runs were seen {looks}, with {recipes}; a choice made on them makes their numbers "
        "too good. Choose on validation people: --split val."
    )


def _append(run: Run, by: str, seen: dict[str, Seen]) -> None:
    entry = Opening(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        by=by,
        variant=variant(run.recipe),
        people=_people(run),
        seen=seen,
    )
    folder = run.directory / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / OPENINGS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry.model_dump()) + "\n")


def _people(run: Run) -> str:
    keys = run.pack.table["key"].to_numpy()[run.rows["test"]]
    text = "\n".join([run.pack.info.digest, *sorted(map(str, keys))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
