"""Differences worked by hand, tests against scipy and statsmodels, outcomes and verdicts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

import enface
from enface.errors import DataError
from enface_tools.compare.comparison import compare
from enface_tools.compare.outcomes import MeanInterval, QuantityResult, resamples
from enface_tools.compare.verdicts import sentence
from enface_tools.evaluate.statistics import interval, intervals

HIGHER = {"higher_is_better": True}


def faces(people=8, each=4, **columns):
    """Keys and labels of some images of each person, and columns made of their number."""
    numbers = np.arange(people * each)
    whose = [f"p{number // each:02}" for number in numbers]
    labels = {"key": [f"k{number}" for number in numbers], "target_key": [f"t-{name}" for name in whose]}
    return {**labels, "identity": whose, "pose": np.resize([-30, 0, 15, 100], len(numbers)), **columns}


@pytest.fixture
def pair(evaluated):
    """Two runs of unlike recipes with these columns, compared."""

    def make(control, group, *, directions=None, by=(), regions=False, metrics=None, **shapes):
        first = evaluated("a/1", faces(**shapes, **control), name="a", directions=directions)
        second = evaluated("b/1", faces(**shapes, **group), name="b", directions=directions)
        (comparison,) = compare([first, second], by=by, regions=regions, metrics=metrics).comparisons
        return comparison

    return make


def only(comparison):
    (result,) = comparison.results
    return result


# ---------------------------------------------------------------------- numbers


def test_numbers_by_hand(pair):
    control = [0.5, 0.5, 0.3, 0.3, 0.4, 0.4]
    group = [0.4, 0.5, 0.1, 0.2, 0.4, 0.5]
    result = only(pair({"lpips": control}, {"lpips": group}, people=3, each=2))
    assert (result.images, result.missing, result.identities) == (6, 0, 3)
    assert result.control == pytest.approx(0.4)
    assert result.group == pytest.approx(2.1 / 6)
    # Differences -0.1, 0, -0.2, -0.1, 0, +0.1: of people -0.05, -0.15, +0.05.
    assert result.difference.mean == pytest.approx(-0.05)
    assert (result.difference.low, result.difference.high) == pytest.approx((-0.15, 0.05))
    assert result.gain == MeanInterval(-result.difference.mean, -result.difference.high, -result.difference.low)
    assert result.d_z == pytest.approx(0.05 / 0.1)


def test_numbers_agree_with_scipy_and_statsmodels(pair):
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 0.4, 80)
    names = ("lpips", "ssim", "psnr")
    control = {name: base + rng.normal(0, 0.02, 80) for name in names}
    group = {name: base - 0.01 + rng.normal(0, 0.02, 80) for name in names}
    comparison = pair(control, group, directions={"lpips": {}, "ssim": HIGHER, "psnr": HIGHER}, people=20)
    people = np.array(faces(people=20)["identity"])
    p = []
    for result in comparison.results:
        difference = group[result.quantity.name] - control[result.quantity.name]
        means = pd.Series(difference).groupby(people).mean()
        assert result.difference.mean == pytest.approx(difference.mean())
        assert result.p == pytest.approx(stats.wilcoxon(means).pvalue)
        wanted = interval(difference, people, 10_000, 0)
        assert (result.difference.low, result.difference.high) == pytest.approx(wanted)
        p.append(result.p)
    assert [result.quantity.name for result in comparison.results] == list(names)
    assert [result.p_adjusted for result in comparison.results] == pytest.approx(multipletests(p, method="holm")[1])


def test_the_direction_affects_the_outcome_not_the_difference(pair):
    rng = np.random.default_rng(1)
    more = {name: 0.5 + rng.uniform(0.01, 0.02, 32) for name in ("lpips", "ssim")}
    comparison = pair(
        {"lpips": np.full(32, 0.5), "ssim": np.full(32, 0.5)}, more, directions={"lpips": {}, "ssim": HIGHER}
    )
    lpips, ssim = comparison.results
    assert (lpips.outcome, ssim.outcome) == ("worse", "better")
    assert lpips.difference.mean > 0 > lpips.gain.mean
    assert ssim.gain == ssim.difference
    assert (lpips.rank_biserial, ssim.rank_biserial) == (-1, 1)
    assert lpips.d_z < 0 < ssim.d_z


def test_distances_to_an_ideal_are_compared(pair):
    rng = np.random.default_rng(2)
    noise = rng.uniform(0, 0.01, 32)
    # From 0.5 too high to 0.3 too low: a large fall of the value, a gain of 0.2.
    comparison = pair(
        {"sharpness": 1.5 + noise}, {"sharpness": 0.7 + 2 * noise}, directions={"sharpness": {"ideal": 1.0, **HIGHER}}
    )
    result = only(comparison)
    assert (result.control, result.group) == pytest.approx((1.5 + noise.mean(), 0.7 + 2 * noise.mean()))
    wanted = np.abs(0.7 + 2 * noise - 1).mean() - np.abs(1.5 + noise - 1).mean()
    assert result.difference.mean == pytest.approx(wanted)
    assert result.outcome == "better"
    ((_, text),) = comparison.verdicts
    assert text.startswith("better on sharpness, nearer to 1 by 0.2")


def test_distances_are_taken_image_by_image_not_of_the_mean(pair):
    # Its mean is the ideal, its images are not.
    spread = np.tile([0.5, 1.5], 16)
    result = only(
        pair({"sharpness": np.full(32, 1.1)}, {"sharpness": spread}, directions={"sharpness": {"ideal": 1.0}})
    )
    assert result.difference.mean == pytest.approx(0.5 - 0.1)
    assert result.outcome == "worse"


# ---------------------------------------------------------------------- verdicts


def test_people_are_resampled_not_images(pair):
    """Each person's difference is drawn once: 400 images tell no more than 8 people."""
    rng = np.random.default_rng(5)
    people = rng.normal(0.0, 0.02, 8)
    group = 0.5 + np.repeat(people, 50) + rng.normal(0, 0.001, 400)
    comparison = pair({"lpips": np.full(400, 0.5)}, {"lpips": group}, each=50)
    result = only(comparison)
    by_image = interval(group - 0.5, np.arange(400), 10_000, 0)
    assert by_image[0] > 0 or by_image[1] < 0, "the image bootstrap finds a difference that is not there"
    assert result.difference.low < 0 < result.difference.high
    assert result.difference.high - result.difference.low > 4 * (by_image[1] - by_image[0])
    assert result.outcome == "unclear"


