"""Training: what a step descends, what an epoch counts, what a seed decides, how a run ends."""

import math
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import files_in, first, fit, log_probabilities, make_recipe, says

from coursepack.lab.studies import notebook_defaults
from coursepack.train import batches, loop
from coursepack.train.recipe import Recipe
from coursepack.train.updates import PENALIZE


# Of five steps loss, penalty, accuracy and the last rate; then loss and accuracy of a test.
@pytest.mark.parametrize(("notebook", "numbers"), [
    ("01_batch_norm_l1_l2",
     [2.2809958737, 0.0055598620, 0.1296875, 0.0162349131, 2.3037975851, 0.1]),
    ("02_group_norm_l1",
     [2.2748828726, 0.0039515046, 0.1046875, 0.0162349131, 2.1638445504, 0.2671875]),
    ("03_layer_norm_l2",
     [2.2820333898, 0.0016090077, 0.1078125, 0.0162349131, 2.1387608263, 0.240625])])
def test_five_steps_of_a_recipe_give_these_numbers_on_every_machine(digits, notebook, numbers):
    """In float64, but for random numbers drawn in float32. Run by upkeep/regression.py, too."""
    recipe = Recipe(**notebook_defaults(notebook) | {"epochs": 2, "lr": 0.02})
    assert [*loop.probe(digits, recipe).values()] == pytest.approx(numbers, rel=1e-6)


def test_a_history_is_counted_over_images_not_over_batches_and_the_penalty_apart(tmp_path, few):
    data = first(few, 65, 260)  # 64 + 1 images to train on, 250 + 10 to test on
    recipe = make_recipe(tmp_path, norm="group", lr=1e-9, l1=0.01, l2=0.1)
    model = loop.build_model(recipe, data).double()
    kernels = [w for w in model.parameters() if w.dim() == 4]
    pull = sum(0.01 * w.abs().sum() + 0.05 * w.square().sum() for w in kernels)
    expected = {"penalty": pull.item()}
    for prefix, images, labels in [("", data.train_images, data.train_labels),
                                   ("test_", data.test_images, data.test_labels)]:
        scores = log_probabilities(model, images, data)
        expected[prefix + "loss"] = -scores[range(len(labels)), labels].mean().item()
        expected[prefix + "accuracy"] = (scores.argmax(1) == labels).double().mean().item()
    [row] = loop.train(model, data, recipe)
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("penalize", PENALIZE)
def test_a_step_of_training_descends_the_gradient_of_loss_plus_penalty(tmp_path, few, penalize):
    data = first(few, 16, 10)  # one batch
    recipe = make_recipe(tmp_path, arch="mnist_10k", l1=0.01, l2=0.1, penalize=penalize, lr=0.5,
                         momentum=0.0, schedule="constant")
    model, by_hand = (loop.build_model(recipe, data).double() for _ in range(2))
    x = batches.to_input(data.train_images, data, torch.float64)
    F.nll_loss(by_hand(x), data.train_labels).backward()
    loop.train(model, data, recipe)
    last = by_hand.layers[-2].conv.weight  # behind it is a pooling
    for trained, w in zip(model.parameters(), by_hand.parameters()):
        acts = {"all": True, "weights": w.dim() == 4, "last": w is last,
                "hidden": w.dim() == 4 and w is not last}[penalize]
        pull = 0.01 * w.sign() + 0.1 * w if acts else 0
        torch.testing.assert_close(trained, w - 0.5 * (w.grad + pull), rtol=0, atol=1e-10)


def test_the_seed_alone_decides_a_run_and_each_epoch_has_batches_of_its_own(tmp_path, few):
    data, runs = first(few, 40, 10), []
    for noise, seed in [(1, 1), (2, 1), (1, 2)]:
        torch.manual_seed(noise)
        np.random.seed(noise)
        recipe = make_recipe(tmp_path / f"{noise}{seed}", seed=seed, dropout=0.1, augment="shift")
        model = loop.build_model(recipe, data)
        start = [w.tolist() for w in model.parameters()]
        torch.rand(noise)
        loop.train(model, data, recipe)
        runs.append((start, [w.tolist() for w in model.parameters()]))
    for one, same, other in zip(*runs):
        assert one == same != other
    _, (one, other) = fit(first(few, 100, 10), make_recipe(tmp_path, lr=1e-9, epochs=2))
    assert one["loss"] != pytest.approx(other["loss"], rel=1e-5)  # of a network as it was


def test_beside_a_notebook_nothing_is_written_or_printed_and_what_diverges_ends(
        tmp_path, few, capsys):
    recipe = make_recipe(tmp_path, norm="none", lr=1e9, schedule="constant", epochs=5)
    _, rows = loop.train_beside(first(few, 40, 10), recipe, lambda model: {"seen": model.training})
    assert [row["seen"] for row in rows] == [True] * len(rows)
    assert 0 < len(rows) < 5
    assert (recipe.run_dir.exists(), capsys.readouterr().out) == (False, "")


@pytest.mark.parametrize("loss", [1e13, math.nan])
def test_an_absurd_loss_does_not_end_as_a_finished_run(few, tmp_path, loss):
    recipe = make_recipe(tmp_path)
    with (mock.patch.object(loop, "evaluate", return_value=(loss, 0.1)),
          pytest.raises(FloatingPointError, match=says("diverged", "epoch 1", "lr below 0.1"))):
        fit(first(few, 10, 10), recipe)
    assert files_in(recipe.run_dir) == []
