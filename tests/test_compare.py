"""What is said about several seeds: against scipy's and mlxtend's own tests, and by simulation."""

import itertools

import numpy as np
import pytest
from helpers import make_record, says, several_seeds
from mlxtend.evaluate import mcnemar
from scipy import stats

from coursepack.files import ROOT
from coursepack.lab import effects
from coursepack.runs import recipes
from coursepack.runs.records import load_record
from coursepack.show import looks
from model import NORMS


def test_runs_that_differ_in_seed_and_place_alone_are_one_recipe():
    records = [make_record("layer", 2, 0.9), make_record("batch", 1, 0.9),
               make_record("layer", 1, 0.9, device="cuda", runs_dir="elsewhere")]
    grouped = recipes.by_recipe(records)
    assert list(grouped) == ["LN", "BN"]  # as they came
    assert grouped["LN"] == [records[2], records[0]]  # by seed


def test_recipes_of_one_name_are_told_apart_by_what_differs():
    records = [make_record("batch", 1, 0.9, skip=skip, dropout=0.1) for skip in (False, True)]
    records.append(make_record("group", 1, 0.9, skip=True, dropout=0.1))
    assert list(recipes.by_recipe(records)) == ["BN, skip false", "BN, skip true", "GN(2)"]


def test_mean_and_interval_are_scipys():
    values = np.random.default_rng(0).normal(0.99, 0.01, (7, 3))
    mean, half = effects.mean_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(mean - half, expected.low)
    np.testing.assert_allclose(mean + half, expected.high)


def test_one_value_has_no_interval():
    mean, half = effects.mean_interval(np.array([0.99]))
    assert (mean, half) == (0.99, np.inf)


def final(records):
    return [recipes.final_values(runs) for runs in recipes.by_recipe(records).values()]


@pytest.mark.parametrize("seeds", [(5, 5, 5), (3, 4, 7)], ids=["as many each", "unequal"])
def test_intervals_of_all_pairs_are_those_of_tukeys_method(seeds):
    rng, means = np.random.default_rng(0), {"batch": 0.99, "group": 0.98, "layer": 0.97}
    records = [run for norm, count in zip(means, seeds)
               for run in several_seeds({norm: means[norm]}, 0.005, count, rng)]
    records += [make_record("none", seed, 0.1) for seed in (1, 2)]  # too few: takes no part
    expected = stats.tukey_hsd(*final(records)[:3]).confidence_interval()
    found = effects.pairwise_differences(records)
    assert [(d.seeds, d.other_seeds) for d in found] == list(itertools.combinations(seeds, 2))
    for difference, (i, j) in zip(found, itertools.combinations(range(3), 2)):
        assert difference.low == pytest.approx(expected.low[i, j], rel=1e-6)
        assert difference.high == pytest.approx(expected.high[i, j], rel=1e-6)


def test_equal_accuracies_still_leave_one_test_image_open():
    """Two seeds with equal differences were "higher, by 0.03 to 0.03"."""
    records = [make_record(norm, seed, accuracy) for seed in (1, 2, 3)
               for norm, accuracy in (("batch", 0.99), ("layer", 0.987))]
    [difference] = effects.pairwise_differences(records)
    width = stats.studentized_range.ppf(0.95, 2, 4) / np.sqrt(2)
    assert difference.low == pytest.approx(0.003 - width / 1000)
    assert difference.high == pytest.approx(0.003 + width / 1000)


def test_sentence_claims_a_difference_only_where_the_interval_leaves_out_zero():
    difference = effects.Difference("BN", "LN", 3, 5, 0.001, 0.0004, 0.0016)
    assert str(difference) == ("BN ends higher than LN, by 0.04 to 0.16 percentage points "
                               "(3 and 5 seeds).")
    difference = effects.Difference("BN", "LN", 3, 5, -0.001, -0.0016, -0.0004)
    assert str(difference) == ("BN ends lower than LN, by 0.04 to 0.16 percentage points "
                               "(3 and 5 seeds).")
    difference = effects.Difference("BN", "LN", 3, 3, 0.0001, -0.0005, 0.0007)
    assert str(difference) == ("BN and LN: undecided, from -0.05 to +0.07 percentage points "
                               "(3 and 3 seeds).")


