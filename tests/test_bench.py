"""The benchmark: that both loops do the same mathematics, and that its report says what was run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import bench
import pytest
import student_loop
import torch
from torch.data import DataLoader, TensorDataset

from coursepack import batches, training
from coursepack.compare import LOOKS
from coursepack.data import load_dataset
from coursepack.recipe import Recipe
from model import Net, count

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("norm", bench.DEFAULTS)
def test_student_loop_and_the_same_recipe_take_the_same_step(tmp_path, norm):
    """One batch of all images, so that their order does not count; neither moved nor dropped."""
    choices = bench.DEFAULTS[norm] | bench.STUDENT | {"augment": "none", "dropout": 0.0}
    data = load_dataset("mnist_sample").head(60)
    choices |= {"l1": 1e-3, "l2": 1e-2, "batch_size": 60}
    recipe = Recipe(**choices, device="cpu", runs_dir=str(tmp_path))
    ours, theirs = (training.build_model(recipe, data).double() for _ in range(2))
    row = training.train_epoch(ours, data, recipe, training.make_optimizer(ours, recipe), epoch=1)
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


@pytest.mark.parametrize(("accuracies", "seconds", "stays"), [
    ([0.99, 0.994, 0.9929, 0.993, 0.995], 8, True),  # not the first crossing: it fell below again
    ([0.993, 0.994], 2, True),
    ([0.99, 0.994, 0.992], 6, False),
])
def test_goal_counts_from_the_epoch_from_which_the_accuracy_stays(accuracies, seconds, stays):
    rows = [{"test_accuracy": a, "train_seconds": 1.5, "test_seconds": 0.5} for a in accuracies]
    assert bench.time_to_goal({"epochs": rows}) == (seconds, stays)


def test_preset_has_fewer_than_8000_parameters():
    recipe = Recipe(**bench.DEFAULTS["group"] | bench.QUICK)
    assert count(Net(**recipe.network())).parameters < 8_000


def test_benchmark_of_a_few_images_of_the_sample(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {"DATA_DIR": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, bench.__file__, "--parts", "speed", "goal", "--images", "300",
               "--repetitions", "1", "--epochs", "1", "--seeds", "1", "--out", tmp_path]
    done = subprocess.run([*map(str, command), "--publish"], env=environment, capture_output=True,
                          text=True)
    assert "not published" in done.stderr
    results = json.loads((tmp_path / "bench.json").read_text())
    assert results["run"] == {"data": "mnist", "source": "sample", "images": 300, "repetitions": 1}
    for norm in bench.DEFAULTS:
        assert all(len(results["speed"][norm][name]) == 1 for name in bench.CONTENDERS)
        assert f"| {LOOKS[norm].short} |" in done.stdout
    assert [len(runs) for runs in results["goal"].values()] == [1, 1]
    assert bench.report(results) in done.stdout
    assert (tmp_path / "speed.png").stat().st_size > 10_000
    assert (tmp_path / "goal.png").stat().st_size > 10_000


def test_threads_spin_alike_wherever_it_is_set():
    files = [ROOT / "Makefile", ROOT / "tools" / "bench.py", *(ROOT / "notebooks").glob("*.ipynb")]
    counts = [re.findall(r"GOMP_SPINCOUNT\W+(\d+)", file.read_text()) for file in files]
    assert len(files) == 7
    assert len(counts[0]) == 1
    assert counts == [counts[0]] * 7
