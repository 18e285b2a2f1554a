"""Data: what an .npz may hold, files as published, downloads, the sample, a run's part of them."""

import gzip
import hashlib
import http.client
import io
import pickle
import shutil
import socket
import threading
import urllib.error
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import filelock
import numpy as np
import pytest
import torch
from helpers import IDX_FILES, arrays, files_in, holds, idx, no_network, write_idx
from hypothesis import example, given
from hypothesis import strategies as st
from torchvision import datasets

from coursepack.data import sources
from coursepack.data.datasets import DATASETS, SAMPLE, image_shape, load_dataset, take_part
from coursepack.train.recipe import Recipe

SOURCES, FIRST_TO_ANSWER = "coursepack.data.sources", sources.first_to_answer
FOLDERS = {  # of a data folder, in which the published files may lie
    "mnist": ["", "MNIST/raw/", "raw/", "mnist/", "MNIST_data/", "mnist-dataset/", "archive/"],
    "fashion_mnist": ["", "FashionMNIST/raw/", "fashion_mnist/", "fashion-mnist/raw/", "fashion/"],
    "kmnist": ["", "KMNIST/raw/", "Kuzushiji-MNIST/"]}


# ------------------------------------------------------------------------------ an .npz
@given(shape=st.sampled_from([(9, 12), (28, 28), (28, 28, 1), (32, 32, 3)]),
       order=st.sampled_from("CF"), kind=st.sampled_from(["u1", "i2", "u4", "i8", "u8", ">i4"]),
       save=st.sampled_from([np.savez, np.savez_compressed]), classes=st.integers(2, 10),
       name=st.sampled_from(["mnist", "mine"]))
def test_an_npz_is_read_as_what_it_holds(shape, order, kind, save, classes, name):
    images = np.random.default_rng(1).integers(256, size=(50, *shape), dtype=np.uint8)
    labels = (np.arange(50) % classes).astype(kind)
    written = arrays(x_train=np.asarray(images[:30], order=order), y_train=labels[:30],
                     x_test=images[30:], y_test=labels[30:])
    with TemporaryDirectory() as folder:
        save(f"{folder}/{name}.npz", **written)
        data = load_dataset(name, folder)
        assert image_shape(name, folder) == data.image
    holds(data, written)
    assert (data.name, data.source, "SAMPLE" in str(data)) == (name, "npz", False)
    assert len(data.classes) == (10 if name == "mnist" else classes)
    x = torch.tensor(images[:30]).reshape(30, *shape[:2], -1).double() / 255
    exact = x.mean((0, 1, 2)), x.std((0, 1, 2), correction=0)
    torch.testing.assert_close((data.mean.double(), data.std.double()), exact, rtol=1e-7, atol=0)


@pytest.mark.parametrize("name", [name for name in DATASETS if name != SAMPLE])
def test_named_dataset_is_one_of_torchvisions_with_as_many_classes(name):
    dataset, classes = sources.torchvision_class(name), DATASETS[name].classes
    assert len(getattr(dataset, "classes", classes)) == len(classes) == len({*classes})


def test_a_part_takes_the_first_training_images_and_a_holdout_the_last(some_digits):
    whole = load_dataset("mnist", str(some_digits))
    part = Recipe(data_dir=str(some_digits), train_size=15, holdout=10).load_data()
    expected = [whole.train_images[:15], whole.train_labels[:15], whole.train_images[-10:],
                whole.train_labels[-10:], whole.mean, whole.std]
    assert all(map(torch.equal, part[2:8], expected))


def test_a_part_is_drawn_by_its_seed_and_so_many_labels_are_wrong_as_asked_for(few):
    labels = few.train_labels.clone()
    numbered = few._replace(train_images=torch.arange(300))
    clean, other = take_part(numbered, 100, 1), take_part(numbered, 100, 2)
    noisy, again = take_part(numbered, 100, 1, 0.4), take_part(numbered, 100, 1, 0.4)
    assert len(clean.train_images.unique()) == 100
    assert not torch.equal(clean.train_images, other.train_images)
    assert torch.equal(clean.train_labels, labels[clean.train_images])
    assert torch.equal(noisy.train_labels, again.train_labels)
    assert torch.equal(noisy.train_images, clean.train_images)
    wrong = noisy.train_labels != clean.train_labels
    assert wrong.sum() == 40
    assert len(noisy.train_labels[wrong].unique()) > 5
    assert torch.equal(few.train_labels, labels)


# ------------------------------------------------------------- files as published
@given(place=st.sampled_from([(name, folder) for name in FOLDERS for folder in FOLDERS[name]]),
       forms=st.lists(st.tuples(  # one for each file: its name, and whether it is packed
           st.sampled_from(["{0}", "{0}.gz", "{1}", "{1}.gz", "{0}/{0}", "{1}/{1}"]),
           st.booleans()), min_size=4, max_size=4))  # browsers unpack and leave the name
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
    (tmp_path / "MNIST.npz").touch()  # another, if case counts
    np.savez(tmp_path / "mnist.npz", **arrays())
    with zipfile.ZipFile(tmp_path / "mnist.npz", "a") as archive:
        archive.writestr("y_train", "which numpy would serve")
    holds(load_dataset("mnist", str(tmp_path)), arrays())


