"""Notebook 02: the proximal step of L1, group norm from a reshape, who shares what."""

import torch
from torch import Tensor

from coursepack.exercises.grading import Exercise, mean_and_variance, on_sizes


# ---------------------------------------------------------------------------- proximal_step
def proximal_step(w, threshold):
    return w.sign() * (w.abs() - threshold).clamp(min=0)


def proximal_cases() -> list[tuple]:
    """Weights of both signs, below, at and above the threshold."""
    w = torch.tensor([-2.0, -0.5, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.7, 1.5], dtype=torch.float64)
    return [(w, 0.2), (w.view(2, 5), 0.6), (w, 0.0)]


PROXIMAL_WRONG = {
    "This is a step of the subgradient: it steps over zero and comes out on the other side. What "
    "is below the threshold becomes zero.": lambda w, threshold: w - threshold * w.sign(),
    "What is above the threshold is left as it was. It moves towards zero, too, by the threshold.":
        lambda w, threshold: w * (w.abs() > threshold),
    "What is at the threshold or above is left as it was. It moves towards zero, too, by the "
    "threshold.": lambda w, threshold: w * (w.abs() >= threshold),
    "Negative weights are lost: they move up, towards zero.":
        lambda w, threshold: (w - threshold).clamp(min=0),
    "Negative weights beyond the threshold move away from zero. They move up, towards it.":
        lambda w, threshold: torch.where(w.abs() > threshold, w - threshold, 0 * w),
    "Negative weights at the threshold and beyond move away from zero. They move up, towards it.":
        lambda w, threshold: torch.where(w.abs() < threshold, 0 * w, w - threshold),
    "Negative weights are those below -threshold, with a minus.":
        lambda w, threshold: torch.where(w > threshold, w - threshold,
                                         torch.where(w < threshold, w + threshold, 0 * w)),
    "What is below zero is lost. The size is clamped, and then gets its sign back.":
        lambda w, threshold: (w - threshold * w.sign()).clamp(min=0),
    "What is below the threshold becomes zero: that takes `.clamp(min=0)`, and no absolute value.":
        lambda w, threshold: w.sign() * (w.abs() - threshold).abs(),
    "The second part is for negative weights: it is the ReLU of -w - threshold.":
        lambda w, threshold: torch.relu(w - threshold) - torch.relu(w + threshold),
    "The sign is lost: a negative weight stays negative.":
        lambda w, threshold: (w.abs() - threshold).clamp(min=0),
    "What is above the threshold becomes 1 or -1. It should keep its size, less the threshold.":
        lambda w, threshold: w.sign() * (w.abs() > threshold),
    "Every weight moves by half of the threshold. It is all of it.":
        lambda w, threshold: proximal_step(w, threshold / 2),
    "Weights are cut off at the threshold. They should lose as much as the threshold.":
        lambda w, threshold: w.clamp(-threshold, threshold),
    "That is a proximal step of L2: every weight loses the same share. With L1 it loses the same "
    "amount.": lambda w, threshold: w / (1 + threshold),
    "The sign is lost, and what is below the threshold has to become zero: `.clamp(min=0)`.":
        lambda w, threshold: w.abs() - threshold,
    "Every weight loses the same share, as with L2. With L1 it loses the same amount.":
        lambda w, threshold: w * (1 - threshold),
    "Weights move away from zero. They should move towards it.":
        lambda w, threshold: w.sign() * (w.abs() + threshold),
    "Nothing is moved where `w.abs()` is above the threshold, and the others are not set to zero.":
        lambda w, threshold: torch.where(w.abs() > threshold, w, w - threshold * w.sign()),
}


def what_moved(given: list[Tensor], right: list[Tensor], w: Tensor, threshold: float) -> str:
    """Which of a step's three rules a result breaks, at the first weight where it does."""
    before, after, expected = w.flatten(), given[0].flatten(), right[0].flatten()
    first = (after - expected).abs().gt(1e-9).nonzero()[0, 0]
    rule = "becomes 0" if not expected[first] else f"moves towards zero by {threshold:g}"
    return f"A weight of {before[first]:g} {rule}; here it becomes {after[first] + 0.0:g}."


