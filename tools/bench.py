"""How fast is the training, measured against the loop that most write-ups use?

    bench.py                          everything: about an hour on two cores with all of MNIST
    bench.py --parts speed growth     some parts
    bench.py --images 2000 --repetitions 1 --epochs 1 --seeds 1      a trial, some minutes

Parts: speed (student loop, the same recipe here, the default recipe, bare compute), profile (where
the seconds go), growth (more images, other batches), busy (beside another process), notebooks
(start-up, memory and accuracy of the recipe notebooks), goal (time to 99.30 % with
notebooks/params/quick.yaml). Every measurement is a process of its own; the contenders take turns,
and a ratio is taken within a turn. The results go to bench.json, with two figures, in the folder
--out, which keeps the other parts of an earlier call on the same machine with the same numbers;
--publish keeps them, and a table, for the README.
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import psutil
import torch
import torch.nn.functional as F
import yaml
from readme import ROOT, keep
from study import notebook_defaults

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import utils

PARTS = ("speed", "profile", "growth", "busy", "notebooks", "goal")
GOAL = 0.993  # test accuracy to reach, and to keep
DEFAULTS = {  # the recipes of the three notebooks
    own["norm"]: {key: own[key] for key in ("norm", "l1", "l2", "lr")}
    for own in map(notebook_defaults, utils.RECIPES.values())}
FEW = {"epochs": 4}  # what happens once a run shall not weigh much more than in 20 epochs
STUDENT = {"dropout": 0.1, "augment": "rotate", "penalize": "all", "lr": 0.01, "schedule": "step"}
QUICK = yaml.safe_load((ROOT / "notebooks" / "params" / "quick.yaml").read_text())
OPERATIONS = {  # by the names that PyTorch's profiler gives them
    "convolutions": "conv", "normalization": "norm(_backward)?$", "ReLU": "clamp_min|threshold",
    "pooling": "pool"}
CONTENDERS = {"student": "student loop", "same": "same recipe, here", "default": "default recipe",
              "limit": "bare compute"}


# ------------------------------------------------------------------- one measurement, one process
def load(images: int) -> utils.Dataset:
    """MNIST or the sample, cut or repeated to images to train and a sixth of that to test."""
    data = utils.load_dataset("mnist")
    train = torch.arange(images) % len(data.train_labels)
    test = torch.arange(math.ceil(images / 6)) % len(data.test_labels)
    return data._replace(
        train_images=data.train_images[train], train_labels=data.train_labels[train],
        test_images=data.test_images[test], test_labels=data.test_labels[test])


def run_pack(data: utils.Dataset, recipe: utils.Recipe) -> dict:
    """Train as a notebook does. Seconds an epoch of it all: augmentation, tests, checkpoints."""
    net = utils.build_model(recipe, data)
    started = time.perf_counter()
    history = utils.train(net, data, recipe)
    return {"seconds": (time.perf_counter() - started) / recipe.epochs, "epochs": history}


def run_limit(data: utils.Dataset, recipe: utils.Recipe) -> dict:
    """Forward, backward and optimizer step on one fixed batch, as often as an epoch has batches."""
    net = utils.build_model(recipe, data).to(memory_format=torch.channels_last)
    optimizer = utils.make_optimizer(net, recipe)
    x = utils.to_input(data.train_images[: recipe.batch_size], data)
    labels = data.train_labels[: recipe.batch_size]
    started = time.perf_counter()
    for _ in range(math.ceil(len(data.train_labels) / recipe.batch_size)):
        loss = F.nll_loss(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"seconds": time.perf_counter() - started}


def run_profile(data: utils.Dataset, recipe: utils.Recipe) -> dict:
    """Train as run_pack; seconds by section of the loop, and shares of PyTorch's operations."""
    spent = dict.fromkeys(("training_batches", "evaluate", "replace_file"), 0.0)

    def timed(name: str, function: Callable) -> Callable:
        def wrapper(*args):
            started = time.perf_counter()
            result = function(*args)
            spent[name] += time.perf_counter() - started
            return result
        return wrapper

    def timed_batches(*args):
        step = timed("training_batches", partial(next, batches(*args), None))
        return iter(step, None)

    batches = utils.training_batches
    with (mock.patch("coursepack.batches.training_batches", timed_batches),
          mock.patch("coursepack.training.evaluate", timed("evaluate", utils.evaluate)),
          mock.patch("coursepack.files.replace_file", timed("replace_file", utils.replace_file))):
        result = run_pack(data, recipe)
    few = data.head(100 * recipe.batch_size)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run_pack(few, dataclasses.replace(recipe, run_name="profile"))
    events = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    shares = {group: sum(us for key, us in events.items() if re.search(pattern, key))
              / sum(events.values()) for group, pattern in OPERATIONS.items()}
    sections = {name: seconds / recipe.epochs for name, seconds in spent.items()}
    return {"seconds": result["seconds"], "sections": sections, "operations": shares}


