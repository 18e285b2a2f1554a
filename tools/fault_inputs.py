"""Bad inputs: parameters of a recipe and data files, as cases of tools/faults.py.

A case is what somebody did, a function that does it in an empty folder of its own, and words that
its refusal has to say; without words it has to work, and the function checks that and says so.

Called with a folder and parameters as JSON, it is the process of a user who trains:
    fault_inputs.py folder '{"epochs": 6}'
"""

import contextlib
import functools
import io
import json
import linecache
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from coursepack import files
from coursepack.data import datasets
from coursepack.files import ROOT
from coursepack.runs import records
from coursepack.train import loop
from coursepack.train.recipe import Recipe


class Case(NamedTuple):
    group: str
    what: str  # that somebody did
    do: Callable[[Path], str]
    says: tuple[str, ...] = ()  # words of the refusal; none: it has to work


# ------------------------------------------------------------------------------ what is done
SMALL = {"dataset": "mnist", "train_size": 200, "epochs": 2, "batch_size": 64, "device": "cpu",
         "augment": "none", "arch": "mnist_8k"}


def train(folder: Path, **parameters: object) -> dict:
    """What a recipe notebook does, from its parameters to its record."""
    recipe = Recipe(**SMALL | {"runs_dir": str(folder / "runs")} | parameters)
    images = datasets.load_dataset(recipe.dataset, recipe.data_dir, recipe.train_size,
                                   recipe.holdout)
    net = loop.build_model(recipe, images)
    return records.save_run(net, images, recipe, loop.train(net, images, recipe))


def trained(folder: Path, **parameters: object) -> str:
    record = train(folder, **parameters)
    return f"a finished run of {len(record['epochs'])} epochs on the {record['data']['source']}"


def code_cells(name: str) -> dict[str, str]:
    [file] = (ROOT / "notebooks").glob(f"{name}*.ipynb")
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"}


def run_notebook(number: str, until: str = "", course: Path = ROOT, **parameters: object) -> dict:
    """Run the code cells of a notebook as papermill does with these parameters; its variables.

    until: stop after this cell. course: where it takes the course to lie, for runs and results.
    """
    os.chdir(ROOT)
    injected = "\n".join(["# Parameters", *(f"{k} = {v!r}" for k, v in parameters.items())])
    space = {"In": [injected], "__name__": "__main__"}
    for cell, source in code_cells(number).items():
        where = str(ROOT / "notebooks" / f"{number}, cell {cell}")
        linecache.cache[where] = (len(source), None, source.splitlines(keepends=True), where)
        exec(compile(source, where, "exec"), space)
        if cell == "parameters":
            space |= parameters
        if cell == "setup":
            space["ROOT"] = files.ROOT = course
        if cell == until:
            break
    return space


