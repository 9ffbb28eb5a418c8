"""A frozen encoder's codes: kept once, equal to what the encoder gives, however images are looked at."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from enface.data.augment import Augment, CropFlip
from enface.data.pairs import ROLES
from enface.errors import DataError, RecipeError
from enface.recipe.load import load_recipe
from enface.recipe.models import AugmentModel, DataModel
from enface.training.checkpoint import digest
from enface.training.feature_cache import BLOCK, FeatureCache

FROZEN = {"steps": 40, "batch": 8, "freeze": ["encoder", "heads"], "cache_codes": True, "terms": {"l1": {}}}
CONTRAST = {
    "use": "contrastive",
    "inputs": {"a": "identity_code", "b": "partner_identity_code", "same": "same_identity"},
}
MOVING = {"crop": {}, "shift": {"by": 1}, "flip": {"mirror": {}}}


def every_move(augment, role="source", draws=30, batch=16):
    return [augment.draw(0, 0, step, batch)[role] for step in range(draws)]


def test_every_way_of_looking_has_its_number():
    data = DataModel.model_validate({"use": "toy", "size": 32, "load_size": 34, "split": {"train": 4}})
    for model, count in (({}, 1), ({"flip": {"mirror": {}}}, 2), ({"crop": {}}, 9), (MOVING, 50)):
        augment = Augment(AugmentModel.model_validate(model), data, ROLES)
        views = augment.views
        assert views.count == count
        drawn = set()
        for moves in every_move(augment):
            for place, number in enumerate(views.number(moves)):
                drawn.add(int(number))
                same = views.moves(int(number), 1)
                for name in ("top", "left", "flipped"):
                    assert getattr(same, name)[0] == getattr(moves, name)[place]
        assert drawn == set(range(count)), "480 draws show all of them"


@pytest.fixture
def moved(new_trainer):
    """A stage whose images move, its codes kept."""
    content = {"data": {"load_size": 34}, "augment": MOVING, "stages": {"main": {**FROZEN, "steps": 4000}}}
    made = new_trainer(content)
    made._build("main")
    return made


def test_a_kept_code_is_what_the_encoder_gives(moved):
    codes, encoder = moved._batches, moved.generator.encoder
    assert isinstance(codes, FeatureCache)
    rows = {role: np.random.default_rng(0).choice(moved._pairs.rows, 16) for role in ROLES}
    for step in (0, 1, 0):
        moves = moved._augment.draw(0, 0, step, 16)
        names = ["encoded_source", "encoded_partner", "target", "pose"]
        found = codes.batch(names, rows, moves)
        for role in ("source", "partner"):
            with torch.no_grad():
                torch.testing.assert_close(
                    found[f"encoded_{role}"], encoder(moved._columns.gather(role, rows, moves)), rtol=1e-5, atol=1e-6
                )
        for name in ("target", "pose"):
            assert torch.equal(found[name], moved._columns.gather(name, rows, moves))
        assert set(found) == set(names)


def test_a_code_does_not_depend_on_what_was_asked_before(moved):
    rows, moves = moved._pairs.rows[:BLOCK], moved._augment.draw(0, 0, 0, BLOCK)
    first = moved._batches.batch(["encoded_source"], {"source": rows}, moves)["encoded_source"]
    moved._build("main")
    assert isinstance(moved._batches, FeatureCache)
    one = {"source": CropFlip(*(getattr(moves["source"], name)[3:4] for name in ("top", "left", "flipped")))}
    alone = moved._batches.batch(["encoded_source"], {"source": rows[3:4]}, one)["encoded_source"]
    assert torch.equal(alone[0], first[3])


def test_each_image_is_encoded_once_in_training(new_trainer):
    made = new_trainer({"stages": {"main": FROZEN}})
    seen = []
    made.generator.encoder.register_forward_hook(
        lambda module, given, _: seen.append(len(given[0]) * made.generator.training)
    )
    made.train()
    assert sum(seen) == len(made._pairs.rows), "samples are shown by the whole network"
    _, step = made._build("main")
    assert step.columns(step.phases) == ["encoded_source", "target"]


def test_training_by_kept_codes_learns_what_training_by_images_does(new_trainer):
    stage = {**FROZEN, "steps": 6, "terms": {"l1": {}, "pair": CONTRAST}, "freeze": ["encoder"]}
    stage["terms"]["pose"] = {"use": "cross_entropy", "inputs": {"logits": "pose_logits", "labels": "pose_class"}}
    stage["batch"] = 40
    kept = new_trainer({"stages": {"main": stage}}, "kept")
    anew = new_trainer({"stages": {"main": {**stage, "cache_codes": False}}}, "anew")
    encoder = digest(kept.generator.encoder)
    kept.train(), anew.train()
    assert digest(kept.generator.encoder) == encoder
    assert digest(kept.generator.decoder) != digest(new_trainer({}, "fresh").generator.decoder)
    for (name, one), other in zip(kept.generator.named_parameters(), anew.generator.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-5, msg=name)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_cut_off_ends_with_the_same_bits(new_trainer, load, make_trainer, tmp_path, precision):
    content = {"engine": {"device": "cpu", "precision": precision}, "stages": {"main": {**FROZEN, "steps": 30}}}
    content["log"] = {"checkpoint": 15, "keep": 9}
    whole = new_trainer(content, "whole")
    whole.train()
    loaded = load(content)
    cut = make_trainer(loaded, tmp_path / "cut")
    cut.train()
    last = sorted((tmp_path / "cut" / "checkpoints").glob("step-*30.safetensors"))
    assert last
    last[0].unlink()
    again = type(cut)(cut.run)
    again.run.step = 0
    again.train(resume=True)
    assert digest(again.generator) == digest(whole.generator)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"stages": {"main": {**FROZEN, "freeze": []}}}, r"cache_codes: codes change while 'encoder' learns; name it"),
        (
            {
                "stages": {"main": {**FROZEN, "freeze": ["encoder"]}},
                "generator": {"use": "resnet", "width": 8, "blocks": 1},
            },
            r"cache_codes: generator resnet has no encoder whose codes",
        ),
        (
            {"stages": {"main": {**FROZEN, "steps": 1}}},
            r"cache_codes: the images have .* codes.* draws 8 images: nothing would be saved",
        ),
    ],
    ids=["learns", "no encoder", "too few draws"],
)
def test_where_codes_cannot_be_kept(new_trainer, content, says):
    with pytest.raises(RecipeError, match=says):
        new_trainer(content)._build("main")


def test_a_full_disk_is_said(moved, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    codes = moved._batches
    row = {"source": moved._pairs.rows[:1]}
    codes.batch(["encoded_source"], row, {})
    monkeypatch.setattr(codes._store, "_file", Full())
    with pytest.raises(DataError, match=r"run: No space left on device; the codes of all images take up to .* GB"):
        codes.batch(["encoded_source"], {"source": moved._pairs.rows[-1:]}, {})
    assert not codes._filled[0, -1], "what was not written is not taken for written"


def test_nothing_of_it_is_left(moved):
    before = sorted(moved.run.directory.rglob("*"))
    moved._batches.batch(["encoded_source"], {"source": moved._pairs.rows[:1]}, {})
    assert sorted(moved.run.directory.rglob("*")) == before


def test_the_recipe_may_say_so_by_the_command_line(enface, recipe, tmp_path):
    path = recipe({"stages": {"main": FROZEN}})
    assert load_recipe(path, []).recipe.stages["main"].cache_codes
    done = enface("run", path, "--runs", tmp_path / "runs")
    assert done.code == 0, done.err
