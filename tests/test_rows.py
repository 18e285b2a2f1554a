"""Runs without notebooks: rows, the parts that workers add them to, and their table."""

import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import hypothesis
import numpy as np
import pandas as pd
import pytest
import study as tools
import yaml
from helpers import arrays, fit, make_recipe, recipes, run, says
from hypothesis import strategies as st

from coursepack import files
from coursepack.lab import rows, studies
from coursepack.train.recipe import Recipe

STUDY = {
    "kind": "rows", "about": "x", "expected": "nothing", "analysis": "none", "control": "none",
    "measure": ["fit"],
    "common": {"dataset": "tiny", "arch": "mnist_8k", "epochs": 1, "train_size": 20,
               "augment": "none"},
    "grid": {"order": ["", "norm-act-drop"], "lr": [0.1, 1e9]}, "seeds": [10000001, 10000002]}


def test_a_row_is_the_last_epoch_of_the_same_run_with_a_record(tmp_path, few):
    recipe = make_recipe(tmp_path, epochs=2, norm="group", arch="mnist_8k", l1=1e-5, l2=1e-3,
                         train_size=50, subset_seed=3, label_noise=0.2)
    _, history = fit(recipe.take_part(few), recipe)
    row = rows.run_once(recipe, few)
    assert (row["status"], row["epoch"]) == ("finished", 2)
    assert {name: row[name] for name in rows.FIGURES}.items() <= history[-1].items()
    assert not (recipe.run_dir / "record.json").exists()


TEXTS = ["", "a,b", 'a "b"', "NA", "none", "1e5", "a\nb", "ü"]


@hypothesis.given(st.lists(st.tuples(recipes(), st.sampled_from(TEXTS)), min_size=1, max_size=2))
def test_every_recipe_is_written_and_read_as_the_same_key(some):
    """What is a factor keeps every digit, and no text is a gap."""
    keys = [name for name in asdict(Recipe()) if name not in rows.OF_A_RUN] + ["seed"]
    made = [{name: getattr(recipe, name) for name in keys}
            | {"dataset": text, "status": "finished", "epoch": 1, "loss": 1 / 3, "code": "12345678"}
            for recipe, text in some]
    made.sort(key=lambda row: [row[name] for name in keys])
    with TemporaryDirectory() as folder:
        rows.write_table(Path(folder, "table.csv"), {"factors": keys[:-1]}, reversed(made))
        there = rows.read_rows(Path(folder, "table.csv"))[1]
    assert there == [row | {"loss": 0.3333333} for row in made]
    assert [*map(type, there[0].values())] == [*map(type, made[0].values())]


@pytest.mark.parametrize("file", sorted((files.ROOT / studies.RESULTS).glob("*.csv")),
                         ids=lambda file: file.stem)
def test_published_tables_are_of_their_studies_and_stay_to_the_byte(file, tmp_path):
    study = tools.plan(file.stem, f"runs/{file.stem}")
    assert study.lacks() == []
    head, there = rows.read_rows(file)
    assert head["runs"] == len(there) == len(study.runs)
    rows.write_table(tmp_path / "again.csv", head, reversed(there))
    assert (tmp_path / "again.csv").read_bytes() == file.read_bytes()
    assert pd.read_csv(file, comment="#").shape == rows.read_table(file)[1].shape


def test_a_live_run_takes_all_images_where_there_are_fewer_than_asked_for(few):
    common = {"dataset": "mnist_sample", "arch": "mnist_8k", "epochs": 1, "subset_seed": 2}
    fewer, all_of_them = (rows.try_out(few, common | {"train_size": size}, norm=["batch"])
                          for size in (2000, 300))
    assert fewer["loss"].equals(all_of_them["loss"])


@pytest.fixture
def make(tmp_path, monkeypatch):
    """make(folder, ...) is the study above, with some changes."""
    np.savez(tmp_path / "tiny.npz", **arrays())
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setattr(studies, "STUDIES", tmp_path)

    def write(folder="one", **changes):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(STUDY | changes, sort_keys=False))
        return tools.plan("mine", str(tmp_path / folder))
    return write


def test_points_are_the_grid_with_what_goes_together_and_a_seed_draws_the_images(make):
    grid = {"norm": ["BN", "group"], "x": [{"lr": 0.1, "batch_size": 8}, {"lr": 1, "epochs": 2}]}
    study = make(grid=grid, seeds=[1, 2], common={"train_size": 20})
    assert study.says["factors"] == ["norm", "lr", "batch_size", "epochs"]
    assert [(r.norm, r.lr, r.batch_size, r.epochs, r.seed, r.subset_seed)
            for r in study.recipes] == [(norm, *level, seed, seed) for level in (  # long ones first
        (0.1, 8, 20), (1.0, 128, 2)) for norm in ("batch", "group") for seed in (1, 2)]
    assert make(common={"augment": "none"}).recipes[0].subset_seed == 0


