"""Term contributions as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from enface.system.messages import Reporter
from enface_tools.objective.contributions import StageContributions, TermContribution

FILE_WIDTH = 200


@dataclass(frozen=True)
class StageInspection:
    """The measured terms of a stage, for ``enface check --data``."""

    stage: StageContributions

    def show(self, reporter: Reporter) -> None:
        """Print a table for each player, followed by notes."""
        stage = self.stage
        reporter.say(f"  at {stage.weights}, on {stage.images} images{f'; {stage.note}' if stage.note else ''}")
        for player in dict.fromkeys(term.player for term in stage.terms):
            terms = [term for term in stage.terms if term.player == player]
            reporter.say(_table("generator" if player == "generator" else f"critic {player}", terms))
            for note in filter(None, map(_note, terms)):
                reporter.say(f"  {note}")
        reporter.say("")

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self.stage)


def _table(title: str, terms: Sequence[TermContribution]) -> str:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        # Files have no width, so do not fold.
        console = Console(highlight=False, markup=False, width=FILE_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, header in enumerate((title, "weight", "mean", "value", "weighted", "share", "gradient")):
        table.add_column(header, justify="left" if index in (0, 2) else "right", overflow="fold")
    for term in terms:
        table.add_row(*_cells(term))
    with console.capture() as capture:
        console.print(table)
    return capture.get().removesuffix("\n")


def _cells(term: TermContribution) -> tuple[str, ...]:
    name = term.term if term.term == term.loss else f"{term.term} ({term.loss})"
    ends = f" -> {term.weight_end:.4g}" if term.weight_end != term.weight else ""
    numbers = ["-" if number is None else f"{number:.4g}" for number in (term.value, term.weighted)]
    shares = ["-" if share is None else f"{share:.1%}" for share in (term.share, term.gradient_share)]
    return name, f"{term.weight:.4g}{ends}", term.unit, *numbers, *shares


def _note(term: TermContribution) -> str:
    """Remarks on a term that do not fit into the table."""
    remarks = []
    if term.begins is None:
        remarks.append("never applied: its weight stays 0, or the stage ends before")
    elif term.begins:
        remarks.append(f"begins at step {term.begins}")
    if term.every > 1:
        remarks.append(f"applied once in {term.every} updates with {term.every} times the weight; the mean is shown")
    if term.follows is not None:
        remarks.append(f"its weight follows metric {term.follows}")
    return f"{term.term}: {'; '.join(remarks)}" if remarks else ""
