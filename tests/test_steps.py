"""What a step does to the weights, against PyTorch and against closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import first, log_probabilities, make_recipe
from torch import nn

from coursepack.train import loop, updates
from model import Net


def test_gradient_of_the_penalty_is_exact():
    w = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w[:3] = 0
    parts = [w[:20].clone().view(4, 5).requires_grad_(), w[20:].clone().requires_grad_()]
    updates.penalty(parts, l1=0.3, l2=0.7).backward()
    gradient = torch.cat([part.grad.flatten() for part in parts])
    torch.testing.assert_close(gradient, 0.3 * w.sign() + 0.7 * w, rtol=1e-15, atol=0)


def test_added_gradient_of_the_penalty_is_that_of_autograd():
    torch.manual_seed(0)
    twins = [[torch.randn(4, 5).double().requires_grad_(), torch.zeros(7).double().requires_grad_()]
             for _ in range(2)]
    for w, twin in zip(*twins):
        twin.data.copy_(w.data)
        w.grad = torch.ones_like(w)
        twin.grad = torch.ones_like(w)
    expected = updates.penalty(twins[1], l1=0.3, l2=0.7)
    expected.backward()
    value = updates.add_penalty(twins[0], l1=0.3, l2=0.7)
    assert not value.requires_grad
    assert value == expected
    for w, twin in zip(*twins):
        torch.testing.assert_close(w.grad, twin.grad, rtol=1e-15, atol=0)


def test_penalty_is_a_sum_not_a_mean():
    w = torch.tensor([[3.0, -4.0], [0.0, 1.0]])
    assert updates.penalty([w, w], l1=0.5, l2=0).item() == 0.5 * 16
    assert updates.penalty([w, w], l1=0, l2=0.5).item() == 0.5 / 2 * 52


@pytest.mark.parametrize("arch", ["mnist_7k", "mnist_10k"])
def test_weights_are_the_convolution_kernels_and_all_is_every_parameter(arch):
    model = Net(arch, "batch")
    kernels = [id(p) for p in model.parameters() if p.dim() == 4]
    assert [id(p) for p in updates.penalized_parameters(model, "weights")] == kernels
    assert ([id(p) for p in updates.penalized_parameters(model, "all")]
            == [id(p) for p in model.parameters()])


def test_l2_does_what_weight_decay_does():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(8, 1, 28, 28, generator=draw, dtype=torch.float64)
    torch.manual_seed(0)
    penalized, decayed = Net("mnist_10k").double(), Net("mnist_10k").double()
    decayed.load_state_dict(penalized.state_dict())
    options = {"lr": 0.1, "momentum": 0.9, "nesterov": True}
    for model, weight_decay in [(penalized, 0), (decayed, 0.05)]:
        optimizer = torch.optim.SGD(model.parameters(), weight_decay=weight_decay, **options)
        for _ in range(3):
            loss = F.nll_loss(model(x), torch.arange(8))
            if model is penalized:
                loss = loss + updates.penalty(updates.penalized_parameters(model, "all"), 0, 0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for ours, torchs in zip(penalized.parameters(), decayed.parameters()):
        torch.testing.assert_close(ours, torchs, rtol=0, atol=1e-12)


def rates_of_torch(make_scheduler, count, lr=0.1):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler, rates = make_scheduler(optimizer), []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10, 97, 400])
def test_one_cycle_is_torchs_at_every_step(tmp_path, count):
    recipe = make_recipe(tmp_path, schedule="one_cycle", lr=0.3)
    rates = [updates.learning_rate(step, count, 1, recipe) for step in range(count)]
    expected = rates_of_torch(lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.3, total_steps=count, cycle_momentum=False), count)
    assert rates == pytest.approx(expected, rel=1e-9)
    assert min(rates) > 0


def test_step_schedule_is_torchs(tmp_path):
    recipe = make_recipe(tmp_path, schedule="step", epochs=20)
    rates = [updates.learning_rate(step, 100, 5, recipe) for step in range(100)]
    by_epoch = rates_of_torch(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 6), 20)
    assert rates[::5] == rates[4::5] == pytest.approx(by_epoch, rel=1e-12)


def test_constant_schedule_is_constant(tmp_path):
    recipe = make_recipe(tmp_path, schedule="constant", lr=0.25)
    assert {updates.learning_rate(step, 9, 3, recipe) for step in range(9)} == {0.25}


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
    optimizer = updates.make_optimizer(model, recipe)
    for _ in range(count):
        model[0].grad = (model[0] - values).detach()
        updates.take_step(optimizer, [model[0]], recipe.lr, recipe)
    return model[0].detach()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_proximal_steps_end_at_the_exact_minimum_and_subgradients_beside_it(tmp_path, momentum):
    """Of 1/2 (w - a)^2 + l1 |w| that is a, moved towards zero by l1: zero itself where |a| < l1."""
    values = torch.tensor([-3.0, -0.4, -0.1, 0.0, 0.2, 0.5, 0.7, 2.0], dtype=torch.float64)
    recipe = make_recipe(tmp_path, l1=0.5, lr=0.05, momentum=momentum, l1_step="proximal")
    found = quadratic(recipe, values, 3000)
    torch.testing.assert_close(found, F.softshrink(values, 0.5), rtol=0, atol=1e-9)
    assert (found == 0).sum() == 5
    other = make_recipe(tmp_path, l1=0.5, lr=0.05, momentum=momentum)
    found = quadratic(other, values, 3000)
    torch.testing.assert_close(found, F.softshrink(values, 0.5), rtol=0, atol=0.3)
    assert (found == 0).sum() == 1  # of a = 0, which never moved


@pytest.mark.parametrize(("optimizer", "torchs"), [
    ("adamw", lambda w, lr, decay: torch.optim.AdamW(w, lr=lr, weight_decay=decay)),
    ("sgd", lambda w, lr, decay: torch.optim.SGD(w, lr=lr, weight_decay=decay)),
])
def test_decoupled_decay_is_torchs_adamw_and_without_momentum_it_is_l2(
    tmp_path, optimizer, torchs
):
    draw = torch.Generator().manual_seed(0)
    twins = [nn.Linear(5, 3).double(), nn.Linear(5, 3).double()]
    twins[1].load_state_dict(twins[0].state_dict())
    recipe = make_recipe(tmp_path, optimizer=optimizer, weight_decay=0.1, lr=0.01,
                         momentum=0.9 if optimizer == "adamw" else 0.0)
    ours = updates.make_optimizer(twins[0], recipe)
    expected = torchs(twins[1].parameters(), 0.01, 0.1)
    for _ in range(20):
        x = torch.randn(8, 5, generator=draw, dtype=torch.float64)
        for model in twins:
            model.zero_grad()
            (model(x) ** 2).mean().backward()
        updates.take_step(ours, list(twins[0].parameters()), 0.01, recipe)
        expected.step()
    for mine, theirs in zip(twins[0].parameters(), twins[1].parameters()):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


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
        optimizer = updates.make_optimizer(model, recipe)
        losses.append([loop.train_epoch(model, data, recipe, optimizer, epoch)["loss"]
                       for epoch in range(1, 9)])
        outputs.append(log_probabilities(model, data.test_images, data))
        weights.append([w.norm().item() for w in updates.scale_free_weights(model)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    if norm != "batch":
        torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-6)
    rates = [updates.learning_rate(step, 16, 2, recipe) for step in range(16)]
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
