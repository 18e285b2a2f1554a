"""How fast is the training, measured against the loop that most write-ups use?

    bench.py                          everything: about two hours on two cores with all of MNIST
    bench.py --parts speed growth     some parts
    bench.py --trial                  with few images of the sample, some minutes

Parts: speed (student loop, the same recipe here, the default recipe, bare compute), profile (where
the seconds go), growth (more images, other batches), busy (beside another process), notebooks
(start-up, memory and accuracy of the recipe notebooks), goal (time to 99.30 % with
notebooks/params/quick.yaml). Every measurement is a process of its own; the contenders take turns,
and a ratio is taken within a turn. The results go to bench.json in --out, beside earlier ones of
the same machine and numbers; bench_report.py makes text and figures of them, and can publish it.
"""

import cProfile
import dataclasses
import functools
import json
import math
import os
import platform
import pstats
import re
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

import bench_report
import psutil
import torch
import torch.nn.functional as F
import torchvision
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tools"))

from kernels import own_kernel

from coursepack import files, threads
from coursepack.data.datasets import SAMPLE, Dataset, load_dataset
from coursepack.lab.studies import notebook_defaults
from coursepack.runs.records import RECIPES
from coursepack.show import looks
from coursepack.train import batches, loop
from coursepack.train.recipe import Recipe

FEW = {"epochs": 4}  # what happens once a run shall not weigh much more than in 20 epochs
STUDENT = {"dropout": 0.1, "augment": "rotate", "penalize": "all", "lr": 0.01, "schedule": "step"}
QUICK = yaml.safe_load((files.ROOT / "notebooks" / "params" / "quick.yaml").read_bytes())
SECTIONS = ("training_batches", "evaluate", "replace_file")  # functions that an epoch calls
OPERATIONS = {"convolutions": "conv", "normalization": "norm(_backward)?$",
              "ReLU": "clamp_min|threshold", "pooling": "pool"}  # names in PyTorch's profiler
FULL = Namespace(dataset="mnist", images=60_000, turns=5, epochs=20, seeds=3)
TRIAL = Namespace(dataset=SAMPLE, images=60, turns=1, epochs=1, seeds=1)


@functools.cache
def defaults() -> dict[str, dict]:
    """The recipes of the three notebooks, by norm."""
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


def run_beside(data: Dataset, recipe: Recipe) -> dict:
    """Train as run_pack, beside a process that never rests."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            return run_pack(data, recipe)
        finally:
            other.kill()


def run_profile(data: Dataset, recipe: Recipe) -> dict:
    """Train as run_pack; seconds by section of the loop, and shares of PyTorch's operations."""
    profiler = cProfile.Profile()
    result = profiler.runcall(run_pack, data, recipe)
    spent = pstats.Stats(profiler).get_stats_profile().func_profiles
    sections = {name: spent[name].cumtime / recipe.epochs for name in SECTIONS}
    few = dataclasses.replace(recipe, run_name="few")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as operations:
        run_pack(data.head(100 * recipe.batch_size), few)
    events = {event.key: event.self_cpu_time_total for event in operations.key_averages()}
    shares = {group: sum(us for key, us in events.items() if re.search(pattern, key))
              / sum(events.values()) for group, pattern in OPERATIONS.items()}
    return {"seconds": result["seconds"], "sections": sections, "operations": shares}


def work(settings: dict, data: Dataset) -> None:
    """What a process of measure() does: warm up on three batches, run, print the result."""
    threads.set_up_torch()
    torch.set_num_threads(threads.THREADS)  # as loop.train() does
    run = {"pack": run_pack, "limit": run_limit, "beside": run_beside,
           "profile": run_profile}[settings["job"]]
    recipe = Recipe(**settings["recipe"])
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


def measure(job: str, data: Dataset, recipe: dict, nesterov: bool = True) -> dict:
    """What a loop measures of itself in a new process.

    Job "student" is student_loop.py, set up as Python comes. The others are those of work(), set up
    as the notebooks set up theirs, and always with Nesterov's momentum.
    """
    with tempfile.TemporaryDirectory() as folder:
        own = Recipe(**recipe, device="cpu", runs_dir=folder)
        settings = {"job": job, "recipe": dataclasses.asdict(own), "network": own.network(),
                    "nesterov": nesterov}
        torch.save(data._asdict(), Path(folder) / "data.pt")
        inputs = [json.dumps(settings), Path(folder) / "data.pt"]
        if job == "student":
            output = finish([sys.executable, Path(__file__).with_name("student_loop.py"), *inputs])
        else:
            output = finish([sys.executable, __file__, "--work", *inputs], GOMP_SPINCOUNT="5000")
    result = json.loads(output.splitlines()[-1])
    print(time.strftime("%H:%M:%S"), job, recipe, f"{result['seconds']:.4g} s", flush=True)
    return result


