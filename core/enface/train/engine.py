"""Device, precision and processes, found by Hugging Face Accelerate; exactness is added here."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Iterable, Iterator, Mapping
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
from enface.train.sync_batchnorm import synchronized

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""What glibc's ``mallopt`` calls them, in ``malloc.h``."""
PATIENCE = timedelta(hours=2)
"""How long processes wait for the main one, which packs the data and writes tables alone."""


class Engine:
    """Where and how the arithmetic of a run is done.

    Raises:
        RecipeError: when ``engine.device: cuda`` is asked for and there is none.
    """

    def __init__(self, model: EngineModel) -> None:
        # CUDA's matrix library reads this once, at its first call.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        from accelerate import PartialState

        if model.device == "cuda" and not torch.cuda.is_available():
            raise RecipeError("engine.device: cuda is asked for, but torch finds no CUDA device here")
        self._state = PartialState(cpu=model.device == "cpu" or not torch.cuda.is_available(), timeout=PATIENCE)
        self.device: torch.device = self._state.device
        self.rank: int = self._state.process_index
        self.processes: int = self._state.num_processes
        self.is_main: bool = self._state.is_main_process
        self.precision = self._precision(model.precision)
        self.channels_last = model.channels_last
        self._compile = model.compile
        self._sync_batchnorm = model.sync_batchnorm
        torch.use_deterministic_algorithms(model.deterministic, warn_only=True)
        torch.backends.cudnn.benchmark = not model.deterministic
        # Both, for torch's own choice is float32 for products and TF32 for convolutions.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = model.tf32
        # Filling fresh memory guards against reading it unset; no kernel used here does, and it costs time.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined, unused-ignore]

    def _precision(self, wanted: str) -> str:
        if wanted != "auto":
            return wanted
        return "bf16" if self.device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"

    def autocast(self) -> torch.autocast:
        """The context in which networks run; losses run outside it."""
        dtype = PRECISIONS.get(self.precision)
        return torch.autocast(self.device.type, dtype or torch.bfloat16, enabled=dtype is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """A loss scaler; it does nothing unless precision is fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def place(self, module: nn.Module, *, twice: bool = False) -> nn.Module:
        """A module on the device, in the memory format and with the BatchNorm this engine uses.

        Args:
            twice: Gradients of its gradients are asked for, as regularisers of critics do.
        """
        if self.processes > 1 and self._sync_batchnorm:
            module = synchronized(module, self.device, twice=twice)
        module = module.to(self.device)
        if self.channels_last:
            module = module.to(memory_format=torch.channels_last)
        return module

    def compiled(self, module: nn.Module) -> Any:
        """What to call in place of ``module``: a compiled form where the recipe asks for it."""
        mode = self._compile if isinstance(self._compile, str) else None
        return torch.compile(module, mode=mode) if self._compile else module

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average gradients over processes, once an optimizer step and in one message.

        Done here rather than by a DistributedDataParallel wrapper, for in a game of several players each
        network runs several times a step and parts of it stay unused.
        """
        if self.processes == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.processes
        parts = torch.split(flat, [item.numel() for item in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def average(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Scalars averaged over processes, as numbers; one transfer from the device."""
        if not values:
            return {}
        stacked = torch.stack([value.detach().float() for value in values.values()])
        if self.processes > 1:
            torch.distributed.all_reduce(stacked)
            stacked /= self.processes
        return dict(zip(values, stacked.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.processes == 1:
            return flag
        tensor = torch.tensor([float(flag)], device=self.device)
        torch.distributed.all_reduce(tensor)
        return bool(tensor.item())

    def share(self, value: Any) -> Any:
        """The main process's value, on every process."""
        if self.processes == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]

    @contextmanager
    def held(self, path: Path, refusal: str) -> Iterator[None]:
        """Within, the main process holds a file's lock, as :func:`enface.system.locks.hold_lock` does.

        Raises:
            EnfaceError: on every process, when another run has it.
        """
        with ExitStack() as stack:
            refused = None
            if self.is_main:
                try:
                    stack.enter_context(hold_lock(path, refusal))
                except EnfaceError as error:
                    refused = str(error)
            # Else the others would go on, and wait for a main process that has ended.
            refused = self.share(refused)
            if refused is not None:
                raise EnfaceError(refused)
            yield

    def gather(self, value: Any) -> list[Any]:
        """Every process's value in the order of their ranks, on the main process; nothing on the others."""
        if self.processes == 1:
            return [value]
        found: list[Any] | None = [None] * self.processes if self.is_main else None
        torch.distributed.gather_object(value, found, dst=0)
        return found or []

    def share_buffers(self, module: nn.Module) -> None:
        """Give every process the main one's buffers, as BatchNorm's statistics where each keeps its own."""
        if self.processes == 1:
            return
        with torch.no_grad():
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, src=0)

    @contextmanager
    def memory_kept(self) -> Iterator[None]:
        """Steps of a CPU find the memory that the one before freed, where the C library is glibc.

        Otherwise every large map is taken from the system anew, which fills it with zeros page by page: a tenth of a
        step. The next step needs the same again, so the most that is held does not change; afterwards it is given back.
        """
        library = _glibc() if self.device.type == "cpu" else None
        if library is None:
            yield
            return
        library.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        library.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
        try:
            yield
        finally:
            # What glibc comes to by itself, at most, in a process that frees large pieces.
            library.mallopt(M_MMAP_THRESHOLD, 32 << 20)
            library.mallopt(M_TRIM_THRESHOLD, 64 << 20)
            library.malloc_trim(0)

    def wait(self) -> None:
        """Until every process is here."""
        self._state.wait_for_everyone()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The main process enters before the others."""
        with self._state.main_process_first():
            yield

    def close(self) -> None:
        """Leave the process group."""
        self._state.destroy_process_group()


def reseed(*numbers: int) -> None:
    """Make every random generator's state a function of these numbers.

    Called before each step with (seed, stage, step, rank, part): a resumed run needs no saved generator state,
    and nothing an observer draws can change what follows.
    """
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
