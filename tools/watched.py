"""A process that is watched: what it says, how long it is silent, how much memory it takes.

A process is a fork of this one, which has imported everything already: it starts at once. It does
what it is given and ends with a status that says how: well, refused by a message of ours, or not.
"""

import linecache
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path(__file__).resolve().parent.parent
WELL, REFUSED, RAW = 0, 103, 104  # status of a process: it ended, raised an error of ours, met one
OURS = ("coursepack", "model.py", "tools", "notebooks")
FOR_USERS = (ValueError, OSError, FloatingPointError)  # OSError: PermissionError, TimeoutError ...
SECONDS, SILENCE, MEMORY = 900, 30, 4 * 2**30  # limits: of all, of a pause; in bytes
RAW_MESSAGE = re.compile(  # of a command: Python's own, or of an error that is none for users
    r"\w+Error: \[Errno|Traceback|File |"
    r"(?!(Value|FloatingPoint|OS|FileNotFound|FileExists|Permission|Timeout)Error)"
    r"\w*(Error|Exception|Interrupt)\b")


class Outcome(NamedTuple):
    status: int  # of the process; that of a signal is negative
    last: str  # its last line
    silence: float  # seconds: the longest between two outputs
    memory: int  # bytes: the most that it or one that it started had at once
    text: str = ""  # all that it said


def is_ours(error: BaseException) -> bool:
    """Did a file of the course raise this error, as a message for its users?"""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    inside = Path(frame.filename).is_relative_to(ROOT) and Path(
        frame.filename).relative_to(ROOT).parts[0] in OURS
    raised = (linecache.getline(frame.filename, frame.lineno).strip()).startswith("raise ")
    return inside and raised and isinstance(error, FOR_USERS)


def perform(do: Callable[[], object]) -> int:
    """Do it; its last line is what it returns, or the error as Python shows it. A status."""
    try:
        answer = do()
    except SystemExit as error:  # argparse has said why, sys.exit() would say it now
        print(error.code if isinstance(error.code, str) else "")
        return REFUSED if error.code else WELL
    except BaseException as error:
        traceback.print_exc()
        own = is_ours(error)
        traceback.clear_frames(error.__traceback__)  # a bar in them says its last word now
        print(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return REFUSED if own else RAW
    print(" ".join(str(answer).split()))
    return WELL


def start(do: Callable[[], object], said: Path) -> int:
    """Start a process that does it, all its output into the file said. Returns its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = RAW
    try:
        for number, file in enumerate((os.devnull, said, said)):
            os.dup2(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = perform(do)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def last_line(text: str) -> str:
    """The last line with something in it: without colours, and before what make adds to it."""
    lines = re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;]*[A-Za-z]|make(\[\d\])?: \*\*\* .*", "", text))
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def family(pid: int) -> list[psutil.Process]:
    """A process, and those that it and they have started."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(pid: int) -> None:
    """Kill a process and its family, at once and without a warning, as a power cut would."""
    members = family(pid)
    for member in members:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(members[1:], timeout=10)


def most_memory(pid: int) -> int:
    """Resident memory in bytes of the largest of a family."""
    sizes = [0]
    for member in family(pid):
        try:
            sizes.append(member.memory_info().rss)
        except psutil.Error:  # it has just ended
            continue
    return max(sizes)


def watch(do: Callable[[], object], said: Path) -> Outcome:
    """Do it in a process of its own, which is killed where it exceeds a limit."""
    pid, started = start(do, said), time.monotonic()
    heard, size, silence, memory, over, done = started, 0, 0.0, 0, False, 0
    while not done:
        time.sleep(0.05)
        now, memory = time.monotonic(), max(memory, most_memory(pid))
        written = said.stat().st_size if said.exists() else 0
        heard, size = (now, written) if written != size else (heard, size)
        silence = max(silence, now - heard)
        if not over and (memory > MEMORY or silence > SILENCE or now - started > SECONDS):
            over = True
            kill(pid)
        done, status, usage = os.wait4(pid, os.WNOHANG)
    text = said.read_text(errors="replace", encoding="utf-8")
    return Outcome(os.waitstatus_to_exitcode(status), last_line(text), silence,
                   max(memory, usage.ru_maxrss * 1024), text)
