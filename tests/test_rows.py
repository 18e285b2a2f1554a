"""Runs without notebooks: rows, the parts that workers add them to, and their table."""

import json
import os
import sys
from dataclasses import asdict, field, make_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import numpy as np
import pandas as pd
import pytest
import study as tools
import yaml
from helpers import arrays, first, fit, make_recipe, recipes, run, says
from hypothesis import strategies as st

from coursepack import files
from coursepack.data.datasets import take_part
from coursepack.lab import rows, studies
from coursepack.train.recipe import Recipe

STUDY = {
    "kind": "rows", "about": "x", "expected": "nothing", "analysis": "none", "measure": ["fit"],
    "common": {"dataset": "tiny", "arch": "mnist_8k", "epochs": 1, "train_size": 20,
               "augment": "none"},
    "grid": {"order": ["", "norm-act-drop"], "lr": [0.1, 1e9]}, "seeds": [10000001, 10000002]}


def test_a_row_is_the_last_epoch_of_the_same_run_with_a_record(tmp_path, few):
    recipe = make_recipe(tmp_path, epochs=2, norm="group", arch="mnist_8k", l1=1e-5, l2=1e-3,
                         train_size=50, subset_seed=3, label_noise=0.2)
    _, history = fit(take_part(few, 50, 3, 0.2), recipe)
    row = rows.run_once(recipe, few)
    assert (row["status"], row["epoch"]) == ("finished", 2)
    for name in ("loss", "penalty", "accuracy", "test_loss", "test_accuracy"):
        assert row[name] == history[-1][name], name
    assert not (recipe.run_dir / "record.json").exists()


def test_a_small_experiment_is_a_table_of_its_factors(few, capsys):
    common = {"epochs": 1, "augment": "none", "device": "cpu", "arch": "mnist_8k", "seed": 3}
    table = rows.try_out(first(few, 60, 50), common, ["fit"], norm=["batch", "none"],
                         lr=[0.1, 1e9])
    assert table[["norm", "lr", "seed"]].values.tolist() == [
        ["batch", 0.1, 3], ["batch", 1e9, 3], ["none", 0.1, 3], ["none", 1e9, 3]]
    assert table["fit_accuracy"][0] >= 0
    last = table.iloc[3].dropna()  # a run that diverges is a result, without any other value
    assert (last["status"], last["epoch"]) == ("diverged", 1)
    assert {"test_accuracy", "loss", "fit_loss"}.isdisjoint(last.index)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    assert "norm none, lr 1000000000.0, seed 3: diverged in epoch 1" in said[3]


# ------------------------------------------------------------------------- exactly as they were
@hypothesis.given(st.lists(recipes(), min_size=1, max_size=4))
def test_every_recipe_is_written_and_read_as_the_same_key(some):
    """In a part and in the table; what is a factor keeps every digit, and no text is a gap."""
    keys = [name for name in asdict(some[0]) if name not in rows.OF_A_RUN] + ["seed"]
    made = [{name: getattr(recipe, name) for name in keys}
            | {"status": "finished", "epoch": 1, "loss": 1 / 3} for recipe in some]
    head = {"factors": keys[:-1]}
    with TemporaryDirectory() as folder:
        part, table = Path(folder, "part"), Path(folder, "table.csv")
        for line in (head, *made):
            rows.append(part, line)
        assert rows.read_part(part) == (head, made)
        rows.write_table(table, head, made)
        there = rows.read_rows(table)[1]
    made.sort(key=lambda row: [row[name] for name in keys])
    assert there == [row | {"loss": 0.3333333} for row in made]
    assert [*map(type, there[0].values())] == [*map(type, made[0].values())]


def test_every_name_of_a_data_set_is_read_as_it_was(tmp_path):
    made = [{"dataset": text, "seed": 1, "status": "finished", "epoch": 1, "code": "12345678"}
            for text in sorted(["", "a,b", 'a "b"', "NA", "none", "1e5", "a\nb", "ü"])]
    rows.write_table(tmp_path / "x.csv", {"factors": ["dataset"]}, made)
    assert rows.read_rows(tmp_path / "x.csv")[1] == made


