"""Pictures of the tables of studies: a response against a factor, a heat map."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FuncFormatter, NullLocator

from coursepack.compare import LOOKS, Look
from coursepack.effects import by_point
from coursepack.figures import label_ends, write_below

OTHER_LOOKS = (*(look._replace(short="") for look in LOOKS.values()),  # for what is not a norm
               Look("", "#E69F00", (0, (6, 2, 1, 2))), Look("", "#56B4E9", (0, (3, 1, 1, 1, 1, 1))))
RESPONSES = {  # of a table: what it is called, and what makes a number for people of it
    "test_accuracy": ("test images classified right (%)", lambda values: 100 * values),
    "test_error": ("test images classified wrong (%)", lambda values: 100 * values),
    "test_loss": ("test loss (nats)", lambda values: values),
}


def with_errors(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column test_error, the share of test images classified wrong."""
    return table.assign(test_error=1 - table["test_accuracy"])


def plot_effect(table: pd.DataFrame, response: str, x: str, line: str = "norm",
                ax: plt.Axes | None = None, names: Mapping[object, str] | None = None,
                xlabel: str = "", ylabel: str = "", title: str = "", log: str = "x") -> plt.Figure:
    """A response over one factor, a line for each level of another: means and 95 % intervals.

    names: what a level of line is called in the figure (a norm has its own name). log: which axes
    are logarithmic, "x", "y", "xy" or "". Crosses at the bottom are points of which runs diverged,
    with their number.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    label, convert = RESPONSES.get(response, (response.replace("_", " "), lambda values: values))
    ax.set(xlabel=xlabel or x.replace("_", " "), ylabel=ylabel or label, title=title)
    if "x" in log:
        ax.set_xscale("log")
    if "y" in log:
        ax.set_yscale("log")
    looks, ends, failures = looks_of(table[line].unique(), names), [], []
    points = by_point(table, response, [line, x])
    for level, part in points.groupby(line, sort=False):
        look, part = looks[level], part.sort_values(x)
        mean, low, high = (convert(part[name].to_numpy(float)) for name in ("mean", "low", "high"))
        ax.plot(part[x], mean, color=look.colour, linestyle=look.line, marker="o", markersize=5,
                linewidth=2)
        ax.vlines(part[x], low, high, color=look.colour, linewidth=2, alpha=0.6)
        if np.isfinite(mean).any():
            ends.append((mean[np.isfinite(mean)][-1], look.short, look.colour))
        failures += [(row[x], row["failed"], row["runs"], look) for row in
                     part[part["failed"] > 0].to_dict("records")]
    mark_ticks(ax, points[x].unique(), "x" in log)
    mark_failures(ax, failures)
    label_ends(ax, ends)
    return ax.figure


def looks_of(levels: Sequence[object], names: Mapping[object, str] | None) -> dict[object, Look]:
    """Colour, line and name of each level: a norm's own, else the next that is free."""
    looks = {}
    for i, level in enumerate(levels):
        look = LOOKS.get(level) or OTHER_LOOKS[i % len(OTHER_LOOKS)]
        looks[level] = look._replace(short=str((names or {}).get(level, look.short or level)))
    return looks


def mark_ticks(ax: plt.Axes, values: Sequence[float], log: bool) -> None:
    """A tick at each level of a numeric factor."""
    if len(values) <= 10 and log:
        ax.set_xticks(sorted(values))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_locator(NullLocator())


def mark_failures(ax: plt.Axes, failures: Sequence[tuple[float, int, int, Look]]) -> None:
    """Crosses along the bottom of the axes, a row for each line, where runs diverged."""
    rows = list(dict.fromkeys(look for *_, look in failures))
    for x, failed, runs, look in failures:
        y = 0.03 + 0.055 * rows.index(look)
        ax.plot([x], [y], marker="x", color=look.colour, markersize=7, markeredgewidth=2,
                transform=ax.get_xaxis_transform(), clip_on=False, linestyle="none")
        if failed < runs:
            ax.annotate(f"{failed}", (x, y), xycoords=ax.get_xaxis_transform(), fontsize=10,
                        xytext=(6, 0), textcoords="offset points", va="center", color=look.colour)


def plot_heat(table: pd.DataFrame, response: str, x: str, y: str, title: str = "",
              names: Mapping[object, str] | None = None,
              convert: Callable[[float], float] = lambda value: 100 * value) -> plt.Figure:
    """The mean of a response at each pair of two factors' levels, as numbers and as colours."""
    points = by_point(table, response, [y, x])
    cells = points.pivot(index=y, columns=x, values="mean").map(convert)
    cells = cells.reindex(index=points[y].unique(), columns=points[x].unique())
    cells.index = [LOOKS[level].short if level in LOOKS else level for level in cells.index]
    cells.columns = [(names or {}).get(level, level) for level in cells.columns]
    figure, ax = plt.subplots(figsize=(9, 0.9 + 0.55 * len(cells)), layout="constrained")
    sns.heatmap(cells, annot=True, fmt=".1f", cmap="viridis", cbar=False, linewidths=0.5, ax=ax)
    ax.set(xlabel="", ylabel="", title=title)
    ax.tick_params(axis="y", rotation=0)
    return figure


def add_note(figure: plt.Figure, table: pd.DataFrame, text: str = "") -> None:
    """A line of small text below a figure: what was trained, and which part is still missing."""
    head, common = table.attrs, table.attrs["common"]
    parts = [head["data"]["name"], *(f"{common['train_size']:,} training images",) * bool(
        common.get("train_size")), *(f"{common['epochs']} epochs",) * bool(common.get("epochs"))]
    seeds = table["seed"].nunique()
    line = f"{', '.join(parts)}; {seeds} seeds, bars: 95 % interval of the mean{text}"
    if head.get("missing"):
        line += f"; INCOMPLETE: {head['missing']} of {head['runs']} runs are missing"
    write_below(figure, line)
