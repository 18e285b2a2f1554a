"""Recipes: what a wrong parameter is told, and how a notebook's variables become one."""

import math
from dataclasses import fields

import pytest
import torch
from helpers import files_in, make_recipe, says

from coursepack.data.datasets import DATASETS, find_dataset
from coursepack.threads import pick_device
from coursepack.train.recipe import (
    AUGMENTS,
    LABORATORY,
    PENALIZE,
    SCHEDULES,
    Recipe,
    live_parameters,
    notebook_parameters,
    with_defaults,
)
from model import ARCHITECTURES, LAYER_AFFINES, NORMS, ORDERS, check_norm


@pytest.mark.parametrize(("changes", "words"), [
    ({"dataset": "mnsit"}, ["dataset", "mnsit", "mnist"]),
    ({"train_size": -1}, ["train_size", "-1", "0"]),
    ({"holdout": -1}, ["holdout", "-1", "0"]),
    ({"augment": "rotat"}, ["augment", "rotat", "rotate"]),
    ({"augment": "rotate+none"}, ["augment", "none", "shift"]),
    ({"augment": "off"}, ["augment", "off", "none"]),
    ({"augment": ""}, ["augment", "''", "rotate"]),
    ({"arch": "mnist7k"}, ["arch", "mnist7k", "mnist_7k"]),
    ({"norm": "btach"}, ["norm", "btach", "batch"]),
    ({"norm": "group", "groups": 3}, ["groups", "3", "1, 2, 4, 8"]),
    ({"groups": 0}, ["groups", "0", "1"]),
    ({"layer_affine": "pixel"}, ["layer_affine", "pixel", "element"]),
    ({"dropout": 1.5}, ["dropout", "1.5", "less than 1"]),
    ({"dropout": 1.0}, ["dropout", "1.0", "less than 1"]),
    ({"order": "act-norm"}, ["order", "act-norm", "act-norm-drop"]),
    ({"skip": True}, ["skip", "True", "False"]),
    ({"skip": 1}, ["skip", "1", "True or False"]),
    ({"l1": -1}, ["l1", "-1", "0"]),
    ({"l1": math.inf}, ["l1", "inf", "0"]),
    ({"l2": math.nan}, ["l2", "nan", "0"]),
    ({"penalize": "weight"}, ["penalize", "'weight'", "weights, all"]),
    ({"epochs": -1}, ["epochs", "-1", "1 or more"]),
    ({"epochs": 0}, ["epochs", "0", "1 or more"]),
    ({"epochs": 2.5}, ["epochs", "2.5", "a whole number"]),
    ({"batch_size": 0}, ["batch_size", "0", "1 or more"]),
    ({"lr": "fast"}, ["lr", "'fast'", "a number"]),
    ({"lr": 10**400}, ["lr", "1000", "a number"]),
    ({"lr": True}, ["lr", "True", "a number"]),
    ({"norm": None}, ["norm", "None", "-r norm"]),
    ({"lr": 0}, ["lr", "0", "or more"]),
    ({"momentum": 1}, ["momentum", "1", "less than 1"]),
    ({"schedule": "onecycle"}, ["schedule", "onecycle", "one_cycle"]),
    ({"seed": True}, ["seed", "True", "a whole number"]),
    ({"seed": -1}, ["seed", "-1", "0"]),
    ({"seed": 10**14}, ["seed", "1" + 14 * "0"]),
    ({"device": "cuda"}, ["device", "cuda", "cpu"]),
    ({"run_name": "../x"}, ["run_name", "../x", "letters"]),
    ({"run_name": 1}, ["run_name=1 ", "text in quotes", "-r run_name"]),
    ({"run_name": ""}, ["run_name", "''", "letters"]),
    ({"run_name": ".."}, ["run_name", "'..'", "letters"]),
])
def test_recipe_refuses_a_wrong_value_by_name(tmp_path, monkeypatch, changes, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=says(*words)):
        make_recipe(tmp_path, **changes)
    assert files_in(tmp_path) == []


def test_putting_a_recipe_together_writes_nothing(tmp_path):
    make_recipe(tmp_path)
    assert files_in(tmp_path) == []


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
    assert check_norm("GN") == "group"


def test_a_folder_may_begin_with_a_space(tmp_path):
    assert make_recipe(tmp_path, runs_dir=f"{tmp_path}/ x ").runs_dir == f"{tmp_path}/ x "


def test_relative_folders_start_at_the_root(tmp_path, monkeypatch):
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    recipe = Recipe(run_name="mine")
    assert recipe.run_dir == tmp_path / "runs" / "mine"
    assert find_dataset("mnist") == (tmp_path / "data", tmp_path / "data" / "mnist.npz")
    for name in ("elsewhere", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "elsewhere"))
    assert find_dataset("mnist")[0] == tmp_path / "elsewhere"
    assert find_dataset("mnist", "here")[0] == tmp_path / "here"


@pytest.mark.parametrize(("name", "choices"), [
    ("dataset", DATASETS), ("augment", AUGMENTS), ("arch", ARCHITECTURES), ("norm", NORMS),
    ("layer_affine", LAYER_AFFINES), ("order", ORDERS), ("penalize", PENALIZE),
    ("schedule", SCHEDULES), ("device", ["auto", "cpu"]),
])
def test_a_question_mark_lists_all_choices(tmp_path, name, choices):
    """The comments of the notebooks' parameters say so."""
    with pytest.raises(ValueError, match=says(name, *choices)):
        make_recipe(tmp_path, **{name: "?"})


