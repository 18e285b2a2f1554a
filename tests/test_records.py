"""Records: what a run leaves, and that it agrees with the run."""

import json
from dataclasses import field, make_dataclass

import numpy as np
import pytest
import study
import torch
from helpers import files_in, log_probabilities, make_recipe, says

from coursepack import compare, files
from coursepack.recipe import Recipe
from coursepack.records import load_record, load_run, save_run
from model import Net


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
    monkeypatch.setattr("coursepack.recipe.Recipe", grown)


def test_record_written_before_a_parameter_existed_has_its_default(younger):
    file = files.ROOT / "results" / "seed000" / "gn-seed1.json"
    assert "cutout" not in json.loads(file.read_text())["parameters"]
    assert load_record(file)["parameters"]["cutout"] == 0


def test_old_records_are_compared_with_new_ones(younger):
    old, new, other = (load_record(files.ROOT / "results" / "seed000" / f"gn-seed{seed}.json")
                       for seed in (1, 2, 3))
    new["parameters"]["cutout"] = 0
    assert compare.by_recipe([old, new]) == {"GN(2)": [old, new]}
    other["parameters"]["cutout"] = 4
    assert list(compare.by_recipe([old, other])) == ["GN(2), cutout 0", "GN(2), cutout 4"]
    compare.check_comparable([old, new, other])
    assert len(compare.results_table([old, new, other])) == 2


def test_old_runs_of_a_study_are_finished_unless_it_wants_another_value(
    younger, monkeypatch, tmp_path
):
    [run, *_] = study.read_study("seed000", str(tmp_path))
    published = files.ROOT / "results" / "seed000" / f"{run.name}.json"
    (tmp_path / run.name).mkdir()
    record = json.loads(published.read_text())
    record["parameters"]["runs_dir"] = str(tmp_path)
    (tmp_path / run.name / "record.json").write_text(json.dumps(record))
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
    (tmp_path / "mixed.json").write_text(json.dumps(record))
    np.savez(tmp_path / "mixed.npz", **{k: v[:-1] for k, v in errors._asdict().items()})
    with pytest.raises(ValueError, match=says("mixed.npz", str(len(errors.index)))):
        load_run(tmp_path, "mixed")
    np.savez(tmp_path / "mixed.npz", **errors._asdict())
    assert load_run(tmp_path, "mixed")[0] == record


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
