"""Records: what a run leaves, that it agrees with the run, and that any recipe leaves one."""

import dataclasses
import functools
import json
import tempfile
from pathlib import Path
from unittest import mock

import hypothesis
import numpy as np
import pytest
import torch
import yaml
from helpers import files_in, first, fit, log_probabilities, make_recipe, set_free, without_seconds
from helpers import recipes as any_recipes
from hypothesis import strategies as st

from coursepack import files
from coursepack.data.datasets import load_dataset
from coursepack.lab import effects
from coursepack.runs import recipes
from coursepack.runs.records import RECIPES, load_record, load_run, save_run
from coursepack.train import loop
from coursepack.train.recipe import Recipe
from model import ARCHITECTURES, Net, count

FIELDS = [field.name for field in dataclasses.fields(Recipe)]
GOLDEN = files.ROOT / "tests" / "golden" / "records"
SEED000 = files.ROOT / "results" / "seed000"


def trained(data, recipe):
    """The arguments of save_run for a run that has been trained."""
    model, history = fit(data, recipe)
    return model, data, recipe, history


def test_record_comes_back_as_it_was_saved_with_every_parameter(finished, tmp_path):
    recipe, record, _ = finished
    assert files_in(recipe.run_dir) == ["misclassified.npz", "model.pt", "record.json"]
    assert load_record(recipe.run_dir / "record.json") == record
    assert Recipe(**record["parameters"]) == recipe
    assert (record["schema"], record["parameter_count"]) == (1, 7_416)
    assert record["data"]["source"] == "sample"
    assert (record["data"]["train_size"], record["data"]["test_size"]) == (300, 520)
    assert [set(row) for row in record["epochs"]] == 3 * [{
        "loss", "penalty", "accuracy", "lr", "test_loss", "test_accuracy", "train_seconds",
        "test_seconds", "threads"}]
    old = {name: part for name, part in record.items() if name != "calibration"}
    (tmp_path / "run.json").write_text(json.dumps(old), encoding="utf-8")
    assert load_record(tmp_path / "run.json") == old  # of before there was a calibration


def test_record_and_images_say_what_the_saved_model_says(finished, few):
    recipe, record, errors = finished
    model = Net(**recipe.network())
    model.load_state_dict(torch.load(recipe.run_dir / "model.pt", weights_only=True))
    chance = log_probabilities(model, few.test_images, few).exp().numpy()
    labels = few.test_labels.numpy()
    wrong = np.flatnonzero(chance.argmax(1) != labels)
    assert 0 < len(wrong) < 520
    assert sorted(errors.index) == sorted(record["misclassified"]) == wrong.tolist()
    assert record["epochs"][-1]["test_accuracy"] == pytest.approx(1 - len(wrong) / 520, abs=1e-12)
    assert np.array_equal(errors.image, few.test_images[errors.index])
    assert np.array_equal(errors.label, labels[errors.index])
    assert np.array_equal(errors.prediction, chance.argmax(1)[errors.index])
    assert errors.probability == pytest.approx(chance.max(1)[errors.index], abs=1e-4)
    assert errors.label_probability == pytest.approx(chance[errors.index, errors.label], abs=1e-4)
    assert (np.diff(errors.probability) <= 0).all()  # the most confident first
    rows = record["calibration"]
    assert sum(row["images"] for row in rows) == 520
    assert sum(row["images"] * (1 - row["accuracy"]) for row in rows) == pytest.approx(len(wrong))
    mean = sum(row["images"] * row["confidence"] for row in rows) / 520
    assert mean == pytest.approx(chance.max(1).mean(), abs=1e-5)
    small = np.concatenate([p.detach().abs().flatten() < 1e-3 for p in model.parameters()
                            if p.ndim == 4])
    assert record["near_zero"] == pytest.approx(small.mean())


def test_every_published_record_agrees_with_itself():
    there = [*(files.ROOT / "results").glob("*/*.json"), *GOLDEN.glob("*.json")]
    assert len(there) > 60
    for file in there:
        load_record(file)


def test_records_of_before_a_parameter_are_compared_with_new_ones(monkeypatch):
    grown = dataclasses.make_dataclass("Recipe", [("cutout", int, dataclasses.field(default=0))],
                                       bases=(Recipe,), frozen=True)
    monkeypatch.setattr("coursepack.train.recipe.Recipe", grown)
    old, new, other = (load_record(SEED000 / f"gn-seed{seed}.json") for seed in (1, 2, 3))
    assert old["parameters"]["cutout"] == 0
    assert recipes.by_recipe([old, new]) == {"GN(2)": [old, new]}
    other["parameters"]["cutout"] = 4
    assert list(recipes.by_recipe([old, other])) == ["GN(2), cutout 0", "GN(2), cutout 4"]
    recipes.check_comparable([old, new, other])
    assert len(effects.results_table([old, new, other])) == 2