def work(job: str, images: int, recipe: dict) -> None:
    """What a process of measure() does: warm up on three batches, run, print the result."""
    run = {"pack": run_pack, "limit": run_limit, "profile": run_profile}[job]
    data = load(images)
    with tempfile.TemporaryDirectory() as folder:
        warm_up = utils.Recipe(**recipe | {"epochs": 1, "runs_dir": folder, "run_name": "warm-up"})
        run(data.head(3 * warm_up.batch_size), warm_up)
        print(json.dumps(run(data, utils.Recipe(**recipe, runs_dir=folder))))


def finish(command: Sequence[object], **settings: str) -> str:
    """Standard output of a command that must succeed; OpenMP waits as settings say, if they do."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= settings
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True,
                          text=True)
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def measure(job: str, images: int, recipe: dict) -> dict:
    """Result of run_pack or run_limit in a new process, set up as the notebooks set up theirs."""
    command = [sys.executable, __file__, "--work", job, "--images", images, "--recipe",
               json.dumps(recipe | {"device": "cpu"})]
    return json.loads(finish(command, GOMP_SPINCOUNT="100000").splitlines()[-1])


def measure_student(images: int, recipe: dict, nesterov: bool) -> dict:
    """Result of tools/student_loop.py in a new process, set up as Python comes."""
    recipe, data = utils.Recipe(**recipe), load(images)
    settings = {"network": recipe.network(), "nesterov": nesterov} | {
        name: getattr(recipe, name)
        for name in ("seed", "lr", "momentum", "l1", "l2", "batch_size", "epochs")}
    arrays = {name: value.squeeze(1) if value.ndim == 4 else value.tolist() if value.ndim == 1
              and value.is_floating_point() else value
              for name, value in data._asdict().items() if torch.is_tensor(value)}
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "settings.json", Path(folder) / "arrays.pt"
        files[0].write_text(json.dumps(settings))
        torch.save(arrays, files[1])
        result = json.loads(finish([sys.executable, ROOT / "tools" / "student_loop.py", *files]))
    result["seconds"] = statistics.mean(epoch_seconds(result))
    return result


def epoch_seconds(result: dict) -> list[float]:
    return [row["train_seconds"] + row["test_seconds"] for row in result["epochs"]]


@contextmanager
def busy_process() -> Iterator[None]:
    """Another process that never rests."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


# ------------------------------------------------------------------------------------ the parts
def speed(args: argparse.Namespace) -> dict:
    """Seconds an epoch of each contender, by norm: one list entry a turn."""
    results = {norm: {name: [] for name in CONTENDERS} for norm in DEFAULTS}
    for turn in range(args.repetitions):
        for norm, default in DEFAULTS.items():
            student = default | STUDENT
            runs = {"student": measure_student(args.images, student | {"epochs": 1}, nesterov=True),
                    "same": measure("pack", args.images, student | FEW),
                    "default": measure("pack", args.images, default | FEW),
                    "limit": measure("limit", args.images, default | FEW)}
            for name, result in runs.items():
                results[norm][name].append(result["seconds"])
            say("speed", turn, norm, **{name: r["seconds"] for name, r in runs.items()})
    return results


def profile(args: argparse.Namespace) -> dict:
    """Where the seconds of an epoch of the default recipes go."""
    results = {}
    for norm, default in DEFAULTS.items():
        turns = [{"limit": measure("limit", args.images, default | FEW)["seconds"],
                  **measure("profile", args.images, default | FEW)}
                 for _ in range(args.repetitions)]
        results[norm] = {key: statistics.median(turn[key] for turn in turns)
                         for key in ("limit", "seconds")}
        for group in ("sections", "operations"):
            results[norm][group] = {key: statistics.median(turn[group][key] for turn in turns)
                                    for key in turns[0][group]}
        say("profile", norm, **results[norm])
    return results


