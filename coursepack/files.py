"""Files of the course: where it lies, and writing without ever losing what is there."""

import math
import os
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # every relative path of a recipe starts here


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name, then move it into place: never half a file."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Create folder and write a file in it; raises PermissionError that says where it failed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / ".writable", Path.touch)
        (folder / ".writable").unlink()
    except OSError as error:
        raise PermissionError(f"cannot write to runs_dir {folder.parent}: {error.strerror}. "
                              "Choose a folder that is yours.") from error


def check_range(name: str, value: float, least: float, below: float = math.inf) -> None:
    """Raise ValueError unless least <= value < below."""
    if not least <= value < below:
        limit = f" and less than {below}" if below < math.inf else ""
        raise ValueError(f"{name}={value} is out of range. Choose {least} or more{limit}.")
