"""Export a trained network as an ONNX file and a torch.export program, both compared with the network."""

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
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import enface
from enface.errors import EnfaceError
from enface.plugin.components import Generator
from enface.recipe.models import Recipe
from enface.training.build import values_of
from enface.training.checkpoint import Checkpoint, digest

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
SPLIT_COUNT = 18
"""First opset whose Split has an attribute ``num_outputs``."""
FILES = {"onnx": "generator.onnx", "torch": "generator.pt2"}
"""File name of each format."""
METADATA = "export.json"
BATCHES = (1, 3)
SIDES = ("height", "width")
LIMIT = 1e-4


class OutputPath(nn.Module):
    """A generator with a single output: source (N, C, H, W) -> output (N, C', H, W), float32, both in [-1, 1].

    The output is clipped as in evaluation, so that the range holds for any generator.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, source: Tensor) -> Tensor:
        return values_of(self.generator, {"source": source}.__getitem__)["output"].float().clamp(-1, 1)


def require_packages(formats: Sequence[str]) -> None:
    """Raise EnfaceError if packages that a format needs are not installed, naming them."""
    required = ONNX_PACKAGES if "onnx" in formats else ()
    missing = [name for name in required if importlib.util.find_spec(name) is None]
    if missing:
        raise EnfaceError(
            f'ONNX needs {", ".join(missing)}, which are not installed: pip install "enface[export]" '
            "(or skip ONNX: --format torch)"
        )


@dataclass
class Exporter:
    """Exports one network.

    Args:
        network: The generator, in eval mode, on the CPU. If it is fully convolutional, so are the files, unless the
            exporter cannot trace that.
        saved: The checkpoint of its weights.
        raw: True if these are the plain weights although the checkpoint may have a running average.
        opset: Version of the ONNX operators; None for the exporter's default.
    """

    recipe: Recipe
    network: Generator
    saved: Checkpoint
    raw: bool = False
    opset: int | None = None

    def __call__(self, folder: Path, formats: Sequence[str]) -> dict[str, Any]:
        """Write a file for each format and ``export.json`` into a folder, all or none.

        Each file is read back and must give the network's outputs for batches of 1 and 3 images of random numbers
        in [-1, 1]; if it accepts other sizes, also for a larger image.

        Returns:
            Content of ``export.json``.

        Raises:
            EnfaceError: if packages are missing, the generator cannot be exported, it does not fit the opset, or a
                file's outputs differ from the network's by more than 1e-4.
        """
        require_packages(formats)
        if self.opset is not None:
            self._check_opset(self.opset, formats)
        new = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as name:
                work = Path(name)
                content = self._write(work, formats)
                for path in sorted(work.iterdir(), key=lambda path: path.name == METADATA):
                    os.replace(path, folder / path.name)
        except OSError as error:
            raise EnfaceError(f"cannot write to {folder} ({error.strerror or error})") from error
        except EnfaceError:
            if new:
                folder.rmdir()
            raise
        return content

    def _write(self, work: Path, formats: Sequence[str]) -> dict[str, Any]:
        multiple = self.network.multiple
        # torch.export takes a side of one unit as a constant.
        if multiple is not None and min(self.recipe.data.image_size) >= 2 * multiple:
            try:
                return self._write_files(work, formats, multiple)
            except EnfaceError:
                # Written for one size below, or refused.
                pass
        try:
            return self._write_files(work, formats, None)
        except EnfaceError as error:
            raise self._refusal_of_opset(work) or error from error

    def _check_opset(self, opset: int, formats: Sequence[str]) -> None:
        if "onnx" not in formats:
            raise EnfaceError("--opset is a version of ONNX operators; add --format onnx, or remove it")
        newest = int(importlib.import_module("onnx").defs.onnx_opset_version())
        if opset > newest:
            raise EnfaceError(
                f"--opset {opset}: onnx {metadata.version('onnx')} knows opsets up to {newest}; use one of these, or a "
                "newer onnx"
            )

    def _refusal_of_opset(self, work: Path) -> EnfaceError | None:
        """Return the error that names an opset that works; None if the opset is not the reason."""
        if self.opset is None:
            return None
        refused = f"--opset {self.opset}: generator {self.recipe.generator.use} cannot be written"
        if not self._works_with(None, work):
            return None
        default, needed, operator = _opsets(work / FILES["onnx"])
        if self.opset > default:
            return EnfaceError(f"{refused}, or onnxruntime does not know it; use --opset {default}")
        reason = f"{operator} needs {needed}" if self.opset < needed else "the exporter cannot convert it"
        between = range(max(self.opset + 1, needed), default)
        works = next((opset for opset in between if self._works_with(opset, work)), default)
        return EnfaceError(f"{refused} ({reason}); the smallest opset that works is {works}")

    def _works_with(self, opset: int | None, work: Path) -> bool:
        try:
            replace(self, opset=opset)._write_files(work, ["onnx"], None)
        except EnfaceError:
            return False
        return True

    def _write_files(self, work: Path, formats: Sequence[str], multiple: int | None) -> dict[str, Any]:
        """Write files that accept the recipe's size, or all multiples of a number from two times that on.

        If that number is 1, they accept the recipe's size and all larger ones.
        """
        model = OutputPath(self.network).to(memory_format=torch.contiguous_format).eval()
        sources = self._sources(multiple)
        differences: dict[str, float] = {}
        with _quiet():
            program = self._attempt("torch", _traced, model, sources[0], multiple)
            for kind in dict.fromkeys(formats):
                path = work / FILES[kind]
                self._attempt(kind, WRITERS[kind], program, path, *([self.opset] if kind == "onnx" else []))
                differences[kind] = self._compare(model, kind, path, sources)
        content = self._metadata(work, differences, multiple)
        (work / METADATA).write_text(json.dumps(content, indent=1), encoding="utf-8")
        return content

    def _attempt(self, kind: str, make: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return make(*arguments)
        except OSError:
            raise
        # Exporters raise many kinds of exceptions for code that they cannot trace.
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise EnfaceError(
                f"generator {self.recipe.generator.use} cannot be exported ({kind}): {lines[0]}"
            ) from error

    def _compare(self, model: nn.Module, kind: str, path: Path, sources: Sequence[Tensor]) -> float:
        """Largest absolute difference between the outputs of a file and of the network."""
        exported, largest = self._attempt(kind, READERS[kind], path), 0.0
        for source in sources:
            with torch.inference_mode():
                expected = model(source)
            output = self._attempt(kind, exported, source)
            difference = float((output - expected).abs().max()) if output.shape == expected.shape else float("inf")
            # Not "difference > LIMIT", which is false for NaN.
            if not difference <= LIMIT:
                raise EnfaceError(
                    f"the {kind} export of generator {self.recipe.generator.use} differs from the network by "
                    f"{difference:.2g} (limit: {LIMIT:g}) for {len(source)} images; nothing was written"
                )
            largest = max(largest, difference)
        return largest

    def _sources(self, multiple: int | None) -> list[Tensor]:
        """Fixed inputs in [-1, 1] for comparing exports: one image, three, and a larger one if other sizes fit."""
        planes, (height, width) = self.recipe.data.channels.source, self.recipe.data.image_size
        random = torch.Generator().manual_seed(0)
        shapes = [(count, planes, height, width) for count in BATCHES]
        if multiple is not None:
            shapes.append((1, planes, height + multiple, width + 2 * multiple))
        return [torch.rand(shape, generator=random) * 2 - 1 for shape in shapes]

    def _metadata(self, work: Path, differences: Mapping[str, float], multiple: int | None) -> dict[str, Any]:
        data, state = self.recipe.data, self.saved.state
        planes, levels = data.channels, 2**data.depth - 1
        sides = _sides(data.image_size, multiple)

        def image(planes: int) -> dict[str, Any]:
            colors = {1: "grey", 3: "RGB"}.get(planes, f"{planes} planes")
            return {"shape": ["batch", planes, *sides], "dtype": "float32", "range": [-1, 1], "colors": colors}

        return {
            "recipe": self.recipe.name,
            "generator": self.recipe.generator.use,
            "source": {"name": "source", **image(planes.source), "from_pixels": f"pixel / {levels / 2:g} - 1"},
            "output": {
                "name": "output",
                **image(planes.target),
                "to_pixels": f"floor((value + 1) / 2 * {levels} + 0.5)",
            },
            "resize": {
                "fit": data.fit,
                **({"fill": data.fill} if data.fit == "pad" else {}),
                "to": [*data.packed_size],
                "filter": "lanczos",
                "keep_aspect": data.fit != "stretch",
                "crop_middle": [*data.image_size],
            },
            "checkpoint": self.saved.path.name,
            "step": state["step"],
            "running_average": not self.raw and bool(self.saved.part("ema")),
            "digest": digest(self.network),
            "checked": {"batches": list(BATCHES), "limit": LIMIT},
            "largest_difference": dict(differences),
            **({"opset": _opsets(work / FILES["onnx"])[0]} if "onnx" in differences else {}),
            "files": {path.name: _file(path) for path in sorted(work.iterdir())},
            "versions": {"enface": enface.__version__, **_versions(differences)},
        }


# ------------------------------------------------------------------ formats


def _traced(model: nn.Module, source: Tensor, multiple: int | None) -> ExportedProgram:
    # Two images, because torch.export specialises a size of 1 to a constant.
    example = torch.zeros(2, *source.shape[1:])
    dynamic: dict[int, Any] = {0: Dim("batch", min=1)}
    if multiple is not None:
        # For images of any size, torch.export determines the smallest one.
        dynamic |= {
            axis: multiple * Dim(f"{name}_units", min=2) if multiple > 1 else Dim.AUTO
            for axis, name in enumerate(SIDES, 2)
        }
    return torch.export.export(model, (example,), dynamic_shapes={"source": dynamic})


def _sides(size: tuple[int, int], multiple: int | None) -> list[int | str]:
    """Height and width that the files accept, as numbers or in words."""
    if multiple is None:
        return [*size]
    if multiple > 1:
        return [f"{name}, a multiple of {multiple}" for name in SIDES]
    # torch.export's guards also admit some smaller images, which depends on the network.
    return [f"{name}, at least {side}" for name, side in zip(SIDES, size, strict=True)]


def _write_onnx(program: ExportedProgram, path: Path, opset: int | None = None) -> None:
    model = torch.onnx.export(
        program, dynamo=True, input_names=["source"], output_names=["output"], verbose=False, opset_version=opset
    )
    assert model is not None
    if opset is not None and opset < SPLIT_COUNT:
        # onnx's conversion to older opsets keeps it.
        for node in model.model.graph:
            if node.op_type == "Split":
                node.attributes.pop("num_outputs", None)
    # A single file, which ONNX limits to 2 GB.
    model.save(path, external_data=False)
    # The exporter only logs that it cannot convert.
    if opset is not None and _opsets(path)[0] != opset:
        raise EnfaceError(f"opset {opset} is not supported")


def _opsets(path: Path) -> tuple[int, int, str]:
    """Return the opset of an ONNX file, the first one that has all of its operators, and the last of these."""
    onnx = importlib.import_module("onnx")
    model = onnx.load(path)
    (opset,) = (item.version for item in model.opset_import if not item.domain)
    kinds = {node.op_type for node in model.graph.node if not node.domain}
    first = {
        kind: min(item.since_version for item in onnx.defs.get_all_schemas_with_history() if item.name == kind)
        for kind in kinds
    }
    last = max(sorted(first), key=first.__getitem__)
    return int(opset), int(first[last]), str(last)


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


WRITERS: Mapping[str, Callable[..., None]] = {"onnx": _write_onnx, "torch": _write_torch}
READERS: Mapping[str, Callable[[Path], Callable[[Tensor], Tensor]]] = {"onnx": _read_onnx, "torch": _read_torch}


def _file(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _versions(formats: Mapping[str, float]) -> dict[str, str]:
    return {name: metadata.version(name) for name in ("torch", *(ONNX_PACKAGES if "onnx" in formats else ()))}


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's warnings and log messages."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
