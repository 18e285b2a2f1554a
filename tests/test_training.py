"""Training: penalties and schedules against PyTorch, what an epoch counts, interruptions."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import (
    arrays,
    files_in,
    first,
    fit,
    log_probabilities,
    make_recipe,
    says,
    without_seconds,
)
from torch import nn

from coursepack.data.datasets import load_dataset
from coursepack.runs.records import save_run
from coursepack.train import batches, loop, updates
from coursepack.train.recipe import PENALIZE, SCHEDULES
from model import Net


def with_images_of(folder, *shape):
    x_train, x_test = (np.arange(n * math.prod(shape)).reshape(n, *shape).astype(np.uint8)
                       for n in (30, 20))
    np.savez(folder / "mnist.npz", **arrays(x_train=x_train, x_test=x_test))
    return load_dataset("mnist", str(folder))


def test_images_that_do_not_fit_the_architecture_are_refused(tmp_path):
    data = with_images_of(tmp_path, 32, 32, 3)
    with pytest.raises(ValueError, match=says("mnist_7k", "3 x 32 x 32", "cifar_35k")):
        loop.build_model(make_recipe(tmp_path, arch="mnist_7k"), data)


def test_images_that_fit_no_architecture_are_refused_without_an_empty_choice(tmp_path):
    data = with_images_of(tmp_path, 9, 12)
    with pytest.raises(ValueError, match=r"1 x 9 x 12") as error:
        loop.build_model(make_recipe(tmp_path), data)
    assert not re.search(r"from:\s*\.", str(error.value))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_optimizer_owns_the_models_parameters_and_follows_the_schedule(
    tmp_path, monkeypatch, few, schedule
):
    made, rates = [], []

    class Spy(torch.optim.SGD):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

        def step(self, *args, **kwargs):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args, **kwargs)

    monkeypatch.setattr(torch.optim, "SGD", Spy)
    recipe = make_recipe(tmp_path, epochs=2, schedule=schedule, lr=0.02, momentum=0.8)
    model, history = fit(first(few, 130, 10), recipe)
    [optimizer] = made
    [group] = optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.8, True, 0)
    assert rates == [updates.learning_rate(step, 6, 3, recipe) for step in range(6)]
    assert [row["lr"] for row in history] == [rates[2], rates[5]]


def test_history_is_counted_over_images_not_over_batches(tmp_path, few):
    data = first(few, 65, 520)  # 64 + 1 images to train on, 500 + 20 to test on
    recipe = make_recipe(tmp_path, norm="layer", lr=1e-9)
    model, expected = loop.build_model(recipe, data).double(), {}
    for prefix, images, labels in [("", data.train_images, data.train_labels),
                                   ("test_", data.test_images, data.test_labels)]:
        scores = log_probabilities(model, images, data)
        expected[prefix + "loss"] = -scores[range(len(labels)), labels].mean().item()
        expected[prefix + "accuracy"] = (scores.argmax(1) == labels).double().mean().item()
    [row] = loop.train(model, data, recipe)
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-7)


def test_every_epoch_has_its_own_order_of_images(tmp_path, monkeypatch, few):
    orders, training_batches = [], batches.training_batches

    def spy(*args):
        made = list(training_batches(*args))
        orders.append([label.item() for _, labels in made for label in labels])
        return made

    monkeypatch.setattr("coursepack.train.batches.training_batches", spy)
    fit(first(few, 100, 10), make_recipe(tmp_path, epochs=2))
    one, other = orders
    assert sorted(one) == sorted(other)
    assert one != other


def test_penalty_is_logged_apart_from_the_loss(tmp_path, few):
    data = first(few, 100, 10)
    model, [plain] = fit(data, make_recipe(tmp_path, norm="none", lr=1e-9))
    _, [penalized] = fit(data, make_recipe(tmp_path, norm="none", lr=1e-9, l1=0.01))
    assert plain["penalty"] == 0
    assert plain["loss"] > 1
    assert penalized["loss"] == pytest.approx(plain["loss"], rel=1e-6)
    kernels = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]
    total = sum(w.double().abs().sum().item() for w in kernels)
    assert penalized["penalty"] == pytest.approx(0.01 * total, rel=1e-5)


@pytest.mark.parametrize("penalize", PENALIZE)
def test_a_step_of_training_descends_the_gradient_of_loss_plus_penalty(tmp_path, few, penalize):
    data = first(few, 64, 10)  # one batch
    recipe = make_recipe(tmp_path, arch="mnist_10k", l1=0.01, l2=0.1, penalize=penalize, lr=0.5,
                         momentum=0.0, schedule="constant")
    model, by_hand = (loop.build_model(recipe, data).double() for _ in range(2))
    x = batches.to_input(data.train_images, data, torch.float64)
    F.nll_loss(by_hand(x), data.train_labels).backward()
    loop.train(model, data, recipe)
    for trained, w in zip(model.parameters(), by_hand.parameters()):
        penalized = penalize == "all" or w.dim() == 4
        gradient = w.grad + penalized * (0.01 * w.sign() + 0.1 * w)
        torch.testing.assert_close(trained, w - 0.5 * gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize("mode", [True, False])
def test_prediction_is_in_evaluation_mode_and_restores_the_mode(few, mode):
    torch.manual_seed(0)
    model = Net("mnist_7k", "batch", dropout=0.5).train(mode)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    predicted = loop.predict(model, few)
    loss, accuracy = loop.evaluate(model, few)
    assert {module.training for module in model.modules()} == {mode}
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    expected = log_probabilities(model, few.test_images, few)
    torch.testing.assert_close(predicted.double(), expected, rtol=0, atol=1e-5)
    assert loss == pytest.approx(F.nll_loss(expected, few.test_labels).item(), rel=1e-5)
    assert accuracy == (expected.argmax(1) == few.test_labels).double().mean().item()


def test_same_seed_gives_the_same_run_whatever_was_drawn_before(tmp_path, few):
    data = first(few, 100, 10)
    runs = []
    for noise, seed in [(1, 1), (2, 1), (1, 2)]:
        torch.manual_seed(noise)
        np.random.seed(noise)
        recipe = make_recipe(tmp_path / f"{noise}{seed}", seed=seed, dropout=0.1, augment="shift")
        model = loop.build_model(recipe, data)
        start = [p.detach().clone() for p in model.parameters()]
        torch.rand(noise)
        loop.train(model, data, recipe)
        runs.append((start, [p.detach() for p in model.parameters()]))
    for one, same, other in zip(*runs):
        assert all(torch.equal(a, b) for a, b in zip(one, same))
        assert not all(torch.equal(a, b) for a, b in zip(one, other))


def test_interrupted_training_goes_on_as_if_undisturbed(tmp_path, monkeypatch, few):
    data, choices = first(few, 130, 50), {"epochs": 4, "dropout": 0.1, "augment": "rotate+shift"}
    undisturbed, expected = fit(data, make_recipe(tmp_path / "undisturbed", **choices))
    recipe = make_recipe(tmp_path / "interrupted", **choices)
    evaluate, calls = loop.evaluate, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(*args)

    monkeypatch.setattr("coursepack.train.loop.evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(data, recipe)
    assert not (recipe.run_dir / "record.json").exists()

    model, history = fit(data, recipe)
    assert len(calls) == 3 + 2  # epochs 1 and 2 were not repeated
    assert len(history) == 4
    assert without_seconds(history) == without_seconds(expected)
    for ours, theirs in zip(model.state_dict().values(), undisturbed.state_dict().values()):
        assert torch.equal(ours, theirs)
    save_run(model, data, recipe, history)
    assert files_in(recipe.run_dir) == ["misclassified.npz", "model.pt", "record.json"]


def test_run_that_finished_but_was_not_saved_is_not_trained_again(tmp_path, monkeypatch, few):
    data, recipe = first(few, 100, 50), make_recipe(tmp_path, epochs=2)
    trained, history = fit(data, recipe)
    monkeypatch.setattr("coursepack.train.loop.train_epoch",
                        lambda *args: pytest.fail("trained again"))
    model, again = fit(data, recipe)
    assert again == history
    assert torch.equal(loop.predict(model, data), loop.predict(trained, data))


def test_divergence_is_an_error_that_names_lr_and_leaves_nothing(tmp_path, few):
    recipe = make_recipe(tmp_path, norm="none", lr=1e9, schedule="constant")
    with pytest.raises(FloatingPointError, match=says("lr", "1000000000")):
        fit(first(few, 200, 10), recipe)
    assert files_in(recipe.run_dir) == []


@pytest.mark.parametrize("loss", [1e13, math.nan, math.inf])
@pytest.mark.parametrize("name", ["train_epoch", "evaluate"])
def test_absurd_loss_does_not_end_as_a_finished_run(few, tmp_path, monkeypatch, name, loss):
    values = {"train_epoch": {"loss": loss, "penalty": 0.0}, "evaluate": (loss, 0.1)}
    monkeypatch.setattr(f"coursepack.train.loop.{name}", lambda *args: values[name])
    with pytest.raises(FloatingPointError, match=says("diverged", "epoch 1", "lr below 0.1")):
        fit(first(few, 100, 50), make_recipe(tmp_path))


def test_folder_that_cannot_be_written_is_named_before_training(few, tmp_path):
    (tmp_path / "file").touch()
    recipe = make_recipe(tmp_path, runs_dir=str(tmp_path / "file" / "runs"))
    with pytest.raises(PermissionError, match=says("runs_dir", recipe.run_dir, "Choose")):
        fit(few, recipe)
