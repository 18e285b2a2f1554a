"""Recipes: how a value is spelled, how a notebook's variables become one, what is printed.

What is refused: refused_parameters.py. What is written of one and read again: test_records.py.
"""

from dataclasses import fields

import pytest
import torch
from helpers import files_in, make_recipe, says

from coursepack.data.datasets import find_dataset
from coursepack.threads import pick_device
from coursepack.train.recipe import (
    LABORATORY,
    Recipe,
    live_parameters,
    notebook_parameters,
    with_defaults,
)


@pytest.mark.parametrize(("name", "spelled", "value"), [
    ("lr", "1e-3", 0.001), ("lr", " 0.1 ", 0.1), ("lr", 1, 1.0), ("l1", "0", 0.0),
    ("epochs", "20", 20), ("epochs", 1.0, 1), ("epochs", "1e3", 1000), ("batch_size", "64.0", 64),
    ("skip", "true", True), ("skip", "False", False), ("skip", " TRUE", True),
    ("norm", " GN ", "GN"), ("schedule", "step ", "step"), ("run_name", " 001", "001"),
])
def test_what_a_command_line_cannot_say_otherwise_is_taken_where_nothing_is_lost(
        tmp_path, name, spelled, value):
    kept = getattr(make_recipe(tmp_path, arch="mnist_10k", **{name: spelled}), name)
    assert (kept, type(kept)) == (value, type(value))
    assert files_in(tmp_path) == []  # putting a recipe together writes nothing


def test_folders_are_taken_as_written_and_relative_ones_start_at_the_root(tmp_path, monkeypatch):
    assert make_recipe(tmp_path, runs_dir=f"{tmp_path}/ x ").runs_dir == f"{tmp_path}/ x "
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    assert Recipe(run_name="mine").run_dir == tmp_path / "runs" / "mine"
    assert find_dataset("mnist") == (tmp_path / "data", tmp_path / "data" / "mnist.npz")
    for name in ("elsewhere", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "elsewhere"))
    assert find_dataset("mnist")[0] == tmp_path / "elsewhere"
    assert find_dataset("mnist", "here")[0] == tmp_path / "here"


CHECK = "recipe = utils.Recipe.from_notebook(globals())"  # the cell that asks, in its kernel's In
KINDS = {"epochs": int, "lr": float, "run_name": str}
NOW = {"epochs": 5, "lr": 0.1, "run_name": "bn"}


@pytest.mark.parametrize("cells", [
    ["epochs: int = 20", "# Parameters\nepochs = 5\nlr = 0.1\nrun_name = \"bn\"\n", CHECK],
    ["# Parameters\nepochs = 5.0\nlr = \"1e-1\"\nrun_name = ' bn '\n", CHECK],  # as spelled
    ["# Parameters\nepochs = 3\n", "# Parameters\nepochs = 5\n", CHECK],  # the last one counts
    ["# Parameters\nPAPERMILL_INPUT_PATH = \"a.ipynb\"\nPAPERMILL_OUTPUT_PATH = \"-\"\n", CHECK],
    ["# Parameters\nepochs = 3\n", CHECK, "epochs: int = 5", CHECK],  # a person, on purpose
    ["# Parameters\nepochs: int = 20  # a person's own\n", "# Parameters\nprint(1)\n", CHECK],
    ["# Parameters\nepochs = round(2.5)\n", "# Parameters\n%time\n", CHECK],
    [],
])
def test_what_papermill_put_in_is_taken_and_other_cells_are_left_alone(cells):
    assert notebook_parameters(NOW | {"In": ["", *cells]}, KINDS) == NOW


def test_a_recipe_is_read_from_a_notebooks_variables():
    cells = ["", "epochs = 20\nunrelated = 1", "# Parameters\nepochs = 3\nl1 = 0\n"]
    variables = {"In": cells, "epochs": 3, "l1": 0, "unrelated": 1, "device": "cpu"}
    recipe = Recipe.from_notebook(variables)
    assert (recipe.epochs, recipe.l1, recipe.lr) == (3, 0.0, Recipe.lr)


def test_live_runs_have_their_common_parameters():
    numbers = {"dataset": "mnist_sample", "data_dir": "", "live_images": 100, "live_epochs": 1,
               "seed": 2, "images_dir": "images"}
    variables = numbers | {"live_images": "100", "live_epochs": 1.0, "seed": "2"}
    recipe = Recipe(**live_parameters(variables))
    assert variables == numbers  # later cells find numbers there, too
    assert (recipe.train_size, recipe.epochs, recipe.seed, recipe.subset_seed) == (100, 1, 2, 2)


@pytest.mark.parametrize(("cuda", "apple", "device"), [
    (True, True, "cuda"), (False, True, "mps"), (False, False, "cpu"),
])
def test_auto_is_cuda_else_apples_gpu_else_the_cpu(monkeypatch, cuda, apple, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
    assert pick_device("auto") == torch.device(device)
    with pytest.raises(ValueError, match=says("auto", "cpu", device)):
        pick_device("no_such_device")


def test_laboratory_parameters_are_printed_only_where_they_differ(tmp_path):
    plain = str(make_recipe(tmp_path))
    assert not [name for name in LABORATORY if name in plain]
    text = str(make_recipe(tmp_path, optimizer="adamw", weight_decay=0.1))
    assert "optimizer='adamw'" in text
    assert "weight_decay=0.1" in text
    assert "norm_batch" not in text


def test_a_record_older_than_a_parameter_is_one_with_its_default():
    filled = with_defaults({"lr": 0.5})
    assert list(filled) == [field.name for field in fields(Recipe)]
    assert (filled["lr"], filled["momentum"]) == (0.5, Recipe.momentum)
