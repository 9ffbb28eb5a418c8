"""From a recipe to a run, and from a run to a trained network: the way in for commands and notebooks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from enface.data.open_pack import open_pack
from enface.data.pack import Pack
from enface.data.pairs import split_rows
from enface.errors import DataError, EnfaceError
from enface.recipe.load import LoadedRecipe, load_recipe
from enface.system.locks import LOCK_FILE
from enface.system.messages import Reporter, Silent, report_unavailable
from enface.system.signals import raise_on_signals
from enface.training.checkpoint import digest
from enface.training.ending import extend
from enface.training.engine import Engine
from enface.training.run import Run, check_same_recipe, latest_directory, new_directory, start_directory
from enface.training.trainer import Trainer


def train(
    recipe: LoadedRecipe | Path | str,
    *,
    runs: Path | str = "runs",
    resume: bool = False,
    overrides: Sequence[str] = (),
    progress: Reporter | None = None,
) -> Run:
    """Train a recipe, and let plugins evaluate and report the result.

    Args:
        recipe: A recipe that was loaded, or the path of a recipe file or run directory.
        runs: Folder of run directories.
        resume: Resume the latest run of the recipe, or the run directory that ``recipe`` was loaded from. Its last
            stage may have more steps than before.
        overrides: Recipe keys to change, as ``stages.main.steps=100``; only if ``recipe`` is a path.
        progress: Receives messages and progress; default: silent.

    Raises:
        RecipeError: if the recipe does not fit its data; nothing is trained then.
        Interrupted: after SIGINT or SIGTERM, when everything is saved.
        NonFiniteLossError: if a loss becomes NaN or infinite.
    """
    loaded = recipe if isinstance(recipe, LoadedRecipe) else load_recipe(Path(recipe), overrides)
    run = prepare_run(loaded, progress)
    longer = False
    if resume:
        run.directory = loaded.directory or latest_directory(Path(runs), loaded.recipe)
        longer = check_same_recipe(run.directory, loaded.recipe)
    trainer = build_trainer(run)
    if not resume:
        directory = new_directory(Path(runs), loaded.recipe.name) if run.engine.is_main else None
        run.directory = run.engine.broadcast(directory)
    refusal = f"{run.directory}: another process is training this run; wait until it ends, or stop it"
    with run.engine.locked(run.directory / LOCK_FILE, refusal):
        if longer:
            extend(run)
        _announce(run, resume=resume)
        trainer.train(resume=resume)
        with run.observed(), raise_on_signals():
            if run.engine.is_main:
                run.log("trained", digest=digest(trainer.network))
            loaded.plugins.hook.trained(run=run, network=trainer.network)
        run.notify("run_ended", completed=True)
    run.engine.wait()
    return run


def prepare_run(loaded: LoadedRecipe, progress: Reporter | None = None, kinds: Collection[str] | None = None) -> Run:
    """Return a run of a recipe whose data is packed and split. It has no directory yet.

    Args:
        kinds: Kinds of components that will be built, and may need files; default: all.
    """
    engine = Engine(loaded.recipe.engine, loaded.plugins.hook)
    reporter = progress if progress is not None and engine.is_main else Silent()
    with engine.main_first():
        if engine.is_local_main:
            loaded.plugins.hook.fetch_requirements(loaded=loaded, kinds=kinds, reporter=reporter)
        pack = prepare_pack(loaded, reporter)
    engine.wait()
    identity = (pack.info.digest, len(pack.table))
    if engine.broadcast(identity) != identity:
        raise DataError(f"process {engine.rank} has another pack than the main one ({pack.folder}); start again")
    rows = split_rows(pack.table, loaded.recipe.data.split, loaded.recipe.seed)
    return Run(Path(), loaded, engine, pack, rows, reporter)


def prepare_pack(loaded: LoadedRecipe, progress: Reporter | None = None) -> Pack:
    """Return the recipe's pack; fetch or make it if it is not cached."""
    reporter = progress or Silent()
    data = loaded.recipe.data
    title = "fetching the pack, MiB" if data.pack else f"packing {data.use}"
    with reporter.progress(title) as report, raise_on_signals():
        pack = open_pack(loaded, report, reporter.say)
    report_skipped(pack, reporter)
    return pack


def report_skipped(pack: Pack, reporter: Reporter) -> None:
    """Report how many images a pack lacks, and how many were fitted to its shape."""
    if pack.info.skipped:
        reporter.say(f"skipped {len(pack.info.skipped)} unreadable images; {pack.folder}/pack.json names them")
    if pack.info.fit_report:
        reporter.say(f"data.fit: {pack.info.fit_report}")


def build_trainer(run: Run, *, check: bool = True) -> Trainer:
    """Return the trainer of a run.

    Args:
        check: Build every stage once, so that a mistake in the last stage is refused before the first one is trained.
    """
    run.validator = run.loaded.plugins.hook.validator(run=run)
    best = run.recipe.log.best
    if best is not None:
        if run.validator is None:
            raise EnfaceError("log.best: no installed plugin measures networks during training; remove the key")
        if best in run.validator.unavailable:
            raise EnfaceError(f"log.best: {run.validator.unavailable[best]}")
    trainer = Trainer(run)
    if check:
        trainer.check()
    return trainer


def _announce(run: Run, *, resume: bool) -> None:
    if run.engine.is_main and not resume:
        start_directory(run)
    run.reporter.say(f"run: {run.directory}")
    if run.validator is not None:
        # Before hours are spent on a network that is then not measured.
        report_unavailable(run.validator.unavailable, run.reporter)
