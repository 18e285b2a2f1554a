"""Reading images and labels in other people's layouts: a reader for each kind of file.

Each leaves arrays by their names, as they are. What they mean is for coursepack.data.imports. No
reader runs what a file holds, writes, or takes more memory than there is.
"""

from __future__ import annotations

import gzip
import importlib
import io
import json
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from tqdm import tqdm

from coursepack import files
from coursepack.data import sources
from coursepack.data.sources import DATASETS, DIGITS, check_memory
from coursepack.files import Later

pd, matlab = Later("pandas"), Later("scipy.io")
Image, ImageOps = Later("PIL.Image"), Later("PIL.ImageOps")

MOST_FILES = 1_000_000  # of a folder
PART = 2**24  # bytes of a table at a time: no line is longer
STEP = 1000  # images at a time
SIDES = range(1, 1025)  # pixels
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # none that starts a program
KINDS = {  # of files, by how they begin
    "npy": rb"\x93NUMPY", "mat": rb"MATLAB 5\.0", "parquet": rb"PAR1", "zip": rb"PK\x03\x04",
    "idx": rb"\0\0[\x08-\x0e][\x01-\x04]",
    "picture": rb"\xff\xd8\xff|\x89PNG|GIF8|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|P[1-6]\s",
    "HDF5 file, such as MATLAB's of version 7.3": rb"\x89HDF",
    "pickle, which may run code and is never opened": rb"\x80[\x02-\x05]",
    "archive": rb"7z\xbc\xaf|Rar!|\xfd7zXZ|BZh|.{257}ustar",
    "table": rb"[^\0-\x08\x0e-\x1f\n\t,;]*([\t,;][^\0-\x08\x0e-\x1f\n\t,;]*){16}",  # columns
    "text": rb"[^\0-\x08\x0e-\x1f]+\Z"}
SAVE = "Where it came from, save images and labels by numpy.savez"
BY_CLASS = "Give a folder of pictures, in which those of each class lie in a folder of its name"
FIXES = {"archive": "Unpack it, and give the folder", "picture": BY_CLASS,
         "text": "Give a table of a column a pixel, or another file"}
WHOLE = "Put a whole one in its place"
PART_OF = re.compile(r"(?:^|[^a-z])[xy]?(?:(train(?:ing)?)|(test(?:ing)?|t10k)|"
                     r"(val(?:id(?:ation)?)?|dev))[xy]?(?![a-z])")
PARTS = ("train", "test", "validation")  # the groups of PART_OF
LABELS = {"label", "labels", "class", "target", "targets", "y", "category", "digit"}
NUMBERED = re.compile(r"(unnamed.*|index|(image.?)?id)?")  # a column that numbers the lines


class Row(NamedTuple):
    """A data set that torchvision has a class for, and load_dataset() no name."""

    torchvision: str
    option: str  # that picks the part
    classes: Sequence[str] = ()  # by label, where torchvision's class has none
    splits: Sequence[str] = ()
    transposed: bool = False  # pictures lie on their side


LETTERS = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")  # parts of EMNIST
TORCHVISION = {
    "cifar100": Row("CIFAR100", "train"),
    "emnist": Row("EMNIST", "train", splits=LETTERS, transposed=True),  # letters are 1 to 26
    "gtsrb": Row("GTSRB", "split"),
    "qmnist": Row("QMNIST", "train", DIGITS),
    "svhn": Row("SVHN", "split", DIGITS),
    "usps": Row("USPS", "train", DIGITS),
}


class Asked(NamedTuple):
    """What a source may leave open."""

    size: str | int | Sequence[int] = ""  # pixels to scale to: 64, or 48x64 (height x width)
    test: float | None = None  # share of each class kept for the test, if there is no test part
    labels: str = ""  # the array or column of labels, or part of its name; "first" or "last" column
    images: str = ""  # the same for images
    split: str = ""  # of several data sets in one place, the one with this in its name
    channels: str = ""  # "first" or "last"
    levels: Sequence[float] = ()  # the values of black and of white
    classes: Sequence[str] | str = ()  # names in the order of the labels, or with commas
    transpose: bool = False  # exchange rows and columns


class Refusal(ValueError):
    """What the converter does not take: where, what, and what to do."""


