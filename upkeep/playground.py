"""What the page on which networks train is made of: compiled, drawn and exported from the course.

    playground.py     how fast it is beside PyTorch, after make site: results/playground.md

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
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from readme import markdown_table, write, write_page
from slides import chromium

import model
from coursepack.data.datasets import SAMPLE, Dataset, load_dataset
from coursepack.files import ROOT
from coursepack.show.looks import LOOKS, set_up
from coursepack.train import batches, loop, updates
from coursepack.train.recipe import Recipe

SOURCES = ROOT / "site" / "playground"
COMPILER = os.environ.get("ZIG", f"{shlex.quote(sys.executable)} -m ziglang")
FLAGS = ("--target=wasm32-wasi", "-mexec-model=reactor", "-Wl,--no-entry", "-Wl,--strip-all",
         "-Wl,-z,stack-size=65536", "-O3", "-msimd128", "-Wall", "-Werror")
ACROSS = 100  # digits in a row of the picture
# The page's two grounds, and how much contrast a norm's own colour has with each at least.
GROUNDS = {"light": ("#ffffff", 3.1), "dark": ("#121212", 5)}
CONTRASTS = (10, 3.1, 5.2, 17)  # of the second to fourth network with one norm
BASE = "mnist_8k"
DEPTHS = {  # networks by their blocks, as rows of BASE: read here, and by whoever runs the cell
    "mnist_8k": (5, "rows"),
    "mnist_shallow": (2, "rows[:3] + (rows[6]._replace(channels=16), rows[7])"),
    "mnist_deep": (10, "rows[:6] + 5 * (rows[5]._replace(padding=1),) + rows[6:]"),
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
    named = {"-": (), "--": (7, 3), "-.": (7, 3, 2, 3), ":": (2, 3)}
    return list(named[line]) if isinstance(line, str) else [2 * length for length in line[1]]


def linear(colour: str) -> np.ndarray:
    """Red, green and blue as amounts of light, from 0 to 1."""
    values = np.array(to_rgb(colour))
    return np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)


def brightness(colour: np.ndarray) -> float:
    """Of linear red, green and blue; two such numbers are a contrast, as WCAG has it."""
    return colour @ (0.2126, 0.7152, 0.0722) + 0.05


def shades(colour: str, ground: str, least: float) -> list[str]:
    """Four colours of one hue, apart in their contrast with a ground.

    The first is the colour itself, if its contrast is at least `least`. The contrasts of the others
    are CONTRASTS, without the one nearest to the first's.
    """
    own, back = linear(colour), brightness(linear(ground))
    light = brightness(own)
    first = max(least, light / back, back / light)
    nearest = min(CONTRASTS, key=lambda other: abs(np.log(other / first)))
    found = []
    for contrast in [first, *(other for other in CONTRASTS if other != nearest)]:
        wanted = back / contrast if back > 0.5 else back * contrast
        end = float(wanted > light)  # mixed with black or white
        part = (wanted - light) / (1.05 * end + 0.05 * (1 - end) - light)
        new = own + part * (end - own)
        found.append(to_hex(np.where(new > 0.0031308, 1.055 * new ** (1 / 2.4) - 0.055,
                                     12.92 * new).clip(0, 1)))
    return found


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
        "looks": {norm: {"dashes": dashes(look.line)} | {
            theme: shades(look.colour, *GROUNDS[theme]) for theme in GROUNDS}
            for norm, look in LOOKS.items()}}
    write(folder / "playground-data.js", f"globalThis.PLAYGROUND = {json.dumps(parts)};\n")


# --------------------------------------------------------------------------- how fast it is
TURNS, SECONDS, BATCH = 7, 0.7, 64
BATCHES = 2, 64, 256  # of which the memory is asked
PAGE = ROOT / "build" / "site" / "playground.html"
READY = "document.querySelector('.playground').playground"
PREPARE = f"""([norm, batch]) => {{
  const own = {READY}, table = own.data.networks[own.data.base];
  const settings = {{ norm, groups: 4, order: "", batch_size: batch, init: "he", seed: 1 }};
  const module = new WebAssembly.Module(own.wasm);
  const network = globalThis.measured = new Network(module, table, 1000, settings, own.data);
  network.bytes(network.desk.images, 784000).set(own.pixels.subarray(0, 784000));
  network.bytes(network.desk.labels, 1000).set(own.labels.subarray(0, 1000));
  new Int32Array(network.trainer.memory.buffer, network.desk.order, 1000).set(
    [...Array(1000).keys()]);
}}"""
RUN = """([batch, seconds]) => {
  const { trainer } = globalThis.measured, begin = performance.now();
  let steps = 0;
  while (performance.now() - begin < 1000 * seconds)
    trainer.train(steps++ % 15 * batch, batch, 0.01, 0.9, 0, 0, 0, 0);
  return steps * batch / (performance.now() - begin) * 1000;
}"""
MEMORY = f"""([arch, batch]) => {{
  const own = {READY}, settings = {{ norm: "batch", groups: 4, order: "", batch_size: batch,
    init: "he", seed: 1, train_size: 4000, label_noise: 0, epochs: 1, lr: 0.1, schedule: "constant",
    momentum: 0.9, l1: 0, l2: 0 }};
  const training = new Training(new WebAssembly.Module(own.wasm),
    {{ ...own.data, pixels: own.pixels, labels: own.labels }}, own.data.networks[arch], settings);
  training.takeStep();
  return training.network.trainer.memory.buffer.byteLength;
}}"""


def torch_speed(norm: str, data: Dataset) -> float:
    """Images a second of PyTorch on one thread, the same steps: batch, forward, backward, step."""
    recipe = Recipe(dataset=SAMPLE, arch=BASE, norm=norm, groups=4, layer_affine="channel",
                    init="he", batch_size=BATCH, lr=0.01, augment="none", device="cpu")
    net = loop.build_model(recipe, data).to(memory_format=torch.channels_last)
    optimizer = loop.make_optimizer(net, recipe)
    parameters = updates.penalized_parameters(net)
    torch.set_num_threads(1)

    def steps(seconds: float) -> float:
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            used = slice(done % 15 * BATCH, (done % 15 + 1) * BATCH)
            loss = F.nll_loss(net(batches.to_input(data.train_images[used], data)),
                              data.train_labels[used])
            optimizer.zero_grad()
            loss.backward()
            loop.take_step(optimizer, parameters, recipe.lr, recipe)
            done += 1
        return done * BATCH / (time.perf_counter() - began)

    steps(SECONDS / 4)  # warm
    return steps(SECONDS)


def middle(values: list[float], form: str = "{:,.0f}") -> str:
    low, median, high = (form.format(f(values)) for f in (min, np.median, max))
    return f"{median} ({low} to {high})"


def measure_speed() -> None:
    """Write results/playground.md: images a second there and in PyTorch, bytes, seconds."""
    from playwright.sync_api import sync_playwright  # which no build needs
    set_up()
    data = load_dataset(SAMPLE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(),
                                             args=["--no-sandbox", "--disable-gpu"])
        opened, first = [], []
        for _ in range(5):
            page = browser.new_page()
            page.goto(f"{PAGE.as_uri()}#norm=batch,group,layer,none&batch_size=64")
            page.wait_for_function(READY)
            opened.append(page.evaluate("performance.getEntriesByName('playground')[0].startTime"))
            page.get_by_role("button", name="one step").click()
            page.wait_for_function(f"{READY}.networks.every((n) => n.points.length)")
            first.append(page.evaluate("performance.now()"))
        page.add_script_tag(path=SOURCES / "worker.js")
        rows = []
        for norm in model.NORMS:
            page.evaluate(PREPARE, [norm, BATCH])
            page.evaluate(RUN, [BATCH, SECONDS])  # compiled well by then
            pairs = [(page.evaluate(RUN, [BATCH, SECONDS]), torch_speed(norm, data))
                     for _ in range(TURNS)]
            here, torchs = map(list, zip(*pairs))
            ratios = [a / b for a, b in pairs]
            rows.append([norm, middle(here), middle(torchs), middle(ratios, "{:.2f}")])
            print(*rows[-1], flush=True)
        memory = [[f"`{arch}`", *(f"{page.evaluate(MEMORY, [arch, batch]) / 1e6:.1f}"
                                  for batch in BATCHES)] for arch in DEPTHS]
    table = markdown_table(["norm", "page", "PyTorch, one thread", "page / PyTorch"], rows)
    sizes = [(name, len((PAGE.parent / "_static" / name).read_bytes()))
             for name in ("playground-data.js", "playground.js")]
    bytes_ = markdown_table(["part", "kB"], [
        *([f"`{name}`", f"{size / 1e3:,.0f}"] for name, size in sizes),
        ["both", f"{sum(size for _, size in sizes) / 1e3:,.0f}"]])
    write_page("playground", f"""# How fast the page trains

[Train on the page](../site/playground.md) against PyTorch {torch.__version__} on one thread of the
same machine, in one process and by turns: `{BASE}`, batches of {BATCH}, SGD as on the page.
Images a second, medians of {TURNS} turns, ranges in brackets; a ratio is taken within a turn.

{table}

From the opening of the page, with four networks: {middle(opened, "{:,.0f}")} milliseconds until it
answers; {middle(first, "{:,.0f}")} until each has trained on its first batch and was tested on
1,000 images ({len(first)} times, the first of them with an empty cache).

{bytes_}

The data hold, in base64, the digits as WebP ({len(picture(data)) / 1e3:,.0f} kB) and the compiled
`trainer.c` ({len(compile_trainer()) / 1e3:,.0f} kB).

Memory of one network and its 5,000 images in MB, by the size of its batch; there are four networks
at most:

{markdown_table(["network", *(f"batch {batch}" for batch in BATCHES)], memory)}

Written by `upkeep/playground.py` after `make site`.
""")


if __name__ == "__main__":
    measure_speed()