@pytest.mark.parametrize(("seeds", "said"), [
    ({"batch": 1, "layer": 2}, ["BN; LN: fewer than three seeds, no statement."]),
    ({"batch": 1}, ["BN: fewer than three seeds, no statement."]),
    ({"batch": 3}, ["BN: no other recipe with three seeds to compare it with."]),
    ({"batch": 3, "layer": 2}, ["BN: no other recipe with three seeds to compare it with.",
                                "LN: fewer than three seeds, no statement."]),
], ids=str)
def test_fewer_than_three_seeds_support_no_statement(seeds, said):
    records = [make_record(norm, seed, 0.9 + seed / 1000)
               for norm, count in seeds.items() for seed in range(count)]
    assert effects.findings(records) == said
    assert effects.pairwise_differences(records) == []


def test_recipes_with_no_common_seed_are_compared():
    records = [make_record(norm, seed, 0.9 + seed / 1000)
               for norm, seeds in (("batch", (1, 2, 3)), ("layer", (4, 5, 6))) for seed in seeds]
    assert [d.seeds for d in effects.pairwise_differences(records)] == [3]


# ---------------------------------------------------------------------- what can be compared
@pytest.mark.parametrize(("changes", "said"), [
    ({"lr": 0.2}, ["lr", "0.1 (a)", "0.2 (b)", "factors"]),
    ({"epochs": 3}, ["epochs", "2 (a)", "3 (b)"]),
    ({"dataset": "fashion_mnist"}, ["dataset", "'mnist' (a)", "'fashion_mnist' (b)"]),
], ids=str)
def test_runs_of_one_title_do_not_hide_each_other(changes, said):
    records = [make_record("batch", 1, 0.9, run_name="a"),
               make_record("batch", 2, 0.9, run_name="b", **changes)]
    with pytest.raises(ValueError, match=says(*said)):
        recipes.check_comparable(records)
    if "lr" in changes:
        recipes.check_comparable(records, ["lr"])


@pytest.mark.parametrize(("changes", "said"), [
    ({"name": "digits"}, ["data set", "'mnist' (a)", "'digits' (b)"]),
    ({"source": "sample"}, ["the sample", "(b)", "the full data", "(a)"]),
    ({"classes": list("abcdefghij")}, ["the classes", "a, b, c"]),
    ({"train_size": 9}, ["training images", "10 (a)", "9 (b)"]),
    ({"test_size": 500}, ["test images", "1000 (a)", "500 (b)"]),
    ({"content": "other"}, ["not the same images", "'this' (a)", "'other' (b)"]),
    ({"source": "torchvision"}, None),
    ({"content": None}, None),  # an old record
], ids=str)
def test_runs_on_other_images_are_refused(changes, said):
    records = [make_record("batch", 1, 0.9, run_name="a"),
               make_record("layer", 1, 0.9, run_name="b")]
    for record, own in zip(records, ({}, changes)):
        record["data"] |= {"content": "this"} | own
    if said:
        with pytest.raises(ValueError, match=says(*said)):
            recipes.check_comparable(records)
    else:
        recipes.check_comparable(records)


def test_runs_may_differ_in_their_number_of_images_where_that_is_a_factor():
    records = [make_record("batch", 1, 0.9), make_record("batch", 1, 0.9, train_size=9)]
    records[1]["data"] |= {"train_size": 9, "content": "fewer"}
    recipes.check_comparable(records, ["train_size"])


def test_one_seed_twice_in_a_recipe_is_refused():
    records = [make_record("batch", 1, 0.9944, run_name="mine"), make_record("layer", 1, 0.9),
               make_record("BN", 1, 0.9944, run_name="again", device="cuda")]
    with pytest.raises(ValueError, match=says("mine and again", "seed, 1", "count as two")):
        effects.results_table(records)


@pytest.mark.parametrize("other", [
    {"norm": "bn"}, {"norm": "BN"}, {"groups": 4}, {"layer_affine": "channel"},
    {"order": "act-drop-norm"},  # mnist_7k's own
], ids=str)
def test_a_parameter_that_does_nothing_makes_no_recipe_of_its_own(other):
    records = [make_record("batch", 1, 0.9), make_record(**{"norm": "batch", "seed": 2,
                                                            "accuracy": 0.9} | other)]
    assert list(recipes.by_recipe(records)) == ["BN"]


def test_a_factor_stands_in_the_name_of_every_recipe():
    records = [make_record("batch", 1, 0.9, lr=0.1), make_record("layer", 1, 0.9, lr=0.2)]
    assert list(recipes.by_recipe(records)) == ["BN, lr 0.1", "LN, lr 0.2"]


