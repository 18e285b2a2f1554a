"""What tables and records say, against numbers from textbooks and other libraries."""

import itertools

import numpy as np
import pandas as pd
import pytest
from helpers import make_record, several_seeds
from hypothesis import given
from hypothesis import strategies as st
from mlxtend.evaluate import mcnemar
from refused import is_ours
from scipy import stats

from coursepack.files import ROOT
from coursepack.lab import effects
from coursepack.runs import recipes
from coursepack.runs.records import load_record


def made_table(means, spread=0.01, seeds=5, start=0, levels="norm"):
    """A row for each seed of each level, with a response y about the level's mean."""
    draw = np.random.default_rng(start)
    return pd.DataFrame([
        {levels: level, "lr": 0.1, "seed": seed, "status": "finished",
         "y": mean + spread * draw.standard_normal()}
        for level, mean in means.items() for seed in range(seeds)])


# ------------------------------------------------------------- any subset of a study's runs
NORMS, ORDERS, SEEDS = ["batch", "group", "layer"], ["first", "last"], [1, 2, 3]


@st.composite
def subsets(draw):
    """Some runs of a small study: a few absent, diverged or alike; or all of some levels."""
    norms, orders, seeds = (draw(st.lists(st.sampled_from(levels), min_size=1, unique=True))
                            for levels in (NORMS, ORDERS, SEEDS))
    numbers = np.random.default_rng(draw(st.integers(0, 99))).normal(0.9, 0.05, 18)
    digits, rows = draw(st.sampled_from([15, 15, 1, 0])), []
    spoilt = draw(st.dictionaries(st.integers(0, 17), st.sampled_from(["diverged", "absent"]),
                                  max_size=draw(st.sampled_from([0, 2, 18]))))
    for i, (norm, order, seed) in enumerate(itertools.product(norms, orders, seeds)):
        status, y = spoilt.get(i, "finished"), round(numbers[i], digits)
        rows.append({"norm": norm, "order": order, "seed": seed, "size": 2.0 ** seed,
                     "status": status, "y": y if status == "finished" else np.nan})
    table = pd.DataFrame(rows)
    return table[table["status"] != "absent"]


def asked(function, *arguments):
    """What a function finds, or None where it refuses, which it does in words of ours."""
    try:
        found = function(*arguments)
    except ValueError as error:
        if not is_ours(error):
            raise
        return None
    if isinstance(found, pd.DataFrame) and "low" in found:
        assert np.isfinite(found.select_dtypes("number")).all(axis=None)
        assert found["difference"].between(found["low"], found["high"]).all()
        assert (found.loc[found["low"] * found["high"] < 0, "says"] == "undecided").all()
    return found


def values_of(good, by):
    return {level: runs["y"].to_numpy() for level, runs in good.groupby(by, sort=False)}


@given(table=subsets())
def test_differences_of_any_runs_are_right_or_refused(table):
    groups = values_of(table[table["status"] == "finished"], "norm")
    enough = len(groups) > 1 and min(map(len, groups.values())) > 1
    tukey, dunnett = (asked(function, table, "y", "norm", *control) for function, *control in
                      ((effects.tukey,), (effects.dunnett, "batch")))
    assert (tukey is not None) == enough
    assert (dunnett is not None) == (enough and "batch" in groups)
    for found in (tukey, dunnett):
        if found is not None:
            one, two = ([groups[level] for level in found[side]] for side in ("of", "to"))
            means = [a.mean() - b.mean() for a, b in zip(one, two)]
            assert found["difference"].to_list() == pytest.approx(means)
            errors = np.sqrt([1 / len(a) + 1 / len(b) for a, b in zip(one, two)])
            half = (found["high"] - found["low"]) / 2 / errors
            assert half.to_list() == pytest.approx([half.mean()] * len(half), rel=0.01)
            if len(groups) == 2:  # then both are Student's, with one variance
                low, high = stats.ttest_ind(one[0], two[0]).confidence_interval(0.95)
                assert (found.iloc[0]["low"], found.iloc[0]["high"]) == pytest.approx(
                    (low, high), rel=0.01, abs=1e-9)


@given(table=subsets())
def test_paired_differences_of_any_runs_are_right_or_refused(table):
    for _, runs in table.groupby("order"):
        good = runs[runs["status"] == "finished"]
        wide = good.pivot(index="seed", columns="norm", values="y")
        pairs = {norm: wide[["batch", norm]].dropna().T.to_numpy() for norm in wide
                 if "batch" in wide and norm != "batch"}
        found = asked(effects.paired_t_tests, runs, "y", "norm", "batch")
        assert (found is not None) == (pairs != {} and all(len(p[0]) > 1 for p in pairs.values()))
        for row in [] if found is None else found.to_dict("records"):
            first, other = pairs[row["of"]]
            assert row["difference"] == pytest.approx((other - first).mean())
            if np.ptp(other - first) > 1e-9:
                low, high = stats.ttest_rel(other, first).confidence_interval(0.95)
                assert (row["low"], row["high"]) == pytest.approx((low, high))
    if table.duplicated(["norm", "seed"]).any() and (table["status"] == "finished").all():
        assert asked(effects.paired_t_tests, table, "y", "norm", "batch") is None


