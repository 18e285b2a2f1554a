"""Runs without notebooks, and the table that they leave."""

import json
import math
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import arrays, first, fit, make_recipe, says

from coursepack import files
from coursepack.data.datasets import load_dataset, take_part
from coursepack.lab import rows

STUDY = {"study": "trial", "about": "?", "expected": "!", "factors": ["norm", "lr"], "measure": []}


def test_a_row_is_the_last_epoch_of_the_same_run_with_a_record(tmp_path, few):
    recipe = make_recipe(tmp_path, epochs=2, norm="group", arch="mnist_8k", l1=1e-5, l2=1e-3)
    data = first(few, 200, 100)
    _, history = fit(data, recipe)
    row = rows.run_once(recipe, data)
    assert row["status"] == "finished"
    assert row["epoch"] == 2
    for name in ("loss", "penalty", "accuracy", "test_loss", "test_accuracy"):
        assert row[name] == history[-1][name], name
    assert not (recipe.run_dir / "record.json").exists()


def test_a_run_that_diverges_is_a_result(tmp_path, few):
    recipe = make_recipe(tmp_path, norm="none", lr=1e9, epochs=3, augment="none")
    row = rows.run_once(recipe, first(few, 100, 50), ["sparsity"])
    assert (row["status"], row["epoch"]) == ("diverged", 1)
    assert {"test_accuracy", "loss", "exact_zeros"}.isdisjoint(row)


def test_a_run_takes_its_part_of_the_data(tmp_path, few, monkeypatch):
    seen = []
    monkeypatch.setattr(rows.loop, "build_model",
                        lambda recipe, data: seen.append(data) or 1 / 0)
    recipe = make_recipe(tmp_path, train_size=50, subset_seed=3, label_noise=0.2)
    with pytest.raises(ZeroDivisionError):
        rows.run_once(recipe, few)
    expected = take_part(few, 50, 3, 0.2)
    assert torch.equal(seen[0].train_labels, expected.train_labels)
    assert torch.equal(seen[0].train_images, expected.train_images)


def test_a_small_experiment_is_a_table_of_its_factors(few, capsys):
    common = {"epochs": 1, "augment": "none", "device": "cpu", "arch": "mnist_8k", "seed": 3}
    table = rows.try_out(first(few, 60, 50), common, ["fit"], norm=["batch", "none"],
                               lr=[0.1, 1e9])
    assert table[["norm", "lr"]].values.tolist() == [
        ["batch", 0.1], ["batch", 1e9], ["none", 0.1], ["none", 1e9]]
    assert table["status"].tolist()[3] == "diverged"
    assert table["seed"].tolist() == [3] * 4
    assert table["fit_accuracy"][0] >= 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    assert "norm none, lr 1000000000.0, seed 3: diverged in epoch 1" in said[3]


# ---------------------------------------------------------------------------------- its table
@pytest.fixture
def table(tmp_path):
    np.savez(tmp_path / "tiny.npz", **arrays())
    data = load_dataset("tiny", str(tmp_path))
    recipes = [make_recipe(tmp_path, norm=norm, lr=lr, seed=seed)
               for norm in ("none", "batch") for lr in (0.1, 1.0) for seed in (1, 2)]
    head = rows.table_head(STUDY, recipes, data)
    return tmp_path / "trial.csv", head, tmp_path / "lock"


def row(norm="none", lr=0.1, seed=1, **own):
    return {"norm": norm, "lr": lr, "seed": seed, "status": "finished", "epoch": 2, "loss": 1 / 3,
            "test_accuracy": 0.9, "seconds": 1.5, "threads": 1, "torch": "2", "code": "0a"} | own


def test_rows_come_back_as_they_were_and_in_one_order(table):
    file, head, lock = table
    for norm, lr, seed in (("none", 1.0, 2), ("batch", 0.1, 1), ("none", 0.1, 1)):
        rows.add_row(file, head, row(norm, lr, seed), lock)
    there, table = rows.read_table(file)
    assert there == head
    assert table[["norm", "lr", "seed"]].values.tolist() == [
        ["batch", 0.1, 1], ["none", 0.1, 1], ["none", 1.0, 2]]
    assert table["loss"].tolist() == pytest.approx([1 / 3] * 3, rel=1e-6)
    assert table["norm"].tolist()[1] == "none"  # which is not a missing value
    assert pd.read_csv(file, comment="#").shape == table.shape


