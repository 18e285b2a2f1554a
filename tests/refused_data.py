"""Bad data: files, folders and names, and more of them than there is. Rows for test_refusals.py."""

import gzip
import os
import socket
import sys
import zipfile
from http.client import IncompleteRead
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
from helpers import IDX_FILES, arrays, idx, make_recipe, no_network, write_idx
from refused import Refused
from torch.nn.modules.module import register_module_forward_hook

from coursepack.data import sources
from coursepack.data.datasets import load_dataset, take_part
from coursepack.files import ROOT
from coursepack.train import loop
from coursepack.train.recipe import Recipe

WHOLE = arrays()
BROKEN = "mnist.npz is no readable data file"
make_pipe = getattr(os, "mkfifo", os.mkdir)


# ------------------------------------------------------------------------ what fills a data folder
def npz(name="mnist", **changes):
    return lambda folder: np.savez(folder / f"{name}.npz", **arrays(**changes))


def put(content, *names):
    """Files with these bytes; or content makes each of them."""
    def write(folder):
        for file in [folder / name for name in names or ["mnist.npz"]]:
            file.parent.mkdir(parents=True, exist_ok=True)
            content(file) if callable(content) else file.write_bytes(content)
    return write


def images_of_bytes(content):
    """An .npz of which x_train is these bytes."""
    def write(folder):
        np.savez(folder / "mnist.npz", **arrays(x_train=None))
        with zipfile.ZipFile(folder / "mnist.npz", "a") as archive:
            archive.writestr("x_train.npy", content)
    return write


def published(part, change, layout="{0}.gz"):
    """The four published files, one of them with other bytes, or made by what change returns."""
    def write(folder):
        file = write_idx(folder, layout)[part]
        file.unlink()
        put(change(idx(WHOLE[sources.ARRAYS[part]])), file.name)(file.parent)
    return write


def published_as(other, layout):
    labels = [*map(int, sources.DATASETS[other].first_labels), *range(10), 0, 0, 0, 0]
    return lambda folder: write_idx(folder, layout, y_train=np.array(labels))


# -------------------------------------------------------------------------------- what is then done
def load(write, name="mnist", then=lambda data: data, answer=no_network, **asked):
    """Loads a data set from a folder that write fills, and from nowhere else; leaves no trace."""
    def call(folder):
        write(folder)
        before = sorted(folder.rglob("*"))
        try:
            with mock.patch.multiple(sources, first_to_answer=answer, read_sample=None):
                then(load_dataset(name, str(folder), **asked))
        finally:
            after = sorted(path for path in folder.rglob("*") if path.name != sources.LOCK)
            assert (after, socket.getdefaulttimeout()) == (before, None)
    return call


def patched(call, target, value):
    def patch_and_call(folder):
        with mock.patch(target, value):
            call(folder)
    return patch_and_call


def refusing(*answers):
    """A function that gives these answers, and then lets nobody read."""
    return mock.Mock(side_effect=[*answers, PermissionError(13, "Permission denied")])


def recipe(write, folder="", **parameters):
    """Puts a recipe together: no run of a study starts before its data are found."""
    def call(top):
        write(top)
        make_recipe(top / folder, **parameters)
    return call


def build(data):
    return loop.build_model(Recipe(arch="mnist_7k", device="cpu"), data)


def fail_to_download(kind):
    def fail(dataset):
        assert socket.getdefaulttimeout() is not None  # a stalled server would hang for ever
        raise kind("connection lost")
    return fail


def load_with_a_hook(folder):
    hook = register_module_forward_hook(lambda module, inputs, output: 2 * output)
    try:
        load_dataset("mnist")
    finally:
        hook.remove()


# ------------------------------------------------------------------------------------- the tables
class Trap:
    """Ends the process of whoever unpickles it."""

    def __reduce__(self):
        return sys.exit, ("code in a data file was executed",)


def both(change):
    return {name: change(WHOLE[name]) for name in ("x_train", "x_test")}


