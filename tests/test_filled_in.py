"""Exercises and predictions in the notebooks: blank as committed, and once with all filled in."""

import re
import sys

import nbformat
import pytest
from course import SMALL
from helpers import run

import exercises
from coursepack.files import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECK = re.compile(r'^exercises\.check\("(\w+)", (\w+)\)$', re.MULTILINE)


def tagged(path, tag):
    return [cell for cell in nbformat.read(path, as_version=4).cells
            if tag in cell.metadata.get("tags", [])]


def filled(source):
    """An exercise's cell with the printed solution in place of what is left open."""
    name, answer = CHECK.search(source).groups()
    assert name == answer
    return f'{exercises.solution_text(name)}\n\n\nexercises.check("{name}", {name})'


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_exercise_is_in_its_notebook_and_blank(path):
    cells = tagged(path, "exercise")
    names = [CHECK.search(cell.source)[1] for cell in cells]
    assert names == [name for name, exercise in exercises.EXERCISES.items()
                     if exercise.notebook == path.stem[:2]]
    assert names
    for cell in cells:
        assert "..." in CHECK.sub("", cell.source)
        assert "not answered yet" in "".join(out.get("text", "") for out in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_prediction_is_blank_and_is_compared_with_what_comes_out(path):
    cells = tagged(path, "prediction")
    later = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells
                      if cell.cell_type == "code")
    assert cells
    for cell in cells:
        for name in re.findall(r"\b([a-z]\w*)\b(?=[^=]*= )", cell.source.split("#")[0]):
            assert re.search(rf"exercises\.compare\(\s*\[?[^)]*\b{name}\b", later), name
        assert re.search(r"= .*\.\.\.", cell.source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_later_depends_on_an_answer(path):
    """Only the cell itself names what an exercise's cell makes."""
    cells = nbformat.read(path, as_version=4).cells
    for cell in tagged(path, "exercise"):
        name = CHECK.search(cell.source)[1]
        others = [other.source for other in cells
                  if other.cell_type == "code" and other.id != cell.id]
        used = [line for source in others for line in source.splitlines()
                if re.search(rf"(?<![\w.\"]){name}\(", line) and f"def {name}" not in line]
        assert used == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_with_all_solutions_and_predictions_filled_in(path, folder, no_data):
    """By papermill, at a scale smaller still than that of the golden notebooks."""
    notebook = nbformat.read(path, as_version=4)
    solved = 0
    for cell in notebook.cells:
        if "exercise" in cell.metadata.get("tags", []):
            cell.source, solved = filled(cell.source), solved + 1
        elif "prediction" in cell.metadata.get("tags", []):
            cell.source = cell.source.replace("...", "3")
    nbformat.write(notebook, folder / "filled.ipynb")
    known = {line.split(":")[0] for line in notebook.cells[1].source.splitlines()}
    smaller = SMALL | {"train_size": 400, "epochs": 1, "live_images": 100}
    small = {k: v for k, v in smaller.items() if k in known}
    if path.stem[:2] == "04":
        small["runs_dir"] = ROOT / "tests" / "golden" / "records"
    elif "runs_dir" in known:
        small["runs_dir"] = folder
    if "images_dir" in known:
        small["images_dir"] = folder
    pairs = [part for key, value in small.items() for part in ("-p", key, value)]
    done = run([sys.executable, "-m", "papermill", "--no-progress-bar", folder / "filled.ipynb",
                folder / "out.ipynb", *pairs])
    assert done.returncode == 0, done.stderr[-3000:]
    printed = "".join(out.get("text", "") for cell in nbformat.read(
        folder / "out.ipynb", as_version=4).cells for out in cell.get("outputs", []))
    assert len(re.findall(r"^\w+: right\. ", printed, re.MULTILINE)) == solved
    assert f"{solved} of {solved} exercises done." in printed
    assert "No prediction made." not in printed
