"""The files of laboratory studies, and the engine that runs them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import laboratory as tool
import psutil
import pytest
import yaml
from helpers import says

from coursepack.files import ROOT
from coursepack.lab import effects, rows

LABORATORY = tool.study_names()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a study with some keys changed (None: left out)."""
    whole = yaml.safe_load((tool.STUDIES / "trial_lab.yaml").read_text(encoding="utf-8"))
    monkeypatch.setattr(tool, "STUDIES", tmp_path)

    def write(**changes):
        keys = {k: v for k, v in (whole | changes).items() if v is not None}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(keys, sort_keys=False), encoding="utf-8")
    return write


@pytest.mark.parametrize("name", LABORATORY)
def test_the_studies_that_are_here_are_whole(name):
    saying, recipes = tool.read_study(name)
    assert len(recipes) > 1
    if name in published():
        assert saying["minutes"] > 0
        head, table = rows.read_table(tool.table_file(name))
        planned, there = ({rows.key_of(row, saying["factors"]) for row in some}
                          for some in (map(vars, recipes), table.to_dict("records")))
        assert there <= planned
        assert head["runs"] == len(recipes)
        common = {k: v for k, v in vars(recipes[0]).items() if k in head["common"]}
        assert head["common"] == common


def published():
    return [path.stem for path in (ROOT / rows.TABLES).glob("*.csv")]


def best_of(study, factor, by):
    """The level of a factor with the highest mean accuracy on held-out images."""
    points = effects.by_point(rows.load_table(study), "test_accuracy", [*by, factor])
    return points.loc[points.groupby(by)["mean"].idxmax()].set_index(by)[factor]


@pytest.mark.parametrize(("name", "source"), [
    ("l1", "rates"), ("penalties_tuning", "rates"), ("penalties", "rates"), ("noise", "rates"),
    ("crossed", "rates_norm_first"), ("l2", "l2_tuning"), ("l2_rate", "l2_tuning")])
def test_each_norm_has_the_rate_that_a_study_found(name, source):
    best, (_, recipes) = best_of(source, "lr", ["norm"]), tool.read_study(name)
    for norm, lr in {(recipe.norm, recipe.lr) for recipe in recipes}:
        assert best[norm] == lr


@pytest.mark.parametrize("name", ["penalties", "noise"])
@pytest.mark.parametrize("way", ["l1", "l2", "dropout", "augment"])
def test_each_penalty_has_the_strength_that_its_tuning_found(name, way):
    table = rows.load_table("penalties_tuning")
    off = {"l1": 0.0, "l2": 0.0, "dropout": 0.0, "augment": "none"}
    without = (table[[*off]] == [*off.values()]).drop(columns=way).all(axis=1)
    alone = table[without & (table[way] != off[way])]
    points = effects.by_point(alone, "test_accuracy", ["norm", "train_size", way])
    best = points.loc[points.groupby(["norm", "train_size"])["mean"].idxmax()]
    best = best.set_index(["norm", "train_size"])[way]
    study, recipes = tool.read_study(name)
    assert not {*study["seeds"]} & {*table["seed"]}
    chosen = {(r.norm, r.train_size, getattr(r, way)) for r in recipes
              if getattr(r, way) != off[way]}
    assert len(chosen) == len({choice[:2] for choice in chosen}) > 0
    for norm, images, level in chosen:
        assert best[norm, images] == level


def test_every_table_has_its_study():
    assert set(published()) <= set(LABORATORY)


@pytest.mark.parametrize(("changes", "words"), [
    ({"gird": {}}, ["key of study mine='gird'", "grid"]),
    ({"expected": None}, ["needs expected"]),
    ({"analysis": ""}, ["analysis", "which test"]),
    ({"seeds": [1, 1]}, ["seeds", "1 is there twice"]),
    ({"seeds": ["one"]}, ["seeds", "'one'"]),
    ({"measure": ["sparsty"]}, ["measure", "Did you mean 'sparsity'"]),
    ({"grid": {"norm": "batch"}}, ["grid", "norm", "list"]),
    ({"grid": {"nrom": ["batch"]}}, ["nrom", "Did you mean 'norm'"]),
    ({"grid": {"norm": ["batch", "batch"]}}, ["norm", "there twice"]),
    ({"grid": {"norm": ["batch"], "other": [{"norm": "group"}]}}, ["norm", "norm and in other"]),
    ({"grid": {"epochs": [1, 2]}}, ["epochs", "in grid and in common"]),
    ({"grid": {"norm": ["bach"]}}, ["bach", "Did you mean 'batch'"]),
    ({"grid": {"seed": [1, 2]}}, ["seed"]),
    ({"common": {"epochs": 0}}, ["epochs=0"]),
    ({"common": {"momentum": "high"}}, ["momentum='high'", "a number"]),
])
def test_a_file_with_a_mistake_is_refused_by_name(own, changes, words):
    own(**changes)
    with pytest.raises(ValueError, match=says(*words)):
        tool.read_study("mine")


