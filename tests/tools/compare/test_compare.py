"""Differences worked by hand, tests against scipy and statsmodels, outcomes and verdicts."""

from __future__ import annotations

import itertools
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
from enface_tools.compare.outcomes import MeanInterval, QuantityResult, detectable
from enface_tools.compare.quantities import Quantity
from enface_tools.compare.verdicts import SEVERAL, sentence
from enface_tools.evaluate.direction import Direction
from enface_tools.evaluate.statistics import MeanEstimate, interval

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
    places = itertools.count()

    def make(control, group, *, directions=None, by=(), regions=False, metrics=None, margins=None, **shapes):
        place = next(places)
        first = evaluated(f"a/{place}", faces(**shapes, **control), name="a", directions=directions)
        second = evaluated(f"b/{place}", faces(**shapes, **group), name="b", directions=directions)
        (comparison,) = compare([first, second], by=by, regions=regions, metrics=metrics, margins=margins).comparisons
        return comparison

    return make


def only(comparison):
    (result,) = comparison.results
    return result


# ---------------------------------------------------------------------- numbers


def test_numbers_by_hand(pair):
    control = [0.5, 0.5, 0.3, 0.3, 0.4, 0.4, 0.6, 0.6, 0.2, 0.2]
    group = [0.4, 0.5, 0.1, 0.2, 0.4, 0.5, 0.5, 0.6, 0.2, 0.1]
    result = only(pair({"lpips": control}, {"lpips": group}, people=5, each=2))
    assert (result.images, result.missing, result.identities) == (10, 0, 5)
    assert result.control == pytest.approx(0.4)
    assert result.group == pytest.approx(0.35)
    # Of people: -0.05, -0.15, +0.05, -0.05, -0.05 with standard deviation sqrt(0.02 / 4), and no skewness.
    assert result.difference.mean == pytest.approx(-0.05)
    reach = stats.t.ppf(0.975, 4) * math.sqrt(0.005 / 5)
    assert (result.difference.low, result.difference.high) == pytest.approx((-0.05 - reach, -0.05 + reach))
    assert result.p == pytest.approx(2 * stats.t.sf(0.05 / math.sqrt(0.001), 4))
    assert result.gain == MeanInterval(-result.difference.mean, -result.difference.high, -result.difference.low)
    assert result.d_z == pytest.approx(0.05 / math.sqrt(0.005))
    assert result.detectable == pytest.approx((stats.t.ppf(0.975, 4) + stats.t.ppf(0.8, 4)) * math.sqrt(0.001))
    assert all(map(math.isnan, result.seed_sd))


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
        # Hall's correction of Student's statistic for the skewness of 20 people.
        t, skewness = stats.ttest_1samp(means, 0).statistic, stats.skew(means) / math.sqrt(20)
        corrected = t + skewness / 3 * t**2 + skewness**2 * t**3 / 27 + skewness / 6
        assert result.p == pytest.approx(2 * stats.t.sf(abs(corrected), 19))
        p.append(result.p)
    assert [result.quantity.name for result in comparison.results] == list(names)
    assert [result.p_adjusted for result in comparison.results] == pytest.approx(multipletests(p, method="holm")[1])


def test_people_with_more_images_count_more(evaluated):
    """Six people with 1 or 5 images; sizes are part of the mean's error (linearised ratio, Cochran 1977)."""
    sizes = np.array([1, 5, 1, 5, 1, 5])
    identity = np.repeat([f"p{place}" for place in range(6)], sizes)
    whole = {"key": [f"k{place}" for place in range(18)], "identity": identity, "target_key": identity}
    difference = np.repeat([0.1, 0.4, 0.3, 0.2, 0.2, 0.6], sizes)
    first = evaluated("a/1", {**whole, "lpips": np.zeros(18)}, name="a")
    (comparison,) = compare([first, evaluated("b/1", {**whole, "lpips": difference}, name="b")]).comparisons
    result = only(comparison)
    mean = (0.1 + 2.0 + 0.3 + 1.0 + 0.2 + 3.0) / 18
    deviations = (np.array([0.1, 2.0, 0.3, 1.0, 0.2, 3.0]) - mean * sizes) / 3
    error = deviations.std(ddof=1) / math.sqrt(6)
    # No more skewness is removed than 0.7 of the quantile.
    t, skewness = mean / error, min(stats.skew(deviations) / math.sqrt(6), 0.7 / stats.t.ppf(0.975, 5), key=abs)
    corrected = t + skewness / 3 * t**2 + skewness**2 * t**3 / 27 + skewness / 6
    assert result.difference.mean == pytest.approx(mean)
    assert result.p == pytest.approx(2 * stats.t.sf(corrected, 5))


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
    assert text.startswith("this training is better on sharpness, nearer to 1 by 0.2")


