"""What several test files use: small recipes, data and records."""

import gzip
import os
import re
import subprocess
from unittest import mock

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import torch
from hypothesis import strategies as st

import exercises
import utils
from coursepack import files
from coursepack.files import ROOT
from coursepack.runs import records
from coursepack.train import batches, checkpoints, loop
from coursepack.train import recipe as room
from coursepack.train.recipe import CHOICES, FIELDS, RANGES, Recipe, with_defaults
from model import ARCHITECTURES, NORMS, check_norm, keeps_shape


def says(*words):
    """For pytest.raises(match=...): a message with all of these words, in any order."""
    return "(?s)" + "".join(f"(?=.*{re.escape(str(word))})" for word in words)


def files_in(folder):
    """What a folder holds, but for the lock that stays where a run was trained."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def first(data, train, test):
    """The data set cut down to its first images."""
    return data.head(train)._replace(
        test_images=data.test_images[:test], test_labels=data.test_labels[:test])


def changed(whole, **changes):
    """A dictionary with changes: by a function, or to a value; None leaves one out."""
    made = whole | {name: new(whole[name]) if callable(new) else new
                    for name, new in changes.items()}
    return {name: value for name, value in made.items() if value is not None}


def arrays(**changes):
    """A tiny data set like MNIST, see changed()."""
    images = np.random.default_rng(0).integers(256, size=(50, 28, 28), dtype=np.uint8)
    return changed({"x_train": images[:30], "y_train": np.arange(30) % 10, "x_test": images[30:],
                    "y_test": np.arange(20, dtype=np.uint8) % 10}, **changes)


def holds(data, written):
    """Assert that a data set has these arrays, as tensors with channels first."""
    for found, array in zip(data[2:6], written.values()):
        assert found.dtype == (torch.uint8 if found.ndim == 4 else torch.int64)
        found = found.movedim(1, -1) if found.ndim == 4 else found
        assert np.array_equal(found.numpy().reshape(array.shape), array)


IDX_FILES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte",
             "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


def idx(array):
    """An array of bytes as an idx file: a header and the bytes."""
    head = np.array([0x800 + array.ndim, *array.shape], ">i4").tobytes()
    return head + array.astype(np.uint8).tobytes()


def write_idx(folder, layout="MNIST/raw/{0}", **changes):
    """Four idx files as layout names them, packed if it ends with .gz. Returns these."""
    files = [folder / layout.format(name) for name in IDX_FILES]
    for file, content in zip(files, map(idx, arrays(**changes).values())):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(content) if layout.endswith(".gz") else content)
    return files


def no_network(urls):
    """In place of sources.first_to_answer: no mirror does."""
    raise ConnectionError("no network")


def make_recipe(folder, **changes):
    """A recipe that is quick to run and writes to folder only."""
    folder.mkdir(exist_ok=True)
    small = {"data_dir": str(folder), "runs_dir": str(folder / "runs"), "device": "cpu",
             "augment": "none", "epochs": 1, "batch_size": 64}
    return Recipe(**small | changes)


def numbers(name):
    """Strategy: what parameter name may be by its range, in its type."""
    least, below = next((least, below) for other, least, below in RANGES if other == name)
    if type(getattr(Recipe, name)) is int:
        return st.integers(least, min(below, 2**53) - 1)
    return st.floats(least, min(below, 1e30), exclude_max=True, allow_subnormal=False)


@st.composite
def recipes(draw, **fixed):
    """Strategy: every kind of Recipe that is accepted; fixed: parameters as they have to be."""
    drawn = {name: draw(numbers(name)) for name, *_ in RANGES}
    drawn |= {name: draw(st.booleans()) for name, f in FIELDS.items() if f.type is bool}
    drawn |= {name: draw(st.sampled_from(some)) for name, some in CHOICES.items()}
    drawn |= {"dataset": "mnist_sample", "arch": draw(st.sampled_from(list(ARCHITECTURES))),
              "norm": draw(st.sampled_from([*NORMS, "BN", "gn"])),
              "layer_affine": draw(st.sampled_from(["element", "channel"])),
              "order": draw(st.sampled_from(["", "norm-act-drop", "drop-norm-act"])),
              "augment": draw(st.sampled_from(["none", "rotate", "rotate+shift+flip"])),
              "run_name": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}", fullmatch=True))}
    drawn |= fixed
    drawn["skip"] &= any(keeps_shape(ARCHITECTURES[drawn["arch"]]))
    drawn["conv_bias"] &= not ARCHITECTURES[drawn["arch"]].bias
    if check_norm(drawn["norm"]) == "group" and "groups" not in fixed:
        drawn["groups"] = draw(st.sampled_from([1, 2]))  # elsewhere any number is idle
    drawn |= {name: min(drawn[name], 0.5 / drawn["lr"]) for name in ("l2", "weight_decay")}
    if not room.check_network(**{name: drawn[name] for name in room.NETWORK}):
        drawn["l2_step"] = "gradient"  # no weight stands before a norm
    if drawn["l2_step"] == "learning_rate":  # what each of these goes together with
        drawn |= {"momentum": 0.0, "l1": 0.0, "penalize": "weights", "optimizer": "sgd"}
    if drawn["l1_step"] == "proximal":
        drawn["optimizer"] = "sgd"
    if not drawn["train_size"]:
        drawn["subset_seed"] = 0
    return Recipe(**drawn)


def fit(data, recipe):
    model = loop.build_model(recipe, data)
    with mock.patch("psutil.cpu_percent", return_value=0):  # all cores are free
        return model, loop.train(model, data, recipe)


def set_free(recipe):
    """Give up a run that is not saved: until then train() keeps it locked."""
    with checkpoints.locked(recipe):
        pass


def without_seconds(history):
    return [{k: v for k, v in row.items() if not k.endswith("_seconds")} for row in history]


def run(command, cwd=ROOT, **environment):
    return subprocess.run([str(part) for part in command], cwd=cwd, env=os.environ | environment,
                          capture_output=True, encoding="utf-8")


def code_cells(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def printed(path):
    """All that a notebook's cells have printed."""
    return "".join(out.get("text", "") for cell in code_cells(path) for out in cell.outputs)


