"""The converter: images in any common layout become an .npz that load_dataset() reads.

A reader for each kind of file leaves arrays by their names. From there on all go one way: which are
images and which labels, of which part; labels from 0; bytes; channels last; one size. What was
taken for what is said, and what could be either is asked for: nothing is guessed.
"""

import gzip
import importlib
import io
import json
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import pandas as pd
import scipy.io
from PIL import Image, ImageOps
from tqdm import tqdm

from coursepack import files
from coursepack.data import datasets, sources
from coursepack.data.datasets import DATASETS, Dataset
from coursepack.data.sources import DIGITS, check_memory

MOST_FILES = 1_000_000  # of a folder
PART = 2**24  # bytes that are read of a table at a time: no line is longer
STEP = 1000  # images that are converted at a time
SIDES = range(4, 1025)  # pixels
SEED = 0  # of the order of images and of those kept for the test
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # none that starts a program
KINDS = {  # of a file, by how it begins
    "npy": rb"\x93NUMPY", "mat": rb"MATLAB 5\.0", "parquet": rb"PAR1", "zip": rb"PK\x03\x04",
    "idx": rb"\0\0[\x08-\x0e][\x01-\x04]",
    "picture": rb"\xff\xd8\xff|\x89PNG|GIF8|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP|P[1-6]\s",
    "HDF5 file, such as MATLAB's of version 7.3": rb"\x89HDF",
    "pickle, which is never opened because it may run code": rb"\x80[\x02-\x05]",
    "archive": rb"7z\xbc\xaf|Rar!|\xfd7zXZ|BZh|.{257}ustar",
    "table": rb"[^\0-\x08\x0e-\x1f]+\Z"}
FIXES = {"archive": "Unpack it, and give the folder", "picture": "Give a folder of pictures, in "
         "which those of each class lie in a folder of its name"}
SAVE = "Where it came from, save images and labels by numpy.savez"
PART_OF = re.compile(r"(?:^|[^a-z])[xy]?(?:(train(?:ing)?)|(test(?:ing)?|t10k)|"
                     r"(val(?:id(?:ation)?)?|dev))[xy]?(?![a-z])")
PARTS = ("train", "test", "validation")  # the groups of PART_OF
OF_LABELS = {"label", "labels", "class", "target", "targets", "y", "category", "digit", "ytrain",
             "ytest"}
OF_CLASSES = {"classes", "names"}


class Row(NamedTuple):
    """A data set that torchvision has a class for, and load_dataset() no name."""

    torchvision: str
    option: str  # that picks the part
    classes: tuple[str, ...] = ()  # by label, where torchvision's class has none
    splits: tuple[str, ...] = ()
    transposed: bool = False  # pictures lie on their side


TORCHVISION = {
    "emnist": Row("EMNIST", "train", transposed=True, splits=(
        "byclass", "bymerge", "balanced", "letters", "digits", "mnist")),
    "cifar100": Row("CIFAR100", "train"),
    "gtsrb": Row("GTSRB", "split"),
    "qmnist": Row("QMNIST", "train", DIGITS),
    "svhn": Row("SVHN", "split", DIGITS),
    "usps": Row("USPS", "train", DIGITS),
}


class Asked(NamedTuple):
    """What a source may leave open."""

    size: str | int = ""  # pixels that images are scaled to, such as 64 or 48x64 (height, width)
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
        self.files: dict[str, list[str]] = {}  # of pictures, by the name of their array
        self.said: list[str] = []
        self.transposed = False
        self.pictures = False  # images come of pictures: of 8 bits, and scaled


def refuse(where: object, what: str, fix: str) -> NoReturn:
    raise Refusal(f"{where}: {what}. {fix}.")


def some(names: Iterable[object], most: int = 5) -> str:
    """A few of some names, for a message: the first ones and the last."""
    names = [*map(str, names)]
    return ", ".join(names if len(names) <= most else [*names[:most - 2], "...", names[-1]])


def import_data(source: str, name: str, *, replace: bool = False, data_dir: str = "",
                **asked: object) -> Dataset:
    """Convert images to name.npz in the data folder, and say what was taken for what.

    source: a file, a folder, or a name of TORCHVISION; asked: see Asked. Returns the data set as
    load_dataset(name) does. Raises ValueError for what is broken or unclear, OSError for what is
    not there or cannot be written; then nothing is.
    """
    wanted = check_asked(Asked(**asked))
    target = check_target(name, data_dir, replace)
    found = read_source(source, target.parent, wanted)
    parts, classes, order = arrange(source, found, wanted)
    arrays = [array for part in ("train", "test") for array in parts[part]]
    data = datasets.make_dataset(name, "npz", [*arrays, np.array(classes)], source,
                                 "Give images that differ.")
    found.said += describe_twins(parts, order, found)
    files.clear_rests(target.parent, target.name)
    files.replace_file(target, lambda path: np.savez(
        path, **dict(zip(sources.ARRAYS, arrays)), classes=np.array(classes)))
    print("\n".join(f"- {line}" for line in found.said))
    print(f"{data}\nwritten to {target}: dataset = {name!r}")
    return data


