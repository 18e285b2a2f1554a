"""Bad study files, records and command lines, as cases of tools/faults.py."""

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import bench
import course
import numpy as np
import publish
import report
import study
from fault_inputs import Case, run_notebook, said_by

from coursepack.files import ROOT
from coursepack.runs import records

# ------------------------------------------------------------------------------- study files
STUDY = """\
about: x
common: {epochs: 2, arch: mnist_8k, dataset: mnist}
recipes:
  gn: {notebook: 02_group_norm_l1}
  ln: {notebook: 03_layer_norm_l2}
seeds: [1, 2]
"""
COMMON, GN, SEEDS = "epochs: 2", "gn: {notebook: 02_group_norm_l1}", "seeds: [1, 2]"
TAIL = STUDY[STUDY.index("  gn"):]
STUDIES = [  # what is wrong, what stands there, what is put there, and words of the message
    ("nothing in it", STUDY, "", "mine"),
    ("a list in place of keys", STUDY, "- 1\n- 2\n", "mine"),
    ("a sentence in place of keys", STUDY, "ten seeds, please\n", "mine"),
    ("a bracket that is not closed", "seeds: [1, 2]", "seeds: [1, 2", "mine"),
    ("a tab", "  gn:", "\tgn:", "mine"),
    ("a tag that would run code", "about: x", "about: !!python/object/apply:os.getcwd []", "mine"),
    ("a key twice", SEEDS, "seeds: [1, 2]\nseeds: [3]", "seeds"),
    ("a parameter twice", COMMON, "epochs: 2, epochs: 3", "epochs"),
    ("a recipe twice", "  ln:", "  gn: {notebook: 01_batch_norm_l1_l2}\n  ln:", "gn"),
    ("a key that is misspelt", "recipes:", "recipe:", "Did you mean 'recipes'"),
    ("no seeds", SEEDS, "", "seeds"), ("an empty list of seeds", SEEDS, "seeds: []", "seeds"),
    ("one seed that is no list", SEEDS, "seeds: 3", "seeds"),
    ("a seed of 0.5", SEEDS, "seeds: [0.5]", "seeds"),
    ("a seed that is a word", SEEDS, "seeds: ['1']", "seeds"),
    ("a seed that is true", SEEDS, "seeds: [true]", "seeds"),
    ("a seed of -1", SEEDS, "seeds: [-1]", "seed", "-1"),
    ("a seed of 10**12", SEEDS, "seeds: [1000000000000]", "seed"),
    ("a seed twice", SEEDS, "seeds: [1, 1]", "seed"),
    ("no recipes", STUDY[STUDY.index("recipes"):STUDY.index("seeds")], "", "recipes"),
    ("recipes in a list", "  gn: {notebook: 02_group_norm_l1}\n  ln: {notebook: 03_layer_norm_l2}",
     "  - 02_group_norm_l1", "recipes"),
    ("a recipe without anything", GN, "gn:", "gn"),
    ("a recipe that is a notebook's name", GN, "gn: 02_group_norm_l1", "gn"),
    ("a recipe without its notebook", GN, "gn: {l1: 0.0}", "notebook"),
    ("a notebook that is misspelt", GN, "gn: {notebook: 02_group_norm}", "Did you mean"),
    ("the summary as a notebook", GN, "gn: {notebook: 04_summary}", "notebook"),
    ("a recipe's name with a slash", "  gn:", "  a/b:", "a/b"),
    ("a recipe's name with a space", "  gn:", "  my recipe:", "my recipe"),
    ("a recipe's name of 300 letters", "  gn:", f"  {'x' * 300}:", "xxx"),
    ("a recipe's name that is a number", "  gn:", "  7:", "7"),
    ("two recipes that are equal", GN, "gn: {notebook: 03_layer_norm_l2}", "gn", "ln"),
    ("two that are equal but for BN and batch", GN, "a: {notebook: 01_batch_norm_l1_l2}\n"
     "  b: {notebook: 01_batch_norm_l1_l2, norm: BN}", "a", "b"),
    ("two that are equal by a default", GN, "gn: {notebook: 03_layer_norm_l2, momentum: 0.9}",
     "gn", "ln"),
    ("a parameter that is misspelt", COMMON, "epoch: 2", "Did you mean 'epochs'"),
    ("the seed among the parameters", COMMON, "epochs: 2, seed: 3", "seed"),
    ("a run name among the parameters", COMMON, "epochs: 2, run_name: x", "run_name"),
    ("parameters in a list", "common: {epochs: 2, arch: mnist_8k, dataset: mnist}",
     "common: [epochs]", "common"),
    ("a learning rate 1e-4, a word in YAML", COMMON, "epochs: 2, lr: 1e-4", "lr", "1e-4"),
    ("a learning rate of 0", COMMON, "epochs: 2, lr: 0", "lr"),
    ("two and a half epochs", COMMON, "epochs: 2.5", "epochs"),
    ("three groups", GN, "gn: {notebook: 02_group_norm_l1, groups: 3}", "groups"),
    ("an unknown norm", GN, "gn: {notebook: 02_group_norm_l1, norm: gruop}", "norm"),
    ("an unknown augmentation", COMMON, "epochs: 2, augment: rotat", "augment"),
    ("an unknown data set", "dataset: mnist", "dataset: mnits", "dataset"),
    ("a dropout of 2", COMMON, "epochs: 2, dropout: 2", "dropout"),
    ("the device mps", COMMON, "epochs: 2, device: mps", "device"),
    ("a skip of yes please", COMMON, "epochs: 2, skip: yes please", "skip"),
    ("recipes of different learning rates", GN, "gn: {notebook: 02_group_norm_l1, lr: 0.3}",
     "lr", "common"),
    ("a grid that is no list", SEEDS, "seeds: [1]\ngrid: {dropout: 0.1}", "dropout", "list"),
    ("a grid with an empty list", SEEDS, "seeds: [1]\ngrid: {dropout: []}", "dropout", "list"),
    ("a grid in a list", SEEDS, "seeds: [1]\ngrid: [dropout]", "grid"),
    ("a grid over what a recipe sets", TAIL, "  gn: {notebook: 02_group_norm_l1, dropout: 0.2}\n"
     "seeds: [1]\ngrid: {dropout: [0.0, 0.1]}", "dropout"),
    ("a grid over what is common", SEEDS, "seeds: [1]\ngrid: {arch: [mnist_8k]}", "arch"),
    ("a grid with a value twice", SEEDS, "seeds: [1]\ngrid: {dropout: [0.1, 0.1]}", "dropout"),
    ("a grid with a list as a value", SEEDS, "seeds: [1]\ngrid: {dropout: [[0.1]]}", "dropout"),
    ("to_reach of an unknown recipe", SEEDS, "seeds: [1]\nto_reach: {bn: 99.0}", "to_reach"),
    ("to_reach that is a word", SEEDS, "seeds: [1]\nto_reach: {gn: much}", "to_reach"),
]


