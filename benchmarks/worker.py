"""Calls in a process of their own, so that settings and memory of one benchmark do not affect another."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any


class Worker:
    """A function that runs in its own process, with all cores.

    Args:
        factory: Called once in the process; returns the function to run. It must be importable from a module.
        arguments: Arguments of the factory.
    """

    def __init__(self, factory: Callable[..., Callable[[], object]], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, factory, arguments), daemon=False)
        self._process.start()
        far_end.close()
        self._pipe.recv()

    def __call__(self) -> Any:
        """Call the function once and return its result, which must be picklable."""
        self._pipe.send(True)
        return self._pipe.recv()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self._pipe.send(False)
        self._process.join()


def _serve(pipe: Any, factory: Callable[..., Callable[[], object]], arguments: tuple[object, ...]) -> None:
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    function = factory(*arguments)
    pipe.send(None)
    while pipe.recv():
        pipe.send(function())
