"""Runs as recipes: which are one, their names, what may be compared; odd ones in notebook 04."""

import matplotlib.pyplot as plt
import pytest
from helpers import make_record, run_summary, says, write_run

from coursepack.files import ROOT
from coursepack.runs import recipes, records
from coursepack.show import looks
from model import NORMS


@pytest.mark.parametrize(("others", "names"), [
    ([("batch", 2, {}), ("batch", 1, {"device": "cuda", "runs_dir": "elsewhere"})], ["BN"]),
    ([("layer", 1, {}), ("batch", 1, {}), ("layer", 2, {})], ["LN", "BN"]),  # as they came
    ([("bn", 1, {}), ("BN", 2, {}), ("batch", 3, {"groups": 4}),  # what does nothing
      ("batch", 4, {"layer_affine": "channel"}), ("batch", 5, {"order": "act-drop-norm"})], ["BN"]),
    ([("batch", 1, {"skip": False, "dropout": 0.1}), ("batch", 1, {"skip": True, "dropout": 0.1}),
      ("group", 1, {"skip": True, "dropout": 0.1})], ["BN, skip false", "BN, skip true", "GN(2)"]),
    ([("batch", 1, {"l1": 1e-5, "l2": 1e-4}), ("GN", 1, {"l1": 1e-5}), ("none", 1, {})],
     ["BN + L1 + L2", "GN(2) + L1", "no norm"]),
    ([("batch", 1, {"lr": 0.1}), ("layer", 1, {"lr": 0.2})], ["BN, lr 0.1", "LN, lr 0.2"]),
    ([("group", 1, {"groups": 1}), ("group", 1, {"groups": 4})], ["GN(1)", "GN(4)"]),
    ([("layer", 1, {"layer_affine": way}) for way in ("element", "channel")],
     ["LN, layer_affine element", "LN, layer_affine channel"]),
], ids=str)
def test_runs_that_differ_in_seed_and_place_and_what_does_nothing_are_one_recipe(others, names):
    grouped = recipes.by_recipe([make_record(norm, seed, 0.9, **own) for norm, seed, own in others])
    assert list(grouped) == names
    seeds = [[run["parameters"]["seed"] for run in runs] for runs in grouped.values()]
    assert seeds == [sorted(some) for some in seeds]
    assert sorted(sum(seeds, [])) == sorted(seed for _, seed, _ in others)


@pytest.mark.parametrize(("changes", "parameters", "factors"), [
    ({"source": "torchvision"}, {}, []),
    ({"content": None}, {}, []),  # an old record
    ({}, {"lr": 0.2}, ["lr"]),
    ({"train_size": 9, "content": "fewer"}, {"train_size": 9}, ["train_size"]),
    ({"train_size": 9, "content": "fewer"}, {"holdout": 1}, ["holdout"]),
], ids=str)
def test_what_makes_no_difference_or_is_asked_about_may_differ(changes, parameters, factors):
    runs = [make_record("batch", 1, 0.9), make_record("layer", 1, 0.9, **parameters)]
    for run, own in zip(runs, ({}, changes)):
        run["data"] |= {"content": "this"} | own
    recipes.check_comparable(runs, factors)


def test_every_norm_has_a_look_of_its_own():
    """A colour that a norm lacks would be a KeyError after its training."""
    assert set(looks.LOOKS) == set(NORMS)
    for different in zip(*looks.LOOKS.values()):
        assert len(set(different)) == len(NORMS)


# ------------------------------------------------------------------------------ notebook 04
def test_published_runs_are_compared_until_there_are_own_ones_and_own_ones_always(
        monkeypatch, tmp_path):
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / records.PUBLISHED).symlink_to(ROOT / records.PUBLISHED)
    own, published = tmp_path / "runs", tmp_path / records.PUBLISHED
    for name in ("bn_l1_l2", "mine"):
        (own / name).mkdir(parents=True)  # the notebook was merely opened
    assert records.find_runs(["bn_l1_l2", "gn_l1", "ln_l2"], "") == published
    for names, runs_dir in ((["mine"], ""), (["gn_l1"], "runs")):  # but not for any other question
        with pytest.raises(FileNotFoundError, match=says(names[0], own)):
            records.find_runs(names, runs_dir)
    for name in ("bn_l1_l2", "mine"):
        (own / name / "record.json").write_text("{}", encoding="utf-8")
    assert records.find_runs(["mine", "bn_l1_l2"], "") == records.find_runs(["mine"], "runs") == own
    for names, said in ((["bn_l1_l2", "gn_l1"], ["gn_l1", "02_group_norm_l1"]),
                        (["other", "ln_l2"], ["other; ln_l2"])):
        with pytest.raises(FileNotFoundError, match=says("Finished there: bn_l1_l2, mine", *said)):
            records.find_runs(names, "")


def test_odd_runs_end_in_a_page(tmp_path, capsys, monkeypatch):
    """Recipes of many classes, of one seed, of no mistakes, of nothing right."""
    def show(figure, *arguments, **more):  # in place of a picture of it, which takes longer
        figure.draw_without_rendering()
        plt.close(figure)

    monkeypatch.setattr("utils.show", show)
    names = [write_run(tmp_path, make_record(norm, seed, accuracy + seed * spread, lr=lr,
                                             run_name=f"{norm}-{lr}-{seed}"), 20).name
             for norm, lr, seeds, accuracy, spread in (
                 ("batch", 0.1, 3, 0.9, 0.001), ("batch", 0.2, 3, 0.901, 0.001),
                 ("group", 0.1, 1, 0.0, 0.0), ("layer", 0.2, 3, 1.0, 0.0))
             for seed in range(seeds)]
    run_summary(runs=", ".join(names), runs_dir=str(tmp_path), factors="lr", shown=1,
                images_dir=str(tmp_path / "images"))
    said = " ".join(capsys.readouterr().out.split())
    assert "BN, lr 0.1 and BN, lr 0.2: undecided" in said
    assert "GN(2), lr 0.1: fewer than three seeds, no statement" in said
