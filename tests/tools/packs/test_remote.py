"""Remote packs: fetched once, resumed, checked, refused with the address."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import threading
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pytest

from enface.data.open_pack import REMEDY, open_pack
from enface.data.pack import FORMAT
from enface.errors import DataError, RecipeError
from enface_tools.packs.building import make_pack
from enface_tools.packs.remote import write_pack
from enface_tools.packs.remote_files import RemoteFolder, UnreachableError

SPLIT = {"train": 4, "val": 1, "test": 1}


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    monkeypatch.delenv("ENFACE_OFFLINE")


@pytest.fixture
def packed(load):
    """The pack of the toy recipe."""
    loaded = load()
    return make_pack(loaded.recipe, loaded.catalog)


@pytest.fixture
def memory():
    """An address of this test in fsspec's file system in memory."""
    name = uuid.uuid4().hex
    yield f"memory://{name}/heads"
    files = fsspec.filesystem("memory")
    if files.exists(f"/{name}"):
        files.rm(f"/{name}", recursive=True)


@pytest.fixture
def served(tmp_path):
    """A folder, the address at which a web server serves it, and the list of its requests."""
    pytest.importorskip("aiohttp", reason="fsspec's http needs aiohttp")
    folder = tmp_path / "served"
    folder.mkdir()
    seen = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            if self.command == "GET":
                seen.append((self.path, self.headers.get("Range")))

        def do_GET(self):
            # Python's server ignores ranges; this one serves them for files in a folder called parts.
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if wanted is None or not self.path.startswith("/parts/"):
                super().do_GET()
                return
            content = Path(self.translate_path(self.path)).read_bytes()[int(wanted[1]) : int(wanted[2]) + 1]
            self.send_response(206)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()

    def stop():
        if thread.is_alive():
            server.shutdown()
            thread.join()
            server.server_close()

    yield folder, f"http://127.0.0.1:{server.server_address[1]}", seen, stop
    stop()


def opened(load, address, *overrides, say=None, **data):
    loaded = load({"data": {"pack": address, **data}}, *overrides)
    return open_pack(loaded, say=say)


def same(first, second):
    return (
        (first.images == second.images).all()
        and (first.regions == second.regions).all()
        and first.table.equals(second.table)
    )


def header_of(address):
    return json.loads(RemoteFolder(address).read("pack.json"))


def write_header(address, header):
    RemoteFolder(address).put_text("pack.json", json.dumps(header).encode())


def no_fetch(monkeypatch):
    monkeypatch.setattr(
        RemoteFolder, "fetch", lambda self, name, to, received: pytest.fail(f"{name} was fetched again")
    )


# ------------------------------------------------------------------ from and to


def test_a_pack_written_to_an_address_comes_back_the_same(load, packed, memory, cache):
    info = write_pack(packed, memory)
    assert set(info.files) == {"images.npy", "regions.npy", "table.csv"}
    pack = opened(load, memory)
    assert same(pack, packed)
    assert pack.address == memory
    assert pack.folder.parent == cache / "packs" / "fetched"
    assert pack.info.digest == packed.info.digest


def test_it_is_fetched_once(load, packed, memory, monkeypatch):
    write_pack(packed, memory)
    first = opened(load, memory)
    no_fetch(monkeypatch)
    assert opened(load, memory).folder == first.folder


def test_another_pack_at_the_same_address_is_another_copy(load, packed, memory):
    write_pack(packed, memory)
    first = opened(load, memory)
    other = load({"data": {"lights": 1}})
    fsspec.filesystem("memory").rm(RemoteFolder(memory)._path, recursive=True)
    write_pack(make_pack(other.recipe, other.catalog), memory)
    second = opened(load, memory, lights=1)
    assert len(second.table) == 30
    assert second.folder != first.folder


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_local_folder_is_opened_where_it_lies(load, packed, tmp_path, form):
    address = form.format(tmp_path / "deep" / "heads")
    write_pack(packed, address)
    pack = opened(load, address)
    assert pack.folder == tmp_path / "deep" / "heads"
    assert same(pack, packed)


