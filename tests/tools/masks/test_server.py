"""Hand-drawn masks: annotation files, their union, and a server that accepts requests from its own page only."""

from __future__ import annotations

import http.client
import json
import re
import threading

import numpy as np
import pytest
from PIL import Image

from enface.errors import DataError, EnfaceError
from enface.plugin.components import Targets
from enface_tools.masks.annotations import (
    annotations_path,
    as_points,
    mask_weights,
    parse_annotations,
    prepare_output,
    read_annotations,
    union,
    write_annotations,
)
from enface_tools.masks.server import AnnotationServer, open_session, render_page

SHAPE = (6, 8)
HOSTILE = '</script><script>alert("x")</script>'


def marked(*points):
    annotation = np.zeros(SHAPE, np.bool_)
    for row, column in points:
        annotation[row, column] = True
    return annotation


def targets(*keys):
    images = np.random.default_rng(0).integers(0, 256, (len(keys), 3, *SHAPE)).astype(np.uint8)
    return Targets(keys, images, None, ())


@pytest.fixture
def session(tmp_path):
    return open_session("toy", targets("a", "b"), tmp_path / "mask.npy")


# ------------------------------------------------------------------ annotations


def test_annotations_are_read_back_as_written(tmp_path):
    annotations = {"a": marked((0, 0), (5, 7)), "ünï": marked((2, 3)), "none": marked()}
    path = tmp_path / "x.marks.json"
    write_annotations(path, annotations, SHAPE)
    read = read_annotations(path, SHAPE)
    assert set(read) == {"a", "ünï"}
    assert all((read[key] == annotations[key]).all() for key in read)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_the_union_has_the_pixels_marked_on_any_face():
    either = union({"a": marked((0, 1), (2, 2)), "b": marked((2, 2), (5, 0))}, SHAPE)
    assert np.argwhere(either).tolist() == [[0, 1], [2, 2], [5, 0]]
    assert not union({}, SHAPE).any()


def test_weights_are_inside_where_marked_and_outside_elsewhere():
    weights = mask_weights(marked((1, 2)), 5, 1)
    assert weights.dtype == np.float32
    assert weights[1, 2] == 5
    assert weights.sum() == 6 * 8 - 1 + 5


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        ([], "must map"),
        ({"a": {}}, "must be a list"),
        ({"a": [[1]]}, "not a [row, column]"),
        ({"a": [[1, 2, 3]]}, "not a [row, column]"),
        ({"a": [[1, True]]}, "not a [row, column]"),
        ({"a": [[1.0, 2]]}, "not a [row, column]"),
        ({"a": ["12"]}, "not a [row, column]"),
        ({"a": [[0, 0], [6, 0]]}, "outside the image of 6 x 8"),
        ({"a": [[0, 8]]}, "outside the image of 6 x 8"),
        ({"a": [[-1, 0]]}, "outside the image of 6 x 8"),
        ({"c": [[0, 0]]}, "no face has the key 'c'"),
    ],
)
def test_malformed_annotations_are_refused(plain, says):
    with pytest.raises(DataError, match=re.escape(says)):
        parse_annotations(plain, SHAPE, {"a", "b"})


def test_without_keys_any_image_may_be_annotated():
    assert as_points(parse_annotations({"anyone": [[5, 7], [0, 0]], "b": []}, SHAPE)) == {"anyone": [[0, 0], [5, 7]]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"height": 6, "width": 8}',
        '{"height": 6, "width": 8, "marks": {"a": [[9, 0]]}}',
        "[" * 9**5,
    ],
    ids=["empty", "list", "map", "null", "no marks", "outside", "deep"],
)
def test_a_damaged_annotation_file_is_named(tmp_path, text):
    path = tmp_path / "x.marks.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"x\.marks\.json are damaged.*fix or move"):
        read_annotations(path, SHAPE)


def test_annotations_of_another_size_are_refused(tmp_path):
    write_annotations(tmp_path / "x.marks.json", {"a": marked((0, 0))}, SHAPE)
    with pytest.raises(DataError, match=r"6 x 8, but the recipe's are 12 x 16.*set data\.size"):
        read_annotations(tmp_path / "x.marks.json", (12, 16))


# ------------------------------------------------------------------ the file


def test_a_mask_without_annotations_is_not_replaced(tmp_path):
    out = tmp_path / "deep" / "mask.npy"
    prepare_output(out)
    out.touch()
    with pytest.raises(EnfaceError, match=r"annotations \(mask\.marks\.json\) do not"):
        prepare_output(out)
    annotations_path(out).touch()
    prepare_output(out)
    with pytest.raises(EnfaceError, match=r"\.npy"):
        prepare_output(tmp_path / "mask.png")
    with pytest.raises(EnfaceError, match="cannot create"):
        prepare_output(out / "below.npy")


@pytest.mark.parametrize(("inside", "outside"), [(1, 1), (1, 5), (float("nan"), 1), (float("inf"), 1), (1, -1)])
def test_weights_that_do_not_distinguish_marked_pixels_are_refused(tmp_path, inside, outside):
    with pytest.raises(EnfaceError, match="--inside"):
        open_session("toy", targets("a"), tmp_path / "m.npy", inside=inside, outside=outside)


