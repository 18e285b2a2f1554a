"""Exercises and predictions in the notebooks: blank as committed, and once with all filled in."""

import json
import re

import nbformat
import papermill
import pytest
from course import SMALL
from nbclient import NotebookClient
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

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


def small_parameters(path, folder):
    """At a scale smaller still than that of the golden notebooks, on whatever device there is."""
    known = papermill.inspect_notebook(path)
    smaller = SMALL | {"train_size": 400, "epochs": 1, "live_images": 100, "device": "auto",
                       "images_dir": folder, "runs_dir": folder}
    if path.stem[:2] == "04":
        smaller["runs_dir"] = ROOT / "tests" / "golden" / "records"
    return {name: value if isinstance(value, int | float) else str(value)
            for name, value in smaller.items() if name in known}


@pytest.mark.slow
@pytest.mark.parametrize(("path", "kind"), [
    *((path, "cuda") for path in NOTEBOOKS), *((path, "mps") for path in NOTEBOOKS[1:4])],
    ids=lambda value: getattr(value, "stem", value))
def test_a_notebook_runs_on_a_gpu_blank_and_filled_in(path, kind, folder, monkeypatch):
    """The GPU is the stand-in of test_gpu.py. On CUDA's, a cell with a blank is run twice.

    What looks back at a prediction sees the filled one; blank ones are in the golden notebooks.
    """
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setenv("STAND_IN", kind)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "stand_in"))
    notebook = parameterize_notebook(load_notebook_node(str(path)), small_parameters(path, folder))
    client = NotebookClient(notebook, resources={"metadata": {"path": str(folder)}})
    printed = ""
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            printed += said_by(client.execute_cell(cell, index))
            if kind == "cuda" and fill_in(cell):
                printed += said_by(client.execute_cell(cell, index))
    if path.stem[:2] in ("01", "02", "03"):
        [record] = folder.glob("*/record.json")
        assert json.loads(record.read_bytes())["environment"]["device"] == f"{kind}:0"
    if kind == "cuda":
        solved = len(tagged(path, "exercise"))
        assert len(re.findall(r"^\w+: right\. ", printed, re.MULTILINE)) == solved
        assert f"{solved} of {solved} exercises done." in printed
        assert "No prediction made." not in printed


def fill_in(cell):
    """Put an answer where a cell has a blank; False if it has none."""
    if "exercise" in cell.metadata.tags:
        cell.source = filled(cell.source)
    elif "prediction" in cell.metadata.tags:
        cell.source = cell.source.replace("...", "3")
    else:
        return False
    return True


def said_by(cell):
    return "".join(out.get("text", "") for out in cell.get("outputs", []))