def take_turns(scale: Namespace, cases: dict[str, dict]) -> dict[str, dict]:
    """What is measured of each norm's cases (arguments of measure()), a list entry a turn."""
    found = {norm: {name: [] for name in own} for norm, own in cases.items()}
    for _ in range(scale.turns):
        for norm, own in cases.items():
            for name, case in own.items():
                found[norm][name].append(measure(*case))
    return found


def seconds_of(found: dict[str, dict]) -> dict[str, dict]:
    """Of all that take_turns() found the seconds."""
    return {norm: {name: [turn["seconds"] for turn in turns] for name, turns in own.items()}
            for norm, own in found.items()}


# ------------------------------------------------------------------------------------ the parts
def cut(data: Dataset, images: int) -> Dataset:
    """A dataset cut or repeated to images to train and a sixth of that to test."""
    train = torch.arange(images) % len(data.train_labels)
    test = torch.arange(math.ceil(images / 6)) % len(data.test_labels)
    return data._replace(
        train_images=data.train_images[train], train_labels=data.train_labels[train],
        test_images=data.test_images[test], test_labels=data.test_labels[test])


def speed(data: Dataset, scale: Namespace) -> dict:
    """Seconds an epoch of each contender, by norm."""
    cases = {}
    for norm, default in defaults().items():
        student = default | STUDENT
        cases[norm] = {"student": ("student", data, student | {"epochs": 1}),
                       "same": ("pack", data, student | FEW),
                       "default": ("pack", data, default | FEW),
                       "limit": ("limit", data, default | FEW)}
    return seconds_of(take_turns(scale, cases))


def profile(data: Dataset, scale: Namespace) -> dict:
    """Where the seconds of an epoch of the default recipes go."""
    found = take_turns(scale, {norm: {job: (job, data, default | FEW)
                                      for job in ("limit", "profile")}
                               for norm, default in defaults().items()})
    return {norm: {"limit": medians(own["limit"])["seconds"], **medians(own["profile"])}
            for norm, own in found.items()}


def medians(turns: list[dict]) -> dict:
    """The median of each number in dictionaries of the same keys, at any depth."""
    return {key: medians([turn[key] for turn in turns]) if isinstance(value, dict)
            else statistics.median(turn[key] for turn in turns)
            for key, value in turns[0].items()}


