"""The training loop that most write-ups of this assignment use, as a baseline for upkeep/bench.py.

It shares only the network with the course: torchvision's transforms on PIL images, a DataLoader
with two workers, a Python loop for L1, `.item()` in every batch, a progress bar, nn.Dropout.
"""

import time
from unittest import mock

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from tqdm import tqdm

from model import Net


class Images(datasets.MNIST):
    """torchvision's MNIST, of images (N, 1, H, W) that are in memory already."""

    def __init__(self, images, labels, *steps):
        self.data, self.targets, self.target_transform = images[:, 0], labels, None
        self.transform = transforms.Compose(steps)


def train(model, loader, optimizer, l1):
    model.train()
    bar, correct, processed = tqdm(loader), 0, 0
    for batch, (data, target) in enumerate(bar):
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        if l1 > 0:
            loss = loss + l1 * sum(parameter.abs().sum() for parameter in model.parameters())
        loss.backward()
        optimizer.step()
        correct += output.argmax(dim=1).eq(target).sum().item()
        processed += len(data)
        bar.set_description(f"loss={loss.item():.4f} batch={batch} "
                            f"accuracy={100 * correct / processed:.2f}")
    return correct / processed


def test(model, loader):
    model.eval()
    loss, correct = 0.0, 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            loss += F.nll_loss(output, target, reduction="sum").item()
            correct += output.argmax(dim=1).eq(target).sum().item()
    return loss / len(loader.dataset), correct / len(loader.dataset)


def run(data, recipe, nesterov):
    """Train and test a recipe of the course on a dataset of the course: a row an epoch."""
    torch.manual_seed(recipe.seed)
    with mock.patch("model.Dropout", torch.nn.Dropout):  # in place of the course's faster one
        model = Net(**recipe.network())
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, weight_decay=recipe.l2,
                                momentum=recipe.momentum, nesterov=nesterov)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=6, gamma=0.1)
    normal = transforms.ToTensor(), transforms.Normalize(data.mean, data.std)
    moved = transforms.RandomRotation((-7.0, 7.0), fill=(0,))
    train_set = Images(data.train_images, data.train_labels, moved, *normal)
    test_set = Images(data.test_images, data.test_labels, *normal)
    train_loader, test_loader = (DataLoader(images, recipe.batch_size, shuffle=True, num_workers=2)
                                 for images in (train_set, test_set))
    rows = []
    for _ in range(recipe.epochs):
        started = time.perf_counter()
        train(model, train_loader, optimizer, recipe.l1)
        trained = time.perf_counter()
        schedule.step()
        _, accuracy = test(model, test_loader)
        rows.append({"test_accuracy": accuracy, "train_seconds": trained - started,
                     "test_seconds": time.perf_counter() - trained})
    return rows
