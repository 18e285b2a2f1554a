"""The parameters of a run, checked before anything takes time."""

import ast
import contextlib
import functools
import inspect
import math
import re
import textwrap
from collections.abc import Iterable
from dataclasses import KW_ONLY, Field, asdict, dataclass, field, fields
from pathlib import Path

import torch

from coursepack import files, threads
from coursepack.data import datasets
from coursepack.data.datasets import Dataset
from coursepack.files import check_choice
from coursepack.train import updates
from coursepack.train.updates import L1_STEPS, L2_STEPS, OPTIMIZERS, PENALIZE, SCHEDULES
from model import ARCHITECTURES, INITS, Net, check_arch, check_groups

AUGMENTS = ("rotate", "shift", "half", "flip", "crop")
OF_DATA = ("image", "classes")  # arguments of Net that the data decide; the others are a recipe's
NETWORK = tuple(name for name in inspect.signature(Net).parameters if name not in OF_DATA)
GOES_WITH = (  # a value, and the only values of other parameters with which it does what it is for
    ("l2_step", "learning_rate",
     {"optimizer": "sgd", "momentum": 0.0, "l1": 0.0, "penalize": "weights"}),
    ("l1_step", "proximal", {"optimizer": "sgd"}),
)
PLACES = ("data_dir", "runs_dir", "device")  # parameters that differ from machine to machine
MUST_AGREE = ("dataset", "train_size", "holdout", "augment", "arch", "epochs", "batch_size", "lr",
              "schedule")  # parameters in which runs are alike, or they are not compared
# The parameters of notebooks 00, 04, and 05 and 06.
BY_HAND = {"images": int, "channels": int, "size": int, "groups": int, "eps": float, "seed": int}
SUMMARY = {"runs": str, "factors": str, "runs_dir": str, "images_dir": str, "shown": int,
           "columns": int}
LIVE = {"dataset": str, "data_dir": str, "arch": str, "live_images": int, "live_epochs": int,
        "seed": int, "images_dir": str}
KINDS = {int: "a whole number", float: "a number", bool: "True or False", str:
         "a text in quotes (papermill's -r {} passes one as it is written, -p makes 1 of 001)"}
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def number(default: float, least: float = 0, below: float = math.inf) -> Field:
    most = 2**31 if type(default) is int else 1e12  # three of them multiplied are a float32
    return field(default=default, metadata={"range": (least, min(below, most))})


def one_of(default: str, among: Iterable[str]) -> Field:
    return field(default=default, metadata={"among": tuple(among)})


