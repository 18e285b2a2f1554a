"""What a run, a study, a download survive: kills, full disks, two at once, networks, machines.

A few run in "make test", those marked slow; all of them in "make survival", and once a week. The
word of a mark is the kind that results/faults.md counts them by.
"""

import ctypes
import importlib
import itertools
import os
import platform
import shutil
import signal
import socket
import sys
import time

import pytest
from helpers import files_in, fit, make_recipe, papermill_command, without_seconds
from PIL import Image

from coursepack import files
from coursepack.data.datasets import load_dataset
from coursepack.lab.rows import read_table
from coursepack.runs.records import load_record, save_run

signals, disks, two, networks, machines = map(pytest.mark.survival, (
    "Signals", "Disks", "Two at once", "Networks", "Machines"))
SAVED = ["unfinished", "model.pt", "misclassified.npz", "record.json"]  # in this order


def some_now(*values, now):
    """The cases of a test, of which "make test" tries some."""
    return [pytest.param(value, marks=[pytest.mark.slow] if value in now else [])
            for value in values]


# --------------------------------------------------------------------- what the processes do
def train(folder, **changes):
    """What a recipe notebook does."""
    recipe = make_recipe(folder, **{"data_dir": "", "arch": "mnist_8k", "epochs": 6} | changes)
    data = load_dataset(recipe.dataset, recipe.data_dir)
    model, history = fit(data, recipe)
    return save_run(model, data, recipe, history)["data"]


def train_fast(folder):
    return train(folder, lr=0.2)


def command(*words):
    """A command of a terminal."""
    os.execvp(words[0], [str(word) for word in words])


def train_and_stay_in_a_save(folder, name):
    """Train, and stay where half of a file is written."""
    replace = files.replace_file

    def stay(path, write):
        def write_half(temporary):
            write(temporary)
            os.truncate(temporary, temporary.stat().st_size // 2)
            print("half of", path.name, flush=True)
            time.sleep(600)
        replace(path, write_half if path.name.startswith(name) else write)

    files.replace_file = stay
    return train(folder)


def train_on_a_full_disk(folder, name):
    """Train, and no file that this process writes may have more than 16 bytes, from one file on."""
    import resource

    replace, most = files.replace_file, resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(path, write):
        limit = 16 if path.name.startswith(name) else most[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most[1]))
        try:
            replace(path, write)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, most)

    files.replace_file = fill
    return train(folder)


def train_without_rights(folder):
    """Train in a process that may write no more than others: root may write anywhere."""
    none_of_them = (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), none_of_them)
    return train(folder)


def train_while_the_clock_is_set_back(folder):
    """At every look at the clock it is a minute earlier."""
    minutes, now = itertools.count(), time.time()
    time.time = lambda: now - 60 * next(minutes)
    time.time_ns = lambda: int(1e9 * time.time())
    return train(folder)


def train_without_unix(folder):
    """What Windows has not is taken away, then the toolbox imported and a run made."""
    for name in [name for name in sys.modules if name.split(".")[0] in (
            "coursepack", "model", "utils")]:
        del sys.modules[name]
    sys.modules |= dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios"))
    for name in ("getuid", "geteuid", "sched_getaffinity", "getloadavg", "uname", "mkfifo"):
        delattr(os, name)
    platform.libc_ver = lambda *arguments: ("", "")
    utils = importlib.import_module("utils")
    utils.set_up()
    recipe = utils.Recipe(runs_dir=str(folder / "runs"), epochs=1, arch="mnist_8k", device="cpu")
    data = utils.load_dataset(recipe.dataset)
    net = utils.build_model(recipe, data)
    utils.save_run(net, data, recipe, utils.train(net, data, recipe))


def load_where_there_are_no_data(folder):
    files.ROOT = folder
    return f"images of the {load_dataset('mnist').source}"


# ------------------------------------------------------------------------------ what is tried
@pytest.fixture(autouse=True)
def _data(monkeypatch, some_digits):
    monkeypatch.setenv("DATA_DIR", str(some_digits))


def history(folder, name="run"):
    return without_seconds(load_record(folder / "runs" / name / "record.json")["epochs"])


