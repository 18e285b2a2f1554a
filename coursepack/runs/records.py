"""What a run leaves behind: its record, its weights, its mistakes. And reading them again."""

import functools
import io
import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from coursepack import files
from coursepack.data.datasets import Dataset
from coursepack.runs import mistakes
from coursepack.runs.mistakes import Misclassified
from coursepack.train import checkpoints, loop, updates
from coursepack.train.recipe import FIELDS, Recipe, with_defaults
from model import Net, count

SCHEMA, (MODEL, MISTAKES, RECORD) = 1, checkpoints.SAVED
PUBLISHED = Path("results", "mnist_7k")  # the recipe notebooks' own records, as saved
RECIPES = {"bn_l1_l2": "01_batch_norm_l1_l2", "gn_l1": "02_group_norm_l1",
           "ln_l2": "03_layer_norm_l2"}  # which notebook makes which run


def save_run(model: Net, data: Dataset, recipe: Recipe, history: list[dict[str, float]]) -> dict:
    """Write model.pt, misclassified.npz and, last, record.json to the run's folder.

    Returns the record. The presence of record.json means that the run finished; the checkpoint,
    needed no longer, is removed. An earlier run that was of something else is moved aside first.
    """
    probabilities = loop.predict(model, data).exp().cpu()  # (test images, classes)
    errors = mistakes.find_misclassified(probabilities, data)._asdict()
    confidence, answers = probabilities.max(1)
    run = checkpoints.identity(recipe, data)
    weights = torch.cat([p.detach().abs().flatten()
                         for p in updates.penalized_parameters(model, recipe.penalize)])
    record = {
        "schema": SCHEMA,
        "parameters": asdict(recipe),
        "parameter_count": count(model).parameters,
        "data": run["data"],
        "environment": {
            "python": platform.python_version(), "torch": run["torch"], "code": run["code"],
            "device": str(next(model.parameters()).device), "threads": history[-1]["threads"],
        },
        "seconds": sum(row["train_seconds"] + row["test_seconds"] for row in history),
        "epochs": history,
        "misclassified": errors["index"].tolist(),
        "calibration": mistakes.reliability_table(confidence.double(),
                                                  answers == data.test_labels.cpu()),
        "near_zero": (weights < 1e-3).sum().item() / weights.numel(),  # but see measures.sparsity
    }
    state = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    folder = recipe.run_dir
    with checkpoints.locked(recipe):
        move_aside(folder, record)
        files.replace_file(folder / MODEL, functools.partial(torch.save, state))
        record["mistakes"] = files.replace_file(
            folder / MISTAKES, lambda path: np.savez_compressed(path, **errors), kept=True)
        write_record(folder / RECORD, record)
        checkpoints.checkpoint_file(recipe, run).unlink(missing_ok=True)
    return record


def write_record(file: Path, record: dict) -> None:
    text = json.dumps(record | {"digest": files.BLANK}, indent=1, allow_nan=False) + "\n"
    files.replace_file(file, lambda path: path.write_bytes(text.encode()), kept=True)


def move_aside(folder: Path, record: dict) -> None:
    """Move a finished run in folder to <folder>-earlier-1, -2 ... unless it is the record's own.

    A run that differs in no parameter, image, line of code or version is the same one again.
    """
    file, number = folder / RECORD, 1
    if not file.exists():
        return
    while os.path.lexists(aside := folder.with_name(f"{folder.name}-earlier-{number}")):
        number += 1
    try:
        earlier = load_record(file)
        if what_ran(earlier) == what_ran(record):
            return
        earlier["parameters"]["run_name"] = aside.name
    except ValueError:  # no record of ours: it is kept as it is
        earlier = None
    aside.mkdir()
    for name in checkpoints.SAVED:
        if (folder / name).exists():
            files.replace_file(aside / name, functools.partial(shutil.copyfile, folder / name))
    if earlier:
        write_record(aside / RECORD, earlier)
    file.unlink()
    print(f"{folder.name} had finished before, as another run: that one is {aside} now.",
          file=sys.stderr)


def what_ran(record: dict) -> list[object]:
    """What two records of the same run agree in."""
    return [checkpoints.what_counts(with_defaults(record["parameters"])), record["data"],
            *(record["environment"].get(of) for of in ("torch", "code"))]


def load_record(file: Path) -> dict:
    """A record.json; parameters that it is too old to know have their defaults.

    Raises FileNotFoundError or ValueError with the command that makes a record.
    """
    if not os.path.lexists(file):
        raise FileNotFoundError(f"{file} is not there: no such run has finished. {advice(file)}")
    record = json.loads(files.read_kept(file, advice(file)))
    record["parameters"] = with_defaults(record["parameters"])
    if record["schema"] != SCHEMA or record["parameters"].keys() - FIELDS:
        raise ValueError(f"{file} is of another version of this course. {advice(file)}")
    del record["digest"]
    return record


def advice(file: Path) -> str:
    """How to make a record that is missing, and which there are."""
    own = file.name == RECORD
    name, runs = (file.parent.name, file.parent.parent) if own else (file.stem, file.parent)
    place = f" -p runs_dir {runs}" if runs != files.ROOT / "runs" else ""
    notebook = RECIPES.get(name)
    command = (f"papermill notebooks/{notebook}.ipynb runs/{notebook}.ipynb" if notebook else
               "one of the recipe notebooks (01, 02, 03) and")
    there = sorted({path.parent.name for path in runs.glob("*/record.json")})
    found = f" Finished there: {', '.join(there)}." if there else ""
    return f"Make it with {command} -p run_name {name}{place}.{found}"


def load_run(folder: Path, name: str) -> tuple[dict, Misclassified]:
    """Record and misclassified images of a run, its own (a folder) or published (two files).

    Raises FileNotFoundError or ValueError as load_record, or if they are not of one run.
    """
    record = load_record(file := find_record(folder, name))
    images = file.with_name(MISTAKES) if file.name == RECORD else file.with_suffix(".npz")
    content = files.read_kept(images, "Run its recipe notebook again.")
    if files.seal(content)[0] != record.get("mistakes"):
        raise ValueError(f"{images} is not that of {file}: two runs are mixed up. "
                         "Run its recipe notebook again.")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return record, Misclassified(**arrays)


def find_record(folder: Path, name: str) -> Path:
    """Where the record of a run is, published or its own, or else would be."""
    published = folder / f"{name}.json"
    return published if published.is_file() else folder / name / RECORD


def find_runs(names: Sequence[str], runs_dir: str) -> Path:
    """The folder of these runs: runs_dir, or, for "", the published ones while runs/ has none.

    Raises FileNotFoundError that says which are missing, which are there and how one is made.
    """
    folder, published = files.find_folder("runs_dir", runs_dir or "runs"), files.ROOT / PUBLISHED
    none_of_yours = not runs_dir and not any(folder.glob("*/record.json"))
    if none_of_yours and all(find_record(published, name).is_file() for name in names):
        return published
    if missing := [name for name in names if not find_record(folder, name).is_file()]:
        raise FileNotFoundError(
            f"{listed(missing)} cannot be compared: no such run has finished in {folder}. "
            f"{advice(folder / missing[0] / 'record.json')} Which runs are compared, the "
            "parameter runs says.")
    return folder


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names for a sentence, not more than so many."""
    more = f"; {len(names) - most} more" if len(names) > most else ""
    return "; ".join(names[:most]) + more
