"""A process of a user, for tests: waited for by what it says, and disturbed.

Each is a fork of a server that has imported PyTorch and the course: it starts in milliseconds.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import psutil
from refused import is_ours

from coursepack.files import ROOT

WELL, REFUSED, BROKEN = 0, 3, 4  # how it ends: as it should, by an error of ours, by another
SERVER = multiprocessing.get_context("forkserver")


def perform(do: Callable, arguments: tuple, said: Path, environment: dict[str, str]) -> None:
    """In the process: do it, with all that is said in a file; its last line is the outcome."""
    for number in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
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
        SERVER.set_forkserver_preload(["torch._dynamo", "test_survival"])  # which takes seconds
        with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
            forkserver.ensure_running()  # which looks for what it imports nowhere else
        self.process = SERVER.Process(target=perform, args=(do, arguments, said, environment))
        self.process.start()

    @property
    def text(self) -> str:
        """All that it has said."""
        return self.said.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, there: str | Callable[[], object], seconds: float = 120) -> "Started":
        """Wait until it has said these words, or until there is something."""
        found = there if callable(there) else lambda: there in self.text
        end = time.monotonic() + seconds
        while not found():
            alive = self.process.is_alive() and time.monotonic() < end
            assert alive, f"it ended, or waiting did, before {there}: {self.text[-3000:]}"
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

    def end(self, *statuses: int, seconds: float = 300) -> str:
        """Wait for its end, which has to be one of these; what it has said."""
        self.process.join(seconds)
        code = self.process.exitcode
        assert code in (statuses or (WELL,)), f"it ended by {code}: {self.text[-3000:]}"
        return self.text

    def refuses(self, *words: object) -> None:
        """Wait for its end, which has to be a message of ours with these words."""
        last = self.end(REFUSED).splitlines()[-1]
        assert all(str(word) in last for word in words), f"not all of {words} in: {last}"
