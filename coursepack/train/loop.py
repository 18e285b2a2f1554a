"""The training loop and its parts: one epoch, evaluation, all epochs."""

import math
import time

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from coursepack import files, threads
from coursepack.data.datasets import Dataset
from coursepack.threads import pick_device
from coursepack.train import batches, checkpoints, updates
from coursepack.train.recipe import Recipe
from model import ARCHITECTURES, Net

DIVERGED = 1e4  # losses above it are no training any more: guessing among ten classes costs 2.3


@threads.own_torch()
def build_model(recipe: Recipe, data: Dataset) -> Net:
    """The recipe's network with its initial weights, which the seed alone decides.

    Raises ValueError if the images do not fit the architecture.
    """
    channels, size = ARCHITECTURES[recipe.arch].image
    shape = tuple(data.train_images.shape[1:])
    if shape != (channels, size, size):
        fits = [n for n, a in ARCHITECTURES.items() if (a.image[0], *a.image[1:] * 2) == shape]
        raise ValueError(
            f"arch={recipe.arch} takes images of {channels} x {size} x {size}; those of "
            f"{data.name} are {' x '.join(map(str, shape))}. "
            f"Choose {'arch=' + ' or '.join(fits) if fits else 'another dataset'}."
        )
    torch.manual_seed(recipe.seed)
    return Net(**recipe.network(), classes=len(data.classes)).to(pick_device(recipe.device))


def train_epoch(model: Net, data: Dataset, recipe: Recipe, optimizer: torch.optim.Optimizer,
                epoch: int, bar: tqdm | None = None) -> dict[str, float]:
    """Train for one epoch (counted from 1). Returns means over its images, as they were trained.

    loss: negative log likelihood; penalty: what L1 and L2 added to it; accuracy: a fraction.
    """
    model.train()
    torch.manual_seed(recipe.seed * 1_000_003 + epoch)  # so an epoch needs no earlier one
    parameters = updates.penalized_parameters(model, recipe.penalize)
    data = data.to(parameters[0].device)
    images = len(data.train_labels)
    per_epoch = math.ceil(images / recipe.batch_size)
    step = (epoch - 1) * per_epoch
    outputs, targets, extra = [], [], 0.0
    for x, labels in batches.training_batches(data, recipe, parameters[0].dtype):
        rate = updates.learning_rate(step, recipe.epochs * per_epoch, per_epoch, recipe)
        log_probabilities = model(x)  # (batch, classes)
        loss = F.nll_loss(log_probabilities, labels)
        optimizer.zero_grad()
        loss.backward()
        extra += updates.take_step(optimizer, parameters, rate, recipe) * len(labels)

        outputs.append(log_probabilities.detach())  # counted after the epoch, all at once
        targets.append(labels)
        step += 1
        if bar:
            bar.update()
    loss, accuracy = loss_and_accuracy(torch.cat(outputs), torch.cat(targets))
    return {"loss": loss, "penalty": float(extra) / images, "accuracy": accuracy, "lr": rate}


@threads.own_torch()
@torch.no_grad()
def predict(model: Net, data: Dataset) -> Tensor:
    """Log-probabilities (N, classes) of the test images, in evaluation mode; restores the mode."""
    was_training, weight = model.training, next(model.parameters())
    model.eval()
    try:
        parts = (part.to(weight.device) for part in data.test_images.split(250))
        return torch.cat([model(batches.to_input(part, data, weight.dtype)) for part in parts])
    finally:
        model.train(was_training)


