"""The training loop that most write-ups of this assignment use, and what makes it fast.

As it is, it shares only the network with the course: torchvision's transforms on PIL images, a
DataLoader with two workers, a Python loop for L1, `.item()` in every batch, a progress bar,
nn.Dropout. Of what `changed` names (steps.py has all names) the course's own part takes its place.
"""

import time
from unittest import mock

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from tqdm import tqdm

from coursepack.threads import set_up_torch
from coursepack.train import batches, loop, updates
from model import Dropout, Net


class Images(datasets.MNIST):
    """torchvision's MNIST, of images (N, 1, H, W) that are in memory already."""

    def __init__(self, images, labels, *steps):
        self.data, self.targets, self.target_transform = images[:, 0], labels, None
        self.transform = transforms.Compose(steps)


def train(model, loader, optimizer, recipe, changed=()):
    model.train()
    bar, correct, processed, outputs, targets = tqdm(loader), 0, 0, [], []
    parameters = updates.penalized_parameters(model, recipe.penalize)
    for batch, (data, target) in enumerate(bar):
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        if recipe.l1 > 0 and "penalty" not in changed:
            loss = loss + recipe.l1 * sum(parameter.abs().sum() for parameter in parameters)
        loss.backward()
        if "penalty" in changed:
            updates.add_penalty(parameters, recipe.l1, recipe.l2)
        optimizer.step()
        if "counters" in changed:
            outputs.append(output.detach())
            targets.append(target)
        else:
            correct += output.argmax(dim=1).eq(target).sum().item()
            processed += len(data)
            bar.set_description(f"loss={loss.item():.4f} batch={batch} "
                                f"accuracy={100 * correct / processed:.2f}")
    return (loop.loss_and_accuracy(torch.cat(outputs), torch.cat(targets))[1] if outputs
            else correct / processed)


def test(model, loader):
    model.eval()
    loss, correct = 0.0, 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            loss += F.nll_loss(output, target, reduction="sum").item()
            correct += output.argmax(dim=1).eq(target).sum().item()
    return loss / len(loader.dataset), correct / len(loader.dataset)


def run(data, recipe, changed=()):
    """Train and test a recipe of the course on a dataset of the course: seconds, a row an epoch."""
    if "process" in changed:
        set_up_torch()
    torch.manual_seed(recipe.seed)
    with mock.patch("model.Dropout", Dropout if "dropout" in changed else torch.nn.Dropout):
        model = Net(**recipe.network())
    if "layout" in changed:
        model.to(memory_format=torch.channels_last)
    beside = "penalty" in changed
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum,
                                weight_decay=0 if beside else recipe.l2, fused=beside)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=6, gamma=0.1)
    normal = transforms.ToTensor(), transforms.Normalize(data.mean, data.std)
    moved = [transforms.RandomRotation((-7.0, 7.0), fill=(0,))] * (recipe.augment != "none")
    train_set = Images(data.train_images, data.train_labels, *moved, *normal)
    test_set = Images(data.test_images, data.test_labels, *normal)
    train_loader, test_loader = (DataLoader(images, recipe.batch_size, shuffle=True, num_workers=2)
                                 for images in (train_set, test_set))
    rows = []
    for _ in range(recipe.epochs):
        started = time.perf_counter()
        loader = (batches.training_batches(data, recipe, torch.float32) if "moves" in changed
                  else train_loader)
        row = {"accuracy": train(model, loader, optimizer, recipe, changed)}
        trained = time.perf_counter()
        schedule.step()
        row["test_loss"], row["test_accuracy"] = (
            loop.evaluate(model, data) if "tests" in changed else test(model, test_loader))
        rows.append(row | {"train_seconds": trained - started,
                           "test_seconds": time.perf_counter() - trained})
    seconds = sum(row["train_seconds"] + row["test_seconds"] for row in rows)
    return {"seconds": seconds / len(rows), "epochs": rows}
