"""Notebook 04: where its runs come from, and odd runs that it has to show."""

import json

import matplotlib.pyplot as plt
import pytest
from helpers import make_record, run_cells, says, write_run

from coursepack import files
from coursepack.runs import records
from coursepack.runs.records import find_runs
from coursepack.train.recipe import summary_parameters


def test_names_are_joined_by_commas():
    notebook = json.loads((files.ROOT / "notebooks" / "04_summary.ipynb").read_bytes())
    variables = {}
    exec("".join(notebook["cells"][1]["source"]), variables)  # the defaults
    assert summary_parameters(variables) == (["bn_l1_l2", "gn_l1", "ln_l2"], [])
    assert summary_parameters(variables | {"runs": " a ,b", "factors": "lr, epochs"}) == (
        ["a", "b"], ["lr", "epochs"])


@pytest.fixture
def course(monkeypatch, tmp_path):
    """A course of its own, without runs, with the published ones."""
    (tmp_path / "results").mkdir()
    (tmp_path / records.PUBLISHED).symlink_to(files.ROOT / records.PUBLISHED)
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    return tmp_path


def test_without_finished_runs_the_published_ones_are_compared(course):
    (course / "runs" / "bn_l1_l2").mkdir(parents=True)  # notebook 01 was merely opened
    (course / "runs" / "bn_l1_l2" / "unfinished-1.pt").touch()
    assert find_runs(["bn_l1_l2", "gn_l1", "ln_l2"], "") == course / records.PUBLISHED
    for names, runs_dir in ((["mine"], ""), (["gn_l1"], "runs")):  # but not for any other question
        with pytest.raises(FileNotFoundError, match=says(names[0], course / "runs")):
            find_runs(names, runs_dir)


def test_own_runs_are_compared_where_there_are_any(course):
    for name in ("bn_l1_l2", "mine"):
        (course / "runs" / name).mkdir(parents=True)
        (course / "runs" / name / "record.json").write_text("{}", encoding="utf-8")
    assert find_runs(["mine", "bn_l1_l2"], "") == find_runs(["mine"], "runs") == course / "runs"
    for names, said in ((["bn_l1_l2", "gn_l1"], ["gn_l1", "02_group_norm_l1"]),
                        (["other", "ln_l2"], ["other; ln_l2"])):
        with pytest.raises(FileNotFoundError, match=says("Finished there: bn_l1_l2, mine", *said)):
            find_runs(names, "")


ODD = {  # runs: norm, seed, accuracy, parameters; then the classes, the factors, what is said
    "no mistakes at all": ([("batch", seed, 1.0, {}) for seed in range(5)], 10, "",
                           "no other recipe with three seeds"),
    "every image wrong beside almost none": ([("batch", 1, 0.0, {}), ("layer", 1, 0.999, {})], 10,
                                             "", "fewer than three seeds, no statement"),
    "many recipes of a hundred classes": ([
        (norm, seed, 0.9 + seed / 1000, {"lr": lr, "run_name": f"{norm}-{lr}-{seed}"})
        for norm, seeds in (("batch", (1, 2, 3)), ("layer", (1, 2, 3)), ("group", (1,)))
        for lr in (0.1, 0.2) for seed in seeds], 100, "lr", "BN, lr 0.1 and BN, lr 0.2: undecided"),
}


@pytest.mark.parametrize("what", ODD)
def test_odd_runs_end_in_a_page(what, tmp_path, capsys, monkeypatch):
    def show(figure, *arguments, **more):  # in place of a picture of it, which takes longer
        figure.draw_without_rendering()
        plt.close(figure)

    monkeypatch.setattr("utils.show", show)
    made, classes, factors, said = ODD[what]
    names = [write_run(tmp_path, make_record(norm, seed, accuracy, **own), classes).name
             for norm, seed, accuracy, own in made]
    run_cells("04", runs=", ".join(names), runs_dir=str(tmp_path), factors=factors, shown=1,
              images_dir=str(tmp_path / "images"))
    assert said in " ".join(capsys.readouterr().out.split())