def loss_and_accuracy(log_probabilities: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean loss (negative log likelihood) of predictions, and the fraction that is right.

    In float64, which an Apple GPU lacks: so on the CPU.
    """
    log_probabilities, labels = log_probabilities.cpu(), labels.cpu()
    loss = F.nll_loss(log_probabilities.double(), labels)
    return loss.item(), (log_probabilities.argmax(1) == labels).sum().item() / len(labels)


def evaluate(model: Net, data: Dataset) -> tuple[float, float]:
    """Mean loss over all test images, and the fraction of them that is classified right."""
    return loss_and_accuracy(predict(model, data), data.test_labels)


@threads.own_torch()
def train(model: Net, data: Dataset, recipe: Recipe) -> list[dict[str, float]]:
    """Train and test for recipe.epochs epochs; returns the history, a dictionary an epoch.

    After each epoch a checkpoint is written to the run's folder. Called again after an
    interruption, with the same recipe and data, it goes on after the last finished epoch, and on a
    CPU the history is bit for bit that of an undisturbed run: it keeps its number of threads.
    Raises PermissionError if the folder cannot be written or another process is training this run,
    ValueError for a broken checkpoint, FloatingPointError if training diverges.
    """
    files.check_writable("runs_dir", recipe.run_dir)
    checkpoints.hold(recipe)
    try:
        return train_epochs(model, data, recipe)
    except BaseException:  # an interruption, too: then another process may go on
        checkpoints.release(recipe)
        raise


def train_epochs(model: Net, data: Dataset, recipe: Recipe) -> list[dict[str, float]]:
    """The epochs that a run lacks, each with its checkpoint; see train()."""
    device = next(model.parameters()).device
    run = checkpoints.identity(recipe, data)
    data = data.to(device)  # once, and not in each epoch
    if device.type == "cpu":  # the same mathematics, and faster
        model.to(memory_format=torch.channels_last)
    optimizer = updates.make_optimizer(model, recipe)
    checkpoint = checkpoints.checkpoint_file(recipe, run)
    history, used = checkpoints.resume(checkpoint, run, model, optimizer)
    if device.type == "cpu":
        threads.fix_threads(used)
    per_epoch = math.ceil(len(data.train_labels) / recipe.batch_size)
    bar = tqdm(total=recipe.epochs * per_epoch, initial=len(history) * per_epoch, unit="batch",
               mininterval=1)
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        history.append(train_and_test(model, data, recipe, optimizer, epoch, bar))
        checkpoints.save_checkpoint(checkpoint, run, model, optimizer, history)
        report_epoch(history, recipe.epochs)
    bar.close()
    return history


def train_and_test(model: Net, data: Dataset, recipe: Recipe, optimizer: torch.optim.Optimizer,
                   epoch: int, bar: tqdm | None = None) -> dict[str, float]:
    """One epoch of training, then a test: a row of the history. Raises FloatingPointError."""
    started = time.perf_counter()
    row = train_epoch(model, data, recipe, optimizer, epoch, bar)
    trained = time.perf_counter()
    row["test_loss"], row["test_accuracy"] = evaluate(model, data)
    row["train_seconds"], row["test_seconds"] = trained - started, time.perf_counter() - trained
    row["threads"] = torch.get_num_threads()
    losses = row["loss"] + row["test_loss"]
    if not (losses <= DIVERGED and math.isfinite(row["penalty"])):  # NaN is not <= anything
        raise FloatingPointError(
            f"training diverged: in epoch {epoch} the loss is {row['loss']:.4g}, that of the test "
            f"images {row['test_loss']:.4g}, the penalty {row['penalty']:.4g}. "
            f"Choose an lr below {recipe.lr}, or a smaller l1 or l2.")
    return row


def report_epoch(history: list[dict[str, float]], epochs: int) -> None:
    """Print a line about the last epoch of a history."""
    row = history[-1]
    print(f"epoch {len(history):2}/{epochs}  loss {row['loss']:.4f} + penalty "
          f"{row['penalty']:.4f}, accuracy {row['accuracy']:.2%} | test loss "
          f"{row['test_loss']:.4f}, accuracy {row['test_accuracy']:.2%}", flush=True)


@threads.own_torch()
def probe(data: Dataset, recipe: Recipe) -> dict[str, float]:
    """Five steps and one test in float64 on the CPU: the same numbers on every machine.

    The black background is filled with a faint speckle: max pooling over equal values would leave
    it to rounding which of them is taken, and learns.
    """
    few = data.head(5 * recipe.batch_size).to(torch.device("cpu"))
    torch.manual_seed(recipe.seed)
    speckle = torch.randint(32, few.train_images.shape, dtype=torch.uint8)
    few = few._replace(train_images=few.train_images.maximum(speckle))
    model = build_model(recipe, few).cpu().double()
    row = train_epoch(model, few, recipe, updates.make_optimizer(model, recipe), epoch=1)
    row["test_loss"], row["test_accuracy"] = evaluate(model, few)
    return row
