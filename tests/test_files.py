"""Files: never half written, and where a folder is."""

import os
from pathlib import Path

import pytest
from helpers import files_in, says

from coursepack import files


def test_replaced_file_is_never_half_written(tmp_path):
    file = tmp_path / "file.txt"
    file.write_text("old", encoding="utf-8")

    def fail_half_way(path):
        path.write_text("ne", encoding="utf-8")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.replace_file(file, fail_half_way)
    assert (file.read_text(encoding="utf-8"), files_in(tmp_path)) == ("old", ["file.txt"])
    files.replace_file(file, lambda path: path.write_text("new", encoding="utf-8"))
    assert (file.read_text(encoding="utf-8"), files_in(tmp_path)) == ("new", ["file.txt"])


def test_disk_full_names_file_folder_and_fix(tmp_path):
    def fill(path):
        path.write_text("hal", encoding="utf-8")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=says("record.json", tmp_path, "No space left", "Make room")):
        files.replace_file(tmp_path / "record.json", fill)
    assert files_in(tmp_path) == []


def test_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr("os.fsync", lambda fd: steps.append("fsync"))
    replace = os.replace
    monkeypatch.setattr("os.replace", lambda *names: (steps.append("replace"), replace(*names)))
    files.replace_file(tmp_path / "a", Path.touch)
    assert steps == ["fsync", "replace"]


def test_trying_a_folder_leaves_nothing_and_disturbs_nobody(tmp_path):
    (tmp_path / ".writable").touch()  # as another process may have had it
    files.check_writable("runs_dir", tmp_path / "runs")
    assert files_in(tmp_path) == [".writable", "runs"]
    assert files_in(tmp_path / "runs") == []


def test_folders_start_at_the_course_or_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert files.find_folder("runs_dir", "~/runs") == tmp_path / "runs"
    assert files.find_folder("runs_dir", "runs") == files.ROOT / "runs"
    assert files.find_folder("runs_dir", str(tmp_path)) == tmp_path


@pytest.mark.parametrize("folder", ["a\0b", "n" * 300, "~nobody-of-that-name/runs"])
def test_what_is_no_folder_is_named(folder):
    with pytest.raises(ValueError, match=says("runs_dir", "no folder", "Choose")):
        files.find_folder("runs_dir", folder)