def test_false_positives_are_rare(pair):
    """Sixty experiments without any effect, each with people's own noise."""
    rng = np.random.default_rng(0)
    names = [f"m{number}" for number in range(60)]
    noise = rng.normal(0, 0.02, (15, 60)).repeat(10, axis=0) + rng.normal(0, 0.005, (150, 60))
    control, group = ({name: values[:, place] for place, name in enumerate(names)} for values in (0 * noise, noise))
    comparison = pair(control, group, directions={name: {} for name in names}, people=15, each=10)
    alone = [replace(result, p_adjusted=result.p).outcome for result in comparison.results]
    assert len(alone) - alone.count("unclear") <= 7
    by_image = intervals(noise, np.arange(150), 1000, 0)
    assert ((by_image[:, 0] > 0) | (by_image[:, 1] < 0)).sum() >= 25
    # And together, adjusted for being sixty, hardly ever.
    assert [result.outcome for result in comparison.results].count("unclear") >= 59


@pytest.mark.parametrize(("metrics", "tests", "outcome"), [(["lpips"], 1, "worse"), (None, 7, "unclear")])
def test_many_metrics_need_more_evidence(pair, metrics, tests, outcome):
    rng = np.random.default_rng(3)
    # Seven of eight people lose, and the one that gains gains least: p = 0.016.
    of_people = np.array([0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, -0.01]).repeat(4)
    control, group = {"lpips": np.full(32, 0.5)}, {"lpips": 0.5 + of_people}
    directions = {"lpips": {}, **{f"m{number}": {} for number in range(6)}}
    for name in list(directions)[1:]:
        control[name], group[name] = rng.normal(size=(2, 32))
    first = pair(control, group, directions=directions, metrics=metrics).results[0]
    assert first.p == pytest.approx(2 * 2 / 2**8)
    assert first.p_adjusted == pytest.approx(tests * first.p)
    assert first.difference.excludes_zero
    assert first.outcome == outcome
    assert sentence(first).endswith(", but adjusted p 0.11)") == (outcome == "unclear")


