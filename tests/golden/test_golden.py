"""Every loss, critic regulariser and metric gives the stored numbers of its published formula.

``make.py`` wrote them without enface; each entry of the JSON files names its source. A component that is added to the
catalogue needs an entry, or a reason in ``WITHOUT``.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from golden_inputs import array, indices
from torch import Tensor, nn

from enface import DataInfo, GalleryMetric, SetMetric
from enface.plugin.catalog import Catalog
from enface.plugin.components import AdversarialLoss, CriticLoss
from enface.plugin.manager import load_plugins
from enface_plugins.losses.dists import PACKAGE
from enface_plugins.pretrained.networks import TRUNKS

CATALOG = Catalog(load_plugins())
KINDS = {"losses": "loss", "critics": "loss", "networks": "loss", "metrics": "metric"}
TOLERANCE = {torch.float64: 5e-6, torch.float32: 2e-4}
"""Relative to the largest stored number of a list. Some windows and matrices are float32 also for float64 images."""
NUMPY = {"outputs", "targets", "identities", "target_identities", "gallery", "gallery_identities"}
"""Arguments that are NumPy arrays."""
WITHOUT: dict[tuple[str, str], str] = {}
"""Components without an entry, and the reason."""
WITHOUT_CHOICES = {("identity", "undetected"): "only dlib's detector leaves images out, and it has no numbers here"}
"""Parameters whose choices have no entry each, and the reason."""


def stored() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for file, kind in KINDS.items():
        for name, entry in json.loads((Path(__file__).parent / f"{file}.json").read_text()).items():
            yield kind, name, entry


ENTRIES = list(stored())


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float64", "float32"])
@pytest.mark.parametrize(("kind", "entry"), [pytest.param(k, e, id=f"{k}-{n}") for k, n, e in ENTRIES])
def test_the_stored_numbers(kind, entry, dtype, tmp_path, monkeypatch):
    component = built(kind, entry, tmp_path, dtype)
    inputs, leaves = given(entry["inputs"], dtype)
    if "draws" in entry:
        monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor(array(entry["draws"]), dtype=dtype))
    for earlier in entry.get("before", ()):
        getattr(component, entry["side"])(**given(earlier, dtype)[0])
    values = torch.as_tensor(getattr(component, entry["side"])(**inputs), dtype=dtype)
    assert_near(values.reshape(len(values), -1).mean(1) if values.ndim else values, entry["values"], dtype)
    if "map" in entry:
        assert_near(sampled(values), entry["map"], dtype)
    for name, expected in entry.get("gradients", {}).items():
        parts = torch.autograd.grad(values.mean(), leaves[name], retain_graph=True)
        gradient = torch.cat([part.flatten() for part in parts])
        assert_near(gradient.norm(), expected["norm"], dtype)
        assert_near(sampled(gradient), expected["sampled"], dtype)


def built(kind: str, entry: dict[str, Any], folder: Path, dtype: torch.dtype) -> Any:
    """Build an entry's component; a metric of features without its network."""
    of = CATALOG.get(kind, entry["component"])
    if kind == "metric" and "output" not in entry["inputs"]:
        component = of.component.__new__(of.component)
        for name, value in entry["params"].items():
            setattr(component, name, value)
        return component
    params = dict(entry["params"])
    if "recogniser" in entry:
        file = save_recogniser(entry["recogniser"], params["size"], folder)
        params = {key: file if value == "recogniser.pt" else value for key, value in params.items()}
    elif names := of.component.networks(params):
        missing = [one.name for one in TRUNKS if one.name in names and one.find() is None]
        if missing:
            pytest.skip(f"needs: enface weights fetch {' '.join(missing)}")
    if of.name == "dists":
        pytest.importorskip(PACKAGE)
    return CATALOG.build(kind, of.name, params, DataInfo.square(entry["size"])).to(dtype)


