"""Studies: what their files may say, what counts as finished, what an interruption leaves."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import report
import study
import yaml
from helpers import make_record, says

from coursepack.runs import recipes
from coursepack.runs.records import load_record
from coursepack.train.recipe import with_defaults

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"about": "x", "seeds": [1, 2], "common": {"epochs": 2}, "grid": {"skip": [False, True]},
         "recipes": {"gn": {"notebook": "02_group_norm_l1", "l1": 0.0, "arch": "mnist_10k"}}}
REPEATS = {"about": "x", "repeats": "small", "seeds": [3]}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a study, reads it and checks its runs; a text is written as it is."""
    monkeypatch.setattr(study, "STUDIES", tmp_path)

    def read(content, name="small"):
        text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
        (tmp_path / f"{name}.yaml").write_bytes(text.encode())
        runs = study.read_study(name, str(tmp_path))
        study.check_runs(name, runs)
        return runs
    return read


@pytest.mark.parametrize("name", study.study_names())
def test_every_study_has_valid_parameters(name, tmp_path, monkeypatch):
    # CIFAR-10 may not be here
    monkeypatch.setattr("coursepack.data.datasets.find_dataset", lambda *args: None)
    runs = study.read_study(name, str(tmp_path))
    study.check_runs(name, runs)
    for run in runs:
        assert yaml.safe_load(study.written(run)) == run.parameters  # 1e-05 is still a number


def test_every_study_is_in_the_list_of_them():
    page = (ROOT / "studies" / "README.md").read_text(encoding="utf-8")
    ranges = {"seed001", "seed002", "seed003"}  # "seed000 to seed004"
    assert [name for name in study.study_names() if f"({name}.yaml)" not in page] == sorted(ranges)


@pytest.mark.parametrize("name", ["seed000", "seed001", "seed002", "seed003", "seed004", "best",
                                  "best_cifar", "seed000_fresh", "best_fresh"])
def test_every_system_has_its_study(name):
    runs = study.read_study(name)
    assert {run.notebook[:2] for run in runs} == {"01", "02", "03"}


def test_a_study_is_recipes_times_grid_times_seeds(write):
    runs = write(SMALL)
    assert [run.name for run in runs] == ["gn-skip_False-seed1", "gn-skip_False-seed2",
                                          "gn-skip_True-seed1", "gn-skip_True-seed2"]
    assert runs[3].parameters == {
        "epochs": 2, "arch": "mnist_10k", "l1": 0.0, "skip": True, "seed": 2,
        "run_name": "gn-skip_True-seed2", "runs_dir": runs[3].parameters["runs_dir"]}


def gn(**changed):
    return {"notebook": "02_group_norm_l1", "arch": "mnist_10k"} | changed