@given(table=subsets())
def test_two_levels_at_each_of_another_are_right_or_refused(table):
    good = table[table["status"] == "finished"]
    cells = values_of(good, ["norm", "order"])
    enough = all((norm, order) in cells and len(cells[norm, order]) > 1
                 for norm in table["norm"].unique() for order in ORDERS)
    found = asked(effects.welch_at, table, "y", "order", "norm")
    assert (found is not None) == (enough and len(good) > 0)
    for row in [] if found is None else found.to_dict("records"):
        first, last = cells[row["norm"], "first"], cells[row["norm"], "last"]
        assert (row["of"], row["to"]) == ("first", "last")
        assert row["difference"] == pytest.approx(first.mean() - last.mean())
        if np.ptp(first) + np.ptp(last) > 1e-9:
            limits = stats.ttest_ind(first, last, equal_var=False).confidence_interval(0.95)
            assert (row["low"], row["high"]) == pytest.approx((limits.low, limits.high))


@given(table=subsets(), block=st.sampled_from(["", "seed"]))
def test_shares_of_any_runs_are_those_of_a_balanced_table_or_refused(table, block):
    good = table[table["status"] == "finished"]
    crossed = ["norm", "order", *([block] if block else [])]
    counts, levels = good.groupby(crossed).size(), [good[name].nunique() for name in crossed]
    balanced = len(counts) == np.prod(levels) and counts.nunique() == 1 and min(levels) > 1
    varies = len(good) > 0 and np.ptp(good["y"]) > 0
    found = asked(effects.variance_table, table, "y", ["norm", "order"], block)
    assert (found is not None) == (balanced and varies and (block != "" or counts.min() > 1))
    if found is not None:
        found = found.set_index("source")
        about, rest = good["y"] - good["y"].mean(), found.loc["Residual"]
        for name, count in zip(crossed, levels):
            means = about.groupby(good[name]).transform("mean")
            share = (means**2).sum() / (about**2).sum()
            assert found.loc[name, "share"] == pytest.approx(share, abs=1e-9)
            assert found.loc[name, "freedom"] == count - 1
            if rest["share"] > 1e-9:
                F = share / (count - 1) / (rest["share"] / rest["freedom"])
                assert found.loc[name, "p"] == pytest.approx(stats.f.sf(
                    F, count - 1, rest["freedom"]), abs=1e-6)
        assert found["share"].sum() == pytest.approx(1)
        assert found["freedom"].sum() == len(good) - 1


@given(table=subsets())
def test_points_and_powers_of_any_runs_are_right_or_refused(table):
    points = effects.by_point(table, "y", ["norm", "order"])
    assert points["runs"].sum() == len(table)
    for point in points.to_dict("records"):
        runs = table[(table["norm"] == point["norm"]) & (table["order"] == point["order"])]
        values = runs["y"].dropna()
        assert (point["runs"], point["failed"]) == (len(runs), len(runs) - len(values))
        assert point["mean"] == pytest.approx(values.mean(), nan_ok=True)
        if len(values) < 3:
            assert np.isnan(point["low"])
        elif np.ptp(values) > 0:
            low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
            assert (point["low"], point["high"]) == pytest.approx((low, high))
    good = table[table["y"] > 0]
    found = asked(effects.slope, table, "y", "size")
    assert (found is not None) == (len(good) > 2 and good["size"].nunique() > 1)
    if found:
        assert found[0] == pytest.approx(np.polyfit(np.log(good["size"]), np.log(good["y"]), 1)[0])
        assert found[1] <= found[0] <= found[2]


# ----------------------------------------------------------------- numbers from elsewhere
def test_tukeys_intervals_are_scipys_and_say_what_differs():
    table = made_table({"batch": 0.9, "group": 0.93, "layer": 0.9}).drop(index=[0, 13])
    found = effects.tukey(table, "y", "norm")
    expected = stats.tukey_hsd(*values_of(table, "norm").values()).confidence_interval()
    for row, (i, j) in zip(found.to_dict("records"), itertools.combinations(range(3), 2)):
        assert (row["low"], row["high"]) == pytest.approx((expected.low[i, j], expected.high[i, j]))
    assert found["says"].to_list() == ["lower", "undecided", "higher"]