def test_distances_are_taken_image_by_image_not_of_the_mean(pair):
    # Its mean is the ideal, its images are not.
    spread = np.tile([0.5, 1.5], 16)
    result = only(
        pair({"sharpness": np.full(32, 1.1)}, {"sharpness": spread}, directions={"sharpness": {"ideal": 1.0}})
    )
    assert result.difference.mean == pytest.approx(0.5 - 0.1)
    assert result.outcome == "worse"


# ---------------------------------------------------------------------- verdicts


def test_people_are_the_units_not_images(pair):
    """Each person's difference is drawn once: 400 images tell no more than 8 people."""
    rng = np.random.default_rng(5)
    people = rng.normal(0.0, 0.02, 8)
    group = 0.5 + np.repeat(people, 50) + rng.normal(0, 0.001, 400)
    comparison = pair({"lpips": np.full(400, 0.5)}, {"lpips": group}, each=50)
    result = only(comparison)
    by_image = interval(group - 0.5, np.arange(400))
    assert by_image[0] > 0 or by_image[1] < 0, "images as units find a difference that is not there"
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
    by_image = [interval(column, np.arange(150)) for column in noise.T]
    assert sum(low > 0 or high < 0 for low, high in by_image) >= 25
    # And together, adjusted for being sixty, hardly ever.
    assert [result.outcome for result in comparison.results].count("unclear") >= 59


@pytest.mark.parametrize(("metrics", "tests", "outcome"), [(["lpips"], 1, "worse"), (None, 7, "unclear")])
def test_many_metrics_need_more_evidence(pair, metrics, tests, outcome):
    rng = np.random.default_rng(3)
    of_people = np.array([-0.01, 0.0, 0.01, 0.02, 0.04, 0.05, 0.06, 0.07]).repeat(4)
    control, group = {"lpips": np.full(32, 0.5)}, {"lpips": 0.5 + of_people}
    directions = {"lpips": {}, **{f"m{number}": {} for number in range(6)}}
    for name in list(directions)[1:]:
        control[name], group[name] = rng.normal(size=(2, 32))
    first = pair(control, group, directions=directions, metrics=metrics).results[0]
    assert first.p < 0.05
    assert first.p_adjusted == pytest.approx(tests * first.p)
    assert first.difference.excludes_zero
    assert first.outcome == outcome
    assert (f", but adjusted p {first.p_adjusted:.2g})" in sentence(first)) == (outcome == "unclear")


def test_four_people_have_no_interval(pair):
    group = 0.4 + np.random.default_rng(4).uniform(0, 0.01, 16)
    comparison = pair({"lpips": np.full(16, 0.5)}, {"lpips": group}, people=4, margins={"lpips": 0.5})
    result = only(comparison)
    assert result.outcome == "unclear"
    nothing = (result.difference.low, result.difference.high, result.p, result.p_adjusted, result.detectable)
    assert all(map(math.isnan, (*nothing, result.p_equivalent)))
    assert comparison.verdicts[0][1] == "no interval on lpips (-0.0938): 4 people are fewer than 5"
    assert "Fewer than 5 people have no interval and no test; evaluate on more people." in comparison.caveats