def test_a_local_path_is_made_absolute_in_the_recipe(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load({"data": {"pack": "heads"}}).recipe.data.pack == str(tmp_path / "heads")
    assert load({"data": {"pack": "s3://bucket/heads"}}).recipe.data.pack == "s3://bucket/heads"


def test_a_folder_copied_by_hand(load, packed, memory):
    for path in packed.folder.iterdir():
        RemoteFolder(memory).put(path.name, path)
    assert same(opened(load, memory), packed)


def test_a_pack_within_an_archive(load, packed, tmp_path):
    shutil.make_archive(str(tmp_path / "heads"), "zip", packed.folder)
    assert same(opened(load, f"zip://::file://{tmp_path}/heads.zip"), packed)


def test_writing_again_changes_nothing_and_another_pack_is_not_replaced(load, packed, memory):
    info = write_pack(packed, memory)
    before = fsspec.filesystem("memory").info(RemoteFolder(memory)._path_of("images.npy"))
    assert write_pack(packed, memory) == info
    assert fsspec.filesystem("memory").info(RemoteFolder(memory)._path_of("images.npy")) == before
    other = load({"data": {"lights": 1}})
    with pytest.raises(DataError, match=r"memory://.*another pack"):
        write_pack(make_pack(other.recipe, other.catalog), memory)


def test_a_fetched_pack_can_be_written_elsewhere(load, packed, memory, tmp_path):
    first = write_pack(packed, memory)
    assert write_pack(opened(load, memory), str(tmp_path / "mirror")) == first


def test_http_server_without_ranges(load, packed, served, monkeypatch):
    folder, address, seen, _ = served
    monkeypatch.setattr("enface_tools.packs.remote_files.BLOCK", 50_000)
    write_pack(packed, str(folder / "heads"))
    assert same(opened(load, f"{address}/heads"), packed)
    assert ("/heads/images.npy", None) in seen, "read in one go"


def test_http_server_with_ranges(load, packed, served, monkeypatch):
    folder, address, seen, _ = served
    monkeypatch.setattr("enface_tools.packs.remote_files.BLOCK", 20_000)
    monkeypatch.setattr("enface_tools.packs.remote_files.CONCURRENT", 3)
    write_pack(packed, str(folder / "parts"))
    assert same(opened(load, f"{address}/parts"), packed)
    asked = [wanted for path, wanted in seen if path == "/parts/images.npy"]
    assert len(asked) == 10
    assert all(wanted is not None for wanted in asked)


def test_offline_with_a_copy(load, packed, served):
    folder, address, _, stop = served
    write_pack(packed, str(folder / "heads"))
    first = opened(load, f"{address}/heads")
    stop()
    said = []
    pack = opened(load, f"{address}/heads", say=said.append)
    assert pack.folder == first.folder
    (line,) = said
    assert address in line
    assert str(first.folder) in line


def test_offline_without_a_copy(load, served):
    _, address, _, stop = served
    stop()
    with pytest.raises(DataError, match=rf"{address}/nothing/pack\.json: cannot be read"):
        opened(load, f"{address}/nothing")


def test_nothing_can_be_written_over_http(packed, served):
    _, address, _, _ = served
    with pytest.raises(DataError, match=rf"{address}/heads/table\.csv: cannot be written"):
        write_pack(packed, f"{address}/heads")


def test_s3(load, packed, monkeypatch):
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{host}:{port}"})
        monkeypatch.setattr("enface_tools.packs.remote_files.BLOCK", 50_000)
        fsspec.filesystem("s3").mkdir("bucket")
        with pytest.raises(DataError, match=r"no pack at s3://bucket/heads"):
            opened(load, "s3://bucket/heads")
        with pytest.raises(DataError, match=r"no pack at s3://nobucket/heads"):
            opened(load, "s3://nobucket/heads")
        write_pack(packed, "s3://bucket/heads")
        assert same(opened(load, "s3://bucket/heads"), packed)
    finally:
        running.stop()


# ------------------------------------------------------------------ interrupted


class Cut(Exception):
    pass


def test_an_interrupted_fetch_is_resumed(load, packed, memory, monkeypatch, cache):
    monkeypatch.setattr("enface_tools.packs.remote_files.BLOCK", 50_000)
    write_pack(packed, memory)
    whole = RemoteFolder._parts

    def cut(self, name, start):
        for number, part in enumerate(whole(self, name, start)):
            if name == "images.npy" and number == 1:
                raise Cut
            yield part

    monkeypatch.setattr(RemoteFolder, "_parts", cut)
    with pytest.raises(Cut):
        opened(load, memory)
    asked = []

    def rest(self, name, start):
        asked.append((name, start))
        return whole(self, name, start)

    monkeypatch.setattr(RemoteFolder, "_parts", rest)
    loaded = load({"data": {"pack": memory}})
    seen = []
    pack = open_pack(loaded, lambda done, total: seen.append((done, total)))
    assert same(pack, packed)
    sizes = {name: (packed.folder / name).stat().st_size for name in ("table.csv", "regions.npy")}
    assert asked == [*sizes.items(), ("images.npy", 50_000)]
    assert seen[-1][0] == seen[-1][1]
    assert not [path for path in (cache / "packs" / "fetched").iterdir() if path.suffix == ".part"]


def test_http_without_ranges_starts_again(load, packed, served, monkeypatch):
    folder, address, _, _ = served
    monkeypatch.setattr("enface_tools.packs.remote_files.BLOCK", 50_000)
    write_pack(packed, str(folder / "heads"))
    to = folder.parent / "images.npy"
    to.write_bytes((packed.folder / "images.npy").read_bytes()[:70_000])
    come = []
    digest = RemoteFolder(f"{address}/heads").fetch("images.npy", to, come.append)
    assert to.read_bytes() == (packed.folder / "images.npy").read_bytes()
    assert digest == header_of(str(folder / "heads"))["files"]["images.npy"]["sha256"]
    assert sum(come) == to.stat().st_size


def test_http_with_ranges_resumes(load, packed, served, monkeypatch):
    folder, address, seen, _ = served
    monkeypatch.setattr("enface_tools.packs.remote_files.BLOCK", 50_000)
    write_pack(packed, str(folder / "parts"))
    whole = (packed.folder / "images.npy").read_bytes()
    to = folder.parent / "images.npy"
    to.write_bytes(whole[:150_000])
    RemoteFolder(f"{address}/parts").fetch("images.npy", to, lambda count: None)
    assert to.read_bytes() == whole
    assert [wanted for path, wanted in seen if path == "/parts/images.npy"] == ["bytes=150000-184447"]


def interrupted(monkeypatch, times):
    """Interrupt the images after a part, ``times`` times; return the list of starts."""
    monkeypatch.setattr("enface_tools.packs.remote_files.BLOCK", 50_000)
    monkeypatch.setattr("enface_tools.packs.remote.PAUSE", 0.0)
    whole, starts = RemoteFolder._parts, []

    def parts(self, name, start):
        if name == "images.npy":
            starts.append(start)
        for number, part in enumerate(whole(self, name, start)):
            if name == "images.npy" and number == 1 and len(starts) <= times:
                raise UnreachableError("the line went dead")
            yield part

    monkeypatch.setattr(RemoteFolder, "_parts", parts)
    return starts


def test_an_interrupted_file_is_resumed(load, packed, memory, monkeypatch):
    write_pack(packed, memory)
    starts = interrupted(monkeypatch, 3)
    seen = []
    loaded = load({"data": {"pack": memory}})
    monkeypatch.setattr("enface_tools.packs.remote.MIB", 1)
    assert same(open_pack(loaded, lambda done, total: seen.append((done, total))), packed)
    assert starts == [0, 50_000, 100_000, 150_000]
    assert seen[-1][0] == seen[-1][1]


def test_a_file_that_is_interrupted_too_often_is_reported(load, packed, memory, monkeypatch):
    write_pack(packed, memory)
    starts = interrupted(monkeypatch, 99)
    monkeypatch.setattr("enface_tools.packs.remote.TRIES", 2)
    with pytest.raises(DataError, match=r"went dead; 0\.2 of 0\.2 MiB have come and are kept: start again to resume"):
        opened(load, memory)
    assert starts == [0, 50_000]


def test_two_processes_fetch_once(load, packed, memory, monkeypatch):
    write_pack(packed, memory)
    whole, fetches = RemoteFolder.fetch, []

    def counted(self, name, to, come):
        fetches.append(name)
        return whole(self, name, to, come)

    monkeypatch.setattr(RemoteFolder, "fetch", counted)
    loaded = load({"data": {"pack": memory}})
    threads = [threading.Thread(target=open_pack, args=(loaded,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fetches) == ["images.npy", "regions.npy", "table.csv"]


# ------------------------------------------------------------------ errors at the address


def test_no_pack(load, memory):
    with pytest.raises(DataError, match=rf"no pack at {memory}: there is no pack\.json"):
        opened(load, memory)


def test_a_removed_pack_is_reported_with_its_copy(load, packed, memory):
    write_pack(packed, memory)
    copy = opened(load, memory).folder
    fsspec.filesystem("memory").rm(RemoteFolder(memory)._path, recursive=True)
    with pytest.raises(DataError, match=rf"no pack at {memory}.*data\.pack={copy}"):
        opened(load, memory)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nope://bucket/heads", "nope://bucket/heads: Protocol not known: nope"),
        ("s3://bucket/heads", r"s3://bucket/heads: Install s3fs.*enface\[remote\]"),
    ],
)
def test_protocols_that_are_not_installed(load, monkeypatch, address, says):
    from fsspec.registry import _registry

    # As if the package were not installed.
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)
    with pytest.raises(DataError, match=says):
        opened(load, address)


