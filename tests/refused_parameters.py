"""Bad parameters of a recipe and of notebooks, alone and together."""

from functools import partial
from pathlib import Path
from unittest import mock

from refused import calling, rows

import model
from coursepack.files import ROOT
from coursepack.train import loop, recipe
from coursepack.train.recipe import Recipe

NAN, INF, LONG, README = float("nan"), float("inf"), "x" * 300, str(ROOT / "README.md")


def start(folder, **parameters):
    """What a recipe notebook does, from its parameters to its last epoch."""
    small = {"train_size": 100, "epochs": 1, "batch_size": 64, "device": "cpu", "augment": "none",
             "arch": "mnist_8k", "runs_dir": str(folder / "runs")}
    own = Recipe(**small | parameters)
    data = own.load_data()
    loop.train(loop.build_model(own, data), data, own)


def start_beside(put, folder):
    """The same where something else has the name of the record."""
    (folder / "runs" / "run").mkdir(parents=True)
    put(folder / "runs" / "run" / "record.json")
    with mock.patch.object(loop, "train_epoch", side_effect=AssertionError("it was trained")):
        start(folder)


VALUES = {  # of a recipe: bad ones by name; the message says name and value, and what to choose
    "dataset": ["mnst", "", None], "train_size": [-1, 0.5, "many", True, 10**9],
    "data_dir": ["no-such-folder", "a\0b", LONG, "~nobody_of_this/data"], "holdout": [-1, 400],
    "augment": ["rotate,shift", "none+flip", "none+none", "flip+half"], "arch": ["mnist7k"],
    "norm": ["btach"], "groups": [0], "layer_affine": ["chanel"], "dropout": [-0.1, 1, NAN],
    "order": ["act", "norm-act-drop-norm"],
    "skip": ["yes", 1, True], "l1": [-1e-5, 1e12], "l2": [-1], "penalize": ["weight"],
    "epochs": [0, "20.5"], "batch_size": [0, 2**31], "lr": [0, "0,1", [0.1], 10**400],
    "momentum": [1.0], "schedule": ["no_such_schedule"], "seed": [-1, 10**9],
    "run_name": ["..", "a b", "run\n", "läuft", "x" * 101, 7], "device": ["no_device", "cuda:7"],
    "runs_dir": ["a\0b", README, "", "notebooks", "/proc/runs"], "l1_step": ["proximl"],
    "l2_step": ["no_such_step"], "optimizer": ["adam"], "label_noise": [1.0], "norm_batch": [-2],
    "subset_seed": [-1], "weight_decay": [-0.1],
}
TOGETHER = [  # parameters that do not go together, or not with the data
    ({"norm": "group", "groups": 3}, "1, 2, 4"), ({"l1": 1e11}, "l1"),
    ({"norm": "none", "lr": 1e9, "schedule": "constant"}, "lr below 1000000000"),
    ({"train_size": 0, "subset_seed": 3}, "Choose a train_size"),
    ({"l1_step": "proximal", "optimizer": "adamw"}, "Choose optimizer='sgd', or another l1_step"),
    ({"l2_step": "learning_rate"}, "momentum=0.9"),
    ({"l2_step": "learning_rate", "momentum": 0.0, "norm": "none"}, "Choose l2_step=gradient"),
    ({"lr": 2.0, "l2": 0.5}, "lr * l2 below 1"),
    ({"optimizer": "adamw", "lr": 0.1, "weight_decay": 10}, "lr * weight_decay below 1"),
    ({"train_size": 2}, "mnist loses all images of 8 of its classes", "subset_seed"),
]
NOTEBOOKS = [  # function, parameters as they are, and bad values by name
    ("00", recipe.by_hand_parameters,
     {"images": 4, "channels": 2, "size": 2, "groups": 2, "eps": 1e-5, "seed": 1},
     {"images": [1, 2.5, 8], "channels": [1], "size": [1, 9], "groups": [0, 3], "eps": [0.0],
      "seed": [2**70]}),
    ("04", recipe.summary_parameters,
     {"runs": "a, b", "factors": "", "runs_dir": "", "images_dir": "images", "shown": 20,
      "columns": 5},
     {"runs": ["", "a;b", f"a, {LONG}", "a, ../a", "a, a", 5], "shown": [0, 101, 2.5],
      "columns": [0, 21], "factors": ["lr, epoch", "dataset", "lr,"]}),
    ("05 or 06", recipe.live_parameters,
     {"dataset": "mnist", "data_dir": "", "arch": "mnist_8k", "live_images": 100, "live_epochs": 1,
      "seed": 2, "images_dir": "images"},
     {"arch": ["mnist8k"], "live_images": [0, "many"], "live_epochs": [0], "seed": [-1],
      "images_dir": [3]}),
]
CHECK = "recipe = utils.Recipe.from_notebook(globals())"  # the cell that asks, in its kernel's In
INJECTED = [  # what papermill put in, the cells after it, the parameters by then, words
    ("epoch = 5", [CHECK, CHECK], {}, ("'epoch'", "'epochs'")),
    ("epochs = 3", ["epochs: int = 5", CHECK], {"epochs": 5},
     ("epochs=5", "was given 3", "in no cell below", '"parameters"')),
    ("run_name = None", [CHECK], {"run_name": None}, ("-r run_name",)),
]


CASES = rows("Parameters of a recipe", [
    *((f"{name} = {value!r:.50}", partial(start, **{name: value}), "Choose", name,
       repr(value).strip("'")[:20]) for name, values in VALUES.items() for value in values),
    *((str(values), partial(start, **values), *words) for values, *words in TOGETHER),
    *((f"a {what} in place of a record", partial(start_beside, put), "record.json is a folder, or",
       "choose another run_name") for what, put in {"folder": Path.mkdir, "link to nothing":
       lambda place: place.symlink_to("nowhere")}.items()),
]) + rows("Functions of networks", [
    ("the means of no norm", calling(model.mean_index, (2, 8, 3, 3), "none"), "batch"),
    ("3 groups of 8", calling(model.mean_index, (2, 8, 3, 3), "group", 3), "3", "1, 2, 4, 8"),
    ("the field of mnist_9k", calling(model.receptive_field, "mnist_9k"), "9k", "mnist_7k"),
]) + rows("Parameters of notebooks", [
    *((f"of {number}: {name} = {value!r:.50}", calling(check, there | {name: value}), name)
      for number, check, there, bad in NOTEBOOKS for name, values in bad.items()
      for value in values),
    *((f"papermill put in {given}", calling(Recipe.from_notebook, there | {
        "In": ["", f"# Parameters\n{given}\n", *cells]}), *words)
      for given, cells, there, words in INJECTED),
])
