"""A process of a user, for tests: started at once, waited for by what it says, and disturbed.

Each is a fork of a server that has imported PyTorch and the course: it starts in milliseconds.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from refused import is_ours

from coursepack.files import ROOT

WELL, REFUSED, BROKEN = 0, 3, 4  # how a process ends: as it should, by an error of ours, by another
SERVER = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
SERVER.set_forkserver_preload(["helpers", "coursepack.runs.records", "started"])


def perform(module: str, name: str, arguments: tuple, changes: dict, said: Path,
            environment: dict[str, str]) -> None:
    """In the process: do it, all that is said into a file; the last line is the result or error."""
    for number, file in enumerate((os.devnull, said, said)):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = BROKEN
    try:
        print(getattr(importlib.import_module(module), name)(*arguments, **changes))
        status = WELL
    except BaseException as error:
        status = REFUSED if is_ours(error) else BROKEN
        print(f"{type(error).__name__}: {' '.join(str(error).split())}")
    finally:
        sys.stdout.flush()
        os._exit(status)


class Started:
    """A process that does a function of a test file."""

    def __init__(self, said: Path, do: Callable, *arguments: object, **changes: object):
        self.said = said
        environment = dict(os.environ) | changes.pop("environment", {})
        self.process = SERVER.Process(target=perform, args=(
            do.__module__, do.__name__, arguments, changes, said, environment))
        self.process.start()

    @property
    def text(self) -> str:
        """All that it has said."""
        return self.said.read_text(encoding="utf-8", errors="replace") if self.said.exists() else ""

    @property
    def last(self) -> str:
        return (self.text.strip().splitlines() or [""])[-1]

    def wait_for(self, there: str | Callable[[], object], seconds: float = 120) -> "Started":
        """Wait until it has said these words, or until there is something. Fails if it ends."""
        end = time.monotonic() + seconds
        found = there if callable(there) else lambda: there in self.text
        while not found():
            assert self.process.is_alive(), f"it ended before {there}: {self.text[-3000:]}"
            assert time.monotonic() < end, f"no {there} in {seconds} seconds: {self.text[-3000:]}"
            time.sleep(0.005)
        return self

    def send(self, number: int, family: bool = False) -> "Started":
        """Send it a signal, or it and all that it has started, as in a power cut."""
        process = psutil.Process(self.process.pid)
        members = process.children(recursive=True) if family else []
        for member in [process, *members]:
            member.send_signal(number)
        if number == signal.SIGKILL:
            psutil.wait_procs(members, timeout=20)
        return self

    def end(self, status: int | None = WELL, seconds: float = 300) -> str:
        """Wait for its end, which has to be this one (None: no good one); what it has said."""
        self.process.join(seconds)
        code, text = self.process.exitcode, self.text
        assert (code == status if status is not None else code), f"ended by {code}: {text[-3000:]}"
        return text

    def refuses(self, *words: object) -> str:
        """Its message, which has to be ours, with these words in it."""
        self.end(REFUSED)
        missing = [word for word in words if str(word) not in self.last]
        assert not missing, f"{missing} missing in: {self.last}"
        return self.last

    def stop(self) -> None:
        """Kill what is left of it."""
        if self.process.is_alive():
            self.send(signal.SIGKILL, family=True)
        self.process.join(20)
