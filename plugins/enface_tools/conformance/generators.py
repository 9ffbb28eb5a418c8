"""Rules for generators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from enface.plugin.components import Generator
from enface.training.build import ENCODED
from enface_tools.conformance.fixture import BATCH, SIZE, Fixture
from enface_tools.conformance.networks import Trial, batch_column, build_for_size, network_rules
from enface_tools.conformance.rules import RuleViolation, Skipped, rule
from enface_tools.conformance.samples import COLUMN_IMAGES, flat_tensors, surrogate_loss
from enface_tools.conformance.variants import MIXED_PLANES, Variant, finite, require_works, variant_rules

SIZES = (16, 32, 48, 128)
OUTPUT = frozenset({"output"})


def _inputs(generator: Generator, wants: Iterable[str], size: int = SIZE) -> dict[str, Tensor]:
    """The columns from which the wanted names are computed."""
    return {item: batch_column(item, size) for name in wants for item in generator.provides[name]}


def _trial(fixture: Fixture) -> Trial:
    def call(generator: Any, inputs: Mapping[str, Tensor]) -> Any:
        return generator(OUTPUT, **inputs)["output"]

    inputs = fixture.cached("inputs", lambda: _inputs(fixture.build(), OUTPUT))
    return Trial(fixture.build, call, inputs)


@rule("provides")
def _provides(fixture: Fixture) -> None:
    """It provides an output, and returns exactly the wanted names, finite and with one row per image."""
    generator: Generator = fixture.build()
    if "output" not in generator.provides:
        raise RuleViolation("it provides no 'output'; name it in 'provides'")
    for name in generator.provides:
        provided = generator(frozenset({name}), **_inputs(generator, [name]))
        if set(provided) != {name}:
            raise RuleViolation(f"for 'wants' of {name} it returns {sorted(provided)}; compute only what is wanted")
        tensors = flat_tensors(provided[name])
        wrong = [item for item in tensors if item.shape[:1] != (BATCH,) or not item.isfinite().all()]
        if wrong:
            raise RuleViolation(f"{name} of {BATCH} images is {tuple(wrong[0].shape)}, or not finite")
    everything = generator(frozenset(generator.provides), **_inputs(generator, generator.provides))
    if set(everything) != set(generator.provides):
        raise RuleViolation(f"for 'wants' of all it provides it returns {sorted(everything)}")


@rule("output")
def _output(fixture: Fixture) -> None:
    """The output is an image of the same size, (N, C, H, W) in [-1, 1]."""
    generator: Generator = fixture.build()
    output = generator(OUTPUT, **_inputs(generator, OUTPUT))["output"].detach()
    expected = (BATCH, 3, SIZE, SIZE)
    if output.shape != expected:
        raise RuleViolation(f"for {BATCH} images of {SIZE} px the output is {tuple(output.shape)}, not {expected}")
    if not float(output.abs().max()) <= 1:
        raise RuleViolation(f"the output reaches {float(output.abs().max()):.3g}; keep it in [-1, 1], as by tanh")


@rule("no unwanted computation")
def _no_unwanted_computation(fixture: Fixture) -> None:
    """If nothing is wanted, none of its layers runs."""
    generator: Generator = fixture.build()
    calls: list[str] = []
    for name, module in generator.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    if generator(frozenset()) != {}:
        raise RuleViolation("for empty 'wants' it returns something")
    if calls:
        raise RuleViolation(f"for empty 'wants' it runs {calls[0]}; check 'wants' first")


@rule("parts")
def _parts(fixture: Fixture) -> None:
    """Its parts share no weight and together hold all of its weights."""
    generator: Generator = fixture.build()
    own = {id(parameter): name for name, parameter in generator.named_parameters()}
    parts = [id(parameter) for part in generator.parts.values() for parameter in part.parameters()]
    if len(parts) != len(set(parts)):
        raise RuleViolation("two of its parts share a weight; 'freeze' could not tell them apart")
    missing = [name for number, name in own.items() if number not in parts]
    if missing:
        raise RuleViolation(f"no part holds {', '.join(missing[:3])}; 'freeze' could not reach every weight")
    if set(parts) - set(own):
        raise RuleViolation("a part has weights that are not the generator's; assign it to an attribute")


@rule("codes")
def _codes(fixture: Fixture) -> None:
    """If it names its encoder, the code of an image gives the same results as the image."""
    generator: Generator = fixture.build().eval()
    if not generator.encoder_part:
        return
    if generator.encoder_part not in generator.parts:
        raise RuleViolation(f"its encoder_part {generator.encoder_part!r} is not one of its parts")
    images = _inputs(generator, generator.provides)
    encoder = generator.parts[generator.encoder_part]
    coded = {f"{ENCODED}{name}" if name in COLUMN_IMAGES else name: item for name, item in images.items()}
    with torch.no_grad():
        coded = {name: encoder(item) if name.startswith(ENCODED) else item for name, item in coded.items()}
        by_image = generator(frozenset(generator.provides), **images)
        by_code = generator(frozenset(generator.provides), **coded)
    for name, value in by_image.items():
        if not all(map(torch.equal, flat_tensors(value), flat_tensors(by_code[name]))):
            raise RuleViolation(f"{name} differs if codes are given in place of the images")


@rule("learns")
def _learns(fixture: Fixture) -> None:
    """The output gives its weights a gradient, and all that it provides gives each trainable weight a finite one."""
    generator: Generator = fixture.build()
    loss = surrogate_loss(generator(OUTPUT, **_inputs(generator, OUTPUT))["output"])
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in generator.parameters() if parameter.grad is not None]
    if not any(bool((item != 0).any()) for item in gradients):
        raise RuleViolation("no weight gets a gradient from the output; is it detached?")
    everything = generator(frozenset(generator.provides), **_inputs(generator, generator.provides))
    surrogate_loss(everything).backward()  # type: ignore[no-untyped-call]
    trainable = {name: item for name, item in generator.named_parameters() if item.requires_grad}
    bad = [name for name, item in trainable.items() if item.grad is None or not item.grad.isfinite().all()]
    if bad:
        raise RuleViolation(f"the gradient of {', '.join(bad[:3])} is missing or not finite")


@rule("sizes")
def _sizes(fixture: Fixture) -> None:
    """It makes outputs of 16, 32, 48 and 128 px, or refuses with an error that names the size."""
    for size in SIZES:
        generator: Any = build_for_size(fixture, size)
        if generator is None:
            continue
        with torch.no_grad():
            output = generator.eval()(OUTPUT, **_inputs(generator, OUTPUT, size))["output"]
        if output.shape != (BATCH, 3, size, size):
            raise RuleViolation(f"for images of {size} px the output is {tuple(output.shape)}")


@rule("layers")
def _layers(fixture: Fixture) -> None:
    """Masks, one for each image of the flow and one for ``painted``, sum to 1 and blend them into the output.

    They are never negative. Also if weights a hundred times as large move pixels far beyond the edges, all numbers are
    finite, and the output is within the range of its layers.
    """
    generator: Generator = fixture.build().eval()
    names = {"masks", "flow", "painted"} & set(generator.provides)
    if "masks" not in names:
        raise Skipped("it provides no masks")
    inputs = _inputs(generator, [*names, "output"])
    for factor in (1, 100):
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.mul_(factor)
            provided = generator(frozenset({*names, "output"}), **inputs)
        words = f"with weights {factor} times as large, " if factor > 1 else ""
        _require_masks(provided, words)
        if "painted" in names:
            _require_blend(provided["output"], [provided["painted"], *inputs.values()], words)


def _require_masks(provided: Mapping[str, Tensor], words: str) -> None:
    masks, shape = provided["masks"], tuple(provided["masks"].shape)
    if masks.dim() != 4 or masks.shape[0] != BATCH or masks.shape[2:] != (SIZE, SIZE):
        raise RuleViolation(f"its masks are {shape}, not (N, images + 1, H, W)")
    for name, value in provided.items():
        if not finite(value):
            raise RuleViolation(f"{words}{name} is not finite; limit it, as sampling limits places to the image")
    if float(masks.min()) < 0 or float((masks.sum(1) - 1).abs().max()) > 1e-4:
        raise RuleViolation(f"{words}its masks are not weights that sum to 1 at each pixel; use a softmax over them")
    if "flow" in provided:
        expected = (BATCH, masks.shape[1] - 1, 2, SIZE, SIZE)
        if provided["flow"].shape != expected:
            raise RuleViolation(f"with masks {shape}, the flow is {tuple(provided['flow'].shape)}, not {expected}")


def _require_blend(output: Tensor, layers: Iterable[Tensor], words: str) -> None:
    """Raise RuleViolation if an image's output leaves the range of its layers, which are unmoved here."""
    images = torch.stack([layer.flatten(1) for layer in layers if layer.shape == output.shape])
    least, most = images.amin((0, 2)), images.amax((0, 2))
    values = output.flatten(1)
    excess = torch.maximum(least - values.amin(1), values.amax(1) - most).max()
    if float(excess) > 1e-4:
        raise RuleViolation(
            f"{words}the output exceeds the range of its layers by {float(excess):.3g}; blend them by the masks"
        )


