"""What a run, a study, a download survive: kills, full disks, two at once, networks, machines.

A few run in "make test", those marked slow; all of them in "make survival", and once a week. The
word of a mark is the kind that results/faults.md counts them by.
"""

import itertools
import os
import platform
import resource
import shutil
import signal
import socket
import sys
import time
from functools import partial

import pytest
from helpers import files_in, fit, make_recipe, papermill_command, without_seconds
from started import BROKEN

from coursepack import files
from coursepack.data.datasets import load_dataset
from coursepack.lab.rows import read_table
from coursepack.runs.records import load_record, save_run

signals, disks, two, networks, machines = map(pytest.mark.survival, (
    "signals", "disks", "two at once", "networks", "machines"))
SAVED = ["unfinished", "model.pt", "misclassified.npz", "record.json"]  # in this order
GOES_ON = "continuing after epoch"


def some_now(*values, now):
    """The cases of a test, of which "make test" tries some."""
    return [pytest.param(value, marks=[pytest.mark.slow] * (value in now)) for value in values]


# --------------------------------------------------------------------- what the processes do
def train(folder, **changes):
    """What a recipe notebook does."""
    recipe = make_recipe(folder, **{"data_dir": "", "arch": "mnist_8k", "epochs": 6} | changes)
    data = load_dataset(recipe.dataset, recipe.data_dir)
    model, history = fit(data, recipe)
    return save_run(model, data, recipe, history)["data"]


def command(*words):
    """A command of a terminal."""
    os.execvp(words[0], [str(word) for word in words])


def train_and_at(folder, name, disturb):
    """Train, with the file disturbed whose name begins like this."""
    replace = files.replace_file
    files.replace_file = lambda path, write: (
        disturb(replace, path, write) if path.name.startswith(name) else replace(path, write))
    return train(folder)


def stay_at_half(replace, path, write):
    """Write half of a file, and stay there."""
    def write_half(temporary):
        write(temporary)
        os.truncate(temporary, temporary.stat().st_size // 2)
        print("half of", path.name, flush=True)
        time.sleep(600)
    replace(path, write_half)


def find_no_room(replace, path, write):
    """Write a file of which no more than 16 bytes find room."""
    no_limit = resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, no_limit))
    try:
        replace(path, write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (no_limit, no_limit))


def train_while_the_clock_is_set_back(folder):
    """At every look at the clock it is a minute earlier."""
    minutes, now = itertools.count(), time.time()
    time.time = lambda: now - 60 * next(minutes)
    return train(folder)


def train_without_unix(folder):
    """What Windows has not is taken away; that an import needs it neither, test_house says."""
    sys.modules |= dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios"))
    for name in ("getuid", "geteuid", "sched_getaffinity", "getloadavg", "uname", "mkfifo"):
        delattr(os, name)
    platform.libc_ver = lambda *arguments: ("", "")
    return train(folder)


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
    """Train again: that says these words, and all is there as if undisturbed."""
    def check(words=""):
        assert words in start(train, tmp_path).end()
        assert history(tmp_path) == undisturbed
        there = files_in(tmp_path / "runs" / "run")
        assert [name for name in there if name[0] != "."] == sorted(SAVED[1:])
    return check


@signals
@pytest.mark.parametrize("number", some_now(
    signal.SIGKILL, signal.SIGINT, signal.SIGTERM, now=(signal.SIGKILL, signal.SIGINT)))
def test_a_run_that_a_signal_ends_goes_on_bit_for_bit(start, check_again, tmp_path, number):
    start(train, tmp_path).wait_for("epoch  2/").send(number).end(-number, BROKEN)
    assert not (tmp_path / "runs" / "run" / "record.json").exists()
    check_again(GOES_ON)


@signals
@pytest.mark.parametrize("name", some_now(*SAVED, now=["misclassified.npz"]))
def test_a_run_killed_in_the_middle_of_a_save_goes_on(start, check_again, tmp_path, name):
    run = start(train_and_at, tmp_path, name, stay_at_half).wait_for(f"half of {name}")
    run.send(signal.SIGKILL).end(-signal.SIGKILL)
    assert not (tmp_path / "runs" / "run" / "record.json").exists()
    check_again(f"{GOES_ON} 6" if name in SAVED[1:] else "")


