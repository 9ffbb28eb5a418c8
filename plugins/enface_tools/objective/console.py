"""What each term is of the objective, as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from enface.cli.options import say

if TYPE_CHECKING:
    from enface_tools.objective.shares import Share, StageShares

FILE_WIDTH = 200


def show_shares(stage: StageShares) -> None:
    """A table for each player, with notes beneath."""
    say(f"  at {stage.weights}, on {stage.images} images{f'; {stage.note}' if stage.note else ''}")
    for player in dict.fromkeys(share.player for share in stage.terms):
        shares = [share for share in stage.terms if share.player == player]
        _show_table("generator" if player == "generator" else f"critic {player}", shares)
        for note in filter(None, map(_note, shares)):
            say(f"  {note}")
    say("")


def _show_table(title: str, shares: Sequence[Share]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        # A file has no width, so nothing need be folded.
        console = Console(highlight=False, markup=False, width=FILE_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, header in enumerate((title, "weight", "mean", "value", "weighted", "share", "gradient")):
        table.add_column(header, justify="left" if index in (0, 2) else "right", overflow="fold")
    for share in shares:
        table.add_row(*_cells(share))
    console.print(table)


def _cells(share: Share) -> tuple[str, ...]:
    name = share.term if share.term == share.loss else f"{share.term} ({share.loss})"
    ends = f" -> {share.weight_end:.4g}" if share.weight_end != share.weight else ""
    numbers = ["-" if number is None else f"{number:.4g}" for number in (share.value, share.weighted)]
    parts = ["-" if part is None else f"{part:.1%}" for part in (share.share, share.gradient_share)]
    return name, f"{share.weight:.4g}{ends}", share.unit, *numbers, *parts


def _note(share: Share) -> str:
    """What the table has no room for."""
    said = []
    if share.begins is None:
        said.append("never counts: its weight stays 0, or the stage ends before")
    elif share.begins:
        said.append(f"begins at step {share.begins}")
    if share.every > 1:
        said.append(f"counts once in {share.every} updates, {share.every} times as heavy; shown is the mean")
    if share.follows is not None:
        said.append(f"its weight follows metric {share.follows}")
    return f"{share.term}: {'; '.join(said)}" if said else ""
