"""From uint8 images to what a network takes: moved at random, normalized, batch by batch."""

import functools
import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from coursepack.data.datasets import Dataset
from coursepack.train.recipe import Recipe


def random_affine(count: int, augment: str, height: int = 28, width: int = 28) -> Tensor:
    """Random small movements, one an image: matrices (count, 2, 3) from output to input position.

    rotate: up to 7 degrees; shift: up to a tenth of the image; half: half as far, both of them;
    flip: left to right, every second; crop: shifted by whole pixels, which keeps an image sharp,
    at most one for each 32. height, width: of the images, each of which a position sees as 2 long.
    """
    parts, ratio = augment.split("+"), height / width
    far = 0.5 if "half" in parts else 1
    angle = torch.empty(count).uniform_(-far, far) * math.radians(7 if "rotate" in parts else 0)
    shift = torch.empty(count, 2).uniform_(-far, far) * (0.2 if "shift" in parts else 0)  # of 2
    sign = 1 - torch.randint(2, (count,)) * (2 if "flip" in parts else 0)
    for axis, length in enumerate((width, height) if "crop" in parts else ()):
        most = max(1, length // 32)  # pixels
        shift[:, axis] += torch.randint(-most, most + 1, (count,)) * (2 / length)
    rows = [angle.cos() * sign, -angle.sin() * ratio, shift[:, 0],
            angle.sin() * sign / ratio, angle.cos(), shift[:, 1]]
    return torch.stack(rows, 1).view(count, 2, 3)


@functools.cache
def positions(h: int, w: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Each pixel's x, y (from -1 to 1) and a 1: (3, H * W)."""
    still = torch.eye(2, 3, dtype=dtype, device=device)[None]
    grid = F.affine_grid(still, (1, 1, h, w), align_corners=False)
    return F.pad(grid.view(h * w, 2), (0, 1), value=1).T


def apply_affine(x: Tensor, movement: Tensor) -> Tensor:
    """Images (N, C, H, W) under random_affine's movements: bilinear, and black where none was."""
    n, _, h, w = x.shape  # torch's affine_grid by one product for all images: much faster
    there = movement.to(x).view(2 * n, 3) @ positions(h, w, x.dtype, x.device)
    return F.grid_sample(x, there.view(n, 2, h, w).permute(0, 2, 3, 1), align_corners=False)


def to_input(images: Tensor, data: Dataset, dtype: torch.dtype = torch.float32,
             movement: Tensor | None = None) -> Tensor:
    """Input of a network from uint8 images (N, C, H, W): moved, then normalized by channel."""
    x = images.to(dtype).div_(255)
    if movement is not None:
        x = apply_affine(x, movement)
    mean, std = (values.to(x).view(1, -1, 1, 1) for values in (data.mean, data.std))
    return x.sub_(mean).div_(std)


def training_batches(data: Dataset, recipe: Recipe, dtype: torch.dtype) -> Iterator:
    """One epoch: inputs (batch, C, H, W) and labels (batch,), each image once, in random order."""
    order = torch.randperm(len(data.train_labels)).to(data.train_labels.device)
    moves: Sequence = [None] * len(order)
    if recipe.augment != "none":
        _, height, width = data.image
        moves = random_affine(len(order), recipe.augment, height, width)
        moves = moves.to(order.device).split(recipe.batch_size)
    for batch, movement in zip(order.split(recipe.batch_size), moves):
        x = to_input(data.train_images.index_select(0, batch), data, dtype, movement)
        yield x, data.train_labels[batch]
