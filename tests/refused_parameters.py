"""Bad parameters of a recipe and of notebooks, alone and together; broken checkpoints."""

import contextlib
import functools
from unittest import mock

import numpy as np
import torch
from helpers import arrays
from refused import Refused

import model
from coursepack.data.datasets import DATASETS, load_dataset
from coursepack.files import ROOT
from coursepack.train import loop, recipe
from coursepack.train.recipe import Recipe

NAN, INF, LONG, README = float("nan"), float("inf"), "x" * 300, str(ROOT / "README.md")
SMALL = {"train_size": 100, "epochs": 1, "batch_size": 64, "device": "cpu", "augment": "none",
         "arch": "mnist_8k"}


def start(folder, **parameters):
    """What a recipe notebook does, from its parameters to its last epoch."""
    own = Recipe(**SMALL | {"runs_dir": str(folder / "runs")} | parameters)
    data = load_dataset(own.dataset, own.data_dir, own.train_size, own.holdout)
    loop.train(loop.build_model(own, data), data, own)


VALUES = {  # of a recipe: values by name, and what the message has to say besides the name
    "dataset": [("mnst", "Did you mean 'mnist'"), ("MNIST", "mnist"), ("", "Choose"), (5, "text"),
                (None, "text"), ("../mnist", "Choose")],
    "data_dir": [(5, "text"), ("/nowhere/at/all", "/nowhere"), ("a\0b", "NUL"), (LONG, "xxx"),
                 ("~nobody_of_this_name/data", "~nobody"), (README, "README.md")],
    "train_size": [(-1, "-1"), (0.5, "0.5"), ("many", "'many'"), (True, "True"), (10**9, "10000")],
    "holdout": [(-1, "-1"), (2.5, "2.5"), (10**9, "1000000000"), (400, "400")],
    "augment": [("rotat", "rotate"), ("rotate,shift", "rotate"), ("", "none"), (7, "text"),
                ("rotate+", "joined by +"), ("none+flip", "none"), ("off", "none")],
    "arch": [("mnist7k", "Did you mean"), ("", "Choose"), (None, "text"),
             ("cifar_best", "3 x 32 x 32")],
    "norm": [("btach", "Did you mean 'batch'"), ("", "Choose"), (2, "text"), (None, "-r norm")],
    "groups": [(0, "1"), (-2, "-2"), (2.5, "2.5"), ("two", "'two'")],
    "layer_affine": [("chanel", "Did you mean 'channel'"), ("", "Choose")],
    "dropout": [(-0.1, "-0.1"), (1, "less than 1"), ("no", "'no'"), (NAN, "nan"), (INF, "inf")],
    "order": [("act", "Choose"), ("norm-act-drop-norm", "act-norm-drop"), (False, "text")],
    "skip": [("yes", "'yes'"), (1, "True or False"), (None, "True or False"), (True, "False")],
    "l1": [(-1e-5, "-1e-05"), (NAN, "nan"), (INF, "inf"), ("1-5", "'1-5'"), (1e300, "l1")],
    "l2": [(-1, "-1"), (NAN, "nan"), (True, "number"), (1e30, "l2")],
    "penalize": [("weight", "Did you mean 'weights'"), ("", "Choose")],
    "epochs": [(0, "1 or more"), (-3, "-3"), (2.5, "2.5"), ("20.5", "'20.5'"), (True, "whole")],
    "batch_size": [(0, "1 or more"), (-1, "-1"), (32.5, "32.5")],
    "lr": [(0, "0"), (-0.1, "-0.1"), (NAN, "nan"), (INF, "inf"), ("0,1", "'0,1'"), (1e-400, "0.0"),
           ([0.1], "number"), (10**400, "a number"), (True, "a number"), ("fast", "'fast'")],
    "momentum": [(1.0, "less than 1"), (-0.1, "-0.1"), (NAN, "nan"), ("high", "'high'")],
    "schedule": [("no_such_schedule", "Choose"), ("onecycle", "Did you mean 'one_cycle'")],
    "seed": [(-1, "-1"), (1.5, "1.5"), (10**9, "1000000000"), (2**64, str(2**64)), ("one", "one"),
             (True, "whole number")],
    "device": [("no_such_device", "Choose"), ("cuda:7", "Choose"), ("", "Choose"), (0, "text")],
    "run_name": [("", "letters"), ("..", "letters"), ("../x", "letters"), ("a b", "letters"),
                 ("run\n", "letters"), ("-p", "letters"), ("läuft", "letters"), (LONG, "100"),
                 ("x" * 101, "100"), (7, "-r run_name")],
    "runs_dir": [("a\0b", "NUL"), ("~nobody_of_this_name/runs", "~nobody"), (LONG, "too long"),
                 (README, "Choose"), ("/dev/null", "/dev/null"), ("/proc/runs", "/proc/runs"),
                 (None, "text")],
    "l1_step": [("proximl", "Did you mean 'proximal'")], "optimizer": [("adam", "adamw")],
    "l2_step": [("no_such_step", "learning_rate")], "label_noise": [(1.0, "less than 1")],
    "norm_batch": [(-2, "-2")], "subset_seed": [(-1, "-1")], "weight_decay": [(-0.1, "-0.1")],
}
LISTED = recipe.CHOICES | {"dataset": DATASETS, "augment": recipe.AUGMENTS, "norm": model.NORMS,
                           "arch": model.ARCHITECTURES, "order": model.ORDERS,
                           "layer_affine": model.LAYER_AFFINES, "device": ("auto", "cpu")}
