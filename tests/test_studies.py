"""Files of studies: what they stand for, what counts as finished, and how Snakemake starts it."""

import json
import re
import shutil
import sys
from unittest import mock

import psutil
import pytest
import report
import study as tools
import yaml
from helpers import run as run_command
from helpers import says
from refused import tool

from coursepack.files import ROOT
from coursepack.lab import studies
from coursepack.train.recipe import with_defaults

SMALL = {"kind": "notebook", "about": "x", "seeds": [1, 2], "common": {"epochs": 2},
         "grid": {"skip": [False, True]},
         "recipes": {"gn": {"notebook": "02_group_norm_l1", "l1": 0.0, "arch": "mnist_10k"}}}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a study, reads it and checks its runs; a text is written as it is."""
    monkeypatch.setattr(studies, "STUDIES", tmp_path)

    def read(content, name="small"):
        text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
        (tmp_path / f"{name}.yaml").write_bytes(text.encode())
        return [*tools.plan(name, str(tmp_path)).runs.values()]
    return read


# ------------------------------------------------------------------- the studies that are here
def test_every_study_is_possible_and_listed_and_what_is_kept_was_made_by_one(monkeypatch):
    monkeypatch.setattr("coursepack.data.datasets.find_dataset", lambda *args: None)
    page = (ROOT / "studies" / "README.md").read_text(encoding="utf-8")
    ranges = {"seed001", "seed002", "seed003"}  # "seed000 to seed004"
    of_notebooks = {name: plan for name in studies.study_names()
                    if isinstance(plan := tools.plan(name, "runs"), tools.Notebooks)}
    assert {name for name in of_notebooks if f"({name}.yaml)" not in page} == ranges
    for folder in (path for path in (ROOT / "results").iterdir() if path.is_dir()):
        if not folder.name.startswith(report.SAVED):
            made = {json.loads(file.read_bytes())["environment"]["threads"]
                    for file in folder.glob("*.json")}
            assert made == {of_notebooks[folder.name].says["threads"]}, folder


# ------------------------------------------------------------------------ what a file stands for
def test_a_study_is_recipes_times_grid_times_seeds(write):
    runs = write(SMALL)
    assert [run.name for run in runs] == ["gn-skip_False-seed1", "gn-skip_False-seed2",
                                          "gn-skip_True-seed1", "gn-skip_True-seed2"]
    assert runs[3].parameters == {
        "epochs": 2, "arch": "mnist_10k", "l1": 0.0, "skip": True, "seed": 2,
        "run_name": "gn-skip_True-seed2", "runs_dir": runs[3].parameters["runs_dir"]}
    text = yaml.safe_dump(SMALL, default_flow_style=True, width=1000)
    assert write(text.replace("common: ", "common: &x ").replace("\n", "\r\n")) == runs
    lrs = write(SMALL | {"grid": {"lr": [0.1, 0.2]}, "factors": ["lr"]})
    assert [run.parameters["lr"] for run in lrs] == [0.1, 0.1, 0.2, 0.2]


def test_a_study_can_repeat_another_on_fresh_seeds(write):
    first = write(SMALL | {"to_reach": {"gn": 99.0}, "threads": 2})
    again = write({"kind": "notebook", "about": "x", "repeats": "small", "seeds": [3]}, "again")
    assert [run.name for run in again] == ["gn-skip_False-seed3", "gn-skip_True-seed3"]
    own = {"seed": 0, "run_name": ""}
    assert [run.parameters | own for run in again] == [run.parameters | own for run in first[::2]]
    file = studies.read_file("again")
    assert (file["to_reach"], file["threads"]) == ({"gn": 99.0}, 0)  # threads are its own


# --------------------------------------------------------------------------------- its records
def record_of(run, source="npz", **changed):
    """A published record, as if it were this run's."""
    record = json.loads((ROOT / "results" / "seed000" / "gn-seed1.json").read_bytes())
    parameters = studies.all_parameters(run.notebook, run.parameters) | changed
    return record | {"parameters": parameters, "data": record["data"] | {"source": source},
                     "epochs": record["epochs"][-parameters["epochs"]:]}


@pytest.mark.parametrize(("changed", "dataset", "expected"), [
    ({}, "mnist", True), ({"device": "cuda", "data_dir": "x", "norm": "GN"}, "mnist", True),
    ({"lr": 0.7}, "mnist", False), ({"source": "sample"}, "mnist", False),
    ({"source": "sample"}, "mnist_sample", True), (None, "mnist", False)])