def test_the_sample_is_taken_in_the_default_folder_with_the_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(f"{SOURCES}.first_to_answer", no_network)
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    monkeypatch.setenv("DATA_DIR", "")
    for file, said in {"MNIST/raw/notes.txt": "no network",
                       "train.csv": "There is train.csv (not read"}.items():
        (tmp_path / "data" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / file).touch()
        assert load_dataset("mnist").source == "sample"
        error = capsys.readouterr().err
        assert all(word in error for word in (str(tmp_path / "data"), said))
        assert "notes.txt" not in error
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))  # chosen: then no other data
    with pytest.raises(FileNotFoundError, match="leave data_dir and DATA_DIR empty"):
        load_dataset("mnist")


def test_an_archive_as_published_is_unpacked_without_network_and_no_other(
        tmp_path, monkeypatch):
    monkeypatch.setattr(f"{SOURCES}.first_to_answer", no_network)
    images = np.repeat(arrays()["x_train"].reshape(-1, 784), 4, 1)[:, :3072]
    inside = tmp_path / "cifar-10-batches-py"
    inside.mkdir()
    (inside / "batch").write_bytes(pickle.dumps(
        {"data": images, "labels": arrays()["y_train"].tolist()}))
    (inside / "batches.meta").write_bytes(pickle.dumps({"label_names": list("0123456789")}))
    archive = Path(shutil.make_archive(
        tmp_path / "cifar-10-python", "gztar", tmp_path, inside.name))
    batch, meta, whole = (hashlib.md5(file.read_bytes()).hexdigest() for file in (
        inside / "batch", inside / "batches.meta", archive))
    shutil.rmtree(inside)
    monkeypatch.setattr("torchvision.datasets.CIFAR10", type("CIFAR10", (datasets.CIFAR10,), {
        "tgz_md5": whole, "train_list": [["batch", batch]], "test_list": [["batch", batch]],
        "meta": {"filename": "batches.meta", "key": "label_names", "md5": meta}}))
    for _ in range(2):
        data = load_dataset("cifar10", str(tmp_path))
        assert (data.source, *data.train_images.shape) == ("torchvision", 30, 3, 32, 32)
    shutil.rmtree(inside)  # it is unpacked beside it
    archive.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="not as published, by checksum: cifar-10-python"):
        load_dataset("cifar10", str(tmp_path))


# ------------------------------------------------------------------------ downloads
def test_file_that_another_run_is_just_writing_is_read_when_it_is_whole(tmp_path, capsys):
    file = write_idx(tmp_path)[3]
    whole = file.read_bytes()
    file.write_bytes(whole[:9])
    lock = filelock.FileLock(tmp_path / sources.LOCK, thread_local=False)
    lock.acquire()
    threading.Timer(0.3, lambda: (file.write_bytes(whole), lock.release())).start()
    holds(load_dataset("mnist", str(tmp_path)), arrays())
    assert "waiting for another run that downloads" in capsys.readouterr().err


PUBLISHED = {f"{name}.gz": gzip.compress(idx(array))
             for name, array in zip(IDX_FILES, arrays().values())}


class Reply(io.BytesIO):
    url = length = None


@pytest.fixture
def mirrors(monkeypatch):
    """mirrors(kind, ...): torchvision's MNIST has such mirrors, and small files. What was asked."""
    over, asked = threading.Event(), []
    errors = {"closed": urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")),
              "forbidden": urllib.error.HTTPError("", 403, "Forbidden", None, None),
              "noise": http.client.BadStatusLine("hello"),
              "silent": TimeoutError("gave up when the test was over")}

    def urlopen(request, timeout=None):
        assert timeout or socket.getdefaulttimeout()  # or a stalled server would hang for ever
        assert request.get_method() == "GET"  # HEAD is no method of some
        kind, name = request.host, request.selector.strip("/")
        asked.append(name)
        if kind == "silent":  # or a name server that swallows packets: longer than any timeout
            over.wait(60)
        if kind in errors:
            raise errors[kind]
        return Reply(PUBLISHED[name] if kind == "whole" else b"<html>Log in</html>")

    def set_mirrors(*kinds):
        monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", [f"http://{k}/" for k in kinds])
        return asked

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    monkeypatch.setattr(f"{SOURCES}.PATIENCE", 60.0)  # seconds that nobody takes
    monkeypatch.setattr("torchvision.datasets.MNIST.resources", [
        (name, hashlib.md5(content).hexdigest()) for name, content in PUBLISHED.items()])
    yield set_mirrors
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
    together, asked = threading.Barrier(3, timeout=60), mirrors("whole")

    def ask_together(urls):
        together.wait()
        return FIRST_TO_ANSWER(urls)

    monkeypatch.setattr(f"{SOURCES}.first_to_answer", ask_together)
    with ThreadPoolExecutor(3) as pool:
        for data in pool.map(lambda _: load_dataset("mnist", str(tmp_path)), range(3)):
            holds(data, arrays())
    assert len(asked) == 3 + 2 * 4  # each asks once; one looks for four files and fetches them


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_where_no_mirror_answers_the_reasons_are_said_and_nothing_is_written(
        tmp_path, mirrors, monkeypatch):
    monkeypatch.setattr(f"{SOURCES}.PATIENCE", 1.0)
    mirrors("closed", "forbidden", "noise", "page", "silent", "no host")
    with pytest.raises(FileNotFoundError) as refusal:
        load_dataset("mnist", str(tmp_path))
    for reason in ["cannot be downloaded (closed: <urlopen error [Errno 111] Connection refused>",
                   "forbidden: HTTP Error 403: Forbidden", "noise: hello",
                   "page: it sends something else", "silent: no answer within 1 seconds"]:
        assert reason in str(refusal.value)
    assert files_in(tmp_path) == []