def log_probabilities(model, images, data):
    model.eval()
    with torch.no_grad():
        return model(batches.to_input(images, data, next(model.parameters()).dtype)).double()


def make_record(norm, seed, accuracy, wrong=(), **parameters):
    """A record of 1,000 test images, two epochs."""
    own = {"arch": "mnist_7k", "norm": norm, "seed": seed, "run_name": f"{norm}-seed{seed}",
           "epochs": 2}
    epochs = [{"test_accuracy": a, "accuracy": a, "loss": 1 - a, "test_loss": 1 - a, "penalty": 0.1,
               "lr": 0.05, "train_seconds": 0.4, "test_seconds": 0.1, "threads": 1}
              for a in (min(accuracy + 0.01, 1.0), accuracy)]
    return {"parameters": with_defaults(own | parameters), "schema": 1, "seconds": 1.0,
            "environment": {"python": "3", "torch": "2", "device": "cpu", "threads": 1},
            "parameter_count": 7416, "epochs": epochs,
            "data": {"name": "mnist", "source": "npz", "train_size": 10, "test_size": 1000,
                     "classes": list("0123456789")},
            "misclassified": sorted(wrong), "near_zero": 0.25}


def write_run(folder, record, classes=10):
    """A finished run of make_record(): as many of its 1,000 blank test images are wrong."""
    count = round((1 - record["epochs"][-1]["test_accuracy"]) * 1000)
    rng = np.random.default_rng(record["parameters"]["seed"])
    label, index = rng.integers(classes, size=count), rng.permutation(1000)[:count]
    record |= {"misclassified": index.tolist(), "calibration": [
        {"above": 0.9, "images": 1000, "confidence": 0.9, "accuracy": 1 - count / 1000}]}
    record["data"] |= {"classes": [f"class {i}" for i in range(classes)]}
    place = folder / record["parameters"]["run_name"]
    place.mkdir(parents=True)
    record["mistakes"] = files.replace_file(place / "misclassified.npz", lambda path: np.savez(
        path, index=index, image=np.zeros((count, 1, 28, 28), np.uint8), label=label,
        prediction=(label + 1) % classes, probability=np.full(count, 0.9),
        label_probability=np.full(count, 0.1)), kept=True)
    records.write_record(place / "record.json", record)
    return place


def run_summary(last="", **parameters):
    """Run notebook 04 in this process up to the cell last; not its setup, which would search."""
    [file] = (ROOT / "notebooks").glob("04*.ipynb")
    injected = "\n".join(["# Parameters", *(f"{k} = {v!r}" for k, v in parameters.items())])
    scope = {"In": [injected], "ROOT": ROOT, "plt": plt, "np": np, "pd": pd, "utils": utils,
             "exercises": exercises}
    for cell in code_cells(file):
        if cell.id != "setup":
            exec(compile(cell.source, cell.id, "exec"), scope)
        if cell.id == "parameters":
            exec(injected, scope)
        if cell.id == last:
            break
