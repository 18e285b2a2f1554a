"""How fast is the training, measured against the loop that most write-ups use?

    bench.py                          everything: about two hours on two cores with all of MNIST
    bench.py --parts speed growth     some parts
    bench.py --images 2000 --repetitions 1 --epochs 1 --seeds 1      a trial, some minutes

Parts: speed (student loop, the same recipe here, the default recipe, bare compute), profile (where
the seconds go), growth (more images, other batches), busy (beside another process), notebooks
(start-up, memory and accuracy of the recipe notebooks), goal (time to 99.30 % with
notebooks/params/quick.yaml). Every measurement is a process of its own; the contenders take turns,
and a ratio is taken within a turn. The results go to bench.json in --out, beside earlier ones of
the same machine and numbers; bench_report.py makes text and figures of them, and can publish it.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import psutil
import torch
import torch.nn.functional as F
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tools"))  # kernels

# What draws, reads studies or starts kernels is imported where it is called: no measurement waits.
from coursepack import files, threads
from coursepack.data.datasets import Dataset, load_dataset
from coursepack.runs.records import RECIPES
from coursepack.train import batches, loop
from coursepack.train.recipe import Recipe

PARTS = ("speed", "profile", "growth", "busy", "notebooks", "goal")
FEW = {"epochs": 4}  # what happens once a run shall not weigh much more than in 20 epochs
STUDENT = {"dropout": 0.1, "augment": "rotate", "penalize": "all", "lr": 0.01, "schedule": "step"}
QUICK = yaml.safe_load((files.ROOT / "notebooks" / "params" / "quick.yaml").read_bytes())
OPERATIONS = {"convolutions": "conv", "normalization": "norm(_backward)?$",
              "ReLU": "clamp_min|threshold", "pooling": "pool"}  # names in PyTorch's profiler


@functools.cache
def defaults() -> dict[str, dict]:
    """The recipes of the three notebooks, by norm."""
    from coursepack.lab.studies import notebook_defaults
    recipes = map(notebook_defaults, RECIPES.values())
    return {own["norm"]: {key: own[key] for key in ("norm", "l1", "l2", "lr")} for own in recipes}


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
    spent = dict.fromkeys(("training_batches", "evaluate", "replace_file"), 0.0)

    def timed(name: str, function: Callable) -> Callable:
        def wrapper(*args):
            started = time.perf_counter()
            result = function(*args)
            spent[name] += time.perf_counter() - started
            return result
        return wrapper

    def timed_batches(*args):
        return iter(timed("training_batches", functools.partial(next, original(*args), None)), None)

    original = batches.training_batches
    with (mock.patch("coursepack.train.batches.training_batches", timed_batches),
          mock.patch("coursepack.train.loop.evaluate", timed("evaluate", loop.evaluate)),
          mock.patch("coursepack.files.replace_file", timed("replace_file", files.replace_file))):
        result = run_pack(data, recipe)
    few = dataclasses.replace(recipe, run_name="few")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        run_pack(data.head(100 * recipe.batch_size), few)
    events = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    shares = {group: sum(us for key, us in events.items() if re.search(pattern, key))
              / sum(events.values()) for group, pattern in OPERATIONS.items()}
    sections = {name: seconds / recipe.epochs for name, seconds in spent.items()}
    return {"seconds": result["seconds"], "sections": sections, "operations": shares}


def work(job: str, recipe: Recipe) -> None:
    """What a process of measure() does: warm up on three batches, run, print the result."""
    run = {"pack": run_pack, "limit": run_limit, "profile": run_profile}[job]
    data = Dataset(**torch.load(Path(recipe.runs_dir) / "data.pt", weights_only=True))
    run(data.head(3 * recipe.batch_size), dataclasses.replace(recipe, epochs=1, run_name="warm-up"))
    print(json.dumps(run(data, recipe)))


def finish(command: Sequence[object], **settings: str) -> str:
    """Standard output of a command that must succeed; OpenMP waits as settings say, if they do."""
    own = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    environment = {name: os.environ[name] for name in os.environ.keys() - own} | settings
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True,
                          encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def measure(job: str, data: Dataset, recipe: dict) -> dict:
    """Result of a job of work() in a new process, set up as the notebooks set up theirs."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save(data._asdict(), Path(folder) / "data.pt")
        places = {"device": "cpu", "runs_dir": folder}
        command = [sys.executable, __file__, "--work", job, "--recipe", json.dumps(recipe | places)]
        result = json.loads(finish(command, GOMP_SPINCOUNT="5000").splitlines()[-1])
    say(job, recipe, result["seconds"])
    return result


