"""upkeep/report.py: studies that belong together, what they had to reach, what made them."""

import numpy as np
import pytest
import report
from helpers import make_record, several_seeds

RUN = "kind: notebook\nrecipes: {bn: {}}\nseeds: [1]\n"
STUDIES = {  # in the order and with the goals of the report: what its file says
    "own": (RUN + "about: D\nto_reach: {bn: 90}", ["90.00%"]),
    "seed000_first": (RUN + "about: B", ["99.40%"]),
    "seed000": ("kind: notebook\nabout: A\nto_reach: {bn: 99.4, ln: 99.3}\nseeds: [1]\n"
                "recipes: {bn: {}, ln: {}}", ["99.40%"]),
    "seed000_fresh": ("kind: notebook\nabout: C\nrepeats: seed000\nseeds: [4]", ["99.40%"]),
    "seed001": (RUN + "about: E", []),
}


@pytest.fixture(autouse=True)
def files_of_studies(monkeypatch, tmp_path):
    """Files of studies, each with one run of a recipe bn."""
    for name, (text, _) in STUDIES.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    runs = [make_record("batch", 1, 0.9, run_name="bn-seed1")]
    monkeypatch.setattr("coursepack.lab.studies.STUDIES", tmp_path)
    monkeypatch.setattr(report, "load_study", lambda name: runs)
    monkeypatch.setattr(report, "read_study", lambda name: runs)


def test_a_first_result_and_fresh_seeds_stand_beside_their_study_and_had_to_reach_the_same():
    goals = [(name, report.goals(name, {"BN": runs}))
             for name, runs in report.load_studies().items()]
    assert goals == [(name, expected) for name, (_, expected) in STUDIES.items()]


@pytest.mark.parametrize(("name", "said"), [
    ("seed000_fresh", report.TO_REACH["seed"]), ("own", "what the file of the study names")])
def test_page_says_what_to_reach_is_and_with_how_many_threads(name, said):
    records = [make_record("batch", seed, 0.9, run_name=f"bn-seed{seed}") for seed in (1, 2)]
    for record, threads in zip(records, (2, 1)):
        record["environment"] = {"threads": threads}
    text = report.section(name, records)
    for words in (f"*To reach* is {said}.", "Threads of a run: 1 or 2.",
                  "- BN: fewer than three seeds, no statement."):
        assert words in text
    other = make_record("layer", 1, 0.9, lr=0.2)
    with pytest.raises(ValueError, match="differ in lr"):  # cannot be compared: in no report
        report.section(name, [*records, other])


def test_summary_counts_pairs_with_three_seeds_and_says_where_the_others_are():
    rng = np.random.default_rng(0)
    studies = {"own": several_seeds({"batch": 0.99, "group": 0.99, "layer": 0.9}, 1e-4, 3, rng),
               "seed001": several_seeds({"batch": 0.99, "group": 0.9}, 1e-4, 2, rng)}
    for record in studies["own"]:
        record["parameters"]["run_name"] = "bn-seed1"
    text = report.summary(studies)
    assert "Of 3 pairs of recipes with at least three seeds each, 1 are undecided" in text
    assert "The others: own 2." in text