# ------------------------------------------------------------------------------- group_norm
def group_norm(x, groups, eps):
    n, c, h, w = x.shape
    split = x.reshape(n, groups, c // groups, h, w)
    mean = split.mean((2, 3, 4), keepdim=True)
    variance = split.var((2, 3, 4), correction=0, keepdim=True)
    return ((split - mean) / torch.sqrt(variance + eps)).reshape(x.shape)


def group_cases() -> list[tuple]:
    x = torch.randn(4, 12, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = 2 * x + torch.arange(12.0).view(12, 1, 1) / 3
    return [(x, 2, 1e-5), (x, 3, 1e-5), (x / 1e3, 4, 1e-5)]


def wrong_group_norm(axes=(2, 3, 4), correction=0, outside=False, shape="right", added=1.0,
                     power=0.5, centre=1.0) -> object:
    """Group norm with one thing wrong: see the arguments."""
    def way(x: Tensor, groups: int, eps: float) -> Tensor:
        n, c, h, w = x.shape
        split = x.reshape({"right": (n, groups, c // groups, h, w), "one": (n, 1, c, h, w),
                           "swapped": (n, c // groups, groups, h, w)}[shape])
        mean = split.mean(axes, keepdim=True)
        variance = split.var(axes, correction=correction, keepdim=True)
        root = variance.sqrt() + eps if outside else (variance + added * eps) ** power
        return ((split - centre * mean) / root).reshape(x.shape)
    return way


def unequal(x: Tensor, groups: int, eps: float) -> Tensor:
    """Every groups-th channel in one group: a reshape that mixes them."""
    n, c, h, w = x.shape
    split = x.reshape(n, c // groups, groups, h, w).transpose(1, 2)
    done = group_norm(split.reshape(x.shape), groups, eps).reshape(split.shape)
    return done.transpose(1, 2).reshape(x.shape)


GROUP_WRONG = {
    "The variance is the unbiased one, divided by the count less one. Norms use the biased one: "
    "divide by the count (`correction=0`).": wrong_group_norm(correction=1),
    "Epsilon stands outside of the root. It is added to the variance, inside.":
        wrong_group_norm(outside=True),
    "Epsilon is missing: it is added to the variance before the root.": wrong_group_norm(added=0.0),
    "Divided by the variance: the root is missing.": wrong_group_norm(power=1.0),
    "The mean is not subtracted.": wrong_group_norm(centre=0.0),
    "The mean is subtracted, but nothing is divided by the standard deviation.":
        wrong_group_norm(power=0.0),
    "These are layer norm's axes of x. After the reshape those of a group are (2, 3, 4).":
        wrong_group_norm(axes=(1, 2, 3)),
    "That is batch norm: each channel on its own, over all images.":
        lambda x, groups, eps: wrong_group_norm(axes=(0, 3, 4))(x, groups, eps),
    "Number and size of the groups are mixed up: channels are split into `groups` parts of "
    "C / groups channels each.": wrong_group_norm(shape="swapped"),
    "A group has channels that lie side by side. Here every groups-th channel is in one.": unequal,
    "The batch is averaged over, too. Each image has its own means.":
        wrong_group_norm(axes=(0, 2, 3, 4)),
    "Only channels are averaged over: positions belong to the group, too.":
        wrong_group_norm(axes=(2,)),
    "Only positions are averaged over: that is instance norm.": wrong_group_norm(axes=(3, 4)),
    "All channels of an image share a mean: that is layer norm.": wrong_group_norm(shape="one"),
    "Averaged over the groups themselves, axis 1. The axes of a group come behind it: (2, 3, 4).":
        wrong_group_norm(axes=(1,)),
    "All numbers share one mean. Each group of each image has its own.":
        wrong_group_norm(axes=(0, 1, 2, 3, 4)),
    "The groups still have an axis of their own: at the end reshape to the shape of x.":
        lambda x, groups, eps: group_norm(x, groups, eps).unflatten(1, (groups, -1)),
}


def is_normalized(given: list[Tensor], right: list[Tensor], x: Tensor, groups: int,
                  eps: float) -> str:
    split = (one[0].reshape(len(x), groups, -1) for one in (given, right))
    return mean_and_variance(*split, (2,))


# ----------------------------------------------------------------------------- group_counts
def group_counts(shape, groups):
    n, c, h, w = shape
    return c // groups * h * w, n * h * w


def count_cases() -> list[tuple]:
    return [((5, 12, 11, 7), 4), ((128, 8, 24, 24), 2)]


def with_counts(mean=None, gain=None) -> object:
    """A wrong way: group_counts, but for one of the two."""
    def way(shape, groups):
        right = group_counts(shape, groups)
        return tuple(count(*shape, groups) if count else one
                     for count, one in zip((mean, gain), right))
    return way


COUNT_WRONG = {
    "Mean: that is how many means there are. Asked for is how many numbers share one.":
        with_counts(mean=lambda n, c, h, w, g: n * g),
    "Mean: that is how many groups there are. Asked for is how many numbers share one mean.":
        with_counts(mean=lambda n, c, h, w, g: g),
    "Mean: each image has its own, so N does not count.":
        with_counts(mean=lambda n, c, h, w, g: n * c // g * h * w),
    "Mean: channels are counted, but the positions of a group share a mean, too.":
        with_counts(mean=lambda n, c, h, w, g: c // g),
    "Mean: number and size of the groups are mixed up. A group has C / groups channels.":
        with_counts(mean=lambda n, c, h, w, g: g * h * w),
    "Mean: that is layer norm, where all channels of an image share one.":
        with_counts(mean=lambda n, c, h, w, g: c * h * w),
    "Mean: that is instance norm, where each channel of an image has its own.":
        with_counts(mean=lambda n, c, h, w, g: h * w),
    "Mean: that is batch norm, where a channel shares one with all images.":
        with_counts(mean=lambda n, c, h, w, g: n * h * w),
    "Gain: each channel has its own. Groups are of the means alone.":
        with_counts(gain=lambda n, c, h, w, g: n * c // g * h * w),
    "Gain: it is the same for all images of the batch.":
        with_counts(gain=lambda n, c, h, w, g: h * w),
    "Gain: it is the channel's, so neither its group nor the image counts.":
        with_counts(gain=lambda n, c, h, w, g: c // g * h * w),
    "Gain: one per element is layer norm's in PyTorch. Here all positions of a channel share one.":
        with_counts(gain=lambda n, c, h, w, g: n),
    "Gain: that is how many gains there are. Asked for is how many numbers share one.":
        with_counts(gain=lambda n, c, h, w, g: c),
    "Gain: that is how many channels a group has. Asked for is how many numbers share one gain.":
        with_counts(gain=lambda n, c, h, w, g: c // g),
    "Gain: each channel has one. Asked for is how many numbers that one multiplies.":
        with_counts(gain=lambda n, c, h, w, g: 1),
    "Gain: that is all numbers. Each channel has a gain of its own.":
        with_counts(gain=lambda n, c, h, w, g: n * c * h * w),
    "The two are in the wrong order: first how many share a mean, then how many share a gain.":
        lambda shape, groups: group_counts(shape, groups)[::-1],
}

EXERCISES = {
    "proximal_step": Exercise(
        "02", proximal_step, proximal_cases, PROXIMAL_WRONG,
        ["Take the size of a weight, lower it by the threshold, and give it its sign back.",
         "A size cannot be below zero: `.clamp(min=0)`."],
        "It is the exact minimum of the penalty plus half the squared distance to w, and it makes "
        "exact zeros.", clue=what_moved),
    "group_norm": Exercise(
        "02", group_norm, group_cases, GROUP_WRONG,
        ["`x.reshape(n, groups, c // groups, h, w)` gives the groups an axis of their own.",
         "Average over the three axes of a group, with `keepdim=True`, and reshape at the end."],
        "With one group it is layer norm, with as many as channels instance norm.",
        clue=is_normalized),
    "group_counts": Exercise(
        "02", group_counts, count_cases, COUNT_WRONG,
        ["A mean belongs to an image and a group. How many numbers has a group?",
         "A gain belongs to a channel, whatever the image, and whatever the group."],
        "So more groups make each mean one of fewer numbers, and leave the gains alone.",
        clue=on_sizes),
}