def measure_student(data: Dataset, recipe: dict, nesterov: bool) -> dict:
    """Result of upkeep/student_loop.py in a new process, set up as Python comes."""
    from bench_report import epoch_seconds
    arrays = {"train_images": data.train_images.squeeze(1), "train_labels": data.train_labels,
              "test_images": data.test_images.squeeze(1), "test_labels": data.test_labels,
              "mean": data.mean.tolist(), "std": data.std.tolist()}
    with tempfile.TemporaryDirectory() as folder:
        own = Recipe(**recipe, runs_dir=folder)
        settings = dataclasses.asdict(own) | {"network": own.network(), "nesterov": nesterov}
        inputs = Path(folder) / "settings.json", Path(folder) / "arrays.pt"
        inputs[0].write_text(json.dumps(settings), encoding="utf-8")
        torch.save(arrays, inputs[1])
        command = [sys.executable, files.ROOT / "upkeep" / "student_loop.py", *inputs]
        result = json.loads(finish(command))
    result["seconds"] = statistics.mean(epoch_seconds(result))
    say("student", recipe, result["seconds"])
    return result


def say(name: str, parameters: dict, seconds: float) -> None:
    print(f"{time.strftime('%H:%M:%S')} {name} {parameters}: {seconds:.4g} seconds", flush=True)


# ------------------------------------------------------------------------------------ the parts
def cut(data: Dataset, images: int) -> Dataset:
    """A dataset cut or repeated to images to train and a sixth of that to test."""
    train = torch.arange(images) % len(data.train_labels)
    test = torch.arange(math.ceil(images / 6)) % len(data.test_labels)
    return data._replace(
        train_images=data.train_images[train], train_labels=data.train_labels[train],
        test_images=data.test_images[test], test_labels=data.test_labels[test])


def speed(args: argparse.Namespace) -> dict:
    """Seconds an epoch of each contender, by norm: one list entry a turn."""
    results: dict[str, dict] = {norm: {} for norm in defaults()}
    for _, (norm, default) in itertools.product(range(args.repetitions), defaults().items()):
        student = default | STUDENT
        turn = {"student": measure_student(args.data, student | {"epochs": 1}, nesterov=True),
                "same": measure("pack", args.data, student | FEW),
                "default": measure("pack", args.data, default | FEW),
                "limit": measure("limit", args.data, default | FEW)}
        for name, result in turn.items():
            results[norm].setdefault(name, []).append(result["seconds"])
    return results


def profile(args: argparse.Namespace) -> dict:
    """Where the seconds of an epoch of the default recipes go."""
    results = {}
    for norm, default in defaults().items():
        turns = [{"limit": measure("limit", args.data, default | FEW)["seconds"],
                  **measure("profile", args.data, default | FEW)}
                 for _ in range(args.repetitions)]
        results[norm] = {key: statistics.median(turn[key] for turn in turns)
                         for key in ("limit", "seconds")}
        for group in ("sections", "operations"):
            results[norm][group] = {key: statistics.median(turn[group][key] for turn in turns)
                                    for key in turns[0][group]}
    return results


def growth(args: argparse.Namespace) -> list[dict]:
    """Seconds an epoch of the default recipes, with more images and with other batches."""
    twelfth, quarter = args.images // 12, args.images // 4
    cases = [(twelfth, 128), (quarter, 128), (args.images, 128), (quarter, 32), (quarter, 512)]
    results = [{"norm": norm, "images": images, "batch_size": batch_size, "seconds": []}
               for norm in defaults() for images, batch_size in cases]
    for _, case in itertools.product(range(args.repetitions), results):
        data = cut(args.data, case["images"])
        recipe = defaults()[case["norm"]] | FEW | {"batch_size": case["batch_size"]}
        case["seconds"].append(measure("pack", data, recipe)["seconds"])
    return results


def busy(args: argparse.Namespace) -> dict:
    """Seconds an epoch of the default recipes, alone and beside a process that never rests."""
    results = {norm: {"alone": [], "beside": []} for norm in defaults()}
    for _, (norm, default) in itertools.product(range(args.repetitions), defaults().items()):
        seconds = results[norm]
        seconds["alone"].append(measure("pack", args.data, default | FEW)["seconds"])
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
            try:
                seconds["beside"].append(measure("pack", args.data, default | FEW)["seconds"])
            finally:
                other.kill()
    return results


def notebooks(args: argparse.Namespace) -> dict:
    """Start-up, memory and final accuracy of the recipe notebooks, run by papermill."""
    code = f"import sys; sys.path[:0] = [{str(files.ROOT)!r}]; import utils"
    importing = timeit.repeat(lambda: finish([sys.executable, "-c", code]), number=1, repeat=3)
    own = {"dataset": args.dataset}
    small = [run_notebook(name, own | {"epochs": 1, "train_size": 1000})
             for name in RECIPES.values()]
    size = args.images if args.images < len(load_dataset(args.dataset).train_labels) else 0
    full = [run_notebook(notebook, own | {"epochs": args.epochs, "train_size": size, "seed": seed})
            for seed in range(1, args.seeds + 1) for notebook in RECIPES.values()]
    return {"import_seconds": importing, "small": small, "full": full}


