"""The true flow of a batch: exact under crops, shifts and flips; rendered once, and only if it is requested."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from enface.data.augment import CropFlip
from enface.errors import DataError
from enface.training.prepare import prepare_run
from enface_tools.packs import geometry, reading
from enface_tools.packs.image_format import ImageFormat
from enface_tools.packs.remote import write_pack

SIZE, SEEN = 40, 32
PLANES = """
import numpy as np
class Planes(Dataset):
    '''A plane whose every point has its own colour; a pose moves the camera by as many pixels, and light changes none.

    Args:
        people: Number of identities.
    '''
    pairs = {
        "target": {"same": ["identity"], "where": {"pose": 0, "light": 1}},
        "partner": {"adjacent": "pose", "same": ["identity", "light"], "chance": 0.5},
    }
    view_columns = ("identity", "pose")
    def __init__(self, *, people: int = 3):
        self.people = people
    def rows(self):
        for who in range(self.people):
            for pose in (-6, -3, 0, 3, 6):
                for light in (0, 1):
                    yield {"key": f"{who}_{pose}_{light}", "identity": f"p{who}", "pose": pose, "light": light}
    def image(self, row):
        down, across = np.mgrid[:40, :40]
        pose, who = int(row["pose"]), int(row["identity"][1:])
        return np.stack([100 + down + pose // 3, 100 + across + pose, np.full((40, 40), who)], -1).astype(np.uint8)
    def correspondence(self, source, target):
        if source["identity"] != target["identity"]:
            return None
        move = int(target["pose"]) - int(source["pose"])
        down, across = np.mgrid[:40, :40]
        flow = np.stack([np.full((40, 40), move), np.full((40, 40), move // 3)])
        there = (across + flow[0], down + flow[1])
        return flow.astype(np.float16), np.all([(place >= 0) & (place < 40) for place in there], axis=0)
"""
DATA = {"use": "planes", "size": SEEN, "load_size": SIZE, "split": {"by": "identity", "train": 1, "val": 1}}


@pytest.fixture
def planes(load, plugin, tmp_path, monkeypatch):
    """Load a recipe of the planes, with an empty cache; return its run and the list of calls of ``correspondence``."""
    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path / "cache"))
    file = plugin(PLANES, brings="Planes")

    def prepare(**data):
        loaded = load({"plugins": [file], "data": {**DATA, **data}})
        component, calls = loaded.catalog.get("dataset", "planes").component, []
        original = component.correspondence

        def counted(self, source, target):
            calls.append((source["key"], target["key"]))
            return original(self, source, target)

        monkeypatch.setattr(component, "correspondence", counted)
        return prepare_run(loaded), calls

    return prepare


def row_of(run, key: str) -> int:
    return int(np.flatnonzero(run.pack.table["key"] == key)[0])


def all_pairs(run, **others):
    """Every row as a source, with its person's target; ``others`` are rows of further roles."""
    table = run.pack.table
    target = [row_of(run, f"{who[1:]}_0_1") for who in table["identity"]]
    return {"source": np.arange(len(table)), "target": np.asarray(target), **others}


def drawn(seed: int, count: int, first: int, last: int, flip: float) -> CropFlip:
    rng = np.random.default_rng(seed)
    places = rng.integers(first, last, size=(2, count), endpoint=True)
    return CropFlip(places[0], places[1], rng.random(count) < flip)


def colours(images: torch.Tensor) -> np.ndarray:
    """Images in [-1, 1] as the colours of the dataset, one number per pixel: (N, H, W)."""
    levels = ((images + 1) * 127.5).round().long()
    return (levels[:, 0] * 1000 + levels[:, 1]).numpy()


def check_exact(source: np.ndarray, target: np.ndarray, flow: np.ndarray, visible: np.ndarray) -> None:
    """Every point has its own colour, so a point is visible if its colour is in the source, and its place is there."""
    for image, wanted, way, seen in zip(source, target, flow, visible[:, 0], strict=True):
        assert np.array_equal(seen > 0, np.isin(wanted, image))
        rows, columns = np.nonzero(seen)
        across, down = (columns + way[0, rows, columns], rows + way[1, rows, columns])
        assert np.array_equal(across, across.round())
        assert np.array_equal(image[down.astype(int), across.astype(int)], wanted[rows, columns])


@pytest.mark.parametrize(
    "moves",
    [
        None,
        {},
        {"source": (0, 8, 0.0), "target": (0, 8, 0.0)},
        {"source": (4, 4, 0.5), "target": (4, 4, 0.5)},
        {"source": (0, 8, 0.5)},
        {"target": (0, 8, 0.5)},
        {"source": (-7, 15, 0.5), "target": (-7, 15, 0.5)},
    ],
)
def test_the_flow_is_exact_under_independent_crops_shifts_and_flips(planes, moves):
    run, _ = planes()
    columns, rows = run.batches(("source", "target")), all_pairs(run)
    crops = None
    if moves is not None:
        count = len(rows["source"])
        crops = {name: drawn(seed, count, *how) for seed, (name, how) in enumerate(moves.items())}
    batch = {name: columns.gather(name, rows, crops) for name in ("source", "target", "source_flow", "source_visible")}
    flow, visible = batch["source_flow"], batch["source_visible"]
    assert (flow.dtype, flow.shape) == (torch.float32, (30, 2, SEEN, SEEN))
    assert (visible.dtype, visible.shape) == (torch.float32, (30, 1, SEEN, SEEN))
    assert 0.4 < float(visible.mean()) <= 1
    check_exact(colours(batch["source"]), colours(batch["target"]), flow.numpy(), visible.numpy())


def test_hand_worked_places(planes):
    """Pose 3 sees the plane 3 pixels further right and 1 lower, so the target's points are to the left and above."""
    run, _ = planes()
    columns = run.batches(("source", "target"))
    rows = {"source": np.array([row_of(run, "0_3_0")]), "target": np.array([row_of(run, "0_0_1")])}
    flow = columns.gather("source_flow", rows)[0]
    assert flow[:, 5, 9].tolist() == [-3, -1]
    shifted = {"source": CropFlip(np.array([4]), np.array([2]), np.array([False]))}
    assert columns.gather("source_flow", rows, shifted)[0, :, 5, 9].tolist() == [-1, -1]
    # Column 9 - 3 of the source is column 31 - 6 of its mirror image.
    flipped = {"source": CropFlip(np.array([4]), np.array([4]), np.array([True]))}
    assert columns.gather("source_flow", rows, flipped)[0, :, 5, 9].tolist() == [25 - 9, -1]
    visible = columns.gather("source_visible", rows)[0, 0]
    assert not visible[:, :3].any()
    assert not visible[0].any()
    assert visible[1:, 3:].all()


def test_partners_of_the_same_person_have_a_flow_and_others_have_none(planes):
    run, _ = planes()
    partner = np.array([row_of(run, "0_-6_0")] * 10 + [row_of(run, "0_6_1")] * 20)
    columns, rows = run.batches(("source", "target", "partner")), all_pairs(run, partner=partner)
    assert {"partner_flow", "partner_visible", "source_flow", "source_visible"} <= {*columns.names}
    flow, visible = columns.gather("partner_flow", rows), columns.gather("partner_visible", rows)
    assert flow[:10, 0].unique().tolist() == [6]
    assert flow[:10, 1].unique().tolist() == [2]
    assert visible[:10].mean() > 0.7
    assert not flow[10:].any()
    assert not visible[10:].any()
    assert columns.gather("source_visible", rows)[10:].any()


def test_nothing_is_computed_before_a_request_and_each_pair_of_views_once(planes):
    run, calls = planes()
    columns, rows = run.batches(("source", "target")), all_pairs(run)
    columns.gather("source", rows)
    assert not calls
    first = columns.gather("source_flow", rows)
    # 3 people with 5 poses and one target; lights share a view.
    assert len(calls) == len(set(calls)) == 15
    columns.gather("source_visible", rows)
    again = run.batches(("source", "target")).gather("source_flow", rows)
    assert len(calls) == 15
    assert torch.equal(again, first)


def test_other_pairs_are_computed_for_other_rules(planes, load, tmp_path):
    run, calls = planes()
    run.batches(("source", "target")).gather("source_flow", all_pairs(run))
    run.recipe.pairs.target.where.clear()
    rows = {"source": np.array([row_of(run, "0_3_0")]), "target": np.array([row_of(run, "0_-3_0")])}
    assert run.batches(("source", "target")).gather("source_flow", rows)[0, :, 5, 9].tolist() == [-6, -2]
    assert len(calls) == 15 + 3 * 25


def test_a_failure_leaves_nothing_behind_and_names_the_cause(planes, monkeypatch, tmp_path):
    run, _ = planes()
    component = run.loaded.catalog.get("dataset", "planes").component
    with monkeypatch.context() as patch:

        def fails(self, source, target):
            raise DataError(f"no mesh of {source['key']}")

        patch.setattr(component, "correspondence", fails)
        with pytest.raises(DataError, match="no mesh of 0_-6_0"):
            run.batches(("source", "target")).gather("source_flow", all_pairs(run))
    folder = tmp_path / "cache" / "packs" / "flow"
    assert not [path for path in folder.iterdir() if path.is_dir()]
    run.batches(("source", "target")).gather("source_flow", all_pairs(run))
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 1


def test_several_processes_give_the_same_arrays(planes, monkeypatch, tmp_path):
    run, calls = planes()
    run.batches(("source", "target")).gather("source_flow", all_pairs(run))
    (folder,) = [path for path in (tmp_path / "cache" / "packs" / "flow").iterdir() if path.is_dir()]
    alone = {name: np.load(folder / name) for name in (geometry.FLOW, geometry.VISIBLE)}
    folder.rename(tmp_path / "alone")
    monkeypatch.setattr(geometry, "CHUNK", 4)
    monkeypatch.setattr(reading, "cores", lambda: 2)
    calls.clear()
    run.batches(("source", "target")).gather("source_flow", all_pairs(run))
    assert not calls, "others compute them"
    for name, array in alone.items():
        assert np.array_equal(np.load(folder / name), array)


def test_a_dataset_without_geometry_has_no_such_columns(load):
    run = prepare_run(load())
    assert not [name for name in run.batches(("source", "target", "partner")).names if "flow" in name]


# ------------------------------------------------------------------ packs from elsewhere


def test_a_written_pack_has_the_columns_of_its_parameters(planes, tmp_path):
    made, _ = planes(people=4)
    write_pack(made.pack, str(tmp_path / "written"), lambda done, total: None)
    run, calls = planes(pack=str(tmp_path / "written"))
    rows = all_pairs(run)
    assert len(rows["source"]) == 40
    flow = run.batches(("source", "target")).gather("source_flow", rows)
    assert len(calls) == 20
    assert torch.equal(flow, made.batches(("source", "target")).gather("source_flow", rows))


def test_a_written_pack_of_other_images_is_refused(planes, tmp_path, monkeypatch):
    made, _ = planes()
    write_pack(made.pack, str(tmp_path / "written"), lambda done, total: None)
    run, _ = planes(pack=str(tmp_path / "written"))
    component = run.loaded.catalog.get("dataset", "planes").component
    original = component.image
    monkeypatch.setattr(component, "image", lambda self, row: original(self, row) // 2)
    with pytest.raises(DataError, match="written: dataset planes renders another image 0_-6_0 here than the pack has"):
        run.batches(("source", "target")).gather("source_flow", all_pairs(run))


# ------------------------------------------------------------------ images of other shapes


@pytest.mark.parametrize(
    ("fit", "size", "expected"),
    [
        # Half the size.
        ("crop", (20, 30), (3.0, 2.0)),
        # The middle 40 x 40 of 40 x 60, unscaled, and twice as large.
        ("crop", (40, 40), (6.0, 4.0)),
        ("crop", (80, 80), (12.0, 8.0)),
        # All 60 columns in 30, between stripes.
        ("pad", (30, 30), (3.0, 2.0)),
        ("stretch", (20, 60), (6.0, 2.0)),
    ],
)
def test_the_flow_is_scaled_as_its_images_are_fitted(fit, size, expected):
    flow = np.stack([np.full((40, 60), 6, np.float16), np.full((40, 60), 4, np.float16)])
    fitted = ImageFormat(size, fit=fit).flow(flow)
    assert (fitted.shape, fitted.dtype) == ((2, *size), np.float16)
    middle = fitted[:, size[0] // 2, size[1] // 2]
    assert middle.tolist() == list(expected)
    if fit == "pad":
        assert not fitted[:, :5].any()
        assert fitted[:, 5:25].all()


# ------------------------------------------------------------------ training and evaluation

WARP = {"use": "warp", "trunk": {"use": "unet", "width": 4}}


def test_a_run_is_trained_and_measured_with_the_true_flow(enface, recipe, plugin, tmp_path):
    term = {"flow_epe": {"weight": 0.1}, "l1": {}}
    path = recipe(
        {
            "plugins": [plugin(PLANES, brings="Planes")],
            "data": DATA,
            "generator": WARP,
            "augment": {"crop": {}, "flip": {"mirror": {"pose": "negate"}}},
            "stages": {"main": {"steps": 2, "terms": term}},
            "metrics": ["mae", "flow_error"],
        }
    )
    result = enface("run", path, "--runs", tmp_path / "runs")
    assert result.code == 0, result.err
    (run,) = tmp_path.glob("runs/toy/*")
    summary = json.loads(next(run.glob("evaluation/**/summary.json")).read_text())
    assert "flow_error" in json.dumps(summary)
    steps = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [line for line in steps if any("flow_epe" in key for key in line)] or [
        line for line in steps if "flow_epe" in json.dumps(line)
    ]
    assert losses


def test_a_term_on_data_without_geometry_is_refused_with_advice(enface, recipe, tmp_path):
    path = recipe({"generator": WARP, "stages": {"main": {"terms": {"flow_epe": {}}}}})
    result = enface("run", path, "--runs", tmp_path / "runs")
    assert result.code == 2
    assert "stages.main.terms.flow_epe" in result.err
    assert "requests 'source_flow', which nothing provides" in result.err
    assert "as synthetic_heads does" in result.err


def test_a_term_on_a_generator_without_flow_is_refused_with_advice(enface, recipe, plugin, tmp_path):
    path = recipe(
        {
            "plugins": [plugin(PLANES, brings="Planes")],
            "data": DATA,
            "stages": {"main": {"terms": {"flow_epe": {}}}},
        }
    )
    result = enface("run", path, "--runs", tmp_path / "runs")
    assert result.code == 2
    assert "requests 'flow', which nothing provides" in result.err
    assert "as warp does" in result.err
