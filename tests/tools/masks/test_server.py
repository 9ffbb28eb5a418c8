"""Drawn masks: marks read and written, their union, and a server that answers nobody but its page."""

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
    check_out,
    marks_path,
    mask_weights,
    parse_marks,
    plain_marks,
    read_marks,
    union,
    write_marks,
)
from enface_tools.masks.server import Server, open_drawing, page

SHAPE = (6, 8)
HOSTILE = '</script><script>alert("x")</script>'


def marked(*points):
    made = np.zeros(SHAPE, np.bool_)
    for row, column in points:
        made[row, column] = True
    return made


def targets(*keys):
    images = np.random.default_rng(0).integers(0, 256, (len(keys), 3, *SHAPE)).astype(np.uint8)
    return Targets(keys, images, None, ())


@pytest.fixture
def drawing(tmp_path):
    return open_drawing("toy", targets("a", "b"), tmp_path / "mask.npy")


# ------------------------------------------------------------------ marks


def test_marks_read_back_what_was_written(tmp_path):
    marks = {"a": marked((0, 0), (5, 7)), "ünï": marked((2, 3)), "none": marked()}
    path = tmp_path / "x.marks.json"
    write_marks(path, marks, SHAPE)
    found = read_marks(path, SHAPE)
    assert set(found) == {"a", "ünï"}
    assert all((found[key] == marks[key]).all() for key in found)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_the_union_is_what_any_face_has():
    made = union({"a": marked((0, 1), (2, 2)), "b": marked((2, 2), (5, 0))}, SHAPE)
    assert np.argwhere(made).tolist() == [[0, 1], [2, 2], [5, 0]]
    assert not union({}, SHAPE).any()


def test_weights_are_inside_where_marked_and_outside_elsewhere():
    weights = mask_weights(marked((1, 2)), 5, 1)
    assert weights.dtype == np.float32
    assert weights[1, 2] == 5
    assert weights.sum() == 6 * 8 - 1 + 5


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        ([], "must be a map"),
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
def test_marks_that_are_none_are_refused(plain, says):
    with pytest.raises(DataError, match=re.escape(says)):
        parse_marks(plain, SHAPE, {"a", "b"})


def test_without_keys_any_image_may_be_marked():
    assert plain_marks(parse_marks({"anyone": [[5, 7], [0, 0]], "b": []}, SHAPE)) == {"anyone": [[0, 0], [5, 7]]}


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
def test_damaged_marks_are_named(tmp_path, text):
    path = tmp_path / "x.marks.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"x\.marks\.json are damaged.*mend or move"):
        read_marks(path, SHAPE)


def test_marks_of_another_size_are_refused(tmp_path):
    write_marks(tmp_path / "x.marks.json", {"a": marked((0, 0))}, SHAPE)
    with pytest.raises(DataError, match=r"6 x 8, but the recipe's are 12 x 16.*set data\.size"):
        read_marks(tmp_path / "x.marks.json", (12, 16))


# ------------------------------------------------------------------ the file


def test_a_mask_made_in_another_way_is_not_replaced(tmp_path):
    out = tmp_path / "deep" / "mask.npy"
    check_out(out)
    out.touch()
    with pytest.raises(EnfaceError, match="no marks"):
        check_out(out)
    marks_path(out).touch()
    check_out(out)
    with pytest.raises(EnfaceError, match=r"\.npy"):
        check_out(tmp_path / "mask.png")
    with pytest.raises(EnfaceError, match="cannot be made"):
        check_out(out / "below.npy")


@pytest.mark.parametrize(("inside", "outside"), [(1, 1), (1, 5), (float("nan"), 1), (float("inf"), 1), (1, -1)])
def test_weights_that_would_mark_nothing_are_refused(tmp_path, inside, outside):
    with pytest.raises(EnfaceError, match="--inside"):
        open_drawing("toy", targets("a"), tmp_path / "m.npy", inside=inside, outside=outside)


