"""Files of an audit: a page, JSON, and a table of suspects."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from enface.errors import DataError
from enface.system.atomic import atomic_write
from enface_tools.audit.checks import Audit
from enface_tools.audit.findings import Finding
from enface_tools.report import html

FORMAT = 1
MAX_SHOWN = 60
SHOWN_FIRST = 12
TILE = 96
FILES = ("index.html", "audit.json", "suspects.csv")


def audit_content(audit: Audit) -> dict[str, Any]:
    """Return the content of ``audit.json``."""
    data = audit.data
    return {
        "format": FORMAT,
        "name": data.recipe.name,
        "images": len(data.table),
        "identities": int(data.table["identity"].nunique()),
        "splits": {
            name: {"images": len(rows), "identities": int(data.table["identity"].iloc[rows].nunique())}
            for name, rows in data.parts.items()
        },
        "checks": [
            {
                "check": finding.check,
                "severity": finding.severity,
                "count": len(finding.suspects),
                "counts": finding.counts,
                "remark": finding.remark,
                "suspects": [audit.describe(suspect) for suspect in finding.suspects],
            }
            for finding in audit.findings
        ],
        "labels": {
            label.column: {"different": label.different, "values": dict(zip(label.values, label.counts, strict=True))}
            for label in audit.labels
        },
    }


def check_folder(folder: Path) -> None:
    """Check that an audit may be written to a folder, before the work is done.

    Raises:
        DataError: if it is a file, or holds other files and no audit.
    """
    try:
        files = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        is_other = not folder.is_dir() and (folder.exists() or folder.is_symlink())
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"folder {folder} cannot be used ({reason}); choose another with --out") from error
    if is_other:
        raise DataError(f"{folder} is not a folder; choose another with --out")
    if files and "audit.json" not in files:
        raise DataError(f"{folder} holds other files and no audit; choose a new folder with --out")


def write_audit(audit: Audit, folder: Path) -> Path:
    """Write ``index.html``, ``audit.json`` and ``suspects.csv``, in place of an earlier audit.

    The page needs no network, server or script: its pictures are embedded.

    Returns:
        Path of the page.

    Raises:
        DataError: if the folder holds other files, or a file cannot be written.
    """
    check_folder(folder)
    content = audit_content(audit)
    texts = (
        render_page(audit, content),
        json.dumps(content, indent=1, ensure_ascii=False),
        audit.table().to_csv(index=False, lineterminator="\n"),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The page last: if it exists, so do the other files.
        for name, text in reversed(list(zip(FILES, texts, strict=True))):
            with atomic_write(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise DataError(f"cannot write the audit to {folder} ({error.strerror or error})") from error
    return folder / FILES[0]


def render_page(audit: Audit, content: Mapping[str, Any]) -> str:
    """Return the page's HTML. Everything from the data is escaped."""
    return (
        html.environment("enface_tools.audit")
        .get_template("audit.html")
        .render(
            audit=content,
            looks_for={finding.check: finding.looks_for for finding in audit.findings},
            cards={finding.check: _cards(audit, finding) for finding in audit.findings},
            max_shown=MAX_SHOWN,
            first=SHOWN_FIRST,
            parts=[name for name, rows in audit.data.parts.items() if len(rows)],
            labels=audit.labels,
        )
    )


def _cards(audit: Audit, finding: Finding) -> list[dict[str, Any]]:
    """The first suspects, with the pictures of their images."""
    return [
        {
            **audit.describe(suspect),
            "pictures": [
                {"uri": _picture(audit, row), "key": str(audit.data.table["key"].iloc[row])}
                for row in (suspect.row, suspect.other)
                if row is not None
            ],
        }
        for suspect in finding.suspects[:MAX_SHOWN]
    ]


def _picture(audit: Audit, row: int) -> str:
    image = Image.fromarray(np.ascontiguousarray(audit.data.images[row].transpose(1, 2, 0)))
    image.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
