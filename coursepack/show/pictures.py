"""Pictures of what is computed: shared means, weights, and what a network got wrong."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from coursepack.data.datasets import Dataset
from coursepack.files import Later
from coursepack.lab import effects
from coursepack.runs import recipes
from coursepack.runs.mistakes import Misclassified
from coursepack.show import figures
from coursepack.show.looks import LOOKS
from model import check_norm

pd, plt, sns = Later("pandas"), Later("matplotlib.pyplot"), Later("seaborn")

SHOWN = (5, 6, 4, 4)  # images, channels, rows and columns that plot_means has room for
GAP = 0.5  # between two maps, in squares
LEAST_ANSWERS = 5  # of a bin that a reliability diagram shows
NETWORK_LOOKS = (("#9a9a9a", "s"), ("#222222", "o"), ("#AA4499", "D"))  # none is a norm's colour


def plot_means(numbers: ArrayLike, index: Mapping[str, ArrayLike]) -> plt.Figure:
    """A batch once for each norm: elements that share a mean, and no others, have one colour.

    numbers: the batch (N, C, H, W), of which as much is drawn as there is room for; index: by norm,
    the number of each element's mean, in the same shape (model.mean_index).
    """
    whole = np.asarray(numbers)
    n, c, h, w = shape = np.minimum(whole.shape, SHOWN).tolist()
    rights, downs = np.arange(n) * (w + GAP), np.arange(c) * (h + GAP)  # of maps
    figure, axes = figures.axes_grid(len(index), 2, 0.9 + 0.42 * n * (w + GAP),
                                     1.0 + 0.42 * c * (h + GAP))
    for (norm, means), ax in zip(index.items(), axes):
        means = np.asarray(means)
        colours = colours_of(np.unique(means[:n, :c, :h, :w]).tolist())
        for place in np.ndindex(*shape):
            left, bottom = rights[place[0]] + place[3], -downs[place[1]] - place[2]
            ax.add_patch(plt.Rectangle((left, bottom), 0.94, 0.94, color=colours[means[place]]))
            ax.text(left + 0.47, bottom + 0.43, f"{whole[place]:.3g}", ha="center", va="center",
                    fontsize=10)
        ax.set(xlim=(-0.1, n * (w + GAP)), ylim=(-c * (h + GAP) + 1.3, 1.1), aspect="equal",
               title=f"{norm} norm: {means.max() + 1} means")
        ax.set_xticks(rights + w / 2, [f"image {i}" for i in range(n)])
        ax.set_yticks(1 - h / 2 - downs, [f"channel {i}" for i in range(c)])
        ax.tick_params(length=0, labelsize=10)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
    if (n, c, h, w) != whole.shape:
        figures.write_below(figure, f"The first {n} images, {c} channels and {h} x {w} positions "
                                    f"of {' x '.join(map(str, whole.shape))}")
    return figure


def colours_of(means: Sequence[int]) -> dict[int, tuple[float, float, float]]:
    """A colour for each mean; neighbours have hues far apart, and of many half are pale."""
    count = len(means)
    light = count // 2 if count > 8 else 0
    hues = [*sns.husl_palette(count - light, s=0.8, l=0.66),
            *sns.husl_palette(light, s=0.9, l=0.87)]
    steps = range(max(1, round(count * 0.382)), count + 2)
    step = next(step for step in steps if math.gcd(step, count) == 1)
    return {mean: hues[i * step % count] for i, mean in enumerate(means)}


def plot_weights(networks: Mapping[str, Sequence[ArrayLike]], names: Sequence[str]) -> plt.Figure:
    """How the weights of each layer are spread, in some networks; nothing is cut off.

    networks: by name, the weights of each layer; names: of the layers. For each layer and network
    a thin line from the least weight to the largest, a thicker one for the middle 90 %, a thick one
    for the middle half, and the median (after Hofmann, Wickham and Kafadar's letter values, 2017,
    https://doi.org/10.1080/10618600.2017.1305277). Raises ValueError if a network has other layers.
    """
    figure, ax = plt.subplots(figsize=(8, 0.9 + 0.55 * len(names)), layout="constrained")
    for k, (network, layers) in enumerate(networks.items()):
        if len(layers) != len(names):
            raise ValueError(f"{network!r} has {len(layers)} layers, and there are {len(names)} "
                             "names. Give the weights of the same layers for each network.")
        colour, marker = NETWORK_LOOKS[k % len(NETWORK_LOOKS)]
        heights = np.arange(len(names)) + 0.24 * (k - (len(networks) - 1) / 2)
        least, p5, p25, median, p75, p95, most = np.transpose([
            np.percentile(np.asarray(w, float), [0, 5, 25, 50, 75, 95, 100]) for w in layers])
        for low, high, width in ((least, most, 1), (p5, p95, 2.5), (p25, p75, 6)):
            ax.hlines(heights, low, high, color=colour, linewidth=width)
        ax.plot(median, heights, marker, color=colour, markeredgecolor="white", markersize=8,
                linestyle="", label=network)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="weight", ylim=(len(names) - 0.5, -0.5), title="Weights of each convolution")
    figure.legend(loc="outside upper right", ncols=len(networks), frameon=False)
    figures.write_below(figure, "Thick line: the middle half of a layer's weights; thinner: the "
                                "middle 90 %; thin: all of them; mark: the median")
    return figure


def plot_reliability(records: Sequence[dict]) -> plt.Figure:
    """A reliability diagram of each recipe, over how many answers there are of each confidence.

    Records with "calibration"; those of a recipe's seeds are added up. An upright line is the 95 %
    interval of a share (Wilson); a bin of fewer than LEAST_ANSWERS is left out. Guo et al. 2017,
    https://arxiv.org/abs/1706.04599
    """
    grouped = recipes.by_recipe(records)
    columns, blocks = min(3, len(grouped)), math.ceil(len(grouped) / 3)
    figure, grid = plt.subplots(
        2 * blocks, columns, figsize=(1 + 3 * columns, 4.4 * blocks), sharex=True, sharey="row",
        height_ratios=(3, 1.2) * blocks, squeeze=False, layout="constrained")
    for ax in grid.flat:
        ax.set_axis_off()
    for (recipe, runs), ax, below in zip(grouped.items(), grid[::2].flat, grid[1::2].flat):
        look = LOOKS[check_norm(runs[0]["parameters"]["norm"])]
        bins = pd.DataFrame([row for run in runs for row in run["calibration"]])
        bins[["accuracy", "confidence"]] = bins[["accuracy", "confidence"]].mul(bins["images"], 0)
        bins = bins.groupby("above").sum()  # of images, and of what is said of each of them
        bins = bins[bins["images"] >= LEAST_ANSWERS]
        right, sure = bins["accuracy"] / bins["images"], bins["confidence"] / bins["images"]
        ends = [effects.accuracy_interval(*pair) for pair in zip(right, bins["images"])]
        ax.plot([0, 1], [0, 1], color="#999999", linewidth=1)
        ax.vlines(sure, *np.transpose(ends), color=look.colour, linewidth=2, alpha=0.5)
        for axes, values in ((ax, right), (below, bins["images"])):
            axes.set_axis_on()
            axes.plot(sure, values, color=look.colour, linestyle=look.line, marker="o",
                      markersize=5)
        ax.set(ylim=(-0.02, 1.02))
        ax.set_title(textwrap.fill(recipe, 24), parse_math=False)
        below.set(xlabel="confidence")
        far = bins["images"].max() > 30 * bins["images"].min()
        figures.make_logarithmic(below, "y", *((1,) if far else (1, 2, 5)))
        for axis in (ax.yaxis, below.xaxis):
            axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    for ax, below in zip(grid[::2, 0], grid[1::2, 0]):
        ax.set(ylabel="answers that are right")
        below.set(ylabel="answers")
    figures.add_caption(figure, records[0], "; all test images. On the thin line, as many answers "
                        "are right as the network expects. Upright: 95 % intervals; bins of fewer "
                        f"than {LEAST_ANSWERS} answers are left out")
    return figure


def plot_samples(data: Dataset, shown: int = 10) -> plt.Figure:
    """Training images of a data set with the names of their classes: classes take turns."""
    labels = np.asarray(data.train_labels)
    turns = pd.Series(labels).groupby(labels).cumcount()  # how many of its class come before
    chosen = np.lexsort((labels, turns))[:shown]
    above = [data.classes[label] for label in labels[chosen]]
    return figures.show_images(np.asarray(data.train_images)[chosen], above, columns=5)


def percent(share: float) -> str:
    """A share in percent, such as 74%; near 1 with two digits, and never rounded to 100."""
    if share >= 0.99995:
        return "> 99.99%"
    return f"{share:.2%}" if share >= 0.995 else f"{share:.0%}"


def plot_misclassified(errors: Misclassified, classes: Sequence[str], record: dict,
                       shown: int = 20, columns: int = 5) -> plt.Figure:
    """The most confident mistakes of a run: above each the true class, below what was said."""
    kept = Misclassified(*(values[:shown] for values in errors))
    above = [f"true: {classes[label]}" for label in kept.label]
    below = [f"said: {classes[said]} ({percent(probability)})"
             for said, probability in zip(kept.prediction, kept.probability)]
    figure = figures.show_images(kept.image, above, below, columns)
    count, order = "no mistakes", ""
    if len(errors.label):
        count = f"{len(kept.label)} of its {len(errors.label)} mistakes"
        order = "; the most confident mistakes first"
    figure.suptitle(f"{recipes.recipe_title(record)}: {count}")
    figures.add_caption(figure, record, order)
    return figure


def plot_confusions(errors: Sequence[Misclassified], classes: Sequence[str],
                    record: dict) -> plt.Figure:
    """How often each true class was taken for each other one, counted over all of some runs.

    Of many classes only twelve are shown: those of the commonest mistakes.
    """
    label, prediction, index = (np.concatenate([getattr(wrong, name) for wrong in errors])
                                for name in ("label", "prediction", "index"))
    table = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(table, (label, prediction), 1)
    shown, of = list(range(len(classes))), ""
    if len(classes) > 12:
        commonest = np.unravel_index(np.argsort(-table, axis=None, kind="stable"), table.shape)
        shown = sorted([*dict.fromkeys(np.transpose(commonest).ravel().tolist())][:12])
        of = f",\nbetween the 12 of {len(classes)} classes that are mixed up most"
    table = table[np.ix_(shown, shown)]
    names = [figures.wrap(classes[i], 20, most=3).replace("$", r"\$") for i in shown]
    length, room = 0.1 * figures.longest(names), 0.22 * sum(  # inches
        [1 + name.count("\n") for name in names])
    figure, ax = plt.subplots(figsize=(max(8, 1 + length + room), max(6, 1.6 + length + room)),
                              layout="constrained")
    sns.heatmap(table, mask=table == 0, annot=True, fmt="d", cmap="Oranges", cbar=False, vmin=0,
                vmax=max(2 * table.max(), 1), annot_kws={"color": "black"}, linewidths=0.5,
                xticklabels=names, yticklabels=names, ax=ax)
    ax.tick_params(axis="y", rotation=0)
    if length > 0.6:
        ax.tick_params(axis="x", rotation=90)
    images = len(np.unique(index))
    runs = "one run" if len(errors) == 1 else f"{len(errors)} runs, on {images:,} images"
    ax.set(xlabel="said", ylabel="true class", title=f"{table.sum():,} mistakes of {runs}{of}")
    figures.add_caption(figure, record, "; an image counts once for each run that gets it wrong")
    return figure
