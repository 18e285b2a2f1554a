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
    """The table with a column way: what a run has against learning its images by heart."""
    ways = {"l1": "L1", "l2": "L2", "dropout": "dropout", "augment": "moved images"}
    way = pd.Series("", index=table.index)
    for factor in [factor for factor in ways if factor in table]:
        way += table[factor].isin([0, "none"]).map({True: "", False: f" + {ways[factor]}"})
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
    shown = response_of(response)
    words = [] if pd.api.types.is_numeric_dtype(table[x]) else list(table[x].unique())
    if words:  # they stand at 0, 1, 2 ...
        table, log = table.assign(**{x: table[x].map(words.index)}), log.replace("x", "")
    points = to_draw(by_point(table, response, [line, x]), shown, "y" in log)
    looks, ends, failures = looks_of(table[line].unique(), names), [], []
    for k, (level, look) in enumerate(looks.items()):
        means, runs = (rows[rows[line] == level] for rows in (points.sort_values(x), table))
        shift = (k - (len(looks) - 1) / 2) * 0.008  # so that intervals stand side by side
        beside, dots = (moved(rows[x], points[x], shift, "x" in log) for rows in (means, runs))
        ends += draw_line(ax, look, (beside, means["mean"]), (dots, shown.times * runs[response]))
        ax.vlines(beside, means["low"], means["high"], color=look.colour, linewidth=2, alpha=0.6)
        failures += [(row[x], row["failed"], row["runs"], look)
                     for row in means[means["failed"] > 0].to_dict("records")]
    ax.set(xlabel=xlabel or x.replace("_", " "), ylabel=ylabel or shown.label)
    for which in log:
        make_logarithmic(ax, which, 1, 1.5, 2, 3, 5, 7)
    levels = np.unique(points[x])
    if words:
        room = max(8, 56 // len(words))  # characters
        ax.set_xticks(levels, [textwrap.fill(word, room) for word in words])
    elif len(levels) <= 10:
        ax.set_xticks(levels, [plain(level) for level in levels])
    mark_failures(ax, failures)
    label_ends(ax, ends)
    return figure


def to_draw(points: pd.DataFrame, shown: Response, log: bool) -> pd.DataFrame:
    """Means and intervals of by_point as they are drawn, on a logarithmic axis or a linear one."""
    mean, low, high = (shown.times * points[name].to_numpy() for name in ("mean", "low", "high"))
    if log:
        mean = np.where(mean > 0, mean, np.nan)  # zero is below every logarithmic axis
        low = mean**2 / high  # as many times below the mean as high is above it
    return points.assign(mean=mean, low=low.clip(*shown.limits), high=high.clip(*shown.limits))


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


def moved(x: pd.Series, whole: pd.Series, shift: float, log: bool) -> pd.Series:
    """x, a share of the whole range further right."""
    if log:
        return x * (whole.max() / whole.min()) ** shift
    return x + (whole.max() - whole.min()) * shift


def plot_path(table: pd.DataFrame, x: str, y: str, along: str, line: str,
              names: Mapping[object, str] | None = None) -> plt.Figure:
    """One response over another: a line for each level of a factor, a point for each of another.

    Means of the runs that finished, without intervals, and a pale dot for each run.
    """
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    looks, ends = looks_of(table[line].unique(), names), []
    for level, runs in table[table["status"] == "finished"].groupby(line, sort=False):
        means = runs.groupby(along)[[x, y]].mean().sort_index()
        ends += draw_line(ax, looks[level], *(
            [response_of(name).times * rows[name] for name in (x, y)] for rows in (means, runs)))
    ax.set(xlabel=response_of(x).label, ylabel=response_of(y).label)
    label_ends(ax, ends)
    return figure


def looks_of(levels: Sequence[object], names: Mapping[object, str] | None) -> dict[object, Look]:
    """Colour, line and name of each level: a norm's own, else the next that is free."""
    looks = {}
    for i, level in enumerate(levels):
        look = LOOKS.get(level) or OTHER_LOOKS[i % len(OTHER_LOOKS)]
        looks[level] = look._replace(short=str((names or {}).get(level, look.short or level)))
    return looks


def mark_failures(ax: plt.Axes, failures: Sequence[tuple[float, int, int, Look]]) -> None:
    """Crosses above the axes, a row for each line, where runs diverged."""
    rows, above = list(dict.fromkeys(look for *_, look in failures)), ax.get_xaxis_transform()
    beside = {"xycoords": above, "textcoords": "offset points", "va": "center"}
    for x, failed, runs, look in failures:
        y = 1.04 + 0.055 * rows.index(look)
        ax.plot(x, y, "x", color=look.colour, markersize=7, markeredgewidth=2, transform=above,
                clip_on=False)
        if failed < runs:
            ax.annotate(str(failed), (x, y), (6, 0), fontsize=10, color=look.colour, **beside)
    if rows:
        first = min(x for x, *_ in failures)
        ax.annotate("diverged:", (first, 1.04), (-10, 0), fontsize=11, color="#444444", ha="right",
                    **beside)


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
    counts = {"train_size": "training images", "epochs": "epochs"}
    trained = [f"{common[key]:,} {what}" for key, what in counts.items() if common.get(key)]
    line = ", ".join([head["data"]["name"], *trained])
    line += f"; {table['seed'].nunique()} seeds, {marks}"
    if "interval" in marks and figure.axes[0].get_yscale() == "log":
        line += ", equally far up and down"
    if head.get("missing"):
        line += f"; INCOMPLETE: {head['missing']} of {head['runs']} runs are missing"
    write_below(figure, line)
