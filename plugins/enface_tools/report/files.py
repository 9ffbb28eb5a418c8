"""Reading a folder whose files may be missing or damaged, and writing a page with its assets."""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from markupsafe import Markup
from PIL import Image

from enface.errors import DataError, EnfaceError
from enface.system.atomic import atomic_write
from enface_tools.evaluate.models import parse
from enface_tools.evaluate.pictures import LOSSLESS
from enface_tools.evaluate.results import parse_table

# A browser would take these for markup, or for the end of a line, inside a script element.
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}

T = TypeVar("T")


@dataclass
class FolderReader:
    """Reads the files of a run or an evaluation, and collects what could not be read.

    Attributes:
        problems: A sentence for each file that exists but cannot be read.
    """

    directory: Path
    problems: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        """A text file; empty if it does not exist."""
        path = self.directory / name
        try:
            return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        except OSError as error:
            self.problems.append(f"{name} cannot be read ({error.strerror}).")
            return ""

    def model(self, name: str, kind: type[T], remedy: str = "evaluate again") -> T | None:
        """A JSON file, validated; None if it does not exist or is damaged.

        Args:
            kind: A model, or a dictionary of models.
            remedy: End of the sentence if it is damaged.
        """
        text = self.text(name)
        if not text:
            return None
        try:
            return parse(text, kind, name, remedy)
        except DataError as error:
            self.problems.append(f"{error}.")
            return None

    def table(self, name: str) -> pd.DataFrame:
        """A CSV file; empty if it does not exist."""
        text = self.text(name)
        try:
            return parse_table(io.StringIO(text)) if text else pd.DataFrame()
        except ValueError:
            self.problems.append(f"{name} is damaged; it is not shown.")
            return pd.DataFrame()


@dataclass(frozen=True)
class Picture:
    """An image of the page.

    Attributes:
        file: Path relative to the page.
        width: In pixels, as ``height``.
    """

    file: str
    width: int
    height: int
    alt: str


@dataclass
class PageWriter:
    """Writes a page and its assets into a folder.

    Args:
        folder: Of ``index.html``; created if necessary.
    """

    folder: Path
    _written: set[Path] = field(default_factory=set)

    def picture(self, reader: FolderReader, path: Path, name: str, alt: str) -> Picture | None:
        """Convert a PNG file to lossless WebP.

        None if it does not exist, or if it is damaged, which is added to the problems.

        Args:
            name: Of the asset, without suffix.
        """
        if not path.is_file():
            return None
        asset = self.folder / "assets" / f"{name}.webp"
        try:
            if not _is_newer(asset, path):
                asset.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(path, formats=["PNG", "WEBP"]) as image, atomic_write(asset) as temporary:
                    image.convert("RGB").save(temporary, **LOSSLESS)
            with Image.open(asset, formats=["WEBP"]) as image:
                width, height = image.size
        # A damaged image makes Pillow raise OSError, SyntaxError, ValueError or an error of its own.
        except Exception:
            asset.unlink(missing_ok=True)
            reader.problems.append(f"{_relative(path, reader.directory)} is not an image that can be read.")
            return None
        self._written.add(asset)
        return Picture(self._link(asset), width, height, alt)

    def copy(self, path: Path, name: str) -> str | None:
        """Copy a file; return its path relative to the page, or None if it cannot be read."""
        asset = self.folder / name
        try:
            if not path.is_file():
                return None
            if not _is_newer(asset, path) or asset.stat().st_size != path.stat().st_size:
                asset.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(asset) as temporary:
                    shutil.copyfile(path, temporary)
        except OSError:
            return None
        self._written.add(asset)
        return self._link(asset)

    def plotly(self) -> str:
        """Write the plotting library, compressed; return its path relative to the page."""
        asset = self.folder / "assets" / "plotly.js"
        library = packed_plotly()
        if not asset.is_file() or asset.stat().st_size != len(library):
            asset.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(asset) as temporary:
                temporary.write_bytes(library)
        self._written.add(asset)
        return self._link(asset)

    def page(self, html: str) -> Path:
        """Write ``index.html``."""
        path = self.folder / "index.html"
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(html, encoding="utf-8", errors="replace")
        return path

    def remove_stale(self, *folders: str) -> None:
        """Remove files in some subfolders that an earlier page needed and this one does not."""
        for folder in folders:
            for path in sorted((self.folder / folder).rglob("*"), reverse=True):
                if path.is_file() and path not in self._written:
                    path.unlink(missing_ok=True)
                elif path.is_dir() and not any(path.iterdir()):
                    path.rmdir()

    def _link(self, asset: Path) -> str:
        return asset.relative_to(self.folder).as_posix()


@cache
def packed_plotly() -> bytes:
    """The plotting library as a script that unpacks it: 2 MB instead of 5."""
    from plotly.offline import get_plotlyjs

    packed = gzip.compress(get_plotlyjs().encode(), mtime=0)
    return b'enface.unpack("' + base64.b64encode(packed) + b'");\n'


def make_folder(folder: Path) -> Path:
    """Create a folder if necessary, and return it.

    Raises:
        EnfaceError: if it cannot be created.
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
    """Data as JSON can hold it: None for NaN and infinity, text for all keys."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    return data if data is None or isinstance(data, bool | int) else str(data)


def rounded(values: Iterable[Any], digits: int = 5) -> list[float | None]:
    """Numbers with a few significant digits, as a page shows them; None for anything else."""
    return [
        float(f"{value:.{digits}g}") if isinstance(value, int | float) and math.isfinite(value) else None
        for value in values
    ]


def _is_newer(path: Path, than: Path) -> bool:
    return path.is_file() and path.stat().st_mtime_ns >= than.stat().st_mtime_ns


def _relative(path: Path, folder: Path) -> str:
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return str(path)