class Found:
    """What readers have found: arrays by name, names of labels, and what there is to say."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.classes: dict[int, str] = {}
        self.files: dict[str, Sequence[str]] = {}  # of pictures, by the name of their array
        self.said: list[str] = []
        self.transposed = False  # images lie on their side
        self.pictures = False  # images come of pictures: bytes, and of the size asked for
        self.labelled = False  # labels come of the column asked for, if one is


def refuse(where: object, what: object, fix: str) -> NoReturn:
    raise Refusal(f"{where}: {what}. {fix}.")


def need_memory(where: object, size: int) -> None:
    """Raise Refusal unless so many bytes, and what is made of them, fit into memory."""
    try:
        check_memory(2 * size)  # which counts a copy: with channels first, and mixed
    except ValueError as error:
        refuse(where, error, "Say a smaller --size, or give a part of it")


def some(names: Iterable[object]) -> str:
    """Some names, for a message: the first ones and the last."""
    names = [*map(str, names)]
    return ", ".join(names if len(names) < 6 else [*names[:3], "...", names[-1]])


def natural(text: str) -> list:
    """For sorting: 2 before 10."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part)
            for part in re.split(r"([0-9]+)", text)]


def part_of(name: str) -> str:
    """The one of PARTS that a name speaks of, else ""."""
    match = PART_OF.search(name.casefold())
    return PARTS[match.lastindex - 1] if match else ""


def words_of(name: str) -> set[str]:
    """The words of an array's or a column's name."""
    return {*re.findall("[a-z]+", name.rsplit("/", 1)[-1].casefold())}


def pick(where: object, role: str, names: Sequence[str], asked: str) -> str:
    """The one of some names that is asked for, else the one that calls itself labels. Refuses."""
    fits = [name for name in names if asked.casefold() in name.casefold()]
    if len(fits) > 1 and role == "labels":
        fits = [name for name in fits if words_of(name) & LABELS] or fits
    if len(fits) != 1:
        refuse(where, f"{role}={asked!r}: they could be {some(fits or names) or 'nowhere'}",
               f"Say --{role} NAME, or --split NAME of one data set of several")
    return fits[0]


# ------------------------------------------------------------------------ what is there
def read_source(source: str, data_folder: Path, asked: Asked) -> Found:
    """All arrays of a file, of a folder's files, or of a class of torchvision. Raises Refusal."""
    found = Found()
    places = [place for place in (Path(source).expanduser(), files.ROOT / source) if place.exists()]
    if not places:
        key = re.sub("[^a-z0-9]", "", source.casefold())
        if key not in TORCHVISION:
            refuse(source, "it is no file or folder, and no data set of torchvision that is read",
                   f"Give a path or one of: {', '.join(TORCHVISION)}. In a notebook, "
                   f"{', '.join(DATASETS)} need no converting")
        read_torchvision(TORCHVISION[key], data_folder, found, asked)
        return found
    top, kinds = places[0], {}
    if not top.is_dir():
        top, kinds = top.parent, {kind_of(top): [top.name]}
    else:
        listed = [file for file in list_files(top) if asked.split in file]
        for file in tqdm(listed, "looking", delay=2, leave=False):
            kinds.setdefault(kind_of(top / file), []).append(file)
    readable = [kind for kind in READERS if kind in kinds]
    if pictures := kinds.get("picture") if places[0].is_dir() else None:
        readable = ["picture"]
        for file in (file for names in kinds.values() for file in names):
            if Path(file).suffix.lower() in Image.EXTENSION and file not in {*pictures}:
                refuse(top / file, "it is no picture", f"Remove it, or {WHOLE.lower()}")
        read_pictures(top, pictures, found, asked)
    elif len(readable) > 1:
        refuse(source, f"it holds {' and '.join(readable)} files", "Give one kind alone")
    elif not readable:
        kind = next(iter(kinds), "text")
        refuse(source, f"there is nothing that is read, but {kind}" if kinds else
               "there is no file in it", FIXES.get(kind, SAVE))
    for file in [] if pictures else kinds[readable[0]]:
        try:
            READERS[readable[0]](top / file, file, found, asked)
        except Refusal:
            raise
        except Exception as error:  # each library has its own kinds
            refuse(top / file, f"it is no readable {readable[0]} file: {error or repr(error)}",
                   WHOLE)
    if others := [file for kind in kinds if kind not in readable for file in kinds[kind]]:
        found.said.append(f"left out, as they are something else: {some(others)}")
    return found