def test_five_people_are_too_few(pair):
    group = 0.4 + np.random.default_rng(4).uniform(0, 0.01, 20)
    comparison = pair({"lpips": np.full(20, 0.5)}, {"lpips": group}, people=5)
    result = only(comparison)
    assert result.difference.high < 0
    assert result.p == pytest.approx(1 / 16)
    assert result.outcome == "unclear"
    assert [text for text in comparison.caveats if "With 5 identities" in text and "at least 6" in text]


def test_six_people_are_too_few_for_several_metrics(pair):
    rng = np.random.default_rng(4)
    group = {name: 0.4 + rng.uniform(0, 0.01, 24) for name in ("lpips", "dists")}
    control = {name: np.full(24, 0.5) for name in group}
    comparison = pair(control, group, directions={"lpips": {}, "dists": {}}, people=6)
    assert [result.outcome for result in comparison.results] == ["unclear", "unclear"]
    assert [text for text in comparison.caveats if "times 2 tests" in text and "--metrics" in text]
    assert not [text for text in comparison.caveats if "at least 6" in text]


def test_a_mean_and_ranks_that_disagree_are_unclear(pair):
    # A few people gain a lot, most lose a little.
    of_people = np.array([-0.01] * 40 + [0.3] * 9)
    noise = np.random.default_rng(0).uniform(0, 0.001, 49)
    comparison = pair(
        {"ssim": np.full(49, 0.5)}, {"ssim": 0.5 + of_people + noise}, directions={"ssim": HIGHER}, people=49, each=1
    )
    result = only(comparison)
    assert result.difference.low > 0
    assert result.p_adjusted < 0.05
    assert result.rank_biserial < 0
    assert result.outcome == "unclear"
    assert comparison.verdicts[0][1].endswith(", but most people's differences have the other sign)")


def test_equal_images_have_no_difference(pair):
    values = np.random.default_rng(0).uniform(size=32)
    comparison = pair({"lpips": values}, {"lpips": values})
    result = only(comparison)
    assert (result.difference.mean, result.p, result.rank_biserial) == (0, 1, 0)
    assert comparison.verdicts[0][1] == "no clear difference on lpips (0.000 [0.000, 0.000])"


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((-0.021, -0.025, -0.017), "better on lpips by 0.021 [0.017, 0.025]"),
        ((0.021, 0.0171, 0.0254), "worse on lpips by 0.021 [0.017, 0.025]"),
        ((-1.234, -1.27, -1.198), "better on lpips by 1.23 [1.20, 1.27]"),
        # An end that is not 0 is not shown as 0.
        ((-0.0042, -0.0082, -0.0002), "better on lpips by 0.0042 [0.0002, 0.0082]"),
        ((-0.00001, -0.0024, 0.0023), "no clear difference on lpips (-0.0000 [-0.0024, +0.0023])"),
        ((8.012, 6.96, 9.06), "worse on lpips by 8.0 [7.0, 9.1]"),
        ((-0.5, -math.inf, math.nan), "no clear difference on lpips (-0.5 [-inf, -])"),
        ((-0.001, -0.004, 0.002), "no clear difference on lpips (-0.001 [-0.004, +0.002])"),
    ],
)
def test_sentences(ends, text):
    from enface_tools.compare.quantities import Quantity
    from enface_tools.evaluate.direction import Direction

    quantity = Quantity("lpips", "lpips", "", Direction(False), {})
    interval_ = MeanInterval(*ends)
    result = QuantityResult(quantity, 9, 0, 9, 1.0, 1.0, interval_, {}, 0.01, 0.01, -math.copysign(0.9, ends[0]), -1.0)
    assert sentence(result) == text


# ---------------------------------------------------------------------- images and labels


def test_images_of_one_side_are_skipped_and_counted(evaluated):
    rng = np.random.default_rng(0)
    whole = pd.DataFrame(faces(lpips=rng.uniform(size=32)))
    first = evaluated("a/1", whole.iloc[:30], name="a")
    second = evaluated(
        "b/1", whole.iloc[5:].sample(frac=1, random_state=0).assign(lpips=lambda t: t["lpips"] + 1), name="b"
    )
    (comparison,) = compare([first, second]).comparisons
    assert only(comparison).images == 25
    assert only(comparison).difference.mean == pytest.approx(1)
    assert comparison.pairing.only == {"control": 5, "group": 2}
    assert {side: sorted(keys) for side, keys in comparison.pairing.examples.items()} == {
        "control": ["k0", "k1", "k2", "k3", "k4"],
        "group": ["k30", "k31"],
    }
    assert [text for text in comparison.caveats if "Only a has 5 of the images ('k0', 'k1', 'k2', ...)" in text]


