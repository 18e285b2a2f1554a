"""Notebook 02: the proximal step of L1, group norm from a reshape, and what groups cost."""

import torch
from torch import Tensor

from coursepack.exercises.grading import Exercise


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
    "The sign is lost: a negative weight stays negative.":
        lambda w, threshold: (w.abs() - threshold).clamp(min=0),
    "Weights are cut off at the threshold. They should lose as much as the threshold.":
        lambda w, threshold: w.clamp(-threshold, threshold),
    "Every weight loses the same share, as with L2. With L1 it loses the same amount.":
        lambda w, threshold: w * (1 - threshold),
    "Weights move away from zero. They should move towards it.":
        lambda w, threshold: w.sign() * (w.abs() + threshold),
    "Nothing is moved where `w.abs()` is above the threshold, and the others are not set to zero.":
        lambda w, threshold: torch.where(w.abs() > threshold, w, w - threshold * w.sign()),
}


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
    "Number and size of the groups are mixed up: channels are split into `groups` parts of "
    "C / groups channels each.": wrong_group_norm(shape="swapped"),
    "A group has channels that lie side by side. Here every groups-th channel is in one.": unequal,
    "The batch is averaged over, too. Each image has its own means.":
        wrong_group_norm(axes=(0, 2, 3, 4)),
    "Only channels are averaged over: positions belong to the group, too.":
        wrong_group_norm(axes=(2,)),
    "Only positions are averaged over: that is instance norm.": wrong_group_norm(axes=(3, 4)),
    "All channels of an image share a mean: that is layer norm.": wrong_group_norm(shape="one"),
}


# ----------------------------------------------------------------------------- group_counts
def group_counts(shape, groups):
    n, c, h, w = shape
    return 2 * c, n * groups


def count_cases() -> list[tuple]:
    return [((32, 16, 8, 8), 4), ((5, 12, 3, 7), 3), ((128, 8, 24, 24), 2)]


COUNT_WRONG = {
    "Parameters: gain and bias are per channel, not per group.":
        lambda shape, groups: (2 * groups, shape[0] * groups),
    "Parameters: each channel has a gain and a bias.":
        lambda shape, groups: (shape[1], shape[0] * groups),
    "Parameters: a gain and a bias per element is layer norm in PyTorch. Group norm has one of "
    "each per channel.":
        lambda shape, groups: (2 * shape[1] * shape[2] * shape[3], shape[0] * groups),
    "Parameters do not depend on the number of groups.":
        lambda shape, groups: (2 * shape[1] // groups, shape[0] * groups),
    "Parameters: none is counted, but each channel has a gain and a bias.":
        lambda shape, groups: (0, shape[0] * groups),
    "Means: one per channel is batch norm. Here each image has one for each of its groups.":
        lambda shape, groups: (2 * shape[1], shape[1]),
    "Means: each image has its own.": lambda shape, groups: (2 * shape[1], groups),
    "Means: channels of one group share one.":
        lambda shape, groups: (2 * shape[1], shape[0] * shape[1]),
    "Means: asked for is how many there are, not how many channels share one.":
        lambda shape, groups: (2 * shape[1], shape[1] // groups),
    "Means: there are as many per image as there are groups, not as a group has channels.":
        lambda shape, groups: (2 * shape[1], shape[0] * shape[1] // groups),
    "Means alone are counted, not means and variances.":
        lambda shape, groups: (2 * shape[1], 2 * shape[0] * groups),
    "The two are in the wrong order: parameters first, then means.":
        lambda shape, groups: (shape[0] * groups, 2 * shape[1]),
}

EXERCISES = {
    "proximal_step": Exercise(
        "02", proximal_step, proximal_cases, PROXIMAL_WRONG,
        ["Take the size of a weight, lower it by the threshold, and give it its sign back.",
         "A size cannot be below zero: `.clamp(min=0)`."],
        "It is the exact minimum of the penalty plus half the squared distance to w, and it makes "
        "exact zeros."),
    "group_norm": Exercise(
        "02", group_norm, group_cases, GROUP_WRONG,
        ["`x.reshape(n, groups, c // groups, h, w)` gives the groups an axis of their own.",
         "Average over the three axes of a group, with `keepdim=True`, and reshape at the end."],
        "With one group it is layer norm, with as many as channels instance norm."),
    "group_counts": Exercise(
        "02", group_counts, count_cases, COUNT_WRONG,
        ["Gain and bias act on channels, after the groups have done their part.",
         "A mean belongs to an image and a group."],
        "So groups cost no parameters, and as many means as images times groups."),
}
