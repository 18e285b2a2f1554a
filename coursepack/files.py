"""Where the course lies, writing without ever losing what is there, checks of a value."""

import difflib
import math
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # every relative path of a recipe starts here


def find_folder(name: str, folder: str) -> Path:
    """The folder that parameter name spells out: "~" is the home, a relative one starts at ROOT.

    Raises ValueError for what no system takes for a folder. It need not be there.
    """
    try:
        if "\0" in folder or max(map(len, os.fsencode(folder).split(b"/"))) > 255:
            raise ValueError("a name in it is too long" if "\0" not in folder else "it has a NUL")
        return ROOT / Path(folder).expanduser()
    except (ValueError, RuntimeError) as error:  # RuntimeError: "~name" of nobody
        raise ValueError(f"{name}={folder[:60]!r} is no folder: {error}. "
                         "Choose one such as 'runs' or '/tmp/runs'.") from error


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name, then move it into place: never half a file.

    It is on the disk before it gets its name, so that a power cut leaves the old or the new one.
    Raises OSError that names the file, its folder and what went wrong.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save's of a full disk is a RuntimeError
        kind = type(error) if isinstance(error, OSError) else OSError
        why = getattr(error, "strerror", None) or error
        raise kind(f"cannot write {path.name} to {path.parent}: {why}. What was there before is "
                   "as it was. Make room in this folder or choose another.") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(name: str, folder: Path) -> None:
    """Create the folder of parameter name and write to it. Raises PermissionError if it fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # a name of its own: no run disturbs another
    except OSError as error:
        raise PermissionError(f"cannot write to {name} {folder}: {error.strerror}. "
                              "Choose a folder that is yours.") from error


def check_range(name: str, value: float, least: float, below: float = math.inf) -> None:
    """Raise ValueError unless least <= value < below."""
    if not least <= value < below:
        limit = f" and less than {below}" if below < math.inf else ""
        raise ValueError(f"{name}={value} is out of range. Choose {least} or more{limit}.")


def check_choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return value if it is one of the allowed; else raise a ValueError that suggests the fix."""
    allowed = list(allowed)
    if value in allowed:
        return value
    close = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.4)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{name}={value!r} is not known. Choose one of: {', '.join(allowed)}.{hint}")