def list_files(top: Path) -> list[str]:
    """The files below a folder in a natural order, relative to it. Raises Refusal."""
    listed: list[str] = []

    def complain(error: OSError) -> None:
        refuse(error.filename, f"it cannot be read: {error.strerror}", "Make it readable")

    for folder, subs, names in os.walk(top, onerror=complain):
        subs[:] = [sub for sub in subs if not sub.startswith((".", "__MACOSX"))]
        for link in filter(os.path.islink, (os.path.join(folder, sub) for sub in subs)):
            refuse(link, "it is a link to a folder, which may be endless", "Put that in its place")
        listed += [os.path.relpath(os.path.join(folder, name), top).replace(os.sep, "/")
                   for name in names if not name.startswith(".")
                   and name.lower() not in ("thumbs.db", "desktop.ini")]
        if len(listed) > MOST_FILES:
            refuse(top, f"it holds more than {MOST_FILES:,} files", "Give a part of them")
    return sorted(listed, key=natural)


def kind_of(file: Path) -> str:
    """What a file holds: a key of READERS or KINDS, or how it begins. Raises ValueError."""
    with sources.reading(file, fix=f"{WHOLE}.") as raw:
        head, only = raw.read(4096), {*KINDS}
        if head.startswith(sources.GZIP):
            head, only = zlib.decompressobj(31).decompress(head, 4096), {"idx", "table"}
        kind = next((kind for kind, begin in KINDS.items() if kind in only
                     and re.match(begin, head, re.DOTALL)), "")
        if kind == "zip":
            with zipfile.ZipFile(raw) as archive:
                members = archive.namelist()
            if members and all(member.endswith(".npy") for member in members):
                return "npz"
            if any(member.endswith("data.pkl") for member in members):  # of torch.save
                return next(kind for kind in KINDS if kind.startswith("pickle"))
        if kind in ("", "zip"):
            return "archive" if kind or len(only) == 2 else (
                f"a file that begins with {head[:8].hex() or 'nothing'}")
        return kind


# -------------------------------------------------------------------- readers of arrays
def read_npz(file: Path, name: str, found: Found, asked: Asked) -> None:
    with zipfile.ZipFile(file) as archive:
        check_memory(sum(member.file_size for member in archive.infolist()))
        for member in archive.namelist():
            found.arrays[f"{name}/{member.removesuffix('.npy')}"] = (
                sources.read_member(archive, member))


def read_npy(file: Path, name: str, found: Found, asked: Asked) -> None:
    # mapped: of QuickDraw's 345 files, 38 GB, no more is read than is used
    found.arrays[name.removesuffix(".npy")] = np.load(file, mmap_mode="r", allow_pickle=False)


def read_idx(file: Path, name: str, found: Found, asked: Asked) -> None:
    with open(file, "rb") as raw:
        packed = raw.read(2) == sources.GZIP
        raw.seek(0)
        dimensions = (gzip.GzipFile(fileobj=raw) if packed else raw).read(4)[3]
    found.arrays[name.removesuffix(".gz")] = sources.read_idx(file, dimensions)
    if match := re.search(f"emnist.({'|'.join(LETTERS)})", name):
        found.transposed = True
        found.classes = dict(enumerate(torchvision_class("EMNIST").classes_split_dict[match[1]]))


def read_mat(file: Path, name: str, found: Found, asked: Asked) -> None:
    check_memory(unpacked_size(file))
    content = matlab.loadmat(file, simplify_cells=True)
    content = {key: value for key, value in content.items() if not key.startswith("__")}
    if {*content} == {"X", "y"} and content["y"].max() == 10 and content["y"].min() > 0:  # SVHN
        content["y"] = content["y"] % 10
        found.classes = dict(enumerate(DIGITS))
        found.said.append(f"{name}: label 10 is the digit 0")
    if isinstance(content.get("dataset"), dict):  # EMNIST
        content = content["dataset"]
        found.classes = {int(row[0]): chr(int(row[-1])) for row in content.pop("mapping", ())}
        found.transposed = True
    for key, value in content.items():
        for member, array in (value if isinstance(value, dict) else {"": value}).items():
            found.arrays[f"{name}/{key}.{member}".rstrip(".")] = np.asarray(array)


def unpacked_size(file: Path) -> int:
    """Bytes of all variables of a MATLAB file, without keeping them."""
    size = 0
    with open(file, "rb") as raw:
        order = "<u4" if raw.read(128)[126:] == b"IM" else ">u4"
        while len(tag := raw.read(8)) == 8:
            kind, left = np.frombuffer(tag, order).tolist()
            unpack = zlib.decompressobj()
            while left > 0 and (packed := raw.read(min(left, 2**14))):
                left -= len(packed)
                size += len(unpack.decompress(packed) if kind == 15 else packed)  # 15: packed
    return size


