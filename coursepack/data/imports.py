"""The converter: images in any common layout become an .npz that load_dataset() reads.

What readers leave, goes one way: which arrays are images and which labels, of which part; labels
from 0; bytes; channels last; one size. What was taken for what is said, and what could be either is
asked for: nothing is guessed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from coursepack import files
from coursepack.data import datasets, readers, sources
from coursepack.data.datasets import DATASETS, Dataset
from coursepack.data.readers import LABELS, SIDES, STEP, Asked, Found, natural, refuse, some

Image, ImageOps = files.Later("PIL.Image"), files.Later("PIL.ImageOps")
pd = files.Later("pandas")

SEED = 0  # of the order of images, and of those kept for the test
NAMES = {"classes", "names"}  # words of an array of names of classes
Part = tuple[np.ndarray, np.ndarray]  # images and labels


def import_data(source: str, name: str, *, replace: bool = False, data_dir: str = "",
                **asked: object) -> Dataset:
    """Convert images to name.npz in the data folder, and say what was taken for what.

    source: a file, a folder, or a name of readers.TORCHVISION; asked: see readers.Asked. Returns
    the data set as load_dataset(name) does. Raises ValueError for what is broken or unclear,
    OSError for what is not there or cannot be written; then nothing is.
    """
    wanted, target = check_asked(Asked(**asked)), check_target(name, data_dir, replace)
    found = readers.read_source(source, target.parent, wanted)
    parts, classes, origin = arrange(source, found, wanted)
    arrays = [array for part in ("train", "test") for array in parts[part]]
    data = datasets.make_dataset(name, "npz", [*arrays, np.array(classes)], source,
                                 "Give images that differ.")
    found.said += describe_twins(parts, origin, found)
    files.clear_rests(target.parent, target.name)
    files.replace_file(target, lambda path: np.savez(
        path, **dict(zip(sources.ARRAYS, arrays)), classes=np.array(classes)))
    print("\n".join(f"- {line}" for line in found.said))
    print(f"{data}\nwritten to {target}: dataset = {name!r}")
    return data


def check_asked(asked: Asked) -> Asked:
    """The same with size as two numbers or (), classes as a list. Raises Refusal."""
    size, classes = str(asked.size or ""), asked.classes
    sides = [int(side) for side in re.findall("[0-9]+", size)]
    if not re.fullmatch("([0-9]{1,4}(x[0-9]{1,4})?)?", size) or not {*sides} <= {*SIDES}:
        refuse(f"size={asked.size!r}", "it is no number of pixels from 1 to 1,024",
               "Choose one such as 64, or height and width such as 48x64")
    if asked.test is not None and not 0 < asked.test < 1:
        refuse(f"test={asked.test}", "it is no share", "Choose one between 0 and 1, such as 0.2")
    files.check_choice("channels", asked.channels or "last", ["first", "last"])
    if asked.levels and (len(asked.levels) != 2 or asked.levels[0] == asked.levels[1]):
        refuse(f"levels={asked.levels}", "it is not black and white", "Choose two, such as 0 255")
    if isinstance(classes, str):
        classes = classes.split(",") if classes else []
    return asked._replace(size=(sides * 2)[:2], classes=[text.strip() for text in classes])


def check_target(name: str, data_dir: str, replace: bool) -> Path:
    """The file to write, in a folder that can be written to. Raises Refusal, OSError."""
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name) or name.endswith(".npz"):
        refuse(f"name={name[:120]!r}", "it is no name for a data set",
               "Choose one of letters, digits, '_' and '-', without .npz")
    if name in DATASETS:
        refuse(f"name={name!r}", "it is that of a published data set",
               f"Choose another, such as own_{name}")
    folder = files.find_folder("data_dir", datasets.chosen_folder(data_dir) or "data")
    files.check_writable("data_dir", folder)
    for other in sources.names_in(folder):
        if other.casefold() == f"{name}.npz".casefold() and not (
                replace and other == f"{name}.npz"):
            refuse(folder / other, "it is there already", "Choose another name, or --replace")
    return folder / f"{name}.npz"


def arrange(source: str, found: Found, asked: Asked) -> tuple[
        dict[str, Part], list[str], dict[str, tuple[str, np.ndarray]]]:
    """Both parts; names of classes; for each part the name of its images, and which these are.

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
        share, kept = asked.test or 0.2, []
        for label, name in enumerate(classes):
            places = draw.permutation(np.flatnonzero(labels["train"] == label))
            if len(places) < 2:
                refuse(source, f"class {name} has one image, none to test on", "Give two or more")
            kept.append(places[:min(max(1, round(share * len(places))), len(places) - 1)])
        order["test"] = draw.permutation(np.concatenate(kept))
        order["train"] = draw.permutation(np.setdiff1d(order["train"], order["test"]))
        found.said.append(f"{100 * share:.3g} % of each class kept for the test, by chance: "
                          f"{len(order['test']):,} of {len(labels['train']):,}")
    elif asked.test:
        refuse(source, f"test={asked.test}, and there is a part to test on", "Leave it out")
    of = {part: part if part in chosen else "train" for part in order}
    for part, places in order.items():  # whoever takes a few of them gets some of each class
        if (np.diff(labels[of[part]][places]) >= 0).all():
            order[part] = draw.permutation(places)
            found.said.append(f"images to {part} on were sorted by class, and are mixed")
    return ({part: (images[of[part]][taken], labels[of[part]][taken])
             for part, taken in order.items()}, classes,
            {part: (chosen[of[part]][0], taken) for part, taken in order.items()})


