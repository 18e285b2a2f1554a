"""upkeep/report.py where no kept record shows what it does; test_docs compares its pages."""

import pytest
import report
from helpers import make_record


def test_section_says_how_many_runs_there_are_by_which_threads_and_what_they_had_to_reach():
    records = [make_record("group", seed, 0.9, run_name=f"gn-seed{seed}") for seed in (1, 2)]
    for record, threads in zip(records, (2, 1)):
        record["environment"] = {"threads": threads}
    text = report.section("seed000_fresh", records)
    for words in ("(2 of its 15 runs so far).", "| 99.34% |", "Threads of a run: 1 or 2.",
                  f"*To reach* is {report.TO_REACH['seed']}.",
                  "GN(2): fewer than three seeds, no statement."):
        assert words in text
    with pytest.raises(ValueError, match="differ in lr"):  # cannot be compared: in no report
        report.section("seed000_fresh", [*records, make_record("layer", 1, 0.9, lr=0.2)])
