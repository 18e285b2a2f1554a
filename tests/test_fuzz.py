"""Random recipes, records and study files: refused by name, or all goes well; nothing else.

A few examples here; "make fuzz" tries 2,000 recipes, and 500 records and as many study files.
"""

import dataclasses
import functools
import json
import math
import os
import tempfile
from pathlib import Path
from unittest import mock

import hypothesis
import numpy as np
import pytest
import torch
import yaml
from helpers import set_free, without_seconds
from hypothesis import strategies as st

from coursepack.data.datasets import SAMPLE, load_dataset
from coursepack.files import ROOT
from coursepack.lab import effects
from coursepack.lab import studies as study
from coursepack.runs import recipes
from coursepack.runs.records import RECIPES, load_record, load_run, save_run
from coursepack.train import loop
from coursepack.train.recipe import PENALIZE, SCHEDULES, Recipe
from model import ARCHITECTURES, NORMS, Net

SCALE = float(os.environ.get("FUZZ", "0.01"))  # share of the examples of "make fuzz"
FIELDS = [field.name for field in dataclasses.fields(Recipe)]


def examples(count):
    return hypothesis.settings(
        max_examples=max(5, round(SCALE * count)), deadline=None, derandomize=True,
        database=None, suppress_health_check=list(hypothesis.HealthCheck))


# ----------------------------------------------------------------------------- recipes and runs
floats = functools.partial(st.floats, allow_subnormal=False)  # the process calls those zero
WILD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.integers(), floats(), st.text(max_size=8),
    st.sampled_from([math.nan, math.inf, -1, 10**12, "", "BN ", "norm-norm", "~", "a\0b", [], {}]))
POSSIBLE = {
    "dataset": st.sampled_from(["grey", "grey", "coloured"]), "train_size": st.sampled_from([0, 9]),
    "holdout": st.sampled_from([0, 4]), "augment": st.sampled_from(["none", "rotate+shift+flip"]),
    "arch": st.sampled_from(list(ARCHITECTURES)), "norm": st.sampled_from([*NORMS, "BN", "gn"]),
    "groups": st.sampled_from([1, 2, 4]), "layer_affine": st.sampled_from(["element", "channel"]),
    "dropout": st.sampled_from([0.0, 0.3]), "skip": st.booleans(),
    "order": st.sampled_from(["", "norm-act-drop", "act-drop-norm", "drop-norm-act"]),
    "l1": floats(0, 1), "l2": floats(0, 1), "penalize": st.sampled_from(PENALIZE),
    "epochs": st.integers(1, 3), "batch_size": st.integers(1, 40),
    "lr": floats(1e-9, 1e3), "momentum": floats(0, 0.99),
    "schedule": st.sampled_from([*SCHEDULES]), "seed": st.integers(0, 10**9 - 1),
    "run_name": st.sampled_from(["run", "n" * 100]),
}