@pytest.mark.parametrize(("levels", "seeds", "width"), [(3, 5, 2.50), (3, 11, 2.32), (5, 3, 2.89)])
def test_dunnetts_widths_are_those_of_his_table(levels, seeds, width):
    """Dunnett 1964, table II, two-sided at 5 %: 12, 30 and 10 degrees of freedom."""
    table = made_table(dict.fromkeys(range(levels), 0.9), seeds=seeds)
    found = effects.dunnett(table, "y", "norm", 0)
    pooled = np.mean([values.var(ddof=1) for values in values_of(table, "norm").values()])
    half = (found["high"] - found["low"]) / 2 / np.sqrt(2 * pooled / seeds)
    assert half.to_list() == pytest.approx([width] * (levels - 1), abs=0.006)
    pd.testing.assert_frame_equal(found, effects.dunnett(table, "y", "norm", 0))  # no new draw


def test_equal_recipes_are_called_different_in_one_study_of_twenty_at_most():
    rng, wrong = np.random.default_rng(5), 0
    for _ in range(300):
        records = several_seeds(dict.fromkeys(("batch", "group", "layer"), 0.9), 0.01, 5, rng)
        wrong += any("ends" in sentence for sentence in effects.findings(records))
    assert 0.02 < wrong / 300 <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 300)


def test_p_values_hold_together_and_decide_whatever_one_interval_says():
    draw = np.random.default_rng(3).standard_normal(10)
    noise = (draw - draw.mean()) / draw.std(ddof=1)
    means = {"none": 0.0, "a": 0.8, "b": 0.1, "c": 0.1}  # p of a: 0.032, times three
    table = made_table(means, spread=0, seeds=10, levels="way")
    table["y"] += (table["way"] != "none") * noise[table["seed"]]
    found = effects.paired_t_tests(table, "y", "way", "none").iloc[0]
    assert found["low"] > 0
    assert found["p"] == pytest.approx(3 * stats.ttest_1samp(noise + 0.8, 0).pvalue)
    assert found["says"] == "undecided"
    table["y"] += 3 * (table["way"] == "a")
    assert effects.paired_t_tests(table, "y", "way", "none")["says"][0] == "higher"


def test_runs_that_are_all_alike_need_no_test():
    """Whole numbers of images make equal runs; then a difference is one, and equal is undecided."""
    table = made_table({"a": 1.0, "b": 0.1, "c": 0.1}, spread=0)
    for found in (effects.tukey(table, "y", "norm"), effects.dunnett(table, "y", "norm", "b"),
                  effects.paired_t_tests(table, "y", "norm", "b")):
        equal = found["difference"].abs() < 1e-9
        assert (found["says"] == np.where(equal, "undecided", np.where(
            found["difference"] > 0, "higher", "lower"))).all()
    [found] = effects.welch_at(table[table["norm"] < "c"], "y", "norm", "lr").to_dict("records")
    assert (found["difference"], found["says"]) == (0.9, "higher")


def test_slope_leaves_out_what_has_no_logarithm():
    table = pd.DataFrame({"x": [1.0, 2.0, 4.0, 8.0, 16.0], "y": [1.0, 4.0, 16.0, 64.0, 0.0],
                          "status": "finished"})
    assert effects.slope(table, "y", "x") == pytest.approx((2, 2, 2))


@pytest.mark.parametrize(("difference", "spread", "power", "seeds"), [
    (0.05, 0.046, 0.8, 15), (1.0, 1.0, 0.8, 17), (1.0, 1.0, 0.9, 23), (0.5, 1.0, 0.8, 64),
    (100.0, 1.0, 0.8, 2),
])
def test_seeds_needed_are_those_of_power_tables(difference, spread, power, seeds):
    """Cohen 1988, table 2.4.1: 17, 23 and 64 for d = 1 and 0.5 at 5 %, two-sided."""
    assert effects.seeds_needed(difference, spread, power) == seeds


def test_shares_and_differences_are_shown_in_percent_and_points():
    shown = effects.readable_shares(pd.DataFrame({
        "source": ["norm", "lr", "norm x lr", "Residual"], "freedom": [1, 1, 1, 8],
        "share": [0.5, 0.125, 0.25, 0.125], "p": [1e-9, 0.0312, 1e-4, np.nan]}))
    assert shown["share"].to_list() == ["50.0%", "12.5%", "25.0%", "12.5%"]
    assert shown["p"].to_list() == ["< 0.0001", "0.0312", "0.0001", ""]
    found = effects.differences([("batch", "group", 0.005, 0.0041, 0.0074),
                                 ("batch", "layer", 0.0, -0.01, 0.01)])
    assert effects.describe_differences(found, "2 images: ").splitlines() == [
        "2 images: batch minus group: +0.41 to +0.74 points, higher",
        "2 images: batch minus layer: -1.00 to +1.00 points, undecided"]


