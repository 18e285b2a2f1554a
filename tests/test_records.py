"""Records: what a run leaves, that it agrees with the run, and that any recipe leaves one."""

import contextlib
import dataclasses
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import hypothesis
import numpy as np
import papermill
import pytest
import torch
import yaml
from helpers import files_in, first, fit, log_probabilities, make_recipe, set_free
from helpers import recipes as any_recipes
from hypothesis import strategies as st

from coursepack import files
from coursepack.lab import rows
from coursepack.runs import mistakes
from coursepack.runs.recipes import by_recipe
from coursepack.runs.records import MISTAKES, load_record, load_run, save_run
from coursepack.train import loop
from coursepack.train.recipe import FIELDS, Recipe
from model import ARCHITECTURES, Net, count


def train_and_save(data, recipe):
    model, history = fit(data, recipe)
    return save_run(model, data, recipe, history)


def saved_network(recipe, data):
    model = Net(**recipe.network(), image=data.image, classes=len(data.classes))
    model.load_state_dict(torch.load(recipe.run_dir / "model.pt", weights_only=True))
    return model


def test_a_record_comes_back_with_every_parameter_and_says_what_the_saved_model_says(
        few, tmp_path):
    recipe = make_recipe(tmp_path, epochs=3, dropout=0.1, l1=1e-4, l2=1e-3, augment="rotate+shift")
    record = train_and_save(few, recipe)
    _, errors = load_run(tmp_path / "runs", recipe.run_name)
    assert files_in(recipe.run_dir) == ["misclassified.npz", "model.pt", "record.json"]
    assert load_record(recipe.run_dir / "record.json") == record
    assert Recipe(**record["parameters"]) == recipe
    assert (record["schema"], record["parameter_count"]) == (1, 7_416)
    sizes = {"source": "sample", "train_size": 300, "test_size": 520}
    assert record["data"] == record["data"] | sizes

    model = saved_network(recipe, few)
    chance = log_probabilities(model, few.test_images, few).exp().numpy()
    labels = few.test_labels.numpy()
    wrong = np.flatnonzero(chance.argmax(1) != labels)
    assert 0 < len(wrong) < 520
    assert sorted(errors.index) == sorted(record["misclassified"]) == wrong.tolist()
    assert record["epochs"][-1]["test_accuracy"] == pytest.approx(1 - len(wrong) / 520, abs=1e-12)
    of_image = (few.test_images.numpy(), labels, chance.argmax(1), chance.max(1),
                chance[range(520), labels])
    for part, expected in zip(errors[1:], of_image):
        np.testing.assert_allclose(part, expected[errors.index], rtol=0, atol=1e-4)
    assert (np.diff(errors.probability) <= 0).all()  # the most confident first
    mean = sum(row["images"] * row["confidence"] for row in record["calibration"]) / 520
    assert mean == pytest.approx(chance.max(1).mean(), abs=1e-5)
    small = np.concatenate([p.detach().abs().flatten() < 1e-3 for p in model.parameters()
                            if p.ndim == 4])
    assert record["near_zero"] == pytest.approx(small.mean())


RESULTS = files.ROOT / "results"
KEPT = {  # of each kind a file as it was written, and what reads it
    RESULTS / "mnist_7k" / "gn_l1.json": load_record,
    RESULTS / "mnist_7k" / "gn_l1.npz": lambda file: files.read_kept(file, "Run it again."),
    RESULTS / "norm_batch.csv": rows.read_table}


@hypothesis.given(st.data())
def test_a_kept_file_with_any_change_is_refused(data):
    """A byte, a line, a piece is another, gone, there twice; published ones are as they were."""
    file, read = data.draw(st.sampled_from([*KEPT.items()]))
    pieces = data.draw(st.sampled_from(["bytes", "lines"]))
    content = file.read_bytes()
    parts = content.splitlines(True) if pieces == "lines" else [content[i: i + 1] for i in range(
        len(content))]
    start, size = (data.draw(st.integers(0, most)) for most in (len(parts), 3))
    put = data.draw(st.sampled_from([b"", b"0", b"=======\n", *map(b"".join, (
        parts[start: start + 2 * size], parts[start + size: start + 2 * size]))]))
    changed = b"".join(parts[:start]) + put + b"".join(parts[start + size:])
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, file.name)
        copy.write_bytes(changed)
        with (contextlib.nullcontext() if changed == content else
              pytest.raises(ValueError, match=f"{file.name} is not as it was written")):
            read(copy)


STEPS = st.tuples(st.sampled_from(["run", "kill", "copy", "move"]), st.integers(1, 2))


