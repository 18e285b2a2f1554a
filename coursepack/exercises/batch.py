"""Notebook 01: errors in training mode by batch size, and folding all batch norms."""

import copy
import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from coursepack.exercises.grading import Exercise, unlike
from model import Net


# --------------------------------------------------------------------------- errors_by_batch
def errors_by_batch(net, images, labels, sizes):
    import copy

    net = copy.deepcopy(net).train()  # the copy's running statistics move
    wrong = {}
    for size in sizes:
        batches = zip(images.split(size), labels.split(size))
        count = sum((net(x).argmax(1) != y).sum().item() for x, y in batches)
        wrong[size] = count / len(labels)
    return wrong


def classifier() -> tuple[nn.Module, Tensor, Tensor]:
    """A tiny network with batch norm, 22 images of different brightness, and their labels."""
    draw = torch.Generator().manual_seed(4)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                        nn.Flatten(), nn.Linear(4, 3)).double()
    for w in net.parameters():
        w.data = torch.randn(w.shape, generator=draw, dtype=torch.float64)
    images = torch.rand(22, 1, 5, 5, generator=draw, dtype=torch.float64)
    images = images * torch.linspace(0.2, 3, 22, dtype=torch.float64).view(-1, 1, 1, 1)
    images = images[torch.randperm(22, generator=draw)]
    labels = copy.deepcopy(net).train()(images).argmax(1)  # what the whole batch says
    labels[-2:] = (labels[-2:] + 1) % 3  # mistakes in the last batch of 8, which has but 6
    return net.eval(), images, labels


def error_cases() -> list[tuple]:
    return [(*classifier(), (2, 8, 22))]


def use_errors(answer: object, net: nn.Module, images: Tensor, labels: Tensor,
               sizes: tuple[int, ...]) -> dict[str, object]:
    """The errors, and whether the network was left as it was."""
    before = copy.deepcopy(net)
    result = {"errors by size": answer(net, images, labels, sizes)}
    moved = not torch.equal(net[1].running_mean, before[1].running_mean)
    return result | {"1 if the network's running mean has moved": int(moved),
                     "1 if the network is in training mode": int(net.training)}


def by_batches(net: nn.Module, images: Tensor, labels: Tensor, sizes: tuple[int, ...],
               training: bool = True, share: str = "wrong",
               chosen: Callable = lambda x, y, size: True) -> dict[int, float]:
    """A wrong way: in evaluation mode, some batches, a mean of batch means, or what is right."""
    net, wrong = copy.deepcopy(net).train(training), {}
    for size in sizes:
        batches = [(x, y) for x, y in zip(images.split(size), labels.split(size))
                   if chosen(x, y, size)]
        shares = torch.tensor([(net(x).argmax(1) != y).double().mean() for x, y in batches])
        counts = torch.tensor([len(y) for _, y in batches])
        if share == "mean of means":
            counts[:] = 1
        wrong[size] = (shares @ counts.double() / counts.sum()).item()
        if share == "right":
            wrong[size] = 1 - wrong[size]
    return wrong


def left(moved: bool, training: bool) -> object:
    """A wrong way: right errors, and the network left with moved statistics or in training mode."""
    def way(net: nn.Module, images: Tensor, labels: Tensor, sizes: tuple[int, ...]) -> object:
        wrong = errors_by_batch(net, images, labels, sizes)
        for batch in images.split(sizes[0]) if moved else []:
            net.train()(batch)
        net.train(training)
        return wrong
    return way


def how_many(given: list[Tensor], right: list[float], net: nn.Module, images: Tensor,
             labels: Tensor, sizes: tuple[int, ...]) -> str:
    """How many wrong images a share stands for."""
    first, count = min(unlike(given, right)), len(images)
    if first >= len(sizes):
        return ""
    return (f"That share would be {given[first] * count:.4g} of {count} images, and it is "
            f"{right[first] * count:.4g} that are wrong. Does each image of each batch count once?")