def save_recogniser(weights: list[Any], size: int, folder: Path) -> str:
    """Save tanh(weights . image) as TorchScript."""
    matrix = torch.tensor(array(weights), dtype=torch.float32)
    linear = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    linear.weight.data = matrix
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torch.jit.trace(nn.Sequential(nn.Flatten(), linear, nn.Tanh()).eval(), torch.zeros(2, 3, size, size))
        network.save(str(folder / "recogniser.pt"))
    return str(folder / "recogniser.pt")


def given(specs: dict[str, Any], dtype: torch.dtype) -> tuple[dict[str, Any], dict[str, list[Tensor]]]:
    """Build a component's arguments, and the tensors that a gradient with respect to each refers to."""
    inputs, leaves = {}, {}
    for name, spec in specs.items():
        content = array(spec)
        parts = [tensor(part, dtype) for part in (content if isinstance(content, tuple) else (content,))]
        leaves[name] = parts
        if name == "judge":
            inputs[name] = critic(parts)
        elif name in NUMPY:
            inputs[name] = content
        else:
            inputs[name] = tuple(parts) if isinstance(content, tuple) else parts[0]
    return inputs, leaves


def tensor(content: Any, dtype: torch.dtype) -> Tensor:
    made = torch.tensor(content)
    return made.to(dtype).requires_grad_() if made.is_floating_point() else made


def critic(weights: list[Tensor]) -> Any:
    """The golden critic: each logit is sum_k tanh(weights_k . patch), for patches side by side; a scale per matrix."""

    def scale(images: Tensor, matrix: Tensor) -> Tensor:
        side = round((matrix.shape[1] / 3) ** 0.5)
        kernels = matrix.unflatten(1, (3, side, side))
        return nn.functional.conv2d(images, kernels, stride=side).tanh().sum(1, keepdim=True)

    def judge(images: Tensor) -> dict[str, Any]:
        logits = tuple(scale(images, matrix) for matrix in weights)
        return {"logits": logits if len(logits) > 1 else logits[0]}

    return judge


def sampled(item: Tensor) -> Tensor:
    return item.flatten()[indices(item.numel())]


def assert_near(found: Tensor, expected: Any, dtype: torch.dtype) -> None:
    expected = torch.tensor(expected, dtype=torch.float64)
    largest = float(expected.abs().max())
    torch.testing.assert_close(found.detach().double(), expected, rtol=0, atol=TOLERANCE[dtype] * largest)


def test_every_loss_and_metric_has_an_entry_for_each_side():
    covered = {(kind, entry["component"], entry["side"]) for kind, _, entry in ENTRIES}
    named = [one for one in CATALOG if one.kind in KINDS.values() and (one.kind, one.name) not in WITHOUT]
    assert {(one.kind, one.name, side) for one in named for side in sides(one.component)} - covered == set()


def test_every_choice_of_a_parameter_has_an_entry():
    for one in CATALOG:
        if one.kind not in KINDS.values() or (one.kind, one.name) in WITHOUT:
            continue
        if sides(one.component)[0] in ("distance", "matched"):  # Their parameters are those of a network.
            continue
        entries = [entry for kind, _, entry in ENTRIES if (kind, entry["component"]) == (one.kind, one.name)]
        for name, parameter in one.params.model_fields.items():
            if get_origin(parameter.annotation) is Literal and (one.name, name) not in WITHOUT_CHOICES:
                used = {entry["params"].get(name, parameter.default) for entry in entries}
                assert used >= set(get_args(parameter.annotation)), f"{one.kind} {one.name}: {name}"


def test_no_exception_has_an_entry():
    covered = {(kind, entry["component"]) for kind, _, entry in ENTRIES}
    assert not WITHOUT.keys() & covered


def sides(component: type) -> list[str]:
    """Names of the functions that an entry may call."""
    if issubclass(component, CriticLoss):
        return ["critic"]
    if issubclass(component, AdversarialLoss):
        return ["forward", "critic"]
    if issubclass(component, SetMetric):
        return ["distance"]
    return ["matched"] if issubclass(component, GalleryMetric) else ["forward"]
