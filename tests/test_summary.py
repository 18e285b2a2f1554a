"""Notebook 04: which runs it compares, what it refuses, and odd runs that it has to show."""

import json
import re

import numpy as np
import pytest
from helpers import make_record, outputs, papermill_command, run, says

from coursepack import files
from coursepack.runs import records
from coursepack.runs.records import find_runs
from coursepack.train.recipe import summary_parameters

DEFAULTS = {"runs": "bn_l1_l2, gn_l1, ln_l2", "factors": "", "runs_dir": "", "images_dir": "images",
            "shown": 20, "columns": 5}


def test_defaults_are_those_of_the_notebook():
    notebook = json.loads((files.ROOT / "notebooks" / "04_summary.ipynb").read_bytes())
    variables = {}
    exec("".join(notebook["cells"][1]["source"]), variables)
    assert {name: variables[name] for name in DEFAULTS} == DEFAULTS
    assert summary_parameters(variables) == (["bn_l1_l2", "gn_l1", "ln_l2"], [])


@pytest.mark.parametrize(("changes", "said"), [
    ({"columns": 10_000}, ["columns=10000", "1 or more and less than 21"]),
    ({"columns": 0}, ["columns=0", "1 or more"]),
    ({"columns": True}, ["columns=True", "whole number"]),
    ({"shown": 2.5}, ["shown=2.5", "whole number"]),
    ({"shown": "many"}, ["shown='many'", "whole number"]),
    ({"shown": 10**9}, ["shown=1000000000", "less than 101"]),
    ({"runs": "a,"}, ["runs='a,'", "''", "no plain name"]),
    ({"runs": ""}, ["runs=''", "no plain name"]),
    ({"runs": "a, ../b"}, ["'../b'", "no plain name"]),
    ({"runs": "a" * 300}, ["no plain name"]),
    ({"runs": "a\0"}, ["no plain name"]),
    ({"runs": 5}, ["runs=5", "text"]),
    ({"runs": "a, b, a"}, ["runs", "'a' twice"]),
    ({"factors": "lr, epoch"}, ["factors='epoch'", "'epochs'"]),
    ({"factors": "dataset"}, ["factors='dataset'", "lr"]),
    ({"factors": "lr,"}, ["factors='lr,'", "no plain name"]),
    ({"factors": None}, ["factors=None", "text"]),
    ({"runs_dir": 5}, ["runs_dir=5", "text"]),
    ({"images_dir": 0.5}, ["images_dir=0.5", "text"]),
], ids=str)
def test_a_wrong_parameter_is_refused_by_name(changes, said):
    with pytest.raises(ValueError, match=says(*said)):
        summary_parameters(DEFAULTS | changes)


def test_parameters_that_join_names():
    assert summary_parameters(DEFAULTS | {"runs": " a ,b", "factors": "lr, epochs"}) == (
        ["a", "b"], ["lr", "epochs"])


# ------------------------------------------------------------------------ where the runs are
@pytest.fixture
def course(monkeypatch, tmp_path):
    """A course of its own, without runs, with the published ones."""
    published = files.ROOT / records.PUBLISHED
    (tmp_path / "results").mkdir()
    (tmp_path / records.PUBLISHED).symlink_to(published)
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    return tmp_path


def finish(folder):
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{}", encoding="utf-8")


def test_without_finished_runs_the_published_ones_are_compared(course):
    (course / "runs" / "bn_l1_l2").mkdir(parents=True)  # notebook 01 was merely opened
    (course / "runs" / "gn_l1").mkdir()
    (course / "runs" / "gn_l1" / "unfinished-1.pt").touch()
    assert find_runs(["bn_l1_l2", "gn_l1", "ln_l2"], "") == course / records.PUBLISHED


def test_own_runs_are_compared_where_all_are_there(course):
    for name in ("bn_l1_l2", "mine"):
        finish(course / "runs" / name)
    assert find_runs(["mine", "bn_l1_l2"], "") == course / "runs"
    assert find_runs(["mine"], "runs") == course / "runs"


