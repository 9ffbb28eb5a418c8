"""Checkpoints: one safetensors file each, written beside and renamed; nothing in it can run code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from enface.errors import CheckpointError
from enface.system.atomic import atomic_write

FORMAT = 1
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds: tensors by ``PLACE/name`` (``generator/..``, ``ema/..``, ``critic/NAME/..``,
    ``augment/CRITIC/..``, ``loss/TERM/..``, ``optimizer/PLAYER/..``) and the state as plain data (stage, step,
    recipe's digest, ...).
    """

    path: Path
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def part(self, place: str) -> dict[str, Tensor]:
        """The tensors below a place, by their own names."""
        start = f"{place}/"
        return {name.removeprefix(start): item for name, item in self.tensors.items() if name.startswith(start)}

    def load(self, place: str, module: nn.Module) -> None:
        """Fill a module.

        Raises:
            CheckpointError: when names or shapes differ, naming them.
        """
        found, wanted = self.part(place), module.state_dict()
        different = sorted(
            {name for name in found.keys() | wanted.keys() if _shape(found, name) != _shape(wanted, name)}
        )
        if different:
            raise CheckpointError(
                f"{self.path}: {place} does not fit this recipe's network; {len(different)} tensors differ: "
                + ", ".join(different[:10])
            )
        module.load_state_dict(found)


def save(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint; at no moment does a partial file stand at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {key: item.detach().to("cpu").contiguous().clone() for key, item in tensors.items()}
    with atomic_write(path, sync=True) as beside:
        save_file(plain, beside, metadata={"enface": json.dumps({"format": FORMAT, **state})})


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: when it is missing, truncated, no checkpoint of ours, or of a newer version.
    """
    state = read_state(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, error) from error
    return Checkpoint(path, tensors, state)


def saved_steps(directory: Path) -> list[Path]:
    """A run's checkpoints but for the best one, by steps."""
    return sorted((directory / "checkpoints").glob(f"step-*{SUFFIX}"))


def read_state(path: Path) -> dict[str, Any]:
    """The state alone, without reading tensors. Raises as :func:`load` does."""
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("enface")
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    try:
        state = json.loads(text or "")
    except json.JSONDecodeError:
        state = None
    if not isinstance(state, dict) or "format" not in state:
        raise CheckpointError(f"{path} is not a checkpoint of enface")
    if state["format"] > FORMAT:
        raise CheckpointError(
            f"checkpoint {path} is of format {state['format']}, newer than this enface reads ({FORMAT}); "
            "upgrade: pip install -U enface"
        )
    return state


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"checkpoint {path} is truncated or damaged ({error}); use an earlier one")


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors and plain data."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}/{key}"] = value
            else:
                scalars[f"{index}/{key}"] = value
    return tensors, {"groups": state["param_groups"], "scalars": scalars}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
    """Fill an optimizer from what :func:`optimizer_tensors` gave."""
    parameters = [item for group in optimizer.param_groups for item in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **plain["scalars"]}.items():
        index, _, key = name.partition("/")
        parameter = parameters[int(index)]
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            # In the parameter's own memory format, or kernels could round differently than before the save.
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[key] = value
    # JSON turns tuples into lists.
    groups = [
        {key: tuple(value) if isinstance(value, list) and key != "params" else value for key, value in group.items()}
        for group in plain["groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def digest(module: nn.Module) -> str:
    """SHA-256 of a module's tensors: names, shapes and bits."""
    found = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        found.update(f"{name}{tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None