@pytest.fixture(scope="session")
def undisturbed(some_digits, tmp_path_factory):
    """The history of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train(folder, data_dir=str(some_digits))
    return history(folder)


@pytest.fixture
def check_again(start, tmp_path, undisturbed):
    """Train again: that says these words, and the run is there as if undisturbed."""
    def check(*words):
        said = start(train, tmp_path).end()
        assert all(word in said for word in words), said
        assert history(tmp_path) == undisturbed
        there = [name for name in files_in(tmp_path / "runs" / "run") if name[0] != "."]
        assert there == sorted(SAVED[1:])
    return check


@signals
@pytest.mark.parametrize("number", some_now(
    signal.SIGKILL, signal.SIGINT, signal.SIGTERM, now=(signal.SIGKILL, signal.SIGINT)))
def test_a_run_that_a_signal_ends_goes_on_bit_for_bit(start, check_again, tmp_path, number):
    run = start(train, tmp_path).wait_for("epoch  2/").send(number)
    run.end(-number, 4)
    assert not (tmp_path / "runs" / "run" / "record.json").exists()
    check_again("continuing after epoch")


@signals
@pytest.mark.parametrize("name", some_now(*SAVED, now=["misclassified.npz"]))
def test_a_run_killed_in_the_middle_of_a_save_goes_on(start, check_again, tmp_path, name):
    run = start(train_and_stay_in_a_save, tmp_path, name).wait_for(f"half of {name}")
    run.send(signal.SIGKILL).end(-signal.SIGKILL)
    assert not (tmp_path / "runs" / "run" / "record.json").exists()
    check_again(*["continuing after epoch 6"] if name in SAVED[1:] else [])


@signals
def test_a_notebook_that_is_killed_goes_on(start, folder):
    """papermill and its kernel at once; the same command ends the run."""
    words = papermill_command("02_group_norm_l1.ipynb", folder / "out.ipynb", runs_dir=folder,
                              epochs=6, arch="mnist_8k", device="cpu", augment="none")
    run = start(command, *words).wait_for(lambda: list(folder.glob("gn_l1/unfinished*")))
    run.send(signal.SIGKILL).end(-signal.SIGKILL)
    assert not (folder / "gn_l1" / "record.json").exists()
    start(command, *words).end()
    assert "continuing after epoch" in (folder / "out.ipynb").read_text(encoding="utf-8")
    assert len(load_record(folder / "gn_l1" / "record.json")["epochs"]) == 6


def study_command(name, folder):
    return (sys.executable, "-m", "snakemake", "--snakefile", "studies/Snakefile", "--cores", "2",
            "--config", f"study={name}", f"folder={folder}")


@signals
def test_a_study_of_notebooks_that_is_killed_goes_on(start, folder):
    study = study_command("trial", folder)
    start(command, *study).wait_for("epoch  2/").send(signal.SIGKILL)
    before = {file: file.read_bytes() for file in folder.glob("*/record.json")}
    start(command, *study).end()
    assert len(list(folder.glob("*/record.json"))) == 4
    assert (folder / "summary.ipynb").is_file()
    assert all(file.read_bytes() == content for file, content in before.items())


@signals
def test_a_study_of_rows_that_is_killed_goes_on(start, folder):
    """No row is lost, made again, or there twice."""
    study = study_command("trial_lab", folder)
    start(command, *study).wait_for("trial_lab 2/8").send(signal.SIGKILL)
    text = start(command, *study).end()
    assert "trial_lab 1/8" not in text
    head, rows = read_table(folder / "trial_lab.csv")
    assert len(rows) == head["runs"] == len(rows.drop_duplicates([*head["factors"], "seed"]))


@signals
def test_a_summary_that_is_killed_leaves_no_half_figure(start, folder):
    words = papermill_command("04_summary.ipynb", folder / "out.ipynb", images_dir=folder,
                              runs_dir="results/mnist_7k", shown=2)
    run = start(command, *words).wait_for(lambda: list(folder.glob("[!.]*.png")))
    run.send(signal.SIGKILL).end(-signal.SIGKILL)
    for file in folder.glob("[!.]*.png"):
        Image.open(file).load()
    start(command, *words).end()


@disks
@pytest.mark.parametrize("name", some_now(*SAVED, now=["unfinished"]))
def test_a_full_disk_is_refused_and_the_run_goes_on(start, check_again, tmp_path, name):
    run = start(train_on_a_full_disk, tmp_path, name)
    run.refuses("cannot write", name, tmp_path / "runs" / "run", "Make room")
    check_again(*["continuing after epoch 6"] if name in SAVED[1:] else [])


@disks
def test_a_folder_that_is_removed_during_training_is_named(start, check_again, tmp_path):
    run = start(train, tmp_path).wait_for("epoch  1/")
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    run.refuses(tmp_path / "runs")
    check_again()


@disks
def test_a_folder_that_is_read_only_is_named_before_training(start, tmp_path):
    (tmp_path / "runs").mkdir(mode=0o555)
    run = start(train_without_rights, tmp_path)
    run.refuses("cannot write", tmp_path / "runs")
    assert "epoch  1/" not in run.text


@two
@pytest.mark.parametrize("do", some_now(train, train_fast, now=[train]))
def test_of_two_runs_of_one_name_the_second_is_refused(start, check_again, tmp_path, do):
    first = start(train, tmp_path).wait_for("epoch  1/").send(signal.SIGSTOP)
    start(do, tmp_path).refuses("'run'", "another process")
    first.send(signal.SIGCONT).end()
    check_again()


@two
def test_eight_runs_at_once_in_one_folder_are_as_if_alone(start, tmp_path, undisturbed):
    for run in [start(train_as, tmp_path, f"run-{number}") for number in range(8)]:
        run.end()
    assert [history(tmp_path, f"run-{number}") for number in range(8)] == [undisturbed] * 8


def train_as(folder, name):
    return train(folder, run_name=name)


@networks
@pytest.mark.slow
def test_a_network_that_swallows_packets_leads_to_the_sample(start, tmp_path):
    """A proxy that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        run = start(load_where_there_are_no_data, tmp_path, DATA_DIR="", https_proxy=address,
                    http_proxy=address)
        assert "images of the sample" in run.end(seconds=60)
    assert files_in(tmp_path) == []


@machines
@pytest.mark.slow
def test_a_clock_that_is_set_back_makes_no_negative_duration(start, check_again, tmp_path):
    start(train_while_the_clock_is_set_back, tmp_path).end()
    record = load_record(tmp_path / "runs" / "run" / "record.json")
    assert min(row["train_seconds"] for row in record["epochs"]) >= 0
    check_again()


@machines
def test_a_run_needs_nothing_that_unix_alone_has(start, tmp_path):
    start(train_without_unix, tmp_path).end()
    assert len(history(tmp_path)) == 1