@pytest.mark.parametrize(("names", "said"), [
    (["bn_l1_l2", "gn_l1"], ["gn_l1", "02_group_norm_l1", "Finished there: bn_l1_l2, mine"]),
    (["other", "ln_l2"], ["other; ln_l2", "Finished there: bn_l1_l2, mine"]),
], ids=str)
def test_a_missing_run_among_own_ones_is_named_with_those_that_are_there(course, names, said):
    for name in ("bn_l1_l2", "mine"):
        finish(course / "runs" / name)
    with pytest.raises(FileNotFoundError, match=says(*said)):
        find_runs(names, "")


def test_unknown_names_are_not_looked_for_among_the_published_runs(course):
    with pytest.raises(FileNotFoundError, match=says("mine", course / "runs")):
        find_runs(["mine"], "")
    with pytest.raises(FileNotFoundError, match=says("gn_l1", course / "elsewhere")):
        find_runs(["gn_l1"], "elsewhere")


# ------------------------------------------------------------------------------- odd records
def write_run(folder, record, classes):
    """A finished run, of 1,000 blank test images, as many of them wrong as its record says."""
    count = round((1 - record["epochs"][-1]["test_accuracy"]) * 1000)
    rng = np.random.default_rng(record["parameters"]["seed"])
    label = rng.integers(classes, size=count)
    index = rng.permutation(1000)[:count]
    record["misclassified"] = index.tolist()
    record |= {"schema": 1, "seconds": 1.0, "environment": {
        "python": "3", "torch": "2", "device": "cpu", "threads": 1}}
    for row in record["epochs"]:
        row |= {"train_seconds": 0.4, "test_seconds": 0.1, "threads": 1}
        row |= {key: min(row[key], 1.0) for key in ("accuracy", "test_accuracy")}
        row |= {key: max(row[key], 0.0) for key in ("loss", "test_loss")}
    record["data"] |= {"classes": [f"class {i}" for i in range(classes)]}
    place = folder / record["parameters"]["run_name"]
    place.mkdir()
    (place / "record.json").write_text(json.dumps(record), encoding="utf-8")
    np.savez(place / records.MISTAKES, index=index, image=np.zeros((count, 1, 28, 28), np.uint8),
             label=label, prediction=(label + 1) % classes,
             probability=np.full(count, 0.9), label_probability=np.full(count, 0.1))


def summary(folder, runs, **parameters):
    """The notebook of these runs: papermill's process, and what the notebook printed."""
    done = run(papermill_command("04_summary.ipynb", folder / "out.ipynb", runs_dir=folder,
                                 images_dir=folder, runs=", ".join(runs), **parameters))
    return done, "".join(out.get("text", "") for out in outputs(folder / "out.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize(("accuracy", "seeds"), [(1.0, 5), (0.002, 3), (0.9, 1)], ids=str)
def test_one_recipe_alone_ends_in_a_page(folder, accuracy, seeds):
    """With no mistakes at all, with an interval that would end below 0 %, with a single run."""
    made = [make_record("batch", seed, accuracy + seed / 1000 * (accuracy < 1),
                        run_name=f"own-seed{seed}") for seed in range(seeds)]
    for record in made:
        write_run(folder, record, 10)
    done, printed = summary(folder, [record["parameters"]["run_name"] for record in made])
    assert done.returncode == 0, done.stderr[-3000:]
    said = "no other recipe with three seeds" if seeds > 2 else "fewer than three seeds"
    assert said in printed


@pytest.mark.slow
def test_many_recipes_of_a_hundred_classes_end_in_a_page(folder):
    made = [make_record(norm, seed, 0.9 + seed / 1000, run_name=f"{norm}-{lr}-{seed}", lr=lr,
                        dropout=0.05)
            for norm in ("batch", "group", "layer") for lr in (0.1, 0.2)
            for seed in range(1, 1 + 3 * (norm != "group") + (norm == "group"))]
    for record in made:
        write_run(folder, record, 100)
    names = [record["parameters"]["run_name"] for record in made]
    done, _ = summary(folder, names)
    assert done.returncode != 0
    assert re.search(r"differ in lr: 0\.1 \(batch-0\.1-1; .*factors", done.stderr)
    done, printed = summary(folder, names, factors="lr")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "BN, lr 0.1 and BN, lr 0.2: undecided" in printed
    assert "GN(2), lr 0.1; GN(2), lr 0.2" in printed
