"""What a step does to the weights, against PyTorch and against closed forms."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from helpers import first, make_recipe
from torch import nn
from torch.optim import lr_scheduler

from coursepack.train import loop, updates
from model import Net

TORCHS = {  # schedules of an optimizer, for so many steps of 5 an epoch
    "one_cycle": lambda optimizer, count: lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.3, total_steps=count, cycle_momentum=False),
    "step": lambda optimizer, count: lr_scheduler.StepLR(optimizer, step_size=6 * 5),
    "constant": lambda optimizer, count: lr_scheduler.ConstantLR(optimizer, factor=1),
}


@pytest.mark.parametrize("name", updates.SCHEDULES)
def test_a_schedule_is_torchs_at_every_step(name):
    for count in (1, 2, 3, 4, 5, 10, 97):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
        schedule = TORCHS[name](optimizer, count)
        for step in range(count):
            rate = updates.SCHEDULES[name](0.3, step, count, 5)
            assert rate == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
            optimizer.step()
            schedule.step()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("l1_step", "off", "zeros"), [
    ("proximal", 1e-9, 5), ("subgradient", 0.3, 1)])  # where a = 0
def test_proximal_steps_end_at_the_exact_minimum_and_subgradients_beside_it(
        tmp_path, momentum, l1_step, off, zeros):
    """Of 1/2 (w - a)^2 + l1 |w| that is a, moved towards zero by l1: zero itself where |a| < l1."""
    values = torch.tensor([-3.0, -0.4, -0.1, 0.0, 0.2, 0.5, 0.7, 2.0], dtype=torch.float64)
    recipe = make_recipe(tmp_path, l1=0.5, lr=0.05, momentum=momentum, l1_step=l1_step)
    w = nn.Parameter(torch.zeros_like(values))
    optimizer = loop.make_optimizer(nn.ParameterList([w]), recipe)
    for _ in range(500):
        w.grad = (w - values).detach()
        loop.take_step(optimizer, [w], recipe.lr, recipe)
    torch.testing.assert_close(w.detach(), F.softshrink(values, 0.5), rtol=0, atol=off)
    assert (w == 0).sum() == zeros


SGD = partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True)
OPTIMIZERS = [  # of a recipe, and torch's own of four parameters
    ({"optimizer": "adamw", "weight_decay": 0.1},
     lambda *four: [torch.optim.AdamW(four, lr=0.01, weight_decay=0.1)]),
    ({"momentum": 0.0, "weight_decay": 0.1},  # there, decay is L2
     lambda *four: [torch.optim.SGD(four, lr=0.01, weight_decay=0.1)]),
    ({"l2": 0.1, "penalize": "all"}, lambda *four: [SGD(four, weight_decay=0.1)]),
    ({"optimizer": "muon"}, lambda first, *others: [
        torch.optim.Muon([first], lr=0.01, momentum=0.9, weight_decay=0), SGD(others)]),
]


@pytest.mark.parametrize(("choices", "torchs"), OPTIMIZERS)
def test_an_optimizer_is_torchs_and_l2_what_torch_calls_weight_decay(
        tmp_path, monkeypatch, choices, torchs):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.double)  # torch's Muon rounds
    assert {row.get("optimizer", "sgd") for row, *_ in OPTIMIZERS} == {*updates.OPTIMIZERS}
    recipe = make_recipe(tmp_path, lr=0.01, **choices)
    ours, theirs = (nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)).double() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizer, expected = loop.make_optimizer(ours, recipe), torchs(*theirs.parameters())
    for _ in range(20):
        x = torch.randn(8, 5, dtype=torch.float64)
        for model in (ours, theirs):
            model.zero_grad()
            (model(x) ** 2).mean().backward()
        loop.take_step(optimizer, list(ours.parameters()), 0.01, recipe)
        for other in expected:
            other.step()
    torch.testing.assert_close([*ours.parameters()], [*theirs.parameters()], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
def test_an_orthogonal_step_has_the_directions_of_the_gradient_all_of_about_one_length(shape):
    u, lengths, v = torch.linalg.svd(torch.randn(shape).double(), full_matrices=False)
    lengths[-1] = lengths[0] / 100  # which would hardly move
    turned = u.T @ updates.orthogonal(u * lengths @ v) @ v.T
    assert ((turned.diag() > 0.5) & (turned.diag() < 1.3)).all()
    torch.testing.assert_close(turned, turned.diag().diag(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("norm", "schedule", "arch"), [
    ("batch", "constant", "mnist_8k"), ("group", "one_cycle", "mnist_quick"),
    ("layer", "one_cycle", "mnist_8k")])
def test_a_growing_learning_rate_does_what_l2_does_to_weights_before_a_norm(
        tmp_path, few, norm, schedule, arch):
    """In float64, and without the norm's epsilon: the same losses, with longer weights."""
    data, losses, weights = first(few, 16, 10), [], []
    for l2_step in ("gradient", "learning_rate"):
        recipe = make_recipe(tmp_path, norm=norm, arch=arch, l2=0.05, l2_step=l2_step,
                             momentum=0.0, schedule=schedule, lr=0.1, epochs=8, batch_size=8)
        model = loop.build_model(recipe, data).double()
        for module in model.modules():
            if hasattr(module, "eps"):
                module.eps = 1e-12
        optimizer = loop.make_optimizer(model, recipe)
        losses.append([loop.train_epoch(model, data, recipe, optimizer, epoch)["loss"]
                       for epoch in range(1, 9)])
        weights.append([w.norm().item() for w in updates.scale_free_weights(model)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    rates = [updates.SCHEDULES[schedule](0.1, step, 16, 2) for step in range(16)]
    growth = math.prod(1 / (1 - rate * 0.05) for rate in rates)
    assert weights[1] == pytest.approx([growth * w for w in weights[0]], rel=1e-6)


def test_weights_before_a_norm_are_free_to_grow():
    nets = [Net("mnist_8k", "batch"), Net("mnist_quick"),  # whose first norm is behind a pooling
            Net("mnist_8k", "none"), Net("mnist_10k")]  # it has biases
    assert [len(updates.scale_free_weights(net)) for net in nets] == [5, 5, 0, 0]
