"""What is refused: records, mistakes, what notebook 04 compares, tables of effects, pictures."""

import json
from functools import partial, reduce

import numpy as np
import pandas as pd
from helpers import changed, make_record, run_summary, write_run
from refused import NO_FILES, calling, rows

from coursepack.files import ROOT
from coursepack.lab import effects
from coursepack.runs import mistakes
from coursepack.runs.records import MISTAKES, load_run
from coursepack.show import figures, pictures

HUGE, NAN, README = 10**9, float("nan"), str(ROOT / "README.md")


def edit(file, path, value):
    """Change a value of a record, such as epochs.-1.loss; ... takes it out."""
    record = json.loads(file.read_text(encoding="utf-8"))
    *way, last = [int(key) if key.lstrip("-").isdigit() else key for key in path.split(".")]
    place = reduce(lambda inner, key: inner[key], way, record)
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


def arrays(**changes):
    return lambda file: np.savez(file, **changed(dict(np.load(file)), **changes))


VALUES = {  # of a record: what cannot stand there (... is nothing); the message names its place
    "schema": [..., 2], "parameters": [[1]], "parameters.norm": ["no_such_norm", 7],
    "parameters.epochs": [7, "2"], "parameters.more": [1], "parameter_count": [1.5],
    "epochs": [[], "twenty"], "epochs.0": [5], "epochs.0.loss": ["low", -1.0],
    "epochs.-1.test_accuracy": [..., None, 7.5],
    "near_zero": [1e300], "misclassified": [None, ["one"], [7, 7]], "calibration": [[]],
    "calibration.0": [7], "calibration.0.images": [1.5], "calibration.0.confidence": [..., "high"],
    "data": [None], "data.test_size": [0, "all"], "data.classes": [["0"], [*range(10)]],
    "data.source": [...], "seconds": ["long"], "environment": ["a laptop"]}
UNLIKE = [  # values that do not agree with the others, and a word of the message
    ("epochs.-1.test_accuracy", 1.0, "test accuracy"), ("misclassified", [HUGE], "mistakes"),
    ("data.test_size", 10**12, "mistakes"), ("calibration.0.images", 10**6, "calibration"),
    ("calibration.0.accuracy", 0.5, "calibration"), ("epochs.0.loss", NAN, "loss")]
RECORDS = NO_FILES | {  # what stands in place of a record
    "brackets 100,000 deep": lambda file: file.write_text("[" * 100_000, encoding="utf-8")}
IMAGES = [  # what stands in place of misclassified images, and a word of the message
    *[(what, spoil, "no file of") for what, spoil in NO_FILES.items()],
    ("one array more", arrays(more=np.arange(3)), "more"),
    ("those of another run", arrays(index=lambda old: old[::-1]), "mixed up"),
    *[(f"some whose {name} is {what}", arrays(**{name: change}), name) for name, what, change in [
        ("image", "of two dimensions", lambda old: old.reshape(len(old), -1)),
        ("image", "no bytes", lambda old: old.astype(float)), ("image", "one number", np.uint8(3)),
        ("label", "too few", np.arange(3)), ("label", "beyond the classes", lambda old: old + 10),
        ("prediction", "below zero", lambda old: old - 10), ("index", "words", np.array(["1"])),
        ("probability", "no number", lambda old: old + NAN),
        ("label_probability", "above one", lambda old: old + 1.1)]]]


def summarize(folder, changes=(), data=(), classes=10, **parameters):
    """The cells of notebook 04 before its first figure; the second of its two runs is changed."""
    for name, norm in (("a", "batch"), ("b", "layer")):
        record = make_record(norm, 1, 0.94, run_name=name)
        record["data"]["content"] = "this"
        if name == "b":
            record["parameters"] |= changes
            record["data"] |= data
        write_run(folder, record, classes if name == "b" else 10)
    run_summary("fair", **{"runs": "a, b", "runs_dir": str(folder),
                           "images_dir": str(folder / "images")} | parameters)