@st.composite
def choices(draw):
    """Possible values of all parameters but for up to two, which are anything."""
    wild = draw(st.lists(st.sampled_from(FIELDS), max_size=2, unique=True))
    drawn = {name: draw(values) for name, values in POSSIBLE.items()}
    return drawn | {name: draw(WILD) for name in wild}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with two tiny data sets, grey and coloured, of 12 training and 8 test images."""
    folder = tmp_path_factory.mktemp("data")
    for name, size in {"grey": (28, 28), "coloured": (32, 32, 3)}.items():
        draw = np.random.default_rng(0)
        images = {f"x_{split}": draw.integers(256, size=(n, *size), dtype=np.uint8)
                  for split, n in (("train", 12), ("test", 8))}
        labels = {"y_train": np.arange(12) % 10, "y_test": np.arange(8) % 10}
        np.savez(folder / f"{name}.npz", **images, **labels)
    return folder


def interrupted_after(epoch):
    """A report_epoch that interrupts the run after its first epochs."""
    def report(history, epochs):
        if len(history) == epoch:
            raise KeyboardInterrupt
    return mock.patch("coursepack.train.loop.report_epoch", report)


def train(recipe, data, interrupt=0):
    """Model and history of a run; after an interruption, of its second start."""
    if interrupt:
        with interrupted_after(interrupt), pytest.raises(KeyboardInterrupt):
            loop.train(loop.build_model(recipe, data), data, recipe)
    model = loop.build_model(recipe, data)
    return model, loop.train(model, data, recipe)


def refusal(function, *arguments):
    """What a function says when it refuses its arguments ("" if it does not), and its result."""
    try:
        return "", function(*arguments)
    except (ValueError, FloatingPointError) as error:
        return str(error), (None, None)


def prepare(values):
    """All that a notebook does before training: recipe and data, if they go together."""
    recipe = Recipe(**values)
    data = load_dataset(recipe.dataset, recipe.data_dir, recipe.train_size, recipe.holdout)
    loop.build_model(recipe, data)
    return recipe, data


def check_run(recipe, data):
    """A run ends; it resumes as if undisturbed; what it saves agrees with itself."""
    beside = dataclasses.replace(recipe, runs_dir=recipe.runs_dir + "/undisturbed")
    expected, undisturbed = train(beside, data)
    set_free(beside)
    model, history = train(recipe, data, interrupt=max(1, len(undisturbed) // 2))
    assert json.dumps(without_seconds(history)) == json.dumps(without_seconds(undisturbed))
    record = save_run(model, data, recipe, history)
    again, errors = load_run(recipe.run_dir.parent, recipe.run_name)
    assert again == record
    reloaded = Net(**recipe.network(), classes=len(data.classes))
    reloaded.load_state_dict(torch.load(recipe.run_dir / "model.pt", weights_only=True))
    _, accuracy = loop.evaluate(reloaded, data)
    assert accuracy == history[-1]["test_accuracy"]
    assert len(errors.index) == round((1 - accuracy) * len(data.test_labels))


@examples(2000)
@hypothesis.given(values=choices())
def test_random_recipe_is_refused_by_name_or_runs(pictures, values):
    with tempfile.TemporaryDirectory() as folder:
        places = {"data_dir": str(pictures), "runs_dir": folder, "device": "cpu"}
        if isinstance(wild := values.get("runs_dir"), str):  # never outside of this folder
            values["runs_dir"] = f"{folder}/{wild}"
        values = places | values
        said, (recipe, data) = refusal(prepare, values)
        if said:
            assert any(name in said for name in FIELDS), said
            return
        said, _ = refusal(check_run, recipe, data)
        assert not said or "diverged" in said, said
        set_free(recipe)


# --------------------------------------------------------------------- records and study files
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3),
                            st.dictionaries(st.text(max_size=5), inner, max_size=3)), max_leaves=5)


def places_in(value, path=()):
    """The paths to all values of nested dictionaries and lists."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places_in(value[key], (*path, key))


def spoilt(draw, whole, junk):
    """A copy in which one to three values are junk, missing, or another place's value."""
    copy = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([path for path in places_in(copy) if path]))
        inner = functools.reduce(lambda value, key: value[key], way, copy)
        if draw(st.booleans()):
            inner[last] = draw(junk)
        else:
            del inner[last]
        if not copy:
            break
    return copy


@st.composite
def records(draw):
    file = ROOT / "tests" / "golden" / "records" / f"{draw(st.sampled_from(list(RECIPES)))}.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    return spoilt(draw, whole, JUNK)


@examples(500)
@hypothesis.given(record=records())
def test_random_record_is_refused_by_name_or_compared(record):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.json"
        file.write_text(json.dumps(record), encoding="utf-8")
        said, record = refusal(load_record, file)
        if said:
            assert str(file) in said
            return
    other = load_record(ROOT / "tests" / "golden" / "records" / "ln_l2.json")
    said, _ = refusal(recipes.check_comparable, [record, other])
    assert not said or "Run them again" in said, said
    assert len(effects.results_table([record])) == 1
    said, _ = refusal(effects.findings, [record, other])
    assert not said or "count as two" in said, said  # it is the other one


STUDY = {
    "about": "Random", "common": {"dataset": SAMPLE, "epochs": 1, "arch": "mnist_8k"},
    "grid": {"dropout": [0.0, 0.1]}, "seeds": [1, 2], "to_reach": {"gn": 99.0}, "threads": 1,
    "factors": ["lr"], "recipes": {"gn": {"notebook": "02_group_norm_l1", "lr": 0.1},
                                   "ln": {"notebook": "03_layer_norm_l2", "l2": 0.0}}}
IN_STUDIES = st.one_of(JUNK, st.sampled_from(FIELDS), st.sampled_from(list(study.KEYS)), WILD)


@st.composite
def study_files(draw):
    return spoilt(draw, STUDY, IN_STUDIES)


@examples(500)
@hypothesis.given(spec=study_files())
def test_random_study_file_is_refused_by_name_or_all_its_runs_are_recipes(spec):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "random.yaml").write_text(
            yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8")
        with mock.patch.object(study, "STUDIES", Path(folder)):
            said, runs = refusal(study.read_study, "random")
            said = said or refusal(study.check_runs, "random", runs)[0]
    if said:
        assert "random" in said
        return
    recipes = [Recipe(**study.all_parameters(run)) for run in runs]
    assert len({recipe.run_dir for recipe in recipes}) == len(runs)
