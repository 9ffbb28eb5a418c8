"""The ``find-lr`` and ``find-batch`` commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface import hookimpl
from enface.cli.options import Overrides, RecipePath, Terminal, say
from enface.errors import EnfaceError

if TYPE_CHECKING:
    from enface_tools.tune.batch_size import Measurement

Stage = Annotated[
    str | None, typer.Option("--stage", help="The stage to train; default: the first.", show_default=False)
]


def find_lr(
    recipe: RecipePath,
    set_: Overrides = None,
    stage: Stage = None,
    low: Annotated[float, typer.Option("--low", help="First learning rate.")] = 1e-7,
    high: Annotated[float, typer.Option("--high", help="Last learning rate.")] = 1.0,
    steps: Annotated[int, typer.Option("--steps", min=10, help="Steps of the sweep.")] = 100,
    out: Annotated[
        Path | None, typer.Option("--out", help="Picture of the curve; default: find-lr-NAME-STAGE.png.")
    ] = None,
) -> None:
    """Suggest a learning rate by a range test.

    Trains a copy of the network with learning rates that grow exponentially, and suggests the rate at which the
    generator's objective falls most steeply (Smith, WACV 2017). Critics keep their own rates. No run is made.
    """
    from enface.recipe.load import load_recipe
    from enface_tools.tune.learning_rate import range_test, save_plot
    from enface_tools.tune.trial import stage_name, start_trial

    if not 0 < low < high:
        raise EnfaceError(f"--low {low:g} --high {high:g}: give two rates above 0, the lower one first")
    loaded = load_recipe(recipe, set_ or [])
    name, terminal = stage_name(loaded.recipe, stage), Terminal()
    optimizer = {**loaded.recipe.stages[name].optimizer.model_dump(mode="json"), "lr": low}
    trial = start_trial(loaded, name, terminal, optimizer=optimizer, steps=steps)
    if trial.note:
        say(f"note: {trial.note}")
    with terminal.progress("learning rates") as progress:
        test = range_test(trial, low, high, steps, progress)
    path = out or Path(f"find-lr-{loaded.recipe.name}-{name}.png")
    save_plot(test, path, f"{loaded.recipe.name}, stage {name}")
    if len(test.rates):
        end = "diverged" if test.diverged else "ended"
        say(f"{len(test.rates)} steps, learning rates {low:g} to {test.rates[-1]:.2g}, where the loss {end}")
    say(f"curve: {path}")
    if test.suggestion is None:
        raise EnfaceError("the loss does not fall anywhere in the sweep; try more steps, or other --low and --high")
    say(f"steepest descent at {test.suggestion:.1e}: --set stages.{name}.optimizer.lr={test.suggestion:.1e}")


def find_batch(
    recipe: RecipePath,
    set_: Overrides = None,
    stage: Stage = None,
    first: Annotated[int, typer.Option("--first", min=1, help="Smallest batch size; each next is twice as large.")] = 4,
    largest: Annotated[int, typer.Option("--max", min=1, help="Largest batch size to try.")] = 512,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Timed steps of each batch size.")] = 5,
    memory: Annotated[
        float | None, typer.Option("--memory", help="GiB that a process on a CPU may use; default: 80 % of all.")
    ] = None,
) -> None:
    """Find the largest batch that fits in memory, and the fastest one on this device.

    Trains a copy of the network for some steps with each batch size, without ``accumulate``. No run is made.
    """
    from enface.recipe.load import load_recipe
    from enface_tools.evaluate.terminal import table
    from enface_tools.tune.batch_size import GIB, fastest, measure_batches, memory_limit
    from enface_tools.tune.trial import stage_name

    loaded = load_recipe(recipe, set_ or [])
    name, terminal = stage_name(loaded.recipe, stage), Terminal()
    limit = 0.8 * memory_limit() if memory is None else memory * GIB
    items: list[Measurement] = []
    with terminal.progress("batch sizes") as progress:
        for item in measure_batches(loaded, name, terminal, first=first, largest=largest, steps=steps, limit=limit):
            items.append(item)
            progress(len(items), (largest // first).bit_length())
    say(table(("batch", "images/s", "peak memory"), [_row(item) for item in items]))
    fitting = [item for item in items if item.fits]
    if not fitting:
        raise EnfaceError(f"a batch of {first} does not fit; try --first 1, smaller images or a smaller network")
    best, last = fastest(fitting), fitting[-1]
    say(f"largest that fits: {last.batch}" + (" (the largest that was tried)" if last is items[-1] else ""))
    say(f"fastest: {best.batch}, {best.speed:.0f} images/s: --set stages.{name}.batch={best.batch}")


def _row(item: Measurement) -> tuple[str, str, str]:
    from enface_tools.tune.batch_size import GIB

    if not item.fits:
        return str(item.batch), "does not fit", f"about {item.memory / GIB:.2f} GiB" if item.memory else ""
    return str(item.batch), f"{item.speed:.1f}", f"{item.memory / GIB:.2f} GiB"


@hookimpl
def commands(app: typer.Typer) -> None:
    """Register ``find-lr`` and ``find-batch``."""
    app.command("find-lr")(find_lr)
    app.command("find-batch")(find_batch)