@dataclass(frozen=True)
class Recipe:
    """The parameters of a run, checked; a recipe notebook's parameters cell says what they mean."""

    dataset: str = "mnist"
    data_dir: str = ""
    train_size: int = number(0)
    holdout: int = number(0)
    augment: str = "rotate+shift"
    arch: str = "auto"  # from then on the one that the images' size decides
    norm: str = "batch"
    groups: int = number(2, 1)
    layer_affine: str = "element"
    dropout: float = number(0.0, 0, 1)
    order: str = ""
    skip: bool = False
    l1: float = number(0.0)
    l2: float = number(0.0)
    penalize: str = one_of("weights", PENALIZE)
    epochs: int = number(20, 1)
    batch_size: int = number(128, 1)
    optimizer: str = one_of("sgd", OPTIMIZERS)
    lr: float = number(0.1, 1e-9)
    momentum: float = number(0.9, 0, 1)
    schedule: str = one_of("one_cycle", SCHEDULES)
    seed: int = number(1, 0, 10**9)
    device: str = "auto"
    run_name: str = "run"
    runs_dir: str = "runs"
    _: KW_ONLY  # what follows is the laboratory's: studies vary it, and no notebook has it
    subset_seed: int = number(0, 0, 10**9)  # draws the train_size images; 0: the first so many
    label_noise: float = number(0.0, 0, 1)  # share of the labels replaced by another class
    norm_batch: int = number(0)  # images that share batch norm's statistics; 0: the whole batch
    init: str = one_of("default", INITS)  # of the convolutions
    conv_bias: bool = False  # of the convolutions, where the network has none
    l1_step: str = one_of("subgradient", L1_STEPS)
    l2_step: str = one_of("gradient", L2_STEPS)  # learning_rate: a rate that does the same
    weight_decay: float = number(0.0)  # decoupled from the gradient

    @classmethod
    def from_notebook(cls, variables: dict[str, object]) -> "Recipe":
        """The recipe that a notebook's variables, its globals(), spell out."""
        given = notebook_parameters(variables, {name: f.type for name, f in FIELDS.items()})
        recipe = cls(**given)
        built_for = ARCHITECTURES[recipe.arch].image
        shape = datasets.image_shape(recipe.dataset, recipe.data_dir)
        if given.get("arch") == "auto" and shape != built_for:
            built, own = (" x ".join(map(str, image)) for image in (built_for, shape))
            print(f"arch=auto takes {recipe.arch}: of the networks that images of {own} fit, "
                  f"it was built for the nearest size, {built}.")
        if (recipe.arch, recipe.dataset.removesuffix("_sample")) != ("mnist_7k", "mnist"):
            print("The text of this notebook is about mnist_7k and digits: what it says of layers, "
                  "sizes and numbers may be otherwise here.")
        return recipe

    def __post_init__(self) -> None:
        for name, f in FIELDS.items():
            object.__setattr__(self, name, in_kind(name, getattr(self, name), f.type))
        own = vars(self)
        for name, least, below in RANGES:
            files.check_range(name, own[name], least, below)
        for name, allowed in CHOICES.items():
            check_choice(name, own[name], allowed)
        for step, value, needs in GOES_WITH:
            for name, needed in needs.items():
                if own[step] == value and own[name] != needed:
                    raise ValueError(
                        f"{step}={value} with {name}={own[name]!r} is not known to do what it is "
                        f"for. Choose {name}={needed!r}, or another {step}.")
        for name in ("l2", "weight_decay") if self.optimizer == "sgd" else ("weight_decay",):
            if self.lr * own[name] >= 1:
                raise ValueError(f"lr={self.lr} with {name}={own[name]} would take away all of a "
                                 f"weight at each step. Choose lr * {name} below 1.")
        if self.subset_seed and not self.train_size:
            raise ValueError(f"subset_seed={self.subset_seed} draws a part of the images, and "
                             "train_size=0 takes all. Choose a train_size, or subset_seed=0.")
        parts = {*self.augment.split("+")}
        halves_nothing = "half" in parts and not parts & {"rotate", "shift"}
        if self.augment != "none" and parts - {*AUGMENTS} or halves_nothing:
            raise ValueError(f"augment={self.augment!r} is not known. Choose none, or any of "
                             f"{', '.join(AUGMENTS)} joined by +, half with rotate or shift.")
        if len(self.run_name) > 100 or not PLAIN.fullmatch(self.run_name):
            raise ValueError(f"run_name={self.run_name[:60]!r} is no plain name. "
                             "Choose up to 100 letters, digits, '_', '-' and '.'.")
        image = datasets.image_shape(self.dataset, self.data_dir)
        object.__setattr__(self, "arch", check_arch(self.arch, image))
        if not check_network(image=image, **self.network()) and self.l2_step == "learning_rate":
            raise ValueError(f"l2_step=learning_rate with norm={self.norm}: no weight stands "
                             "before a norm, so L2 would do nothing. Choose l2_step=gradient.")
        files.check_place("runs_dir", files.find_folder("runs_dir", self.runs_dir))
        threads.pick_device(self.device)

    def network(self) -> dict[str, object]:
        """The arguments of model.Net, but for those OF_DATA."""
        return {name: getattr(self, name) for name in NETWORK}

    def load_data(self) -> Dataset:
        """The data of this run: its part of its dataset, with wrong labels if it has any."""
        return self.take_part(datasets.load_dataset(self.dataset, self.data_dir))

    def take_part(self, data: Dataset) -> Dataset:
        """What this run trains and tests on, of a whole dataset."""
        return datasets.take_part(data, self.train_size, self.subset_seed, self.label_noise,
                                  self.holdout)

    @property
    def run_dir(self) -> Path:
        return files.find_folder("runs_dir", self.runs_dir) / self.run_name

    def __str__(self) -> str:
        values = [f"{name}={value!r}" for name, value in asdict(self).items() if name not in PLACES
                  and (name not in LABORATORY or value != LABORATORY[name].default)]
        return textwrap.fill(", ".join(values), 76, break_on_hyphens=False)


FIELDS = {f.name: f for f in fields(Recipe)}
LABORATORY = {name: f for name, f in FIELDS.items() if f.kw_only}
CHOICES = {name: f.metadata["among"] for name, f in FIELDS.items() if "among" in f.metadata}
RANGES = [(name, *f.metadata["range"]) for name, f in FIELDS.items() if "range" in f.metadata]


def with_defaults(parameters: dict[str, object]) -> dict[str, object]:
    """The parameters of a record, with Recipe's defaults for those that are younger than it."""
    return {name: f.default for name, f in FIELDS.items()} | parameters


@functools.cache  # hundreds of runs and records ask for the same few networks
def check_network(**network: object) -> int:
    """How many weights of a network stand before a norm, at no cost.

    Raises ValueError for arch, norm, groups, dropout ... that no network has.
    """
    with torch.device("meta"):
        return len(updates.scale_free_weights(Net(**network)))


