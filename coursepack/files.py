"""Where the course lies, writing without losing and reading without believing, checks of a value.

Whatever is kept to be read again has a digest in it: replace_file() writes, read_kept() reads it.
"""

import difflib
import hashlib
import importlib
import math
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # every relative path of a recipe starts here
OWN = (".binder", ".ci", ".devcontainer", ".git", ".github", "coursepack", "images", "notebooks",
       "results", "site", "studies", "tests", "tools", "upkeep")  # here the course's own files lie
DIGEST = re.compile(rb'(?<="digest": ")[0-9a-f]{64}(?=")')  # the last one in a file that is kept
BLANK = "0" * 64  # what stands there while it is computed
MOST_BYTES = 2**31  # of a kept file, unpacked: far more than any run leaves


class Later:
    """A module that is imported only when something in it is asked for.

    All that utils.py lists would take a second to import, and a run uses little of it.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module(self._name), name)


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


def replace_file(path: Path, write: Callable[[Path], object], kept: bool = False) -> str:
    """Write a file under a temporary name, then move it into place: never half a file.

    It is on the disk before it gets its name, so that a power cut leaves the old or the new one.
    kept: it gets a digest, which is returned. Raises OSError that says what and where.
    """
    temporary, digest = path.with_name(f".unfinished-{os.getpid()}-{path.name}"), ""
    try:
        write(temporary)
        if kept:
            digest = put_digest(temporary)
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
    return digest


def put_digest(path: Path) -> str:
    """Put the SHA-256 digest of all bytes, with BLANK in its own place, into a file; returns it.

    That is where a text has '"digest": "<BLANK>"', and the comment of a zip archive, as .npz is.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = f'"digest": "{BLANK}"'.encode()
    digest, content = seal(path.read_bytes())
    path.write_bytes(content)
    return digest


def seal(content: bytes) -> tuple[str, bytes]:
    """The digest of a file's content, whatever stands in its place, and the content with it."""
    *_, place = DIGEST.finditer(content)
    before, after = content[:place.start()], content[place.end():]
    digest = hashlib.sha256(before + BLANK.encode() + after).hexdigest()
    return digest, before + digest.encode() + after


def read_kept(path: Path, again: str) -> bytes:
    """The content of a kept file; ValueError, with how it is made again, if not as written."""
    try:
        if not path.is_file():
            raise OSError("it is a folder, a pipe or a link to nothing")
        if path.stat().st_size > MOST_BYTES:
            raise OSError(f"it has {path.stat().st_size:,} bytes")
        content = path.read_bytes()
        if not DIGEST.search(content):
            raise OSError("it has no digest, so this course did not write it, or long ago")
        if seal(content)[1] != content:
            raise OSError("its digest is of another content: it was edited, cut, merged or mixed")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                    raise OSError("it is too large, unpacked")
    except (OSError, zipfile.BadZipFile) as error:
        published = path.is_relative_to(ROOT / "results") and (
            f" It is published: git checkout -- {path.relative_to(ROOT).as_posix()}")
        raise ValueError(f"{path} is not as it was written: {error}.{published or ''} "
                         f"{again}") from error
    return content


def clear_rests(folder: Path, name: str = "*") -> None:
    """Remove what killed processes have left of files of a name, where no other writes to them."""
    for rest in filter(Path.is_file, folder.glob(f".unfinished-*-{name}")):
        rest.unlink(missing_ok=True)


def check_place(name: str, folder: Path) -> None:
    """Raise ValueError for a folder in which files of the course lie; figures may go to images/."""
    place = Path(os.path.realpath(folder))  # also of a link to itself
    own = place.relative_to(ROOT).parts[:1] if place.is_relative_to(ROOT) else (None,)
    if not own or own[0] in OWN and (name, *own) != ("images_dir", "images"):
        raise ValueError(f"{name} is {place}, where the course's own files lie, and nothing else "
                         "is written there. Choose another folder, such as 'runs'.")


def check_writable(name: str, folder: Path) -> None:
    """Create the folder of parameter name and write to it. Raises PermissionError if it fails."""
    check_place(name, folder)
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
