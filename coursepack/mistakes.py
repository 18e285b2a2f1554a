"""Which test images a trained network gets wrong, and reading that again."""

import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from coursepack import training
from coursepack.data import Dataset
from model import Net


class Misclassified(NamedTuple):
    """The test images that a model gets wrong, the most confident mistake first."""

    index: np.ndarray  # which test image
    image: np.ndarray  # uint8, (N, C, H, W)
    label: np.ndarray  # the true class
    prediction: np.ndarray
    probability: np.ndarray  # of the prediction
    label_probability: np.ndarray  # of the true class


def find_misclassified(model: Net, data: Dataset) -> Misclassified:
    """All test images whose most probable class is not their label, by training.predict()."""
    probabilities = training.predict(model, data).exp().cpu()  # (N, classes)
    top, prediction = probabilities.max(1)
    wrong = torch.nonzero(prediction != data.test_labels.cpu()).flatten()
    wrong = wrong[top[wrong].argsort(descending=True, stable=True)]
    label = data.test_labels.cpu()[wrong]
    parts = (wrong, data.test_images.cpu()[wrong], label, prediction[wrong], top[wrong],
             probabilities[wrong, label])
    return Misclassified(*(part.numpy() for part in parts))


def load_misclassified(file: Path, classes: int) -> Misclassified:
    """The misclassified images that a run of so many classes has left in an .npz file.

    Raises ValueError that names the file, and the array that cannot be one of ours.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            errors = Misclassified(**archive)
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile,
            zlib.error) as error:
        raise ValueError(f"{file} is no file of misclassified images: {error}. "
                         "Run its recipe notebook again.") from error
    if problem := array_problem(errors, classes):
        raise ValueError(f"{file} is no file of misclassified images: {problem}. "
                         "Run its recipe notebook again.")
    return errors


def array_problem(errors: Misclassified, classes: int) -> str:
    """What is wrong with the arrays of a file; or ""."""
    if errors.image.dtype != np.uint8 or errors.image.ndim != 4:
        return f"its image is {errors.image.dtype} of shape {errors.image.shape}, not N x C x H x W"
    for name, part in errors._asdict().items():
        if part.ndim == 0 or len(part) != len(errors.image):
            return f"its {name} is not one each of {len(errors.image)} images"
    kinds = [("index", "iu", np.inf), ("label", "iu", classes), ("prediction", "iu", classes),
             ("probability", "f", 1.001), ("label_probability", "f", 1.001)]  # rounded up
    for name, kind, limit in kinds:
        part = getattr(errors, name)
        fits = part.dtype.kind in kind and part.ndim == 1
        if not fits or not np.all((part >= 0) & (part < limit)):
            return f"its {name} is {part.dtype}, or not always from 0 and below {limit}"
    return ""
