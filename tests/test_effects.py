"""What tables say, against numbers from textbooks, simulations and other libraries."""

import itertools

import numpy as np
import pandas as pd
import pytest
from helpers import says
from scipy import stats

from coursepack import effects


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
    found = effects.all_pairs(table, "test_accuracy", "norm")
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
    found = effects.against(table, "test_accuracy", "norm", "batch")
    tukey = effects.all_pairs(table, "test_accuracy", "norm").set_index(["of", "to"])
    for row in found.to_dict("records"):
        other = tukey.loc[("batch", row["of"])]
        assert row["difference"] == pytest.approx(-other["difference"])
        assert row["high"] - row["low"] < other["high"] - other["low"]
        assert row["difference"] == pytest.approx((row["high"] + row["low"]) / 2, abs=1e-3)
    again = effects.against(table, "test_accuracy", "norm", "batch")
    pd.testing.assert_frame_equal(found, again)
    with pytest.raises(ValueError, match=says("norm='rms'", "batch, group")):
        effects.against(table, "test_accuracy", "norm", "rms")


@pytest.mark.parametrize("method", ["all_pairs", "against"])
def test_equal_norms_are_told_apart_in_about_five_of_a_hundred_studies(method):
    said = 0
    for start in range(200):
        table = made_table({"batch": 0.9, "group": 0.9, "layer": 0.9}, start=start)
        own = ["batch"] if method == "against" else []
        found = getattr(effects, method)(table, "test_accuracy", "norm", *own)
        said += (found["says"] != "undecided").any()
    assert 2 <= said <= 20  # of 200


def test_pairs_are_of_the_same_seed():
    draw = np.random.default_rng(0)
    table = made_table({"batch": 0.9, "group": 0.9}, spread=0)
    table["test_accuracy"] += np.tile(draw.normal(0, 0.1, 5), 2)
    table.loc[5:, "test_accuracy"] += 0.01 + draw.normal(0, 1e-4, 5)
    mean, low, high, pairs = effects.paired(table, "test_accuracy", "norm", "group", "batch")
    assert pairs == 5
    assert low < mean < high
    assert (low, high) == pytest.approx((0.01, 0.01), abs=1e-3)
    values = table["test_accuracy"].to_numpy()
    expected = stats.ttest_rel(values[5:], values[:5]).confidence_interval()
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_holm_is_as_in_the_paper():
    assert effects.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


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
