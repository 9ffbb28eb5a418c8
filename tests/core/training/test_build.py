"""Inconsistent stages are rejected when they are built, with file and key; consistent ones get the right weights."""

from __future__ import annotations

import pytest
import torch

from enface.errors import RecipeError
from enface.plugin.manager import load_plugins

GAME = {"discriminators": {"patch": {"use": "patch_gan", "width": 4, "layers": 1}}}
GAN = {"use": "hinge", "against": "patch"}
MASK = (
    "class Odd(Mask):\n    '''Odd.'''\n"
    "    def __init__(self, *, data: DataInfo):\n        super().__init__()\n        self.size = data.shorter_side\n"
    "    def forward(self): return {}\n"
)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            {"terms": {"cross_entropy": {}}},
            r"stages\.one\.terms\.cross_entropy: requests 'logits', which nothing provides; provided: .*pose_logits.*source",  # noqa: E501
        ),
        (
            {"terms": {"l1": {"inputs": {"target": "targt"}}}},
            r"terms\.l1: requests 'targt', which nothing provides; provided: ",
        ),
        (
            {"terms": {"l1": {"inputs": {"tagret": "source"}}}},
            r"terms\.l1\.inputs.*no input 'tagret'; did you mean 'target'\?",
        ),
        (
            {"terms": {"l1": {"inputs": {"target": "real_logits"}}}},
            r"terms\.l1: requests 'real_logits', which nothing provides; provided: ",
        ),
        (
            {**GAME, "terms": {"l1": {}, "gan": {**GAN, "inputs": {"fake_logits": "fake_logit"}}}},
            r"'fake_logit'.*provided: .*fake_features",
        ),
        ({"terms": {"hinge": {}}}, r"terms\.hinge: loss hinge needs a discriminator.*against: NAME"),
        ({**GAME, "terms": {"hinge": {}}}, r"terms\.hinge: .*against: patch"),
        ({**GAME, "terms": {"l1": {}}}, r"discriminators\.patch: no term trains it"),
        (
            {"discriminators": {"patch_gan": {"layers": 6}}, "terms": {"hinge": {"against": "patch_gan"}}},
            r"discriminators\.patch_gan: .*layers",
        ),
        (
            {"terms": {"l1": {}}, "freeze": ["encoderr"]},
            r"freeze\.0: generator siamese has no part 'encoderr'; did you mean 'encoder'",
        ),
        (
            {"terms": {"l1": {}}, "freeze": ["encoder", "decoder", "heads"]},
            r"freeze: leaves no part of the generator to train",
        ),
        (
            {"terms": {"l1": {}}, "batch": 5, "accumulate": 2},
            r"batch: 5 images cannot be split evenly over 1 processes x 2 parts",
        ),
        (
            {"terms": {"l1": {}}, "optimizer": {"use": "adamm"}},
            r"optimizer\.use: there is no optimizer 'adamm'; did you mean 'adam",
        ),
        (
            {"terms": {"l1": {}}, "optimizer": {"use": "optimizer"}},
            r"optimizer\.use: there is no optimizer 'optimizer'",
        ),
        ({"terms": {"l1": {}}, "optimizer": {"use": "lbfgs"}}, r"optimizer\.use: there is no optimizer 'lbfgs'"),
        (
            {"terms": {"l1": {}}, "optimizer": {"use": "adam", "beta": 1}},
            r"optimizer\.beta: unknown key 'beta'; did you mean 'betas'",
        ),
        ({"terms": {"l1": {}}, "optimizer": {"use": "adam", "betas": [2, 3]}}, r"optimizer: .*[Ii]nvalid beta"),
        ({"terms": {"l1": {}}, "optimizer": {"lr": -1}}, r"optimizer: .*[Ii]nvalid learning rate"),
        (
            {"terms": {"l1": {}}, "optimizer": {"lr": {"use": "cosine", "start": 1, "over": 5, "warmup": 9}}},
            r"optimizer\.lr: cosine: warmup",
        ),
        (
            {"terms": {"l1": {"weight": {"use": "cosine", "start": 1, "over": 5, "warmup": 9}}}},
            r"terms\.l1\.weight: cosine: warmup",
        ),
    ],
)
def test_an_inconsistent_stage_is_rejected(bench, stage, message):
    with pytest.raises(RecipeError, match=rf"mine\.yaml:\d+: stages\.one.*{message}|mine\.yaml:\d+: {message}"):
        bench(stage)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("torch.ones(1, 1, 7, 7)", r"shape \(1, 1, 7, 7\), but the images are 32 x 32"),
        ("torch.ones(1, 3, self.size, self.size)", r"shape \(1, 3, 32, 32\)"),
        ("torch.ones(self.size, self.size)", r"shape \(32, 32\)"),
        ("-torch.ones(1, 1, self.size, self.size)", "negative or not finite"),
        ("torch.full((1, 1, self.size, self.size), float('nan'))", "negative or not finite"),
    ],
)
def test_a_mask_of_the_wrong_size_or_sign_is_rejected(bench, plugin, weights, message):
    file = plugin(MASK.format(weights), brings="Odd")
    with pytest.raises(RecipeError, match=rf"mine\.yaml:\d+: masks\.face: .*{message}"):
        bench({"terms": {"l1": {"mask": "face"}}}, masks={"face": {"use": "odd"}}, plugins=[file, "TOY"])