def test_a_record_older_than_a_parameter_is_one_with_its_default():
    filled = with_defaults({"lr": 0.5})
    assert list(filled) == [field.name for field in fields(Recipe)]
    assert (filled["lr"], filled["momentum"]) == (0.5, Recipe.momentum)


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


@pytest.mark.parametrize(("cells", "words"), [
    (["# Parameters\nepoch = 5\n", CHECK], ["'epoch'", "'epochs'"]),
    (["# Parameters\nepoch = 5\n", CHECK, CHECK], ["'epoch'", "'epochs'"]),
    (["# Parameters\nepochs = 3\n", "epochs: int = 5", CHECK],
     ["epochs=5", "was given 3", "in no cell below", '"parameters"']),
    (["# Parameters\nlr = float('nan')\n", "lr: float = 0.1", CHECK], ["lr=0.1", "given nan"]),
    (["# Parameters\nlr = -0.5\n", CHECK], ["lr=0.1", "given -0.5"]),
    (["# Parameters\nrun_name = None\n", CHECK], ["run_name=None", "-r run_name"]),
])
def test_what_papermill_put_in_is_what_runs_or_is_refused(cells, words):
    with pytest.raises(ValueError, match=says(*words)):
        notebook_parameters(NOW | {"In": ["", *cells]}, KINDS)


def test_a_recipe_is_read_from_a_notebooks_variables(tmp_path, monkeypatch):
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    cells = ["", "epochs = 20\nunrelated = 1", "# Parameters\nepochs = 3\nl1 = 0\n"]
    variables = {"In": cells, "epochs": 3, "l1": 0, "unrelated": 1, "device": "cpu"}
    recipe = Recipe.from_notebook(variables)
    assert (recipe.epochs, recipe.l1, recipe.lr) == (3, 0.0, Recipe.lr)
    with pytest.raises(ValueError, match="epochs=20, and papermill was given 3"):
        Recipe.from_notebook({**variables, "epochs": 20, "In": [*cells, "epochs = 20", CHECK]})
    with pytest.raises(ValueError, match="'epoch'"):
        Recipe.from_notebook({**variables, "In": [*cells, "# Parameters\nepoch = 5\n"]})


@pytest.mark.parametrize(("cuda", "apple", "device"), [
    (True, True, "cuda"), (False, True, "mps"), (False, False, "cpu"),
])
def test_auto_is_cuda_else_apples_gpu_else_the_cpu(monkeypatch, cuda, apple, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
    assert pick_device("auto") == torch.device(device)
    with pytest.raises(ValueError, match=says("auto", *[device] * (not cuda), "cpu")):
        pick_device("?")


def test_long_name_blames_itself_and_not_the_folder(tmp_path):
    with pytest.raises(ValueError, match=says("run_name", "100 letters")):
        make_recipe(tmp_path, run_name="n" * 300)


def test_laboratory_parameters_are_printed_only_where_they_differ(tmp_path):
    plain = str(make_recipe(tmp_path))
    assert not [name for name in LABORATORY if name in plain]
    text = str(make_recipe(tmp_path, optimizer="adamw", weight_decay=0.1))
    assert "optimizer='adamw'" in text
    assert "weight_decay=0.1" in text
    assert "norm_batch" not in text


@pytest.mark.parametrize(("own", "words"), [
    ({"l1_step": "proximl"}, ["l1_step", "Did you mean 'proximal'"]),
    ({"optimizer": "adam"}, ["optimizer", "adamw"]),
    ({"label_noise": 1.0}, ["label_noise", "1.0"]),
    ({"norm_batch": -2}, ["norm_batch", "-2"]),
    ({"subset_seed": 3}, ["subset_seed", "train_size"]),
    ({"l1_step": "proximal", "optimizer": "adamw"}, ["l1_step=proximal", "optimizer='sgd'"]),
    ({"l2_step": "learning_rate"}, ["l2_step=learning_rate", "momentum"]),
    ({"l2_step": "learning_rate", "momentum": 0.0, "l1": 0.1}, ["l2_step=learning_rate", "l1"]),
])
def test_laboratory_parameters_are_checked_alone_and_together(tmp_path, own, words):
    with pytest.raises(ValueError, match=says(*words)):
        make_recipe(tmp_path, **own)


LIVE_RUN = {"dataset": "mnist_sample", "data_dir": "", "live_images": 100, "live_epochs": 1,
            "seed": 2, "images_dir": "images"}


def test_live_runs_have_their_common_parameters():
    variables = LIVE_RUN | {"live_images": "100", "live_epochs": 1.0, "seed": "2"}
    common = live_parameters(variables)
    assert variables == LIVE_RUN  # later cells find numbers there, too
    recipe = Recipe(**common)
    assert (recipe.train_size, recipe.epochs, recipe.seed, recipe.subset_seed) == (100, 1, 2, 2)


@pytest.mark.parametrize(("own", "words"), [
    ({"live_images": 0}, ["live_images=0", "1"]),
    ({"live_epochs": -1}, ["live_epochs=-1"]),
    ({"live_epochs": 1.5}, ["live_epochs=1.5", "a whole number"]),
    ({"dataset": "mnst"}, ["mnst", "Did you mean 'mnist'"]),
    ({"seed": -1}, ["seed"]),
])
def test_live_runs_refuse_by_name(own, words):
    with pytest.raises(ValueError, match=says(*words)):
        live_parameters(LIVE_RUN | own)