# ------------------------------------------------------------------ runs of recipe notebooks
def test_equal_accuracies_still_leave_one_test_image_open():
    """Two seeds with equal differences were "higher, by 0.03 to 0.03"."""
    records = [make_record(norm, seed, accuracy) for seed in (1, 2, 3)
               for norm, accuracy in (("batch", 0.99), ("layer", 0.987))]
    [difference] = effects.pairwise_differences(records)
    width = stats.t.ppf(0.975, 4)  # of two groups, Tukey's is Student's
    assert difference[2:] == pytest.approx((3, 3, 0.003, 0.003 - width / 1000,
                                            0.003 + width / 1000))


@pytest.mark.parametrize(("numbers", "sentence"), [
    ((3, 5, 0.001, 0.0004, 0.0016), "BN ends higher than LN, by 0.04 to 0.16 percentage points "
                                    "(3 and 5 seeds)."),
    ((3, 5, -0.001, -0.0016, -0.0004), "BN ends lower than LN, by 0.04 to 0.16 percentage points "
                                       "(3 and 5 seeds)."),
    ((3, 3, 0.0001, -0.0005, 0.0007), "BN and LN: undecided, from -0.05 to +0.07 percentage points "
                                      "(3 and 3 seeds)."),
])
def test_sentence_claims_a_difference_only_where_the_interval_leaves_out_zero(numbers, sentence):
    assert str(effects.Difference("BN", "LN", *numbers)) == sentence


@pytest.mark.parametrize(("seeds", "said"), [
    ({"batch": 1, "layer": 2}, ["BN; LN: fewer than three seeds, no statement."]),
    ({"batch": 3}, ["BN: no other recipe with three seeds to compare it with."]),
    ({"batch": 3, "layer": 2}, ["BN: no other recipe with three seeds to compare it with.",
                                "LN: fewer than three seeds, no statement."]),
    ({"batch": 3, "layer": 3}, ["BN ends higher than LN, by 79.42 to 79.98 percentage points "
                                "(3 and 3 seeds)."]),  # and they have no seed in common
], ids=str)
def test_fewer_than_three_seeds_support_no_statement(seeds, said):
    records = [make_record(norm, seed, {"batch": 0.9, "layer": 0.1}[norm] + seed / 1000)
               for start, (norm, count) in enumerate(seeds.items())
               for seed in range(3 * start, 3 * start + count)]
    assert effects.findings(records) == said


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


def test_table_gives_means_over_seeds_and_both_intervals():
    records = [make_record("batch", seed, accuracy)
               for seed, accuracy in ((1, 0.980), (2, 0.982), (3, 0.984))]
    table = effects.results_table([*records, *(make_record("layer", seed, 0.9 + seed / 1000)
                                               for seed in (4, 5))])
    row = table.loc["BN"]
    assert (row["seeds"], row["final test accuracy"]) == (3, "98.20%")
    half = stats.t.ppf(0.975, 2) * 0.002 / np.sqrt(3)
    assert row[effects.NEW_SEEDS] == f"{0.982 - half:.2%} to {0.982 + half:.2%}"
    low, high = effects.accuracy_interval(0.982, 1000)
    assert row[effects.NEW_IMAGES] == f"{low:.2%} to {high:.2%}"
    assert row["each seed"] == "98.00%, 98.20%, 98.40%"
    assert row["weights below 0.001"] == "25.0%"
    assert row["best epoch, on the test set"] == "99.20%"  # the records' own epochs
    assert table.loc["LN", effects.NEW_SEEDS] == ""  # below three seeds
    runs = [make_record("batch", seed, 0.9 + seed / 1000) for seed in range(20)]
    assert effects.results_table(runs).loc["BN", "each seed"] == "90.00% to 91.90%"
    low, high = effects.accuracy_interval(0.9943, 10_000)
    assert (round(low, 4), round(high, 4)) == (0.9926, 0.9956)  # Wilson's, of the write-up's best


@pytest.mark.parametrize(("accuracies", "seeds", "images"), [
    ((0.001, 0.0, 0.009), "0.00% to", "0.10% to"), ((1.0, 1.0, 0.99), "to 100.00%", "to 99.9"),
    ((1.0, 1.0, 1.0), "100.00% to 100.00%", "99.62% to 100.00%")], ids=str)
def test_intervals_end_where_accuracies_do(accuracies, seeds, images):
    runs = [make_record("batch", seed, value) for seed, value in enumerate(accuracies)]
    row = effects.results_table(runs).loc["BN"]
    assert seeds in row[effects.NEW_SEEDS]
    assert images in row[effects.NEW_IMAGES]
