"""What every component of the catalog promises, whoever wrote it."""

from __future__ import annotations

import inspect
import math
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from enface import AdversarialLoss, CriticLoss, DataInfo, Targets, WeightsError
from enface.catalog import Catalog
from enface.components import KINDS
from enface.params import parameter_help
from enface.plugins import load_plugins
from enface.recipe import DataModel, DiscriminatorModel, Spec, TermModel

CATALOG = Catalog(load_plugins())
SIZE = 96
POSES, LIGHTS = 5, 3
DATA = DataInfo(SIZE, {"pose": POSES, "light": LIGHTS, "identity": 4, "key": 60})
BATCH = 4
FILES = tempfile.TemporaryDirectory()


def recogniser() -> str:
    """A file that gives embeddings: of nobody in particular, but as a recogniser's is."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ELU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 16)).eval()
    file = Path(FILES.name) / "recogniser.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, torch.zeros(1, 3, 32, 32)).save(str(file))
    return str(file)


# What a component cannot be built without.
NEEDED: dict[tuple[str, str], dict[str, Any]] = {
    ("schedule", "constant"): {"value": 0.5},
    ("schedule", "cosine"): {"start": 1.0, "over": 100},
    ("schedule", "cyclic"): {"low": 0.1, "high": 1.0, "up": 30, "shrink": 0.9},
    ("schedule", "exponential"): {"start": 1.0, "every": 10},
    ("schedule", "linear"): {"start": 1.0, "end": 0.0, "over": 100},
    ("schedule", "multi_step"): {"start": 1.0, "milestones": [10, 50]},
    ("schedule", "piecewise"): {"points": {10: 0.0, 60: 1.0, 100: 0.5}},
    ("schedule", "plateau"): {"start": 1.0, "metric": "l1"},
    ("schedule", "polynomial"): {"start": 1.0, "over": 100},
    ("schedule", "step_decay"): {"start": 1.0, "every": 10},
    ("generator", "nafnet"): {"width": 4, "encoder_blocks": [1, 1], "middle_blocks": 1, "decoder_blocks": [1, 1]},
    ("generator", "resnet"): {"width": 4},
    ("generator", "siamese"): {"width": 0.125},
    ("generator", "unet"): {"width": 4},
    ("discriminator", "attributes"): {"width": 0.125},
    ("discriminator", "conditional_patch_gan"): {"width": 4},
    ("discriminator", "multi_scale"): {"width": 4},
    ("discriminator", "patch_gan"): {"width": 4},
    ("discriminator", "pixel_gan"): {"width": 4},
    ("discriminator", "projected"): {"backbone": "alexnet", "channels": 8, "width": 4},
    ("discriminator", "projection"): {"column": "pose", "width": 4},
    ("discriminator", "unet_gan"): {"width": 4},
    ("loss", "identity"): {"file": recogniser(), "size": 32},
    ("mask", "points"): {"file": str(Path(__file__).parent / "support" / "boundary.png")},
}


def of(kind: str) -> Any:
    found = [entry for entry in CATALOG if entry.kind == kind]
    return pytest.mark.parametrize("entry", [pytest.param(entry, id=entry.name) for entry in found])


def build(entry: Any, **params: Any) -> Any:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return CATALOG.build(entry.kind, entry.name, {**NEEDED.get((entry.kind, entry.name), {}), **params}, DATA)


def asked(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def smooth(seed: int) -> torch.Tensor:
    """Face-like images: smooth, in [-1, 1]."""
    coarse = torch.rand(BATCH, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 1.8 - 0.9
    return torch.nn.functional.interpolate(coarse, size=SIZE, mode="bilinear")


class Judge:
    """A critic as a regulariser sees it."""

    def __init__(self) -> None:
        self.network = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Softplus(), nn.Conv2d(4, 1, 4, 4))

    def __call__(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.network(image)}


def sample(name: str) -> Any:
    """An input a loss may ask for, by name."""
    rng = torch.Generator().manual_seed(sum(map(ord, name)))
    if name in ("output", "target", "source", "partner"):
        return smooth(sum(map(ord, name)))
    if name == "step":
        return 3
    if name in ("real_image", "fake_image"):
        return smooth(sum(map(ord, name)))
    if name == "judge":
        torch.manual_seed(0)
        return Judge()
    if name.endswith("features"):
        return tuple(torch.randn(BATCH, 4, 8, 8, generator=rng) for _ in range(2))
    if name in ("real_logits", "fake_logits"):
        return torch.randn(BATCH, 1, 5, 5, generator=rng)
    if name == "labels":
        return torch.arange(BATCH) % POSES
    if name.endswith("logits"):
        return torch.randn(BATCH, POSES, generator=rng)
    if name.startswith("same"):
        return (torch.arange(BATCH) % 2).float()
    if name in ("a", "b"):
        return torch.randn(BATCH, 12, generator=rng) * 0.3
    pytest.fail(f"add to sample() in {__name__} what a loss means by {name!r}")


def over(value: Any, change: Any) -> Any:
    """A change applied to every tensor of an input."""
    if isinstance(value, tuple):
        return tuple(over(item, change) for item in value)
    return change(value) if isinstance(value, torch.Tensor) else value


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, tuple):
        return [found for item in value for found in tensors(item)]
    return [value] if isinstance(value, torch.Tensor) else []


def sides(loss: Any) -> list[tuple[str, Any]]:
    """The functions a term may call: forward and, in a game of two, critic."""
    if isinstance(loss, CriticLoss) and not isinstance(loss, AdversarialLoss):
        return [("critic", loss.critic)]
    return [("forward", loss.forward), *([("critic", loss.critic)] if isinstance(loss, AdversarialLoss) else [])]


def draws_or_remembers(loss: Any) -> bool:
    """Whether its numbers may differ from call to call: it keeps averages, or draws points between images."""
    return loss.stateful or type(loss).__name__ == "GradientPenalty"


def leaf(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.clone()
    return tensor.requires_grad_() if tensor.is_floating_point() else tensor


# ------------------------------------------------------------------ every component


@pytest.mark.parametrize("entry", [pytest.param(entry, id=f"{entry.kind}-{entry.name}") for entry in CATALOG])
def test_it_says_what_it_is_and_what_each_parameter_does(entry):
    assert (inspect.getdoc(entry.component) or "") not in ("", inspect.getdoc(KINDS[entry.kind])), (
        "a docstring of its own"
    )
    help_texts = parameter_help(entry.component)
    missing = [name for name in entry.params.model_fields if not help_texts.get(name)]
    assert not missing, f"no help text for {missing}"
    unknown = [name for name in help_texts if name not in entry.params.model_fields]
    assert not unknown, f"help text for parameters it does not have: {unknown}"
    assert entry.params.model_json_schema()["properties"].keys() == entry.params.model_fields.keys()


RESERVED = {"dataset": DataModel, "loss": TermModel, "discriminator": DiscriminatorModel}


@pytest.mark.parametrize("entry", [pytest.param(entry, id=f"{entry.kind}-{entry.name}") for entry in CATALOG])
def test_no_parameter_hides_behind_a_key_of_the_recipe(entry):
    taken = set(RESERVED.get(entry.kind, Spec).model_fields)
    assert not taken & set(entry.params.model_fields), "the recipe would take it for its own"


def test_every_kind_has_a_component():
    assert {entry.kind for entry in CATALOG} == set(KINDS)


# ------------------------------------------------------------------ losses


def loss_of(entry: Any) -> Any:
    try:
        return build(entry)
    except WeightsError as error:
        pytest.skip(str(error).splitlines()[0])


@of("loss")
def test_a_loss_gives_a_finite_map_and_gradient_and_changes_no_input(entry):
    loss = loss_of(entry)
    for side, function in sides(loss):
        inputs = {name: over(sample(name), leaf) for name in asked(function)}
        before = {name: over(value, lambda item: item.detach().clone()) for name, value in inputs.items()}
        found = function(**inputs)
        assert found.dtype == torch.float32
        assert found.shape[0] == BATCH, side
        assert found.dim() in (1, 4), f"{side}: (N, C, H, W) or (N,), not {tuple(found.shape)}"
        assert found.isfinite().all()
        assert found.requires_grad
        found.mean().backward()
        gradients = [item.grad for value in inputs.values() for item in tensors(value) if item.grad is not None]
        if "judge" in inputs:
            # What a regulariser teaches is the critic.
            gradients = [item.grad for item in inputs["judge"].network.parameters() if item.grad is not None]
        assert gradients
        assert all(item.isfinite().all() for item in gradients)
        assert any(float(item.abs().sum()) > 0 for item in gradients), "it teaches something"
        for name, value in inputs.items():
            assert all(map(torch.equal, tensors(before[name]), tensors(value))), f"{side} changed {name} in place"


@of("loss")
def test_a_loss_has_no_nan_gradient_where_its_inputs_agree(entry):
    loss = loss_of(entry)
    for _, function in sides(loss):
        names = asked(function)
        same = smooth(1)
        for flat in (False, True):
            inputs: dict[str, Any] = {}
            for name in names:
                value = same if name in ("output", "target", "source") else sample("a" if name == "b" else name)
                inputs[name] = over(value, lambda item, flat=flat: leaf(item * 0 if flat else item))
            found = function(**inputs)
            found.mean().backward()
            for value in inputs.values():
                assert all(item.grad.isfinite().all() for item in tensors(value) if item.grad is not None)


@of("loss")
def test_a_distance_is_least_where_output_is_target(entry):
    loss = loss_of(entry)
    if isinstance(loss, CriticLoss) or not {"output", "target"} <= set(asked(loss.forward)):
        pytest.skip("it compares no images")
    others = {name: sample(name) for name in asked(loss.forward) if name not in ("output", "target")}
    same = smooth(1)
    least = loss(output=same, target=same, **others)
    found = [loss(output=(same + strength * smooth(2)).clamp(-1, 1), target=same, **others) for strength in (0.1, 0.5)]
    assert float(least.mean()) < float(found[0].mean()) < float(found[1].mean())
    if float(least.abs().max()) < 1e-6:
        assert all(float(item.min()) >= -1e-6 for item in found), "an error is not negative"


@of("loss")
def test_a_loss_judges_each_image_by_itself(entry):
    loss = loss_of(entry)
    if draws_or_remembers(loss):
        pytest.skip("another number the second time")
    order = torch.tensor([2, 0, 3, 1])
    for side, function in sides(loss):
        inputs = {name: sample(name) for name in asked(function)}
        straight = function(**inputs)
        turned = function(**{name: over(value, lambda item: item[order]) for name, value in inputs.items()})
        torch.testing.assert_close(turned, straight[order], rtol=1e-4, atol=1e-5, msg=side)


@of("loss")
def test_a_loss_takes_what_comes_from_half_precision(entry):
    from enface.step import _as_float

    loss = loss_of(entry)
    for _, function in sides(loss):
        half = {
            name: over(sample(name), lambda item: item.bfloat16() if item.is_floating_point() else item)
            for name in asked(function)
        }
        found = function(**{name: _as_float(value) for name, value in half.items()})
        assert found.dtype == torch.float32
        assert found.isfinite().all()


@of("loss")
def test_a_loss_has_nothing_that_learns_or_moves(entry):
    loss = loss_of(entry)
    if draws_or_remembers(loss):
        pytest.skip("another number the second time")
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    for _, function in sides(loss):
        inputs = {name: sample(name) for name in asked(function)}
        first = function(**inputs)
        torch.testing.assert_close(function(**inputs), first, rtol=0, atol=0, msg="another value the second time")
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


# ------------------------------------------------------------------ networks


def column(name: str) -> torch.Tensor:
    return sample(name if name in ("source", "target", "partner") else "labels")


@of("generator")
def test_a_generator_provides_what_it_says_and_only_what_is_wanted(entry):
    generator = build(entry)
    assert "output" in generator.provides
    for name, columns in generator.provides.items():
        found = generator(frozenset({name}), **{item: column(item) for item in columns})
        assert set(found) == {name}, "what nobody wants is not computed"
        assert all(item.shape[0] == BATCH and item.isfinite().all() for item in tensors(found[name]))
    columns = {item for items in generator.provides.values() for item in items}
    everything = generator(frozenset(generator.provides), **{item: column(item) for item in columns})
    assert set(everything) == set(generator.provides)
    output = everything["output"]
    assert output.shape == (BATCH, 3, SIZE, SIZE)
    assert output.detach().abs().max().item() <= 1


@of("generator")
def test_nothing_wanted_costs_nothing(entry):
    generator = build(entry)
    calls: list[Any] = []
    for module in generator.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_: calls.append(1))
    assert generator(frozenset()) == {}
    assert not calls


@of("generator")
def test_a_generators_parts_are_its_own_and_cover_it(entry):
    generator = build(entry)
    mine = {id(parameter): name for name, parameter in generator.named_parameters()}
    parts = [id(parameter) for part in generator.parts.values() for parameter in part.parameters()]
    assert len(parts) == len(set(parts)), "two parts share a weight"
    assert set(parts) == set(mine), "a weight that no 'freeze' can reach"


@of("generator")
def test_a_generator_learns_from_its_output(entry):
    generator = build(entry)
    generator(frozenset({"output"}), source=smooth(1))["output"].square().mean().backward()
    touched = [parameter for parameter in generator.parameters() if parameter.grad is not None]
    assert touched
    assert all(parameter.grad.isfinite().all() for parameter in touched)


@of("generator")
def test_a_generator_at_rest_judges_each_image_by_itself(entry):
    generator = build(entry).eval()
    images, wants = smooth(1), frozenset({"output"})
    with torch.no_grad():
        together = generator(wants, source=images)["output"]
        alone = torch.cat([generator(wants, source=image[None])["output"] for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@of("generator")
@pytest.mark.parametrize("size", [16, 32, 48, 128])
def test_a_generator_takes_a_size_or_says_why_not(entry, size):
    from enface import EnfaceError

    torch.manual_seed(0)
    try:
        generator = CATALOG.build(
            "generator", entry.name, NEEDED[entry.kind, entry.name], DataInfo(size, DATA.classes)
        ).eval()
    except EnfaceError as error:
        assert str(size) in str(error)  # noqa: PT017
        return
    assert generator(frozenset({"output"}), source=torch.zeros(2, 3, size, size))["output"].shape == (2, 3, size, size)


@of("discriminator")
def test_a_discriminator_provides_what_it_says_and_learns(entry):
    try:
        critic = build(entry)
    except WeightsError as error:
        pytest.skip(str(error).splitlines()[0])
    extra = {name: column(name) for name in asked(critic.forward)[1:]}
    image = smooth(1).requires_grad_()
    found = critic(image, **extra)
    assert set(found) == set(critic.provides)
    logits = found["logits"] if isinstance(found["logits"], tuple) else (found["logits"],)
    assert all(item.shape[0] == BATCH and item.isfinite().all() for item in logits)
    assert isinstance(found["features"], tuple)
    assert all(isinstance(item, torch.Tensor) for item in found["features"])
    # The generator learns from the logits; heads beside them, which these do not reach, are for other terms.
    sum(item.mean() for item in logits).backward(retain_graph=True)
    assert float(image.grad.abs().sum()) > 0, "the generator can learn from it"
    verdicts = [item for name in critic.provides if name != "features" for item in tensors(found[name])]
    sum(item.square().mean() for item in verdicts).backward()
    learning = [parameter for parameter in critic.parameters() if parameter.requires_grad]
    assert learning
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in learning)


# ------------------------------------------------------------------ masks, schedules, metrics, datasets


def portrait(size: int) -> Targets:
    """A photograph of a face, with a region map: what a mask made from training targets needs."""
    from skimage.data import astronaut

    crop = torch.from_numpy(astronaut()[:256, 96:352].copy()).permute(2, 0, 1)[None].float()
    image = torch.nn.functional.interpolate(crop, size=size, mode="area").round().byte().numpy()
    regions = np.zeros((1, size, size), np.uint8)
    regions[:, size // 4 : -size // 4, size // 4 : -size // 4] = 1
    return Targets(("portrait",), image, regions, ("background", "face"))


@of("mask")
@pytest.mark.parametrize("size", [32, 96])
def test_a_mask_is_weights_over_the_image(entry, size):
    data = DataInfo(size, DATA.classes, lambda count: portrait(size))
    try:
        mask = CATALOG.build("mask", entry.name, NEEDED.get((entry.kind, entry.name), {}), data)
    except WeightsError as error:
        pytest.skip(str(error).splitlines()[0])
    inputs = {}
    for name in asked(mask.forward):
        regions = torch.zeros(BATCH, size, size, dtype=torch.int64)
        inputs[name] = 0 if name == "step" else regions if name.endswith("regions") else sample(name)
    weights = mask(**inputs)
    assert weights.dim() == 4
    assert weights.shape[0] in (1, BATCH)
    assert tuple(weights.shape[1:]) == (1, size, size)
    assert weights.is_floating_point()
    assert weights.isfinite().all()
    assert float(weights.min()) >= 0
    assert float(weights.max()) > 0
    assert not weights.requires_grad
    assert torch.equal(mask(**inputs), weights)


@of("augmentation")
def test_an_augmentation_changes_images_and_lets_gradients_through(entry):
    augmentation = build(entry)
    image = smooth(1).requires_grad_()
    torch.manual_seed(1)
    found = augmentation(image)
    assert found.shape == image.shape
    assert found.isfinite().all()
    assert not torch.equal(found, image)
    found.square().mean().backward()
    assert image.grad.isfinite().all()
    assert float(image.grad.abs().sum()) > 0
    torch.manual_seed(1)
    assert torch.equal(augmentation(image), found), "the same draws, the same images"


@of("schedule")
def test_a_schedule_is_finite_and_a_function_of_the_step_alone(entry):
    schedule = build(entry)
    steps = [0, 1, 2, 9, 10, 50, 99, 100, 101, 10_000, 10_000_000]
    first = [schedule(step) for step in steps]
    assert all(isinstance(value, float | int) and math.isfinite(value) for value in first)
    assert [schedule(step) for step in reversed(steps)] == first[::-1]


@of("metric")
def test_a_metric_judges_each_image_and_prefers_the_right_one(entry):
    try:
        metric = build(entry).eval()
    except WeightsError as error:
        pytest.skip(str(error).splitlines()[0])
    target = (smooth(1) + 1) / 2
    other = (target + 0.2 * torch.rand(target.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    with torch.no_grad():
        same, different = metric(target, target), metric(other, target)
        turned = metric(other.flip(0), target.flip(0))
    for values in (same, different):
        assert values.shape == (BATCH,)
        assert values.isfinite().all()
    assert bool(((same > different) if metric.higher_is_better else (same < different)).all())
    torch.testing.assert_close(turned.flip(0), different, rtol=1e-4, atol=1e-5)
    card = metric.card
    assert {"implementation", "data_range", "crop"} <= set(card), "what makes two numbers comparable"
    version = card["implementation"] == "enface" or any(letter.isdigit() for letter in card["implementation"])
    assert version, "with its version; a run's environment.json has our own"
    assert all(isinstance(key, str) and isinstance(value, str) and value for key, value in card.items())


@of("dataset")
def test_a_dataset_gives_pairs_that_a_recipe_can_say(entry):
    from enface.recipe import PairsModel

    PairsModel.model_validate(entry.component.pairs)
    assert all(isinstance(name, str) for name in entry.component.region_names)
    schema = entry.params.model_json_schema()["properties"]
    assert all(item.get("description") for item in schema.values())
