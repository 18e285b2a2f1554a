"""Pictures of the tables of studies: a response against a factor, a heat map."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LogNorm

from coursepack.lab.effects import by_point
from coursepack.show.figures import label_ends, make_logarithmic, plain, write_below
from coursepack.show.looks import LOOKS, Look

OTHER_LOOKS = (  # for what is not a norm
    Look("", "#222222", "-"), Look("", "#E69F00", "--"), Look("", "#56B4E9", "-."),
    Look("", "#7B3294", ":"), Look("", "#8C6D31", (0, (6, 2, 1, 2))),
    Look("", "#B2182B", (0, (3, 1, 1, 1, 1, 1))))


class Response(NamedTuple):
    """A column of a table: what it is called, times what it is drawn, and within which limits."""

    label: str
    times: float = 100  # a share in percent
    limits: tuple[float, float] = (0, 100)


RESPONSES = {
    "test_accuracy": Response("test images classified right (%)"),
    "test_error": Response("test images classified wrong (%)"),
    "test_loss": Response("test loss (nats)", 1, (0, np.inf)),
    "exact_zeros": Response("weights that are exactly zero (%)"),
    "near_zeros": Response("weights that are near zero (%)"),
    "pruned_accuracy": Response("test images right without them (%)"),
}


def response_of(name: str) -> Response:
    """How a column is drawn: as it is, if no row of RESPONSES says otherwise."""
    return RESPONSES.get(name, Response(name.replace("_", " "), 1, (-np.inf, np.inf)))


def with_errors(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column test_error, the share of test images classified wrong."""
    return table.assign(test_error=1 - table["test_accuracy"])


