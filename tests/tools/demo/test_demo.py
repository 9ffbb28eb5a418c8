"""The demo page: outputs as of enface apply, messages for bad files, and no answer to other sites' requests."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from enface_tools.demo import server as demo_server
from enface_tools.demo.server import DemoServer
from enface_tools.demo.translator import open_translator


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from enface import train

    folder = tmp_path_factory.mktemp("demo")
    toy = Path(__file__).parents[2] / "support" / "toy.yaml"
    stage = {"steps": 2, "batch": 2, "terms": {"l1": {}}}
    (folder / "r.yaml").write_text(
        yaml.safe_dump({"extends": str(toy), "stages": {"main": stage}, "log": {"observers": []}})
    )
    return train(folder / "r.yaml", runs=folder / "runs").directory


@pytest.fixture(scope="module")
def server(run):
    with DemoServer(open_translator(run, device="cpu")) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield running
        running.shutdown()


def request(server, method="POST", name="translate", body=b"", **headers):
    """Send a request as the page does; ``headers`` replace its own. Return status, headers and content."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    host = f"127.0.0.1:{server.server_port}"
    connection.request(method, f"/{server.token}/{name}", body, {"Host": host, "Origin": f"http://{host}", **headers})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()


def png_of(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def pixels_of(uri):
    kind, _, data = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.parametrize("shape", [(32, 32, 3), (60, 40, 3), (50, 70)])
def test_the_output_is_that_of_apply(server, run, enface, tmp_path, shape):
    photo = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    (tmp_path / "photo.png").write_bytes(png_of(photo))
    assert enface("apply", run, tmp_path / "photo.png", "--out", tmp_path / "out", "--device", "cpu").code == 0
    status, _, text = request(server, body=png_of(photo))
    assert status == 200
    answer = json.loads(text)
    assert (pixels_of(answer["output"]) == np.asarray(Image.open(tmp_path / "out" / "photo.png"))).all()
    source = pixels_of(answer["source"])
    assert source.shape == (32, 32, 3)
    if shape == (32, 32, 3):
        assert (source == photo).all()


@pytest.mark.parametrize("body", [b"no image", png_of(np.zeros((40, 40, 3), np.uint8))[:60]], ids=["text", "cut off"])
def test_a_file_that_is_no_image_gets_a_message_without_paths(server, body):
    status, _, text = request(server, body=body)
    assert status == 400
    message = json.loads(text)["message"]
    assert message.startswith("this file cannot be read")
    assert "/" not in message
    assert request(server, body=png_of(np.zeros((32, 32, 3), np.uint8)))[0] == 200


def test_a_large_file_is_refused_unread(server, monkeypatch):
    monkeypatch.setattr(demo_server, "LIMIT", 1000)
    status, _, text = request(server, body=b"x" * 1001)
    assert status == 413
    assert "larger than" in json.loads(text)["message"]
    assert request(server, body=b"")[0] == 413


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}],
    ids=["rebinding", "other site", "no origin"],
)
def test_requests_of_other_sites_are_refused(server, headers):
    status, _, text = request(server, body=png_of(np.zeros((32, 32, 3), np.uint8)), **headers)
    assert status == 403
    assert json.loads(text) == {"message": "only the page itself may translate photographs"}


def test_without_the_token_there_is_no_page(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("GET", "/")
    assert connection.getresponse().status == 404
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) >= 20


def test_the_page_escapes_names_and_allows_nothing_foreign(server, monkeypatch):
    monkeypatch.setattr(server.translator, "about", "<b>toy</b>")
    status, headers, page = request(server, "GET", "")
    assert status == 200
    assert "<b>toy</b>" not in page
    assert "&lt;b&gt;toy&lt;/b&gt;" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "http://" not in page
    assert "https://" not in page


def test_a_used_port_is_named(server, run, enface):
    outcome = enface("demo", run, "--port", server.server_port, "--no-browser")
    assert outcome.code == 2
    assert f"port {server.server_port} cannot be used" in outcome.err


def test_a_photograph_chosen_in_a_browser_is_shown_beside_its_output(server, browser, tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    (tmp_path / "photo.png").write_bytes(png_of(photo))
    (tmp_path / "bad.png").write_bytes(b"no image")
    page = browser.chromium.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(server.address)
    page.set_input_files("#file", tmp_path / "photo.png")
    page.wait_for_selector("#result:visible")
    assert page.evaluate("document.getElementById('output').naturalWidth") == 32
    assert problems == []
    page.set_input_files("#file", tmp_path / "bad.png")
    page.wait_for_selector("#message.bad")
    assert "this file cannot be read" in page.inner_text("#message")
    assert page.is_hidden("#result")
    page.close()