def read_study(old: str, new: str, folder: Path) -> str:
    """What make study does before the first run of the study above, with one change."""
    assert old in STUDY
    return start_study(lambda file: file.write_bytes(STUDY.replace(old, new).encode()), folder)


def start_study(make: Callable[[Path], object], folder: Path, name: str = "mine") -> str:
    make(folder / "mine.yaml")
    study.STUDIES = folder
    runs = study.read_study(name, str(folder / "runs"))
    study.check_runs(name, runs)
    return f"{len(runs)} runs would start"


def sample_for_the_data(folder: Path) -> str:
    """A record of the sample where the study's data is there: it is not finished."""
    (folder / "mine.yaml").write_text(STUDY, encoding="utf-8")
    study.STUDIES = folder
    run = study.read_study("mine", str(folder / "runs"))[0]
    write_run(folder / "runs", run.name, **study.all_parameters(run), source="sample")
    assert not study.finished(run), "a run on the sample counts as one of the full data"
    return "the run is still to do"


def edited_study(folder: Path) -> str:
    """A study whose file was edited after its records were kept."""
    study.STUDIES = report.STUDIES = folder
    report.ROOT = folder
    (folder / "mine.yaml").write_text(STUDY, encoding="utf-8")
    for run in study.read_study("mine", str(folder / "runs")):
        write_run(folder / "runs", run.name, **study.all_parameters(run))
        kept = folder / "results" / "mine" / f"{run.name}.json"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes((folder / "runs" / run.name / "record.json").read_bytes())
    (folder / "mine.yaml").write_text(STUDY.replace(COMMON, "epochs: 2, l2: 0.5"), encoding="utf-8")
    return f"{len(report.load_study('mine'))} records under parameters that they were not made with"


