"""Recipes: how a value is spelled, how a notebook's variables become one, what is printed."""

import pytest
from helpers import files_in, make_recipe

from coursepack.data.datasets import find_dataset
from coursepack.train.recipe import LABORATORY, Recipe, live_parameters, notebook_parameters


@pytest.mark.parametrize(("name", "spelled", "value"), [
    ("lr", "1e-3", 0.001), ("lr", " 0.1 ", 0.1), ("lr", 1, 1.0), ("epochs", "20", 20),
    ("epochs", 1.0, 1), ("epochs", "1e3", 1000), ("skip", "true", True), ("skip", " FALSE", False),
    ("norm", " GN ", "GN"), ("run_name", " 001", "001"), ("runs_dir", " x ", " x ")])
def test_what_a_command_line_cannot_say_otherwise_is_taken_where_nothing_is_lost(
        tmp_path, name, spelled, value):
    kept = getattr(make_recipe(tmp_path, arch="mnist_10k", **{name: spelled}), name)
    assert (kept, type(kept)) == (value, type(value))
    assert files_in(tmp_path) == []  # putting a recipe together writes nothing


def test_relative_folders_start_at_the_root_and_what_is_printed_of_a_recipe(tmp_path, monkeypatch):
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    assert Recipe(run_name="mine").run_dir == tmp_path / "runs" / "mine"
    assert find_dataset("mnist") == (tmp_path / "data", tmp_path / "data" / "mnist.npz")
    for name in ("elsewhere", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "elsewhere"))
    assert find_dataset("mnist")[0] == tmp_path / "elsewhere"
    assert find_dataset("mnist", "here")[0] == tmp_path / "here"
    assert not [name for name in LABORATORY if name in str(Recipe())]  # only where they differ
    text = str(Recipe(optimizer="adamw", weight_decay=0.1))
    assert [name for name in LABORATORY if name in text] == ["optimizer", "weight_decay"]


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


def test_live_runs_have_their_common_parameters_and_later_cells_find_numbers():
    variables = {"dataset": "mnist_sample", "data_dir": "", "live_images": "100",
                 "live_epochs": 1.0, "seed": "2", "images_dir": "images"}
    recipe = Recipe(**live_parameters(variables))
    assert (variables["live_images"], variables["live_epochs"], variables["seed"]) == (100, 1, 2)
    assert (recipe.train_size, recipe.epochs, recipe.seed, recipe.subset_seed) == (100, 1, 2, 2)
