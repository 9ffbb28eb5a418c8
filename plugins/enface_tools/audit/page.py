"""An audit as files: a page to look at, JSON for programs, a table of suspects."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from enface.errors import DataError
from enface.system.atomic import atomic_write
from enface_tools.audit import Audit
from enface_tools.audit.findings import Finding, Suspect
from enface_tools.report import html

FORMAT = 1
MOST_SHOWN = 60
SHOWN_FIRST = 12
TILE = 96
FILES = ("index.html", "audit.json", "suspects.csv")
COLUMNS = (
    "check",
    "severity",
    "key",
    "identity",
    "split",
    "other_key",
    "other_identity",
    "other_split",
    "value",
    "detail",
)


def as_json(found: Audit) -> dict[str, Any]:
    """An audit as plain maps and lists, as ``audit.json`` holds it."""
    subject = found.subject
    return {
        "format": FORMAT,
        "name": subject.recipe.name,
        "images": len(subject.table),
        "identities": int(subject.table["identity"].nunique()),
        "splits": {
            name: {"images": len(rows), "identities": int(subject.table["identity"].iloc[rows].nunique())}
            for name, rows in subject.parts.items()
        },
        "checks": [
            {
                "check": finding.check,
                "severity": finding.severity,
                "count": len(finding.suspects),
                "counts": finding.counts,
                "remark": finding.remark,
                "suspects": [_plain(found, suspect) for suspect in finding.suspects],
            }
            for finding in found.findings
        ],
        "labels": {
            item.column: {"different": item.different, "values": dict(zip(item.values, item.counts, strict=True))}
            for item in found.labels
        },
    }


def _plain(found: Audit, suspect: Suspect) -> dict[str, Any]:
    return {
        "severity": suspect.severity,
        **_about(found, suspect.row, ""),
        **_about(found, suspect.other, "other_"),
        "value": None if suspect.value is None else round(suspect.value, 6),
        "detail": suspect.detail,
    }


def _about(found: Audit, row: int | None, prefix: str) -> dict[str, str | None]:
    if row is None:
        return {f"{prefix}key": None, f"{prefix}identity": None, f"{prefix}split": None}
    table = found.subject.table
    return {
        f"{prefix}key": str(table["key"].iloc[row]),
        f"{prefix}identity": str(table["identity"].iloc[row]),
        f"{prefix}split": str(found.subject.part[row]),
    }


def check_folder(folder: Path) -> None:
    """Refuse a folder that an audit may not be written to, before the work is done.

    Raises:
        DataError: when it is a file, or holds other things and no audit.
    """
    try:
        holds = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        is_other = not folder.is_dir() and (folder.exists() or folder.is_symlink())
    except OSError as error:
        raise DataError(
            f"folder {folder} cannot be used ({error.strerror or error}); name another with --out"
        ) from error
    if is_other:
        raise DataError(f"{folder} is not a folder; name another with --out")
    if holds and "audit.json" not in holds:
        raise DataError(f"{folder} holds other files and no audit; name a new folder with --out")


def write_audit(found: Audit, folder: Path) -> Path:
    """Write ``index.html``, ``audit.json`` and ``suspects.csv``; an earlier audit there is replaced.

    The page needs no network, server or script: its pictures are within it.

    Returns:
        The page's path.

    Raises:
        DataError: when the folder holds other things, or a file cannot be written.
    """
    check_folder(folder)
    plain = as_json(found)
    contents = (page(found), json.dumps(plain, indent=1, ensure_ascii=False), _csv(plain))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The page last: where it is, the rest is too.
        for name, text in reversed(list(zip(FILES, contents, strict=True))):
            with atomic_write(folder / name) as beside:
                beside.write_text(text, encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise DataError(f"cannot write the audit to {folder} ({error.strerror or error})") from error
    return folder / FILES[0]


def _csv(plain: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for check in plain["checks"]:
        writer.writerows({"check": check["check"], **suspect} for suspect in check["suspects"])
    return text.getvalue()


def page(found: Audit) -> str:
    """The page's HTML. All that comes from the data is shown as text."""
    return (
        html.environment("enface_tools.audit")
        .get_template("audit.html")
        .render(
            plain=as_json(found),
            asks={finding.check: finding.asks for finding in found.findings},
            cards={finding.check: _cards(found, finding) for finding in found.findings},
            most=MOST_SHOWN,
            first=SHOWN_FIRST,
            parts=[name for name, rows in found.subject.parts.items() if len(rows)],
            labels=found.labels,
        )
    )


def _cards(found: Audit, finding: Finding) -> list[dict[str, Any]]:
    """What is shown of the first suspects; those without an image have no card but a line."""
    return [
        {
            **_plain(found, suspect),
            "pictures": [
                {"uri": _picture(found, row), "key": str(found.subject.table["key"].iloc[row])}
                for row in (suspect.row, suspect.other)
                if row is not None
            ],
        }
        for suspect in finding.suspects[:MOST_SHOWN]
    ]


def _picture(found: Audit, row: int) -> str:
    image = Image.fromarray(np.ascontiguousarray(found.subject.images[row].transpose(1, 2, 0)))
    if image.width > TILE:
        image = image.resize((TILE, TILE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
