"""benchmarks/generators.py: steps, recipes, learning rates, resuming, and tables of runs that were made up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from enface.recipe.load import load_recipe
from enface_tools.check.cost import stage_costs

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SPEEDS = {
    "wall-clock/unet": {"pixels": {"images_per_second": 80.0}, "adversarial": {"images_per_second": 40.0}},
    "wall-clock/warp": {"pixels": {"images_per_second": 120.0}, "adversarial": {"images_per_second": 48.0}},
    "parameters/unet": {"pixels": {"images_per_second": 300.0}, "adversarial": {"images_per_second": 60.0}},
}
SECONDS = {"pixels": 100.0, "adversarial": 75.0}
STEPS = {"pixels": 3, "adversarial": 2}


@pytest.fixture(scope="module")
def programs() -> Iterator[SimpleNamespace]:
    """The benchmark's modules, which import each other by name from their own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import generator_plan
        import generator_runs
        import generator_tables

        yield SimpleNamespace(plan=generator_plan, runs=generator_runs, tables=generator_tables)


def job(programs: SimpleNamespace, out: Path, name: str, seed: int = 0, **more: Any) -> Any:
    setup = programs.plan.Setup("wall-clock", name)
    content = programs.plan.recipe(setup, STEPS, 1e-3, seed, quick=False, **more)
    return programs.plan.Job(setup, out / f"seed-{seed}", content)


def test_steps_follow_from_seconds_and_speed(programs):
    # 100 s of 80 images/s are 500 batches of 16; 75 s of 40 are 187.5 batches of 16.
    steps = programs.plan.stage_steps(SPEEDS, programs.plan.Setup("wall-clock", "unet"), SECONDS)
    assert steps == {"pixels": 500, "adversarial": 188}
    assert programs.plan.steps_in(1e-6, 100.0, 32) == 1


def test_equal_parameters_are_trained_on_the_images_of_the_reference(programs):
    # 100 s of 120 images/s: 750 batches of 16; 75 s of 48: 225 batches of 16, whatever the network's own speed.
    steps = programs.plan.stage_steps(SPEEDS, programs.plan.Setup("parameters", "unet"), SECONDS)
    assert steps == {"pixels": 750, "adversarial": 225}


def test_recipes_are_valid_and_their_learning_rates_follow_from_one(programs, tmp_path):
    for setup in programs.plan.setups():
        steps = {"pixels": 400, "adversarial": 300}
        file = tmp_path / f"{setup.size}-{setup.name}.yaml"
        file.write_text(yaml.safe_dump(programs.plan.recipe(setup, steps, 2e-3, 7, quick=False)))
        recipe = load_recipe(file).recipe
        pixels, adversarial = (recipe.stages[name].optimizer.lr.model_dump() for name in ("pixels", "adversarial"))
        assert pixels == {"use": "cosine", "start": 2e-3, "end": 2e-4, "over": 400, "warmup": 40}
        assert adversarial == {"use": "cosine", "start": 6e-4, "end": 5e-5, "over": 300}
        assert (recipe.seed, recipe.name, recipe.generator.use) == (7, setup.name, setup.generator["use"])
        assert (recipe.stages["pixels"].steps, recipe.stages["adversarial"].steps) == (400, 300)
        assert recipe.evaluation.split == "val"


def test_networks_of_equal_parameters_differ_by_at_most_an_eighth(programs, tmp_path):
    counts = {}
    for setup in programs.plan.setups(["parameters"]):
        file = tmp_path / f"{setup.name}.yaml"
        file.write_text(yaml.safe_dump(programs.plan.recipe(setup, STEPS, 1e-3, 0, quick=False)))
        counts[setup.name] = stage_costs(load_recipe(file), {"pose": 9, "light": 4})["pixels"].generator.parameters
    assert max(counts.values()) <= 1.125 * min(counts.values()), counts


def test_the_learning_rate_has_the_lowest_sum_of_ranks(programs):
    scores = {
        5e-4: {"ssim": 0.70, "lpips": 0.20},  # ranks 4 and 4
        1e-3: {"ssim": 0.78, "lpips": 0.15},  # 1 and 3
        2e-3: {"ssim": 0.76, "lpips": 0.10},  # 2 and 1
        4e-3: {"ssim": 0.74, "lpips": 0.12},  # 3 and 2
    }
    assert programs.runs.chosen_rate(scores) == 2e-3
    equal = {1e-3: {"ssim": 0.8, "lpips": 0.2}, 2e-3: {"ssim": 0.7, "lpips": 0.1}}
    assert programs.runs.chosen_rate(equal) == 2e-3


@pytest.fixture
def commands(programs, monkeypatch) -> list[list[str]]:
    """Commands of enface, which are recorded instead of run."""
    recorded: list[list[str]] = []
    monkeypatch.setattr(programs.runs, "_enface", lambda job, arguments, threads: recorded.append(list(arguments)))
    return recorded


