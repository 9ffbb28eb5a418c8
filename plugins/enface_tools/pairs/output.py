"""Where results go, so that no image is measured against itself or overwritten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from enface.errors import DataError
from enface_tools.pairs.files import require_folder

WORK = ".work"
ORIGIN = "pairs.json"
"""In a folder of results: which folders they are of."""


def check_folders(folders: Mapping[str, Path]) -> None:
    """Refuse folders that are the same, or lie in one another.

    Args:
        folders: By what is in them: ``outputs``, ``targets``, perhaps ``sources``.

    Raises:
        DataError: when one is not there; or naming the two.
    """
    for role, path in folders.items():
        require_folder(path, role)
    real = {role: path.resolve() for role, path in folders.items()}
    for role, path in real.items():
        for other, outer in real.items():
            if role == other:
                continue
            if path == outer:
                raise DataError(f"{other} and {role} are one folder, {path}; they would be measured against themselves")
            if path.is_relative_to(outer):
                raise DataError(
                    f"the {role} in {folders[role]} lie in the folder of the {other}, {folders[other]}, and would be "
                    "taken for these; give each a folder of its own"
                )


def results_folder(out: Path | None, folders: Mapping[str, Path]) -> Path:
    """The folder that results are written to; it need not exist.

    Args:
        out: As asked for; ``evaluations/NAME`` of the outputs' folder unless given.

    Raises:
        DataError: when something else is there: a file, other files, the results of other folders, an input.
    """
    folder = out if out is not None else Path("evaluations") / (folders["outputs"].resolve().name or "outputs")
    real = folder.resolve()
    for role, path in folders.items():
        if real == path.resolve() or real.is_relative_to(path.resolve()):
            raise DataError(f"results would be written to {folder}, among the {role}; give another folder as --out")
        if path.resolve().is_relative_to(real):
            raise DataError(f"the {role} lie in {folder}, where results go; give another folder as --out")
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; results go into a folder")
    if not any(folder.iterdir()):
        return folder
    earlier = _origin(folder)
    if earlier is None:
        raise DataError(f"{folder} is not empty and holds no result of this command; give another folder as --out")
    if earlier != origin(folders):
        other = ", ".join(str(path) for path in earlier.values())
        raise DataError(f"{folder} holds the result of other folders ({other}); give another --out, or remove it")
    return folder


def origin(folders: Mapping[str, Path]) -> dict[str, str]:
    """What a folder of results says it is of: the outputs and the targets."""
    return {role: str(folders[role].resolve()) for role in ("outputs", "targets")}


def claim(folder: Path, folders: Mapping[str, Path]) -> Path:
    """Make a folder of results one of these folders; where unfinished work goes.

    Raises:
        DataError: when nothing can be written there.
    """
    try:
        work = folder / WORK
        work.mkdir(parents=True, exist_ok=True)
        (folder / ORIGIN).write_text(json.dumps(origin(folders), indent=1), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write into {folder} ({error.strerror or error}); give another --out") from error
    return work


def _origin(folder: Path) -> dict[str, str] | None:
    try:
        found = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
