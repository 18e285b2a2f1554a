"""What the converter does not take: unclear, broken or hostile. Rows for test_refusals.py."""

import gzip
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from types import SimpleNamespace
from unittest import mock

import numpy as np
import scipy.io
from helpers import arrays
from PIL import Image
from refused import NO_FILES, Trap, rows, tool

from coursepack.data import imports, readers


def convert(write, during=None, name="own", **asked):
    """Converts what write puts into a folder; leaves nothing where the .npz would be."""
    def call(folder):
        place, out = folder / "in", folder / "out"
        place.mkdir()
        made = write if isinstance(write, str) else write(place)
        with during or mock.patch.dict({}):
            try:
                imports.import_data(str(made or place), name, data_dir=str(out), **asked)
            finally:
                assert not out.exists() or os.listdir(out) in ([], [".download.lock"])
    return call


def npz(*left_out, **changes):
    return lambda folder: np.savez(folder / "data.npz", **{
        key: value for key, value in arrays(**changes).items() if key not in left_out})


def both(change):
    """The same change of images to train and to test on."""
    return npz(x_train=change, x_test=change)


def file(name, content):
    """A file of these bytes, which is the source."""
    def write(folder):
        (folder / name).write_bytes(content)
        return folder / name
    return write


def table(*lines, name="data.csv"):
    return file(name, "\n".join(lines).encode())


def photos(spoil=lambda folder: None, size=(16, 16), form="{label}/{i}.png"):
    """Six pictures of two classes, of which something is spoiled."""
    def write(folder):
        for i in range(6):
            place = folder / form.format(label="ab"[i % 2], i=i)
            place.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(i).integers(256, size=(*size, 3), dtype=np.uint8)
            Image.fromarray(noise).save(place)
        spoil(folder)
    return write