def test_finished_runs_are_skipped_and_interrupted_ones_resumed(programs, commands, tmp_path):
    finished, interrupted, new = (job(programs, tmp_path, name) for name in ("unet", "warp", "resnet"))
    write_run(finished, "val", {"pixels": 0.0, "adversarial": 0.0})
    folder = interrupted.folder / "warp" / "20260101-000000"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(interrupted.text)
    programs.runs.train_all([finished, interrupted, new], workers=1, threads=1)
    trained = [arguments for arguments in commands if arguments[0] == "run"]
    assert [("--resume" in arguments, Path(arguments[1]).stem) for arguments in trained] == [
        (True, "warp"),
        (False, "resnet"),
    ]


def test_another_recipe_or_number_of_threads_is_refused(programs, commands, tmp_path):
    first = job(programs, tmp_path, "unet")
    programs.runs.train_all([first], workers=1, threads=1)
    for other, threads in ((first, 2), (job(programs, tmp_path, "unet", stages=["pixels"]), 1)):
        with pytest.raises(SystemExit, match="was written for other steps"):
            programs.runs.train_all([other], workers=1, threads=threads)


def test_a_failed_learning_rate_is_left_out(programs, monkeypatch, tmp_path, capsys):
    def fail(job: Any, arguments: Any, threads: int) -> None:
        raise SystemExit("l1 became NaN")

    monkeypatch.setattr(programs.runs, "_enface", fail)
    jobs = {rate: job(programs, tmp_path / str(rate), "unet", stages=["pixels"]) for rate in (1e-3, 4e-3)}
    write_run(jobs[1e-3], "val", {"pixels": 0.25})
    programs.runs.train_all(list(jobs.values()), workers=1, threads=1, may_fail=True)
    assert "l1 became NaN" in capsys.readouterr().out
    assert list(programs.runs.rate_scores(jobs)) == [1e-3]
    with pytest.raises(SystemExit, match="l1 became NaN"):
        programs.runs.train_all(list(jobs.values()), workers=1, threads=1)


def test_test_people_stay_closed_until_all_runs_are_finished(programs, commands, tmp_path):
    jobs = [job(programs, tmp_path, name) for name in ("unet", "warp")]
    write_run(jobs[0], "val", {"pixels": 0.0, "adversarial": 0.0})
    with pytest.raises(SystemExit, match=r"not finished: \S*/warp;"):
        programs.runs.open_test_people(jobs, workers=1, threads=1, pictures=0)
    assert not commands
    write_run(jobs[1], "val", {"pixels": 0.0, "adversarial": 0.0})
    programs.runs.open_test_people(jobs, workers=1, threads=1, pictures=0)
    assert [arguments[2:6] for arguments in commands] == [["--checkpoint", "all", "--split", "test"]] * 2


def write_run(job: Any, split: str, shifts: dict[str, float]) -> None:
    """Write a run's recipe and the evaluations of its stages.

    LPIPS is 0.3 + the person's number / 100 - shift, SSIM 0.5 + shift, sharpness 0.4 + 2 shift.
    """
    folder = job.folder / job.setup.name / "20260101-000000"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(job.text)
    root = folder / "evaluation" / "val" if split == "val" else folder / "evaluation"
    step = 0
    for stage, shift in shifts.items():
        step += STEPS[stage]
        write_evaluation(root / "checkpoints" / f"step-{step:08d}", split, shift, job.content["seed"])
    write_evaluation(root, split, shift, job.content["seed"])
    (root / "checkpoints.json").write_text("{}")


