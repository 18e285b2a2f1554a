"""All pictures: graphs by epoch, and grids of images."""

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from numpy.typing import ArrayLike

from coursepack import files, threads
from coursepack.compare import LOOKS, Look, by_recipe, mean_interval, recipe_title
from coursepack.records import Misclassified
from model import check_choice, check_norm


def set_up() -> None:
    """What a process needs before its first tensor (see threads) and its first figure: the theme.

    Importing a module of the course changes nothing in the process; this does, once.
    """
    threads.set_up_torch()
    sns.set_theme(style="whitegrid", rc={
        "figure.dpi": 110, "savefig.dpi": 150, "savefig.bbox": "tight",
        "font.size": 13, "axes.labelsize": 13,
        "axes.titlesize": 15, "axes.titlelocation": "left", "xtick.labelsize": 12,
        "ytick.labelsize": 12, "axes.spines.top": False, "axes.spines.right": False,
    })


def show(figure: plt.Figure, alt: str, save: Path | None = None) -> None:
    """Display a figure in a notebook, with a text for those who do not see it; save it as well."""
    from IPython.display import display  # here, because training alone needs no Jupyter

    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=plt.rcParams["figure.dpi"])
    if save:
        save.parent.mkdir(parents=True, exist_ok=True)
        files.replace_file(save, figure.savefig)
    plt.close(figure)
    display({"image/png": picture.getvalue(), "text/plain": alt}, raw=True,
            metadata={"image/png": {"alt": alt}})


def add_caption(figure: plt.Figure, record: dict, text: str = "") -> None:
    """Put a line of small text below a figure: what a run was trained on, then text."""
    data = record["data"]
    sample = " of the 5,000-digit SAMPLE, not the full data" if data["source"] == "sample" else ""
    line = f"{data['name']}, {data['train_size']:,} training images{sample}{text}"
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


def plot_graph(records: Sequence[dict], keys: Sequence[str]) -> plt.Figure:
    """Epoch by epoch, a line for each recipe and each of some keys of GRAPHS with one axis.

    A recipe with several seeds is the line of their mean, in a band: its 95 % interval. Losses are
    on a logarithmic axis; accuracies on one that is logarithmic in the errors.
    """
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    axis = GRAPHS[check_choice("key", keys[0], GRAPHS)].axis
    recipes, drawn, ends, extremes = by_recipe(records), [], [], []
    for recipe, runs in recipes.items():
        look = LOOKS[check_norm(runs[0]["parameters"]["norm"])]
        marker = "osv^DP"[drawn.count(look) % 6]  # tells recipes of one norm apart
        drawn.append(look)
        for key in keys:
            values = np.array([[e[key] for e in run["epochs"]] for run in runs])
            values = np.maximum(1 - values, 1e-4) if axis is accuracy_axis else values
            last = draw_line(ax, values, look, marker, 2.4 if key == keys[-1] else 1.2)
            name = GRAPHS[key].name.split()[0] if len(keys) > 1 else recipe
            ends.append((last, name, look.colour))
            extremes += [values.min() / 1.1, values.max() * 1.1]
    subject = next(iter(recipes)) if len(keys) > 1 else GRAPHS[keys[0]].name.capitalize()
    ax.set(xlabel="epoch", title=subject)
    ax.xaxis.get_major_locator().set_params(integer=True)
    limits = min(extremes), max(extremes)  # of the runs: the band of two seeds is very wide
    axis(ax, *limits)
    label_ends(ax, ends)
    seeds = sorted({record["parameters"]["seed"] for record in records})
    if len(seeds) > 1:
        runs = f"; mean of seeds {', '.join(map(str, seeds))}, band: 95 % interval of the mean"
    else:
        runs = f"{'; one run each' if len(records) > 1 else ''}, seed {seeds[0]}"
    add_caption(figure, records[0], runs)
    return figure


def draw_line(ax: plt.Axes, values: np.ndarray, look: Look, marker: str, width: float) -> float:
    """The mean of runs, values (runs, epochs), and its interval as a band. Returns its end."""
    y, half = mean_interval(values)
    epochs = np.arange(1, len(y) + 1)
    if len(values) > 1:
        ax.fill_between(epochs, np.maximum(y - half, 1e-5), y + half, color=look.colour,
                        alpha=0.18, linewidth=0)
    ax.plot(epochs, y, linestyle=look.line, color=look.colour, marker=marker, markersize=3,
            linewidth=width)
    return y[-1]


def label_ends(ax: plt.Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write each line's name at its right end, moved up or down where two would overlap.

    ends: last value, name and colour of each line.
    """
    to_axes, gap = ax.transData + ax.transAxes.inverted(), 0.075
    ends = sorted(ends, key=lambda end: to_axes.transform((1, end[0]))[1])
    heights = [to_axes.transform((1, y))[1] for y, _, _ in ends]
    placed = [heights[0]]
    for height in heights[1:]:
        placed.append(max(height, placed[-1] + gap))
    shift = np.mean(heights) - np.mean(placed)  # the pile stays in the middle of its lines
    for height, (_, name, colour) in zip(placed, ends):
        ax.text(1.02, height + shift, name, color=colour, transform=ax.transAxes, va="center",
                weight="bold")


def axes_grid(count: int, columns: int, width: float,
              height: float) -> tuple[plt.Figure, list[plt.Axes]]:
    """A figure of count axes, width x height inches each, in rows of so many columns."""
    rows = math.ceil(count / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(width * columns, height * rows),
                                squeeze=False, layout="constrained")
    for empty in axes.flat[count:]:
        empty.set_axis_off()
    return figure, list(axes.flat[:count])


def show_images(images: ArrayLike, above: Sequence[str] = (), below: Sequence[str] = (),
                columns: int = 10) -> plt.Figure:
    """A grid of uint8 images (N, C, H, W), with a line of text above and below each."""
    width = max([1.35, *(0.095 * len(text) for text in (*above, *below))])  # texts do not touch
    height = 1.15 + 0.3 * bool(len(above)) + 0.3 * bool(len(below))
    height += 0.1 / math.ceil(len(images) / columns)  # for the margin of the whole
    figure, axes = axes_grid(len(images), columns, width, height)
    figure.get_layout_engine().set(h_pad=0.08)
    for i, ax in enumerate(axes):
        ax.set(xticks=[], yticks=[], frame_on=False)
        image = np.asarray(images[i]).transpose(1, 2, 0)  # (H, W, C); one channel is grey
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        ax.set_title(above[i] if len(above) else "", color="#00664a", fontsize=12, loc="center")
        ax.set_xlabel(below[i] if len(below) else "", color="#a04000", fontsize=12)
    return figure


def plot_misclassified(errors: Misclassified, classes: Sequence[str], record: dict,
                       shown: int = 20, columns: int = 5) -> plt.Figure:
    """The most confident mistakes of a run: above each the true class, below what was said."""
    kept = Misclassified(*(part[:shown] for part in errors))
    figure = show_images(
        kept.image,
        [f"true: {classes[label]}" for label in kept.label],
        [f"said: {classes[p]} ({q:.0%})" for p, q in zip(kept.prediction, kept.probability)],
        columns,
    )
    shown_of = f"{len(kept.label)} of its {len(errors.label)} mistakes"
    figure.suptitle(f"{recipe_title(record)}: {shown_of}")
    add_caption(figure, record, "; the most confident mistakes first")
    return figure
