"""A GAN step (hinge patch GAN + L1 + LPIPS): enface against the same step written plainly, as in pix2pix's code.

    python benchmarks/gan.py [--quick] [--batch 16] [--pairs 15]

The seed's network at width 1, 96 px, ``patch_gan`` and AlexNet's LPIPS, float32, on one batch in memory. The plain step
has the same networks with the same weights, in the default memory format, torch's default Adam, LPIPS as its package
computes it, the critic frozen while the generator learns, and every loss read back as a number at each step. Before the
timing, the losses of both steps must agree. Timings alternate between processes, one for each step; a second plain step
has torch's own ELU, because the network's is faster.
"""

from __future__ import annotations

import copy
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from enface.system.malloc import freed_memory_kept
from enface.training.step import Step
from enface.training.trainer import Trainer
from enface_plugins.generators.elu import ELU
from enface_plugins.pretrained.networks import lpips_network
from seed_run import noise_pack, seed_trainer, stage_batch
from table import Ratio, Row, run_program, time_interleaved
from worker import Worker

GOAL = 1.2
STAGE = "only_l1"
LR, BETAS = 2e-4, (0.5, 0.999)
L1_WEIGHT = 100.0
ADAM = f"{{use: adam, lr: {LR}, betas: [{BETAS[0]}, {BETAS[1]}]}}"
SETTINGS = {
    f"stages.{STAGE}.optimizer": ADAM,
    f"stages.{STAGE}.discriminators": f"{{patch: {{use: patch_gan, optimizer: {ADAM}}}}}",
    f"stages.{STAGE}.terms.recon.weight": L1_WEIGHT,
    f"stages.{STAGE}.terms.gan": "{use: hinge, against: patch}",
    f"stages.{STAGE}.terms.lpips": "{use: lpips, net: alex}",
    "engine.device": "cpu",
    "engine.precision": "fp32",
}
TOLERANCE = 1e-3
"""Relative difference of the losses that rounding in different memory formats may cause."""


class PlainStep:
    """The step as loops of paired translation write it: the critic on real and fake, then the generator.

    Args:
        generator: Takes ``source``, returns ``output``.
        critic: Takes an image, returns ``logits``.
        batch: ``source`` and ``target``, (N, 3, H, W) in [-1, 1].
    """

    def __init__(self, generator: nn.Module, critic: nn.Module, batch: Mapping[str, Tensor]) -> None:
        default = torch.contiguous_format
        self.generator, self.critic = (copy.deepcopy(item).to(memory_format=default) for item in (generator, critic))
        self.source, self.target = (batch[name].contiguous() for name in ("source", "target"))
        self.lpips = lpips_network("alex")
        self.generator_optimizer, self.critic_optimizer = (
            torch.optim.Adam([item for item in module.parameters() if item.requires_grad], lr=LR, betas=BETAS)
            for module in (self.generator, self.critic)
        )

    def __call__(self) -> dict[str, float]:
        """Take one step; return the losses under enface's names."""
        output = self.generator(frozenset({"output"}), source=self.source)["output"]
        self.critic.requires_grad_(True)
        self.critic_optimizer.zero_grad()
        fake = functional.relu(1 + self.critic(output.detach())["logits"]).mean()
        real = functional.relu(1 - self.critic(self.target)["logits"]).mean()
        (real + fake).backward()
        self.critic_optimizer.step()
        self.critic.requires_grad_(False)
        self.generator_optimizer.zero_grad()
        losses = {
            "recon": functional.l1_loss(output, self.target),
            "gan": -self.critic(output)["logits"].mean(),
            "lpips": self.lpips(output, self.target).mean(),
        }
        (L1_WEIGHT * losses["recon"] + losses["gan"] + losses["lpips"]).backward()
        self.generator_optimizer.step()
        return {"patch.gan": real.item() + fake.item(), **{name: loss.item() for name, loss in losses.items()}}


def stepper(name: str, batch: int) -> Callable[[], dict[str, float]]:
    """Return a function that takes one step and returns its losses.

    Args:
        name: ``enface``, ``plain``, or ``torch`` for the plain step with torch's own ELU.
        batch: Images per step.
    """
    with tempfile.TemporaryDirectory() as folder:
        trainer = seed_trainer(noise_pack(4000, 100), Path(folder), {**SETTINGS, f"stages.{STAGE}.batch": batch})
        _, step = trainer._build(STAGE)
        columns = stage_batch(trainer, STAGE, step)
    if name == "enface":
        return enface_steps(trainer, step, columns).__next__
    torch.use_deterministic_algorithms(False)
    plain = PlainStep(trainer.generator, step.critics["patch"].module, columns)
    if name == "torch":
        replace_elu(plain.generator)
    return plain


def replace_elu(network: nn.Module) -> None:
    """Replace the network's own ELU by torch's."""
    for module in list(network.modules()):
        for key, child in module.named_children():
            if isinstance(child, ELU):
                setattr(module, key, nn.ELU())


def enface_steps(trainer: Trainer, step: Step, batch: dict[str, Tensor]) -> Iterator[dict[str, float]]:
    """Take one step of enface at each ``next``, on the same batch; return its losses, read back likewise."""
    with freed_memory_kept():
        while True:
            values = step(0, [lambda: dict(batch)])
            terms = {name.removeprefix("term/"): value for name, value in values.items() if name.startswith("term/")}
            yield trainer.run.engine.average(terms)


def check_losses(losses: Mapping[str, float], expected: Mapping[str, float]) -> None:
    """Raise AssertionError if two steps have different losses, because their times could not be compared."""
    assert losses.keys() == expected.keys(), f"{sorted(losses)} and {sorted(expected)}"
    for name, value in expected.items():
        assert math.isclose(losses[name], value, rel_tol=TOLERANCE, abs_tol=TOLERANCE), (
            f"{name}: {losses[name]} and {value}"
        )


def rows(quick: bool = False, batch: int = 16, pairs: int = 15) -> list[Row]:
    """Return all rows.

    Args:
        quick: A small batch and few timings, to test the benchmark.
        batch: Images per step.
        pairs: Timings of each step.
    """
    batch, pairs = (2, 2) if quick else (batch, pairs)
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(stepper, name, batch)) for name in ("plain", "torch", "enface")}
        losses = {name: step() for name, step in workers.items()}
        for name in ("plain", "torch"):
            check_losses(losses["enface"], losses[name])
        times = time_interleaved(workers, pairs)
    for name, durations in times.items():
        print(f"{name}: {batch / statistics.median(durations):.1f} images/s", file=sys.stderr, flush=True)
    what = f"GAN step (hinge patch GAN, L1, LPIPS), batch {batch}, against a plain step"
    return [
        Ratio.of(times["plain"], times["enface"]).row(what, GOAL),
        Row(f"{what} with torch's own ELU", str(Ratio.of(times["torch"], times["enface"])), "", None),
    ]


if __name__ == "__main__":
    run_program(rows, __doc__)
