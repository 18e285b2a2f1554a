"""Your own images, of any common layout, as a data set of the course: data/NAME.npz.

    python tools/import_data.py photos flowers --size 64

It says what it took for what, and leaves ten of the images with their labels in data/NAME.png.
What is unclear it asks for, by one of its options.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from coursepack import files  # noqa: E402
from coursepack.data import datasets, imports, readers  # noqa: E402
from coursepack.show import looks, pictures  # noqa: E402

OPTIONS = {  # what --help says of the options that are Asked's
    "size": "pixels that images are scaled to, such as 64, or 48x64 (height x width)",
    "test": "share of each class kept for the test, where the source has no test part (0.2)",
    "labels": "array or column of labels: its name, or first or last",
    "images": "array or column of images: its name",
    "split": "of several data sets in one place the one with this in its name",
    "channels": "first or last",
    "levels": "the values of black and of white, such as 0 16",
    "classes": "names in the order of their labels, with commas between",
    "transpose": "exchange rows and columns of each image",
}
KINDS = {"test": {"type": float}, "levels": {"type": float, "nargs": 2, "metavar": "VALUE"},
         "transpose": {"action": "store_true"}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a file, a folder, or one of torchvision's data sets: "
                                       f"{', '.join(readers.TORCHVISION)}")
    parser.add_argument("name", help="of the data set, for dataset = NAME in a notebook")
    for option, text in OPTIONS.items():
        parser.add_argument(f"--{option}", help=text, default=readers.Asked._field_defaults[option],
                            **KINDS.get(option, {}))
    parser.add_argument("--replace", action="store_true", help="what is there of this name")
    parser.add_argument("--data_dir", default="", help="folder to write to (DATA_DIR, else data/)")
    args = parser.parse_args()
    try:
        data = imports.import_data(**vars(args))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    looks.set_up()
    place = datasets.find_dataset(args.name, args.data_dir)[1].with_suffix(".png")
    files.replace_file(place, pictures.plot_samples(data).savefig)
    print(f"ten of its images: {place}")


if __name__ == "__main__":
    main()