def in_kind(name: str, value: object, kind: type) -> object:
    """The value of a parameter in its type: what papermill makes of a text, as it is meant.

    "1e-3" is a number, 1.0 and "1" are 1, "true" is True; 1.5 is no whole number, nor 1 a text.
    """
    if type(value) is str and not name.endswith("_dir"):  # a folder may have any name
        value = value.strip(" ")
    if type(value) is kind:
        return value
    with contextlib.suppress(ValueError, OverflowError):  # no number, or too large for a float
        if kind is float and type(value) in (int, str):
            return float(value)
        if kind is int and type(value) in (float, str) and float(value).is_integer():
            return int(float(value))
        if kind is bool and type(value) is str:
            return ("false", "true").index(value.lower()) == 1
    raise ValueError(f"{name}={value!r:.60} is of the wrong kind. "
                     f"Choose {KINDS[kind].format(name)}.")


def notebook_parameters(variables: dict[str, object], kinds: dict[str, type]) -> dict[str, object]:
    """The parameters among a notebook's variables, its globals(), each in its type.

    Refused is what papermill put in if the notebook has no such parameter (papermill only warns),
    or another value of it by now and this cell runs for the first time: later a person is at work.
    """
    cells = variables.get("In", [])  # IPython's list of those that the kernel has run
    injected = read_injected(cells)
    values = {name: in_kind(name, variables[name], kind) for name, kind in kinds.items()
              if name in variables}
    at_work = cells and cells[-1] in cells[:-1]
    for name, value in injected.items():
        kind = kinds[check_choice("parameter", name, kinds)]
        if not at_work and repr(in_kind(name, value, kind)) != repr(values[name]):  # nan is nan
            raise ValueError(
                f"{name}={values[name]!r:.60}, and papermill was given {value!r:.60}: a cell after "
                f"papermill's own sets {name} again. Give the tag \"parameters\" to the cell with "
                f"the defaults and to no other, and set {name} in no cell below.")
    return values


def read_injected(cells: list[str]) -> dict[str, object]:
    """What papermill put in by those of the cells that assign plain values, as its cells do."""
    injected: dict[str, object] = {}
    for cell in cells:
        with contextlib.suppress(Exception):  # a person's cell that begins as papermill's do
            for line in ast.parse(cell).body if cell.startswith("# Parameters\n") else ():
                injected[line.targets[0].id] = eval(  # float: of float('nan')
                    ast.unparse(line.value), {"__builtins__": {"float": float}})
    return {name: value for name, value in injected.items()
            if not name.startswith("PAPERMILL_")}  # which --inject-paths adds


def summary_parameters(variables: dict[str, object]) -> tuple[list[str], list[str]]:
    """The names in runs and in factors, from the variables of notebook 04, its globals()."""
    variables.update(notebook_parameters(variables, SUMMARY))
    files.check_range("shown", variables["shown"], 1, 101)  # images: more would take more memory
    files.check_range("columns", variables["columns"], 1, 21)  # than anybody's eyes
    factors = split_names("factors", variables["factors"]) if variables["factors"] else []
    for factor in factors:
        check_choice("factors", factor, [name for name in MUST_AGREE if name != "dataset"])
    return split_names("runs", variables["runs"]), factors


def live_parameters(variables: dict[str, object]) -> dict[str, object]:
    """What all runs of notebook 05 or 06 have in common, from its variables, its globals()."""
    variables.update(notebook_parameters(variables, LIVE))
    for name in ("live_images", "live_epochs"):
        files.check_range(name, variables[name], 1)
    common = {"dataset": variables["dataset"], "data_dir": variables["data_dir"],
              "train_size": variables["live_images"], "epochs": variables["live_epochs"],
              "seed": variables["seed"], "subset_seed": variables["seed"],
              "arch": variables["arch"], "augment": "none", "batch_size": 64}
    Recipe(**common)
    return common


def by_hand_parameters(variables: dict[str, object]) -> None:
    """Check the parameters of notebook 00, its globals(): no more of them than a figure holds."""
    variables.update(notebook_parameters(variables, BY_HAND))
    images, channels, size = (variables[name] for name in ("images", "channels", "size"))
    for name in ("images", "channels", "size"):
        files.check_range(name, variables[name], 2)
    files.check_range("images * channels", images * channels, 4, 11)  # twice as many are drawn
    files.check_range("channels * size", channels * size, 4, 17)
    files.check_range("eps", variables["eps"], 1e-6, 1)  # a smaller one drowns in rounding
    files.check_range("seed", variables["seed"], 0, 10**9)
    check_groups(variables["groups"], [channels])


def split_names(name: str, joined: str) -> list[str]:
    """The names that a parameter joins by commas, each of them plain and given once."""
    names = [part.strip() for part in joined.split(",")]
    for part in names:
        if len(part) > 200 or not PLAIN.fullmatch(part):
            raise ValueError(f"{name}={joined[:60]!r}: {part[:60]!r} is no plain name. Join plain "
                             "names by one comma each, such as 'bn_l1_l2, gn_l1'.")
        if names.count(part) > 1:
            raise ValueError(f"{name} has {part!r} twice. Name each once.")
    return names
