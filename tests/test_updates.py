"""What a step does to the weights, against PyTorch and against closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import first, log_probabilities, make_recipe
from torch import nn

from coursepack.train import loop, updates
from model import Net


def test_the_penalty_is_a_sum_and_its_gradient_exact_by_autograd_and_by_hand():
    draw = torch.Generator().manual_seed(0)
    twins = [[torch.randn(4, 5, generator=draw).double(), torch.zeros(7).double()]]
    twins.append([w.clone() for w in twins[0]])
    for w in (*twins[0], *twins[1]):
        w.requires_grad_().grad = torch.ones_like(w)
    value = updates.add_penalty(twins[0], l1=0.3, l2=0.7)
    expected = updates.penalty(twins[1], l1=0.3, l2=0.7)
    expected.backward()
    assert not value.requires_grad
    w, _ = twins[0]
    assert value == expected
    assert value.item() == pytest.approx((0.3 * w.abs().sum() + 0.35 * (w**2).sum()).item())
    for one, other in zip(*twins):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-15, atol=0)
        by_hand = 1 + 0.3 * one.sign() + 0.7 * one
        torch.testing.assert_close(one.grad, by_hand.detach(), rtol=1e-14, atol=0)


def test_weights_are_the_convolution_kernels_and_all_is_every_parameter():
    model = Net("mnist_10k", "batch")  # it has biases
    named = {"weights": [p for p in model.parameters() if p.dim() == 4],
             "all": [*model.parameters()]}
    for name, parameters in named.items():
        assert ([id(p) for p in updates.penalized_parameters(model, name)]
                == [id(p) for p in parameters])


def torchs_rates(scheduler, count, **options):
    """The learning rates of a schedule of torch, at the first count steps of peak 0.3."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule, rates = scheduler(optimizer, **options), []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


TORCHS = {  # schedules, for so many steps of 5 an epoch
    "one_cycle": lambda count: torchs_rates(
        torch.optim.lr_scheduler.OneCycleLR, count, max_lr=0.3, total_steps=count,
        cycle_momentum=False),
    "step": lambda count: torchs_rates(torch.optim.lr_scheduler.StepLR, count, step_size=6 * 5),
    "constant": lambda count: [0.3] * count,
}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10, 97, 400])
@pytest.mark.parametrize("name", updates.SCHEDULES)
def test_a_schedule_is_torchs_at_every_step(name, count):
    rates = [updates.SCHEDULES[name](0.3, step, count, 5) for step in range(count)]
    assert rates == pytest.approx(TORCHS[name](count), rel=1e-9)
    assert min(rates) > 0


@pytest.mark.parametrize("threshold", [0.0, 0.3, 5.0])
def test_proximal_step_is_torchs_soft_threshold(threshold):
    w = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = F.softshrink(w, threshold)
    updates.shrink([w], threshold)
    assert torch.equal(w, expected)


def quadratic(recipe, values, count):
    """Minimize 1/2 (w - values)^2 + the recipe's penalty by so many steps from zero."""
    w = torch.zeros_like(values, requires_grad=True)
    model = nn.ParameterList([w])
    optimizer = loop.make_optimizer(model, recipe)
    for _ in range(count):
        model[0].grad = (model[0] - values).detach()
        loop.take_step(optimizer, [model[0]], recipe.lr, recipe)
    return model[0].detach()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_proximal_steps_end_at_the_exact_minimum_and_subgradients_beside_it(tmp_path, momentum):
    """Of 1/2 (w - a)^2 + l1 |w| that is a, moved towards zero by l1: zero itself where |a| < l1."""
    values = torch.tensor([-3.0, -0.4, -0.1, 0.0, 0.2, 0.5, 0.7, 2.0], dtype=torch.float64)
    recipe = make_recipe(tmp_path, l1=0.5, lr=0.05, momentum=momentum, l1_step="proximal")
    found = quadratic(recipe, values, 800)
    torch.testing.assert_close(found, F.softshrink(values, 0.5), rtol=0, atol=1e-9)
    assert (found == 0).sum() == 5
    other = make_recipe(tmp_path, l1=0.5, lr=0.05, momentum=momentum)
    found = quadratic(other, values, 800)
    torch.testing.assert_close(found, F.softshrink(values, 0.5), rtol=0, atol=0.3)
    assert (found == 0).sum() == 1  # of a = 0, which never moved


