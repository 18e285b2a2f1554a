"""A process of a user, for tests: what it does; it is waited for by what it says, and disturbed.

Each is a fork of a server that has imported PyTorch and the course: it starts in milliseconds.
"""

import contextlib
import itertools
import multiprocessing
import os
import platform
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import psutil
from refused import is_ours

from coursepack import files
from coursepack.data import sources
from coursepack.data.datasets import load_dataset
from coursepack.runs.records import save_run
from coursepack.train import loop
from coursepack.train.recipe import Recipe

WELL, REFUSED, BROKEN = 0, 3, 4  # how it ends: as it should, by an error of ours, by another
SERVER = multiprocessing.get_context("forkserver")


def perform(do: Callable, arguments: tuple, said: Path, environment: dict[str, str]) -> None:
    """In the process: do it, with all that is said in a file; its last line is the outcome."""
    for number in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
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

    def __init__(self, said: Path, do: Callable, arguments: tuple, environment: dict[str, str]):
        said.touch()
        self.said = said
        SERVER.set_forkserver_preload(["torch._dynamo", "started"])  # which takes seconds
        with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
            forkserver.ensure_running()  # which looks for what it imports nowhere else
        self.process = SERVER.Process(target=perform, args=(do, arguments, said, environment))
        self.process.start()

    @property
    def text(self) -> str:
        return self.said.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, words: str) -> "Started":
        """Wait until it has said these words."""
        end = time.monotonic() + 120
        while words not in self.text:
            alive = self.process.is_alive() and time.monotonic() < end
            assert alive, f"it ended, or waiting did, before {words}: {self.text[-3000:]}"
            time.sleep(0.005)
        return self

    def send(self, number: int) -> "Started":
        """Send it a signal; SIGKILL to all that it has started, too, as in a power cut."""
        process = psutil.Process(self.process.pid)
        members = process.children(recursive=True) if number == signal.SIGKILL else []
        for member in [process, *members]:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
                member.send_signal(number)
        psutil.wait_procs(members, timeout=20)
        return self

    def end(self, *statuses: int) -> str:
        """Wait for its end, which has to be one of these; what it has said."""
        self.process.join(300)
        code = self.process.exitcode
        assert code in (statuses or (WELL,)), f"it ended by {code}: {self.text[-3000:]}"
        return self.text

    def refuses(self, *words: object) -> None:
        """Wait for its end, which has to be a message of ours with these words."""
        last = self.end(REFUSED).splitlines()[-1]
        assert all(str(word) in last for word in words), f"not all of {words} in: {last}"


# --------------------------------------------------------------------- what the processes do
def command(*words):
    """A command of a terminal."""
    os.execvp(words[0], words)


def train(folder, name="", disturb=None, **changes):
    """What a recipe notebook does; a file is written by disturb if its name begins like this."""
    if disturb:
        replace = files.replace_file
        files.replace_file = lambda path, write: replace(
            path, partial(disturb, write) if path.name.startswith(name) else write)
    recipe = Recipe(**{"arch": "mnist_8k", "epochs": 6, "batch_size": 64, "augment": "none",
                       "device": "cpu", "runs_dir": str(folder / "runs")} | changes)
    data = load_dataset(recipe.dataset, recipe.data_dir)
    model = loop.build_model(recipe, data)
    return save_run(model, data, recipe, loop.train(model, data, recipe))["data"]


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


def train_without_unix(folder):
    """What Windows has not is taken away; that an import needs it neither, test_house says."""
    sys.modules |= dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios"))
    for name in ("getuid", "geteuid", "sched_getaffinity", "getloadavg", "uname", "mkfifo"):
        delattr(os, name)
    platform.libc_ver = lambda *arguments: ("", "")
    return train(folder)


def load_where_there_are_no_data(folder):
    files.ROOT, sources.PATIENCE = folder, 1.0
    return f"images of the {load_dataset('mnist').source}"
