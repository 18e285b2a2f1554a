"""Unfinished runs: going on with the same one only, and one process at a time."""

from pickle import UnpicklingError
from unittest import mock

import filelock
import pytest
import torch
from helpers import files_in, first, fit, make_recipe, set_free
from refused import Trap

from coursepack import files
from coursepack.files import ROOT
from coursepack.runs.records import save_run
from coursepack.train import checkpoints, loop


@pytest.fixture
def data(few):
    return first(few, 40, 20)


@pytest.fixture
def unfinished(tmp_path, data, capsys):
    """A run of three epochs that was interrupted after its first: recipe and checkpoint."""
    recipe = make_recipe(tmp_path / "unfinished", epochs=3, batch_size=16)
    with (mock.patch.object(loop, "report_epoch", side_effect=KeyboardInterrupt),
          pytest.raises(KeyboardInterrupt)):
        fit(data, recipe)
    assert recipe.run_dir not in checkpoints.LOCKS  # another process may go on
    [name] = files_in(recipe.run_dir)
    capsys.readouterr()
    return recipe, recipe.run_dir / name


def test_interrupted_training_goes_on_until_it_is_saved(data, unfinished, capsys):
    recipe, _ = unfinished
    model, history = fit(data, recipe)
    said = capsys.readouterr().out
    assert "continuing after epoch 1" in said
    assert "epoch  1/3" not in said
    with mock.patch.object(loop, "train_epoch", side_effect=AssertionError("trained again")):
        assert fit(data, recipe)[1] == history  # finished, and not yet saved
    other = filelock.FileLock(recipe.run_dir / ".lock")  # as of another process
    with pytest.raises(filelock.Timeout):
        other.acquire(timeout=0)
    save_run(model, data, recipe, history)
    assert files_in(recipe.run_dir) == ["misclassified.npz", "model.pt", "record.json"]
    with (other.acquire(timeout=0),
          pytest.raises(PermissionError, match="'run' is being trained by another process")):
        fit(data, recipe)
    capsys.readouterr()
    fit(data, recipe)
    assert "epoch  1/3" in capsys.readouterr().out  # from the start


def test_a_checkpoint_that_is_as_it_was_written_runs_no_code_all_the_same(data, unfinished):
    recipe, file = unfinished
    files.replace_file(file, lambda path: torch.save({"run": Trap()}, path), kept=True)
    with pytest.raises(UnpicklingError, match="weights_only"):
        fit(data, recipe)


def test_one_other_choice_pixel_label_or_version_makes_another_run(tmp_path, monkeypatch, data):
    def identity(data=data, **changes):
        return checkpoints.identity(make_recipe(tmp_path, **changes), data)

    before = identity()
    assert identity(run_name="other", runs_dir=str(tmp_path / "other")) == before
    for changes in ({"seed": 2}, {"lr": 0.2}, {"epochs": 3}, {"l1": 1e-5}):
        assert identity(**changes) != before
    for part in ("train_images", "train_labels", "test_images", "mean"):
        changed = getattr(data, part).clone()
        changed.view(-1)[-1] += 1
        assert identity(data._replace(**{part: changed})) != before
    monkeypatch.setattr("torch.__version__", "1.0")
    assert identity() != before


def test_one_other_line_of_code_makes_another_run(tmp_path, monkeypatch):
    """Of every file that decides a run's numbers: the way of a recipe from its data to its end."""
    rooms = {f"coursepack/{wing}/{path.name}" for wing in ("data", "train")
             for path in (ROOT / "coursepack" / wing).glob("[a-z]*.py")}
    assert {*checkpoints.CODE} == {
        "model.py", "coursepack/files.py", "coursepack/threads.py",
        *rooms - {  # what keeps numbers, and what makes files of other files, makes no numbers
            "coursepack/train/checkpoints.py", "coursepack/data/imports.py",
            "coursepack/data/readers.py"}}
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    for name in checkpoints.CODE:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(name)
    before = checkpoints.code_checksum.__wrapped__()
    for name in checkpoints.CODE:
        (tmp_path / name).write_text("changed")
        assert before != (before := checkpoints.code_checksum.__wrapped__())


def test_other_images_begin_anew_and_leave_the_unfinished_run_which_goes_on_with_its_threads(
        unfinished, data, capsys, monkeypatch):
    recipe, file = unfinished
    kept, began = file.read_bytes(), torch.get_num_threads()
    monkeypatch.setattr("coursepack.threads.free_threads", lambda: began + 1)  # another machine
    try:
        _, anew = fit(data._replace(train_images=data.train_images.flip(-1)), recipe)
        said = capsys.readouterr()
        assert file.read_bytes() == kept
        set_free(recipe)
        _, history = fit(data, recipe)  # with the threads that it began with
    finally:
        torch.set_num_threads(began)
    assert "continuing" not in said.out
    assert file.name in said.err
    assert [row["threads"] for row in anew] == [began + 1] * 3
    assert [row["threads"] for row in history] == [began] * 3
