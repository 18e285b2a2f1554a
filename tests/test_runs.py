"""Notebooks run by papermill and nbval: what stops them, and what a kill leaves."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import study
from helpers import SMALL, fit, outputs, papermill_command, run, without_seconds

from coursepack.data.datasets import load_dataset
from coursepack.files import ROOT
from coursepack.train.recipe import Recipe

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_data")]
FIRST = "00_normalization_by_hand.ipynb"


def bare(name, folder):
    """A copy of a notebook as a study runs it: with its training, and nothing beside it."""
    copy = folder / name
    copy.write_text(json.dumps(study.without_lessons(json.loads(
        (ROOT / "notebooks" / name).read_text(encoding="utf-8")))), encoding="utf-8")
    return copy


def test_one_changed_digit_in_a_saved_output_is_noticed(folder):
    golden = ROOT / "tests" / "golden" / FIRST
    assert golden.read_text(encoding="utf-8").count("mean 4.8125") == 1
    changed = folder / golden.name
    changed.write_bytes(golden.read_bytes().replace(b"mean 4.8125", b"mean 4.8126"))
    done = run([sys.executable, "-m", "pytest", "-q", "--nbval", changed])
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert f"{golden.name}::Cell 13" in failed[0]


def test_summary_without_records_says_which_command_makes_them(folder):
    command = papermill_command("04_summary.ipynb", folder / "out.ipynb", runs_dir=folder,
                                images_dir=folder)
    done = run(command)
    assert done.returncode != 0
    assert "papermill notebooks/01_batch_norm_l1_l2.ipynb" in done.stderr


@pytest.mark.parametrize(("name", "value", "said"), [
    ("epoch", 5, "Did you mean 'epochs'"), ("norm", "btach", "Did you mean 'batch'")])
def test_wrong_parameter_stops_before_training(folder, name, value, said):
    done = run(papermill_command("01_batch_norm_l1_l2.ipynb", folder / "out.ipynb",
                                 runs_dir=folder, **{name: value}))
    assert done.returncode != 0
    assert said in done.stderr
    assert not list(folder.glob("*/*"))


def test_killed_kernel_continues(folder):
    """SIGKILL in mid-training; the same command goes on and ends like an undisturbed run."""
    command = papermill_command(bare("02_group_norm_l1.ipynb", folder),
                                folder / "out.ipynb", runs_dir=folder / "killed",
                                dataset="mnist_sample",
                                **{**SMALL, "epochs": 5, "train_size": 1000})
    process = subprocess.Popen([str(part) for part in command], cwd=ROOT,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run_dir = folder / "killed" / "gn_l1"
    while process.poll() is None and not list(run_dir.glob("unfinished-*.pt")):
        time.sleep(0.02)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    assert process.wait() != 0
    assert not (run_dir / "record.json").exists()

    done = run(command)
    assert done.returncode == 0, done.stderr[-3000:]
    printed = "".join(out.get("text", "") for out in outputs(folder / "out.ipynb"))
    assert "continuing after epoch" in printed
    parameters = json.loads((run_dir / "record.json").read_text(encoding="utf-8"))["parameters"]
    recipe = Recipe(**parameters | {"runs_dir": str(folder / "undisturbed")})
    data = load_dataset(recipe.dataset, train_size=recipe.train_size)
    _, undisturbed = fit(data, recipe)
    finished = json.loads((run_dir / "record.json").read_text(encoding="utf-8"))["epochs"]
    assert without_seconds(finished) == without_seconds(undisturbed)


def test_cifar_parameters(folder):
    """The network and parameters of CIFAR-10, on a small file in its layout, from notebooks/."""
    rng = np.random.default_rng(0)
    data = {f"{x}_{split}": rng.integers(0, high, (40, 32, 32, 3)[: 4 if x == "x" else 1]).astype(
        np.uint8) for split in ("train", "test") for x, high in (("x", 256), ("y", 10))}
    np.savez(Path(os.environ["DATA_DIR"]) / "cifar10.npz", **data)
    command = papermill_command(bare("03_layer_norm_l2.ipynb", folder),
                                folder / "out.ipynb", epochs=1, runs_dir=folder)
    preset = ROOT / "notebooks" / "params" / "cifar10.yaml"
    done = run([*command, "-f", preset], cwd=ROOT / "notebooks")
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((folder / "ln_l2" / "record.json").read_text(encoding="utf-8"))
    assert record["parameter_count"] == 34_872