def test_a_mask_cannot_weight_one_number_per_image(bench):
    contrast = {
        "use": "contrastive",
        "inputs": {"a": "identity_code", "b": "partner_identity_code", "same": "same_identity"},
    }
    built = bench({"terms": {"pair": {**contrast, "mask": "ellipse"}}}, masks={"ellipse": {}})
    with pytest.raises(
        RecipeError, match="term 'pair' gives one number per image, so mask 'ellipse' cannot weigh its error"
    ):
        built(built.batch())


def test_values_computed_from_a_partner_need_a_partner(bench):
    stage = {"terms": {"l1": {"inputs": {"output": "partner_identity_code", "target": "identity_code"}}}}
    with pytest.raises(RecipeError, match=r"'partner_identity_code' is computed from 'partner'.*pairs\.partner"):
        bench(stage, pairs={"partner": None})


def test_terms_that_reach_no_trainable_weight_are_rejected(bench):
    built = bench({"terms": {"l1": {}}, "freeze": ["encoder", "decoder"]})
    with pytest.raises(RecipeError, match=r"no term \(l1\) reaches a trained part of generator"):
        built(built.batch())


def test_initial_weights_depend_on_the_seed_of_the_recipe_alone(bench):
    from enface.training.checkpoint import digest

    stage = {**GAME, "terms": {"l1": {}, "gan": GAN}}
    torch.manual_seed(5)
    first = bench(stage)
    torch.manual_seed(6)
    second = bench(stage)
    other = bench(stage, seed=1)
    for module in (lambda built: built.generator, lambda built: built.step.critics["patch"].module):
        assert digest(module(first)) == digest(module(second)) != digest(module(other))


def test_an_optional_input_is_passed_if_it_is_available(bench, plugin):
    body = (
        "class Opt(Loss):\n    '''Opt.'''\n"
        "    def forward(self, output, pose=None, age=None): return output * 0 + (pose is not None) + 2 * (age is not None)\n"  # noqa: E501
    )
    built = bench({"terms": {"opt": {}}}, plugins=[plugin(body, brings="Opt"), "TOY"])
    assert built(built.batch())["term/opt"] == 1


def test_freezing_ends_with_the_stage(bench):
    built = bench({"terms": {"l1": {}}, "freeze": ["encoder"]})
    object.__setattr__(built.loaded.recipe.stages["one"], "freeze", [])
    built.builder.freeze()
    assert all(parameter.requires_grad for parameter in built.generator.parameters())
    assert built.generator.encoder.training


def test_every_optimizer_that_a_message_lists_can_take_a_step(bench):
    with pytest.raises(RecipeError) as caught:
        bench({"terms": {"l1": {}}, "optimizer": {"use": "zzzz"}})
    known = str(caught.value).partition("known: ")[2].split(", ")
    assert {"adam", "adamw", "sgd"} <= set(known)
    for name in known:
        try:
            built = bench(
                {"terms": {"l1": {}}, "optimizer": {"use": name, "lr": 1e-3}}, generator={"use": "unet", "width": 4}
            )
        except RecipeError as error:
            assert "optimizer" in str(error)  # noqa: PT017
            continue
        built(built.batch())


def test_recipes_load_the_installed_components(load):
    assert load().plugins.has_plugin("components")
    assert load_plugins().has_plugin("components")