def test_points_are_the_grid_with_what_goes_together(own):
    own(grid={"norm": ["batch", "group"], "rate": [{"lr": 0.1, "batch_size": 8},
                                                   {"lr": 0.2, "batch_size": 16}]}, seeds=[1, 2])
    saying, recipes = tool.read_study("mine")
    assert saying["factors"] == ["norm", "lr", "batch_size"]
    assert [(r.norm, r.lr, r.batch_size, r.seed, r.subset_seed) for r in recipes] == [
        (norm, lr, batch, seed, seed) for norm in ("batch", "group")
        for lr, batch in ((0.1, 8), (0.2, 16)) for seed in (1, 2)]


def engine(folder, *options):
    return [sys.executable, "-m", "snakemake", "--snakefile", "studies/Snakefile", "--cores", "2",
            "--config", "study=trial_lab", f"folder={folder.relative_to(ROOT)}", *options]


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on_and_two_machines_make_the_same_table(monkeypatch):
    """Killed when it has a row; then its rest. Another folder, with a worker killed: the same."""
    (ROOT / "runs").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="test-", dir=ROOT / "runs"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    pipes = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    try:
        one, two = folder / "one", folder / "two"
        dry = subprocess.run(engine(one, "--dry-run"), check=True, **pipes)
        assert "8 runs, 8 of them to do" in dry.stdout
        assert not one.exists()
        process = subprocess.Popen(engine(one), start_new_session=True, **pipes)
        table = wait_for_rows(process, one / "trial_lab.csv")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        before = table.read_text(encoding="utf-8").splitlines()
        again = subprocess.run(engine(one), check=False, **pipes)
        assert again.returncode == 0, again.stdout[-3000:]
        assert set(before) <= set(table.read_text(encoding="utf-8").splitlines())
        assert "8 runs, 0 of them to do" in subprocess.run(engine(one, "--dry-run"), **pipes).stdout

        process = subprocess.Popen(engine(two), start_new_session=True, **pipes)
        wait_for_rows(process, two / "trial_lab.csv")
        [worker, *_] = [child for child in psutil.Process(process.pid).children(recursive=True)
                        if any("tools/laboratory.py" in word for word in child.cmdline())
                        and "python" in child.name()]
        worker.kill()
        process.communicate(timeout=120)
        again = subprocess.run(engine(two), check=False, **pipes)
        assert again.returncode == 0, again.stdout[-3000:]
        assert without_seconds(table) == without_seconds(two / "trial_lab.csv")
        assert "diverged" in table.read_text(encoding="utf-8")
    finally:
        shutil.rmtree(folder)


def wait_for_rows(process, file):
    while process.poll() is None and not file.exists():
        time.sleep(0.01)
    assert file.exists(), process.communicate()[0][-3000:]
    return file


def without_seconds(file):
    head, table = rows.read_table(file)
    return head, table.drop(columns="seconds").to_csv(index=False)


@pytest.mark.slow
@pytest.mark.parametrize(("words", "said"), [
    (["rats"], "ValueError: study='rats' is not known.*"),
    (["trial_lab", "--folder", "README.md"], ".*README.md.*"),
])
def test_the_last_line_of_a_process_that_cannot_start_is_our_own(words, said):
    done = subprocess.run([sys.executable, "tools/laboratory.py", *words], cwd=ROOT,
                          capture_output=True, encoding="utf-8")
    assert done.returncode == 1
    assert re.fullmatch(said, done.stderr.splitlines()[-1]), done.stderr
