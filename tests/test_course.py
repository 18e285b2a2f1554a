"""tools/course.py: what it refuses, and the whole course, as it, papermill and Jupyter run it."""

import json
import shutil
import sys

import course
import nbformat
import pytest
from helpers import SMALL, outputs, papermill_command, run

from coursepack.files import ROOT
from coursepack.runs.records import RECIPES
from coursepack.show.figures import GRAPHS


@pytest.fixture
def refused(monkeypatch, capsys):
    """Call course.py with a command line that it has to refuse; returns what it says."""
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["course.py", *arguments])
        monkeypatch.setattr(course, "call", lambda *args: pytest.fail("something was run"))
        with pytest.raises(SystemExit) as refusal:
            course.main()
        assert refusal.value.code == 2
        return capsys.readouterr().err
    return call


@pytest.mark.parametrize(("arguments", "said"), [
    (["-p", "run_name", "mine"], "run_name='mine' would go to 3 notebooks"),
    (["--notebook", "01", "02", "-p", "run_name", "mine"], "would go to 2 notebooks"),
    (["-p", "runs_dir", "elsewhere"], "Write --runs elsewhere."),
    (["--notebook", "07"], "invalid choice: '07'"),
    (["--epochs", "many"], "invalid int value: 'many'"),
    (["-p", "lr"], "expected 2 arguments"),
    (["silver"], "invalid choice: 'silver'"),
    (["golden", "--epochs", "3"], "golden has parameters of its own"),
    (["saved", "-p", "lr", "0.1"], "saved has parameters of its own"),
    (["saved", "--runs", "elsewhere"], "saved has parameters of its own"),
])
def test_a_wrong_command_line_is_refused_before_anything_runs(refused, arguments, said):
    assert said in refused(*arguments)


@pytest.fixture
def commands(monkeypatch):
    """The commands that course.py would run, without running them."""
    listed = []
    monkeypatch.setattr(course, "call", lambda *arguments: listed.append(list(map(str, arguments))))
    return listed


def test_one_recipe_may_have_a_run_name(commands, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["course.py", "--notebook", "02", "-p", "run_name", "001"])
    course.main()
    [papermill, _] = commands
    assert papermill[-3:] == ["-r", "run_name", "001"]  # -p would make it a 1


def test_what_is_kept_of_a_notebook_says_nothing_of_this_machine(commands, tmp_path):
    streams = [nbformat.v4.new_output("stream", name=name, text=name)
               for name in ("stdout", "stderr")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=streams)])
    nbformat.write(notebook, tmp_path / "run.ipynb")
    (tmp_path / "kept").mkdir()
    course.keep_outputs([tmp_path / "run.ipynb"], tmp_path / "kept")
    assert [out["text"] for out in outputs(tmp_path / "kept" / "run.ipynb")] == ["stdout"]
    assert commands[0][0] == "nbstripout"


def test_parameters_go_to_those_that_have_them(commands, folder):
    place = folder.relative_to(ROOT).as_posix()
    names = list(course.NOTEBOOKS.values())
    course.run_all(names, place, {"epochs": 5, "live_epochs": 1, "seed": 2}, f"{place}/images")
    passed = [command[command.index("-") + 3:] for command in commands]
    drawn = ["-p", "images_dir", f"{place}/images"]
    assert passed[0] == []
    assert passed[1:4] == [["-r", "runs_dir", place, "-p", "epochs", "5", "-p", "seed", "2"]] * 3
    assert passed[4] == ["-r", "runs_dir", place, *drawn]
    assert passed[5:] == [[*drawn, "-p", "live_epochs", "1", "-p", "seed", "2"]] * 2


def test_defaults_are_not_passed_on(commands):
    course.run_all(list(course.NOTEBOOKS.values()), "runs", {})
    assert [command[command.index("-") + 3:] for command in commands] == [[]] * 7


