"""What all pictures share, graphs by epoch, and grids of images."""

from __future__ import annotations

import io
import math
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from coursepack.files import Later, check_choice, replace_file
from coursepack.lab.effects import interval
from coursepack.runs.recipes import LEAST_SEEDS, by_recipe
from coursepack.show.looks import LOOKS, Look
from model import check_norm

optimize, plt = Later("scipy.optimize"), Later("matplotlib.pyplot")


def show(figure: plt.Figure, alt: str, save: Path | None = None) -> None:
    """Display a figure in a notebook, with a text for those who do not see it; save it as well."""
    from IPython.display import display  # here, because training alone needs no Jupyter

    picture, about = io.BytesIO(), {"alt": alt}
    figure.savefig(picture, format="png", dpi=plt.rcParams["figure.dpi"])
    if save:
        save.parent.mkdir(parents=True, exist_ok=True)
        replace_file(save, figure.savefig)
        about["file"] = save.name
    plt.close(figure)
    display({"image/png": picture.getvalue(), "text/plain": alt}, raw=True,
            metadata={"image/png": about})


def add_caption(figure: plt.Figure, record: dict, text: str = "") -> None:
    """Put a line of small text below a figure: what a run was trained on, then text."""
    data = record["data"]
    sample = " of the 5,000-digit SAMPLE, not the full data" if data["source"] == "sample" else ""
    write_below(figure, f"{data['name']}, {data['train_size']:,} training images{sample}{text}")


def write_below(figure: plt.Figure, line: str) -> None:
    """Put small text below a figure, in lines that are not longer than it is wide."""
    line = textwrap.fill(line, int(12 * figure.get_figwidth()))
    figure.text(0.01, -0.01, line, fontsize=11, color="#444444", va="top", parse_math=False)


def wide_letters(text: str) -> int:
    """How many letters of a text are twice as wide as others, as Chinese ones are."""
    return sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)


def wrap(text: str, width: int, most: int = 9) -> str:
    """A text in lines of at most so many letters, or half as many wide ones; at most so many."""
    return textwrap.fill(text, width // 2 if wide_letters(text) else width, max_lines=most,
                         placeholder="...")


def longest(texts: Sequence[str]) -> int:
    """The length of the longest line of some texts; a wide letter counts twice."""
    lines = [line for text in texts for line in text.splitlines()]
    return max([len(line) + wide_letters(line) for line in lines], default=0)


def plain(number: float, position: int = 0) -> str:
    """A number as short as can be: 0.01, 1e-5. An axis gives its tick's position, too."""
    return f"{number:g}".replace("e-0", "e-")


def make_logarithmic(ax: plt.Axes, which: str, *steps: float) -> None:
    """A logarithmic axis ("x" or "y"), with numbers at powers of ten times each of the steps."""
    ax.set(**{f"{which}scale": "log"})
    axis = getattr(ax, f"{which}axis")
    axis.set_major_locator(plt.LogLocator(subs=steps))
    axis.set_major_formatter(plain)
    axis.set_minor_locator(plt.NullLocator())


class Graph(NamedTuple):
    """A value of each epoch, and its axis: linear, or logarithmic, which begins above zero."""

    name: str
    label: str  # of the axis
    drawn: Callable[[np.ndarray], np.ndarray] = np.asarray  # what is drawn for values
    ends: tuple[float, float] = (-np.inf, np.inf)  # of what is drawn: beyond, it is refused
    begin: float = -np.inf  # less than this is drawn here, and a caption says so
    percents: tuple[float, ...] = ()  # values that are written beside the axis

    def set_up(self, ax: plt.Axes) -> None:
        """Scale, numbers and limits of an axis, once all is drawn: large values are above."""
        low, high = ax.get_ylim()
        if self.begin > 0:
            low, high = ax.dataLim.y0 / 1.1, ax.dataLim.y1 * 1.1
            far = high > 8 * low
            make_logarithmic(ax, "y", *((1, 2, 5) if far else (1, 1.5, 2, 3, 5, 7)))
        if self.percents:
            ax.set_yticks(self.drawn(np.divide(self.percents, 100)),
                          [f"{percent:g} %" for percent in self.percents])
        upright = self.drawn(0.0) < self.drawn(1.0)
        ax.set(ylabel=self.label, ylim=(low, high) if upright else (high, low))


