"""Files in a folder at an address of fsspec: ``s3://``, ``gs://``, ``hf://``, ``https://``, or a local path."""

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
"""Bytes per request, few enough that a server does not time out."""
CONCURRENT = 8
"""Requests at a time, because services limit the rate of each."""
ON_THIS_MACHINE = ("file", "local", "memory", "tar", "zip")
"""Protocols that use no network."""


class NotFoundError(DataError):
    """The address answers, and has no such file."""


class UnreachableError(DataError):
    """The address does not answer, or fails; it may work later."""


class RemoteFolder:
    """A folder at an address.

    fsspec finds keys and endpoints in its own files, the environment or the service's configuration; a recipe holds
    no secrets.

    Args:
        address: A URL, or a path.

    Raises:
        DataError: if the protocol is unknown, or its package is not installed.
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
        except Exception as error:  # An archive that holds the folder is opened here already.
            raise UnreachableError(f"{address}: cannot be opened ({_reason(error)})") from error
        self._path = str(path).rstrip("/")

    @property
    def is_on_network(self) -> bool:
        """True if reading it may use the network."""
        return any(get_protocol(part) not in ON_THIS_MACHINE for part in self.address.split("::"))

    @property
    def local_folder(self) -> Path | None:
        """The folder's path on this machine; None if it is remote."""
        return Path(self._path) if isinstance(self._fs, LocalFileSystem) else None

    def read(self, name: str) -> bytes:
        """Read a small file.

        Raises:
            NotFoundError: if it does not exist.
            UnreachableError: if the address does not answer.
            DataError: if access is refused.
        """
        with self._errors(name):
            content: bytes = self._fs.cat_file(self._path_of(name))
            return content

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, or None if the address does not say. Raises as :meth:`read`."""
        with self._errors(name):
            size = self._fs.info(self._path_of(name)).get("size")
        return None if size is None else int(size)

    def fetch(self, name: str, to: Path, received: Callable[[int], None]) -> str:
        """Download a file, resuming where an earlier fetch was interrupted.

        Args:
            to: Its local path; a first part may exist.
            received: Called with the bytes of each part, including the one that existed.

        Returns:
            The sha256 of its bytes.

        Raises:
            NotFoundError, UnreachableError, DataError: as :meth:`read`; the parts received so far stay.
        """
        digest = hashlib.sha256()
        with to.open("a+b") as file:
            file.seek(0)
            while kept := file.read(BLOCK):
                digest.update(kept)
                received(len(kept))
            for part in self._parts(name, file.tell()):
                if part is None:
                    received(-file.tell())
                    file.truncate(0)
                    digest = hashlib.sha256()
                    continue
                file.write(part)
                digest.update(part)
                received(len(part))
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def _parts(self, name: str, start: int) -> Iterator[bytes | None]:
        """Yield a file's bytes from ``start`` on; None, and then all of them, if the server sends whole files only."""
        size = self.size(name)
        if size is not None and size <= start:
            return
        path = self._path_of(name)
        with self._errors(name):
            try:
                # Each read is a request; the first one from within the file shows that the server sends parts.
                with self._fs.open(path, "rb", block_size=BLOCK, cache_type="none") as stream:
                    stream.seek(start)
                    sends_parts = False
                    while not sends_parts and (part := stream.read(BLOCK)):
                        sends_parts = start > 0 and size is not None and bool(self._fs.async_impl)
                        start += len(part)
                        yield part
                if sends_parts and size is not None:
                    yield from self._concurrent(path, start, size)
            except ValueError:
                yield None
                with self._fs.open(path, "rb", block_size=0) as stream:
                    while part := stream.read(BLOCK):
                        yield part

    def _concurrent(self, path: str, start: int, size: int) -> Iterator[bytes]:
        """Yield a file's bytes from ``start`` on, by several concurrent requests."""
        while start < size:
            starts = list(range(start, size, BLOCK)[:CONCURRENT])
            ends = [min(first + BLOCK, size) for first in starts]
            for first, end, part in zip(
                starts, ends, self._fs.cat_ranges([path] * len(starts), starts, ends), strict=True
            ):
                if isinstance(part, BaseException):
                    raise part
                if len(part) != end - first:
                    raise OSError(f"received {len(part):,} of {end - first:,} bytes")
                yield part
            start = ends[-1]

    def put(self, name: str, file: Path) -> None:
        """Upload a file.

        Raises:
            DataError: if it cannot be written.
        """
        with self._errors(name, "written"):
            if self.local_folder is not None:
                self.local_folder.mkdir(parents=True, exist_ok=True)
            self._fs.put_file(str(file), self._path_of(name))
        if self.size(name) != file.stat().st_size:
            raise DataError(f"{self.address}/{name}: did not arrive completely")

    def put_text(self, name: str, content: bytes) -> None:
        """Write a small file. Raises as :meth:`put`."""
        with self._errors(name, "written"):
            self._fs.pipe_file(self._path_of(name), content)

    def _path_of(self, name: str) -> str:
        return f"{self._path}/{name}"

    @contextmanager
    def _errors(self, name: str, action: str = "read") -> Iterator[None]:
        """Turn the errors of a service's package into ours, which name the file."""
        where = f"{self.address.rstrip('/')}/{name}"
        try:
            yield
        except DataError:
            raise
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"{where}: there is no such file") from error
        except PermissionError as error:
            raise DataError(f"{where}: access is refused ({_reason(error)})") from error
        except NotImplementedError as error:
            raise DataError(f"{where}: cannot be {action}; its protocol does not support that") from error
        except Exception as error:  # Each service's package raises its own, without a common base.
            if is_disk_full(error):
                raise
            raise UnreachableError(f"{where}: cannot be {action} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    line: Any = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {line[:200]}" if line else type(error).__name__
