"""The committed notebooks: their form, parameters and blanks, and that golden ones are copies.

What they print is compared by nbval; golden/conftest.py fills them in.
"""

import ast
import contextlib
import io
import itertools
import json
import re
from dataclasses import fields

import nbformat
import pytest
from helpers import says
from papermill import inspect_notebook
from study import without_lessons

import exercises
from coursepack.files import ROOT
from coursepack.lab.studies import notebook_defaults
from coursepack.train.recipe import Recipe

NOTEBOOKS = {path: nbformat.read(path, as_version=4)
             for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
RECIPES = [path for path in NOTEBOOKS if path.name[:2] in ("01", "02", "03")]
TRAINING = {"setup", "check", "data", "train", "result"}  # ids of what all recipes have
SHARED = TRAINING | {"loss", "accuracy", "mistakes", "probe"}
each = pytest.mark.parametrize(("path", "notebook"), NOTEBOOKS.items(),
                               ids=[path.stem for path in NOTEBOOKS])


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


@each
def test_form(path, notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info.name == "python"
    assert not {"papermill", "widgets"} & set(notebook.metadata)
    code, outputs = code_of(notebook), [out for cell in code_of(notebook) for out in cell.outputs]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert {out.output_type for out in outputs} <= {"stream", "display_data", "execute_result"}
    text = path.read_text(encoding="utf-8")
    assert not re.search(r'(?<![:\w/])/(home|root|tmp|work|Users|content|usr)/|[A-Z]:\\\\', text)
    first = notebook.cells[0].source
    parts = [first.index(f"**{part}**") for part in ("Afterwards you can", "You need", "Time:")]
    assert parts == sorted(parts)
    for cell in code:  # pages cut longer lines
        assert max(map(len, cell.source.splitlines())) <= 80 or cell.id == "parameters"


@each
def test_every_saved_figure_has_alt_text(path, notebook):
    assert not re.search(r"!\[\s*\]\(", path.read_text(encoding="utf-8"))
    figures = [out for cell in code_of(notebook) for out in cell.outputs
               if "image/png" in out.get("data", {})]
    assert figures
    assert all(out.metadata["image/png"]["alt"] for out in figures)


@each
def test_parameters_are_typed_and_explained(path, notebook):
    assert tagged(notebook, "parameters") == [notebook.cells[1]]
    lines, described = notebook.cells[1].source.splitlines(), inspect_notebook(path)
    assert len(described) == len(lines)
    for line in lines:
        assert re.fullmatch(r"\w+: (str|int|float|bool) = [^=]+  # [^=]+", line)
        assert described[line.split(":")[0]]["help"] == line.split("# ", 1)[1]


@each
def test_setup_is_one_cell_that_a_reader_does_not_see(path, notebook):
    own = notebook.cells[2]
    assert own.id == "setup"
    assert own.source == next(iter(NOTEBOOKS.values())).cells[2].source
    assert own.source.startswith("# @title ")  # Colab shows the title alone
    assert own.metadata.cellView == "form"
    assert own.metadata.jupyter.source_hidden  # JupyterLab
    assert "hide-input" in own.metadata.tags  # pages: tools/course.py, and a site


@each
def test_golden_notebook_is_a_copy_but_for_what_papermill_put_in(path, notebook):
    golden = nbformat.read(ROOT / "tests" / "golden" / path.name, as_version=4).cells
    kept = [cell for cell in golden if "injected-parameters" not in cell.metadata.tags]
    assert [(cell.id, cell.source) for cell in kept] == [
        (cell.id, cell.source) for cell in notebook.cells]
    assert not [out for cell in golden for out in cell.get("outputs", [])
                if "image/png" in out.get("data", {})]  # each would stay in the history


# ------------------------------------------------------------------------------- the recipes
def test_recipe_notebooks_share_parameters_and_calls_and_no_other_cell():
    """What stands in two of them is setup, parameters, or a cell of calls with the same id."""
    first, *others = (inspect_notebook(path) for path in RECIPES)
    for other in others:
        assert {k: p["help"] for k, p in other.items()} == {k: p["help"] for k, p in first.items()}
        assert {k for k in first if first[k]["default"] != other[k]["default"]} <= {
            "norm", "l1", "l2", "run_name"}
    sources = [{cell.source: cell.id for cell in NOTEBOOKS[path].cells} for path in RECIPES]
    for one, other in itertools.combinations(sources, 2):
        assert {one[source] for source in one.keys() & other.keys()} <= SHARED
        assert {source for source in one if one[source] in TRAINING} <= other.keys()


@pytest.mark.parametrize(("path", "own"), list(zip(RECIPES, [
    {"l1": 1e-5, "l2": 1e-4, "run_name": "bn_l1_l2"},
    {"norm": "group", "l1": 1e-5, "run_name": "gn_l1"},
    {"norm": "layer", "l2": 1e-4, "run_name": "ln_l2"},
])), ids=[path.stem for path in RECIPES])
def test_defaults_are_those_of_a_recipe_but_for_these(path, own):
    """Recipe's defaults fill an old record, so a new parameter has to have them here as well."""
    expected = {field.name: field.default for field in fields(Recipe)} | {"lr": 0.05} | own
    found = notebook_defaults(path.stem)
    assert found == {name: expected[name] for name in found}
    assert own.keys() | {"lr"} <= found.keys()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_study_leaves_out_lessons_and_nothing_that_its_run_needs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    kept = without_lessons(notebook)
    assert kept["metadata"] == notebook["metadata"]
    code, dropped = ([cell for cell in notebook["cells"] if cell["cell_type"] == "code"
                      and (cell in kept["cells"]) == stays] for stays in (True, False))
    assert {cell["id"] for cell in code} == TRAINING | {"parameters"}
    assert dropped
    names = [{(node.id, type(node.ctx)) for cell in cells
              for node in ast.walk(ast.parse("".join(cell["source"])))
              if isinstance(node, ast.Name)} for cells in (code, dropped)]
    made = {name for name, how in names[1] if how is ast.Store and (name, how) not in names[0]}
    assert not made & {name for name, how in names[0] if how is ast.Load}


# ------------------------------------------------------------------------- exercises, predictions
@each
def test_every_exercise_is_in_its_notebook_and_blank_and_nothing_depends_on_it(path, notebook):
    cells = tagged(notebook, "exercise")
    calls = [re.search(r'^exercises\.check\("(\w+)", (\w+)\)$', cell.source, re.MULTILINE)
             for cell in cells]
    assert [call.groups() for call in calls] == [
        (name, name) for name, one in exercises.EXERCISES.items() if one.notebook == path.stem[:2]]
    assert cells
    for cell, call in zip(cells, calls):
        assert "..." in cell.source
        assert "not answered yet" in "".join(out.get("text", "") for out in cell.outputs)
        for other in code_of(notebook):
            used = re.findall(rf'(?<!def )(?<![\w."]){call[1]}\(', other.source)
            assert other is cell or not used


@each
def test_every_prediction_is_blank_and_is_compared_with_what_comes_out(path, notebook):
    cells = tagged(notebook, "prediction")
    sources = "\n".join(cell.source for cell in code_of(notebook))
    assert cells
    for cell in cells:
        assert re.search(r"= .*\.\.\.", cell.source)
        for name in re.findall(r"\b([a-z]\w*)\b(?=[^=]*= )", cell.source.split("#")[0]):
            assert re.search(rf"exercises\.compare\(\s*\[?[^)]*\b{name}\b", sources), name


# ---------------------------------------------------------------------------- notebook 00
def run_by_hand(**parameters):
    """What notebook 00 prints with these parameters; its figures are left out."""
    code = [cell.source for cell in code_of(next(iter(NOTEBOOKS.values())))
            if "utils.show(" not in cell.source and not cell.id.startswith("why-")]
    scope = {}
    exec("\n".join(code[:2]), scope)
    scope.update(parameters)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec("\n".join(code[2:]), scope)
    return printed.getvalue()


@pytest.mark.parametrize(("parameters", "words"), [
    ({"groups": 8}, ["groups=8", "1, 2"]),  # as any that refused_parameters.py has
    ({"images": 2, "seed": 154}, ["seed=154", "Choose another"]),
])
def test_by_hand_refuses_by_name_what_it_cannot_draw_or_compute(parameters, words):
    with pytest.raises(ValueError, match=says(*words)):
        run_by_hand(**parameters)


@pytest.mark.parametrize("parameters", [
    {}, {"images": 5, "size": 8}, {"images": 2, "channels": 5, "size": 3, "groups": 5},
    {"images": 2, "seed": 339}, {"eps": 1e-6, "seed": 93}, {"eps": 0.9}])
def test_by_hand_says_what_is_true_of_any_other_batch(parameters):
    printed = run_by_hand(**parameters)
    assert "batch: the first image's result CHANGES" in printed
    assert "nan" not in printed