def study_cases() -> list[Case]:
    group = "Study files"
    return [
        *[Case(group, what, functools.partial(read_study, old, new), tuple(words))
          for what, old, new, *words in STUDIES],
        Case(group, "a study that is not there", functools.partial(
            start_study, lambda file: file.write_bytes(STUDY.encode()), name="mein"),
            ("mein", "Did you mean 'mine'")),
        Case(group, "a file of another folder", functools.partial(
            start_study, lambda file: file.write_bytes(STUDY.encode()), name="../mine"),
             ("../mine",)),
        Case(group, "a folder in its place", functools.partial(start_study, Path.mkdir),
             ("mine",)),
        Case(group, "letters that are not UTF-8", functools.partial(
            start_study, lambda file: file.write_bytes(b"about: \xff\n")), ("mine",)),
        Case(group, "a record of the sample for a study of all data", sample_for_the_data),
        Case(group, "a file that was edited after its records were kept", edited_study, ("l2",)),
    ]


# ------------------------------------------------------------------- records and notebook 04
def write_run(folder: Path, name: str, wrong: object = range(40, 100), source: str = "npz",
              **parameters: object) -> Path:
    """A finished run that is whole: a published record with some changes, and its mistakes.

    wrong: which of 10,000 test images; the true class of image i is the last digit of i.
    """
    record = json.loads((ROOT / "results" / "mnist_7k" / "bn_l1_l2.json").read_bytes())
    record["parameters"] |= {"run_name": name} | parameters
    record["data"] |= {"source": source, "name": record["parameters"]["dataset"]}
    index = np.array(sorted(wrong), dtype=int)
    record["epochs"] = record["epochs"][-record["parameters"]["epochs"]:]
    size = record["data"]["test_size"]
    right = record["epochs"][-1]["test_accuracy"] = 1 - len(index) / size
    record["misclassified"] = index.tolist()
    record["calibration"] = [{"above": 0.5, "images": size, "confidence": 0.9, "accuracy": right}]
    place = folder / name
    place.mkdir(parents=True)
    (place / "record.json").write_text(json.dumps(record), encoding="utf-8")
    sure = np.linspace(0.9, 0.6, len(index)).astype(np.float32)
    np.savez(place / records.MISTAKES, index=index, label=index % 10, prediction=(index + 1) % 10,
             image=np.zeros((len(index), 1, 28, 28), np.uint8), probability=sure,
             label_probability=1 - sure)
    return place


def two_runs(folder: Path) -> None:
    write_run(folder, "a")
    write_run(folder, "b", range(50, 120), norm="layer", l1=0.0)


def edit(folder: Path, path: str, value: object) -> None:
    """Change a value of run a's record, such as epochs.-1.loss; ... takes it out."""
    file = folder / "a" / "record.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    *way, last = [int(key) if key.lstrip("-").isdigit() else key for key in path.split(".")]
    place = functools.reduce(lambda part, key: part[key], way, record)
    if value is ...:
        del place[last]
    else:
        place[last] = value
    file.write_text(json.dumps(record), encoding="utf-8")


def summary(folder: Path, runs: object = "a, b", **parameters: object) -> str:
    """Notebook 04, as somebody runs it. Returns all that it printed and its table."""
    own = {"runs": runs, "runs_dir": str(folder), "images_dir": str(folder / "images"), "shown": 2}
    return said_by(run_notebook, "04", **own | parameters)


def summarized(prepare: Callable[[Path], object], folder: Path, has: tuple[str, ...] = (),
               lacks: tuple[str, ...] = (), **parameters: object) -> str:
    """Notebook 04 of runs that prepare() writes, and what it has to say, or must not."""
    prepare(folder)
    said = summary(folder, **parameters)
    for text in has:
        assert text in said, f"it does not say {text!r}"
    for text in lacks:
        assert text not in said, f"it says {text!r}"
    return "a summary with all tables and graphs"


