"""Rules for augmentations."""

from __future__ import annotations

import torch
from torch import Tensor

from enface.plugin.components import Augmentation
from enface.train.checkpoint import load, save
from enface_tools.conformance.comparing import agree, refuse_changed
from enface_tools.conformance.fixture import SIZE, Subject
from enface_tools.conformance.rules import BrokenRule, NotAsked, rule
from enface_tools.conformance.samples import smooth

SIZES = (32, SIZE)
DRAWS = 4
FARTHEST = 5.0
CERTAINTIES = (-1.0, -1.0, 0.9, -1.0)


def _drawn(augmentation: Augmentation, seed: int, image: Tensor | None = None) -> Tensor:
    """Images that it changed, by the draws of a seed."""
    torch.manual_seed(seed)
    found: Tensor = augmentation(smooth(1) if image is None else image)
    return found


def _all(augmentation: Augmentation) -> Tensor:
    return torch.stack([_drawn(augmentation, seed) for seed in range(DRAWS)])


@rule("shape")
def _shape(subject: Subject) -> None:
    """Images of two sizes keep their shape and stay float32."""
    for size in SIZES:
        found = _drawn(subject.build(size), 1, smooth(1, size))
        if found.shape != smooth(1, size).shape or found.dtype != torch.float32:
            raise BrokenRule(f"float32 images {tuple(smooth(1, size).shape)} become {found.dtype} {tuple(found.shape)}")


@rule("range")
def _range(subject: Subject) -> None:
    """Images in [-1, 1] stay finite and do not leave [-5, 5]."""
    for size in SIZES:
        augmentation = subject.build(size)
        found = torch.stack([_drawn(augmentation, seed, smooth(1, size)) for seed in range(DRAWS)])
        if not float(found.abs().max()) <= FARTHEST:
            raise BrokenRule(f"a value becomes {float(found.abs().max()):.3g}; images are in [-1, 1], not 0 to 255")


@rule("changes images")
def _changes(subject: Subject) -> None:
    """It changes images, not always in the same way."""
    augmentation = subject.build()
    first, second = _drawn(augmentation, 1), _drawn(augmentation, 2)
    if torch.equal(first, smooth(1)):
        raise BrokenRule("the images are what they were; give an 'example' that changes them")
    if torch.equal(first, second):
        raise BrokenRule("other draws give the same images; draw by torch's random numbers")


@rule("same draws, same images")
def _deterministic(subject: Subject) -> None:
    """The same seed of torch gives the same images, so that a resumed run goes on as it would have."""
    augmentation = subject.build()
    first = _drawn(augmentation, 1)
    if not torch.equal(_drawn(augmentation, 1), first) or not torch.equal(_drawn(subject.build(), 1), first):
        raise BrokenRule("the same seed gives other images; draw by torch's random numbers alone, and keep nothing")


@rule("gradient")
def _gradient(subject: Subject) -> None:
    """A finite gradient, not 0, goes through it into each image, or the generator could not learn."""
    image = smooth(1).requires_grad_()
    found = _drawn(subject.build(), 1, image)
    if found.requires_grad:
        found.square().mean().backward()  # type: ignore[no-untyped-call]
    if image.grad is None or bool((image.grad.flatten(1) == 0).all(1).any()):
        raise BrokenRule("no gradient goes through to each image; use differentiable operations")
    if not image.grad.isfinite().all():
        raise BrokenRule("the gradient into the images is not finite")


@rule("no in-place change")
def _no_in_place_change(subject: Subject) -> None:
    """The images that it is given are the same after it ran."""
    image = smooth(1)
    _drawn(subject.build(), 1, image)
    refuse_changed({"the images": smooth(1)}, {"the images": image})


@rule("state restored")
def _restored(subject: Subject) -> None:
    """What an adaptive one has noted, written to a checkpoint and read into a new one, goes on there exactly."""
    used, new = subject.build(), subject.build()
    if not used.adaptive:
        raise NotAsked("it is not adaptive")
    before = _all(used)
    for certainty in CERTAINTIES:
        used.observe(certainty)
    file = subject.folder / "augmentation.safetensors"
    save(file, {f"it/{name}": value for name, value in used.state_dict().items()}, {})
    load(file).load("it", new)
    why = "what it has noted is not all in its state_dict; keep it in buffers"
    agree(_all(new), _all(used), why, 0)
    for certainty in CERTAINTIES * 8:
        used.observe(certainty)
        new.observe(certainty)
    agree(_all(new), _all(used), why, 0)
    if torch.equal(_all(used), before):
        raise BrokenRule("it calls itself adaptive, and what it notes changes nothing; let its 'example' react sooner")


@rule("CUDA")
def _cuda(subject: Subject) -> None:
    """Images on a CUDA device are changed there, and keep a gradient."""
    if not torch.cuda.is_available():
        raise NotAsked("there is no CUDA device here")
    image = smooth(1).to("cuda").requires_grad_()
    found = _drawn(subject.build().to("cuda"), 1, image)
    if not found.is_cuda or found.shape != image.shape or not found.isfinite().all() or not found.requires_grad:
        raise BrokenRule("on a CUDA device the images leave it, or lose their shape or gradient")


AUGMENTATION_RULES = (
    *(_shape, _range, _changes, _deterministic, _gradient),
    *(_no_in_place_change, _restored, _cuda),
)
