"""The report of the benchmark: made from bench.json alone, and equal to the one that is kept."""

import json
import sys

import bench
import bench_report
import pytest
from test_house import imported

from coursepack import files
from coursepack.files import ROOT

RESULTS = json.loads((ROOT / "results" / "bench.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "results" / "bench.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("accuracies", "seconds", "stays"), [
    ([0.99, 0.994, 0.9929, 0.993, 0.995], 8, True),  # not the first crossing: it fell below again
    ([0.993, 0.994], 2, True),
    ([0.99, 0.994, 0.992], 6, False),
])
def test_goal_counts_from_the_epoch_from_which_the_accuracy_stays(accuracies, seconds, stays):
    rows = [{"test_accuracy": a, "train_seconds": 1.5, "test_seconds": 0.5} for a in accuracies]
    assert bench_report.time_to_goal({"epochs": rows}) == (seconds, stays)


@pytest.mark.parametrize("part", bench.PARTS)
def test_a_part_is_reported_without_the_others(tmp_path, monkeypatch, capsys, part):
    results = {name: RESULTS[name] for name in ("machine", "run", "turns", part)}
    bench_report.write_json(results, tmp_path / "bench.json")
    monkeypatch.setattr(sys, "argv", ["bench_report.py", str(tmp_path)])
    bench_report.main()
    text = bench_report.PARTS[part](results)
    assert bench_report.report(results) in capsys.readouterr().out
    assert bench_report.report(results).endswith(f"\n\n{text}")
    assert text in PAGE
    figures = sorted(path.stem for path in tmp_path.glob("*.png"))
    assert figures == ([part] if part in bench_report.PLOTS else [])


def test_published_are_numbers_report_and_figures_and_neither_sample_nor_nothing(
        tmp_path, monkeypatch):
    """What is published from the kept numbers is what is kept."""
    monkeypatch.setattr(files, "ROOT", tmp_path)
    for name in ("results", "images"):
        (tmp_path / name).mkdir()
    for results, said in [
        (RESULTS | {"run": RESULTS["run"] | {"source": "sample"}}, "this is the sample"),
        ({name: RESULTS[name] for name in ("machine", "run")}, "no part was measured"),
    ]:
        with pytest.raises(SystemExit, match=f"not published: {said}"):
            bench_report.publish(results)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    bench_report.publish(RESULTS)
    for name in ("bench.json", "bench.md"):
        kept = (ROOT / "results" / name).read_bytes()
        assert (tmp_path / "results" / name).read_bytes() == kept
    assert sorted(path.name for path in tmp_path.glob("images/*")) == ["goal.png", "speed.png"]


def test_report_needs_a_measurement_and_imports_nothing_that_measures(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench_report.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"bench\.json is not there.*upkeep/bench\.py"):
        bench_report.main()
    text = (ROOT / "upkeep" / "bench_report.py").read_text(encoding="utf-8")
    names = {name.split(".")[0] for name in imported(text)}
    assert "coursepack" in names
    assert not names & {"bench", "student_loop", "torch"}
