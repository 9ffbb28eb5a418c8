"""The audit: what is wrong with the pairs of a recipe themselves, before anything is trained on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from enface.errors import DataError
from enface.plugin.schema import closest
from enface_tools.audit.alignment import misaligned
from enface_tools.audit.duplicates import DEFAULT_BITS, duplicates
from enface_tools.audit.exposure import exposure
from enface_tools.audit.findings import SEVERITIES, Finding, Subject, Suspect
from enface_tools.audit.hashes import MOST_BITS
from enface_tools.audit.identities import identity_leak, missing_frontals
from enface_tools.audit.labels import Distribution, distributions, labels, unreadable

__all__ = [
    "CHECKS",
    "DEFAULT_BITS",
    "MOST_BITS",
    "SEVERITIES",
    "Audit",
    "Distribution",
    "Finding",
    "Subject",
    "Suspect",
    "audit",
    "failing",
    "parse_fail_on",
]

Check = Callable[[Subject], Finding]
CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "unreadable": unreadable,
        "missing_frontals": missing_frontals,
        "identity_leak": identity_leak,
        "duplicates": duplicates,
        "misaligned": misaligned,
        "exposure": exposure,
        "labels": labels,
    }
)
"""By name, in the order they are told."""


@dataclass(frozen=True)
class Audit:
    """What all checks found.

    Attributes:
        findings: One a check, in the order of ``CHECKS``.
        labels: The distribution of every label column.
    """

    subject: Subject
    findings: list[Finding]
    labels: list[Distribution]


def audit(subject: Subject, *, bits: int = DEFAULT_BITS, progress: Callable[[int, int], None] | None = None) -> Audit:
    """Run all checks.

    Args:
        subject: The pairs.
        bits: How many of a perceptual hash's 64 bits may differ between near duplicates, 0 to 16.
        progress: Called with (images done, images in all) during the longest check.

    Raises:
        DataError: when the recipe's pairs name a column that is not in the data.
    """
    findings = [
        duplicates(subject, bits, progress) if name == "duplicates" else check(subject)
        for name, check in CHECKS.items()
    ]
    return Audit(subject, findings, distributions(subject))


def parse_fail_on(text: str) -> list[str]:
    """The severities and checks that ``--fail-on`` names.

    Raises:
        DataError: when one of them is unknown.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = [*SEVERITIES, *CHECKS]
    for name in names:
        if name not in known:
            raise DataError(f"--fail-on: no severity or check {name!r}{closest(name, known)}")
    if not names:
        raise DataError(f"--fail-on: names nothing; it may be {', '.join(known)}")
    return names


def failing(found: Audit, names: list[str]) -> list[str]:
    """The checks that found what ``--fail-on`` names: that severity or a worse one, or anything in a named check."""
    worst = max((SEVERITIES.index(name) for name in names if name in SEVERITIES), default=-1)
    return [
        finding.check
        for finding in found.findings
        if finding.suspects and (finding.check in names or SEVERITIES.index(finding.severity) <= worst)
    ]