@signals
def test_a_notebook_that_is_killed_goes_on(start, folder):
    """papermill and its kernel at once; the same command ends it."""
    words = papermill_command("02_group_norm_l1.ipynb", folder / "out.ipynb", runs_dir=folder,
                              epochs=6, arch="mnist_8k")
    run = start(command, *words).wait_for(lambda: list(folder.glob("gn_l1/unfinished*")))
    run.send(signal.SIGKILL).end(-signal.SIGKILL)
    start(command, *words).end()
    assert GOES_ON in (folder / "out.ipynb").read_text(encoding="utf-8")


@signals
@pytest.mark.parametrize(("name", "sign"), [("trial", "epoch  2/"), ("trial_lab", "trial_lab 2/8")])
def test_a_study_that_is_killed_goes_on(start, folder, name, sign):
    """No record and no row is lost, made again, or there twice."""
    study = (sys.executable, "-m", "snakemake", "--snakefile", "studies/Snakefile", "--cores", "2",
             "--config", f"study={name}", f"folder={folder}")
    start(command, *study).wait_for(sign).send(signal.SIGKILL)
    before = {file: file.read_bytes() for file in folder.glob("*/record.json")}
    text = start(command, *study).end()
    if name == "trial":
        assert len(list(folder.glob("*/record.json"))) == 4
        assert all(file.read_bytes() == content for file, content in before.items())
    else:
        assert "trial_lab 1/8" not in text
        head, rows = read_table(folder / "trial_lab.csv")
        assert len(rows) == head["runs"] == len(rows.drop_duplicates([*head["factors"], "seed"]))


@disks
@pytest.mark.parametrize("name", some_now(*SAVED, now=["unfinished"]))
def test_a_full_disk_is_refused_and_the_run_goes_on(start, check_again, tmp_path, name):
    run = start(train_and_at, tmp_path, name, find_no_room)
    run.refuses("cannot write", name, tmp_path / "runs" / "run", "Make room")
    check_again(f"{GOES_ON} 6" if name in SAVED[1:] else "")


@disks
def test_a_folder_that_is_removed_during_training_is_named(start, check_again, tmp_path):
    run = start(train, tmp_path).wait_for("epoch  1/")
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    run.refuses(tmp_path / "runs")
    check_again()


@two
@pytest.mark.parametrize("lr", some_now(0.1, 0.2, now=[0.1]))  # alike, and unlike
def test_of_two_runs_of_one_name_the_second_is_refused(start, check_again, tmp_path, lr):
    first = start(train, tmp_path).wait_for("epoch  1/").send(signal.SIGSTOP)
    start(partial(train, lr=lr), tmp_path).refuses("'run'", "another process")
    first.send(signal.SIGCONT).end()
    check_again()


@two
def test_eight_runs_at_once_in_one_folder_are_as_if_alone(start, tmp_path, undisturbed):
    names = [f"run-{number}" for number in range(8)]
    for run in [start(partial(train, run_name=name), tmp_path) for name in names]:
        run.end()
    assert [history(tmp_path, name) for name in names] == [undisturbed] * 8


@networks
@pytest.mark.slow
def test_a_network_that_swallows_packets_leads_to_the_sample(start, tmp_path):
    """A proxy that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        run = start(load_where_there_are_no_data, tmp_path, DATA_DIR="", https_proxy=address,
                    http_proxy=address)
        assert "images of the sample" in run.end(seconds=120)
    assert files_in(tmp_path) == []


@machines
@pytest.mark.slow
def test_a_clock_that_is_set_back_makes_no_negative_duration(start, tmp_path, undisturbed):
    start(train_while_the_clock_is_set_back, tmp_path).end()
    assert history(tmp_path) == undisturbed  # a record that is read refuses negative numbers


@machines
def test_a_run_needs_nothing_that_unix_alone_has(start, tmp_path, undisturbed):
    start(train_without_unix, tmp_path).end()
    assert history(tmp_path) == undisturbed
