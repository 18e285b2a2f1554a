"""What a run leaves behind: its record, its weights and its mistakes. And reading them again."""

import functools
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from coursepack import files, threads, training
from coursepack.data import Dataset, describe_data
from coursepack.recipe import Recipe, with_defaults
from model import Net, count

SCHEMA, MISTAKES = 1, "misclassified.npz"
RECIPES = {"bn_l1_l2": "01_batch_norm_l1_l2", "gn_l1": "02_group_norm_l1",
           "ln_l2": "03_layer_norm_l2"}  # which notebook makes which run


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


def share_near_zero(parameters: Sequence[Tensor], limit: float = 1e-3) -> float:
    """Share of all elements that are smaller than limit in magnitude, as L1 makes them."""
    w = torch.cat([parameter.detach().flatten() for parameter in parameters])
    return (w.abs() < limit).double().mean().item()


def save_run(model: Net, data: Dataset, recipe: Recipe, history: list[dict[str, float]]) -> dict:
    """Write model.pt, misclassified.npz and, last, record.json to the run's folder.

    Returns the record. The presence of record.json means that the run finished; the checkpoint,
    needed no longer, is removed.
    """
    errors = find_misclassified(model, data)._asdict()
    record = {
        "schema": SCHEMA,
        "parameters": asdict(recipe),
        "parameter_count": count(model).parameters,
        "data": describe_data(data),
        "environment": {
            "python": platform.python_version(), "torch": torch.__version__,
            "device": str(next(model.parameters()).device), "threads": threads.THREADS,
        },
        "seconds": sum(row["train_seconds"] + row["test_seconds"] for row in history),
        "epochs": history,
        "misclassified": errors["index"].tolist(),
        "near_zero": share_near_zero(training.penalized_parameters(model, recipe.penalize)),
    }
    weights = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    folder = recipe.run_dir
    files.replace_file(folder / "model.pt", functools.partial(torch.save, weights))
    files.replace_file(folder / MISTAKES, lambda path: np.savez_compressed(path, **errors))
    files.replace_file(folder / "record.json", lambda path: path.write_text(text))
    training.checkpoint_file(recipe, data).unlink(missing_ok=True)
    return record


def load_record(file: Path) -> dict:
    """A record.json; parameters that it is too old to know have their defaults.

    Raises FileNotFoundError or ValueError with the command that makes a record.
    """
    name = file.parent.name if file.name == "record.json" else file.stem
    notebook = RECIPES.get(name, "01_batch_norm_l1_l2")
    runs = file.parent.parent if file.name == "record.json" else file.parent
    place = f" -p runs_dir {runs}" if runs != files.ROOT / "runs" else ""
    command = (f"Make it with: papermill notebooks/{notebook}.ipynb runs/{notebook}.ipynb "
               f"-p run_name {name}{place}")
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there: no such run has finished. {command}")
    try:
        record = json.loads(file.read_text())
        schema = record["schema"]
        record["parameters"] = with_defaults(record["parameters"])
        record["epochs"][-1]["test_accuracy"], record["misclassified"], record["near_zero"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{file} is no record ({error!r}). {command}") from error
    if schema != SCHEMA:
        raise ValueError(f"{file} has schema {schema!r}, this version reads {SCHEMA}. {command}")
    return record


def load_run(folder: Path, name: str) -> tuple[dict, Misclassified]:
    """Record and misclassified images of a run, its own (a folder) or published (two files).

    Raises FileNotFoundError or ValueError as load_record, or if they are not of one run.
    """
    run, published = folder / name / "record.json", folder / f"{name}.json"
    record = load_record(published if published.is_file() else run)
    images = published.with_suffix(".npz") if published.is_file() else run.with_name(MISTAKES)
    with np.load(images, allow_pickle=False) as archive:
        errors = Misclassified(**archive)
    expected = round((1 - record["epochs"][-1]["test_accuracy"]) * record["data"]["test_size"])
    if len(errors.index) != expected:
        raise ValueError(f"{images} holds {len(errors.index)} misclassified images, its record "
                         f"says {expected}: two runs are mixed up. Run its recipe notebook again.")
    return record, errors