@hypothesis.given(st.lists(STEPS, min_size=2, max_size=6))
def test_whatever_runs_is_killed_and_copied_is_counted_once_or_refused(few, steps):
    data, finished = first(few, 20, 20), {}  # the folders of each seed's run
    with tempfile.TemporaryDirectory() as top:
        runs = Path(top, "runs")
        for number, (step, seed) in enumerate(steps):
            recipe = make_recipe(Path(top), epochs=2, seed=seed, run_name=f"seed{seed}")
            places = finished.setdefault(seed, set())
            if step == "run":
                train_and_save(data, recipe)
                places.add(recipe.run_dir)
                assert files_in(recipe.run_dir) == [MISTAKES, "model.pt", "record.json"]
            elif step == "kill":  # and what was being written then
                with (mock.patch.object(loop, "report_epoch", side_effect=KeyboardInterrupt),
                      contextlib.suppress(KeyboardInterrupt)):  # if it has an epoch to do
                    fit(data, recipe)
                (recipe.run_dir / ".unfinished-123-record.json").touch()
            elif places:
                other = runs / f"{number} copy"
                (shutil.copytree if step == "copy" else shutil.move)(place := places.pop(), other)
                places |= {other} | ({place} if step == "copy" else set())
        there = sorted(file.parent.name for file in runs.glob("*/record.json"))
        assert there == sorted(place.name for some in finished.values() for place in some)
        expected = sum(map(bool, finished.values()))
        with (contextlib.nullcontext() if len(there) == expected else
              pytest.raises(ValueError, match="would count as two")):
            kept = by_recipe([load_run(runs, name)[0] for name in there])
            assert sum(map(len, kept.values())) == expected


def test_another_run_that_finished_before_is_moved_aside_and_the_record_is_written_last(
        tmp_path, few, capsys):
    data, records, runs = first(few, 20, 20), [], tmp_path / "runs"
    for lr in (0.1, 0.2, 0.2, 0.3):
        records.append(train_and_save(data, make_recipe(tmp_path, lr=lr)))
    assert files_in(runs) == ["run", "run-earlier-1", "run-earlier-2"]
    for name, record in {"run-earlier-1": records[0], "run-earlier-2": records[2]}.items():
        kept, _ = load_run(runs, name)
        assert kept == record | {"parameters": record["parameters"] | {"run_name": name}}
        assert files_in(runs / name) == files_in(runs / "run")
    assert load_run(runs, "run")[0] == records[3]
    said = capsys.readouterr()
    assert said.err.count("had finished before") == 2
    assert "run-earlier-2" in said.err
    assert "earlier" not in said.out

    (runs / "run" / "record.json").write_text("my notes", encoding="utf-8")
    with mock.patch("coursepack.files.replace_file", wraps=files.replace_file) as written:
        train_and_save(data, make_recipe(tmp_path))
    kept = runs / "run-earlier-3" / "record.json"
    assert kept.read_text(encoding="utf-8") == "my notes"
    names = [call.args[0].relative_to(runs).as_posix() for call in written.call_args_list]
    assert names[-4:-1] == ["run-earlier-3/record.json", "run/model.pt", "run/misclassified.npz"]
    assert names[-1] == "run/record.json"  # finished


# ------------------------------------------------------------------------------ any of them
JUNK = st.sampled_from([None, True, -1, 10**12, 0.5, float("nan"), "", "BN ", "norm-norm", "~",
                        "a\0b", [], ["a", 1], {"a": None}])


