"""The cache of pretrained weights: declared by plugins, fetched once, checked at each load.

Weights are accepted only if their tensors have the digest that the plugin declares, whatever file they came from.
Two metric cards with the same digest therefore mean the same network. Reading a file never runs code in it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from safetensors.torch import load_file, save
from torch import Tensor

from enface import WeightsError, atomic_write, cache_folder, is_offline
from enface_plugins.pretrained.sources import Progress, Say, Source, Tensors

_DOWNLOADS = ".fetch-"


@dataclass(frozen=True)
class Weights:
    """One set of pretrained weights.

    Attributes:
        name: Its name in the cache and on the command line.
        about: The network, its authors and its training data, in one line.
        licence: The terms of use, as far as its authors state them.
        tensors: Names of the required tensors; all others in a source are ignored.
        sha256: The :func:`tensor_digest` of these tensors.
        sources: Sources to download from, in the order they are tried.
    """

    name: str
    about: str
    licence: str
    tensors: tuple[str, ...]
    sha256: str
    sources: tuple[Source, ...]

    @property
    def path(self) -> Path:
        """Path in the cache, whether or not the file exists."""
        return cache_folder() / "weights" / f"{self.name}.safetensors"

    @property
    def digest(self) -> str:
        """The first digits of the digest, for metric cards."""
        return self.sha256[:12]

    def find(self) -> Path | None:
        """Return the cached file, or None. Only :meth:`load` checks its contents."""
        return self.path if self.path.is_file() else None

    def fetch(
        self,
        file: Path | None = None,
        say: Say = print,
        progress: Progress = lambda done, total: None,
        downloads: Path | None = None,
    ) -> Path:
        """Put the weights into the cache, from a file or from the first source that provides them.

        Args:
            file: A file that one of the sources would download, or a safetensors file.
            say: Receives messages, one line per call.
            progress: Receives MiB received and MiB in all.
            downloads: A folder of :func:`downloads_folder`, which several weights share if one file holds them all.

        Raises:
            WeightsError: if no source provides them, or the file holds other weights; the cache is then unchanged.
        """
        try:
            if file is not None:
                tensors = _from_file(self, file)
            elif downloads is not None:
                tensors = _from_sources(self, downloads, say, progress)
            else:
                with downloads_folder() as folder:
                    tensors = _from_sources(self, folder, say, progress)
            _write(self.path, save(tensors, {"sha256": self.sha256, "about": self.about}))
        except OSError as error:
            raise WeightsError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        return self.path

    def load(self) -> dict[str, Tensor]:
        """Load the tensors from the cache, float32 on the CPU.

        Raises:
            WeightsError: when they are not in the cache, or the cached file is damaged or has another digest.
        """
        path = self.find()
        if path is None:
            raise self.missing()
        try:
            return self.check(_guarded(load_file, path), path)
        except WeightsError as error:
            raise WeightsError(f"{error}\n  to replace it:  enface weights fetch {self.name}") from None

    def missing(self) -> WeightsError:
        """Return the error for weights that are not in the cache; it names the commands that fetch them."""
        offline = ", and nothing is downloaded offline" if is_offline() else ""
        files = ", ".join(source.file for source in self.sources)
        return WeightsError(
            f"the weights {self.name!r} are missing: {self.path} does not exist{offline}\n"
            f"  to download them:    enface weights fetch {self.name}\n"
            f"  to use a file:       enface weights fetch {self.name} --from FILE    ({files})"
        )

    def check(self, tensors: Tensors, origin: Path) -> dict[str, Tensor]:
        """Return the required tensors of a file after checking their digest.

        Raises:
            WeightsError: when a tensor is missing or the digest differs.
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


def tensor_digest(tensors: Tensors) -> str:
    """sha256 of names, shapes and float32 values (little-endian), in order of the names."""
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


@contextmanager
def downloads_folder() -> Iterator[Path]:
    """A folder in the cache for downloads, removed at the end; processes that share a cache take turns."""
    parent = cache_folder() / "weights"
    parent.mkdir(parents=True, exist_ok=True)
    with FileLock(parent / ".lock"):
        # Of processes that were killed.
        for left in parent.glob(f"{_DOWNLOADS}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_DOWNLOADS, dir=parent) as folder:
            yield Path(folder)


def _from_sources(weights: Weights, folder: Path, say: Say, progress: Progress) -> dict[str, Tensor]:
    if is_offline():
        raise WeightsError(
            f"the weights {weights.name!r} are not downloaded, because ENFACE_OFFLINE is set\n"
            f"  to use a file from elsewhere: enface weights fetch {weights.name} --from FILE"
        )
    failures = []
    # First files that need no download.
    for source in sorted(weights.sources, key=lambda source: source.find() is None):
        try:
            path = source.find()
            if path is not None:
                say(f"using {path}")
            else:
                path = source.download(folder, say, progress)
            return weights.check(_guarded(source.read, path), path)
        except WeightsError as error:
            failures.append(str(error).replace(f"{folder}{os.sep}", ""))
            say(f"source failed: {failures[-1]}")
    raise WeightsError(
        f"the weights {weights.name!r} could not be downloaded:\n"
        + "".join(f"  - {failure}\n" for failure in failures)
        + f"  to use a file from elsewhere: enface weights fetch {weights.name} --from FILE"
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
    with atomic_write(path, sync=True) as temporary:
        temporary.write_bytes(content)
