"""The component under test, and how to build it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch

from enface.plugin.catalog import Catalog, Entry
from enface.plugin.components import DataInfo, Targets

SIZE = 96
BATCH = 4
Made = TypeVar("Made")
CLASSES: Mapping[str, int] = {"pose": 5, "light": 3, "identity": 4, "key": 60}


class Subject:
    """A component under test; a context manager, for it may need files.

    Args:
        params: Parameters to build it with; those of its ``example`` are taken where none is given.
        backend: What compiles it for the rule on ``torch.compile``.
    """

    def __init__(
        self, entry: Entry, catalog: Catalog, params: Mapping[str, Any] | None = None, backend: str = "aot_eager"
    ) -> None:
        self.entry = entry
        self.backend = backend
        self._catalog = catalog
        self._given = params or {}
        self._stack = ExitStack()
        self._made: dict[Any, Any] = {}

    def __enter__(self) -> Subject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def folder(self) -> Path:
        """A folder for files that the example needs, gone afterwards."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory()))

    @cached_property
    def params(self) -> dict[str, Any]:
        """What it is built with."""
        return {**self.entry.component.example(self.folder), **self._given}  # type: ignore[attr-defined]

    def once(self, key: object, make: Callable[[], Made]) -> Made:
        """What ``make`` returns, made at the first call with a key and kept: several rules may look at it."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def build(self, size: int = SIZE, targets: Callable[[int], Targets] | None = None) -> Any:
        """A new one for images of ``size`` pixels, the same at each call.

        Args:
            targets: For what is made from training targets.
        """
        torch.manual_seed(0)
        data = DataInfo(size, CLASSES) if targets is None else DataInfo(size, CLASSES, targets)
        return self._catalog.build(self.entry.kind, self.entry.name, self.params, data)