@pytest.mark.parametrize(("name", "has", "lacks"), [
    ("elsewhere/gn_l1", ["02_group_norm_l1", "elsewhere"], "01_batch"),
    ("runs/no_such_run", ["(01, 02, 03)", "-p run_name no_such_run"], "runs_dir"),
])
def test_missing_record_names_the_command_that_makes_it(tmp_path, monkeypatch, name, has, lacks):
    monkeypatch.setattr("coursepack.files.ROOT", tmp_path)
    folder, run = (tmp_path / name).parent, (tmp_path / name).name
    with pytest.raises(FileNotFoundError) as refusal:
        load_run(folder, run)
    assert all(words in str(refusal.value) for words in has)
    assert lacks not in str(refusal.value)


# ---------------------------------------------------------------------- what was there before
def test_earlier_run_with_other_parameters_is_moved_aside(tmp_path, few, capsys):
    data, records = first(few, 100, 50), []
    for lr in (0.1, 0.2, 0.2, 0.3):
        recipe = make_recipe(tmp_path, lr=lr)
        records.append(save_run(*trained(data, recipe)))
    assert files_in(tmp_path / "runs") == ["run", "run-earlier-1", "run-earlier-2"]
    for name, record in {"run-earlier-1": records[0], "run-earlier-2": records[2]}.items():
        kept, _ = load_run(tmp_path / "runs", name)
        assert kept == record | {"parameters": record["parameters"] | {"run_name": name}}
        assert files_in(tmp_path / "runs" / name) == files_in(recipe.run_dir)
    assert load_run(tmp_path / "runs", "run")[0] == records[3]
    said = capsys.readouterr()
    assert said.err.count("had finished before") == 2
    assert "run-earlier-2" in said.err
    assert "earlier" not in said.out


def test_full_disk_loses_neither_what_was_there_nor_the_checkpoint(tmp_path, few, monkeypatch):
    data, recipe = first(few, 100, 50), make_recipe(tmp_path)
    recipe.run_dir.mkdir(parents=True)
    (recipe.run_dir / "record.json").write_text("my notes", encoding="utf-8")
    run, written, replace_file = trained(data, recipe), [], files.replace_file

    def full(path, write):
        if path == recipe.run_dir / "misclassified.npz":
            raise OSError(28, "No space left on device")
        replace_file(path, write)

    def spy(path, write):
        replace_file(path, write)
        written.append(path.name)

    monkeypatch.setattr("coursepack.files.replace_file", full)
    with pytest.raises(OSError, match="No space"):
        save_run(*run)
    monkeypatch.setattr("coursepack.files.replace_file", spy)
    kept = tmp_path / "runs" / "run-earlier-1" / "record.json"
    assert kept.read_text(encoding="utf-8") == "my notes"
    assert list(recipe.run_dir.glob("unfinished-*"))
    save_run(*trained(data, recipe))
    assert files_in(tmp_path / "runs") == ["run", "run-earlier-1"]
    assert written == ["model.pt", "misclassified.npz", "record.json"]  # which says: finished


# ------------------------------------------------------------------------------ any of them
floats = functools.partial(st.floats, allow_subnormal=False)  # the process calls those zero
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), floats(), st.text(max_size=5),
              st.sampled_from([-1, 10**12, "", "BN ", "norm-norm", "~", "a\0b"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3),
                            st.dictionaries(st.text(max_size=5), inner, max_size=3)), max_leaves=5)


