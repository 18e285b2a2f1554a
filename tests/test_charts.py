"""Pictures of tables: what is drawn where."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from coursepack import charts
from coursepack.compare import LOOKS


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
    assert {text.get_text() for text in ax.texts} == {"BN", "GN", "no norm", "2"}


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
