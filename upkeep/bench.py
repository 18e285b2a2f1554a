"""How fast is the training, measured against the loop that most write-ups use?

    bench.py                          everything: two to three hours on two cores with all of MNIST
    bench.py --parts steps            some parts: this makes the page steps.md, in an hour or more
    bench.py --trial                  with few images of the sample, some minutes

Every measurement is a process of its own; the cases of a part (CASES) take turns, and a ratio is
taken within a turn. The results go to bench.json in --out, beside earlier ones of the same machine
and numbers; report (a table of each part, TABLES) and figures are made of it alone.
"""

import contextlib
import cProfile
import json
import math
import os
import platform
import pstats
import re
import subprocess
import sys
import tempfile
import time
import timeit
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import psutil
import torch
import torch.nn.functional as F
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tools"))

from kernels import own_kernel
from readme import markdown_table, write
from steps import LOOP, STEPS

from coursepack.data.datasets import SAMPLE, Dataset, load_dataset
from coursepack.files import ROOT, check_writable, replace_file
from coursepack.lab.studies import notebook_defaults
from coursepack.runs.records import RECIPES
from coursepack.show.looks import LOOKS, set_up
from coursepack.threads import THREADS, set_up_torch
from coursepack.train import batches, loop
from coursepack.train.recipe import Recipe

FULL = Namespace(dataset="mnist", images=60_000, turns=3, changes={})
TRIAL = Namespace(dataset=SAMPLE, images=60, turns=1, changes={"epochs": 1})
DEFAULTS = {own["norm"]: {key: own[key] for key in ("norm", "l1", "l2", "lr")}
            for own in map(notebook_defaults, RECIPES.values())}  # the recipes, by norm
FEW = {"epochs": 4}  # what happens once a run shall not weigh much more than in 20 epochs
STUDENT = {"dropout": 0.1, "augment": "rotate", "penalize": "all", "lr": 0.01, "schedule": "step"}
QUICK = yaml.safe_load((ROOT / "notebooks" / "params" / "quick.yaml").read_bytes())
GOAL = 0.993  # test accuracy to reach, and to keep
BESIDE = "beside", "both"  # jobs that run beside a process that never rests: see measure
CASES = {  # of a part: a job of work(), what it changes in a notebook's recipe, 1/images
    "speed": {"student": ("student", STUDENT | {"epochs": 1}, 1),
              "default": ("pack", FEW, 1), "limit": ("limit", FEW, 1)},
    "profile": {"limit": ("limit", FEW, 1), "profile": ("profile", FEW, 1)},
    "growth": {(part, batch): ("pack", FEW | {"batch_size": batch}, part)
               for part, batch in [(12, 128), (4, 128), (1, 128), (4, 32), (4, 512)]},
    "busy": {job: (job, FEW, 1) for job in ("pack", *BESIDE)},
    "steps": {name: (name, STUDENT | ({"epochs": 1} if name in LOOP[1:] else {}), 1)
              for name in LOOP},  # a change of the loop is timed; what follows learns to the end
}
changed = STUDENT
for name in [*STEPS][len(LOOP):-1]:
    changed = changed | STEPS[name].changes
    CASES["steps"][name] = ("pack" if "one_cycle" in changed.values() else LOOP[-1], changed, 1)
CASES["steps"]["quick"] = ("pack", QUICK, 1)
CONTENDERS = {"student": "student loop", "default": "default recipe", "limit": "bare compute"}
PARTS = [*CASES, "notebooks"]
BY_HAND = "<!-- by hand -->"  # in steps.md, what is after it
SECTIONS = {"training_batches": "images and their movements", "evaluate": "test",
            "replace_file": "checkpoint"}  # functions that an epoch calls
OPERATIONS = {"convolutions": "conv", "normalization": "norm(_backward)?$",
              "ReLU": "clamp_min|threshold", "pooling": "pool"}  # names in PyTorch's profiler


# ------------------------------------------------------------------- one measurement, one process
def run_pack(data: Dataset, recipe: Recipe) -> dict:
    """Train as a notebook does. Seconds an epoch of it all: augmentation, tests, checkpoints."""
    net = loop.build_model(recipe, data)
    started = time.perf_counter()
    history = loop.train(net, data, recipe)
    return {"seconds": (time.perf_counter() - started) / recipe.epochs, "epochs": history}


