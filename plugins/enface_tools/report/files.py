"""Reading what lies in a folder, whatever is missing or damaged; and putting a page's own files beside it."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from PIL import Image

from enface.errors import EnfaceError
from enface.system.atomic import atomic_write
from enface_tools.evaluate.results import ID_COLUMNS

# What a browser would take for markup, or for the end of a line, inside a script element.
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
QUALITY = 86


@dataclass
class Found:
    """A folder that is read, and what could not be.

    Attributes:
        problems: Files that are there and cannot be read, each a sentence.
    """

    directory: Path
    problems: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        """A text file, empty when there is none."""
        path = self.directory / name
        try:
            return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        except OSError as error:
            self.problems.append(f"{name} cannot be read ({error.strerror}).")
            return ""

    def mapping(self, name: str) -> dict[str, Any]:
        """A JSON file's map, empty when there is none."""
        text = self.text(name)
        if not text:
            return {}
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self.problems.append(f"{name} is damaged; it is not shown.")
            return {}
        return found

    def events(self) -> Iterator[dict[str, Any]]:
        """The log's lines; the one a cut-off run was writing is left out."""
        for line in self.text("log.jsonl").splitlines():
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                yield event

    def table(self, name: str) -> pd.DataFrame:
        """A CSV file, empty when there is none."""
        text = self.text(name)
        try:
            return _table(text) if text else pd.DataFrame()
        except ValueError:
            self.problems.append(f"{name} is damaged; it is not shown.")
            return pd.DataFrame()


def _table(text: str) -> pd.DataFrame:
    # A text of "NA" or "None" is a name like any other.
    return pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(ID_COLUMNS, str), keep_default_na=False, na_values=[""])


@dataclass(frozen=True)
class Picture:
    """An image of the page.

    Attributes:
        file: Where it lies, seen from the page.
        width: In pixels, as ``height``.
    """

    file: str
    width: int
    height: int
    alt: str
    caption: str = ""


@dataclass
class Beside:
    """The folder of a page, and the files that it shows.

    Files that an earlier page put there and this one does not are removed by :meth:`tidy`.

    Args:
        folder: Of the page (``report``); made where it is not there.
    """

    folder: Path
    _kept: set[Path] = field(default_factory=set)

    def picture(self, found: Found, path: Path, name: str, alt: str, caption: str = "") -> Picture | None:
        """A PNG file as WebP; None when there is none, or it is damaged, which is then said.

        Args:
            name: Its name below ``assets``, without an ending.
        """
        if not path.is_file():
            return None
        to = self.folder / "assets" / f"{name}.webp"
        try:
            if not _is_newer(to, path):
                to.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(path, formats=["PNG", "WEBP"]) as image, atomic_write(to) as beside:
                    image.convert("RGB").save(beside, "WEBP", quality=QUALITY, method=4)
            with Image.open(to, formats=["WEBP"]) as image:
                width, height = image.size
        # A damaged image makes Pillow raise OSError, SyntaxError, ValueError or an error of its own.
        except Exception:
            to.unlink(missing_ok=True)
            found.problems.append(f"{_relative(path, found.directory)} is not an image that can be read.")
            return None
        self._kept.add(to)
        return Picture(_from_page(to, self.folder), width, height, alt, caption)

    def copy(self, path: Path, name: str) -> str | None:
        """A file as it is, seen from the page; None when there is none or it cannot be read."""
        to = self.folder / name
        try:
            if not path.is_file():
                return None
            if not _is_newer(to, path) or to.stat().st_size != path.stat().st_size:
                to.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(to) as beside:
                    shutil.copyfile(path, beside)
        except OSError:
            return None
        self._kept.add(to)
        return _from_page(to, self.folder)

    def plotly(self) -> str:
        """The plotting library, once."""
        from plotly.offline import get_plotlyjs

        to = self.folder / "assets" / "plotly.js"
        text = get_plotlyjs().encode()
        if not to.is_file() or to.stat().st_size != len(text):
            to.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(to) as beside:
                beside.write_bytes(text)
        self._kept.add(to)
        return _from_page(to, self.folder)

    def page(self, text: str) -> Path:
        """Write ``index.html``."""
        path = self.folder / "index.html"
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as beside:
            beside.write_text(text, encoding="utf-8", errors="replace")
        return path

    def tidy(self, *folders: str) -> None:
        """Remove what an earlier page put into some folders and this one does not show."""
        for folder in folders:
            for path in sorted((self.folder / folder).rglob("*"), reverse=True):
                if path.is_file() and path not in self._kept:
                    path.unlink(missing_ok=True)
                elif path.is_dir() and not any(path.iterdir()):
                    path.rmdir()


def writable(folder: Path) -> Path:
    """A folder that exists or could be made.

    Raises:
        EnfaceError: when it cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnfaceError(f"cannot write {folder} ({error.strerror})") from error
    return folder


def embedded(data: Any) -> Markup:
    """Data as JSON for a script element of the page: no text in it can end the element or run."""
    text = json.dumps(plain(data), allow_nan=False, separators=(",", ":"))
    for sign, escape in ESCAPES.items():
        text = text.replace(sign, escape)
    return Markup(text)


def plain(data: Any) -> Any:
    """Data as JSON can hold it: no NaN, no infinity, only text for keys."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    return data if data is None or isinstance(data, bool | int) else str(data)


def rounded(values: Iterable[Any], digits: int = 5) -> list[float | None]:
    """Numbers with a few significant digits, which is what a page shows of them; None for anything else."""
    found = []
    for value in values:
        finite = isinstance(value, int | float) and math.isfinite(value)
        found.append(float(f"{value:.{digits}g}") if finite else None)
    return found


def mapping(owner: Any, key: str) -> Mapping[str, Any]:
    """What a map holds under a key, where that is a map; else an empty one."""
    found = owner.get(key) if isinstance(owner, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _is_newer(path: Path, than: Path) -> bool:
    return path.is_file() and path.stat().st_mtime_ns >= than.stat().st_mtime_ns


def _relative(path: Path, folder: Path) -> str:
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return str(path)


def _from_page(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