# ------------------------------------------------------------- which arrays are what
def role_of(name: str, array: np.ndarray) -> str:
    """What an array is: "images", "labels", "classes" (names of labels) or ""."""
    words = readers.words_of(name)
    if words & NAMES:
        return "classes" if array.ndim == 1 else ""
    if array.ndim and (words & LABELS or array.size == len(array) or is_one_hot(array)):
        return "labels"
    return "images" if array.ndim > 1 and array.dtype.kind in "biuf" else ""


def is_one_hot(array: np.ndarray) -> bool:
    """Has each row one 1 and else 0?"""
    return (array.ndim == 2 and array.shape[1] <= sources.MOST_CLASSES
            and array.dtype.kind in "biuf" and all(
                bool(((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all())
                for rows in (array[i:i + STEP] for i in range(0, len(array), STEP))))


def choose(source: str, found: Found, asked: Asked) -> dict[str, tuple[str, np.ndarray]]:
    """By part, the name of its images, and its labels: of "train" alone, if nothing says parts."""
    roles: dict[str, dict[str, list[str]]] = {}  # by part and role, names of arrays
    for name, array in found.arrays.items():
        part = readers.part_of(name.rsplit("/", 1)[-1]) or readers.part_of(name)
        roles.setdefault(part, {}).setdefault(role_of(name, array), []).append(name)
    images = [name for role in roles.values() for name in role.get("images", [])]
    if not any("labels" in role for role in roles.values()) and len(images) > 1 and not all(
            map(readers.part_of, images)):
        return by_file(source, images, found)
    both = {part: role for part, role in roles.items() if {"images", "labels"} <= {*role}}
    if not both:
        refuse(source, f"no part has images and labels: {some(found.arrays)}",
               "Give a file or folder that has both, or say --images and --labels")
    if "train" not in both:
        both["train"] = both.pop("" if "" in both else next(iter(both)))
    if "test" not in both and "validation" in both:
        both["test"] = both.pop("validation")
        found.said.append("its validation part is taken for the test")
    chosen, used = {}, [name for role in roles.values() for name in role.get("classes", [])]
    for part in ("train", "test"):
        if part in both:
            image, label = (
                readers.pick(source, role, both[part][role], named)
                for role, named in (("images", asked.images),
                                    ("labels", "" if found.labelled else asked.labels)))
            chosen[part] = image, found.arrays[label]
            used += [image, label]
            found.said.append(f"{part}: images of {image}, labels of {label}")
    if left := [name for name in found.arrays if name not in used]:
        found.said.append(f"left out: {some(left)}")
    return chosen


def by_file(source: str, names: Sequence[str], found: Found) -> dict[str, tuple[str, np.ndarray]]:
    """As choose(), where each array is a class, called as its file but for how all begin."""
    arrays = [found.arrays.pop(name) for name in names]
    if len({array.shape[1:] for array in arrays}) > 1:
        refuse(source, f"it has no labels, and {some(names)} differ in shape", "Give both")
    readers.need_memory(source, sum(array.nbytes for array in arrays))
    found.arrays["images"] = np.concatenate(arrays)
    begin = re.search(r"^(.*[_\-/])?", os.path.commonprefix([*names])).end()
    labels = np.repeat([name[begin:] for name in names], [len(array) for array in arrays])
    found.said.append(f"there are no labels, so a class for each of {some(names)}")
    return {"train": ("images", labels)}


def plain_labels(where: str, labels: np.ndarray, found: Found) -> np.ndarray:
    """Labels as integers or texts (N,), of one-hot, whole floats, (N, 1), bytes. Raises Refusal."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif is_one_hot(labels):
        found.said.append(f"labels are one-hot, of {labels.shape[1]} classes")
        labels = labels.argmax(1)
    if labels.ndim != 1:
        refuse(where, f"labels have shape {labels.shape}, several for an image or none",
               "Give one for each image, or name another array by --labels")
    if labels.dtype.kind not in "biuf":
        labels = np.strings.strip(np.array([
            label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
            for label in labels.tolist()]))
        for place in np.flatnonzero(labels == ""):
            refuse(where, f"image {place} has no label", "Give it one, or leave it out")
        return labels
    for wrong in labels[labels != np.rint(labels.astype(float))]:
        refuse(where, f"a label is {wrong:g}, no whole number", "Give classes, not amounts")
    labels = labels.astype(np.int64)
    if labels.min(initial=0) < 0 and {*np.unique(labels).tolist()} != {-1, 1}:
        refuse(where, f"a label is {labels.min()}, which often means that an image has none",
               "Leave those images out")
    return labels


def number_labels(where: str, labels: dict[str, np.ndarray], found: Found,
                  asked: Asked) -> tuple[dict[str, np.ndarray], list[str]]:
    """Labels from 0 without gaps, int64, by part, and the names of classes. Raises Refusal."""
    values = {*labels["train"].tolist()}
    texts = any(isinstance(value, str) for value in values)
    values = sorted(values, key=natural if texts else None)
    count = len(values)
    if not 2 <= count <= sources.MOST_CLASSES:
        refuse(where, f"it has {count:,} different labels to train on: {some(values)}",
               f"Give images of 2 to {sources.MOST_CLASSES:,} classes, or name labels by --labels")
    for label in {*labels.get("test", labels["train"]).tolist()} - {*values}:
        refuse(where, f"its test part has label {label}, and none to train on has",
               "Leave those images out, or give such to train on")
    names = asked.classes or [found.classes.get(value, str(value)) for value in values]
    for name, array in found.arrays.items():
        if not asked.classes and role_of(name, array) == "classes" and len(array) == count:
            names = [*map(str, array)]
    if len(names) != count or len({*names}) < count or "" in names:
        refuse(where, f"classes={some(names)} are not {count} different names",
               f"Give one for each label of {some(values)}")
    found.said.append((f"{count} classes: " if texts or values == [*range(count)] else
                       f"labels {values[0]} to {values[-1]} became 0 to {count - 1}: ")
                      + some(names))
    return {part: pd.Categorical(of_part, categories=values).codes.astype(np.int64)
            for part, of_part in labels.items()}, names


# ------------------------------------------------------------------ shape and bytes
def to_shape(where: str, images: np.ndarray, count: int, found: Found, asked: Asked) -> np.ndarray:
    """Images of any type as (N, H, W) or (N, H, W, 3). Raises Refusal."""
    shape = images.shape
    if len(images) != count and shape[-1] == count and images.ndim > 2:  # as in MATLAB
        images = np.moveaxis(images, -1, 0)
    if len(images) != count:
        refuse(where, f"there are {len(images):,} images of shape {shape[1:]} and {count:,} labels",
               "Give a label for each image")
    if images.ndim == 2:
        squares = [(channels, side) for channels in (1, 3)
                   if channels * (side := round((shape[1] / channels) ** 0.5)) ** 2 == shape[1]]
        if not squares:
            refuse(where, f"each image is a row of {shape[1]:,} numbers, no square of 1 or 3 "
                   "channels", "Give them as height x width, or leave out what is no pixel")
        [(channels, side)] = squares
        last = asked.channels == "last" or channels == 1
        images = images.reshape(count, *((side, side, channels) if last else
                                         (channels, side, side)))
    if images.ndim == 4:
        ends = ["first", "last"] if images.ndim > len(shape) and channels == 3 else [
            end for end, axis in (("first", 1), ("last", 3)) if images.shape[axis] in (1, 3)]
        ends = [asked.channels] if asked.channels in ends else ends
        if len(ends) != 1:
            refuse(where, f"images have shape {shape}: " + (
                "channels first or last" if ends else "neither 1 nor 3 channels"),
                   "Say --channels first or --channels last" if ends else
                   "Give grey images, or red, green and blue")
        images = np.moveaxis(images, 1, 3) if ends == ["first"] else images
        images = images[..., 0] if images.shape[3] == 1 else images
    if images.ndim not in (3, 4) or not {*images.shape[1:3]} <= {*SIDES}:
        refuse(where, f"images have shape {shape}, not N x height x width of up to 1,024 pixels",
               "Give such, or pictures and a --size")
    return images.swapaxes(1, 2) if found.transposed != asked.transpose else images


def to_bytes(where: str, images: dict[str, np.ndarray], found: Found,
             asked: Asked) -> dict[str, np.ndarray]:
    """Images as uint8, of the size asked for, grey ones without channels. Raises Refusal."""
    black, white = levels = find_levels(where, list(images.values()), found, asked)
    made, off = {}, 0.0
    for part, array in images.items():
        shape = (len(array), *(asked.size or array.shape[1:3]), *array.shape[3:])
        readers.need_memory(where, int(np.prod(shape)))
        made[part] = np.empty(shape, np.uint8)
        for start in tqdm(range(0, len(array), STEP), part, delay=2, leave=False):
            step = array[start:start + STEP]
            if step.dtype != np.uint8 or levels != (0, 255):
                exact = (step.astype(np.float64) - black) * (255 / (white - black))
                step = np.rint(exact).clip(0, 255)
                off = max(off, np.abs(step - exact).max())
                step = step.astype(np.uint8)
            if step.shape[1:3] != shape[1:3]:
                step = np.stack([ImageOps.fit(Image.fromarray(image), shape[2:0:-1],
                                              Image.Resampling.LANCZOS) for image in step])
            made[part][start:start + STEP] = step
    if off > 0.5 + 1e-9:
        refuse(where, f"with black {black:g} and white {white:g} a pixel is off by {off:,.1f} of "
               "255 grey levels", "Say --levels and the values of black and of white")
    if levels != (0, 255) or off:
        found.said.append(f"black is {black:g} and white {white:g}, as bytes 0 and 255: " + (
            f"rounded by up to {off:.2f} grey levels" if off > 0.001 else "nothing is lost"))
    if all(array.ndim == 4 and (array == array[..., :1]).all() for array in made.values()):
        made = {part: array[..., 0] for part, array in made.items()}
    shapes = {array.shape[1:] for array in made.values()}
    if len(shapes) > 1:
        refuse(where, f"images have shapes {some(shapes)} in its parts",
               "Say one --size for all, and give either colours or grey")
    [shape] = shapes
    scaled = ", the middle of each, scaled" if asked.size and not found.pictures else ""
    turned = ", rows and columns exchanged" if found.transposed != asked.transpose else ""
    found.said.append(f"{'colour' if shape[2:] else 'grey'} images of {shape[0]} x {shape[1]} "
                      f"(height x width){scaled}{turned}")
    return made


def find_levels(where: str, arrays: Sequence[np.ndarray], found: Found,
                asked: Asked) -> tuple[float, float]:
    """The values of black and of white in images. Raises Refusal where they are unclear."""
    if not all(array.size for array in arrays):
        refuse(where, "a part of it has no images", "Give some")
    low, high = (float(end([end(array) for array in arrays])) for end in (np.min, np.max))
    if not np.isfinite([low, high]).all():
        refuse(where, "a pixel is infinite or no number", "Mend it where it came from")
    if asked.levels:
        return float(asked.levels[0]), float(asked.levels[1])
    if low >= 0 and (128 <= high <= 255 or found.pictures):
        return 0, 255
    if low >= 0 and 0 < high <= 1 and not any(array.dtype.kind in "iu" for array in arrays):
        return 0, 1
    return refuse(where, f"pixels go from {low:g} to {high:g}: which is black, and which white",
                  f"Say so, such as --levels {min(low, 0):g} {high:g}")


def describe_twins(parts: dict[str, Part], origin: dict[str, tuple[str, np.ndarray]],
                   found: Found) -> Iterable[str]:
    """How many test images are training images, too, and which: a line, or none."""
    def name(part: str, place: int) -> str:
        of, taken = origin[part]
        return found.files[of][taken[place]] if of in found.files else f"{of}[{taken[place]}]"

    (train, _), (test, _) = parts["train"], parts["test"]
    seen = {hash(image.tobytes()): place for place, image in enumerate(train)}
    twins = [f"{name('test', place)} = {name('train', seen[key])}"
             for place, image in enumerate(test) if (key := hash(image.tobytes())) in seen
             and (train[seen[key]] == image).all()]
    return [f"{len(twins):,} test images are training images, too: {some(twins)}"] if twins else []