def check_asked(asked: Asked) -> Asked:
    """The same with size as two numbers or (), classes as a list. Raises ValueError."""
    size, sides = str(asked.size or ""), ()
    if size:
        sides = [int(side) for side in re.findall(r"\d+", size)][:2]
        if not re.fullmatch(r"\d+(x\d+)?", size) or not {*sides} <= {*SIDES}:
            refuse(f"size={asked.size!r}", "it is no number of pixels from 4 to 1,024",
                   "Choose one such as 64, or height and width such as 48x64")
    if asked.test is not None and not 0 < asked.test < 1:
        refuse(f"test={asked.test}", "it is no share", "Choose one between 0 and 1, such as 0.2")
    if asked.channels not in ("", "first", "last"):
        files.check_choice("channels", asked.channels, ["first", "last"])
    if asked.levels and (len(asked.levels) != 2 or asked.levels[0] == asked.levels[1]):
        refuse(f"levels={asked.levels}", "it is not black and white", "Choose two, such as 0 255")
    names = asked.classes.split(",") if isinstance(asked.classes, str) else asked.classes
    names = [name.strip() for name in names] if asked.classes else []
    return asked._replace(size=tuple((sides * 2)[:2]), classes=names)


def check_target(name: str, data_dir: str, replace: bool) -> Path:
    """The file to write, in a folder that can be written to. Raises ValueError, OSError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name) or name.endswith(".npz"):
        refuse(f"name={name[:120]!r}", "it is no name for a data set",
               "Choose one of letters, digits, '_' and '-', without .npz")
    if name in DATASETS:
        refuse(f"name={name!r}", "it is that of a published data set",
               f"Choose another, such as own_{name}")
    folder = files.find_folder("data_dir", datasets.chosen_folder(data_dir) or "data")
    files.check_writable("data_dir", folder)
    for other in sources.names_in(folder):
        if other.casefold() == f"{name}.npz".casefold() and not (replace and Path(other).stem
                                                                 == name):
            refuse(folder / other, "it is there already", "Choose another name, or --replace")
    return folder / f"{name}.npz"


# ------------------------------------------------------------------------ what is there
def read_source(source: str, data_folder: Path, asked: Asked) -> Found:
    """All arrays of a file, of a folder's files, or of a class of torchvision. Raises Refusal."""
    found = Found()
    places = [place for place in (Path(source).expanduser(), files.ROOT / source) if place.exists()]
    if not places:
        key = re.sub("[^a-z0-9]", "", source.casefold())
        if key not in TORCHVISION:
            refuse(source, "it is no file or folder, and no data set of torchvision that is read",
                   f"Give a path, or one of: {', '.join(TORCHVISION)} "
                   f"({', '.join(DATASETS)} are read as they are)")
        read_torchvision(TORCHVISION[key], data_folder, found, asked)
        return found
    top = places[0]
    if not top.is_dir():
        kind = kind_of(top)
        if kind not in READERS:
            refuse(top, f"it is no data file that is read, but {kind}"
                   if kind not in KINDS else f"it is a {kind}", FIXES.get(kind, SAVE))
        read_file(kind, top, top.name, found, asked)
        return found
    kinds: dict[str, list[str]] = {}
    listed = [file for file in list_files(top) if asked.split in file]
    for file in tqdm(listed, "looking", delay=2, leave=False):
        kinds.setdefault(kind_of(top / file), []).append(file)
    known = [kind for kind in READERS if kind in kinds]
    others = [file for kind, names in kinds.items() if kind not in [*known[:1], "picture"]
              for file in names]
    if pictures := kinds.get("picture"):
        broken = [file for file in others if Path(file).suffix.lower() in Image.EXTENSION]
        if broken:
            refuse(top / broken[0], f"it is no picture, as {len(broken)} are not",
                   "Remove it, or put a whole one in its place")
        others = [file for kind, names in kinds.items() if kind != "picture" for file in names]
        read_pictures(top, pictures, found, asked)
    elif not known:
        refuse(top, f"it holds nothing that is read: {some(others) or 'no file'}",
               FIXES["archive"] if "archive" in kinds or "zip" in kinds else FIXES["picture"])
    elif len(known) > 1 and known[1] != "table":  # beside others, a table is a text
        refuse(top, f"it holds {' and '.join(known)} files", "Give one kind alone")
    else:
        for file in kinds[known[0]]:
            read_file(known[0], top / file, file, found, asked)
    if others:
        found.said.append(f"left out, as they are something else: {some(others)}")
    return found


def list_files(top: Path) -> list[str]:
    """The files below a folder in a natural order, relative to it. Raises Refusal."""
    listed: list[str] = []

    def complain(error: OSError) -> None:
        refuse(error.filename, f"it cannot be read: {error.strerror}", "Make it readable")

    for folder, subs, names in os.walk(top, onerror=complain):
        subs[:] = [sub for sub in subs if not sub.startswith((".", "__MACOSX"))]
        for sub in subs:
            if os.path.islink(os.path.join(folder, sub)):
                refuse(os.path.join(folder, sub), "it is a link to a folder, which may be endless",
                       "Put the folder itself in its place")
        listed += [os.path.relpath(os.path.join(folder, name), top).replace(os.sep, "/")
                   for name in names if not name.startswith(".")
                   and name.lower() not in ("thumbs.db", "desktop.ini")]
        if len(listed) > MOST_FILES:
            refuse(top, f"it holds more than {MOST_FILES:,} files", "Give a part of them")
    return sorted(listed, key=natural)


