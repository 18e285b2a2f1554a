"""Data sets: what an .npz may hold, where data is looked for, which images a run gets."""

import io
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from helpers import arrays, files_in, holds, make_recipe, says
from hypothesis import given
from hypothesis import strategies as st
from refused import is_ours

from coursepack.data import sources
from coursepack.data.datasets import (
    DATASETS,
    SAMPLE,
    find_dataset,
    load_dataset,
    take_part,
)
from coursepack.train import batches, loop


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
        recipe = make_recipe(Path(folder), dataset=name)
    holds(data, written)
    assert (data.name, data.source, "SAMPLE" in str(data)) == (name, "npz", False)
    assert len(data.classes) == (10 if name == "mnist" else classes)
    x = torch.tensor(images[:30]).reshape(30, *shape[:2], -1).double() / 255
    for found, exact in zip((data.mean, data.std), (
            x.mean((0, 1, 2)), x.std((0, 1, 2), correction=0))):
        torch.testing.assert_close(found.double(), exact, rtol=1e-7, atol=0)
    if shape[:2] == (28, 28):
        outputs = loop.build_model(recipe, data)(batches.to_input(data.test_images, data))
        assert outputs.shape == (20, len(data.classes))


@pytest.mark.parametrize("compression", [
    zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_npz_is_refused_or_read_as_what_it_holds(tmp_path, compression):
    file, written = tmp_path / "mine.npz", arrays(x_train=np.zeros((30, 9, 9), np.uint8))
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, array in written.items():
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", content.getvalue())
    whole = file.read_bytes()
    end = len(whole) - 250  # of the arrays: then comes the index of the archive
    for place in [*range(0, end, end // 20), *range(end, len(whole), 5)]:
        flipped = bytes(byte ^ 0xFF for byte in whole[place:place + 5])
        for damaged in (whole[:place], whole[:place] + flipped + whole[place + 5:]):
            file.write_bytes(damaged)
            try:
                read = sources.read_npz(file)
            except ValueError as error:
                refused = f"{file} is no readable data file" in str(error) and is_ours(error)
                assert refused, error  # noqa: PT017
            else:
                assert all(map(np.array_equal, read, written.values()))
                assert len(damaged) == len(whole)


def test_default_folder_need_not_be_there_but_has_to_be_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    monkeypatch.setenv("DATA_DIR", "")
    assert find_dataset("mnist")[0] == tmp_path / "data"
    monkeypatch.delenv("DATA_DIR")
    assert find_dataset("mnist") == (tmp_path / "data", tmp_path / "data" / "mnist.npz")
    assert files_in(tmp_path) == []
    (tmp_path / "data").symlink_to("gone")
    with pytest.raises(ValueError, match=says("data_dir", tmp_path / "data")):
        find_dataset("mnist")


def test_train_size_takes_the_first_and_holdout_the_last_training_images(tmp_path):
    np.savez(tmp_path / "Mine.npz", **arrays(x_train=None))  # of another name, if case counts
    np.savez(tmp_path / "mine.npz", **arrays())
    whole = load_dataset("mine", str(tmp_path))
    part = load_dataset("mine", str(tmp_path), train_size=15, holdout=10)
    expected = [whole.train_images[:15], whole.train_labels[:15], whole.train_images[-10:],
                whole.train_labels[-10:], whole.mean, whole.std]
    assert all(map(torch.equal, part[2:8], expected))


@pytest.mark.parametrize("name", DATASETS)
def test_named_dataset_is_one_of_torchvisions_with_as_many_classes(name):
    published = DATASETS[name]
    assert len(set(published.classes)) == len(published.classes)
    if name != SAMPLE:
        dataset = sources.torchvision_class(name)
        assert all(url.startswith("http") for url in sources.download_urls(dataset))
        assert len(getattr(dataset, "classes", published.classes)) == len(published.classes)


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.4])
def test_a_part_is_drawn_by_its_seed_and_so_many_labels_are_wrong_as_asked_for(few, noise):
    labels = few.train_labels.clone()
    clean, other, head = take_part(few, 100, 1), take_part(few, 100, 2), take_part(few, 100)
    assert torch.equal(head.train_images, few.train_images[:100])
    assert not torch.equal(clean.train_images, other.train_images)
    whole = {image.numpy().tobytes(): label for image, label in zip(few.train_images, labels)}
    drawn = [image.numpy().tobytes() for image in clean.train_images]
    assert len(set(drawn)) == 100
    assert [whole[image] for image in drawn] == clean.train_labels.tolist()
    noisy, again = take_part(few, 100, 1, noise), take_part(few, 100, 1, noise)
    assert torch.equal(noisy.train_labels, again.train_labels)
    assert torch.equal(noisy.train_images, clean.train_images)
    wrong = noisy.train_labels != clean.train_labels
    assert wrong.sum() == noise * 100
    assert len(set(noisy.train_labels[wrong].tolist())) > 5 or not noise
    assert torch.equal(noisy.test_images, few.test_images)
    assert torch.equal(few.train_labels, labels)