# --------------------------------------------------------------------------- two networks
@pytest.mark.parametrize("sizes", [(0, 0, 0), (5, 3, 1), (40, 12, 2), (0, 30, 5), (7, 0, 9)])
def test_mcnemar_is_mlxtends(sizes):
    both, only, only_other = sizes
    wrong = set(range(both + only))
    other = set(range(both)) | set(range(500, 500 + only_other))
    records = [make_record("batch", 1, 0.9, wrong), make_record("layer", 1, 0.9, other)]
    p = 1.0
    if only + only_other:
        table = np.array([[1000 - both - only - only_other, only_other], [only, both]])
        p = min(1, mcnemar(table, exact=True)[1])
    assert effects.mcnemar_test(*records) == (only, only_other, pytest.approx(p))


def test_mcnemar_separates_networks_of_one_recipe():
    """Four of nine pairs, says notebook 04: so it says nothing about recipes."""
    paths = sorted((ROOT / "results" / "best_cifar").glob("*.json"))
    grouped = recipes.by_recipe([load_record(path) for path in paths])
    p_values = [effects.mcnemar_test(*pair)[2] for runs in grouped.values()
                for pair in itertools.combinations(runs, 2)]
    assert (sum(p < 0.05 for p in p_values), len(p_values)) == (4, 9)


@pytest.mark.parametrize("seeds", [3, 5])
def test_equal_recipes_are_called_different_in_one_study_of_twenty_at_most(seeds):
    rng, wrong = np.random.default_rng(seeds), 0
    for _ in range(300):
        records = several_seeds(dict.fromkeys(("batch", "group", "layer"), 0.99), 0.001, seeds, rng)
        found = effects.pairwise_differences(records)
        wrong += any("ends" in str(difference) for difference in found)
    assert wrong / 300 <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 300)


def test_a_real_difference_is_found():
    rng = np.random.default_rng(0)
    records = several_seeds({"batch": 0.99, "layer": 0.98}, 0.001, 5, rng)
    [difference] = effects.pairwise_differences(records)
    assert difference.low > 0
    assert str(difference).startswith("BN ends higher than LN")


def test_table_gives_means_over_seeds_and_both_intervals():
    records = [make_record("batch", seed, accuracy)
               for seed, accuracy in ((1, 0.980), (2, 0.982), (3, 0.984))]
    row = effects.results_table([*records, make_record("layer", 1, 0.98)]).loc["BN"]
    assert (row["seeds"], row["final test accuracy"]) == (3, "98.20%")
    half = stats.t.ppf(0.975, 2) * 0.002 / np.sqrt(3)
    assert row[effects.NEW_SEEDS] == f"{0.982 - half:.2%} to {0.982 + half:.2%}"
    low, high = effects.accuracy_interval(0.982, 1000)
    assert row[effects.NEW_IMAGES] == f"{low:.2%} to {high:.2%}"
    assert row["each seed"] == "98.00%, 98.20%, 98.40%"
    assert row["weights below 0.001"] == "25.0%"
    assert row["best epoch, on the test set"] == "99.20%"  # the records' own epochs


@pytest.mark.parametrize("seeds", [1, 2])
def test_below_three_seeds_the_table_has_no_interval_of_seeds(seeds):
    runs = [make_record("layer", seed, 0.98 + seed / 1000) for seed in range(seeds)]
    assert effects.results_table(runs).loc["LN", effects.NEW_SEEDS] == ""


@pytest.mark.parametrize(("accuracies", "seeds", "images"), [
    ((0.001, 0.0, 0.009), "0.00% to", "0.10% to"), ((1.0, 1.0, 0.99), "to 100.00%", "to 99.9"),
    ((1.0, 1.0, 1.0), "100.00% to 100.00%", "99.62% to 100.00%")], ids=str)
def test_intervals_end_where_accuracies_do(accuracies, seeds, images):
    runs = [make_record("batch", seed, value) for seed, value in enumerate(accuracies)]
    row = effects.results_table(runs).loc["BN"]
    assert seeds in row[effects.NEW_SEEDS]
    assert images in row[effects.NEW_IMAGES]


def test_many_seeds_are_given_as_a_range():
    runs = [make_record("batch", seed, 0.9 + seed / 1000) for seed in range(20)]
    assert effects.results_table(runs).loc["BN", "each seed"] == "90.00% to 91.90%"


def test_interval_of_the_documents_best_accuracy():
    low, high = effects.accuracy_interval(0.9943, 10_000)
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
    assert recipes.recipe_title(record) == name


def test_every_norm_has_a_look_of_its_own():
    """A colour that a norm lacks would be a KeyError after its training."""
    assert set(looks.LOOKS) == set(NORMS)
    for part in zip(*looks.LOOKS.values()):
        assert len(set(part)) == len(NORMS)