def natural(text: str) -> list:
    """For sorting: 2 before 10."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part)
            for part in re.split(r"([0-9]+)", text)]


def kind_of(file: Path) -> str:
    """A key of READERS or KINDS, by what a file holds; "zip" is told apart. Raises ValueError."""
    with sources.reading(file, fix="Put a whole one in its place.") as raw:
        head = raw.read(4096)
        if head.startswith(sources.GZIP):
            head = zlib.decompressobj(31).decompress(head, 4096)
            if kind := next((kind for kind in ("idx", "table") if re.match(
                    KINDS[kind], head, re.DOTALL)), ""):
                return kind
            return "archive"
        kind = next((kind for kind, begin in KINDS.items() if re.match(begin, head, re.DOTALL)),
                    f"something that begins with {head[:8].hex() or 'nothing'}")
        if kind == "zip":
            with zipfile.ZipFile(raw) as archive:
                members = archive.namelist()
            if any(member.endswith("data.pkl") for member in members):  # of torch.save
                return next(kind for kind in KINDS if kind.startswith("pickle"))
            arrays = members and all(member.endswith(".npy") for member in members)
            return "npz" if arrays else "archive"
        return kind


def read_file(kind: str, file: Path, name: str, found: Found, asked: Asked) -> None:
    """Add the arrays of a file to what was found; what a library says of it becomes a Refusal."""
    try:
        READERS[kind](file, name, found, asked)
    except Refusal:
        raise
    except Exception as error:  # each library has its own kinds
        refuse(file, f"it is no readable {kind} file: {error or repr(error)}",
               "Put a whole one in its place")


# -------------------------------------------------------------------- readers of arrays
def read_npz(file: Path, name: str, found: Found, asked: Asked) -> None:
    with zipfile.ZipFile(file) as archive:
        check_memory(sum(member.file_size for member in archive.infolist()))
        for member in archive.namelist():
            found.arrays[f"{name}/{member.removesuffix('.npy')}"] = (
                sources.read_member(archive, member))


def read_npy(file: Path, name: str, found: Found, asked: Asked) -> None:
    # mapped: of 345 files of QuickDraw, 38 GB, no more is read than is used at a time
    found.arrays[name.removesuffix('.npy')] = np.load(file, mmap_mode="r", allow_pickle=False)


def read_idx(file: Path, name: str, found: Found, asked: Asked) -> None:
    with open(file, "rb") as raw:
        packed = raw.read(2) == sources.GZIP
        raw.seek(0)
        dimensions = (gzip.GzipFile(fileobj=raw) if packed else raw).read(4)[3]
    name = name.removesuffix(".gz")
    if name not in found.arrays:  # a .gz beside the unpacked one
        found.arrays[name] = sources.read_idx(file, dimensions)
    if match := re.search(f"emnist.({'|'.join(TORCHVISION['emnist'].splits)})", name):
        found.transposed = True
        found.classes = dict(enumerate(torchvision_class("EMNIST").classes_split_dict[match[1]]))


def read_mat(file: Path, name: str, found: Found, asked: Asked) -> None:
    check_memory(unpacked_size(file))
    content = scipy.io.loadmat(file, simplify_cells=True)
    content = {key: value for key, value in content.items() if not key.startswith("__")}
    if {*content} == {"X", "y"} and content["y"].max() == 10 and content["y"].min() > 0:  # SVHN
        content["y"] = content["y"] % 10
        found.classes = dict(enumerate(DIGITS))
        found.said.append(f"{name}: label 10 is the digit 0")
    if isinstance(content.get("dataset"), dict):  # EMNIST
        content = content["dataset"]
        mapping = content.pop("mapping", np.empty((0, 2)))
        found.classes = {int(row[0]): chr(int(row[-1])) for row in mapping}
        found.transposed = True
    for key, value in content.items():
        members = value if isinstance(value, dict) else {"": value}
        for member, array in members.items():
            found.arrays[f"{name}/{key}.{member}".rstrip(".")] = np.asarray(array)


def unpacked_size(file: Path) -> int:
    """Bytes of all variables of a MATLAB file, without keeping them."""
    size = 0
    with open(file, "rb") as raw:
        order = "<u4" if raw.read(128)[126:] == b"IM" else ">u4"
        while len(tag := raw.read(8)) == 8:
            kind, left = np.frombuffer(tag, order).tolist()
            unpack = zlib.decompressobj()
            size += 0 if kind == 15 else left  # 15: packed
            while left > 0 and (packed := raw.read(min(left, STEP))):
                left -= len(packed)
                size += len(unpack.decompress(packed)) if kind == 15 else 0
    return size


def read_table(file: Path, name: str, found: Found, asked: Asked) -> None:
    """A line an image: its label, and a column a pixel. Read by parts of whole lines."""
    column, pixels, labels, numbers, taken, fields = None, [], [], 1, 0, []
    with open(file, "rb") as raw, tqdm(total=file.stat().st_size, desc=name, unit="B",
                                       unit_scale=True, delay=2, leave=False) as bar:
        packed = raw.read(2) == sources.GZIP
        raw.seek(0)
        stream, rest = gzip.GzipFile(fileobj=raw) if packed else raw, b""
        while block := stream.read(PART):
            bar.update(raw.tell() - bar.n)
            lines, newline, rest = (rest + block).rpartition(b"\n")
            if len(block) < PART:  # the last one, which may lack the end of its last line
                lines, rest = lines + newline + rest, b""
            elif not newline:
                refuse(file, f"a line is longer than {PART:,} bytes", SAVE)
            lines = lines.replace(b'"', b"").removeprefix(b"\xef\xbb\xbf")
            if not fields:
                first = lines.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
                separator = max("\t,;", key=first.count)
                fields = [field.strip().casefold() for field in first.split(separator)]
                if len(fields) < 17:
                    refuse(file, f"its lines have {len(fields)} columns, too few for a label and "
                           "the pixels of an image", "Give a table with a column a pixel")
                if header := is_header(fields):
                    lines, numbers = lines.partition(b"\n")[2], 2
            if not lines.strip():
                continue
            frame = pd.read_csv(io.BytesIO(lines), sep=separator, header=None, na_values=[""],
                                keep_default_na=False, encoding_errors="replace")
            if frame.shape[1] != len(fields):
                refuse(file, f"lines from {numbers} on have {frame.shape[1]} columns, the first "
                       f"{len(fields)}", "Put a whole one in its place")
            if column is None:
                column = label_column(file, fields if header else [], frame, asked)
                drop = [i for i, field in enumerate(fields) if header and i != column
                        and re.fullmatch(r"(unnamed.*|index|(image.?)?id)?", field)]
            values = frame.drop(columns=[*drop, *([] if column < 0 else [column])])
            for wrong in values.columns[[kind.kind not in "iuf" for kind in values.dtypes]]:
                cell = pd.to_numeric(values[wrong], "coerce").isna().idxmax()
                refuse(file, f"{values[wrong][cell]!r} is no pixel (line {numbers + cell}, column "
                       f"{wrong + 1})", "Mend it, or name the column of labels by --labels")
            if (gaps := frame.isna()).any(axis=None):
                row, place = np.argwhere(gaps.to_numpy())[0]
                refuse(file, f"line {numbers + row} has no value in column {place + 1}",
                       "Mend it, or put a whole one in its place")
            values = values.to_numpy()
            whole = values.dtype.kind in "iu" and values.min() >= 0 and values.max() <= 255
            pixels.append(values.astype(np.uint8 if whole else np.float32))
            labels += [] if column < 0 else [frame[column]]
            numbers, taken = numbers + len(frame), taken + pixels[-1].nbytes
            # beforehand: if all lines are as long as these
            check_memory(max(taken, 0 if packed else taken * file.stat().st_size // raw.tell()))
    if not pixels:
        refuse(file, "it has no line of pixels", "Put a whole one in its place")
    found.arrays[f"{name}/images"] = np.concatenate(pixels)
    if labels:
        found.arrays[f"{name}/labels"] = pd.concat(labels).to_numpy()
    left = f", without the column {some(fields[i] or 'without a name' for i in drop)}"
    found.said.append(f"{name}: " + (
        f"labels in column {column + 1}{f' ({fields[column]})' if header else ''}"
        if labels else "no column of labels") + (left if drop else ""))


def is_header(fields: Sequence[str]) -> bool:
    """Is the first line of a table one of names? Of 'cat,0,12,...' it is not."""
    numbers = [field for field in fields if re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", field)]
    named = len(fields) - len(numbers)
    counted = [*map(str, range(len(numbers)))], [*map(str, range(1, len(numbers) + 1))]
    return named > 1 or numbers in counted or not OF_LABELS.isdisjoint(fields)


def label_column(file: Path, names: Sequence[str], frame: pd.DataFrame, asked: Asked) -> int:
    """The number of a table's column of labels, -1 if its header has none. Raises Refusal."""
    ends = {"first": 0, "last": frame.shape[1] - 1}
    if asked.labels:
        if asked.labels.casefold() not in [*names, *ends]:
            refuse(file, f"it has no column labels={asked.labels!r}",
                   f"Choose first, last or one of: {some(names)}")
        key = asked.labels.casefold()
        return names.index(key) if key in names else ends[key]
    fits = [i for i, name in enumerate(names) if name in OF_LABELS] or [
        i for i, kind in enumerate(frame.dtypes) if kind.kind not in "iuf"]
    if not fits and names:
        square = np.sqrt(frame.shape[1])
        if square == int(square):  # as of Kaggle's images to submit
            return -1
    for i in () if fits else ends.values():  # numbers alone: which of the ends can be labels?
        values = frame[i].unique()
        if 1 < len(values) <= sources.MOST_CLASSES and (values == np.rint(values)).all():
            fits.append(i)
    if len(fits) != 1:
        refuse(file, "its labels could be in column " + " or ".join(
            (f"{names[i]} ({i + 1})" if names else f"{i + 1}") for i in fits or ends.values()),
            "Say --labels first, --labels last, or --labels NAME of its header")
    return fits[0]