def run_limit(data: Dataset, recipe: Recipe) -> dict:
    """Forward, backward and optimizer step on one fixed batch, as often as an epoch has batches."""
    net = loop.build_model(recipe, data).to(memory_format=torch.channels_last)
    optimizer = loop.make_optimizer(net, recipe)
    x = batches.to_input(data.train_images[: recipe.batch_size], data)
    labels = data.train_labels[: recipe.batch_size]
    started = time.perf_counter()
    for _ in range(math.ceil(len(data.train_labels) / recipe.batch_size)):
        loss = F.nll_loss(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"seconds": time.perf_counter() - started}


def run_profile(data: Dataset, recipe: Recipe) -> dict:
    """Train as run_pack; seconds by section of the loop, and shares of PyTorch's operations."""
    profiler = cProfile.Profile()
    seconds = profiler.runcall(run_pack, data, recipe)["seconds"]
    spent = pstats.Stats(profiler).get_stats_profile().func_profiles
    few = replace(recipe, run_name=f"{recipe.run_name}-few")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as operations:
        run_pack(data.head(100 * recipe.batch_size), few)
    events = pd.Series({row.key: row.self_cpu_time_total for row in operations.key_averages()})
    shares = {group: events.filter(regex=names).sum() / events.sum()
              for group, names in OPERATIONS.items()}
    return {"seconds": seconds, "operations": shares,
            "sections": {name: spent[name].cumtime / recipe.epochs for name in SECTIONS}}


def work(job: str, parameters: dict, dataset: str, images: int) -> dict:
    """A measurement, in a process that has just begun: of so many images, and a sixth to test.

    The student's loop has PyTorch as it comes, until a step changes it; the others as the notebooks
    have it.
    """
    data, tests = load_dataset(dataset).head(images), math.ceil(images / 6)
    data = data._replace(test_images=data.test_images[:tests], test_labels=data.test_labels[:tests])
    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe(**parameters, device="cpu", runs_dir=folder)
        if job in LOOP:
            import student_loop  # and torchvision, which no other job and no report needs
            run = partial(student_loop.run, changed=LOOP[1 : LOOP.index(job) + 1])
        else:
            set_up_torch()
            torch.set_num_threads(THREADS)  # a run of the course chooses them itself
            run = {"limit": run_limit, "profile": run_profile,
                   **dict.fromkeys(("pack", *BESIDE), run_pack)}[job]
        run(data.head(3 * recipe.batch_size), replace(recipe, epochs=1, run_name="warm-up"))
        return run(data, recipe)


