"""What is refused: whatever is kept and is not as it was written, or not of what it should be of;
what notebook 04 compares, tables of effects, pictures.
"""

import contextlib
import os
import shutil
from functools import partial
from pathlib import Path
from unittest import mock

import pandas as pd
import torch
from helpers import make_record, run_summary, write_run
from refused import NO_FILES, Trap, calling, rows
from refused_parameters import start

from coursepack import files
from coursepack.files import ROOT
from coursepack.lab import effects, studies
from coursepack.lab import rows as tables
from coursepack.runs import mistakes
from coursepack.runs.records import MISTAKES, RECORD, load_record, load_run, write_record
from coursepack.show import figures, pictures
from coursepack.train import loop

NAN, README = float("nan"), str(ROOT / "README.md")


def with_run(name, spoil, folder):
    """Load a run of which one file was changed."""
    spoil(write_run(folder, make_record("batch", 1, 0.94, run_name="mine")) / name)
    load_run(folder, "mine")


def with_checkpoint(spoil, folder):
    """Go on with a checkpoint that was changed."""
    with (mock.patch.object(loop, "report_epoch", side_effect=KeyboardInterrupt),
          contextlib.suppress(KeyboardInterrupt)):
        start(folder, epochs=2)
    [file] = folder.glob("runs/run/unfinished-*.pt")
    spoil(file)
    try:
        start(folder, epochs=2)
    finally:
        assert os.path.lexists(file), "what it holds may be worth something"


def with_table(spoil, folder):
    """Read the published table of a study, which was changed."""
    (folder / "results").mkdir()
    spoil(Path(shutil.copy(ROOT / "results" / "rates.csv", folder / "results")))
    with mock.patch.multiple(files, ROOT=folder):
        tables.load_table("rates")


def with_records(spoil, folder):
    """Read the published records of a study, one of which was changed."""
    shutil.copytree(ROOT / "results" / "best", folder / "best")
    spoil(folder / "best" / "gn_l1-seed1.json")
    with mock.patch.object(studies, "RESULTS", folder):
        tables.load_records("best")


def edit(file):
    """One bit is another, in the middle of it."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def rewrite(file, **changes):
    """A record with changes, written as one."""
    record = load_record(file)
    write_record(file, record | {name: record[name] | new if isinstance(new, dict) else new
                                 for name, new in changes.items()})


def rewrite_rows(file, add):
    """A table with the first row once more, and changes there, written as one."""
    head, there = tables.read_rows(file)
    tables.write_table(file, head, [*there, there[0] | add])


def rewrite_checkpoint(file, **changes):
    """A checkpoint with changes, written as one."""
    state = torch.load(file, weights_only=True) | changes
    files.replace_file(file, partial(torch.save, state), kept=True)


def take_that_of_another_run(file):
    other = write_run(file.parents[1], make_record("batch", 2, 0.94, run_name="other"))
    shutil.copy(other / file.name, file)


SPOILT = NO_FILES | {  # what a kept file may have become
    "a link to nothing": lambda file: (file.unlink(), file.symlink_to("nowhere")),
    "edited": edit, "there twice": lambda file: file.write_bytes(2 * file.read_bytes()),
    "merged": lambda file: file.write_bytes(b"<<<<<<< HEAD\n" + file.read_bytes()),
    "code that unpickling would run": lambda file: torch.save({"run": Trap()}, file)}
KEPT = {  # a kind of kept file: what reads it, words that say which it is and what to do
    "a record": (partial(with_run, RECORD), "mine/record.json", "recipe notebook"),
    "misclassified images": (partial(with_run, MISTAKES), MISTAKES, "Run its recipe notebook"),
    "a checkpoint": (with_checkpoint, "unfinished-", "Remove it, and the run begins anew"),
    "a published table": (with_table, "git checkout -- results/rates.csv", "make study"),
    "a published record": (with_records, "best/gn_l1-seed1.json", "Make it with")}
UNLIKE = [  # what is as it was written, and of something else: what reads it, changes, words
    ("mistakes of another run", partial(with_run, MISTAKES), take_that_of_another_run,
     "two runs are mixed up"),
    ("a record of a younger course", partial(with_run, RECORD), partial(rewrite, schema=3),
     "another version"),
    ("a record with a parameter that is none", partial(with_run, RECORD),
     partial(rewrite, parameters={"no_such_parameter": 1}), "another version"),
    ("a checkpoint of more threads than cores", with_checkpoint,
     partial(rewrite_checkpoint, threads=1000), "1000 threads", "OMP_NUM_THREADS=1000"),
    ("a checkpoint renamed from another run", with_checkpoint, partial(rewrite_checkpoint, run={}),
     "of another run"),
    ("a table with a row of no run", with_table, partial(rewrite_rows, add={"seed": 99}),
     "rates.csv has norm", "study's file does not ask"),
    ("a table of another study", with_table, lambda file: shutil.copy(
        ROOT / "results" / "rates_norm_first.csv", file), "runs of another factors"),
    ("a table with a row twice", with_table, partial(rewrite_rows, add={}), "not twice"),
    ("a record of a study twice", with_records, lambda file: shutil.copy(
        file, file.with_stem(f"{file.stem} copy")), "gn_l1-seed1 copy.json is of no run"),
    ("a record of a study on other data", with_records, partial(rewrite, data={"name": "other"}),
     "the data set", "'other' (gn_l1-seed1)")]


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
    ({"data": {"content": "other"}, "factors": "train_size"}, ("not the same images",)),
    *[({name: value}, (name, *words)) for name, value, *words in [
        ("runs", "a, mine", "mine", "01, 02, 03", "Finished there: a, b"), ("shown", 0, "shown=0"),
        ("runs_dir", "no-such-folder", "cannot be compared"), ("runs_dir", "a\0b", "no folder"),
        ("images_dir", "a\0b", "no folder"), ("images_dir", README, README)]],
]


RUNS = pd.DataFrame([{"norm": norm, "order": order, "seed": seed, "status": "finished", "y": seed}
                     for norm in ("batch", "group") for order in "ab" for seed in (1, 2, 3)])
EFFECTS = [  # a function, its arguments, words; what other runs lack, test_effects.py tries
    (effects.dunnett, ("y", "norm", "rms"), ("norm='rms'", "batch (6), group (6)")),
    (effects.paired_t_tests, ("y", "norm", "batch"), ("A seed has two runs of one norm",))]
POWER = [("difference", 0.0), ("spread", NAN), ("power", 1.0), ("level", 0.9), ("groups", 1)]


def graph(keys, **changes):
    record = make_record("batch", 1, 0.9)
    record["epochs"][0] |= changes
    figures.plot_graph([record], keys)


PICTURES = [  # a function, its arguments, words of the message
    (partial(graph, accuracy=NAN), [["accuracy"]], "accuracy=nan", "batch-seed1", "epoch 1"),
    (graph, [["no_such_value"]], "key='no_such_value'", "test_loss"),
    (graph, [["loss", "accuracy"]], "loss", "accuracy", "for each"),
    (pictures.plot_weights, [{"free": [[1, 2]]}, ["one", "two"]], "'free' has 1 layers", "2 names"),
]

CASES = rows("Kept files", [
    *[(f"{kind} that is {what}", partial(read, spoil), *words, "not as it was written")
      for kind, (read, *words) in KEPT.items() for what, spoil in SPOILT.items()],
    *[(what, partial(read, spoil), *words) for what, read, spoil, *words in UNLIKE],
]) + rows("Notebook 04", [
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
