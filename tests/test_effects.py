"""What tables and records say, against numbers from textbooks and other libraries."""

import itertools

import numpy as np
import pandas as pd
import pytest
from helpers import make_record
from hypothesis import given
from hypothesis import strategies as st
from mlxtend.evaluate import mcnemar
from refused import is_ours
from scipy import stats
from statsmodels.stats.multitest import multipletests

from coursepack.lab import effects


# ------------------------------------------------------------- any subset of a study's runs
@st.composite
def subsets(draw):
    """Some runs of a small study: a few absent, diverged or alike; or all of some levels."""
    norms, orders, seeds = (draw(st.lists(st.sampled_from(levels), min_size=1, unique=True))
                            for levels in (["batch", "group", "layer"], ["first", "last"],
                                           [0, 1, 2, 3]))
    numbers = np.random.default_rng(draw(st.integers(0, 99))).normal(0.9, 0.05, 24)
    digits, rows = draw(st.sampled_from([15, 15, 1, 0])), []
    spoilt = draw(st.dictionaries(st.integers(0, 23), st.sampled_from(["diverged", "absent"]),
                                  max_size=draw(st.sampled_from([0, 2, 24]))))
    for i, (norm, order, seed) in enumerate(itertools.product(norms, orders, seeds)):
        status = spoilt.get(i, "finished")
        y = round(numbers[i], digits) + 0.1 * (norm == "batch") + 0.1 * (order == "last")
        rows.append({"norm": norm, "order": order, "seed": seed, "status": status,
                     "y": y if status == "finished" else np.nan})
    table = pd.DataFrame(rows)
    return table[table["status"] != "absent"]


def values_of(table, by):
    return {level: runs["y"].dropna().to_numpy() for level, runs in table.groupby(by, sort=False)}


def finished_samples(table):
    """The values of each norm, none if there are too few of them."""
    groups = {norm: values for norm, values in values_of(table, "norm").items() if len(values)}
    return groups if len(groups) > 1 and min(map(len, groups.values())) > 1 else {}


def games_howells(table):
    """Without the ends of intervals, for which scipy takes a second: see below."""
    rows, places = [], table.groupby("order")
    for order, runs in places:
        if not (groups := finished_samples(runs)):
            return []
        p_values = len(places) * stats.tukey_hsd(*groups.values(), equal_var=False).pvalue
        for (i, one), (j, two) in itertools.combinations(enumerate(groups), 2):
            mean = groups[one].mean() - groups[two].mean()
            rows.append({"order": order, "of": one, "to": two, "difference": mean,
                         "p": min(1, p_values[i, j])})
            if groups[one].std() + groups[two].std() < 1e-9:  # there is no width to decide by
                rows[-1] |= {"p": 1, "low": -np.inf, "high": np.inf}
    return rows


def dunnetts(table):
    """Without the widths of intervals, which are those of his table: see below."""
    groups = finished_samples(table)
    return [{"of": norm, "to": "batch", "difference": values.mean() - groups["batch"].mean()}
            for norm, values in groups.items() if norm != "batch" and "batch" in groups]


def paired(table):
    """Differences to batch norm; of pairs that are all alike it has no width."""
    rows = []
    for order, runs in table.groupby("order"):
        wide = runs.dropna().pivot(index="seed", columns="norm", values="y")
        if "batch" not in wide or not finished_samples(runs):
            return []
        for norm in [name for name in runs["norm"].unique() if name in wide and name != "batch"]:
            one, two = wide[[norm, "batch"]].dropna().to_numpy().T
            if len(one) < 2:
                return []
            mean, found = one.mean() - two.mean(), stats.ttest_rel(one, two)
            rows.append({"order": order, "of": norm, "to": "batch", "difference": mean,
                         "p": found.pvalue})
            if np.isnan(found.pvalue) or abs(found.statistic) > 1e9:
                rows[-1]["p"] = float(abs(mean) < 1e-9)
            else:
                rows[-1] |= found.confidence_interval(0.95)._asdict()
    corrected = multipletests([row["p"] for row in rows], method="holm")[1]
    return [row | {"p": p} for row, p in zip(rows, corrected)]


def points(table):
    for (norm, order), runs in table.groupby(["norm", "order"], sort=False):
        y = runs["y"].dropna()
        half = stats.t.ppf(0.975, len(y) - 1) * y.sem() if len(y) > 2 else np.nan
        yield {"norm": norm, "order": order, "runs": len(runs), "failed": len(runs) - len(y),
               "mean": y.mean(), "low": y.mean() - half, "high": y.mean() + half}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of scipy, where runs are all alike
