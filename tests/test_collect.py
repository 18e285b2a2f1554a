"""The table of what students solved."""

import subprocess
import sys

import collect
import nbformat
import pytest

import exercises
from coursepack.files import ROOT

BLANK = ROOT / "notebooks" / "00_normalization_by_hand.ipynb"


def hand_in(path, answers, error=False):
    """Notebook 00 as it looks when a student has answered: name -> answer."""
    notebook = nbformat.read(BLANK, as_version=4)
    for cell in notebook.cells:
        name = next((name for name in answers if f'check("{name}"' in cell.source), None)
        if name:
            cell.outputs = [nbformat.v4.new_output("stream", text=answers[name])]
    if error:
        notebook.cells[40].outputs = [nbformat.v4.new_output("error", ename="NameError")]
    nbformat.write(notebook, path)


def said(capsys, name, answer):
    exercises.check(name, answer)
    return capsys.readouterr().out


def test_table_says_who_solved_what(tmp_path, capsys):
    right = {}
    exec(exercises.solution_text("number_of_means"), right)
    hand_in(tmp_path / "ada.ipynb", {
        "number_of_means": said(capsys, "number_of_means", right["number_of_means"]),
        "normalize": said(capsys, "normalize", lambda x, axes, eps: x)})
    hand_in(tmp_path / "bob.ipynb", {}, error=True)
    (tmp_path / "eve.ipynb").write_text("not a notebook", encoding="utf-8")
    table = collect.collect(tmp_path)
    assert list(table.columns) == ["number_of_means", "normalize", "BatchNorm", "stopped in"]
    assert list(table.loc["ada"]) == ["yes", "no", "-", "-"]
    assert list(table.loc["bob"]) == ["-", "-", "-", "cell 40: NameError"]
    assert "not a notebook" in table.loc["eve", "stopped in"]


def test_a_printed_word_is_no_answer(tmp_path):
    """Only what a check says counts, not a line that looks like it a little."""
    hand_in(tmp_path / "a.ipynb", {"normalize": "normalize: rightly so\nanother: right. Well.\n"})
    assert list(collect.collect(tmp_path).loc["a"]) == ["-", "-"]


@pytest.mark.slow
def test_command_prints_the_table_and_keeps_it(tmp_path):
    hand_in(tmp_path / "ada.ipynb", {})
    command = [sys.executable, ROOT / "tools" / "collect.py"]
    done = subprocess.run([*command, tmp_path, "--csv", tmp_path / "t.csv"], capture_output=True,
                          encoding="utf-8", check=True)
    assert "ada" in done.stdout
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").startswith("notebook,number_of_means")
    (tmp_path / "empty").mkdir()
    done = subprocess.run([*command, tmp_path / "empty"], capture_output=True, encoding="utf-8")
    assert done.returncode == 1
    assert "holds no notebook" in done.stderr
