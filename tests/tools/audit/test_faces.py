"""One person under two names: descriptors of faces that a stand-in recogniser reads off the images."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from enface.errors import WeightsError
from enface.recipe.models import PairsModel
from enface_tools.audit import faces
from enface_tools.audit.checks import run_checks
from enface_tools.audit.faces import same_face
from enface_tools.audit.findings import AuditedData

PAIRS = {"source": {"where": {"role": "source"}}, "target": {"same": ["pair"], "where": {"role": "target"}}}


class Stub:
    """A face is the red of the first pixel: 100 levels are a distance of 1, black is no face."""

    def __init__(self):
        self.described = []

    def __call__(self, image):
        level = float(image[0, 0, 0, 0]) * 255
        self.described.append(level)
        return torch.tensor([[level / 100, 0.0]]) if level else torch.full((1, 2), torch.nan)


@pytest.fixture
def stub(monkeypatch):
    recogniser = Stub()
    monkeypatch.setattr(faces, "open_recogniser", lambda file, undetected: recogniser)
    return recogniser


def data(levels, train, val=()):
    """One pair per person: the level of each person's target; sources have no face. The rest is tested."""
    rows = [
        {"key": f"{role}/{person}", "identity": str(person), "pair": str(person), "role": role}
        for person in range(len(levels))
        for role in ("source", "target")
    ]
    table = pd.DataFrame(rows)
    images = np.zeros((len(table), 3, 8, 8), np.uint8)
    images[1::2, :, 0, 0] = np.array(levels)[:, None]
    place = np.arange(len(table)) // 2
    parts = {"train": place < train, "val": np.isin(place, val), "test": (place >= train) & ~np.isin(place, val)}
    recipe = SimpleNamespace(name="faces", pairs=PairsModel.model_validate(PAIRS))
    return AuditedData(recipe, table, images, {name: np.flatnonzero(rows) for name, rows in parts.items()})


def people_of(audited, suspects):
    return [tuple(audited.table["identity"].iloc[[item.row, item.other]]) for item in suspects]


def test_close_faces_across_splits_are_warnings_and_in_one_split_notes(stub):
    # 0.37 apart: 0 and 3. 0.39 apart: 3 and 4, both tested. 0.2: 1 and 2, both trained.
    audited = data([10, 200, 220, 47, 86], train=3)
    finding = same_face(audited)
    assert [item.severity for item in finding.suspects] == ["warning", "note"]
    assert people_of(audited, finding.suspects) == [("0", "3"), ("1", "2")]
    assert [round(item.value, 2) for item in finding.suspects] == [0.37, 0.2]
    assert "0 in train and 3 in test" in finding.suspects[0].detail
    assert "1 and 2, both in train" in finding.suspects[1].detail
    assert finding.remark == "5 faces in 10 images of 5 of 5 people; limit 0.38."


def test_a_person_with_many_names_gives_one_suspect_each(stub):
    audited = data([100] * 6, train=3)
    across = [item for item in same_face(audited).suspects if item.severity == "warning"]
    assert len(across) <= 5
    assert {name for pair in people_of(audited, across) for name in pair} == set("012345")


def test_faces_that_are_all_alike_lower_the_limit(stub):
    # Neighbours are 0.1 apart, which is usual here and no sign of one person.
    finding = same_face(data(range(16, 256, 10), train=12))
    assert finding.suspects == []
    assert finding.remark.endswith("so little can be found.")


def test_the_limit_takes_held_out_people_first_and_targets_first(stub):
    audited = data(range(100, 120), train=15, val=(15, 16))
    finding = same_face(audited, faces=8)
    # Four of the five held-out people, four of the fifteen others; one image each, the target.
    assert len(stub.described) == 8
    assert sum(level >= 115 for level in stub.described) == 4
    assert 0 not in stub.described
    assert "8 of 20 people" in finding.remark


def test_data_without_faces_is_not_searched_to_its_end(stub):
    finding = same_face(data([0] * 40, train=30))
    assert len(stub.described) == faces.PATIENCE
    assert (finding.suspects, finding.remark) == ([], "No face in the first 12 images; nothing was compared.")


def test_one_name_in_two_splits_is_left_to_identity_leak(stub):
    audited = data([50, 150, 250], train=2)
    audited.table["identity"] = ["a", "a", "b", "b", "a", "a"]
    audited.images[5, :, 0, 0] = 50
    assert same_face(audited).suspects == []


def test_without_a_recogniser_it_says_what_to_install(monkeypatch):
    def missing(file, undetected):
        raise WeightsError("dlib is missing")

    monkeypatch.setattr(faces, "open_recogniser", missing)
    finding = same_face(data([100, 100], train=1))
    assert finding.severity == "ok"
    assert 'pip install "enface[identity]"' in finding.remark


def test_zero_skips_it(stub):
    audited = data([100, 100, 30, 60], train=2)
    audited.recipe.data = SimpleNamespace(split=SimpleNamespace(by="identity"))
    whole = {finding.check: finding for finding in run_checks(audited, faces=0).findings}
    assert (whole["same_face"].remark, stub.described) == ("Skipped.", [])
    # Names of pairs are no labels, and do not make views.
    assert audited.view_columns == ["role"]
    assert whole["labels"].suspects == []
