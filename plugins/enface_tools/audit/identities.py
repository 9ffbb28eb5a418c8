"""People in more than one split, and people without a target."""

from __future__ import annotations

import numpy as np

from enface.data.pairs import Candidates, Indices, natural_order, require_columns, satisfying
from enface_tools.audit.findings import Finding, Subject, Suspect


def identity_leak(subject: Subject) -> Finding:
    """Identities that are in more than one split, as a split by another column than the identity makes them.

    A network that has seen a test person in training is measured on what it remembers. It goes by the column
    ``identity``: one person under two names is not seen (``duplicates`` may see it).

    Severity: *error*. A suspect's ``value`` is the number of that person's images.
    """
    suspects = []
    first: dict[int, dict[str, int]] = {}
    for name, rows in subject.parts.items():
        people, places = np.unique(subject.identity[rows], return_index=True)
        for person, place in zip(people, places, strict=True):
            first.setdefault(int(person), {})[name] = int(rows[place])
    counts = np.bincount(subject.identity)
    leaks = {person: by_part for person, by_part in first.items() if len(by_part) > 1}
    for person, by_part in leaks.items():
        row, other, *_ = by_part.values()
        detail = f"identity {subject.table['identity'].iloc[row]} is in {' and '.join(by_part)}"
        suspects.append(Suspect("error", row, detail, other, float(counts[person])))
    return Finding("identity_leak", "a person in two splits", suspects)


def missing_frontals(subject: Subject) -> Finding:
    """Sources without a target, and parts of the split without a source; training or evaluation stops at them.

    Nothing is drawn at random: the recipe's own rules are asked for every source. Sources without a partner by
    the rule are told as well, for these are paired with any image of the split.

    Severity: *error*; *note* for partners. A suspect's ``value`` is how many sources of that person are meant.

    Raises:
        DataError: when the recipe's pairs name a column that is not in the data.
    """
    rules, table = subject.recipe.pairs, subject.table
    require_columns(table, rules.source.where, "pairs.source")
    suspects: list[Suspect] = []
    sources_in_all = 0
    for name, rows in subject.parts.items():
        if not len(rows):
            continue
        sources = rows[satisfying(table, rows, rules.source.where)]
        sources_in_all += len(sources)
        if not len(sources):
            suspects.append(Suspect("error", None, f"no image of {name} may be a source (pairs.source.where)"))
            continue
        lonely = sources[Candidates(table, rows, rules.target, "target").counts(sources) == 0]
        suspects += _by_person(subject, sources, lonely, "error", name, "target")
        if rules.partner is not None:
            alone = sources[Candidates(table, rows, rules.partner, "partner").counts(sources) == 0]
            suspects += _by_person(subject, sources, alone, "note", name, "partner")
    return Finding("missing_frontals", "sources without a target", suspects, f"{sources_in_all:,} sources.")


def _by_person(
    subject: Subject, sources: Indices, lonely: Indices, severity: str, part: str, role: str
) -> list[Suspect]:
    """One suspect a person, or many images of one would hide the others."""
    suspects = []
    names = subject.table["identity"].astype(str).to_numpy()
    for name in sorted(np.unique(names[lonely]), key=natural_order):
        mine = lonely[names[lonely] == name]
        all_of_them = int((names[sources] == name).sum())
        detail = f"identity {name} in {part}: {len(mine)} of its {all_of_them} sources lack a {role} (pairs.{role})"
        suspects.append(Suspect(severity, int(mine[0]), detail, None, float(len(mine))))
    return suspects
