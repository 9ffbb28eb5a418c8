"""Checkpoints: safetensors files, written atomically. Reading them runs no code."""

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
    """A checkpoint file: tensors by ``PLACE/name`` (``generator/..``, ``trained/..``, ``ema/..``, ``critic/NAME/..``,
    ``augment/CRITIC/..``, ``loss/TERM/..``, ``optimizer/PLAYER/..``) and plain data (stage, step, recipe digest, ...).
    """

    path: Path
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def part(self, place: str) -> dict[str, Tensor]:
        """Return the tensors of a place, by name."""
        start = f"{place}/"
        return {name.removeprefix(start): item for name, item in self.tensors.items() if name.startswith(start)}

    def load(self, place: str, module: nn.Module) -> None:
        """Load the tensors of a place into a module.

        Raises CheckpointError if names or shapes differ; names the tensors.
        """
        saved, wanted = self.part(place), module.state_dict()
        different = sorted(
            {name for name in saved.keys() | wanted.keys() if _shape(saved, name) != _shape(wanted, name)}
        )
        if different:
            raise CheckpointError(
                f"{self.path}: {place} does not fit this recipe's network; {len(different)} tensors differ: "
                + ", ".join(different[:10])
            )
        module.load_state_dict(saved)


def save(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {key: item.detach().to("cpu").contiguous().clone() for key, item in tensors.items()}
    with atomic_write(path, sync=True) as beside:
        save_file(plain, beside, metadata={"enface": json.dumps({"format": FORMAT, **state})})


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises CheckpointError if the file is missing, truncated, not a checkpoint, or of a newer format.
    """
    state = read_state(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, error) from error
    return Checkpoint(path, tensors, state)


def saved_steps(directory: Path) -> list[Path]:
    """Return the numbered checkpoints of a run, sorted by step; ``best`` is not among them."""
    return sorted((directory / "checkpoints").glob(f"step-*{SUFFIX}"))


def read_state(path: Path) -> dict[str, Any]:
    """Read the plain data without the tensors. Raises the errors of :func:`load`."""
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
            f"checkpoint {path} has format {state['format']}, newer than this enface reads ({FORMAT}); "
            "upgrade: pip install -U enface"
        )
    return state


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"checkpoint {path} is truncated or damaged ({error}); use an earlier one")


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an optimizer's state as tensors and plain data."""
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
    """Load a state that :func:`optimizer_tensors` returned."""
    parameters = [item for group in optimizer.param_groups for item in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **plain["scalars"]}.items():
        index, _, key = name.partition("/")
        parameter = parameters[int(index)]
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            # In the parameter's memory format; otherwise kernels could round differently than before the save.
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[key] = value
    # JSON turns tuples into lists.
    groups = [
        {key: tuple(value) if isinstance(value, list) and key != "params" else value for key, value in group.items()}
        for group in plain["groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def digest(module: nn.Module) -> str:
    """Return the SHA-256 of the names, shapes and bits of a module's tensors."""
    hasher = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        hasher.update(f"{name}{tuple(value.shape)}".encode())
        hasher.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None
