"""Pictures of the tables of studies: a response against a factor, runs, differences, paths."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from coursepack.files import Later
from coursepack.lab.effects import by_point, place_names
from coursepack.runs.recipes import LEAST_SEEDS
from coursepack.show.figures import label_ends, make_logarithmic, plain, write_below
from coursepack.show.looks import LOOKS, Look

colors, pd = Later("matplotlib.colors"), Later("pandas")
plt = Later("matplotlib.pyplot")

OTHER_LOOKS = (  # for what is not a norm
    Look("", "#222222", "-"), Look("", "#E69F00", "--"), Look("", "#56B4E9", "-."),
    Look("", "#7B3294", ":"), Look("", "#8C6D31", (0, (6, 2, 1, 2))),
    Look("", "#B2182B", (0, (3, 1, 1, 1, 1, 1))))
SHADES = (1, 0.6, 1.4, 0.8)  # of a norm's colour, for its next lines: below 1 darker


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


def with_kinds(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column kind: the norm, and layer norm per channel as one of its own."""
    per_channel = table["layer_affine"] == "channel"
    return table.assign(kind=table["norm"].mask(per_channel, "LN per channel"))


def with_ways(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column way: what a run has against overfitting.

    Early stopping is a way, too: fewer epochs than the most for as many images and wrong labels.
    """
    ways = {"l1": "L1", "l2": "L2", "dropout": "dropout", "augment": "augmentation"}
    way = pd.Series("", index=table.index)
    for factor in [factor for factor in ways if factor in table]:
        way += table[factor].isin([0, "none"]).map({True: "", False: f" + {ways[factor]}"})
    if "epochs" in table:
        alike = [name for name in ("train_size", "label_noise", "norm") if name in table]
        most = table.groupby(alike)["epochs"].transform("max")
        way[table["epochs"] < most] += " + early stopping"
    return table.assign(way=way.str.removeprefix(" + ").replace("", "nothing"))


def plot_effect(table: pd.DataFrame, response: str, x: str, line: str = "norm",
                names: Mapping[object, str] | None = None, xlabel: str = "", ylabel: str = "",
                log: str = "x") -> plt.Figure:
    """A response over one factor, a line for each level of another: means and 95 % intervals.

    A pale dot is a run; see effects.by_point() for the mean on a logarithmic axis, and where there
    is no interval but a median. x: numbers, or words, which stand in the order of the table. names:
    what a level of line is called in the figure (a norm has its own name). log: which axes are
    logarithmic, "x", "y", "xy" or "". Crosses above are points of which runs diverged, with their
    number if others did not.
    """
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    shown, looks, ends = response_of(response), looks_of(table, line, names), []
    words = [] if pd.api.types.is_numeric_dtype(table[x]) else list(table[x].unique())
    if words:  # they stand at 0, 1, 2 ...
        table, log = table.assign(**{x: table[x].map(words.index)}), log.replace("x", "")
    points = by_point(table, response, [line, x], "y" in log,
                      tuple(end / shown.times for end in shown.limits)).sort_values(x)
    points[["mean", "low", "high", "median"]] *= shown.times
    points["drawn"] = points["mean"].where(points["low"].notna(), points["median"])
    if "y" in log:  # zero is below the axis
        points["drawn"] = points["drawn"].where(points["drawn"] > 0)
    levels = np.unique(points[x])
    for k, (level, look) in enumerate(looks.items()):
        means, runs = points[points[line] == level], table[table[line] == level]
        shift = (k - (len(looks) - 1) / 2) * 0.008  # of the width: intervals stand side by side
        if "x" in log:
            beside, dots = (rows[x] * (levels[-1] / levels[0]) ** shift for rows in (means, runs))
        else:
            beside, dots = (rows[x] + (levels[-1] - levels[0]) * shift for rows in (means, runs))
        ends += draw_line(ax, look, (beside, means["drawn"]), (dots, shown.times * runs[response]))
        ax.vlines(beside, means["low"], means["high"], color=look.colour, linewidth=2, alpha=0.6)
    ax.set(xlabel=xlabel or x.replace("_", " "), ylabel=ylabel or shown.label)
    for which in log:
        make_logarithmic(ax, which, 1, 1.5, 2, 3, 5, 7)
    if len(levels) <= 10:
        ax.set_xticks(levels, tick_names(words or levels))
    mark_failures(ax, points, x, line, looks)
    label_ends(ax, ends)
    bars = f"bars: 95 % interval of the {'geometric ' * ('y' in log)}mean"
    if (points["low"].isna() & (points["runs"] - points["failed"] >= LEAST_SEEDS)).any():
        bars += "; without a bar, the median of runs too far apart for one"
    figure.set_label(f"a dot each; {bars}")
    return figure


def plot_runs(table: pd.DataFrame, response: str, x: str, line: str, bound: float, counted: str,
              names: Mapping[object, str] | None = None, xlabel: str = "",
              ylabel: str = "") -> plt.Figure:
    """Errors of all runs on a logarithmic axis, and below it how many of them are under a bound.

    A dot is a run, and lines go through medians. x: numbers or words, whose levels stand side by
    side. counted: what it means to be under the bound, such as "more than 98 % right". A cross
    is a point of which runs diverged, all or as many as the lower part says; none is counted there.
    """
    shown, looks, ends = response_of(response), looks_of(table, line, names), []
    levels = list(table[x].unique())
    if pd.api.types.is_numeric_dtype(table[x]):
        levels.sort()
    table = table.assign(**{x: table[x].map(levels.index), "good": table[response] < bound})
    points = by_point(table, response, [line, x])
    points["good"] = table.groupby([line, x], sort=False)["good"].sum().to_numpy()
    lower = 0.33 * len(looks)  # inches
    figure, (ax, below) = plt.subplots(2, figsize=(8, 4.6 + lower), height_ratios=(4, lower),
                                       sharex=True, layout="constrained")
    for k, (level, look) in enumerate(looks.items()):
        runs, medians = table[table[line] == level], points[points[line] == level].sort_values(x)
        shift = (k - (len(looks) - 1) / 2) * 0.7 / len(looks)
        ends += draw_line(ax, look, (medians[x] + shift, shown.times * medians["median"]),
                          (runs[x] + shift, shown.times * runs[response]), 22)
        for failed in medians[x][medians["failed"] > 0] + shift:
            ax.plot(failed, 1.02, "x", color=look.colour, markersize=5, clip_on=False,
                    markeredgewidth=1.5, transform=ax.get_xaxis_transform())
    ax.axhline(shown.times * bound, color="#444444", linewidth=1, zorder=1)
    make_logarithmic(ax, "y", 1, 2, 5)
    ax.set(ylabel=ylabel or shown.label)
    draw_counts(below, points, x, line, looks)
    below.set_xticks(range(len(levels)), tick_names(levels))
    below.set(xlabel=xlabel or x.replace("_", " "))
    below.set_title(f"How many of {points['runs'].max()} runs have {counted}", fontsize=13)
    label_ends(ax, ends)
    crosses = "; ×: all runs diverged, 2×: two of them" * bool(points["failed"].any())
    figure.set_label(f"a dot each; lines join medians{crosses}")
    return figure


def tick_names(levels: Sequence[object]) -> list[str]:
    """What stands below an axis: numbers as short as can be, words in lines that have room."""
    return [textwrap.fill(level, max(8, 56 // len(levels))) if isinstance(level, str)
            else plain(level) for level in levels]


def draw_counts(ax: plt.Axes, points: pd.DataFrame, x: str, line: str,
                looks: Mapping[object, Look]) -> None:
    """How many of each point's runs are good, as numbers: a row a line, the fuller the more."""
    rows, most = list(looks), points["runs"].max()
    cells = np.ones((len(rows), points[x].max() + 1, 3))
    for point in points.to_dict("records"):
        k, place, good, failed = rows.index(point[line]), point[x], point["good"], point["failed"]
        colour = np.array(colors.to_rgb(looks[rows[k]].colour))
        cells[k, place] -= good / point["runs"] * (1 - colour)
        text = {"va": "center_baseline", "color": text_colour(cells[k, place])}
        said = good if point["runs"] == most else f"{good} of {point['runs']}"
        ax.text(place, k, "×" if failed == point["runs"] else said, ha="center",
                weight="bold" if good else "normal", **text)
        if 0 < failed < point["runs"]:
            ax.text(place + 0.17, k, f"{failed}×", fontsize=10, **text)
    ax.imshow(cells, aspect="auto")
    ax.set_yticks(range(len(rows)), [look.short for look in looks.values()])
    ax.yaxis.tick_right()
    ax.tick_params(axis="y", length=0, pad=8)
    for label, look in zip(ax.get_yticklabels(), looks.values()):
        label.set(color=look.colour, weight="bold")
    ax.grid(visible=False)


def text_colour(background: np.ndarray) -> str:
    """Black or white, whichever is read better on a colour (red, green, blue)."""
    return "black" if np.dot(background, (0.299, 0.587, 0.114)) > 0.46 else "white"


def plot_differences(found: pd.DataFrame, margin: float | None = None, xlabel: str = "",
                     names: Mapping[object, str] | None = None,
                     times: float = 100) -> plt.Figure:
    """Differences as effects finds them, a row each: a point, its interval, and where zero is.

    A hollow point is undecided. margin: up to which a difference is as good as none, as a band.
    names: of levels (a norm has its own). times: what a difference is drawn times; of shares, in
    percentage points. Of several norms, each has its colour.
    """
    places, rows = place_names(found), found.to_dict("records")
    named = {norm: look.short for norm, look in LOOKS.items()} | dict(names or {})
    pairs = [f"{named.get(row['of'], row['of'])} minus {named.get(row['to'], row['to'])}"
             for row in rows]
    one = len(set(pairs)) == 1 and len(rows) > 1
    figure, ax = plt.subplots(figsize=(8, 1 + 0.34 * len(rows)), layout="constrained")
    if margin is not None:
        ax.axvspan(-times * margin, times * margin, color="#e4e4e4", zorder=0)
        ax.annotate(f"within ± {times * margin:g}", (0, 1), xycoords=("data", "axes fraction"),
                    xytext=(0, 4), textcoords="offset points", ha="center", fontsize=11,
                    color="#444444")
    ax.axvline(0, color="#444444", linewidth=1, zorder=1)
    labels = []
    for k, (row, place, pair) in enumerate(zip(rows, places, pairs)):
        colour = LOOKS[row["norm"]].colour if row.get("norm") in LOOKS else "#222222"
        middle, low, high = (times * row[key] for key in ("difference", "low", "high"))
        if np.isfinite(high - low):
            ax.plot([low, high], [k, k], color=colour, linewidth=2.5, solid_capstyle="butt")
        ax.plot(middle, k, "o", markersize=7, color=colour, markeredgewidth=2,
                markerfacecolor="white" if row["says"] == "undecided" else colour)
        first = k == 0 or place != places[k - 1]
        labels.append(place if one else f"{place}:  {pair}" if place and first else pair)
        if k and first and not one:
            ax.axhline(k - 0.5, color="#cccccc", linewidth=1)
    ax.set_yticks(range(len(rows)), labels)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel=xlabel or f"{pairs[0] if one else 'difference'}"
           " (percentage points)")
    ax.grid(visible=False, axis="y")
    figure.set_label("bars: 95 % interval of the difference; a hollow point is undecided, "
                     f"all {len(rows)} tested together")
    return figure