def test_sample_is_not_kept_as_published(commands, monkeypatch, tmp_path):
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course, "PUBLISHED", tmp_path / "published")
    for run_name in RECIPES:
        (tmp_path / "runs" / run_name).mkdir(parents=True)
        record = json.dumps({"data": {"source": "sample"}})
        (tmp_path / "runs" / run_name / "record.json").write_text(record, encoding="utf-8")
    with pytest.raises(SystemExit, match="saw the sample. Set DATA_DIR"):
        course.make_saved(list(course.NOTEBOOKS.values()))
    assert not (tmp_path / "published").exists()


@pytest.fixture
def published(monkeypatch, tmp_path):
    """A course of its own with three published runs and none of its own."""
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course, "PUBLISHED", tmp_path / "published")
    (tmp_path / "published").mkdir()
    for run_name in RECIPES:
        (tmp_path / "published" / f"{run_name}.json").write_bytes(b"record of " + run_name.encode())
        (tmp_path / "published" / f"{run_name}.npz").write_bytes(
            b"mistakes of " + run_name.encode())
    return tmp_path


def test_summary_alone_is_of_the_published_runs(published):
    course.restore_records([course.NOTEBOOKS["04"], course.NOTEBOOKS["02"]])
    assert (published / "runs/bn_l1_l2/record.json").read_bytes() == b"record of bn_l1_l2"
    assert (published / "runs/ln_l2/misclassified.npz").read_bytes() == b"mistakes of ln_l2"
    assert not (published / "runs/gn_l1").exists()  # it is about to be run


def test_summary_alone_refuses_other_runs_of_those_names(published):
    (published / "runs/gn_l1").mkdir(parents=True)
    (published / "runs/gn_l1/record.json").write_text("a run of five epochs", encoding="utf-8")
    with pytest.raises(SystemExit, match="runs/gn_l1 is another run"):
        course.restore_records([course.NOTEBOOKS["04"]])
    assert (published / "runs/gn_l1/record.json").read_bytes() == b"a run of five epochs"


@pytest.mark.slow
def test_course_then_the_summary_as_papermill_starts_it(folder, no_data, foreign):
    """course.py, started elsewhere, starts kernels in the root; here papermill, in notebooks/.

    course.py starts kernels of its own interpreter, whatever the machine calls "python3".

    In the notebook's own folder, where Jupyter starts them, nbval runs the golden notebooks.
    """
    place = folder.relative_to(ROOT)
    command = [sys.executable, ROOT / "tools" / "course.py", "--runs", place, "--epochs", "1",
               "-p", "dataset", "mnist_sample", "-p", "train_size", SMALL["train_size"],
               "-p", "device", SMALL["device"], "-p", "live_images", "100",
               "-p", "live_epochs", "1"]
    done = run(command, ROOT / "notebooks", **foreign)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("SAMPLE") >= len(RECIPES)
    assert "epoch  1/1" in done.stdout
    for name in course.NOTEBOOKS.values():
        assert (folder / f"{name}.html").stat().st_size > 100_000
    for name, notebook in RECIPES.items():
        printed = [out.get("text", "") for out in outputs(folder / f"{notebook}.ipynb")]
        assert "SAMPLE" in "".join(printed)
        record = json.loads((folder / name / "record.json").read_text(encoding="utf-8"))
        assert record["data"]["source"] == "sample"
        assert record["parameters"]["run_name"] == name
    figures = [*(graph.name.replace(" ", "_") for graph in GRAPHS.values()),
               *(f"misclassified_{name}" for name in RECIPES)]
    assert all((folder / "images" / f"{name}.png").stat().st_size > 10_000 for name in figures)

    shutil.rmtree(folder / "images")
    summary = folder / "04_summary.ipynb"
    done = run(papermill_command(summary.name, summary, runs_dir=folder, images_dir=folder,
                                 shown=10), ROOT / "notebooks")
    assert done.returncode == 0, done.stderr[-3000:]
    assert all((folder / f"{name}.png").stat().st_size > 10_000 for name in figures)
