"""Steps taken in processes of their own, for what a loop sets in its process is a part of it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any


class Apart:
    """Something that is called in a process of its own, with all cores.

    Args:
        make: Called there once; a function of a module. What it gives is what is called.
        arguments: Its arguments.
    """

    def __init__(self, make: Callable[..., Callable[[], object]], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._mine, theirs = context.Pipe()
        self._process = context.Process(target=_take, args=(theirs, make, arguments), daemon=False)
        self._process.start()
        theirs.close()
        self._mine.recv()

    def __call__(self) -> Any:
        """One call, to its end; what it gave, sent over."""
        self._mine.send(True)
        return self._mine.recv()

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *error: object) -> None:
        self._mine.send(False)
        self._process.join()


def _take(pipe: Any, make: Callable[..., Callable[[], object]], arguments: tuple[object, ...]) -> None:
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    take = make(*arguments)
    pipe.send(None)
    while pipe.recv():
        pipe.send(take())
