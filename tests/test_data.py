"""Data sets: what an .npz may hold, where data is looked for, pixel statistics."""

import io
import os
import re
import tracemalloc
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import arrays, files_in, make_recipe, no_network, says

from coursepack.data import sources
from coursepack.data.datasets import (
    DATASETS,
    SAMPLE,
    find_dataset,
    load_dataset,
    pixel_statistics,
    take_part,
)
from coursepack.train import batches, loop


def assert_refused(folder, monkeypatch, *words, name="mnist"):
    """A broken .npz is an error that names the file, without a look at any other source."""

    def fail(*args):
        pytest.fail("a broken file led on to the next source")

    monkeypatch.setattr("coursepack.data.sources.read_torchvision", fail)
    monkeypatch.setattr("coursepack.data.sources.read_sample", fail)
    with pytest.raises(ValueError, match=says(folder / f"{name}.npz", *words)):
        load_dataset(name, str(folder))


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (32, 32, 3)])
def test_npz_comes_back_as_tensors_with_channels_first(tmp_path, shape):
    draw = np.random.default_rng(1)
    x_train, x_test = (draw.integers(256, size=(n, *shape), dtype=np.uint8) for n in (30, 20))
    written = arrays(x_train=x_train, x_test=x_test)
    np.savez_compressed(tmp_path / "mnist.npz", **written)
    data = load_dataset("mnist", str(tmp_path))
    assert data.source == "npz"
    assert data.train_images.dtype == data.test_images.dtype == torch.uint8
    assert data.train_labels.dtype == data.test_labels.dtype == torch.int64
    for images, array in [(data.train_images, x_train), (data.test_images, x_test)]:
        channels_last = images.permute(0, 2, 3, 1).numpy()
        assert np.array_equal(channels_last, array.reshape(channels_last.shape))
    assert np.array_equal(data.train_labels, written["y_train"])
    assert np.array_equal(data.test_labels, written["y_test"])
    assert data.classes == tuple("0123456789")
    assert "SAMPLE" not in str(data)


def test_own_data_takes_its_classes_from_its_labels(tmp_path):
    np.savez(tmp_path / "mine.npz", **arrays(y_train=np.arange(30) % 3, y_test=np.arange(20) % 2))
    data = load_dataset("mine", str(tmp_path))
    assert (data.name, data.source, data.classes) == ("mine", "npz", ("0", "1", "2"))
    recipe = make_recipe(tmp_path, dataset="mine")
    inputs = batches.to_input(data.test_images, data)
    assert loop.build_model(recipe, data)(inputs).shape == (20, 3)


NOTHING = np.zeros((0, 28, 28), np.uint8)


@pytest.mark.parametrize(("changes", "words"), [
    ({"x_train": np.zeros((30, 28, 28), np.float32)}, ["train", "float32", "uint8"]),
    ({"x_test": np.zeros((20, 28, 28), np.int64)}, ["test", "int64", "uint8"]),
    ({"x_train": np.zeros((30, 784), np.uint8)}, ["train", "(30, 784)"]),
    ({"x_train": np.zeros((30, 28, 28, 2), np.uint8)}, ["train", "(30, 28, 28, 2)"]),
    ({"x_train": np.zeros((30, 3, 28, 28), np.uint8)}, ["train", "(30, 3, 28, 28)"]),
    ({"x_test": np.zeros((20, 32, 32), np.uint8)}, ["test", "(20, 32, 32)"]),
    ({"x_test": np.zeros((20, 28, 28, 3), np.uint8)}, ["test", "(20, 28, 28, 3)"]),
    ({"y_train": np.arange(30) % 11}, ["train", "10"]),
    ({"y_test": np.arange(20) % 11}, ["test", "10"]),
    ({"y_train": np.arange(30) % 10 - 1}, ["train", "-1"]),
    ({"y_test": np.arange(20) / 20}, ["test", "float64"]),
    ({"y_train": np.ones(30, bool)}, ["train", "bool"]),
    ({"y_train": np.ones((30, 1), int)}, ["train", "(30, 1)"]),
    ({"y_train": np.arange(29) % 10}, ["train", "30", "29"]),
    ({"y_test": np.arange(21) % 10}, ["test", "20", "21"]),
    ({"x_train": NOTHING, "y_train": np.zeros(0, int)}, ["train", "0"]),
    ({"x_test": NOTHING, "y_test": np.zeros(0, int)}, ["test", "0"]),
    ({"y_test": None}, ["y_test"]),
    ({"x_train": None, "y_train": None}, ["x_train", "y_train"]),
    ({"y_train": np.array(list(range(30)), dtype=object)}, ["pickle"]),
    ({"y_train": np.zeros(30, int)}, ["train", "all labels are 0", "two classes"]),
    ({"y_train": (np.arange(30) % 10).astype("m8[s]")}, ["train", "timedelta64"]),
    ({"x_train": np.zeros((30, 0, 28), np.uint8)}, ["train", "(30, 0, 28)"]),
])
def test_npz_with_a_wrong_array_is_refused_by_name(tmp_path, monkeypatch, changes, words):
    np.savez(tmp_path / "mnist.npz", **arrays(**changes))
    assert_refused(tmp_path, monkeypatch, *words)


