"""What a run, a study, a download survive: kills, full disks, two at once, networks, clocks.

Each process is a fork of a server that has imported PyTorch and the course: it starts in
milliseconds. A few tests run in "make test", those marked slow; all of them in "make survival".
"""

import contextlib
import itertools
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import sys
import time
from functools import partial
from multiprocessing import forkserver
from unittest import mock

import psutil
import pytest
from helpers import files_in
from refused import is_ours

from coursepack import files
from coursepack.data import sources
from coursepack.data.datasets import load_dataset
from coursepack.data.imports import import_data
from coursepack.lab.rows import read_table
from coursepack.runs.records import load_record, save_run
from coursepack.train import loop
from coursepack.train.recipe import Recipe

pytestmark = pytest.mark.survival
WELL, REFUSED, BROKEN = 0, 3, 4  # how a process ends: as it should, by an error of ours, by another
SERVER = multiprocessing.get_context("forkserver")
GOES_ON = "continuing after epoch"
SAVED = {  # the files of a run in their order, and what it says that goes on without the file
    "unfinished": "", "model.pt": f"{GOES_ON} 6", "misclassified.npz": f"{GOES_ON} 6",
    "record.json": f"{GOES_ON} 6"}
STUDY = [sys.executable, "-m", "snakemake", "--snakefile", "studies/Snakefile", "--cores", "2",
         "--config", "folder={}"]
NOTEBOOK = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-output",
            "notebooks/02_group_norm_l1.ipynb", "{}/out.ipynb", "-p", "runs_dir", "{}",
            "-p", "epochs", "6", "-p", "arch", "mnist_8k"]


def perform(do, arguments, said, environment):
    """In the process: do it, with all that is said in a file; its last line is the outcome."""
    for number in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(files.ROOT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status, outcome = WELL, do(*arguments)
    except BaseException as error:
        status = REFUSED if is_ours(error) else BROKEN
        outcome = f"{type(error).__name__}: {' '.join(str(error).split())}"
    print(outcome, flush=True)
    os._exit(status)


class Started:
    """A process that does a function of a module."""

    def __init__(self, said, do, arguments, environment):
        said.touch()
        self.said = said
        SERVER.set_forkserver_preload(["torch._dynamo", "test_survival"])  # which takes seconds
        with mock.patch.dict(os.environ, PYTHONPATH=":".join(sys.path), PYTHONUNBUFFERED="1"):
            forkserver.ensure_running()  # which looks for what it imports nowhere else
        self.process = SERVER.Process(target=perform, args=(do, arguments, said, environment))
        self.process.start()

    @property
    def text(self):
        return self.said.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, words):
        """Wait until it has said these words."""
        end = time.monotonic() + 120
        while words not in self.text:
            alive = self.process.is_alive() and time.monotonic() < end
            assert alive, f"it ended, or waiting did, before {words}: {self.text[-3000:]}"
            time.sleep(0.005)
        return self

    def send(self, number):
        """Send it a signal; SIGKILL to all that it has started, too, as in a power cut."""
        process = psutil.Process(self.process.pid)
        members = process.children(recursive=True) if number == signal.SIGKILL else []
        for member in [process, *members]:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
                member.send_signal(number)
        psutil.wait_procs(members, timeout=20)
        return self

    def end(self, *statuses):
        """Wait for its end, which has to be one of these; what it has said."""
        self.process.join(300)
        code = self.process.exitcode
        assert code in (statuses or (WELL,)), f"it ended by {code}: {self.text[-3000:]}"
        return self.text


@pytest.fixture
def start(tmp_path_factory, some_digits):
    """start(function, arguments ..., VARIABLE=value): a process that does it."""
    folder, started = tmp_path_factory.mktemp("started"), []

    def start_one(do, *arguments, **variables):
        environment = os.environ | {"DATA_DIR": str(some_digits)} | variables
        started.append(Started(folder / f"{len(started)}.txt", do, arguments, environment))
        return started[-1]

    yield start_one
    for one in started:
        if one.process.is_alive():
            one.send(signal.SIGKILL)


def disturb_writing(name, disturb):
    """From now on a file is written by disturb if its name begins like this."""
    if disturb:
        replace = files.replace_file
        files.replace_file = lambda path, write, **kept: replace(
            path, partial(disturb, write) if path.name.startswith(name) else write, **kept)


def train(folder, name="", disturb=None, **changes):
    """What a recipe notebook does, where a file may be disturbed."""
    disturb_writing(name, disturb)
    recipe = Recipe(**{"arch": "mnist_8k", "epochs": 6, "batch_size": 64, "augment": "none",
                       "device": "cpu", "runs_dir": str(folder / "runs")} | changes)
    data = recipe.load_data()
    model = loop.build_model(recipe, data)
    return save_run(model, data, recipe, loop.train(model, data, recipe))["data"]


def convert(folder, source, disturb=None):
    """What tools/import_data.py does, where its file may be disturbed."""
    disturb_writing("own.npz", disturb)
    return len(import_data(source, "own", replace=True, data_dir=str(folder)).train_labels)


def stay_at_half(write, path):
    write(path)
    os.truncate(path, path.stat().st_size // 2)
    print("half of it", flush=True)
    time.sleep(600)


def find_no_room(write, path):
    """No more than 16 bytes find room."""
    no_limit = resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, no_limit))
    try:
        write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (no_limit, no_limit))


def lose_the_folder(write, path):
    shutil.rmtree(path.parent.parent)
    write(path)


