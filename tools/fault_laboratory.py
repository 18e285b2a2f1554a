"""Bad files, tables and faults of laboratory studies and live runs, as cases of faults.py."""

import functools
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import laboratory as tool
from fault_inputs import Case

from coursepack import files
from coursepack.data.datasets import load_dataset
from coursepack.files import ROOT
from coursepack.lab import effects, rows
from coursepack.train.recipe import live_parameters

FILE = """\
about: x
expected: nothing
analysis: none
common: {epochs: 2, arch: mnist_8k, dataset: mnist_sample, train_size: 200, augment: none}
grid: {norm: [batch, group]}
seeds: [1, 2]
measure: [sparsity]
"""
SEEDS, GRID, EPOCHS = "seeds: [1, 2]", "grid: {norm: [batch, group]}", "epochs: 2"
CHANGES = [  # what somebody did, the old text, the new, words of the refusal
    ("nothing in it", FILE, "", "mine"), ("a list in place of keys", FILE, "- 1\n", "mine"),
    ("YAML that is none", SEEDS, "seeds: [1, 2", "mine"),
    ("a key that is misspelt", "grid:", "gird:", "Did you mean 'grid'"),
    ("a key twice", SEEDS, f"{SEEDS}\n{SEEDS}", "seeds"),
    ("no expectation", "expected: nothing\n", "", "expected"),
    ("no analysis", "analysis: none\n", "", "analysis"),
    ("an empty analysis", "analysis: none", "analysis: ''", "analysis"),
    ("minutes that are a word", SEEDS, f"{SEEDS}\nminutes: ten", "minutes"),
    ("no grid", f"{GRID}\n", "", "grid"), ("an empty grid", GRID, "grid: {}", "grid"),
    ("a grid in a list", GRID, "grid: [norm]", "grid"),
    ("a factor without levels", GRID, "grid: {norm: []}", "norm", "list"),
    ("a factor whose level is no list", GRID, "grid: {norm: batch}", "norm", "list"),
    ("a level twice", GRID, "grid: {norm: [batch, batch]}", "norm", "twice"),
    ("an unknown norm", GRID, "grid: {norm: [bach]}", "Did you mean 'batch'"),
    ("a factor that is misspelt", GRID, "grid: {nrom: [batch]}", "Did you mean 'norm'"),
    ("a factor in two places", GRID, "grid: {norm: [batch], two: [{norm: group}]}", "norm"),
    ("a factor that is common, too", GRID, "grid: {epochs: [1, 2]}", "epochs"),
    ("the seed as a factor", GRID, "grid: {seed: [1, 2]}", "seed"),
    ("the device as a factor", GRID, "grid: {device: [cpu]}", "device"),
    ("two levels that are one run", GRID, "grid: {norm: [batch, BN]}", "batch", "twice"),
    ("no seeds", f"{SEEDS}\n", "", "seeds"), ("a seed twice", SEEDS, "seeds: [1, 1]", "twice"),
    ("a seed that is a word", SEEDS, "seeds: [one]", "seeds"),
    ("a seed of -1", SEEDS, "seeds: [-1]", "-1"),
    ("a measure that is misspelt", "[sparsity]", "[sparsty]", "Did you mean 'sparsity'"),
    ("a measure that is no list", "[sparsity]", "sparsity", "measure"),
    ("no epochs", EPOCHS, "epochs: 0", "epochs=0"),
    ("a rate that is a word", EPOCHS, "epochs: 2, lr: quick", "lr", "quick"),
    ("half of the labels and more wrong", EPOCHS, "epochs: 2, label_noise: 1.0", "label_noise"),
    ("statistics of minus two images", EPOCHS, "epochs: 2, norm_batch: -2", "norm_batch"),
    ("an unknown step", EPOCHS, "epochs: 2, l1_step: proximl", "Did you mean 'proximal'"),
    ("a proximal step under AdamW", EPOCHS, "epochs: 2, l1_step: proximal, optimizer: adamw",
     "l1_step=proximal"),
    ("L2 as a rate with momentum", EPOCHS, "epochs: 2, l2_step: learning_rate", "momentum"),
]
TABLES = [  # what is wrong with a table, how it came about, words of the refusal
    ("cut off in its first line", lambda text: text[:40], ("mine.csv",)),
    ("empty", lambda text: "", ("mine.csv",)),
    ("without its first line", lambda text: text.split("\n", 1)[1], ("mine.csv",)),
    ("a page of HTML", lambda text: "<html>\n</html>\n", ("mine.csv",)),
    ("without its column of norms", lambda text: text.replace("norm,seed", "nrom,seed"), ("norm",)),
    ("of another number of epochs", lambda text: text.replace('"epochs": 2', '"epochs": 9'),
     ("epochs", "9")),
    ("of other images", lambda text: text.replace('"content": "', '"content": "f'), ("content",)),
]
LIVE = {"dataset": "mnist_sample", "data_dir": "", "live_images": 100, "live_epochs": 1, "seed": 1,
        "images_dir": "images"}