def said_by(do: Callable[..., object], *arguments: object, **options: object) -> str:
    """What it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        do(*arguments, **options)
    print(said.getvalue())
    return said.getvalue()


# ---------------------------------------------------------------------- parameters of a recipe
LONG = "x" * 300
PARAMETERS = [  # name, value, and what the message has to say besides the name
    ("dataset", "mnst", "Did you mean 'mnist'"), ("dataset", "MNIST", "mnist"),
    ("dataset", "", "Choose"), ("dataset", "?", "kmnist"), ("dataset", 5, "text"),
    ("dataset", None, "text"), ("dataset", "../mnist", "Choose"),
    ("data_dir", 5, "text"), ("data_dir", "/nowhere/at/all", "/nowhere/at/all"),
    ("data_dir", "a\0b", "NUL"), ("data_dir", "~nobody_of_this_name/data", "~nobody"),
    ("data_dir", LONG, "xxx"), ("data_dir", str(ROOT / "README.md"), "README.md"),
    ("train_size", -1, "-1"), ("train_size", 0.5, "0.5"), ("train_size", "many", "'many'"),
    ("train_size", True, "True"), ("train_size", 10**9, "1000000000"),
    ("holdout", -1, "-1"), ("holdout", 2.5, "2.5"), ("holdout", 10**9, "1000000000"),
    ("holdout", 4000, "4000"),
    ("augment", "rotat", "rotat"), ("augment", "rotate,shift", "rotate"), ("augment", "", "none"),
    ("augment", "rotate+", "joined by +"), ("augment", "none+flip", "none"),
    ("augment", 7, "text"),
    ("arch", "mnist7k", "Did you mean"), ("arch", "", "Choose"), ("arch", None, "text"),
    ("arch", "cifar_best", "3 x 32 x 32"),
    ("norm", "btach", "Did you mean 'batch'"), ("norm", "", "Choose"), ("norm", 2, "text"),
    ("norm", None, "-r norm"),
    ("layer_affine", "chanel", "Did you mean 'channel'"), ("layer_affine", "", "Choose"),
    ("dropout", -0.1, "-0.1"), ("dropout", 1.0, "1.0"), ("dropout", 1, "1.0"),
    ("dropout", "no", "'no'"), ("dropout", float("nan"), "nan"), ("dropout", float("inf"), "inf"),
    ("order", "act", "Choose"), ("order", "norm-act-drop-norm", "Choose"), ("order", False, "text"),
    ("skip", "yes", "'yes'"), ("skip", 1, "True or False"), ("skip", None, "True or False"),
    ("l1", -1e-5, "-1e-05"), ("l1", float("nan"), "nan"), ("l1", float("inf"), "inf"),
    ("l1", "1-5", "'1-5'"), ("l2", -1, "-1"), ("l2", float("nan"), "nan"), ("l2", True, "number"),
    ("penalize", "weight", "Did you mean 'weights'"), ("penalize", "", "Choose"),
    ("epochs", 0, "0"), ("epochs", -3, "-3"), ("epochs", 2.5, "2.5"), ("epochs", "20.5", "'20.5'"),
    ("epochs", True, "whole number"),
    ("batch_size", 0, "0"), ("batch_size", -1, "-1"), ("batch_size", 32.5, "32.5"),
    ("lr", 0, "0"), ("lr", -0.1, "-0.1"), ("lr", float("nan"), "nan"), ("lr", float("inf"), "inf"),
    ("lr", "0,1", "'0,1'"), ("lr", 1e-400, "0.0"), ("lr", [0.1], "number"),
    ("momentum", 1.0, "1.0"), ("momentum", -0.1, "-0.1"), ("momentum", float("nan"), "nan"),
    ("momentum", "high", "'high'"),
    ("schedule", "cosine", "Choose"), ("schedule", "onecycle", "Did you mean 'one_cycle'"),
    ("seed", -1, "-1"), ("seed", 1.5, "1.5"), ("seed", 10**9, "1000000000"),
    ("seed", 2**64, str(2**64)), ("seed", "one", "'one'"),
    ("device", "gpu", "Choose"), ("device", "cuda:7", "Choose"), ("device", "mps", "Choose"),
    ("device", "", "Choose"), ("device", 0, "text"),
    ("run_name", "", "letters"), ("run_name", "..", "letters"), ("run_name", "../x", "letters"),
    ("run_name", "a b", "letters"), ("run_name", "a/b", "letters"),
    ("run_name", "run\n", "letters"), ("run_name", "-p", "letters"),
    ("run_name", "läuft", "letters"), ("run_name", 7, "-r run_name"),
    ("run_name", LONG, "100"), ("run_name", "x" * 101, "100"),
    ("runs_dir", "a\0b", "NUL"), ("runs_dir", "~nobody_of_this_name/runs", "~nobody"),
    ("runs_dir", LONG, "too long"), ("runs_dir", str(ROOT / "README.md"), "README.md"),
    ("runs_dir", "/dev/null", "/dev/null"), ("runs_dir", "/proc/runs", "/proc/runs"),
    ("runs_dir", None, "text"),
]
COMBINATIONS = [  # parameters that do not go together, or not with the data
    ({"norm": "group", "groups": 0}, "groups"), ({"norm": "group", "groups": -2}, "groups"),
    ({"norm": "group", "groups": 3}, "groups"), ({"norm": "group", "groups": 2.5}, "groups"),
    ({"norm": "group", "groups": 10**9}, "groups"), ({"norm": "group", "groups": "two"}, "groups"),
    ({"arch": "mnist_8k", "skip": True}, "skip"),
    ({"train_size": 4000, "holdout": 1}, "holdout"),
    ({"norm": "none", "lr": 1e9}, "lr"), ({"norm": "none", "lr": 30.0}, "diverged"),
    ({"norm": "none", "lr": 1e4, "momentum": 0.0, "epochs": 1}, "diverged"),
    ({"l1": 1e300}, "l1"), ({"l2": 1e30}, "l2"), ({"l2": 1e8, "lr": 1.0}, "l2"),
]
MISSPELT = ["epoch", "batchsize", "learning_rate", "L1", "Seed", "run", "rundir"]


def misspelt(name: str, folder: Path) -> str:
    run_notebook("01", until="train", **{name: 5, "runs_dir": str(folder)})
    return "a run with the default in its place"


def write_nothing(folder: Path) -> str:
    Recipe(runs_dir=str(folder / "runs"))
    assert not list(folder.iterdir()), "a recipe that was only put together wrote to the disk"
    return "nothing was written"


def one_name_for_three(folder: Path) -> str:
    for norm in ("batch", "group", "layer"):
        train(folder, norm=norm, run_name="mine")
    kept = [json.loads(file.read_bytes()) for file in folder.glob("runs/*/record.json")]
    norms = {record["parameters"]["norm"] for record in kept}
    assert len(norms) == 3, f"of three finished runs {len(norms)} are left"
    return "all three runs are there"


def parameter_cases() -> list[Case]:
    group, cases = "Parameters of a recipe", []
    for name, value, *words in PARAMETERS:
        shown = repr(value) if len(repr(value)) < 60 else f"a name of {len(value)} letters"
        do = functools.partial(trained, **{name: value})
        cases.append(Case(group, f"{name} = {shown}", do, (name, *words)))
    for values, word in COMBINATIONS:
        what = ", ".join(f"{name} = {value!r}" for name, value in values.items())
        cases.append(Case(group, what, functools.partial(trained, **values), (word,)))
    for name in MISSPELT:
        do = functools.partial(misspelt, name)
        cases.append(Case(group, f"a parameter {name} in notebook 01", do, (repr(name), "Choose")))
    return [*cases,
            Case(group, "more images a batch than there are",
                 functools.partial(trained, batch_size=10**9)),
            Case(group, "a recipe put together, and not run", write_nothing),
            Case(group, "one run name for three recipes", one_name_for_three)]


# -------------------------------------------------------------------------------- data files
def tiny(**changes: object) -> dict[str, np.ndarray]:
    """The arrays of a tiny data set like MNIST; None leaves one out."""
    draw = np.random.default_rng(0)
    whole = {"x_train": draw.integers(256, size=(30, 28, 28), dtype=np.uint8),
             "y_train": np.arange(30) % 10,
             "x_test": draw.integers(256, size=(20, 28, 28), dtype=np.uint8),
             "y_test": np.arange(20) % 10}
    return {name: array for name, array in (whole | changes).items() if array is not None}


def both(images: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """The same change to the images of both parts."""
    return {name: images(tiny()[name]) for name in ("x_train", "x_test")}


def labels(change: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    return {"y_train": change(tiny()["y_train"])}


def with_arrays(folder: Path, name: str = "mnist", options: dict | None = None,
                **changes: object) -> str:
    np.savez(folder / f"{name}.npz", **tiny(**changes))
    return trained(folder, dataset=name, data_dir=str(folder), train_size=0, **options or {})


def with_file(content: bytes | Callable[[Path], object], folder: Path, dataset: str = "mnist",
              name: str = "mnist.npz") -> str:
    """A file of the data folder by its content, or by what makes it."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    if callable(content):
        content(folder / name)
    else:
        (folder / name).write_bytes(content)
    return trained(folder, dataset=dataset, data_dir=str(folder), train_size=0)


