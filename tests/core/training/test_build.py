"""What does not fit together is refused when it is built, naming file and key."""

from __future__ import annotations

import pytest
import torch

from enface.errors import RecipeError
from enface.plugin.manager import load_plugins

GAME = {"discriminators": {"patch": {"use": "patch_gan", "width": 4, "layers": 1}}}
GAN = {"use": "hinge", "against": "patch"}
MASK = (
    "class Odd(Mask):\n    '''Odd.'''\n"
    "    def __init__(self, *, data: DataInfo):\n        super().__init__()\n        self.size = data.size\n"
    "    def forward(self): return {}\n"
)


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        (
            {"terms": {"cross_entropy": {}}},
            r"stages\.one\.terms\.cross_entropy: requests 'logits', which nothing provides; provided: .*pose_logits.*source",  # noqa: E501
        ),
        ({"terms": {"l1": {"inputs": {"target": "targt"}}}}, r"terms\.l1.*asks for 'targt'"),
        (
            {"terms": {"l1": {"inputs": {"tagret": "source"}}}},
            r"terms\.l1\.inputs.*no input 'tagret'; did you mean 'target'\?",
        ),
        ({"terms": {"l1": {"inputs": {"target": "real_logits"}}}}, r"asks for 'real_logits'"),
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
        ({"terms": {"l1": {}}, "freeze": ["encoder", "decoder", "heads"]}, r"freeze: leaves nothing"),
        (
            {"terms": {"l1": {}}, "batch": 5, "accumulate": 2},
            r"batch: 5 images cannot be split evenly over 1 processes x 2 parts",
        ),
        (
            {"terms": {"l1": {}}, "optimizer": {"use": "adamm"}},
            r"optimizer\.use: torch\.optim has no 'adamm'; did you mean 'adam",
        ),
        ({"terms": {"l1": {}}, "optimizer": {"use": "optimizer"}}, r"optimizer\.use: torch\.optim has no 'optimizer'"),
        ({"terms": {"l1": {}}, "optimizer": {"use": "lbfgs"}}, r"optimizer\.use: torch\.optim has no 'lbfgs'"),
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
def test_a_stage_that_does_not_fit_together(bench, stage, says):
    with pytest.raises(RecipeError, match=rf"mine\.yaml:\d+: stages\.one.*{says}|mine\.yaml:\d+: {says}"):
        bench(stage)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("torch.ones(1, 1, 7, 7)", r"shape \(1, 1, 7, 7\), but the images are 32 x 32"),
        ("torch.ones(1, 3, self.size, self.size)", r"shape \(1, 3, 32, 32\)"),
        ("torch.ones(self.size, self.size)", r"shape \(32, 32\)"),
        ("-torch.ones(1, 1, self.size, self.size)", "negative or not finite"),
        ("torch.full((1, 1, self.size, self.size), float('nan'))", "negative or not finite"),
    ],
)
def test_a_mask_of_the_wrong_size_or_sign(bench, plugin, weights, says):
    file = plugin(MASK.format(weights), brings="Odd")
    with pytest.raises(RecipeError, match=rf"mine\.yaml:\d+: masks\.face: .*{says}"):
        bench({"terms": {"l1": {"mask": "face"}}}, masks={"face": {"use": "odd"}}, plugins=[file, "TOY"])


def test_a_mask_cannot_weigh_one_number_an_image(bench):
    contrast = {
        "use": "contrastive",
        "inputs": {"a": "identity_code", "b": "partner_identity_code", "same": "same_identity"},
    }
    made = bench({"terms": {"pair": {**contrast, "mask": "ellipse"}}}, masks={"ellipse": {}})
    with pytest.raises(RecipeError, match="term 'pair' gives one number an image"):
        made(made.batch())


def test_what_is_computed_from_a_partner_needs_one(bench):
    stage = {"terms": {"l1": {"inputs": {"output": "partner_identity_code", "target": "identity_code"}}}}
    with pytest.raises(RecipeError, match=r"'partner_identity_code' is computed from 'partner'.*pairs\.partner"):
        bench(stage, pairs={"partner": None})


def test_terms_that_reach_no_weight_that_learns_are_refused(bench):
    made = bench({"terms": {"l1": {}}, "freeze": ["encoder", "decoder"]})
    with pytest.raises(RecipeError, match="no term"):
        made(made.batch())


def test_networks_follow_from_the_recipes_seed(bench):
    from enface.training.checkpoint import digest

    stage = {**GAME, "terms": {"l1": {}, "gan": GAN}}
    torch.manual_seed(5)
    first = bench(stage)
    torch.manual_seed(6)
    second = bench(stage)
    other = bench(stage, seed=1)
    for module in (lambda made: made.generator, lambda made: made.step.critics["patch"].module):
        assert digest(module(first)) == digest(module(second)) != digest(module(other))


def test_an_optional_input_is_given_where_it_is_there(bench, plugin):
    body = (
        "class Opt(Loss):\n    '''Opt.'''\n"
        "    def forward(self, output, pose=None, age=None): return output * 0 + (pose is not None) + 2 * (age is not None)\n"  # noqa: E501
    )
    made = bench({"terms": {"opt": {}}}, plugins=[plugin(body, brings="Opt"), "TOY"])
    assert made(made.batch())["term/opt"] == 1


def test_freezing_ends_with_the_stage(bench):
    made = bench({"terms": {"l1": {}}, "freeze": ["encoder"]})
    object.__setattr__(made.loaded.recipe.stages["one"], "freeze", [])
    made.builder.freeze()
    assert all(parameter.requires_grad for parameter in made.generator.parameters())
    assert made.generator.encoder.training


def test_every_optimizer_that_is_offered_can_take_a_step(bench, load):
    with pytest.raises(RecipeError) as caught:
        bench({"terms": {"l1": {}}, "optimizer": {"use": "zzzz"}})
    known = str(caught.value).partition("known: ")[2].split(", ")
    assert {"adam", "adamw", "sgd"} <= set(known)
    for name in known:
        try:
            made = bench(
                {"terms": {"l1": {}}, "optimizer": {"use": name, "lr": 1e-3}}, generator={"use": "unet", "width": 4}
            )
        except RecipeError as error:
            assert "optimizer" in str(error)  # noqa: PT017
            continue
        made(made.batch())


def test_components_come_from_the_same_plugins(load):
    assert load().plugins.has_plugin("components")
    assert load_plugins().has_plugin("components")