LOSS = partial(Graph, label="negative log likelihood (nats), log axis", ends=(0, np.inf),
               begin=1e-7)
ACCURACY = partial(  # logarithmic in the errors
    Graph, label="images classified right", drawn=lambda accuracy: 1 - accuracy, ends=(0, 1),
    begin=9.99e-5, percents=(10, 30, 50, 60, 70, 80, 85, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.99))
GRAPHS = {
    "loss": LOSS("training loss"),
    "test_loss": LOSS("test loss"),
    "accuracy": ACCURACY("training accuracy"),
    "test_accuracy": ACCURACY("test accuracy"),
}
MARKERS = {"o": "○", "s": "□", "v": "▽", "^": "△", "D": "◇", "P": "✚"}  # of recipes of one norm


def plot_graph(records: Sequence[dict], keys: Sequence[str], of: str = "") -> plt.Figure:
    """Epoch by epoch, a line for each recipe and each of some keys of GRAPHS with one axis.

    A recipe with several seeds is the line of their mean, on a logarithmic axis the geometric one;
    from three seeds on, a band is its 95 % interval. Recipes of one norm are told apart by large
    markers. of: for the title, what the runs are of. Raises ValueError for a value that the axis
    has no place for.
    """
    graphs = [GRAPHS[check_choice("key", key, GRAPHS)] for key in keys]
    if len({graph.label for graph in graphs}) > 1:
        raise ValueError(f"{', '.join(keys)} have different axes. Draw a graph for each axis.")
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    recipes, ends, cut = by_recipe(records), [], ""
    norms = [check_norm(runs[0]["parameters"]["norm"]) for runs in recipes.values()]
    for i, (recipe, runs) in enumerate(recipes.items()):
        look, marker = LOOKS[norms[i]], ""
        if norms.count(norms[i]) > 1:
            marker = list(MARKERS)[norms[:i].count(norms[i]) % len(MARKERS)]
        for key, graph in zip(keys, graphs):
            name = graph.name.split()[0] if len(keys) > 1 else recipe
            values = values_of(runs, key)
            if values.min() < graph.begin:
                cut = "; what lies beyond the axis is drawn at its end"
            end = draw_line(ax, graph, values, look, marker, 2.4 if key == keys[-1] else 1.2)
            ends.append((*end, f"{MARKERS.get(marker, '')} {name}".strip(), look.colour))
    subject = next(iter(recipes)) if len(keys) > 1 else graphs[0].name.capitalize()
    ax.set(xlabel="epoch")
    ax.set_title(f"{subject}: {of}" if of else subject, parse_math=False)  # "$x^$" is a name
    ax.xaxis.get_major_locator().set_params(integer=True)
    graphs[0].set_up(ax)
    label_ends(ax, ends)
    kind = "geometric " * (graphs[0].begin > 0)
    add_caption(figure, records[0], seeds_text(list(recipes.values()), kind) + cut)
    return figure


def values_of(runs: Sequence[dict], key: str) -> np.ndarray:
    """What is drawn for a value of each epoch of some runs, (runs, epochs). Raises ValueError."""
    values = np.array([[epoch[key] for epoch in run["epochs"]] for run in runs])
    drawn, (least, most) = GRAPHS[key].drawn(values), GRAPHS[key].ends
    for run, epoch in np.argwhere(~((drawn >= least) & (drawn <= most))):  # a nan is neither
        raise ValueError(f"{key}={values[run, epoch]:g}, of {runs[run]['parameters']['run_name']} "
                         f"in epoch {epoch + 1}, has no place on an axis from {least:g} to "
                         f"{most:g}. Give it another axis in figures.GRAPHS.")
    return drawn


def seeds_text(recipes: Sequence[Sequence[dict]], kind: str) -> str:
    """For a caption: how many runs a line, some kind of mean, stands for, of each recipe's runs."""
    least, most = min(map(len, recipes)), max(map(len, recipes))
    if most == 1:
        seeds = {run["parameters"]["seed"] for [run] in recipes}
        each = "; one run each" if len(recipes) > 1 else ""
        return f"{each}, seed {seeds.pop()}" if len(seeds) == 1 else each
    each = f"{least} to {most}" if least < most else f"{most}"
    band = ", band: its 95 % interval"
    return f"; {kind}mean of {each} seeds{band if most >= LEAST_SEEDS else ''}"


