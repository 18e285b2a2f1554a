"""The committed notebooks: their form, their parameters, and that golden ones are their copies."""

import ast
import contextlib
import io
import itertools
import json
import re
from dataclasses import fields

import nbformat
import papermill
import pytest
from helpers import outputs, says
from study import without_lessons

from coursepack.data.datasets import DATASETS
from coursepack.files import ROOT
from coursepack.lab import studies as study
from coursepack.train.recipe import AUGMENTS, SCHEDULES, Recipe
from model import ARCHITECTURES, NORMS

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RECIPES = [path for path in NOTEBOOKS if path.name[:2] in ("01", "02", "03")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_form(path):
    text, notebook = path.read_text(encoding="utf-8"), nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info.name == "python"
    assert not {"papermill", "widgets"} & set(notebook.metadata)
    assert [i for i, cell in enumerate(notebook.cells)
            if "parameters" in cell.metadata.get("tags", [])] == [1]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert {out.output_type for cell in code for out in cell.outputs} <= {
        "stream", "display_data", "execute_result"}
    assert not re.search(r'(?<![:\w/])/(home|root|tmp|work|Users|content|usr)/|[A-Z]:\\\\', text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_typed_and_explained(path):
    source = nbformat.read(path, as_version=4).cells[1].source
    described = papermill.inspect_notebook(path)
    for line in source.splitlines():
        name = line.split(":")[0]
        assert re.fullmatch(r"\w+: (str|int|float|bool) = [^=]+  # [^=]+", line)
        assert described[name]["help"] == line.split("# ", 1)[1]
    assert len(described) == len(source.splitlines())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_saved_figure_has_alt_text(path):
    assert not re.search(r"!\[\s*\]\(", path.read_text(encoding="utf-8"))
    images = [out for out in outputs(path) if "image/png" in out.get("data", {})]
    assert all(out.metadata["image/png"]["alt"] for out in images)
    assert images


SHARED_CALLS = {"setup", "check", "data", "train", "result", "loss", "accuracy", "mistakes",
                "probe"}


def test_recipe_notebooks_share_parameters_and_calls_and_no_other_cell():
    """What stands in two of them is setup, parameters, or a cell of calls with the same id."""
    def parameters(path):
        return {name: p["default"] for name, p in papermill.inspect_notebook(path).items()}

    first = parameters(RECIPES[0])
    for path in RECIPES[1:]:
        other = parameters(path)
        assert {k for k in first if first[k] != other[k]} <= {"norm", "l1", "l2", "run_name"}
    cells = [nbformat.read(path, as_version=4).cells for path in RECIPES]
    sources = [{cell.source: cell.id for cell in notebook} for notebook in cells]
    for one, other in itertools.combinations(sources, 2):
        assert {one[source] for source in one.keys() & other.keys()} <= SHARED_CALLS
        assert {source for source in one if one[source] in {"setup", "check", "data", "train",
                                                            "result"}} <= other.keys()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_keeps_to_80_columns_but_for_parameters(path):
    """Pages cut longer lines."""
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for i, cell in enumerate(cells) if cell.cell_type == "code" and i != 1]
    assert [line for cell in code for line in cell.source.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_with_what_one_can_do_afterwards(path):
    first = nbformat.read(path, as_version=4).cells[0].source
    parts = [first.index(f"**{part}**") for part in ("Afterwards you can", "You need", "Time:")]
    assert parts == sorted(parts)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_setup_is_one_cell_that_a_reader_does_not_see(path):
    first, own = (nbformat.read(p, as_version=4).cells[2] for p in (NOTEBOOKS[0], path))
    assert own.id == "setup"
    assert own.source == first.source
    assert own.source.startswith("# @title ")  # Colab shows the title alone
    assert own.metadata.cellView == "form"
    assert own.metadata.jupyter.source_hidden  # JupyterLab
    assert "hide-input" in own.metadata.tags  # pages: tools/course.py, and a site


def test_parameters_are_explained_alike_in_all_recipes():
    first, *others = (papermill.inspect_notebook(path) for path in RECIPES)
    for other in others:
        assert {name: p["help"] for name, p in other.items()} == {
            name: p["help"] for name, p in first.items()}


@pytest.mark.parametrize("choices", [DATASETS, AUGMENTS, ARCHITECTURES, NORMS, SCHEDULES],
                         ids=lambda choices: next(iter(choices)))
def test_no_comment_lists_what_a_message_lists(choices):
    """A list in a comment is stale with the next choice; "?" as a value shows the true one."""
    for path in RECIPES:
        for parameter in papermill.inspect_notebook(path).values():
            assert len({*re.findall(r"\w+", parameter["help"])} & {*choices}) <= 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_golden_notebook_is_a_copy_but_for_what_papermill_put_in(path):
    golden = nbformat.read(ROOT / "tests" / "golden" / path.name, as_version=4).cells
    cells = nbformat.read(path, as_version=4).cells
    kept = [cell for cell in golden if "injected-parameters" not in cell.metadata.tags]
    assert [(cell.id, cell.source) for cell in kept] == [(cell.id, cell.source) for cell in cells]
    assert not [out for cell in golden for out in cell.get("outputs", [])
                if "image/png" in out.get("data", {})]  # each would stay in the history


@pytest.mark.parametrize(("path", "own"), list(zip(RECIPES, [
    {"l1": 1e-5, "l2": 1e-4, "run_name": "bn_l1_l2"},
    {"norm": "group", "l1": 1e-5, "run_name": "gn_l1"},
    {"norm": "layer", "l2": 1e-4, "run_name": "ln_l2"},
])), ids=[path.stem for path in RECIPES])
def test_defaults_are_those_of_a_recipe_but_for_these(path, own):
    """Recipe's defaults fill an old record, so a new parameter has to have them here as well."""
    expected = {field.name: field.default for field in fields(Recipe)} | {"lr": 0.05} | own
    found = study.notebook_defaults(path.stem)
    assert found == {name: expected[name] for name in found}
    assert own.keys() | {"lr"} <= found.keys()


def run_by_hand(**parameters):
    """What notebook 00 prints with these parameters; its figures are left out."""
    code = [cell.source for cell in nbformat.read(NOTEBOOKS[0], as_version=4).cells
            if cell.cell_type == "code" and "utils.show(" not in cell.source]
    scope = {}
    exec("\n".join(code[:2]), scope)
    scope.update(parameters)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec("\n".join(code[2:]), scope)
    return printed.getvalue()


@pytest.mark.parametrize(("parameters", "words"), [
    ({"images": 8, "channels": 8, "size": 8, "groups": 8}, ["images * channels=64", "11"]),
    ({"images": 10**6, "channels": 10**6, "size": 10**6}, ["images * channels", "11"]),
    ({"images": 4, "channels": 4}, ["images * channels=16", "11"]),
    ({"size": 10**6}, ["channels * size", "17"]),
    ({"size": 1}, ["size=1", "2"]),
    ({"images": -3, "channels": -3}, ["images=-3", "2"]),
    ({"groups": 8}, ["groups=8", "1, 2"]),
    ({"groups": True}, ["groups=True", "a whole number"]),
    ({"images": 2.5}, ["images=2.5", "a whole number"]),
    ({"eps": "tiny"}, ["eps='tiny'", "a number"]),
    ({"eps": 1e-9}, ["eps=1e-09", "1e-06"]),
    ({"eps": 1e300}, ["eps=1e+300", "less than 1"]),
    ({"seed": 2**70}, ["seed", "less than 1000000000"]),
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


def names_of(cells, context):
    """The names that code cells store, or load."""
    return {node.id for cell in cells for node in ast.walk(ast.parse("".join(cell["source"])))
            if isinstance(node, ast.Name) and isinstance(node.ctx, context)}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_study_leaves_out_lessons_and_nothing_that_its_run_needs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    kept = without_lessons(notebook)
    assert kept["metadata"] == notebook["metadata"]
    code = [cell for cell in kept["cells"] if cell["cell_type"] == "code"]
    dropped = [cell for cell in notebook["cells"]
               if cell["cell_type"] == "code" and cell not in code]
    assert [cell["id"] for cell in code] == ["parameters", "setup", "check", "data", "train",
                                             "result"]
    assert dropped
    made = names_of(dropped, ast.Store) - names_of(code, ast.Store)
    assert not made & names_of(code, ast.Load)
