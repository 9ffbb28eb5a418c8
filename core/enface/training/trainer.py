"""The training loop: trains stages, logs, saves and resumes exactly. It has no branch on a kind of loss."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from enface.data.augment import Augment
from enface.data.pairs import BatchPlan, Indices
from enface.errors import CheckpointError, NonFiniteLossError, RecipeError
from enface.plugin.components import Generator, Mask
from enface.plugin.hooks import BatchSource
from enface.recipe.models import StageModel, StartModel
from enface.system.malloc import freed_memory_kept
from enface.system.signals import on_signals
from enface.training import checkpoint
from enface.training.average import new_average
from enface.training.build import StageBuilder, build_generator, eval_mode, values_of
from enface.training.checkpoint import SUFFIX, Checkpoint
from enface.training.ending import is_done, why_final
from enface.training.interval import Interval
from enface.training.phases import Player
from enface.training.run import Run, latest_checkpoint, rewind_log
from enface.training.step import Step
from enface.training.warm_start import LoadedWeights, People, check_start, find_start, load_weights, merged_people

SAMPLES = 9


class Interrupted(Exception):
    """A signal stopped the run; everything is saved."""

    def __init__(self, number: int, run: Run) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.directory = run.directory
        self.is_main = run.engine.is_main


@dataclass
class Trainer:
    """Trains the stages of a run in turn; the run's validator, if any, measures networks on the validation split."""

    run: Run
    generator: Generator = field(init=False)
    average: AveragedModel | None = field(init=False, default=None)
    _masks: dict[str, Mask] = field(init=False, default_factory=dict)
    _best: dict[str, float] = field(init=False, default_factory=dict)
    _people: People = field(init=False)
    _stop: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        run = self.run
        self.generator = build_generator(run.loaded, run.info)
        self.generator = run.engine.place(self.generator)  # type: ignore[assignment]
        self._pairs = run.pairs("train")
        flip = run.recipe.augment.flip
        self._columns = run.batches(
            self._pairs.roles,
            channels_last=run.engine.channels_last,
            mirror=flip.mirror if flip else None,
            sharpen=run.recipe.augment.sharpen,
        )
        self._batches: BatchSource = self._columns
        self._augment = Augment(run.recipe.augment, run.recipe.data, self._pairs.roles)
        self._samples = self._sample_rows()
        trained = run.pack.table["identity"].iloc[run.rows["train"]].astype(str)
        self._people = self._own_people = {run.pack.info.dataset: sorted(set(trained))}
        self._interval = Interval(run.engine)

    @property
    def _measured(self) -> Sequence[str]:
        """Names of the validation metrics."""
        return self.run.validator.measured if self.run.validator is not None else ()

    @property
    def network(self) -> nn.Module:
        """The network to evaluate: the running average if the stage has one."""
        return self.average.module if self.average is not None else self.generator

    def train(self, *, resume: bool = False) -> None:
        """Train all stages.

        Raises Interrupted after SIGINT or SIGTERM, once everything is saved. NonFiniteLossError: if a term becomes NaN
        or infinite; the batch is saved.
        """
        saved = self._resumed() if resume else None
        with self.run.observed():
            self.run.notify("run_started")
            with on_signals(self._ask_to_stop), freed_memory_kept():
                for number, (name, stage) in enumerate(self.run.recipe.stages.items()):
                    if saved is not None and is_done(saved.state, number, stage.steps):
                        continue
                    self._train_stage(number, name, stage, saved)
                    saved = None
            self._load_final(saved)
            self.run.engine.share_buffers(self.network)

    # ------------------------------------------------------------------ a stage

    def _builder(self, name: str) -> StageBuilder:
        run = self.run
        return StageBuilder(run.loaded, name, self.generator, run.info, self._columns.names, run.engine, self._masks)

    def _build(self, name: str) -> tuple[StageBuilder, Step]:
        """Build a stage, which freezes its parts; use cached codes in its batches if it says so."""
        builder = self._builder(name)
        step = builder.build()
        self._batches = self._codes(name) if self.run.recipe.stages[name].cache_codes else self._columns
        return builder, step

    def _codes(self, name: str) -> BatchSource:
        """Return the batches of a stage with codes in place of images."""
        run, encoder = self.run, self.generator.parts[self.generator.encoder_part]
        codes: BatchSource | None = run.loaded.plugins.hook.cache_codes(
            run=run, stage=name, columns=self._columns, encoder=encoder, rows=self._pairs.rows, augment=self._augment
        )
        if codes is None:
            where = run.loaded.place(("stages", name, "cache_codes"))
            raise RecipeError(f"{where}: no installed plugin caches codes; install enface again, or remove the key")
        return codes

    def check(self) -> None:
        """Build every stage without training, so that mistakes in later stages are found before the first is trained.

        Raises RecipeError if a stage cannot be built; names file and key. CheckpointError: if a stage cannot start from
        its checkpoint.
        """
        for _ in self.build_stages():
            pass

    def build_stages(self) -> Iterator[tuple[str, Step]]:
        """Build and check the stages in turn; yield name and step of each."""
        for name, stage in self.run.recipe.stages.items():
            _, step = self._build(name)
            self._check_schedules(name, step)
            if isinstance(stage.start, StartModel):
                self._check_start(name, stage.start)
            yield name, step
        self.generator.requires_grad_(True).train()

    def batch_parts(self, name: str, step: Step, current: int = 0) -> list[Callable[[], dict[str, Tensor]]]:
        """Return the functions that gather the parts of a stage's batch at a step, with all columns of the stage."""
        stage, number = self.run.recipe.stages[name], list(self.run.recipe.stages).index(name)
        plan = BatchPlan(self._pairs, stage.batch, self.run.recipe.seed, number)
        return self._parts(step.columns(step.phases), plan, stage, current)

    def _check_start(self, name: str, start: StartModel) -> None:
        run = self.run
        try:
            check_start(start, run.recipe, build_generator(run.loaded, run.info), run.directory)
        except CheckpointError as error:
            raise CheckpointError(f"{run.loaded.place(('stages', name))}: {error}") from error

    def _check_schedules(self, name: str, step: Step) -> None:
        for what, schedule in step.schedules.items():
            if schedule.metric not in self._measured or not self.run.recipe.log.validate_:
                listed = ", ".join(self._measured) or "none; set data.split.val, log.validate and metrics"
                where = self.run.loaded.place(("stages", name))
                raise RecipeError(f"{where}: {what} follows metric {schedule.metric!r}; validated: {listed}")

    def _train_stage(self, number: int, name: str, stage: StageModel, saved: Checkpoint | None) -> None:
        run = self.run
        if saved is not None:
            saved.load("generator", self.generator)
        goes_on = saved is not None and saved.state["stage"] == name
        if not goes_on:
            self._start(name, stage)
        # Frozen parts normalise by running statistics, which may differ between processes until here.
        run.engine.share_buffers(self.generator)
        builder, step = self._build(name)
        self.average = new_average(self.generator, stage.ema)
        done = 0
        if saved is not None and goes_on:
            done = int(saved.state["stage_step"])
            self._restore(step, saved)
        plan = BatchPlan(self._pairs, stage.batch, run.recipe.seed, number)
        run.notify("stage_started", stage=name, step=done)
        terms = [f"{phase.label}{term.name}" for phase in step.phases for term in phase.terms]
        losses = {term: stage.label(term) for term in terms}
        run.log("stage_started", stage=name, stage_step=done, terms=terms, losses=losses)
        if run.step == 0:
            self._show_samples(builder)
        for current in range(done, stage.steps):
            started = time.perf_counter()
            values = self._one_step(step, plan, stage, current)
            self._interval.add(values, stage.batch, time.perf_counter() - started)
            run.step += 1
            if self._after_step(builder, step, number, current):
                break

    def _after_step(self, builder: StageBuilder, step: Step, number: int, current: int) -> bool:
        """Report, validate, show samples and save, each if it is due; return True if the stage has ended."""
        run, name = self.run, builder.name
        log, ends = run.recipe.log, current + 1 == run.recipe.stages[name].steps
        if _due(run.step, log.every) or ends:
            self._report(name, step, current)
        bests = self._validated(builder, step) if _due(run.step, log.validate_) or ends else []
        if not ends and step.stop is not None and step.stop(current) > 0:
            ends = True
            self._stop_early(name, step, current)
        if ends:
            step.generator.finish()
            self._restore_best(name, bests)
        if _due(run.step, log.samples) or ends:
            with step.generator.evaluation_weights():
                self._show_samples(builder)
        stopping = run.engine.any(self._stop is not None)
        if _due(run.step, log.checkpoint) or ends or stopping or bests:
            self._save(step, number, name, current + 1, ends, bests)
        if stopping:
            run.log("interrupted")
            raise Interrupted(self._stop or signal.SIGTERM, run)
        return ends

    def _stop_early(self, name: str, step: Step, current: int) -> None:
        if not _due(self.run.step, self.run.recipe.log.every):
            self._report(name, step, current)
        reason = f"stopped early at step {current + 1}: {step.stop}"
        self.run.log("stopped_early", stage=name, reason=reason)
        self.run.reporter.say(f"{name} {reason}")

    def _restore_best(self, name: str, bests: list[str]) -> None:
        """Put the weights of the stage's best validation in place if the stage keeps them and is not at them."""
        best = f"best-{name}"
        if best in self._best and best not in bests:
            saved = checkpoint.load(self.run.checkpoints / f"{best}{SUFFIX}")
            saved.load("generator", self.generator)
            if self.average is not None:
                saved.load("ema", self.average)

    def load_start(self, stage: StageModel) -> LoadedWeights | None:
        """Load the weights that the stage starts from; return their names if they come from a checkpoint."""
        if stage.start == "previous":
            return None
        if stage.start == "scratch":
            fresh = build_generator(self.run.loaded, self.run.info)
            self.generator.load_state_dict(fresh.state_dict())
            return None
        return load_weights(self.generator, stage.start, find_start(stage.start, self.run.directory))

    def _start(self, name: str, stage: StageModel) -> None:
        weights = self.load_start(stage)
        if stage.start == "scratch":
            self._people = self._own_people
        if weights is None:
            return
        self._people = merged_people(self._own_people, self._people if weights.kept else {}, weights.people)
        others = {"kept": weights.kept, "unused": weights.unused}
        self.run.log(
            "weights_loaded",
            stage=name,
            path=str(weights.path),
            loaded=len(weights.loaded),
            **others,
            digest=checkpoint.digest(self.generator),
        )
        self.run.notify("weights_loaded", stage=name, path=weights.path, loaded=weights.loaded, **others)

    def _one_step(self, step: Step, plan: BatchPlan, stage: StageModel, current: int) -> dict[str, Tensor]:
        parts = self._parts(step.columns(step.active(current)), plan, stage, current)
        try:
            values = step(current, parts)
        except NonFiniteLossError as error:
            raise self._save_bad_batch(error, parts) from None
        if self.average is not None:
            self.average.update_parameters(self.generator)
        return values

    def _parts(
        self, names: list[str], plan: BatchPlan, stage: StageModel, current: int
    ) -> list[Callable[[], dict[str, Tensor]]]:
        """Return functions that gather this process's parts of a batch."""
        rows = plan.rows(current)
        moves = self._augment.draw(plan.seed, plan.stage, current, plan.batch) if self._augment else {}
        processes, rank = self.run.engine.processes, self.run.engine.rank
        share = stage.batch // (processes * stage.accumulate)

        def part(number: int) -> Callable[[], dict[str, Tensor]]:
            # Part n of all processes together is part n of a single process, so that BatchNorm sees the same images.
            first = (number * processes + rank) * share
            here = slice(first, first + share)
            mine = {role: chosen[here] for role, chosen in rows.items()}
            mine_moved = {role: chosen[here] for role, chosen in moves.items()}
            return lambda: self._batches.batch(names, mine, mine_moved)

        return [part(number) for number in range(stage.accumulate)]

    def _save_bad_batch(
        self, error: NonFiniteLossError, parts: list[Callable[[], dict[str, Tensor]]]
    ) -> NonFiniteLossError:
        run = self.run
        path = run.directory / f"bad-batch-{run.step:08d}{SUFFIX}"
        batch = [part() for part in parts]
        if run.engine.is_main:
            joined = {name: torch.cat([part[name] for part in batch]) for name in batch[0]}
            checkpoint.save(path, joined, {"step": run.step, "reason": str(error)})
        last = latest_checkpoint(run.directory)
        kept = f"the last good checkpoint is {last}" if last else "no checkpoint had been saved yet"
        run.log("non_finite", reason=str(error), batch=path.name)
        return NonFiniteLossError(
            f"{error} at step {run.step}; no weight has changed. {kept}; the batch is saved in {path}. "
            "Lower the learning rate or the term's weight, or set 'clip'"
        )

    # ------------------------------------------------------------------ reports

    def _report(self, stage: str, step: Step, current: int) -> None:
        numbers = self._interval.report()
        self._interval = Interval(self.run.engine)
        players = {"generator": step.generator, **step.critics}
        numbers |= {f"lr/{name}": player.lr(current) for name, player in players.items()}
        self.run.log("step", stage=stage, values=numbers)
        self.run.notify("step_ended", stage=stage, step=current + 1, values=numbers)

    @torch.no_grad()
    def _show_samples(self, builder: StageBuilder) -> None:
        if not self.run.engine.is_main:
            return
        images = {name: self._columns.gather(name, self._samples) for name in ("source", "target")}
        with eval_mode(self.network):
            images |= values_of(self.network, lambda name: self._columns.gather(name, self._samples))
        shown = {name: image.float().cpu() for name, image in images.items()}
        self.run.notify("samples_ready", step=self.run.step, images=shown)
        builder.freeze()

    def _sample_rows(self) -> dict[str, Indices]:
        """Return the rows of nine faces of nine identities, the same at every step; of test people as a last resort."""
        pairs = self.run.pairs("val" if len(self.run.rows["val"]) else "test")
        rng = np.random.default_rng([self.run.recipe.seed, 2])
        people = self.run.pack.table["identity"].to_numpy()[pairs.sources]
        names = np.unique(people.astype(str))
        chosen = [rng.choice(pairs.sources[people == name]) for name in names[:SAMPLES]]
        return pairs.draw(np.array(chosen, np.int64), rng)

    def _validated(self, builder: StageBuilder, step: Step) -> list[str]:
        """Validate and pass the values to schedules that follow a metric; return the names of checkpoints to replace.

        ``best`` is that of ``log.best``, ``best-STAGE`` that of a stage that ends with its best weights.
        """
        validator = self.run.validator
        if validator is None or not validator.measured:
            return []
        self.run.engine.share_buffers(self.network)
        with step.generator.evaluation_weights(), eval_mode(self.network):
            validations = validator.validate(self.network)
        means = {name: item.value for name, item in validations.items()}
        builder.freeze()
        self.run.log("validated", values=means)
        self.run.notify("evaluated", step=self.run.step, summary=means, split="val")
        for schedule in step.schedules.values():
            assert schedule.metric is not None
            schedule.observe(*validations[schedule.metric])
        stop = self.run.recipe.stages[builder.name].stop
        of_stage = step.stop.metric if step.stop is not None and stop is not None and stop.restore == "best" else None
        bests = []
        for name, metric in (("best", self.run.recipe.log.best), (f"best-{builder.name}", of_stage)):
            score = validations[metric].score if metric is not None and metric in validations else math.nan
            if math.isfinite(score) and score > self._best.get(name, -math.inf):
                self._best[name] = score
                bests.append(name)
        return bests

    # ------------------------------------------------------------------ checkpoints

    def _save(self, step: Step, number: int, name: str, done: int, ends: bool, bests: list[str]) -> None:
        run = self.run
        self._refuse_non_finite_weights()
        interval = self._interval.state()
        if not run.engine.is_main:
            run.engine.wait()
            return
        tensors = self._generator_tensors(step.generator)
        for place, module in self._modules(step).items():
            tensors |= {f"{place}/{key}": value for key, value in module.state_dict().items()}
        optimizers = {}
        for player in (step.generator, *step.critics.values()):
            values, plain = checkpoint.optimizer_tensors(player.optimizer)
            tensors |= {f"optimizer/{player.name}/{key}": value for key, value in values.items()}
            optimizers[player.name] = {**plain, "scaler": player.scaler.state_dict()}
        state = {
            "step": run.step,
            "stage": name,
            "stage_number": number,
            "stage_step": done,
            "stage_ended": ends,
            "early": ends and done < run.recipe.stages[name].steps,
            "final": why_final(run.recipe, name, step, run.step, f"best-{name}" in self._best) if ends else "",
            "recipe": run.recipe.training_digest(length=False),
            "data": {name: getattr(run.info, name) for name in ("size", "classes", "channels", "depth")},
            # Random number generators are seeded from these at each step; see enface.training.engine.reseed.
            "rng": {"seed": run.recipe.seed, "stage": number, "step": done},
            "optimizers": optimizers,
            "schedules": {name: schedule.state() for name, schedule in step.schedules.items()},
            "interval": interval,
            "best_scores": self._best,
            "people": self._people,
        }
        path = run.checkpoints / f"step-{run.step:08d}{SUFFIX}"
        # The best first: a run that is interrupted between the two resumes before both and saves them again.
        for best in bests:
            checkpoint.save(run.checkpoints / f"{best}{SUFFIX}", tensors, state)
        checkpoint.save(path, tensors, state)
        self._prune()
        run.log("checkpoint", path=path.name)
        run.notify("checkpoint_saved", step=run.step, path=path)
        run.engine.wait()

    def _modules(self, step: Step) -> dict[str, nn.Module]:
        """Return the modules of a checkpoint, but for the generator, by place."""
        critics = step.critics.values()
        modules: dict[str, nn.Module] = {f"critic/{critic.name}": critic.module for critic in critics}
        modules |= {f"augment/{critic.name}": critic.augment for critic in critics if critic.augment is not None}
        modules |= {f"loss/{term}": loss for term, loss in step.losses.items()}
        return modules if self.average is None else {**modules, "ema": self.average}

    def _generator_tensors(self, player: Player) -> dict[str, Tensor]:
        """Return the weights to evaluate; beside them, those being trained if they differ."""
        if not player.has_evaluation_weights:
            return {f"generator/{key}": value for key, value in self.generator.state_dict().items()}
        with player.evaluation_weights():
            tensors = {f"generator/{key}": value.clone() for key, value in self.generator.state_dict().items()}
        return tensors | {f"trained/{index}": value for index, value in enumerate(player.parameters)}

    def _refuse_non_finite_weights(self) -> None:
        for name, value in self.generator.named_parameters():
            if not bool(torch.isfinite(value).all()):
                raise NonFiniteLossError(
                    f"weights of {name} became NaN or infinite before step {self.run.step}; the last good "
                    f"checkpoint is {latest_checkpoint(self.run.directory)}"
                )

    def _prune(self) -> None:
        """Delete all checkpoints but the latest few, the last of each stage, and multiples of ``keep_every``."""
        log = self.run.recipe.log
        for path in checkpoint.saved_steps(self.run.directory)[: -log.keep]:
            state = checkpoint.read_state(path)
            if not state["stage_ended"] and not _due(state["step"], log.keep_every):
                path.unlink()

    def _resumed(self) -> Checkpoint | None:
        path = latest_checkpoint(self.run.directory)
        if path is None:
            if self.run.engine.is_main:
                rewind_log(self.run.directory, -1)
            return None
        saved = checkpoint.load(path)
        if saved.state["recipe"] != self.run.recipe.training_digest(length=False):
            raise CheckpointError(f"checkpoint {path} was made by another recipe than {self.run.directory}/recipe.yaml")
        self.run.step = int(saved.state["step"])
        self._best, self._people = dict(saved.state["best_scores"]), saved.state.get("people", self._people)
        if self.run.engine.is_main:
            rewind_log(self.run.directory, self.run.step)
        return saved

    def _restore(self, step: Step, saved: Checkpoint) -> None:
        for place, module in self._modules(step).items():
            saved.load(place, module)
        for player in (step.generator, *step.critics.values()):
            plain = saved.state["optimizers"][player.name]
            checkpoint.load_optimizer(player.optimizer, saved.part(f"optimizer/{player.name}"), plain)
            player.scaler.load_state_dict(plain["scaler"])
        trained = saved.part("trained")
        if trained:
            step.generator.load_parameters([trained[str(index)] for index in range(len(trained))])
        for name, schedule in step.schedules.items():
            schedule.restore(saved.state["schedules"][name])
        self._interval.restore(saved.state.get("interval", []))

    def _load_final(self, saved: Checkpoint | None) -> None:
        """Load the saved networks if nothing is left to train."""
        if saved is None:
            return
        saved.load("generator", self.generator)
        self.average = new_average(self.generator, list(self.run.recipe.stages.values())[-1].ema)
        if self.average is not None:
            saved.load("ema", self.average)

    def _ask_to_stop(self, number: int) -> None:
        if self._stop is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._stop = number


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
