"""The benchmark: that both loops do the same mathematics, and that each part measures its own."""

import argparse
import contextlib
import io
import itertools
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import bench
import bench_report
import pytest
import student_loop
import torch
from torch.utils.data import DataLoader, TensorDataset

from coursepack.data.datasets import load_dataset
from coursepack.show.looks import LOOKS
from coursepack.train import batches, loop
from coursepack.train.recipe import Recipe
from model import Net, count

ROOT = Path(__file__).resolve().parent.parent
TRIAL = ("--dataset", "mnist_sample", "--images", "300", "--repetitions", "1", "--epochs", "1",
         "--seeds", "1", "--publish")
TRIED = {"data": "mnist_sample", "source": "sample", "images": 300}


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


def test_student_loop_has_torchs_dropout():
    net = student_loop.Net("mnist_7k", dropout=0.1)
    student_loop.with_torch_dropout(net)
    kinds = [type(m) for m in net.modules() if isinstance(m, torch.nn.Dropout)]
    assert kinds == [torch.nn.Dropout] * 5


def test_preset_has_fewer_than_8000_parameters():
    recipe = Recipe(**bench.defaults()["group"] | bench.QUICK)
    assert count(Net(**recipe.network())).parameters < 8_000


def test_profile_finds_every_section_of_the_loop(tmp_path):
    """Zero seconds would mean that the loop no longer calls what is timed there."""
    data = bench.cut(load_dataset("mnist_sample"), 300)
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


def finish_here(command, **settings):
    """bench.finish() in this process, which has imported everything: it saves seconds a command."""
    with (pytest.MonkeyPatch.context() as patch,
          contextlib.redirect_stdout(io.StringIO()) as output):
        patch.setattr(sys, "argv", [str(part) for part in command[1:]])
        runpy.run_path(sys.argv[0], run_name="__main__")
    return output.getvalue()


@pytest.mark.slow
def test_benchmark_of_a_few_images_of_the_sample(tmp_path, monkeypatch, capsys, no_data):
    monkeypatch.setattr(bench, "finish", finish_here)
    command = ["bench.py", "--parts", "speed", *TRIAL, "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="not published"):
        bench.main()
    output = capsys.readouterr().out
    results = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert results["run"] == TRIED
    assert results["turns"] == {"speed": 1}
    for norm in bench.defaults():
        assert all(len(results["speed"][norm][name]) == 1 for name in bench_report.CONTENDERS)
        assert f"| {LOOKS[norm].short} |" in output
    assert bench_report.report(results) in output
    assert (tmp_path / "speed.png").stat().st_size > 10_000


@pytest.mark.slow
def test_benchmark_as_a_command_with_processes_of_its_own(tmp_path, no_data):
    command = [sys.executable, bench.__file__, "--parts", "goal", *TRIAL, "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert "not published" in done.stderr
    results = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert results["run"] == TRIED
    assert [len(runs) for runs in results["goal"].values()] == [1, 1]
    assert bench_report.report(results) in done.stdout
    assert (tmp_path / "goal.png").stat().st_size > 10_000


@pytest.mark.slow
def test_process_of_a_measurement_imports_only_what_it_needs():
    code = "import sys, bench; print(*sys.modules)"
    path = os.pathsep.join(map(str, (ROOT / "tools", ROOT)))
    modules = bench.finish([sys.executable, "-c", code], PYTHONPATH=path).split()
    assert "torch" in modules
    assert not {"bench_report", "matplotlib", "pandas", "papermill", "scipy", "seaborn",
                "torchvision"} & set(modules)


def test_threads_spin_alike_wherever_it_is_set():
    files = [ROOT / "tools" / "bench.py", ROOT / "conftest.py",
             *(ROOT / "notebooks").glob("*.ipynb")]
    counts = [re.findall(r"GOMP_SPINCOUNT\W+(\d+)", file.read_text(encoding="utf-8"))
              for file in files]
    assert len(files) > 6
    assert len(counts[0]) == 1
    assert counts == [counts[0]] * len(files)
