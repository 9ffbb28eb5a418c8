"""Memory that training a stage adds to a process (Linux); part of generators.py.

    python benchmarks/generator_memory.py RECIPE STAGE [--steps 3]

Prints the peak of the resident memory during a few steps minus what was resident before the networks were built, in
bytes: weights, gradients, states of optimizers, activations and the library's own buffers.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from enface.recipe.load import load_recipe
from enface.training.prepare import prepare_run
from enface.training.trainer import Trainer
from seed_run import training_steps

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(field: str) -> int:
    """Return ``VmRSS``, what is resident now, or ``VmHWM``, its peak, in bytes."""
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    """Print the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("stage")
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()
    run = prepare_run(load_recipe(arguments.recipe))
    # The peak so far, from importing, would hide a smaller one.
    CLEAR.write_text("5", encoding="ascii")
    before = resident("VmRSS")
    for _ in itertools.islice(training_steps(Trainer(run), arguments.stage), arguments.steps):
        pass
    print(resident("VmHWM") - before)


if __name__ == "__main__":
    main()
