"""Records: what a run leaves, and that it agrees with the run."""

import json

import numpy as np
import pytest
import torch
from helpers import files_in, log_probabilities, make_recipe, says

from coursepack import files
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
