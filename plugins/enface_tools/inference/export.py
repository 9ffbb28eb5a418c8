"""A trained network for other programs: its output path as an ONNX file and a torch.export program, both checked."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import enface
from enface.errors import EnfaceError
from enface.recipe.models import Recipe
from enface.train.build import output_of
from enface.train.checkpoint import Checkpoint, digest

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
FILES = {"onnx": "generator.onnx", "torch": "generator.pt2"}
"""The file of each format."""
ABOUT = "export.json"
BATCHES = (1, 3)
LIMIT = 1e-4


class OutputPath(nn.Module):
    """A generator's output alone: source (N, 3, S, S) -> output (N, 3, S, S), float32, both in [-1, 1].

    Clipped, as evaluation clips it, so that the range holds for any generator.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, source: Tensor) -> Tensor:
        return output_of(self.generator, source).float().clamp(-1, 1)


def require_packages(formats: Sequence[str]) -> None:
    """Raises EnfaceError when packages that a format needs are not installed, naming them."""
    wanted = ONNX_PACKAGES if "onnx" in formats else ()
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise EnfaceError(
            f'ONNX needs {", ".join(missing)}, not installed here: pip install "enface[export]" '
            "(or leave it out: --format torch)"
        )


@dataclass
class Exporter:
    """Exports one network.

    Args:
        network: The generator, in eval mode, on the CPU.
        saved: The checkpoint it was filled from.
        raw: Whether its plain weights were taken even where there was a running average.
    """

    recipe: Recipe
    network: nn.Module
    saved: Checkpoint
    raw: bool = False

    def __call__(self, folder: Path, formats: Sequence[str]) -> dict[str, Any]:
        """Write a file for each format and ``export.json`` into a folder, all or none.

        Each file is read again and must give the network's outputs for batches of 1 and 3 images of random
        numbers in [-1, 1].

        Returns:
            What ``export.json`` holds.

        Raises:
            EnfaceError: when packages are missing, the generator cannot be exported, or an exported file's outputs
                differ from the network's by more than 1e-4.
        """
        require_packages(formats)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as name:
                work = Path(name)
                about = self._write(work, formats)
                for path in sorted(work.iterdir(), key=lambda path: path.name == ABOUT):
                    os.replace(path, folder / path.name)
        except OSError as error:
            raise EnfaceError(f"cannot write to {folder} ({error.strerror or error})") from error
        return about

    def _write(self, work: Path, formats: Sequence[str]) -> dict[str, Any]:
        model = OutputPath(self.network).to(memory_format=torch.contiguous_format).eval()
        differences: dict[str, float] = {}
        with _quiet():
            program = self._attempt("torch", _traced, model, self.recipe.data.size)
            for kind in dict.fromkeys(formats):
                path = work / FILES[kind]
                self._attempt(kind, WRITERS[kind], program, path)
                differences[kind] = self._checked(model, kind, path)
        about = self._about(work, differences)
        (work / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
        return about

    def _attempt(self, kind: str, make: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return make(*arguments)
        except OSError:
            raise
        # The exporter raises whatever the code of a generator it cannot follow provokes.
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise EnfaceError(
                f"generator {self.recipe.generator.use} cannot be exported ({kind}): {lines[0]}"
            ) from error

    def _checked(self, model: nn.Module, kind: str, path: Path) -> float:
        """The largest difference between what a file gives and what the network gives."""
        again, largest = self._attempt(kind, READERS[kind], path), 0.0
        for source in check_sources(self.recipe.data.size):
            with torch.inference_mode():
                wanted = model(source)
            found = self._attempt(kind, again, source)
            difference = float((found - wanted).abs().max()) if found.shape == wanted.shape else float("inf")
            # So written that NaN does not pass.
            if not difference <= LIMIT:
                raise EnfaceError(
                    f"the {kind} export of generator {self.recipe.generator.use} differs from the network by "
                    f"{difference:.2g} (at most {LIMIT:g} is allowed) for {len(source)} images; nothing was written"
                )
            largest = max(largest, difference)
        return largest

    def _about(self, work: Path, differences: Mapping[str, float]) -> dict[str, Any]:
        data, state = self.recipe.data, self.saved.state
        shape = {"shape": ["batch", 3, data.size, data.size], "dtype": "float32", "range": [-1, 1], "colors": "RGB"}
        return {
            "recipe": self.recipe.name,
            "generator": self.recipe.generator.use,
            "source": {"name": "source", **shape, "from_pixels": "pixel / 127.5 - 1"},
            "output": {"name": "output", **shape, "to_pixels": "floor((value + 1) / 2 * 255 + 0.5)"},
            "resize": {"to": data.packed_size, "filter": "lanczos", "keep_aspect": False, "crop_middle": data.size},
            "checkpoint": self.saved.path.name,
            "step": state["step"],
            "running_average": not self.raw and bool(self.saved.part("ema")),
            "digest": digest(self.network),
            "checked": {"batches": list(BATCHES), "limit": LIMIT},
            "largest_difference": dict(differences),
            "files": {path.name: _file(path) for path in sorted(work.iterdir())},
            "versions": {"enface": enface.__version__, **_versions(differences)},
        }


def check_sources(size: int) -> list[Tensor]:
    """What exports are checked on, the same every time: float (1, 3, S, S) and (3, 3, S, S) in [-1, 1]."""
    random = torch.Generator().manual_seed(0)
    return [torch.rand(count, 3, size, size, generator=random) * 2 - 1 for count in BATCHES]


# ------------------------------------------------------------------ formats


def _traced(model: nn.Module, size: int) -> ExportedProgram:
    # Two images, for a size of 1 would be taken for a constant.
    example = torch.zeros(2, 3, size, size)
    return torch.export.export(model, (example,), dynamic_shapes={"source": {0: Dim("batch", min=1)}})


def _write_onnx(program: ExportedProgram, path: Path) -> None:
    made = torch.onnx.export(program, dynamo=True, input_names=["source"], output_names=["output"], verbose=False)
    assert made is not None
    # In the one file, as far as ONNX allows that (2 GB).
    made.save(path, external_data=False)


def _write_torch(program: ExportedProgram, path: Path) -> None:
    torch.export.save(program, path)


def _read_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def call(source: Tensor) -> Tensor:
        (output,) = session.run(["output"], {"source": source.numpy()})
        return torch.from_numpy(output)

    return call


def _read_torch(path: Path) -> Callable[[Tensor], Tensor]:
    module = torch.export.load(path).module()

    def call(source: Tensor) -> Tensor:
        with torch.inference_mode():
            output: Tensor = module(source)
        return output

    return call


WRITERS: Mapping[str, Callable[[ExportedProgram, Path], None]] = {"onnx": _write_onnx, "torch": _write_torch}
READERS: Mapping[str, Callable[[Path], Callable[[Tensor], Tensor]]] = {"onnx": _read_onnx, "torch": _read_torch}


def _file(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _versions(formats: Mapping[str, float]) -> dict[str, str]:
    return {name: metadata.version(name) for name in ("torch", *(ONNX_PACKAGES if "onnx" in formats else ()))}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what the exporter tells its own developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