def test_five_people_have_an_interval(pair):
    group = 0.4 + np.random.default_rng(4).uniform(0, 0.01, 20)
    comparison = pair({"lpips": np.full(20, 0.5)}, {"lpips": group}, people=5)
    assert only(comparison).outcome == "better"
    assert not [text for text in comparison.caveats if "people have no interval" in text]


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
    assert ", but most people's differences have the other sign)" in comparison.verdicts[0][1]


# ---------------------------------------------------------------------- equivalence


def test_equivalence_is_two_one_sided_tests(pair):
    """Schuirmann 1987, with symmetric people: p is the larger of two Student's tests against the margin's ends."""
    of_people = np.array([-0.003, -0.001, 0.0, 0.0, 0.002, 0.004, 0.001, -0.003])
    of_people = np.concatenate([of_people, 0.001 - of_people])
    group = 0.5 + of_people.repeat(4)
    for margin, outcome in ((0.01, "equivalent"), (0.0005, "unclear")):
        result = only(pair({"lpips": np.full(64, 0.5)}, {"lpips": group}, people=16, margins={"lpips": margin}))
        above = stats.ttest_1samp(of_people, -margin, alternative="greater").pvalue
        below = stats.ttest_1samp(of_people, margin, alternative="less").pvalue
        assert result.margin == margin
        assert result.p_equivalent == pytest.approx(max(above, below))
        assert result.outcome == outcome
    assert only(pair({"lpips": np.full(64, 0.5)}, {"lpips": group}, people=16)).margin is None


def test_equivalence_needs_an_interval_of_90_percent_within_the_margin(pair):
    rng = np.random.default_rng(7)
    control = {"lpips": rng.normal(0.5, 0.1, 40)}
    group = {"lpips": control["lpips"] + rng.normal(0, 0.01, 40)}
    result = only(pair(control, group, people=10))
    reach = max(abs(result.difference.low), abs(result.difference.high))
    wide = only(pair(control, group, people=10, margins={"lpips": reach}))
    assert wide.outcome == "equivalent"
    assert wide.p_equivalent < 0.05
    narrow = only(pair(control, group, people=10, margins={"lpips": abs(result.difference.mean)}))
    assert narrow.p_equivalent > 0.4


def test_tests_of_equivalence_are_adjusted_as_a_family(pair):
    rng = np.random.default_rng(8)
    names = ("lpips", "ssim", "psnr")
    control = {name: rng.normal(0.5, 0.1, 40) for name in names}
    group = {name: values + rng.normal(0, 0.01, 40) for name, values in control.items()}
    directions = {name: {} for name in names}

    def p(margins, metrics=None):
        comparison = pair(control, group, people=10, directions=directions, margins=margins, metrics=metrics)
        return [result.p_equivalent for result in comparison.results]

    alone = [p({name: 0.01}, [name])[0] for name in names[:2]]
    lpips, ssim, psnr = p({"lpips": 0.01, "ssim": 0.01})
    assert [lpips, ssim] == pytest.approx(multipletests(alone, method="holm")[1])
    assert math.isnan(psnr), "a metric without a margin is no test"


def test_a_small_clear_difference_is_better_and_within_the_margin(pair):
    group = 0.5 - np.random.default_rng(0).uniform(0.001, 0.003, 32)
    comparison = pair({"lpips": np.full(32, 0.5)}, {"lpips": group}, margins={"lpips": 0.01})
    assert only(comparison).outcome == "better"
    assert comparison.verdicts[0][1].startswith("this training is better on lpips by 0.00")
    assert comparison.verdicts[0][1].endswith(", within the margin of 0.01")


@pytest.mark.parametrize(("name", "hint"), [("lpisp", "did you mean 'lpips'"), ("fid", "known: lpips")])
def test_a_margin_of_another_metric_is_refused(pair, name, hint):
    with pytest.raises(DataError, match=f"--margin: '{name}' is not compared; {hint}"):
        pair({"lpips": np.zeros(32)}, {"lpips": np.ones(32)}, margins={name: 0.1})


