"""Try students' answers on the cases of exercises, where they can do little harm: for collect.py.

Started as "python -I apart.py"; what to do is JSON on stdin, see handed_in.try_apart(). Each answer
has a process of its own, which may not write, delete or start anything, open a connection, read
what is not Python's own, take more than 2 GB or half a minute, and in which no solution is left.

Linux guards network and disks itself, where it lets a user have name spaces of his own. Elsewhere
that is done by Python alone (an audit hook), which stops all that a learner writes and most of what
a joker does; not machine code, such as a function of PyTorch that writes a file. Nowhere guarded:
what is in this process's own memory.
"""

import contextlib
import ctypes
import importlib
import inspect
import json
import os
import signal
import sys
import time
from dataclasses import replace

MEMORY, COMPUTES = 2 * 2**30, 30  # bytes and seconds that an answer may take
SPACES = 0x10000000 | 0x40000000 | 0x20000  # of users, networks and mounts
MOUNT_SETATTR, RECURSIVE, READ_ONLY = 442, 0x8000, 1
REFUSED = ("os.", "shutil.", "subprocess.", "socket.", "ctypes.dl", "gc.get", "pty.", "signal.",
           "fcntl.", "mmap.", "winreg.", "_winapi.", "sqlite3.", "sys._current")  # audit events
HARMLESS = ("os.listdir", "os.scandir", "os.walk", "os.putenv", "os.unsetenv")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def close_off(root: str) -> bool:
    """Take from this process what an answer does not need. Does the system see to disks and net?"""
    closed = False
    if sys.platform == "linux":
        libc, attributes = ctypes.CDLL(None), (ctypes.c_uint64 * 4)(READ_ONLY)
        closed = libc.unshare(SPACES) == 0 and libc.syscall(
            MOUNT_SETATTR, -1, b"/", RECURSIVE, attributes, ctypes.sizeof(attributes)) == 0
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows and macOS: no limit
        import resource

        import psutil

        limit = psutil.Process().memory_info().vms + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (COMPUTES, COMPUTES))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MEMORY // 16, MEMORY // 16))  # what it returns
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    places = [os.path.join(place, "") for place in (sys.prefix, sys.base_prefix, *sys.path)]
    inner = [place for place in places if place.startswith(root)]  # as .venv is

    def refuse(event: str, arguments: tuple) -> None:
        if event == "open":
            file, _, flags = arguments
            path = "" if isinstance(file, int) else os.path.abspath(os.fsdecode(file))
            own = inner if path.startswith(root) else places
            if flags & WRITES or path and not path.startswith(tuple(own)):
                raise PermissionError(f"an answer may not open {path}")
        elif event.startswith(REFUSED) and event not in HARMLESS:
            raise PermissionError(f"an answer may not use {event}")

    _ = ctypes.pythonapi.PyThreadState_SetAsyncExc  # with which grading ends a thread
    sys.addaudithook(refuse)
    return closed


def load(statements: list[str], value: str) -> object:
    """An answer: what an expression is worth after some statements, each of which may fail."""
    scope = {"__name__": "answer"}
    for text in statements:
        with contextlib.suppress(Exception):  # it may not be needed in the end
            exec(compile(text, "answer", "exec"), scope)
    return eval(value, scope)


def shell(solution: object) -> object:
    """What is called like a solution, takes the same, and gives nothing."""
    def empty() -> None:
        pass

    empty.__name__, empty.__signature__ = solution.__name__, inspect.signature(solution)
    return empty


def main() -> None:
    job = json.load(sys.stdin)
    sys.path[:0] = job["path"]
    root = os.path.join(job["path"][0], "")
    from coursepack.exercises import grading, handed_in

    rooms = {task["room"]: importlib.import_module(task["room"]) for task in job["tasks"]}
    exercises = {name: exercise for room in rooms.values()
                 for name, exercise in room.EXERCISES.items()}
    for exercise in exercises.values():  # an answer is to find no solution, neither here ...
        room = vars(rooms[exercise.solution.__module__])
        room["EXERCISES"] = room[exercise.solution.__name__] = None
    exercises = {name: replace(exercise, solution=shell(exercise.solution), wrong={})
                 for name, exercise in exercises.items()}
    for name in [name for name in sys.modules if name.startswith("coursepack")]:
        del sys.modules[name]
    sys.path[:] = [path for path in sys.path if path + os.sep != root]  # ... nor on the disk

    def try_out(task: dict, shift: int) -> dict:
        exercise = exercises[task["exercise"]]
        closed = close_off(root)
        try:
            answer = grading.in_time(lambda: load(task["statements"], task["value"]))
            found = {"results": grading.results_in_time(exercise, answer)}
            with grading.drawn_anew(shift):
                found["anew"] = grading.results_in_time(exercise, answer)
            return found | {"closed": closed}
        except grading.Failed as failed:
            return {"failed": str(failed), "closed": closed}

    if any("optim" in text for task in job["tasks"] for text in task["statements"]):
        importlib.import_module("torch._dynamo")  # as its first use does, and makes folders
    print("ready", flush=True)
    for number, task in enumerate(job["tasks"]):
        with open(os.path.join(job["folder"], f"{number}.json"), "w", encoding="utf-8") as file:
            if job["forks"] and (child := os.fork()):
                wait(child, time.monotonic() + job["seconds"])
                continue
            silence = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(silence, stream)
            json.dump(try_out(task, job["shift"]), file, default=handed_in.encode)
            file.flush()
            os._exit(0)


def wait(child: int, deadline: float) -> None:
    """Until a child has ended, which it has to by then."""
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)


if __name__ == "__main__":
    main()