# ------------------------------------------------------------------ readers of pictures
def read_pictures(top: Path, listed: Sequence[str], found: Found, asked: Asked) -> None:
    """Pictures by class: a folder for each, in folders train and test if all lie in such."""
    paths = [file.split("/") for file in listed]
    while len({path[0] for path in paths}) == 1 and min(map(len, paths)) > 2:
        paths = [path[1:] for path in paths]
    tops = {path[0]: part_of(path[0]) for path in paths}
    parts = all(tops.values())
    if not parts and {"train", "test"} <= {*tops.values()}:
        refuse(top, f"beside train and test it holds {some(k for k, v in tops.items() if not v)}",
               "Take out what is no part")
    sorted_out: dict[str, list[tuple[str, str]]] = {}
    for file, path in zip(listed, paths):
        label = path[parts] if len(path) > parts + 1 else ""
        sorted_out.setdefault(tops[path[0]] if parts else "", []).append((file, label))
    for part, pairs in sorted_out.items():
        bare = [file for file, label in pairs if not label]
        if bare and (len(bare) < len(pairs) or part != "test"):
            refuse(top / bare[0], f"{len(bare):,} pictures lie in no folder of a class",
                   FIXES["picture"])
        found.arrays[f"{part}/images"] = to_array(
            len(pairs), ((file, top / file) for file, _ in pairs), found, asked)
        found.files[f"{part}/images"] = [file for file, _ in pairs]
        if not bare:
            found.arrays[f"{part}/labels"] = np.array([label for _, label in pairs])


