"""The table of what students solved."""

import io
import subprocess
import sys
from contextlib import redirect_stdout

import nbformat
import pytest
from nbformat.v4 import new_output

import exercises
from coursepack.files import ROOT


def hand_in(path, error=False, **answers):
    """Notebook 00 as it looks when a student has answered some exercises: what each cell prints."""
    notebook = nbformat.read(ROOT / "notebooks" / "00_normalization_by_hand.ipynb", as_version=4)
    for name, text in answers.items():
        [cell] = [cell for cell in notebook.cells if f'exercises.check("{name}"' in cell.source]
        cell.outputs = [new_output("stream", text=text)]
    if error:
        notebook.cells[40].outputs = [new_output("error", ename="NameError")]
    nbformat.write(notebook, path)


def checked(name, answer):
    with redirect_stdout(io.StringIO()) as said:
        exercises.check(name, answer)
    return said.getvalue()


@pytest.mark.slow
def test_table_says_who_solved_what(tmp_path):
    """Only what a check says counts, not a line that looks like it a little."""
    hand_in(tmp_path / "ada.ipynb", normalize=checked("normalize", int), number_of_means=checked(
        "number_of_means", exercises.EXERCISES["number_of_means"].solution))
    hand_in(tmp_path / "bob.ipynb", error=True)
    (tmp_path / "eve.ipynb").write_text("not a notebook", encoding="utf-8")
    hand_in(tmp_path / "joe.ipynb", normalize="normalize: rightly so\nanother: right. Well.\n")
    command = [sys.executable, ROOT / "tools" / "collect.py", tmp_path, "--csv", tmp_path / "t.csv"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert "cell 40: NameError" in done.stdout
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines() == [
        "notebook,number_of_means,normalize,BatchNorm,stopped in", "ada,yes,no,-,-",
        "bob,-,-,-,cell 40: NameError", "eve,-,-,-,not a notebook (NotJSONError)", "joe,-,-,-,-"]