def wrong_value(path: str, value: object, folder: Path) -> str:
    return summarized(lambda place: (two_runs(place), edit(place, path, value)), folder)


def wrong_file(name: str, change: Callable[[Path], object], folder: Path) -> str:
    def prepare(place: Path) -> None:
        two_runs(place)
        change(place / "a" / name)
    return summarized(prepare, folder)


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def mistakes(**changes: object) -> Callable[[Path], None]:
    """Changes arrays of a misclassified.npz; None leaves one out."""
    def change(file: Path) -> None:
        arrays = dict(np.load(file)) | changes
        np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    return change


VALUES = [  # of a record: where, and what stands there; ... is nothing
    ("schema", ...), ("schema", 2), ("schema", "one"), ("parameters", ...), ("parameters", [1]),
    ("parameters.norm", "gruop"), ("parameters.norm", 7), ("parameters.l1", "much"),
    ("parameters.seed", "one"), ("parameters.seed", None), ("parameters.groups", "two"),
    ("parameters.epochs", 7), ("parameters.run_name", None), ("parameter_count", "many"),
    ("parameter_count", ...), ("epochs", []), ("epochs", {}), ("epochs", "twenty"),
    ("epochs.-1.test_accuracy", "high"), ("epochs.-1.test_accuracy", None),
    ("epochs.-1.test_accuracy", 7.5), ("epochs.-1.test_accuracy", float("nan")),
    ("epochs.3.loss", ...), ("epochs.3.loss", "low"), ("epochs.3.loss", float("inf")),
    ("epochs.3.loss", -1.0), ("epochs.3", 5), ("near_zero", "half"), ("near_zero", 1e300),
    ("calibration", []), ("calibration", "good"), ("calibration.0.images", 10**6),
    ("calibration.0.accuracy", 1.5), ("calibration.-1.confidence", ...),
    ("misclassified", None), ("misclassified", ["one"]), ("misclassified", [10**9]),
    ("data", ...), ("data.test_size", 0), ("data.test_size", "all"), ("data.test_size", -10_000),
    ("data.test_size", 10**12), ("data.classes", ...), ("data.classes", ["0"]),
    ("data.classes", 10), ("data.source", ...), ("data.train_size", "all"), ("seconds", "long"),
    ("seconds", ...), ("environment", ...), ("environment", "a laptop"),
]
RECORDS = {  # what stands in place of a record
    "nothing": lambda file: file.write_bytes(b""),
    "its first half": lambda file: file.write_bytes(file.read_bytes()[:900]),
    "a list": lambda file: file.write_text("[]", encoding="utf-8"),
    "a number": lambda file: file.write_text("7", encoding="utf-8"),
    "bytes that are no text": lambda file: file.write_bytes(b"\x00\xff\xfe"),
    "a folder": replace_by_folder,
    "brackets 100,000 deep": lambda file: file.write_text("[" * 100_000, encoding="utf-8"),
}
MISTAKES = {  # what stands in place of a run's misclassified images
    "nothing": lambda file: file.write_bytes(b""),
    "its first half": lambda file: file.write_bytes(file.read_bytes()[:900]),
    "no file": Path.unlink,
    "a folder": replace_by_folder,
    "those of another run with as many": mistakes(index=np.arange(140, 200)),
    "images without their index": mistakes(index=None),
    "one array more": mistakes(more=np.arange(3)),
    "images of two dimensions": mistakes(image=np.zeros((60, 784), np.uint8)),
    "fewer labels than images": mistakes(label=np.arange(3)),
    "labels beyond the classes": mistakes(label=np.full(60, 99)),
    "predictions of 2**40": mistakes(prediction=np.full(60, 2**40)),
    "labels that are words": mistakes(label=np.array(["one"] * 60)),
    "probabilities that are no numbers": mistakes(probability=np.full(60, np.nan)),
    "objects": mistakes(label=np.array([None] * 60)),
}


