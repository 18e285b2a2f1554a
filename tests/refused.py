"""What is refused, as rows of one table: tests/refused_*.py hold them, test_refusals.py tries them.

A row is what somebody did, a function that does it in an empty folder, and the words that the
message has to say. A bad value is one that can never become good: "no_such_schedule".
"""

import importlib
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from coursepack.files import ROOT

OURS = ("coursepack", "exercises.py", "model.py", "tools", "upkeep", "utils.py")
FOR_USERS = (ValueError, OSError, FloatingPointError)  # kinds of errors that have a message of ours
ALONE = object()  # in place of a word: in a process of its own, as it takes memory or never ends


class Refused(NamedTuple):
    group: str  # of the page results/faults.md
    what: str  # that somebody did
    call: Callable[[Path], object]  # in an empty folder
    says: tuple[str, ...]  # words of the message
    alone: bool = False


def rows(group: str, table: Iterable[tuple], *always: str) -> list[Refused]:
    """Rows of a group: what somebody did, a call, and words that the message has to say."""
    return [Refused(group, what, call, (*always, *(word for word in words if word is not ALONE)),
                    ALONE in words) for what, call, *words in table]


def tool(name: str, words: str) -> Callable[[Path], object]:
    """A call for a row: main() of a file of tools/ or upkeep/ with these words of a terminal."""
    def call(folder: Path) -> None:
        with mock.patch.object(sys, "argv", [f"{name}.py", *words.split()]):
            importlib.import_module(name).main()
    return call


def calling(function: Callable, *arguments: object, **named: object) -> Callable:
    """A call for a row that needs no folder."""
    return lambda folder: function(*arguments, **named)


class Trap:
    """Ends the process of whoever unpickles it."""

    def __reduce__(self):
        return sys.exit, ("code in a file was executed",)


NO_FILES = {  # what a file of any kind may have become
    "empty": lambda file: file.write_bytes(b""),
    "a page of a website": lambda file: file.write_bytes(b"<html>404</html>"),
    "cut short": lambda file: os.truncate(file, file.stat().st_size // 2),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


def is_ours(error: BaseException) -> bool:
    """Did a line of the course raise this error, as a message for its users?

    A tool ends by one: by argparse's, which is status 2, or with a text, its own or such a message.
    """
    if isinstance(error, SystemExit):
        caught = error.__context__
        return error.code == 2 or isinstance(error.code, str) and (not caught or is_ours(caught))
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file = Path(frame.filename)
    raised = linecache.getline(frame.filename, frame.lineno).strip().startswith("raise ")
    return (raised and isinstance(error, FOR_USERS) and file.is_relative_to(ROOT)
            and file.relative_to(ROOT).parts[0] in OURS)
