"""What is refused, as rows of one table: tests/refused_*.py hold them, test_refusals.py tries them.

A row is what somebody did, a function that does it in an empty folder, and the words that the
message has to say. A bad value is one that can never become good: "no_such_schedule".
"""

import linecache
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from coursepack.files import ROOT

OURS = ("coursepack", "exercises.py", "model.py", "tools", "upkeep", "utils.py")
FOR_USERS = (ValueError, OSError, FloatingPointError)  # kinds of errors that have a message of ours


class Refused(NamedTuple):
    group: str  # of the page results/faults.md
    what: str  # that somebody did
    call: Callable[[Path], object]  # in an empty folder
    says: tuple[str, ...]  # words of the message


def is_ours(error: BaseException) -> bool:
    """Did a line of the course raise this error, as a message for its users?"""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file = Path(frame.filename)
    raised = linecache.getline(frame.filename, frame.lineno).strip().startswith("raise ")
    return (raised and isinstance(error, FOR_USERS) and file.is_relative_to(ROOT)
            and file.relative_to(ROOT).parts[0] in OURS)