def test_own_data_with_a_class_that_only_the_test_set_has_is_refused(tmp_path, monkeypatch):
    np.savez(tmp_path / "mine.npz", **arrays(y_train=np.arange(30) % 3, y_test=np.arange(20) % 4))
    assert_refused(tmp_path, monkeypatch, "test", name="mine")


@pytest.mark.parametrize(("labels", "words"), [
    (np.array([0, 2**40] * 15), ["0 to 1099511627776", "0 to 1 for 2 classes"]),
    (np.full(30, 2**63, np.uint64), ["9223372036854775808"]),
    (np.arange(30) % 10 + 1, ["1 to 10", "0 to 9 for 10 classes"]),
    (np.arange(30) % 10 * 2, ["0 to 18", "0 to 9 for 10 classes"]),
    (np.zeros(30, int), ["all labels are 0", "two classes"]),
])
def test_own_data_needs_images_of_every_class_from_0_up(tmp_path, monkeypatch, labels, words):
    np.savez(tmp_path / "mine.npz", **arrays(y_train=labels, y_test=labels[:20]))
    assert_refused(tmp_path, monkeypatch, "train", *words, name="mine")


def test_numbers_of_images_are_no_classes():
    images, labels = np.zeros((1001, 2, 2), np.uint8), np.arange(1001)
    with pytest.raises(ValueError, match=says("here", "1,001 classes", "1,000")):
        sources.check_arrays("here", [images, labels, images, labels], 0)
    sources.check_arrays("here", [images[1:], labels[:-1], images, labels % 9], 0)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated_npz_is_refused_by_name(tmp_path, monkeypatch, save, kept):
    file = tmp_path / "mnist.npz"
    save(file, **arrays())
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole))])
    assert_refused(tmp_path, monkeypatch)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("place", [0.01, 0.3, 0.6])
def test_npz_with_damaged_bytes_is_refused_by_name(tmp_path, monkeypatch, save, place):
    file = tmp_path / "mnist.npz"
    few_greys = np.random.default_rng(2).integers(4, size=(30, 28, 28), dtype=np.uint8)
    save(file, **arrays(x_train=few_greys))
    content = bytearray(file.read_bytes())
    start = int(place * len(content))
    content[start : start + 8] = bytes(byte ^ 0xFF for byte in content[start : start + 8])
    file.write_bytes(content)
    assert_refused(tmp_path, monkeypatch)


@pytest.mark.parametrize(("offset", "value"), [(10, 99), (8, 1)])  # compression, encryption
def test_npz_that_cannot_be_unpacked_is_refused_by_name(tmp_path, monkeypatch, offset, value):
    file = tmp_path / "mnist.npz"
    np.savez(file, **arrays())
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\1\2") + offset] = value  # in the first entry of its index
    file.write_bytes(content)
    assert_refused(tmp_path, monkeypatch)


@pytest.mark.parametrize("content", [b"<html>404</html>", b"PK\3\4", bytes(1000), b"\x80\4K\1."])
def test_file_that_is_no_npz_is_refused_by_name(tmp_path, monkeypatch, content):
    (tmp_path / "mnist.npz").write_bytes(content)
    assert_refused(tmp_path, monkeypatch)


def write_npz(file, compression=zipfile.ZIP_STORED, **members):
    """An .npz with these bytes as members, and the arrays of a tiny data set as the others."""
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, array in arrays().items():
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", members.get(name, content.getvalue()))


def header(shape, version=(1, 0), descr="|u1"):
    """What stands before the numbers of an .npy: what it claims they are."""
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(2 * version[0], "little") + text


@pytest.mark.parametrize(("content", "words"), [
    (header((10**12, 28, 28)), ["x_train.npy", "784,000,000,000,0", "bytes"]),  # 784 TB
    (header((10**7, 28, 28)) + bytes(99), ["x_train.npy", "7,840,000,0"]),
    (header((-30, -28, 28)) + bytes(30 * 28 * 28), ["dimension"]),
    (header((30, 28, 28), version=(2, 0)) + bytes(30 * 28 * 28), ["x_train.npy", "numpy.savez"]),
    (header((30,), descr="|O") + bytes(240), ["x_train.npy", "pickle"]),
    (header((10**15,), descr="|V0"), ["train", "V0"]),
    (b"\x93NUMPY\1\0\x0a\0{'descr': (", []),
    (b"no array at all", ["magic"]),
    (b"", []),
])
def test_array_that_is_not_what_it_claims_is_refused_by_name(tmp_path, monkeypatch, content, words):
    write_npz(tmp_path / "mnist.npz", x_train=content)
    tracemalloc.start()
    try:
        assert_refused(tmp_path, monkeypatch, *words)
        assert tracemalloc.get_traced_memory()[1] < 10**7  # bytes, at most
    finally:
        tracemalloc.stop()


