"""What tables say, against numbers from textbooks, simulations and other libraries."""

import itertools

import numpy as np
import pandas as pd
import pytest
from helpers import says
from scipy import stats

from coursepack.lab import effects


def made_table(means, spread=0.01, seeds=5, start=0):
    draw = np.random.default_rng(start)
    return pd.DataFrame([
        {"norm": norm, "lr": 0.1, "seed": seed, "status": "finished",
         "test_accuracy": mean + spread * draw.standard_normal()}
        for norm, mean in means.items() for seed in range(seeds)])


def test_points_have_students_interval_and_their_failures():
    table = made_table({"batch": 0.9, "none": 0.5})
    table.loc[[7, 8, 9], "status"] = "diverged"
    table.loc[[7, 8, 9], "test_accuracy"] = np.nan
    batch, none = effects.by_point(table, "test_accuracy", ["norm"]).to_dict("records")
    values = table["test_accuracy"][:5].to_numpy()
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (batch["low"], batch["high"]) == pytest.approx(expected)
    assert (batch["runs"], batch["failed"]) == (5, 0)
    assert (none["runs"], none["failed"]) == (5, 3)
    assert none["mean"] == pytest.approx(table["test_accuracy"][5:7].mean())
    assert np.isnan(none["low"])  # two runs have no interval


def test_a_point_of_which_all_runs_diverged_has_no_mean():
    table = made_table({"none": 0.5}).assign(status="diverged", test_accuracy=np.nan)
    [point] = effects.by_point(table, "test_accuracy", ["norm", "lr"]).to_dict("records")
    assert point["failed"] == point["runs"] == 5
    assert np.isnan(point["mean"])


def test_tukeys_intervals_are_those_of_the_studentized_range():
    table = made_table({"batch": 0.9, "group": 0.93, "layer": 0.9})
    found = effects.tukey(table, "test_accuracy", "norm")
    groups = [runs["test_accuracy"].to_numpy() for _, runs in table.groupby("norm", sort=False)]
    pooled = np.mean([values.var(ddof=1) for values in groups])
    half = stats.studentized_range.ppf(0.95, 3, 12) / np.sqrt(2) * np.sqrt(2 * pooled / 5)
    for row in found.to_dict("records"):
        assert row["high"] - row["difference"] == pytest.approx(half, rel=1e-5)
    says_of = {(row["of"], row["to"]): row["says"] for row in found.to_dict("records")}
    assert says_of == {("batch", "group"): "lower", ("batch", "layer"): "undecided",
                       ("group", "layer"): "higher"}


def test_dunnetts_intervals_are_narrower_than_tukeys_and_reach_the_same_difference():
    table = made_table({"batch": 0.9, "group": 0.93, "layer": 0.9, "instance": 0.8})
    found = effects.dunnett(table, "test_accuracy", "norm", "batch")
    tukey = effects.tukey(table, "test_accuracy", "norm").set_index(["of", "to"])
    for row in found.to_dict("records"):
        other = tukey.loc[("batch", row["of"])]
        assert row["difference"] == pytest.approx(-other["difference"])
        assert row["high"] - row["low"] < other["high"] - other["low"]
        assert row["difference"] == pytest.approx((row["high"] + row["low"]) / 2, abs=1e-3)
    again = effects.dunnett(table, "test_accuracy", "norm", "batch")
    pd.testing.assert_frame_equal(found, again)
    with pytest.raises(ValueError, match=says("norm='rms'", "batch, group")):
        effects.dunnett(table, "test_accuracy", "norm", "rms")


@pytest.mark.parametrize("method", ["tukey", "dunnett"])
def test_equal_norms_are_told_apart_in_about_five_of_a_hundred_studies(method):
    said = 0
    for start in range(100):
        table = made_table({"batch": 0.9, "group": 0.9, "layer": 0.9}, start=start)
        own = ["batch"] if method == "dunnett" else []
        found = getattr(effects, method)(table, "test_accuracy", "norm", *own)
        said += (found["says"] != "undecided").any()
    assert 1 <= said <= 12  # of 100