@pytest.mark.parametrize(("ask", "expected"), [
    (lambda runs: effects.games_howell(runs, "y", "norm", at="order"), games_howells),
    (lambda runs: effects.dunnett(runs, "y", "norm", "batch"), dunnetts),
    (lambda runs: effects.paired_t_tests(runs, "y", "norm", "batch", at="order"), paired),
    (lambda runs: effects.by_point(runs, "y", ["norm", "order"]), points),
], ids=["games-howell", "dunnett", "paired", "points"])
@given(table=subsets())
def test_of_any_runs_it_says_what_is_right_or_refuses_in_words_of_ours(ask, expected, table):
    expected = list(expected(table))
    try:
        found = ask(table)
    except ValueError as error:
        if not is_ours(error):
            raise
        assert expected == []
        return
    assert len(found) == len(expected)
    for row, right in zip(found.to_dict("records"), expected):
        assert {key: row[key] for key in right} == pytest.approx(right, abs=1e-6, nan_ok=True)
    if "says" in found:
        assert found["difference"].between(found["low"], found["high"]).all()
        says = np.select([found.low > 1e-9, found.high < -1e-9], ["higher", "lower"], "undecided")
        says = np.where(found.get("p", 0) < 0.05, says, "undecided")
        assert (found["says"] == says).all()


# ----------------------------------------------------------------- numbers from elsewhere
@pytest.mark.parametrize(("levels", "seeds", "width"), [(3, 5, 2.50), (3, 11, 2.32), (5, 3, 2.89)])
def test_dunnetts_widths_are_those_of_his_table(levels, seeds, width):
    """Dunnett 1964, table II, two-sided at 5 %: 12, 30 and 10 degrees of freedom."""
    table = pd.DataFrame({"norm": np.repeat(range(levels), seeds), "status": "finished",
                          "y": np.random.default_rng(0).standard_normal(levels * seeds)})
    found = effects.dunnett(table, "y", "norm", 0)
    pooled = np.mean([values.var(ddof=1) for values in values_of(table, "norm").values()])
    half = (found["high"] - found["low"]) / 2 / np.sqrt(2 * pooled / seeds)
    assert half.to_list() == pytest.approx([width] * (levels - 1), abs=0.006)
    pd.testing.assert_frame_equal(found, effects.dunnett(table, "y", "norm", 0))  # no new draw


def test_at_several_places_games_and_howells_intervals_share_the_5_percent():
    rng, norms = np.random.default_rng(0), np.repeat(["batch", "group", "layer"], [3, 5, 8])
    table = pd.concat([pd.DataFrame({
        "norm": norms, "size": size, "status": "finished",
        "y": rng.normal(size, 1 + (norms == "layer"))}) for size in (0.1, 2)])
    found = effects.games_howell(table, "y", "norm", at=["size"])
    for size, runs in table.groupby("size"):
        right = stats.tukey_hsd(*values_of(runs, "norm").values(), equal_var=False)
        ends = np.transpose(right.confidence_interval(1 - 0.05 / 2), (1, 2, 0))
        assert found.loc[found["size"] == size, ["low", "high"]].to_numpy() == pytest.approx(
            ends[[0, 0, 1], [1, 2, 2]], rel=1e-5)
    open_still = found.assign(low=0.01, high=0.02, p=0.18, says="undecided")
    assert effects.describe_differences(open_still, "error, ").startswith(
        "error, size 0.1: batch minus group: +1.00 to +2.00 points, undecided (p = 0.1800)\n")


@pytest.mark.parametrize(("difference", "spread", "power", "groups", "seeds"), [
    (1.0, 1.0, 0.8, 2, 17), (1.0, 1.0, 0.9, 2, 23), (0.05, 0.1, 0.8, 2, 64), (100, 1.0, 0.8, 2, 2),
    (0.05, 0.045, 0.8, 2, 14), (0.05, 0.045, 0.8, 3, 18), (1.0, 1.0, 0.8, 5, 28)])
