"""Recipes: how a value is spelled, how a notebook's variables become one."""

import pytest
from helpers import files_in, make_recipe

from coursepack.train.recipe import notebook_parameters


@pytest.mark.parametrize(("name", "spelled", "value"), [
    ("lr", "1e-3", 0.001), ("lr", " 0.1 ", 0.1), ("lr", 1, 1.0), ("epochs", "20", 20),
    ("epochs", 1.0, 1), ("epochs", "1e3", 1000), ("skip", "true", True), ("skip", " FALSE", False),
    ("norm", " GN ", "GN"), ("run_name", " 001", "001"), ("runs_dir", " x ", " x ")])
def test_what_a_command_line_cannot_say_otherwise_is_taken_where_nothing_is_lost(
        tmp_path, name, spelled, value):
    kept = getattr(make_recipe(tmp_path, arch="mnist_10k", **{name: spelled}), name)
    assert (kept, type(kept)) == (value, type(value))
    assert files_in(tmp_path) == []  # putting a recipe together writes nothing


CHECK = "recipe = utils.Recipe.from_notebook(globals())"  # the cell that asks, in its kernel's In


@pytest.mark.parametrize("cells", [
    ["epochs: int = 20", "# Parameters\nepochs = 5\nlr = 0.1\nrun_name = \"bn\"\n", CHECK],
    ["# Parameters\nepochs = 5.0\nlr = \"1e-1\"\nrun_name = ' bn '\n", CHECK],  # as spelled
    ["# Parameters\nepochs = 3\n", "# Parameters\nepochs = 5\n", CHECK],  # the last one counts
    ["# Parameters\nPAPERMILL_INPUT_PATH = \"a.ipynb\"\nPAPERMILL_OUTPUT_PATH = \"-\"\n", CHECK],
    ["# Parameters\nepochs = 3\n", CHECK, "epochs: int = 5", CHECK],  # a person, on purpose
    ["# Parameters\nepochs: int = 20  # a person's own\n", "# Parameters\nprint(1)\n", CHECK],
    ["# Parameters\nepochs = round(2.5)\n", "# Parameters\n%time\n", CHECK],
    []])
def test_what_papermill_put_in_is_taken_and_other_cells_are_left_alone(cells):
    now = {"epochs": 5, "lr": 0.1, "run_name": "bn"}
    kinds = {name: type(value) for name, value in now.items()}
    assert notebook_parameters(now | {"In": ["", *cells]}, kinds) == now
