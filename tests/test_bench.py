"""The benchmark: both loops do the same mathematics, each part measures its own and is reported."""

import contextlib
import io
import itertools
import json
import re
import runpy
import sys

import bench
import bench_report
import pytest
import student_loop
import torch
from torch.utils.data import DataLoader, TensorDataset

from coursepack import files
from coursepack.data.datasets import load_dataset
from coursepack.files import ROOT
from coursepack.train import batches, loop
from coursepack.train.recipe import Recipe
from model import Net, count

KEPT = json.loads((ROOT / "results" / "bench.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("norm", bench.defaults())
def test_student_loop_and_the_same_recipe_take_the_same_step(tmp_path, norm):
    """One batch of all images, so that their order does not count; neither moved nor dropped."""
    data = load_dataset("mnist_sample").head(60)
    recipe = Recipe(**bench.defaults()[norm] | bench.STUDENT | {
        "augment": "none", "dropout": 0.0, "l1": 1e-3, "l2": 1e-2, "batch_size": 60,
        "device": "cpu", "runs_dir": str(tmp_path)})
    ours, theirs = (loop.build_model(recipe, data).double() for _ in range(2))
    row = loop.train_epoch(ours, data, recipe, loop.make_optimizer(ours, recipe), epoch=1)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=recipe.lr, weight_decay=recipe.l2,
                                momentum=recipe.momentum, nesterov=True)
    inputs = batches.to_input(data.train_images, data, torch.float64)
    loader = DataLoader(TensorDataset(inputs, data.train_labels), batch_size=60)
    assert student_loop.train(theirs, loader, optimizer, recipe.l1) == row["accuracy"]
    for one, other in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    loss, accuracy = student_loop.test(theirs, loader)
    assert 0 <= accuracy <= 1 < loss


def test_student_loop_has_torchs_dropout_and_the_preset_fewer_than_8000_parameters():
    kinds = [type(module) for module in student_loop.build({"dropout": 0.1}).modules()
             if isinstance(module, torch.nn.Dropout)]
    assert kinds == [torch.nn.Dropout] * 5
    recipe = Recipe(**bench.defaults()["group"] | bench.QUICK)
    assert count(Net(**recipe.network())).parameters < 8_000


def test_profile_finds_every_section_of_the_loop(tmp_path):
    """Zero seconds would mean that the loop no longer calls what is timed there."""
    data = bench.cut(load_dataset("mnist_sample"), 100)
    recipe = Recipe(**bench.defaults()["group"], epochs=1, device="cpu", runs_dir=str(tmp_path))
    result = bench.run_profile(data, recipe)
    for parts, whole in ((result["sections"], result["seconds"]), (result["operations"], 1)):
        assert all(part > 0 for part in parts.values())
        assert sum(parts.values()) < whole


def test_parts_that_compare_measure_what_their_report_shows(monkeypatch):
    """The n-th measurement takes n seconds: a turn is one of each case, the norms in order."""
    seconds = itertools.count(1)
    kept = {name: KEPT["profile"]["batch"][name] for name in ("sections", "operations")}
    monkeypatch.setattr(bench, "measure", lambda *case: kept | {"seconds": next(seconds)})
    data = bench.cut(load_dataset("mnist_sample"), 48)
    scale = bench.Namespace(images=48, turns=3)
    compared = ("speed", "profile", "growth", "busy")
    found = {part: bench.PARTS[part](data, scale) for part in compared}
    assert next(seconds) - 1 == (4 + 2 + 5 + 2) * 3 * len(bench.defaults())
    assert found["speed"]["group"] == {"student": [5, 17, 29], "same": [6, 18, 30],
                                       "default": [7, 19, 31], "limit": [8, 20, 32]}
    assert found["profile"]["batch"] == kept | {"limit": 36 + 7, "seconds": 36 + 8}
    assert [(case["images"], case["batch_size"]) for case in found["growth"][:5]] == [
        (4, 128), (12, 128), (48, 128), (12, 32), (12, 512)]
    for part, measured in found.items():
        _, heads, rows = bench_report.PARTS[part](measured, 48)
        assert [row[0] for row in rows] == ["BN", "GN", "LN"]
        assert {len(row) for row in rows} == {len(heads)}


@pytest.mark.slow
def test_trial_of_the_benchmark(tmp_path, monkeypatch, capsys, no_data):
    """The first measurement of each loop in a process of its own, the others in this one."""
    finish, done = bench.finish, []

    def finish_here(command, **settings):
        done.append(command[1])
        if done.count(command[1]) == 1:
            return finish(command, **settings)
        with (monkeypatch.context() as patch,
              contextlib.redirect_stdout(io.StringIO()) as output):
            patch.setattr(sys, "argv", [str(part) for part in command[1:]])
            runpy.run_path(sys.argv[0], run_name="__main__")
        return output.getvalue()

    group = {"group": bench.defaults()["group"]}
    monkeypatch.setattr(bench, "finish", finish_here)
    monkeypatch.setattr(bench, "defaults", lambda: group)
    monkeypatch.setattr(sys, "argv", ["bench.py", "--parts", "speed", "goal", "--trial",
                                      "--publish", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="not published: this is the sample"):
        bench.main()
    results = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert results["run"] == {"data": "mnist_sample", "source": "sample", "images": 60}
    assert results["turns"] == {"speed": 1, "goal": 1}
    assert {name: len(turns) for name, turns in results["speed"]["group"].items()} == dict.fromkeys(
        bench_report.CONTENDERS, 1)
    assert [len(runs) for runs in results["goal"].values()] == [1, 1]
    assert bench_report.report(results) in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["goal.png", "speed.png"]
    monkeypatch.setattr(sys, "argv", ["bench.py", "--parts", "--trial", "--out", str(tmp_path)])
    bench.main()  # nothing new: what was measured before is reported again
    assert bench_report.report(results) in capsys.readouterr().out


def test_threads_spin_alike_wherever_it_is_set():
    places = ["upkeep/bench.py", "conftest.py", "notebooks/*.ipynb"]
    counts = {path.name: re.findall(r"GOMP_SPINCOUNT\W+(\d+)", path.read_text(encoding="utf-8"))
              for place in places for path in ROOT.glob(place)}
    assert len(counts) > 6
    assert counts == dict.fromkeys(counts, counts["bench.py"])
    assert len(counts["bench.py"]) == 1


# ----------------------------------------------------------------------------------- its report
@pytest.mark.parametrize(("accuracies", "seconds", "stays"), [
    ([0.99, 0.994, 0.9929, 0.993, 0.995], 8, True),  # not the first crossing: it fell below again
    ([0.993, 0.994], 2, True),
    ([0.99, 0.994, 0.992], 6, False),
])
def test_goal_counts_from_the_epoch_from_which_the_accuracy_stays(accuracies, seconds, stays):
    rows = [{"test_accuracy": a, "train_seconds": 1.5, "test_seconds": 0.5} for a in accuracies]
    assert bench_report.time_to_goal({"epochs": rows}) == (seconds, stays)


def test_what_is_published_from_the_kept_numbers_is_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROOT", tmp_path)
    for name in ("results", "images"):
        (tmp_path / name).mkdir()
    only = {name: KEPT[name] for name in ("machine", "run", "turns")}
    with pytest.raises(SystemExit, match="not published: no part was measured"):
        bench_report.publish(only)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    bench_report.publish(KEPT)
    for name in ("bench.json", "bench.md"):
        kept = (ROOT / "results" / name).read_bytes()
        assert (tmp_path / "results" / name).read_bytes() == kept
    assert sorted(path.name for path in tmp_path.glob("images/*")) == ["goal.png", "speed.png"]
    page = bench_report.report(KEPT)
    for part in bench_report.PARTS:  # each is reported without the others, too
        assert bench_report.report(only | {part: KEPT[part]}).split("\n\n", 2)[2] in page
