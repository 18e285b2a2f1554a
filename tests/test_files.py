"""Files: never half written, and where a folder is; which of the allowed values was meant."""

import os
from pathlib import Path

import pytest
from helpers import files_in, says

from coursepack import files


@pytest.mark.parametrize(("error", "words"), [
    (OSError(28, "No space left on device"), ["No space left", "Make room"]),
    (RuntimeError("[enforce fail at inline_container.cc] . file write failed"), ["write failed"])])
def test_a_file_that_cannot_be_written_stays_as_it_was_and_says_so(tmp_path, error, words):
    file = tmp_path / "record.json"

    def fail_half_way(path):
        path.write_text("hal", encoding="utf-8")
        raise error

    for before in ([], ["record.json"]):
        with pytest.raises(OSError, match=says("record.json", tmp_path, *words)):
            files.replace_file(file, fail_half_way)
        assert files_in(tmp_path) == before
        files.replace_file(file, lambda path: path.write_text("whole", encoding="utf-8"))
        assert (file.read_text(encoding="utf-8"), files_in(tmp_path)) == ("whole", ["record.json"])


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
    assert (files_in(tmp_path), files_in(tmp_path / "runs")) == ([".writable", "runs"], [])


def test_folders_start_at_the_course_or_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for folder, place in {"~/runs": tmp_path / "runs", "runs": files.ROOT / "runs",
                          str(tmp_path): tmp_path}.items():
        assert files.find_folder("runs_dir", folder) == place


def test_a_choice_comes_back_or_the_nearest_is_suggested():
    assert files.check_choice("norm", "batch", {"batch": 1}) == "batch"
    for wrong, hint in [("btach", " Did you mean 'batch'?"), ("?", ""), (5, ""), ([], "")]:
        with pytest.raises(ValueError, match="is not known") as error:
            files.check_choice("norm", wrong, (name for name in ("batch", "none")))
        assert str(error.value) == (
            f"norm={wrong!r} is not known. Choose one of: batch, none.{hint}")