ERRORS_WRONG = {
    "These are the errors in evaluation mode: they do not depend on the batch size. Call "
    "`.train()` on a copy of the network.":
        lambda *case: by_batches(*case, training=False),
    "This is the share that is right. Asked for is the share that is wrong.":
        lambda *case: by_batches(*case, share="right"),
    "This is a mean of the batches' shares. The last batch is smaller and has to count less: "
    "count the wrong images of all batches, then divide.":
        lambda *case: by_batches(*case, share="mean of means"),
    "The shares of the batches are added up and divided by the batch size. Count the wrong images "
    "of all batches, then divide by the number of images.":
        lambda net, images, *case: {
            size: share * -(-len(images) // size) / size for size, share in by_batches(
                net, images, *case, share="mean of means").items()},
    "All images are one batch here, whatever the size. Split them: `images.split(size)`.":
        lambda net, images, labels, sizes: dict.fromkeys(
            sizes, by_batches(net, images, labels, (len(images),))[len(images)]),
    "These are percent. Asked for is a share, between 0 and 1.":
        lambda *case: {size: 100 * share for size, share in errors_by_batch(*case).items()},
    "This is how many are wrong. Asked for is the share: divide by the number of images.":
        lambda net, images, labels, sizes: {
            size: len(labels) * share
            for size, share in errors_by_batch(net, images, labels, sizes).items()},
    "The last batch is left out, which is smaller than the others. It counts, too.":
        lambda *case: by_batches(*case, chosen=lambda x, y, size: len(y) == size),
    "The last batch is left out, which is smaller than the others, but its images are counted.":
        lambda net, images, labels, sizes: {
            size: share * (len(labels) // size * size) / len(labels) for size, share in by_batches(
                net, images, labels, sizes, chosen=lambda x, y, size: len(y) == size).items()},
    "Only the first batch of each size counts here. Go through all of them.":
        lambda net, images, *case: by_batches(
            net, images, *case, chosen=lambda x, y, size: torch.equal(x, images[:size])),
    "Only the first batch of each size counts here, and in evaluation mode. Go through all of "
    "them, with a copy of the network in training mode.":
        lambda net, images, *case: by_batches(
            net, images, *case, training=False,
            chosen=lambda x, y, size: torch.equal(x, images[:size])),
    "Only the last batch of each size counts here. Add up the wrong images of all of them.":
        lambda net, images, *case: by_batches(
            net, images, *case, chosen=lambda x, y, size: torch.equal(x, images[-len(x):])),
    "The count goes on from size to size. Begin again with 0 for each.":
        lambda *case: dict(zip(case[-1], itertools.accumulate(errors_by_batch(*case).values()))),
    "The errors are right, but the network is no longer what it was: its running statistics have "
    "moved, and it is still in training mode. Work on a copy (`copy.deepcopy`).":
        left(moved=True, training=True),
    "The errors are right, but the network's running statistics have moved: in training mode "
    "every batch moves them. Work on a copy (`copy.deepcopy`).":
        left(moved=True, training=False),
    "The errors are right, but the network is left in training mode.":
        left(moved=False, training=True),
}


# ---------------------------------------------------------------------------------- fold_all
def fold_all(net):
    import copy

    net, waiting = copy.deepcopy(net).eval(), None
    for block in net.layers:
        if waiting and hasattr(block, "conv"):
            (scale, shift), waiting = waiting, None
            bias = block.conv.weight.sum((2, 3)) @ shift
            block.conv.bias = nn.Parameter(bias.detach())
            block.conv.weight.data *= scale.view(1, -1, 1, 1)
        if hasattr(block, "norm"):
            norm = block.norm
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            waiting = scale, norm.bias - scale * norm.running_mean
            block.norm = nn.Identity()
    return net


def fold_cases() -> list[tuple]:
    """Networks whose batch norms scale, shift, or do both; with each of them two images."""
    nets = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for scales, shifts in ((True, False), (False, True), (True, True)):
            nets.append(Net("mnist_7k", "batch").double().eval())
            for norm in norms_of(nets[-1]):
                if scales:
                    norm.running_var.uniform_(1e-5, 0.5)
                    nn.init.uniform_(norm.weight, 0.5, 2)
                if shifts:
                    norm.running_mean.normal_()
                    nn.init.normal_(norm.bias)
        return [(net, torch.rand(2, 1, 28, 28, dtype=torch.float64)) for net in nets]


def norms_of(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]


def use_fold(answer: object, net: Net, images: Tensor) -> dict[str, object]:
    """What the folded network says, and how many norms it and the one that was given have left."""
    folded = answer(net)
    if folded is ...:
        return {"answers": ...}
    return {"answers": folded.eval()(images), "batch norms left": len(norms_of(folded)),
            "batch norms of the network that was given": len(norms_of(net))}


def scales_or_shifts(given: list[Tensor], right: list[Tensor], net: Net, images: Tensor) -> str:
    """Which of the two is wrong, as the cases come one after the other."""
    norm = norms_of(net)[0]
    if 0 not in unlike(given, right):
        return ""
    if not norm.running_mean.any():
        return "In this network the norms only scale, so look at the scales."
    if norm.weight.eq(1).all():
        return "Scales are right. In this network the norms only shift, so look at the shifts."
    return "Where norms only scale it is right, and where they only shift. Here they do both."


def wrong_fold(scale_of=lambda norm: norm.weight / (norm.running_var + norm.eps).sqrt(),
               shift_of=lambda norm, scale: norm.bias - scale * norm.running_mean,
               summed=lambda weight: weight.sum((2, 3)), into: str = "next",
               copied: bool = True, bias_first: bool = True,
               kept: bool = False, pooled: bool = True) -> object:
    """A fold with one thing wrong: see the arguments."""
    def way(net: Net) -> Net:
        net, waiting = (copy.deepcopy(net) if copied else net).eval(), None
        for block, after in zip(net.layers, [*net.layers[1:], nn.Identity()]):
            if waiting is not None and hasattr(block, "conv"):
                (scale, shift), waiting = waiting, None
                weight = block.conv.weight.data
                scaled = (weight * scale.view(1, -1, 1, 1)).detach()
                bias = summed(weight if bias_first else scaled) @ shift
                block.conv.weight.data = scaled
                block.conv.bias = nn.Parameter(bias.detach())
            if hasattr(block, "norm") and (pooled or hasattr(after, "conv")):
                scale = scale_of(block.norm)
                shift = shift_of(block.norm, scale)
                if into == "next":
                    waiting = scale, shift
                elif into == "own":
                    block.conv.weight.data *= scale.view(-1, 1, 1, 1)
                    block.conv.bias = nn.Parameter(shift.detach())
                block.norm = block.norm if kept else nn.Identity()
        return net
    return way


