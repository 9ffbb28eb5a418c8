"""The cache of pretrained weights: described by plugins, fetched once, checked at each load.

A set is accepted only when its tensors have the digest its plugin states, whatever file they came from.
So two metric cards with one digest mean one network, and no file that is read here can run code.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from safetensors.torch import load_file, save
from torch import Tensor

from enface.errors import WeightsError
from enface.plugin.weight_sources import HubFile as HubFile  # All that a description needs, from one place.
from enface.plugin.weight_sources import Say, Source, Tensors
from enface.plugin.weight_sources import SdistMember as SdistMember
from enface.system.atomic import replacing


@dataclass(frozen=True)
class Weights:
    """One set of pretrained weights.

    Attributes:
        name: Its name in the cache and on the command line.
        about: What it is, and whose.
        licence: Under what terms, as far as its makers say.
        tensors: The names it must have; everything else in a source is left out.
        sha256: The :func:`tensor_digest` of these tensors.
        sources: Where it can be had, in the order they are tried.
    """

    name: str
    about: str
    licence: str
    tensors: tuple[str, ...]
    sha256: str
    sources: tuple[Source, ...]

    @property
    def path(self) -> Path:
        """Where it lies in the cache, or would."""
        return cache_folder() / "weights" / f"{self.name}.safetensors"

    @property
    def digest(self) -> str:
        """The start of the digest, for cards."""
        return self.sha256[:12]

    def load(self) -> dict[str, Tensor]:
        """The tensors, float32 on the CPU.

        Raises:
            WeightsError: when they are not in the cache, or what lies there is not what it should be.
        """
        found = find(self)
        if found is None:
            files = ", ".join(source.file for source in self.sources)
            raise WeightsError(
                f"the weights {self.name!r} are missing: there is no {self.path}\n"
                f"  to download them:    enface weights fetch {self.name}\n"
                f"  to use a file:       enface weights fetch {self.name} --from FILE    ({files})"
            )
        try:
            return self.check(_guarded(load_file, found), found)
        except WeightsError as error:
            raise WeightsError(f"{error}\n  to replace it:  enface weights fetch {self.name}") from None

    def check(self, tensors: Tensors, origin: Path) -> dict[str, Tensor]:
        """The required tensors of a file, once their digest is right.

        Raises:
            WeightsError: when one is missing or the digest differs.
        """
        missing = [name for name in self.tensors if name not in tensors]
        if missing:
            raise WeightsError(f"{origin}: not the weights {self.name!r}: no tensor {', '.join(missing[:3])}")
        kept = {name: tensors[name].detach().float().contiguous() for name in self.tensors}
        digest = tensor_digest(kept)
        if digest != self.sha256:
            raise WeightsError(
                f"{origin}: not the weights {self.name!r}: the digest of its tensors is {digest},"
                f" expected {self.sha256}"
            )
        return kept


def cache_folder() -> Path:
    """``$ENFACE_CACHE``, or the place this system keeps users' caches."""
    chosen = os.environ.get("ENFACE_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("enface")


def find(weights: Weights) -> Path | None:
    """The file in the cache, or None. Only :meth:`Weights.load` checks what is in it."""
    return weights.path if weights.path.is_file() else None


def fetch(weights: Weights, file: Path | None = None, say: Say = print) -> Path:
    """Bring weights into the cache: from a file, or from the first source that has them.

    Args:
        file: One that a source would download, or a safetensors file.
        say: Told what is going on, a line at a time.

    Raises:
        WeightsError: when no source has them, or the file is not these weights; the cache is then as before.
    """
    try:
        tensors = _from_file(weights, file) if file is not None else _from_sources(weights, say)
        _write(weights.path, save(tensors, {"sha256": weights.sha256, "about": weights.about}))
    except OSError as error:
        raise WeightsError(f"{weights.path}: cannot be written: {error.strerror or error}") from error
    return weights.path


def tensor_digest(tensors: Tensors) -> str:
    """sha256 over names, shapes and float32 values (little-endian), in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].detach().cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def _from_file(weights: Weights, file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise WeightsError(f"{file}: there is no such file")
    if file.name.endswith(".safetensors"):
        return weights.check(_guarded(load_file, file), file)
    for source in weights.sources:
        if file.name.endswith(source.suffixes):
            return weights.check(_guarded(source.read, file), file)
    suffixes = [".safetensors", *(suffix for source in weights.sources for suffix in source.suffixes)]
    raise WeightsError(f"{file}: weights {weights.name!r} can be read from {', '.join(suffixes)} files")


def _from_sources(weights: Weights, say: Say) -> dict[str, Tensor]:
    failures = []
    weights.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=weights.path.parent) as folder:
        for source in weights.sources:
            try:
                path = source.download(Path(folder), say)
                return weights.check(_guarded(source.read, path), path)
            except WeightsError as error:
                failures.append(str(error).replace(f"{folder}{os.sep}", ""))
                say(f"not from there: {failures[-1]}")
    raise WeightsError(
        f"the weights {weights.name!r} could not be fetched:\n"
        + "".join(f"  - {failure}\n" for failure in failures)
        + f"  with a file from elsewhere: enface weights fetch {weights.name} --from FILE"
    )


def _guarded(read: Callable[[Path], Tensors], path: Path) -> Tensors:
    try:
        return read(path)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from None
    except Exception as error:  # A damaged file fails in as many ways as there are formats.
        reason = next(iter(str(error).splitlines()), "")
        raise WeightsError(f"{path}: cannot be read ({type(error).__name__}: {reason[:100]})") from error


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, sync=True) as beside:
        beside.write_bytes(content)