def growth(args: argparse.Namespace) -> list[dict]:
    """Seconds an epoch of the default recipes, with more images and with other batches."""
    third, quarter = args.images // 12, args.images // 4
    cases = [(third, 128), (quarter, 128), (args.images, 128), (quarter, 32), (quarter, 512)]
    results = [{"norm": norm, "images": images, "batch_size": batch_size, "seconds": []}
               for norm in DEFAULTS for images, batch_size in cases]
    for turn in range(args.repetitions):
        for case in results:
            recipe = DEFAULTS[case["norm"]] | FEW | {"batch_size": case["batch_size"]}
            case["seconds"].append(measure("pack", case["images"], recipe)["seconds"])
            say("growth", turn, **case | {"seconds": case["seconds"][-1]})
    return results


def busy(args: argparse.Namespace) -> dict:
    """Seconds an epoch of the default recipes, alone and beside a process that never rests."""
    results = {norm: {"alone": [], "beside": []} for norm in DEFAULTS}
    for turn in range(args.repetitions):
        for norm, default in DEFAULTS.items():
            seconds = results[norm]
            seconds["alone"].append(measure("pack", args.images, default | FEW)["seconds"])
            with busy_process():
                seconds["beside"].append(measure("pack", args.images, default | FEW)["seconds"])
            say("busy", turn, norm, **{name: values[-1] for name, values in seconds.items()})
    return results


def notebooks(args: argparse.Namespace) -> dict:
    """Start-up, memory and final accuracy of the recipe notebooks, run by papermill."""
    importing = []
    for _ in range(3):
        started = time.perf_counter()
        finish([sys.executable, "-c", f"import sys; sys.path[:0] = [{str(ROOT)!r}]; import utils"])
        importing.append(time.perf_counter() - started)
    small = [run_notebook(notebook, {"epochs": 1, "train_size": 1000})
             for notebook in utils.RECIPES.values()]
    full, available = [], len(utils.load_dataset("mnist").train_labels)
    for seed in range(1, args.seeds + 1):
        for notebook in utils.RECIPES.values():
            size = 0 if args.images >= available else args.images
            full.append(run_notebook(notebook, {"epochs": args.epochs, "train_size": size,
                                                "seed": seed}))
    return {"import_seconds": importing, "small": small, "full": full}


def run_notebook(notebook: str, parameters: dict) -> dict:
    """Run a recipe notebook by papermill and watch its kernel from outside.

    first_step_seconds: from the start of papermill to the first step of training. peak_mb: the
    most memory that the kernel had ever held by the end of each epoch (Linux only).
    """
    with tempfile.TemporaryDirectory() as folder:
        parameters = parameters | {"runs_dir": folder, "run_name": "run", "device": "cpu"}
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-level", "ERROR",
                   "--stdout-file", "-", str(ROOT / "notebooks" / f"{notebook}.ipynb"),
                   f"{folder}/out.ipynb"]
        command += [str(part) for pair in parameters.items() for part in ("-p", *pair)]
        started, ends, peaks = time.perf_counter(), [], []
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "TQDM_DISABLE": "1"})
        for line in process.stdout:
            if line.startswith("epoch "):
                ends.append(time.perf_counter() - started)
                peaks.append(max(map(peak_memory, psutil.Process(process.pid).children(True))))
        if process.wait():
            raise RuntimeError(f"{notebook} failed:\n{process.stderr.read()}")
        seconds = time.perf_counter() - started
        record = json.loads((Path(folder) / "run" / "record.json").read_text())
    first = record["epochs"][0]
    result = {
        "notebook": notebook, "seed": record["parameters"]["seed"], "seconds": seconds,
        "first_step_seconds": ends[0] - first["train_seconds"] - first["test_seconds"],
        "training_seconds": record["seconds"], "peak_mb": peaks,
        "test_accuracy": record["epochs"][-1]["test_accuracy"]}
    say("notebooks", **result | {"peak_mb": peaks[-1]})
    return result