def read_parquet(file: Path, name: str, found: Found, asked: Asked) -> None:
    """A table with a column of pictures, as data hubs publish it: bytes of files."""
    try:
        parquet = importlib.import_module("pyarrow.parquet")  # large, and for this alone
    except ImportError:
        refuse(file, "Parquet needs the package pyarrow", "python -m pip install pyarrow")
    with parquet.ParquetFile(file) as table:
        schema, groups = table.schema_arrow, range(table.num_row_groups)
        check_memory(max([table.metadata.row_group(i).total_byte_size for i in groups] or [0]))
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get(
            "info", {}).get("features", {})
        fields = [schema.field(i) for i in range(len(schema))]
        pictures = [field.name for field in fields if "binary" in str(field.type)]
        labels = [field.name for field in fields if field.name not in pictures]
        image = pick(file, "images", pictures, asked.images)
        label = pick(file, "labels", labels, asked.labels)
        names = features.get(label, {}).get("names") or []
        found.classes |= dict(enumerate(names))
        kept: list = []

        def rows() -> Iterable[tuple[str, io.BytesIO]]:
            for batch in table.iter_batches(STEP, columns=[image, label]):
                kept.extend(batch.column(label).to_pylist())
                for row in batch.column(image).to_pylist():
                    content = row.get("bytes") if isinstance(row, dict) else row
                    yield f"picture {len(kept)}", io.BytesIO(content or b"")

        images = to_array(table.metadata.num_rows, rows(), found, asked)
        shard = part_of(name) or "all"  # of several files of a part
        for role, array in (("images", images), ("labels", np.array(kept))):
            before = found.arrays.get(f"{shard}/{role}")
            found.arrays[f"{shard}/{role}"] = array if before is None else np.concatenate(
                [before, array])


def torchvision_class(name: str) -> type:
    from torchvision import datasets as published  # here, because it takes seconds

    return getattr(published, name)


def read_torchvision(row: Row, folder: Path, found: Found, asked: Asked) -> None:
    """Both parts of a data set of torchvision, from folder, or downloaded to it and verified."""
    if row.splits and asked.split not in row.splits:
        refuse(row.torchvision, f"split={asked.split!r} is not one of its parts",
               f"Say --split with one of: {', '.join(row.splits)}")
    more = {"split": asked.split} if row.splits else {}
    for part in ("train", "test"):
        option = {row.option: part == "train" if row.option == "train" else part}
        with sources.downloading(row.torchvision, folder):
            data = torchvision_class(row.torchvision)(
                str(folder), download=True, **more, **option)
        if hasattr(data, "data"):
            images = np.asarray(data.data)
            labels = np.asarray(data.labels if hasattr(data, "labels") else data.targets)
        else:
            labels = []

            def pictures(data: Iterable = data, labels: list = labels) -> Iterable:
                for i in range(len(data)):
                    picture, label = data[i]
                    labels.append(label)
                    yield f"picture {i}", picture

            images = to_array(len(data), pictures(), found, asked)
        labels = np.asarray(labels)
        found.arrays[f"{part}/images"] = images
        found.arrays[f"{part}/labels"] = labels[:, 0] if labels.ndim == 2 else labels  # QMNIST
        found.classes = dict(enumerate(row.classes or getattr(data, "classes", ())))
    found.transposed = row.transposed


def to_array(count: int, pictures: Iterable, found: Found, asked: Asked) -> np.ndarray:
    """So many pictures, of files, as one array of bytes (N, H, W, 3). Raises Refusal.

    pictures: pairs of a name and a path, an open file or a picture of Pillow.
    """
    found.pictures = True
    sizes: dict[tuple[int, int], str] = {}
    notes: dict[str, int] = {}
    array, done = np.empty((0, 0, 0, 3), np.uint8), 0
    for name, file in tqdm(pictures, "pictures", count, delay=2, leave=False):
        try:
            picture, size = open_picture(file, asked.size, notes)
        except Exception as error:  # Pillow's, and of each of its formats
            bomb = isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError)
            why = "it has too many pixels" if bomb else "it is no whole picture"
            refuse(name, f"{why}: {error}", "Remove it, or put a whole one in its place")
        sizes.setdefault(size, name)
        if not done:
            height, width = asked.size or size[::-1]
            if not {height, width} <= {*SIDES}:
                refuse(name, f"it has {width} x {height} pixels", "Say --size, such as --size 64")
            try:
                check_memory(count * height * width * 3)
            except ValueError as error:
                refuse(name, f"{count:,} such pictures: {error}", "Say a smaller --size")
            array = np.empty((count, height, width, 3), np.uint8)
        if picture.size != (width, height):
            if not asked.size:
                refuse(name, f"it has {size[0]} x {size[1]} pixels, and {next(iter(sizes.values()))}"
                       f" {width} x {height}", "Say the size for all, such as --size 64")
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
        array[done] = np.asarray(picture)
        done += 1
    least, *_, most = sorted([*sizes, *sizes], key=lambda size: size[0] * size[1])
    span = " to ".join(dict.fromkeys(f"{w} x {h}" for w, h in (least, most)))
    scaled = {*sizes} - {(width, height)}
    found.said.append(f"{done:,} pictures of {span} pixels (width x height)" + (
        f", of which the middle was scaled to {width} x {height}" if scaled else ""))
    found.said += [f"{note}: {many:,} pictures" for note, many in notes.items()]
    return array


