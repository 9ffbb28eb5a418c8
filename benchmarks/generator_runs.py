"""Runs of benchmarks/generators.py: training, choosing learning rates, evaluating."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scipy.stats import rankdata

from enface_tools.evaluate.splits import is_evaluated
from generator_plan import METRICS, RATE_SEED, STAGES, Job, Setup, read_json, recipe, stage_steps

Scores = Mapping[float, Mapping[str, float]]
"""Mean of each metric over validation people, by learning rate."""
LOG_LINES = 15


def rate_job(
    out: Path, setup: Setup, speeds: Mapping[str, Any], seconds: Mapping[str, float], rate: float, quick: bool
) -> Job:
    """Return the run of the first stage with one learning rate."""
    steps = stage_steps(speeds, setup, seconds)
    content = recipe(setup, steps, rate, RATE_SEED, stages=STAGES[:1], quick=quick)
    return Job(setup, out / "rates" / setup.size / f"{rate:g}", content)


def run_job(
    out: Path, setup: Setup, speeds: Mapping[str, Any], seconds: Mapping[str, float], seed: int, quick: bool
) -> Job:
    """Return the run of both stages with the chosen learning rate."""
    rates = read_json(out / "rates.json")
    if setup.name not in rates:
        raise SystemExit(f"{out}/rates.json lacks {setup.name}; run: python benchmarks/generators.py rates")
    steps = stage_steps(speeds, setup, seconds)
    content = recipe(setup, steps, rates[setup.name]["rate"], seed, quick=quick)
    return Job(setup, out / "runs" / setup.size / f"seed-{seed}", content)


def train_all(jobs: Sequence[Job], *, workers: int, threads: int, may_fail: bool = False) -> None:
    """Train and evaluate runs that are not finished; resume those that were interrupted.

    Args:
        may_fail: Report a run that fails and go on, because a high learning rate may diverge.
    """
    for job in jobs:
        _write_recipe(job, threads)

    def work(job: Job) -> None:
        try:
            _train(job, threads)
        except SystemExit as error:
            if not may_fail:
                raise
            print(error, flush=True)

    in_parallel(jobs, work, workers)


def open_test_people(jobs: Sequence[Job], *, workers: int, threads: int, pictures: int) -> None:
    """Evaluate both stages of finished runs on test people; keep the pictures of one seed.

    Raises:
        SystemExit: if a run is not finished, because the test people are opened once, for all.
    """
    unfinished = [str(job.folder / job.setup.name) for job in jobs if not job.is_measured("val")]
    if unfinished:
        raise SystemExit(f"not finished: {', '.join(unfinished)}; run: python benchmarks/generators.py runs")

    def measure(job: Job) -> None:
        if not job.is_measured("test"):
            kept = [f"evaluation.pictures={'true' if job.content['seed'] == pictures else 'false'}"]
            _evaluate(job, "test", threads, kept)

    in_parallel(jobs, measure, workers)


def in_parallel(jobs: Sequence[Job], work: Callable[[Job], None], workers: int) -> None:
    """Do work on jobs, several at a time; report each. An error ends the work once those that run have ended."""
    with ThreadPoolExecutor(workers) as pool:
        futures = {job.file: pool.submit(work, job) for job in jobs}
        try:
            for number, (file, future) in enumerate(futures.items(), start=1):
                future.result()
                print(f"{number} of {len(jobs)}: {file.with_suffix('')}", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def chosen_rate(scores: Scores) -> float:
    """Return the learning rate with the lowest sum of ranks by SSIM and LPIPS; of equal ones that with less LPIPS."""
    rates = list(scores)
    ranks = rankdata([-scores[rate]["ssim"] for rate in rates]) + rankdata([scores[rate]["lpips"] for rate in rates])
    return min(zip(ranks, [scores[rate]["lpips"] for rate in rates], rates, strict=True))[2]


def rate_scores(jobs: Mapping[float, Job]) -> dict[float, dict[str, float]]:
    """Return the means over validation people of the runs of several learning rates, without runs that failed.

    Raises:
        SystemExit: if all failed.
    """
    scores = {}
    for rate, job in jobs.items():
        if job.run is not None and is_evaluated(job.run):
            metrics = read_json(job.run / "evaluation" / "val" / "summary.json")["metrics"]
            scores[rate] = {name: metrics[name]["mean"] for name in METRICS}
    if not scores:
        raise SystemExit(f"every learning rate of {next(iter(jobs.values())).setup} failed")
    return scores


def _write_recipe(job: Job, threads: int) -> None:
    """Write a run's recipe; refuse to mix it with a run of another one."""
    text = f"# Trained with {threads} threads, on which the last bits depend.\n{job.text}"
    if job.file.is_file() and job.file.read_text(encoding="utf-8") != text:
        raise SystemExit(
            f"{job.file} was written for other steps, learning rates, networks or threads; "
            f"delete {job.folder} to train it again, or choose another --out"
        )
    job.folder.mkdir(parents=True, exist_ok=True)
    job.file.write_text(text, encoding="utf-8")


def _train(job: Job, threads: int) -> None:
    if job.run is None or not is_evaluated(job.run):
        resume = [] if job.run is None else ["--resume"]
        _enface(job, ["run", str(job.file), "--runs", str(job.folder), *resume], threads)
    if len(job.content["stages"]) > 1 and not job.is_measured("val"):
        _evaluate(job, "val", threads, [])


def _evaluate(job: Job, split: str, threads: int, overrides: Sequence[str]) -> None:
    """Evaluate the ends of both stages, the only checkpoints that a finished run has."""
    settings = [part for text in overrides for part in ("--set", text)]
    _enface(job, ["evaluate", str(job.run), "--checkpoint", "all", "--split", split, *settings], threads)


def _enface(job: Job, arguments: Sequence[str], threads: int) -> None:
    """Run a command of enface with a fixed number of threads; its output goes to a file.

    Raises:
        SystemExit: if it fails, with the end of its output.
    """
    log = job.file.with_suffix(".log")
    with log.open("a", encoding="utf-8") as file:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "NO_COLOR": "1"}
        command = [sys.executable, "-m", "enface", *arguments]
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment).returncode
    if code:
        last = log.read_text(encoding="utf-8").splitlines()[-LOG_LINES:]
        raise SystemExit("\n".join([f"enface {' '.join(arguments)} failed ({log}):", *last]))
