"""What is measured in trained networks, each against a network or a number known beforehand."""

import copy
import math

import pytest
import torch
from helpers import first, make_recipe

from coursepack.lab import measures
from coursepack.train import loop, updates
from model import NORMS, Net


@pytest.mark.parametrize("norm", NORMS)
def test_measuring_changes_no_network_and_no_random_numbers(tmp_path, few, norm):
    model, recipe = Net("mnist_8k", norm, dropout=0.2), make_recipe(tmp_path, norm=norm)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    row = measures.measure([*measures.MEASURES], model, first(few, 20, 20), recipe)
    assert len(row) == (34 if norm == "none" else 39)  # variance_shift is of norms
    assert all(type(value) in (int, float) and math.isfinite(value) for value in row.values())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_weights_are_measured_relative_to_their_layer_and_fit_is_of_the_training_images(
        tmp_path, few):
    model, data, recipe = Net("mnist_8k"), first(few, 40, 40), make_recipe(tmp_path, lr=0.3)
    weights = updates.penalized_parameters(model)
    with torch.no_grad():
        for scale, w in zip((1e-6, 1.0, 1e3, 1.0, 1.0, 1.0), weights):
            w.fill_(scale)
            w.view(-1)[:10] = 0
            w.view(-1)[10:30] = 0.005 * scale
    row = measures.weight_norms(model, data, recipe)
    squares = [w.detach().double().square().sum().item() for w in weights]
    assert [*row.values()][::2] == pytest.approx([math.sqrt(square) for square in squares])
    assert [*row.values()][1::2] == pytest.approx([0.3 / square for square in squares])
    total = sum(w.numel() for w in weights)
    row = measures.sparsity(model, data, recipe)
    assert row["exact_zeros"] == pytest.approx(60 / total)
    assert row["near_zeros"] == pytest.approx(180 / total)
    with torch.no_grad():
        for w in weights:
            w.view(-1)[:30] = 0
    assert row["pruned_accuracy"] == loop.evaluate(model, data)[1]
    cuts = measures.pruning(model, data, recipe)  # layers of other sizes lose the same share
    for percent, accuracy in ((50, cuts["accuracy_cut_50"]), (95, cuts["accuracy_cut_95"])):
        sizes = [(w.abs() / w.square().mean().sqrt()).flatten() for w in weights]
        limit = torch.cat(sizes).sort().values[percent * total // 100 - 1]
        twin = copy.deepcopy(model)
        for w, size in zip(updates.penalized_parameters(twin), sizes):
            w.data[(size <= limit).view(w.shape)] = 0
        assert accuracy == loop.evaluate(twin, data)[1]
    swapped = data._replace(test_images=data.train_images, test_labels=data.train_labels)
    row = measures.on_training_images(model, data, recipe)
    assert (row["fit_loss"], row["fit_accuracy"]) == loop.evaluate(model, swapped)


def test_one_batch_of_all_test_images_is_training_mode_without_dropout(tmp_path, few):
    model, data = Net("mnist_8k", "batch", dropout=0.5), first(few, 10, 128)
    row = measures.batch_statistics(model, data, make_recipe(tmp_path))
    twin = Net("mnist_8k", "batch")
    twin.load_state_dict(model.state_dict())
    right = loop.scores(twin.train(), data.test_images, data).argmax(1) == data.test_labels
    assert row["accuracy_at_128"] == row["accuracy_at_512"] == right.double().mean().item()
    trained = Net("mnist_8k", "batch", norm_batch=2)  # its own parts of 2 are not asked about
    trained.load_state_dict(model.state_dict())
    assert measures.batch_statistics(trained, data, make_recipe(tmp_path)) == row
    same = measures.recomputed(trained, data._replace(train_images=data.test_images),
                               make_recipe(tmp_path))
    log_probabilities = loop.scores(twin.train(), data.test_images, data)
    assert same["recomputed_loss"] == pytest.approx(
        loop.loss_and_accuracy(log_probabilities, data.test_labels)[0], rel=2e-3)  # unbiased
    group = Net("mnist_8k", "group")
    same = measures.batch_statistics(group, data, make_recipe(tmp_path, norm="group"))
    assert set(same.values()) == {loop.evaluate(group, data)[1]}


def test_dropout_in_front_of_a_norm_raises_its_variance(tmp_path, few):
    """Dropout keeps the mean m and adds p / (1 - p) times the mean square to the variance."""
    recipe, data = make_recipe(tmp_path, norm="layer"), first(few, 200, 10)
    row, without = (measures.variance_shift(Net("mnist_8k", "layer", dropout=p), data, recipe)
                    for p in (0.5, 0.0))
    assert list(row) == [f"variance_ratio_{i}" for i in range(1, 6)]
    assert row["variance_ratio_1"] > 1.5
    assert [*without.values()] == pytest.approx([1] * 5, abs=1e-6)


@pytest.mark.parametrize(("norm", "groups", "lost"), [
    ("batch", 1, 0), ("group", 1, 1), ("group", 2, 2), ("group", 4, 4), ("instance", 1, 12)])
def test_rank_lost_to_the_groups(tmp_path, few, norm, groups, lost):
    """In each group the mean of a normalized map is zero, so its pooled channels sum to zero."""
    torch.manual_seed(0)
    model = Net("mnist_8k", norm, groups)
    row = measures.pooled_rank(model, first(few, 40, 200), make_recipe(tmp_path, norm=norm))
    assert row == {"pooled_rank": 12 - lost, "pooled_features": 12}
