"""Pictures of tables: what is drawn where."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from coursepack.show import charts
from coursepack.show.looks import LOOKS


@pytest.fixture
def table():
    rows = [{"norm": norm, "lr": lr, "seed": seed, "status": "finished",
             "test_accuracy": 0.9 + 0.01 * seed + (norm == "group") * 0.02}
            for norm in ("batch", "group", "none") for lr in (0.1, 1.0, 10.0) for seed in range(5)]
    table = pd.DataFrame(rows)
    failed = (table["norm"] == "none") & ((table["lr"] == 10) | (table["lr"] == 1)
                                          & (table["seed"] > 2))
    table.loc[failed, ["status", "test_accuracy"]] = ["diverged", np.nan]
    table.attrs = {"data": {"name": "mnist"}, "common": {"train_size": 2000, "epochs": 5},
                   "runs": 45, "missing": 0}
    yield table
    plt.close("all")


def test_a_line_for_each_norm_in_its_own_look_with_its_means(table):
    figure = charts.plot_effect(table, "test_accuracy", "lr")
    [ax] = figure.axes
    lines = {line.get_color(): line for line in ax.lines if len(line.get_xdata()) == 3}
    assert set(lines) == {LOOKS[norm].colour for norm in ("batch", "group", "none")}
    assert lines[LOOKS["group"].colour].get_ydata() == pytest.approx([94, 94, 94])
    assert np.isnan(lines[LOOKS["none"].colour].get_ydata()[-1])
    assert ax.get_xscale() == "log"
    assert {text.get_text() for text in ax.texts} == {"BN", "GN", "no norm", "2", "diverged:"}


def test_failures_are_crosses_with_their_number(table):
    [ax] = charts.plot_effect(table, "test_accuracy", "lr").axes
    crosses = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "x"]
    assert sorted(crosses) == [1.0, 10.0]


def test_levels_that_are_no_norms_get_looks_of_their_own(table):
    table = table.assign(l1=table["seed"] % 2)
    [ax] = charts.plot_effect(table, "test_accuracy", "lr", "l1", names={0: "none", 1: "L1"}).axes
    assert {"none", "L1"} <= {text.get_text() for text in ax.texts}
    drawn = {(line.get_color(), str(line.get_linestyle())) for line in ax.lines
             if len(line.get_xdata()) == 3}
    assert len(drawn) == 2


def test_a_heat_map_has_the_means_as_numbers(table):
    figure = charts.plot_heat(table, "test_accuracy", "lr", "norm")
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert numbers.count("94.0") == 3
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "BN", "GN", "no norm"]


def test_the_note_says_that_runs_are_missing(table):
    for missing in (0, 3):
        table.attrs["missing"] = missing
        figure = charts.plot_effect(table, "test_accuracy", "lr")
        charts.add_note(figure, table)
        [text] = [text.get_text() for text in figure.texts]
        assert "2,000 training images" in text
        assert ("INCOMPLETE: 3 of 45 runs are missing" in text) == (missing > 0)


def test_words_stand_along_an_axis_in_their_order(table):
    table = table.assign(order=table["lr"].map({0.1: "last", 1.0: "first", 10.0: "alone"}))
    [ax] = charts.plot_effect(table, "test_accuracy", "order").axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["last", "first", "alone"]
    assert ax.get_xscale() == "linear"


def test_every_run_is_a_dot_and_limits_hold(table):
    [ax] = charts.plot_effect(table, "test_accuracy", "lr").axes
    dots = np.concatenate([dots.get_offsets()[:, 1] for dots in ax.collections
                           if hasattr(dots, "get_sizes") and len(dots.get_sizes())])
    assert sorted(np.round(dots[np.isfinite(dots)], 6)) == pytest.approx(
        sorted(100 * table["test_accuracy"].dropna()))
    wide = table.assign(test_accuracy=np.where(table["seed"] > 2, 0.99, 0.1))
    [ax] = charts.plot_effect(wide, "test_accuracy", "lr").axes
    ends = np.concatenate([np.reshape(segment, (-1, 2))[:, 1] for part in ax.collections
                           if hasattr(part, "get_segments") for segment in part.get_segments()])
    assert ends.max() <= 100
    assert ends.min() >= 0


def test_a_path_joins_the_means_in_the_order_of_a_factor(table):
    table = table.assign(near_zeros=table["lr"] / 20, pruned_accuracy=table["test_accuracy"])
    [ax] = charts.plot_path(table, "near_zeros", "pruned_accuracy", "lr", "norm").axes
    line = next(line for line in ax.lines if line.get_color() == LOOKS["group"].colour)
    assert line.get_xdata() == pytest.approx([0.5, 5, 50])
    assert line.get_ydata() == pytest.approx([94, 94, 94])


def test_a_path_shows_each_run_beside_its_means(table):
    table = table.assign(near_zeros=table["lr"] / 20, pruned_accuracy=table["test_accuracy"])
    [ax] = charts.plot_path(table, "near_zeros", "pruned_accuracy", "lr", "norm").axes
    dots = np.concatenate([part.get_offsets() for part in ax.collections])
    finished = table[table["status"] == "finished"]
    assert sorted(dots[:, 1]) == pytest.approx(sorted(100 * finished["pruned_accuracy"]))


def test_a_way_is_what_a_run_has_against_learning_by_heart():
    table = pd.DataFrame({"l1": [0, 1, 0, 0, 0, 1], "l2": [0, 0, 1, 0, 0, 1],
                          "dropout": [0, 0, 0, 0.1, 0, 0],
                          "augment": [*["none"] * 4, "shift", "none"]})
    assert charts.with_ways(table)["way"].to_list() == [
        "nothing", "L1", "L2", "dropout", "moved images", "L1 + L2"]


def test_a_predicted_power_is_a_straight_line_on_logarithmic_axes(table):
    table = table[table["norm"] == "batch"].assign(size=lambda t: t["lr"] ** -0.5)
    figure = charts.plot_effect(table, "size", "lr", log="xy")
    charts.draw_power(figure, -0.5, (0.1, 2.0), 10.0, "predicted")
    line = figure.axes[0].lines[-1]
    assert line.get_ydata()[[0, -1]] == pytest.approx([2.0, 0.2])
    assert figure.axes[0].texts[-1].get_text() == "predicted"


def test_names_stay_beside_the_axes_whatever_the_values(table):
    """An end outside the limits would make a figure of a billion pixels."""
    figure = charts.plot_path(table.assign(pruned_accuracy=0.97, near_zeros=0.8), "near_zeros",
                              "pruned_accuracy", "lr", "norm")
    inside = [0 <= y <= 1.01 for line in figure.axes[0].lines
              if line.get_transform() == figure.axes[0].transAxes for y in line.get_ydata()]
    assert inside
    assert all(inside)


def test_zero_is_not_on_a_logarithmic_axis(table):
    table = table.assign(size=np.where(table["lr"] > 1, 0.0, 1.0))
    [ax] = charts.plot_effect(table, "size", "lr", log="xy").axes
    figure_size = ax.figure.get_tightbbox().size
    assert max(figure_size) < 20  # inches


def test_an_interval_on_a_logarithmic_axis_is_as_far_down_as_up_and_not_cut(table):
    table = table[(table["norm"] == "group")].assign(
        size=lambda t: np.where(t["seed"] > 2, 0.01, 1.0))  # the plain interval goes below zero
    figure = charts.plot_effect(table, "size", "lr", log="xy")
    [ax] = figure.axes
    line = next(line for line in ax.lines if line.get_color() == LOOKS["group"].colour)
    [bars] = [part for part in ax.collections if hasattr(part, "get_segments")]
    for (_, low), (_, high), mean in zip(*np.swapaxes(bars.get_segments(), 0, 1), line.get_ydata()):
        assert 0 < low < mean
        assert mean / low == pytest.approx(high / mean)
        assert ax.get_ylim()[0] <= low
    charts.add_note(figure, table)
    assert "equally far up and down" in figure.texts[-1].get_text()
