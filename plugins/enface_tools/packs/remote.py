"""Packs at an address: fetch one into the cache, once; write one."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from enface.data.open_pack import REMEDY
from enface.data.pack import INFO_FILE, Pack, PackedFile, PackInfo
from enface.errors import DataError
from enface.system.cache import cache_folder, is_offline
from enface.system.messages import Progress
from enface_tools.packs.remote_files import NotFoundError, RemoteFolder, UnreachableError

MIB = 2**20
TRIES = 4
PAUSE = 2.0
"""Seconds before an interrupted file is resumed; doubled each time."""


def fetch_pack(address: str, progress: Progress, say: Callable[[str], None]) -> Path:
    """Return the local folder of the pack at an address; fetch it if there is no copy of what the address holds.

    A copy belongs to an address and to the ``pack.json`` there. It is fetched into a folder beside its place, which
    an interrupted fetch leaves to the next one, and renamed when it is complete. Only one process fetches at a time.

    Args:
        progress: Called with (MiB done, MiB in all).
        say: Receives a message if the address cannot be reached and an earlier copy is used.

    Raises:
        DataError: if there is no pack, or it is damaged; naming the address.
    """
    remote = RemoteFolder(address)
    if remote.local_folder is not None:
        return remote.local_folder
    copies = cache_folder() / "packs" / "fetched"
    stem = re.sub(r"[^A-Za-z0-9.-]+", "_", address.rstrip("/").rpartition("/")[2]) or "pack"
    stem = f"{stem}-{_digest(address.rstrip('/').encode())}"
    earlier = sorted(copies.glob(f"{stem}-*/{INFO_FILE}"), key=lambda path: path.parent.stat().st_mtime)
    try:
        if remote.is_on_network and is_offline():
            raise UnreachableError(f"{address} is on the network, and --offline or ENFACE_OFFLINE is set")
        text = remote.read(INFO_FILE)
    except UnreachableError as error:
        if not earlier:
            raise
        say(f"{error}; the copy fetched before is used: {earlier[-1].parent}")
        return earlier[-1].parent
    except NotFoundError as error:
        copy = f"; a copy fetched before exists: data.pack={earlier[-1].parent}" if earlier else ""
        raise DataError(f"no pack at {address}: there is no {INFO_FILE}{copy}") from error
    info = _parse(text, address)
    folder = copies / f"{stem}-{_digest(text)}"
    if not (folder / INFO_FILE).is_file():
        copies.mkdir(parents=True, exist_ok=True)
        with FileLock(copies / f".{folder.name}.lock"):
            # The process that held the lock before may have fetched it.
            if not (folder / INFO_FILE).is_file():
                _fetch(remote, info, text, folder, progress)
    # The newest copy is the one used last; not updated if the cache is read-only.
    with suppress(OSError):
        os.utime(folder)
    return folder


def _fetch(remote: RemoteFolder, info: PackInfo, text: bytes, folder: Path, progress: Progress) -> None:
    work = folder.with_name(f".{folder.name}.part")
    work.mkdir(exist_ok=True)
    total = _check_sizes(remote, info, work)
    done = 0

    def received(count: int) -> None:
        nonlocal done
        done += count
        progress(round(done / MIB), round(total / MIB))

    for name in info.file_names:
        start = done
        for attempt in range(1, TRIES + 1):
            try:
                digest = remote.fetch(name, work / name, received)
                break
            except UnreachableError as error:
                if attempt == TRIES:
                    kept = f"{done / MIB:,.1f} of {total / MIB:,.1f} MiB"
                    raise UnreachableError(f"{error}; {kept} have come and are kept: start again to resume") from error
                time.sleep(PAUSE * 2 ** (attempt - 1))
                done = start
        try:
            _check_file(work / name, info, digest)
        except ValueError as error:
            # Resuming a damaged file would not repair it.
            (work / name).unlink()
            raise DataError(f"{remote.address}/{error}") from error
    (work / INFO_FILE).write_bytes(text)
    os.rename(work, folder)


def _check_sizes(remote: RemoteFolder, info: PackInfo, work: Path) -> int:
    """Return the bytes of all files. Raise DataError if one is truncated or they do not fit on the disk."""
    sizes = {name: remote.size(name) for name in info.file_names}
    for name, size in sizes.items():
        if size is not None and name in info.files and size != info.files[name].bytes:
            raise DataError(
                f"{remote.address}/{name} is not whole: {size:,} bytes, {INFO_FILE} says {info.files[name].bytes:,}"
            )
    total = sum(size or 0 for size in sizes.values())
    fetched = sum((work / name).stat().st_size for name in sizes if (work / name).is_file())
    if total - fetched > shutil.disk_usage(work).free:
        raise DataError(f"{remote.address} takes {total / MIB:,.0f} MiB; there is no room for it in {work.parent}")
    return total


def _check_file(path: Path, info: PackInfo, digest: str) -> None:
    """Raise ValueError if a fetched file is damaged."""
    if path.suffix == ".npy":
        info.check_array(path)
    if path.name in info.files and digest != info.files[path.name].sha256:
        raise ValueError(f"{path.name} is damaged: its sha256 is not the one in {INFO_FILE}; {REMEDY}")


def _parse(text: bytes, address: str) -> PackInfo:
    try:
        info = PackInfo.parse(text)
    except ValueError as error:
        raise DataError(f"{address} is not a pack: {error}") from error
    info.check_format(address, REMEDY)
    return info


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def write_pack(pack: Pack, address: str, progress: Progress | None = None) -> PackInfo:
    """Write a pack to an address: first its files, then the ``pack.json`` that makes them a pack.

    Args:
        progress: Called with (files done, files in all).

    Returns:
        The contents of that ``pack.json``, with bytes and sha256 of each other file.

    Raises:
        DataError: if another pack is there, or the address cannot be written to.
    """
    remote = RemoteFolder(address)
    files = {}
    for name in pack.info.file_names:
        with (pack.folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            files[name] = PackedFile(bytes=file.tell(), sha256=digest)
    info = pack.info.model_copy(update={"files": files})
    try:
        existing = remote.read(INFO_FILE)
    except NotFoundError:
        existing = b""
    if existing == info.dump():
        return info
    if existing:
        raise DataError(f"{address}: there is another pack already; delete it, or choose another address")
    for done, name in enumerate(info.file_names):
        if progress is not None:
            progress(done, len(info.file_names))
        remote.put(name, pack.folder / name)
    remote.put_text(INFO_FILE, info.dump())
    return info
