"""upkeep/report.py: studies that belong together, what they had to reach, what made them."""

import numpy as np
import pytest
import report
from helpers import make_record, several_seeds

from coursepack.lab import studies as study

FILES = {
    "seed000": "about: A\nto_reach: {bn: 99.4, ln: 99.3}\nrecipes: {bn: {}, ln: {}}\nseeds: [1]",
    "seed000_first": "about: B\nrecipes: {bn: {}}\nseeds: [1]",
    "seed000_fresh": "about: C\nrepeats: seed000\nseeds: [4]",
    "own": "about: D\nto_reach: {bn: 90}\nrecipes: {bn: {}}\nseeds: [1]",
    "seed001": "about: E\nrecipes: {bn: {}}\nseeds: [1]",
}


@pytest.fixture
def studies(monkeypatch, tmp_path):
    """Files of studies, each with one run of a recipe bn."""
    for name, text in FILES.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    runs = [make_record("batch", 1, 0.9, run_name="bn-seed1")]
    monkeypatch.setattr(study, "STUDIES", tmp_path)
    monkeypatch.setattr(report, "load_study", lambda name: runs)
    monkeypatch.setattr(report, "read_study", lambda name: runs)


@pytest.mark.usefixtures("studies")
def test_a_first_result_and_fresh_seeds_stand_beside_their_study():
    names = ["own", "seed000_first", "seed000", "seed000_fresh", "seed001"]
    assert list(report.load_studies()) == names


@pytest.mark.usefixtures("studies")
@pytest.mark.parametrize(("name", "goal"), [
    ("seed000", ["99.40%"]), ("seed000_first", ["99.40%"]), ("seed000_fresh", ["99.40%"]),
    ("own", ["90.00%"]), ("seed001", [])])
def test_what_is_to_be_reached_is_that_of_the_study_that_is_repeated(name, goal):
    assert report.goals(name, {"BN": report.load_study(name)}) == goal


@pytest.mark.usefixtures("studies")
@pytest.mark.parametrize(("name", "said"), [
    ("seed000_fresh", report.TO_REACH["seed"]),
    ("own", "what the file of the study names")])
def test_page_says_what_to_reach_is_and_with_how_many_threads(name, said):
    records = [make_record("batch", seed, 0.9, run_name=f"bn-seed{seed}") for seed in (1, 2)]
    for record, threads in zip(records, (2, 1)):
        record["environment"] = {"threads": threads}
    text = report.section(name, records)
    assert f"*To reach* is {said}." in text
    assert "Threads of a run: 1 or 2." in text
    assert "- BN: fewer than three seeds, no statement." in text


@pytest.mark.usefixtures("studies")
def test_runs_that_cannot_be_compared_are_in_no_report():
    records = [make_record("batch", 1, 0.9), make_record("layer", 1, 0.9, lr=0.2)]
    with pytest.raises(ValueError, match="differ in lr"):
        report.section("own", records)


@pytest.mark.usefixtures("studies")
def test_summary_counts_pairs_with_three_seeds_and_says_where_the_others_are():
    rng = np.random.default_rng(0)
    studies = {"own": several_seeds({"batch": 0.99, "group": 0.99, "layer": 0.9}, 1e-4, 3, rng),
               "seed001": several_seeds({"batch": 0.99, "group": 0.9}, 1e-4, 2, rng)}
    for record in studies["own"]:
        record["parameters"]["run_name"] = "bn-seed1"
    text = report.summary(studies)
    assert "Of 3 pairs of recipes with at least three seeds each, 1 are undecided" in text
    assert "The others: own 2." in text