def train_while_the_clock_is_set_back(folder):
    """At every look at the clock it is a minute earlier."""
    minutes, now = itertools.count(), time.time()
    time.time = lambda: now - 60 * next(minutes)
    return train(folder)


def load_where_there_are_no_data(folder):
    files.ROOT, sources.PATIENCE = folder, 1.0
    return f"images of the {load_dataset('mnist').source}"


def case(*values, now):
    """One of a test; now: "make test" tries it, too."""
    return pytest.param(*values, marks=[pytest.mark.slow] if now else [])


def history(folder):
    epochs = load_record(folder / "runs" / "run" / "record.json")["epochs"]
    return [{key: value for key, value in row.items() if "_seconds" not in key} for row in epochs]


@pytest.fixture(scope="session")
def undisturbed(some_digits, tmp_path_factory):
    """The history of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train(folder, data_dir=str(some_digits))
    return history(folder)


@pytest.mark.parametrize(("number", "at", "name", "disturb", "says"), [
    *[case(number, "epoch  2/", "", None, GOES_ON, now=number != signal.SIGTERM)
      for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)],
    *[case(signal.SIGKILL, "half of it", name, stay_at_half, says, now="mis" in name)
      for name, says in SAVED.items()],
    *[case(0, "", name, find_no_room, says, now=not says) for name, says in SAVED.items()],
    case(0, "", "unfinished", lose_the_folder, "", now=False)])
def test_a_run_that_a_signal_or_a_disk_ends_goes_on_bit_for_bit(
        start, tmp_path, undisturbed, number, at, name, disturb, says):
    folder = tmp_path / "runs" / "run"
    run = start(train, tmp_path, name, disturb)
    if number:
        run.wait_for(at).send(number).end(-number, BROKEN)
    else:
        said = run.end(REFUSED)
        assert all(word in said for word in ("cannot write", name, str(folder), "Make room")), said
    assert not (folder / "record.json").exists()
    assert says in start(train, tmp_path).end()
    assert history(tmp_path) == undisturbed
    assert sorted(path.name for path in folder.glob("[!.]*")) == sorted([*SAVED][1:])


@pytest.mark.parametrize(("words", "sign", "says", "count"), [
    (NOTEBOOK, "epoch  2/", GOES_ON, 1), ([*STUDY, "study=trial"], "epoch  2/", "", 4),
    ([*STUDY, "study=trial_lab"], "trial_lab 2/8", "trial_lab 3/8", 8)])
def test_a_notebook_or_a_study_that_is_killed_goes_on(start, folder, words, sign, says, count):
    """No record and no row is lost, made again, or there twice. A kernel is killed, too."""
    words = [word.format(folder) for word in words]
    start(os.execvp, words[0], words).wait_for(sign).send(signal.SIGKILL).end(-signal.SIGKILL)
    before = {file: file.read_bytes() for file in folder.glob("*/record.json")}
    text = start(os.execvp, words[0], words).end()
    assert says in text
    assert "trial_lab 1/8" not in text
    assert all(file.read_bytes() == content for file, content in before.items())
    made = len(list(folder.glob("*/record.json")))
    for table in folder.glob("*.csv"):
        head, rows = read_table(table)
        made += len(rows.drop_duplicates([*head["factors"], "seed"]))
        assert made == len(rows) == head["runs"]
    assert made == count


@pytest.mark.parametrize("disturb", [case(stay_at_half, now=True), case(find_no_room, now=False)])
def test_a_conversion_that_is_cut_leaves_the_data_set_that_was_there(
        start, tmp_path, some_digits, disturb):
    source = str(some_digits / "mnist.npz")
    count = start(convert, tmp_path, source).end()
    before = (tmp_path / "own.npz").read_bytes()
    cut = start(convert, tmp_path, source, disturb)
    if disturb is stay_at_half:
        cut.wait_for("half of it").send(signal.SIGKILL).end(-signal.SIGKILL)
    else:
        cut.end(REFUSED)
    assert (tmp_path / "own.npz").read_bytes() == before
    assert start(convert, tmp_path, source).end().splitlines()[-1] == count.splitlines()[-1]
    assert files_in(tmp_path) == ["own.npz"]


@pytest.mark.parametrize("lr", [case(0.1, now=True), case(0.2, now=False)])  # alike, and unlike
def test_of_two_runs_of_one_name_the_second_is_refused(start, tmp_path, undisturbed, lr):
    first = start(train, tmp_path).wait_for("epoch  1/").send(signal.SIGSTOP)
    said = start(partial(train, lr=lr), tmp_path).end(REFUSED)
    assert "'run'" in said, said
    assert "another process" in said
    first.send(signal.SIGCONT).end()
    assert history(tmp_path) == undisturbed


@pytest.mark.slow
def test_a_network_that_swallows_packets_leads_to_the_sample(start, tmp_path):
    """A proxy that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        run = start(load_where_there_are_no_data, tmp_path, DATA_DIR="", https_proxy=address,
                    http_proxy=address)
        assert "images of the sample" in run.end()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_while_the_clock_is_set_back_is_the_same(start, tmp_path, undisturbed):
    start(train_while_the_clock_is_set_back, tmp_path).end()
    assert history(tmp_path) == undisturbed
    epochs = load_record(tmp_path / "runs" / "run" / "record.json")["epochs"]
    assert all(row["train_seconds"] > 0 < row["test_seconds"] for row in epochs)