FOLD_WRONG = {
    "The norms are gone, but nothing has taken over their scale and shift.":
        wrong_fold(into="nowhere"),
    "Scale and shift went into the convolution of their own block. Between that and the norm "
    "stands a ReLU, so they have to go into the next convolution.": wrong_fold(into="own"),
    "The shift is missing: the next convolution gets a bias, the sum of its weights times shift.":
        wrong_fold(shift_of=lambda norm, scale: 0 * norm.bias),
    "The bias is made of weights that are scaled already. Make it of those before the scaling.":
        wrong_fold(bias_first=False),
    "The running mean is missing: shift is bias - scale * running_mean.":
        wrong_fold(shift_of=lambda norm, scale: norm.bias),
    "Shift is bias - scale * running_mean, with a minus.":
        wrong_fold(shift_of=lambda norm, scale: norm.bias + scale * norm.running_mean),
    "The norm's bias is missing: shift is bias - scale * running_mean.":
        wrong_fold(shift_of=lambda norm, scale: -scale * norm.running_mean),
    "The gain is missing in the shift: it is bias - scale * running_mean, and scale has the gain.":
        wrong_fold(shift_of=lambda norm, scale: norm.bias - scale / norm.weight
                   * norm.running_mean),
    "The new bias is the sum over the kernel's positions, not their mean.":
        wrong_fold(summed=lambda weight: weight.mean((2, 3))),
    "Epsilon is missing: it is added to the running variance before the root.":
        wrong_fold(scale_of=lambda norm: norm.weight / norm.running_var.sqrt()),
    "Epsilon stands outside of the root. It is added to the running variance, inside.":
        wrong_fold(scale_of=lambda norm: norm.weight / (norm.running_var.sqrt() + norm.eps)),
    "Divided by the variance: the root is missing.":
        wrong_fold(scale_of=lambda norm: norm.weight / (norm.running_var + norm.eps)),
    "Divided by the variance: scale is gain / sqrt(running variance + eps), with a root and an "
    "epsilon.": wrong_fold(scale_of=lambda norm: norm.weight / norm.running_var),
    "The shift is bias - scale * running_mean: the scale is missing in it.":
        wrong_fold(shift_of=lambda norm, scale: norm.bias - norm.running_mean),
    "Scale and shift are in the convolutions, and the norms are still there as well: put "
    "`nn.Identity()` in their place.": wrong_fold(kept=True),
    "One norm is left, the one before the average pooling. Its scale and shift pass through the "
    "pooling, into the next convolution.": wrong_fold(pooled=False),
    "Upside down: scale is gain / sqrt(running variance + eps).":
        wrong_fold(scale_of=lambda norm: (norm.running_var + norm.eps).sqrt() / norm.weight),
    "The norm's gain and bias are missing: scale is gain / sqrt(running variance + eps), and shift "
    "is bias - scale * running_mean.":
        wrong_fold(scale_of=lambda norm: 1 / (norm.running_var + norm.eps).sqrt(),
                   shift_of=lambda norm, scale: -scale * norm.running_mean),
    "The gain is missing: scale is gain / sqrt(running variance + eps).":
        wrong_fold(scale_of=lambda norm: 1 / (norm.running_var + norm.eps).sqrt()),
    "The folded network says the right thing, but the one that was given has been folded as well. "
    "Work on a copy (`copy.deepcopy`).": wrong_fold(copied=False),
}

EXERCISES = {
    "errors_by_batch": Exercise(
        "01", errors_by_batch, error_cases, ERRORS_WRONG,
        ["`import copy`, then `copy.deepcopy(net).train()` is a copy in training mode.",
         "`images.split(size)` gives the batches in order; count the wrong images of all of them, "
         "then divide by their number."],
        "What is trained in batches and used one by one needs this test.", use_errors,
        clue=how_many),
    "fold_all": Exercise(
        "01", fold_all, fold_cases, FOLD_WRONG,
        ["Go through `net.layers` in order. Where a block has a norm, remember its scale and "
         "shift; the next block that has a convolution takes them.",
         "The convolution's weights have the shape (out, in, H, W): multiply by "
         "`scale.view(1, -1, 1, 1)`. Its new bias is `weight.sum((2, 3)) @ shift`, with the "
         "weights as they were before; it is set as an `nn.Parameter`.",
         "Work on `copy.deepcopy(net)`, and put `nn.Identity()` in place of each norm."],
        "Five norms less to compute, and the same answers.", use_fold,
        clue=scales_or_shifts),
}
