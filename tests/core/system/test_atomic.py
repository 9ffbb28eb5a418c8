"""What stands at a path is whole, whatever goes wrong beside it."""

from __future__ import annotations

import os
import stat

import pytest

from enface.system.atomic import folder_beside, put, replacing


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_when_it_is_whole(tmp_path, sync):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replacing(path, sync=sync) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_what_goes_wrong_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write():
        with replacing(path) as beside:
            beside.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_two_may_write_one_file(tmp_path):
    path = tmp_path / "table.csv"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first", "of the one that ended last"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_others_may_read_what_is_written(tmp_path):
    (tmp_path / "plain").write_text("")
    with replacing(tmp_path / "replaced") as beside:
        beside.write_text("")
    with folder_beside(tmp_path / "folder") as work:
        (tmp_path / "plain folder").mkdir()
        assert work.stat().st_mode == (tmp_path / "plain folder").stat().st_mode
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "replaced")}
    assert modes["plain"] == modes["replaced"]


def test_of_two_folders_made_alike_the_first_stays(tmp_path):
    folder = tmp_path / "packs" / "heads"
    for text in ("first", "second"):
        with folder_beside(folder) as work:
            (work / "last.json").write_text(text)
            put(work, folder, "last.json")
    assert (folder / "last.json").read_text() == "first"
    assert os.listdir(tmp_path / "packs") == ["heads"]


def test_a_folder_that_is_in_the_way_is_not_taken_for_one(tmp_path):
    folder = tmp_path / "heads"
    folder.mkdir()
    (folder / "mine.txt").write_text("")

    def write():
        with folder_beside(folder) as work:
            (work / "last.json").write_text("")
            put(work, folder, "last.json")

    with pytest.raises(OSError, match="not empty"):
        write()
    assert os.listdir(tmp_path) == ["heads"]
