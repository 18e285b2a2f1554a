"""Records: what a run leaves, and that it agrees with the run."""

import functools
import json
from dataclasses import field, make_dataclass

import numpy as np
import pytest
import torch
from helpers import files_in, first, fit, log_probabilities, make_recipe, says

from coursepack import files
from coursepack.lab import effects
from coursepack.lab import studies as study
from coursepack.runs import recipes
from coursepack.runs.records import load_record, load_run, save_run
from coursepack.train.recipe import Recipe
from model import Net


def fit_and_history(data, recipe):
    """The arguments of save_run for a run that has been trained."""
    model, history = fit(data, recipe)
    return model, data, recipe, history


def test_run_folder_holds_three_files_and_no_leftovers(finished):
    assert files_in(finished[0].run_dir) == ["misclassified.npz", "model.pt", "record.json"]


def test_record_comes_back_as_it_was_saved_with_every_parameter(finished):
    recipe, record, _ = finished
    assert load_record(recipe.run_dir / "record.json") == record
    assert Recipe(**record["parameters"]) == recipe
    assert record["schema"] == 1
    assert record["parameter_count"] == 7_416
    assert record["data"]["source"] == "sample"
    assert (record["data"]["train_size"], record["data"]["test_size"]) == (300, 520)
    assert len(record["epochs"]) == 3
    assert set(record["epochs"][0]) == {
        "loss", "penalty", "accuracy", "test_loss", "test_accuracy", "lr", "train_seconds",
        "test_seconds", "threads",
    }


def test_reported_accuracy_is_that_of_the_misclassified_images(finished):
    _, record, errors = finished
    accuracy = record["epochs"][-1]["test_accuracy"]
    assert accuracy == pytest.approx(1 - len(errors.index) / 520, abs=1e-12)
    assert 0 < len(errors.index) < 520


def test_calibration_is_that_of_the_answers_to_the_test_images(finished, few):
    recipe, record, errors = finished
    rows = record["calibration"]
    assert sum(row["images"] for row in rows) == 520
    wrong = sum(row["images"] * (1 - row["accuracy"]) for row in rows)
    assert wrong == pytest.approx(len(errors.index))
    model = Net(**recipe.network())
    model.load_state_dict(torch.load(recipe.run_dir / "model.pt", weights_only=True))
    sure = log_probabilities(model, few.test_images, few).exp().max(1)[0]
    mean = sum(row["images"] * row["confidence"] for row in rows) / 520
    assert mean == pytest.approx(sure.mean().item(), abs=1e-5)


def test_record_of_before_has_no_calibration_and_is_read(tmp_path, finished):
    old = {name: part for name, part in finished[1].items() if name != "calibration"}
    (tmp_path / "run.json").write_text(json.dumps(old), encoding="utf-8")
    assert load_record(tmp_path / "run.json") == old


def test_saved_model_makes_exactly_the_saved_mistakes(finished, few):
    recipe, _, errors = finished
    model = Net(**recipe.network())
    model.load_state_dict(torch.load(recipe.run_dir / "model.pt", weights_only=True))
    wrong = log_probabilities(model, few.test_images, few).argmax(1) != few.test_labels
    assert sorted(errors.index) == wrong.nonzero().flatten().tolist()


def test_misclassified_images_come_with_their_labels_most_confident_first(finished, few):
    recipe, _, errors = finished
    assert np.array_equal(errors.image, few.test_images[errors.index])
    assert np.array_equal(errors.label, few.test_labels[errors.index])
    assert (errors.label != errors.prediction).all()
    model = Net(**recipe.network())
    model.load_state_dict(torch.load(recipe.run_dir / "model.pt", weights_only=True))
    probabilities = log_probabilities(model, few.test_images, few).exp().numpy()[errors.index]
    mistakes = np.arange(len(errors.index))
    of_label = probabilities[mistakes, errors.label]
    assert errors.probability == pytest.approx(probabilities.max(1), abs=1e-4)
    assert errors.label_probability == pytest.approx(of_label, abs=1e-4)
    assert (np.diff(errors.probability) <= 0).all()