def whole_file() -> bytes:
    file = io.BytesIO()
    np.savez(file, **tiny())
    return file.getvalue()


def claims(shape: tuple[int, ...]) -> Callable[[Path], None]:
    """Writes an archive whose first array claims this shape, and holds a few bytes."""
    def write(file: Path) -> None:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        with zipfile.ZipFile(file, "w") as archive:
            for name in tiny():
                archive.writestr(f"{name}.npy", header.getvalue() + bytes(99))
    return write


def hostile(file: Path) -> None:
    """An archive with a pickle that would create a file called executed."""
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(file.with_name("executed")),)

    np.savez(file, **tiny(x_train=np.array([Trap()], dtype=object)))


def not_executed(folder: Path) -> str:
    try:
        return with_file(hostile, folder)
    finally:
        assert not (folder / "executed").exists(), "code in a data file was executed"


def raw_files(folder: Path, broken: str, content: bytes | None) -> str:
    """MNIST as torchvision keeps it, with one of its four files broken, or None: missing."""
    names = {"train-images-idx3-ubyte": "x_train", "train-labels-idx1-ubyte": "y_train",
             "t10k-images-idx3-ubyte": "x_test", "t10k-labels-idx1-ubyte": "y_test"}
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, key in names.items():
        array = tiny()[key].astype(np.uint8)
        header = np.array([0x800 + array.ndim, *array.shape], ">i4").tobytes()
        (raw / name).write_bytes(header + array.tobytes())
    (raw / broken).unlink()
    if content is not None:
        (raw / broken).write_bytes(content)
    return trained(folder, data_dir=str(folder), train_size=0)