def seeds(*numbers: int, name: str = "s", size: int = 60, **parameters: object) -> Callable:
    """Writes a run of each seed; that of seed n has size + n mistakes."""
    def write(folder: Path) -> None:
        for seed in numbers:
            write_run(folder, f"{name}{seed}", range(10 * seed, 10 * seed + size + seed),
                      seed=seed, **parameters)
    return write


def several(*writers: Callable) -> Callable:
    return lambda folder: [write(folder) for write in writers]


def runs(*arguments: dict) -> Callable:
    """Writes runs a, b, c ... with these parameters."""
    return lambda folder: [write_run(folder, name, **own) for name, own in zip("abc", arguments)]


def fallback(folder: Path, prepare: Callable[[Path], object], published: bool) -> str:
    """Notebook 04 with its defaults, in a course of its own: does it take the published runs?"""
    (folder / "results").symlink_to(ROOT / "results")
    prepare(folder / "runs")
    said = said_by(run_notebook, "04", until="records", course=folder,
                   images_dir=str(folder / "images"))
    assert ("published" in said) == published, "it takes other runs than it should"
    return "the published runs, as it says" if published else "the runs that are there"


def hint(folder: Path) -> str:
    """An unknown run name: the message must not send everybody to notebook 01."""
    write_run(folder, "a")
    try:
        return summary(folder, "a, mine")
    except FileNotFoundError as error:
        if "01_batch" in str(error) and "02_group" not in str(error):
            raise AssertionError(f"it sends everybody to notebook 01: {error}") from None
        raise


def layer(**more: object) -> dict:
    return {"norm": "layer", "l1": 0.0, "wrong": range(50, 120)} | more


