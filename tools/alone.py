"""Where a course goes that a notebook's setup cell has fetched, because the notebook is alone.

The cell takes this file out of what it has fetched, and knows by it that it is the course.
"""

import contextlib
import os
import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    """What git answers of the clone in a folder, and of no other around it."""
    return subprocess.run(
        ["git", f"--git-dir={folder / '.git'}", f"--work-tree={folder}", *arguments],
        capture_output=True, encoding="utf-8", errors="replace", check=True).stdout.strip()


def has_code_of(folder: Path, commit: str) -> bool:
    """Is the folder a clone at this commit, with each file of Python as it is there?

    Notebooks and figures change where they are used.
    """
    with contextlib.suppress(subprocess.CalledProcessError):
        return (git(folder, "rev-parse", "HEAD") == commit
                and not git(folder, "diff", "--name-only", "HEAD", "--", "*.py"))
    return False


def settle(new: Path, repo: str, ref: str) -> Path:
    """Say what was fetched, and give it a name beside the notebook; where it lies from now on.

    A folder that has it already is used as it is. One that holds anything else is left alone:
    a course of another commit with the runs made there, files of a user, or half a clone.
    """
    here, commit = Path.cwd(), git(new, "rev-parse", "HEAD")
    what = f"{repo} at {ref} (commit {commit[:7]})"
    for file in sorted(here.glob("*/tools/alone.py")):
        folder = file.parents[1]
        if has_code_of(folder, commit):
            print(f"The course in {folder.name}/ is {what}.")
            return folder
    for name in ("course", f"course-{commit[:7]}", f"course-{commit}"):
        with contextlib.suppress(OSError):  # there is something of that name
            os.rename(new, here / name)
            other = "" if name == "course" else " The folder course/ is another, and is kept."
            print(f"Fetched the course from {what} into {name}/.{other}")
            return here / name
    raise FileExistsError(f"course/ and course-{commit}/ are there and hold something else. "
                          "Move one of them away.")