@pytest.mark.parametrize(("changed", "said"), [
    ({"recipe": {}}, ["Did you mean 'recipes'"]),
    ({5: {}}, ["5"]),
    ({"about": ""}, ["about", "a sentence"]),
    ({"about": 5}, ["about", "5", "a sentence"]),
    ({"seeds": []}, ["seeds", "[1, 2, 3]"]),
    ({"seeds": 5}, ["seeds", "5", "[1, 2, 3]"]),
    ({"seeds": [0.5]}, ["0.5", "whole numbers"]),
    ({"seeds": [True]}, ["True", "whole numbers"]),
    ({"seeds": [1, 2, 1]}, ["seeds", "1 is there twice"]),
    ({"seeds": [1, -1]}, ["gn-skip_False-seed-1", "seed=-1", "out of range"]),
    ({"seeds": list(range(5001))}, ["10,002 runs"]),
    ({"common": {"epoch": 2}}, ["Did you mean 'epochs'"]),
    ({"common": {"seed": 2}}, ["'seed'", "is not known"]),
    ({"common": None}, ["common", "None", "{epochs: 5"]),
    ({"common": {"epochs": None}}, ["epochs", "None", "one value"]),
    ({"common": {"lr": [0.1, 0.2]}}, ["lr", "[0.1, 0.2]", "grid"]),
    ({"common": {"lr": "1e-4"}}, ["lr", "1e-4", "1.0e-4"]),
    ({"common": {"lr": "2.5e3"}}, ["2.5e+3"]),
    ({"common": {"lr": "fast"}}, ["run gn-skip_False-seed1", "lr='fast'"]),
    ({"common": {"lr": 10**400}}, ["run gn-skip_False-seed1", "a number"]),
    ({"common": {"epochs": True}}, ["epochs=True", "a whole number"]),
    ({"common": {"lr": "0.1"}}, ["run gn-skip_False-seed1", "lr is '0.1'", "Write 0.1"]),
    ({"grid": {"skip": True}}, ["skip", "True", "list"]),
    ({"grid": {"lr": 0.1}}, ["lr", "0.1", "list"]),
    ({"grid": {"l2": []}}, ["l2", "list"]),
    ({"grid": {"l2": [0.1, 0.1]}}, ["l2", "0.1 is there twice"]),
    ({"grid": {"l2": [0.1, [0.2]]}}, ["l2", "[0.2]", "one value"]),
    ({"grid": {"l2": ["1e-4"]}}, ["l2", "1.0e-4"]),
    ({"grid": {"l1": [0.0, 0.1]}}, ["l1", "grid", "gn"]),
    ({"grid": {"epochs": [2, 3]}}, ["epochs", "grid", "common"]),
    ({"grid": {"norm": ["bn", "batch"]}}, ["gn-norm_bn", "gn-norm_batch", "same recipe"]),
    ({"grid": {"augment": ["rotate+shift"]}}, ["gn-augment_rotate+shift-seed1", "a recipe"]),
    ({"grid": {"order": ["x" * 101]}}, ["x" * 60, "a recipe"]),
    ({"grid": {"lr": [0.1, 0.2]}}, ["lr", "0.1 in gn-lr_0.1-seed2", "0.2 in gn-lr_0.2-seed2",
                                    "factors: [lr]"]),
    ({"to_reach": {"bn": 99.0}}, ["'bn'", "Choose one of: gn"]),
    ({"to_reach": {"gn": "high"}}, ["gn", "high", "99.3"]),
    ({"to_reach": {"gn": 990}}, ["gn", "990", "percentage"]),
    ({"recipes": {}}, ["recipes", "notebook"]),
    ({"recipes": ["gn"]}, ["recipes", "['gn']", "by name"]),
    ({"recipes": {"gn": "02_group_norm_l1"}}, ["gn", "02_group_norm_l1", "notebook: "]),
    ({"recipes": {"gn": None}}, ["gn", "None", "notebook"]),
    ({"recipes": {"gn": {"l1": 0.0}}}, ["notebook=None"]),
    ({"recipes": {"gn": {"notebook": "02_group_norm"}}}, ["Did you mean '02_group_norm_l1'"]),
    ({"recipes": {5: gn()}}, ["recipe 5", "quotes"]),
    ({"recipes": {True: gn()}}, ["recipe True", "quotes"]),
    ({"recipes": {"grün": gn()}}, ["grün", "plain name"]),
    ({"recipes": {"../gn": gn()}}, ["'../gn'", "plain name"]),
    ({"recipes": {"g n": gn()}}, ["'g n'", "plain name"]),
    ({"recipes": {"": gn()}}, ["''", "plain name"]),
    ({"recipes": {"gn": gn(), "GN": gn(l1=0.0)}}, ["gn-skip_False-seed1", "GN-skip_False-seed1"]),
    ({"recipes": {"a": gn(), "b": gn(norm="GN")}}, ["a-skip_False", "b-skip_False", "same"]),
    ({"recipes": {"a": gn(), "b": gn(device="cpu")}}, ["a-skip_False", "b-skip_False", "same"]),
    ({"recipes": {"gn": gn(groups=3)}}, ["run gn-skip_False-seed1", "groups=3", "Choose one of"]),
    ({"threads": 0}, ["threads", "0", "1 to 1000"]),
    ({"threads": True}, ["threads", "True", "1 to 1000"]),
    ({"threads": "two"}, ["threads", "two", "1 to 1000"]),
    ({"factors": "lr"}, ["factors", "'lr'", "[lr]"]),
    ({"factors": ["learning_rate"]}, ["learning_rate", "batch_size"]),
    ({"factors": ["lr", "lr"]}, ["factors", "'lr' is there twice"]),
])
def test_a_mistake_in_a_study_is_named(write, changed, said):
    with pytest.raises(ValueError, match=says("small", *said)):
        write(SMALL | changed)


