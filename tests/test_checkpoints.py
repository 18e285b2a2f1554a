"""Unfinished runs: going on with the same one only, and one process at a time.

Broken files: refused_parameters.py. Signals, full disks and two at once: test_survival.py.
"""

from unittest import mock

import filelock
import pytest
import torch
from helpers import files_in, first, fit, make_recipe, set_free, without_seconds

from coursepack import threads
from coursepack.files import ROOT
from coursepack.runs.records import save_run
from coursepack.train import checkpoints, loop

CHOICES = {"epochs": 3, "dropout": 0.1, "augment": "rotate+shift"}


@pytest.fixture
def data(few):
    return first(few, 100, 50)


@pytest.fixture
def unfinished(tmp_path, data):
    """A run of three epochs that was interrupted in its second: recipe and checkpoint."""
    recipe, evaluate, calls = make_recipe(tmp_path / "unfinished", **CHOICES), loop.evaluate, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(*args)

    with mock.patch.object(loop, "evaluate", interrupted), pytest.raises(KeyboardInterrupt):
        fit(data, recipe)
    assert recipe.run_dir not in checkpoints.LOCKS  # another process may go on
    [name] = files_in(recipe.run_dir)
    return recipe, recipe.run_dir / name


def test_interrupted_training_goes_on_as_if_undisturbed(tmp_path, data, unfinished, capsys):
    undisturbed, expected = fit(data, make_recipe(tmp_path / "undisturbed", **CHOICES))
    capsys.readouterr()
    recipe, _ = unfinished
    model, history = fit(data, recipe)
    said = capsys.readouterr().out
    assert "continuing after epoch 1" in said
    assert "epoch  1/3" not in said
    assert without_seconds(history) == without_seconds(expected)
    for ours, theirs in zip(model.state_dict().values(), undisturbed.state_dict().values()):
        assert torch.equal(ours, theirs)
    save_run(model, data, recipe, history)
    assert files_in(recipe.run_dir) == ["misclassified.npz", "model.pt", "record.json"]


def test_a_run_that_finished_but_was_not_saved_is_not_trained_again(tmp_path, monkeypatch, data):
    recipe = make_recipe(tmp_path)
    trained, history = fit(data, recipe)
    with monkeypatch.context() as patch:
        patch.setattr("coursepack.train.loop.train_epoch", lambda *_: pytest.fail("trained again"))
        model, again = fit(data, recipe)
    assert again == history
    assert torch.equal(loop.predict(model, data), loop.predict(trained, data))
    save_run(model, data, recipe, history)
    assert without_seconds(fit(data, recipe)[1]) == without_seconds(history)  # from the start


def changed(tensor):
    tensor = tensor.clone()
    tensor.view(-1)[-1] += 1
    return tensor


def test_one_other_choice_pixel_label_or_version_makes_another_run(tmp_path, monkeypatch, data):
    def identity(data=data, **changes):
        return checkpoints.identity(make_recipe(tmp_path, **changes), data)

    before = identity()
    assert identity(run_name="other", runs_dir=str(tmp_path / "other")) == before
    for changes in ({"seed": 2}, {"lr": 0.2}, {"epochs": 3}, {"l1": 1e-5}):
        assert identity(**changes) != before
    for part in ("train_images", "train_labels", "test_images", "mean"):
        assert identity(data._replace(**{part: changed(getattr(data, part))})) != before
    monkeypatch.setattr("torch.__version__", "1.0")
    assert identity() != before


def test_one_other_line_of_code_makes_another_run(tmp_path, monkeypatch):
    """Of every file that decides a run's numbers: the way of a recipe from its data to its end."""
    rooms = [f"coursepack/{wing}/{path.name}" for wing in ("data", "train")
             for path in (ROOT / "coursepack" / wing).glob("[a-z]*.py")
             if path.name != "checkpoints.py"]  # it keeps numbers, and makes none
    assert {*checkpoints.CODE} == {"model.py", "coursepack/files.py", "coursepack/threads.py",
                                   *rooms}
    for name in checkpoints.CODE:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    before = checkpoints.code_checksum.__wrapped__()
    for name in checkpoints.CODE:
        with open(tmp_path / name, "ab") as file:
            file.write(b"# changed\n")
        assert before != (before := checkpoints.code_checksum.__wrapped__())


def test_a_run_with_other_images_begins_anew_and_the_unfinished_one_stays(
        unfinished, data, capsys):
    recipe, file = unfinished
    kept = file.read_bytes()
    capsys.readouterr()
    fit(data._replace(train_images=data.train_images.flip(-1)), recipe)
    said = capsys.readouterr()
    assert "continuing" not in said.out
    assert file.name in said.err
    assert file.read_bytes() == kept


def test_a_run_goes_on_with_the_threads_that_it_began_with(unfinished, data, capsys, monkeypatch):
    recipe, _ = unfinished
    began = torch.get_num_threads()
    monkeypatch.setattr("coursepack.threads.THREADS", began + 1)  # as on another machine
    try:
        _, history = fit(data, recipe)
        assert [row["threads"] for row in history] == [began] * 3
        assert f"{began} thread" in capsys.readouterr().out
        fit(data, make_recipe(recipe.run_dir.parent, seed=5))
        assert torch.get_num_threads() == threads.THREADS == began + 1
    finally:
        torch.set_num_threads(began)


def test_another_process_is_refused_until_the_run_is_saved(tmp_path, data):
    """Another lock of that file stands for it: that it holds for processes, test_survival tries."""
    recipe = make_recipe(tmp_path)
    fit(data, recipe)  # trained, and not yet saved
    other = filelock.FileLock(recipe.run_dir / ".lock")
    with pytest.raises(filelock.Timeout):
        other.acquire(timeout=0)
    set_free(recipe)
    with (other.acquire(timeout=0),
          pytest.raises(PermissionError, match="'run' is being trained by another process")):
        fit(data, recipe)
