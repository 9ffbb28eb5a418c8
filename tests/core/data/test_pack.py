"""Packs: made once, values kept, damage reported."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from enface.data.pack import read_pack
from enface.errors import DataError
from enface_tools.packs.building import make_pack

TYPED = """
import numpy as np
class Typed(Dataset):
    '''Four images with columns of every kind.'''
    region_names = ("background", "face")
    def rows(self):
        for n in range(4):
            yield {"key": f"k{n}", "identity": 7, "number": n, "share": n / 3, "nothing": None if n else 0.5,
                   "smiles": n % 2 == 0, "code": f"0{n}", "word": "NA" if n else "", "odd": 'a,"b'}
    def image(self, row):
        image = np.zeros((SIZE, SIZE, 3), np.uint8)
        image[: SIZE // 2] = (10, 20, 30)
        return image
    def regions(self, row):
        regions = np.zeros((SIZE, SIZE), np.uint8)
        regions[: SIZE // 2] = 1
        return regions if row["number"] else None
"""


@pytest.fixture
def fresh(load, request):
    """Load the toy recipe with parameters that no other test uses; its pack is removed at the end."""
    recipes = []

    def build(**data):
        loaded = load({"data": data} if data else {})
        recipes.append(loaded)
        return loaded

    yield build
    for loaded in recipes:
        pack = make_pack(loaded.recipe, loaded.catalog)
        shutil.rmtree(pack.folder)


def typed(load, plugin, drawn, **data):
    file = plugin(f"SIZE = {drawn}\n{TYPED}", name=f"typed{drawn}.py", brings="Typed")
    return load({"plugins": [file], "data": {"use": "typed", "split": {"by": "key", "train": 2, "val": 0}, **data}})


def packed(loaded):
    return make_pack(loaded.recipe, loaded.catalog)


# ------------------------------------------------------------------ once


def test_a_pack_is_made_once(fresh, monkeypatch):
    loaded = fresh(lights=1, identities=5)
    first = packed(loaded)
    dataset = loaded.catalog.get("dataset", "toy_faces").component
    monkeypatch.setattr(dataset, "image", lambda self, row: pytest.fail("an image was read again"))
    monkeypatch.setattr(dataset, "rows", lambda self: pytest.fail("the table was made again"))
    again = packed(loaded)
    assert again.folder == first.folder
    assert (again.images == first.images).all()


@pytest.mark.parametrize("data", [{"size": 16}, {"lights": 1}, {"on_error": "skip"}])
def test_parameters_of_the_images_make_another_pack(load, data):
    assert packed(load({"data": data})).folder != packed(load()).folder


def test_other_keys_do_not(load):
    assert packed(load({"data": {"split": {"train": 2}}, "seed": 5})).folder == packed(load()).folder


def test_the_files_behind_a_dataset_are_part_of_its_digest(fresh, monkeypatch):
    loaded = fresh(lights=1, identities=4)
    before = packed(loaded).folder
    monkeypatch.setattr(loaded.catalog.get("dataset", "toy_faces").component, "fingerprint", lambda self: "changed")
    after = packed(loaded).folder
    shutil.rmtree(after)
    assert after != before


def test_two_files_with_a_dataset_of_one_name_do_not_share_a_pack(load, plugin, tmp_path):
    first = packed(typed(load, plugin, 8, size=8))
    second = packed(typed(load, plugin, 16, size=8))
    assert first.folder != second.folder


def test_progress_ends_at_the_count_and_no_unfinished_folder_stays(fresh, cache):
    loaded = fresh(lights=1, identities=11)
    seen = []
    pack = make_pack(loaded.recipe, loaded.catalog, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (55, 55)
    assert not [path for path in (cache / "packs").iterdir() if path.name.startswith(".")]
    assert pack.info.images == 55


def test_workers_make_the_same_bits_as_one_process(fresh, monkeypatch):
    loaded = fresh(identities=7)
    folder = packed(loaded).folder
    parallel = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    monkeypatch.setattr("enface_tools.packs.reading.cores", lambda: 1)
    serial = {path.name: path.read_bytes() for path in packed(loaded).folder.iterdir()}
    assert parallel == serial
    assert len(json.loads(serial["pack.json"])["digest"]) == 16


# ------------------------------------------------------------------ values


def test_columns_keep_their_types_and_values(load, plugin):
    table = packed(typed(load, plugin, 8, size=8)).table
    assert table["identity"].tolist() == ["7"] * 4
    assert table["number"].tolist() == [0, 1, 2, 3]
    assert table["number"].dtype.kind == "i"
    assert table["share"].tolist() == [n / 3 for n in range(4)]
    assert table["smiles"].tolist() == [True, False, True, False]
    assert table["smiles"].dtype.kind == "b"
    assert table["code"].tolist() == ["00", "01", "02", "03"]
    assert table["word"].tolist() == ["", "NA", "NA", "NA"]
    assert table["odd"].tolist() == ['a,"b'] * 4
    assert table["nothing"].isna().tolist() == [False, True, True, True]
    assert table["nothing"][0] == 0.5


def test_images_and_regions_are_kept_exactly_at_their_own_size(load, plugin):
    pack = packed(typed(load, plugin, 8, size=8))
    assert pack.images.shape == (4, 3, 8, 8)
    assert pack.images[0, :, 0, 0].tolist() == [10, 20, 30]
    assert pack.images[0, :, 7, 0].tolist() == [0, 0, 0]
    assert pack.regions[1, :4].min() == 1
    assert pack.regions[1, 4:].max() == 0
    assert pack.regions[0].max() == 0, "no region map is all background"
    assert pack.info.region_names == ["background", "face"]
    with pytest.raises(ValueError, match="read-only"):
        pack.images[0, 0, 0, 0] = 1


def test_other_sizes_are_resized_and_regions_stay_indices(load, plugin):
    pack = packed(typed(load, plugin, 16, size=8))
    assert pack.images.shape == (4, 3, 8, 8)
    assert pack.images[0, :, 0, 0].tolist() == [10, 20, 30]
    assert set(np.unique(pack.regions)) == {0, 1}
    assert pack.regions[1, :4].min() == 1


def test_classes_are_the_numbers_of_distinct_values(load):
    assert packed(load()).classes == {"key": 60, "identity": 6, "pose": 5, "light": 2}


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "images.npy").write_bytes((folder / "images.npy").read_bytes()[:1000]),
        lambda folder: (folder / "images.npy").write_bytes(b""),
        lambda folder: (folder / "table.csv").unlink(),
        lambda folder: (folder / "table.csv").write_text("key,identity\na,b\n"),
        lambda folder: (folder / "table.csv").write_text(""),
        lambda folder: (folder / "pack.json").write_text("{"),
        lambda folder: (folder / "pack.json").write_text("{}"),
        lambda folder: np.save(folder / "images.npy", np.array([object()]), allow_pickle=True),
        lambda folder: np.save(folder / "images.npy", np.zeros((60, 32), np.uint8)),
    ],
    ids=["cut", "empty", "no table", "other table", "empty table", "half json", "no columns", "pickled", "flat"],
)
def test_a_damaged_pack_is_named_with_the_remedy(load, tmp_path, damage):
    folder = tmp_path / "pack"
    shutil.copytree(packed(load()).folder, folder)
    damage(folder)
    with pytest.raises(DataError) as caught:
        read_pack(folder)
    assert str(folder) in str(caught.value)
    assert "damaged" in str(caught.value)
    assert "delete that folder" in str(caught.value)


def test_a_pack_of_another_format_is_not_read(load, tmp_path):
    """An old copy may be in the cache, and used while its address cannot be reached."""
    folder = tmp_path / "pack"
    shutil.copytree(packed(load()).folder, folder)
    about = json.loads((folder / "pack.json").read_text())
    (folder / "pack.json").write_text(json.dumps({**about, "format": 1}))
    with pytest.raises(
        DataError, match=f"{folder} is a pack of format 1; this version of enface reads format 3; delete that folder"
    ):
        read_pack(folder)


def test_an_empty_dataset(load):
    with pytest.raises(DataError, match="toy_faces has no images"):
        packed(load({"data": {"identities": 0}}))


def test_an_unreadable_image_stops_packing_and_is_named(load, cache):
    with pytest.raises(DataError, match=r"001_\+15_01 cannot be read\n.*on_error=skip"):
        packed(load({"data": {"broken": "001_+15_01"}}))
    assert not [path for path in (cache / "packs").iterdir() if path.name.startswith(".")]


def test_an_unreadable_image_may_be_skipped(load):
    whole = packed(load())
    pack = packed(load({"data": {"broken": "001_+15_01", "on_error": "skip"}}))
    assert pack.info.skipped == ["image 001_+15_01 cannot be read"]
    assert len(pack.table) == len(pack.images) == len(pack.regions) == 59
    assert "001_+15_01" not in set(pack.table["key"])
    kept = whole.table["key"].isin(pack.table["key"]).to_numpy()
    assert (pack.images == whole.images[kept]).all()
    assert (pack.regions == whole.regions[kept]).all()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("[{'key': 'a', 'identity': 1}, {'key': 'a', 'identity': 2}]", "key 'a' occurs more than once"),
        ("[{'key': 'a'}]", "no column 'identity'"),
        ("[{'identity': 'a'}]", "no column 'key'"),
    ],
)
def test_invalid_tables(load, plugin, rows, says):
    body = f"class Odd(Dataset):\n    '''Odd.'''\n    def rows(self): return {rows}\n    def image(self, row): ...\n"
    loaded = load({"plugins": [plugin(body, brings="Odd")], "data": {"use": "odd"}})
    with pytest.raises(DataError, match=says):
        packed(loaded)


@pytest.mark.parametrize(
    "image", ["np.zeros((8, 8), np.uint8)", "np.zeros((8, 8, 3), np.float32)", "np.zeros((8, 8, 4), np.uint8)"]
)
def test_an_image_of_the_wrong_kind_names_its_key(load, plugin, image):
    body = (
        "import numpy as np\nclass Odd(Dataset):\n    '''Odd.'''\n"
        "    def rows(self): return [{'key': 'the-key', 'identity': 1}]\n"
        f"    def image(self, row): return {image}\n"
    )
    loaded = load({"plugins": [plugin(body, brings="Odd")], "data": {"use": "odd", "size": 8}})
    with pytest.raises(DataError, match=r"the-key.*\(H, W, 3\)"):
        packed(loaded)
