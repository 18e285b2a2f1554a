"""Unfinished runs: going on with the same one only, broken files, one process at a time."""

import sys

import pytest
import torch
from helpers import files_in, first, fit, make_recipe, run, says, without_seconds

from coursepack import threads
from coursepack.files import ROOT
from coursepack.train import checkpoints, loop


@pytest.fixture
def data(few):
    return first(few, 100, 50)


@pytest.fixture
def unfinished(tmp_path, data):
    """A run of two epochs that has a checkpoint after the first one: recipe and file."""
    recipe = make_recipe(tmp_path, epochs=2)
    file = checkpoints.checkpoint_file(recipe, checkpoints.identity(recipe, data))
    with pytest.MonkeyPatch.context() as patch:
        def interrupted(*args):
            raise KeyboardInterrupt

        patch.setattr("coursepack.train.loop.report_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(data, recipe)
    assert file.is_file()
    return recipe, file


@pytest.mark.parametrize("changes", [{"seed": 2}, {"lr": 0.2}, {"epochs": 3}, {"l1": 1e-5}])
def test_another_recipe_is_another_run(tmp_path, data, changes):
    one, other = make_recipe(tmp_path), make_recipe(tmp_path, **changes)
    assert checkpoints.identity(one, data) == checkpoints.identity(make_recipe(tmp_path), data)
    assert checkpoints.identity(one, data) != checkpoints.identity(other, data)


@pytest.mark.parametrize("part", ["train_images", "train_labels", "test_images", "mean"])
def test_one_other_pixel_label_or_mean_makes_another_run(tmp_path, data, part):
    changed = getattr(data, part).clone()
    changed.view(-1)[-1] += 1
    recipe = make_recipe(tmp_path)
    before, after = (checkpoints.identity(recipe, d)
                     for d in (data, data._replace(**{part: changed})))
    assert before != after


@pytest.mark.parametrize("file", checkpoints.CODE)
def test_one_other_line_of_code_or_version_makes_another_run(tmp_path, monkeypatch, data, file):
    recipe = make_recipe(tmp_path)
    before = checkpoints.identity(recipe, data)
    for name in checkpoints.CODE:
        copy = tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes() + b"# changed\n" * (name == file))
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    checkpoints.code_checksum.cache_clear()
    assert checkpoints.identity(recipe, data)["code"] != before["code"]
    monkeypatch.undo()
    checkpoints.code_checksum.cache_clear()
    assert checkpoints.identity(recipe, data) == before
    monkeypatch.setattr("torch.__version__", "1.0")
    assert checkpoints.identity(recipe, data) != before


def test_run_with_other_images_begins_anew_and_the_unfinished_one_stays(unfinished, data, capsys):
    recipe, file = unfinished
    other = data._replace(train_images=data.train_images.flip(-1))
    kept = file.read_bytes()
    fit(other, recipe)
    said = capsys.readouterr()
    assert "continuing" not in said.out
    assert file.name in said.err
    assert file.read_bytes() == kept


def break_file(file, kind):
    state = torch.load(file, weights_only=True)
    if kind == "truncated":
        file.write_bytes(file.read_bytes()[:-200])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "text":
        file.write_text("no checkpoint", encoding="utf-8")
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "hostile":
        torch.save({"run": sys.exit}, file)
    elif kind == "keys missing":
        torch.save({"run": state["run"]}, file)
    elif kind == "no dictionary":
        torch.save([1, 2], file)
    elif kind == "other weights":
        torch.save(state | {"model": {"weight": torch.zeros(3)}}, file)
    elif kind == "too many epochs":
        torch.save(state | {"history": state["history"] * 5}, file)
    elif kind == "renamed from another run":
        state["run"]["parameters"]["lr"] = 0.3
        torch.save(state, file)


@pytest.mark.parametrize("kind", [
    "truncated", "empty", "text", "folder", "hostile", "keys missing", "no dictionary",
    "other weights", "too many epochs", "renamed from another run",
])
def test_broken_checkpoint_is_named_and_kept(unfinished, data, kind):
    recipe, file = unfinished
    break_file(file, kind)
    with pytest.raises(ValueError, match=says(file, "Remove it")) as refusal:
        fit(data, recipe)
    assert "\n" not in str(refusal.value)
    assert file.exists()
    file.rmdir() if file.is_dir() else file.unlink()
    assert len(fit(data, recipe)[1]) == 2


def test_run_goes_on_with_the_threads_that_it_began_with(unfinished, data, capsys, monkeypatch):
    recipe, _ = unfinished
    began = torch.get_num_threads()
    monkeypatch.setattr("coursepack.threads.THREADS", began + 1)  # as on another machine
    try:
        _, history = fit(data, recipe)
        assert [row["threads"] for row in history] == [began] * 2
        assert f"{began} thread" in capsys.readouterr().out
        fit(data, make_recipe(recipe.run_dir.parent, seed=5))
        assert torch.get_num_threads() == threads.THREADS == began + 1
    finally:
        torch.set_num_threads(began)


SECOND = """
import sys
sys.path[:0] = sys.argv[1:3]
from helpers import make_recipe
from coursepack.train import checkpoints
from pathlib import Path
recipe = make_recipe(Path(sys.argv[3]))
checkpoints.hold(recipe)
checkpoints.release(recipe)
print("held")
"""


@pytest.mark.slow
def test_second_process_is_refused_while_the_first_one_trains(tmp_path, data):
    command = [sys.executable, "-c", SECOND, ROOT, ROOT / "tests", tmp_path]
    recipe = make_recipe(tmp_path)
    fit(data, recipe)  # trained, and not yet saved
    refused = run(command)
    assert refused.returncode == 1
    assert "'run' is being trained by another process" in refused.stderr.splitlines()[-1]
    checkpoints.release(recipe)
    assert run(command).stdout == "held\n"


def test_interrupted_run_may_be_trained_by_another_process(unfinished):
    recipe, _ = unfinished
    assert recipe.run_dir not in checkpoints.LOCKS


def test_same_process_trains_again_and_again(tmp_path, data):
    recipe = make_recipe(tmp_path)
    first_time, again = (without_seconds(fit(data, recipe)[1]) for _ in range(2))
    assert first_time == again
    assert files_in(recipe.run_dir)[0].startswith("unfinished-")
    loop.checkpoints.release(recipe)
