"""What can be measured in a trained network, beside its accuracy. Nothing here changes it."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from coursepack.data.datasets import Dataset
from coursepack.files import check_choice
from coursepack.train import loop, updates
from coursepack.train.recipe import Recipe
from model import LAYERS, Net, SubBatchNorm


def weight_norms(model: Net, data: Dataset, recipe: Recipe) -> dict[str, float]:
    """The norm of each convolution's weights, and the learning rate over its square.

    That is how fast a step turns weights before a norm, whose length does not matter: the
    effective learning rate (van Laarhoven 2017, https://arxiv.org/abs/1706.05350).
    """
    row = {}
    for i, w in enumerate(updates.penalized_parameters(model), 1):
        row[f"norm_{i}"] = w.norm().item()
        row[f"effective_lr_{i}"] = recipe.lr / max(w.square().sum().item(), 1e-30)
    return row


def sparsity(model: Net, data: Dataset, recipe: Recipe) -> dict[str, float]:
    """Shares of the convolutions' weights that are exactly zero, and near zero; accuracy without.

    Near zero is below 1 % of the root mean square of a layer: before a norm only that matters.
    """
    pruned, exact, near = copy.deepcopy(model), 0, 0
    weights = updates.penalized_parameters(pruned)
    with torch.no_grad():
        for w in weights:
            small = w.abs() <= 0.01 * w.square().mean().sqrt()
            exact += (w == 0).sum().item()
            near += small.sum().item()
            w[small] = 0
    total = sum(w.numel() for w in weights)
    return {"exact_zeros": exact / total, "near_zeros": near / total,
            "pruned_accuracy": loop.evaluate(pruned, data)[1]}


def pruning(model: Net, data: Dataset, recipe: Recipe) -> dict[str, float]:
    """Test accuracy without the smallest 30, 50, 70, 80, 90 and 95 % of the convolutions' weights.

    Small is meant by magnitude over the root mean square of a layer, among all layers at once
    (Han et al. 2015, https://arxiv.org/abs/1506.02626). The network is not trained afterwards.
    """
    pruned, row = copy.deepcopy(model), {}
    weights = updates.penalized_parameters(pruned)
    with torch.no_grad():
        sizes = [w.abs() / w.square().mean().sqrt().clamp(min=1e-30) for w in weights]
        ranked = torch.cat([size.flatten() for size in sizes]).sort().values
        for percent in (30, 50, 70, 80, 90, 95):
            limit = ranked[percent * len(ranked) // 100 - 1]
            for w, size in zip(weights, sizes):
                w[size <= limit] = 0
            row[f"accuracy_cut_{percent}"] = loop.evaluate(pruned, data)[1]
    return row


def on_training_images(model: Net, data: Dataset, recipe: Recipe) -> dict[str, float]:
    """Loss and accuracy on the training images as they are: not moved, in evaluation mode."""
    trained = data._replace(test_images=data.train_images, test_labels=data.train_labels)
    return dict(zip(("fit_loss", "fit_accuracy"), loop.evaluate(model, trained)))


def batch_statistics(model: Net, data: Dataset, recipe: Recipe) -> dict[str, float]:
    """Test accuracy of batch norm with the statistics of each test batch, of 2 to 512 images."""
    net = copy.deepcopy(model)
    for module in net.modules():
        module.train(isinstance(module, nn.BatchNorm2d))
    # mixed, or a batch could hold one class alone
    order = torch.randperm(len(data.test_labels), generator=torch.Generator().manual_seed(0))
    images, labels = data.test_images[order], data.test_labels[order]
    row = {}
    for size in (2, 4, 8, 16, 32, 128, 512):
        for module in net.modules():
            if isinstance(module, SubBatchNorm):
                module.images = size
        said = torch.cat([loop.scores(net, some, data) for some in images.split(size)])
        row[f"accuracy_at_{size}"] = loop.loss_and_accuracy(said, labels)[1]
    return row


def variance_shift(model: Net, data: Dataset, recipe: Recipe) -> dict[str, float]:
    """The variance of what each norm is given, in training mode over that in evaluation mode.

    A mean over channels, on 2,000 training images, not moved. Dropout makes the first larger, and
    batch norm divides by it in both: Li, Chen, Hu and Yang 2018, https://arxiv.org/abs/1801.05134
    """
    net, variances = copy.deepcopy(model), []
    norms = tuple(row.kind for row in LAYERS.values())
    layers = [module for module in net.modules() if isinstance(module, norms)]
    for layer in layers:
        layer.register_forward_pre_hook(lambda _, inputs: variances.append(
            inputs[0].var((0, 2, 3), correction=0)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        for mode in (True, False):
            loop.scores(net.train(mode), data.train_images[:2000], data)
    pairs = zip(variances[:len(layers)], variances[len(layers):])  # in training, in evaluation
    return {f"variance_ratio_{i}": (train / test.clamp(min=1e-12)).mean().item()
            for i, (train, test) in enumerate(pairs, 1)}


def recomputed(model: Net, data: Dataset, recipe: Recipe) -> dict[str, float]:
    """Test loss and accuracy with batch norm's statistics computed anew, and nothing dropped.

    They are those of the first 10,000 training images, not moved, in one batch. Whatever else a
    network has lost by its training stays lost; a network without batch norm stays the same.
    """
    net = copy.deepcopy(model).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train().momentum = 1.0  # the running statistics become the batch's ...
            module.images = 10_000  # ... and, of SubBatchNorm, all images are one part
    with torch.no_grad():
        loop.scores(net, data.train_images[:10_000], data)
    return dict(zip(("recomputed_loss", "recomputed_accuracy"), loop.evaluate(net.eval(), data)))


def pooled_rank(model: Net, data: Dataset, recipe: Recipe) -> dict[str, float]:
    """How many dimensions the pooled features of the test images fill, and how many there are.

    The features are what the last average pooling hands on. A dimension counts if the singular
    value of the centred features is above a thousandth of the size of the maps that are averaged.
    """
    net, kept, squares = copy.deepcopy(model).eval(), [], []

    def note(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        kept.append(output.flatten(1))
        squares.append(inputs[0].square().mean((2, 3)).sum())

    [m for m in net.modules() if isinstance(m, nn.AvgPool2d)][-1].register_forward_hook(note)
    for some in data.test_images.split(500):
        loop.scores(net, some, data)
    features, size = torch.cat(kept).cpu().double(), torch.stack(squares).sum().sqrt().cpu()
    spread = features - features.mean(0)
    rank = (torch.linalg.svdvals(spread) > 1e-3 * size).sum().item()
    return {"pooled_rank": rank, "pooled_features": features.shape[1]}


MEASURES: dict[str, Callable[[Net, Dataset, Recipe], dict[str, float]]] = {
    "weight_norms": weight_norms, "sparsity": sparsity, "pruning": pruning,
    "fit": on_training_images, "batch_statistics": batch_statistics,
    "variance_shift": variance_shift, "recomputed": recomputed, "pooled_rank": pooled_rank,
}


def measure(names: list[str], model: Net, data: Dataset, recipe: Recipe) -> dict[str, float]:
    """What these of MEASURES say of a trained network."""
    row: dict[str, float] = {}
    for name in names:
        row |= MEASURES[check_choice("measure", name, MEASURES)](model, data, recipe)
    return row
