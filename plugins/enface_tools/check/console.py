"""Term contributions as tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from enface.system.messages import Reporter
from enface_tools.check.contributions import StageContributions, TermContribution
from enface_tools.check.lines import describe_time
from enface_tools.evaluate.terminal import table, wrapped

VALUES = ("weight", "mean", "value", "weighted", "share")


@dataclass(frozen=True)
class StageInspection:
    """The measured terms of a stage, for ``enface check --data``."""

    stage: StageContributions

    def show(self, reporter: Reporter, steps: int) -> None:
        """Print the time of the stage's steps, and a table for each player, followed by notes."""
        stage = self.stage
        if stage.timing is not None:
            reporter.say(f"  {describe_time(stage.timing, steps)}")
        note = f"; {stage.note}" if stage.note else ""
        reporter.say(wrapped(f"  at {stage.weights}, on {stage.images} images in [-1, 1]{note}", "  "))
        for player in dict.fromkeys(term.player for term in stage.terms):
            terms = [term for term in stage.terms if term.player == player]
            title = f"losses of {'generator' if player == 'generator' else f'critic {player}'}"
            reporter.say(table((title, *VALUES), [(_name(term), *_values(term)) for term in terms], left=("mean",)))
            places = tuple(terms[0].gradients)
            rows = [(_name(term), *_shares(term)) for term in terms]
            # A single term has all of the gradient.
            if len(terms) > 1:
                reporter.say(table(("gradient", *places), rows))
            for note in filter(None, map(_note, terms)):
                reporter.say(wrapped(f"  {note}", "    "))
        reporter.say("")

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self.stage)


def _name(term: TermContribution) -> str:
    return term.term if term.term == term.loss else f"{term.term} ({term.loss})"


def _values(term: TermContribution) -> tuple[str, ...]:
    ends = f" -> {term.weight_end:.4g}" if term.weight_end != term.weight else ""
    numbers = ["-" if number is None else f"{number:.4g}" for number in (term.value, term.weighted)]
    return f"{term.weight:.4g}{ends}", term.unit, *numbers, _percent(term.share)


def _shares(term: TermContribution) -> tuple[str, ...]:
    return tuple(_percent(item.share if item is not None else None) for item in term.gradients.values())


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


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
    return f"{_name(term)}: {'; '.join(remarks)}" if remarks else ""