def test_pairs_are_of_the_same_seed_and_hold_together():
    """Images that make all runs of a seed better or worse do not count; Holm's p-values do."""
    table = made_table({"none": 0.9, "L1": 0.9, "L2": 0.92, "dropout": 0.9}, 0.002, 8, start=1)
    table["test_accuracy"] += 0.05 * np.sin(table["seed"])
    shuffled = table.sample(frac=1, random_state=0)
    shuffled.loc[shuffled["norm"] == "dropout", "status"] = "diverged"
    found = effects.paired_t_tests(shuffled, "test_accuracy", "norm", "none").set_index("of")
    assert {*found.index} == {"L1", "L2"}
    wide = table.pivot(index="seed", columns="norm", values="test_accuracy")
    tests = {way: stats.ttest_rel(wide[way], wide["none"]) for way in ("L1", "L2")}
    for way, test in tests.items():
        assert found.loc[way, ["low", "high"]].to_list() == pytest.approx(
            list(test.confidence_interval(0.95)))
    small, large = sorted(test.pvalue for test in tests.values())
    assert sorted(found["p"]) == pytest.approx(sorted([2 * small, max(2 * small, large)]))
    assert found.loc["L2", "says"] == "higher"
    assert found.loc["L1", "says"] == "undecided"


def test_a_difference_that_holds_alone_but_not_together_is_undecided():
    draw = np.random.default_rng(3).standard_normal(10)
    noise = (draw - draw.mean()) / draw.std(ddof=1)
    means = {"none": 0.0, "a": 0.8, "b": 0.1, "c": 0.1}  # p of a: 0.032, times three
    table = pd.DataFrame([{"way": way, "seed": seed, "status": "finished",
                           "y": mean + (way != "none") * noise[seed]}
                          for way, mean in means.items() for seed in range(10)])
    found = effects.paired_t_tests(table, "y", "way", "none").set_index("of")
    assert found.loc["a", "low"] > 0
    assert found.loc["a", "p"] > 0.05
    assert found.loc["a", "says"] == "undecided"


def test_a_control_without_runs_is_named():
    table = made_table({"none": 0.9, "L1": 0.9})
    with pytest.raises(ValueError, match=says("norm='L3'", "L1, none")):
        effects.paired_t_tests(table, "test_accuracy", "norm", "L3")


def test_a_slope_is_the_power_that_was_put_in():
    draw = np.random.default_rng(0)
    l2 = np.repeat([1e-3, 1e-2, 1e-1], 5)
    table = pd.DataFrame({"l2": l2, "status": "finished",
                          "length": 3 * l2**-0.25 * np.exp(0.01 * draw.standard_normal(15))})
    power, low, high = effects.slope(table, "length", "l2")
    assert low < -0.25 < high
    assert high - low < 0.02
    exact = stats.linregress(np.log(l2), np.log(table["length"]))
    assert power == pytest.approx(exact.slope)


def test_a_block_takes_its_share_out_of_the_rest():
    table = pd.concat([made_table({"batch": 0.9, "none": 0.905}, spread=0.002, seeds=10, start=lr)
                       .assign(lr=lr) for lr in (0, 1)])
    table["test_accuracy"] += 0.05 * np.sin(table["seed"])
    without = effects.variance_table(table, "test_accuracy", ["norm", "lr"]).set_index("source")
    blocked = effects.variance_table(table, "test_accuracy", ["norm", "lr"], "seed")
    blocked = blocked.set_index("source")
    assert blocked.loc["seed", "freedom"] == 9
    assert blocked.loc["norm", "share"] == pytest.approx(without.loc["norm", "share"])
    assert blocked.loc["norm", "p"] < 1e-3 < without.loc["norm", "p"]


def test_analysis_of_variance_finds_what_was_put_in():
    draw = np.random.default_rng(0)
    rows = [{"norm": norm, "l1": l1, "l2": l2, "seed": seed, "status": "finished",
             "test_loss": {"batch": 0.0, "group": 1.0}[norm] + 2 * (l1 > 0) + draw.normal(0, 0.1)}
            for norm, l1, l2, seed in itertools.product(["batch", "group"], [0, 1e-4], [0, 5e-4],
                                                        range(10))]
    found = effects.variance_table(pd.DataFrame(rows), "test_loss", ["norm", "l1", "l2"])
    found = found.set_index("source")
    assert found.loc["l1", "share"] == pytest.approx(0.79, abs=0.03)
    assert found.loc["norm", "share"] == pytest.approx(0.2, abs=0.03)
    assert found["share"].sum() == pytest.approx(1)
    assert found.loc["l2", "p"] > 0.01
    assert found.loc["norm x l1", "p"] > 0.01
    assert found.loc["l1", "p"] < 1e-10
    assert found.loc["Residual", "freedom"] == 72