def test_seeds_needed_are_those_of_power_tables(difference, spread, power, groups, seeds):
    """Cohen 1988, table 2.4.1: 17, 23 and 64 for d = 1 and 0.5 at 5 %; then of many experiments."""
    assert effects.seeds_needed(difference, spread, power, groups=groups) == seeds
    if groups > 2:
        runs = np.random.default_rng(0).normal([[[difference]], [[0]]], spread, (2, 4000, seeds))
        t = stats.ttest_ind(*runs, axis=1, equal_var=False)
        width = np.interp(t.df, freedom := np.linspace(seeds - 1, 2 * seeds - 2, 9),
                          stats.studentized_range.isf(0.05, groups, freedom) / 2**0.5)
        assert (t.statistic > width).mean() == pytest.approx(power, abs=0.03)


def test_interval_of_logarithms_and_none_where_runs_are_wild_or_an_end_is_impossible():
    def at(values, **options):
        table = pd.DataFrame({"y": values, "a": 1, "status": "finished"})
        return effects.by_point(table, "y", ["a"], **options).loc[0, ["mean", "low", "high"]]

    assert at([1, 2, 2.9], log=True).to_list() == pytest.approx(
        [5.8**(1 / 3), *np.exp(stats.t.interval(0.95, 2, *(f(np.log([1, 2, 2.9])) for f in (
            np.mean, stats.sem))))])
    for values, options in (([1, 2, 3.1], {"log": True}), ([0, 0.1, 0.1], {"log": True}),
                            ([0.95, 0.97, 1], {"limits": (0, 1)}), ([1, 2], {})):
        assert at(values, **options)[["low", "high"]].isna().all()
    assert at([0, 0, 0], limits=(0, 1)).to_list() == [0, 0, 0]


# ------------------------------------------------------------------ runs of recipe notebooks
def runs_of(**accuracies):
    """Records: three seeds of each norm, all of them as accurate."""
    return [make_record(norm, seed, accuracy) for norm, accuracy in accuracies.items()
            for seed in (1, 2, 3)]


def test_equal_accuracies_still_leave_one_test_image_open():
    """Two seeds with equal differences were "higher, by 0.03 to 0.03"."""
    half = stats.t.ppf(0.975, 4) / 1000  # of two groups, it is Student's
    found = effects.pairwise_differences(runs_of(batch=0.99, layer=0.987)).iloc[0]
    assert found[["difference", "low", "high"]].to_list() == pytest.approx(
        [0.003, 0.003 - half, 0.003 + half])
    [said] = effects.findings(runs_of(batch=0.6, layer=0.9))
    assert f"BN ends lower than LN, by {30 - 100 * half:.2f} to {30 + 100 * half:.2f} per" in said


def test_fewer_than_three_seeds_support_no_statement():
    assert effects.findings(runs_of(batch=0.9, layer=0.1)[:5]) == [
        "BN: no other recipe with three seeds to compare it with.",
        "LN: fewer than three seeds, no statement."]


@pytest.mark.parametrize(("both", "only", "only_other"), [(5, 3, 1), (40, 12, 2), (7, 0, 9)])
def test_mcnemar_is_mlxtends(both, only, only_other):
    wrong = set(range(both + only))
    other = set(range(both)) | set(range(500, 500 + only_other))
    records = [make_record("batch", 1, 0.9, wrong), make_record("layer", 1, 0.9, other)]
    table = np.array([[1000 - both - only - only_other, only_other], [only, both]])
    p = min(1, mcnemar(table, exact=True)[1])
    assert effects.mcnemar_test(*records) == (only, only_other, pytest.approx(p))
    assert effects.mcnemar_test(*records[:1] * 2) == (0, 0, 1.0)


def test_table_gives_means_over_seeds_and_both_intervals():
    table = effects.results_table([make_record(norm, seed, accuracy) for norm, seed, accuracy in (
        ("batch", 1, 0.980), ("batch", 2, 0.982), ("batch", 3, 0.984), ("layer", 4, 0.904))])
    half = stats.t.ppf(0.975, 2) * 0.002 / np.sqrt(3)
    assert table.loc["BN"].to_list()[1:5] == [
        3, "98.20%", f"{0.982 - half:.2%} to {0.982 + half:.2%}",
        effects.share_range(*effects.accuracy_interval(0.982, 1000))]
    assert table.loc["LN", effects.NEW_SEEDS] == ""  # below three seeds
    low, high = effects.accuracy_interval(0.9943, 10_000)
    assert (round(low, 4), round(high, 4)) == (0.9926, 0.9956)  # Wilson's, of the write-up's best
    assert effects.share_range(-0.1, 1.1) == "0.00% to 100.00%"
