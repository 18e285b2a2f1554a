"""What is refused: records, misclassified images, what notebook 04 compares, tables of effects."""

import functools
import json
from pathlib import Path

import numpy as np
import pandas as pd
from helpers import make_record, run_cells, write_run
from refused import Refused

from coursepack.files import ROOT
from coursepack.lab import effects
from coursepack.runs import mistakes
from coursepack.runs.records import MISTAKES, load_run

HUGE, NAN, LONG = 10**9, float("nan"), "x" * 300


# ------------------------------------------------------------------- a record, and its mistakes
def edit(file, path, value):
    """Change a value of a record, such as epochs.-1.loss; ... takes it out."""
    record = json.loads(file.read_text(encoding="utf-8"))
    *way, last = [int(key) if key.lstrip("-").isdigit() else key for key in path.split(".")]
    place = functools.reduce(lambda inner, key: inner[key], way, record)
    if value is ...:
        del place[last]
    else:
        place[last] = value
    file.write_text(json.dumps(record), encoding="utf-8")


def load_spoilt(name, spoil, folder):
    """Load a run of which one file was changed."""
    place = write_run(folder, make_record("batch", 1, 0.94, run_name="mine"))
    spoil(place / name)
    load_run(folder, "mine")


def replace_by_folder(file):
    file.unlink()
    file.mkdir()


def arrays(**changes):
    """Changes arrays of a file, by a function or to a value; None leaves one out."""
    def change(file):
        whole = dict(np.load(file))
        for name, new in changes.items():
            whole[name] = new(whole[name]) if callable(new) else new
        np.savez(file, **{name: array for name, array in whole.items() if array is not None})
    return change


VALUES = [  # of a record: where, what stands there (... is nothing), and a word of the message
    ("schema", [..., 2, "one"], "schema"), ("parameters", [..., [1]], "parameters"),
    ("parameters.norm", ["no_such_norm", 7], "norm"), ("parameters.l1", ["much"], "l1"),
    ("parameters.seed", ["one", None], "seed"), ("parameters.groups", ["two"], "groups"),
    ("parameters.epochs", [7], "epochs"), ("parameters.run_name", [None], "run_name"),
    ("parameters.no_such_parameter", [1], "no_such_parameter"),
    ("parameter_count", [..., "many", 1.5], "parameter_count"),
    ("epochs", [[], {}, "twenty"], "epochs"), ("epochs.0", [5, [1, 2]], "epochs"),
    ("epochs.-1.test_accuracy", ["high", None, 7.5], "test_accuracy"),
    ("epochs.-1.test_accuracy", [1.0], "test accuracy"),
    ("epochs.-1.test_accuracy", [NAN], "NaN"), ("epochs.0.loss", [float("inf")], "Infinity"),
    ("epochs.0.loss", [..., "low", None, -1.0], "loss"),
    ("near_zero", ["half", 1e300], "near_zero"), ("misclassified", [None, ["one"], {}], "miscl"),
    ("misclassified", [[HUGE], [0]], "mistakes"), ("calibration", [[], "good"], "calibration"),
    ("calibration.0.images", [10**6, 1.5], "calibration"),
    ("calibration.0.accuracy", [1.5, None, 0.5], "calibration"),
    ("calibration.-1.confidence", [..., "high"], "calibration"), ("data", [..., None], "data"),
    ("data.test_size", [0, "all", -1000], "test_size"), ("data.test_size", [10**12], "mistakes"),
    ("data.classes", [..., ["0"], 10, list(range(10))], "classes"),
    ("data.source", [...], "source"), ("data.train_size", ["all"], "train_size"),
    ("seconds", [..., "long", []], "seconds"), ("environment", [..., "a laptop"], "environment"),
]
RECORDS = {  # what stands in place of a record
    "nothing": lambda file: file.write_bytes(b""), "no file": Path.unlink,
    "its first half": lambda file: file.write_bytes(file.read_bytes()[:900]),
    "a list": lambda file: file.write_text("[]", encoding="utf-8"),
    "a number": lambda file: file.write_text("7", encoding="utf-8"),
    "bytes that are no text": lambda file: file.write_bytes(b"\x00\xff\xfe"),
    "a folder": replace_by_folder,
    "brackets 100,000 deep": lambda file: file.write_text("[" * 100_000, encoding="utf-8"),
}
IMAGES = {  # what stands in place of misclassified images, and a word of the message
    "nothing": (lambda file: file.write_bytes(b""), "no file"),
    "no archive": (lambda file: file.write_bytes(b"no archive"), "no file"),
    "an archive's first bytes": (lambda file: file.write_bytes(b"PK\x03\x04"), "no file"),
    "its first half": (lambda file: file.write_bytes(file.read_bytes()[:900]), "no file"),
    "no file": (Path.unlink, "no file"), "a folder": (replace_by_folder, "no file"),
    "those of another run with as many": (arrays(index=lambda old: old[::-1]), "mixed up"),
    "those of another run with more": (arrays(**dict.fromkeys(
        mistakes.Misclassified._fields, lambda old: old[1:])), "mixed up"),
    "images without their index": (arrays(index=None), "index"),
    "one array more": (arrays(more=np.arange(3)), "more"),
    "images of two dimensions": (arrays(image=lambda old: old.reshape(len(old), -1)), "image"),
    "images that are no bytes": (arrays(image=lambda old: old.astype(float)), "image"),
    "a single number of images": (arrays(image=np.uint8(3)), "image"),
    "fewer labels than images": (arrays(label=np.arange(3)), "label"),
    "labels beyond the classes": (arrays(label=lambda old: old + 10), "label"),
    "labels that are words": (arrays(label=lambda old: old.astype(str)), "label"),
    "labels that are objects": (arrays(label=np.array([None] * 60)), "no file"),
    "predictions below zero": (arrays(prediction=lambda old: old - 10), "prediction"),
    "predictions of 2**40": (arrays(prediction=lambda old: old + 2**40), "prediction"),
    "an index below zero": (arrays(index=lambda old: old - 1000), "index"),
    "probabilities that are no numbers": (arrays(probability=lambda old: old + NAN), "probability"),
    "probabilities above one": (arrays(label_probability=lambda old: old + 1.1), "label_prob"),
}


