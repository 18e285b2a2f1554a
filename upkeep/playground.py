"""What the page on which networks train is made of: compiled, drawn and exported from the course.

One script, playground-data.js, holds all of it, so that the page works from a disk, too:
trainer.c as WebAssembly, the thread's script, the packaged digits as one picture, and the networks.
"""

import base64
import io
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from readme import write

import model
from coursepack.data.datasets import SAMPLE, Dataset, load_dataset
from coursepack.files import ROOT
from coursepack.show.looks import LOOKS

SOURCES = ROOT / "site" / "playground"
COMPILER = os.environ.get("ZIG", f"{shlex.quote(sys.executable)} -m ziglang")
FLAGS = ("--target=wasm32-wasi", "-mexec-model=reactor", "-Wl,--no-entry", "-Wl,--strip-all",
         "-Wl,-z,stack-size=65536", "-O3", "-msimd128", "-Wall", "-Werror")
ACROSS = 100  # digits in a row of the picture
BASE = "mnist_8k"
DEPTHS = {  # networks by their blocks, as rows of BASE: read here, and by whoever runs the cell
    "mnist_8k": (5, "rows"),
    "mnist_shallow": (2, "rows[:3] + (rows[6]._replace(channels=16), rows[7])"),
    "mnist_deep": (10, "rows[:5] + 5 * (rows[4]._replace(padding=1),) + rows[5:]"),
}


def networks() -> dict[str, dict[str, object]]:
    """The table of each network: [layer, channels, kernel, padding, after] a row, and its order."""
    spec = model.ARCHITECTURES[BASE]
    return {name: {"blocks": blocks, "expression": expression, "size": spec.image[1],
                   "classes": 10, "order": spec.order.replace("-drop", ""),
                   "rows": [list(row) for row in eval(expression, {"rows": spec.rows})]}
            for name, (blocks, expression) in DEPTHS.items()}


def compile_trainer(source: Path = SOURCES / "trainer.c") -> bytes:
    """trainer.c as WebAssembly. Raises RuntimeError with what the compiler says."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "trainer.wasm"
        done = subprocess.run([*shlex.split(COMPILER), "cc", *FLAGS, "-o", made, source],
                              capture_output=True, encoding="utf-8")
        if done.returncode:
            raise RuntimeError(f"{source.name} was not compiled by {COMPILER}: {done.stderr}\n"
                               "It comes with site/requirements.txt; ZIG names another.")
        return made.read_bytes()


def picture(data: Dataset) -> bytes:
    """All images as one lossless WebP, ACROSS in a row: those to train on, then the others."""
    images = [*data.train_images[:, 0].numpy(), *data.test_images[:, 0].numpy()]
    height, width = images[0].shape
    whole = Image.new("L", (ACROSS * width, -(-len(images) // ACROSS) * height))
    for i, image in enumerate(images):
        whole.paste(Image.fromarray(image), (i % ACROSS * width, i // ACROSS * height))
    file = io.BytesIO()
    whole.convert("RGB").save(file, "WEBP", lossless=True, quality=100, method=6)
    return file.getvalue()


def dashes(line: str | tuple) -> list[int]:
    """A line style of matplotlib as lengths of dashes and gaps."""
    named = {"-": (), "--": (6, 3), "-.": (7, 3, 2, 3), ":": (2, 2)}
    return list(named[line] if isinstance(line, str) else line[1])


def write_data(folder: Path) -> None:
    """Write playground-data.js into a folder."""
    data = load_dataset(SAMPLE)
    labels = [*data.train_labels.tolist(), *data.test_labels.tolist()]
    parts = {
        "wasm": base64.b64encode(compile_trainer()).decode(),
        "worker": (SOURCES / "worker.js").read_text(encoding="utf-8"),
        "digits": "data:image/webp;base64," + base64.b64encode(picture(data)).decode(),
        "across": ACROSS, "labels": "".join(map(str, labels)), "train": len(data.train_labels),
        "mean": data.mean.item(), "std": data.std.item(), "networks": networks(), "base": BASE,
        "looks": {norm: {"short": look.short, "colour": look.colour, "dashes": dashes(look.line)}
                  for norm, look in LOOKS.items()}}
    write(folder / "playground-data.js", f"globalThis.PLAYGROUND = {json.dumps(parts)};\n")