def test_an_image_with_another_target_is_another_image(evaluated):
    first = evaluated("a/1", faces(lpips=np.zeros(32)), name="a")
    columns = faces(lpips=np.ones(32))
    columns["target_key"] = ["other", *columns["target_key"][1:]]
    (comparison,) = compare([first, evaluated("b/1", columns, name="b")]).comparisons
    assert only(comparison).images == 31
    assert comparison.pairing.only == {"control": 1, "group": 1}


def test_no_image_in_common_names_some(evaluated):
    first = evaluated("a/1", faces(lpips=np.zeros(32)), name="a")
    columns = faces(lpips=np.zeros(32))
    columns["key"] = [f"other/{key}" for key in columns["key"]]
    with pytest.raises(DataError, match=r"no image in common.*'k0' with target 't-p00'.*'other/k0' with target"):
        compare([first, evaluated("b/1", columns, name="b")])


def test_an_image_twice_is_refused(evaluated):
    columns = faces(lpips=np.zeros(32))
    first = evaluated("a/1", columns, name="a")
    twice = {**columns, "key": ["k1", *columns["key"][1:]]}
    with pytest.raises(DataError, match=r"b/1/evaluation/images\.csv: image 'k1' with target 't-p00' is listed twice"):
        compare([first, evaluated("b/1", twice, name="b")])


def test_infinite_numbers_are_missing_on_both_sides(pair):
    control, group = np.full(32, 30.0), np.full(32, 31.0)
    control[0], group[1], group[2] = np.inf, np.nan, np.inf
    control[2] = np.inf
    comparison = pair({"psnr": control}, {"psnr": group}, directions={"psnr": HIGHER})
    result = only(comparison)
    assert (result.images, result.missing) == (29, 3)
    assert (result.control, result.group, result.difference.mean) == (30, 31, 1)
    assert "3 of 32 shared images have no finite psnr." in comparison.caveats


def test_without_numbers_there_is_no_outcome(pair):
    comparison = pair({"lpips": np.full(32, np.nan)}, {"lpips": np.full(32, 0.5)})
    assert only(comparison).outcome == "none"
    assert comparison.verdicts[0][1] == "no number to compare on lpips"


def test_regions_are_not_compared_by_default(pair):
    rng = np.random.default_rng(0)
    control = {"lpips": rng.uniform(size=32), "lpips@eyes": rng.uniform(size=32), "lpips@beard": np.full(32, np.nan)}
    group = {name: values - 0.1 - rng.uniform(0, 0.01, 32) for name, values in control.items()}
    assert [result.quantity.name for result in pair(control, group).results] == ["lpips"]


def test_regions_count_as_tests(pair):
    rng = np.random.default_rng(0)
    control = {"lpips": rng.uniform(size=32), "lpips@eyes": rng.uniform(size=32), "lpips@beard": np.full(32, np.nan)}
    group = {name: values - 0.1 - rng.uniform(0, 0.01, 32) for name, values in control.items()}
    comparison = pair(control, group, regions=True)
    assert [(result.quantity.name, result.quantity.region, result.outcome) for result in comparison.results] == [
        ("lpips", "", "better"),
        ("lpips@eyes", "eyes", "better"),
        ("lpips@beard", "beard", "none"),
    ]
    # Everyone gains, so p is the least there is, times two tests; what has no number is no test.
    assert comparison.results[0].p_adjusted == pytest.approx(2 * 2 / 2**8)


def test_subsets_by_a_label(pair):
    rng = np.random.default_rng(0)
    control = rng.uniform(size=32)
    group = control + np.tile([-0.1, 0.1, 0.0, -0.2], 8) + rng.normal(0, 0.001, 32)
    comparison = pair({"lpips": control}, {"lpips": group}, by=["pose"])
    assert [subset.value for subset in comparison.subsets] == ["-30", "0", "15", "100"]
    assert [(subset.images, subset.identities) for subset in comparison.subsets] == [(8, 8)] * 4
    assert [subset.results[0].outcome for subset in comparison.subsets] == ["better", "worse", "unclear", "better"]
    here = np.arange(0, 32, 4)
    assert comparison.subsets[0].results[0].difference.mean == pytest.approx((group - control)[here].mean())
    p = [subset.results[0].p for subset in comparison.subsets]
    assert [subset.results[0].p_adjusted for subset in comparison.subsets] == pytest.approx(
        multipletests(p, method="holm")[1]
    )