TOGETHER = [  # parameters that do not go together, or not with the data
    ({"norm": "group", "groups": 3}, "1, 2, 4"), ({"norm": "group", "groups": 10**9}, "groups"),
    ({"norm": "none", "lr": 1e9, "schedule": "constant"}, "lr below 1000000000"),
    ({"norm": "none", "lr": 1e4, "momentum": 0.0}, "diverged"),
    ({"l2": 1e8, "lr": 1.0}, "l2"), ({"train_size": 0, "subset_seed": 3}, "Choose a train_size"),
    ({"l1_step": "proximal", "optimizer": "adamw"}, "Choose optimizer='sgd', or another l1_step"),
    ({"l2_step": "learning_rate"}, "momentum=0.9"),
    ({"l2_step": "learning_rate", "momentum": 0.0, "l1": 0.1}, "Choose l1=0.0, or another l2_step"),
    ({"l2_step": "learning_rate", "momentum": 0.0, "lr": 2.0, "l2": 0.5}, "lr * l2 below 1"),
]
X = torch.ones(2, 8, 3, 3)  # 8 channels
NETWORKS = {  # what of model.py refuses that is called by itself, and words
    "normalize, btach": (lambda folder: model.normalize(X, "btach"), ("btach", "batch")),
    "normalize, 3 groups": (lambda folder: model.normalize(X, "group", 3), ("3", "1, 2, 4, 8")),
    "mean_index, none": (lambda folder: model.mean_index((2, 8, 3, 3), "none"), ("none", "batch")),
    "mean_index, 3": (lambda folder: model.mean_index((2, 8, 3, 3), "group", 3), ("1, 2, 4, 8",)),
    "make_norm, 3": (lambda folder: model.make_norm("group", 8, 5, 3), ("3", "1, 2, 4, 8")),
    "make_norm, x": (lambda folder: model.make_norm("layer", 8, 5, 2, "x"), ("'x'", "channel")),
    "receptive_field": (lambda folder: model.receptive_field("mnist_9k"), ("9k", "mnist_7k")),
    "multiply_adds": (lambda folder: model.multiply_adds(None, "mnist_9k"), ("9k", "mnist_7k")),
    "Net without a block to skip": (lambda folder: model.Net(skip=True), ("7k", "cifar_35k")),
}
NOTEBOOKS = [  # function, parameters as they are, and wrong values by name
    ("00", recipe.by_hand_parameters,
     {"images": 4, "channels": 2, "size": 2, "groups": 2, "eps": 1e-5, "seed": 1},
     [("images", 1), ("images", 2.5), ("images", 8), ("size", "two"), ("size", 9),
      ("channels", 10**6), ("groups", 3), ("groups", 0), ("eps", 0.0), ("eps", NAN),
      ("seed", "one"), ("seed", 2**70)]),
    ("04", recipe.summary_parameters,
     {"runs": "a, b", "factors": "", "runs_dir": "", "images_dir": "images", "shown": 2,
      "columns": 2},
     [("runs", value) for value in ("", "a,", ",a", "a,,b", "a, a", 5, "a, ../a", "a;b", "a, x\0y",
                                    f"a, {LONG}")]
     + [("factors", "dataset"), ("factors", "no_such_parameter"), ("runs_dir", 7), ("shown", 0),
        ("shown", -1), ("shown", 2.5), ("shown", "many"), ("shown", 10**9), ("columns", 0),
        ("columns", 2.5), ("columns", 10_000)]),
    ("05 or 06", recipe.live_parameters,
     {"dataset": "mnist", "data_dir": "", "live_images": 100, "live_epochs": 1, "seed": 2,
      "images_dir": "images"},
     [("live_images", 0), ("live_images", 2.5), ("live_images", "many"), ("live_epochs", 0),
      ("live_epochs", -1), ("live_epochs", True), ("seed", -1), ("seed", "many"),
      ("dataset", "mnits"), ("images_dir", 3)]),
]
CHECK = "recipe = utils.Recipe.from_notebook(globals())"  # the cell that asks, in its kernel's In
INJECTED = [  # cells of a kernel after papermill put one in, the parameters by then, words
    (["# Parameters\nepoch = 5\n", CHECK, CHECK], {}, ("'epoch'", "'epochs'")),
    (["# Parameters\nepochs = 3\n", "epochs: int = 5", CHECK], {"epochs": 5},
     ("epochs=5", "was given 3", "in no cell below", '"parameters"')),
    (["# Parameters\nlr = float('nan')\n", "lr: float = 0.1", CHECK], {"lr": 0.1},
     ("lr=0.1", "given nan")),
    (["# Parameters\nlr = -0.5\n", CHECK], {"lr": 0.1}, ("lr=0.1", "given -0.5")),
    (["# Parameters\nrun_name = None\n", CHECK], {"run_name": None}, ("-r run_name",)),
    *((["# Parameters\n" + f"{name} = 5\n", CHECK], {}, (repr(name), "Choose"))
      for name in ("batchsize", "learning_rate", "L1", "Seed", "run", "rundir")),
]


