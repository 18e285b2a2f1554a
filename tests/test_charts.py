"""Pictures of tables: what is drawn where."""

import numpy as np
import pandas as pd
import pytest

from coursepack.show import charts
from coursepack.show.looks import LOOKS

pytestmark = pytest.mark.usefixtures("figures_closed")


@pytest.fixture
def table():
    rows = [{"norm": norm, "lr": lr, "seed": seed, "status": "finished",
             "test_accuracy": 0.9 + 0.01 * seed + (0.02 if norm == "group" else 0)}
            for norm in ("batch", "group", "none") for lr in (0.1, 1.0, 10.0) for seed in range(5)]
    table = pd.DataFrame(rows)
    failed = (table["norm"] == "none") & ((table["lr"] == 10) | (table["lr"] == 1)
                                          & (table["seed"] > 2))
    table.loc[failed, ["status", "test_accuracy"]] = ["diverged", np.nan]
    table.attrs = {"data": {"name": "mnist"}, "common": {"train_size": 2000, "epochs": 5},
                   "runs": 45, "missing": 0}
    return table


def line_of(ax, norm):
    return next(line for line in ax.lines if line.get_color() == LOOKS[norm].colour)


def bars_of(ax):
    """The lower and upper ends of all intervals that are drawn."""
    return np.transpose([bar[:, 1] for bars in ax.collections if hasattr(bars, "get_segments")
                         for bar in bars.get_segments() if len(bar)])


def heights_of_dots(ax):
    heights = np.concatenate([dots.get_offsets()[:, 1] for dots in ax.collections
                              if hasattr(dots, "get_sizes")])
    return sorted(heights[np.isfinite(heights)])


def test_a_line_for_each_norm_in_its_own_look_its_runs_as_dots_and_failures_as_crosses(table):
    [ax] = charts.plot_effect(table, "test_accuracy", "lr").axes
    styles = {line.get_color() for line in ax.lines if len(line.get_xdata()) == 3}
    assert styles == {LOOKS[norm].colour for norm in ("batch", "group", "none")}
    assert line_of(ax, "group").get_ydata() == pytest.approx([94, 94, 94])
    assert np.isnan(line_of(ax, "none").get_ydata()[-1])
    assert ax.get_xscale() == "log"
    assert {text.get_text() for text in ax.texts} == {"BN", "GN", "no norm", "2", "diverged:"}
    crosses = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "x"]
    assert sorted(crosses) == [1.0, 10.0]
    assert heights_of_dots(ax) == pytest.approx(sorted(100 * table["test_accuracy"].dropna()))
    wide = table.assign(test_accuracy=np.where(table["seed"] > 2, 0.99, 0.1))
    low, high = bars_of(charts.plot_effect(wide, "test_accuracy", "lr").axes[0])
    assert (low.min(), high.max()) == (0, 100)  # there is nothing beyond none and all


def test_levels_that_are_no_norms_get_looks_of_their_own_and_words_stand_in_their_order(table):
    table = table.assign(l1=table["seed"] % 2, word=table["lr"].map({0.1: "z", 1.0: "a", 10: "k"}))
    [ax] = charts.plot_effect(table, "test_accuracy", "word", "l1", {0: "none", 1: "L1"}).axes
    assert {"none", "L1"} <= {text.get_text() for text in ax.texts}
    drawn = {(line.get_color(), str(line.get_linestyle())) for line in ax.lines
             if len(line.get_xdata()) == 3}
    assert len(drawn) == 2
    assert [label.get_text() for label in ax.get_xticklabels()] == ["z", "a", "k"]
    assert ax.get_xscale() == "linear"


def test_a_heat_map_has_the_means_as_numbers(table):
    [ax] = charts.plot_heat(table, "test_accuracy", "lr", "norm").axes
    numbers = [text.get_text() for text in ax.texts]
    assert numbers[:6] == ["92.0"] * 3 + ["94.0"] * 3
    assert [label.get_text() for label in ax.get_yticklabels()] == ["BN", "GN", "no norm"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.1", "1.0", "10.0"]


def test_the_note_says_that_runs_are_missing(table):
    figure = charts.plot_effect(table, "test_accuracy", "lr")
    for missing in (0, 3):
        table.attrs["missing"] = missing
        charts.add_note(figure, table)
    for text, missing in zip(figure.texts, (0, 3)):
        assert "mnist, 2,000 training images, 5 epochs; 5 seeds, a dot each" in text.get_text()
        assert ("INCOMPLETE: 3 of 45 runs are missing" in text.get_text()) == (missing > 0)


def test_a_path_joins_the_means_in_the_order_of_a_factor_and_shows_each_run(table):
    table = table.assign(near_zeros=table["lr"] / 20, pruned_accuracy=table["test_accuracy"])
    [ax] = charts.plot_path(table, "near_zeros", "pruned_accuracy", "lr", "norm").axes
    assert line_of(ax, "group").get_xdata() == pytest.approx([0.5, 5, 50])
    assert line_of(ax, "group").get_ydata() == pytest.approx([94, 94, 94])
    assert heights_of_dots(ax) == pytest.approx(sorted(100 * table["test_accuracy"].dropna()))
    level = table.assign(pruned_accuracy=0.97, near_zeros=0.8)
    [ax] = charts.plot_path(level, "near_zeros", "pruned_accuracy", "lr", "norm").axes
    names = [line.get_ydata() for line in ax.lines if line.get_transform() == ax.transAxes]
    assert 0 <= np.min(names) <= np.max(names) <= 1.01  # beyond, a figure has a billion pixels


def test_a_way_is_what_a_run_has_against_learning_by_heart():
    table = pd.DataFrame({"l1": [0, 1, 0, 0, 0, 1], "l2": [0, 0, 1, 0, 0, 1],
                          "dropout": [0, 0, 0, 0.1, 0, 0],
                          "augment": [*["none"] * 4, "shift", "none"]})
    assert charts.with_ways(table)["way"].to_list() == [
        "nothing", "L1", "L2", "dropout", "moved images", "L1 + L2"]


def test_logarithmic_axes_have_no_zero_and_intervals_as_far_down_as_up(table):
    sizes = np.where(table["seed"] > 2, 0.01, 1.0)  # the plain interval goes below zero
    table = table.assign(size=np.where(table["lr"] > 1, 0.0, sizes))
    table = table[table["norm"] == "group"]
    figure = charts.plot_effect(table, "size", "lr", log="xy")
    [ax] = figure.axes
    mean = line_of(ax, "group").get_ydata()
    low, high = bars_of(ax)
    assert np.isnan(mean[2])  # zero is not drawn, and the figure no kilometre high
    assert max(figure.get_tightbbox().size) < 20  # inches
    assert min(low) > 0
    assert mean[:2] / low == pytest.approx(high / mean[:2])
    assert ax.get_ylim()[0] <= min(low)
    charts.add_note(figure, table)
    assert "equally far up and down" in figure.texts[-1].get_text()
    charts.draw_power(figure, -0.5, (0.1, 2.0), 10.0, "predicted")  # a straight line here
    assert ax.lines[-1].get_ydata()[[0, -1]] == pytest.approx([2.0, 0.2])
    assert ax.texts[-1].get_text() == "predicted"
