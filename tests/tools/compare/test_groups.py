"""Groups of a comparison: runs grouped by recipe, metrics measured alike."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml

from enface.errors import DataError
from enface_tools.compare.changes import recipe_changes
from enface_tools.compare.comparison import compare
from enface_tools.compare.groups import find_groups


def faces(shift=0.0, seed=0, people=8, each=2, spread=0.01):
    rng = np.random.default_rng(seed)
    count = people * each
    identity = [f"p{number // each}" for number in range(count)]
    keys = {"key": [f"k{number}" for number in range(count)], "target_key": [f"t-{name}" for name in identity]}
    return {**keys, "identity": identity, "lpips": 0.5 + shift + rng.normal(0, spread, count)}


@pytest.fixture
def seeds(evaluated):
    """``runs/NAME`` with a run of each seed."""

    def make(name, numbers, shift=0.0, **keys):
        for seed in numbers:
            run = evaluated(f"runs/{name}/20260101-00000{seed}", faces(shift, seed), name=name, seed=seed, **keys)
        return run.parent

    return make


def members(groups):
    return [[member.directory.name for member in group.members] for group in groups]


# ---------------------------------------------------------------------- groups


def test_a_folder_of_runs_is_its_seeds(seeds):
    a, b = seeds("a", [0, 1, 2]), seeds("b", [0, 1], stage={"steps": 2})
    groups = find_groups([a, b])
    assert [group.name for group in groups] == ["a", "b"]
    assert [list(group.by_seed) for group in groups] == [[0, 1, 2], [0, 1]]


def test_runs_are_grouped_in_any_order(seeds):
    a, b = seeds("a", [0, 1]), seeds("b", [0, 1])
    first, second = sorted(a.iterdir())
    groups = find_groups([second, *sorted(b.iterdir()), first, first])
    assert [(group.name, list(group.by_seed)) for group in groups] == [("a", [0, 1]), ("b", [0, 1])]


def test_the_control_is_the_first_or_the_one_named(seeds):
    a, b, c = (seeds(name, [0]) for name in "abc")
    assert [group.name for group in find_groups([a, b, c])] == ["a", "b", "c"]
    assert [group.name for group in find_groups([a, b, c], c)] == ["c", "a", "b"]
    assert [group.name for group in find_groups([a, b], next(c.iterdir()))] == ["c", "a", "b"]


def test_a_control_that_is_one_seed_of_many_includes_the_others(seeds):
    a, b = seeds("a", [0, 1]), seeds("b", [0, 1])
    groups = find_groups([b, a], sorted(a.iterdir())[1])
    assert [(group.name, list(group.by_seed)) for group in groups] == [("a", [0, 1]), ("b", [0, 1])]


def test_keys_that_do_not_affect_training_do_not_split_a_group(seeds):
    a, b = seeds("a", [0, 1]), seeds("b", [0])
    path = sorted(a.iterdir())[1] / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**recipe, "log": {"every": 7}, "evaluation": {"pictures": False}}))
    assert len(find_groups([a, b])) == 2


def test_seeds_that_start_from_runs_of_their_own_are_one_group(evaluated):
    for seed in (0, 1):
        start = {"run": f"/runs/base/2026010{seed}-000000"}
        evaluated(f"runs/a/{seed}", faces(0, seed), name="a", seed=seed, stage={"start": start})
        start = {"checkpoint": f"/runs/base/2026010{seed}-000000/checkpoints/step-00000100.safetensors"}
        run = evaluated(f"runs/b/{seed}", faces(0, seed), name="b", seed=seed, stage={"start": start})
    groups = find_groups([run.parent.parent / "a", run.parent])
    assert [list(group.by_seed) for group in groups] == [[0, 1], [0, 1]]
    changes = recipe_changes(*(group.members[0].recipe for group in groups))
    assert [(change.key.rpartition(".")[2], change.before, change.after) for change in changes] == [
        ("run", "/runs/base", None),
        ("checkpoint", None, "/runs/base/step-00000100.safetensors"),
    ]


def test_the_newest_run_of_a_seed_counts_and_others_are_listed(evaluated, seeds):
    b = seeds("b", [0])
    old = evaluated("runs/a/20260101-000000", faces(), name="a")
    new = evaluated("runs/a/20260102-000000", faces(), name="a")
    groups = find_groups([new.parent, b])
    assert members(groups)[0] == [new.name]
    assert groups[0].skipped == [(old, f"its recipe and seed are those of {new}, which is newer")]


def test_runs_without_an_evaluation_are_skipped_and_listed(seeds):
    a, b = seeds("a", [0, 1]), seeds("b", [0])
    cut_off = sorted(a.iterdir())[1]
    shutil.rmtree(cut_off / "evaluation")
    (cut_off / "evaluation").mkdir()
    groups = find_groups([a, b])
    assert list(groups[0].by_seed) == [0]
    assert groups[0].skipped == [(cut_off, "it has no evaluation of the val split")]
    with pytest.raises(DataError, match=f"{cut_off.name} .*evaluate"):
        find_groups([cut_off, b])
    shutil.rmtree(sorted(a.iterdir())[0] / "evaluation")
    with pytest.raises(DataError, match=r"no run in .*runs/a can be compared: .* run: enface evaluate .* --split val"):
        find_groups([a, b])


def test_another_checkpoint_of_a_run_is_another_group(seeds):
    run = next(seeds("a", [0]).iterdir())
    other = run / "evaluation" / "val" / "checkpoints" / "step-00000005"
    other.mkdir(parents=True)
    for name in ("summary.json", "images.csv"):
        shutil.copy(run / "evaluation" / "val" / name, other)
    groups = find_groups([run, other, run / "evaluation" / "val"])
    assert [group.name for group in groups] == ["a", "a (step-00000005)"]
    assert [group.members[0].directory for group in groups] == [run, run]


def test_each_result_of_pairs_is_a_group(evaluated, seeds):
    theirs = evaluated("results/theirs", faces(0.1), name=None)
    ours = evaluated("results/ours", faces(0.2), name=None)
    run = next(seeds("a", [3]).iterdir())
    groups = find_groups([theirs, ours, run])
    assert [(group.name, group.kind, list(group.by_seed)) for group in groups] == [
        ("theirs", "pairs", []),
        ("ours", "pairs", []),
        ("a", "run", [3]),
    ]
    # An evaluation of other images that lies in a run's folder is none of the run.
    inside = run / "more"
    shutil.copytree(ours, inside)
    assert find_groups([inside, run])[0].kind == "pairs"


def test_groups_of_one_name_get_unique_names(seeds, evaluated):
    a = next(seeds("a", [0]).iterdir())
    other = evaluated("elsewhere/a/9", faces(), name="a", stage={"steps": 5})
    assert [group.name for group in find_groups([a, other])] == ["a/20260101-000000", "a/9"]
    far = evaluated("far/a/9", faces(), name="a", stage={"steps": 6})
    assert [group.name for group in find_groups([other, far])] == [str(other), str(far)]


def test_each_run_is_a_group(seeds):
    a = sorted(seeds("a", [0, 1]).iterdir())
    assert members(find_groups(a, each=True)) == [[a[0].name], [a[1].name]]
    with pytest.raises(DataError, match=r"one recipe \(seeds 0, 1\), so there is nothing to compare; --each"):
        find_groups(a)
    with pytest.raises(DataError, match="holds 2 runs; name one of them as the control"):
        find_groups([a[0].parent], each=True)


def test_nothing_to_compare(seeds):
    run = next(seeds("a", [0]).iterdir())
    with pytest.raises(DataError, match=r"nothing to compare .* with; name another run"):
        find_groups([run, run])


def test_a_folder_of_unlike_recipes_cannot_be_the_control(seeds, evaluated):
    a = seeds("a", [0])
    evaluated("runs/a/20260105-000000", faces(), name="a", stage={"steps": 5})
    b = seeds("b", [0])
    with pytest.raises(DataError, match=r"2 recipes, so it cannot be the control.* differ in stages\.main\.steps\)"):
        find_groups([a, b])
    assert [group.name for group in find_groups([b, a])] == [
        "b/20260101-000000",
        "a/20260101-000000",
        "a/20260105-000000",
    ]


@pytest.mark.parametrize("make", ["nothing", "file", "empty"])
def test_other_paths_are_refused(tmp_path, seeds, make):
    path = tmp_path / "x"
    if make == "file":
        path.write_text("")
    elif make == "empty":
        path.mkdir()
    with pytest.raises(DataError, match=str(path)):
        find_groups([seeds("a", [0]), path])


@pytest.mark.parametrize("text", ["- 1\n", "seed: x\nname: a\n", "a: [", "\xff"])
def test_a_damaged_recipe_is_named(seeds, text):
    a, b = seeds("a", [0]), seeds("b", [0])
    path = next(b.iterdir()) / "recipe.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"recipe\.yaml is damaged"):
        find_groups([a, b])


# ---------------------------------------------------------------------- metrics


def card(**entries):
    return {"lpips": {"card": {"implementation": "lpips", **entries}}}


def test_unlike_cards_are_refused_naming_the_entry(seeds):
    a, b = seeds("a", [0], directions=card(weights="abc")), seeds("b", [0], directions=card(weights="def"))
    with pytest.raises(
        DataError, match=r"metric lpips: card entry 'weights' is 'abc' in .*/a/.* and 'def' in .*/b/.*--skip-unlike"
    ):
        compare([a, b])
    with pytest.raises(DataError, match=r"share no metric that can be compared; measured: lpips\n  metric lpips: card"):
        compare([a, b], skip_unlike=True)


def test_an_entry_that_one_card_lacks_is_unlike(seeds):
    a, b = seeds("a", [0], directions=card()), seeds("b", [0], directions=card(resized="bicubic"))
    with pytest.raises(DataError, match=r"card entry 'resized' is absent in .* and 'bicubic' in"):
        compare([a, b])


def test_unlike_cards_inside_a_group_are_refused_too(seeds):
    a, b = seeds("a", [0], directions=card(version="1")), seeds("b", [0], directions=card(version="1"))
    seeds("a", [1], directions=card(version="2"))
    with pytest.raises(DataError, match=r"card entry 'version' is '1' in .* and '2' in"):
        compare([a, b])


def test_unlike_directions_are_refused(seeds):
    a, b = seeds("a", [0], directions={"lpips": {"ideal": 1.0}}), seeds("b", [0])
    with pytest.raises(DataError, match=r"metric lpips: ideal is 1\.0 in .* and absent in"):
        compare([a, b])


def test_the_others_are_compared_when_unlike_ones_are_skipped(evaluated):
    columns = {**faces(), "ssim": np.zeros(16)}
    runs = [
        evaluated(f"{name}/1", columns, name=name, directions={**card(weights=name), "ssim": {}}) for name in ("a", "b")
    ]
    (comparison,) = compare(runs, skip_unlike=True).comparisons
    assert [item.name for item in comparison.shared.quantities] == ["ssim"]
    ((name, reason),) = comparison.shared.skipped
    assert name == "lpips"
    assert "card entry 'weights'" in reason


def test_a_region_with_another_definition_is_refused(evaluated):
    columns = {**faces(), "lpips@eyes": np.ones(16), "lpips@nose": np.ones(16)}
    nose = {"nose": {"use": "face_part", "part": "nose"}}
    runs = []
    for name, part in (("a", "eyes"), ("b", "brows")):
        regions = {**nose, "eyes": {"use": "face_part", "part": part}}
        runs.append(evaluated(f"{name}/1", columns, name=name, regions=regions))
    with pytest.raises(DataError, match=r'region eyes: is .*"part": "eyes".* and .*"part": "brows".*--skip-unlike'):
        compare(runs, regions=True)
    (comparison,) = compare(runs, regions=True, skip_unlike=True).comparisons
    assert [item.name for item in comparison.shared.quantities] == ["lpips", "lpips@nose"]
    assert [name for name, _ in comparison.shared.skipped] == ["lpips@eyes"]
    assert len(compare(runs).comparisons) == 1


def test_a_metric_of_one_side_is_skipped_and_listed(evaluated):
    columns = {**faces(), "ssim": np.zeros(16)}
    first = evaluated("a/1", columns, name="a", directions={"lpips": {}, "ssim": {}})
    second = evaluated("b/1", faces(), name="b")
    (comparison,) = compare([first, second]).comparisons
    assert comparison.shared.skipped == [("ssim", f"ssim was not measured in {second}")]


def test_an_unmeasured_metric_is_refused(seeds):
    with pytest.raises(DataError, match="--metrics: 'lpisp' was not measured; did you mean 'lpips'"):
        compare([seeds("a", [0]), seeds("b", [0])], metrics=["lpisp"])


def test_set_metrics_are_averaged_over_all_seeds(evaluated):
    for seed in (0, 1, 2):
        entry = {"higher_is_better": False, "ideal": None, "card": {}}
        for name, value in (("a", 10 + seed), ("b", 5 + 2 * seed)):
            if (name, seed) != ("b", 2):
                sets = {"fid": {"value": value, **entry}}
                run = evaluated(f"runs/{name}/{seed}", faces(), name=name, seed=seed, summary={"sets": sets})
    (comparison,) = compare([run.parent, run.parent.parent / "b"]).comparisons
    (fid,) = comparison.sets
    assert (fid.control, fid.group, fid.difference, fid.gain) == (11.0, 6.0, -5.0, 5.0)


def test_only_set_metrics(evaluated):
    columns = {name: values for name, values in faces().items() if name != "lpips"}
    entry = {"fid": {"value": 3.0, "higher_is_better": False, "ideal": None, "card": {}}}
    runs = [evaluated(f"{name}/1", columns, name=name, summary={"sets": entry}) for name in ("a", "b")]
    (comparison,) = compare(runs).comparisons
    assert comparison.results == []
    assert comparison.sets[0].difference == 0


# ---------------------------------------------------------------------- recipes


def test_changes_between_recipes():
    before = {
        "name": "a",
        "seed": 0,
        "stages": {"m": {"terms": {"l1": {"weight": 1}}, "steps": 5}},
        "log": {"every": 1},
    }
    after = {
        "name": "b",
        "seed": 1,
        "stages": {"m": {"terms": {"ssim": {"weight": 2}}, "steps": 6}},
        "log": {"every": 2},
    }
    changes = recipe_changes(before, after)
    assert [(change.key, change.before, change.after, change.training) for change in changes] == [
        ("stages.m.terms.l1", {"weight": 1}, None, True),
        ("stages.m.terms.ssim", None, {"weight": 2}, True),
        ("stages.m.steps", 5, 6, True),
        ("log.every", 1, 2, False),
    ]


def test_a_recipe_of_an_earlier_version_is_not_another(seeds):
    from enface.recipe.models import Recipe

    a, b = seeds("a", [0, 1]), seeds("b", [0])
    path = sorted(a.iterdir())[1] / "recipe.yaml"
    path.write_text(yaml.safe_dump(Recipe.model_validate(yaml.safe_load(path.read_text())).dump()))
    assert list(find_groups([a, b])[0].by_seed) == [0, 1]


def test_several_changes_are_a_caveat(seeds):
    a, b = seeds("a", [0]), seeds("b", [0], stage={"steps": 9, "batch": 3})
    (comparison,) = compare([a, b]).comparisons
    assert [text for text in comparison.caveats if "2 keys (stages.main.steps, stages.main.batch)" in text]


def test_evaluations_that_differ_in_self_pairs_are_a_caveat(evaluated):
    def summary(measured):
        return {"self_pairs": {"count": 2, "measured": measured}}

    a = evaluated("a", faces(), name="a", summary=summary(False))
    b = evaluated("b", faces(), name="b", summary=summary(True), stage={"steps": 2})
    c = evaluated("c", faces(), name="c", summary=summary(False), stage={"steps": 3})
    _, second, third = find_groups([a, b, c])
    assert [text for text in second.caveats if text.startswith("a and b differ in evaluation.self_pairs")]
    assert not third.caveats


def test_runs_are_compared_on_the_people_requested(evaluated):
    val = [evaluated(f"val/{name}", faces(), name=name, stage={"steps": 1 + (name == "b")}) for name in "ab"]
    stages = {"a": {"steps": 1}, "b": {"steps": 2}}
    test = [evaluated(f"test/{name}", faces(), name=name, stage=stages[name], split="test") for name in "ab"]
    assert [group.members[0].results.summary.split for group in find_groups(val)] == ["val", "val"]
    assert [group.members[0].results.summary.split for group in find_groups(test, split="test")] == ["test", "test"]
    with pytest.raises(DataError, match=r"has no evaluation of the val split; run: enface evaluate .* --split val"):
        find_groups(test)
    with pytest.raises(DataError, match="holds an evaluation of the test split; compare it with --split test"):
        find_groups([test[0] / "evaluation", val[1]])
