"""Networks at equal time of training and at equal numbers of parameters: the tables of docs/generators.md.

    python benchmarks/generators.py speed      speed, cost and memory -> OUT/speed.json; steps follow from it
    python benchmarks/generators.py rates      learning rates, chosen on validation people -> OUT/rates.json
    python benchmarks/generators.py runs       five seeds of every network, both stages
    python benchmarks/generators.py test       opens the test people, once, for all runs
    python benchmarks/generators.py table      Markdown
    python benchmarks/generators.py picture    outputs for eleven test people

Each subcommand needs the files of those before it. `rates`, `runs` and `test` skip finished runs and resume those that
were interrupted. With --quick every subcommand takes single steps on few people, to test that it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from generator_plan import (
    NAMES,
    RATE_SIZE,
    RATES,
    REFERENCE,
    SIZES,
    STAGES,
    Job,
    read_json,
    setups,
    stage_steps,
    write_json,
)

DEFAULT_OUT = Path("runs/generators")
QUICK_SECONDS = 1e-6
"""Rounds to a single step."""

Arguments = argparse.Namespace


def speed(arguments: Arguments) -> None:
    """Measure speed, cost and memory."""
    from generator_speed import measure_memory, measure_speed

    rounds, folder = 1 if arguments.quick else arguments.rounds, arguments.out / "speed"
    chosen = setups(arguments.sizes, arguments.only)
    measured = measure_speed(chosen, folder, rounds=rounds, threads=arguments.threads, quick=arguments.quick)
    path = arguments.out / "speed.json"
    known = read_json(path)["networks"] if path.is_file() else {}
    content = {"threads": arguments.threads, "rounds": rounds, "networks": known | measured}
    # Before the memory, which takes longer and which no step depends on.
    write_json(path, content)
    for setup in chosen:
        item = measured[str(setup)]
        item["memory_mib"] = measure_memory(setup, folder)
        speeds = ", ".join(f"{kind} {item[kind]['images_per_second']:.1f}" for kind in (*STAGES, "inference"))
        memory = " and ".join(f"{value:.0f}" for value in item["memory_mib"].values())
        print(f"{setup}: {item['parameters']:,} parameters, {item['gflop']} GFLOP; images/s: {speeds}; {memory} MiB")
    write_json(path, content)


def rates(arguments: Arguments) -> None:
    """Train the first stage with several learning rates; write the best of each network."""
    from generator_runs import chosen_rate, rate_job, rate_scores, train_all

    speeds, seconds = _speeds(arguments), _seconds(arguments)
    chosen = setups([RATE_SIZE], arguments.only)
    jobs = {
        setup: {
            rate: rate_job(arguments.out, setup, speeds, seconds, rate, arguments.quick) for rate in arguments.rates
        }
        for setup in chosen
    }
    every = [job for by_rate in jobs.values() for job in by_rate.values()]
    train_all(every, workers=arguments.workers, threads=arguments.threads, may_fail=True)
    path = arguments.out / "rates.json"
    result: dict[str, Any] = read_json(path) if path.is_file() else {}
    for setup, by_rate in jobs.items():
        scores = rate_scores(by_rate)
        best = chosen_rate(scores)
        result[setup.name] = {"rate": best, "scores": {f"{rate:g}": values for rate, values in scores.items()}}
        listed = ", ".join(f"{rate:g}: {item['ssim']:.3f} / {item['lpips']:.3f}" for rate, item in scores.items())
        edge = "; it is the end of the list, so extend it with --rates" if best in _ends(arguments.rates) else ""
        print(f"{setup.name}: {best:g} (SSIM / LPIPS by rate: {listed}){edge}")
    write_json(path, result)


def runs(arguments: Arguments) -> None:
    """Train all runs."""
    from generator_runs import train_all

    train_all(_jobs(arguments), workers=arguments.workers, threads=arguments.threads)


def test(arguments: Arguments) -> None:
    """Evaluate all runs on test people."""
    from generator_runs import open_test_people

    first = arguments.seeds[0]
    open_test_people(_jobs(arguments), workers=arguments.workers, threads=arguments.threads, pictures=first)


def table(arguments: Arguments) -> None:
    """Print the tables."""
    from generator_tables import cost_table, result_tables

    networks, speeds = setups(arguments.sizes, arguments.only), _speeds(arguments)
    steps = {str(setup): stage_steps(speeds, setup, _seconds(arguments)) for setup in networks}
    print(cost_table(networks, speeds, steps, read_json(arguments.out / "rates.json")))
    for size in arguments.sizes:
        jobs = [job for job in _jobs(arguments) if job.setup.size == size]
        print(f"\n{result_tables(jobs, arguments.split)}")


def picture(arguments: Arguments) -> None:
    """Write the picture."""
    from generator_tables import write_picture

    jobs = [job for job in _jobs(arguments) if job.setup.size == arguments.sizes[0]]
    first = [job for job in jobs if job.content["seed"] == arguments.seeds[0]]
    write_picture(first, arguments.stage, arguments.split, arguments.people, arguments.picture)


def _jobs(arguments: Arguments) -> list[Job]:
    """All runs, seed by seed, so that an interrupted benchmark has whole seeds."""
    from generator_runs import run_job

    speeds, seconds = _speeds(arguments), _seconds(arguments)
    chosen = setups(arguments.sizes, arguments.only)
    return [
        run_job(arguments.out, setup, speeds, seconds, seed, arguments.quick)
        for seed in arguments.seeds
        for setup in chosen
    ]


def _speeds(arguments: Arguments) -> dict[str, Any]:
    networks: dict[str, Any] = read_json(arguments.out / "speed.json")["networks"]
    needed = [str(setup) for setup in setups(arguments.sizes, arguments.only)]
    missing = [name for name in (*needed, REFERENCE) if name not in networks]
    if missing:
        raise SystemExit(f"{arguments.out}/speed.json lacks {', '.join(missing)}; measure without --only and --sizes")
    return networks


def _seconds(arguments: Arguments) -> dict[str, float]:
    if arguments.quick:
        return dict.fromkeys(STAGES, QUICK_SECONDS)
    return dict(zip(STAGES, (arguments.seconds, arguments.seconds_adversarial), strict=True))


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)


def _list(kind: Callable[[str], Any], *known: str) -> Callable[[str], list[Any]]:
    """Return a parser of lists with commas.

    Args:
        known: The values that are allowed; empty for all.
    """

    def parse(text: str) -> list[Any]:
        parts = text.split(",")
        unknown = [part for part in parts if known and part not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return [kind(part) for part in parts]

    return parse


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for call in (speed, rates, runs, test, table, picture):
        command = commands.add_parser(call.__name__, help=str(call.__doc__), description=call.__doc__)
        command.set_defaults(call=call)
        _add_common(command)
        if call is not speed:
            command.add_argument("--seconds", type=float, default=50, help="training time of the first stage")
            command.add_argument("--seconds-adversarial", type=float, default=35, help="of the second stage")
        if call in (rates, runs, test):
            command.add_argument("--workers", type=int, default=2, help="runs at a time")
        if call in (runs, test, table, picture):
            command.add_argument("--seeds", type=_list(int), default=list(range(5)), help="seeds of the runs, as 0,1")
        if call in (table, picture):
            command.add_argument("--split", choices=["val", "test"], default="test")
    _option(commands, "speed", "--rounds", type=int, default=9, help="timings of each network and stage")
    _option(commands, "rates", "--rates", type=_list(float), default=list(RATES), help="learning rates to try")
    _option(commands, "picture", "--stage", choices=STAGES, default=STAGES[-1])
    _option(commands, "picture", "--people", type=int, default=11)
    _option(commands, "picture", "--picture", type=Path, default=Path("docs/images/generators.png"))
    return top


def _option(commands: Any, name: str, option: str, **settings: Any) -> None:
    commands.choices[name].add_argument(option, **settings)


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, help="folder of files and runs (default: runs/generators)")
    command.add_argument("--only", type=_list(str, *NAMES), default=list(NAMES), help="networks, as warp,unet")
    command.add_argument("--sizes", type=_list(str, *SIZES), default=list(SIZES), help="wall-clock, parameters or both")
    command.add_argument("--threads", type=int, default=1, help="threads of each process, on which bits depend")
    command.add_argument("--quick", action="store_true", help="only test that everything runs")


def main() -> None:
    """Run a subcommand."""
    arguments = parser().parse_args()
    if arguments.out is None:
        arguments.out = DEFAULT_OUT.with_name("generators-quick") if arguments.quick else DEFAULT_OUT
    arguments.call(arguments)


if __name__ == "__main__":
    main()