def write_evaluation(folder: Path, split: str, shift: float, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    people = np.repeat(np.arange(6), 2)
    # Noise of seeds and images, far below the shifts.
    noise = np.random.default_rng([seed, round(1000 * shift)]).normal(0, 1e-4, (3, len(people)))
    images = pd.DataFrame(
        {
            "key": [f"{row:02d}" for row in range(len(people))],
            "target_key": [f"t{row:02d}" for row in range(len(people))],
            "identity": [f"{person:03d}" for person in people],
            "pose": [-30, 30] * 6,
            "ssim": 0.5 + shift + noise[0],
            "lpips": 0.3 + people / 100 - shift + noise[1],
            "sharpness": 0.4 + 2 * shift + noise[2],
        }
    )
    images.to_csv(folder / "images.csv", index=False)
    about = {"ssim": (True, None), "lpips": (False, None), "sharpness": (True, 1.0)}
    metrics = {
        name: {
            **{"mean": float(images[name].mean()), "low": None, "high": None, "images": 12, "identities": 6},
            **{"higher_is_better": higher, "ideal": ideal, "baselines": {"source": 0.111, "mean_target": 0.222}},
        }
        for name, (higher, ideal) in about.items()
    }
    summary = {"format": 3, "kind": "run", "name": "made-up", "split": split, "metrics": metrics, "images": 12}
    summary |= {"identities": 6, "interval": "95%", "caveats": []}
    (folder / "summary.json").write_text(json.dumps(summary))


def test_tables_of_made_up_runs(programs, tmp_path):
    """The U-Net's shift is 0 after the first stage and 0.05 after the second, that of warp 0.02 and 0.1."""
    jobs = [job(programs, tmp_path, name, seed) for seed in (0, 1, 2) for name in ("unet", "warp")]
    for item in jobs:
        after = {"unet": (0.0, 0.05), "warp": (0.02, 0.1)}[item.setup.name]
        for split in ("val", "test"):
            write_run(item, split, dict(zip(("pixels", "adversarial"), after, strict=True)))
    means, first, second, gains = table_rows(programs.tables.result_tables(jobs, "test"))
    # Mean over the people 0 to 5: 0.3 + 0.025 - shift.
    assert [value(cell) for cell in means["unet pixels"]] == pytest.approx([0.5, 0.325, 0.4], abs=1e-3)
    assert [value(cell) for cell in means["warp adversarial"]] == pytest.approx([0.6, 0.225, 0.6], abs=1e-3)
    # Means of six people whose numbers are 0.01 apart: sd 0.0187, error 0.0076, t(5) 2.57, so about 0.020.
    low, high = (float(number) for number in re.findall(r"[\d.]+", means["unet pixels"][1])[1:])
    assert (low, high) == pytest.approx((0.305, 0.345), abs=2e-3)
    assert means["copying the source "] == ["0.111"] * 3
    assert means["mean face "] == ["0.222"] * 3
    assert first["warp"] == second["warp"] == ["the best"] * 3
    # Of sharpness, distances to 1: further by 2 x 0.02, and by 2 x 0.05.
    assert [difference(cell) for cell in first["unet"]] == pytest.approx([-0.02, 0.02, 0.04], abs=1e-3)
    assert [difference(cell) for cell in second["unet"]] == pytest.approx([-0.05, 0.05, 0.1], abs=1e-3)
    assert [difference(cell) for cell in gains["unet"]] == pytest.approx([0.05, -0.05, -0.1], abs=1e-3)
    assert [difference(cell) for cell in gains["warp"]] == pytest.approx([0.08, -0.08, -0.16], abs=1e-3)
    assert all("**" in cell for cell in [*first["unet"], *gains["warp"]])


def test_a_table_of_runs_that_are_not_measured_names_the_subcommand(programs, tmp_path):
    jobs = [job(programs, tmp_path, name) for name in ("unet", "warp")]
    for item in jobs:
        write_run(item, "val", {"pixels": 0.0, "adversarial": 0.1})
    with pytest.raises(SystemExit, match=r"unet has no evaluation of test people; run: \S+ \S+ test"):
        programs.tables.result_tables(jobs, "test")


def test_the_costs_are_those_measured(programs):
    setup = programs.plan.Setup("wall-clock", "warp")
    item = {"parameters": 7_322_218, "gflop": 0.2045, "memory_mib": {"pixels": 266.4, "adversarial": 271.6}}
    item |= {name: {"images_per_second": rate} for name, rate in (("pixels", 120.4), ("adversarial", 46.6))}
    item |= {"inference": {"images_per_second": 365.1}}
    table = programs.tables.cost_table(
        [setup], {str(setup): item}, {str(setup): {"pixels": 1375, "adversarial": 225}}, {"warp": {"rate": 2e-3}}
    )
    row = table.splitlines()[-1]
    assert row == "| `warp`, wall-clock | 7.32 M | 0.20 | 120 | 47 | 365 | 266, 272 | 0.002 | 1,375, 225 |"


def test_examples_are_one_row_of_each_person_at_poses_in_turn(programs):
    images = pd.DataFrame(
        {"identity": ["b", "a", "a", "b", "c", "d"], "pose": [30, -30, 30, -30, 30, 30]}, index=range(6)
    )
    # Person a at -30, b at 30, c lacks -30, so its first row.
    assert programs.tables.example_rows(images, 3) == [1, 0, 4]


def table_rows(text: str) -> list[dict[str, list[str]]]:
    """Each Markdown table as rows by the cells before the last three."""
    tables: list[dict[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("| network"):
            tables.append({})
        elif line.startswith("| ") and not line.startswith("| ---"):
            cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
            tables[-1][" ".join(cells[:-3])] = cells[-3:]
    return tables


def value(cell: str) -> float:
    return float(cell.split()[0])


def difference(cell: str) -> float:
    return float(re.findall(r"[-+][\d.]+", cell)[0])
