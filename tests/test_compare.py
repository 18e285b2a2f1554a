"""What is said about several seeds: against scipy's and mlxtend's own tests, and by simulation."""

import numpy as np
import pytest
from helpers import make_record, several_seeds
from mlxtend.evaluate import mcnemar
from scipy import stats

from coursepack import compare
from model import NORMS


def test_runs_that_differ_in_seed_and_place_alone_are_one_recipe():
    records = [make_record("layer", 2, 0.9), make_record("batch", 1, 0.9),
               make_record("layer", 1, 0.9, device="cuda", runs_dir="elsewhere")]
    recipes = compare.by_recipe(records)
    assert list(recipes) == ["LN", "BN"]  # as they came
    assert recipes["LN"] == [records[2], records[0]]  # by seed


def test_recipes_of_one_name_are_told_apart_by_what_differs():
    records = [make_record("batch", 1, 0.9, skip=skip, dropout=0.1) for skip in (False, True)]
    records.append(make_record("group", 1, 0.9, skip=True, dropout=0.1))
    assert list(compare.by_recipe(records)) == ["BN, skip false", "BN, skip true", "GN(2)"]


def test_mean_and_interval_are_scipys():
    values = np.random.default_rng(0).normal(0.99, 0.01, (7, 3))
    mean, half = compare.mean_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(mean - half, expected.low)
    np.testing.assert_allclose(mean + half, expected.high)


def test_one_value_has_no_interval():
    mean, half = compare.mean_interval(np.array([0.99]))
    assert (mean, half) == (0.99, np.inf)


def test_differences_are_paired_by_seed_and_widened_for_the_number_of_pairs():
    rng = np.random.default_rng(0)
    records = several_seeds({"batch": 0.99, "group": 0.98, "layer": 0.97}, 0.005, 5, rng)
    records.append(make_record("batch", 9, 0.1))  # no other recipe has this seed
    rng.shuffle(records)
    found = {(d.recipe, d.other): d for d in compare.pairwise_differences(records)}
    assert len(found) == 3
    recipes = compare.by_recipe(records)
    for (name, other), difference in found.items():
        values = [[run["epochs"][-1]["test_accuracy"] for run in recipes[recipe]
                   if run["parameters"]["seed"] != 9] for recipe in (name, other)]
        expected = stats.ttest_rel(*values).confidence_interval(1 - 0.05 / 3)
        assert difference.seeds == 5
        assert difference.low == pytest.approx(expected.low)
        assert difference.high == pytest.approx(expected.high)


@pytest.mark.parametrize("sizes", [(0, 0, 0), (5, 3, 1), (40, 12, 2), (0, 30, 5), (7, 0, 9)])
def test_mcnemar_is_mlxtends(sizes):
    both, only, only_other = sizes
    wrong = set(range(both + only))
    other = set(range(both)) | set(range(500, 500 + only_other))
    records = [make_record("batch", 1, 0.9, wrong), make_record("layer", 1, 0.9, other)]
    [difference] = compare.pairwise_differences(records)
    if only + only_other:
        table = np.array([[1000 - both - only - only_other, only_other], [only, both]])
        assert difference.p_values == [pytest.approx(min(1, mcnemar(table, exact=True)[1]))]
    else:
        assert difference.p_values == [1.0]


def test_one_run_each_supports_no_statement():
    records = [make_record("batch", 1, 0.99), make_record("layer", 1, 0.1)]
    [difference] = compare.pairwise_differences(records)
    assert str(difference) == "BN and LN: one run each supports no statement."


def test_sentence_claims_a_difference_only_where_the_interval_leaves_out_zero():
    difference = compare.Difference("BN", "LN", 5, 0.001, 0.0004, 0.0016, [])
    assert str(difference) == "BN ends higher than LN, by 0.04 to 0.16 percentage points (5 seeds)."
    difference = compare.Difference("BN", "LN", 5, -0.001, -0.0016, -0.0004, [])
    assert str(difference) == "BN ends lower than LN, by 0.04 to 0.16 percentage points (5 seeds)."
    difference = compare.Difference("BN", "LN", 3, 0.001, -0.0011, 0.0031, [])
    assert str(difference) == ("BN and LN: no difference larger than 0.31 percentage points is "
                               "supported by these 3 seeds.")


@pytest.mark.parametrize("seeds", [3, 5])
def test_equal_recipes_are_called_different_in_one_study_of_twenty_at_most(seeds):
    rng, wrong = np.random.default_rng(seeds), 0
    for _ in range(300):
        records = several_seeds(dict.fromkeys(("batch", "group", "layer"), 0.99), 0.001, seeds, rng)
        found = compare.pairwise_differences(records)
        wrong += any("ends" in str(difference) for difference in found)
    assert wrong / 300 <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 300)


def test_a_real_difference_is_found():
    rng = np.random.default_rng(0)
    records = several_seeds({"batch": 0.99, "layer": 0.98}, 0.001, 5, rng)
    [difference] = compare.pairwise_differences(records)
    assert difference.low > 0
    assert str(difference).startswith("BN ends higher than LN")


def test_table_gives_means_over_seeds_and_says_how_many():
    records = [make_record("batch", seed, accuracy)
               for seed, accuracy in ((1, 0.990), (2, 0.992), (3, 0.994))]
    row = compare.results_table([*records, make_record("layer", 1, 0.98)]).loc["BN"]
    assert (row["seeds"], row["final test accuracy"]) == (3, "99.20%")
    half = stats.t.ppf(0.975, 2) * 0.002 / np.sqrt(3)
    assert row["95 % interval"] == f"{0.992 - half:.2%} to {0.992 + half:.2%}"
    assert row["each seed"] == "99.00%, 99.20%, 99.40%"
    assert row["weights below 0.001"] == "25.0%"
    assert row["best epoch, on the test set"] == "100.20%"  # the records' own epochs


def test_interval_of_a_single_run_is_that_of_its_test_set():
    low, high = compare.accuracy_interval(0.98, 1000)
    row = compare.results_table([make_record("layer", 1, 0.98)]).loc["LN"]
    assert row["95 % interval"] == f"{low:.2%} to {high:.2%}"


def test_interval_of_the_documents_best_accuracy():
    low, high = compare.accuracy_interval(0.9943, 10_000)
    assert (round(low, 4), round(high, 4)) == (0.9926, 0.9956)


@pytest.mark.parametrize(("parameters", "name"), [
    ({"norm": "batch", "l1": 1e-5, "l2": 1e-4}, "BN + L1 + L2"),
    ({"norm": "GN", "groups": 2, "l1": 1e-5}, "GN(2) + L1"),
    ({"norm": "layer", "l2": 1e-4}, "LN + L2"),
    ({"norm": "instance"}, "IN"),
    ({"norm": "none"}, "no norm"),
])
def test_title_says_norm_and_penalties(parameters, name):
    record = {"parameters": {"groups": 2, "l1": 0.0, "l2": 0.0} | parameters}
    assert compare.recipe_title(record) == name


def test_every_norm_has_a_look_of_its_own():
    """A colour that a norm lacks would be a KeyError after its training."""
    assert set(compare.LOOKS) == set(NORMS)
    for part in zip(*compare.LOOKS.values()):
        assert len(set(part)) == len(NORMS)
