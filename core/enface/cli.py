"""The command line. Torch is imported inside commands only, so that help answers at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enface.errors import EnfaceError

if TYPE_CHECKING:
    from enface.engine import Engine
    from enface.evaluate import Evaluator
    from enface.loading import Loaded
    from enface.run import Run
    from enface.trainer import Trainer

app = typer.Typer(
    name="enface",
    help="A loss laboratory for paired image translation: write a recipe, train it, read what each idea bought.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help answers twice as fast as help drawn by rich.
    rich_markup_mode=None,
)
data_app = typer.Typer(no_args_is_help=True, help="Look at data.")
weights_app = typer.Typer(no_args_is_help=True, help="Pretrained weights: list and fetch them.")
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")

QUIET_SECONDS = 10.0
RecipePath = Annotated[Path, typer.Argument(help="A recipe file, or a run directory.", show_default=False)]
RunPath = Annotated[Path, typer.Argument(help="A run directory (runs/NAME/ID).", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as stages.main.steps=100; repeatable."),
]
Runs = Annotated[Path, typer.Option("--runs", help="Where run directories go.")]


def main() -> None:
    """Run the command line; a user's mistake is one message and exit code 2, never a traceback."""
    try:
        app()
    except EnfaceError as error:
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        import enface

        typer.echo(f"enface {enface.__version__}")
        raise typer.Exit


@app.command()
def run(
    recipe: RecipePath,
    set_: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the latest run of this recipe.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Train a recipe, evaluate it and report.

    The report is on the test split, which training never saw.
    """
    from enface.trainer import Interrupted

    try:
        _run(recipe, set_ or [], resume, runs)
    except Interrupted as stopped:
        _say(f"stopped by {stopped}; everything is saved. Go on with: enface run {stopped.directory} --resume")
        raise typer.Exit(128 + stopped.number) from None


@app.command()
def check(
    recipe: RecipePath,
    set_: Overrides = None,
    data: Annotated[bool, typer.Option("--data", help="Pack the data too, and build every stage.")] = False,
) -> None:
    """Check a recipe, or with --data all of it.

    Keys and components are checked without data; with it, everything that training would refuse.
    """
    loaded = _load(recipe, set_ or [])
    if data:
        _trainer(_prepared(loaded))
    found = loaded.recipe
    for name, stage in found.stages.items():
        frozen = f", frozen: {', '.join(stage.freeze)}" if stage.freeze else ""
        typer.echo(f"{name}: {stage.steps} steps of {stage.batch}, terms: {', '.join(stage.terms)}{frozen}")
    typer.echo(f"{found.name}: ok")


@app.command()
def evaluate(run: RunPath) -> None:
    """Evaluate a run and write its report anew.

    The latest checkpoint is measured on the test split.
    """
    from enface.evaluate import Evaluator, load_network

    _require_run(run)
    opened = _prepared(_load(run, []))
    opened.directory = run
    evaluator, network = Evaluator(opened), load_network(opened)
    opened.notify("run_started")
    _evaluate(evaluator, network)
    opened.notify("run_ended", completed=True)
    opened.engine.close()


@app.command()
def report(run: RunPath) -> None:
    """Write a run's report from its directory."""
    from enface.report import write_report

    _require_run(run)
    _say(f"report: {write_report(run)}")


@data_app.command("preview")
def preview(
    recipe: RecipePath,
    set_: Overrides = None,
    out: Annotated[Path, typer.Option("--out", help="The picture to write.")] = Path("preview.png"),
    people: Annotated[int, typer.Option("--people", min=1, help="Rows: one identity each.")] = 12,
) -> None:
    """Write a contact sheet of a recipe's data: a row an identity, with target and region map at the end."""
    from enface.preview import contact_sheet

    loaded = _load(recipe, set_ or [])
    contact_sheet(_pack(loaded), people, out)
    _say(f"preview: {out}")


@weights_app.command("list")
def weights_list() -> None:
    """List the pretrained weights that installed plugins know, and which are here."""
    from enface import weights

    for item in _known_weights().values():
        found = weights.find(item)
        typer.echo(f"{item.name}\t{'here: ' + str(found) if found else 'missing'}\t{item.about}")


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all unless given.", show_default=False)] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Take them from a file you have.")
    ] = None,
) -> None:
    """Fetch pretrained weights into the cache, checking their digest."""
    from enface import weights
    from enface.params import closest

    known = _known_weights()
    for name in names or list(known):
        if name not in known:
            raise EnfaceError(f"no weights are called {name!r}{closest(name, known)}")
        _say(f"{name}: {weights.fetch(known[name], from_)}")


# ------------------------------------------------------------------ running


