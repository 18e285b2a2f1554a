"""Data sets: what an .npz may hold, where data is looked for, pixel statistics."""


import numpy as np
import pytest
import torch
from helpers import arrays, make_recipe, says

from coursepack import batches, sources, training
from coursepack.data import DATASETS, SAMPLE, load_dataset, pixel_statistics


def assert_refused(folder, monkeypatch, *words, name="mnist"):
    """A broken .npz is an error that names the file, without a look at any other source."""

    def fail(*args):
        pytest.fail("a broken file led on to the next source")

    monkeypatch.setattr("coursepack.sources.read_torchvision", fail)
    monkeypatch.setattr("coursepack.sources.read_sample", fail)
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
    assert training.build_model(recipe, data)(inputs).shape == (20, 3)


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
])
def test_npz_with_a_wrong_array_is_refused_by_name(tmp_path, monkeypatch, changes, words):
    np.savez(tmp_path / "mnist.npz", **arrays(**changes))
    assert_refused(tmp_path, monkeypatch, *words)


def test_own_data_with_a_class_that_only_the_test_set_has_is_refused(tmp_path, monkeypatch):
    np.savez(tmp_path / "mine.npz", **arrays(y_train=np.arange(30) % 3, y_test=np.arange(20) % 4))
    assert_refused(tmp_path, monkeypatch, "test", name="mine")


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


@pytest.mark.parametrize(("train_size", "holdout"), [(31, 0), (21, 10), (0, 30), (1, 40)])
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
    monkeypatch.setattr("coursepack.sources.unreachable", lambda *args, **kwargs: "no network")
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
        assert sources.download_url(dataset).startswith("http")
        if hasattr(dataset, "classes"):
            assert len(dataset.classes) == len(published.classes)
