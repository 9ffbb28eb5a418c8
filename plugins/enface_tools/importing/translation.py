"""Rules from options of another program to a recipe, and a record of the result of each option."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["taken", "changed", "not supported", "no effect"]
Keys = tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """Result of translating an option.

    Attributes:
        value: The option's value as text; ``default`` if the file does not give it.
        key: The recipe's key; empty without one.
        reason: Reason for a change, or for a missing equivalent.
    """

    option: str
    value: str
    outcome: Outcome
    key: str = ""
    reason: str = ""


@dataclass
class Translation:
    """A recipe in the making.

    Attributes:
        options: Options of the file, by their dotted names.
        folder: Folder of the option file, from which relative paths are searched.
        recipe: The recipe so far.
        comments: Comment of each key that a rule set, by the key's path.
        entries: Result of each option, in the order of the rules.
        images: Number of training images; None if it is not known.
    """

    options: Mapping[str, Any]
    folder: Path
    recipe: dict[str, Any] = field(default_factory=dict)
    comments: dict[Keys, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    images: int | None = None
    _rule: Rule | None = None

    def apply(self, rules: Iterable[Rule], *, unknown: str) -> None:
        """Apply rules in order; an option that no rule names is not supported, for the reason ``unknown``."""
        rules = list(rules)
        for rule in rules:
            self._rule = rule
            if rule.apply is not None:
                rule.apply(self)
        self._rule = None
        self._add_rest([name for rule in rules for name in rule.options], unknown)

    def get(self, option: str, default: Any) -> Any:
        """Return an option's value, or the other program's default if the file does not give it."""
        self._check(option)
        value = self.options.get(option)
        return default if value is None else value

    def take(self, option: str, key: str, value: Any) -> None:
        """Record an option that means the same as a recipe's key, and set the key."""
        self.set(key, value, option)
        self._add(option, "taken", key)

    def change(self, option: str, key: str, value: Any, reason: str) -> None:
        """Record an option for which a recipe has something similar, and set the key."""
        self.set(key, value, f"{option}: {reason}")
        self._add(option, "changed", key, reason)

    def drop(self, option: str, reason: str) -> None:
        """Record an option that a recipe cannot express."""
        self._add(option, "not supported", reason=reason)

    def agree(self, option: str, key: str = "") -> None:
        """Record an option that needs no key of its own: it is part of ``key``, or what enface always does."""
        self._add(option, "taken", key)

    def set(self, key: str, value: Any, comment: str = "") -> None:
        """Set a key of the recipe, such as ``stages.main.steps``; a comment replaces an earlier one."""
        assert self._rule is None or any(_covers(pattern, key) for pattern in self._rule.keys), (key, self._rule)
        path = tuple(key.split("."))
        place = self.recipe
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = value
        if comment:
            self.comments[path] = comment

    def _add_rest(self, named: list[str], unknown: str) -> None:
        """Record the options that no rule did: without effect if a rule names them, else not supported."""
        recorded = {entry.option for entry in self.entries}
        groups = [name for name in named if name.endswith("*")]
        for option in self.options:
            if option in recorded:
                continue
            group = next((name for name in groups if fnmatchcase(option, name)), "")
            if group and option not in named:
                if not any(entry.option == group for entry in self.entries):
                    self.entries.append(Entry(group, "", "no effect"))
            else:
                self._add(option, "no effect" if option in named else "not supported", reason=unknown)

    def _add(self, option: str, outcome: Outcome, key: str = "", reason: str = "") -> None:
        self._check(option)
        if any((entry.option, entry.outcome) == (option, outcome) for entry in self.entries):
            return
        value = self.options.get(option, "default")
        text = f"{{type: {value.get('type')}, ...}}" if isinstance(value, dict) and value else str(value)
        self.entries.append(Entry(option, text, outcome, key, reason))

    def _check(self, option: str) -> None:
        assert self._rule is None or option in self._rule.options, (option, self._rule)


@dataclass(frozen=True)
class Rule:
    """A group of options that are translated together.

    Attributes:
        options: Their names; ``f_s_*`` stands for all that begin so, which have no effect.
        keys: The keys of a recipe that may result; a key also stands for those below it.
        note: A remark for the table of the documentation.
        apply: Sets keys and records the result of each option; None if the options do not affect training. Options
            that it leaves out have no effect.
    """

    options: Sequence[str]
    keys: Sequence[str] = ()
    note: str = ""
    apply: Callable[[Translation], None] | None = None


def _covers(pattern: str, key: str) -> bool:
    return key == pattern or key.startswith(f"{pattern}.")