def _variant(fixture: Fixture, variant: Variant) -> None:
    generator: Any = variant.build(fixture)
    if generator is None:
        return
    for name in generator.provides:
        inputs = {item: variant.column(item) for item in generator.provides[name]}
        with torch.no_grad():
            provided = generator.eval()(frozenset({name}), **inputs)[name]
        require_works(variant, all(map(finite, flat_tensors(provided))), f"{name} is not finite")
        if name == "output":
            expected = (BATCH, variant.target, *variant.size)
            shape = tuple(provided.shape)
            require_works(variant, shape == expected, f"the output is {shape}, not {expected}")


@rule("multiple")
def _multiple(fixture: Fixture) -> None:
    """If it declares a ``multiple``, it makes outputs at other sizes than its own that are multiples of it."""
    generator: Any = fixture.build().eval()
    if generator.multiple is None:
        raise Skipped("it declares none, so it is applied to images of the size in training only")
    height, width = (-(-side // generator.multiple) * generator.multiple for side in (SIZE, SIZE + 1))
    variant = Variant((height, width))
    with torch.no_grad():
        output = generator(OUTPUT, **{name: variant.column(name) for name in generator.provides["output"]})["output"]
    if output.shape != (BATCH, 3, height, width):
        raise RuleViolation(
            f"its multiple is {generator.multiple}, but for images of {height} x {width} px the output is "
            f"{tuple(output.shape)}"
        )


GENERATOR_RULES = (
    *(_provides, _output, _no_unwanted_computation, _parts, _codes, _learns, _layers, _sizes, _multiple),
    *variant_rules(_variant, MIXED_PLANES),
    *network_rules(_trial),
)
