"""The benchmark: both loops do the same mathematics, and each part measures its own."""

import argparse
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

from coursepack.data.datasets import load_dataset
from coursepack.files import ROOT
from coursepack.show.looks import LOOKS
from coursepack.train import batches, loop
from coursepack.train.recipe import Recipe
from model import Net, count


@pytest.mark.parametrize("norm", bench.defaults())
def test_student_loop_and_the_same_recipe_take_the_same_step(tmp_path, norm):
    """One batch of all images, so that their order does not count; neither moved nor dropped."""
    choices = bench.defaults()[norm] | bench.STUDENT | {"augment": "none", "dropout": 0.0}
    data = load_dataset("mnist_sample").head(60)
    choices |= {"l1": 1e-3, "l2": 1e-2, "batch_size": 60}
    recipe = Recipe(**choices, device="cpu", runs_dir=str(tmp_path))
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
    net = student_loop.Net("mnist_7k", dropout=0.1)
    student_loop.with_torch_dropout(net)
    assert sum(type(module) is torch.nn.Dropout for module in net.modules()) == 5
    assert not any(isinstance(module, student_loop.Dropout) for module in net.modules())
    recipe = Recipe(**bench.defaults()["group"] | bench.QUICK)
    assert count(Net(**recipe.network())).parameters < 8_000


def test_profile_finds_every_section_of_the_loop(tmp_path):
    """Zero seconds would mean that the loop no longer calls what is timed there."""
    data = bench.cut(load_dataset("mnist_sample"), 100)
    recipe = Recipe(**bench.defaults()["group"], epochs=1, device="cpu", runs_dir=str(tmp_path))
    result = bench.run_profile(data, recipe)
    assert all(seconds > 0 for seconds in result["sections"].values())
    assert sum(result["sections"].values()) < result["seconds"]
    assert all(share > 0 for share in result["operations"].values())
    assert sum(result["operations"].values()) < 1


def test_parts_that_compare_measure_what_their_report_shows(monkeypatch):
    seconds = itertools.count(1)

    def measured(job, data, recipe):
        shares = dict.fromkeys(bench.OPERATIONS, 0.1)
        return {"seconds": next(seconds), "operations": shares,
                "sections": {"training_batches": 0.1, "evaluate": 0.2, "replace_file": 0.3}}

    monkeypatch.setattr(bench, "measure", measured)
    data = bench.cut(load_dataset("mnist_sample"), 48)
    args = argparse.Namespace(images=48, repetitions=3, data=data)
    for part in ("profile", "growth", "busy"):
        measured_part = {part: getattr(bench, part)(args), "turns": {part: 3}}
        text = bench_report.PARTS[part](measured_part)
        assert all(f"\n| {LOOKS[norm].short} |" in text for norm in bench.defaults())
    assert next(seconds) - 1 == (2 + 5 + 2) * 3 * len(bench.defaults())


@pytest.mark.slow
def test_benchmark_of_a_few_images_of_the_sample(tmp_path, monkeypatch, capsys, no_data):
    """The first measurement of each loop in a process of its own, the others in this one."""
    finish, done = bench.finish, []

    def finish_here(command, **settings):
        done.append(command)
        if [other[1] for other in done].count(command[1]) == 1:
            return finish(command, **settings)
        with (monkeypatch.context() as patch,
              contextlib.redirect_stdout(io.StringIO()) as output):
            patch.setattr(sys, "argv", [str(part) for part in command[1:]])
            runpy.run_path(sys.argv[0], run_name="__main__")
        return output.getvalue()

    monkeypatch.setattr(bench, "finish", finish_here)
    group = {"group": bench.defaults()["group"]}
    monkeypatch.setattr(bench, "defaults", lambda: group)
    monkeypatch.setattr(sys, "argv", [
        "bench.py", "--parts", "speed", "goal", "--dataset", "mnist_sample", "--images", "60",
        "--repetitions", "1", "--epochs", "1", "--seeds", "1", "--publish", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="not published"):
        bench.main()
    output = capsys.readouterr().out
    results = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert results["run"] == {"data": "mnist_sample", "source": "sample", "images": 60}
    assert results["turns"] == {"speed": 1, "goal": 1}
    assert {name: len(turns) for name, turns in results["speed"]["group"].items()} == dict.fromkeys(
        bench_report.CONTENDERS, 1)
    assert [len(runs) for runs in results["goal"].values()] == [1, 1]
    assert bench_report.report(results) in output
    for part in ("speed", "goal"):
        assert (tmp_path / f"{part}.png").stat().st_size > 10_000


@pytest.mark.slow
def test_process_of_a_measurement_imports_only_what_it_needs():
    code = f"import sys; sys.path[:0] = [{str(ROOT / 'upkeep')!r}]; import bench; "
    modules = bench.finish([sys.executable, "-c", code + "print(*sys.modules)"]).split()
    assert "torch" in modules
    assert not {"bench_report", "matplotlib", "pandas", "papermill", "scipy", "seaborn",
                "torchvision"} & set(modules)


def test_threads_spin_alike_wherever_it_is_set():
    places = ["upkeep/bench.py", "conftest.py", "notebooks/*.ipynb"]
    counts = {path.name: re.findall(r"GOMP_SPINCOUNT\W+(\d+)", path.read_text(encoding="utf-8"))
              for place in places for path in ROOT.glob(place)}
    assert len(counts) > 6
    assert counts == dict.fromkeys(counts, counts["bench.py"])
    assert len(counts["bench.py"]) == 1
