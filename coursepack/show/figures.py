"""What all pictures share, graphs by epoch, and grids of images."""

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from coursepack import files
from coursepack.files import check_choice
from coursepack.lab.effects import mean_interval
from coursepack.runs.recipes import LEAST_SEEDS, by_recipe
from coursepack.show.looks import LOOKS, Look
from model import check_norm


def show(figure: plt.Figure, alt: str, save: Path | None = None) -> None:
    """Display a figure in a notebook, with a text for those who do not see it; save it as well.

    The output's metadata keep the text and, if it was saved, the file's name.
    """
    from IPython.display import display  # here, because training alone needs no Jupyter

    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=plt.rcParams["figure.dpi"])
    if save:
        save.parent.mkdir(parents=True, exist_ok=True)
        files.replace_file(save, figure.savefig)
    plt.close(figure)
    about = {"alt": alt} | ({"file": save.name} if save else {})
    display({"image/png": picture.getvalue(), "text/plain": alt}, raw=True,
            metadata={"image/png": about})


def add_caption(figure: plt.Figure, record: dict, text: str = "") -> None:
    """Put a line of small text below a figure: what a run was trained on, then text."""
    data = record["data"]
    sample = " of the 5,000-digit SAMPLE, not the full data" if data["source"] == "sample" else ""
    line = f"{data['name']}, {data['train_size']:,} training images{sample}{text}"
    write_below(figure, line)


def write_below(figure: plt.Figure, line: str) -> None:
    """Put small text below a figure, in lines that are not longer than it is wide."""
    line = textwrap.fill(line, int(12 * figure.get_figwidth()))
    figure.text(0.01, -0.01, line, fontsize=11, color="#444444", va="top")