@pytest.fixture
def younger(monkeypatch):
    """Recipe has one parameter more than when the published records were written."""
    grown = make_dataclass("Recipe", [("cutout", int, field(default=0))], bases=(Recipe,),
                           frozen=True)
    monkeypatch.setattr("coursepack.train.recipe.Recipe", grown)


def test_record_written_before_a_parameter_existed_has_its_default(younger):
    file = files.ROOT / "results" / "seed000" / "gn-seed1.json"
    assert "cutout" not in json.loads(file.read_text(encoding="utf-8"))["parameters"]
    assert load_record(file)["parameters"]["cutout"] == 0


def test_old_records_are_compared_with_new_ones(younger):
    old, new, other = (load_record(files.ROOT / "results" / "seed000" / f"gn-seed{seed}.json")
                       for seed in (1, 2, 3))
    new["parameters"]["cutout"] = 0
    assert recipes.by_recipe([old, new]) == {"GN(2)": [old, new]}
    other["parameters"]["cutout"] = 4
    assert list(recipes.by_recipe([old, other])) == ["GN(2), cutout 0", "GN(2), cutout 4"]
    recipes.check_comparable([old, new, other])
    assert len(effects.results_table([old, new, other])) == 2


def test_old_runs_of_a_study_are_finished_unless_it_wants_another_value(
    younger, monkeypatch, tmp_path
):
    [run, *_] = study.read_study("seed000", str(tmp_path))
    published = files.ROOT / "results" / "seed000" / f"{run.name}.json"
    (tmp_path / run.name).mkdir()
    record = json.loads(published.read_text(encoding="utf-8"))
    record["parameters"]["runs_dir"] = str(tmp_path)
    (tmp_path / run.name / "record.json").write_text(json.dumps(record), encoding="utf-8")
    defaults = study.notebook_defaults(run.notebook)
    for cutout, finished in ((0, True), (4, False)):
        grown = {**defaults, "cutout": cutout}
        monkeypatch.setattr(study, "notebook_defaults", lambda name, grown=grown: grown)
        assert study.finished(run) == finished


def test_missing_record_names_the_command_that_puts_it_into_that_folder(tmp_path):
    said = says("02_group_norm_l1", f"-p runs_dir {tmp_path}")
    with pytest.raises(FileNotFoundError, match=said):
        load_run(tmp_path, "gn_l1")
    with pytest.raises(FileNotFoundError) as refusal:
        load_run(files.ROOT / "runs", "none_of_this_name")
    assert "runs_dir" not in str(refusal.value)


@pytest.mark.parametrize(("text", "error"), [
    (None, FileNotFoundError),
    ("", ValueError),
    ('{"schema": 1, "param', ValueError),
    ("[]", ValueError),
    ('{"schema": 1}', ValueError),
    ('{"schema": 1, "parameters": {}, "epochs": []}', ValueError),
    ('{"schema": 2, "parameters": {}, "epochs": [{"test_accuracy": 1}]}', ValueError),
    ("\x00\xff", ValueError),
])
def test_missing_or_broken_record_is_an_error_that_names_the_file(tmp_path, text, error):
    file = tmp_path / "record.json"
    if text is not None:
        file.write_text(text, encoding="latin-1")
    with pytest.raises(error, match=says(str(file))):
        load_record(file)


