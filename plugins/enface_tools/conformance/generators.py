"""Rules for generators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from enface.plugin.components import Generator
from enface.train.feature_cache import ENCODED
from enface_tools.conformance.comparing import taught
from enface_tools.conformance.fixture import BATCH, SIZE, Subject
from enface_tools.conformance.networks import Trial, column, fits, network_rules
from enface_tools.conformance.rules import BrokenRule, rule
from enface_tools.conformance.samples import COLUMN_IMAGES, tensors

SIZES = (16, 32, 48, 128)
OUTPUT = frozenset({"output"})


def _inputs(generator: Generator, wants: Iterable[str], size: int = SIZE) -> dict[str, Tensor]:
    """The columns that what is wanted is computed from."""
    return {item: column(item, size) for name in wants for item in generator.provides[name]}


def _trial(subject: Subject) -> Trial:
    def call(generator: Any, inputs: Mapping[str, Tensor]) -> Any:
        return generator(OUTPUT, **inputs)["output"]

    inputs = subject.once("inputs", lambda: _inputs(subject.build(), OUTPUT))
    return Trial(subject.build, call, inputs)


@rule("provides")
def _provides(subject: Subject) -> None:
    """It provides an output, and each name that is wanted and no other, finite and a row an image."""
    generator: Generator = subject.build()
    if "output" not in generator.provides:
        raise BrokenRule("it provides no 'output'; name it in 'provides'")
    for name in generator.provides:
        found = generator(frozenset({name}), **_inputs(generator, [name]))
        if set(found) != {name}:
            raise BrokenRule(f"asked for {name} it returns {sorted(found)}; what nobody wants must not be computed")
        wrong = [item for item in tensors(found[name]) if item.shape[:1] != (BATCH,) or not item.isfinite().all()]
        if wrong:
            raise BrokenRule(f"{name} of {BATCH} images is {tuple(wrong[0].shape)}, or not finite")
    everything = generator(frozenset(generator.provides), **_inputs(generator, generator.provides))
    if set(everything) != set(generator.provides):
        raise BrokenRule(f"asked for all it provides it returns {sorted(everything)}")


@rule("output")
def _output(subject: Subject) -> None:
    """The output is an image of the same size, (N, 3, H, W) in [-1, 1]."""
    generator: Generator = subject.build()
    output = generator(OUTPUT, **_inputs(generator, OUTPUT))["output"].detach()
    if output.shape != (BATCH, 3, SIZE, SIZE):
        raise BrokenRule(f"for {BATCH} images of {SIZE} px the output is {tuple(output.shape)}; {BATCH, 3, SIZE, SIZE}")
    if not float(output.abs().max()) <= 1:
        raise BrokenRule(f"the output reaches {float(output.abs().max()):.3g}; keep it in [-1, 1], as by tanh")


@rule("nothing wanted costs nothing")
def _nothing_wanted(subject: Subject) -> None:
    """When nothing is wanted none of its layers runs."""
    generator: Generator = subject.build()
    calls: list[str] = []
    for name, module in generator.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    if generator(frozenset()) != {}:
        raise BrokenRule("asked for nothing it returns something")
    if calls:
        raise BrokenRule(f"asked for nothing it runs {calls[0]}; look at 'wants' first")


@rule("parts")
def _parts(subject: Subject) -> None:
    """Its parts share no weight and have all of its weights between them."""
    generator: Generator = subject.build()
    mine = {id(parameter): name for name, parameter in generator.named_parameters()}
    parts = [id(parameter) for part in generator.parts.values() for parameter in part.parameters()]
    if len(parts) != len(set(parts)):
        raise BrokenRule("two of its parts share a weight; 'freeze' could not tell them apart")
    missing = [name for number, name in mine.items() if number not in parts]
    if missing:
        raise BrokenRule(f"no part has {', '.join(missing[:3])}; 'freeze' could not reach every weight")
    if set(parts) - set(mine):
        raise BrokenRule("a part has weights that are not the generator's; assign it to an attribute")


@rule("codes")
def _codes(subject: Subject) -> None:
    """Where it names its encoder, a code in an image's place gives what the image does."""
    generator: Generator = subject.build().eval()
    if not generator.encoder_part:
        return
    if generator.encoder_part not in generator.parts:
        raise BrokenRule(f"its encoder_part {generator.encoder_part!r} is none of its parts")
    images = _inputs(generator, generator.provides)
    encoder = generator.parts[generator.encoder_part]
    coded = {f"{ENCODED}{name}" if name in COLUMN_IMAGES else name: item for name, item in images.items()}
    with torch.no_grad():
        coded = {name: encoder(item) if name.startswith(ENCODED) else item for name, item in coded.items()}
        by_image = generator(frozenset(generator.provides), **images)
        by_code = generator(frozenset(generator.provides), **coded)
    for name, found in by_image.items():
        if not all(map(torch.equal, tensors(found), tensors(by_code[name]))):
            raise BrokenRule(f"{name} differs when it is given codes in the images' place")


@rule("learns")
def _learns(subject: Subject) -> None:
    """Its weights get a finite gradient from the output, and each of them from something that it provides."""
    generator: Generator = subject.build()
    found = taught(generator(OUTPUT, **_inputs(generator, OUTPUT))["output"])
    if found.requires_grad:
        found.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in generator.parameters() if parameter.grad is not None]
    if not any(bool((item != 0).any()) for item in gradients):
        raise BrokenRule("no weight gets a gradient from the output; is it detached?")
    everything = generator(frozenset(generator.provides), **_inputs(generator, generator.provides))
    taught(everything).backward()  # type: ignore[no-untyped-call]
    learning = {name: item for name, item in generator.named_parameters() if item.requires_grad}
    bad = [name for name, item in learning.items() if item.grad is None or not item.grad.isfinite().all()]
    if bad:
        raise BrokenRule(f"the gradient of {', '.join(bad[:3])} is missing or not finite")


@rule("sizes")
def _sizes(subject: Subject) -> None:
    """It makes outputs of 16, 32, 48 and 128 px, or refuses by an error that names the size."""
    for size in SIZES:
        generator: Any = fits(subject, size)
        if generator is None:
            continue
        with torch.no_grad():
            output = generator.eval()(OUTPUT, **_inputs(generator, OUTPUT, size))["output"]
        if output.shape != (BATCH, 3, size, size):
            raise BrokenRule(f"for images of {size} px the output is {tuple(output.shape)}")


GENERATOR_RULES = (_provides, _output, _nothing_wanted, _parts, _codes, _learns, _sizes, *network_rules(_trial))
