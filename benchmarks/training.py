"""Steps of the documented runs: enface against a plain loop of the same operations, and against the seed's own loop.

    python benchmarks/training.py [--batch 16] [--pairs 5] [--kinds disentangle only_l1 mask_l1]

Width 1, 96 px. Every step of enface draws, gathers, crops and normalises its batch; so does the seed's loop, from
files (see reference.py). Ratios are medians of steps taken in turn.
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

from enface.train.trainer import Trainer
from reference import Kind, Loop, batches, contrastive, write_faces
from seed_run import batch_of, noise_pack, steps, trainer
from table import Ratio, Row, in_turn, table
from worker import Apart

NAMES: dict[Kind, str] = {
    "disentangle": "1st run: six losses, two branches",
    "only_l1": "2nd run: L1 alone",
    "mask_l1": "3rd run: mask, encoder frozen",
}
BATCHES: dict[Kind, int] = {"disentangle": 48, "only_l1": 64, "mask_l1": 64}
GOALS: dict[Kind, tuple[float, float]] = {"disentangle": (1.4, 3), "only_l1": (1.6, 3), "mask_l1": (1.5, 2.4)}
OVERHEAD = 1.03


def bare(made: Trainer) -> Iterator[None]:
    """Steps of the first run on one batch, the operations of its recipe written out."""
    stage = made.run.recipe.stages["disentangle"]
    _, step = made._build("disentangle")
    batch = batch_of(made, "disentangle", step)
    weights = {name: step.phases[-1].terms[index].weight(0) for index, name in enumerate(stage.terms)}
    network, optimizer = made.generator, step.generator.optimizer
    wants = step.wants(step.phases)
    while True:
        optimizer.zero_grad()
        found = network(wants, source=batch["source"], partner=batch["partner"])
        losses = {"recon": functional.l1_loss(found["output"], batch["target"])}
        for short, name in (("light", "light_logits"), ("pose", "pose_logits"), ("identity", "identity_code")):
            losses[f"con_{short}"] = contrastive(found[name], found[f"partner_{name}"], batch[f"same_{short}"])
        for short in ("pose", "light"):
            losses[f"class_{short}"] = functional.cross_entropy(found[f"{short}_logits"], batch[f"{short}_class"])
        torch.stack([weights[name] * loss for name, loss in losses.items()]).sum().backward()
        optimizer.step()
        yield


def overhead(folder: Path, batch: int, pairs: int) -> Row:
    """A whole step of the trainer against the bare operations on a batch that lies in memory."""
    pack = noise_pack(4000, 100)
    settings = {"stages.disentangle.batch": batch}
    whole, plain = (trainer(pack, folder, settings) for _ in range(2))
    took = in_turn({"whole": steps(whole, "disentangle").__next__, "bare": bare(plain).__next__}, pairs)
    found = Ratio.of(took["whole"], took["bare"])
    return Row(
        "a step of the trainer, its data included, in times of the same operations on tensors in memory",
        str(found),
        f"{OVERHEAD}x",
        found.median <= OVERHEAD,
    )


def against_reference(kind: Kind, folder: Path, batch: int, pairs: int) -> list[Row]:
    """A stage in float32 and bf16 against the seed's loop."""
    with ExitStack() as stack:
        takes = {
            name: stack.enter_context(Apart(_take, name, kind, folder, batch)) for name in ("reference", "fp32", "bf16")
        }
        found = in_turn(takes, pairs)
    rate = batch / statistics.median(found["fp32"])
    print(f"{kind}: {rate:.1f} images/s in float32", file=sys.stderr, flush=True)
    return [
        Ratio.of(found["reference"], found[name]).row(f"{NAMES[kind]}, {name}, against the seed's loop", goal)
        for name, goal in zip(("fp32", "bf16"), GOALS[kind], strict=True)
    ]


def _take(name: str, kind: Kind, folder: Path, batch: int) -> Callable[[], None]:
    """A function that takes one step; nothing of it is worth sending over."""
    step = Loop(kind, batches(folder, batch)) if name == "reference" else _ours(kind, folder / name, batch)

    def take() -> None:
        step()

    return take


def _ours(kind: Kind, work: Path, batch: int) -> Callable[[], object]:
    work.mkdir(exist_ok=True)
    settings = {f"stages.{kind}.batch": batch, "engine.precision": work.name}
    return steps(trainer(noise_pack(4000, 100), work, settings), kind).__next__


def waiting(folder: Path, batch: int, pairs: int) -> Row:
    """The share of a step that goes by until its batch lies ready."""
    made = trainer(noise_pack(4000, 100), folder, {"stages.disentangle.batch": batch})
    (_, step), number = made._build("disentangle"), itertools.count()

    def gather() -> dict[str, Tensor]:
        return batch_of(made, "disentangle", step, next(number))

    took = in_turn({"gather": gather, "whole": steps(made, "disentangle").__next__}, pairs)
    share = Ratio.of(took["gather"], took["whole"]).median
    return Row("waiting for data, of a step of the 1st run", f"{share:.2%}", "2 %", share < 0.02)


def rows(
    quick: bool = False, batch: int | None = None, pairs: int = 5, kinds: Sequence[Kind] = tuple(NAMES)
) -> list[Row]:
    """Every row.

    Args:
        quick: Small batches and few pairs, to see that it runs.
        batch: Images a step; what is documented of each run unless given.
    """
    batch, pairs = (4, 1) if quick else (batch, pairs)
    with tempfile.TemporaryDirectory() as name:
        folder = write_faces(Path(name), 2 if quick else 10)
        found = [overhead(folder, batch or 16, 2 * pairs), waiting(folder, batch or 16, pairs)]
        for kind in kinds:
            found += against_reference(kind, folder, batch or BATCHES[kind], pairs)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, help="Images a step; what is documented of each run unless given.")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--kinds", nargs="*", default=list(NAMES), choices=list(NAMES))
    arguments = parser.parse_args()
    print(table(rows(batch=arguments.batch, pairs=arguments.pairs, kinds=arguments.kinds)))


if __name__ == "__main__":
    main()
