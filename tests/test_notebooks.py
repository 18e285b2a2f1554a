"""The committed notebooks: their form, parameters and blanks, and that golden ones are copies.

What they print is compared by nbval; golden/conftest.py fills them in.
"""

import ast
import contextlib
import re
from dataclasses import fields

import nbformat
import pytest
from helpers import says

import exercises
from coursepack.files import ROOT
from coursepack.lab.studies import notebook_defaults
from coursepack.train.recipe import Recipe

NOTEBOOKS = {path: nbformat.read(path, as_version=4)
             for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
BY_HAND = next(iter(NOTEBOOKS.values()))
RECIPES = {  # and the parameters that are not as Recipe has them
    "01_batch_norm_l1_l2": {"l1": 1e-5, "l2": 1e-4, "run_name": "bn_l1_l2"},
    "02_group_norm_l1": {"norm": "group", "l1": 1e-5, "run_name": "gn_l1"},
    "03_layer_norm_l2": {"norm": "layer", "l2": 1e-4, "run_name": "ln_l2"},
}
each = pytest.mark.parametrize(("path", "notebook"), NOTEBOOKS.items(),
                               ids=[path.stem for path in NOTEBOOKS])


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def names(cells, kind):
    """What cells read (ast.Load), or make (ast.Store)."""
    trees = [ast.parse(cell.source) for cell in cells]
    return {node.id for tree in trees for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}


@each
def test_form(path, notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert not {"papermill", "widgets"} & set(notebook.metadata)
    code, outputs = code_of(notebook), [out for cell in code_of(notebook) for out in cell.outputs]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert {out.output_type for out in outputs} <= {"stream", "display_data", "execute_result"}
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert pictures
    assert all(out.metadata["image/png"]["alt"] for out in pictures)
    for out in pictures:
        del out.data["image/png"]
    text = nbformat.writes(notebook)
    assert not re.search(r'(?<![:\w/])/(home|root|tmp|work|Users|content|usr)/|[A-Z]:\\\\', text)
    assert not re.search(r"!\[\s*\]\(", text)  # a picture without a text
    for paragraph in "\n\n".join(cell.source for cell in notebook.cells).split("\n\n"):
        assert not re.match(r"(?![-+*] )(.+\n)+[-+*] ", paragraph)  # no list by accident
    _, parameters, setup, *_ = notebook.cells
    assert tagged(notebook, "parameters") == [parameters]
    assert setup.metadata == BY_HAND.cells[2].metadata
    assert (setup.metadata.cellView, setup.metadata.tags) == ("form", ["hide-input"])
    assert (setup.id, setup.source) == ("setup", BY_HAND.cells[2].source)


@each
def test_golden_notebook_is_a_copy_but_for_what_papermill_put_in(path, notebook):
    golden = nbformat.read(ROOT / "tests" / "golden" / path.name, as_version=4).cells
    kept = [cell for cell in golden if "injected-parameters" not in cell.metadata.tags]
    assert [(cell.id, cell.source) for cell in kept] == [
        (cell.id, cell.source) for cell in notebook.cells]
    assert not [out for cell in golden for out in cell.get("outputs", [])
                if "image/png" in out.get("data", {})]  # each would stay in the history


@each
def test_exercises_and_predictions_are_blank_and_nothing_else_depends_on_them(path, notebook):
    cells, code = tagged(notebook, "exercise"), code_of(notebook)
    calls = [re.search(r'^exercises\.check\("(\w+)", (\w+)\)$', cell.source, re.MULTILINE)
             for cell in cells]
    assert [call.groups() for call in calls] == [
        (name, name) for name, one in exercises.EXERCISES.items() if one.notebook == path.stem[:2]]
    for cell, call in zip(cells, calls):
        assert "..." in cell.source
        assert "not answered yet" in "".join(out.get("text", "") for out in cell.outputs)
        assert not [other for other in code if other is not cell and re.search(
            rf'(?<!def )(?<![\w."]){call[1]}\(', other.source)]
    predictions, sources = tagged(notebook, "prediction"), "\n".join(cell.source for cell in code)
    assert predictions
    for cell in predictions:
        assert re.search(r"= .*\.\.\.", cell.source)
        for name in re.findall(r"\b([a-z]\w*)\b(?=[^=]*= )", cell.source.split("#")[0]):
            assert re.search(rf"exercises\.compare\(\s*\[?[^)]*\b{name}\b", sources), name


@pytest.mark.parametrize(("name", "own"), RECIPES.items())
def test_a_recipe_has_the_defaults_of_its_class_and_a_study_of_it_all_that_a_run_needs(name, own):
    """Recipe's defaults fill an old record, so a new parameter has to have them here as well."""
    expected = {field.name: field.default for field in fields(Recipe)} | {"lr": 0.05} | own
    found = notebook_defaults(name)
    assert found == {name: expected[name] for name in found}
    assert found.keys() == notebook_defaults("01_batch_norm_l1_l2").keys() > own.keys()
    code = code_of(NOTEBOOKS[ROOT / "notebooks" / f"{name}.ipynb"])
    parameters, setup, *_ = code  # folded alike: in Jupyter, in Colab, on the website
    assert parameters.source.startswith("# @title ")
    assert parameters.metadata == setup.metadata | {"tags": ["parameters", *setup.metadata.tags]}
    lessons = [cell for cell in code if "lesson" in cell.metadata.get("tags", [])]
    run = [cell for cell in code if cell not in lessons]
    assert [cell.id for cell in run] == ["parameters", "setup", "check", "data", "train", "result"]
    made_by_lessons = names(lessons, ast.Store) - names(run, ast.Store)
    assert not made_by_lessons & names(run, ast.Load)


@pytest.mark.parametrize(("parameters", "refusal"), [
    ({"groups": 8}, says("groups=8", "1, 2")),  # as any that refused_parameters.py has
    ({"images": 2, "seed": 154}, says("seed=154", "Choose another")),
    ({}, ""), ({"images": 2, "channels": 5, "size": 3, "groups": 5}, ""),
    ({"images": 2, "seed": 339}, ""), ({"eps": 1e-6, "seed": 93}, ""), ({"eps": 0.9}, "")])
def test_by_hand_refuses_a_batch_by_name_or_says_what_is_true_of_it(parameters, refusal, capsys):
    scope = {}
    with pytest.raises(ValueError, match=refusal) if refusal else contextlib.nullcontext():
        for cell in code_of(BY_HAND):
            if not cell.id.startswith(("why-", "drawing")):  # what takes long, or only draws
                exec(cell.source, scope)
            if cell.id == "parameters":
                scope |= parameters
    printed = capsys.readouterr().out
    assert refusal or "batch: the first image's result CHANGES" in printed
    assert "nan" not in printed
