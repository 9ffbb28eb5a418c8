"""All golden cases, and the official code that gave the same numbers."""

from __future__ import annotations

from dataclasses import replace

from reference.checked import CHECKED

from reference import critic_cases, loss_cases, metric_cases

_CASES = [
    *loss_cases.PIXELS,
    *loss_cases.FLOWS,
    *loss_cases.CODES,
    *loss_cases.NETWORKS,
    *critic_cases.CRITICS,
    *metric_cases.METRICS,
]
CASES = [replace(case, checked=CHECKED.get((case.file, case.name), "")) for case in _CASES]