@st.composite
def small_recipes(draw):
    """Parameters that are a recipe for 12 images, but for up to two, which are anything."""
    arch = draw(st.sampled_from(list(ARCHITECTURES)))
    few = {"train_size": [0, 8], "holdout": [0, 4], "epochs": [2], "norm_batch": [0, 2, 5],
           "l1": [0.0, 0.1], "l2": [0.0, 0.1], "weight_decay": [0.0, 0.1], "lr": [1e-9, 0.1, 10.0],
           "batch_size": [3, 8, 40]}
    own = {name: draw(st.sampled_from(some)) for name, some in few.items()}
    dataset = draw(st.sampled_from(["grey", "coloured", "wide"]))
    recipe = draw(any_recipes(arch=arch, dataset=dataset, device="cpu", **own))
    wild = st.dictionaries(st.sampled_from([*FIELDS]), JUNK,
                           max_size=draw(st.sampled_from([0, 2])))
    return dataclasses.asdict(recipe) | draw(wild)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder with tiny data sets of several sizes, of 12 training and 8 test images."""
    for name, size in {"grey": (28, 28), "coloured": (32, 32, 3), "wide": (24, 36, 3)}.items():
        images = np.random.default_rng(0).integers(256, size=(20, *size), dtype=np.uint8)
        np.savez(tmp_path / f"{name}.npz", x_train=images[:12], x_test=images[12:],
                 y_train=np.arange(12) % 4, y_test=np.arange(8) % 4)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))


def check_run(recipe, data):
    """A run ends; it resumes as if undisturbed; what it saves agrees with itself."""
    undisturbed, alike = loop.train_beside(data, recipe)
    with (mock.patch("coursepack.train.loop.report_epoch", side_effect=KeyboardInterrupt),
          pytest.raises(KeyboardInterrupt)):
        fit(data, recipe)
    record = train_and_save(data, recipe)
    assert load_run(recipe.run_dir.parent, recipe.run_name)[0] == record
    for row, expected in zip(record["epochs"], alike, strict=True):
        assert row == row | expected
    saved = saved_network(recipe, data)
    torch.testing.assert_close(saved.state_dict(), undisturbed.state_dict(), rtol=0, atol=0)
    placed = loop.place(saved, data)  # in the layout of training: equal scores differ by rounding
    assert loop.evaluate(saved, placed)[1] == record["epochs"][-1]["test_accuracy"]


@hypothesis.given(values=small_recipes())
def test_any_recipe_is_refused_by_name_or_runs(pictures, values):
    with tempfile.TemporaryDirectory() as folder:
        values["runs_dir"] = f"{folder}/{values['runs_dir']}"  # never outside of this folder
        try:
            recipe = Recipe(**values)
            data = recipe.load_data()
            loop.build_model(recipe, data)
        except ValueError as error:
            if not any(name in str(error) for name in FIELDS):
                raise
            return
        with contextlib.suppress(FloatingPointError):  # it diverged
            check_run(recipe, data)
        set_free(recipe)


@pytest.mark.parametrize(("preset", "parameters"), [("cifar10", 34_872), ("quick", 7_880)])
def test_presets_are_recipes(preset, parameters):
    file = files.ROOT / "notebooks" / "params" / f"{preset}.yaml"
    recipe = Recipe(**yaml.safe_load(file.read_text(encoding="utf-8")))
    assert count(Net(**recipe.network())).parameters == parameters


@pytest.mark.slow
def test_every_cell_of_notebook_2_takes_the_quick_preset(tmp_path):
    """The cells vary its recipe, whose network and optimizer are others than in the text."""
    quick = yaml.safe_load((files.ROOT / "notebooks/params/quick.yaml").read_bytes())
    papermill.execute_notebook(
        files.ROOT / "notebooks/02_group_norm_l1.ipynb", tmp_path / "out.ipynb", quick | {
            "dataset": "mnist_sample", "train_size": 200, "epochs": 1, "runs_dir": str(tmp_path)})
    record = load_record(tmp_path / "quick/record.json")
    assert record["parameters"]["optimizer"] == quick["optimizer"]


# ------------------------------------------------------- how sure, and how often right
def test_a_reliability_table_has_what_lies_in_its_bins():
    rows = mistakes.reliability_table([0.0, 0.5, 0.5, 0.9, 1.0], [0, 1, 0, 1, 1], [0, 0.5, 0.9, 1])
    assert rows == [{"above": 0.0, "images": 1, "confidence": 0.0, "accuracy": 0.0},
                    {"above": 0.5, "images": 2, "confidence": 0.5, "accuracy": 0.5},
                    {"above": 0.9, "images": 2, "confidence": 0.95, "accuracy": 1.0}]
    [row] = mistakes.reliability_table([1 + 2e-7] * 2, [True, True])  # which was rounded up
    assert row == {"above": 0.9999, "images": 2, "confidence": 1.0, "accuracy": 1.0}


def test_shared_mistakes_are_found_in_each_networks_own_order():
    def errors_of(*wrong):  # (index, prediction); an image is known by its index
        index, said = np.transpose(wrong)
        image = np.ones((1, 2, 2), np.uint8) * index.astype(np.uint8)[:, None, None, None]
        return mistakes.Misclassified(index, image, index % 10, said, index / 10, index / 20)

    both = [errors_of((7, 1), (3, 2), (5, 4)), errors_of((5, 6), (7, 8), (9, 0))]
    index, image, label, said = (part.tolist() for part in mistakes.shared_mistakes(both))
    assert index == label == [pixels[0][0][0] for pixels in image] == [5, 7]
    assert said == [[4, 6], [1, 8]]
    none = mistakes.shared_mistakes([*both, errors_of((1, 5))])
    assert (none.image.shape, none.predictions.shape) == ((0, 1, 2, 2), (0, 3))
