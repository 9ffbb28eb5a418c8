"""A GAN step (hinge patch GAN + L1 + LPIPS): enface against the same written plainly, as pix2pix's code does.

    python benchmarks/gan.py [--batch 16] [--pairs 15]

The seed's network at width 1, 96 px, ``patch_gan`` and AlexNet's LPIPS, float32, one batch that lies in memory. The
plain step has the same networks from the same weights, in the usual memory format, Adam as it comes, LPIPS as its
package computes it, the critic frozen while the generator learns, and every loss read back as a number at each step.
Before anything is timed, both must find the same losses. Both are timed in turn, each in a process of its own; a
second plain step has torch's own ELU, for the network's is a faster one.
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

from enface.train.step import Step
from enface.train.trainer import Trainer
from enface_plugins.generators.elu import ELU
from enface_plugins.metrics.pretrained import lpips_network
from seed_run import batch_of, noise_pack, trainer
from table import Ratio, Row, in_turn, program
from worker import Apart

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
SAME = 1e-3
"""How far the losses of the two may be apart, relatively: rounding, which memory formats differ in."""


class Plain:
    """The step as loops of paired translation write it: the critic on real and fake, then the generator.

    Args:
        generator: Takes ``source``, gives ``output``; ``critic`` an image, gives ``logits``.
        batch: ``source`` and ``target``, (N, 3, H, W) in [-1, 1].
    """

    def __init__(self, generator: nn.Module, critic: nn.Module, batch: Mapping[str, Tensor]) -> None:
        usual = torch.contiguous_format
        self.generator, self.critic = (copy.deepcopy(item).to(memory_format=usual) for item in (generator, critic))
        self.source, self.target = (batch[name].contiguous() for name in ("source", "target"))
        self.lpips = lpips_network("alex")
        self.generator_optimizer, self.critic_optimizer = (
            torch.optim.Adam([item for item in module.parameters() if item.requires_grad], lr=LR, betas=BETAS)
            for module in (self.generator, self.critic)
        )

    def __call__(self) -> dict[str, float]:
        """One step; the losses, under enface's names."""
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


def take(name: str, batch: int) -> Callable[[], dict[str, float]]:
    """A function that takes one step, its losses read back.

    Args:
        name: ``ours``, ``plain``, or ``torch`` for the plain one with torch's own ELU.
        batch: Images a step.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = trainer(noise_pack(4000, 100), Path(folder), {**SETTINGS, f"stages.{STAGE}.batch": batch})
        _, step = made._build(STAGE)
        given = batch_of(made, STAGE, step)
    if name == "ours":
        steps = ours(made, step, given)
        return lambda: next(steps)
    torch.use_deterministic_algorithms(False)
    plain = Plain(made.generator, step.critics["patch"].module, given)
    if name == "torch":
        for module in list(plain.generator.modules()):
            for key, child in module.named_children():
                if isinstance(child, ELU):
                    setattr(module, key, nn.ELU())
    return plain


def ours(made: Trainer, step: Step, batch: dict[str, Tensor]) -> Iterator[dict[str, float]]:
    """Steps of enface on the same batch, as it trains: its memory kept, its losses read back likewise."""
    with made.run.engine.freed_memory_kept():
        while True:
            values = step(0, [lambda: dict(batch)])
            terms = {name.removeprefix("term/"): value for name, value in values.items() if name.startswith("term/")}
            yield made.run.engine.average(terms)


def check_same(ours: Mapping[str, float], plain: Mapping[str, float]) -> None:
    """Refuse to compare two steps that do not find the same losses."""
    assert ours.keys() == plain.keys(), f"{sorted(ours)} and {sorted(plain)}"
    for name, value in plain.items():
        assert math.isclose(ours[name], value, rel_tol=SAME, abs_tol=SAME), f"{name}: {ours[name]} and {value}"


def rows(quick: bool = False, batch: int = 16, pairs: int = 15) -> list[Row]:
    """Every row.

    Args:
        quick: A small batch and few pairs, to see that it runs.
        batch: Images a step.
    """
    batch, pairs = (2, 2) if quick else (batch, pairs)
    with ExitStack() as stack:
        takes = {name: stack.enter_context(Apart(take, name, batch)) for name in ("plain", "torch", "ours")}
        first = {name: one() for name, one in takes.items()}
        for name in ("plain", "torch"):
            check_same(first["ours"], first[name])
        took = in_turn(takes, pairs)
    for name, times in took.items():
        print(f"{name}: {batch / statistics.median(times):.1f} images/s", file=sys.stderr, flush=True)
    what = f"GAN step (hinge patch GAN, L1, LPIPS), batch {batch}, against one written plainly"
    return [
        Ratio.of(took["plain"], took["ours"]).row(what, GOAL),
        Row(f"{what}, with torch's own ELU", str(Ratio.of(took["torch"], took["ours"])), "", None),
    ]


if __name__ == "__main__":
    program(rows, __doc__)