def data_cases() -> list[Case]:
    gone, here = ("mnist.npz",), functools.partial
    arrays = [  # what is wrong with the arrays, and what has to be said of it
        ("no training images", {"x_train": None}, "x_train"),
        ("no test labels", {"y_test": None}, "y_test"),
        ("images of floats", both(lambda x: x / 255), "float64"),
        ("images of int64", both(lambda x: x.astype(np.int64)), "int64"),
        ("images of booleans", both(lambda x: x > 99), "bool"),
        ("images of objects", both(lambda x: x.astype(object)), ""),
        ("images in rows", both(lambda x: x.reshape(len(x), -1)), "shape"),
        ("images in five dimensions", both(lambda x: x[..., None, None]), "shape"),
        ("images of four channels", both(lambda x: np.stack([x] * 4, -1)), "shape"),
        ("channels before rows", both(lambda x: x[:, None]), "shape"),
        ("test images of another size", {"x_test": tiny()["x_test"][:, 1:]}, "27"),
        ("no images at all", {"x_train": tiny()["x_train"][:0],
                              "y_train": tiny()["y_train"][:0]}, "0 images"),
        ("an empty test part", {"x_test": tiny()["x_test"][:0], "y_test": tiny()["y_test"][:0]},
         "0 images"),
        ("images that are one flat grey", both(np.ones_like), "grey"),
        ("fewer labels than images", labels(lambda y: y[1:]), "29"),
        ("labels of floats", labels(lambda y: y / 1.0), "float64"),
        ("labels that are words", labels(lambda y: y.astype(str)), "labels"),
        ("labels one-hot", labels(lambda y: np.eye(10, dtype=int)[y]), "(30, 10)"),
        ("a negative label", labels(lambda y: y - 1), "-1"),
        ("a label 10 in MNIST", labels(lambda y: y + 1), "10"),
        ("a label that is no number", labels(lambda y: np.where(y, y, np.nan)), "float64"),
    ]
    own = [
        ("labels of 2**40", labels(lambda y: y + 2**40), "labels"),
        ("labels of 2**63", labels(lambda y: y.astype(np.uint64) + 2**63), "labels"),
        ("a label 1,000,000", labels(lambda y: np.where(y, y, 10**6)), "labels"),
        ("one class", {"y_train": np.zeros(30, int), "y_test": np.zeros(20, int)}, "class"),
        ("test labels that training has not", {"y_test": np.arange(20) % 12}, "11"),
    ]
    broken = [  # content of mnist.npz, or what makes it
        ("an empty file", b""), ("a page of a website", b"<html>404</html>"),
        ("its first half", whole_file()[: len(whole_file()) // 2]),
        ("a zip of nothing", b"PK\5\6" + bytes(18)), ("zeros", bytes(10_000)),
        ("a single array", lambda file: np.save(file.open("wb"), np.arange(3))),
        ("an archive that claims 784 TB", claims((10**12, 28, 28))),
        ("an archive that claims 78 GB", claims((10**8, 28, 28))),
        ("a folder", Path.mkdir),
        ("a link to nowhere", lambda file: file.symlink_to(file.with_name("gone.npz"))),
        ("a link to itself", lambda file: file.symlink_to(file)),
        ("a file in the text of an array", b"\x93NUMPY\1\0garbage"),
    ]
    group = "Data files"
    cases = [Case(group, f"mnist.npz with {what}", here(with_arrays, **change), (*gone, word))
             for what, change, word in arrays]
    cases += [Case(group, f"a data set of one's own with {what}",
                   here(with_arrays, name="mine", **change), ("mine.npz", word))
              for what, change, word in own]
    cases += [Case(group, f"mnist.npz is {what}", here(with_file, content), gone)
              for what, content in broken]
    size = ("mnist_7k", "28 x 28")
    raws = {"empty": b"", "cut short": bytes(20), "a page of a website": b"<html>404</html>"}
    cases += [Case(group, f"torchvision's training images are {what}",
                   here(raw_files, broken="train-images-idx3-ubyte", content=content), ("mnist",))
              for what, content in raws.items()]
    return [
        *cases,
        Case(group, "mnist.npz with code that unpickling would run", not_executed, gone),
        Case(group, "MNIST.npz in place of mnist.npz",
             here(with_file, whole_file(), name="MNIST.npz"), ("MNIST.npz",)),
        Case(group, "torchvision's test labels are missing",
             here(raw_files, broken="t10k-labels-idx1-ubyte", content=None), ("mnist",)),
        Case(group, "images of 9 x 12", here(with_arrays, options={"arch": "mnist_7k"},
             **both(lambda x: x[:, :9, :12])), (size[0], "9 x 12")),
        Case(group, "images in colour for a network of grey ones",
             here(with_arrays, options={"arch": "mnist_7k"},
                  **both(lambda x: np.stack([x] * 3, -1))), size),
        *[Case(group, f"{name} without its file and without a network",
               here(in_an_empty_folder, name), (name, f"{name}.npz"))
          for name in ("fashion_mnist", "kmnist", "cifar10")],
        Case(group, "a data set of one's own that is not there", here(trained, dataset="mine"),
             ("mine", "Choose")),
        Case(group, "DATA_DIR is a folder that is not there", data_dir_of_nowhere,
             ("/nowhere/at/all",)),
        Case(group, "labels of 8 bits, images in another order in memory", here(
            with_arrays, **both(np.asfortranarray) | labels(lambda y: y.astype(np.uint8)))),
    ]


def in_an_empty_folder(dataset: str, folder: Path) -> str:
    return trained(folder, dataset=dataset, data_dir=str(folder))


def data_dir_of_nowhere(folder: Path) -> str:
    os.environ["DATA_DIR"] = "/nowhere/at/all"
    return trained(folder)


if __name__ == "__main__":
    print(trained(Path(sys.argv[1]), **json.loads(sys.argv[2])))