OPTIMIZERS = [  # of a recipe, and torch's own
    ({"optimizer": "adamw", "weight_decay": 0.1},
     lambda w: torch.optim.AdamW(w, lr=0.01, weight_decay=0.1)),
    ({"momentum": 0.0, "weight_decay": 0.1},
     lambda w: torch.optim.SGD(w, lr=0.01, weight_decay=0.1)),  # without momentum, decay is L2
    ({"l2": 0.1, "penalize": "all"}, lambda w: torch.optim.SGD(
        w, lr=0.01, weight_decay=0.1, momentum=0.9, nesterov=True)),
]


@pytest.mark.parametrize(("choices", "torchs"), OPTIMIZERS)
def test_an_optimizer_is_torchs_and_l2_what_torch_calls_weight_decay(tmp_path, choices, torchs):
    recipe = make_recipe(tmp_path, lr=0.01, **choices)
    draw = torch.Generator().manual_seed(0)
    twins = [nn.Linear(5, 3).double(), nn.Linear(5, 3).double()]
    twins[1].load_state_dict(twins[0].state_dict())
    ours, expected = loop.make_optimizer(twins[0], recipe), torchs(twins[1].parameters())
    for _ in range(20):
        x = torch.randn(8, 5, generator=draw, dtype=torch.float64)
        for model in twins:
            model.zero_grad()
            (model(x) ** 2).mean().backward()
        loop.take_step(ours, list(twins[0].parameters()), 0.01, recipe)
        expected.step()
    for mine, theirs in zip(twins[0].parameters(), twins[1].parameters()):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


def test_every_optimizer_has_torchs_beside_it():
    tried = {choices.get("optimizer", "sgd") for choices, _ in OPTIMIZERS}
    assert (tried, {*TORCHS}) == ({*updates.OPTIMIZERS}, {*updates.SCHEDULES})


def without_epsilon(model):
    for module in model.modules():
        if hasattr(module, "eps"):
            module.eps = 1e-12
    return model


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
@pytest.mark.parametrize("norm", ["batch", "group", "layer"])
def test_a_growing_learning_rate_does_what_l2_does_to_weights_before_a_norm(tmp_path, few, norm,
                                                                            schedule):
    """In float64, and without the norm's epsilon: the same losses, and the same trained network.

    But for batch norm's running statistics, which lag behind weights that grow.
    """
    data, losses, outputs, weights = first(few, 64, 20), [], [], []
    for l2_step in ("gradient", "learning_rate"):
        recipe = make_recipe(tmp_path, norm=norm, arch="mnist_8k", l2=0.05, l2_step=l2_step,
                             momentum=0.0, schedule=schedule, lr=0.1, epochs=8, batch_size=32,
                             augment="none")
        model = without_epsilon(loop.build_model(recipe, data).double())
        optimizer = loop.make_optimizer(model, recipe)
        losses.append([loop.train_epoch(model, data, recipe, optimizer, epoch)["loss"]
                       for epoch in range(1, 9)])
        outputs.append(log_probabilities(model, data.test_images, data))
        weights.append([w.norm().item() for w in updates.scale_free_weights(model)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    if norm != "batch":
        torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-6)
    rates = [updates.SCHEDULES[schedule](0.1, step, 16, 2) for step in range(16)]
    growth = math.prod(1 / (1 - rate * 0.05) for rate in rates)
    for with_l2, without in zip(*weights):
        assert without / with_l2 == pytest.approx(growth, rel=1e-6)


def test_weights_that_a_norm_follows_may_be_scaled():
    model = without_epsilon(Net("mnist_8k", "batch").double())
    free = updates.scale_free_weights(model)
    assert len(free) == 5
    x = torch.rand(4, 1, 28, 28, dtype=torch.float64)
    before = model(x)
    with torch.no_grad():
        for w in free:
            w.mul_(2)
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)
    assert len(updates.scale_free_weights(Net("mnist_8k", "none"))) == 0
    assert len(updates.scale_free_weights(Net("mnist_10k", "batch"))) == 0  # has biases
