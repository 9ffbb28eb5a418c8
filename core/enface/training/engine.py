"""Device, precision and process groups, from Hugging Face Accelerate, and reproducibility."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from enface.errors import EnfaceError, RecipeError
from enface.recipe.models import EngineModel
from enface.system.locks import hold_lock

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
PATIENCE = timedelta(hours=2)
"""Time limit for processes that wait for the main process, which packs data and writes tables alone."""


class Engine:
    """Device, precision, memory format and process group of a run.

    Args:
        hook: The plugins' hooks; needed only for BatchNorm over several processes.

    Raises RecipeError if the recipe requests CUDA and there is no CUDA device.
    """

    def __init__(self, model: EngineModel, hook: Any = None) -> None:
        # cuBLAS reads this once, at its first call.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        from accelerate import PartialState

        if model.device == "cuda" and not torch.cuda.is_available():
            raise RecipeError("engine.device: cuda is requested, but torch finds no CUDA device")
        self._state = PartialState(cpu=model.device == "cpu" or not torch.cuda.is_available(), timeout=PATIENCE)
        self.device: torch.device = self._state.device
        self.rank: int = self._state.process_index
        self.processes: int = self._state.num_processes
        self.is_main: bool = self._state.is_main_process
        self.is_local_main: bool = self._state.is_local_main_process
        self.precision = self._precision(model.precision)
        self.channels_last = model.channels_last
        self._compile = model.compile
        self._sync_batchnorm = model.sync_batchnorm
        self._hook = hook
        torch.use_deterministic_algorithms(model.deterministic, warn_only=True)
        torch.backends.cudnn.benchmark = not model.deterministic
        # torch's defaults are float32 for matrix products and TF32 for convolutions.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = model.tf32
        # Filling new memory guards against reading it uninitialised; no kernel used here does, and it costs time.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined, unused-ignore]

    def _precision(self, wanted: str) -> str:
        if wanted != "auto":
            return wanted
        return "bf16" if self.device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"

    def autocast(self) -> torch.autocast:
        """Return the context in which networks run; losses run outside it."""
        dtype = PRECISIONS.get(self.precision)
        return torch.autocast(self.device.type, dtype or torch.bfloat16, enabled=dtype is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """Return a gradient scaler, which does nothing unless the precision is fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def place(self, module: nn.Module, *, twice: bool = False) -> nn.Module:
        """Return the module on the device, with this engine's memory format and BatchNorm.

        Args:
            twice: Support second derivatives, which regularisers of critics take.
        """
        if self.processes > 1 and self._sync_batchnorm:
            module = self._synchronized(module, twice)
        module = module.to(self.device)
        if self.channels_last:
            module = module.to(memory_format=torch.channels_last)
        return module

    def _synchronized(self, module: nn.Module, twice: bool) -> nn.Module:
        synchronize = self._hook and self._hook.synchronize_batchnorm
        result: nn.Module | None = synchronize and synchronize(module=module, device=self.device, twice=twice)
        if result is None:
            raise RecipeError("engine.sync_batchnorm: no installed plugin synchronizes BatchNorm; install enface again")
        return result

    def compiled(self, module: nn.Module) -> Any:
        """Return the module, compiled if the recipe says so."""
        mode = self._compile if isinstance(self._compile, str) else None
        return torch.compile(module, mode=mode) if self._compile else module

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average gradients over processes with one all-reduce per optimizer step.

        DistributedDataParallel does not fit networks that run several times a step and stay unused in part.
        """
        self.average_tensors([parameter.grad for parameter in parameters if parameter.grad is not None])

    def average_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Average tensors over processes in place, with one all-reduce."""
        if self.processes == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        torch.distributed.all_reduce(flat)
        flat /= self.processes
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def average(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Return scalars averaged over processes, in float32 at least, with one transfer from the device."""
        if not values:
            return {}
        stacked = torch.stack([value.detach() for value in values.values()])
        stacked = stacked.to(torch.promote_types(stacked.dtype, torch.float32))
        if self.processes > 1:
            torch.distributed.all_reduce(stacked)
            stacked /= self.processes
        return dict(zip(values, stacked.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Return True if the flag is set on any process."""
        if self.processes == 1:
            return flag
        tensor = torch.tensor([float(flag)], device=self.device)
        torch.distributed.all_reduce(tensor)
        return bool(tensor.item())

    def broadcast(self, value: Any) -> Any:
        """Return the main process's value on every process."""
        if self.processes == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]

    @contextmanager
    def locked(self, path: Path, refusal: str) -> Iterator[None]:
        """Hold a file's lock on the main process while the context is open.

        Raises EnfaceError on every process, if another run holds the lock.
        """
        with ExitStack() as stack:
            refused = None
            if self.is_main:
                try:
                    stack.enter_context(hold_lock(path, refusal))
                except EnfaceError as error:
                    refused = str(error)
            # Otherwise the other processes would wait for a main process that has ended.
            refused = self.broadcast(refused)
            if refused is not None:
                raise EnfaceError(refused)
            yield

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes by rank on the main process; an empty list on the others."""
        if self.processes == 1:
            return [value]
        values: list[Any] | None = [None] * self.processes if self.is_main else None
        torch.distributed.gather_object(value, values, dst=0)
        return values or []

    def share_buffers(self, module: nn.Module) -> None:
        """Broadcast buffers, such as BatchNorm's statistics, from the main process."""
        if self.processes == 1:
            return
        with torch.no_grad():
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def wait(self) -> None:
        """Wait for all processes."""
        self._state.wait_for_everyone()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the main process enter the context before the others."""
        with self._state.main_process_first():
            yield


def reseed(*numbers: int) -> None:
    """Seed every random number generator from these numbers.

    Called before each step with (seed, stage, step, rank, part), so that a resumed run needs no saved generator state
    and random draws of observers change nothing.
    """
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def leave_process_group() -> None:
    """Leave the process group, if there is one; commands call it at their end."""
    from accelerate import PartialState

    PartialState().destroy_process_group()
