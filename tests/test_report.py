"""upkeep/report.py: studies that belong together, what they had to reach, what made them."""

import numpy as np
import pytest
import report
from helpers import make_record, several_seeds

FILES = {
    "seed000": "about: A\nto_reach: {bn: 99.4, ln: 99.3}\nrecipes: {bn: {}, ln: {}}\nseeds: [1]",
    "seed000_first": "about: B\nrecipes: {bn: {}}\nseeds: [1]",
    "seed000_fresh": "about: C\nrepeats: seed000\nseeds: [4]",
    "own": "about: D\nto_reach: {bn: 90}\nrecipes: {bn: {}}\nseeds: [1]",
    "seed001": "about: E\nrecipes: {bn: {}}\nseeds: [1]",
}
GOALS = {"own": ["90.00%"], "seed000_first": ["99.40%"], "seed000": ["99.40%"],
         "seed000_fresh": ["99.40%"], "seed001": []}  # as they stand in the report


@pytest.fixture(autouse=True)
def files_of_studies(monkeypatch, tmp_path):
    """Files of studies, each with one run of a recipe bn."""
    for name, text in FILES.items():
        (tmp_path / f"{name}.yaml").write_text(f"kind: notebook\n{text}", encoding="utf-8")
    runs = [make_record("batch", 1, 0.9, run_name="bn-seed1")]
    monkeypatch.setattr("coursepack.lab.studies.STUDIES", tmp_path)
    monkeypatch.setattr(report, "load_study", lambda name: runs)
    monkeypatch.setattr(report, "read_study", lambda name: runs)


def test_a_first_result_and_fresh_seeds_stand_beside_their_study_and_had_to_reach_the_same():
    studies = report.load_studies()
    goals = {name: report.goals(name, {"BN": runs}) for name, runs in studies.items()}
    assert list(goals.items()) == list(GOALS.items())


@pytest.mark.parametrize(("name", "said"), [
    ("seed000_fresh", report.TO_REACH["seed"]), ("own", "what the file of the study names")])
def test_page_says_what_to_reach_is_and_with_how_many_threads(name, said):
    records = [make_record("batch", seed, 0.9, run_name=f"bn-seed{seed}") for seed in (1, 2)]
    for record, threads in zip(records, (2, 1)):
        record["environment"] = {"threads": threads}
    text = report.section(name, records)
    assert f"*To reach* is {said}." in text
    assert "Threads of a run: 1 or 2." in text
    assert "- BN: fewer than three seeds, no statement." in text


def test_runs_that_cannot_be_compared_are_in_no_report():
    records = [make_record("batch", 1, 0.9), make_record("layer", 1, 0.9, lr=0.2)]
    with pytest.raises(ValueError, match="differ in lr"):
        report.section("own", records)


def test_summary_counts_pairs_with_three_seeds_and_says_where_the_others_are():
    rng = np.random.default_rng(0)
    studies = {"own": several_seeds({"batch": 0.99, "group": 0.99, "layer": 0.9}, 1e-4, 3, rng),
               "seed001": several_seeds({"batch": 0.99, "group": 0.9}, 1e-4, 2, rng)}
    for record in studies["own"]:
        record["parameters"]["run_name"] = "bn-seed1"
    text = report.summary(studies)
    assert "Of 3 pairs of recipes with at least three seeds each, 1 are undecided" in text
    assert "The others: own 2." in text