def test_saving_writes_mask_picture_and_annotations(session):
    message = session.save({"a": marked((0, 0)), "b": marked((0, 0), (3, 4))})
    assert str(session.out.resolve()) in message
    values = np.load(session.out)
    assert values.shape[:2] == SHAPE
    assert np.argwhere(values.reshape(*SHAPE, -1)[..., 0] == 5).tolist() == [[0, 0], [3, 4]]
    assert (np.unique(values) == [1, 5]).all()
    with Image.open(session.out.with_suffix(".png")) as picture:
        assert picture.width > picture.height > 0
    assert json.loads(annotations_path(session.out).read_text())["marks"] == {"a": [[0, 0]], "b": [[0, 0], [3, 4]]}


def test_saving_an_empty_mask_leaves_the_saved_one(session):
    session.save({"a": marked((1, 1))})
    before = session.out.read_bytes(), annotations_path(session.out).read_bytes()
    with pytest.raises(DataError, match="nothing is marked"):
        session.save({})
    assert before == (session.out.read_bytes(), annotations_path(session.out).read_bytes())


def test_annotations_of_other_images_are_kept_and_count(session):
    session.save({"a": marked((1, 1)), "b": marked((2, 2))})
    later = open_session("toy", targets("b", "c"), session.out)
    assert as_points(later.off_page) == {"a": [[1, 1]]}
    later.save({"c": marked((3, 3))})
    assert as_points(read_annotations(annotations_path(session.out), SHAPE)) == {"a": [[1, 1]], "c": [[3, 3]]}
    assert np.argwhere(np.load(session.out).reshape(*SHAPE, -1)[..., 0] == 5).tolist() == [[1, 1], [3, 3]]


# ------------------------------------------------------------------ the page and its server


def test_the_page_loads_nothing_and_escapes_names(tmp_path):
    session = open_session(HOSTILE, targets(HOSTILE), tmp_path / "mask.npy")
    text = render_page(session, "nonce")
    assert HOSTILE not in text
    assert "alert" in text
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|@import|url\(|https?:""", text)
    contents = json.loads(re.search(r'type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)[1])
    assert contents["faces"][0]["key"] == HOSTILE


@pytest.fixture
def served(session):
    with AnnotationServer(session) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


@pytest.fixture
def ask(served):
    def call(method, path, body=b"", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=10)
        own = f"127.0.0.1:{served.server_port}"
        named = {"Host": own, "Origin": f"http://{own}", **headers}
        connection.request(method, path, body, {name: value for name, value in named.items() if value})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    return call


@pytest.fixture
def save(ask, served):
    def call(body, path=None, **headers):
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return ask("POST", path or f"/{served.token}/save", sent, **headers)

    return call


GOOD = {"marks": {"a": [[1, 2]]}, "close": False}


def test_it_listens_on_this_machine_only(served):
    assert served.server_address[0] == "127.0.0.1"
    assert served.address.startswith("http://127.0.0.1:")


def test_the_page_needs_the_address_that_was_printed(ask, served):
    status, text = ask("GET", f"/{served.token}/")
    assert status == 200
    assert "Draw a mask" in text
    for path in (
        "/",
        "/save",
        f"/{served.token}",
        f"/{served.token}/../etc/passwd",
        "/wrong/",
    ):
        assert ask("GET", path)[0] == 404
    assert ask("GET", f"/{served.token}/", Host="evil.example")[0] == 404


@pytest.mark.parametrize("name", ["127.0.0.1:1", "localhost:8000"])
def test_a_forwarded_port_is_this_machine_too(save, name):
    assert save(GOOD, Host=name, Origin=f"http://{name}")[0] == 200


def test_only_the_page_may_save(save, session):
    assert save(GOOD, Origin="http://evil.example")[0] == 403
    assert save(GOOD, Origin="null")[0] == 403
    assert save(GOOD, Origin=None)[0] == 403
    assert save(GOOD, Host="evil.example", Origin="http://evil.example")[0] == 403
    assert save(GOOD, path="/guess/save")[0] == 403
    assert not session.out.exists()
    assert save(GOOD)[0] == 200
    assert session.out.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff\xfe",
        [],
        {"marks": {}},
        {**GOOD, "close": 1},
        {**GOOD, "more": 1},
        {**GOOD, "marks": {"c": [[0, 0]]}},
        {**GOOD, "marks": {"a": [[0, 0]], "b": [[99, 0]]}},
        b" " * 10_000_000,
    ],
    ids=lambda body: str(body)[:30],
)
def test_a_bad_request_changes_nothing(save, session, body):
    def state():
        return session.out.read_bytes(), annotations_path(session.out).read_bytes(), as_points(session.annotations)

    save(GOOD)
    before = state()
    try:
        assert save(body)[0] == 400
    except ConnectionError:
        # The server closes the connection rather than read a body that is far too long.
        assert len(body) > 1_000_000
    assert before == state()


def test_nothing_to_save_is_reported(save):
    status, text = save({"marks": {"a": []}, "close": True})
    assert status == 409
    assert "nothing is marked" in text


def test_saved_annotations_are_on_the_reloaded_page(save, ask, served):
    save(GOOD)
    assert '"marks": [[1, 2]]' in ask("GET", f"/{served.token}/")[1]


def test_a_port_in_use_is_named(served, session):
    with pytest.raises(EnfaceError, match=f"port {served.server_port} cannot be used"):
        AnnotationServer(session, served.server_port)


def test_closing_ends_the_server(session):
    with AnnotationServer(session) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        body = json.dumps({**GOOD, "close": True})
        connection.request("POST", f"/{server.token}/save", body, {"Origin": f"http://127.0.0.1:{server.server_port}"})
        assert connection.getresponse().status == 200
        thread.join(10)
        assert not thread.is_alive()
