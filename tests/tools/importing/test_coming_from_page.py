"""The tables of the page "From pix2pix, BasicSR, joliGEN" are what the importer does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from enface_tools.importing.importer import PROGRAMS
from enface_tools.importing.translation import Translation

SAMPLES = Path(__file__).parent / "samples"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "researcher" / "coming-from.md"
FILES = {"pix2pix": "train_opt.txt", "basicsr": "restoration.yml", "joligen": "train_config.json"}
# Values by which options that the samples leave at their defaults become keys.
CHANGES: dict[str, list[dict[str, Any]]] = {
    "pix2pix": [
        {"netG": "unet_256", "no_dropout": False, "input_nc": 1, "output_nc": 1, "gpu_ids": "-1"},
        {"continue_train": True, "max_dataset_size": 10, "lr_policy": "step"},
        {"niter": 1, "niter_decay": 1},
    ],
    "basicsr": [
        {
            **{"scale": 2, "datasets.train.meta_info_file": "x", "datasets.train.meta_info": "x"},
            **{"train.warmup_iter": 5, "train.net_d_iters": 2, "train.net_d_init_iters": 3},
            **{"path.resume_state": "x", "path.pretrain_network_d": "x"},
        }
    ],
    "joligen": [
        {
            **{"model_input_nc": 1, "model_output_nc": 1, "data_image_bits": 16, "dataaug_no_flip": False},
            **{"dataaug_no_rotate": False, "G_dropout": True, "G_spectral": True, "D_dropout": True},
            **{"dataaug_APA": True, "dataaug_D_diffusion": True, "dataaug_D_noise": 0.1, "alg_cut_nce_idt": True},
            **{"with_amp": True, "with_torch_compile": True, "train_continue": True},
        },
        {"train_lr_policy": "step"},
        {"train_lr_policy": "multistep", "train_lr_steps": [1]},
    ],
}


def table(program: str) -> dict[str, str]:
    """What each option becomes, as the page shows it."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {PROGRAMS[program].title}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.*?) \|", text, re.M))


def becomes(program: str) -> dict[str, str]:
    """The key that each option sets; "the same" if it needs none, "-" if it has no equivalent."""
    keys: dict[str, str] = {}
    for changes in ({}, *CHANGES[program]):
        options = {**PROGRAMS[program].read(SAMPLES / FILES[program]), **changes}
        translation = Translation(options, SAMPLES, images=100)
        translation.apply(PROGRAMS[program].rules, unknown="")
        for entry in translation.entries:
            if entry.key:
                keys.setdefault(entry.option, entry.key)
    for entry in translation.entries:
        if not entry.key and entry.outcome in ("taken", "not supported"):
            keys.setdefault(entry.option, "the same" if entry.outcome == "taken" else "-")
    return keys


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_of_a_rule_has_a_row(program):
    rules = [rule for rule in PROGRAMS[program].rules if rule.apply is not None]
    options = {option for rule in rules for option in rule.options}
    if program == "pix2pix":
        options -= {"epoch", "epoch_count", "load_iter"}
    assert set(table(program)) == options


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_row_names_the_key_that_the_importer_sets(program):
    expected = becomes(program)
    for option, shown in table(program).items():
        if option not in expected or shown in ("-", "the same"):
            assert expected.get(option, "-") in ("-", "the same"), option
            continue
        pattern = re.escape(shown.strip("`")).replace("NAME", r"\w+").replace(r"terms\.gan", r"terms\.gan\w*")
        assert re.match(pattern, expected[option]), (option, expected[option])