@pytest.mark.parametrize(("text", "said"), [
    ("", ["no keys"]),
    ("just words", ["no keys"]),
    ("- 1", ["no keys"]),
    ("about: x\nseeds: [1]\nseeds: [2]\n", ["line 3", "seeds is given twice"]),
    ("about: x\nrecipes:\n  gn: {notebook: 02_group_norm_l1, l1: 0, l1: 1}\n",
     ["line 3", "l1 is given twice"]),
    ("about: x\n\tseeds: [1]\n", ["line 2", "\\t"]),
    ("about: [\n", ["line 2", "Mend studies/small.yaml"]),
    ("about: \x00", ["Mend studies/small.yaml"]),
    ("about: !!timestamp x", ["Mend studies/small.yaml"]),
    ("about: x\n---\nabout: y", ["line 2"]),
    ("[" * 5000, ["Mend studies/small.yaml"]),
])
def test_a_file_that_is_no_study_is_named(write, text, said):
    with pytest.raises(ValueError, match=says("small", *said)):
        write(text)


def test_the_end_of_lines_and_an_alias_of_yaml_change_nothing(write):
    runs = write(SMALL)
    assert write(yaml.safe_dump(SMALL).replace("\n", "\r\n")) == runs
    assert write("x: &x {epochs: 2}\n".replace("x:", "common:") + yaml.safe_dump(
        {key: value for key, value in SMALL.items() if key != "common"})) == runs


def test_factors_are_what_runs_may_differ_in(write):
    runs = write(SMALL | {"grid": {"lr": [0.1, 0.2]}, "factors": ["lr"]})
    assert [run.parameters["lr"] for run in runs] == [0.1, 0.1, 0.2, 0.2]


def test_a_study_can_repeat_another_on_fresh_seeds(write):
    first = write(SMALL | {"to_reach": {"gn": 99.0}, "threads": 2})
    again = write(REPEATS, "again")
    assert [run.name for run in again] == ["gn-skip_False-seed3", "gn-skip_True-seed3"]
    assert [run.parameters | {"seed": 0, "run_name": ""} for run in again] == [
        run.parameters | {"seed": 0, "run_name": ""} for run in first[::2]]
    assert study.read_file("again")["to_reach"] == {"gn": 99.0}
    assert study.read_file("again")["threads"] == 0  # its own


@pytest.mark.parametrize(("changed", "said"), [
    ({"seeds": [3, 2]}, ["seed 2", "small", "fresh"]),
    ({"seeds": []}, ["seeds"]),
    ({"common": {"lr": 0.2}}, ["common", "small", "Remove"]),
    ({"repeats": "smal"}, ["repeats", "Did you mean 'small'"]),
    ({"repeats": "again"}, ["again", "recipes of its own"]),
    ({"repeats": "fresh"}, ["fresh", "which repeats small"]),
    ({"repeats": 5}, ["repeats", "5", "another study"]),
])
def test_a_mistake_in_a_study_that_repeats_another_is_named(write, changed, said):
    write(SMALL)
    write(REPEATS, "fresh")
    with pytest.raises(ValueError, match=says("again", *said)):
        write(REPEATS | changed, "again")


