"""Relations of the runs of two groups: seeds, pairs that share a start, people that depend on the seed."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from scipy import stats

from enface.errors import DataError
from enface_tools.compare.comparison import compare
from enface_tools.compare.crossed import crossed_mean, paired_difference, unpaired_difference

PEOPLE, EACH = 8, 2
IDENTITY = [f"p{number // EACH}" for number in range(PEOPLE * EACH)]
KEYS = {"key": [f"k{number}" for number in range(PEOPLE * EACH)], "target_key": IDENTITY, "identity": IDENTITY}


def faces(shift=0.0, seed=0, spread=0.01):
    return {**KEYS, "lpips": 0.5 + shift + np.random.default_rng(seed).normal(0, spread, PEOPLE * EACH)}


def people_of(runs):
    """Means of people in runs of ``faces``, (S, P)."""
    return np.stack([run["lpips"].reshape(PEOPLE, EACH).mean(1) for run in runs])


@pytest.fixture
def trained(evaluated):
    """``runs/NAME`` with a run for each shift, whose noise is that of its seed; the first seed is ``first``."""

    def make(name, shifts, *, first=0, noise=0, starts=()):
        for place, shift in enumerate(shifts):
            seed = first + place
            run = evaluated(f"runs/{name}/{seed}", faces(shift, noise + seed), name=name, seed=seed)
            if starts:
                event = {"event": "weights_loaded", "step": 0, "stage": "main", "digest": starts[place]}
                (run / "log.jsonl").write_text(json.dumps({"event": "run_started"}) + "\n" + json.dumps(event) + "\n")
        return run.parent

    return make


def compared(*paths, **options):
    (comparison,) = compare(list(paths), **options).comparisons
    return comparison


# ---------------------------------------------------------------------- crossed


def test_the_difference_is_that_of_the_means_over_seeds(evaluated):
    people = [f"p{number}" for number in range(5)]
    keys = {"key": people, "target_key": people, "identity": people}
    runs = {
        "a": ([1.0, 2, 1, 2, 4], [1, 2, 3, 2, 2]),
        "b": ([3.0, 5, 4, 8, 5], [5, 5, 8, 10, 7]),
    }
    for name, values in runs.items():
        for seed, lpips in enumerate(values):
            run = evaluated(f"runs/{name}/{seed}", {**keys, "lpips": lpips}, name=name, seed=seed)
    whole = compare([run.parent.parent / "a", run.parent])
    (comparison,) = whole.comparisons
    (result,) = comparison.results
    assert comparison.pairing.design == "crossed"
    assert comparison.pairing.difference["lpips"].tolist() == [3, 3, 4, 7, 3]
    assert comparison.pairing.seeds.tolist() == [2] * 5
    assert (result.images, result.control, result.group, result.difference.mean) == (5, 2, 6, 4)
    assert (result.control_by_run, result.group_by_run) == ([2, 2], [5, 7])
    assert result.seed_sd == pytest.approx((0, math.sqrt(2)))
    # Worked by hand in test_crossed.py: the variance of this difference and its degrees of freedom.
    df = 1.4**2 / (0.09 + 1 + 0.005)
    quantiles = stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)
    assert result.detectable == pytest.approx(math.sqrt(1.4) * quantiles)
    mean = whole.means[1]["lpips"]
    assert (mean.interval.mean, mean.images) == (6, 5)
    assert mean.seeds.by_seed == {0: 5, 1: 7}
    assert mean.seeds.sd == pytest.approx(math.sqrt(2))
    expected = crossed_mean(np.array(runs["b"])).interval()
    assert (mean.interval.low, mean.interval.high) == pytest.approx(expected)


def test_equal_seed_numbers_are_no_pairs(trained):
    """Equal noise under equal seeds would make the difference exact, if seeds were pairs."""
    a, b = trained("a", [0.0, 0.02, 0.04]), trained("b", [0.01, 0.03, 0.05])
    comparison = compared(a, b)
    (result,) = comparison.results
    control, group = (
        people_of([faces(shift + by, seed) for seed, shift in enumerate([0, 0.02, 0.04])]) for by in (0, 0.01)
    )
    expected = unpaired_difference(control, group)
    assert comparison.pairing.design == "crossed"
    assert result.difference.mean == pytest.approx(0.01)
    assert (result.difference.low, result.difference.high) == pytest.approx(expected.interval())
    assert result.p == pytest.approx(expected.p())
    assert result.outcome == "unclear"
    assert comparison.pairing.control_seeds == comparison.pairing.group_seeds == [0, 1, 2]


def test_groups_may_have_unlike_numbers_of_seeds(trained):
    comparison = compared(trained("a", [0.0] * 4), trained("b", [0.1] * 2, first=7))
    assert comparison.pairing.design == "crossed"
    assert (comparison.pairing.control_seeds, comparison.pairing.group_seeds) == ([0, 1, 2, 3], [7, 8])
    assert [len(comparison.results[0].control_by_run), len(comparison.results[0].group_by_run)] == [4, 2]
    assert comparison.about == ""
    text = comparison.verdicts[0][1]
    assert text.startswith("worse on lpips by 0.1")
    assert "; sd over seeds: " in text


def test_seeds_that_differ_more_than_recipes_give_no_verdict(trained):
    """Each seed is far from the others: people alone would find a clear difference."""
    a, b = trained("a", [0.0, 0.1, -0.1]), trained("b", [0.13, 0.03, -0.07], noise=50)
    comparison = compared(a, b)
    assert comparison.results[0].outcome == "unclear"
    sides = [
        people_of([faces(shift, noise + seed) for seed, shift in enumerate(shifts)]).mean(0)
        for shifts, noise in (([0.0, 0.1, -0.1], 0), ([0.13, 0.03, -0.07], 50))
    ]
    assert stats.ttest_rel(*sides).pvalue < 0.001
    assert "; sd over seeds: 0.1 (control), 0.098" in comparison.verdicts[0][1]


def test_equal_recipes_seldom_get_a_verdict(trained, evaluated):
    """40 pairs of three seeds of one recipe, with seeds that differ by as much as the interval over people is wide."""
    rng = np.random.default_rng(0)
    outcomes = []
    for number in range(40):
        for name in "ab":
            for seed in range(3):
                shift = rng.normal(0, 0.008)
                run = evaluated(f"{number}/{name}/{seed}", faces(shift, rng.integers(2**32)), name=name, seed=seed)
        outcomes.append(compared(run.parent.parent / "a", run.parent).results[0].outcome)
    assert 40 - outcomes.count("unclear") <= 3


# ---------------------------------------------------------------------- one seed


@pytest.mark.parametrize(
    ("control", "group", "subject"),
    [(1, 1, "this training is"), (3, 1, "this training is"), (1, 3, "these trainings are")],
)
def test_one_seed_on_a_side_never_speaks_of_the_recipe(trained, control, group, subject):
    comparison = compared(trained("a", [0.0] * control), trained("b", [-0.1] * group, noise=20))
    (result,) = comparison.results
    assert result.outcome == "better"
    assert comparison.verdicts[0][1].startswith(f"{subject} better on lpips by 0.")
    assert [
        text for text in comparison.caveats if text.startswith("One seed on a side: the intervals are for other people")
    ]
    # Over people only, although one side may have several seeds.
    sides = [
        people_of([faces(shift, noise + seed) for seed in range(count)]).mean(0)
        for shift, noise, count in ((0, 0, control), (-0.1, 20, group))
    ]
    difference = sides[1] - sides[0]
    assert result.difference.mean == pytest.approx(difference.mean())
    error = difference.std(ddof=1) / math.sqrt(PEOPLE)
    assert result.detectable == pytest.approx(error * (stats.t.ppf(0.975, 7) + stats.t.ppf(0.8, 7)))


def test_images_of_another_system_are_the_subject(evaluated, trained):
    theirs = evaluated("theirs", faces(-0.1, 9), name=None)
    comparison = compared(trained("a", [0.0, 0.0]), theirs)
    assert comparison.verdicts[0][1].startswith("this set of images is better on lpips")
    assert not [text for text in comparison.caveats if "seed" in text]


# ---------------------------------------------------------------------- pairs


def test_runs_that_start_from_the_same_weights_are_pairs(trained):
    """The start has a large effect that both runs of a pair share; runs are in another order."""
    starts = [0.0, 0.2, -0.2]
    a = trained("a", starts, starts=["x", "y", "z"])
    b = trained("b", [starts[2] + 0.01, starts[0] + 0.01, starts[1] + 0.01], noise=30, starts=["z", "x", "y"])
    comparison = compared(a, b)
    pairing, (result,) = comparison.pairing, comparison.results
    assert pairing.design == "paired"
    assert (pairing.control_seeds, pairing.group_seeds) == ([2, 0, 1], [0, 1, 2])
    control = people_of([faces(starts[seed], seed) for seed in (2, 0, 1)])
    group = people_of([faces(starts[place] + 0.01, 30 + seed) for seed, place in enumerate((2, 0, 1))])
    expected = paired_difference(control, group)
    assert (result.difference.low, result.difference.high) == pytest.approx(expected.interval())
    assert result.difference.high - result.difference.low < 0.05
    assert "Each run is compared with the run that started from the same weights." in comparison.caveats
    assert comparison.about == ""


@pytest.mark.parametrize("starts", [(["x", "y"], ["x", "other"]), (["x", "y"], ["x", "x"]), (["x", "x"], ["x", "y"])])
def test_incomplete_or_ambiguous_pairs_are_none(trained, starts):
    comparison = compared(trained("a", [0, 0], starts=starts[0]), trained("b", [0.1, 0.1], starts=starts[1]))
    assert comparison.pairing.design == "crossed"


def test_checkpoints_of_the_same_runs_are_pairs(trained):
    a = trained("a", [0.0, 0.2, 0.4])
    for seed, run in enumerate(sorted(a.iterdir())):
        other = run / "evaluation" / "val" / "checkpoints" / "step-00000005"
        other.mkdir(parents=True)
        shutil.copy(run / "evaluation" / "val" / "summary.json", other)
        table = {**faces(0.2 * seed - 0.05, 40 + seed)}
        lines = zip(*table.values(), strict=True)
        (other / "images.csv").write_text("\n".join([",".join(table), *(",".join(map(str, line)) for line in lines)]))
    runs = sorted(a.iterdir())
    earlier = [run / "evaluation" / "val" / "checkpoints" / "step-00000005" for run in runs]
    comparison = compared(*runs, *earlier)
    assert comparison.pairing.design == "paired"
    assert comparison.pairing.control_seeds == comparison.pairing.group_seeds == [0, 1, 2]
    assert comparison.verdicts[0][1].startswith("better on lpips by 0.05")


def test_one_start_of_all_runs_is_a_caveat_and_gives_no_pairs(trained):
    a, b = trained("a", [0.0] * 3, starts=["x"] * 3), trained("b", [0.1] * 3, noise=20, starts=["x"] * 3)
    comparison = compared(a, b)
    assert comparison.pairing.design == "crossed"
    caveat = "All runs start from the same weights: the intervals do not cover other starts."
    assert caveat in comparison.caveats
    assert caveat not in compared(trained("c", [0.0] * 2), trained("d", [0.1] * 2)).caveats


def test_a_damaged_log_gives_no_pairs(trained):
    a, b = trained("a", [0, 0], starts=["x", "y"]), trained("b", [0.1, 0.1], starts=["x", "y"])
    for text in ('{"event": "weights_loaded", "dig', '{"event": "weights_loaded"}', '["weights_loaded"]', "\xff"):
        (b / "0" / "log.jsonl").write_bytes(text.encode("latin-1"))
        assert compared(a, b).pairing.design == "crossed"


# ---------------------------------------------------------------------- people that depend on the seed


def with_people(evaluated, name, seed, people, values):
    """A run measured on these people, one image of each."""
    names = [f"p{person:02}" for person in people]
    columns = {"key": names, "target_key": names, "identity": names, "lpips": values}
    return evaluated(f"runs/{name}/{seed}", columns, name=name, seed=seed)


def test_seeds_with_people_of_their_own_are_compared_seed_by_seed(evaluated):
    rng = np.random.default_rng(0)
    gains = []
    for seed, shift in ((0, 0.05), (1, 0.06), (2, 0.04)):
        people, level = range(6 * seed, 6 * seed + 6), rng.normal(0.5, 0.1, 6)
        gain = shift + rng.normal(0, 0.01, 6)
        gains.append(gain)
        with_people(evaluated, "a", seed, people, level)
        run = with_people(evaluated, "b", seed, people, level - gain)
    with_people(evaluated, "b", 3, range(18, 24), np.full(6, 0.5))
    comparison = compared(run.parent.parent / "a", run.parent)
    (result,) = comparison.results
    assert comparison.pairing.design == "replicated"
    assert comparison.pairing.control_seeds == comparison.pairing.group_seeds == [0, 1, 2]
    assert (result.images, result.identities) == (18, 18)
    assert result.gain.mean == pytest.approx(np.mean(gains))
    by_seed, pooled = np.mean(gains, axis=1), np.concatenate(gains)
    from_seeds, from_people = by_seed.var(ddof=1) / 3, pooled.var(ddof=1) / 18
    counted_twice = sum(gain.var(ddof=1) / 6 for gain in gains) / 9
    variance = max(from_seeds + from_people - counted_twice, from_seeds, from_people)
    df = max(variance**2 / (from_seeds**2 / 2 + from_people**2 / 17), 2)
    assert result.p == pytest.approx(2 * stats.t.sf(np.mean(gains) / math.sqrt(variance), df))
    assert (
        "Each seed has its own people, so the intervals are those of the differences over seeds." in comparison.caveats
    )
    assert "Runs whose seed the other group lacks are not compared: 1." in comparison.caveats


def test_one_seed_in_common_speaks_of_this_training(evaluated):
    """Both groups have two runs, but only one seed has people in common."""
    rng = np.random.default_rng(0)
    for name, seeds, shift in (("a", (0, 1), 0.0), ("b", (1, 2), -0.1)):
        for seed in seeds:
            people = range(6 * seed, 6 * seed + 6)
            run = with_people(evaluated, name, seed, people, 0.5 + shift + rng.normal(0, 0.01, 6))
    comparison = compared(run.parent.parent / "a", run.parent)
    assert comparison.pairing.design == "replicated"
    assert comparison.pairing.group_seeds == [1]
    assert comparison.verdicts[0][1].startswith("this training is better on lpips")


def test_a_seed_of_few_people_has_no_interval(evaluated):
    for seed in range(2):
        for name, value in (("a", 0.5), ("b", 0.4)):
            run = with_people(evaluated, name, seed, [2 * seed, 2 * seed + 1], [value, value + 0.01 * seed])
    comparison = compared(run.parent.parent / "a", run.parent)
    assert comparison.verdicts[0][1].startswith("no interval on lpips (-0.100): 4 people are fewer than 5")
    assert math.isnan(comparison.results[0].p_adjusted)


# ---------------------------------------------------------------------- images and numbers


def test_an_image_whose_target_depends_on_the_seed_is_one_image(evaluated):
    for seed in (0, 1):
        for name, by in (("a", 0), ("b", 0.1)):
            targets = [f"t-{number}-{seed + 10 * (name == 'b')}" for number in range(16)]
            columns = {**faces(by, seed), "target_key": targets}
            run = evaluated(f"runs/{name}/{seed}", columns, name=name, seed=seed)
    comparison = compared(run.parent.parent / "a", run.parent)
    assert len(comparison.pairing.about) == 16
    assert comparison.pairing.seeds.tolist() == [2] * 16
    assert comparison.pairing.only == {"control": 0, "group": 0}


def test_all_runs_are_compared_on_the_images_that_all_have(evaluated):
    """An image that one run lacks, and one without a number in another run, count for none."""
    whole = [faces(0.0, seed) for seed in range(4)]
    whole[1] = {name: values[1:] for name, values in whole[1].items()}
    whole[3]["lpips"] = np.where(np.arange(16) == 5, np.nan, whole[3]["lpips"])
    for place, columns in enumerate(whole):
        run = evaluated(f"runs/{'ab'[place // 2]}/{place}", columns, name="ab"[place // 2], seed=place)
    comparison = compared(run.parent.parent / "a", run.parent)
    (result,) = comparison.results
    kept = [place for place in range(16) if place not in (0, 5)]
    means = [np.mean([faces(0.0, seed)["lpips"][kept].mean() for seed in seeds]) for seeds in ((0, 1), (2, 3))]
    assert (result.images, result.missing) == (14, 1)
    assert result.difference.mean == pytest.approx(means[1] - means[0])
    assert (result.control, result.group) == pytest.approx(tuple(means))
    assert "Images that some runs lack are not compared: 1." in comparison.caveats
    assert comparison.pairing.only == {"control": 0, "group": 0}


def test_a_run_without_any_number_leaves_none(trained):
    a, b = trained("a", [0.0, 0.0]), trained("b", [0.1, 0.1])
    path = b / "1" / "evaluation" / "val" / "images.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line.rpartition(",")[0] + "," for line in lines[1:])]))
    comparison = compared(a, b)
    (result,) = comparison.results
    assert (result.outcome, result.images, result.missing) == ("none", 0, 16)
    assert all(map(math.isnan, (result.p, result.p_adjusted, result.difference.mean, result.detectable)))
    assert comparison.verdicts[0][1].startswith("no number to compare on lpips")


def test_runs_of_unlike_people_have_nothing_in_common(evaluated):
    a = with_people(evaluated, "a", 0, range(6), np.zeros(6))
    b = with_people(evaluated, "b", 0, range(6, 12), np.zeros(6))
    with pytest.raises(DataError, match="no image in common"):
        compare([a, b])
