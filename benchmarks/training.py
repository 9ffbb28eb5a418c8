"""Steps of the seed's runs: enface against a plain loop of the same operations, and against the seed's own loop.

    python benchmarks/training.py [--batch 16] [--pairs 5] [--kinds disentangle only_l1 mask_l1]

Width 1, 96 px. Every step of enface draws, gathers, crops and normalises its batch; so does the seed's loop, from
files (see reference.py). Ratios are medians of alternating steps.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from enface.training.trainer import Trainer
from reference import Kind, Loop, batches, contrastive, write_faces
from seed_run import noise_pack, seed_trainer, stage_batch, training_steps
from table import Ratio, Row, markdown, time_interleaved
from worker import Worker

NAMES: dict[Kind, str] = {
    "disentangle": "1st run: six losses, two branches",
    "only_l1": "2nd run: L1 alone",
    "mask_l1": "3rd run: mask, encoder frozen",
}
BATCHES: dict[Kind, int] = {"disentangle": 48, "only_l1": 64, "mask_l1": 64}
GOALS: dict[Kind, tuple[float, float]] = {"disentangle": (1.4, 3), "only_l1": (1.6, 3), "mask_l1": (1.5, 2.4)}
MAX_OVERHEAD = 1.03


def plain_steps(trainer: Trainer) -> Iterator[None]:
    """Take one step of the first run at each ``next``, on one batch, with the operations of its recipe written out."""
    stage = trainer.run.recipe.stages["disentangle"]
    _, step = trainer._build("disentangle")
    batch = stage_batch(trainer, "disentangle", step)
    weights = {name: step.phases[-1].terms[index].weight(0) for index, name in enumerate(stage.terms)}
    network, optimizer = trainer.generator, step.generator.optimizer
    wants = step.wants(step.phases)
    while True:
        optimizer.zero_grad()
        outputs = network(wants, source=batch["source"], partner=batch["partner"])
        losses = {"recon": functional.l1_loss(outputs["output"], batch["target"])}
        for short, name in (("light", "light_logits"), ("pose", "pose_logits"), ("identity", "identity_code")):
            losses[f"con_{short}"] = contrastive(outputs[name], outputs[f"partner_{name}"], batch[f"same_{short}"])
        for short in ("pose", "light"):
            losses[f"class_{short}"] = functional.cross_entropy(outputs[f"{short}_logits"], batch[f"{short}_class"])
        torch.stack([weights[name] * loss for name, loss in losses.items()]).sum().backward()
        optimizer.step()
        yield


def overhead(folder: Path, batch: int, pairs: int) -> Row:
    """Compare a whole step of the trainer with the bare operations on a batch in memory."""
    pack = noise_pack(4000, 100)
    settings = {"stages.disentangle.batch": batch}
    whole, plain = (seed_trainer(pack, folder, settings) for _ in range(2))
    steps = {"whole": training_steps(whole, "disentangle"), "plain": plain_steps(plain)}
    times = time_interleaved({name: step.__next__ for name, step in steps.items()}, pairs)
    ratio = Ratio.of(times["whole"], times["plain"])
    return Row(
        "a step of the trainer, its data included, in times of the same operations on tensors in memory",
        str(ratio),
        f"{MAX_OVERHEAD}x",
        ratio.median <= MAX_OVERHEAD,
    )


def against_reference(kind: Kind, folder: Path, batch: int, pairs: int) -> list[Row]:
    """Compare a stage in float32 and bf16 with the seed's loop."""
    loops = ("reference", "fp32", "bf16")
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(_stepper, name, kind, folder, batch)) for name in loops}
        times = time_interleaved(workers, pairs)
    rate = batch / statistics.median(times["fp32"])
    print(f"{kind}: {rate:.1f} images/s in float32", file=sys.stderr, flush=True)
    return [
        Ratio.of(times["reference"], times[name]).row(f"{NAMES[kind]}, {name}, against the seed's loop", goal)
        for name, goal in zip(("fp32", "bf16"), GOALS[kind], strict=True)
    ]


def _stepper(loop: str, kind: Kind, folder: Path, batch: int) -> Callable[[], None]:
    """Return a function that takes one step and returns nothing, so that no result is sent between processes."""
    step = Loop(kind, batches(folder, batch)) if loop == "reference" else _enface_step(kind, folder / loop, loop, batch)

    def take() -> None:
        step()

    return take


def _enface_step(kind: Kind, work: Path, precision: str, batch: int) -> Callable[[], object]:
    work.mkdir(exist_ok=True)
    settings = {f"stages.{kind}.batch": batch, "engine.precision": precision}
    return training_steps(seed_trainer(noise_pack(4000, 100), work, settings), kind).__next__


def waiting(folder: Path, batch: int, pairs: int) -> Row:
    """Measure the share of a step that is spent on gathering its batch."""
    trainer = seed_trainer(noise_pack(4000, 100), folder, {"stages.disentangle.batch": batch})
    (_, step), number = trainer._build("disentangle"), itertools.count()

    def gather() -> dict[str, Tensor]:
        return stage_batch(trainer, "disentangle", step, next(number))

    times = time_interleaved({"gather": gather, "whole": training_steps(trainer, "disentangle").__next__}, pairs)
    share = Ratio.of(times["gather"], times["whole"]).median
    return Row("waiting for data, as a share of a step of the 1st run", f"{share:.2%}", "2 %", share < 0.02)


def rows(
    quick: bool = False, batch: int | None = None, pairs: int = 5, kinds: Sequence[Kind] = tuple(NAMES)
) -> list[Row]:
    """Return all rows.

    Args:
        quick: Small batches and few timings, to test the benchmark.
        batch: Images per step; default: as documented of each run.
        pairs: Timings of each loop.
        kinds: Runs to compare with the seed's loop.
    """
    batch, pairs = (4, 1) if quick else (batch, pairs)
    with tempfile.TemporaryDirectory() as name:
        folder = write_faces(Path(name), 2 if quick else 10)
        measured = [overhead(folder, batch or 16, 2 * pairs), waiting(folder, batch or 16, pairs)]
        for kind in kinds:
            measured += against_reference(kind, folder, batch or BATCHES[kind], pairs)
    return measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, help="Images per step; default: as documented of each run.")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--kinds", nargs="*", default=list(NAMES), choices=list(NAMES))
    arguments = parser.parse_args()
    print(markdown(rows(batch=arguments.batch, pairs=arguments.pairs, kinds=arguments.kinds)))


if __name__ == "__main__":
    main()