def test_the_studies_of_fresh_seeds_have_the_recipes_of_those_that_they_confirm():
    for name in ("seed000", "best"):
        fresh, old = study.read_file(f"{name}_fresh"), study.read_file(name)
        assert fresh["recipes"] == old["recipes"]
        assert fresh["common"] == old["common"]
        assert len(set(fresh["seeds"]) - set(old["seeds"])) == 5


def test_one_recipe_is_put_together_once_for_all_of_its_seeds(write, monkeypatch):
    made = []
    put_together = study.Recipe
    monkeypatch.setattr(study, "Recipe", lambda **parameters: (
        made.append(parameters), put_together(**parameters))[1])
    write(SMALL | {"seeds": list(range(1, 100))})
    assert len(made) == 100  # every seed once, and the second recipe
    assert {recipe["seed"] for recipe in made} == set(range(1, 100))


def test_threads_are_what_the_file_says_or_an_equal_share_of_what_is_missing(monkeypatch):
    monkeypatch.setattr("coursepack.threads.count_cores", lambda: 8)
    assert [study.threads_each(0, missing) for missing in (0, 1, 3, 8, 9)] == [8, 8, 2, 1, 1]
    assert study.threads_each(3, 9) == 3


@pytest.mark.parametrize("name", list(report.load_studies()))
def test_published_studies_were_made_with_the_threads_that_their_command_takes(name):
    made = {record["environment"]["threads"] for record in report.load_study(name)}
    assert made == {study.read_file(name)["threads"]}


def test_a_study_asks_of_its_runs_what_the_summary_asks():
    """Both read one list."""
    cells = json.loads((ROOT / "notebooks" / "04_summary.ipynb").read_bytes())["cells"]
    assert any("utils.check_comparable(records" in "".join(cell["source"]) for cell in cells)
    for part in study.MUST_AGREE:
        records = [make_record("batch", 1, 0.9, **dict.fromkeys(study.MUST_AGREE, 1)) for _ in "ab"]
        recipes.check_comparable(records)
        records[1]["parameters"] |= {part: 2, "norm": "layer"}
        with pytest.raises(ValueError, match=f"differ in {part}"):
            recipes.check_comparable(records)


def test_unknown_study_is_named():
    with pytest.raises(ValueError, match="Did you mean 'seed000'"):
        study.read_study("sed000")


def test_a_study_with_a_name_that_is_no_file_name_everywhere_is_refused(write):
    with pytest.raises(ValueError, match=says("'my study'", "plain name")):
        write(SMALL, "my study")


def record_of(run, source="npz", **changed):
    """A published record, as if it were this run's."""
    record = json.loads((ROOT / "results" / "seed000" / "gn-seed1.json").read_bytes())
    parameters = study.all_parameters(run) | changed
    return record | {"parameters": parameters, "data": record["data"] | {"source": source},
                     "epochs": record["epochs"][-parameters["epochs"]:]}


def test_finished_means_a_record_with_these_parameters(write, tmp_path):
    run = write(SMALL)[0]
    file = study.record_file(run)
    file.parent.mkdir()
    assert not study.finished(run)
    for text, expected in [
        (json.dumps(record_of(run)), True),
        (json.dumps(record_of(run, device="cuda", data_dir="x", norm="GN")), True),
        (json.dumps(record_of(run, lr=0.7)), False),
        (json.dumps(record_of(run))[:-9], False),
        (json.dumps({"parameters": study.all_parameters(run)}), False),
        ("[]", False),
    ]:
        file.write_text(text, encoding="utf-8")
        assert study.finished(run) == expected


@pytest.mark.parametrize(("dataset", "source", "expected"), [
    ("mnist", "npz", True), ("mnist", "sample", False), ("mnist_sample", "sample", True)])
def test_a_record_of_the_sample_finishes_a_study_of_the_sample_alone(
    write, dataset, source, expected
):
    run = write(SMALL | {"common": {"epochs": 2, "dataset": dataset}})[0]
    study.record_file(run).parent.mkdir()
    study.record_file(run).write_text(json.dumps(record_of(run, source)), encoding="utf-8")
    assert study.finished(run) == expected