def growth(data: Dataset, scale: Namespace) -> list[dict]:
    """Seconds an epoch of the default recipes, with more images and with other batches."""
    twelfth, quarter, whole = (cut(data, scale.images // n) for n in (12, 4, 1))
    sizes = [(twelfth, 128), (quarter, 128), (whole, 128), (quarter, 32), (quarter, 512)]
    found = take_turns(scale, {norm: {
        (len(part.train_labels), batch): ("pack", part, default | FEW | {"batch_size": batch})
        for part, batch in sizes} for norm, default in defaults().items()})
    return [{"norm": norm, "images": images, "batch_size": batch, "seconds": seconds}
            for norm, own in seconds_of(found).items()
            for (images, batch), seconds in own.items()]


def busy(data: Dataset, scale: Namespace) -> dict:
    """Seconds an epoch of the default recipes, alone and beside a process that never rests."""
    jobs = {"alone": "pack", "beside": "beside"}
    return seconds_of(take_turns(scale, {
        norm: {name: (job, data, default | FEW) for name, job in jobs.items()}
        for norm, default in defaults().items()}))


def notebooks(data: Dataset, scale: Namespace) -> dict:
    """Start-up, memory and final accuracy of the recipe notebooks, run by papermill."""
    code = f"import sys; sys.path[:0] = [{str(files.ROOT)!r}]; import utils"
    importing = timeit.repeat(lambda: finish([sys.executable, "-c", code]), number=1, repeat=3)
    size = min(scale.images, len(load_dataset(scale.dataset).train_labels))
    small = {"dataset": scale.dataset, "epochs": 1, "train_size": 1000}
    full = small | {"epochs": scale.epochs, "train_size": size}
    return {"import_seconds": importing,
            "small": [run_notebook(name, small) for name in RECIPES.values()],
            "full": [run_notebook(name, full | {"seed": seed})
                     for seed in range(1, scale.seeds + 1) for name in RECIPES.values()]}


def run_notebook(notebook: str, parameters: dict) -> dict:
    """Run a recipe notebook by papermill and watch its kernel from outside.

    first_step_seconds: from the start of papermill to the first step of training. peak_mb: the
    most memory that the kernel had ever held by the end of each epoch (Linux only).
    """
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
                peaks.append(max(
                    int(find(r"VmHWM:\s*(\d+)", f"/proc/{child.pid}/status") or 0) / 1024
                    for child in psutil.Process(process.pid).children(True)))
        if process.wait():
            raise RuntimeError(f"{notebook} failed:\n{process.stderr.read()}")
        seconds = time.perf_counter() - started
        record = json.loads((Path(folder) / "run" / "record.json").read_text(encoding="utf-8"))
    first = record["epochs"][0]
    print(time.strftime("%H:%M:%S"), notebook, parameters, f"{seconds:.4g} s", flush=True)
    return {
        "notebook": notebook, "seed": record["parameters"]["seed"], "seconds": seconds,
        "first_step_seconds": ends[0] - first["train_seconds"] - first["test_seconds"],
        "training_seconds": record["seconds"], "peak_mb": peaks,
        "test_accuracy": record["epochs"][-1]["test_accuracy"]}


def find(pattern: str, file: str) -> str:
    """What a pattern's group finds in a file; "" if there is no such file or text."""
    text = Path(file).read_text(encoding="utf-8") if Path(file).is_file() else ""
    found = re.search(pattern, text)
    return found[1].strip() if found else ""


def goal(data: Dataset, scale: Namespace) -> dict:
    """Test accuracy against seconds: the student loop's own recipe and the quick preset."""
    results = {"student": [], "quick": []}
    for seed in range(1, scale.seeds + 1):
        own = defaults()["group"] | {"seed": seed}
        student = own | STUDENT | {"epochs": scale.epochs}
        results["student"].append(measure("student", data, student, nesterov=False))
        results["quick"].append(measure("pack", data, own | QUICK))
    return results


PARTS = {part.__name__: part for part in (speed, profile, growth, busy, notebooks, goal)}


def machine() -> dict:
    """What the seconds were measured on."""
    return {"processor": find(r"model name\s*:(.*)", "/proc/cpuinfo") or platform.processor()
            or platform.machine(), "cores": psutil.cpu_count(), "threads": threads.THREADS,
            "memory_gb": round(psutil.virtual_memory().total / 2**30),
            "system": platform.system(), "python": platform.python_version(),
            "torch": torch.__version__, "torchvision": torchvision.__version__}


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=[*PARTS],
                        help="none: only the report, of what was measured before")
    parser.add_argument("--trial", action="store_true", help="see above")
    parser.add_argument("--out", type=Path, default=files.ROOT / "runs" / "bench")
    parser.add_argument("--publish", action="store_true", help="keep the results")
    parser.add_argument("--work", nargs=2, help=SUPPRESS)  # of one measurement's process
    args = parser.parse_args()
    if args.work:
        settings, file = args.work
        work(json.loads(settings), Dataset(**torch.load(file, weights_only=True)))
        return
    looks.set_up()
    files.check_writable("--out", args.out)
    scale = TRIAL if args.trial else FULL
    data = cut(load_dataset(scale.dataset), scale.images)
    print(data)
    file = args.out / "bench.json"
    results = {"machine": machine(), "run": {
        "data": data.name, "source": data.source, "images": scale.images}}
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if earlier | results == earlier:  # the same machine and numbers: keep its other parts
        results = earlier
    for part in args.parts:
        results[part] = PARTS[part](data, scale)
        results["turns"] = results.get("turns", {}) | {part: scale.turns}
        bench_report.write_json(results, file)
    bench_report.draw(results, args.out)
    print(f"\n{bench_report.report(results)}\nThe same in {file}, figures beside it.")
    if args.publish:
        bench_report.publish(results)


if __name__ == "__main__":
    main()
