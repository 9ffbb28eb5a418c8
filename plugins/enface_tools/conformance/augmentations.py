"""Rules for augmentations."""

from __future__ import annotations

import torch
from torch import Tensor

from enface.plugin.components import Augmentation
from enface.training.checkpoint import load, save
from enface_tools.conformance.fixture import SIZE, Fixture
from enface_tools.conformance.rules import RuleViolation, Skipped, rule
from enface_tools.conformance.samples import require_rms_close, require_unchanged, smooth_images
from enface_tools.conformance.variants import Variant, finite, require_works, variant_rules

SIZES = (32, SIZE)
DRAWS = 4
LARGEST = 5.0
CERTAINTIES = (-1.0, -1.0, 0.9, -1.0)


def _augmented(augmentation: Augmentation, seed: int, image: Tensor | None = None) -> Tensor:
    """Images augmented with the random numbers of a seed."""
    torch.manual_seed(seed)
    augmented: Tensor = augmentation(smooth_images(1) if image is None else image)
    return augmented


def _all_draws(augmentation: Augmentation) -> Tensor:
    return torch.stack([_augmented(augmentation, seed) for seed in range(DRAWS)])


@rule("shape")
def _shape(fixture: Fixture) -> None:
    """Images of two sizes keep their shape and stay float32."""
    for size in SIZES:
        image = smooth_images(1, size)
        output = _augmented(fixture.build(size), 1, smooth_images(1, size))
        if output.shape != image.shape or output.dtype != torch.float32:
            raise RuleViolation(f"float32 images {tuple(image.shape)} become {output.dtype} {tuple(output.shape)}")


@rule("range")
def _range(fixture: Fixture) -> None:
    """Images in [-1, 1] stay finite and within [-5, 5]."""
    for size in SIZES:
        augmentation = fixture.build(size)
        outputs = torch.stack([_augmented(augmentation, seed, smooth_images(1, size)) for seed in range(DRAWS)])
        if not float(outputs.abs().max()) <= LARGEST:
            raise RuleViolation(
                f"a value becomes {float(outputs.abs().max()):.3g}; images are in [-1, 1], not 0 to 255"
            )


@rule("changes images")
def _changes(fixture: Fixture) -> None:
    """It changes images, and not always in the same way."""
    augmentation = fixture.build()
    first, second = _augmented(augmentation, 1), _augmented(augmentation, 2)
    if torch.equal(first, smooth_images(1)):
        raise RuleViolation("the images are unchanged; give an 'example' that changes them")
    if torch.equal(first, second):
        raise RuleViolation("other random numbers give the same images; use torch's random numbers")


@rule("same seed, same images")
def _deterministic(fixture: Fixture) -> None:
    """The same seed of torch gives the same images, so that a resumed run continues exactly."""
    augmentation = fixture.build()
    first = _augmented(augmentation, 1)
    if not torch.equal(_augmented(augmentation, 1), first) or not torch.equal(_augmented(fixture.build(), 1), first):
        raise RuleViolation("the same seed gives other images; use only torch's random numbers, and keep no state")


@rule("same draw for a pair")
def _same_draw(fixture: Fixture) -> None:
    """From the same seed it draws as many random numbers for any images, and a call changes no state."""
    augmentation = fixture.build()
    before = {name: item.clone() for name, item in augmentation.state_dict().items()}
    states = []
    for image in (smooth_images(1), smooth_images(2), torch.zeros_like(smooth_images(1))):
        _augmented(augmentation, 1, image)
        states.append(torch.get_rng_state())
    if not all(torch.equal(state, states[0]) for state in states):
        raise RuleViolation(
            "the number of random numbers that it draws depends on the image, so target and output of a pair could not "
            "be changed alike; draw first, and decide afterwards"
        )
    if any(not torch.equal(item, before[name]) for name, item in augmentation.state_dict().items()):
        raise RuleViolation("a call changes its state, so target and output are not changed alike; adapt in 'observe'")


@rule("gradient")
def _gradient(fixture: Fixture) -> None:
    """A finite, nonzero gradient passes through to each image; otherwise the generator could not learn."""
    image = smooth_images(1).requires_grad_()
    output = _augmented(fixture.build(), 1, image)
    if output.requires_grad:
        output.square().mean().backward()  # type: ignore[no-untyped-call]
    if image.grad is None or bool((image.grad.flatten(1) == 0).all(1).any()):
        raise RuleViolation("no gradient passes through to each image; use differentiable operations")
    if not image.grad.isfinite().all():
        raise RuleViolation("the gradient into the images is not finite")


@rule("no in-place change")
def _no_in_place_change(fixture: Fixture) -> None:
    """The input images stay unchanged."""
    image = smooth_images(1)
    _augmented(fixture.build(), 1, image)
    require_unchanged({"the images": smooth_images(1)}, {"the images": image})


@rule("state restored")
def _restored(fixture: Fixture) -> None:
    """An adaptive augmentation continues exactly when its state is restored from a checkpoint."""
    used, new = fixture.build(), fixture.build()
    if not used.adaptive:
        raise Skipped("it is not adaptive")
    before = _all_draws(used)
    for certainty in CERTAINTIES:
        used.observe(certainty)
    file = fixture.folder / "augmentation.safetensors"
    save(file, {f"it/{name}": value for name, value in used.state_dict().items()}, {})
    load(file).load("it", new)
    message = "its state_dict does not hold all of its state; keep it in buffers"
    require_rms_close(_all_draws(new), _all_draws(used), message, 0)
    for certainty in CERTAINTIES * 8:
        used.observe(certainty)
        new.observe(certainty)
    require_rms_close(_all_draws(new), _all_draws(used), message, 0)
    if torch.equal(_all_draws(used), before):
        raise RuleViolation("it is declared adaptive, but observing changes nothing; let its 'example' react sooner")


@rule("CUDA")
def _cuda(fixture: Fixture) -> None:
    """Images on a CUDA device are augmented there and keep a gradient."""
    if not torch.cuda.is_available():
        raise Skipped("no CUDA device is available")
    image = smooth_images(1).to("cuda").requires_grad_()
    output = _augmented(fixture.build().to("cuda"), 1, image)
    if not output.is_cuda or output.shape != image.shape or not output.isfinite().all() or not output.requires_grad:
        raise RuleViolation("on a CUDA device the images leave the device, or lose their shape or gradient")


def _variant(fixture: Fixture, variant: Variant) -> None:
    augmentation = variant.build(fixture)
    if augmentation is None:
        return
    image = variant.column("target")
    output = _augmented(augmentation, 1, image)
    require_works(variant, output.shape == image.shape and finite(output), f"it gives {tuple(output.shape)}")


AUGMENTATION_RULES = (
    *(_shape, _range, _changes, _deterministic, _same_draw, _gradient),
    *(_no_in_place_change, _restored, _cuda),
    *variant_rules(_variant),
)