def open_picture(file: object, size: Sequence[int],
                 notes: dict[str, int]) -> tuple[Image.Image, tuple[int, int]]:
    """A picture as one sees it, in red, green and blue; its size before. Counts what it changed."""
    def note(text: str) -> None:
        notes[text] = notes.get(text, 0) + 1

    if isinstance(file, Image.Image):
        return file.convert("RGB"), file.size
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        opened = Image.open(file, formats=FORMATS)
    with opened as picture:
        own = picture.size
        if size:  # of a large JPEG, no more is unpacked than is needed
            picture.draft("RGB", (2 * size[1], 2 * size[0]))
        picture.load()
        turned = ImageOps.exif_transpose(picture)
        if picture.getexif().get(0x0112, 1) != 1:
            note("turned upright as their EXIF says")
            own = own[::-1] if picture.getexif()[0x0112] > 4 else own
        if turned.mode.startswith("I"):
            note("of 16 bits a pixel, the upper 8 were kept")
            levels = np.asarray(turned)
            if levels.min() < 0 or levels.max() > 65535:
                raise ValueError("it has more than 16 bits a pixel")
            turned = Image.fromarray((levels // 256).astype(np.uint8))
        elif turned.mode == "F":
            raise ValueError("its pixels are floats")
        if turned.has_transparency_data:
            note("transparent, put on white")
            turned = turned.convert("RGBA")
            turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned)
        return turned.convert("RGB"), own


READERS = {"npz": read_npz, "npy": read_npy, "idx": read_idx, "mat": read_mat,
           "parquet": read_parquet, "table": read_table}


# ------------------------------------------------------------- what was taken for what
def part_of(name: str) -> str:
    """The part that a name speaks of, of PARTS; "" if none."""
    match = PART_OF.search(name.casefold())
    return PARTS[match.lastindex - 1] if match else ""


def role_of(name: str, array: np.ndarray) -> str:
    """What an array is: "images", "labels", "classes" (names of labels) or ""."""
    words = {*re.findall("[a-z]+", name.rsplit("/", 1)[-1].casefold())}
    if words & OF_CLASSES:
        return "classes" if array.ndim == 1 else ""
    if array.ndim and (words & OF_LABELS or array.size == len(array) or is_one_hot(array)):
        return "labels"
    return "images" if array.ndim > 1 and array.dtype.kind in "biuf" else ""


def is_one_hot(array: np.ndarray) -> bool:
    """Has each row one 1 and else 0?"""
    return (array.ndim == 2 and array.shape[1] <= sources.MOST_CLASSES
            and array.dtype.kind in "biuf" and bool(np.isin(array, (0, 1)).all())
            and bool((array.sum(1) == 1).all()))


def pick(where: object, role: str, names: Sequence[str], asked: str) -> str:
    """The one of some names that is asked for, or that says what it is. Raises Refusal."""
    fits = [name for name in names if asked.casefold() in name.casefold()]
    if len(fits) > 1 and role == "labels":
        fits = [name for name in fits if not OF_LABELS.isdisjoint(
            re.findall("[a-z]+", name.rsplit("/", 1)[-1].casefold()))] or fits
    if len(fits) != 1:
        refuse(where, f"its {role} could be {some(fits or names) or 'nowhere'}",
               f"Say --{role} NAME, or --split NAME of one data set of several")
    return fits[0]


def choose(source: str, found: Found, asked: Asked) -> dict[str, tuple[str, np.ndarray]]:
    """By part, the name of its images and its labels; of what has no parts, "train" alone."""
    roles: dict[str, dict[str, list[str]]] = {}  # by part and role, names of arrays
    for name, array in found.arrays.items():
        part = part_of(name.rsplit("/", 1)[-1]) or part_of(name)
        roles.setdefault(part, {}).setdefault(role_of(name, array), []).append(name)
    both = {part: role for part, role in roles.items() if {"images", "labels"} <= {*role}}
    if not any("labels" in role for role in roles.values()):  # a file a class, as of QuickDraw?
        names = [name for role in roles.values() for name in role.get("images", [])]
        if len(names) < 2 or all(map(part_of, names)):
            refuse(source, "it has no labels", "Give a file or folder that has them, too")
        return by_file(source, names, found)
    if not both:
        refuse(source, f"no part has images and labels: {some(found.arrays)}",
               "Name them by --images and --labels, or rename them x_train and y_train")
    if len(both) == 1:
        both = {"train": next(iter(both.values()))}
    elif "train" not in both:
        both["train"] = both.pop("")
    if "validation" in both:
        held = both.pop("validation")
        if "test" not in both:
            both["test"] = held
            found.said.append("its validation part is taken for the test")
    chosen = {}
    for part in ("train", "test"):
        if part in both:
            image, label = (pick(source, role, both[part][role], getattr(asked, role))
                            for role in ("images", "labels"))
            chosen[part] = image, found.arrays[label]
            found.said.append(f"{part}: images of {image}, labels of {label}")
    used = {name for name in found.arrays for part, (image, label) in chosen.items()
            if name == image or found.arrays[name] is label}
    names = next((role["classes"] for role in roles.values() if "classes" in role), [])
    if left := [name for name in found.arrays if name not in {*used, *names}]:
        found.said.append(f"left out: {some(left)}")
    return chosen


def by_file(source: str, names: Sequence[str], found: Found) -> dict[str, tuple[str, np.ndarray]]:
    """As choose(), where each array is a class, called as its file but for what all begin with."""
    arrays = [found.arrays.pop(name) for name in names]
    try:
        check_memory(sum(array.nbytes for array in arrays))
        found.arrays["images"] = np.concatenate(arrays)
    except ValueError as error:
        refuse(source, str(error), "Give fewer files")
    start = re.search(r"^(.*[_\-/])?", os.path.commonprefix([*names])).end()
    labels = np.repeat([name[start:] for name in names], [len(array) for array in arrays])
    found.said.append(f"a file a class: {some(names)}")
    return {"train": ("images", labels)}


def arrange(source: str, found: Found, asked: Asked) -> tuple[
        dict[str, tuple[np.ndarray, np.ndarray]], list[str], dict[str, tuple[str, np.ndarray]]]:
    """Images and labels of both parts, names of classes; which images of what these are, by part.

    Images uint8 (N, H, W) or (N, H, W, 3), labels int64 (N,) from 0. Raises Refusal.
    """
    chosen = choose(source, found, asked)
    raw = {part: plain_labels(source, labels, found) for part, (_, labels) in chosen.items()}
    labels, classes = number_labels(source, raw, found, asked)
    images = to_bytes(source, {part: to_shape(source, found.arrays[name], len(labels[part]),
                                              found, asked) for part, (name, _) in chosen.items()},
                      found, asked)
    draw = np.random.default_rng(SEED)
    order = {part: np.arange(len(labels[part])) for part in chosen}
    if "test" not in chosen:
        share = 0.2 if asked.test is None else asked.test
        kept = []
        for label, name in enumerate(classes):
            places = draw.permutation(np.flatnonzero(labels["train"] == label))
            if len(places) < 2:
                refuse(source, f"class {name} has one image, none to test on", "Give two or more")
            kept.append(places[:min(max(1, round(share * len(places))), len(places) - 1)])
        order["test"] = np.sort(np.concatenate(kept))
        order["train"] = draw.permutation(np.setdiff1d(order["train"], order["test"]))
        found.said.append(f"{share:.3g} of each class kept for the test, by chance: "
                          f"{len(order['test']):,} of {len(labels['train']):,}")
    elif asked.test is not None:
        refuse(source, f"test={asked.test} for a source with a test part of its own", "Leave it")
    elif (np.diff(labels["train"]) >= 0).all():
        order["train"] = draw.permutation(order["train"])
        found.said.append("images to train on were sorted by class, and are mixed")
    of = {part: part if part in chosen else "train" for part in order}
    parts = {part: (images[of[part]][taken], labels[of[part]][taken])
             for part, taken in order.items()}
    return parts, classes, {part: (chosen[of[part]][0], taken) for part, taken in order.items()}


def plain_labels(where: str, labels: np.ndarray, found: Found) -> np.ndarray:
    """Labels as integers or texts (N,), of one-hot, whole floats, (N, 1), bytes. Raises Refusal."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif is_one_hot(labels):
        found.said.append(f"labels are one-hot, of {labels.shape[1]} classes")
        labels = labels.argmax(1)
    elif labels.ndim != 1:
        refuse(where, f"labels have shape {labels.shape}, several for an image or none",
               "Give one for each image, or name another array by --labels")
    if labels.dtype.kind == "f":
        wrong = labels[~(np.isfinite(labels) & (labels == np.rint(labels)))]
        if len(wrong):
            refuse(where, f"a label is {wrong[0]:g}, no whole number", "Give classes, not amounts")
    elif labels.dtype.kind not in "biu":
        labels = np.array([label.decode("utf-8", "replace") if isinstance(label, bytes) else
                           str(label) for label in labels.tolist()])
        labels = np.strings.strip(labels)
        if (empty := np.flatnonzero(labels == "")).size:
            refuse(where, f"image {empty[0]} has no label", "Give it one, or leave it out")
        return labels
    labels = labels.astype(np.int64)
    if labels.size and labels.min() < 0 and {*np.unique(labels).tolist()} != {-1, 1}:
        refuse(where, f"a label is {labels.min()}, which often means that an image has none",
               "Leave those images out")
    return labels


def number_labels(where: str, labels: dict[str, np.ndarray], found: Found,
                  asked: Asked) -> tuple[dict[str, np.ndarray], list[str]]:
    """Labels from 0 without gaps, int64, by part, and the names of classes. Raises Refusal."""
    values = sorted({*labels["train"].tolist()}, key=lambda value: natural(str(value))
                    if isinstance(value, str) else value)
    count = len(values)
    if not 2 <= count <= sources.MOST_CLASSES:
        refuse(where, f"it has {count:,} different labels to train on: {some(values)}",
               f"Give images of 2 to {sources.MOST_CLASSES:,} classes, or name labels by --labels")
    for label in {*labels.get("test", values[:0])} - {*values}:
        refuse(where, f"its test part has label {label}, and none to train on has",
               "Leave those images out, or give such to train on")
    listed = [array for name, array in found.arrays.items() if role_of(name, array) == "classes"]
    names = asked.classes or [found.classes.get(value, str(value)) for value in values]
    if not asked.classes and len(listed) == 1 and len(listed[0]) == count:
        names = [str(name) for name in listed[0]]
    if len(names) != count or len({*names}) < count or "" in names:
        refuse(where, f"classes={some(names)} are not {count} different names",
               f"Give one for each label of {some(values)}")
    changed = values != [*range(count)]
    found.said.append((f"labels {values[0]} to {values[-1]} became 0 to {count - 1}: " if changed
                       and not isinstance(values[0], str) else f"{count} classes: ") + some(names))
    return {part: pd.Categorical(some_labels, categories=values).codes.astype(np.int64)
            for part, some_labels in labels.items()}, names


def to_shape(where: str, images: np.ndarray, count: int, found: Found, asked: Asked) -> np.ndarray:
    """Images of any type as (N, H, W) or (N, H, W, 3). Raises Refusal."""
    shape = images.shape
    if len(images) != count and shape[-1] == count and images.ndim > 2:  # as in MATLAB
        images = np.moveaxis(images, -1, 0)
    if len(images) != count:
        refuse(where, f"there are {shape[0]:,} images of shape {shape[1:]} and {count:,} labels",
               "Give a label for each image")
    if images.ndim == 2:
        for channels in (1, 3):
            side = round((images.shape[1] / channels) ** 0.5)
            if channels * side ** 2 == images.shape[1]:
                ends = ((side, side, channels) if asked.channels == "last" else
                        (channels, side, side))
                if channels == 3 and not asked.channels:
                    refuse(where, f"each image is a row of {images.shape[1]:,} = 3 x {side} x "
                           f"{side} numbers", "Say --channels first (all of red, then green) or "
                           "--channels last (red, green and blue of each pixel)")
                images = images.reshape(count, *(ends if channels == 3 else ends[:0] + (side,) * 2))
                break
        else:
            refuse(where, f"each image is a row of {images.shape[1]:,} numbers, no square of 1 or "
                   "3 channels", "Give them as height x width, or leave out what is no pixel")
    if images.ndim == 4:
        ends = [end for end, axis in (("first", 1), ("last", 3)) if images.shape[axis] in (1, 3)]
        if asked.channels in ends:
            ends = [asked.channels]
        if len(ends) != 1:
            refuse(where, f"images of shape {shape} have channels first or last"
                   if ends else f"images have shape {shape}, with neither 1 nor 3 channels",
                   "Say --channels first or --channels last" if ends else
                   "Give grey images, or red, green and blue")
        images = np.moveaxis(images, 1, 3) if ends == ["first"] and shape[1:] else images
        images = images[..., 0] if images.shape[3] == 1 else images
    if images.ndim not in (3, 4) or not {*images.shape[1:3]} <= {*SIDES}:
        refuse(where, f"images have shape {shape}, not N x height x width of 4 to 1,024 pixels",
               "Give such, or pictures and a --size")
    return images.swapaxes(1, 2) if found.transposed != asked.transpose else images


def to_bytes(where: str, images: dict[str, np.ndarray], found: Found,
             asked: Asked) -> dict[str, np.ndarray]:
    """Images as uint8, of the size asked for, grey ones without channels. Raises Refusal."""
    black, white = levels = find_levels(where, list(images.values()), found, asked)
    made, lost = {}, 0.0
    for part, array in images.items():
        shape = (len(array), *(asked.size or array.shape[1:3]), *array.shape[3:])
        try:
            check_memory(int(np.prod(shape)))
        except ValueError as error:
            refuse(where, str(error), "Say a smaller --size, or give fewer images")
        made[part] = np.empty(shape, np.uint8)
        for start in tqdm(range(0, len(array), STEP), part, delay=2, leave=False):
            some_images = array[start:start + STEP]
            if some_images.dtype != np.uint8 or levels != (0, 255):
                exact = (some_images.astype(np.float64) - black) * (255 / (white - black))
                some_images = np.rint(exact).clip(0, 255)
                lost = max(lost, np.abs(some_images - exact).max())
                some_images = some_images.astype(np.uint8)
            if some_images.shape[1:3] != shape[1:3]:
                some_images = np.stack([ImageOps.fit(
                    Image.fromarray(image), shape[2:0:-1], Image.Resampling.LANCZOS)
                    for image in some_images])
            made[part][start:start + STEP] = some_images
    if lost > 0.5 + 1e-9:
        refuse(where, f"with levels {black:g} to {white:g} a pixel is off by {lost:,.1f} of 255 "
               "grey levels", "Give the values of black and white by --levels")
    if levels != (0, 255) or lost:
        found.said.append(f"black is {black:g} and white {white:g}, as bytes 0 and 255: " + (
            f"rounded by up to {lost:.2f} grey levels" if lost > 0.001 else "nothing is lost"))
    if asked.size and not found.pictures:
        found.said.append("of each image the middle was scaled to {} x {}".format(*asked.size))
    grey = all(array.ndim == 4 and all((array[..., 0] == array[..., i]).all() for i in (1, 2))
               for array in made.values())
    if grey:
        made = {part: np.ascontiguousarray(array[..., 0]) for part, array in made.items()}
    shapes = {array.shape[1:] for array in made.values()}
    if len(shapes) > 1:
        refuse(where, f"images have shapes {some(shapes)} in its parts", "Say one for all by "
               "--size, and give either colours or grey")
    kind = "colour" if len(next(iter(shapes))) == 3 else "grey"
    turned = ", rows and columns exchanged" if found.transposed != asked.transpose else ""
    found.said.append(f"{kind} images of {' x '.join(map(str, [*shapes][0][:2]))} (height x width)"
                      + turned)
    return made


def find_levels(where: str, arrays: Sequence[np.ndarray], found: Found,
                asked: Asked) -> tuple[float, float]:
    """The values of black and white in images. Raises Refusal where that is unclear."""
    if any(array.size == 0 for array in arrays):
        refuse(where, "a part of it has no images", "Give some")
    low, high = (float(least([least(array) for array in arrays])) for least in (np.min, np.max))
    if not np.isfinite([low, high]).all():
        refuse(where, "a pixel is not a number or infinite", "Mend it where it came from")
    if asked.levels:
        return tuple(map(float, asked.levels))
    kinds = "".join(array.dtype.kind for array in arrays)
    if low >= 0 and (128 <= high <= 255 or found.pictures):
        return 0, 255
    if low >= 0 and 0 < high <= 1 and not {*kinds} & {*"iu"}:
        return 0, 1
    refuse(where, f"pixels go from {low:g} to {high:g}: which is black, and which white?",
           f"Say so, such as --levels {min(low, 0):g} {high:g}")


def describe_twins(parts: dict[str, tuple[np.ndarray, np.ndarray]],
                   order: dict[str, tuple[str, np.ndarray]], found: Found) -> list[str]:
    """How many test images are training images, too, and which: a line, or none."""
    def name(part: str, place: int) -> str:
        of, taken = order[part]
        return found.files[of][taken[place]] if of in found.files else f"{of}[{taken[place]}]"

    train, test = (parts[part][0] for part in ("train", "test"))
    seen = {hash(image.tobytes()): place for place, image in enumerate(train)}
    twins = [(place, seen[key]) for place, image in enumerate(test)
             if (key := hash(image.tobytes())) in seen and (train[seen[key]] == image).all()]
    if not twins:
        return []
    return [f"{len(twins):,} test images are training images, too: " + some(
        f"{name('test', place)} = {name('train', other)}" for place, other in twins)]