def read_table(file: Path, name: str, found: Found, asked: Asked) -> None:
    """A line an image: its label, and a column a pixel."""
    pixels, labels, line, header = [], [], 1, []
    for lines, share in whole_lines(file, name):
        if line == 1:
            first = lines.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
            separator = max("\t,;", key=first.count)
            fields = [field.strip() for field in first.split(separator)]
            header = fields if is_header(fields) else []
            line += bool(header)
        frame = pd.read_csv(io.BytesIO(lines), sep=separator, header=None, na_values=[""],
                            skiprows=int(not pixels and bool(header)), keep_default_na=False,
                            encoding_errors="replace")
        if not pixels:
            column = label_column(file, header, frame, asked)
            drop = [i for i, field in enumerate(header) if i != column
                    and NUMBERED.fullmatch(field.casefold())]
        for row, place in np.argwhere(frame.isna().to_numpy() if frame.shape[1] == len(fields)
                                      else [[True]]):
            refuse(file, f"line {line + row} has no value in column {place + 1}, or lines from "
                   f"there on have other than {len(fields)} columns", "Mend it")
        values = frame.drop(columns=[*drop, *([] if column is None else [column])])
        for wrong in values.columns[[kind.kind not in "iuf" for kind in values.dtypes]]:
            row = pd.to_numeric(values[wrong], "coerce").isna().idxmax()
            refuse(file, f"{values[wrong][row]!r} in line {line + row}, column {wrong + 1}, is no "
                   "pixel", "Mend it, or name the column of labels by --labels")
        values = values.to_numpy()
        whole = values.dtype.kind in "iu" and values.min() >= 0 and values.max() <= 255
        pixels.append(values.astype(np.uint8 if whole else np.float32))
        labels += [] if column is None else [frame[column]]
        line += len(frame)
        need_memory(file, int(sum(array.nbytes for array in pixels) / share))  # of the whole
    found.arrays[f"{name}/images"] = np.concatenate(pixels)
    if labels:
        found.arrays[f"{name}/labels"] = pd.concat(labels).to_numpy()
    found.labelled = True
    found.said.append(f"{name}: labels in " + (
        "no column" if column is None else f"column {column + 1}") + (
        "" if not header else "" if column is None else f", {header[column]}")
        + (f", column {some(i + 1 for i in drop)} numbers the lines" if drop else ""))


def whole_lines(file: Path, name: str) -> Iterator[tuple[bytes, float]]:
    """A table's text in parts of whole lines, and the share of the file up to there. Refuses."""
    with open(file, "rb") as raw, tqdm(total=file.stat().st_size, desc=name, unit="B", delay=2,
                                       unit_scale=True, leave=False) as bar:
        packed = raw.read(2) == sources.GZIP
        raw.seek(0)
        stream, rest = gzip.GzipFile(fileobj=raw) if packed else raw, b""
        while block := stream.read(PART):
            bar.update(raw.tell() - bar.n)
            lines, newline, rest = (rest + block).rpartition(b"\n")
            if len(block) < PART:  # the last one, whose last line may have no end
                lines, rest = lines + newline + rest, b""
            elif not newline:
                refuse(file, f"a line has more than {PART:,} bytes", SAVE)
            if lines.strip():
                yield (lines.replace(b'"', b"").removeprefix(b"\xef\xbb\xbf"),
                       raw.tell() / file.stat().st_size)


