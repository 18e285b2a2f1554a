"""Where the course lies, writing without losing and reading without believing, checks of a value.

Whatever is read again goes through keep() and read_kept(): it has a digest of its content in it.
"""

import difflib
import hashlib
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


def keep(path: Path, write: Callable[[Path], object]) -> str:
    """replace_file() for a file that is to be read again: returns the SHA-256 digest put into it.

    The digest is of all bytes of the file with BLANK in its own place: where write() has put
    '"digest": "<BLANK>"' into a text, or in the comment of a zip archive (.npz, torch.save's).
    """
    digest = ""

    def write_sealed(temporary: Path) -> None:
        nonlocal digest
        write(temporary)
        if zipfile.is_zipfile(temporary):
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.comment = f'"digest": "{BLANK}"'.encode()
        content = temporary.read_bytes()
        digest, sealed = seal(content)
        temporary.write_bytes(sealed)

    replace_file(path, write_sealed)
    return digest


def seal(content: bytes) -> tuple[str, bytes]:
    """The digest of a file's content, whatever stands in its place, and the content with it."""
    *_, place = DIGEST.finditer(content)
    before, after = content[:place.start()], content[place.end():]
    digest = hashlib.sha256(before + BLANK.encode() + after).hexdigest()
    return digest, before + digest.encode() + after


def read_kept(path: Path, again: str) -> bytes:
    """The content of a file that keep() has written. again: how it is made again, for a message.

    Raises ValueError unless it is as it was written; nothing large is read or unpacked for that.
    """
    try:
        if not path.is_file():
            raise OSError("it is a folder, a pipe or a link to nothing")
        sizes = [path.stat().st_size]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                sizes += [member.file_size for member in archive.infolist()]
        if sum(sizes) > MOST_BYTES:
            raise OSError(f"it is of {sum(sizes):,} bytes")
        content = path.read_bytes()
        if not DIGEST.search(content):
            raise OSError("it has no digest, so this course did not write it, or long ago")
        if seal(content)[1] != content:
            raise OSError("its digest is of another content: it was edited, cut, merged or mixed")
    except (OSError, zipfile.BadZipFile) as error:
        published = path.is_relative_to(ROOT / "results") and (
            f" It is published: git checkout -- {path.relative_to(ROOT).as_posix()}")
        raise ValueError(f"{path} is not as it was written: {error}.{published or ''} "
                         f"{again}") from error
    return content


def clear_rests(folder: Path, name: str = "*") -> None:
    """Remove what killed processes have left of files of a name, where no other writes to them."""
    for rest in folder.glob(f".[0-9]*-{name}"):
        rest.unlink(missing_ok=True)


def check_place(name: str, folder: Path) -> None:
    """Raise ValueError for a folder in which files of the course lie; figures may go to images/."""
    place = folder.resolve()
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