@pytest.fixture
def kept(write, tmp_path, monkeypatch):
    """The folder of kept records of the study small, with one record in it."""
    monkeypatch.setattr(report, "ROOT", tmp_path)
    folder = tmp_path / "results" / "small"
    folder.mkdir(parents=True)
    run = write(SMALL)[0]
    (folder / f"{run.name}.json").write_text(
        json.dumps(record_of(run, runs_dir="elsewhere")), encoding="utf-8")
    return folder


def test_kept_records_are_those_of_their_studys_file(kept):
    [record] = report.load_study("small")
    assert record["parameters"]["runs_dir"] == "elsewhere"


@pytest.mark.parametrize(("changed", "said"), [
    ({"common": {"epochs": 2, "lr": 0.3}}, ["lr=0.05", "lr=0.3", "make study STUDY=small"]),
    ({"common": {"epochs": 2, "dataset": "mnist_sample"}}, ["dataset='mnist'", "mnist_sample"]),
    ({"seeds": [2]}, ["is of no run", "small.yaml"]),
    ({"recipes": {"other": gn()}}, ["is of no run", "small.yaml"]),
])
def test_an_edited_file_does_not_change_the_text_over_old_numbers(write, kept, changed, said):
    write(SMALL | changed)
    with pytest.raises(ValueError, match=says("results/small/gn-skip_False-seed1.json", *said)):
        report.load_study("small")


@pytest.mark.parametrize("dataset", ["mnist", "mnist_sample"])
def test_records_of_the_sample_are_not_published(write, kept, monkeypatch, dataset):
    runs = write(SMALL | {"common": {"epochs": 2, "dataset": dataset}})
    monkeypatch.setattr(report, "read_study", lambda name: runs)
    before = {file: file.read_text(encoding="utf-8") for file in kept.iterdir()}
    for run, source in zip(runs, ("npz", "sample")):
        study.record_file(run).parent.mkdir()
        study.record_file(run).write_text(json.dumps(record_of(run, source)), encoding="utf-8")
    with pytest.raises(ValueError, match=says(runs[1].name, "set DATA_DIR")):
        report.keep_records("small")
    assert {file: file.read_text(encoding="utf-8") for file in kept.iterdir()} == before
    shutil.rmtree(study.record_file(runs[1]).parent)
    assert report.keep_records("small") == 1
    expected = record_of(runs[0])  # with the parameters that it is too old to know
    expected["parameters"] = with_defaults(expected["parameters"])
    assert report.load_study("small") == [expected]


def test_every_folder_of_kept_records_has_its_study():
    folders = {path.name for path in (ROOT / "results").iterdir() if path.is_dir()}
    assert folders - {report.SAVED, f"{report.SAVED}_gpu"} <= set(study.study_names())


def snakemake(*options, cores="all"):
    return [sys.executable, "-m", "snakemake", "--snakefile", "studies/Snakefile", "--cores", cores,
            *options]


@pytest.mark.slow
@pytest.mark.parametrize(("config", "said"), [
    ("study=sed000", "study='sed000' is not known. .* Did you mean 'seed000'.$"),
    ("study=../studies/trial", "study='../studies/trial' is not known. .*"),
    ("study=", "study='' is not known. .*"),
    ("threads=2", "--config='threads' is not known. Choose one of: study, folder."),
])
def test_the_last_line_of_a_study_that_cannot_start_is_our_own(config, said):
    done = subprocess.run(snakemake("--config", config), cwd=ROOT, capture_output=True,
                          encoding="utf-8")
    assert done.returncode == 1
    assert re.fullmatch(said, done.stderr.splitlines()[-1]), done.stderr


