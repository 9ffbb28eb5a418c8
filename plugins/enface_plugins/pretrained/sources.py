"""Sources of pretrained weights, and the download they share."""

from __future__ import annotations

import hashlib
import re
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from enface import WeightsError

Tensors = Mapping[str, Tensor]
Say = Callable[[str], None]
Progress = Callable[[int, int], None]
"""Called with MiB received and MiB in all."""

TIMEOUT = 15
"""Seconds without an answer after which a server is given up."""
_LARGEST = 2**30  # Bytes after which a download is aborted.
_MIB = 2**20


class Source(ABC):
    """A place from which a set of weights can be downloaded.

    Attributes:
        suffixes: Endings of the files that :meth:`read` can read.
    """

    suffixes: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def file(self) -> str:
        """Name of the file it downloads."""

    def find(self) -> Path | None:
        """Return the file if another program has already downloaded it to this machine; by default None."""
        return None

    @abstractmethod
    def download(self, folder: Path, say: Say, progress: Progress) -> Path:
        """Download the file into a folder, unless it is there, and check its sha256.

        Args:
            say: Receives messages, one line per call.
            progress: Receives the size of what has come, and of all.
        """

    @abstractmethod
    def read(self, path: Path) -> Tensors:
        """Read tensors by their torchvision-style names; additional tensors are ignored."""


@dataclass(frozen=True)
class HubFile(Source):
    """A state dict on a model hub. As on torch hub, the file name ends with the start of its sha256."""

    url: str
    suffixes: ClassVar[tuple[str, ...]] = (".pth", ".pt")

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]

    def find(self) -> Path | None:
        path = Path(torch.hub.get_dir()) / "checkpoints" / self.file
        return path if path.is_file() else None

    def download(self, folder: Path, say: Say, progress: Progress) -> Path:
        path = download_file(self.url, folder / self.file, say, progress)
        stated = re.search(r"-([0-9a-f]{8,})\.", self.file)
        check_sha256(path, stated[1] if stated else "")
        return path

    def read(self, path: Path) -> Tensors:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return {name: item for name, item in content.items() if isinstance(item, Tensor)}


def download_file(url: str, path: Path, say: Say, progress: Progress) -> Path:
    """Download a file of at most 1 GiB and return its path; a file that is there already is kept.

    Args:
        say: Receives one line, with the size, when the server has answered.
        progress: Receives MiB received and MiB in all, if the server states its size.

    Raises:
        WeightsError: when the server cannot be reached or does not answer, or the file is incomplete.
    """
    if path.is_file():
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, part.open("wb") as file:
            expected, received = answer.headers.get("Content-Length"), 0
            total = int(expected or 0)
            say(f"downloading {url}" + (f" ({total / _MIB:,.1f} MiB)" if total else ""))
            while (piece := answer.read(_MIB)) and received <= _LARGEST:
                received += file.write(piece)
                if total:
                    progress(round(received / _MIB), round(total / _MIB))
    except Exception as error:  # Name resolution, routing, HTTP, timeout: in each case the next source is tried.
        raise WeightsError(f"{url}: {getattr(error, 'reason', None) or error}") from error
    if expected is not None and received != int(expected):
        raise WeightsError(f"{url}: cut off after {received} of {expected} bytes")
    return part.rename(path)


def check_sha256(path: Path, sha256: str) -> None:
    """Raise WeightsError unless the sha256 of a file starts with the given digits."""
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if not actual.startswith(sha256):
        raise WeightsError(f"{path}: its sha256 is {actual}, expected {sha256}")