def _run(path: Path, overrides: list[str], resume: bool, runs: Path) -> None:
    from enface.checkpoint import digest
    from enface.evaluate import Evaluator
    from enface.run import check_same_recipe, latest_directory, new_directory, start_directory

    loaded = _load(path, overrides)
    current = _prepared(loaded)
    engine = current.engine
    if resume:
        current.directory = path if _is_run(path) else latest_directory(runs, loaded.recipe)
        check_same_recipe(current.directory, loaded.recipe)
    # Before anything is trained, so that what would be refused at the end is refused at the start.
    trainer, evaluator = _trainer(current), Evaluator(current)
    if not resume:
        current.directory = engine.share(new_directory(runs, loaded.recipe.name) if engine.is_main else None)
        if engine.is_main:
            start_directory(current)
    if engine.is_main:
        _say(f"run: {current.directory}")
    trainer.train(resume=resume)
    if engine.is_main:
        current.log("trained", digest=digest(trainer.network))
        _evaluate(evaluator, trainer.network)
    current.notify("run_ended", completed=True)
    engine.wait()
    engine.close()


def _prepared(loaded: Loaded) -> Run:
    """A run of a recipe whose data is packed and split; it has no directory yet."""
    from enface.run import Run
    from enface.sampling import split_rows

    engine = _engine(loaded)
    with engine.main_first():
        pack = _pack(loaded, show=engine.is_main)
    return Run(Path(), loaded, engine, pack, split_rows(pack.table, loaded.recipe.data.split))


def _trainer(current: Run) -> Trainer:
    """The trainer of a run, with every stage known to fit together."""
    from enface.evaluate import Evaluator
    from enface.trainer import Trainer

    recipe = current.recipe
    validator = Evaluator(current, "val") if len(current.rows["val"]) and recipe.metrics else None
    higher_is_better = True
    if validator is not None and recipe.log.best is not None:
        if recipe.log.best in validator.unavailable:
            raise EnfaceError(f"log.best: {validator.unavailable[recipe.log.best]}")
        higher_is_better = validator.metrics[recipe.log.best].higher_is_better
    trainer = Trainer(current, validator.means if validator else None, higher_is_better)
    trainer.check()
    return trainer


def _evaluate(evaluator: Evaluator, network: Any) -> None:
    from enface.evaluate import evaluate as measure
    from enface.report import write_report

    with _progress("evaluating") as progress:
        summary = measure(evaluator, network, progress)
    for name, item in summary["metrics"].items():
        others = ", ".join(f"{key} {value:.4f}" for key, value in item["baselines"].items())
        _say(f"{name}: {item['mean']:.4f} [{item['low']:.4f}, {item['high']:.4f}]  (baselines: {others})")
    for name, reason in summary["unavailable"].items():
        _say(f"{name}: unavailable. {reason}")
    _say(f"report: {write_report(evaluator.run.directory)}")


def _is_run(directory: Path) -> bool:
    return (directory / "recipe.yaml").is_file()


def _require_run(directory: Path) -> None:
    if not _is_run(directory):
        raise EnfaceError(f"{directory} is not a run directory (it has no recipe.yaml)")


def _load(path: Path, overrides: list[str]) -> Loaded:
    from enface.loading import load_recipe

    return load_recipe(path / "recipe.yaml" if _is_run(path) else path, overrides)


def _engine(loaded: Loaded) -> Engine:
    from enface.engine import Engine

    return Engine(loaded.recipe.engine)


def _pack(loaded: Loaded, *, show: bool = True) -> Any:
    from enface.pack import prepare

    with _progress(f"packing {loaded.recipe.data.use}", show=show) as progress:
        pack = prepare(loaded.recipe, loaded.catalog, progress)
    if show and pack.about["skipped"]:
        _say(f"{len(pack.about['skipped'])} unreadable images left out; they are named in {pack.folder}/pack.json")
    return pack


@contextmanager
def _progress(what: str, *, show: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, which appears with the first report; elsewhere a line now and then."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console()
    bar = Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console, transient=True)
    task = bar.add_task(what, total=None)
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if console.is_terminal:
            bar.start()
            bar.update(task, completed=done, total=total)
        elif time.monotonic() - last > QUIET_SECONDS:
            last = time.monotonic()
            _say(f"{what}: {done} of {total}")

    try:
        yield report if show else lambda done, total: None
    finally:
        if bar.live.is_started:
            bar.stop()


def _known_weights() -> dict[str, Any]:
    from enface.plugins import load_plugins

    return {item.name: item for items in load_plugins().hook.weights() for item in items}


def _say(text: str) -> None:
    typer.echo(text)