@pytest.mark.slow
def test_a_run_takes_the_threads_of_its_file_even_where_there_are_fewer_cores(tmp_path):
    """Of its command, all up to papermill is run. The summary's has the factors."""
    dry = subprocess.run(
        snakemake("--dry-run", "--printshellcmds", "--config", "study=seed000_first",
                  f"folder={tmp_path}", cores="1"), cwd=ROOT, capture_output=True,
        encoding="utf-8")
    command = re.search(r"(OMP_NUM_THREADS=.*?) -m papermill", dry.stdout)[1]
    assert "-p factors 'lr, augment'" in dry.stdout
    assert "OMP_NUM_THREADS=1 " in command
    for threads in (1, psutil.cpu_count() + 1):
        shell = command.replace("THREADS=1 ", f"THREADS={threads} ")
        code = "from coursepack.threads import THREADS; print(THREADS)"
        done = subprocess.run(["bash", "-c", f"{shell} -c '{code}'"], cwd=ROOT, capture_output=True,
                              encoding="utf-8")
        assert done.stdout == f"{threads}\n", done.stderr


@pytest.mark.slow
def test_interrupted_study_goes_on_where_it_was(monkeypatch, foreign):
    """A run is killed, then the engine interrupted; called again, it does only what is missing.

    Kernels are of this interpreter, whatever the machine calls "python3".
    """
    (ROOT / "runs").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="test-", dir=ROOT / "runs"))
    command = snakemake("--config", "study=trial", f"folder={folder.relative_to(ROOT)}")
    monkeypatch.delenv("OMP_NUM_THREADS")
    pipes = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT,
             "encoding": "utf-8", "env": os.environ | foreign}

    def records():
        return {file: file.stat().st_mtime_ns for file in folder.glob("*/record.json")}

    def wait_for(pattern):
        while engine.poll() is None and not list(folder.glob(pattern)):
            time.sleep(0.01)
        return next(folder.glob(pattern))

    try:
        engine = subprocess.Popen(command, start_new_session=True, **pipes)
        killed = wait_for("*/unfinished-*.pt").parent
        for process in psutil.Process(engine.pid).children(recursive=True):
            if "ipykernel_launcher" in " ".join(process.cmdline()):
                process.kill()
        finished = wait_for("*/record.json").parent
        assert finished != killed
        started = psutil.Process(engine.pid).children(recursive=True)
        engine.send_signal(signal.SIGINT)
        said, _ = engine.communicate(timeout=120)
        psutil.wait_procs(started, timeout=30)
        assert not [process for process in started if process.is_running()]
        assert engine.returncode != 0, said
        before = records()
        assert all(load_record(file) for file in before)
        assert killed / "record.json" not in before

        dry = subprocess.run([*command, "--dry-run"], check=True, **pipes)
        assert f"4 runs, {4 - len(before)} of them to do" in dry.stdout
        engine = subprocess.Popen(command, start_new_session=True, **pipes)
        while engine.poll() is None and not psutil.Process(engine.pid).children():
            time.sleep(0.01)  # a job of it runs: it has the folder (what is unfinished was before)
        second = subprocess.run(command, check=False, **pipes)
        assert "is being run by another process" in second.stdout.splitlines()[-1]
        os.killpg(engine.pid, signal.SIGKILL)  # as by a power cut: nothing can tidy up
        said, _ = engine.communicate(timeout=60)
        before = records()
        again = subprocess.run(command, check=False, **pipes)
        assert again.returncode == 0, again.stdout[-3000:]
        assert "continuing after epoch" in said + again.stdout  # it may have been done by then
        after = records()
        assert len(after) == 4
        assert {file: after[file] for file in before} == before
        assert (folder / "summary.ipynb").is_file()
        assert not list(folder.glob("*/unfinished-*.pt")) + list(folder.glob(".*.finished"))
        done = subprocess.run([*command, "--dry-run"], check=True, **pipes)
        assert "Nothing to be done" in done.stdout
        shutil.rmtree(killed)
        less = subprocess.run([*command, "--dry-run"], check=True, **pipes)
        assert "4 runs, 1 of them to do" in less.stdout
        for job in ("run", "summary"):
            assert re.search(rf"^{job} +1$", less.stdout, re.MULTILINE), less.stdout
    finally:
        shutil.rmtree(folder)