SUMMARY = [  # parameters of notebook 04, or how the other run differs; and words of the message
    *[({"changes": {name: value}}, words) for name, value, *words in [
        ("lr", 0.2, "lr", "0.1 (a)", "0.2 (b)", "factors"), ("dataset", "kmnist", "dataset"),
        ("norm", "BN", "a and b", "seed, 1", "count as two")]],
    *[({"data": {name: value}}, words) for name, value, *words in [
        ("name", "digits", "data set", "'mnist' (a)", "'digits' (b)"),
        ("source", "sample", "the sample", "(b)", "the full data", "(a)"),
        ("train_size", 9, "number of training images", "10 (a)", "9 (b)"),
        ("content", "other", "not the same images", "'this' (a)", "'other' (b)")]],
    ({"classes": 11}, ("the classes", "class 10")),
    *[({name: value}, (name, *words)) for name, value, *words in [
        ("runs", "a, mine", "mine", "01, 02, 03", "Finished there: a, b"), ("shown", 0, "shown=0"),
        ("runs_dir", "no-such-folder", "cannot be compared"), ("runs_dir", "a\0b", "no folder"),
        ("images_dir", "a\0b", "no folder"), ("images_dir", README, README)]],
]


RUNS = pd.DataFrame([{"norm": norm, "order": order, "seed": seed, "status": "finished", "y": seed}
                     for norm in ("batch", "group") for order in "ab" for seed in (1, 2, 3)])
EFFECTS = [  # a function, its arguments, words; what other runs lack, test_effects.py tries
    (effects.dunnett, ("y", "norm", "rms"), ("norm='rms'", "batch (6), group (6)")),
    (effects.paired_t_tests, ("y", "norm", "batch"), ("A seed has two runs of one norm",)),
    (effects.welch_at, ("y", "seed", "norm"), ("seed", "Choose two"))]
POWER = [("difference", 0.0), ("spread", NAN), ("power", 1.0), ("level", 0.9)]


def graph(keys, **changes):
    """Draws a graph of a run whose first epoch is changed."""
    record = make_record("batch", 1, 0.9)
    record["epochs"][0] |= changes
    figures.plot_graph([record], keys)


PICTURES = [  # a function, its arguments, words of the message
    (partial(graph, accuracy=NAN), [["accuracy"]], "accuracy=nan", "batch-seed1", "epoch 1"),
    (graph, [["no_such_value"]], "key='no_such_value'", "test_loss"),
    (graph, [["loss", "accuracy"]], "loss", "accuracy", "for each"),
    (pictures.plot_weights, [{"free": [[1, 2]]}, ["one", "two"]], "'free' has 1 layers", "2 names"),
]

CASES = rows("Records", [
    (f"{path} is {str(value)[:40]!r}" if value is not ... else f"no {path}", partial(
        load_spoilt, "record.json", partial(edit, path=path, value=value)), word)
    for path, value, word in UNLIKE + [(path, value, path.removesuffix(".0").split(".")[-1])
                                       for path, values in VALUES.items() for value in values]
] + [(f"{what} in place of a record", partial(load_spoilt, "record.json", spoil))
     for what, spoil in RECORDS.items()
], "mine/record.json", "recipe notebook") + rows("Records", [
    (f"{what} in place of misclassified images", partial(load_spoilt, MISTAKES, spoil), word)
    for what, spoil, word in IMAGES
], MISTAKES, "Run its recipe notebook again") + rows("Notebook 04", [
    (str(given)[:60], partial(summarize, **given), *words) for given, words in SUMMARY
]) + rows("Tables", [
    *((f"{test.__name__} of {arguments}", calling(test, RUNS, *arguments), *words)
      for test, arguments, words in EFFECTS),
    *((f"seeds needed where {name} is {value}", calling(
        effects.seeds_needed, **{"difference": 1.0, "spread": 1.0} | {name: value}),
       f"{name}={value}", "above 0") for name, value in POWER),
    *((f"a confidence of {wrong}", calling(mistakes.reliability_table, [wrong], [True]),
       "between 0 and 1") for wrong in (1.01, NAN)),
]) + rows("Pictures", [
    (f"picture {number}, of {arguments[0]}", calling(draw, *arguments), *words)
    for number, (draw, arguments, *words) in enumerate(PICTURES, 1)])
