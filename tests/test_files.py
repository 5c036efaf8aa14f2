"""Local files: whole or not at all."""

import pytest

from bertjax.files import write_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_under_its_name_once_it_is_complete(tmp_path):
    def write(path):
        path.write_text("half")
        assert not (tmp_path / "file").exists()
        path.write_text("whole")

    write_whole(tmp_path / "file", write)
    assert (tmp_path / "file").read_text() == "whole"
    assert names(tmp_path) == ["file"]


def test_a_folder_appears_with_all_that_is_in_it(tmp_path):
    def write(path):
        path.mkdir()
        (path / "inside").write_text("")

    write_whole(tmp_path / "folder", write)
    assert names(tmp_path / "folder") == ["inside"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_fails_half_way_leaves_nothing_and_the_old_file_as_it_was(tmp_path, kind):
    def write(path):
        if kind == "folder":
            path.mkdir()
            path /= "inside"
        path.write_text("half")
        raise OSError("no more")

    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="no more"):
        write_whole(tmp_path / "file", write)
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]
