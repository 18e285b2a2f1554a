"""Runs as recipes: which are one, what they are called, and what may be compared."""

import pytest
from helpers import make_record

from coursepack.runs import recipes
from coursepack.show import looks
from model import NORMS


@pytest.mark.parametrize(("others", "names"), [
    ([("batch", 2, {}), ("batch", 1, {"device": "cuda", "runs_dir": "elsewhere"})], ["BN"]),
    ([("layer", 1, {}), ("batch", 1, {}), ("layer", 2, {})], ["LN", "BN"]),  # as they came
    ([("bn", 1, {}), ("BN", 2, {}), ("batch", 3, {"groups": 4}),  # what does nothing
      ("batch", 4, {"layer_affine": "channel"}), ("batch", 5, {"order": "act-drop-norm"})], ["BN"]),
    ([("batch", 1, {"skip": False, "dropout": 0.1}), ("batch", 1, {"skip": True, "dropout": 0.1}),
      ("group", 1, {"skip": True, "dropout": 0.1})], ["BN, skip false", "BN, skip true", "GN(2)"]),
    ([("batch", 1, {"lr": 0.1}), ("layer", 1, {"lr": 0.2})], ["BN, lr 0.1", "LN, lr 0.2"]),
    ([("group", 1, {"groups": 1}), ("group", 1, {"groups": 4})], ["GN(1)", "GN(4)"]),
    ([("layer", 1, {"layer_affine": way}) for way in ("element", "channel")],
     ["LN, layer_affine element", "LN, layer_affine channel"]),
], ids=str)
def test_runs_that_differ_in_seed_and_place_and_what_does_nothing_are_one_recipe(others, names):
    records = [make_record(norm, seed, 0.9, **own) for norm, seed, own in others]
    grouped = recipes.by_recipe(records)
    assert list(grouped) == names
    assert sum(map(len, grouped.values())) == len(records)
    for runs in grouped.values():
        seeds = [run["parameters"]["seed"] for run in runs]
        assert seeds == sorted(seeds)


@pytest.mark.parametrize(("parameters", "name"), [
    ({"norm": "batch", "l1": 1e-5, "l2": 1e-4}, "BN + L1 + L2"),
    ({"norm": "GN", "groups": 2, "l1": 1e-5}, "GN(2) + L1"),
    ({"norm": "layer", "l2": 1e-4}, "LN + L2"), ({"norm": "instance"}, "IN"),
    ({"norm": "none"}, "no norm"),
])
def test_title_says_norm_and_penalties(parameters, name):
    record = {"parameters": {"groups": 2, "l1": 0.0, "l2": 0.0} | parameters}
    assert recipes.recipe_title(record) == name


@pytest.mark.parametrize(("changes", "parameters", "factors"), [
    ({"source": "torchvision"}, {}, []),
    ({"content": None}, {}, []),  # an old record
    ({}, {"lr": 0.2}, ["lr"]),
    ({"train_size": 9, "content": "fewer"}, {"train_size": 9}, ["train_size"]),
    ({"train_size": 9, "content": "fewer"}, {"holdout": 1}, ["holdout"]),
], ids=str)
def test_what_makes_no_difference_or_is_asked_about_may_differ(changes, parameters, factors):
    records = [make_record("batch", 1, 0.9), make_record("layer", 1, 0.9, **parameters)]
    for record, own in zip(records, ({}, changes)):
        record["data"] |= {"content": "this"} | own
    recipes.check_comparable(records, factors)


def test_every_norm_has_a_look_of_its_own():
    """A colour that a norm lacks would be a KeyError after its training."""
    assert set(looks.LOOKS) == set(NORMS)
    for different in zip(*looks.LOOKS.values()):
        assert len(set(different)) == len(NORMS)
