"""Studies: what their files may say, what counts as finished, what an interruption leaves."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import report
import study
import yaml
from helpers import make_record

from coursepack import compare
from coursepack.recipe import Recipe
from coursepack.records import load_record

ROOT = Path(__file__).resolve().parent.parent
STUDIES = sorted(path.stem for path in (ROOT / "studies").glob("*.yaml"))
SMALL = {"about": "x", "seeds": [1, 2], "common": {"epochs": 2}, "grid": {"skip": [False, True]},
         "recipes": {"gn": {"notebook": "02_group_norm_l1", "l1": 0.0}}}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a study named small and reads it."""
    monkeypatch.setattr(study, "STUDIES", tmp_path)

    def read(**changed):
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL | changed))
        return study.read_study("small", str(tmp_path))
    return read


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_valid_parameters(name, tmp_path, monkeypatch):
    # CIFAR-10 may not be here
    monkeypatch.setattr("coursepack.data.find_dataset", lambda *args: None)
    for run in study.read_study(name, str(tmp_path)):
        recipe = Recipe(**study.all_parameters(run))
        assert recipe.run_name == run.name
        assert yaml.safe_load(study.written(run)) == run.parameters  # 1e-05 is still a number


@pytest.mark.parametrize("name", ["seed000", "seed001", "seed002", "seed003", "seed004", "best",
                                  "best_cifar"])
def test_every_system_has_its_study(name):
    runs = study.read_study(name)
    assert {run.notebook[:2] for run in runs} == {"01", "02", "03"}


def test_a_study_is_recipes_times_grid_times_seeds(write):
    runs = write()
    assert [run.name for run in runs] == ["gn-skip_False-seed1", "gn-skip_False-seed2",
                                          "gn-skip_True-seed1", "gn-skip_True-seed2"]
    assert runs[3].parameters == {
        "epochs": 2, "l1": 0.0, "skip": True, "seed": 2, "run_name": "gn-skip_True-seed2",
        "runs_dir": runs[3].parameters["runs_dir"]}


@pytest.mark.parametrize(("changed", "said"), [
    ({"recipe": {}}, "Did you mean 'recipes'"),
    ({"seeds": []}, "seeds"),
    ({"seeds": [0.5]}, "whole numbers"),
    ({"common": {"epoch": 2}}, "Did you mean 'epochs'"),
    ({"common": {"seed": 2}}, "is not known"),
    ({"grid": {"skip": True}}, "needs a list"),
    ({"to_reach": {"bn": 99.0}}, "Choose one of: gn"),
    ({"recipes": {"gn": {"notebook": "02_group_norm"}}}, "Did you mean '02_group_norm_l1'"),
    ({"grid": {"lr": [0.1, 0.2]}}, "differ in lr .0.1 in gn-lr_0.1-seed2, 0.2 in gn-lr_0.2-seed2"),
])
def test_a_mistake_in_a_study_is_named(write, changed, said):
    with pytest.raises(ValueError, match=said):
        write(**changed)


def test_a_study_asks_of_its_runs_what_the_summary_asks():
    """Both read one list."""
    cells = json.loads((ROOT / "notebooks" / "04_summary.ipynb").read_text())["cells"]
    assert any("utils.check_comparable(records)" in "".join(cell["source"]) for cell in cells)
    for part in study.ALIKE:
        records = [make_record("batch", 1, 0.9, **dict.fromkeys(study.ALIKE, 1)) for _ in "ab"]
        compare.check_comparable(records)
        records[1]["parameters"] |= {part: 2, "norm": "layer"}
        with pytest.raises(ValueError, match=f"differ in {part}"):
            compare.check_comparable(records)


def test_unknown_study_is_named():
    with pytest.raises(ValueError, match="Did you mean 'seed000'"):
        study.read_study("sed000")


def test_finished_means_a_record_with_these_parameters(write, tmp_path):
    run = write()[0]
    file = tmp_path / run.name / "record.json"
    file.parent.mkdir()
    assert not study.finished(run)
    parameters = study.all_parameters(run)
    for written, expected in [
        (json.dumps({"parameters": parameters}), True),
        (json.dumps({"parameters": parameters | {"device": "cuda"}}), True),
        (json.dumps({"parameters": parameters | {"lr": 0.7}}), False),
        (json.dumps({"parameters": parameters})[:-9], False),
    ]:
        file.write_text(written)
        assert study.finished(run) == expected


@pytest.mark.slow
def test_interrupted_study_goes_on_where_it_was(monkeypatch):
    """A run is killed, then the engine interrupted; called again, it does only what is missing."""
    (ROOT / "runs").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="test-", dir=ROOT / "runs"))
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", "studies/Snakefile", "--cores",
                 "all", "--keep-going", "--rerun-triggers", "mtime", "params", "--config",
                 "study=trial",
                 f"folder={folder.relative_to(ROOT)}"]
    monkeypatch.delenv("OMP_NUM_THREADS")
    pipes = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}

    def records():
        return {file: file.stat().st_mtime_ns for file in folder.glob("*/record.json")}

    def wait_for(pattern):
        while engine.poll() is None and not list(folder.glob(pattern)):
            time.sleep(0.01)
        return next(folder.glob(pattern))

    try:
        engine = subprocess.Popen(snakemake, start_new_session=True, **pipes)
        killed = wait_for("*/unfinished-*.pt").parent
        for process in psutil.Process(engine.pid).children(recursive=True):
            if "ipykernel_launcher" in " ".join(process.cmdline()):
                process.kill()
        finished = wait_for("*/record.json").parent
        assert finished != killed
        started = psutil.Process(engine.pid).children(recursive=True)
        engine.send_signal(signal.SIGINT)
        said, _ = engine.communicate(timeout=120)
        psutil.wait_procs(started, timeout=30)
        assert not [process for process in started if process.is_running()]
        assert engine.returncode != 0, said
        before = records()
        assert all(load_record(file) for file in before)
        assert killed / "record.json" not in before

        dry = subprocess.run([*snakemake, "--dry-run"], check=True, **pipes)
        assert f"4 runs, {4 - len(before)} of them to do" in dry.stdout
        again = subprocess.run(snakemake, check=False, **pipes)
        assert again.returncode == 0, again.stdout[-3000:]
        assert "continuing after epoch" in again.stdout
        after = records()
        assert len(after) == 4
        assert {file: after[file] for file in before} == before
        assert (folder / "summary.ipynb").is_file()
        assert not list(folder.glob("*/unfinished-*.pt")) + list(folder.glob(".*.finished"))
        done = subprocess.run([*snakemake, "--dry-run"], check=True, **pipes)
        assert "Nothing to be done" in done.stdout
        shutil.rmtree(killed)
        less = subprocess.run([*snakemake, "--dry-run"], check=True, **pipes)
        assert "4 runs, 1 of them to do" in less.stdout
        for job in ("run", "summary"):
            assert re.search(rf"^{job} +1$", less.stdout, re.MULTILINE), less.stdout
    finally:
        shutil.rmtree(folder)


def test_records_of_the_sample_are_not_published(tmp_path, monkeypatch):
    record = {"data": {"source": "sample"}}
    monkeypatch.setattr(report, "finished", lambda run: True)
    monkeypatch.setattr(report, "load_record", lambda file: record)
    with pytest.raises(ValueError, match="set DATA_DIR"):
        report.keep_records("trial")
