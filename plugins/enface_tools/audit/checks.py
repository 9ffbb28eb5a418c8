"""The checks of an audit, and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import pandas as pd

from enface.errors import DataError
from enface.plugin.schema import closest
from enface.system.messages import Progress
from enface_tools.audit.alignment import misaligned
from enface_tools.audit.duplicates import DEFAULT_BITS, duplicates
from enface_tools.audit.exposure import exposure
from enface_tools.audit.faces import DEFAULT_FACES, same_face
from enface_tools.audit.findings import SEVERITIES, AuditedData, Finding, Suspect
from enface_tools.audit.identities import identity_leak, missing_frontals
from enface_tools.audit.labels import LabelDistribution, distributions, labels, unreadable

Check = Callable[[AuditedData], Finding]
CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "unreadable": unreadable,
        "missing_frontals": missing_frontals,
        "identity_leak": identity_leak,
        "duplicates": duplicates,
        "same_face": same_face,
        "misaligned": misaligned,
        "exposure": exposure,
        "labels": labels,
    }
)
"""By name, in the order in which they are reported."""
COLUMNS = (
    *("check", "severity", "key", "identity", "split", "other_key", "other_identity", "other_split", "value", "detail"),
)


@dataclass(frozen=True)
class Audit:
    """Findings of all checks.

    Attributes:
        findings: One per check, in the order of ``CHECKS``.
        labels: The distribution of every label.
    """

    data: AuditedData
    findings: list[Finding]
    labels: list[LabelDistribution]

    def table(self) -> pd.DataFrame:
        """Return one row per suspect, the worst of each check first.

        Columns: ``check``; ``severity``; ``key``, ``identity`` and ``split`` of the image; ``other_key``,
        ``other_identity`` and ``other_split`` of the image it is compared with; ``value``, the measure that the check
        documents; ``detail``, a sentence.
        """
        rows = [
            {"check": finding.check, **self.describe(suspect)}
            for finding in self.findings
            for suspect in finding.suspects
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def describe(self, suspect: Suspect) -> dict[str, Any]:
        """Return a suspect with key, identity and split of its images."""
        return {
            "severity": suspect.severity,
            **self._image(suspect.row, ""),
            **self._image(suspect.other, "other_"),
            "value": None if suspect.value is None else round(suspect.value, 6),
            "detail": suspect.detail,
        }

    def _image(self, row: int | None, prefix: str) -> dict[str, str | None]:
        table = self.data.table
        return {
            f"{prefix}key": None if row is None else str(table["key"].iloc[row]),
            f"{prefix}identity": None if row is None else str(table["identity"].iloc[row]),
            f"{prefix}split": None if row is None else str(self.data.part[row]),
        }

    def _repr_html_(self) -> str:
        """Show the number of suspects of each check in a notebook."""
        rows = [(item.check, item.looks_for, item.severity, len(item.suspects)) for item in self.findings]
        table = pd.DataFrame(rows, columns=["check", "looks for", "severity", "suspects"])
        return str(table.to_html(index=False))


def run_checks(
    data: AuditedData, *, bits: int = DEFAULT_BITS, faces: int = DEFAULT_FACES, progress: Progress | None = None
) -> Audit:
    """Run all checks.

    Args:
        bits: Of a perceptual hash's 64 bits, how many may differ between near duplicates, 0 to 16.
        faces: Number of images whose faces are compared; 0 to skip that check.
        progress: Receives the progress of hashing and of comparing faces, the longest steps.

    Raises:
        DataError: if the recipe's pairs name a column that is not in the data.
    """
    slow = {
        "duplicates": partial(duplicates, bits=bits, progress=progress),
        "same_face": partial(same_face, faces=faces, progress=progress),
    }
    findings = [slow.get(name, check)(data) for name, check in CHECKS.items()]
    return Audit(data, findings, distributions(data))


def parse_fail_on(text: str) -> list[str]:
    """Return the severities and checks in the value of ``--fail-on``.

    Raises:
        DataError: if one of them is unknown, or there is none.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = [*SEVERITIES, *CHECKS]
    for name in names:
        if name not in known:
            raise DataError(f"--fail-on: no severity or check {name!r}{closest(name, known)}")
    if not names:
        raise DataError(f"--fail-on: no names; choose from {', '.join(known)}")
    return names


def failing(audit: Audit, names: Sequence[str]) -> list[str]:
    """Return the checks with suspects of a named severity or a worse one, and named checks with any suspect."""
    worst = max((SEVERITIES.index(name) for name in names if name in SEVERITIES), default=-1)
    return [
        finding.check
        for finding in audit.findings
        if finding.suspects and (finding.check in names or SEVERITIES.index(finding.severity) <= worst)
    ]