def test_archive_larger_than_the_memory_is_refused_by_name(tmp_path, monkeypatch):
    np.savez(tmp_path / "mnist.npz", **arrays())
    monkeypatch.setattr("coursepack.data.sources.psutil.virtual_memory",
                        lambda: SimpleNamespace(available=50_000))
    assert_refused(tmp_path, monkeypatch, "GB of memory")


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damage_in_an_unusual_compression_is_refused_by_name(tmp_path, monkeypatch, compression):
    write_npz(tmp_path / "mnist.npz", compression)
    content = bytearray((tmp_path / "mnist.npz").read_bytes())
    content[100:900] = bytes(byte ^ 0xFF for byte in content[100:900])
    (tmp_path / "mnist.npz").write_bytes(content)
    assert_refused(tmp_path, monkeypatch)


@pytest.mark.parametrize("make", [
    lambda file: file.mkdir(),
    lambda file: file.symlink_to("gone"),
    lambda file: file.symlink_to(file.name),
    lambda file: file.symlink_to(file.parent),
    os.mkfifo,
], ids=["folder", "link to nothing", "link to itself", "link to a folder", "pipe"])
def test_npz_that_is_no_file_is_refused_by_name(tmp_path, monkeypatch, make):
    make(tmp_path / "mnist.npz")
    assert_refused(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match="mnist.npz"):  # before any run of a study starts
        make_recipe(tmp_path)


@pytest.mark.parametrize(("file", "name"), [
    ("MNIST.npz", "mnist"), ("mnist.NPZ", "mnist"), ("Mnist.Npz", "mnist"), ("mine.NPZ", "mine"),
    ("Mine.npz", "mine")])
def test_file_whose_name_differs_in_case_is_refused_by_both_names(tmp_path, file, name):
    np.savez(tmp_path / "file.npz", **arrays())
    (tmp_path / "file.npz").rename(tmp_path / file)
    for load in (lambda: load_dataset(name, str(tmp_path)),
                 lambda: make_recipe(tmp_path, dataset=name)):
        with pytest.raises(ValueError, match=says(file, f"{name}.npz")):
            load()
    np.savez(tmp_path / f"{name}.npz", **arrays())
    assert load_dataset(name, str(tmp_path)).source == "npz"


def test_dataset_is_a_name_and_no_path(tmp_path):
    np.savez(tmp_path / "mine.npz", **arrays())
    (tmp_path / "data").mkdir()
    for name in ("../mine", str(tmp_path / "mine"), "m\0ine", "m" * 300):
        with pytest.raises(ValueError, match="is not known"):
            load_dataset(name, str(tmp_path / "data"))


@pytest.mark.parametrize("place", ["nowhere", "file", "~/nowhere-at-all", "~nobody-at-all/data",
                                   "a\0b", "x" * 300, "y/" * 3000])
