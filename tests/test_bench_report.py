"""The report of the benchmark: made from bench.json alone, and equal to the one that is kept."""

import ast
import json
import sys
from pathlib import Path

import bench_report
import pytest

from coursepack import files

ROOT = Path(__file__).resolve().parent.parent
RESULTS = json.loads((ROOT / "results" / "bench.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("accuracies", "seconds", "stays"), [
    ([0.99, 0.994, 0.9929, 0.993, 0.995], 8, True),  # not the first crossing: it fell below again
    ([0.993, 0.994], 2, True),
    ([0.99, 0.994, 0.992], 6, False),
])
def test_goal_counts_from_the_epoch_from_which_the_accuracy_stays(accuracies, seconds, stays):
    rows = [{"test_accuracy": a, "train_seconds": 1.5, "test_seconds": 0.5} for a in accuracies]
    assert bench_report.time_to_goal({"epochs": rows}) == (seconds, stays)


def test_kept_report_is_that_of_the_kept_numbers():
    assert {"speed", "goal"} < set(RESULTS)
    assert RESULTS["run"]["source"] != "sample"
    published = (ROOT / "results" / "bench.md").read_text(encoding="utf-8")
    assert published == bench_report.report(RESULTS)


@pytest.mark.parametrize("part", bench_report.PARTS)
def test_a_part_is_reported_without_the_others(tmp_path, monkeypatch, capsys, part):
    results = {name: RESULTS[name] for name in ("machine", "run", "turns", part)}
    bench_report.write_json(results, tmp_path / "bench.json")
    monkeypatch.setattr(sys, "argv", ["bench_report.py", str(tmp_path)])
    bench_report.main()
    text = bench_report.PARTS[part](results)
    assert bench_report.report(results).endswith(f"\n\n{text}")
    assert bench_report.report(results) in capsys.readouterr().out
    assert text in (ROOT / "results" / "bench.md").read_text(encoding="utf-8")
    figures = sorted(path.stem for path in tmp_path.glob("*.png"))
    assert figures == ([part] if part in bench_report.PLOTS else [])


def test_every_part_has_its_place_in_the_report():
    import bench  # here, because the report needs none of it

    assert tuple(bench_report.PARTS) == bench.PARTS
    words = bench_report.report(RESULTS)
    places = [words.index(part(RESULTS)) for part in bench_report.PARTS.values()]
    assert places == sorted(places)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """An empty one, in the place of this."""
    for name in ("results", "images"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(files, "ROOT", tmp_path)
    return tmp_path


def test_published_are_numbers_report_and_figures(repository):
    bench_report.publish(RESULTS)
    for name in ("bench.json", "bench.md"):
        kept = (ROOT / "results" / name).read_bytes()
        assert (repository / "results" / name).read_bytes() == kept
    assert sorted(path.name for path in repository.glob("images/*")) == ["goal.png", "speed.png"]


@pytest.mark.parametrize(("results", "said"), [
    (RESULTS | {"run": RESULTS["run"] | {"source": "sample"}}, "not published: this is the sample"),
    ({name: RESULTS[name] for name in ("machine", "run")}, "not published: no part was measured"),
], ids=["sample", "nothing"])
def test_sample_and_nothing_are_not_published(repository, results, said):
    with pytest.raises(SystemExit, match=said):
        bench_report.publish(results)
    assert [path for path in repository.rglob("*") if path.is_file()] == []


def test_without_a_measurement_the_report_says_how_to_make_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench_report.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"bench\.json is not there.*tools/bench\.py"):
        bench_report.main()


def test_report_imports_nothing_that_measures():
    tree = ast.parse(Path(bench_report.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
                for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "coursepack.runs.recipes" in imported
    assert not {name.split(".")[0] for name in imported} & {"bench", "student_loop", "torch"}
