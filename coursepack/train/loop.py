"""Training: a network, a step and an epoch of it, all epochs, with and without a trace; tests."""

import math
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from coursepack import threads
from coursepack.data.datasets import Dataset
from coursepack.train import batches, checkpoints, updates
from coursepack.train.recipe import Recipe
from model import Net, count_outputs

DIVERGED = 1e4  # losses above it are no training any more: guessing among ten classes costs 2.3
TESTED = 250, 250 * 32 * 32  # images in memory at once in a test, and their pixels: at most


@threads.own_torch()
def build_model(recipe: Recipe, data: Dataset) -> Net:
    """The recipe's network with its initial weights, which the seed alone decides.

    Raises ValueError for images too small for it, or a batch too large for the memory.
    """
    torch.manual_seed(recipe.seed)
    model = Net(**recipe.network(), image=data.image, classes=len(data.classes))
    check_memory(model, data, recipe)
    return model.to(threads.pick_device(recipe.device))


def check_memory(model: Net, data: Dataset, recipe: Recipe) -> None:
    """Raise ValueError unless the data and a step of training fit into what the device has free.

    A step is estimated by the numbers that all layers put out, in float32, and a quarter more: of
    seven networks on a CPU the most was 0.85 to 1.1 times that.
    """
    device = threads.pick_device(recipe.device)
    free, batch = threads.free_memory(device), min(recipe.batch_size, len(data.train_labels))
    if data.train_images.device.type != device.type:
        free = max(0, free - data.train_images.nbytes - data.test_images.nbytes)
    an_image = 5 * count_outputs(model, recipe.arch, data.image)  # bytes
    if batch * an_image > free:
        fits = free // an_image
        raise ValueError(
            f"batch_size={recipe.batch_size} takes about {batch * an_image / 1e9:,.1f} GB of "
            f"memory with {recipe.arch} and images of {' x '.join(map(str, data.image))}, and "
            f"beside the data {free / 1e9:,.1f} GB are free on {device}. Choose "
            f"{f'batch_size={fits} or less' if fits else 'another device, or smaller images'}.")


def train_epoch(model: Net, data: Dataset, recipe: Recipe, optimizer: torch.optim.Optimizer,
                epoch: int, bar: tqdm | None = None) -> dict[str, float]:
    """Train for one epoch (counted from 1). Returns means over its images, as they were trained.

    loss: negative log likelihood; penalty: what L1 and L2 added to it; accuracy: a fraction.
    """
    model.train()
    torch.manual_seed(recipe.seed * 1_000_003 + epoch)  # so an epoch needs no earlier one
    parameters = updates.penalized_parameters(model, recipe.penalize)
    per_epoch = math.ceil(len(data.train_labels) / recipe.batch_size)
    schedule = updates.SCHEDULES[recipe.schedule]
    outputs, targets, extra = [], [], 0.0
    shown = batches.training_batches(data, recipe, parameters[0].dtype)
    for step, (x, labels) in enumerate(shown, (epoch - 1) * per_epoch):
        rate = schedule(recipe.lr, step, recipe.epochs * per_epoch, per_epoch)
        log_probabilities = model(x)  # (N, classes), of x (N, C, H, W)
        loss = F.nll_loss(log_probabilities, labels)  # (), a mean; labels (N,)
        optimizer.zero_grad()
        loss.backward()  # each parameter w of the network has w.grad, of its own shape
        extra += take_step(optimizer, parameters, rate, recipe) * len(labels)

        outputs.append(log_probabilities.detach())  # counted after the epoch, all at once
        targets.append(labels)
        if bar:
            bar.update()
    loss, accuracy = loss_and_accuracy(torch.cat(outputs), torch.cat(targets))
    return {"loss": loss, "penalty": float(extra) / len(data.train_labels), "accuracy": accuracy,
            "lr": rate}


def take_step(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], rate: float,
              recipe: Recipe) -> Tensor:
    """A step down backward()'s gradients; L1 and L2 act on parameters. Returns the penalty, ()."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    for free in optimizer.param_groups[1:]:  # weights with a rate that does without L2, if any
        free["lr"], free["grown"] = updates.rate_for_l2(rate, recipe.l2, free.get("grown", 1.0))
        without = {*free["params"]}
        parameters = [w for w in parameters if w not in without]
    value = updates.add_penalty(parameters, recipe.l1, recipe.l2, recipe.l1_step)
    if recipe.weight_decay:
        updates.decay(parameters, rate * recipe.weight_decay)
    optimizer.step()
    if recipe.l1_step == "proximal":  # by so much a gradient of l1 moves in the long run
        updates.shrink(parameters, rate * recipe.l1 / (1 - recipe.momentum))
    return value


def make_optimizer(model: Net, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer of all parameters of a model; see take_step for the second group."""
    free = updates.scale_free_weights(model) if recipe.l2_step == "learning_rate" else []
    apart = {*free}
    others = [w for w in model.parameters() if w not in apart]
    groups = [{"params": group} for group in (others, free) if group]
    return updates.OPTIMIZERS[recipe.optimizer](groups, recipe.lr, recipe.momentum)


def train_epochs(model: Net, data: Dataset, recipe: Recipe, optimizer: torch.optim.Optimizer,
                 history: checkpoints.History, after: Callable[[dict[str, float], float], object],
                 bar: tqdm | None = None) -> None:
    """Train for the epochs that a history lacks; after(row, seconds) adds the row of each to it."""
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        started = time.perf_counter()
        row = train_epoch(model, data, recipe, optimizer, epoch, bar)
        after(row, time.perf_counter() - started)
        if diverged(row):
            break


