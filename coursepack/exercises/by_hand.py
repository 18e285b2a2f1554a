"""Notebook 00: how many means, normalizing by hand, batch norm with running statistics."""

import functools
import math

import torch
from torch import Tensor

from coursepack.exercises.grading import Exercise, mean_and_variance, on_sizes, unlike


# --------------------------------------------------------------------------- number_of_means
def number_of_means(shape, norm, groups):
    n, c, h, w = shape
    return {"batch": c, "layer": n, "group": n * groups, "instance": n * c}[norm]


def mean_cases() -> list[tuple]:
    """Shapes in which no two counts are equal that may be taken for each other."""
    return [(shape, norm, groups) for shape, groups in (((5, 12, 11, 7), 4), ((7, 10, 4, 3), 2))
            for norm in ("batch", "layer", "group", "instance")]


COUNTS = {  # what is taken for the number of means
    "one for all": lambda n, c, h, w, g: 1,
    "one for each image": lambda n, c, h, w, g: n,
    "one for each channel": lambda n, c, h, w, g: c,
    "one for each channel of each image": lambda n, c, h, w, g: n * c,
    "one for each group": lambda n, c, h, w, g: g,
    "one for each group of each image": lambda n, c, h, w, g: n * g,
    "as many as a group has channels": lambda n, c, h, w, g: c // g,
    "as many as a group has channels, for each image": lambda n, c, h, w, g: n * c // g,
    "one for each position": lambda n, c, h, w, g: h * w,
    "one for each position of each image": lambda n, c, h, w, g: n * h * w,
    "one for each number of an image": lambda n, c, h, w, g: c * h * w,
}
AVERAGES = {  # over what a norm averages, and what that leaves
    "batch": ("images and positions", "one for each channel"),
    "layer": ("channels and positions", "one for each image"),
    "group": ("positions and the channels of a group", "one for each group of each image"),
    "instance": ("positions alone", "one for each channel of each image"),
}


def with_means(**others) -> object:
    """A wrong way: number_of_means, but for some norms."""
    def way(shape, norm, groups):
        if norm in others:
            return others[norm](*shape, groups)
        return number_of_means(shape, norm, groups)
    return way


MEANS_WRONG = {
    "These are counts of elements that share one mean. Asked for is how many means there are: the "
    "whole batch has N C H W elements, so divide.":
        lambda shape, norm, groups: math.prod(shape) // number_of_means(shape, norm, groups),
    "Batch and layer norm are the wrong way round: batch norm has a mean for each channel, layer "
    "norm one for each image.": with_means(batch=COUNTS["one for each image"],
                                           layer=COUNTS["one for each channel"]),
    "Layer, group and instance norm look at each image on its own: every image of the batch has "
    "its own means.":
        with_means(layer=COUNTS["one for all"], group=COUNTS["one for each group"],
                   instance=COUNTS["one for each channel"]),
    "All positions of a map share a mean: H and W do not count.":
        lambda shape, norm, groups: number_of_means(shape, norm, groups) * shape[2] * shape[3],
    "With each mean goes a variance, but asked for are the means alone.":
        lambda shape, norm, groups: 2 * number_of_means(shape, norm, groups),
} | {
    f"{norm.capitalize()} norm: that is {said}. It averages over {over}, so there is {left}.":
        with_means(**{norm: count})
    for norm, (over, left) in AVERAGES.items() for said, count in COUNTS.items() if said != left
}


# --------------------------------------------------------------------------------- normalize
def normalize(x, axes, eps):
    mean = x.mean(axes, keepdim=True)
    variance = ((x - mean) ** 2).mean(axes, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps)


def random_batch(seed: int, *shape: int) -> Tensor:
    """A batch in float64, whose channels and images have means and variances of their own."""
    draw = torch.Generator().manual_seed(seed)
    scale = 1 + torch.rand(shape[0], shape[1], 1, 1, generator=draw, dtype=torch.float64)
    return scale * (scale + torch.randn(*shape, generator=draw, dtype=torch.float64))


def normalize_cases() -> list[tuple]:
    x = random_batch(0, 4, 6, 3, 3)
    return [(x, (0, 2, 3), 1e-5), (x, (1, 2, 3), 1e-5), (x, (2, 3), 1e-2),
            (x / 1e3, (0, 2, 3), 1e-5)]


