"""What a run, a study, a download survive: kills, full disks, two at once, networks, machines.

A few run in "make test", those marked slow; all of them in "make survival", and once a week.
results/faults.md counts them by the names of these tests.
"""

import signal
import socket
import sys
from functools import partial

import pytest
import started
from helpers import files_in, without_seconds
from started import BROKEN, train

from coursepack.lab.rows import read_table
from coursepack.runs.records import load_record

pytestmark = pytest.mark.survival
GOES_ON = "continuing after epoch"
SAVED = {  # the files of a run in their order, and what it says that goes on without the file
    "unfinished": "", "model.pt": f"{GOES_ON} 6", "misclassified.npz": f"{GOES_ON} 6",
    "record.json": f"{GOES_ON} 6"}
STUDY = [sys.executable, "-m", "snakemake", "--snakefile", "studies/Snakefile", "--cores", "2",
         "--config", "folder={}"]


def case(*values, now):
    """One of a test; now: "make test" tries it, too."""
    return pytest.param(*values, marks=[pytest.mark.slow] if now else [])


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


@pytest.mark.parametrize(("number", "at", "name", "disturb", "says"), [
    *[case(number, "epoch  2/", "", None, GOES_ON, now=number != signal.SIGTERM)
      for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)],
    *[case(signal.SIGKILL, "half of it", name, started.stay_at_half, says, now="mis" in name)
      for name, says in SAVED.items()],
    *[case(0, "", name, started.find_no_room, says, now=not says) for name, says in SAVED.items()],
    case(0, "", "unfinished", started.lose_the_folder, "", now=False)])
def test_a_run_that_a_signal_or_a_disk_ends_goes_on_bit_for_bit(
        start, tmp_path, undisturbed, number, at, name, disturb, says):
    folder = tmp_path / "runs" / "run"
    run = start(train, tmp_path, name, disturb)
    if number:
        run.wait_for(at).send(number).end(-number, BROKEN)
    else:
        run.refuses("cannot write", name, folder, "Make room")
    assert not (folder / "record.json").exists()
    assert says in start(train, tmp_path).end()
    assert history(tmp_path) == undisturbed
    assert [name for name in files_in(folder) if name[0] != "."] == sorted([*SAVED][1:])


@pytest.mark.parametrize(("words", "sign", "says", "count"), [
    ([sys.executable, "-m", "papermill", "notebooks/02_group_norm_l1.ipynb", "{}/out.ipynb",
      "--log-output", "-p", "runs_dir", "{}", "-p", "epochs", "6", "-p", "arch", "mnist_8k"],
     "epoch  2/", GOES_ON, 1),
    ([*STUDY, "study=trial"], "epoch  2/", "", 4),
    ([*STUDY, "study=trial_lab"], "trial_lab 2/8", "trial_lab 3/8", 8)])
def test_a_notebook_or_a_study_that_is_killed_goes_on(start, folder, words, sign, says, count):
    """No record and no row is lost, made again, or there twice. A kernel is killed, too."""
    words = [str(word).format(folder) for word in words]
    start(started.command, *words).wait_for(sign).send(signal.SIGKILL).end(-signal.SIGKILL)
    before = {file: file.read_bytes() for file in folder.glob("*/record.json")}
    text = start(started.command, *words).end()
    assert says in text
    assert "trial_lab 1/8" not in text
    assert all(file.read_bytes() == content for file, content in before.items())
    made = len(list(folder.glob("*/record.json")))
    for table in folder.glob("*.csv"):
        head, rows = read_table(table)
        made += len(rows.drop_duplicates([*head["factors"], "seed"]))
        assert made == len(rows) == head["runs"]
    assert made == count


@pytest.mark.parametrize("lr", [case(0.1, now=True), case(0.2, now=False)])  # alike, and unlike
def test_of_two_runs_of_one_name_the_second_is_refused(start, tmp_path, undisturbed, lr):
    first = start(train, tmp_path).wait_for("epoch  1/").send(signal.SIGSTOP)
    start(partial(train, lr=lr), tmp_path).refuses("'run'", "another process")
    first.send(signal.SIGCONT).end()
    assert history(tmp_path) == undisturbed


def test_eight_runs_at_once_in_one_folder_are_as_if_alone(start, tmp_path, undisturbed):
    names = [f"run-{number}" for number in range(8)]
    for run in [start(partial(train, run_name=name), tmp_path) for name in names]:
        run.end()
    assert [history(tmp_path, name) for name in names] == [undisturbed] * 8


@pytest.mark.slow
def test_a_network_that_swallows_packets_leads_to_the_sample(start, tmp_path):
    """A proxy that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        run = start(started.load_where_there_are_no_data, tmp_path, DATA_DIR="",
                    https_proxy=address, http_proxy=address)
        assert "images of the sample" in run.end()
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("do", [case(started.train_while_the_clock_is_set_back, now=True),
                                case(started.train_without_unix, now=False)])
def test_a_run_where_clock_or_system_is_another_is_the_same(start, tmp_path, undisturbed, do):
    start(do, tmp_path).end()
    assert history(tmp_path) == undisturbed  # a record that is read refuses negative numbers