def header(shape, version=1, descr="|u1"):
    """What stands before the numbers of an .npy: what it claims they are."""
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 * version, "little") + text


ARRAYS = [  # what is wrong with the arrays of mnist.npz, and what is said besides its name
    ("no training images", {"x_train": None, "y_train": None}, "lacks x_train, y_train"),
    ("no test labels", {"y_test": None}, "lacks y_test"),
    ("an object that runs code", {"x_train": np.array([Trap()], dtype=object)}, "pickle"),
    ("images of floats", both(lambda x: x / 255), "train part, images are float64, not uint8"),
    ("images of integers", both(np.int64), "train part, images are int64, not uint8"),
    ("images of booleans", both(lambda x: x > 99), "train part, images are bool, not uint8"),
    ("images in rows", both(lambda x: x.reshape(len(x), -1)), "train part, images have shape"),
    ("images in five dimensions", both(lambda x: x[..., None, None]), "(30, 28, 28, 1, 1)"),
    ("channels before rows", both(lambda x: np.stack([x] * 3, 1)), "(30, 3, 28, 28)"),
    ("images of four channels", both(lambda x: np.stack([x] * 4, -1)), "(30, 28, 28, 4)"),
    ("images without rows", both(lambda x: x[:, :0]), "(30, 0, 28)"),
    ("images of one flat grey", both(np.ones_like), "flat grey"),
    ("test images of another size", {"x_test": WHOLE["x_test"][:, 1:]}, "(20, 27, 28), those to"),
    ("no images", {"x_train": WHOLE["x_train"][:0], "y_train": np.arange(0)}, "train part, there"),
    ("too few labels", {"y_train": np.arange(29) % 10}, "there are 30 images and 29 labels"),
    ("too many test labels", {"y_test": np.arange(21) % 10}, "there are 20 images and 21 labels"),
    ("labels of floats", {"y_train": np.arange(30) / 30}, "train part, labels are float64"),
    ("labels of booleans", {"y_train": np.ones(30, bool)}, "labels are bool"),
    ("labels of times", {"y_train": np.arange(30).astype("m8[s]")}, "labels are timedelta64"),
    ("labels one-hot", {"y_train": np.eye(10, dtype=int)[WHOLE["y_train"]]}, "of shape (30, 10)"),
    ("labels below 0", {"y_train": np.arange(30) % 10 - 1}, "labels go from -1 to 8"),
    ("labels from 1 to 10", {"y_train": np.arange(30) % 10 + 1}, "from 1 to 10, not from 0 to 9"),
    ("a test label of 10", {"y_test": np.arange(20) % 11}, "test part, labels go from 0 to 10")]
OWN = [  # what is wrong with the arrays of mine.npz
    ("labels of 2**63", {"y_train": np.full(30, 2**63, np.uint64)}, "9223372036854775808"),
    ("labels with gaps", {"y_train": np.arange(30) % 10 * 2}, "0 to 18, not from 0 to 9 for 10"),
    ("labels that training has not", {"y_train": np.arange(30) % 3}, "test part, labels go from 0"),
    ("one class", {"y_train": np.zeros(30, int)}, "all labels are 0, and there have to"),
    ("numbers of images as labels", {"x_train": np.zeros((1001, 2, 2), np.uint8),
                                     "y_train": np.arange(1001)}, "1,001 classes, more than 1,000")]
BYTES = [  # what the images of mnist.npz are
    ("a claim of 784 TB", header((10**12, 28, 28)), "claims 784,000,000,000,0"),
    ("of negative size", header((-30, -28, 28)) + bytes(30 * 28 * 28), "dimension"),
    ("in another format", header((30, 28, 28), 2) + bytes(30 * 28 * 28), "x_train.npy is not as"),
    ("nothing, 10**15 times", header((10**15,), descr="|V0"), "train part, images are |V0"),
    ("half a header", header(())[:30], BROKEN), ("a text", b"no array at all", "magic")]