def loss_axis(ax: plt.Axes, low: float, high: float) -> None:
    """A logarithmic axis from low to high, with numbers at 1, 2 and 5 times powers of ten."""
    ax.set(yscale="log", ylabel="negative log likelihood (nats)", ylim=(low, high))
    ax.yaxis.set_major_locator(plt.LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(plt.NullLocator())


def accuracy_axis(ax: plt.Axes, low: float, high: float) -> None:
    """An axis for shares of errors from low to high, logarithmic, labelled with accuracies."""
    levels = [10, 30, 50, 60, 70, 80, 85, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.99]
    ax.set(yscale="log")
    ax.set_yticks([1 - level / 100 for level in levels], [f"{level} %" for level in levels])
    ax.set(ylabel="images classified right", ylim=(high, low))  # fewer errors, higher
    ax.yaxis.set_minor_locator(plt.NullLocator())


class Graph(NamedTuple):
    """A value of each epoch that can be drawn: its name, and a function that sets its axis."""

    name: str
    axis: Callable[[plt.Axes, float, float], None]


GRAPHS = {
    "loss": Graph("training loss", loss_axis),
    "test_loss": Graph("test loss", loss_axis),
    "accuracy": Graph("training accuracy", accuracy_axis),
    "test_accuracy": Graph("test accuracy", accuracy_axis),
}


MARKERS = {"o": "○", "s": "□", "v": "▽", "^": "△", "D": "◇", "P": "✚"}  # of recipes of one norm


def plot_graph(records: Sequence[dict], keys: Sequence[str], of: str = "") -> plt.Figure:
    """Epoch by epoch, a line for each recipe and each of some keys of GRAPHS with one axis.

    A recipe with several seeds is the line of their mean; from three seeds on, a band is its 95 %
    interval. Losses are on a logarithmic axis; accuracies on one that is logarithmic in the errors.
    Recipes of one norm are told apart by large markers. of: for the title, what the runs are of.
    """
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    axis = GRAPHS[check_choice("key", keys[0], GRAPHS)].axis
    recipes, drawn, ends, extremes = by_recipe(records), [], [], []
    norms = [check_norm(runs[0]["parameters"]["norm"]) for runs in recipes.values()]
    for (recipe, runs), norm in zip(recipes.items(), norms):
        look = LOOKS[norm]
        marker = list(MARKERS)[drawn.count(norm) % 6] if norms.count(norm) > 1 else ""
        drawn.append(norm)
        for key in keys:
            values = np.array([[e[key] for e in run["epochs"]] for run in runs])
            if axis is accuracy_axis:
                values = 1 - values
            values = np.maximum(values, 1e-4 if axis is accuracy_axis else 1e-7)  # no log of zero
            width, most = 2.4 if key == keys[-1] else 1.2, 1 if axis is accuracy_axis else np.inf
            last, *reach = draw_line(ax, values, look, marker, width, most)
            name = GRAPHS[key].name.split()[0] if len(keys) > 1 else recipe
            name = f"{MARKERS[marker]} {name}" if marker else name
            ends.append((values.shape[1], last, name, look.colour))
            extremes += reach
    subject = next(iter(recipes)) if len(keys) > 1 else GRAPHS[keys[0]].name.capitalize()
    ax.set(xlabel="epoch", title=f"{subject}: {of}" if of else subject)
    ax.xaxis.get_major_locator().set_params(integer=True)
    axis(ax, min(extremes) / 1.1, max(extremes) * 1.1)
    label_ends(ax, ends)
    add_caption(figure, records[0], seeds_text(list(recipes.values())))
    return figure


def seeds_text(recipes: Sequence[Sequence[dict]]) -> str:
    """For a caption: how many runs a line stands for, from the runs of each recipe."""
    counts = sorted(len(runs) for runs in recipes)
    if counts[-1] == 1:
        seeds = {run["parameters"]["seed"] for [run] in recipes}
        seed = f", seed {seeds.pop()}" if len(seeds) == 1 else ""
        return "; one run each" * (len(recipes) > 1) + seed
    each = f"{counts[0]} to " * (counts[0] < counts[-1]) + str(counts[-1])
    band = ", band: 95 % interval of the mean, equally far up and down"
    return f"; mean of {each} seeds{band if counts[-1] >= LEAST_SEEDS else ''}"


def draw_line(ax: plt.Axes, values: np.ndarray, look: Look, marker: str, width: float,
              most: float = np.inf) -> tuple[float, float, float]:
    """The mean of runs, values (runs, epochs), and, from three on, a band that ends at most there.

    The band's lower end is as many times below the mean as the upper one is above it: on a
    logarithmic axis it never reaches zero. Returns the line's end, and what is drawn lowest and
    highest.
    """
    y, half = mean_interval(values)
    low = high = y
    epochs = np.arange(1, len(y) + 1)
    if len(values) >= LEAST_SEEDS:
        low, high = y**2 / (y + half), np.minimum(y + half, most)
        ax.fill_between(epochs, low, high, color=look.colour, alpha=0.18, linewidth=0)
    large = {"marker": marker, "markersize": 9, "markerfacecolor": "white", "markeredgewidth": 1.5,
             "markevery": max(1, len(y) // 6)} if marker else {"marker": "o", "markersize": 3}
    ax.plot(epochs, y, linestyle=look.line, color=look.colour, linewidth=width, **large)
    return y[-1], low.min(), high.max()


def label_ends(ax: plt.Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each line's name to the right, with a thin line to its end where that is elsewhere.

    Names stay beside the axes, as near to their ends as room for all allows (isotonic regression);
    many are written smaller. ends: x and y of each line's last point, its name and its colour.
    """
    ax.autoscale_view()  # else limits are those of before the last line
    to_axes = ax.transData + ax.transAxes.inverted()
    ends = sorted(((*to_axes.transform((x, y)), name, colour) for x, y, name, colour in ends),
                  key=lambda end: end[1])
    wanted = np.array([y for _, y, _, _ in ends])
    names = [textwrap.fill(name, 30) for _, _, name, _ in ends]
    heights = np.array([0.02 + 0.055 * len(name.splitlines()) for name in names])
    smaller = min(1, 1 / heights.sum())
    heights *= smaller
    pile = np.cumsum(heights) - heights / 2  # each name's middle, if all were piled up from below
    above_pile = isotonic_regression(wanted - pile).x.clip(0, 1 - heights.sum())
    for height, name, (x, y, _, colour) in zip(pile + above_pile, names, ends):
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
    above, below = ([textwrap.fill(text, 28) for text in texts] for texts in (above, below))
    lines = [line for text in (*above, *below) for line in text.splitlines()]
    width = max([1.35, *(0.095 * len(line) for line in lines)])  # texts do not touch
    height = 1.15 + sum(0.1 + 0.2 * max(len(text.splitlines()) for text in texts)
                        for texts in (above, below) if texts)
    height += 0.1 / max(1, math.ceil(len(images) / columns))  # for the margin of the whole
    figure, axes = axes_grid(len(images), columns, width, height)
    figure.get_layout_engine().set(h_pad=0.08)
    for i, ax in enumerate(axes):
        ax.set(xticks=[], yticks=[], frame_on=False)
        image = np.asarray(images[i]).transpose(1, 2, 0)  # (H, W, C); one channel is grey
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        ax.set_title(above[i] if len(above) else "", color="#00664a", fontsize=12, loc="center")
        ax.set_xlabel(below[i] if len(below) else "", color="#a04000", fontsize=12)
    return figure