def draw_line(ax: plt.Axes, graph: Graph, values: np.ndarray, look: Look, marker: str,
              width: float) -> tuple[float, float]:
    """The mean of runs, values (runs, epochs), and, from three on, a band. Returns its end.

    On a logarithmic axis it is the geometric mean, with the interval of the logarithms.
    """
    y, *band = interval(np.maximum(values, graph.begin), graph.begin > 0)
    epochs = np.arange(1, len(y) + 1)
    if len(values) >= LEAST_SEEDS:
        ax.fill_between(epochs, *np.clip(band, *graph.ends), color=look.colour, alpha=0.18,
                        linewidth=0)
    marks = {"marker": "o", "markersize": 3}
    if marker:
        marks = {"marker": marker, "markersize": 9, "markerfacecolor": "white",
                 "markeredgewidth": 1.5, "markevery": max(1, len(y) // 6)}
    ax.plot(epochs, y, linestyle=look.line, color=look.colour, linewidth=width, **marks)
    return len(y), y[-1]


def label_ends(ax: plt.Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each line's name to the right, with a thin line to its end where that is elsewhere.

    Names stay beside the axes, as near to their ends as room for all allows (isotonic regression);
    many are written smaller. ends: x and y of each line's last point, its name and its colour.
    """
    ax.autoscale_view()  # else limits are those of before the last line
    to_axes = ax.transData + ax.transAxes.inverted()
    ends = sorted(((*to_axes.transform(end[:2]), textwrap.fill(end[2], 30), end[3])
                   for end in ends), key=lambda end: end[1])
    heights = np.array([0.02 + 0.055 * len(name.splitlines()) for _, _, name, _ in ends])
    smaller = min(1, 1 / heights.sum())
    heights *= smaller
    pile = np.cumsum(heights) - heights / 2  # each name's middle, if all were piled up from below
    rising = optimize.isotonic_regression([end[1] for end in ends] - pile).x
    above_pile = rising.clip(0, 1 - heights.sum())
    for height, (x, y, name, colour) in zip(pile + above_pile, ends):
        ax.text(1.02, height, name, color=colour, transform=ax.transAxes, va="center",
                weight="bold", size=smaller * plt.rcParams["font.size"])
        if abs(height - y) > 0.02 or x < 0.9:
            ax.plot([x, 1.015], [y, height], color=colour, linewidth=0.8, alpha=0.6,
                    transform=ax.transAxes, clip_on=False, zorder=1)


def axes_grid(count: int, columns: int, width: float,
              height: float) -> tuple[plt.Figure, list[plt.Axes]]:
    """A figure of count axes, width x height inches each, in rows of so many columns."""
    rows = max(1, math.ceil(count / columns))
    figure, axes = plt.subplots(rows, columns, figsize=(width * columns, height * rows),
                                squeeze=False, layout="constrained")
    for empty in axes.flat[count:]:
        empty.set_axis_off()
    return figure, list(axes.flat[:count])


def show_images(images: ArrayLike, above: Sequence[str] = (), below: Sequence[str] = (),
                columns: int = 10) -> plt.Figure:
    """A grid of uint8 images (N, C, H, W), with a text above and below each, wrapped if long."""
    letters = min(28, max(12, 130 // columns))  # a line: of many columns, a figure stays narrow
    above, below = ([wrap(text, letters) for text in texts] for texts in (above, below))
    width = max(1.35, 0.095 * longest([*above, *below]))  # texts do not touch
    height = 1.15 + sum(0.1 + 0.2 * max(len(text.splitlines()) for text in texts)
                        for texts in (above, below) if texts)
    height += 0.1 / max(1, math.ceil(len(images) / columns))  # for the margin of the whole
    figure, axes = axes_grid(len(images), columns, width, height)
    figure.get_layout_engine().set(h_pad=0.08)
    for ax, image, over, under in zip_longest(axes, images, above, below, fillvalue=""):
        ax.set(xticks=[], yticks=[], frame_on=False)
        ax.imshow(np.asarray(image).transpose(1, 2, 0), cmap="gray", vmin=0, vmax=255)  # (H, W, C)
        ax.set_title(over, color="#00664a", fontsize=12, loc="center", parse_math=False)
        ax.set_xlabel(under, color="#a04000", fontsize=12, parse_math=False)
    return figure