# ----------------------------------------------------------------- what notebook 04 is given
def summarize(folder, own=(), other=(), **parameters):
    """The cells of notebook 04 before its first figure, of two runs with some changes."""
    for name, norm, changes in (("a", "batch", own), ("b", "layer", other)):
        changes = dict(changes)
        data = {k: changes.pop(k) for k in [*changes] if k in ("name", "source", "content", "size")}
        record = make_record(changes.pop("norm", norm), 1, 0.94, run_name=name, **changes)
        record["data"] |= {"name": record["parameters"]["dataset"]} | data
        write_run(folder, record, record["data"].get("size", 10))
    run_cells("04", "fair", **{"runs": "a, b", "runs_dir": str(folder),
                               "images_dir": str(folder / "images")} | parameters)


UNLIKE = [  # parameters or data of the other run, and words of the message
    ({"lr": 0.2}, ("lr", "0.1 (a)", "0.2 (b)", "factors")), ({"augment": "none"}, ("augment",)),
    ({"dataset": "fashion_mnist"}, ("dataset", "'mnist' (a)", "'fashion_mnist' (b)")),
    ({"arch": "mnist_10k"}, ("arch",)), ({"holdout": 10}, ("holdout",)),
    ({"train_size": 9}, ("train_size", "0 (a)", "9 (b)")),
    ({"name": "digits"}, ("data set", "'mnist' (a)", "'digits' (b)")),
    ({"source": "sample"}, ("the sample", "(b)", "the full data", "(a)")),
    ({"size": 11}, ("the classes", "class 10")),
    ({"content": "other"}, ("not the same images", "'this' (a)", "'other' (b)")),
    ({"norm": "BN"}, ("a and b", "seed, 1", "count as two")),
]
SUMMARY = [  # a parameter of notebook 04, its values, and words of the message
    ("runs", ["", "a,", ",a", "a,,b", "a;b", "a, x\0y", f"a, {LONG}", "a, ../a"],
     ("runs", "no plain name")),
    ("runs", [5], ("runs=5", "text")), ("runs", ["a, a"], ("'a' twice",)),
    ("runs", ["a, mine"], ("mine", "01, 02, 03", "Finished there: a, b")),
    ("factors", ["lr, epoch"], ("factors='epoch'", "Did you mean 'epochs'")),
    ("factors", ["dataset"], ("factors='dataset'", "lr")), ("factors", ["lr,"], ("no plain name",)),
    ("factors", [7], ("factors=7", "text")),
    ("runs_dir", ["/nowhere/at/all", str(ROOT / "README.md")], ("cannot be compared",)),
    ("runs_dir", ["a\0b", "~nobody_of_this_name/runs", LONG], ("runs_dir", "no folder")),
    ("runs_dir", [7], ("runs_dir=7", "text")),
    ("images_dir", ["a\0b", LONG], ("images_dir", "no folder")),
    ("images_dir", [str(ROOT / "README.md")], ("images_dir", "README.md")),
    ("images_dir", [0.5], ("images_dir=0.5", "text")),
    ("shown", [0, -1, HUGE], ("shown=", "1 or more and less than 101")),
    ("shown", [2.5, "many"], ("shown=", "whole number")),
    ("columns", [0, 10_000], ("columns=", "1 or more and less than 21")),
    ("columns", [2.5, True], ("columns=", "whole number")),
    ("run", ["a"], ("'run'", "Did you mean 'runs'")),
]