def test_a_worker_that_is_stopped_anywhere_loses_no_row_and_makes_none_twice(
        make, capsys, monkeypatch):
    """Killed between two rows, or while parts are joined; and a disk that is full for a while."""
    undisturbed, study, run_once, made = make("undisturbed"), make(), rows.run_once, []
    undisturbed.do("1of1")
    undisturbed.end()
    assert undisturbed.lacks() == undisturbed.parts() == []

    def die(recipe, *rest):
        made.append(recipe)
        if len(made) in (3, 5, 7):
            raise SystemExit
        return run_once(recipe, *rest)

    monkeypatch.setattr(rows, "run_once", die)
    for job in ("1of2", "1of2", "2of2"):  # a part takes up where it stopped
        with pytest.raises(SystemExit):
            study.do(job)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", mock.Mock(side_effect=OSError(28, "No space left on device")))
        with pytest.raises(OSError, match=says("cannot write .part2of2.csv", "No space left")):
            study.do("2of2")
    kept = {part: part.read_bytes() for part in study.parts()}
    study.end()
    before = study.table.read_bytes()
    assert (len(kept), study.parts(), len(study.lacks())) == (2, [], 4)
    for part, content in kept.items():  # as if it had been killed before they were removed
        part.write_bytes(content)
    study.end()
    assert study.table.read_bytes() == before
    for job in ("3of3", "1of3", "2of3"):
        study.do(job)
    study.end()
    found, right = (rows.read_table(each.table)[1] for each in (study, undisturbed))
    pd.testing.assert_frame_equal(found.assign(seconds=0), right.assign(seconds=0))
    assert set(found["status"]) == {"finished", "diverged"}  # a result, without any other value
    assert found.loc[found["status"] == "diverged", [*rows.FIGURES]].isna().all(axis=None)
    assert len(made) == 8 + 3 + 1  # those that were killed, and one that found no room
    assert "lr 1000000000.0, seed 10000001: diverged in epoch 1, " in capsys.readouterr().out


@pytest.mark.slow
def test_snakemake_deals_the_rows_into_parts_and_joins_them(folder):
    """The trial study, of which a kill has left all rows but one."""
    study = tools.plan("trial_lab", str(folder))
    made = [{name: getattr(recipe, name) for name in (*study.says["factors"], "seed")}
            | {"status": "diverged", "epoch": 1} for recipe in study.recipes[:-1]]
    rows.write_table(folder / ".part1of3.csv", study.head, made)
    done = run([sys.executable, "-m", "snakemake", "--snakefile", "studies/Snakefile", "--cores", 1,
                "--config", "study=trial_lab", f"folder={folder.relative_to(files.ROOT)}"])
    assert "8 runs, 1 of them to do" in done.stderr, done.stderr[-3000:]
    assert "1of1: trial_lab 8/8: " in done.stdout
    assert " s, then about 0 min\n" in done.stdout
    assert study.lacks() == []
    left = {path.name for path in folder.iterdir() if path.suffix != ".lock"}
    assert left == {".lock", "trial_lab.csv"}


def test_a_table_says_what_it_lacks_and_a_younger_parameter_had_its_default(
        tmp_path, monkeypatch):
    head, there = rows.read_rows(files.ROOT / studies.RESULTS / "rates.csv")
    rows.write_table(tmp_path / "rates.csv", head, there[2:])
    monkeypatch.setattr(studies, "RESULTS", tmp_path)
    assert rows.load_table("rates").attrs["missing"] == 2
    common = head["common"]
    old = head | {"common": {name: common[name] for name in common if name != "weight_decay"}}
    rows.check_head(tmp_path, old, head)
    with pytest.raises(ValueError, match=says("another common", "0.0", "'weight_decay': 0.1")):
        rows.check_head(tmp_path, old, head | {"common": common | {"weight_decay": 0.1}})


def test_a_study_of_notebooks_is_a_table_too(monkeypatch, tmp_path):
    monkeypatch.setattr(studies, "RESULTS", tmp_path)
    shutil.copytree(files.ROOT / "results" / "best", tmp_path / "best")
    table = rows.load_records("best")
    assert table.attrs["common"]["arch"] == "mnist_best"
    assert (table.attrs["missing"], "l1" in table.attrs["common"]) == (0, False)
    [*_, file] = sorted((tmp_path / "best").glob("*.json"))
    last = json.loads(file.read_bytes())["epochs"][-1]
    assert table["test_accuracy"].to_list()[-1] == last["test_accuracy"]
    file.unlink()
    assert rows.load_records("best").attrs["missing"] == 1