def test_without_a_plugin_that_fetches_packs(load, memory):
    loaded = load({"data": {"pack": memory}})
    loaded.plugins.unregister(name="packs")
    with pytest.raises(DataError, match=rf"data\.pack: no installed plugin can open {memory}; install enface again"):
        open_pack(loaded)


def test_refused_access(load, monkeypatch, memory):
    def refuse(self, path, **keys):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", refuse)
    with pytest.raises(DataError, match=rf"{memory}/pack\.json: access is refused"):
        opened(load, memory)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<html>Sign in</html>", "the file: Invalid JSON"),
        ("{}", "format: Field required"),
        ("[1]", "the file: Input should be"),
    ],
)
def test_files_that_are_not_packs(load, memory, text, says):
    RemoteFolder(memory).put_text("pack.json", text.encode())
    with pytest.raises(DataError, match=f"{memory} is not a pack: pack.json: {says}"):
        opened(load, memory)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(99, "update enface"), (FORMAT - 1, REMEDY)],
)
def test_a_pack_of_another_format(load, packed, memory, number, remedy):
    write_pack(packed, memory)
    write_header(memory, {**header_of(memory), "format": number})
    with pytest.raises(DataError, match=f"{memory} is a pack of format {number}; .* format {FORMAT}; {remedy}$"):
        opened(load, memory)