def bomb(folder):
    """A PNG that claims 400 million pixels."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(
            ">I", zlib.crc32(kind + content))
    (folder / "a" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(2**20))) + chunk(b"IEND", b""))


def climbing(folder):
    """An archive that would write outside of its folder."""
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        archive.writestr("../../outside.png", b"outside")
    return folder / "data.zip"


def tar(folder):
    with tarfile.open(folder / "cifar-10-python.tar", "w") as archive:
        archive.add(__file__, "../outside.py")
    return folder / "cifar-10-python.tar"


def npz_bomb(folder):
    np.savez_compressed(folder / "data.npz", x=np.zeros((1000, 99, 99), np.uint8), y=np.ones(1000))


def mat_bomb(folder):
    scipy.io.savemat(folder / "data.mat", {"X": np.zeros((99, 99, 99))}, do_compression=True)


HEAD = ",".join(["label", *(f"pixel{i}" for i in range(64))])
LINES = [",".join([str(i % 4), *(str((i * k) % 256) for k in range(64))]) for i in range(40)]
LITTLE = mock.patch("psutil.virtual_memory", return_value=SimpleNamespace(available=50_000))
ARRAYS = [
    ("two arrays that could be the images", npz(extra_train=np.zeros((30, 8, 8), np.uint8)),
     "images='': they could be", "--images"),
    ("two arrays that could be the labels", npz(y_fine_train=np.arange(30), y_train=None,
                                                y_coarse_train=np.arange(30)), "--labels"),
    ("channels that could be first or last", both(lambda x: np.stack([x[:, :3]] * 3, 3)),
     "--channels first or --channels last"),
    ("rows of colours", both(lambda x: np.tile(x.reshape(len(x), -1), 3)), "--channels first"),
    ("four channels", both(lambda x: np.stack([x] * 4, 3)), "neither 1 nor 3 channels"),
    ("rows that are no square", both(lambda x: x.reshape(len(x), -1)[:, 1:]), "783 numbers, no"),
    ("pixels of 0 to 16", both(lambda x: x // 16), "which is black", "--levels 0 15"),
    ("standardized pixels", both(lambda x: (x - 127.5) / 80), "pixels go from -1.59", "--levels"),
    ("a pixel that is no number", both(lambda x: np.where(x == x[0, 0, 0], np.nan, x)), "number"),
    ("fewer labels than images", npz(y_train=np.arange(29) % 10), "30 images", "29 labels"),
    ("several labels an image", npz(y_train=np.ones((30, 5))), "several for an image"),
    ("labels with halves", npz(y_train=np.arange(30) / 2), "0.5, no whole number"),
    ("a label below 0", npz(y_train=np.arange(30) % 10 - 1), "a label is -1", "has none"),
    ("a label that is empty", npz(y_train=np.array(["a", "b", ""] * 10)), "image 2 has no label"),
    ("a test label that is new", npz(y_test=np.arange(20)), "label 1", "none to train on has"),
    ("one class", npz(y_train=np.zeros(30, int), y_test=np.zeros(20, int)), "1 different labels"),
    ("numbers of images as labels", lambda folder: np.savez(
        folder / "data.npz", x=np.zeros((1001, 8, 8), np.uint8), y=np.arange(1001)), "1,001 diff"),
    ("a class of one image, and no test part", npz(
        "x_test", "y_test", y_train=np.minimum(np.arange(30), 1)), "class 0 has one image"),
    ("no labels", npz("y_train", "y_test"), "no part has images and labels"),
    ("images of one flat grey", both(lambda x: np.full_like(x, 200)), "one flat grey"),
    ("images of another size to test on", npz(x_test=lambda x: x[:, 1:]), "27, 28", "--size"),
    ("an object that runs code", npz(x_train=np.array([Trap()], dtype=object)), "data.npz"),
]
FILES = [
    ("pickle", file("data.pkl", pickle.dumps(Trap(), 4)), "pickle, which may run code"),
    ("file of torch.save", lambda folder: zipfile.ZipFile(
        folder / "data.pt", "w").writestr("data/data.pkl", pickle.dumps(Trap())), "pickle, which"),
    ("archive that writes outside of its folder", climbing, "archive", "Unpack it"),
    ("tar that writes outside of its folder", tar, "archive", "Unpack it"),
    ("packed file of something else", file("data.gz", gzip.compress(b"\0" * 99)), "archive"),
    ("HDF5 file", file("data.mat", b"\x89HDF\r\n\x1a\n"), "HDF5", "numpy.savez"),
    ("picture alone", lambda folder: (photos()(folder), folder / "a" / "0.png")[1], "picture",
     "folder of its name"),
    ("text", file("notes.txt", b"of these images"), "text"),
    ("program", file("data.exe", b"MZ\x90\0"), "begins with 4d5a9000"),
    ("MATLAB file cut short", lambda folder: (
        scipy.io.savemat(folder / "a.mat", {"X": np.zeros((9, 9, 9)), "y": np.arange(9)}),
        os.truncate(folder / "a.mat", 300))[:0], "a.mat: it is no readable mat file"),
    (".npy cut short", lambda folder: (np.save(folder / "a.npy", np.zeros((9, 9))), os.truncate(
        folder / "a.npy", 300))[:0], "a.npy: it is no readable npy file"),
    (".npz that unpacks to more than memory", npz_bomb, "GB of memory", LITTLE),
    ("MATLAB file that unpacks to more than memory", mat_bomb, "GB of memory", LITTLE),
    ("table of more than memory", lambda folder: (folder / "data.csv").write_text(
        "\n".join([HEAD, *LINES * 20]), encoding="utf-8") and None, "GB of memory", LITTLE),
    ("pipe", lambda folder: (os.mkfifo(folder / "data.csv"), folder / "data.csv")[1], "a pipe"),
    ("Parquet file without pyarrow", file("data.parquet", b"PAR1"), "pip install pyarrow",
     mock.patch.dict("sys.modules", pyarrow=None)),
]
TABLES = [
    ("a line that lacks pixels", (HEAD, *LINES, "1,2,3"), "line 42", "65 columns"),
    ("a word for a pixel", (HEAD, *LINES, LINES[1].replace("63", "dark")), "'dark' in line 42"),
    ("a pixel that is missing", (HEAD, *LINES, LINES[1].replace(",5,", ",,")), "line 42"),
    ("labels that could be first or last", LINES, "or --labels first or last"),
    ("no column of that name", (HEAD, *LINES), "labels='digit'", {"labels": "digit"}),
    ("a header alone", (HEAD, ""), "data.csv"),
    ("no line of a usual length", ("1,2,3," * 2**22,), "a line has more than 16,777,216 bytes"),
]
PICTURES = [
    ("of several sizes", photos(lambda folder: Image.new("RGB", (9, 8)).save(folder / "b/7.png")),
     "9 x 8 pixels, and others 16 x 16", "--size 64"),
    ("in no folder of a class", photos(form="{i}.png"), "6 pictures lie in no folder of a class"),
    ("beside folders of classes", photos(lambda folder: Image.new("RGB", (16, 16)).save(
        folder / "7.png")), "1 pictures lie in no folder"),
    ("of one class", photos(form="a/{i}.png"), "1 different labels"),
    ("in train, in test and elsewhere", photos(lambda folder: [
        photos(form=f"{part}/{{label}}/{{i}}.png")(folder) for part in ("train", "test")]),
     "beside train and test there is a, b"),
    ("of which one is a page of a website", photos(
        lambda folder: (folder / "a/0.png").write_bytes(b"<html>404</html>")), "a/0.png: it is no"),
    ("of which one is cut short", photos(lambda folder: os.truncate(folder / "a/0.png", 99)),
     "a/0.png", "Remove it"),
    ("of which one has 400 million pixels", photos(bomb), "a/0.png", "decompression bomb"),
    ("behind a link that is endless", photos(
        lambda folder: (folder / "a/again").symlink_to(folder)), "again: it is a link to a folder"),
    ("too many", photos(), "more than 5 files", mock.patch.object(readers, "MOST_FILES", 5)),
    ("more than memory holds", photos(size=(128, 128)), "GB of memory", "--size", LITTLE),
]
OPTIONS = [
    ({"size": "64 by 64"}, "no number of pixels"), ({"size": 2000}, "from 1 to 1,024"),
    ({"test": 20}, "between 0 and 1"), ({"test": 0.2}, "there is a part to test on"),
    ({"channels": "middle"}, "first, last"), ({"levels": (0, 0)}, "not black and white"),
    ({"levels": (0, 100)}, "off by"), ({"classes": "a,b"}, "not 10 different names"),
    ({"labels": "nowhere"}, "labels='nowhere'"), ({"name": "../own"}, "no name for a data set"),
    ({"name": "mnist"}, "published"), ({"split": "letters"}, "no file in it")]


def there(folder):
    (folder / "own.npz").write_bytes(b"somebody's")
    try:
        tool("import_data", f"{folder} own --data_dir {folder}")(folder)
    finally:
        assert (folder / "own.npz").read_bytes() == b"somebody's"


def tried(what, write, *more):
    """A row: words of the message, and perhaps what is asked or a patch during it."""
    asked = next((one for one in more if isinstance(one, dict)), {})
    during = next((one for one in more if hasattr(one, "__enter__")), None)
    return what, convert(write, during, **asked), *(one for one in more if isinstance(one, str))


CASES = rows("Own images", [
    *[tried(f".npz with {what}", *row) for what, *row in ARRAYS],
    *[tried(f"a {what}", *row) for what, *row in FILES],
    *[tried(f"data.npz is {what}", lambda folder, spoil=spoil: (
        npz()(folder), spoil(folder / "data.npz"))[:0], "in") for what, spoil in NO_FILES.items()],
    *[tried(f"a table with {what}", table(*lines), *row) for what, lines, *row in TABLES],
    *[tried(f"pictures {what}", *row) for what, *row in PICTURES],
    *[tried(f"converted with {asked}", npz(), asked, *words) for asked, *words in OPTIONS],
    ("a folder that is not there", convert("no-such-photos"), "no-such-photos", "emnist"),
    ("torchvision's EMNIST without its part", convert("emnist"), "--split", "letters"),
    ("a name that is there already", there, "own.npz: it is there already", "--replace"),
])