def draw_line(ax: plt.Axes, look: Look, means: tuple[pd.Series, pd.Series],
              runs: tuple[pd.Series, pd.Series],
              large: float = 0) -> list[tuple[float, float, str, str]]:
    """Means joined by a line, and a pale dot for each run. Returns its end, for label_ends.

    large: the area of the dots, where they are what is shown, and the means only the line.
    """
    ax.plot(*means, color=look.colour, linestyle=look.line, marker="" if large else "o",
            markersize=5, linewidth=2)
    ax.scatter(*runs, s=large or 9, color=look.colour, alpha=0.6 if large else 0.35, linewidths=0)
    drawn = [point for point in zip(*means) if np.isfinite(point).all()]
    return [(*drawn[-1], look.short, look.colour)] if drawn else []


def draw_power(figure: plt.Figure, power: float, start: tuple[float, float], end: float,
               text: str) -> None:
    """A thin line y ~ x^power on logarithmic axes, from a point to an x: what theory predicts."""
    [ax] = figure.axes
    x = np.geomspace(start[0], end, 50)
    y = start[1] * (x / start[0]) ** power
    ax.plot(x, y, color="#444444", linewidth=1)
    ax.annotate(text, (x[25], y[25]), fontsize=11, color="#444444", xytext=(-6, -14),
                textcoords="offset points", ha="right")


