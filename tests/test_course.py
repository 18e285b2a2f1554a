"""tools/course.py: what it runs with what, what it keeps, and one notebook as it is run.

What it refuses: refused_studies.py. A notebook as papermill's own command runs it: test_alone.py.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import course
import nbformat
import pytest
from helpers import printed

from coursepack.runs.records import RECIPES

ALL = list(course.NOTEBOOKS.values())


@pytest.fixture
def commands(monkeypatch):
    """The commands that course.py would run, without running them."""
    listed = []
    monkeypatch.setattr(course, "call", lambda *arguments, **more: listed.append(
        list(map(str, arguments))))
    return listed


@pytest.fixture
def place(monkeypatch, tmp_path):
    """A course of its own, with three published runs and none of its own."""
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course, "PUBLISHED", tmp_path / "published")
    (tmp_path / "published").mkdir()
    for run_name in RECIPES:
        for end in ("json", "npz"):
            (tmp_path / "published" / f"{run_name}.{end}").write_text(f"{end} of {run_name}")
    return tmp_path


@pytest.fixture
def foreign(tmp_path_factory):
    """Variables of a machine whose "python3" is another interpreter; and a personal profile."""
    folder = tmp_path_factory.mktemp("foreign")
    kernel, startup = folder / "kernels" / "python3", folder / "profile_default" / "startup"
    for path in (kernel, startup):
        path.mkdir(parents=True)
    (kernel / "kernel.json").write_bytes(json.dumps(
        {"argv": ["no-python", "{connection_file}"], "display_name": "", "language": ""}).encode())
    (startup / "mine.py").write_text("import os; os._exit(3)", encoding="utf-8")
    return {"JUPYTER_PATH": str(folder), "IPYTHONDIR": str(folder)}


def write_record(folder, run_name, **changes):
    record = {"data": {"source": "sample"}, "parameters": {"seed": 1}, "seconds": 1.0,
              "environment": {"code": "a"}, "epochs": [{"loss": 0.5, "train_seconds": 1.0}]}
    (folder / run_name).mkdir(parents=True, exist_ok=True)
    (folder / run_name / "record.json").write_text(json.dumps(record | changes), encoding="utf-8")
    (folder / run_name / "misclassified.npz").write_text(json.dumps(changes), encoding="utf-8")


def passed(commands):
    """What papermill is given after the names of a notebook and its copy."""
    ran = [command[command.index("-") + 1:] for command in commands if command[0] == "papermill"]
    return [parameters for _, _, *parameters in sorted(ran)]  # two at a time: in any order


def test_parameters_go_to_those_that_have_them_and_pages_are_made_of_all(
        commands, place, monkeypatch, capsys):
    write_record(place / "elsewhere", "gn_l1")
    course.make_course(ALL, "elsewhere", {"epochs": 5, "live_epochs": 1, "seed": 2})
    there, drawn = ["-r", "runs_dir", "elsewhere"], ["-p", "images_dir", "elsewhere/images"]
    hand, *recipes, summary, norms, penalties = passed(commands)
    assert hand == []
    assert recipes == [[*there, "-p", "epochs", "5", "-p", "seed", "2"]] * 3
    assert summary == [*there, *drawn]
    assert norms == penalties == [*drawn, "-p", "live_epochs", "1", "-p", "seed", "2"]
    assert commands[-1][0] == "nbconvert"
    assert "--TagRemovePreprocessor.remove_input_tags=hide-input" in commands[-1]  # the setup
    assert commands[-1][-7:] == [str(place / "elsewhere" / f"{name}.ipynb") for name in ALL]
    assert capsys.readouterr().out.count("elsewhere/gn_l1 is of the 5,000-digit SAMPLE") == 1
    commands.clear()
    course.run_all(ALL, "runs", {})
    assert passed(commands) == [[]] * 7  # defaults are not passed on
    commands.clear()
    monkeypatch.setattr(sys, "argv", ["course.py", "--notebook", "02", "-p", "run_name", "001"])
    course.main()
    assert passed(commands)[0][-3:] == ["-r", "run_name", "001"]  # -p would make it a 1


@pytest.mark.parametrize(("cores", "chosen", "failing", "most", "threads"), [
    (1, None, None, 1, None), (2, None, None, 2, "1"), (9, None, None, 2, "4"),
    (9, "1", None, 1, None), (9, "1", "02", 1, None)])
def test_two_notebooks_share_the_cores_and_the_summary_waits_for_all(
        place, monkeypatch, cores, chosen, failing, most, threads):
    running, counts, given, ended = set(), [], set(), []

    def call(module, *arguments, before, **variables):
        running.add(number := before.strip())
        counts.append(len(running))
        if number == "04":
            assert len(ended) == 6
        else:
            given.add(variables.get("OMP_NUM_THREADS"))
        time.sleep(0.01)
        running.remove(number)
        if number == failing:
            raise SystemExit(3)
        ended.append(number)

    monkeypatch.setattr(course, "call", call)
    monkeypatch.setattr(course.joblib, "cpu_count", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    if failing:
        with pytest.raises(SystemExit, match="3"):
            course.run_all(ALL, "runs", {})
        assert ended == ["00", "01"]
    else:
        course.run_all(ALL, "runs", {})
        assert sorted(ended) == list(course.NOTEBOOKS)
    assert max(counts) == most
    assert given == {threads}


def test_a_notebook_begins_when_the_kernel_of_the_other_has_said_something(tmp_path, monkeypatch):
    """Two kernels that start at once may choose the same port, and one of them dies."""
    (tmp_path / "stub.py").write_text(
        "import time\nnow = time.time\nbegan = now()\ntime.sleep(0.2)\nprint(began, now())",
        encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = []
    monkeypatch.setattr(course, "print", lambda line, **_: said.append(line), raising=False)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(course.call, ["stub", "stub"]))
    (_, first), (second, _) = sorted([*map(float, line.split())] for line in said)
    assert first < second


def test_sample_is_not_kept_as_published(commands, place):
    for run_name in RECIPES:
        write_record(place / "runs", run_name)
    with pytest.raises(SystemExit, match="saw the sample. Set DATA_DIR"):
        course.make_saved(ALL[:4])
    assert (place / "published" / "gn_l1.json").read_text() == "json of gn_l1"


def test_summary_alone_is_of_the_published_runs_and_refuses_others_of_those_names(place):
    names = [course.NOTEBOOKS["04"], course.NOTEBOOKS["02"]]
    course.restore_records(names)
    assert (place / "runs/bn_l1_l2/record.json").read_text() == "json of bn_l1_l2"
    assert (place / "runs/ln_l2/misclassified.npz").read_text() == "npz of ln_l2"
    assert not (place / "runs/gn_l1").exists()  # it is about to be run
    write_record(place / "runs", "ln_l2")
    own = (place / "runs/ln_l2/record.json").read_text()
    with pytest.raises(SystemExit, match="runs/ln_l2 is another run"):
        course.restore_records(names)
    assert (place / "runs/ln_l2/record.json").read_text() == own


@pytest.mark.parametrize(("changes", "is_kept"), [
    ({"seconds": 2.0, "environment": {"code": "b"}, "parameters": {"seed": 1, "skip": False},
      "epochs": [{"loss": 0.5, "train_seconds": 2.0}]}, False),
    ({"parameters": {"seed": 1, "skip": True}}, True),
    ({"epochs": [{"loss": 0.6, "train_seconds": 1.0}]}, True),
])
def test_a_golden_record_is_replaced_by_one_that_says_something_else(
        place, monkeypatch, changes, is_kept):
    """Not by one of another second, another version of the code, or with a younger parameter."""
    monkeypatch.setattr(course, "GOLDEN", place)
    (place / "records").mkdir()
    for once in ({}, changes):
        write_record(place / "runs", "gn_l1", **once)
        course.keep_records("runs", place / "records", [course.NOTEBOOKS["02"]])
    kept = json.loads((place / "records" / "gn_l1.json").read_bytes())
    assert (kept == json.loads((place / "runs/gn_l1/record.json").read_bytes())) == is_kept
    assert ((place / "records" / "gn_l1.npz").read_text() != "{}") == is_kept


@pytest.mark.slow
def test_a_notebook_as_the_tool_runs_it(place, monkeypatch, foreign, capfd):
    """It starts a kernel in the root, of its own interpreter, whatever the machine calls "python3";
    of what the cells print, all is seen, and the setup is on no page.
    """
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    cells = [nbformat.v4.new_code_cell("import os, sys", metadata={"tags": ["hide-input"]}),
             nbformat.v4.new_code_cell("print(os.getcwd(), sys.executable)")]
    (place / "notebooks").mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel),
                   place / "notebooks" / "00_tiny.ipynb")
    course.make_course(["00_tiny"], "runs", {})
    said = f"{place} {sys.executable}\n"
    assert printed(place / "runs" / "00_tiny.ipynb") == said
    assert said in capfd.readouterr().out.replace("\r", "")
    page = (place / "runs" / "00_tiny.html").read_text(encoding="utf-8")
    assert "getcwd" in page
    assert "import os, sys" not in page.replace("<span></span>", "")
