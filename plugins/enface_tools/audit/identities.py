"""People in more than one split, and people without a target."""

from __future__ import annotations

import numpy as np

from enface.data.images import natural_key
from enface.data.pairs import Indices, PairCandidates, require_columns, satisfies
from enface_tools.audit.findings import AuditedData, Finding, Suspect


def identity_leak(data: AuditedData) -> Finding:
    """Find identities in more than one split, as a split by another column than the identity can make them.

    A network that has seen a test person in training is measured on what it remembers. The check uses the column
    ``identity``: it does not see one person under two names (``duplicates`` may).

    Severity: *error*. A suspect's ``value`` is the number of that person's images.
    """
    first_rows: dict[int, dict[str, int]] = {}
    for name, rows in data.parts.items():
        people, indices = np.unique(data.identity[rows], return_index=True)
        for person, index in zip(people, indices, strict=True):
            first_rows.setdefault(int(person), {})[name] = int(rows[index])
    counts = np.bincount(data.identity)
    suspects = []
    for person, by_part in first_rows.items():
        if len(by_part) > 1:
            row, other, *_ = by_part.values()
            detail = f"identity {data.table['identity'].iloc[row]} is in {' and '.join(by_part)}"
            suspects.append(Suspect("error", row, detail, other, float(counts[person])))
    return Finding("identity_leak", "a person in two splits", suspects)


def missing_frontals(data: AuditedData) -> Finding:
    """Find sources without a target, and parts of the split without a source. Training or evaluation stops at them.

    The recipe's own rules are applied to every source; nothing is drawn at random. Sources without a partner are
    reported, too: they are paired with any image of the split.

    Severity: *error*; *note* for partners. A suspect's ``value`` is the number of that person's sources concerned.

    Raises:
        DataError: if the recipe's pairs name a column that is not in the data.
    """
    rules, table = data.recipe.pairs, data.table
    require_columns(table, rules.source.where, "pairs.source")
    suspects: list[Suspect] = []
    total = 0
    for name, rows in data.parts.items():
        if not len(rows):
            continue
        sources = rows[satisfies(table, rows, rules.source.where)]
        total += len(sources)
        if not len(sources):
            suspects.append(Suspect("error", None, f"no image of {name} may be a source (pairs.source.where)"))
            continue
        without_target = sources[PairCandidates(table, rows, rules.target, "target").counts(sources) == 0]
        suspects += _by_person(data, sources, without_target, "error", name, "target")
        if rules.partner is not None:
            without_partner = sources[PairCandidates(table, rows, rules.partner, "partner").counts(sources) == 0]
            suspects += _by_person(data, sources, without_partner, "note", name, "partner")
    return Finding("missing_frontals", "sources without a target", suspects, f"{total:,} sources.")


def _by_person(
    data: AuditedData, sources: Indices, without: Indices, severity: str, part: str, role: str
) -> list[Suspect]:
    """One suspect per person, so that many images of one person do not hide the others."""
    suspects = []
    names = data.table["identity"].astype(str).to_numpy()
    for name in sorted(np.unique(names[without]), key=natural_key):
        rows = without[names[without] == name]
        total = int((names[sources] == name).sum())
        detail = f"identity {name} in {part}: {len(rows)} of its {total} sources lack a {role} (pairs.{role})"
        suspects.append(Suspect(severity, int(rows[0]), detail, None, float(len(rows))))
    return suspects
