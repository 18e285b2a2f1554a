"""Bad data: files, folders and names, and more of them than there is. Rows for test_refusals.py."""

import contextlib
import gzip
import os
import socket
from functools import partial
from http.client import IncompleteRead
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
from helpers import IDX_FILES, arrays, idx, no_network, write_idx
from refused import ALONE, NO_FILES, Trap, calling, rows

from coursepack.data import sources
from coursepack.data.datasets import DATASETS, load_dataset, take_part
from coursepack.train import loop
from coursepack.train.recipe import Recipe


def npz(name="mnist", **changes):
    return lambda folder: np.savez(folder / f"{name}.npz", **arrays(**changes))


def empty(*names):
    """Files of these names that hold nothing of use."""
    def write(folder):
        for file in [folder / name for name in names]:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(bytes(99))
    return write


def published(part, change, layout="{0}.gz"):
    """The four published files, one of them with what change() makes of its bytes."""
    def write(folder):
        file = write_idx(folder, layout)[part]
        file.write_bytes(change(idx(arrays()[sources.ARRAYS[part]])))
    return write


def load(write, name="mnist", then=lambda data: data, during=None):
    """Loads a data set from a folder that write fills, and from nowhere else; leaves no trace."""
    def call(folder):
        write(folder)
        before = sorted(folder.rglob("*"))
        try:
            with (mock.patch.multiple(sources, first_to_answer=no_network, read_sample=None),
                  during or contextlib.nullcontext()):
                then(load_dataset(name, str(folder)))
        finally:
            after = sorted(path for path in folder.rglob("*") if path.name != sources.LOCK)
            assert (after, socket.getdefaulttimeout()) == (before, None)
    return call


ARRAYS = [  # what is wrong with the arrays of mnist.npz, and what is said besides its name
    ("no images to train on", {"x_train": None, "y_train": None}, "lacks x_train, y_train"),
    ("an object that runs code", {"x_train": np.array([Trap()], dtype=object)}, "pickle"),
    ("images of floats", {"x_train": lambda x: x / 255}, "train part, images are float64"),
    ("images in rows", {"x_train": lambda x: x.reshape(len(x), -1)}, "images have shape (30, 784)"),
    ("images of four channels", {"x_train": lambda x: np.stack([x] * 4, -1)}, "28, 28, 4), not N"),
    ("images without rows", {"x_train": lambda x: x[:, :0]}, "shape (30, 0, 28)"),
    ("images of one flat grey", {"x_train": np.ones_like}, "flat grey"),
    ("test images of another size", {"x_test": lambda x: x[:, 1:]}, "(20, 27, 28), those to"),
    ("no images", {"x_train": lambda x: x[:0], "y_train": np.arange(0)}, "train part, there"),
    ("too few labels", {"y_train": np.arange(29) % 10}, "there are 30 images and 29 labels"),
    ("labels of floats", {"y_train": np.arange(30) / 30}, "labels are float64"),
    ("labels one-hot", {"y_train": lambda y: np.eye(10, dtype=int)[y]}, "of shape (30, 10)"),
    ("labels below 0", {"y_train": np.arange(30) % 10 - 1}, "labels go from -1 to 8"),
    ("a test label of 10", {"y_test": np.arange(20) % 11}, "test part, labels go from 0 to 10")]
OWN = [  # what is wrong with the arrays of mine.npz
    ("labels with gaps", {"y_train": np.arange(30) % 10 * 2}, "0 to 18, not from 0 to 9 for 10"),
    ("one class", {"y_train": np.zeros(30, int)}, "all labels are 0, and there have to"),
    ("two classes of one name", {"classes": np.array([*"aabcdefghi"])}, "not all names differ"),
    ("too few names of classes", {"classes": np.array([*"abcdefghi"])}, "0 to 9, not from 0 to 8"),
    ("numbers of images as labels", {"x_train": np.zeros((1001, 2, 2), np.uint8),
                                     "y_train": np.arange(1001)}, "1,001 classes, more than 1,000")]
