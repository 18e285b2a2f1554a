"""Recipes: how a value is spelled, how a notebook's variables become one, that all of it acts."""

import numpy as np
import pytest
from helpers import files_in, make_recipe

from coursepack.train import loop
from coursepack.train.recipe import FIELDS, Recipe, live_parameters, notebook_parameters
from coursepack.train.updates import L1_STEPS, L2_STEPS


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


BESIDE = {  # what a parameter needs to be of use: other parameters, beside its two values
    "groups": ({"norm": "group"}, 1, 2), "layer_affine": ({"norm": "layer"}, "element", "channel"),
    "penalize": ({"l2": 0.1}, "weights", "last", "hidden"), "l1_step": ({"l1": 0.1}, *L1_STEPS),
    "l2_step": ({"l2": 0.1, "momentum": 0.0, "arch": "mnist_8k"}, *L2_STEPS),
    "norm_batch": ({}, 0, 5), "init": ({}, "default", "he"),
    "conv_bias": ({"arch": "mnist_8k"}, False, True),
    "norm": ({}, "batch", "rms"), "subset_seed": ({}, 1, 2), "arch": ({}, "mnist_10k", "mnist_7k"),
    "augment": ({}, "shift", "shift+half"), "dropout": ({}, 0.0, 0.1),
    "order": ({}, "", "norm-act-drop"),
    "skip": ({}, False, True), "optimizer": ({}, "sgd", "muon"), "dataset": ({}, "one", "other"),
    "schedule": ({}, "one_cycle", "constant"), "weight_decay": ({}, 0.0, 0.1),
    "label_noise": ({}, 0.0, 0.4), "l1": ({}, 0.0, 0.01), "l2": ({}, 0.0, 0.1),
    "train_size": ({}, 20, 15), "holdout": ({}, 0, 5), "epochs": ({}, 2, 3), "seed": ({}, 1, 2),
    "batch_size": ({}, 8, 5), "lr": ({}, 0.1, 0.05), "momentum": ({}, 0.9, 0.8)}
OF_PLACES = {"device", "data_dir", "run_name", "runs_dir"}  # which the run does not depend on


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - OF_PLACES))
def test_every_parameter_that_is_accepted_changes_the_run(tmp_path, monkeypatch, name):
    """The way of a notebook: from the recipe to its data, the network, and training."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for seed, dataset in enumerate(("one", "other")):
        images = np.random.default_rng(seed).integers(256, size=(40, 28, 28), dtype=np.uint8)
        np.savez(tmp_path / f"{dataset}.npz", x_train=images[:30], y_train=np.arange(30) % 3,
                 x_test=images[30:], y_test=np.arange(10) % 3)
    beside, *values = BESIDE[name]
    base = {"dataset": "one", "arch": "mnist_10k", "train_size": 20, "subset_seed": 1, "epochs": 2,
            "batch_size": 8, "augment": "none", "device": "cpu"}
    found = []
    for value in values:
        recipe = Recipe(**base | beside | {name: value})
        model, history = loop.train_beside(data := recipe.load_data(), recipe)
        found.append([history, loop.evaluate(model, data)])
    assert found[0] != found[1]


@pytest.mark.parametrize(("shape", "given", "arch", "words"), [
    ((64, 48, 3), "auto", "cifar_35k", ("that images of 3 x 64 x 48 fit", "size, 3 x 32 x 32")),
    ((28, 28), "auto", "mnist_7k", ()), ((64, 48, 3), "mnist_8k", "mnist_8k", ())])
def test_auto_is_the_network_for_the_images_and_a_notebook_says_so_if_it_is_of_another_size(
        tmp_path, monkeypatch, capsys, shape, given, arch, words):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    images, labels = np.resize(np.arange(251, dtype=np.uint8), (9, *shape)), np.arange(9) % 3
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    recipe = Recipe.from_notebook({"dataset": "own", "arch": given})
    said = capsys.readouterr().out
    assert recipe.arch == arch
    assert "about mnist_7k and digits" in said
    assert all(word in said for word in words) if words else "arch=auto" not in said
    model = loop.build_model(recipe, data := recipe.load_data())
    assert loop.predict(model, data).shape == (9, 3)


def test_live_runs_draw_their_images_by_the_seed_and_later_cells_find_numbers():
    there = {"dataset": "mnist_sample", "data_dir": "", "live_images": "100", "live_epochs": 1,
             "arch": "mnist_8k", "seed": 2, "images_dir": "images"}
    own = live_parameters(there)
    assert (own["seed"], own["subset_seed"], there["live_images"]) == (2, 2, 100)