FILES = [  # what mnist.npz is
    ("an empty file", b""), ("a page of a website", b"<html>404</html>"),
    ("a zip of nothing", b"PK\5\6" + bytes(18)), ("a folder", Path.mkdir), ("a pipe", make_pipe),
    ("a link to nowhere", lambda file: file.symlink_to("gone")),
    ("a link to itself", lambda file: file.symlink_to(file.name))]
HUGE = np.array([0x803, 2**31 - 1, 2**31 - 1, 28], ">i4").tobytes()
IDX = [  # what the first to fourth of the published files is, and what is said of it
    ("empty", 0, lambda whole: b"", "begins with nothing"),
    ("a page of a website", 1, lambda whole: b"<html>404</html>", "begins with 3c68746d"),
    ("of labels, not images", 0, lambda whole: idx(WHOLE["y_train"]), "begins with 00000801"),
    ("of floats", 3, lambda whole: b"\0\0\x0d\1" + whole[4:], "begins with 00000d01"),
    ("half a header", 3, lambda whole: whole[:6], "begins with 00000801"),
    ("cut short", 0, lambda whole: whole[:len(whole) // 2], "there are 1"),
    ("a byte too long", 2, lambda whole: whole + b"\0", "there are more"),
    ("one that claims 129 TB", 0, lambda whole: HUGE + whole, "GB of memory"),
    ("packed and cut short", 1, lambda whole: gzip.compress(whole)[:-9], "ended before"),
    ("packed with a wrong checksum", 1, lambda whole: gzip.compress(whole)[:-8] + bytes(8), "CRC"),
    ("packed and overwritten", 1, lambda whole: gzip.compress(whole)[:12] + bytes(99), "idx file"),
    ("a link to nothing", 3, lambda whole: lambda file: file.symlink_to("gone"), "link to nothing"),
    ("a pipe", 1, lambda whole: make_pipe, "a pipe")]
NO_FOLDERS = ["no-such-folder", str(ROOT / "README.md"), "~/no-such-folder", "~nobody-of-this/data",
              "a\0b", "x" * 300, "y/" * 3000]
LEFT = [  # what half a download has left
    ("mnist", "MNIST/raw/train-images-idx3-ubyte"), ("mnist", "t10k-labels-idx1-ubyte.gz"),
    ("cifar10", "cifar-10-python.tar.gz"), ("cifar10", "cifar-10-batches-py/data_batch_1")]
OTHERS = ["train.csv", "b/mnist_test.csv", "digits.mat", "c/mine.npz", "archive.zip", "p/0/1.png",
          "a/b/train-images-idx3-ubyte.gz", "notes.txt", ".cache/a.csv"]
SAID = ["b/mnist_test.csv and 3 more (not read: save", "mine.npz (choose that name as dataset",
        "archive.zip (an archive: unpack it)", "a/b/train-images-idx3-ubyte.gz (choose the dataset"]

CASES = [Refused("Data files", *row) for row in [
    *[(f"mnist.npz with {what}", load(npz(**changes)), ("mnist.npz", said))
      for what, changes, said in ARRAYS],
    *[(f"a data set of one's own with {what}", load(npz("mine", **changes), "mine"),
       ("mine.npz: in its t", said)) for what, changes, said in OWN],
    *[(f"mnist.npz with images that are {what}", load(images_of_bytes(content)),
       ("mnist.npz", said)) for what, content, said in BYTES],
    *[(f"mnist.npz is {what}", load(put(content)), (BROKEN, "Put a whole one"))
      for what, content in FILES],
    ("a recipe of an mnist.npz that is a folder", recipe(put(Path.mkdir)), (BROKEN,)),
    ("more images than memory", patched(
        load(npz()), "psutil.virtual_memory", lambda: SimpleNamespace(available=50_000)),
     (BROKEN, "GB of memory")),
    *[(f"{file} in place of {name}.npz", load(put(b"", file), name),
       (file, f"{name}.npz", "upper and lower case")) for file, name in [
           ("MNIST.npz", "mnist"), ("mnist.NPZ", "mnist"), ("mine.NPZ", "mine")]],
    *[(f"dataset = {name[:20]!r}", recipe(npz("mine"), "data", dataset=name),
       ("is not known", "Choose one of: mnist,"))
      for name in ("mine", "../mine", "m\0ine", "x" * 300)],
    ("images of 9 x 12", load(npz(**both(lambda x: x[:, :9, :12])), then=build),
     ("mnist_7k", "28 x 28", "9 x 12")),
    ("images in colour for a network of grey ones",
     load(npz(**both(lambda x: np.stack([x] * 3, -1))), then=build), ("1 x 28 x 28",)),
    *[(f"{size} images to train and {holdout} to test on, of 30",
       load(npz(), train_size=size, holdout=holdout),
       (f"train_size={size}, holdout={holdout}: mnist", "30 training images"))
      for size, holdout in [(31, 0), (21, 10), (0, 30), (1, 40), (0, 10**20)]],
    ("a part of 31 images, of 30", load(npz(), then=lambda data: take_part(data, 31)),
     ("train_size=31", "only 30 training images")),
    ("a forgotten hook on all modules of PyTorch", load_with_a_hook,
     ("register_module_forward_hook", "remove()")),
]] + [Refused("Data folders and downloads", *row) for row in [
    *[(f"data_dir = {place[:40]!r}", recipe(put(b""), data_dir=place),
       (f"data_dir={place[:50]!r}"[:60], "Choose")) for place in NO_FOLDERS],
    ("DATA_DIR = 'no-such-folder'", patched(
        lambda folder: load_dataset("mnist"), "os.environ", {"DATA_DIR": "no-such-folder"}),
     ("environment variable DATA_DIR='no-such-folder'", "Choose a folder that is there")),
    *[(f"{what} that nobody may read", patched(load(put(b"", file)), target, value),
       ("Permission denied", "hoose")) for what, file, target, value in [
           ("a data folder", "a.txt", "os.listdir", refusing()),
           ("a folder in it", "a.txt", "os.listdir", refusing(["MNIST"])),
           ("an mnist.npz", "mnist.npz", "coursepack.data.sources.open", refusing())]],
    *[(f"one of the published files is {what}", load(published(part, change)),
       (f"{IDX_FILES[part]}.gz is no readable idx file", said))
      for what, part, change, said in IDX],
    ("a broken file where torchvision keeps it", load(published(
        0, lambda whole: whole[:99], "MNIST/raw/{0}")), ("MNIST/raw/train-images", "there are 83")),
    *[(f"files of {other} as {name}", load(published_as(other, layout), name),
       (f"dataset is {name!r}", f"dataset={other!r}")) for name, other, layout in [
           ("mnist", "fashion_mnist", "MNIST/raw/{0}"), ("kmnist", "mnist", "{0}.gz"),
           ("fashion_mnist", "kmnist", "{1}")]],
    *[(f"half a download: {file}", load(put(b"", file), name),
       (f"{name} is not whole", Path(file).name, "no network")) for name, file in LEFT],
    ("broken files of an old torchvision", load(put(
        bytes(99), "MNIST/processed/training.pt", "MNIST/processed/test.pt")),
     ("torchvision's files of mnist", "cannot be read", "Put a whole one")),
    *[(f"{name} without its file and without a network", load(lambda folder: None, name),
       ("no network", f"Put {name}.npz there", "'mnist_sample'"))
      for name, data in sources.DATASETS.items() if data.torchvision],
    ("files of other kinds in place of mnist", load(put(b"", *OTHERS)),
     (*SAID, "leave data_dir and DATA_DIR empty")),
    *[(f"a download that ends with {kind.__name__}", patched(
        load(lambda folder: None, answer=lambda urls: urls[0]),
        "torchvision.datasets.MNIST.download", fail_to_download(kind)), ("mnist.npz", "failed"))
      for kind in (RuntimeError, EOFError, IncompleteRead)],
]]
