"""Cached codes of a frozen encoder: computed once per image and view, and equal to the encoder's output."""

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
from enface_tools.feature_cache.cache import BLOCK, FeatureCache
from enface_tools.feature_cache.space import CropFlipSpace

FROZEN = {"steps": 40, "batch": 8, "freeze": ["encoder", "heads"], "cache_codes": True, "terms": {"l1": {}}}
CONTRAST = {
    "use": "contrastive",
    "inputs": {"a": "identity_code", "b": "partner_identity_code", "same": "same_identity"},
}
AUGMENT = {"crop": {}, "shift": {"by": 1}, "flip": {"mirror": {}}}


def drawn_views(augment, role="source", draws=30, batch=16):
    return [augment.draw(0, 0, step, batch)[role] for step in range(draws)]


def test_every_view_has_a_number():
    cases = (({}, 34, 1), ({"flip": {"mirror": {}}}, 34, 2), ({"crop": {}}, 34, 9), ({"crop": {}}, [33, 36], 10))
    for model, load_size, count in (*cases, (AUGMENT, 34, 50)):
        data = DataModel.model_validate({"use": "toy", "size": 32, "load_size": load_size, "split": {"train": 4}})
        augment = Augment(AugmentModel.model_validate(model), data, ROLES)
        space = CropFlipSpace.of(augment)
        assert space.count == count
        drawn = set()
        for views in drawn_views(augment):
            for place, number in enumerate(space.index(views)):
                drawn.add(int(number))
                same = space.at(int(number), 1)
                for name in ("top", "left", "flipped"):
                    assert getattr(same, name)[0] == getattr(views, name)[place]
        assert drawn == set(range(count)), "480 draws cover all views"


@pytest.fixture
def cached(new_trainer):
    """The trainer of a stage with augmented images and cached codes."""
    content = {"data": {"load_size": 34}, "augment": AUGMENT, "stages": {"main": {**FROZEN, "steps": 4000}}}
    trainer = new_trainer(content)
    trainer._build("main")
    return trainer


def test_a_cached_code_is_the_output_of_the_encoder(cached):
    cache, encoder = cached._batches, cached.generator.encoder
    assert isinstance(cache, FeatureCache)
    rows = {role: np.random.default_rng(0).choice(cached._pairs.rows, 16) for role in ROLES}
    for step in (0, 1, 0):
        views = cached._augment.draw(0, 0, step, 16)
        names = ["encoded_source", "encoded_partner", "target", "pose"]
        batch = cache.batch(names, rows, views)
        for role in ("source", "partner"):
            with torch.no_grad():
                torch.testing.assert_close(
                    batch[f"encoded_{role}"], encoder(cached._columns.gather(role, rows, views)), rtol=1e-5, atol=1e-6
                )
        for name in ("target", "pose"):
            assert torch.equal(batch[name], cached._columns.gather(name, rows, views))
        assert set(batch) == set(names)


def test_a_code_does_not_depend_on_earlier_requests(cached):
    rows, views = cached._pairs.rows[:BLOCK], cached._augment.draw(0, 0, 0, BLOCK)
    first = cached._batches.batch(["encoded_source"], {"source": rows}, views)["encoded_source"]
    cached._build("main")
    assert isinstance(cached._batches, FeatureCache)
    one = {"source": CropFlip(*(getattr(views["source"], name)[3:4] for name in ("top", "left", "flipped")))}
    alone = cached._batches.batch(["encoded_source"], {"source": rows[3:4]}, one)["encoded_source"]
    assert torch.equal(alone[0], first[3])


def test_each_image_is_encoded_once_in_training(new_trainer):
    trainer = new_trainer({"stages": {"main": FROZEN}})
    seen = []
    trainer.generator.encoder.register_forward_hook(
        lambda module, given, _: seen.append(len(given[0]) * trainer.generator.training)
    )
    trainer.train()
    assert sum(seen) == len(trainer._pairs.rows), "samples use the whole network, in eval mode"
    _, step = trainer._build("main")
    assert step.columns(step.phases) == ["encoded_source", "target"]


def test_training_with_cached_codes_equals_training_with_images(new_trainer):
    stage = {**FROZEN, "steps": 6, "terms": {"l1": {}, "pair": CONTRAST}, "freeze": ["encoder"]}
    stage["terms"]["pose"] = {"use": "cross_entropy", "inputs": {"logits": "pose_logits", "labels": "pose_class"}}
    stage["batch"] = 40
    cached = new_trainer({"stages": {"main": stage}}, "cached")
    plain = new_trainer({"stages": {"main": {**stage, "cache_codes": False}}}, "plain")
    encoder = digest(cached.generator.encoder)
    cached.train(), plain.train()
    assert digest(cached.generator.encoder) == encoder
    assert digest(cached.generator.decoder) != digest(new_trainer({}, "fresh").generator.decoder)
    for (name, one), other in zip(cached.generator.named_parameters(), plain.generator.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-5, msg=name)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_ends_with_the_same_bits(new_trainer, load, make_trainer, tmp_path, precision):
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
    ("content", "message"),
    [
        (
            {"stages": {"main": {**FROZEN, "freeze": []}}},
            r"cache_codes: codes change while 'encoder' is trained; name it in 'freeze'",
        ),
        (
            {
                "stages": {"main": {**FROZEN, "freeze": ["encoder"]}},
                "generator": {"use": "resnet", "width": 8, "blocks": 1},
            },
            r"cache_codes: generator resnet has no encoder whose codes",
        ),
        (
            {"stages": {"main": {**FROZEN, "steps": 1}}},
            r"cache_codes: the images have \d+ codes.* draws only 8 images, so that nothing would be saved",
        ),
    ],
    ids=["trained encoder", "no encoder", "too few draws"],
)
def test_a_stage_whose_codes_cannot_be_cached_is_rejected(new_trainer, content, message):
    with pytest.raises(RecipeError, match=message):
        new_trainer(content)._build("main")


def test_a_stage_with_cached_codes_is_rejected_if_no_plugin_caches_them(new_trainer):
    trainer = new_trainer({"stages": {"main": FROZEN}})
    trainer.run.loaded.plugins.unregister(name="feature_cache")
    with pytest.raises(RecipeError, match="cache_codes: no installed plugin caches codes; install enface again"):
        trainer._build("main")


def test_a_full_disk_is_reported(cached, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    cache = cached._batches
    row = {"source": cached._pairs.rows[:1]}
    cache.batch(["encoded_source"], row, {})
    monkeypatch.setattr(cache._store, "_file", Full())
    with pytest.raises(
        DataError, match=r"run: No space left on device; cached codes take up to .* GB there\. Free some"
    ):
        cache.batch(["encoded_source"], {"source": cached._pairs.rows[-1:]}, {})
    assert not cache._filled[0, -1], "a code that was not written counts as missing"


def test_the_cache_leaves_no_file(cached):
    before = sorted(cached.run.directory.rglob("*"))
    cached._batches.batch(["encoded_source"], {"source": cached._pairs.rows[:1]}, {})
    assert sorted(cached.run.directory.rglob("*")) == before


def test_the_command_line_trains_with_cached_codes(enface, recipe, tmp_path):
    path = recipe({"stages": {"main": FROZEN}})
    assert load_recipe(path, []).recipe.stages["main"].cache_codes
    done = enface("run", path, "--runs", tmp_path / "runs")
    assert done.code == 0, done.err