def run_notebook(notebook: str, parameters: dict) -> dict:
    """Run a recipe notebook by papermill and watch its kernel from outside.

    first_step_seconds: from the start of papermill to the first step of training. peak_mb: the
    most memory that the kernel had ever held by the end of each epoch (Linux only).
    """
    from kernels import own_kernel

    with tempfile.TemporaryDirectory() as folder:
        parameters = parameters | {"runs_dir": folder, "run_name": "run", "device": "cpu"}
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-level", "ERROR",
                   "--stdout-file", "-", files.ROOT / "notebooks" / f"{notebook}.ipynb",
                   f"{folder}/out.ipynb", "-y", json.dumps(parameters)]
        started, ends, peaks = time.perf_counter(), [], []
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
            env=os.environ | {"PYTHONUNBUFFERED": "1", "TQDM_DISABLE": "1"} | own_kernel())
        for line in process.stdout:
            if line.startswith("epoch "):
                ends.append(time.perf_counter() - started)
                peaks.append(max(map(peak_memory, psutil.Process(process.pid).children(True))))
        if process.wait():
            raise RuntimeError(f"{notebook} failed:\n{process.stderr.read()}")
        seconds = time.perf_counter() - started
        record = json.loads((Path(folder) / "run" / "record.json").read_text(encoding="utf-8"))
    first = record["epochs"][0]
    say(notebook, parameters, seconds)
    return {
        "notebook": notebook, "seed": record["parameters"]["seed"], "seconds": seconds,
        "first_step_seconds": ends[0] - first["train_seconds"] - first["test_seconds"],
        "training_seconds": record["seconds"], "peak_mb": peaks,
        "test_accuracy": record["epochs"][-1]["test_accuracy"]}


def peak_memory(process: psutil.Process) -> float:
    """The most memory in MB that a process has held; 0 where the system does not say."""
    return int(find(r"VmHWM:\s*(\d+)", f"/proc/{process.pid}/status") or 0) / 1024


def find(pattern: str, file: str) -> str:
    """What a pattern's group finds in a file; "" if there is no such file or text."""
    text = Path(file).read_text(encoding="utf-8") if Path(file).is_file() else ""
    found = re.search(pattern, text)
    return found[1].strip() if found else ""


def goal(args: argparse.Namespace) -> dict:
    """Test accuracy against seconds: the student loop's own recipe and the quick preset."""
    student = defaults()["group"] | STUDENT | {"epochs": args.epochs}
    quick = defaults()["group"] | QUICK
    results = {"student": [], "quick": []}
    for seed in range(1, args.seeds + 1):
        results["student"].append(measure_student(args.data, student | {"seed": seed}, False))
        results["quick"].append(measure("pack", args.data, quick | {"seed": seed}))
    return results


def machine() -> dict:
    """What the seconds were measured on."""
    import torchvision
    return {"processor": find(r"model name\s*:(.*)", "/proc/cpuinfo") or platform.processor()
            or platform.machine(), "cores": psutil.cpu_count(), "threads": threads.THREADS,
            "memory_gb": round(psutil.virtual_memory().total / 2**30),
            "system": platform.system(), "python": platform.python_version(),
            "torch": torch.__version__, "torchvision": torchvision.__version__}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS,
                        help="none: only the report, of what was measured before")
    parser.add_argument("--dataset", default="mnist", help="mnist_sample: a trial without data")
    parser.add_argument("--images", type=int, default=60_000, help="training images an epoch")
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each comparison")
    parser.add_argument("--epochs", type=int, default=20, help="of parts notebooks and goal")
    parser.add_argument("--seeds", type=int, default=3, help="of parts notebooks and goal")
    parser.add_argument("--out", type=Path, default=files.ROOT / "runs" / "bench")
    parser.add_argument("--publish", action="store_true", help="keep the results")
    parser.add_argument("--work", help=argparse.SUPPRESS)  # the process of one measurement
    parser.add_argument("--recipe", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name in ("images", "repetitions", "epochs", "seeds"):
        files.check_range(f"--{name}", getattr(args, name), 12 if name == "images" else 1)
    if args.work:
        threads.set_up_torch()  # looks.set_up() without the theme of figures
        torch.set_num_threads(threads.THREADS)  # as training.train() does
        work(args.work, Recipe(**args.recipe))
        return
    from bench_report import show, write_json

    from coursepack.show import looks
    looks.set_up()
    files.check_writable("--out", args.out)
    data = load_dataset(args.dataset)
    print(data)
    file, args.data = args.out / "bench.json", cut(data, args.images)
    results = {"machine": machine(), "run": {
        "data": data.name, "source": data.source, "images": args.images}}
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if {**earlier, **results} == earlier:  # the same machine and numbers: keep its other parts
        results = earlier
    for part in args.parts:
        results[part] = globals()[part](args)
        results["turns"] = results.get("turns", {}) | {part: args.repetitions}
        write_json(results, file)
    show(results, args.out, args.publish)


if __name__ == "__main__":
    main()