def test_finished_means_a_whole_record_with_these_parameters_and_data(
        write, changed, dataset, expected):
    run = write(SMALL | {"common": {"epochs": 2, "dataset": dataset}})[0]
    assert not studies.finished(run)
    studies.record_file(run).parent.mkdir()
    text = json.dumps(record_of(run, **changed or {}))
    studies.record_file(run).write_text(text if changed is not None else text[:-9])
    assert studies.finished(run) == expected
    missing = tools.plan("small", run.parameters["runs_dir"]).lacks()
    assert (run.name in missing, len(missing)) == (not expected, 4 - expected)


@pytest.fixture
def kept(write, tmp_path, monkeypatch):
    """The folder of kept records of the study small, with one record in it."""
    monkeypatch.setattr(report, "ROOT", tmp_path)
    folder = tmp_path / "results" / "small"
    folder.mkdir(parents=True)
    run = write(SMALL)[0]
    (folder / f"{run.name}.json").write_text(json.dumps(record_of(run, runs_dir="elsewhere")))
    return folder


def test_an_edited_file_does_not_change_the_text_over_old_numbers(write, kept):
    assert [record["parameters"]["runs_dir"] for record in report.load_study("small")] == [
        "elsewhere"]
    for changed, *said in [
            ({"common": {"epochs": 2, "lr": 0.3}}, "lr=0.05", "lr=0.3", "make study STUDY=small"),
            ({"common": {"epochs": 2, "dataset": "mnist_sample"}}, "dataset='mnist'", "_sample"),
            ({"seeds": [2]}, "is of no run", "small.yaml")]:
        write(SMALL | changed)
        with pytest.raises(ValueError, match=says("small/gn-skip_False-seed1.json", *said)):
            report.load_study("small")


def test_records_of_the_sample_are_not_published(write, kept, monkeypatch):
    runs = write(SMALL | {"common": {"epochs": 2, "dataset": "mnist_sample"}})
    monkeypatch.setattr(studies, "read_study", lambda name: runs)
    before = {file: file.read_bytes() for file in kept.iterdir()}
    for run, source in zip(runs, ("npz", "sample")):
        studies.record_file(run).parent.mkdir()
        studies.record_file(run).write_text(json.dumps(record_of(run, source)), encoding="utf-8")
    with pytest.raises(ValueError, match=says(runs[1].name, "set DATA_DIR")):
        report.keep_records("small")
    assert {file: file.read_bytes() for file in kept.iterdir()} == before
    shutil.rmtree(studies.record_file(runs[1]).parent)
    assert report.keep_records("small") == 1
    parameters = with_defaults(record_of(runs[0])["parameters"])  # also those younger than it
    assert report.load_study("small") == [record_of(runs[0]) | {"parameters": parameters}]


# ------------------------------------------------------------------------------- its processes
def test_a_run_is_its_notebook_without_lessons_and_the_summary_has_runs_and_factors(write):
    run = write(SMALL | {"factors": ["lr"]})[0]
    folder = run.parameters["runs_dir"]
    with mock.patch("papermill.execute_notebook") as execute:
        for words in (f"--job {run.name}", "--end"):
            tool("study", f"small --folder {folder} {words}")(None)
    (source, output, parameters), (_, summary, of_summary) = (
        call.args for call in execute.call_args_list)
    assert not [cell for cell in source.cells if "lesson" in cell.metadata.get("tags", [])]
    assert (output, parameters) == (f"{folder}/{run.name}.ipynb", run.parameters)
    assert summary == f"{folder}/summary.ipynb"
    assert of_summary["factors"] == "lr"
    assert of_summary["runs"].split(", ") == [run.name for run in write(SMALL)]


@pytest.mark.survival("machines")
def test_a_run_takes_the_threads_of_its_file_even_where_there_are_fewer_cores(tmp_path):
    """Of its command, all up to the tool is run. Nothing is written before a run."""
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", "studies/Snakefile", "--cores",
                 1, "--dry-run", "--printshellcmds", "--config"]
    done = run_command([*snakemake, "study=seed000_first", f"folder={tmp_path / 'x'}"])
    assert not (tmp_path / "x").exists()
    command = re.search(r"(OMP_NUM_THREADS=.*?) tools/study.py", done.stdout)[1]
    assert "OMP_NUM_THREADS=1 " in command
    for threads in (1, psutil.cpu_count() + 1):
        shell = command.replace("THREADS=1 ", f"THREADS={threads} ")
        code = "from coursepack.threads import THREADS; print(THREADS)"
        said = run_command(["bash", "-c", f"{shell} -c '{code}'"])
        assert said.stdout == f"{threads}\n", said.stderr
    last = run_command([*snakemake, "study=sed000"]).stderr.splitlines()[-1]  # ours
    assert re.fullmatch("study='sed000' is not known. .* Did you mean 'seed000'.", last)
