"""Pictures of the tables of studies: a response against a factor, a heat map."""

import textwrap
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from coursepack.lab.effects import by_point
from coursepack.show.figures import label_ends, write_below
from coursepack.show.looks import LOOKS, Look

OTHER_LOOKS = (  # for what is not a norm
    Look("", "#222222", "-"), Look("", "#E69F00", "--"), Look("", "#56B4E9", "-."),
    Look("", "#7B3294", ":"), Look("", "#8C6D31", (0, (6, 2, 1, 2))),
    Look("", "#B2182B", (0, (3, 1, 1, 1, 1, 1))))
RESPONSES = {  # of a table: what it is called, how it is shown, and its limits then
    "test_accuracy": ("test images classified right (%)", lambda values: 100 * values, (0, 100)),
    "test_error": ("test images classified wrong (%)", lambda values: 100 * values, (0, 100)),
    "test_loss": ("test loss (nats)", lambda values: values, (0, np.inf)),
    "exact_zeros": ("weights that are exactly zero (%)", lambda values: 100 * values, (0, 100)),
    "near_zeros": ("weights that are near zero (%)", lambda values: 100 * values, (0, 100)),
    "pruned_accuracy": ("test images right without them (%)", lambda values: 100 * values,
                        (0, 100)),
}


def with_errors(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column test_error, the share of test images classified wrong."""
    return table.assign(test_error=1 - table["test_accuracy"])


def with_ways(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column way: what a run has against learning its images by heart."""
    ways = {"l1": "L1", "l2": "L2", "dropout": "dropout", "augment": "moved images"}
    way = pd.Series("", index=table.index)
    for factor, name in ways.items():
        if factor in table:
            has_it = ~table[factor].isin([0, "none"])
            way += has_it.map({True: f" + {name}", False: ""})
    return table.assign(way=way.str.removeprefix(" + ").replace("", "nothing"))


def plot_effect(table: pd.DataFrame, response: str, x: str, line: str = "norm",
                names: Mapping[object, str] | None = None, xlabel: str = "", ylabel: str = "",
                log: str = "x") -> plt.Figure:
    """A response over one factor, a line for each level of another: means and 95 % intervals.

    A pale dot is a run. x: numbers, or words, which stand in the order of the table. names: what a
    level of line is called in the figure (a norm has its own name). log: which axes are
    logarithmic, "x", "y", "xy" or "". On a logarithmic y axis an interval's lower end is as many
    times below the mean as its upper end is above it, so that it never reaches zero. Crosses above
    are points of which runs diverged, with their number if others did not.
    """
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    label, convert, limits = RESPONSES.get(
        response, (response.replace("_", " "), lambda values: values, (-np.inf, np.inf)))
    ax.set(xlabel=xlabel or x.replace("_", " "), ylabel=ylabel or label)
    words = [] if pd.api.types.is_numeric_dtype(table[x]) else list(table[x].unique())
    if words:
        table = table.assign(**{x: table[x].map(words.index)})
    points = by_point(table, response, [line, x])
    looks, ends, failures = looks_of(table[line].unique(), names), [], []
    along = "x" in log and not words
    for k, (level, part) in enumerate(points.groupby(line, sort=False)):
        look, part = looks[level], part.sort_values(x)
        shift = (k - (len(looks) - 1) / 2) * 0.008  # so that intervals stand side by side
        mean, low, high = (convert(part[name].to_numpy(float)) for name in ("mean", "low", "high"))
        if "y" in log:
            mean = np.where(mean > 0, mean, np.nan)  # zero is below every logarithmic axis
            low = mean**2 / high  # as many times below the mean as high is above it
        there = moved(part[x], points[x], shift, along)
        ax.plot(there, mean, color=look.colour, linestyle=look.line, marker="o", markersize=5,
                linewidth=2)
        ax.vlines(there, low.clip(*limits), high.clip(*limits), color=look.colour, linewidth=2,
                  alpha=0.6)
        runs = table[table[line] == level]
        ax.scatter(moved(runs[x], points[x], shift, along), convert(runs[response]), s=9,
                   color=look.colour, alpha=0.35, linewidths=0)
        if (good := np.flatnonzero(np.isfinite(mean))).size:
            ends.append((there.iloc[good[-1]], mean[good[-1]], look.short, look.colour))
        failures += [(row[x], row["failed"], row["runs"], look) for row in
                     part[part["failed"] > 0].to_dict("records")]
    set_scales(ax, points[x].unique(), log if along else log.replace("x", ""))
    if words:
        room = max(8, 56 // len(words))  # characters
        ax.set_xticks(range(len(words)), [textwrap.fill(word, room) for word in words])
    mark_failures(ax, failures)
    label_ends(ax, ends)
    return figure


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
    """One response over another: a point for each level of a factor, joined in its order.

    Means of the runs that finished, without intervals, and a pale dot for each run; a line for each
    level of another factor.
    """
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    looks, ends = looks_of(table[line].unique(), names), []
    for level, runs in table[table["status"] == "finished"].groupby(line, sort=False):
        means = runs.groupby(along)[[x, y]].mean().sort_index()
        shown = [RESPONSES[name][1](means[name]) for name in (x, y)]
        ax.plot(*shown, color=looks[level].colour, linestyle=looks[level].line, marker="o",
                markersize=5, linewidth=2)
        ax.scatter(*(RESPONSES[name][1](runs[name]) for name in (x, y)), s=9, alpha=0.35,
                   color=looks[level].colour, linewidths=0)
        ends.append((*(values.iloc[-1] for values in shown), looks[level].short,
                     looks[level].colour))
    ax.set(xlabel=RESPONSES[x][0], ylabel=RESPONSES[y][0])
    label_ends(ax, ends)
    return figure


def looks_of(levels: Sequence[object], names: Mapping[object, str] | None) -> dict[object, Look]:
    """Colour, line and name of each level: a norm's own, else the next that is free."""
    looks = {}
    for i, level in enumerate(levels):
        look = LOOKS.get(level) or OTHER_LOOKS[i % len(OTHER_LOOKS)]
        looks[level] = look._replace(short=str((names or {}).get(level, look.short or level)))
    return looks


def set_scales(ax: plt.Axes, levels: Sequence[float], log: str) -> None:
    """Logarithmic axes with plain numbers, and a tick at each level of a factor if they are few."""
    for name, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
        if name in log:
            ax.set(**{f"{name}scale": "log"})
            axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
            axis.set_minor_locator(NullLocator())
    if len(levels) <= 10:
        ax.set_xticks(sorted(levels), [plain(level) for level in sorted(levels)])


def plain(number: float) -> str:
    """A number as short as can be: 0.01, 1e-5."""
    return f"{number:g}".replace("e-0", "e-")


def mark_failures(ax: plt.Axes, failures: Sequence[tuple[float, int, int, Look]]) -> None:
    """Crosses above the axes, a row for each line, where runs diverged."""
    rows = list(dict.fromkeys(look for *_, look in failures))
    for x, failed, runs, look in failures:
        y = 1.04 + 0.055 * rows.index(look)
        ax.plot([x], [y], marker="x", color=look.colour, markersize=7, markeredgewidth=2,
                transform=ax.get_xaxis_transform(), clip_on=False, linestyle="none")
        if failed < runs:
            ax.annotate(f"{failed}", (x, y), xycoords=ax.get_xaxis_transform(), fontsize=10,
                        xytext=(6, 0), textcoords="offset points", va="center", color=look.colour)
    if rows:
        first = min(x for x, *_ in failures)
        ax.annotate("diverged:", (first, 1.04), xycoords=ax.get_xaxis_transform(), fontsize=11,
                    xytext=(-10, 0), textcoords="offset points", va="center", ha="right",
                    color="#444444")


def plot_heat(table: pd.DataFrame, response: str, x: str, y: str, title: str = "",
              names: Mapping[object, str] | None = None,
              convert: Callable[[float], float] = lambda value: 100 * value) -> plt.Figure:
    """The mean of a response at each pair of two factors' levels, as numbers and as colours.

    The colours are those of logarithms, so that one bad level does not make all others alike.
    """
    points = by_point(table, response, [y, x])
    cells = points.pivot(index=y, columns=x, values="mean").map(convert)
    cells = cells.reindex(index=points[y].unique(), columns=points[x].unique())
    cells.index = [LOOKS[level].short if level in LOOKS else level for level in cells.index]
    cells.columns = [(names or {}).get(level, level) for level in cells.columns]
    figure, ax = plt.subplots(figsize=(9, 0.9 + 0.55 * len(cells)), layout="constrained")
    sns.heatmap(cells, annot=True, fmt=".1f", cmap="viridis_r", norm=LogNorm(), cbar=False,
                linewidths=0.5, ax=ax)
    ax.set(xlabel="", ylabel="", title=title)
    ax.tick_params(axis="y", rotation=0)
    return figure


def add_note(figure: plt.Figure, table: pd.DataFrame,
             marks: str = "a dot each; bars: 95 % interval of the mean") -> None:
    """A line of small text below a figure: what was trained, and which part is still missing."""
    head, common = table.attrs, table.attrs["common"]
    parts = [head["data"]["name"]]
    parts += [f"{common[key]:,} {what}" for key, what in (
        ("train_size", "training images"), ("epochs", "epochs")) if common.get(key)]
    line = f"{', '.join(parts)}; {table['seed'].nunique()} seeds, {marks}"
    if "interval" in marks and figure.axes[0].get_yscale() == "log":
        line += ", equally far up and down"
    if head.get("missing"):
        line += f"; INCOMPLETE: {head['missing']} of {head['runs']} runs are missing"
    write_below(figure, line)
