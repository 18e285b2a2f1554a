"""Files of studies: what they stand for, what counts as finished, and how Snakemake starts it."""

import json
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import report
import study as tools
import yaml
from helpers import says
from refused import tool

from coursepack.files import ROOT
from coursepack.lab import studies
from coursepack.runs.records import load_record, write_record

SMALL = {"kind": "notebook", "about": "x", "seeds": [1, 2], "common": {"epochs": 2},
         "grid": {"skip": [False, True]},
         "recipes": {"gn": {"notebook": "02_group_norm_l1", "l1": 0.0, "arch": "mnist_10k"}}}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a study, reads it and checks its runs."""
    monkeypatch.setattr(studies, "STUDIES", tmp_path)

    def read(content, name="small"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
        return [*tools.plan(name, str(tmp_path)).runs.values()]
    return read


def test_every_study_is_possible_and_what_is_kept_was_made_with_its_threads(monkeypatch):
    monkeypatch.setattr("coursepack.data.datasets.find_dataset",
                        lambda name, *args: ("nowhere", Path("nowhere")))
    plans = {name: tools.plan(name, "runs") for name in studies.study_names()}
    for file in (ROOT / "results").glob("*/*.json"):
        if not file.parent.name.startswith(report.SAVED):
            made = json.loads(file.read_bytes())["environment"]["threads"]
            assert made == plans[file.parent.name].says["threads"], file


def test_a_study_can_repeat_another_on_fresh_seeds(write):
    first = write(SMALL | {"to_reach": {"gn": 99.0}, "threads": 2})
    again = write({"kind": "notebook", "about": "x", "repeats": "small", "seeds": [3]}, "again")
    assert [run.name for run in again] == ["gn-skip_False-seed3", "gn-skip_True-seed3"]
    own = {"seed": 0, "run_name": ""}
    assert [run.parameters | own for run in again] == [run.parameters | own for run in first[::2]]
    file = studies.read_file("again")
    assert (file["to_reach"], file["threads"]) == ({"gn": 99.0}, 0)  # threads are its own


def save(run, source="npz", **changed):
    """Save a published record as if it were this run's; returns its file."""
    record = json.loads((ROOT / "results" / "seed000" / "gn-seed1.json").read_bytes())
    parameters = studies.all_parameters(run.notebook, run.parameters) | changed
    file = studies.record_file(run)
    file.parent.mkdir()
    write_record(file, record | {
        "parameters": parameters, "data": record["data"] | {"source": source},
        "epochs": record["epochs"][-parameters["epochs"]:]})
    return file


@pytest.mark.parametrize(("changed", "dataset", "expected"), [
    ({}, "mnist", True), ({"device": "cuda", "data_dir": "x", "norm": "GN"}, "mnist", True),
    ({"lr": 0.7}, "mnist", False), ({"source": "sample"}, "mnist", False),
    ({"source": "sample"}, "mnist_sample", True), (None, "mnist", False)])
def test_finished_means_a_whole_record_with_these_parameters_and_data(
        write, changed, dataset, expected):
    run = write(SMALL | {"common": {"epochs": 2, "dataset": dataset}})[0]
    assert not studies.finished(run)
    file = save(run, **changed or {})
    if changed is None:
        file.write_bytes(file.read_bytes()[:-9])
    assert studies.finished(run) == expected
    missing = tools.plan("small", run.parameters["runs_dir"]).lacks()
    assert (run.name in missing, len(missing)) == (not expected, 4 - expected)


def test_records_of_the_sample_or_of_an_edited_file_are_not_published(
        write, tmp_path, monkeypatch):
    for module in (report, studies):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    runs = write(SMALL)
    monkeypatch.setattr(studies, "read_study", partial(studies.read_study, folder=str(tmp_path)))
    record = load_record(save(runs[0]))
    sample = save(runs[1], "sample")
    with pytest.raises(ValueError, match=says(runs[1].name, "set DATA_DIR")):
        report.keep_records("small")
    assert not (tmp_path / "results").exists()
    sample.unlink()
    assert report.keep_records("small") == 1
    assert studies.load_kept("small")[1] == [record]
    for changed, *said in [
            ({"common": {"epochs": 2, "lr": 0.3}}, "lr=0.05", "lr=0.3", "make study STUDY=small"),
            ({"common": {"epochs": 2, "dataset": "mnist_sample"}}, "dataset='mnist'", "_sample"),
            ({"seeds": [2]}, "is of no run", "small.yaml")]:
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL | changed))
        with pytest.raises(ValueError, match=says("small/gn-skip_False-seed1.json", *said)):
            studies.load_kept("small")


def test_a_run_is_its_notebook_without_lessons_and_the_summary_has_runs_and_factors(write):
    [run] = write(SMALL | {"grid": {"lr": [0.1]}, "factors": ["lr"], "seeds": [1]})
    folder = run.parameters["runs_dir"]
    with mock.patch("papermill.execute_notebook") as execute:
        for words in (f"--job {run.name}", "--end"):
            tool("study", f"small --folder {folder} {words}")(None)
    (source, output, parameters), (_, summary, of_summary) = (
        call.args for call in execute.call_args_list)
    assert not [cell for cell in source.cells if "lesson" in cell.metadata.get("tags", [])]
    assert (output, parameters) == (f"{folder}/{run.name}.ipynb", run.parameters)
    assert summary == f"{folder}/summary.ipynb"
    assert (of_summary["factors"], of_summary["runs"]) == ("lr", run.name)
