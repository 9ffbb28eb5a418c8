"""Atomic writes: a file or folder is complete or absent."""

from __future__ import annotations

import os
import stat

import pytest

from enface.system.atomic import atomic_write, publish_folder, staging_folder


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_when_it_is_complete(tmp_path, sync):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with atomic_write(path, sync=sync) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_two_writers_of_one_file(tmp_path):
    path = tmp_path / "table.csv"
    with atomic_write(path) as first, atomic_write(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first", "the one that ended last"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_permissions_are_those_of_plain_files(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_write(tmp_path / "replaced") as temporary:
        temporary.write_text("")
    with staging_folder(tmp_path / "folder") as work:
        (tmp_path / "plain folder").mkdir()
        assert work.stat().st_mode == (tmp_path / "plain folder").stat().st_mode
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "replaced")}
    assert modes["plain"] == modes["replaced"]


def test_the_first_of_two_equal_folders_stays(tmp_path):
    folder = tmp_path / "packs" / "heads"
    for text in ("first", "second"):
        with staging_folder(folder) as work:
            (work / "last.json").write_text(text)
            publish_folder(work, folder, "last.json")
    assert (folder / "last.json").read_text() == "first"
    assert os.listdir(tmp_path / "packs") == ["heads"]


def test_an_incomplete_folder_in_the_way_is_an_error(tmp_path):
    folder = tmp_path / "heads"
    folder.mkdir()
    (folder / "mine.txt").write_text("")

    def write():
        with staging_folder(folder) as work:
            (work / "last.json").write_text("")
            publish_folder(work, folder, "last.json")

    with pytest.raises(OSError, match="not empty"):
        write()
    assert os.listdir(tmp_path) == ["heads"]