def put(address, name, content):
    RemoteFolder(address).put_text(name, content)


DAMAGES = {
    "cut": ("images.npy", lambda whole: whole[:-1], r"images\.npy is not whole: [\d,]+ bytes"),
    "empty": ("images.npy", lambda whole: b"", r"images\.npy: is no NumPy array|images\.npy is not whole"),
    "other text": ("regions.npy", lambda whole: b"x" * len(whole), r"regions\.npy: is no NumPy array"),
}


@pytest.mark.parametrize("known", [True, False], ids=["sizes known", "copied by hand"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pack_is_refused_with_its_address_and_fetched_once_repaired(load, packed, memory, damage, known):
    name, change, says = DAMAGES[damage]
    write_pack(packed, memory)
    if not known:
        write_header(memory, {key: item for key, item in header_of(memory).items() if key != "files"})
    put(memory, name, change((packed.folder / name).read_bytes()))
    with pytest.raises(DataError, match=f"{memory}/.*{says}"):
        opened(load, memory)
    put(memory, name, (packed.folder / name).read_bytes())
    assert same(opened(load, memory), packed)


def test_changed_bytes_are_detected(load, packed, memory):
    write_pack(packed, memory)
    whole = (packed.folder / "images.npy").read_bytes()
    put(memory, "images.npy", whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=f"{memory}/images.npy is damaged: its sha256"):
        opened(load, memory)
    put(memory, "images.npy", whole)
    assert same(opened(load, memory), packed)


def test_a_missing_file(load, packed, memory):
    write_pack(packed, memory)
    fsspec.filesystem("memory").rm(RemoteFolder(memory)._path_of("images.npy"))
    with pytest.raises(DataError, match=f"{memory}/images.npy: there is no such file"):
        opened(load, memory)


def test_no_room_on_the_disk(load, packed, memory, monkeypatch):
    write_pack(packed, memory)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(1000, 999, 1))
    with pytest.raises(DataError, match=f"{memory} takes 0 MiB; there is no room for it in "):
        opened(load, memory)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: os.truncate(folder / "images.npy", 1000), r"images\.npy is not whole: 1,000 bytes"),
        (lambda folder: (folder / "images.npy").unlink(), r"images\.npy: there is no such file"),
        (lambda folder: np.save(folder / "images.npy", np.zeros((3, 4))), r"images\.npy: is float64 \(3, 4\)"),
        (lambda folder: (folder / "table.csv").write_text("key,identity,pose,light\na,b,1,1\n"), "table and images"),
        (lambda folder: (folder / "pack.json").unlink(), r"no pack at"),
    ],
    ids=["cut", "missing", "other array", "other table", "no pack.json"],
)
def test_a_damaged_local_pack_is_named(load, packed, tmp_path, damage, says):
    folder = tmp_path / "heads"
    write_pack(packed, str(folder))
    damage(folder)
    with pytest.raises(DataError, match=says) as caught:
        opened(load, str(folder))
    assert str(folder) in str(caught.value)
    assert "delete" not in str(caught.value), "it is the user's"