# --------------------------------------------------------------- tables that lack some runs
RUNS = pd.DataFrame([{"norm": norm, "order": order, "seed": seed, "status": "finished", "l2": 0.1,
                      "y": seed / 10 + (norm == "batch")} for norm in ("batch", "group")
                     for order in ("first", "last") for seed in (1, 2, 3)])
CORNER = "norm == 'batch' or order == 'last'"  # the group of the first order is missing
EFFECTS = [  # the runs that are there, a function, its arguments after them, words of the message
    ("norm == 'batch'", "tukey", ("y", "norm"), ("levels of norm", "batch (6)", "Add runs")),
    (f"{CORNER} and seed == 1", "tukey", ("y", "norm"), ("batch (6)", "group (1)")),
    ("seed > 3", "tukey", ("y", "norm"), ("There are: none",)),
    ("seed > 0", "dunnett", ("y", "norm", "rms"), ("norm='rms'", "batch (6), group (6)")),
    ("norm == 'batch'", "dunnett", ("y", "norm", "batch"), ("two levels of norm",)),
    ("order == 'last'", "paired_t_tests", ("y", "norm", "rms"), ("norm='rms'",)),
    ("order == 'last' and (norm == 'batch' and seed < 3 or norm == 'group' and seed > 1)",
     "paired_t_tests", ("y", "norm", "batch"), ("'group' and 'batch'", "same seed")),
    ("seed > 0", "paired_t_tests", ("y", "norm", "batch"), ("A seed has two runs of one norm",)),
    (CORNER, "welch_at", ("y", "order", "norm"), ("at norm='group'", "last (3)")),
    ("seed > 0", "welch_at", ("y", "seed", "norm"), ("seed", "Choose two")),
    ("seed > 0", "slope", ("y", "l2"), ("l2", "12, of 1")),
    (CORNER, "variance_table", ("y", ["norm", "order"]), ("group, first has 0", "another 3")),
    (f"{CORNER} or seed > 1", "variance_table", ("y", ["norm", "order"]),
     ("group, first has 2", "another 3", "Add runs")),
    ("seed == 1", "variance_table", ("y", ["norm", "order"]), ("2 or more", "has 1")),
    ("norm == 'batch'", "variance_table", ("y", ["norm", "order"]), ("1 of norm, 2 of order",)),
    ("seed > 0", "variance_table", ("l2", ["norm"]), ("same l2",)),
]


def of_some_runs(there, name, arguments, folder):
    getattr(effects, name)(RUNS.query(there), *arguments)


POWER = {"difference": 1.0, "spread": 1.0}  # of effects.seeds_needed

CASES = [
    *[Refused("Records", f"{path} is {str(value)[:40]!r}" if value is not ... else f"no {path}",
              functools.partial(load_spoilt, "record.json",
                                functools.partial(edit, path=path, value=value)),
              ("mine/record.json", word, "recipe notebook"))
      for path, values, word in VALUES for value in values],
    *[Refused("Records", f"{what} in place of a record", functools.partial(
        load_spoilt, "record.json", spoil), ("record.json", "recipe notebook"))
      for what, spoil in RECORDS.items()],
    *[Refused("Records", f"{what} in place of misclassified images", functools.partial(
        load_spoilt, MISTAKES, spoil), (MISTAKES, word, "Run its recipe notebook again"))
      for what, (spoil, word) in IMAGES.items()],
    *[Refused("Notebook 04", f"runs that differ in {other}", functools.partial(
        summarize, own={"content": "this"}, other={"content": "this"} | other), words)
      for other, words in UNLIKE],
    *[Refused("Notebook 04", f"{name}={str(value)[:40]!r}", functools.partial(
        summarize, **{name: value}), words) for name, values, words in SUMMARY for value in values],
    *[Refused("Tables", f"{name} of {arguments} where {there}", functools.partial(
        of_some_runs, there, name, arguments), words) for there, name, arguments, words in EFFECTS],
    *[Refused("Tables", f"seeds needed where {name} is {value}", lambda folder, wrong=(name, value):
              effects.seeds_needed(**POWER | dict([wrong])), (f"{name}={value}", "above 0"))
      for name, value in [("difference", 0.0), ("spread", -1.0), ("spread", NAN), ("power", 1.0),
                          ("level", 0.9)]],
    *[Refused("Tables", f"a confidence of {wrong}", lambda folder, wrong=wrong:
              mistakes.reliability_table([0.5, wrong], [True, True]), ("between 0 and 1",))
      for wrong in (1.01, -0.1, NAN)],
]