def test_folder_that_cannot_be_read_is_refused_by_name(tmp_path, monkeypatch, place):
    (tmp_path / "file").touch()
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    for load in (load_dataset, find_dataset):
        with pytest.raises(ValueError, match=re.escape(f"data_dir={place!r}"[:60])):
            load("mnist", place)
    with pytest.raises(ValueError, match="data_dir="):
        make_recipe(tmp_path, data_dir=place)
    if "\0" not in place:
        monkeypatch.setenv("DATA_DIR", place)
        with pytest.raises(ValueError, match="environment variable DATA_DIR="):
            load_dataset("mnist")
    assert files_in(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("locked", ["", "mnist.npz", "MNIST/raw"])
def test_what_may_not_be_read_is_refused_by_name(tmp_path, monkeypatch, locked):
    monkeypatch.setattr("coursepack.data.sources.first_to_answer", no_network)
    np.savez(tmp_path / "mnist.npz", **arrays())
    if locked == "MNIST/raw":
        (tmp_path / "mnist.npz").unlink()
        (tmp_path / locked).mkdir(parents=True)
    place = tmp_path / locked
    place.chmod(0)
    with pytest.raises(ValueError, match=says(tmp_path)):
        load_dataset("mnist", str(tmp_path))
    place.chmod(0o700)


@pytest.mark.parametrize("empty", [None, ""])
def test_default_folder_need_not_be_there_but_has_to_be_a_folder(tmp_path, monkeypatch, empty):
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    if empty is not None:
        monkeypatch.setenv("DATA_DIR", empty)
    assert find_dataset("mnist") == (tmp_path / "data", tmp_path / "data" / "mnist.npz")
    assert files_in(tmp_path) == []
    (tmp_path / "data").symlink_to("gone")
    with pytest.raises(ValueError, match=says("data_dir", tmp_path / "data")):
        find_dataset("mnist")


def test_single_array_in_place_of_an_npz_is_refused_by_name(tmp_path, monkeypatch):
    with (tmp_path / "mnist.npz").open("wb") as file:
        np.save(file, arrays()["x_train"])
    assert_refused(tmp_path, monkeypatch)


def test_train_size_takes_the_first_and_holdout_the_last_training_images(tmp_path):
    np.savez(tmp_path / "mnist.npz", **arrays())
    whole = load_dataset("mnist", str(tmp_path))
    part = load_dataset("mnist", str(tmp_path), train_size=15, holdout=10)
    assert torch.equal(part.train_images, whole.train_images[:15])
    assert torch.equal(part.train_labels, whole.train_labels[:15])
    assert torch.equal(part.test_images, whole.train_images[-10:])
    assert torch.equal(part.test_labels, whole.train_labels[-10:])
    assert torch.equal(part.mean, whole.mean)


@pytest.mark.parametrize(("train_size", "holdout"), [(31, 0), (21, 10), (0, 30), (1, 40),
                                                       (0, 10**20)])
@pytest.mark.filterwarnings("error")
def test_more_images_than_there_are_is_refused(tmp_path, train_size, holdout):
    np.savez(tmp_path / "mnist.npz", **arrays())
    with pytest.raises(ValueError, match=says(f"train_size={train_size}", f"holdout={holdout}")):
        load_dataset("mnist", str(tmp_path), train_size, holdout)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixel_statistics_equal_torchs(channels):
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (50, channels, 9, 9), generator=draw, dtype=torch.uint8)
    x = images.double() / 255
    expected = x.mean((0, 2, 3)), x.std((0, 2, 3), correction=0)
    for found, exact in zip(pixel_statistics(images), expected):
        torch.testing.assert_close(found.double(), exact, rtol=1e-7, atol=0)


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in ("mnist", SAMPLE)])
def test_other_dataset_without_network_says_which_file_to_put_where(tmp_path, monkeypatch, name):
    monkeypatch.setattr("coursepack.data.sources.first_to_answer", no_network)
    with pytest.raises(FileNotFoundError, match=says(f"{name}.npz", str(tmp_path), "no network")):
        load_dataset(name, str(tmp_path))


def test_flat_images_are_refused(tmp_path):
    images = np.full((30, 28, 28), 7, np.uint8)
    np.savez(tmp_path / "mnist.npz", **arrays(x_train=images))
    with pytest.raises(ValueError, match=says("mnist.npz", "flat")):
        load_dataset("mnist", str(tmp_path))


@pytest.mark.parametrize("name", DATASETS)
def test_named_dataset_is_one_of_torchvisions_with_as_many_classes(name):
    from torchvision import datasets

    published = DATASETS[name]
    assert len(set(published.classes)) == len(published.classes)
    if name != SAMPLE:
        dataset = getattr(datasets, published.torchvision)
        assert all(url.startswith("http") for url in sources.download_urls(dataset))
        if hasattr(dataset, "classes"):
            assert len(dataset.classes) == len(published.classes)


def test_a_part_drawn_by_a_seed_is_a_part_and_another_seed_draws_another(few):
    one, two = (take_part(few, 100, seed) for seed in (1, 2))
    again = take_part(few, 100, 1)
    assert torch.equal(one.train_images, again.train_images)
    assert not torch.equal(one.train_images, two.train_images)
    whole = {image.numpy().tobytes(): int(label)
             for image, label in zip(few.train_images, few.train_labels)}
    assert len({image.numpy().tobytes() for image in one.train_images}) == 100
    assert all(whole[image.numpy().tobytes()] == label
               for image, label in zip(one.train_images, one.train_labels))
    head = take_part(few, 100)
    assert torch.equal(head.train_images, few.train_images[:100])
    assert torch.equal(one.test_images, few.test_images)


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_so_many_labels_are_wrong_as_asked_for_and_the_images_are_the_same(few, share):
    clean, noisy = take_part(few, 200, 5), take_part(few, 200, 5, share)
    assert torch.equal(clean.train_images, noisy.train_images)
    wrong = clean.train_labels != noisy.train_labels
    assert wrong.sum() == share * 200
    assert len(set(noisy.train_labels[wrong].tolist())) > 5
    before = few.train_labels.clone()
    take_part(few, 0, 0, share)
    assert torch.equal(few.train_labels, before)
