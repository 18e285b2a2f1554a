"""Which test images a trained network gets wrong, and how sure it was."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from coursepack.data.datasets import Dataset

CONFIDENCES = (0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999, 1)


class Misclassified(NamedTuple):
    """The test images that a model gets wrong, the most confident mistake first."""

    index: np.ndarray  # which test image
    image: np.ndarray  # uint8, (N, C, H, W)
    label: np.ndarray  # the true class
    prediction: np.ndarray
    probability: np.ndarray  # of the prediction
    label_probability: np.ndarray  # of the true class


def find_misclassified(probabilities: Tensor, data: Dataset) -> Misclassified:
    """All test images whose most probable class is not their label."""
    (top, prediction), labels = probabilities.max(1), data.test_labels.cpu()
    wrong = torch.nonzero(prediction != labels).flatten()
    wrong = wrong[top[wrong].argsort(descending=True, stable=True)]
    parts = (wrong, data.test_images.cpu()[wrong], labels[wrong], prediction[wrong], top[wrong],
             probabilities[wrong, labels[wrong]])
    return Misclassified(*(part.numpy() for part in parts))


def reliability_table(confidence: ArrayLike, right: ArrayLike,
                      edges: Sequence[float] = CONFIDENCES) -> list[dict[str, float]]:
    """How often answers are right, by how sure the network is of them: it is calibrated if equally.

    confidence: (N,) the probability that each answer was given; right: (N,) was it right? A row for
    each bin between two edges that holds images, its lower edge included (the last also its upper
    one). Guo et al. 2017, https://arxiv.org/abs/1706.04599. Raises ValueError for a confidence
    outside of the edges.
    """
    confidence, right = np.asarray(confidence, float), np.asarray(right, bool)
    if not np.all((confidence >= edges[0]) & (confidence <= edges[-1] + 1e-6)):  # rounded up
        raise ValueError(f"Confidences lie between {edges[0]} and {edges[-1]}; here they are from "
                         f"{confidence.min()} to {confidence.max()}.")
    bins = np.searchsorted(edges[1:-1], confidence, side="right")
    return [{"above": float(edges[k]), "images": int((bins == k).sum()),
             "confidence": float(confidence[bins == k].mean().clip(max=edges[-1])),
             "accuracy": float(right[bins == k].mean())} for k in np.unique(bins)]


class Shared(NamedTuple):
    """The test images that several networks all get wrong, in the order of their index."""

    index: np.ndarray
    image: np.ndarray  # uint8, (N, C, H, W)
    label: np.ndarray
    predictions: np.ndarray  # (N, networks)


def shared_mistakes(errors: Sequence[Misclassified]) -> Shared:
    """What all of some networks get wrong, of the same test images."""
    index = functools.reduce(np.intersect1d, [wrong.index for wrong in errors])
    places = [np.array([np.flatnonzero(wrong.index == i)[0] for i in index], int)
              for wrong in errors]
    said = np.stack([wrong.prediction[at] for wrong, at in zip(errors, places)], axis=1)
    return Shared(index, errors[0].image[places[0]], errors[0].label[places[0]], said)
