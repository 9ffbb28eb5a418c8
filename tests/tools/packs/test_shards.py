"""A pack made in parts by several machines has the same bytes as a pack made by one."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from enface.errors import DataError, EnfaceError
from enface_tools.packs import shards
from enface_tools.packs.building import PackBuilder, make_pack
from enface_tools.packs.shards import Part, pack_part


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Use a separate cache for each name."""

    def chosen(name):
        monkeypatch.setenv("ENFACE_CACHE", str(tmp_path / name))
        return tmp_path / name / "packs"

    return chosen


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def part_of(loaded, number, count):
    return pack_part(loaded.recipe, loaded.catalog, Part(number, count))


@pytest.mark.parametrize("data", [{}, {"broken": "001_+15_01", "on_error": "skip"}], ids=["whole", "one unreadable"])
@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_parts_make_the_pack_that_one_machine_makes(load, elsewhere, data, order):
    loaded = load({"data": data})
    elsewhere("one")
    wanted = files(make_pack(loaded.recipe, loaded.catalog).folder)
    cache = elsewhere("several")
    *early, last = (part_of(loaded, number, 3) for number in order)
    assert [result.missing for result in early] == [sorted(set(order) - {order[0]}), [order[2]]]
    last = last.pack
    assert files(last.folder) == wanted
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [last.folder.name], "the parts are removed"
    assert part_of(loaded, 2, 3).pack.folder == last.folder, "a repeated part finds the pack"


@pytest.mark.parametrize(("images", "count"), [(60, 1), (60, 7), (60, 60), (61, 16)])
def test_each_image_is_in_one_part(images, count):
    parts = [range(images)[Part(number, count).rows(images)] for number in range(1, count + 1)]
    assert [place for part in parts for place in part] == list(range(images))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_part_is_read_once(load, elsewhere, monkeypatch):
    elsewhere("here")
    loaded = load()
    part_of(loaded, 1, 2)
    monkeypatch.setattr(PackBuilder, "read", lambda *arguments: pytest.fail("the part was read again"))
    assert part_of(loaded, 1, 2).missing == [2]


def test_parts_of_another_number_are_not_mixed(load, elsewhere):
    elsewhere("here")
    loaded = load()
    assert part_of(loaded, 1, 3).missing == [2, 3]
    assert part_of(loaded, 2, 2).missing == [1]
    assert len(part_of(loaded, 1, 2).pack.table) == 60


def test_parts_that_end_together_are_joined_once(load, elsewhere, monkeypatch):
    cache = elsewhere("here")
    loaded = load()
    part_of(loaded, 1, 2)
    # One process each: the race is for joining the parts, not for reading them.
    monkeypatch.setattr("enface_tools.packs.reading.cores", lambda: 1)
    joined, join = [], shards._Parts._join
    monkeypatch.setattr(shards._Parts, "_join", lambda self, *arguments: (joined.append(1), join(self, *arguments)))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda number: part_of(loaded, number, 2), (2, 2, 2, 2)))
    assert joined == [1]
    assert [result.missing for result in results] == [[]] * 4
    (folder,) = {result.pack.folder for result in results}
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [folder.name]


def test_a_part_of_an_earlier_table_is_read_again(load, elsewhere, monkeypatch):
    """A dataset without a fingerprint of its files has the same digest after files were added."""
    elsewhere("one")
    loaded = load()
    wanted = files(make_pack(loaded.recipe, loaded.catalog).folder)
    elsewhere("several")
    dataset = loaded.catalog.get("dataset", "toy_faces").component
    rows = dataset.rows
    with monkeypatch.context() as before:
        before.setattr(dataset, "rows", lambda self: list(rows(self))[:50])
        assert part_of(loaded, 1, 2).missing == [2]
    assert part_of(loaded, 2, 2).missing == [1]
    assert files(part_of(loaded, 1, 2).pack.folder) == wanted


def test_a_run_makes_the_pack_without_waiting_for_parts(load, elsewhere):
    cache = elsewhere("here")
    loaded = load()
    assert part_of(loaded, 1, 2).missing == [2]
    pack = make_pack(loaded.recipe, loaded.catalog)
    assert part_of(loaded, 2, 2).pack.folder == pack.folder
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [pack.folder.name]


def test_an_unreadable_image_stops_its_part_alone(load, elsewhere):
    cache = elsewhere("here")
    loaded = load({"data": {"broken": "001_+15_01"}})
    with pytest.raises(DataError, match=r"001_\+15_01 cannot be read\n.*on_error=skip"):
        part_of(loaded, 1, 2)
    assert part_of(loaded, 2, 2).missing == [1]
    (parts,) = (path for path in cache.iterdir() if path.is_dir())
    assert [path.name for path in parts.iterdir()] == ["2-of-2"]
    assert json.loads((parts / "2-of-2" / "part.json").read_text())["skipped"] == {}


def test_more_parts_than_images(load, elsewhere):
    elsewhere("here")
    with pytest.raises(DataError, match="toy_faces has 60 images, too few for 61 parts"):
        part_of(load(), 1, 61)


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "a/b", "1/4/2", "1.0/4"])
def test_invalid_part_texts(text):
    with pytest.raises(EnfaceError, match=f"--part: '{text}' is not K/N"):
        Part.of(text)