def test_the_order_in_which_rows_come_leaves_no_trace(table, tmp_path):
    file, head, lock = table
    some = [row(), row("batch"), {k: v for k, v in row(lr=1.0, status="diverged").items()
                                  if k not in ("loss", "test_accuracy")}]
    for one in some:
        rows.add_row(file, head, one, lock)
    other = tmp_path / "other.csv"
    for one in reversed(some):
        rows.add_row(other, head, one, lock)
    assert file.read_bytes() == other.read_bytes()
    assert math.isnan(rows.read_table(file)[1]["loss"].tolist()[-1])


def test_a_run_that_is_there_stays_as_it_is(table):
    file, head, lock = table
    rows.add_row(file, head, row(), lock)
    before = file.read_bytes()
    rows.add_row(file, head, row(test_accuracy=0.1), lock)
    assert file.read_bytes() == before
    assert rows.finished_keys(file, STUDY["factors"]) == {("none", "0.1", "1")}


def test_many_at_once_lose_no_row(table):
    file, head, lock = table
    workers = [threading.Thread(target=rows.add_row, args=(file, head, row(seed=k), lock))
               for k in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert rows.read_table(file)[1]["seed"].tolist() == list(range(12))


@pytest.mark.parametrize(("part", "value", "word"), [
    ("common", {"epochs": 7}, "epochs"), ("data", {"content": "0"}, "content"),
    ("factors", ["norm"], "factors"), ("measure", ["fit"], "fit"),
])
def test_rows_of_other_settings_are_refused(table, part, value, word):
    file, head, lock = table
    rows.add_row(file, head, row(), lock)
    other = json.loads(json.dumps(head))
    other[part] = other[part] | value if isinstance(value, dict) else value
    before = file.read_bytes()
    with pytest.raises(ValueError, match=says(file, part, word)):
        rows.add_row(file, other, row(seed=2), lock)
    assert file.read_bytes() == before
    more = head | {"runs": 99, "about": "a study may grow"}
    rows.add_row(file, more, row(seed=2), lock)


@pytest.mark.parametrize("content", ["", "norm,lr\n", "# []\nnorm\n", "# {\nnorm,lr\n",
                                     '# {"factors": ["norm"]}\nlr,seed\n0.1,1\n'])
def test_a_file_that_is_no_table_is_named(tmp_path, content):
    (tmp_path / "x.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=says(tmp_path / "x.csv", "make study")):
        rows.read_table(tmp_path / "x.csv")


def test_a_full_disk_leaves_the_table_as_it_was(table, monkeypatch):
    file, head, lock = table
    rows.add_row(file, head, row(), lock)
    before = file.read_bytes()
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(OSError, match=says("trial.csv", "No space")):
        rows.add_row(file, head, row(seed=2), lock)
    assert file.read_bytes() == before


def test_a_published_table_says_what_it_lacks(table, monkeypatch):
    file, head, lock = table
    rows.add_row(file, head, row(), lock)
    monkeypatch.setattr(rows, "TABLES", file.parent)
    table = rows.load_table("trial")
    assert table.attrs["missing"] == 7
    assert table.attrs["common"]["epochs"] == head["common"]["epochs"]
    with pytest.raises(ValueError, match=says("tral", "trial", "make study STUDY=tral")):
        rows.load_table("tral")


def test_a_study_of_notebooks_is_a_table_too(monkeypatch, tmp_path):
    table = rows.load_records("best")
    assert table.attrs["missing"] == 0
    assert table.groupby("norm")["seed"].nunique().to_dict() == {"batch": 5, "group": 5, "layer": 5}
    assert table.attrs["common"]["arch"] == "mnist_best"
    assert "l1" not in table.attrs["common"]
    whole = sorted((files.ROOT / "results" / "best").glob("*.json"))
    record = json.loads(whole[0].read_text(encoding="utf-8"))
    row = table[(table["norm"] == record["parameters"]["norm"])
                & (table["seed"] == record["parameters"]["seed"])]
    assert row["test_accuracy"].item() == record["epochs"][-1]["test_accuracy"]

    (tmp_path / "results" / "best").mkdir(parents=True)
    for file in whole[:-1]:
        (tmp_path / "results" / "best" / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(files, "ROOT", tmp_path)
    assert rows.load_records("best").attrs["missing"] == 1
    with pytest.raises(ValueError, match=says("study='bset'", "make report")):
        rows.load_records("bset")


def test_a_table_says_what_was_expected_and_how_many_runs_diverged():
    table = rows.load_table("rates")
    lines = rows.describe_table(table).splitlines()
    assert lines[0] == "study rates: 225 of 225 runs, 5 seeds, 42 diverged"
    assert " ".join(lines[1:]) == "Expected before it ran: " + table.attrs["expected"]
    assert max(map(len, lines)) <= 80
