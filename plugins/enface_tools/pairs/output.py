"""Checks of input and results folders, so that no image is measured against itself or overwritten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from enface.errors import DataError
from enface_tools.pairs.files import require_folder

WORK = ".work"
"""Folder of intermediate numbers in a results folder."""
ORIGIN = "pairs.json"
"""File that names the outputs and targets of a results folder."""


def check_folders(folders: Mapping[str, Path]) -> None:
    """Refuse input folders that are missing, the same, or inside one another.

    Args:
        folders: ``outputs``, ``targets`` and perhaps ``sources``.

    Raises:
        DataError: naming the folders.
    """
    for role, path in folders.items():
        require_folder(path, role)
    resolved = {role: path.resolve() for role, path in folders.items()}
    for role, path in resolved.items():
        for other, outer in resolved.items():
            if role == other:
                continue
            if path == outer:
                raise DataError(f"{other} and {role} are one folder, {path}; they would be measured against themselves")
            if path.is_relative_to(outer):
                raise DataError(
                    f"the folder of {role}, {folders[role]}, is inside the folder of {other}, {folders[other]}, "
                    f"so its images would count as {other}; move one of them"
                )


def results_folder(out: Path | None, folders: Mapping[str, Path]) -> Path:
    """Return the folder that results are written to. It need not exist.

    Args:
        out: Default: ``evaluations/NAME`` with the name of the outputs' folder.

    Raises:
        DataError: if it is a file, holds other files or the results of other folders, or overlaps with an input.
    """
    folder = out if out is not None else Path("evaluations") / (folders["outputs"].resolve().name or "outputs")
    resolved = folder.resolve()
    for role, path in folders.items():
        if resolved == path.resolve() or resolved.is_relative_to(path.resolve()):
            raise DataError(f"results would be written to {folder}, among the {role}; give another folder as --out")
        if path.resolve().is_relative_to(resolved):
            raise DataError(f"the {role} are inside {folder}, the results folder; give another folder as --out")
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; results need a folder")
    if not any(folder.iterdir()):
        return folder
    earlier = _read_origin(folder)
    if earlier is None:
        raise DataError(f"{folder} is not empty and holds no result of this command; give another folder as --out")
    if earlier != _origin(folders):
        other = ", ".join(str(path) for path in earlier.values())
        raise DataError(f"{folder} holds the result of other folders ({other}); give another --out, or remove it")
    return folder


def claim(folder: Path, folders: Mapping[str, Path]) -> Path:
    """Make the results folder, note the input folders in it, and return its folder for intermediate numbers.

    Raises:
        DataError: if it cannot be written.
    """
    try:
        work = folder / WORK
        work.mkdir(parents=True, exist_ok=True)
        (folder / ORIGIN).write_text(json.dumps(_origin(folders), indent=1), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write into {folder} ({error.strerror or error}); give another --out") from error
    return work


def _origin(folders: Mapping[str, Path]) -> dict[str, str]:
    return {role: str(folders[role].resolve()) for role in ("outputs", "targets")}


def _read_origin(folder: Path) -> dict[str, str] | None:
    try:
        content = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
