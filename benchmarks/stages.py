"""A stage against another one that started from the same weights, over runs of one recipe with different seeds.

    python benchmarks/stages.py STAGE CONTROL RUN... [--split test]

Prints, for every metric, the difference STAGE - CONTROL over all runs and of each run. Images are averaged over runs
first; the 95 % interval has people as units.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from enface_tools.evaluate.splits import evaluation_folder
from enface_tools.evaluate.statistics import interval


def differences(folder: Path, stage: str, control: str, metrics: list[str]) -> pd.DataFrame:
    """Return STAGE - CONTROL by metric, one row per image, indexed by its key; and the image's ``identity``.

    Args:
        folder: Of an evaluation.
    """
    tables = [
        pd.read_csv(folder / "stages" / f"{name}.csv", dtype={"key": str, "identity": str}).set_index("key")
        for name in (stage, control)
    ]
    changes: pd.DataFrame = tables[0][metrics] - tables[1][metrics]
    return changes.assign(identity=tables[0]["identity"])


def main() -> None:
    """Print a line per metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage")
    parser.add_argument("control")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--split", choices=["val", "test"], default="val")
    arguments = parser.parse_args()
    folders = [evaluation_folder(run, arguments.split) for run in arguments.runs]
    summary = json.loads((folders[0] / "stages.json").read_text())
    metrics = list(summary[arguments.stage]["metrics"])
    tables = [differences(folder, arguments.stage, arguments.control, metrics) for folder in folders]
    identity = tables[0]["identity"]
    for name in metrics:
        columns = pd.concat([table[name] for table in tables], axis=1)
        assert columns.notna().all().all(), "the runs were evaluated on different images"
        mean = columns.mean(axis=1)
        low, high = interval(mean.to_numpy(), identity[mean.index].to_numpy())
        each = ", ".join(f"{table[name].mean():+.5f}" for table in tables)
        print(
            f"{name}: {arguments.stage} - {arguments.control} = {mean.mean():+.5f} [{low:+.5f}, {high:+.5f}]  ({each})"
        )


if __name__ == "__main__":
    main()