def test_saving_writes_mask_picture_and_marks(drawing):
    said = drawing.save({"a": marked((0, 0)), "b": marked((0, 0), (3, 4))})
    assert str(drawing.out.resolve()) in said
    values = np.load(drawing.out)
    assert values.shape[:2] == SHAPE
    assert np.argwhere(values.reshape(*SHAPE, -1)[..., 0] == 5).tolist() == [[0, 0], [3, 4]]
    assert (np.unique(values) == [1, 5]).all()
    with Image.open(drawing.out.with_suffix(".png")) as picture:
        assert picture.width > picture.height > 0
    assert json.loads(marks_path(drawing.out).read_text())["marks"] == {"a": [[0, 0]], "b": [[0, 0], [3, 4]]}


def test_saving_nothing_leaves_what_was_saved(drawing):
    drawing.save({"a": marked((1, 1))})
    before = drawing.out.read_bytes(), marks_path(drawing.out).read_bytes()
    with pytest.raises(DataError, match="nothing is marked"):
        drawing.save({})
    assert before == (drawing.out.read_bytes(), marks_path(drawing.out).read_bytes())


def test_marks_of_other_images_stay_and_count(drawing):
    drawing.save({"a": marked((1, 1)), "b": marked((2, 2))})
    later = open_drawing("toy", targets("b", "c"), drawing.out)
    assert plain_marks(later.kept) == {"a": [[1, 1]]}
    later.save({"c": marked((3, 3))})
    assert plain_marks(read_marks(marks_path(drawing.out), SHAPE)) == {"a": [[1, 1]], "c": [[3, 3]]}
    assert np.argwhere(np.load(drawing.out).reshape(*SHAPE, -1)[..., 0] == 5).tolist() == [[1, 1], [3, 3]]


# ------------------------------------------------------------------ the page and its server


def test_the_page_asks_for_nothing_and_lets_no_name_in(tmp_path):
    drawing = open_drawing(HOSTILE, targets(HOSTILE), tmp_path / "mask.npy")
    text = page(drawing, "nonce")
    assert HOSTILE not in text
    assert "alert" in text
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|@import|url\(|https?:""", text)
    contents = json.loads(re.search(r'type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)[1])
    assert contents["faces"][0]["key"] == HOSTILE


@pytest.fixture
def served(drawing):
    with Server(drawing) as server:
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


def test_only_the_page_may_save(save, drawing):
    assert save(GOOD, Origin="http://evil.example")[0] == 403
    assert save(GOOD, Origin="null")[0] == 403
    assert save(GOOD, Origin=None)[0] == 403
    assert save(GOOD, Host="evil.example", Origin="http://evil.example")[0] == 403
    assert save(GOOD, path="/guess/save")[0] == 403
    assert not drawing.out.exists()
    assert save(GOOD)[0] == 200
    assert drawing.out.exists()


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
def test_a_bad_request_changes_nothing(save, drawing, body):
    save(GOOD)
    before = drawing.out.read_bytes(), marks_path(drawing.out).read_bytes(), plain_marks(drawing.marks)
    try:
        assert save(body)[0] == 400
    except ConnectionError:
        # The server hangs up on what is far too long rather than read it.
        assert len(body) > 1_000_000
    assert before == (drawing.out.read_bytes(), marks_path(drawing.out).read_bytes(), plain_marks(drawing.marks))


def test_nothing_to_save_is_said(save):
    status, text = save({"marks": {"a": []}, "close": True})
    assert status == 409
    assert "nothing is marked" in text


def test_what_was_saved_is_on_the_page_that_is_loaded_again(save, ask, served):
    save(GOOD)
    assert '"marks": [[1, 2]]' in ask("GET", f"/{served.token}/")[1]


def test_a_port_in_use_is_named(served, drawing):
    with pytest.raises(EnfaceError, match=f"port {served.server_port} cannot be used"):
        Server(drawing, served.server_port)


def test_closing_ends_the_server(drawing):
    with Server(drawing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        body = json.dumps({**GOOD, "close": True})
        connection.request("POST", f"/{server.token}/save", body, {"Origin": f"http://127.0.0.1:{server.server_port}"})
        assert connection.getresponse().status == 200
        thread.join(10)
        assert not thread.is_alive()