def summary_cases() -> list[Case]:
    group, here = "Records and notebook 04", functools.partial
    unlike = [  # what two runs differ in, and the word for it
        ("5 and 20 epochs under one title", {"epochs": 5}, "epochs"),
        ("mnist and fashion_mnist under one title", {"dataset": "fashion_mnist"}, "dataset"),
        ("two learning rates under one title", {"lr": 0.3}, "lr"),
        ("the sample beside all of MNIST", layer(source="sample"), "sample"),
        ("two networks", layer(arch="mnist_10k"), "arch"),
        ("a held-out part beside the test set", layer(holdout=10_000), "holdout"),
    ]
    well = [  # what runs there are, which of them are compared, and what must and must not be said
        ("an npz beside torchvision's files", runs({}, layer(source="torchvision")),
         "a, b", (), ()),
        ("BN, bn and batch as three seeds", runs(
            {"norm": "BN", "seed": 1}, {"norm": "bn", "seed": 2}, {"norm": "batch", "seed": 3}),
            "a, b, c", ("1 2 3",), ("norm bn",)),
        ("two seeds with equal differences", several(
            seeds(1, 2), seeds(1, 2, name="t", size=63, norm="layer", l1=0.0)),
            "s1, s2, t1, t2", (), (" ends higher", " ends lower", "0.03 to 0.03")),
        ("three seeds with equal differences", several(
            seeds(1, 2, 3), seeds(1, 2, 3, name="t", size=63, norm="layer", l1=0.0)),
            "s1, s2, s3, t1, t2, t3", (), ("0.03 to 0.03", "no difference larger")),
        ("five seeds of one recipe alone", seeds(1, 2, 3, 4, 5), "s1, s2, s3, s4, s5", (), ()),
        ("one run alone", runs({}), "a", (), ()),
        ("no mistakes at all", runs({"wrong": ()}, {"wrong": (), "norm": "layer"}), "a, b", (), ()),
        ("no mistakes of one of them", runs({"wrong": ()}, layer()), "a, b", (), ()),
        ("a single mistake", runs({"wrong": [7]}, layer(wrong=[8])), "a, b", (), ()),
        ("no image that all get wrong", runs({"wrong": [1]}, layer(wrong=[2])), "a, b", (), ()),
        ("every image wrong", runs({"wrong": range(10_000)}, layer()), "a, b", (), ()),
        ("no seed in common", several(seeds(1, 2), seeds(3, 4, name="t", norm="layer")),
         "s1, s2, t3, t4", (), ()),
        ("a recipe of one seed beside one of three", several(
            seeds(1, 2, 3), seeds(1, name="t", norm="layer")), "s1, s2, s3, t1", (), ()),
    ]
    words = [  # parameters of the notebook, and what has to be said
        ({"runs": ""}, "runs"), ({"runs": "a,"}, "runs"), ({"runs": ",a"}, "runs"),
        ({"runs": "a,,b"}, "runs"), ({"runs": "a, a"}, "a"), ({"runs": 5}, "runs"),
        ({"runs": "a, ../a"}, "../a"), ({"runs": "a, c"}, "c"), ({"runs": "a;b"}, "a;b"),
        ({"runs": "a, x\0y"}, "runs"), ({"runs": f"a, {'x' * 300}"}, "xxx"),
        ({"runs_dir": "/nowhere/at/all"}, "/nowhere/at/all"),
        ({"runs_dir": str(ROOT / "README.md")}, "README.md"), ({"runs_dir": "a\0b"}, "NUL"),
        ({"runs_dir": "~nobody_of_this_name/runs"}, "~nobody"), ({"runs_dir": 7}, "runs_dir"),
        ({"images_dir": str(ROOT / "README.md")}, "README.md"), ({"images_dir": "a\0b"}, "NUL"),
        ({"images_dir": "x" * 300}, "images_dir"),
        ({"shown": 0}, "shown"), ({"shown": -1}, "shown"), ({"shown": 2.5}, "shown"),
        ({"shown": "many"}, "shown"), ({"shown": 10**9}, "shown"), ({"columns": 0}, "columns"),
        ({"columns": 2.5}, "columns"), ({"columns": 10_000}, "columns"), ({"run": "a"}, "run"),
    ]
    return [
        *[Case(group, f"{what}, compared", here(summarized, runs({}, change)), (word,))
          for what, change, word in unlike],
        *[Case(group, f"{what}", here(summarized, write, runs=names, has=has, lacks=lacks))
          for what, write, names, has, lacks in well],
        *[Case(group, ", ".join(f"{k} = {shorten(v)}" for k, v in own.items()),
               here(summarized, two_runs, **own), (word,)) for own, word in words],
        *[Case(group, f"a record without {path}" if value is ... else
               f"a record whose {path} is {value!r}", here(wrong_value, path, value), ("/a",))
          for path, value in VALUES],
        *[Case(group, f"{what} in place of a record", here(wrong_file, "record.json", change),
               ("record.json",)) for what, change in RECORDS.items()],
        *[Case(group, f"{what} in place of the misclassified images", here(
            wrong_file, records.MISTAKES, change), (records.MISTAKES,))
          for what, change in MISTAKES.items()],
        Case(group, "two runs of one recipe and one seed", here(summarized, runs({}, {})),
             ("seed",)),
        Case(group, "histories of unequal length", here(
            wrong_value, "epochs",
            json.loads((ROOT / "results/mnist_7k/bn_l1_l2.json").read_bytes())["epochs"][-3:]),
             ("epochs",)),
        Case(group, "classes of another data set", here(
            wrong_value, "data.classes", list("abcdefghij")), ("classes",)),
        Case(group, "a run name that is not there", hint, ("mine",)),
        Case(group, "no run of one's own", here(
            fallback, prepare=lambda folder: None, published=True)),
        Case(group, "an empty folder as notebook 01 once left", here(
            fallback, prepare=lambda folder: (folder / "bn_l1_l2").mkdir(parents=True),
            published=True)),
        Case(group, "runs of one's own of other names", here(
            fallback, prepare=lambda folder: write_run(folder, "mine"), published=False),
            ("bn_l1_l2",)),
    ]


def shorten(value: object) -> str:
    text = repr(value).replace(str(ROOT), "...")
    return text if len(text) < 60 else f"a name of {len(str(value))} letters"


# ----------------------------------------------------------- other notebooks and command lines
MAKE = ("make", "--no-print-directory", "--old-file", ".venv/bin/ready")  # installs nothing


def command(*words: str) -> Callable[[Path], str]:
    """A command of a terminal, in the course's folder; {folder} is one of its own."""
    def do(folder: Path) -> str:
        os.chdir(ROOT)
        line = [word.replace("{folder}", str(folder)) for word in words]
        return os.execvp(line[0], line)
    return do