@pytest.mark.parametrize("file", sorted((files.ROOT / rows.TABLES).glob("*.csv")),
                         ids=lambda file: file.stem)
def test_published_tables_are_of_their_studies_and_stay_to_the_byte(file, tmp_path):
    study = tools.Rows(file.stem, f"runs/{file.stem}")
    assert study.study["minutes"] > 0
    assert study.missing(study.done()) == []
    head, there = rows.read_rows(file)
    rows.check_head(file, head, rows.table_head(study.study, study.recipes))
    assert head["runs"] == len(there) == len(study.recipes)
    rows.write_table(tmp_path / "again.csv", head, reversed(there))
    assert (tmp_path / "again.csv").read_bytes() == file.read_bytes()
    assert pd.read_csv(file, comment="#").shape == rows.read_table(file)[1].shape


def test_a_parameter_that_is_younger_than_a_table_had_its_default_there(tmp_path, monkeypatch):
    """Nothing but the field has to be added for a study to vary it."""
    study = {"study": "x", "about": "", "expected": "", "measure": [], "factors": ["lr"]}
    old = rows.table_head(study, [Recipe()])
    grown = make_dataclass("Recipe", [("younger", int, field(default=3))], bases=(Recipe,),
                           frozen=True)
    monkeypatch.setattr("coursepack.train.recipe.Recipe", grown)
    monkeypatch.setattr("coursepack.train.recipe.check_parameters", lambda parameters: None)
    rows.check_head(tmp_path, old, rows.table_head(study, [grown()]))
    with pytest.raises(ValueError, match=says("another common: {'younger': 3}", "'younger': 4")):
        rows.check_head(tmp_path, old, rows.table_head(study, [grown(younger=4)]))


# ------------------------------------------------------------------------------ a study of rows
@pytest.fixture
def make(tmp_path, monkeypatch):
    """make(folder, ...) is the study above, with some changes."""
    np.savez(tmp_path / "tiny.npz", **arrays())
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setattr(studies, "STUDIES", tmp_path)

    def write(folder="one", **changes):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(STUDY | changes, sort_keys=False))
        (tmp_path / folder).mkdir(exist_ok=True)
        return tools.Rows("mine", str(tmp_path / folder))
    return write


@pytest.fixture
def undisturbed(make):
    study = make("undisturbed")
    study.do_part("1of1")
    study.join()
    assert study.missing(study.done()) == []
    assert {row["status"] for row in study.done()} == {"finished", "diverged"}
    return study


def without_seconds(study):
    head, there = rows.read_rows(study.table)
    return head, [row | {"seconds": 0} for row in there]


def test_points_are_the_grid_with_what_goes_together_and_a_seed_draws_the_images(make):
    grid = {"norm": ["BN", "group"], "x": [{"lr": 0.1, "batch_size": 8}, {"lr": 1, "epochs": 2}]}
    study = make(grid=grid, seeds=[1, 2], common={"train_size": 20})
    assert study.study["factors"] == ["norm", "lr", "batch_size", "epochs"]
    assert [(r.norm, r.lr, r.batch_size, r.epochs, r.seed, r.subset_seed)
            for r in study.recipes] == [(norm, *level, seed, seed) for level in (  # long ones first
        (0.1, 8, 20), (1.0, 128, 2)) for norm in ("batch", "group") for seed in (1, 2)]
    assert make(common={"augment": "none"}).recipes[0].subset_seed == 0


