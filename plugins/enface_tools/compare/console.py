"""A comparison in the terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from enface.cli.options import say
from enface_tools.compare.comparison import Comparison, GroupComparison, changes_of
from enface_tools.compare.groups import Group
from enface_tools.compare.means import GroupMean
from enface_tools.compare.outcomes import QuantityResult
from enface_tools.evaluate.precision import places, plain, signed
from enface_tools.evaluate.terminal import escaped, table, terminal_width, wrapped

MAX_CHANGES = 12
MAX_VALUE = 60
FILE_WIDTH = 200
# Width of a value and its number of images.
LABEL_WIDTH = 12
HEADS = ("metric", "better", "control", "group", "difference", "95 % interval", "p (Holm)", "detects", "outcome")
# Columns that a narrow terminal lacks, in this order; most of them are in the sentences below the table.
LESS_IMPORTANT = ("detects", "better", "p (Holm)", "outcome")


def show(comparison: Comparison) -> None:
    """Print the groups, then for each but the control its changes, a table, verdicts and caveats."""
    for group, means in zip(comparison.groups, comparison.means, strict=True):
        _say_group(group, means, control=group is comparison.control)
    for text in comparison.caveats:
        say(wrapped(escaped(f"note: {text}"), "  "))
    for item in comparison.comparisons:
        say("")
        _show_comparison(comparison, item)


def _say_group(group: Group, means: Mapping[str, GroupMean], *, control: bool) -> None:
    runs = len(group.members)
    several = "s" if runs > 1 else ""
    seeds = f", seed{several} {', '.join(map(str, group.by_seed))}" if group.by_seed else ""
    about = f"{runs} run{several}{seeds}" if group.kind == "run" else str(group.members[0].directory)
    say(f"{'control' if control else 'group'} {escaped(group.name)}: {escaped(about)}")
    for name, item in means.items():
        if item.seeds.sd is not None:
            values = ", ".join(f"{value:.4f}" for value in item.seeds.by_seed.values())
            say(wrapped(escaped(f"  {name} by seed: {values} (sd {item.seeds.sd:.4f})"), "    "))
    for path, reason in group.skipped:
        say(escaped(f"  skipped: {path} ({reason})"))


def _show_comparison(comparison: Comparison, item: GroupComparison) -> None:
    control, group, pairing = comparison.control, item.group, item.pairing
    say(escaped(f"{group.name} against {control.name}: {len(pairing.about)} images of {pairing.identities} people"))
    _say_changes(control, group)
    if item.results:
        rows = [_cells(result) for result in item.results]
        say(table(HEADS, rows, left=("better", "outcome"), drop=LESS_IMPORTANT))
    if item.sets:
        rows = [
            (result.quantity.name, result.quantity.direction.word, f"{result.control:.4g}", f"{result.group:.4g}")
            for result in item.sets
        ]
        say(table(("whole set", "better", "control", "group"), rows, left=("better",)))
    if item.claim is not None:
        result = item.claim.reason or f"p {p_text(item.claim.p)}"
        say(escaped(f"claim registered {item.claim.registered}: {item.claim.text}: {item.claim.outcome} ({result})"))
        say("exploratory, because nothing else was claimed before training:")
    for _, text in item.verdicts:
        say(wrapped(escaped(text), "  "))
    for column in comparison.by:
        say("")
        _show_subsets(column, item)
    for _, reason in item.shared.skipped:
        say(escaped(f"skipped: {reason}"))
    own = [f"{side.name}: {text}" for side in (control, group) for text in side.caveats]
    for text in [*item.caveats, *own]:
        say(wrapped(escaped(f"note: {text}"), "  "))


def _say_changes(control: Group, group: Group) -> None:
    changes = changes_of(control, group)
    for change in changes[:MAX_CHANGES]:
        say(escaped(f"  {change.key}: {_short(change.before)} -> {_short(change.after)}"))
    if len(changes) > MAX_CHANGES:
        say(f"  and {len(changes) - MAX_CHANGES} more keys differ")


def _short(value: Any) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 3]}..."


def _cells(result: QuantityResult) -> tuple[str, ...]:
    interval = result.difference
    decimals = places(interval.mean, interval.low, interval.high)
    low, high = signed(interval.low, decimals), signed(interval.high, decimals)
    return (
        result.quantity.name,
        result.quantity.direction.word,
        *(plain(value, decimals) for value in (result.control, result.group)),
        signed(interval.mean, decimals),
        f"[{low}, {high}]",
        p_text(result.p_adjusted),
        plain(result.detectable, decimals),
        result.outcome,
    )


def p_text(p: float) -> str:
    """Return a p-value as text."""
    return "-" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def _show_subsets(column: str, item: GroupComparison) -> None:
    """Print differences inside each value: one row per value, one column per metric, in as many tables as needed."""
    subsets = [subset for subset in item.subsets if subset.column == column]
    cells = [[_difference(result) for result in subset.results] for subset in subsets]
    names = [result.quantity.name for result in item.results]
    widest = max(map(len, [*names, *(text for row in cells for text in row)]), default=0) + 2
    count = max(((terminal_width() or FILE_WIDTH) - 2 * LABEL_WIDTH) // widest, 1)
    for start in range(0, len(names), count):
        shown = slice(start, start + count)
        rows = [
            (subset.value or "(none)", str(subset.images), *row[shown])
            for subset, row in zip(subsets, cells, strict=True)
        ]
        say(table((column, "images", *names[shown]), rows))


def _difference(result: QuantityResult) -> str:
    """``-0.021 [-0.025, -0.017] better``; without the word if unclear."""
    interval = result.difference
    ends = [interval.mean, interval.low, interval.high]
    mean, low, high = (signed(value, places(*ends)) for value in ends)
    return f"{mean} [{low}, {high}]{f' {result.outcome}' if result.outcome not in ('unclear', 'none') else ''}"
