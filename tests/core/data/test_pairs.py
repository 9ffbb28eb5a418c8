"""Splits, pairs and batches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from enface.data.batches import Batches
from enface.data.pairs import BatchPlan, Pairs, split_rows
from enface.errors import DataError
from enface.recipe.models import PairsModel, SplitModel
from enface_tools.packs.building import make_pack

YAWS = (-60, -45, -30, -15, 0, 15, 30, 45, 60)
RULES = {
    "target": {"same": ["identity"], "where": {"yaw": 0, "light": 0}},
    "partner": {"adjacent": "yaw", "same": ["identity", "light"], "chance": 0.5},
}


@pytest.fixture(scope="module")
def table():
    rows = [
        {"key": f"{who}-{yaw}-{light}", "identity": f"p{who}", "yaw": yaw, "light": light}
        for who in range(12)
        for yaw in YAWS
        for light in range(3)
    ]
    # In an order that no rule can depend on.
    return pd.DataFrame(rows).sample(frac=1, random_state=0).reset_index(drop=True)


@pytest.fixture(scope="module")
def pairs(table):
    return Pairs(table, split_rows(table, SplitModel(train=8))["train"], PairsModel.model_validate(RULES))


def people(table, **split):
    rows = split_rows(table, SplitModel(**split))
    return {
        name: sorted(set(table["identity"].iloc[chosen]), key=lambda who: int(who[1:])) for name, chosen in rows.items()
    }


# ------------------------------------------------------------------ splits


def test_counts_take_values_in_natural_order(table):
    assert people(table, train=3, val=2) == {
        "train": ["p0", "p1", "p2"],
        "val": ["p3", "p4"],
        "test": [f"p{n}" for n in range(5, 12)],
    }


def test_fractions_are_of_all_values(table):
    split = people(table, train=0.5, val=0.25)
    assert [len(split[name]) for name in ("train", "val", "test")] == [6, 3, 3]
    assert [len(people(table, train=0.5, test=0.25)[name]) for name in ("train", "val", "test")] == [6, 0, 3]


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_fraction_that_rounds_to_nothing_is_refused(table, part):
    with pytest.raises(DataError, match=rf"data\.split\.{part}: 0\.04 of 12 is less than one; give more"):
        people(table, **{part: 0.04})


@pytest.mark.parametrize("nothing", [0, 0.0, []])
def test_a_part_may_be_empty_if_the_recipe_says_so(table, nothing):
    assert len(people(table, val=nothing)["val"]) == 0


def test_a_fraction_of_one_is_all_and_one_is_one(table):
    assert len(people(table, train=1)["train"]) == 1
    assert len(people(table, train=1, test=1)["test"]) == 1
    assert len(people(table, train=1)["test"]) == 11
    with pytest.raises(DataError, match=r"data\.split\.test: is empty"):
        people(table, train=1.0)


def test_lists_and_ranges(table):
    split = people(table, train=["p9-p11", "p0"], val=["p8"])
    assert split["train"] == ["p0", "p9", "p10", "p11"]
    assert split["val"] == ["p8"]
    assert split["test"] == [f"p{n}" for n in range(1, 8)]
    assert people(table, train=2, test=["p5"])["test"] == ["p5"]


def test_a_shuffled_split_takes_other_people_with_each_seed(table):
    everyone = {f"p{n}" for n in range(12)}
    tested = []
    for seed in range(4):
        rows = split_rows(table, SplitModel(train=6, val=2, shuffle=True), seed)
        parts = {name: set(table["identity"].iloc[chosen]) for name, chosen in rows.items()}
        assert [len(parts[name]) for name in ("train", "val", "test")] == [6, 2, 4]
        assert set.union(*parts.values()) == everyone
        tested.append(frozenset(parts["test"]))
        again = split_rows(table, SplitModel(train=6, val=2, shuffle=True), seed)
        assert all((again[name] == rows[name]).all() for name in rows)
    assert len(set(tested)) == 4
    # Lists name people, so their order and ranges stay natural.
    assert people(table, train=["p9-p11", "p0"], shuffle=True)["train"] == ["p0", "p9", "p10", "p11"]
    # Without it the seed has no influence.
    assert (split_rows(table, SplitModel(train=6), 3)["test"] == split_rows(table, SplitModel(train=6))["test"]).all()


def test_rows_of_a_split_are_all_rows_of_its_people_and_disjoint(table):
    rows = split_rows(table, SplitModel(train=3, val=2))
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(table)))
    assert len(rows["train"]) == 3 * len(YAWS) * 3


def test_numbers_are_ordered_as_numbers():
    table = pd.DataFrame({"key": list("abcd"), "identity": list("wxyz"), "session": [10, 2, 1, 30]})
    rows = split_rows(table, SplitModel(by="session", train=2))
    assert table["session"].iloc[rows["train"]].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ({"train": 13}, r"data\.split\.train: requests 13, but only 12 of 12"),
        ({"train": 10, "val": 3}, r"data\.split\.val: requests 3, but only 2 of 12"),
        ({"train": 10, "test": 3}, r"data\.split\.test: requests 3, but only 2 of 12"),
        ({"train": 12}, r"data\.split\.test: is empty"),
        ({"train": 0}, r"data\.split\.train: is empty"),
        ({"where": {"yav": 0}}, r"data\.split\.where: no column 'yav'; did you mean 'yaw'\?"),
        ({"where": {"yaw": 7, "light": 0}}, r"data\.split\.where: no image has yaw=7, light=0"),
        ({"where": {"identity": ["p0"]}}, r"data\.split\.test: is empty \(1 values"),
        ({"train": ["p3"], "where": {"identity": ["p1", "p2"]}}, r"data\.split\.train: no value 'p3'"),
        ({"by": "idenity"}, r"data\.split\.by: no column 'idenity'; did you mean 'identity'\?"),
        ({"train": ["p0"], "test": ["p0", "p1"]}, r"1 identities are in both train and test: p0"),
        ({"train": ["p0", "p1"], "val": ["p1"]}, r"in both train and val: p1"),
        ({"train": ["p0"], "val": ["p1-p2"], "test": ["p2-p3"]}, r"in both val and test: p2"),
        ({"by": "light", "train": [0], "test": [1]}, r"12 identities are in both train and test: p0, p1, p2"),
        ({"train": ["p99"]}, r"data\.split\.train: no value 'p99'"),
        ({"train": ["p3-p1"]}, r"data\.split\.train: .*p3-p1"),
    ],
)
def test_invalid_splits(table, split, says):
    with pytest.raises(DataError, match=says):
        split_rows(table, SplitModel(**split))


def test_rows_excluded_by_where_are_in_no_part(table):
    split = SplitModel.model_validate({"train": 0.5, "where": {"yaw": [-15, 0, 15], "light": 1}})
    rows = split_rows(table, split)
    kept = table.iloc[np.concatenate(list(rows.values()))]
    assert len(kept) == len(set(kept["key"])) == 12 * 3
    assert set(kept["yaw"]) == {-15, 0, 15}
    assert set(kept["light"]) == {1}
    assert len(rows["train"]) == 6 * 3


def test_a_split_counts_the_values_that_satisfy_where(table):
    who = ["p2", "p5", "p7", "p9"]
    assert people(table, where={"identity": who}, train=2, val=1) == {
        "train": ["p2", "p5"],
        "val": ["p7"],
        "test": ["p9"],
    }
    assert len(people(table, where={"identity": who}, train=0.5)["train"]) == 2
    with pytest.raises(DataError, match=r"data\.split\.train: requests 5, but only 4 of 4 are left"):
        people(table, where={"identity": who}, train=5)


# ------------------------------------------------------------------ pairs


def drawn(pairs, repeats=40):
    rng = np.random.default_rng(1)
    draws = [pairs.draw(pairs.sources, rng) for _ in range(repeats)]
    return {role: np.concatenate([rows[role] for rows in draws]) for role in draws[0]}


def test_a_target_obeys_same_and_where(table, pairs):
    rows = drawn(pairs, 2)
    target, source = table.iloc[rows["target"]], table.iloc[rows["source"]]
    assert (target["identity"].to_numpy() == source["identity"].to_numpy()).all()
    assert set(target["yaw"]) == {0}
    assert set(target["light"]) == {0}


# Quantiles of chi-square at 0.999, by degrees of freedom.
CHI_SQUARE = {2: 13.82, 215: 284.0}


def chi_square(values):
    """Return the chi-square statistic of counts against equal ones, and the degrees of freedom."""
    counts = np.unique(values, return_counts=True)[1]
    return float(((counts - counts.mean()) ** 2 / counts.mean()).sum()), len(counts) - 1


def lights_of(table, rule):
    """Return the lights of sources and of the targets drawn for them."""
    rows = drawn(Pairs(table, np.arange(len(table)), PairsModel.model_validate({"target": rule})), 10)
    return (table["light"].to_numpy()[rows[role]] for role in ("source", "target"))


def test_a_target_has_any_of_its_persons_lights(table):
    source, target = lights_of(table, {"same": ["identity"], "where": {"yaw": 0}})
    for light in range(3):
        far, freedom = chi_square(target[source == light])
        assert freedom == 2
        assert far < CHI_SQUARE[2], "whatever the source's light is"


def test_a_target_has_the_sources_light_or_a_fixed_one(table):
    source, target = lights_of(table, {"same": ["identity", "light"], "where": {"yaw": 0}})
    assert (source == target).all()
    source, target = lights_of(table, {"same": ["identity"], "where": {"yaw": 0, "light": 2}})
    assert set(source) == {0, 1, 2}
    assert set(target) == {2}


def test_partners_without_a_rule_are_equally_likely(table):
    rules = PairsModel.model_validate({**RULES, "partner": {"chance": 0.0, "same": ["identity"]}})
    far, freedom = chi_square(drawn(Pairs(table, split_rows(table, SplitModel(train=8))["train"], rules))["partner"])
    assert freedom == 8 * len(YAWS) * 3 - 1
    assert far < CHI_SQUARE[215]


def test_about_half_the_partners_are_neighbours_of_same_identity_and_light(table, pairs):
    rows = drawn(pairs)
    source, partner = table.iloc[rows["source"]], table.iloc[rows["partner"]]
    ranks = {yaw: rank for rank, yaw in enumerate(YAWS)}
    apart = np.abs(source["yaw"].map(ranks).to_numpy() - partner["yaw"].map(ranks).to_numpy())
    same = (source["identity"].to_numpy() == partner["identity"].to_numpy()) & (
        source["light"].to_numpy() == partner["light"].to_numpy()
    )
    ruled = (apart == 1) & same
    # By chance any of 8 x 9 x 3 rows: 16/9 of them in the mean are neighbours.
    expected = 0.5 + 0.5 * (16 / 9) / 216
    assert abs(ruled.mean() - expected) < 4 * np.sqrt(0.25 / len(ruled))


def test_with_chance_one_every_partner_is_a_neighbour_on_either_side(table):
    rules = PairsModel.model_validate({**RULES, "partner": {**RULES["partner"], "chance": 1.0}})
    rows = drawn(Pairs(table, np.arange(len(table)), rules), 4)
    source, partner = table["yaw"].to_numpy()[rows["source"]], table["yaw"].to_numpy()[rows["partner"]]
    steps = partner - source
    assert set(steps) == {-15, 15}
    assert set(steps[source == -60]) == {15}, "the left end has one neighbour"
    assert set(steps[source == 60]) == {-15}, "so has the right end"
    middle = steps[source == 0]
    assert abs((middle > 0).mean() - 0.5) < 4 * np.sqrt(0.25 / len(middle))


def test_neighbours_are_one_step_among_the_values_that_occur():
    table = pd.DataFrame({"key": list("abcd"), "identity": ["x"] * 4, "yaw": [90, -5, 10, 11]})
    rules = PairsModel.model_validate({"partner": {"adjacent": "yaw", "same": ["identity"]}})
    rows = drawn(Pairs(table, np.arange(4), rules), 50)
    seen = {(int(table["yaw"][s]), int(table["yaw"][p])) for s, p in zip(rows["source"], rows["partner"], strict=True)}
    assert seen == {(-5, 10), (10, -5), (10, 11), (11, 10), (11, 90), (90, 11)}


def test_a_missing_neighbour_is_not_taken_from_another_identity():
    table = pd.DataFrame({"key": list("abcd"), "identity": list("xxyy"), "yaw": [0, 30, 15, 30]})
    rules = PairsModel.model_validate({"partner": {"adjacent": "yaw", "same": ["identity"]}})
    pairs = Pairs(table, np.arange(4), rules)
    assert pairs.partners.counts(np.arange(4)).tolist() == [0, 0, 1, 1]


def test_partners_without_a_rule_are_any_row_of_the_split(table):
    rules = PairsModel.model_validate({**RULES, "partner": {"chance": 0.0, "same": ["identity"]}})
    train = split_rows(table, SplitModel(train=8))["train"]
    rows = drawn(Pairs(table, train, rules))
    assert set(rows["partner"]) == set(train)


def test_every_image_of_a_pair_is_of_the_split(table, pairs):
    train = set(split_rows(table, SplitModel(train=8))["train"])
    rows = drawn(pairs, 5)
    assert all(set(rows[role]) <= train for role in ("source", "target", "partner"))


def test_sources_may_be_limited(table):
    rules = PairsModel.model_validate({**RULES, "source": {"where": {"yaw": [-15, 15], "light": 1}}})
    sources = table.iloc[Pairs(table, np.arange(len(table)), rules).sources]
    assert len(sources) == 12 * 2
    assert set(sources["yaw"]) == {-15, 15}
    assert set(sources["light"]) == {1}


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"target": {"same": ["idenity"]}}, r"pairs\.target: no column 'idenity'.*'identity'"),
        ({"target": {"where": {"yav": 0}}}, r"pairs\.target: no column 'yav'"),
        ({"target": {"same": ["identity"]}, "partner": {"adjacent": "pose"}}, r"pairs\.partner: no column 'pose'"),
        ({"source": {"where": {"pose": 0}}}, r"pairs\.source: no column 'pose'"),
        ({"source": {"where": {"yaw": 7}}}, r"pairs\.source\.where: no image has yaw=7; "),
        ({"target": {"same": ["identity"], "where": {"yaw": 7}}}, r"pairs\.target\.where: no image has yaw=7; "),
        (
            {"target": {"same": ["identity", "yaw"], "where": {"yaw": 0}}},
            r"12 identities have no image with yaw=0 .*p\d",
        ),
        ({"target": {"same": ["identity"], "chance": 0.5}}, r"pairs\.target\.chance: must be 1"),
    ],
)
def test_invalid_rules(table, rules, says):
    with pytest.raises(DataError, match=says):
        Pairs(table, np.arange(len(table)), PairsModel.model_validate(rules))


def test_an_identity_without_a_target_is_named(table):
    without = table[~((table["identity"] == "p3") & (table["yaw"] == 0))].reset_index(drop=True)
    with pytest.raises(DataError, match=r"1 identities have no image with yaw=0, light=0 .*: p3;"):
        Pairs(without, np.arange(len(without)), PairsModel.model_validate(RULES))


# ------------------------------------------------------------------ batches


def test_each_source_comes_once_an_epoch_in_another_order(pairs):
    count = len(pairs.sources)
    plan = BatchPlan(pairs, count // 8, 3, 0)
    assert count % 8 == 0
    epochs = [np.concatenate([plan.rows(8 * epoch + step)["source"] for step in range(8)]) for epoch in (0, 1)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(pairs.sources)
    assert (epochs[0] != epochs[1]).any()


def test_a_batch_may_cross_epochs(pairs):
    count = len(pairs.sources)
    plan = BatchPlan(pairs, 50, 3, 0)
    stream = np.concatenate([plan.rows(step)["source"] for step in range(3 * count // 50)])
    assert count % 50
    assert sorted(stream[:count]) == sorted(pairs.sources)
    assert sorted(stream[count : 2 * count]) == sorted(pairs.sources)


def test_a_batch_may_be_larger_than_the_data(pairs):
    count = len(pairs.sources)
    rows = BatchPlan(pairs, 2 * count + 5, 3, 0).rows(0)
    assert len(rows["source"]) == 2 * count + 5
    assert sorted(rows["source"][:count]) == sorted(pairs.sources)


def same(first, second):
    return all((first[role] == second[role]).all() for role in first)


def test_a_batch_is_a_function_of_seed_stage_and_step_alone(pairs):
    plan = BatchPlan(pairs, 32, 3, 0)
    wanted = plan.rows(5)
    for step in (40, 0, 17):
        plan.rows(step)
    np.random.seed(9)
    assert same(plan.rows(5), wanted)
    assert same(BatchPlan(pairs, 32, 3, 0).rows(5), wanted)
    assert not same(plan.rows(6), wanted)
    assert not same(BatchPlan(pairs, 32, 4, 0).rows(5), wanted)
    assert not same(BatchPlan(pairs, 32, 3, 1).rows(5), wanted)


# ------------------------------------------------------------------ columns


@pytest.fixture
def toy(load):
    loaded = load()
    pack = make_pack(loaded.recipe, loaded.catalog)
    return pack, Batches(pack, ("source", "target", "partner"), torch.device("cpu"), (32, 32))


def test_columns_have_the_values_of_the_table(toy):
    pack, columns = toy
    rows = {"source": np.array([3, 10]), "target": np.array([4, 4]), "partner": np.array([5, 50])}
    pixels = columns.gather("source", rows)
    assert pixels.dtype == torch.float32
    assert torch.equal(pixels[0], torch.from_numpy(pack.images[3].copy()).float() / 127.5 - 1)
    assert -1 <= pixels.min() < pixels.max() <= 1
    assert columns.gather("pose", rows).tolist() == pack.table["pose"].to_numpy()[[3, 10]].tolist()
    assert columns.gather("pose_class", rows).tolist() == [
        (p + 30) // 15 for p in pack.table["pose"].to_numpy()[[3, 10]]
    ]
    assert columns.gather("target_light", rows).tolist() == pack.table["light"].to_numpy()[[4, 4]].tolist()
    assert columns.gather("partner_identity_class", rows).tolist() == [0, 5]
    assert columns.gather("same_identity", rows).tolist() == [1.0, 0.0]
    assert torch.equal(columns.gather("target_regions", rows)[0], torch.from_numpy(pack.regions[4].astype(np.int64)))


def test_same_columns_agree_with_the_table(toy):
    pack, columns = toy
    rules = {"partner": {"adjacent": "pose", "same": ["identity", "light"], "chance": 0.5}}
    pairs = Pairs(pack.table, np.arange(len(pack.table)), PairsModel.model_validate(rules))
    rows = drawn(pairs, 10)
    neighbours = np.ones(len(rows["source"]), bool)
    for name in ("identity", "pose", "light"):
        values = pack.table[name].tolist()
        wanted = [values[s] == values[p] for s, p in zip(rows["source"], rows["partner"], strict=True)]
        flags = columns.gather(f"same_{name}", rows)
        assert flags.tolist() == [float(item) for item in wanted]
        neighbours &= np.array(wanted) != (name == "pose")
    apart = np.abs(np.subtract(*(pack.table["pose"].to_numpy()[rows[role]] for role in ("source", "partner"))))
    ruled = neighbours & (apart == 15)
    # By chance any of 6 x 5 x 2 rows: 8/5 of them in the mean are neighbours.
    assert abs(ruled.mean() - (0.5 + 0.5 * (8 / 5) / 60)) < 4 * np.sqrt(0.25 / len(ruled))


def test_every_name_can_be_gathered(toy):
    _, columns = toy
    rows = {role: np.arange(4) for role in ("source", "target", "partner")}
    assert {"source", "pose", "pose_class", "partner_light", "same_light", "source_regions"} <= set(columns.names)
    assert "identity" not in columns.names, "text is no tensor"
    for name in columns.names:
        assert len(columns.gather(name, rows)) == 4
        assert columns.gather(name, rows).dtype in (torch.float32, torch.int64)


def test_without_a_partner_there_are_no_columns_of_one(toy):
    pack, _ = toy
    names = Batches(pack, ("source", "target"), torch.device("cpu"), (32, 32)).names
    assert not [name for name in names if "partner" in name or name.startswith("same_")]


# ------------------------------------------------------------------ labels that are text


@pytest.fixture
def words():
    """A table whose poses are words."""
    rows = [
        {"key": f"{who}-{pose}", "identity": f"p{who}", "pose": pose} for who in range(3) for pose in ("left", "front")
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"target": {"same": ["identity"], "where": {"pose": 0}}},
            r"pairs\.target\.where: no image has pose=0; its values are text: 'front', 'left'$",
        ),
        (
            {"source": {"where": {"pose": ["up", "down"]}}, "target": {"same": ["identity"]}},
            r"pairs\.source\.where: no image has pose=\['up', 'down'\]; its values are text: 'front', 'left'$",
        ),
        (
            {"target": {"same": ["identity"]}, "partner": {"adjacent": "pose"}},
            r"pairs\.partner\.adjacent: column 'pose' has no order: its values are text: 'front', 'left'$",
        ),
    ],
)
def test_a_number_or_order_is_not_looked_for_in_text(words, rules, message):
    with pytest.raises(DataError, match=message):
        Pairs(words, np.arange(len(words)), PairsModel.model_validate(rules))


def test_text_that_is_there_is_found(words):
    rules = PairsModel.model_validate({"target": {"same": ["identity"], "where": {"pose": "front"}}})
    targets = Pairs(words, np.arange(len(words)), rules).draw(np.array([0, 2]), np.random.default_rng(0))["target"]
    assert words["key"].iloc[targets].tolist() == ["0-front", "1-front"]


def test_a_missing_number_is_named_beside_the_numbers_there_are(table):
    rules = PairsModel.model_validate({"target": {"same": ["identity"], "where": {"yaw": 90}}})
    with pytest.raises(DataError, match=r"no image has yaw=90; its values are numbers: -60, -45, -30, -15, 0, 15"):
        Pairs(table, np.arange(len(table)), rules)