def test_a_table_without_identities(load, packed, tmp_path):
    write_pack(packed, str(tmp_path / "heads"))
    path = tmp_path / "heads" / "table.csv"
    path.write_text(path.read_text().replace("identity", "person"))
    with pytest.raises(DataError, match="is not a pack: its table has no column 'identity'"):
        opened(load, str(tmp_path / "heads"))


# ------------------------------------------------------------------ matching the recipe


def test_another_size_is_refused(load, packed, tmp_path):
    write_pack(packed, str(tmp_path / "heads"))
    with pytest.raises(DataError, match=r"holds images of 32 px, the recipe requests 16; set data.size to 32"):
        opened(load, str(tmp_path / "heads"), size=16)
    assert opened(load, str(tmp_path / "heads"), size=16, load_size=32).size == (32, 32)


@pytest.mark.parametrize(("lights", "fits"), [(2, True), (1, False)])
def test_parameters_must_be_those_it_was_made_with(load, packed, tmp_path, lights, fits):
    write_pack(packed, str(tmp_path / "heads"))
    if fits:
        opened(load, str(tmp_path / "heads"), lights=lights)
        return
    with pytest.raises(DataError, match=r"was made with lights 2, and the recipe says 1; set data.lights to 2"):
        opened(load, str(tmp_path / "heads"), lights=lights)


def test_another_dataset_is_refused(load, packed, tmp_path):
    write_pack(packed, str(tmp_path / "heads"))
    with pytest.raises(DataError, match=r"is of dataset toy_faces, and data\.use says synthetic_heads"):
        opened(load, str(tmp_path / "heads"), use="synthetic_heads")


def test_the_dataset_is_never_built(load, packed, memory, monkeypatch):
    write_pack(packed, memory)
    loaded = load({"data": {"pack": memory}})
    dataset = loaded.catalog.get("dataset", "toy_faces").component
    monkeypatch.setattr(dataset, "__init__", lambda self, **keys: pytest.fail("the dataset was built"))
    open_pack(loaded)


def test_a_dataset_with_a_pack_needs_no_required_parameters(load):
    loaded = load({"data": {"use": "multipie", "pack": "s3://bucket/heads", "split": "setting_2"}})
    assert loaded.recipe.data.split.by == "identity"
    assert loaded.recipe.pairs.target.where == {"pose": 0}
    with pytest.raises(RecipeError, match="root"):
        load({"data": {"use": "multipie", "split": "setting_2"}})


ALONE = """
name: alone
data: {{pack: "{pack}", size: 32, split: {{train: 4, val: 1, test: 1}}{more}}}
{pairs}
generator: {{use: siamese, width: 0.125}}
stages: {{main: {{steps: 1, terms: {{l1: {{}}}}}}}}
"""


def test_without_its_dataset(load, packed, tmp_path):
    write_pack(packed, str(tmp_path / "heads"))
    pairs = "pairs: {target: {same: [identity], where: {pose: 0}}}"
    loaded = load(ALONE.format(pack=tmp_path / "heads", more="", pairs=pairs))
    assert same(open_pack(loaded), packed)
    with pytest.raises(RecipeError, match=r"mine.yaml:3: data: has no 'use'.*set 'pairs'"):
        load(ALONE.format(pack=tmp_path / "heads", more="", pairs=""))
    with pytest.raises(RecipeError, match=r"mine.yaml:3: data.lights: is not a key of data"):
        load(ALONE.format(pack=tmp_path / "heads", more=", lights: 1", pairs=pairs))


def test_dropping_the_parents_pack(load, packed):
    loaded = load({"data": {"pack": "s3://bucket/heads"}}, "data.pack=null")
    assert open_pack(loaded).folder == packed.folder


def test_offline_an_earlier_copy_is_used_and_nothing_is_fetched(load, packed, memory, monkeypatch):
    write_pack(packed, memory, lambda done, total: None)
    monkeypatch.setenv("ENFACE_OFFLINE", "1")
    monkeypatch.setattr("enface_tools.packs.remote_files.ON_THIS_MACHINE", ("file",))
    with pytest.raises(DataError, match=rf"{memory} is on the network, and --offline or ENFACE_OFFLINE is set"):
        opened(load, memory)
    monkeypatch.delenv("ENFACE_OFFLINE")
    opened(load, memory)
    monkeypatch.setenv("ENFACE_OFFLINE", "1")
    no_fetch(monkeypatch)
    lines = []
    assert same(opened(load, memory, say=lines.append), packed)
    assert "the copy fetched before is used" in lines[0]