def measure(*asked: object) -> dict:
    """What work(*asked) returns in a process of its own. Its threads wait as a notebook's do.

    Those of the student's loop wait as PyTorch's do, until the step that changes the process. Two
    jobs train as "pack" does, beside a process that never rests: "beside" with as many threads as
    it chooses, "both" with a thread for each core all the same.
    """
    code = "import bench, json, sys; print(json.dumps(bench.work(*json.loads(sys.argv[1]))))"
    plain = asked[0] in LOOP[: LOOP.index("process")]
    env = os.environ | ({} if plain else {"GOMP_SPINCOUNT": "5000"})
    env |= {"OMP_NUM_THREADS": str(THREADS)} if asked[0] == "both" else {}
    with contextlib.ExitStack() as stack:
        if asked[0] in BESIDE:
            other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(stack.enter_context(other).kill)
        done = subprocess.run([sys.executable, "-c", code, json.dumps(asked)], capture_output=True,
                              env=env, encoding="utf-8", cwd=Path(__file__).parent)
    if done.returncode:
        raise RuntimeError(f"{asked} failed:\n{done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    print(time.strftime("%H:%M:%S"), *asked, f"{result['seconds']:.4g} s", flush=True)
    return result


def take_turns(part: str, scale: Namespace) -> dict[str, dict[object, list[dict]]]:
    """Of each norm and case of a part its measurements, one a turn. The seed is the turn."""
    norms = ["group"] if part == "steps" else DEFAULTS
    found = {norm: {case: [] for case in CASES[part]} for norm in norms}
    for turn in range(1, scale.turns + 1):
        for norm, own in found.items():
            for case, (job, changes, fraction) in CASES[part].items():
                recipe = DEFAULTS[norm] | {"seed": turn} | changes | scale.changes
                own[case].append(measure(job, recipe, scale.dataset, scale.images // fraction))
    return found


def find_out(part: str, scale: Namespace) -> dict | list:
    """What a part measures, as it is kept: of most the seconds of each norm, case and turn."""
    if part == "notebooks":
        return notebooks(scale)
    found = take_turns(part, scale)
    if part == "steps":
        return found["group"]
    seconds = {norm: {case: [run["seconds"] for run in runs] for case, runs in own.items()}
               for norm, own in found.items()}
    if part == "growth":
        return [{"norm": norm, "images": scale.images // fraction, "batch_size": batch,
                 "seconds": turns} for norm, own in seconds.items()
                for (fraction, batch), turns in own.items()]
    if part == "profile":
        for norm, own in found.items():
            turns = sorted(own["profile"], key=itemgetter("seconds"))
            middle = turns[len(turns) // 2]  # so that its parts are of one run
            seconds[norm] = {"limit": float(np.median(seconds[norm]["limit"])), **middle}
    return seconds


def notebooks(scale: Namespace) -> dict:
    """Start-up, memory and final accuracy of the recipe notebooks, run by papermill."""
    importing = [sys.executable, "-c", "import utils"]
    small = {"dataset": scale.dataset, "train_size": 1000, "epochs": 1}
    full = {"dataset": scale.dataset, "train_size": scale.images} | scale.changes
    return {"import_seconds": timeit.repeat(
                lambda: subprocess.run(importing, cwd=ROOT, check=True), number=1, repeat=3),
            "small": [run_notebook(name, small) for name in RECIPES.values()],
            "full": [run_notebook(name, full | {"seed": seed})
                     for seed in range(1, scale.turns + 1) for name in RECIPES.values()]}


def run_notebook(notebook: str, parameters: dict) -> dict:
    """Run a recipe notebook by papermill and watch its kernel from outside.

    first_step_seconds: from the start of papermill to the first step of training. peak_mb: the
    most memory that the kernel had ever held by the end of each epoch (Linux only).
    """
    with tempfile.TemporaryDirectory() as folder:
        parameters = parameters | {"runs_dir": folder, "run_name": "run", "device": "cpu"}
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-level", "ERROR",
                   "--stdout-file", "-", ROOT / "notebooks" / f"{notebook}.ipynb",
                   f"{folder}/out.ipynb", "-y", json.dumps(parameters)]
        started, ends, peaks = time.perf_counter(), [], []
        with subprocess.Popen(
                command, stdout=subprocess.PIPE, encoding="utf-8", env=os.environ | own_kernel()
                | {"PYTHONUNBUFFERED": "1", "TQDM_DISABLE": "1"}) as process:
            for line in process.stdout:
                if line.startswith("epoch "):
                    ends.append(time.perf_counter() - started)
                    kernels = psutil.Process(process.pid).children(True)
                    peaks.append(max(int(find(r"VmHWM:\s*(\d+)", f"/proc/{kernel.pid}/status")
                                         or 0) / 1024 for kernel in kernels))
        if process.returncode:
            raise RuntimeError(f"{notebook} failed, see above")
        seconds = time.perf_counter() - started
        record = json.loads((Path(folder) / "run" / "record.json").read_text(encoding="utf-8"))
    print(time.strftime("%H:%M:%S"), notebook, parameters, f"{seconds:.4g} s", flush=True)
    return {"notebook": notebook, "seed": record["parameters"]["seed"], "seconds": seconds,
            "first_step_seconds": ends[0] - seconds_to(record["epochs"])[0],
            "training_seconds": record["seconds"], "peak_mb": peaks,
            "test_accuracy": record["epochs"][-1]["test_accuracy"]}


# -------------------------------------------------------------------------- a table of each part
Table = tuple[str, pd.DataFrame]  # a sentence that tells what is in it


def by_turn(found: dict[str, dict]) -> pd.DataFrame:
    """Seconds of each turn, an array of them in each cell, a row a norm."""
    table = pd.DataFrame(found).T.map(np.array)
    return table.set_axis([LOOKS[norm].short for norm in found]).rename_axis("norm")


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median and, in brackets, the range of several values."""
    middle, low, high = (format(of(values), form) for of in (np.median, min, max))
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def mean_and_each(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2%} ({', '.join(f'{value:.2%}' for value in values)})"


def speed_table(found: dict, images: int) -> Table:
    turns = by_turn(found)[[*CONTENDERS]]
    student, default, limit = (turns[name] for name in CONTENDERS)
    rates = (images / turns).map(spread, form=",.0f")
    rates.columns = [f"({letter}) {name}" for letter, name in zip("abc", CONTENDERS.values())]
    ratios = {"b/a": student / default, "b/c": limit / default}
    return ("Images a second, tests after each epoch included ({turns}):",
            rates.assign(**{head: ratio.map(spread) for head, ratio in ratios.items()}))


def profile_table(found: dict, images: int) -> Table:
    rows = []
    for norm, own in found.items():
        parts = own["limit"], *own["sections"].values()
        seconds = own["seconds"], *parts, own["seconds"] - sum(parts)
        heads = "in all", "bare compute", *SECTIONS.values(), "penalty, counters, the rest"
        rows.append({"norm": LOOKS[norm].short, **{h: f"{s:.2f}" for h, s in zip(heads, seconds)},
                     "operations": ", ".join(f"{name} {share:.0%}" for name, share
                                             in own["operations"].items())})
    return ("Where the seconds of an epoch of the default recipe go (shares are of PyTorch's "
            "operations, by its profiler; bare compute is another process, so the noise of the "
            "machine can make the rest negative; {turns}):", pd.DataFrame(rows).set_index("norm"))


def growth_table(found: list[dict], images: int) -> Table:
    turns = {case["norm"]: {} for case in found}
    for case in found:
        head = f"{case['images']:,} images, batch {case['batch_size']}"
        turns[case["norm"]][head] = case["seconds"]
    return ("Seconds an epoch of the default recipe, as the work grows ({turns}):",
            by_turn(turns).map(spread))


def busy_table(found: dict, images: int) -> Table:
    turns = by_turn(found).rename(columns={"pack": "alone", "beside": "beside it",
                                           "both": "beside it, a thread for each core"})
    for way in turns.columns[1:]:
        turns[way] = turns[way].map(spread) + " s, " + (
            (turns[way] / turns["alone"]).map(partial(spread, form=".1f")) + " times")
    return ("Seconds an epoch of the default recipe, beside a process that never rests, with the "
            "threads that a run chooses, and with as many as the machine has cores ({turns}):",
            turns.assign(alone=turns["alone"].map(spread)))


def notebooks_table(found: dict, images: int) -> Table:
    rows, runs = [], pd.DataFrame(found["full"])
    last, seeds = len(runs["peak_mb"][0]), runs["seed"].nunique()
    for small in found["small"]:
        full = runs[runs["notebook"] == small["notebook"]].to_dict("list")
        peaks = full["peak_mb"][0]
        rows.append({
            "notebook": small["notebook"],
            "seconds to the first step": spread(full["first_step_seconds"], ".1f"),
            "seconds in all, 1 epoch of 1,000 images": f"{small['seconds']:.1f}",
            "seconds of training": spread(full["training_seconds"], ".0f"),
            "peak MB, epoch 2": f"{peaks[:2][-1]:,.0f}",
            f"peak MB, epoch {last}": f"{peaks[-1]:,.0f}",
            "final test accuracy: mean (each)": mean_and_each(full["test_accuracy"])})
    return (f"The recipe notebooks by papermill, {last} epochs, seeds 1 to {seeds} "
            f"(`import utils` takes {np.median(found['import_seconds']):.1f} s):",
            pd.DataFrame(rows).set_index("notebook"))


def seconds_to(epochs: list[dict]) -> np.ndarray:
    """Seconds to the end of each epoch, its test included."""
    return np.cumsum([row["train_seconds"] + row["test_seconds"] for row in epochs])


def time_to_goal(run: dict) -> tuple[int, float, bool]:
    """Epochs and seconds until the accuracy stays at GOAL, and whether it does.

    A run that does not stay there counts with all of both: it takes longer than that.
    """
    below = [i for i, row in enumerate(run["epochs"]) if row["test_accuracy"] < GOAL]
    needed = below[-1] + 2 if below else 1
    seconds = seconds_to(run["epochs"])[:needed]
    return len(seconds), seconds[-1], needed == len(seconds)


def ladder(results: dict) -> list[dict]:
    """Of each step its numbers, in order.

    A change of the loop is not to change what is learned: it needs the epochs that the loop needs.
    """
    rows = []
    for number, (name, step) in enumerate(STEPS.items()):
        runs = results["steps"][name]
        epoch = np.mean([run["seconds"] for run in runs])
        if name in LOOP[1:]:
            row = rows[-1] | {"seconds": np.mean(rows[0]["epochs"]) * epoch, "accuracy": 0}
        else:
            epochs, seconds, stays = zip(*map(time_to_goal, runs))
            row = {"epochs": epochs, "seconds": np.mean(seconds), "stays": all(stays),
                   "accuracy": np.mean([run["epochs"][-1]["test_accuracy"] for run in runs])}
        rows.append(row | {"number": number, "step": step, "loop": name in LOOP,
                           "rate": results["run"]["images"] / epoch,
                           "factor": (rows[-1] if rows else row)["seconds"] / row["seconds"]})
    return rows


TABLES = {"speed": speed_table, "profile": profile_table, "growth": growth_table,
          "busy": busy_table, "notebooks": notebooks_table}


# -------------------------------------------------------------------------- report and figures
def report(results: dict) -> str:
    """Everything that was measured, as Markdown."""
    about, run = results["machine"], results["run"]
    texts = [
        "# All measurements of speed",
        f"Measured on {about['processor']}, {about['cores']} cores, {about['threads']} threads, "
        f"{about['memory_gb']} GB, {about['system']}, Python {about['python']}, torch "
        f"{about['torch']}, torchvision {about['torchvision']}; {run['images']:,} training images "
        f"an epoch from {run['data']} (source: {run['source']}). Medians, range in brackets. "
        "What is compared, and why, stands in [speed.md](speed.md); how fast the website trains "
        "stands in [playground.md](playground.md)."]
    for part in [part for part in TABLES if part in results]:
        sentence, table = TABLES[part](results[part], run["images"])
        turns = f"{results['turns'][part]} turn{'s' * (results['turns'][part] > 1)}"
        texts += [sentence.format(turns=turns), markdown_table(
            [table.index.name, *table.columns], table.itertuples())]
    return "\n\n".join(texts) + "\n"


def steps_page(results: dict, rows: list[dict]) -> str:
    """What each step is, and what it is worth, as Markdown; the page's words are kept by hand."""
    cells = []
    for row in rows:
        step, over = row["step"], "" if row["stays"] else "over "
        code = step.code or ", ".join(f"{name}={value!r}" for name, value in step.changes.items())
        cells.append([f"{row['number']}. {step.name}", f"{row['rate']:,.0f}",
                      ", ".join(map(str, row["epochs"])), f"{over}{row['seconds']:.0f}",
                      f"{row['factor']:.2f}" if row["number"] else "",
                      f"{row['accuracy']:.2%}" if row["accuracy"] else "", f"`{code}`"])
    first, last = rows[0]["seconds"], rows[-1]["seconds"]
    middle = [row["seconds"] for row in rows if row["loop"]][-1]
    heads = ["", "images a second", "epochs", "seconds", "speed-up", "accuracy", "its line"]
    return "\n\n".join([
        f"# From {first:.0f} seconds to {last:.0f}",
        f"For how long does GN + L1 train until {GOAL:.1%} of MNIST's test images are classified "
        "right, and stay so to the last epoch? Row 0 is the loop and the recipe of most write-ups, "
        f"the last row this course's preset: {first / last:.1f} times sooner, as a mean of "
        f"{len(rows[0]['epochs'])} seeds. Changes of the loop (blue) are worth "
        f"{first / middle:.1f} times of it, changes of the recipe (orange) {middle / last:.1f} "
        "times. Each row adds a change, or some that belong together.",
        f"![Seconds after each step, from {first:.0f} to {last:.0f}](../images/steps.png)",
        markdown_table(heads, cells),
        f"({results['run']['images']:,} images; {results['machine']['processor']}, "
        f"{results['machine']['cores']} cores.)", BY_HAND])


def plot_speed(ax: plt.Axes, found: dict, images: int) -> str:
    """Images a second of the contenders, a point for the median and a line for the range."""
    for k, (norm, seconds) in enumerate(found.items()):
        look = LOOKS[norm]
        for row, name in enumerate(CONTENDERS):
            rates = images / np.array(seconds[name])
            y, middle = row + 0.24 * (k - 1), np.median(rates)
            ax.plot([0, middle], [y, y], color=look.colour, linestyle=look.line, linewidth=1.2)
            ax.plot([rates.min(), rates.max()], [y, y], color=look.colour, linewidth=5, alpha=0.4)
            ax.plot(middle, y, "o", color=look.colour)
            ax.annotate(f"{look.short} {middle:,.0f}", (rates.max(), y), xytext=(8, 0),
                        textcoords="offset points", va="center", color=look.colour, fontsize=11)
    ax.set_yticks(range(len(CONTENDERS)), CONTENDERS.values())
    ax.set(xlabel="training images a second", title="Speed of training", ylim=(2.6, -0.6))
    ax.set_xlim(0, ax.get_xlim()[1] * 1.12)
    ax.grid(axis="y", visible=False)
    return "point: median; bar: range of the turns"


def plot_steps(ax: plt.Axes, rows: list[dict], images: int) -> str:
    """Seconds of each step, a line from those of the step before: equal factors, equal lengths."""
    before = rows[0]["seconds"]
    for y, row in enumerate(rows):
        after, colour = row["seconds"], LOOKS["batch" if row["loop"] else "group"].colour
        ax.plot([before, after], [y, y], color=colour, linewidth=4, alpha=0.5)
        ax.plot(after, y, "o", color=colour, markerfacecolor=colour if row["stays"] else "white")
        factor = f" ({row['factor']:.2f}x)" if y else ""
        ax.annotate(f"{after:.0f} s{factor}", (min(before, after), y), xytext=(-9, 0),
                    textcoords="offset points", ha="right", va="center", color=colour, fontsize=12,
                    backgroundcolor="white")
        before = after
    ax.set_yticks(range(len(rows)), [f"{row['step'].name}  {row['number']}" for row in rows])
    ax.set(xscale="log", ylim=(len(rows) - 0.4, -0.6),
           xlabel=f"seconds until the test accuracy stays at {GOAL:.1%}",
           title="From {:.0f} seconds to {:.0f}".format(rows[0]["seconds"], before))
    ax.set_xlim(min(row["seconds"] for row in rows) / 4)
    ax.xaxis.set_major_locator(plt.LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.grid(axis="y", visible=False)
    return "blue: the loop, orange: the recipe; white: at least that"


PLOTS = {"speed": (plot_speed, 3.4), "steps": (plot_steps, 6)}  # with the height in inches


def save(results: dict, folder: Path, images: Path) -> None:
    """Numbers and report in one folder, the figures of what was measured in another."""
    write(folder / "bench.json", json.dumps(results, indent=1) + "\n")
    write(folder / "bench.md", report(results))
    about, run = results["machine"], results["run"]
    rows = ladder(results) if "steps" in results else []
    drawn = {"speed": results.get("speed"), "steps": rows}
    if rows:
        page = (ROOT / "results" / "steps.md").read_text(encoding="utf-8")
        write(folder / "steps.md", steps_page(results, rows) + page.partition(BY_HAND)[2])
    for part, (plot, height) in PLOTS.items():
        if drawn[part]:
            figure, ax = plt.subplots(figsize=(8, height), layout="constrained")
            note = plot(ax, drawn[part], run["images"])
            figure.text(0.01, -0.01, f"{run['images']:,} images; {about['processor']}, "
                        f"{about['cores']} cores; {note}", fontsize=11, color="#444444", va="top")
            replace_file(images / f"{part}.png", figure.savefig)
            plt.close(figure)


def find(pattern: str, file: str) -> str:
    """What a pattern's group finds in a file; "" if there is no such file or text."""
    text = Path(file).read_text(encoding="utf-8") if Path(file).is_file() else ""
    found = re.search(pattern, text)
    return found[1].strip() if found else ""


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--trial", action="store_true", help="see above")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench")
    parser.add_argument("--publish", action="store_true", help="keep the results")
    args = parser.parse_args()
    import torchvision  # takes a second or more, and make report imports this file
    set_up()
    check_writable("--out", args.out)
    scale = TRIAL if args.trial else FULL
    data = load_dataset(scale.dataset)
    scale.images = min(scale.images, len(data.train_labels))
    if args.publish and data.source == "sample":
        sys.exit("--publish: this is the sample. Set DATA_DIR to the full data.")
    file = args.out / "bench.json"
    results = {
        "machine": {
            "processor": find(r"model name\s*:(.*)", "/proc/cpuinfo") or platform.machine(),
            "cores": psutil.cpu_count(),
            "threads": THREADS, "memory_gb": round(psutil.virtual_memory().total / 2**30),
            "system": platform.system(), "python": platform.python_version(),
            "torch": torch.__version__, "torchvision": torchvision.__version__},
        "run": {"data": data.name, "source": data.source, "images": scale.images}}
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if earlier | results == earlier:  # the same machine and numbers: keep its other parts
        results = earlier
    for part in args.parts:
        results[part] = find_out(part, scale)
        results["turns"] = results.get("turns", {}) | {part: scale.turns}
        save(results, args.out, args.out)
    print(f"\n{report(results)}\nThe same in {args.out}, with figures.")
    if args.publish:
        save(results, ROOT / "results", ROOT / "images")


if __name__ == "__main__":
    main()
