"""Files in a folder at an address that fsspec knows: ``s3://``, ``gs://``, ``hf://``, ``https://``, or a local one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations
from fsspec.utils import get_protocol

from enface.errors import DataError, is_disk_full

BLOCK = 8 * 2**20
"""Bytes of one request, so that none lasts so long that a server gives it up."""
AT_ONCE = 8
"""Requests under way together: services limit what one of them gets."""
Bytes = Callable[[int], None]
"""Told how many more bytes have come."""


class NothingThereError(DataError):
    """The address answers, and has no such file."""


class UnreachableError(DataError):
    """The address does not answer, or not with what was asked for; it may do so later."""


class Place:
    """A folder at an address.

    Keys, endpoints and the like are fsspec's to know, from its own files, the environment or what the service's
    other programs use; a recipe holds no secrets.

    Args:
        address: A URL, or a path.

    Raises:
        DataError: when the protocol is unknown, or its package is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            self._fs, path = fsspec.url_to_fs(address)
        except ImportError as error:
            protocol = get_protocol(address)
            hint = known_implementations.get(protocol, {}).get("err", str(error))
            raise DataError(f'{address}: {hint} (pip install "enface[remote]" brings it)') from error
        except ValueError as error:
            raise DataError(f"{address}: {error}") from error
        except Exception as error:  # What holds the folder, as an archive, is opened at once.
            raise UnreachableError(f"{address}: cannot be opened ({_reason(error)})") from error
        self._path = str(path).rstrip("/")

    @property
    def folder(self) -> Path | None:
        """The folder itself, where it is on this system."""
        return Path(self._path) if isinstance(self._fs, LocalFileSystem) else None

    def read(self, name: str) -> bytes:
        """A small file, whole.

        Raises:
            NothingThereError: when there is none.
            UnreachableError: when that cannot be known.
            DataError: when access is refused.
        """
        with self._said(name):
            content: bytes = self._fs.cat_file(self._of(name))
            return content

    def size(self, name: str) -> int | None:
        """Bytes of a file, where the address says; raises as :meth:`read`."""
        with self._said(name):
            size = self._fs.info(self._of(name)).get("size")
        return None if size is None else int(size)

    def fetch(self, name: str, to: Path, come: Bytes) -> str:
        """Bring a file here, going on where a fetch before this one was cut off.

        Args:
            to: Where it goes, or where its first part is.
            come: Told of every part, also of the one that was there.

        Returns:
            The sha256 of its bytes.

        Raises:
            NothingThereError, UnreachableError, DataError: as :meth:`read`; what has come stays.
        """
        digest = hashlib.sha256()
        with to.open("a+b") as file:
            file.seek(0)
            while kept := file.read(BLOCK):
                digest.update(kept)
                come(len(kept))
            for part in self._parts(name, file.tell()):
                if part is None:
                    come(-file.tell())
                    file.truncate(0)
                    digest = hashlib.sha256()
                    continue
                file.write(part)
                digest.update(part)
                come(len(part))
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def _parts(self, name: str, start: int) -> Iterator[bytes | None]:
        """A file's bytes from ``start`` on; None, and then all of them, where the server gives whole files only."""
        size = self.size(name)
        if size is not None and size <= start:
            return
        path = self._of(name)
        with self._said(name):
            try:
                # Each read is a request. The first one from within the file shows whether the server gives parts.
                with self._fs.open(path, "rb", block_size=BLOCK, cache_type="none") as stream:
                    stream.seek(start)
                    within = False
                    while not within and (part := stream.read(BLOCK)):
                        within = start > 0 and size is not None and bool(self._fs.async_impl)
                        start += len(part)
                        yield part
                if within and size is not None:
                    yield from self._together(path, start, size)
            except ValueError:
                yield None
                with self._fs.open(path, "rb", block_size=0) as stream:
                    while part := stream.read(BLOCK):
                        yield part

    def _together(self, path: str, start: int, size: int) -> Iterator[bytes]:
        """A file's bytes from ``start`` on, by several requests at once."""
        while start < size:
            starts = list(range(start, size, BLOCK)[:AT_ONCE])
            ends = [min(first + BLOCK, size) for first in starts]
            for first, end, part in zip(
                starts, ends, self._fs.cat_ranges([path] * len(starts), starts, ends), strict=True
            ):
                if isinstance(part, BaseException):
                    raise part
                if len(part) != end - first:
                    raise OSError(f"{len(part):,} bytes came of {end - first:,}")
                yield part
            start = ends[-1]

    def put(self, name: str, file: Path) -> None:
        """Write a file there.

        Raises:
            DataError: when that cannot be done.
        """
        with self._said(name, "written"):
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
            self._fs.put_file(str(file), self._of(name))
        if self.size(name) != file.stat().st_size:
            raise DataError(f"{self.address}/{name}: has not arrived whole")

    def put_text(self, name: str, content: bytes) -> None:
        """Write a small file there; raises as :meth:`put`."""
        with self._said(name, "written"):
            self._fs.pipe_file(self._of(name), content)

    def _of(self, name: str) -> str:
        return f"{self._path}/{name}"

    @contextmanager
    def _said(self, name: str, what: str = "read") -> Iterator[None]:
        where = f"{self.address.rstrip('/')}/{name}"
        try:
            yield
        except DataError:
            raise
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NothingThereError(f"{where}: there is no such file") from error
        except PermissionError as error:
            raise DataError(f"{where}: access is refused ({_reason(error)})") from error
        except NotImplementedError as error:
            raise DataError(f"{where}: cannot be {what}; that protocol does not do it") from error
        except Exception as error:  # Each service's package has its own, of no common kind.
            if is_disk_full(error):
                raise
            raise UnreachableError(f"{where}: cannot be {what} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    said: Any = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {said[:200]}" if said else type(error).__name__
