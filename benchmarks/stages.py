"""A stage against another one that started from the same weights, over runs of one recipe with different seeds.

    python benchmarks/stages.py STAGE CONTROL RUN...

Prints, for every metric, the difference STAGE - CONTROL over all runs and of each run. Images are averaged over runs
first; the 95 % interval resamples identities.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from enface_tools.evaluate.statistics import interval

RESAMPLES = 10_000


def differences(run: Path, stage: str, control: str, metrics: list[str]) -> pd.DataFrame:
    """Return STAGE - CONTROL by metric, one row per image, indexed by its key; and the image's ``identity``."""
    tables = [
        pd.read_csv(run / "evaluation" / "stages" / f"{name}.csv", dtype={"key": str, "identity": str}).set_index("key")
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
    arguments = parser.parse_args()
    summary = json.loads((arguments.runs[0] / "evaluation" / "stages.json").read_text())
    metrics = list(summary[arguments.stage]["metrics"])
    tables = [differences(run, arguments.stage, arguments.control, metrics) for run in arguments.runs]
    identity = tables[0]["identity"]
    for name in metrics:
        columns = pd.concat([table[name] for table in tables], axis=1)
        assert columns.notna().all().all(), "the runs were evaluated on different images"
        mean = columns.mean(axis=1)
        low, high = interval(mean.to_numpy(), identity[mean.index].to_numpy(), RESAMPLES, 0)
        each = ", ".join(f"{table[name].mean():+.5f}" for table in tables)
        print(
            f"{name}: {arguments.stage} - {arguments.control} = {mean.mean():+.5f} [{low:+.5f}, {high:+.5f}]  ({each})"
        )


if __name__ == "__main__":
    main()