def is_header(fields: Sequence[str]) -> bool:
    """Is the first line of a table one of names? Of 'cat,0,12,...' it is not."""
    numbers = [field for field in fields if re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", field)]
    counted = [[*map(str, range(start, start + len(numbers)))] for start in (0, 1)]
    return (len(fields) - len(numbers) > 1 or numbers in counted
            or not LABELS.isdisjoint(map(str.casefold, fields)))


def label_column(file: Path, names: Sequence[str], frame: pd.DataFrame,
                 asked: Asked) -> int | None:
    """The number of a table's column of labels, None if its header has none. Raises Refusal."""
    ends = {"first": 0, "last": frame.shape[1] - 1}
    numbered = names or range(1, frame.shape[1] + 1)
    places = {str(name).casefold(): i for i, name in enumerate(numbered)} | ends
    fits = [i for name, i in places.items() if name in LABELS] or [
        i for i, kind in enumerate(frame.dtypes) if kind.kind not in "iuf"]
    if asked.labels:
        fits = [i for name, i in places.items() if name == asked.labels.casefold()]
    if not fits and names and (frame.shape[1] ** 0.5).is_integer():  # as Kaggle's, to submit
        return None
    if not fits and not asked.labels:  # numbers alone: which of the ends can be labels?
        for i in ends.values():
            values = frame[i].unique()
            if 1 < len(values) <= sources.MOST_CLASSES and (values == np.rint(values)).all():
                fits.append(i)
    if len(fits) != 1:
        could = [str(numbered[i]) for i in fits or ends.values()]
        refuse(file, f"its labels could be in column {' or '.join(could)}" if not asked.labels else
               f"labels={asked.labels!r}: it has no such column, but {some(numbered)}",
               f"Say --labels {could[0]}, or --labels first or last")
    return fits[0]


# ------------------------------------------------------------------ readers of pictures
def read_pictures(top: Path, listed: Sequence[str], found: Found, asked: Asked) -> None:
    """Pictures by class: a folder for each, in folders train and test if all lie in such."""
    paths = [file.split("/") for file in listed]
    while len({path[0] for path in paths}) == 1 and min(map(len, paths)) > 2:
        paths = [path[1:] for path in paths]
    tops = {path[0]: part_of(path[0]) for path in paths}
    deep = int(all(tops.values()))
    if not deep and {"train", "test"} <= {*tops.values()}:
        refuse(top, f"beside train and test there is {some(k for k, v in tops.items() if not v)}",
               "Take out what is no part")
    parts: dict[str, list[tuple[str, str]]] = {}
    for file, path in zip(listed, paths):
        label = path[deep] if len(path) > deep + 1 else ""
        parts.setdefault(tops[path[0]] if deep else "", []).append((file, label))
    for part, pairs in parts.items():
        bare = [file for file, label in pairs if not label]
        if bare and (len(bare) < len(pairs) or part != "test"):
            refuse(top / bare[0], f"{len(bare):,} pictures lie in no folder of a class", BY_CLASS)
        name = part or top.name
        found.arrays[f"{name}/images"] = to_array(
            len(pairs), ((file, top / file) for file, _ in pairs), found, asked)
        found.files[f"{name}/images"] = [file for file, _ in pairs]
        if not bare:
            found.arrays[f"{name}/labels"] = np.array([label for _, label in pairs])


def read_parquet(file: Path, name: str, found: Found, asked: Asked) -> None:
    """A table with a column of pictures, as data hubs publish it: bytes of files."""
    try:
        parquet = importlib.import_module("pyarrow.parquet")  # large, and for this alone
    except ImportError:
        refuse(file, "Parquet needs the package pyarrow", "python -m pip install pyarrow")
    with parquet.ParquetFile(file) as table:
        schema = table.schema_arrow
        check_memory(max([0, *(table.metadata.row_group(i).total_byte_size
                               for i in range(table.num_row_groups))]))
        pictures = [field.name for field in schema if "binary" in str(field.type)]
        image = pick(file, "images", pictures, asked.images)
        label = pick(file, "labels", [one for one in schema.names if one not in pictures],
                     asked.labels)
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = about.get("info", {}).get("features", {}).get(label, {}).get("names", ())
        found.classes |= dict(enumerate(names))
        labels: list = []

        def rows() -> Iterator[tuple[str, io.BytesIO]]:
            for batch in table.iter_batches(STEP, columns=[image, label]):
                labels.extend(batch.column(label).to_pylist())
                for place, row in enumerate(batch.column(image).to_pylist()):
                    content = row.get("bytes") if isinstance(row, dict) else row
                    yield f"{name}, picture {place} of its part", io.BytesIO(content or b"")

        images = to_array(table.metadata.num_rows, rows(), found, asked)
    part = part_of(name) or "all"
    for role, array in (("images", images), ("labels", np.array(labels))):
        before = [found.arrays[key] for key in [f"{part}/{role}"] if key in found.arrays]
        found.arrays[f"{part}/{role}"] = np.concatenate([*before, array])  # of several files


def torchvision_class(name: str) -> type:
    from torchvision import datasets  # here, because it takes seconds and is rarely needed

    return getattr(datasets, name)


def read_torchvision(row: Row, folder: Path, found: Found, asked: Asked) -> None:
    """Both parts of a data set of torchvision, from folder, or downloaded to it and verified."""
    if row.splits and asked.split not in row.splits:
        refuse(row.torchvision, f"split={asked.split!r} is none of its parts",
               f"Say --split with one of: {', '.join(row.splits)}")
    options = {"split": asked.split} if row.splits else {}
    for part in ("train", "test"):
        options[row.option] = part == "train" if row.option == "train" else part
        with sources.downloading(row.torchvision, folder):
            data = torchvision_class(row.torchvision)(str(folder), download=True, **options)
        if hasattr(data, "data"):
            images = np.asarray(data.data)
            labels = np.asarray(data.labels if hasattr(data, "labels") else data.targets)
            labels = labels[:, 0] if labels.ndim == 2 else labels  # of QMNIST, the digit
        else:
            pairs = (data[i] for i in range(len(data)))  # a picture is read twice, kept never
            labels = np.array([label for _, label in pairs])
            images = to_array(len(data), (
                (f"picture {i}", data[i][0]) for i in range(len(data))), found, asked)
        found.arrays |= {f"{part}/images": images, f"{part}/labels": labels}
        found.classes = dict(enumerate(row.classes or getattr(data, "classes", ())))
    found.transposed = row.transposed


def to_array(count: int, pictures: Iterable, found: Found, asked: Asked) -> np.ndarray:
    """So many pictures as one array of bytes (N, H, W, 3). Raises Refusal.

    pictures: pairs of a name and a path, an open file or a picture of Pillow.
    """
    sizes: set[tuple[int, int]] = set()
    notes: dict[str, int] = {}
    array, done, found.pictures = np.empty(0), 0, True
    for name, file in tqdm(pictures, "pictures", count, delay=2, leave=False):
        try:
            picture, size = open_picture(file, asked.size, notes)
        except Exception as error:  # Pillow's, and of each of its formats
            refuse(name, f"it is no whole picture of a usual size: {error or repr(error)}",
                   f"Remove it, or {WHOLE.lower()}")
        sizes.add(size)
        if not done:
            height, width = asked.size or size[::-1]
            if not {height, width} <= {*SIDES}:
                refuse(name, f"it has {width} x {height} pixels", "Say --size, such as --size 64")
            need_memory(name, count * height * width * 3)
            array = np.empty((count, height, width, 3), np.uint8)
        if picture.size != (width, height):
            if not asked.size:
                refuse(name, f"it has {size[0]} x {size[1]} pixels, and others {width} x {height}",
                       "Say the size for all, such as --size 64")
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
        array[done] = np.asarray(picture)
        done += 1
    ends = sorted(sizes, key=np.prod)[::max(1, len(sizes) - 1)]
    scaled = f", the middle of each scaled to {width} x {height}" if asked.size else ""
    found.said.append(f"{done:,} pictures of " + " to ".join(f"{w} x {h}" for w, h in ends)
                      + f" pixels (width x height){scaled}")
    found.said += [f"{note}: {many:,} pictures" for note, many in notes.items()]
    return array


def open_picture(file: object, size: Sequence[int],
                 notes: dict[str, int]) -> tuple[Image.Image, tuple[int, int]]:
    """A picture as one sees it, in red, green and blue; its size before. Counts what it changed."""
    if isinstance(file, Image.Image):
        return file.convert("RGB"), file.size
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        opened = Image.open(file, formats=FORMATS)
    with opened as picture:
        own, turn, said = picture.size, picture.getexif().get(0x0112, 1), []
        if size:  # of a large JPEG, no more is unpacked than is needed
            picture.draft("RGB", (2 * max(size), 2 * max(size)))
        picture = ImageOps.exif_transpose(picture)
        if turn != 1:
            said.append("turned upright as their EXIF says")
            own = own[::-1] if turn > 4 else own
        if picture.mode[0] in "IF":
            said.append("of 16 bits a pixel, the upper 8 kept")
            levels = np.asarray(picture)
            if picture.mode == "F" or levels.min() < 0 or levels.max() > 65535:
                raise ValueError("its pixels are not of 8 or 16 bits")
            picture = Image.fromarray((levels // 256).astype(np.uint8))
        if picture.has_transparency_data:
            said.append("transparent, put on white")
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        notes |= {text: notes.get(text, 0) + 1 for text in said}
        return picture.convert("RGB"), own


READERS = {"npz": read_npz, "npy": read_npy, "idx": read_idx, "mat": read_mat,
           "parquet": read_parquet, "table": read_table}
