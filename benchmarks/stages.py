"""A stage against another one that started from the same weights, over runs of one recipe with different seeds.

    python benchmarks/stages.py STAGE CONTROL RUN... [--split test]

Prints, for every metric, the difference STAGE - CONTROL with its 95 % interval over seeds and people (over people only
for one run), and that of each run. Of metrics with an ideal value, distances to it are compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from enface_tools.compare.crossed import crossed_mean
from enface_tools.compare.outcomes import run_values
from enface_tools.evaluate.results import Results, column_of
from enface_tools.evaluate.splits import evaluation_folder


def stage_table(folder: Path, stage: str) -> pd.DataFrame:
    """Return a stage's metrics, one row per image, indexed by its key and its target's."""
    table = pd.read_csv(folder / "stages" / f"{stage}.csv", dtype={"key": str, "target_key": str, "identity": str})
    return table.set_index(["key", "target_key"])


def numbers(table: pd.DataFrame, metric: str) -> pd.Series[float]:
    """Return a metric's column, whose name differs from the metric's if a label has that name."""
    return table[column_of(table, metric)]


def main() -> None:
    """Print a line per metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage")
    parser.add_argument("control")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--split", choices=["val", "test"], default="val")
    arguments = parser.parse_args()
    folders = [evaluation_folder(run, arguments.split) for run in arguments.runs]
    metrics = Results.read(arguments.runs[0], arguments.split).summary.metrics
    pairs = [[stage_table(folder, name) for name in (arguments.stage, arguments.control)] for folder in folders]
    index = pairs[0][0].index
    assert all(table.index.equals(index) for pair in pairs for table in pair), "the stages were not measured alike"
    identities = pairs[0][0]["identity"].to_numpy()
    for name, metric in metrics.items():
        compared = metric.direction.compared
        changes = pd.concat([compared(numbers(a, name)) - compared(numbers(b, name)) for a, b in pairs], axis=1)
        # An image without a number in one run has none in the others.
        runs = [column for _, column in changes.where(changes.notna().all(axis=1)).items()]
        estimate = crossed_mean(run_values(runs, identities))
        low, high = estimate.interval()
        each = ", ".join(f"{run.mean():+.5f}" for run in runs)
        title = f"{name}: {arguments.stage} - {arguments.control}"
        print(f"{title} = {estimate.mean:+.5f} [{low:+.5f}, {high:+.5f}], p {estimate.p():.3f}  ({each})")


if __name__ == "__main__":
    main()
