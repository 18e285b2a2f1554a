"""Files: never half written."""


import pytest
from helpers import files_in

from coursepack import files


def test_replaced_file_is_never_half_written(tmp_path):
    file = tmp_path / "file.txt"
    file.write_text("old")

    def fail_half_way(path):
        path.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.replace_file(file, fail_half_way)
    assert (file.read_text(), files_in(tmp_path)) == ("old", ["file.txt"])
    files.replace_file(file, lambda path: path.write_text("new"))
    assert (file.read_text(), files_in(tmp_path)) == ("new", ["file.txt"])
