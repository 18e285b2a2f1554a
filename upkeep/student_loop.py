"""The training loop that most write-ups of this assignment use, as a baseline for upkeep/bench.py.

It shares only the network with the course: torchvision's transforms on PIL images, a DataLoader
with two workers, a Python loop for L1, `.item()` in every batch, a progress bar, nn.Dropout. It
imports nothing else of the course, whose settings would make it faster. Call: student_loop.py
SETTINGS data.pt, with settings as JSON; it prints what it measured as one line of JSON.
"""

import json
import sys
import time
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model import Net


class Images(Dataset):
    """As torchvision's MNIST: grey images in memory, a PIL image and an int an item."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, steps: list):
        self.images, self.labels, self.transform = images, labels, transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        image = Image.fromarray(self.images[index, 0].numpy())
        return self.transform(image), int(self.labels[index])


def build(network: dict) -> Net:
    """The course's network with nn.Dropout in the place of the course's faster one."""
    with mock.patch("model.Dropout", nn.Dropout):
        return Net(**network)


def train(model, loader, optimizer, l1):
    model.train()
    bar, correct, processed = tqdm(loader), 0, 0
    for batch, (data, target) in enumerate(bar):
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        if l1 > 0:
            total = 0
            for parameter in model.parameters():
                total = total + parameter.abs().sum()
            loss = loss + l1 * total
        loss.backward()
        optimizer.step()
        prediction = output.argmax(dim=1, keepdim=True)
        correct += prediction.eq(target.view_as(prediction)).sum().item()
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
            prediction = output.argmax(dim=1, keepdim=True)
            correct += prediction.eq(target.view_as(prediction)).sum().item()
    return loss / len(loader.dataset), correct / len(loader.dataset)


def main(settings: dict, arrays: dict) -> None:
    recipe = settings["recipe"]
    torch.manual_seed(recipe["seed"])
    model = build(settings["network"])
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe["lr"], weight_decay=recipe["l2"],
                                momentum=recipe["momentum"], nesterov=settings["nesterov"])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=6, gamma=0.1)
    normal = [transforms.ToTensor(), transforms.Normalize(arrays["mean"], arrays["std"])]
    moved = [transforms.RandomRotation((-7.0, 7.0), fill=(0,)), *normal]
    train_loader, test_loader = (
        DataLoader(Images(arrays[f"{name}_images"], arrays[f"{name}_labels"], steps),
                   batch_size=recipe["batch_size"], shuffle=True, num_workers=2)
        for name, steps in (("train", moved), ("test", normal)))
    rows = []
    for _ in range(recipe["epochs"]):
        started = time.perf_counter()
        accuracy = train(model, train_loader, optimizer, recipe["l1"])
        trained = time.perf_counter()
        schedule.step()
        loss, test_accuracy = test(model, test_loader)
        rows.append({"accuracy": accuracy, "test_loss": loss, "test_accuracy": test_accuracy,
                     "train_seconds": trained - started,
                     "test_seconds": time.perf_counter() - trained})
    seconds = sum(row["train_seconds"] + row["test_seconds"] for row in rows)
    print(json.dumps({"epochs": rows, "seconds": seconds / len(rows)}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), torch.load(sys.argv[2], weights_only=True))