def centred(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x - x.mean(axes, keepdim=True)


def biased(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.var(axes, correction=0, keepdim=True)


def other_axes(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of another norm: those of layer norm for batch norm, and the other way round."""
    return (1, 2, 3) if axes != (1, 2, 3) else (0, 2, 3)


NORMALIZE_WRONG = {
    "The variance is the unbiased one, divided by the count less one. Norms use the biased one: "
    "divide by the count (`correction=0`).":
        lambda x, axes, eps: centred(x, axes) / (x.var(axes, keepdim=True) + eps).sqrt(),
    "Epsilon stands outside of the root. It is added to the variance, inside.":
        lambda x, axes, eps: centred(x, axes) / (biased(x, axes).sqrt() + eps),
    "`std()` is the unbiased one, and epsilon belongs under the root: add it to the biased "
    "variance.":
        lambda x, axes, eps: centred(x, axes) / (x.std(axes, keepdim=True) + eps),
    "`std()` is the unbiased one, and epsilon is missing: add it to the biased variance, then take "
    "the root.": lambda x, axes, eps: centred(x, axes) / x.std(axes, keepdim=True),
    "Epsilon is missing: it is added to the variance before the root.":
        lambda x, axes, eps: centred(x, axes) / biased(x, axes).sqrt(),
    "Divided by the variance: the root is missing.":
        lambda x, axes, eps: centred(x, axes) / (biased(x, axes) + eps),
    "The variance is the mean of `(x - mean) ** 2`, and not of `x ** 2`.":
        lambda x, axes, eps: centred(x, axes) / ((x**2).mean(axes, keepdim=True) + eps).sqrt(),
    "The variance is the mean of the squares, and not their sum.":
        lambda x, axes, eps: centred(x, axes) / (
            (centred(x, axes) ** 2).sum(axes, keepdim=True) + eps).sqrt(),
    "`std()` is a root already, and the unbiased one: take the biased variance, add epsilon, and "
    "then take the root.":
        lambda x, axes, eps: centred(x, axes) / (x.std(axes, keepdim=True) + eps).sqrt(),
    "The mean is subtracted, but nothing is divided by the standard deviation.":
        lambda x, axes, eps: centred(x, axes),
    "The variance is over all numbers, and the mean is not. Both are over `axes`.":
        lambda x, axes, eps: centred(x, axes) / ((centred(x, axes) ** 2).mean() + eps).sqrt(),
    "Each axis is normalized after the other. One mean and one variance are over all of `axes`.":
        lambda x, axes, eps: functools.reduce(lambda y, axis: normalize(y, axis, eps), axes, x),
    "The sum of squares is divided by how many numbers x has. Divide by how many share a mean.":
        lambda x, axes, eps: centred(x, axes) / (
            (centred(x, axes) ** 2).sum(axes, keepdim=True) / x.numel() + eps).sqrt(),
    "The variance is the mean of the squares less the square of the mean: the square is missing.":
        lambda x, axes, eps: centred(x, axes) / (
            (x**2).mean(axes, keepdim=True) - x.mean(axes, keepdim=True) + eps).sqrt(),
    "Averaged over the axes that `axes` leaves out. Average over `axes` themselves.":
        lambda x, axes, eps: normalize(x, tuple({0, 1, 2, 3} - {*axes}), eps),
    "Epsilon is added to the result. It is added to the variance, under the root.":
        lambda x, axes, eps: centred(x, axes) / biased(x, axes).sqrt() + eps,
    "This brings each group of numbers between 0 and 1. A norm subtracts the mean and divides by "
    "the standard deviation.": lambda x, axes, eps: (x - x.amin(axes, keepdim=True)) / (
        x.amax(axes, keepdim=True) - x.amin(axes, keepdim=True)),
    "The mean is not subtracted.": lambda x, axes, eps: x / (biased(x, axes) + eps).sqrt(),
    "One mean for the whole batch: `axes` says over which axes to average.":
        lambda x, axes, eps: normalize(x, (0, 1, 2, 3), eps),
    "These are always batch norm's axes: `axes` says over which axes to average.":
        lambda x, axes, eps: normalize(x, (0, 2, 3), eps),
    "These are always layer norm's axes: `axes` says over which axes to average.":
        lambda x, axes, eps: normalize(x, (1, 2, 3), eps),
    "These are always instance norm's axes: `axes` says over which axes to average.":
        lambda x, axes, eps: normalize(x, (2, 3), eps),
    "Epsilon is always 1e-5: `eps` says what to add.":
        lambda x, axes, eps: normalize(x, axes, 1e-5),
    "Brackets are missing: subtract first, then divide, (x - mean) / root.":
        lambda x, axes, eps: x - x.mean(axes, keepdim=True) / (biased(x, axes) + eps).sqrt(),
    "These are the axes of another norm: average over `axes` themselves.":
        lambda x, axes, eps: normalize(x, other_axes(axes), eps),
}


def is_normalized(given: list[Tensor], right: list[Tensor], x: Tensor, axes: tuple[int, ...],
                  eps: float) -> str:
    return mean_and_variance(given[0], right[0], axes)


# --------------------------------------------------------------------------------- BatchNorm
class BatchNorm:
    def __init__(self, channels, momentum=0.1, eps=1e-5):
        self.momentum, self.eps = momentum, eps
        self.mean, self.variance = torch.zeros(channels), torch.ones(channels)

    def __call__(self, x, training):
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            unbiased = x.var((0, 2, 3), correction=1)
            self.mean = (1 - self.momentum) * self.mean + self.momentum * mean
            self.variance = (1 - self.momentum) * self.variance + self.momentum * unbiased
        mean, variance = mean.view(1, -1, 1, 1), variance.view(1, -1, 1, 1)
        return (x - mean) / torch.sqrt(variance + self.eps)


def use_batch_norm(answer: object) -> dict[str, object]:
    """What a batch norm gives for two batches in training mode and two in evaluation mode."""
    layer = answer(3)
    result = {}
    for i, mode in enumerate(("training", "training", "evaluation", "evaluation"), 1):
        x = random_batch(i, 2, 3, 2, 2)
        result[f"batch {i}, in {mode} mode"] = layer(x, mode == "training")
    layer = answer(3, 0.5, 0.01)
    for i, mode in enumerate(("training", "evaluation"), 5):
        x = random_batch(i, 2, 3, 2, 2)
        result[f"batch {i}, with momentum 0.5 and eps 0.01, in {mode} mode"] = layer(
            x, mode == "training")
    return result


def as_if(given: list[Tensor], right: list[Tensor]) -> str:
    """Which mean and variance the first channel was normalized with, where a result goes wrong."""
    def used(y: Tensor) -> str:
        scale = y[:, 0].std() / x[:, 0].std()
        mean, root = x[:, 0].mean() - y[:, 0].mean() / scale, 1 / scale
        return f"{mean:.4g} is subtracted and the rest divided by {root:.4g}"
    first = min(unlike(given, right))
    x = random_batch(first + 1, 2, 3, 2, 2)
    running = (" Running statistics begin with 0 and 1, and each batch in training mode moves them "
               "by its share, `momentum`.") if first in (2, 3, 5) else ""
    return (f"Channel 0 comes out as if {used(given[first])}. Right would be: "
            f"{used(right[first])}.{running}")


def moved(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    return (1 - momentum) * old + momentum * new


def turned(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    return momentum * old + (1 - momentum) * new


def wrong_batch_norm(kept=1, divisor=0, first=1.0, axes=(0, 2, 3), move=moved, still=(),
                     moves=lambda training: training, late=False,
                     of_batch=lambda training: training, outside=False, **fixed):
    """A batch norm with one thing wrong: see the arguments. fixed: a momentum, an eps."""
    class Wrong:
        def __init__(self, channels, momentum=0.1, eps=1e-5):
            self.momentum, self.eps = ({"momentum": momentum, "eps": eps} | fixed).values()
            self.running = [torch.zeros(1, channels, 1, 1), torch.full((1, channels, 1, 1), first)]

        def __call__(self, x, training):
            mean, before = x.mean(axes, keepdim=True), self.running
            variances = [x.var(axes, correction=k, keepdim=True) for k in (0, 1)]
            if moves(training):
                after = [move(old, new.mean(0, keepdim=True), self.momentum)
                         for old, new in zip(before, (mean, variances[kept]))]
                self.running = [before[i] if i in still else after[i] for i in (0, 1)]
            running = before if late else self.running
            mean, variance = (mean, variances[divisor]) if of_batch(training) else running
            root = variance.sqrt() + self.eps if outside else (variance + self.eps).sqrt()
            return (x - mean) / root
    return Wrong


BATCH_NORM_WRONG = {
    "In evaluation mode it still uses the statistics of the batch. There the running ones count.":
        wrong_batch_norm(of_batch=lambda training: True),
    "In training mode it uses the running statistics. There those of the batch count, and the "
    "running ones are only kept.": wrong_batch_norm(of_batch=lambda training: False),
    "The modes are the wrong way round: with training=True the statistics of the batch count.":
        wrong_batch_norm(of_batch=lambda training: not training,
                         moves=lambda training: not training),
    "The running variance is kept as the biased one. PyTorch keeps the unbiased one (divided by "
    "the count less one), and normalizes with the biased one.": wrong_batch_norm(kept=0),
    "In training mode it normalizes with the unbiased variance. That one is kept as the running "
    "variance; normalize with the biased one (`correction=0`).": wrong_batch_norm(divisor=1),
    "Momentum is the wrong way round: the running value keeps 0.9 of itself, and takes 0.1 of the "
    "batch's.": wrong_batch_norm(move=turned),
    "In training mode it uses the running statistics, where those of the batch count; and momentum "
    "is the wrong way round: the running value keeps 0.9 of itself.":
        wrong_batch_norm(move=turned, of_batch=lambda training: False),
    "The running value is not made smaller before a share of the batch's is added: it keeps "
    "1 - momentum of itself.":
        wrong_batch_norm(move=lambda old, new, momentum: old + momentum * new),
    "The running value is not made smaller before a share of the batch's is added: it keeps "
    "1 - momentum of itself. And of the variances it is the unbiased one that is kept.":
        wrong_batch_norm(move=lambda old, new, momentum: old + momentum * new, kept=0),
    "The running statistics are those of the last batch. Each batch moves them by a tenth of the "
    "way (`momentum`).": wrong_batch_norm(move=lambda old, new, momentum: new),
    "Momentum is the wrong way round: the running value keeps 0.9 of itself. And of the variances "
    "it is the unbiased one that is kept.": wrong_batch_norm(move=turned, kept=0),
    "The running statistics are those of the last batch. Each batch moves them by a tenth of the "
    "way, the variance towards the unbiased one.":
        wrong_batch_norm(move=lambda old, new, momentum: new, kept=0),
    "The running mean never changes: each batch in training mode moves it.":
        wrong_batch_norm(still=(0,)),
    "The running variance never changes: each batch in training mode moves it.":
        wrong_batch_norm(still=(1,)),
    "The running statistics never change: each batch in training mode moves them.":
        wrong_batch_norm(moves=lambda training: False),
    "The running statistics move in evaluation mode, too. They move in training mode alone.":
        wrong_batch_norm(moves=lambda training: True),
    "The running statistics move in evaluation mode, too, and not in training mode alone. And of "
    "the variances it is the unbiased one that is kept.":
        wrong_batch_norm(moves=lambda training: True, kept=0),
    "After a batch in evaluation mode the running statistics have moved. They move in training "
    "mode alone.": wrong_batch_norm(moves=lambda training: True, late=True),
    "These are instance norm's axes: in training mode the mean is over the images, too.":
        wrong_batch_norm(axes=(2, 3)),
    "That is one mean for all. Each channel has a mean of its own, over (0, 2, 3).":
        wrong_batch_norm(axes=(0, 1, 2, 3)),
    "These are layer norm's axes. Each channel has a mean of its own, over (0, 2, 3).":
        wrong_batch_norm(axes=(1, 2, 3)),
    "Epsilon stands outside of the root. It is added to the variance, inside.":
        wrong_batch_norm(outside=True),
    "Epsilon is missing: it is added to the variance before the root.": wrong_batch_norm(eps=0.0),
    "Epsilon is always 1e-5, and momentum always 0.1: both are given to `__init__`.":
        wrong_batch_norm(eps=1e-5, momentum=0.1),
    "Momentum is always 0.1: it is given to `__init__`.": wrong_batch_norm(momentum=0.1),
    "Epsilon is always 1e-5: it is given to `__init__`.": wrong_batch_norm(eps=1e-5),
    "The running variance starts at 0. It starts at 1, and the running mean at 0.":
        wrong_batch_norm(first=0.0),
}

EXERCISES = {
    "number_of_means": Exercise(
        "00", number_of_means, mean_cases, MEANS_WRONG,
        ["Which of N, C, H, W are averaged over? What is left numbers the means.",
         "Group norm: each image has `groups` means of its own."],
        "So 32 images of 16 x 8 x 8 have 128 means with four groups, and 16 with batch norm.",
        clue=on_sizes),
    "normalize": Exercise(
        "00", normalize, normalize_cases, NORMALIZE_WRONG,
        ["`x.mean(axes, keepdim=True)` has a shape that can be subtracted from x.",
         "The variance is the mean of `(x - mean) ** 2` over the same axes; epsilon is added to it "
         "before the root."],
        "With (0, 2, 3) it is batch norm, with (1, 2, 3) layer norm, with (2, 3) instance norm.",
        clue=is_normalized),
    "BatchNorm": Exercise(
        "00", BatchNorm, lambda: [()], BATCH_NORM_WRONG,
        ["Keep a running mean (0 at first) and a running variance (1 at first), a number per "
         "channel. A mean over (0, 2, 3) needs `.view(1, -1, 1, 1)` before it meets x.",
         "In training mode: normalize with the batch's mean and biased variance; then move the "
         "running ones by a tenth of the way, the variance towards the unbiased one.",
         "In evaluation mode: normalize with the running ones, and change nothing."],
        "It is nn.BatchNorm2d without gain and bias.", use_batch_norm, "a class", as_if),
}