# ------------------------------------------------------------------------ broken checkpoints
class Trap:
    """Would end the process that unpickles it."""

    def __reduce__(self):
        return exit, (3,)


def change(edit):
    """Load a checkpoint and save what edit() makes of it."""
    return lambda file: torch.save(edit(torch.load(file, weights_only=True)), file)


def renamed(state):
    state["run"]["parameters"]["lr"] = 0.3
    return state


def as_a_folder(file):
    file.unlink()
    file.mkdir()


BROKEN = {  # what a checkpoint is
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-200]),
    "empty": lambda file: file.write_bytes(b""), "a folder": as_a_folder,
    "a text": lambda file: file.write_text("epoch 2\n", encoding="utf-8"),
    "code that unpickling would run": lambda file: torch.save({"run": Trap()}, file),
    "a list": lambda file: torch.save([1, 2], file),
    "an archive of arrays": lambda file: np.savez(file.open("wb"), **arrays()),
    **{f"without its {key}": change(lambda state, key=key: {
        k: v for k, v in state.items() if k != key}) for key in ("optimizer", "history", "run")},
    "of another network": change(lambda state: state | {"model": {"weight": X}}),
    "of more epochs": change(lambda state: state | {"history": state["history"] * 5}),
    "renamed from another run": change(renamed),
}


def go_on_with(edit, folder):
    with (mock.patch.object(loop, "report_epoch", side_effect=KeyboardInterrupt),
          contextlib.suppress(KeyboardInterrupt)):
        start(folder, epochs=2)
    [file] = folder.glob("runs/run/unfinished-*.pt")
    edit(file)
    try:
        start(folder, epochs=2)
    finally:
        assert file.exists(), "what it holds may be worth something"


def not_for(shape):
    """A network that does not take images of this shape."""
    def call(folder):
        x = {name: np.zeros((n, *shape), np.uint8) + np.arange(n, dtype=np.uint8).reshape(
            -1, *[1] * len(shape)) for name, n in (("x_train", 30), ("x_test", 20))}
        np.savez(folder / "mnist.npz", **arrays(**x))
        start(folder, data_dir=str(folder), train_size=0)
    return call


def shown(value):
    text = repr(value).replace(str(ROOT), "...")
    return text if len(text) < 60 else f"{type(value).__name__} of {len(str(value))} characters"


RECIPE, PARTIAL = "Parameters of a recipe", functools.partial
CASES = [
    *(Refused(RECIPE, f"{name} = {shown(value)}", PARTIAL(start, **{name: value}), (name, word))
      for name, values in VALUES.items() for value, word in values),
    *(Refused(RECIPE, f"{name} = '?'", PARTIAL(start, **{name: "?"}), (name, *allowed))
      for name, allowed in LISTED.items()),
    *(Refused(RECIPE, ", ".join(f"{k} = {v!r}" for k, v in values.items()),
              PARTIAL(start, **values), (word,)) for values, word in TOGETHER),
    Refused(RECIPE, "images of 9 x 12", not_for((9, 12)), ("1 x 9 x 12", "another dataset")),
    Refused(RECIPE, "images in colour for a network of grey ones", not_for((32, 32, 3)),
            ("mnist_8k", "3 x 32 x 32", "cifar_35k")),
    *(Refused("Functions of networks", what, *row) for what, row in NETWORKS.items()),
    *(Refused("Parameters of notebooks", f"notebook {number} with {name} = {shown(value)}",
              PARTIAL(lambda check, variables, folder: check(variables), check,
                      there | {name: value}), (name,))
      for number, check, there, values in NOTEBOOKS for name, value in values),
    *(Refused("Parameters of notebooks", f"papermill put in {cells[0].splitlines()[1]}",
              PARTIAL(lambda variables, folder: Recipe.from_notebook(variables),
                      there | {"In": ["", *cells]}), words) for cells, there, words in INJECTED),
    *(Refused("Checkpoints", f"a checkpoint that is {what}", PARTIAL(go_on_with, edit),
              ("unfinished-", "cannot be continued", "Remove it"))
      for what, edit in BROKEN.items()),
]