def test_a_value_of_one_person_has_no_interval(evaluated):
    columns = faces(glasses=["yes"] * 4 + ["no"] * 28)
    first = evaluated("a/1", {**columns, "lpips": np.zeros(32)}, name="a")
    second = evaluated("b/1", {**columns, "lpips": np.arange(32) / 100}, name="b")
    (comparison,) = compare([first, second], by=["glasses"]).comparisons
    assert [subset.value for subset in comparison.subsets] == ["no", "yes"]
    alone = comparison.subsets[1].results[0]
    assert (alone.identities, alone.outcome) == (1, "unclear")
    assert math.isnan(alone.difference.low)


def test_a_label_with_gaps_stays_a_whole_number(evaluated):
    columns = faces()
    columns["pose"] = [math.nan, *columns["pose"][1:]]
    first = evaluated("a/1", {**columns, "lpips": np.zeros(32)}, name="a")
    second = evaluated("b/1", {**columns, "lpips": np.ones(32)}, name="b")
    (comparison,) = compare([first, second], by=["pose"]).comparisons
    assert {subset.value for subset in comparison.subsets} == {"", "-30", "0", "15", "100"}


@pytest.mark.parametrize("column", ["smile", "identity", "key", "lpips"])
def test_an_unknown_label_is_refused(pair, column):
    with pytest.raises(DataError, match=f"images have no label '{column}'; they have: pose"):
        pair({"lpips": np.zeros(32)}, {"lpips": np.ones(32)}, by=[column])


def test_a_label_with_too_many_values_is_refused(evaluated):
    columns = faces(people=12, age=np.arange(48))
    first = evaluated("a/1", {**columns, "lpips": np.zeros(48)}, name="a")
    second = evaluated("b/1", {**columns, "lpips": np.ones(48)}, name="b")
    with pytest.raises(DataError, match="'age' has 48 values"):
        compare([first, second], by=["age"])


def test_very_many_people_are_resampled_less_often():
    assert [resamples(count) for count in (1, 10_000, 20_000, 10**6)] == [10_000, 10_000, 5_000, 1_000]


# ---------------------------------------------------------------------- the Python API


def test_the_table_has_a_row_for_each_group_and_quantity(evaluated):
    rng = np.random.default_rng(0)
    base = {name: rng.uniform(size=32) for name in ("lpips", "ssim")}
    shifted = {name: values - 0.1 - rng.uniform(0, 0.01, 32) for name, values in base.items()}
    runs = [
        str(evaluated(f"{name}/1", faces(**columns), name=name, directions={"lpips": {}, "ssim": HIGHER}))
        for name, columns in (("a", base), ("<b>", shifted), ("c", base))
    ]
    comparison = enface.compare(runs, by=["pose"])
    table = comparison.table()
    assert list(zip(table["group"], table["test"], table["outcome"], strict=True)) == [
        *(("<b>", "lpips", "better"), ("<b>", "ssim", "worse")),
        *(("c", "lpips", "unclear"), ("c", "ssim", "unclear")),
    ]
    first = comparison.comparisons[0].results[0]
    shown = table.loc[0, ["control_mean", "group_mean", "difference", "low", "high", "p", "p_adjusted"]]
    difference = first.difference
    assert shown.tolist() == [
        *(first.control, first.group, difference.mean, difference.low, difference.high, first.p, first.p_adjusted)
    ]
    assert len(comparison.subset_table()) == 2 * 4 * 2
    html = comparison._repr_html_()
    assert html.count("<tr") == 1 + len(table)
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


def test_only_set_metrics_make_an_empty_table(evaluated):
    entry = {"fid": {"value": 3.0, "higher_is_better": False, "ideal": None, "card": {}}}
    runs = [evaluated(f"{name}/1", faces(), name=name, summary={"sets": entry}) for name in ("a", "b")]
    comparison = compare(runs, by=["pose"])
    assert comparison.table().empty
    assert comparison.subset_table().empty
    assert "<table" in comparison._repr_html_()


def test_an_empty_list_of_paths_is_refused():
    with pytest.raises(DataError, match="nothing to compare"):
        compare([])