LIVE_VALUES = [("live_images", 0), ("live_images", 2.5), ("live_images", "many"),
               ("live_epochs", 0), ("live_epochs", -1), ("live_epochs", True), ("seed", -1),
               ("seed", "many"), ("dataset", "mnits"), ("images_dir", 3)]


def plan(old: str, new: str, folder: Path) -> str:
    """What make study does before the first run of the study above, with one change."""
    assert old in FILE
    (folder / "mine.yaml").write_text(FILE.replace(old, new), encoding="utf-8")
    tool.STUDIES = folder
    return f"{len(tool.read_study('mine')[1])} runs would start"


def whole_table(folder: Path) -> Path:
    """The study above, run, with its table in a folder of its own."""
    plan("about: x", "about: y", folder)
    tool.ROOT = folder
    tool.work("mine", "runs")
    return folder / "runs" / "mine.csv"


def spoilt(change: object, folder: Path) -> str:
    file = whole_table(folder)
    text = change(file.read_text(encoding="utf-8"))
    assert text != file.read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    (folder / "mine.yaml").write_text(FILE.replace(SEEDS, "seeds: [1, 2, 3]"), encoding="utf-8")
    try:
        tool.work("mine", "runs")
    finally:
        assert file.read_text(encoding="utf-8") == text, "a table that was refused was changed"
    return "went on as if nothing were wrong"


def another_study(folder: Path) -> str:
    """A study whose file was edited after its first rows."""
    whole_table(folder)
    changed = FILE.replace(EPOCHS, "epochs: 3").replace(SEEDS, "seeds: [3]")
    (folder / "mine.yaml").write_text(changed, encoding="utf-8")
    tool.work("mine", "runs")
    return "rows of two settings in one table"


def live(name: str, value: object, folder: Path) -> str:
    common = live_parameters(LIVE | {name: value})
    return f"{len(common)} parameters for every live run"


def too_few_images(folder: Path) -> str:
    common = live_parameters(LIVE | {"live_images": 10**6})
    rows.try_out(load_dataset("mnist_sample"), common, norm=["batch"])
    return "trained on a million of 4,000 images"


def no_control(folder: Path) -> str:
    table = rows.load_table("batch")
    return f"{len(effects.against(table, 'test_accuracy', 'norm', 'instance'))} differences"


def killed(folder: Path) -> str:
    """A worker killed in the middle; another goes on. Every row is there, none is twice."""
    lab = ROOT / "studies" / "laboratory"
    runs = ROOT / "runs" / f"fault_{folder.name}"
    command = [sys.executable, str(ROOT / "tools" / "laboratory.py"), "trial_lab", "--folder",
               runs.relative_to(ROOT).as_posix()]
    assert (lab / "trial_lab.yaml").is_file()
    try:
        worker = subprocess.Popen(command, cwd=ROOT)  # says a line for each row
        table = runs / "trial_lab.csv"
        deadline = time.monotonic() + 120
        while not table.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        before = rows.read_table(table)[1]
        subprocess.run(command, cwd=ROOT, check=True)
        head, there = rows.read_table(table)
        assert len(there) == head["runs"], f"{len(there)} of {head['runs']} rows"
        assert not there.duplicated([*head["factors"], "seed"]).any(), "a row is there twice"
        kept = there.merge(before, on=list(before.columns))
        assert len(kept) == len(before), "a finished row was made again"
        return f"{len(before)} rows kept, {len(there) - len(before)} added"
    finally:
        shutil.rmtree(runs, ignore_errors=True)


def disk_full(folder: Path) -> str:
    """No room for the next row: the table stays as it was."""
    file = whole_table(folder)
    text, replace_file = file.read_text(encoding="utf-8"), files.replace_file

    def full(path: Path, write: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    (folder / "mine.yaml").write_text(FILE.replace(SEEDS, "seeds: [1, 2, 3]"), encoding="utf-8")
    files.replace_file = full
    try:
        tool.work("mine", "runs")
    finally:
        files.replace_file = replace_file
        assert file.read_text(encoding="utf-8") == text, "the table was changed"
    return "a full disk was not noticed"


def misspelt(folder: Path) -> str:
    rows.load_table("rate")
    return "a table of no study"


def laboratory_cases() -> list[Case]:
    group = "Laboratory studies"
    return [
        *[Case(group, what, functools.partial(plan, old, new), tuple(words))
          for what, old, new, *words in CHANGES],
        *[Case(group, f"a table {what}", functools.partial(spoilt, change), words)
          for what, change, words in TABLES],
        Case(group, "a file that was edited after its first rows", another_study, ("epochs", "3")),
        *[Case(group, f"live runs with {name} = {value!r}", functools.partial(live, name, value),
               (name,)) for name, value in LIVE_VALUES],
        Case(group, "a million live images of 4,000", too_few_images, ("1000000", "4000")),
        Case(group, "a table that is not there", misspelt, ("rate", "make study")),
        Case(group, "a control without runs", no_control, ("instance", "There are")),
        Case(group, "a worker killed, another goes on", killed),
        Case(group, "no room for a row", disk_full, ("No space left",)),
        Case(group, "a study of that name in neither folder", lambda folder: str(
            tool.is_laboratory("rate")), ("rate", "Did you mean 'rates'")),
    ]