def diverged(row: dict[str, float]) -> bool:
    """Has an epoch, or its test if there was one, a loss that is no training any more?"""
    losses = row["loss"] + row.get("test_loss", 0.0)
    return not (losses <= DIVERGED and math.isfinite(row["penalty"]))  # NaN is not <= anything


def place(model: Net, data: Dataset, used: int = 0) -> Dataset:
    """The data on the network's device, once for all epochs, and there the network prepared.

    used: threads of the run that goes on; 0, of a new one, are the free ones.
    """
    device = next(model.parameters()).device
    if device.type == "cpu":
        torch.set_num_threads(used or threads.free_threads())
        model.to(memory_format=torch.channels_last)  # the same mathematics, and faster
    return data.to(device)


@threads.own_torch()
def train(model: Net, data: Dataset, recipe: Recipe) -> list[dict[str, float]]:
    """Train and test for recipe.epochs epochs; returns the history, a dictionary an epoch.

    After an interruption it goes on after the last finished epoch, on a CPU bit for bit. Raises
    PermissionError and ValueError as visit() does, FloatingPointError if training diverges.
    """
    optimizer = make_optimizer(model, recipe)
    with checkpoints.visit(recipe, data, model, optimizer) as (history, used, keep):
        data = place(model, data, used)
        per_epoch = math.ceil(len(data.train_labels) / recipe.batch_size)
        bar = tqdm(total=recipe.epochs * per_epoch, initial=len(history) * per_epoch,
                   unit="batch", mininterval=1)

        def after(row: dict[str, float], seconds: float) -> None:
            started = time.perf_counter()
            row["test_loss"], row["test_accuracy"] = evaluate(model, data)
            row |= {"train_seconds": seconds, "test_seconds": time.perf_counter() - started,
                    "threads": torch.get_num_threads()}
            if diverged(row):
                raise FloatingPointError(
                    f"training diverged: in epoch {len(history) + 1} the loss is {row['loss']:.4g},"
                    f" of test images {row['test_loss']:.4g}, the penalty {row['penalty']:.4g}. "
                    f"Choose an lr below {recipe.lr}, or a smaller l1 or l2.")
            keep(row)
            report_epoch(history, recipe.epochs)

        train_epochs(model, data, recipe, optimizer, history, after, bar)
        bar.close()
    return history


def report_epoch(history: list[dict[str, float]], epochs: int) -> None:
    row = history[-1]
    print(f"epoch {len(history):2}/{epochs}  loss {row['loss']:.4f} + penalty "
          f"{row['penalty']:.4f}, accuracy {row['accuracy']:.2%} | test loss "
          f"{row['test_loss']:.4f}, accuracy {row['test_accuracy']:.2%}", flush=True)


@threads.own_torch()
def train_beside(data: Dataset, recipe: Recipe, watch: Callable[[Net], dict] = lambda model: {},
                 ) -> tuple[Net, list[dict[str, float]]]:
    """Train a recipe with nothing written and nothing printed: its network, and a row per epoch.

    What watch() says of the network after an epoch joins its row. A run that diverges ends there.
    """
    model, history = build_model(recipe, data), []
    train_epochs(model, place(model, data), recipe, make_optimizer(model, recipe), history,
                 after=lambda row, seconds: history.append(row | watch(model)))
    return model, history


@torch.no_grad()
def scores(model: nn.Module, images: Tensor, data: Dataset) -> Tensor:
    """What a network says of uint8 images, wherever they lie, in the mode that it is in."""
    weight = next(model.parameters())
    return model(batches.to_input(images.to(weight.device), data, weight.dtype))


@threads.own_torch()
def predict(model: Net, data: Dataset) -> Tensor:
    """Log-probabilities (N, classes) of the test images, in evaluation mode; restores the mode."""
    was_training = model.training
    model.eval()
    most, pixels = TESTED
    at_once = min(most, max(1, pixels // math.prod(data.image[1:])))
    try:
        return torch.cat([scores(model, part, data) for part in data.test_images.split(at_once)])
    finally:
        model.train(was_training)


def loss_and_accuracy(log_probabilities: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean loss (negative log likelihood) of predictions, and the fraction that is right."""
    log_probabilities, labels = log_probabilities.cpu(), labels.cpu()  # an Apple GPU has no float64
    loss = F.nll_loss(log_probabilities.double(), labels)
    return loss.item(), (log_probabilities.argmax(1) == labels).sum().item() / len(labels)


def evaluate(model: Net, data: Dataset) -> tuple[float, float]:
    """Mean loss over all test images, and the fraction of them that is classified right."""
    return loss_and_accuracy(predict(model, data), data.test_labels)


@threads.own_torch()
def probe(data: Dataset, recipe: Recipe) -> dict[str, float]:
    """Five steps and one test in float64 on the CPU: the same numbers on every machine."""
    few = data.head(5 * recipe.batch_size).to(torch.device("cpu"))
    torch.manual_seed(recipe.seed)  # speckle on black: of equal values, rounding picks a maximum
    speckle = torch.randint(32, few.train_images.shape, dtype=torch.uint8)
    few = few._replace(train_images=few.train_images.maximum(speckle))
    model = build_model(recipe, few).cpu().double()
    row = train_epoch(model, few, recipe, make_optimizer(model, recipe), epoch=1)
    row["test_loss"], row["test_accuracy"] = evaluate(model, few)
    return row
