"""The README's numbers are those of the published records, and its figures exist."""

import json
import re
from pathlib import Path

import bench
import pytest
import report
import yaml

from coursepack.compare import accuracy_interval, by_recipe, final_values, recipe_title
from coursepack.records import load_record

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
RECORDS = sorted((ROOT / "results" / "mnist_7k").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_published_record_is_of_the_full_data_and_stands_in_the_readme(path):
    record = load_record(path)
    assert record["data"]["source"] != "sample"
    assert (record["data"]["train_size"], record["data"]["test_size"]) == (60_000, 10_000)
    last = record["epochs"][-1]
    low, high = accuracy_interval(last["test_accuracy"], 10_000)
    title = recipe_title(record)
    row = next(line for line in README.splitlines() if line.startswith(f"| {title} "))
    for number in (f"{record['parameter_count']:,}", f"{last['test_accuracy']:.2%}",
                   f"{low:.2%} to {high:.2%}", f"{last['accuracy']:.2%}",
                   f"{last['penalty']:.4f}"):
        assert number in row


def test_three_records_are_published():
    assert [path.stem for path in RECORDS] == ["bn_l1_l2", "gn_l1", "ln_l2"]


def test_every_figure_exists_and_has_alt_text():
    figures = re.findall(r"!\[(.*?)\]\((.*?)\)", README)
    local = [(alt, path) for alt, path in figures if not path.startswith("http")]
    assert len(local) >= 5
    for alt, path in local:
        assert len(alt) > 10
        assert (ROOT / path).is_file()


def test_published_records_hold_no_path_of_a_machine():
    for path in RECORDS:
        parameters = json.loads(path.read_text())["parameters"]
        assert parameters["data_dir"] == ""
        assert parameters["runs_dir"] == "runs"


def test_regression_table_is_the_one_that_the_command_wrote():
    table = (ROOT / "results" / "regression.md").read_text()
    assert table in README
    for line in table.splitlines()[2:]:
        expected, found = (part.strip() for part in line.split("|")[2:4])
        assert expected == found


def test_benchmark_in_the_readme_is_the_one_that_was_measured():
    results = json.loads((ROOT / "results" / "bench.json").read_text())
    assert {"speed", "goal"} < set(results)
    assert results["run"]["source"] != "sample"
    assert (ROOT / "results" / "bench.md").read_text() == bench.report(results)
    assert bench.report(results) in README


def test_studies_in_the_readme_are_those_of_the_kept_records():
    studies = report.kept()
    assert report.text(studies) in README
    for study, records in studies.items():
        assert (ROOT / "images" / f"study_{study}.png").is_file()
        for record in records:
            assert record["data"]["source"] != "sample"
            assert (record["parameters"]["holdout"], record["parameters"]["train_size"]) == (0, 0)
            assert record["parameters"]["data_dir"] == ""


def goals(study):
    return yaml.safe_load((ROOT / "studies" / f"{study}.yaml").read_text()).get("to_reach")


@pytest.mark.parametrize("study", [study for study in report.kept() if goals(study)])
def test_every_recipe_reaches_what_its_source_claims(study):
    """The mean over seeds of the final epoch, as the README's table gives it."""
    for runs in by_recipe(report.load_study(study)).values():
        recipe = runs[0]["parameters"]["run_name"].split("-")[0]
        assert round(100 * final_values(runs).mean(), 2) >= goals(study)[recipe]