def test_shares_are_shown_in_percent_and_without_a_p_where_nothing_is_tested():
    shown = effects.readable_shares(pd.DataFrame({
        "source": ["norm", "lr", "norm x lr", "Residual"], "freedom": [1, 1, 1, 8],
        "share": [0.5, 0.125, 0.25, 0.125], "p": [1e-9, 0.0312, 1e-4, np.nan]}))
    assert shown["share"].to_list() == ["50.0%", "12.5%", "25.0%", "12.5%"]
    assert shown["p"].to_dict() == {"norm": "< 0.0001", "lr": "0.0312", "norm x lr": "0.0001",
                                    "Residual": ""}


def test_differences_are_said_in_points():
    found = effects.differences([("batch", "group", 0.005, 0.0041, 0.0074),
                                 ("batch", "layer", 0.0, -0.01, 0.01)])
    assert effects.describe_differences(found, "2 images: ").splitlines() == [
        "2 images: batch minus group: +0.41 to +0.74 points, higher",
        "2 images: batch minus layer: -1.00 to +1.00 points, undecided"]


def test_two_levels_at_each_of_another_are_welchs_test_and_hold_together():
    one = made_table({"a": 0.9, "b": 0.95}, spread=0.01).assign(l1=0.1)
    two = made_table({"a": 0.9, "b": 0.9}, spread=0.01, start=1).assign(l1=0.2)
    table = pd.concat([two, one])
    found = effects.welch_at(table, "test_accuracy", "norm", "l1")
    assert found["l1"].tolist() == [0.1, 0.2]
    assert found["says"].tolist() == ["lower", "undecided"]
    a, b = (one.loc[one["norm"] == norm, "test_accuracy"] for norm in "ab")
    test = stats.ttest_ind(a, b, equal_var=False)
    assert found["p"][0] == pytest.approx(2 * test.pvalue)  # Holm's, the smaller of two
    limits = test.confidence_interval(0.95)
    assert (found["low"][0], found["high"][0]) == pytest.approx((limits.low, limits.high))


@pytest.mark.parametrize(("a", "b", "expected"), [(1.0, 0.0, "higher"), (0.0, 0.0, "undecided")])
def test_runs_that_are_all_alike_need_no_test(a, b, expected):
    table = made_table({"a": a, "b": b}, spread=0).assign(l1=0.1)
    [found] = effects.welch_at(table, "test_accuracy", "norm", "l1").to_dict("records")
    assert (found["difference"], found["says"]) == (a - b, expected)


def test_a_slope_leaves_out_what_has_no_logarithm():
    table = pd.DataFrame({"x": [1.0, 2.0, 4.0, 8.0, 16.0], "y": [1.0, 4.0, 16.0, 64.0, 0.0],
                          "status": "finished"})
    assert effects.slope(table, "y", "x")[0] == pytest.approx(2)


@pytest.mark.parametrize(("difference", "spread", "power", "seeds"), [
    (0.05, 0.046, 0.8, 15), (1.0, 1.0, 0.8, 17), (1.0, 1.0, 0.9, 23), (0.5, 1.0, 0.8, 64),
    (100.0, 1.0, 0.8, 2),
])
def test_seeds_needed_are_those_of_power_tables(difference, spread, power, seeds):
    """Cohen 1988, table 2.4.1: 17, 23 and 64 for d = 1 and 0.5 at 5 %, two-sided."""
    assert effects.seeds_needed(difference, spread, power) == seeds


def test_that_many_seeds_find_the_difference_as_often_as_was_asked():
    rng = np.random.default_rng(0)
    seeds = effects.seeds_needed(1.0, 1.0)
    a, b = rng.normal(0, 1, (4000, seeds)), rng.normal(1, 1, (4000, seeds))
    found = (stats.ttest_ind(a, b, axis=1).pvalue < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("wrong", [{"difference": 0.0}, {"spread": -1.0}, {"power": 1.0},
                                   {"level": 0.9}, {"spread": float("nan")}])
def test_impossible_questions_about_seeds_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        effects.seeds_needed(**{"difference": 1.0, "spread": 1.0} | wrong)