def peak_memory(process: psutil.Process) -> float:
    """The most memory in MB that a process has held; 0 where the system does not say."""
    status = Path(f"/proc/{process.pid}/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0)


def goal(args: argparse.Namespace) -> dict:
    """Test accuracy against seconds: the student loop's own recipe and the quick preset."""
    student = DEFAULTS["group"] | STUDENT | {"epochs": args.epochs}
    quick = DEFAULTS["group"] | QUICK
    results = {"student": [], "quick": []}
    for seed in range(1, args.seeds + 1):
        results["student"].append(measure_student(args.images, student | {"seed": seed}, False))
        results["quick"].append(measure("pack", args.images, quick | {"seed": seed}))
        for name, runs in results.items():
            say("goal", name, seed=seed, seconds_to_goal=time_to_goal(runs[-1])[0],
                final=runs[-1]["epochs"][-1]["test_accuracy"])
    return results


def time_to_goal(run: dict) -> tuple[float, bool]:
    """Seconds to the end of the first epoch from which the accuracy stays at GOAL; whether it did.

    A run that does not stay there counts with all of its seconds: it takes longer than that.
    """
    below = [i for i, row in enumerate(run["epochs"]) if row["test_accuracy"] < GOAL]
    needed = below[-1] + 2 if below else 1
    return sum(epoch_seconds(run)[:needed]), needed <= len(run["epochs"])


def say(*words: object, **values: object) -> None:
    shown = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
    print(time.strftime("%H:%M:%S"), *words, *shown, flush=True)


def machine() -> dict:
    """What the seconds were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines()
             if line.startswith("model name")] if cpuinfo.is_file() else []
    import torchvision

    return {"processor": names[0] if names else platform.processor() or platform.machine(),
            "cores": psutil.cpu_count(), "threads": utils.THREADS,
            "memory_gb": round(psutil.virtual_memory().total / 2**30),
            "system": platform.system(), "python": platform.python_version(),
            "torch": torch.__version__, "torchvision": torchvision.__version__}


# ----------------------------------------------------------------------------------- the report
def spread(values: Sequence[float], form: str) -> str:
    """Median and, in brackets, the range of several values."""
    if len(values) == 1:
        return format(values[0], form)
    low, high = (format(end, form) for end in (min(values), max(values)))
    return f"{format(statistics.median(values), form)} ({low} to {high})"


def ratios(of: Sequence[float], to: Sequence[float]) -> str:
    """How many times as fast: median and range of the ratios of seconds, turn by turn."""
    return spread([there / here for here, there in zip(of, to)], ".2f")


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def report(results: dict) -> str:
    """Everything that was measured, as Markdown."""
    about, run = results["machine"], results["run"]
    text = [f"Measured on {about['processor']}, {about['cores']} cores, {about['threads']} threads,"
            f" {about['memory_gb']} GB, {about['system']}, Python {about['python']}, torch "
            f"{about['torch']}, torchvision {about['torchvision']}; {run['images']:,} training "
            f"images an epoch from {run['data']} (source: {run['source']}). Median of "
            f"{run['repetitions']} turns, range in brackets.\n"]
    if "speed" in results:
        rows = []
        for norm, seconds in results["speed"].items():
            student, same, default, limit = (seconds[name] for name in CONTENDERS)
            rates = [spread([run["images"] / s for s in seconds[name]], ",.0f")
                     for name in CONTENDERS]
            rows.append([utils.LOOKS[norm].short, *rates, ratios(same, student),
                         ratios(default, student), ratios(same, limit), ratios(default, limit)])
        heads = [f"({letter}) {name}" for letter, name in zip("abcd", CONTENDERS.values())]
        text += ["Images a second, tests after each epoch included:\n",
                 table(["norm", *heads, "b/a", "c/a", "b/d", "c/d"], rows)]
    if "profile" in results:
        rows = []
        for norm, turn in results["profile"].items():
            data, test, saving = turn["sections"].values()
            rest = turn["seconds"] - turn["limit"] - data - test - saving
            parts = [f"{part:.2f}" for part in (turn["limit"], data, test, saving, rest)]
            shares = ", ".join(f"{name} {part:.0%}" for name, part in turn["operations"].items())
            rows.append([utils.LOOKS[norm].short, f"{turn['seconds']:.2f}", *parts, shares])
        text += ["Where the seconds of an epoch of the default recipe go (shares are of "
                 "PyTorch's operations, by its profiler; bare compute is another process, so the "
                 "noise of the machine can make the rest negative):\n",
                 table(["norm", "in all", "bare compute", "images and their movements", "test",
                        "checkpoint", "penalty, counters, the rest", "operations"], rows)]
    if "growth" in results:
        cases = [[case for case in results["growth"] if case["norm"] == norm] for norm in DEFAULTS]
        heads = [f"{c['images']:,} images, batch {c['batch_size']}" for c in cases[0]]
        rows = [[utils.LOOKS[row[0]["norm"]].short,
                 *(spread(case["seconds"], ".2f") for case in row)] for row in cases]
        text += ["Seconds an epoch of the default recipe, as the work grows:\n",
                 table(["norm", *heads], rows)]
    if "busy" in results:
        rows = [[utils.LOOKS[norm].short, spread(s["alone"], ".2f"), spread(s["beside"], ".2f"),
                 ratios(s["alone"], s["beside"])] for norm, s in results["busy"].items()]
        text += ["Seconds an epoch of the default recipe, beside a process that never rests:\n",
                 table(["norm", "alone", "beside it", "times slower"], rows)]
    if "notebooks" in results:
        part, rows = results["notebooks"], []
        for small in part["small"]:
            full = [one for one in part["full"] if one["notebook"] == small["notebook"]]
            accuracy = [one["test_accuracy"] for one in full]
            second = min(1, len(full[0]["peak_mb"]) - 1)
            rows.append([
                small["notebook"], spread([one["first_step_seconds"] for one in full], ".1f"),
                f"{small['seconds']:.1f}", spread([one["training_seconds"] for one in full], ".0f"),
                f"{full[0]['peak_mb'][second]:,.0f}", f"{full[0]['peak_mb'][-1]:,.0f}",
                f"{statistics.mean(accuracy):.2%} ({', '.join(f'{a:.2%}' for a in accuracy)})"])
        epochs = len(part["full"][0]["peak_mb"])
        text += [f"The recipe notebooks by papermill, {epochs} epochs, seeds 1 to "
                 f"{len(part['full']) // len(part['small'])} (`import utils` takes "
                 f"{statistics.median(part['import_seconds']):.1f} s):\n",
                 table(["notebook", "seconds to the first step",
                        "seconds in all, 1 epoch of 1,000 images", "seconds of training",
                        "peak MB, epoch 2", f"peak MB, epoch {epochs}",
                        "final test accuracy: mean (each)"], rows)]
    if "goal" in results:
        rows, means, reached = [], {}, {}
        names = {"student": "student loop, its recipe", "quick": "`quick.yaml`, here"}
        for key, runs in results["goal"].items():
            times = [time_to_goal(run) for run in runs]
            means[key] = statistics.mean(seconds for seconds, _ in times)
            reached[key] = all(there for _, there in times)
            each = ", ".join(f"{'' if there else 'over '}{s:.0f}" for s, there in times)
            final = [run["epochs"][-1]["test_accuracy"] for run in runs]
            rows.append([names[key], len(runs[0]["epochs"]), f"{means[key]:.0f} ({each})",
                         f"{statistics.mean(final):.2%} ({', '.join(f'{a:.2%}' for a in final)})"])
        times = f"{means['student'] / means['quick']:.1f} times sooner"
        words = {True: "", False: "; a run that does not stay there counts with all of its seconds"}
        text += [f"GN + L1, seconds until the test accuracy stays at {GOAL:.2%} or more: {times} "
                 f"with the preset{words[all(reached.values())]}.\n",
                 table(["", "epochs", "seconds: mean (each seed)", "final: mean (each seed)"],
                       rows)]
    return "\n".join(text)


def plot_speed(results: dict) -> plt.Figure:
    """Images a second of the contenders, a point for the median and a line for the range."""
    figure, ax = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for k, (norm, seconds) in enumerate(results["speed"].items()):
        look = utils.LOOKS[norm]
        for row, name in enumerate(CONTENDERS):
            rates = results["run"]["images"] / np.array(seconds[name])
            y, middle = row + 0.24 * (k - 1), statistics.median(rates)
            ax.plot([0, middle], [y, y], color=look.colour, linestyle=look.line, linewidth=1.2)
            ax.plot([rates.min(), rates.max()], [y, y], color=look.colour, linewidth=5, alpha=0.4)
            ax.plot(middle, y, "o", color=look.colour)
            ax.annotate(f"{look.short} {middle:,.0f}", (rates.max(), y), xytext=(8, 0),
                        textcoords="offset points", va="center", color=look.colour, fontsize=11)
    ax.set_yticks(range(len(CONTENDERS)), CONTENDERS.values())
    ax.set(xlabel="training images a second", title="Speed of training", ylim=(3.6, -0.6))
    ax.set_xlim(0, ax.get_xlim()[1] * 1.12)
    ax.grid(axis="y", visible=False)
    note(figure, results, "point: median; bar: range of the turns")
    return figure


def plot_goal(results: dict) -> plt.Figure:
    """Test errors against seconds, a line a seed."""
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    colour = utils.LOOKS["group"].colour
    looks = {"student": ("#555555", "-", "student loop, its recipe"),
             "quick": (colour, utils.LOOKS["group"].line, "quick.yaml, here")}
    for key, runs in results["goal"].items():
        shade, line, name = looks[key]
        for run in runs:
            x, y = np.cumsum(epoch_seconds(run)), [1 - e["test_accuracy"] for e in run["epochs"]]
            ax.plot(x, np.maximum(y, 1e-4), color=shade, linestyle=line, marker="o", markersize=3)
        ax.annotate(name, (x[0], max(y[0], 1e-4)), xytext=(14, -6), textcoords="offset points",
                    color=shade, weight="bold", va="center")
    ax.axhline(1 - GOAL, color="black", linewidth=1)
    ax.text(0.01, 1 - GOAL, f"{GOAL:.1%}", transform=ax.get_yaxis_transform(), va="bottom")
    ax.set(xscale="log", yscale="log", xlabel="seconds of training and testing",
           ylabel="test images classified right", title="GN + L1: time to accuracy")
    levels = [50, 80, 90, 95, 98, 99, 99.5, 99.8]
    limits = ax.get_ylim()
    ax.set_yticks([1 - level / 100 for level in levels], [f"{level} %" for level in levels])
    ax.set_ylim(limits[1], limits[0] * 0.8)
    ax.yaxis.set_minor_locator(plt.NullLocator())
    ax.xaxis.set_major_locator(plt.LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(plt.NullLocator())
    note(figure, results, f"a line for each of {len(runs)} seeds")
    return figure


def note(figure: plt.Figure, results: dict, text: str) -> None:
    about, run = results["machine"], results["run"]
    sample = " of the 5,000-digit SAMPLE, repeated" if run["source"] == "sample" else ""
    figure.text(0.01, -0.01, f"{run['images']:,} images{sample}; {about['processor']}, "
                f"{about['cores']} cores; {text}", fontsize=11, color="#444444", va="top")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS,
                        help="none: only the report, of what was measured before")
    parser.add_argument("--images", type=int, default=60_000, help="training images an epoch")
    parser.add_argument("--repetitions", type=int, default=3, help="turns of each comparison")
    parser.add_argument("--epochs", type=int, default=20, help="of parts notebooks and goal")
    parser.add_argument("--seeds", type=int, default=3, help="of parts notebooks and goal")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench")
    parser.add_argument("--publish", action="store_true", help="keep the results for the README")
    parser.add_argument("--work", help=argparse.SUPPRESS)  # the process of one measurement
    parser.add_argument("--recipe", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name in ("images", "repetitions", "epochs", "seeds"):
        utils.check_range(f"--{name}", getattr(args, name), 12 if name == "images" else 1)
    utils.set_up()
    if args.work:
        work(args.work, args.images, args.recipe)
        return
    utils.check_writable(args.out)
    data = utils.load_dataset("mnist")
    print(data)
    file = args.out / "bench.json"
    results = {"machine": machine(), "run": {
        "data": data.name, "source": data.source, "images": args.images,
        "repetitions": args.repetitions}}
    earlier = json.loads(file.read_text()) if file.is_file() else {}
    if {**earlier, **results} == earlier:  # the same machine and numbers: keep its other parts
        results = earlier
    for part in args.parts:
        results[part] = globals()[part](args)
        text = json.dumps(results, indent=1) + "\n"
        utils.replace_file(file, lambda path, text=text: path.write_text(text))
    results = {name: results[name] for name in ("machine", "run", *PARTS) if name in results}
    for part, plot in {"speed": plot_speed, "goal": plot_goal}.items():
        if part in results:
            utils.replace_file(args.out / f"{part}.png", plot(results).savefig)
    print(f"\n{report(results)}\nThe same in {file}, figures beside it.")
    if args.publish:
        publish(args.out, results)


def publish(folder: Path, results: dict) -> None:
    """Keep what was measured on the full data for the README: numbers, figures and the report."""
    if results["run"]["source"] == "sample":
        sys.exit("not published: this is the sample. Set DATA_DIR to the full data.")
    shutil.copy(folder / "bench.json", ROOT / "results")
    for figure in folder.glob("*.png"):
        shutil.copy(figure, ROOT / "images")
    keep("bench", report(results))


if __name__ == "__main__":
    main()