def test_a_worker_that_is_killed_anywhere_loses_no_row_and_makes_none_twice(
        make, undisturbed, capsys, monkeypatch):
    """Killed between two rows, in the middle of one that it writes, and while parts are joined."""
    study, run_once, made = make(), rows.run_once, []

    def die(recipe, *rest):
        if len(made) in (2, 4, 6):
            made.append(None)
            raise SystemExit
        made.append(recipe)
        return run_once(recipe, *rest)

    monkeypatch.setattr(rows, "run_once", die)
    for job in ("1of2", "1of2", "2of2"):  # a part takes up where it stopped
        with pytest.raises(SystemExit):
            study.do_part(job)
        with open(study.folder / f".part{job}.jsonl", "ab") as part:
            part.write(b'{"order": "", "lr": 0.')
    assert len(study.done()) == 4
    kept = {part: part.read_bytes() for part in study.parts()}
    assert len(kept) == 2
    tools.begin("mine", str(study.folder)).release()
    before = study.table.read_bytes()
    assert study.parts() == []
    for part, content in kept.items():  # as if it had been killed before they were removed
        part.write_bytes(content)
    tools.begin("mine", str(study.folder)).release()
    assert study.table.read_bytes() == before
    for job in ("3of3", "1of3", "2of3"):
        study.do_part(job)
    study.join()
    assert without_seconds(study) == without_seconds(undisturbed)
    assert len([recipe for recipe in made if recipe]) == 8
    said = capsys.readouterr().out
    assert "mine 8/8: order " in said
    assert " s, then about 0 min\n" in said


@pytest.mark.parametrize("place", ["part", "table"])
def test_a_full_disk_is_named_and_no_row_is_lost(make, undisturbed, place, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    study = make()
    if place == "table":
        study.do_part("1of1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=says("cannot write", "No space left", "Make room")):
            study.join() if place == "table" else study.do_part("1of1")
    study.do_part("1of1")
    study.join()
    assert without_seconds(study) == without_seconds(undisturbed)


@pytest.mark.slow
def test_snakemake_deals_the_rows_into_parts_and_joins_them(folder):
    """The trial study, on one core: two parts, then the table."""
    done = run([sys.executable, "-m", "snakemake", "--snakefile", "studies/Snakefile", "--cores", 1,
                "--config", "study=trial_lab", f"folder={folder.relative_to(files.ROOT)}"])
    assert done.returncode == 0, done.stderr[-3000:]
    assert "8 runs, 8 of them to do" in done.stderr
    assert "2of2: trial_lab 8/8: " in done.stdout
    assert len(rows.read_rows(folder / "trial_lab.csv")[1]) == 8
    assert tools.lacks("trial_lab", str(folder)) == (8, [])
    left = {path.name for path in folder.iterdir()} - {".lock", "trial_lab.csv"}
    assert all(name.endswith(".lock") for name in left)


# -------------------------------------------------------------------------------- who reads them
def test_a_table_says_what_it_lacks_what_was_expected_and_how_many_runs_diverged(
        make, undisturbed, monkeypatch):
    head, there = rows.read_rows(undisturbed.table)
    rows.write_table(undisturbed.table, head, there[2:])
    with monkeypatch.context() as patch:
        patch.setattr(rows, "TABLES", undisturbed.folder)
        attributes = rows.load_table("mine").attrs
    assert (attributes["missing"], attributes["common"]["epochs"]) == (2, 1)
    table = rows.load_table("rates")
    lines = rows.describe_table(table).splitlines()
    assert lines[0] == "study rates: 225 of 225 runs, 5 seeds, 42 diverged"
    assert " ".join(lines[1:]) == "Expected before it ran: " + table.attrs["expected"]
    assert max(map(len, lines)) <= 80


def test_a_study_of_notebooks_is_a_table_too(monkeypatch, tmp_path):
    table = rows.load_records("best")
    assert table.attrs["missing"] == 0
    assert table.groupby("norm")["seed"].nunique().to_dict() == {"batch": 5, "group": 5, "layer": 5}
    assert table.attrs["common"]["arch"] == "mnist_best"
    assert "l1" not in table.attrs["common"]
    whole = sorted((files.ROOT / "results" / "best").glob("*.json"))
    record = json.loads(whole[0].read_text(encoding="utf-8"))
    own = record["parameters"]
    row = table[(table["norm"] == own["norm"]) & (table["seed"] == own["seed"])]
    assert row["test_accuracy"].item() == record["epochs"][-1]["test_accuracy"]
    (tmp_path / "results" / "best").mkdir(parents=True)
    for file in whole[:-1]:
        (tmp_path / "results" / "best" / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(files, "ROOT", tmp_path)
    assert rows.load_records("best").attrs["missing"] == 1