HUGE = np.array([0x803, 2**31 - 1, 2**31 - 1, 28], ">i4").tobytes()
IDX = [  # what the first to fourth of the published files is, and what is said
    ("of labels, not images", 0, lambda whole: idx(np.arange(30)), "begins with 00000801"),
    ("half a header", 3, lambda whole: whole[:6], "begins with 00000801"),
    ("cut short", 0, lambda whole: whole[:len(whole) // 2], "there are 1"),
    ("a byte too long", 2, lambda whole: whole + b"\0", "there are more"),
    ("one that claims 129 TB", 0, lambda whole: HUGE + whole, "GB of memory", ALONE),
    ("packed and cut short", 1, lambda whole: gzip.compress(whole)[:-9], "ended before")]
OTHERS = ["train.csv", "b/mnist.csv", "mine.npz", "archive.zip", "a/b/train-images-idx3-ubyte.gz"]
SAID = ["b/mnist.csv and 1 more (not read as it is: python tools/import_data.py", "own_mnist)",
        "mine.npz (choose that name as dataset",
        "archive.zip (an archive: unpack it)", "a/b/train-images-idx3-ubyte.gz (choose the dataset"]
FILES = NO_FILES | {
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
    "damaged": lambda file: file.write_bytes(file.read_bytes().replace(b"(30, 28,", b"(28, 30,")),
    "longer than it says": lambda file: file.write_bytes(
        file.read_bytes().replace(b"(30, 28,", b"(20, 28,"))}
HOOKS = mock.patch.dict("torch.nn.modules.module._global_forward_hooks", {0: print})
BUILD = partial(loop.build_model, Recipe(arch="mnist_7k", device="cpu"))
CASES = rows("Data files", [
    *[(f"mnist.npz with {what}", load(npz(**changes)), said) for what, changes, said in ARRAYS],
    *[(f"mnist.npz is {what}", load(lambda folder, spoil=spoil: (
        npz()(folder), spoil(folder / "mnist.npz"))), "is no readable data file", "Put a whole one")
      for what, spoil in FILES.items()],
    ("more images than memory", load(npz(), during=mock.patch(
        "psutil.virtual_memory", return_value=SimpleNamespace(available=50_000))), "GB of memory"),
], "mnist.npz", "python tools/import_data.py") + rows("Data files", [
    ("MNIST.npz in place of mnist.npz", load(empty("MNIST.npz")), "mnist.npz",
     "upper and lower case"),
    ("mine.csv in place of mine.npz", load(empty("mine.csv"), "mine"),
     "python tools/import_data.py", "mine.csv mine"),
    *[(f"a data set of one's own with {what}", load(npz("mine", **changes), "mine"), "mine.npz: in",
       said) for what, changes, said in OWN],
    ("dataset = 'x/../mine'", load(empty("mine.npz", "x/y"), "x/../mine"), "Choose one of: mnist,"),
    ("images that are too small for a network", load(npz(**dict.fromkeys(
        ["x_train", "x_test"], lambda x: x[:, 5:])), then=BUILD),
     "arch=mnist_7k", "at least 24 x 24", "23 x 28", "arch=auto or one of mnist_8k"),
    ("a batch that does not fit into memory", load(npz(), then=BUILD, during=mock.patch(
        "coursepack.threads.free_memory", return_value=2_000_000)),
     "batch_size=128 takes about 0.0 GB", "Choose batch_size=7 or less"),
    ("images of which not one fits into memory", load(npz(), then=BUILD, during=mock.patch(
        "coursepack.threads.free_memory", return_value=200_000)), "smaller images"),
    *[(f"{size} images to train and {holdout} to test on, of 30", load(
        npz(), then=partial(take_part, train_size=size, holdout=holdout)), f"train_size={size}, "
        f"holdout={holdout}", *words) for size, holdout, *words in [
            (21, 10, "only 30 training images"), (0, 30), (31, 0),
            (7, 0, "of 3 of its classes, such as 7", "another subset_seed")]],
    ("a forgotten hook on all modules of PyTorch", load(npz(), during=HOOKS),
     "register_module_forward_hook", "remove()"),
]) + rows("Data folders and downloads", [
    ("DATA_DIR = 'no-such-folder'", mock.patch.dict(os.environ, DATA_DIR="no-such-folder")(
        calling(load_dataset, "mnist")),
     "environment variable DATA_DIR='no-such-folder'", "Choose a folder that is there"),
    ("a folder in it that nobody may read", load(empty("a.txt"), during=mock.patch(
        "os.listdir", side_effect=[["MNIST"], PermissionError(13, "Permission denied")])),
     "Permission denied", "choose"),
    *[(f"one of the published files is {what}", load(published(part, change)),
       f"{IDX_FILES[part]}.gz is no readable idx", *said) for what, part, change, *said in IDX],
    ("a broken file where torchvision keeps it", load(published(
        0, lambda whole: whole[:99], "MNIST/raw/{0}")), "MNIST/raw/train-images", "there are 83"),
    ("files of fashion_mnist as mnist", load(lambda folder: write_idx(
        folder, y_train=np.resize([*map(int, DATASETS["fashion_mnist"].first_labels)], 30))),
     "dataset is 'mnist'", "dataset='fashion_mnist'"),
    *[(f"half a download: {file}", load(empty(file), name), f"{name} is not whole", Path(file).name,
       "no network") for name, file in [("mnist", "MNIST/raw/train-images-idx3-ubyte"),
                                        ("cifar10", "cifar-10-python.tar.gz")]],
    ("broken files of an old torchvision", load(
        empty("MNIST/processed/training.pt", "MNIST/processed/test.pt")),
     "torchvision's files of mnist", "cannot be read", "Put a whole one"),
    ("cifar10 without its file and without a network", load(empty(), "cifar10"),
     "no network", "Put cifar10.npz there", "'mnist_sample'"),
    ("files of other kinds in place of mnist", load(empty(*OTHERS)),
     *SAID, "leave data_dir and DATA_DIR empty"),
    ("a download that breaks off", load(empty(), during=mock.patch.multiple(
        sources, first_to_answer=min, open_torchvision=mock.Mock(side_effect=[
            *[RuntimeError("not found")] * 2, IncompleteRead(b"connection lost")]))),
     "python tools/import_data.py", "failed"),
])