def places_in(value, path=()):
    """The paths to all values of nested dictionaries and lists."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places_in(value[key], (*path, key))


def refusal(function, *arguments):
    """What a function says when it refuses its arguments ("" if it does not), and its result."""
    try:
        return "", function(*arguments)
    except (ValueError, FloatingPointError) as error:
        return str(error), None


@hypothesis.given(name=st.sampled_from(list(RECIPES)), data=st.data())
def test_any_record_is_refused_by_name_or_compared(name, data):
    """One to three values are junk or missing."""
    record = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from([path for path in places_in(record) if path]))
        inner = functools.reduce(lambda value, key: value[key], way, record)
        if data.draw(st.booleans()):
            inner[last] = data.draw(JUNK)
        elif len(record) > 1:
            del inner[last]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.json"
        file.write_text(json.dumps(record), encoding="utf-8")
        said, record = refusal(load_record, file)
    if said:
        assert str(file) in said
        return
    other = load_record(GOLDEN / "ln_l2.json")
    said, _ = refusal(recipes.check_comparable, [record, other])
    assert not said or "Run them again" in said, said
    assert len(effects.results_table([record])) == 1
    said, _ = refusal(effects.findings, [record, other])
    assert not said or "count as two" in said, said  # it is the other one


@st.composite
def small_recipes(draw):
    """Parameters that are a recipe for 12 images, but for up to two, which are anything."""
    arch = draw(st.sampled_from(list(ARCHITECTURES)))
    own = {name: draw(floats(0, 1)) for name in ("l1", "l2", "weight_decay")}
    few = {"train_size": [0, 8], "holdout": [0, 4], "epochs": [1, 2], "norm_batch": [0, 2, 5]}
    own |= {name: draw(st.sampled_from(some)) for name, some in few.items()}
    dataset = "grey" if ARCHITECTURES[arch].image[0] == 1 else "coloured"
    recipe = draw(any_recipes(arch=arch, dataset=dataset, lr=draw(floats(1e-9, 10)),
                              batch_size=draw(st.integers(3, 40)), device="cpu", **own))
    wild = st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=draw(st.sampled_from([0, 2])))
    return dataclasses.asdict(recipe) | draw(wild)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder with two tiny data sets, grey and coloured, of 12 training and 8 test images."""
    draw = np.random.default_rng(0)
    for name, size in {"grey": (28, 28), "coloured": (32, 32, 3)}.items():
        images = {f"x_{split}": draw.integers(256, size=(n, *size), dtype=np.uint8)
                  for split, n in (("train", 12), ("test", 8))}
        np.savez(tmp_path / f"{name}.npz", **images, y_train=np.arange(12) % 10,
                 y_test=np.arange(8) % 10)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))


def prepare(values):
    """All that a notebook does before training: recipe and data, if they go together."""
    recipe = Recipe(**values)
    data = load_dataset(recipe.dataset, recipe.data_dir, recipe.train_size, recipe.holdout)
    loop.build_model(recipe, data)
    return recipe, data


def check_run(recipe, data):
    """A run ends; it resumes as if undisturbed; what it saves agrees with itself."""
    beside = dataclasses.replace(recipe, runs_dir=recipe.runs_dir + "/undisturbed")
    _, undisturbed = fit(data, beside)
    set_free(beside)

    def interrupt(history, epochs):
        if len(history) == max(1, len(undisturbed) // 2):
            raise KeyboardInterrupt

    with (mock.patch("coursepack.train.loop.report_epoch", interrupt),
          pytest.raises(KeyboardInterrupt)):
        fit(data, recipe)
    model, history = fit(data, recipe)
    assert json.dumps(without_seconds(history)) == json.dumps(without_seconds(undisturbed))
    record = save_run(model, data, recipe, history)
    again, errors = load_run(recipe.run_dir.parent, recipe.run_name)
    assert again == record
    reloaded = Net(**recipe.network(), classes=len(data.classes))
    reloaded.load_state_dict(torch.load(recipe.run_dir / "model.pt", weights_only=True))
    _, accuracy = loop.evaluate(reloaded, data)
    assert accuracy == history[-1]["test_accuracy"]
    assert len(errors.index) == round((1 - accuracy) * len(data.test_labels))


@hypothesis.given(values=small_recipes())
def test_any_recipe_is_refused_by_name_or_runs(pictures, values):
    with tempfile.TemporaryDirectory() as folder:
        values["runs_dir"] = f"{folder}/{values['runs_dir']}"  # never outside of this folder
        said, prepared = refusal(prepare, values)
        if said:
            assert any(name in said for name in FIELDS), said
            return
        said, _ = refusal(check_run, *prepared)
        assert not said or "diverged" in said, said
        set_free(prepared[0])


@pytest.mark.parametrize(("preset", "parameters"), [("cifar10", 34_872), ("quick", 7_816)])
def test_presets_are_recipes(pictures, tmp_path, preset, parameters):
    file = files.ROOT / "notebooks" / "params" / f"{preset}.yaml"
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    like = "coloured" if preset == "cifar10" else "grey"
    (tmp_path / f"{like}.npz").rename(tmp_path / f"{values.get('dataset', 'mnist')}.npz")
    _, data = prepare(values)
    assert count(loop.build_model(Recipe(**values), data)).parameters == parameters