def with_ways(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column way: what a run has against learning its images by heart.

    To stop earlier is a way, too: fewer epochs than the most for as many images and wrong labels.
    """
    ways = {"l1": "L1", "l2": "L2", "dropout": "dropout", "augment": "moved images"}
    way = pd.Series("", index=table.index)
    for factor in [factor for factor in ways if factor in table]:
        way += table[factor].isin([0, "none"]).map({True: "", False: f" + {ways[factor]}"})
    if "epochs" in table:
        alike = [name for name in ("train_size", "label_noise", "norm") if name in table]
        way[table["epochs"] < table.groupby(alike)["epochs"].transform("max")] += " + stop earlier"
    return table.assign(way=way.str.removeprefix(" + ").replace("", "nothing"))


def plot_effect(table: pd.DataFrame, response: str, x: str, line: str = "norm",
                names: Mapping[object, str] | None = None, xlabel: str = "", ylabel: str = "",
                log: str = "x") -> plt.Figure:
    """A response over one factor, a line for each level of another: means and 95 % intervals.

    A pale dot is a run. x: numbers, or words, which stand in the order of the table. names: what a
    level of line is called in the figure (a norm has its own name). log: which axes are
    logarithmic, "x", "y", "xy" or "". Crosses above are points of which runs diverged, with their
    number if others did not.
    """
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    shown, looks, ends = response_of(response), looks_of(table[line].unique(), names), []
    words = [] if pd.api.types.is_numeric_dtype(table[x]) else list(table[x].unique())
    if words:  # they stand at 0, 1, 2 ...
        table, log = table.assign(**{x: table[x].map(words.index)}), log.replace("x", "")
    points = by_point(table, response, [line, x]).sort_values(x)
    points[["mean", "low", "high"]] *= shown.times
    if "y" in log:  # zero is below the axis; an interval ends as many times below the mean as above
        points["mean"] = points["mean"].where(points["mean"] > 0)
        points["low"] = points["mean"] ** 2 / points["high"]
    points[["low", "high"]] = points[["low", "high"]].clip(*shown.limits)
    levels = np.unique(points[x])
    for k, (level, look) in enumerate(looks.items()):
        means, runs = points[points[line] == level], table[table[line] == level]
        shift = (k - (len(looks) - 1) / 2) * 0.008  # of the width: intervals stand side by side
        if "x" in log:
            beside, dots = (rows[x] * (levels[-1] / levels[0]) ** shift for rows in (means, runs))
        else:
            beside, dots = (rows[x] + (levels[-1] - levels[0]) * shift for rows in (means, runs))
        ends += draw_line(ax, look, (beside, means["mean"]), (dots, shown.times * runs[response]))
        ax.vlines(beside, means["low"], means["high"], color=look.colour, linewidth=2, alpha=0.6)
    ax.set(xlabel=xlabel or x.replace("_", " "), ylabel=ylabel or shown.label)
    for which in log:
        make_logarithmic(ax, which, 1, 1.5, 2, 3, 5, 7)
    if len(levels) <= 10:
        ax.set_xticks(levels, [textwrap.fill(word, max(8, 56 // len(words))) for word in words]
                      or [plain(level) for level in levels])
    mark_failures(ax, points, x, line, looks)
    label_ends(ax, ends)
    return figure


def draw_line(ax: plt.Axes, look: Look, means: tuple[pd.Series, pd.Series],
              runs: tuple[pd.Series, pd.Series]) -> list[tuple[float, float, str, str]]:
    """Means joined by a line, and a pale dot for each run. Returns its end, for label_ends."""
    ax.plot(*means, color=look.colour, linestyle=look.line, marker="o", markersize=5, linewidth=2)
    ax.scatter(*runs, s=9, color=look.colour, alpha=0.35, linewidths=0)
    drawn = [point for point in zip(*means) if np.isfinite(point).all()]
    return [(*drawn[-1], look.short, look.colour)] if drawn else []


def draw_power(figure: plt.Figure, power: float, start: tuple[float, float], end: float,
               text: str) -> None:
    """A thin line y ~ x^power on logarithmic axes, from a point to an x: what theory predicts."""
    [ax] = figure.axes
    x = np.geomspace(start[0], end, 50)
    y = start[1] * (x / start[0]) ** power
    ax.plot(x, y, color="#444444", linewidth=1)
    ax.annotate(text, (x[25], y[25]), fontsize=11, color="#444444", xytext=(6, 6),
                textcoords="offset points")


def plot_path(table: pd.DataFrame, x: str, y: str, along: str, line: str) -> plt.Figure:
    """One response over another: a line for each level of a factor, a point for each of another.

    Means of the runs that finished, without intervals, and a pale dot for each run.
    """
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    looks, ends = looks_of(table[line].unique()), []
    for level, runs in table[table["status"] == "finished"].groupby(line, sort=False):
        means = runs.groupby(along)[[x, y]].mean().sort_index()
        ends += draw_line(ax, looks[level], *(
            [response_of(name).times * rows[name] for name in (x, y)] for rows in (means, runs)))
    ax.set(xlabel=response_of(x).label, ylabel=response_of(y).label)
    label_ends(ax, ends)
    return figure


def looks_of(levels: Sequence, names: Mapping[object, str] | None = None) -> dict[object, Look]:
    """Colour, line and name of each level: a norm's own, else the next that is free."""
    looks = {}
    for i, level in enumerate(levels):
        look = LOOKS.get(level) or OTHER_LOOKS[i % len(OTHER_LOOKS)]
        looks[level] = look._replace(short=str((names or {}).get(level, look.short or level)))
    return looks


def mark_failures(ax: plt.Axes, points: pd.DataFrame, x: str, line: str,
                  looks: Mapping[object, Look]) -> None:
    """Crosses above the axes, a row for each line, where runs of points diverged."""
    failed, above = points[points["failed"] > 0], ax.get_xaxis_transform()
    rows = [level for level in looks if level in {*failed[line]}]
    small = {"xycoords": above, "textcoords": "offset points", "va": "center"}
    for point in failed.to_dict("records"):
        place = point[x], 1.04 + 0.055 * rows.index(point[line])
        colour = looks[point[line]].colour
        ax.plot(*place, "x", color=colour, markersize=7, markeredgewidth=2, transform=above,
                clip_on=False)
        if point["failed"] < point["runs"]:
            ax.annotate(str(point["failed"]), place, (6, 0), fontsize=10, color=colour, **small)
    if rows:
        ax.annotate("diverged:", (failed[x].min(), 1.04), (-10, 0), fontsize=11, color="#444444",
                    ha="right", **small)


def plot_heat(table: pd.DataFrame, response: str, x: str, y: str, title: str = "") -> plt.Figure:
    """The mean of a response at each pair of two factors' levels, as numbers and as colours.

    The colours are those of logarithms, so that one bad level does not make all others alike.
    """
    points = by_point(table, response, [y, x])
    cells = response_of(response).times * points.pivot(index=y, columns=x, values="mean")
    cells = cells.reindex(index=points[y].unique(), columns=points[x].unique())
    cells.index = [LOOKS[level].short if level in LOOKS else level for level in cells.index]
    figure, ax = plt.subplots(figsize=(9, 0.9 + 0.55 * len(cells)), layout="constrained")
    sns.heatmap(cells, annot=True, fmt=".1f", cmap="viridis_r", norm=LogNorm(), cbar=False,
                linewidths=0.5, ax=ax)
    ax.set(xlabel="", ylabel="", title=title)
    ax.tick_params(axis="y", rotation=0)
    return figure


def add_note(figure: plt.Figure, table: pd.DataFrame,
             marks: str = "a dot each; bars: 95 % interval of the mean") -> None:
    """A line of small text below a figure: what was trained, and how many runs are missing."""
    head, common = table.attrs, table.attrs["common"]
    line = head["data"]["name"]
    for key, what in (("train_size", "training images"), ("epochs", "epochs")):
        line += f", {common[key]:,} {what}" if common.get(key) else ""
    line += f"; {table['seed'].nunique()} seeds, {marks}"
    if "interval" in marks and figure.axes[0].get_yscale() == "log":
        line += ", equally far up and down"
    if head.get("missing"):
        line += f"; INCOMPLETE: {head['missing']} of {head['runs']} runs are missing"
    write_below(figure, line)