def test_the_detectable_difference_is_detected_with_the_power_it_claims():
    """Two-sided Student's test at 5 %: by simulation of means with a true difference of that size."""
    rng = np.random.default_rng(0)
    people = 20
    size = detectable(MeanEstimate(0.0, 1 / math.sqrt(people), people - 1.0))
    samples = size + rng.normal(size=(20_000, people))
    assert np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.015)
    assert math.isnan(detectable(MeanEstimate(0.1, math.nan, math.nan)))


# ---------------------------------------------------------------------- sentences


def test_equal_images_have_no_difference(pair):
    values = np.random.default_rng(0).uniform(size=32)
    comparison = pair({"lpips": values}, {"lpips": values})
    result = only(comparison)
    assert (result.difference.mean, result.p, result.rank_biserial) == (0, 1, 0)
    assert comparison.verdicts[0][1] == "no clear difference on lpips (0.000 [0.000, 0.000])"


def result_of(ends, **changes):
    """A result on lpips with these mean, low and high."""
    quantity = Quantity("lpips", "lpips", "", Direction(False), {})
    result = QuantityResult(
        quantity,
        images=9,
        missing=0,
        identities=9,
        control=1.0,
        group=1.0,
        difference=MeanInterval(*ends),
        control_by_run=[1.0],
        group_by_run=[1.0],
        p=0.01,
        p_adjusted=0.01,
        detectable=math.nan,
        margin=None,
        p_equivalent=math.nan,
        rank_biserial=-math.copysign(0.9, ends[0]),
        d_z=-1.0,
    )
    return replace(result, **changes)


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((-0.021, -0.025, -0.017), "better on lpips by 0.021 [0.017, 0.025]"),
        ((0.021, 0.0171, 0.0254), "worse on lpips by 0.021 [0.017, 0.025]"),
        ((-1.234, -1.27, -1.198), "better on lpips by 1.23 [1.20, 1.27]"),
        # An end that is not 0 is not shown as 0.
        ((-0.0042, -0.0082, -0.0002), "better on lpips by 0.0042 [0.0002, 0.0082]"),
        ((-0.00001, -0.0024, 0.0023), "no clear difference on lpips (0.0000 [-0.0024, +0.0023])"),
        ((8.012, 6.96, 9.06), "worse on lpips by 8.0 [7.0, 9.1]"),
        ((-0.5, -math.inf, math.nan), "no clear difference on lpips (-0.500 [-inf, -])"),
        ((-0.001, -0.004, 0.002), "no clear difference on lpips (-0.001 [-0.004, +0.002])"),
        ((-0.2, math.nan, math.nan), "no interval on lpips (-0.200): one run has numbers"),
    ],
)
def test_sentences(ends, text):
    assert sentence(result_of(ends)) == text


def test_sentences_name_their_subject_what_would_be_detected_and_the_margin():
    clear, unclear = (-0.021, -0.025, -0.017), (-0.001, -0.004, 0.002)
    better = "better on lpips by 0.021 [0.017, 0.025]"
    assert sentence(result_of(clear), "this training") == f"this training is {better}"
    assert sentence(result_of(clear), SEVERAL) == f"these trainings are {better}"
    text = "no clear difference on lpips (-0.001 [-0.004, +0.002]; would detect 0.005)"
    assert sentence(result_of(unclear, detectable=0.0049)) == text
    same = {"margin": 0.01, "p_equivalent": 0.001}
    text = "equivalent on lpips within 0.01 (-0.001 [-0.004, +0.002])"
    assert sentence(result_of(unclear, **same)) == text
    assert sentence(result_of(unclear, **same), "this training") == f"this training is {text}"


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
    with pytest.raises(DataError, match=r"b/1/.*/images\.csv: image 'k1' with target 't-p00' is listed twice"):
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
    lpips, eyes, beard = comparison.results
    # A region without a number is no test.
    assert [lpips.p_adjusted, eyes.p_adjusted] == pytest.approx(multipletests([lpips.p, eyes.p], method="holm")[1])
    assert math.isnan(beard.p)
    assert math.isnan(beard.p_adjusted)


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