def plot_path(table: pd.DataFrame, x: str, y: str, along: str, line: str) -> plt.Figure:
    """One response over another: a line for each level of a factor, a point for each of another.

    Means of the runs that finished, without intervals, and a pale dot for each run.
    """
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    looks, ends = looks_of(table, line), []
    finished = table[table["status"] == "finished"]
    for k, (level, runs) in enumerate(finished.groupby(line, sort=False)):
        runs = runs.assign(**{name: response_of(name).times * runs[name] for name in (x, y)})
        means = runs.groupby(along)[[x, y]].mean().sort_index()
        for name, place in means.iterrows() if len(means) > 1 else ():
            ax.annotate(f"{name:g}", place, (0, -17 if k % 2 else 7), ha="center",
                        textcoords="offset points", fontsize=11)
        ends += draw_line(ax, looks[level], *([rows[x], rows[y]] for rows in (means, runs)))
    ax.set(xlabel=response_of(x).label, ylabel=response_of(y).label)
    label_ends(ax, ends)
    figure.set_label(f"a dot each; points: their mean, one for each {along.replace('_', ' ')}")
    return figure


def looks_of(table: pd.DataFrame, line: str,
             names: Mapping[object, str] | None = None) -> dict[object, Look]:
    """Colour, line and name of each level of a factor.

    A norm has its own look, and the lines of one norm, if there are others, shades of its colour.
    Anything else has the next look that is free.
    """
    looks, norms = {}, [level for level in table[line].unique() if level in LOOKS]
    for level, runs in table.groupby(line, sort=False):
        norm = level if level in LOOKS else None
        if norm is None and "norm" in table and table["norm"].nunique() > 1:
            norm = runs["norm"].iloc[0] if runs["norm"].nunique() == 1 else None
        look, earlier = LOOKS.get(norm), norms.count(norm)
        if look and earlier and level != norm:
            shade = SHADES[earlier % len(SHADES)] * np.array(colors.to_rgb(look.colour))
            look = Look(look.short, colors.to_hex(shade.clip(0, 1)),
                        OTHER_LOOKS[(earlier + 2) % 6].line)
        look = look or OTHER_LOOKS[len(looks) % len(OTHER_LOOKS)]
        short = look.short if level in LOOKS else level
        looks[level] = look._replace(short=str((names or {}).get(level, short)))
        norms += [] if level == norm else [norm]
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


def add_note(figure: plt.Figure, table: pd.DataFrame, marks: str = "") -> None:
    """A line of small text below a figure: what was trained, and how many runs are missing.

    marks: what is drawn, if it is not what the figure says itself.
    """
    head, common = table.attrs, table.attrs["common"]
    line = head["data"]["name"]
    for key, what in (("train_size", "training images"), ("epochs", "epochs")):
        line += f", {common[key]:,} {what}" if common.get(key) else ""
    line += f"; {table['seed'].nunique()} seeds, {marks or figure.get_label()}"
    if head.get("missing"):
        line += f"; INCOMPLETE: {head['missing']} of {head['runs']} runs are missing"
    write_below(figure, line)
