"""A comparison in the terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from enface.cli.options import say

if TYPE_CHECKING:
    from rich.console import Console

    from enface_tools.compare import Against, Comparison
    from enface_tools.compare.groups import Group
    from enface_tools.compare.means import GroupMean
    from enface_tools.compare.outcomes import Outcome
    from enface_tools.compare.quantities import Quantity

FILE_WIDTH = 200
SHOWN_CHANGES = 12
LONGEST = 60
# Room for a value and its number of images.
LABEL = 12


def show(comparison: Comparison) -> None:
    """Groups, then for each but the control what changed, a table, verdicts and cautions."""
    for group, means in zip(comparison.groups, comparison.means, strict=True):
        _say_group(group, means, control=group is comparison.control)
    for text in comparison.cautions:
        say(f"note: {shown(text)}")
    for one in comparison.against:
        say("")
        _show_against(comparison, one)


def shown(text: str) -> str:
    """Text that does nothing to a terminal: control characters are written out."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _say_group(group: Group, means: Mapping[str, GroupMean], *, control: bool) -> None:
    runs = len(group.members)
    seeds = f", seeds {', '.join(map(str, group.by_seed))}" if group.by_seed else ""
    said = f"{runs} run{'s' if runs > 1 else ''}{seeds}" if group.kind == "run" else str(group.members[0].directory)
    say(f"{'control' if control else 'group'} {shown(group.name)}: {shown(said)}")
    for name, item in means.items():
        if item.seeds.sd is not None:
            each = ", ".join(f"{value:.4f}" for value in item.seeds.by_seed.values())
            say(shown(f"  {name} of the seeds: {each} (sd {item.seeds.sd:.4f})"))
    for path, reason in group.left_out:
        say(shown(f"  left out: {path} ({reason})"))


def _show_against(comparison: Comparison, one: Against) -> None:
    from enface_tools.compare.comparison import changes_of

    pairing = one.pairing
    people = pairing.about["identity"].nunique()
    say(shown(f"{one.group.name} against {comparison.control.name}: {len(pairing.about)} images of {people} people"))
    changes = changes_of(comparison.control, one.group)
    for item in changes[:SHOWN_CHANGES]:
        say(shown(f"  {item['key']}: {_short(item['from'])} -> {_short(item['to'])}"))
    if len(changes) > SHOWN_CHANGES:
        say(f"  and {len(changes) - SHOWN_CHANGES} more keys differ")
    if one.outcomes:
        _print(_HEADS, [_cells(outcome) for outcome in one.outcomes])
    if one.sets:
        _print(
            ("of the whole set", "better", "control", "group"),
            [
                (item.quantity.name, _better(item.quantity), f"{item.control:.4g}", f"{item.group:.4g}")
                for item in one.sets
            ],
        )
    for _, text in one.verdicts:
        say(shown(text))
    for column in comparison.by:
        say("")
        _show_by(column, one)
    for _, reason in one.shared.left_out:
        say(shown(f"left out: {reason}"))
    for text in [*one.cautions, *_own_cautions(comparison, one)]:
        say(shown(f"note: {text}"))


def _own_cautions(comparison: Comparison, one: Against) -> list[str]:
    """What the runs' own evaluations caution of, of the metrics compared."""
    found = []
    for group in (comparison.control, one.group):
        said = [str(text) for member in group.members for text in member.results.summary.get("cautions") or []]
        found += [f"{group.name}: {text}" for text in dict.fromkeys(said)]
    return found


def _short(value: Any) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


_HEADS = ("metric", "better", "control", "group", "difference", "95 % interval", "p (Holm)", "r", "d_z", "")


def _cells(outcome: Outcome) -> tuple[str, ...]:
    from enface_tools.compare.verdicts import places, plain, signed

    change = outcome.difference
    decimals = places([change.mean, change.low, change.high])
    low, high = signed(change.low, decimals), signed(change.high, decimals)
    return (
        outcome.quantity.name,
        _better(outcome.quantity),
        *(plain(value, max(decimals, 3)) for value in (outcome.control, outcome.group)),
        signed(change.mean, decimals),
        f"[{low}, {high}]",
        p_text(outcome.p_adjusted),
        *(signed(value, 2) for value in (outcome.rank_biserial, outcome.d_z)),
        outcome.verdict,
    )


def _better(quantity: Quantity) -> str:
    ideal = quantity.direction.ideal
    return f"nearer {ideal:g}" if ideal is not None else "higher" if quantity.direction.higher else "lower"


def p_text(p: float) -> str:
    """A p-value as text."""
    return "-" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def _show_by(column: str, one: Against) -> None:
    """Differences inside each value: a line a value, a column a metric, as many beside each other as there is room."""
    inside = [value for value in one.by if value.column == column]
    cells = [[_difference(outcome) for outcome in value.outcomes] for value in inside]
    names = [outcome.quantity.name for outcome in one.outcomes]
    widest = max(map(len, [*names, *(text for line in cells for text in line)]), default=0) + 2
    count = max((_console().width - 2 * LABEL) // widest, 1)
    for start in range(0, len(names), count):
        here = slice(start, start + count)
        lines = [
            (value.value or "(none)", str(value.images), *line[here]) for value, line in zip(inside, cells, strict=True)
        ]
        _print((column, "images", *names[here]), lines)


def _difference(outcome: Outcome) -> str:
    """``-0.021 [-0.025, -0.017] better``; the word only where it is clear."""
    from enface_tools.compare.verdicts import places, signed

    change = outcome.difference
    ends = [change.mean, change.low, change.high]
    mean, low, high = (signed(number, places(ends)) for number in ends)
    return f"{mean} [{low}, {high}]{f' {outcome.verdict}' if outcome.verdict in ('better', 'worse') else ''}"


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        return console
    # A file has no width, so nothing need be folded.
    return Console(highlight=False, markup=False, emoji=False, width=FILE_WIDTH)


def _print(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, head in enumerate(heads):
        table.add_column(shown(head), justify="left" if place == 0 else "right", overflow="fold")
    for line in lines:
        table.add_row(*map(shown, line))
    _console().print(table)