def test_misclassified_images_of_another_run_are_refused(tmp_path, finished):
    recipe, record, errors = finished
    (tmp_path / "mixed.json").write_text(json.dumps(record), encoding="utf-8")
    np.savez(tmp_path / "mixed.npz", **{k: v[:-1] for k, v in errors._asdict().items()})
    with pytest.raises(ValueError, match=says("mixed.npz", str(len(errors.index)))):
        load_run(tmp_path, "mixed")
    as_many = errors._replace(index=(errors.index + 1) % 520)
    np.savez(tmp_path / "mixed.npz", **as_many._asdict())
    with pytest.raises(ValueError, match=says("mixed.npz", "mixed up")):
        load_run(tmp_path, "mixed")
    np.savez(tmp_path / "mixed.npz", **errors._asdict())
    assert load_run(tmp_path, "mixed")[0] == record


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04"])
def test_unreadable_misclassified_images_are_named(tmp_path, finished, content):
    (tmp_path / "run.json").write_text(json.dumps(finished[1]), encoding="utf-8")
    if content is not None:
        (tmp_path / "run.npz").write_bytes(content)
    with pytest.raises(ValueError, match=says(tmp_path / "run.npz", "Run its recipe notebook")):
        load_run(tmp_path, "run")


@pytest.mark.parametrize(("name", "change"), [
    ("image", lambda part: part.reshape(len(part), -1)),
    ("image", lambda part: part.astype(float)),
    ("label", lambda part: part[:-1]),
    ("label", lambda part: part + 10),
    ("label", lambda part: part.astype(str)),
    ("prediction", lambda part: part - 10),
    ("prediction", lambda part: part + 2**40),
    ("probability", lambda part: part + np.nan),
    ("label_probability", lambda part: part + 1.1),
])
def test_misclassified_images_that_cannot_be_ours_are_named(tmp_path, finished, name, change):
    _, record, errors = finished
    (tmp_path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    np.savez(tmp_path / "run.npz", **errors._asdict() | {name: change(getattr(errors, name))})
    with pytest.raises(ValueError, match=says(tmp_path / "run.npz", name, "again")):
        load_run(tmp_path, "run")


def changed(record, path, value):
    """A copy of a record with one other value; path is its keys, joined by dots."""
    copy = json.loads(json.dumps(record))
    *parts, last = [int(key) if key.lstrip("-").isdigit() else key for key in path.split(".")]
    functools.reduce(lambda inner, key: inner[key], parts, copy)[last] = value
    return copy


@pytest.mark.parametrize(("path", "value", "word"), [
    ("epochs", "many", "epochs"),
    ("epochs", [], "epochs"),
    ("epochs.0", [1, 2], "epochs"),
    ("epochs.-1.test_accuracy", "0.99", "test_accuracy"),
    ("epochs.-1.test_accuracy", 99.4, "test_accuracy"),
    ("epochs.-1.test_accuracy", 1.0, "test accuracy"),
    ("epochs.0.loss", None, "loss"),
    ("epochs.0.loss", float("nan"), "NaN"),
    ("epochs.0.loss", -1.0, "loss"),
    ("parameters", [], "parameters"),
    ("parameters.epochs", 7, "epochs"),
    ("parameters.norm", 3, "norm"),
    ("parameters.norm", "bach", "bach"),
    ("parameters.no_such_one", 1, "no_such_one"),
    ("data", None, "data"),
    ("data.test_size", 0, "test_size"),
    ("data.classes", ["0"], "classes"),
    ("data.classes", list(range(10)), "classes"),
    ("misclassified", {}, "misclassified"),
    ("misclassified", [10**9], "mistakes"),
    ("calibration", [], "calibration"),
    ("calibration.0.images", 1.5, "calibration"),
    ("calibration.0.images", 10**6, "calibration"),
    ("calibration.0.accuracy", 1.5, "calibration"),
    ("calibration.0.accuracy", None, "calibration"),
    ("calibration.-1.confidence", "high", "calibration"),
    ("near_zero", "few", "near_zero"),
    ("near_zero", 2, "near_zero"),
    ("parameter_count", 1.5, "parameter_count"),
    ("seconds", [], "seconds"),
    ("environment", "mine", "environment"),
])
def test_record_with_a_value_of_the_wrong_kind_is_refused_by_name(
    tmp_path, finished, path, value, word
):
    file = tmp_path / "run.json"
    file.write_text(json.dumps(changed(finished[1], path, value)), encoding="utf-8")
    with pytest.raises(ValueError, match=says(file, word, "recipe notebook")):
        load_record(file)


def test_every_published_record_agrees_with_itself():
    files_there = [*(files.ROOT / "results").glob("*/*.json"),
                   *(files.ROOT / "tests" / "golden" / "records").glob("*.json")]
    assert len(files_there) > 60
    for file in files_there:
        load_record(file)


def test_unknown_run_names_no_notebook_in_particular_and_lists_what_is_there(finished):
    runs = finished[0].run_dir.parent
    with pytest.raises(FileNotFoundError, match=says("no_such", "01, 02, 03", "there: bn")):
        load_run(runs, "no_such")


def test_earlier_run_with_other_parameters_is_moved_aside(tmp_path, few, capsys):
    data = first(few, 100, 50)
    records = []
    for lr in (0.1, 0.2, 0.2, 0.3):
        recipe = make_recipe(tmp_path, lr=lr)
        records.append(save_run(*fit_and_history(data, recipe)))
    assert files_in(tmp_path / "runs") == ["run", "run-earlier-1", "run-earlier-2"]
    for name, record in {"run-earlier-1": records[0], "run-earlier-2": records[2]}.items():
        kept, errors = load_run(tmp_path / "runs", name)
        assert kept == changed(record, "parameters.run_name", name)
        assert files_in(tmp_path / "runs" / name) == files_in(recipe.run_dir)
    assert load_run(tmp_path / "runs", "run")[0] == records[3]
    said = capsys.readouterr()
    assert said.err.count("had finished before") == 2
    assert "run-earlier-2" in said.err
    assert "earlier" not in said.out


def test_what_stands_in_place_of_a_record_is_moved_aside_too(tmp_path, few):
    data, recipe = first(few, 100, 50), make_recipe(tmp_path)
    recipe.run_dir.mkdir(parents=True)
    (recipe.run_dir / "record.json").write_text("my notes", encoding="utf-8")
    save_run(*fit_and_history(data, recipe))
    kept = tmp_path / "runs" / "run-earlier-1" / "record.json"
    assert kept.read_text(encoding="utf-8") == "my notes"


def test_full_disk_loses_neither_the_earlier_run_nor_the_checkpoint(tmp_path, few, monkeypatch):
    data = first(few, 100, 50)
    earlier = save_run(*fit_and_history(data, make_recipe(tmp_path)))
    recipe, replace_file = make_recipe(tmp_path, lr=0.2), files.replace_file
    trained = fit_and_history(data, recipe)

    def full(path, write):
        if path == recipe.run_dir / "misclassified.npz":
            raise OSError(28, "No space left on device")
        replace_file(path, write)

    monkeypatch.setattr("coursepack.files.replace_file", full)
    with pytest.raises(OSError, match="No space"):
        save_run(*trained)
    assert load_run(tmp_path / "runs", "run-earlier-1")[0]["epochs"] == earlier["epochs"]
    monkeypatch.undo()
    assert load_run(tmp_path / "runs", "run-earlier-1")
    save_run(*fit_and_history(data, recipe))  # the checkpoint is still there
    assert files_in(tmp_path / "runs") == ["run", "run-earlier-1"]


def test_record_is_written_last(tmp_path, monkeypatch, finished, few):
    recipe = make_recipe(tmp_path)
    written, replace_file = [], files.replace_file

    def spy(path, write):
        replace_file(path, write)
        written.append(path.name)

    monkeypatch.setattr("coursepack.files.replace_file", spy)
    save_run(Net("mnist_7k"), few, recipe, finished[1]["epochs"])
    assert written[-1] == "record.json"
    assert sorted(written) == ["misclassified.npz", "model.pt", "record.json"]