def papermill(number: str, *parameters: str) -> Callable[[Path], str]:
    [notebook] = (ROOT / "notebooks").glob(f"{number}*.ipynb")
    return command(sys.executable, "-m", "papermill", "--no-progress-bar", str(notebook),
                   "{folder}/out.ipynb", "-p", "runs_dir", "{folder}", *parameters)


def call_tool(tool: ModuleType, words: str, folder: Path) -> str:
    """A file of tools/, called with these words; course.py runs no notebook then."""
    course.make_course = course.make_saved = course.make_golden = lambda *arguments, **more: None
    sys.argv = [f"{tool.__name__}.py", *words.split()]
    tool.main()
    return "it is done"


def by_hand(folder: Path, **parameters: object) -> str:
    run_notebook("00", **parameters)
    return "all cells"


def inside_limits(new: str, saved: str, folder: Path) -> str:
    """The comparison of saved outputs: it must not take one number for the other."""
    sys.path.insert(0, str(ROOT / "tests"))
    from tolerance import agrees
    assert not agrees(new, saved, rel=0.5), f"{new!r} agrees with {saved!r}"
    return "they differ, as the test says"


def other_cases() -> list[Case]:
    group, here = "Other notebooks and commands", functools.partial
    hands = [({"images": 8, "channels": 8, "size": 8, "groups": 8}, "channels"),
             ({"images": 1}, "images"), ({"images": 2.5}, "images"), ({"size": "two"}, "size"),
             ({"channels": 10**6}, "channels"), ({"groups": 3}, "groups"),
             ({"groups": 0}, "groups"),
             ({"eps": 0.0}, "eps"), ({"eps": float("nan")}, "eps"), ({"seed": "one"}, "seed"),
             ({"seed": 2**70}, "seed"), ({"image": 3}, "image")]
    courses = [("-p run_name mine", "run_name"), ("-p runs_dir elsewhere", "runs_dir"),
               ("--epochs many", "many"), ("--notebook 07", "07"), ("-p lr", "2 arguments"),
               ("silver", "silver"), ("saved -p lr 0.1", "saved"), ("golden --epochs 3", "golden")]
    return [
        *[Case(group, "notebook 00 with " + ", ".join(f"{k} = {v!r}" for k, v in own.items()),
               here(by_hand, **own), (word,)) for own, word in hands],
        *[Case(group, f"course.py {words}", here(call_tool, course, words), (word,))
          for words, word in courses],
        Case(group, "papermill with a parameter that is misspelt",
             papermill("01", "-p", "epoch", "5"), ("Did you mean 'epochs'",)),
        Case(group, "papermill with a norm that is misspelt",
             papermill("02", "-p", "norm", "gruop"), ("Did you mean 'group'",)),
        Case(group, "papermill with a word for the epochs", papermill("03", "-p", "epochs", "many"),
             ("epochs", "'many'")),
        Case(group, "papermill with a run that is not there", papermill("04", "-p", "runs", "mine"),
             ("mine",)),
        Case(group, "make study STUDY=sed000", command(*MAKE, "study", "STUDY=sed000"),
             ("Did you mean 'seed000'",)),
        Case(group, "make study without a name", command(*MAKE, "study"), ("study",)),
        Case(group, "make report STUDY=sed000", here(call_tool, report, "sed000"),
             ("Did you mean 'seed000'",)),
        Case(group, "make publish without a repository", here(call_tool, publish, ""),
             ("REPO=owner/name",)),
        Case(group, 'make bench BENCH="--parts sped"', here(call_tool, bench, "--parts sped"),
             ("sped",)),
        Case(group, "nbval: a saved inf beside a number",
             here(inside_limits, "loss 0.1", "loss inf")),
        Case(group, "nbval: a nan in place of a saved number",
             here(inside_limits, "loss nan", "loss 0.1")),
        Case(group, "nbval: 50 % in place of a saved 99.49 %", here(
            inside_limits, "final test accuracy: 50.00%", "final test accuracy: 99.49%")),
    ]
