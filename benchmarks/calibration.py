"""Coverage of intervals and false verdicts, by simulation: the table of docs/benchmarks.md.

    python benchmarks/calibration.py

Run s of a recipe measures a + b_p + c_p + r_s + e_sp on person p: b_p is the person's own (of both recipes), c_p the
recipe's effect on the person (of one recipe), r_s the training, e_sp the rest. The spreads are those of LPIPS in the
runs of ``enface calibrate benchmarks/nine_seeds.yaml --seeds 9``; that of the effect, which one recipe does not show,
is as large as the rest.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from enface_tools.compare.crossed import unpaired_difference
from enface_tools.compare.outcomes import compare_quantities
from enface_tools.compare.pairing import Pairing
from enface_tools.compare.quantities import Quantity
from enface_tools.evaluate.direction import Direction
from enface_tools.evaluate.statistics import Floats, MeanEstimate, over_people

SEEDS, PEOPLE = (3, 5, 10), (13, 16, 67)
# Standard deviations: of people, of a recipe's effect on people, of trainings, of the rest.
SPREADS = {"people": 0.042, "effect": 0.008, "training": 0.0086, "rest": 0.0089}
METRICS = ("mae", "ssim", "lpips", "sharpness")

Skew = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Numbers of mean 0 and deviation 1."""
    return rng.normal(size=shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Numbers of mean 0, deviation 1 and skewness 2."""
    return rng.exponential(size=shape) - 1


def draw(
    rng: np.random.Generator, seeds: int, people: int, *, effect: float, skew: Skew = normal
) -> tuple[Floats, Floats]:
    """Values of two recipes with the same mean, (S, P) each."""
    person = SPREADS["people"] * skew(rng, (1, people))
    sides = []
    for share in (0.0, effect):
        training = SPREADS["training"] * rng.normal(size=(seeds, 1))
        rest = SPREADS["rest"] * rng.normal(size=(seeds, people))
        sides.append(person + share * skew(rng, (1, people)) + training + rest)
    return sides[0], sides[1]


def covers(estimate: MeanEstimate) -> bool:
    """True if the interval contains the true difference, 0."""
    low, high = estimate.interval()
    return low <= 0 <= high


def coverage(seeds: int, people: int, repeats: int, skew: Skew) -> tuple[float, float]:
    """Share of intervals that contain the truth: over seeds and people, and over people only."""
    rng = np.random.default_rng([seeds, people])
    crossed, alone = 0, 0
    for _ in range(repeats):
        control, group = draw(rng, seeds, people, effect=SPREADS["effect"], skew=skew)
        crossed += covers(unpaired_difference(control, group))
        alone += covers(over_people(group.mean(0) - control.mean(0)))
    return crossed / repeats, alone / repeats


def table(values: list[Floats]) -> pd.DataFrame:
    """Numbers of a run on each person, one column per metric."""
    return pd.DataFrame(dict(zip(METRICS, values, strict=True)))


def false_verdicts(seeds: int, people: int, repeats: int) -> float:
    """Share of comparisons of equal recipes with a clear verdict on any of four metrics, adjusted by Holm's method."""
    rng = np.random.default_rng([seeds, people, 1])
    quantities = [Quantity(name, name, "", Direction(higher=False), {}) for name in METRICS]
    about = pd.DataFrame({"key": range(people), "target_key": "t", "identity": [f"{p:03}" for p in range(people)]})
    clear = 0
    for _ in range(repeats):
        values = [draw(rng, seeds, people, effect=0.0) for _ in METRICS]
        sides = [[table([item[side][run] for item in values]) for run in range(seeds)] for side in (0, 1)]
        control, group = (sum(side[1:], start=side[0]) / seeds for side in sides)
        pairing = Pairing(
            about=about,
            design="crossed",
            seeds=np.full(people, seeds),
            control=control,
            group=group,
            difference=group - control,
            control_runs=sides[0],
            group_runs=sides[1],
            control_seeds=[],
            group_seeds=[],
            only={},
            partial=0,
            examples={},
            image=["key"],
        )
        clear += any(item.outcome in ("better", "worse") for item in compare_quantities(pairing, quantities))
    return clear / repeats


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000, help="comparisons of equal recipes")
    parser.add_argument("--intervals", type=int, default=4000, help="simulated intervals")
    arguments = parser.parse_args()
    start = time.perf_counter()
    print("| seeds a side | people | coverage | if people are skewed | people only | false verdicts |")
    print("|---|---|---|---|---|---|")
    for seeds in SEEDS:
        for people in PEOPLE:
            plain, alone = coverage(seeds, people, arguments.intervals, normal)
            slanted, _ = coverage(seeds, people, arguments.intervals, skewed)
            wrong = false_verdicts(seeds, people, arguments.repeats)
            print(f"| {seeds} | {people} | {plain:.1%} | {slanted:.1%} | {alone:.1%} | {wrong:.1%} |", flush=True)
    error = math.sqrt(0.95 * 0.05 / arguments.intervals)
    print(f"\nStandard error of a coverage: {error:.1%}. {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
