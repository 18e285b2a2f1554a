"""Faults of a run: kills, full disks, two at once, broken checkpoints. For tools/faults.py."""

import builtins
import contextlib
import functools
import gzip
import hashlib
import http.server
import importlib
import io
import itertools
import json
import os
import platform
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import study
import torch
from fault_inputs import Case, run_notebook, tiny, trained
from fault_records import MAKE, write_run
from PIL import Image
from torchvision import datasets
from watched import REFUSED, WELL, kill, last_line, start

from coursepack import files, threads
from coursepack.data.datasets import load_dataset
from coursepack.files import ROOT

SIX = {"epochs": 6, "train_size": 400}  # long enough to be disturbed in the midst of it


# ------------------------------------------------------------------------------ what is done
class Process:
    """A process of a user. All that it says is passed on, so that its silence is noticed."""

    def __init__(self, folder: Path, do: Callable[[], object]):
        self.said = Path(tempfile.mkstemp(dir=folder, suffix=".said")[1])
        self.status: int | None = None
        self.passed = 0
        self.pid = start(do, self.said)

    def look(self) -> str:
        """Pass on what is new, and see whether it has ended. Returns all that it said."""
        if self.status is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if done else None
        text = self.said.read_bytes()
        os.write(1, text[self.passed:])
        self.passed = len(text)
        return text.decode(errors="replace")

    def until(self, there: Callable[[str], object]) -> "Process":
        """Wait until there is something in what it said, or it ends."""
        while not there(self.look()) and self.status is None:
            time.sleep(0.02)
        return self

    def end(self) -> "Process":
        """Wait until it ends."""
        return self.until(lambda text: False)

    def refuses(self, *words: str) -> str:
        """Its message, which has to be ours, with these words in it."""
        text = self.end().look()
        assert self.status == REFUSED, f"not refused by a message of ours: {last_line(text)}"
        missing = [word for word in words if word not in last_line(text)]
        assert not missing, f"{missing} missing in: {last_line(text)}"
        return last_line(text)

    def works(self, *words: str, lacks: str = "\0") -> str:
        """All that it said; it has to end well, with these words, and without others."""
        text = self.end().look()
        assert self.status == WELL, f"it does not work: {last_line(text)}"
        for word in words:
            assert word in text, f"it does not say {word!r}"
        assert lacks not in text, f"it says {lacks!r}"
        return text


def training(folder: Path, **parameters: object) -> Process:
    """A process that trains as notebook 01 does."""
    return Process(folder, functools.partial(trained, folder, **SIX | parameters))


def command(folder: Path, *words: object, **environment: str) -> Process:
    """A command of a terminal, in the folder of the course."""
    def become() -> None:
        os.chdir(ROOT)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        line = [str(word) for word in words]
        os.execvpe(line[0], line, os.environ | environment)
    return Process(folder, become)


def in_second_epoch(text: str) -> bool:
    return "epoch  2/" in text


def record_of(folder: Path, name: str = "run") -> dict:
    return json.loads((folder / "runs" / name / "record.json").read_text(encoding="utf-8"))


def history(folder: Path, name: str = "run") -> list[dict]:
    """The epochs of a run, without what differs from run to run: its seconds."""
    return [{key: value for key, value in row.items() if not key.endswith("_seconds")}
            for row in record_of(folder, name)["epochs"]]


def as_undisturbed(folder: Path, left: Sequence[str] = (), **parameters: object) -> str:
    """Compare the run in folder with one that nothing disturbs. left: files that may remain."""
    other = folder / "undisturbed"
    other.mkdir()
    training(other, **parameters).works()
    assert history(folder) == history(other), "its history is not that of an undisturbed run"
    names = {path.name for path in (folder / "runs" / "run").iterdir()} - set(left)
    assert {"misclassified.npz", "model.pt", "record.json"} == names - {".lock"}, names
    return "its history is that of an undisturbed run, bit for bit"


def killed(folder: Path, **parameters: object) -> Path:
    """A run that was killed in its third epoch; returns its checkpoint."""
    run = training(folder, **parameters).until(in_second_epoch)
    kill(run.pid)
    run.end()
    [file] = folder.glob("runs/run/unfinished*")
    return file


# ------------------------------------------------------------------- signals, and two at once
def stopped_by(number: int, folder: Path) -> str:
    run = training(folder).until(in_second_epoch)
    os.kill(run.pid, number)
    run.end()
    assert run.status != WELL
    assert not (folder / "runs" / "run" / "record.json").exists()
    training(folder).works("continuing after epoch")
    return f"the same again continues after its last epoch; {as_undisturbed(folder)}"


def paused(folder: Path) -> str:
    run = training(folder).until(in_second_epoch)
    os.kill(run.pid, signal.SIGSTOP)
    time.sleep(2)
    os.kill(run.pid, signal.SIGCONT)
    run.works()
    return f"it goes on; {as_undisturbed(folder)}"


def two_at_once(folder: Path, **other: object) -> str:
    first = training(folder).until(lambda text: "epoch  1/" in text)
    said = training(folder, **other).refuses("run", "another process")
    first.works()
    as_undisturbed(folder)
    return said


def one_after_the_other(folder: Path) -> str:
    training(folder, epochs=2).works()
    before = record_of(folder)
    text = training(folder, epochs=2, lr=0.05).works("-earlier-1")
    after = record_of(folder, "run-earlier-1")
    assert after["parameters"].pop("run_name") == "run-earlier-1"
    del before["parameters"]["run_name"]
    assert after == before, "the first run is not as it was"
    assert record_of(folder)["parameters"]["lr"] == 0.05
    return next(line for line in text.splitlines() if "-earlier-1" in line)


def twelve_at_once(folder: Path) -> str:
    names = [f"run-{number}" for number in range(12)]
    for run in [training(folder, epochs=2, run_name=name) for name in names]:
        run.works()
    histories = [history(folder, name) for name in names]
    assert histories == histories[:1] * 12, "they are not alike"
    assert all(record_of(folder, name)["parameters"]["run_name"] == name for name in names)
    return "twelve finished runs, each as if it were alone"


def twelve_tried_folders(folder: Path) -> str:
    """Runs that begin at once try one folder; none may stumble over what another leaves there."""
    def try_often() -> str:
        for _ in range(300):
            files.check_writable("runs_dir", folder / "runs")
        return "it can be written"
    for process in [Process(folder, try_often) for _ in range(8)]:
        process.works()
    return "all eight could write, every time"


# ---------------------------------------------------------------------------- disks and clocks
@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 4 MB, where the system lets us mount one; else a folder."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True)
    try:
        yield disk
    finally:
        if disk.is_mount():
            subprocess.run(["umount", "-l", disk], check=True)


def fill(disk: Path) -> None:
    """Leave no room on a disk; without one of our own, for no file of this process."""
    if not disk.is_mount():
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, resource.RLIM_INFINITY))
        return
    with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def disk_full(name: str, folder: Path) -> str:
    """The disk is full just before a file whose name begins like this is written."""
    with small_disk(folder) as disk:
        def train_until_full() -> str:
            write = files.replace_file

            def fill_then_write(path: Path, *arguments: object) -> None:
                if path.name.startswith(name):
                    fill(disk)
                write(path, *arguments)

            files.replace_file = fill_then_write
            return trained(folder, **SIX, runs_dir=str(disk))

        (folder / "runs").symlink_to(disk)
        said = Process(folder, train_until_full).refuses(name, str(disk), "Make room")
        (disk / "filler").unlink(missing_ok=True)
        training(folder, runs_dir=str(disk)).works()
        left = [path.name for path in disk.glob("run/*") if path.name.startswith(".")]
        assert not [path for path in left if not path.endswith(".lock")], left
        assert len(record_of(folder)["epochs"]) == SIX["epochs"]
        return said


def folder_removed(folder: Path) -> str:
    run = training(folder).until(lambda text: "epoch  1/" in text)
    shutil.rmtree(folder / "runs", ignore_errors=True)
    said = run.refuses(str(folder / "runs"))
    training(folder).works()
    as_undisturbed(folder)
    return said


def read_only(do: Callable[[Path], object], folder: Path) -> str:
    with small_disk(folder) as disk:
        if disk.is_mount():
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        else:
            disk.chmod(0o555)
        run = Process(folder, functools.partial(do, disk))
        said = run.refuses(str(disk), "cannot write")
        assert "epoch  1/" not in run.look(), "it trained first"
        return said


def summary_into(disk: Path) -> str:
    run_notebook("04", images_dir=str(disk), shown=2, runs_dir="results/mnist_7k")
    return "a summary"


def clock_set_back(folder: Path) -> str:
    """At every look at the clock it is a minute earlier."""
    def run_backwards() -> str:
        minutes = itertools.count()
        now = time.time()
        time.time = lambda: now - 60 * next(minutes)
        time.time_ns = lambda: int(1e9 * time.time())
        return trained(folder, **SIX)

    Process(folder, run_backwards).works()
    record = record_of(folder)
    seconds = [row[key] for row in record["epochs"] for key in ("train_seconds", "test_seconds")]
    assert min([record["seconds"], *seconds]) >= 0, "a duration is negative"
    return f"no duration is negative; {as_undisturbed(folder)}"


def synced_before_renamed(folder: Path) -> str:
    """After a power cut a name must not lead to a file that never reached the disk."""
    def follow() -> str:
        synced, fsync, replace = set(), os.fsync, os.replace

        def note(number: int) -> None:
            synced.add(os.fstat(number).st_ino)
            fsync(number)

        def check(source: Path, target: Path) -> None:
            assert os.stat(source).st_ino in synced, f"{Path(target).name} was not on the disk"
            replace(source, target)

        os.fsync, os.replace = note, check
        return trained(folder, **SIX)

    Process(folder, follow).works()
    return "every file was on the disk before it got its name"


# ------------------------------------------------------------------------------- the network
class Silent(http.server.BaseHTTPRequestHandler):
    """Answers that it has a file, and then never sends it."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        time.sleep(600)


class Garbage(Silent):
    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(b"<html>Log in to the hotel's network</html>")


class Whole(Silent):
    def do_GET(self) -> None:
        time.sleep(0.3)
        self.do_HEAD()
        self.wfile.write(FILES[self.path.rsplit("/", 1)[-1]])


def packed(array: np.ndarray) -> bytes:
    """An array as the files of MNIST hold it."""
    array, file = array.astype(np.uint8), io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as zipped:
        zipped.write(np.array([0x800 + array.ndim, *array.shape], ">i4").tobytes())
        zipped.write(array.tobytes())
    return file.getvalue()


FILES = {f"{name}.gz": packed(tiny()[key]) for name, key in {
    "train-images-idx3-ubyte": "x_train", "train-labels-idx1-ubyte": "y_train",
    "t10k-images-idx3-ubyte": "x_test", "t10k-labels-idx1-ubyte": "y_test"}.items()}


def from_network(folder: Path, port: int) -> str:
    """Train on MNIST from a server of this machine."""
    os.environ["no_proxy"] = "*"
    datasets.MNIST.mirrors = [f"http://127.0.0.1:{port}/"]
    datasets.MNIST.resources = [(name, hashlib.md5(data).hexdigest())
                                for name, data in FILES.items()]
    return trained(folder, train_size=0, data_dir=str(folder / "data"),
                   run_name=f"run-{os.getpid()}")


def served_by(answers: type, runs: int, folder: Path) -> tuple[list[Process], str]:
    """So many runs at once whose data a server has; they, and what was asked of the server."""
    (folder / "data").mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answers)
    serving = Process(folder, server.serve_forever)
    here = [Process(folder, functools.partial(from_network, folder, server.server_port))
            for _ in range(runs)]
    for process in here:
        process.end()
    kill(serving.pid)
    return here, serving.end().look()


def network_that_swallows(folder: Path) -> str:
    """A proxy that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        def run() -> str:
            address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
            os.environ |= {"https_proxy": address, "http_proxy": address, "DATA_DIR": ""}
            files.ROOT = folder  # of a course without data: in a chosen folder it is refused
            return f"the images are of the {load_dataset('mnist').source}"
        text = Process(folder, run).works("of the sample")
    assert not (folder / "data").exists(), "it leaves a data folder"
    return last_line(text)


def network_that_stalls(answers: type, folder: Path) -> str:
    [run], _ = served_by(answers, 1, folder)
    return run.refuses("mnist", str(folder / "data"))


def one_download(folder: Path) -> str:
    runs, asked = served_by(Whole, 3, folder)
    for run in runs:
        run.works("on the torchvision")
    times = [asked.count(f"GET /{name}") for name in FILES]
    # torchvision asks for a file, then fetches it; before, each run asks for the first
    assert times in [[2 + asking, 2, 2, 2] for asking in (1, 2, 3)], f"{times} requests"
    return "three finished runs; each file was fetched once"


# ----------------------------------------------------------------------- studies and summaries
def killed_study(folder: Path) -> str:
    """Everything is killed at once, as by a power cut; the same command ends the study."""
    runs = folder / "runs"
    words = (*MAKE, "study", "STUDY=trial", f"RUNS={runs}")
    try:
        first = command(folder, *words).until(in_second_epoch)
        kill(first.pid)
        first.end()
        before = {file: file.read_bytes() for file in runs.glob("*/*/record.json")}
        command(folder, *words).works()
        assert len(list(runs.glob("*/*/record.json"))) == 4
        assert (runs / "trial" / "summary.ipynb").is_file()
        assert all(file.read_bytes() == content for file, content in before.items())
        return "the same again ends the study: four records and the summary"
    finally:
        command(folder, *words, "SNAKEMAKE=--unlock").end()


def one_run_missing(folder: Path) -> str:
    """A study of which one run is missing: it has the machine to itself."""
    runs = folder / "runs"
    for run in study.read_study("trial", str(runs))[1:]:
        write_run(runs, run.name, **study.all_parameters(run), source="sample")
    words = ("-m", "snakemake", "--snakefile", "studies/Snakefile", "--dry-run", "--cores", "all",
             "--config", "study=trial", f"folder={runs}")
    text = command(folder, sys.executable, *words).works("1 of them to do")
    threads_of_each = re.search(r"threads of each: (\d+)", text)[1]
    assert threads_of_each != "1" or os.cpu_count() == 1, "the run gets one thread"
    return "the run gets more than one core"


def killed_summary(folder: Path) -> str:
    words = (sys.executable, "-m", "papermill", "--no-progress-bar", "notebooks/04_summary.ipynb",
             folder / "out.ipynb", "-p", "runs_dir", "results/mnist_7k", "-p", "images_dir",
             folder / "images", "-p", "shown", "2")
    first = command(folder, *words).until(lambda text: list(folder.glob("images/[!.]*.png")))
    kill(first.pid)
    first.end()
    for file in folder.glob("images/[!.]*.png"):  # half of one may lie under a temporary name
        Image.open(file).load()
    command(folder, *words).works()
    count = len(list(folder.glob("images/[!.]*.png")))
    return f"every figure was whole; the same again makes all {count}"


# ------------------------------------------------------------------------ threads and machines
def user(folder: Path, course: Path = ROOT, **environment: str) -> Process:
    """A process that starts from nothing, with these environment variables."""
    return command(folder, sys.executable, course / "tools" / "fault_inputs.py", folder,
                   json.dumps(SIX), **environment)


def threads_changed(folder: Path) -> str:
    run = user(folder, OMP_NUM_THREADS="1").until(in_second_epoch)
    kill(run.pid)
    run.end()
    text = user(folder, OMP_NUM_THREADS="2").works("continuing after epoch", "thread")
    as_undisturbed(folder)
    return next(line for line in text.splitlines() if "thread" in line)


def machine(cores: int, busy: bool, limit: str, folder: Path) -> list[int]:
    """Threads of each epoch on a machine of so many cores, idle or without a clock of its cores."""
    open_file, exists = io.open, os.path.exists

    def open_limit(file: object, *arguments: object, **options: object) -> io.IOBase:
        if str(file).endswith("cpu.max"):
            return io.StringIO(limit)
        return open_file(file, *arguments, **options)

    def run() -> str:
        still = psutil.cpu_times()
        os.environ.pop("OMP_NUM_THREADS", None)
        torch.get_num_threads = lambda: cores
        os.cpu_count = psutil.cpu_count = lambda *arguments, **options: cores
        os.sched_getaffinity = lambda pid: set(range(cores))
        io.open = builtins.open = open_limit
        os.path.exists = lambda file: exists(file) or str(file).endswith("cpu.max")
        psutil.cpu_times = lambda *arguments, **options: still._replace(
            idle=still.idle + (0 if busy else cores * time.monotonic()))
        importlib.reload(threads)
        torch.set_num_threads = lambda count: print(f"takes {count} threads")
        return trained(folder, **SIX)

    text = Process(folder, run).works()
    taken = [int(line.split()[1]) for line in text.splitlines() if line.startswith("takes ")]
    return taken or [cores]


def times_stand_still(folder: Path) -> str:
    taken = machine(2, True, "max 100000", folder)
    assert taken[-1] == 2, f"it takes {taken[-1]} of 2 cores"
    return "it takes both of two cores"


def two_cores_of_64(folder: Path) -> str:
    taken = machine(64, False, "200000 100000", folder)
    assert max(taken) <= 2, f"it takes {max(taken)} threads"
    return "it takes no more than two threads"


def without_unix(folder: Path) -> str:
    """What Windows has not is taken away, then the toolbox imported and a run made."""
    for name in [name for name in sys.modules if name.split(".")[0] in (
            "coursepack", "model", "utils")]:
        del sys.modules[name]
    for name in ("fcntl", "resource", "pwd", "grp", "termios"):
        sys.modules[name] = None
    for name in ("getuid", "geteuid", "sched_getaffinity", "getloadavg", "uname", "mkfifo"):
        delattr(os, name)
    platform.libc_ver = lambda *arguments: ("", "")
    utils = importlib.import_module("utils")
    utils.set_up()
    recipe = utils.Recipe(runs_dir=str(folder), epochs=1, train_size=200, arch="mnist_8k")
    images = utils.load_dataset(recipe.dataset, recipe.data_dir, recipe.train_size)
    net = utils.build_model(recipe, images)
    utils.save_run(net, images, recipe, utils.train(net, images, recipe))
    return "a finished run"


# -------------------------------------------------------------------------------- checkpoints
def starts_anew_or_refuses(run: Process, file: Path, folder: Path, **parameters: object) -> str:
    """A run that finds a checkpoint which is not its own, or broken."""
    text = run.end().look()
    if run.status == WELL:
        assert "continuing after epoch" not in text, "it continues with the state of another run"
        return f"it is not continued: {as_undisturbed(folder, [file.name], **parameters)}"
    said = run.refuses(file.name, "Remove")
    (shutil.rmtree if file.is_dir() else Path.unlink)(file)
    training(folder, **parameters).works()
    as_undisturbed(folder, **parameters)
    return said


def broken(change: Callable[[Path], object], folder: Path) -> str:
    file = killed(folder)
    change(file)
    try:
        return starts_anew_or_refuses(training(folder), file, folder)
    finally:
        assert not (file.parent / "executed").exists(), "code in it was executed"


def another_run(folder: Path, **parameters: object) -> str:
    """The checkpoint of a run with other parameters, under the name of this one's."""
    file = killed(folder)
    (folder / "other").mkdir()
    shutil.copy(killed(folder / "other", **parameters), file)
    return starts_anew_or_refuses(training(folder), file, folder)


class Trap:
    """Would create a folder called executed beside the file that it is unpickled from."""

    def __init__(self, file: Path):
        self.place = str(file.with_name("executed"))

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.place,)


def without(*keys: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        state = torch.load(file, weights_only=True)
        torch.save({key: value for key, value in state.items() if key not in keys}, file)
    return change


def folder_in_place(file: Path) -> None:
    file.unlink()
    file.mkdir()


def other_images(folder: Path) -> str:
    """Between two calls of one run the images are replaced by others of that name and number."""
    def save(**changes: object) -> None:
        arrays = dict(np.load(Path(os.environ["DATA_DIR"]) / "mnist.npz")) | changes
        (folder / "data").mkdir(exist_ok=True)
        np.savez(folder / "data" / "mnist.npz", **arrays)
        save.images = arrays["x_train"]

    save()
    own = {"data_dir": str(folder / "data")}
    file = killed(folder, **own)
    save(x_train=255 - save.images)
    return starts_anew_or_refuses(training(folder, **own), file, folder, **own)


def other_torch(folder: Path) -> str:
    file = killed(folder)

    def run() -> str:
        torch.__version__ = "9.9.9"
        return trained(folder, **SIX)

    return starts_anew_or_refuses(Process(folder, run), file, folder)


def other_code(folder: Path) -> str:
    """Between two calls of one run a line is added to model.py."""
    copy = folder / "course"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(
        ".*", "runs", "data", "images", "results", "*.ipynb", "__pycache__"))
    run = user(folder, copy).until(in_second_epoch)
    kill(run.pid)
    run.end()
    [file] = folder.glob("runs/run/unfinished*")
    with open(copy / "model.py", "a", encoding="utf-8") as model:
        model.write("\nEPSILON = 1e-3\n")
    return starts_anew_or_refuses(user(folder, copy), file, folder)


def checkpoint_cases() -> list[Case]:
    changes = {
        "cut short": lambda file: file.write_bytes(file.read_bytes()[:5000]),
        "empty": lambda file: file.write_bytes(b""),
        "without its optimizer": without("optimizer"),
        "without its history": without("history"),
        "with code that unpickling would run": lambda file: torch.save(Trap(file), file),
        "a folder": folder_in_place,
        "a text": lambda file: file.write_text("epoch 2, accuracy 0.97\n", encoding="utf-8"),
        "a list": lambda file: torch.save([1, 2], file),
        "an archive of arrays": lambda file: np.savez(file.open("wb"), **tiny()),
    }
    here = functools.partial
    cases = {f"a checkpoint that is {what}": here(broken, change)
             for what, change in changes.items()} | {
        "a checkpoint with another network's weights": here(another_run, arch="mnist_7k"),
        "a checkpoint renamed from another recipe": here(another_run, lr=0.02),
        "a checkpoint of a run with more epochs": here(another_run, epochs=7),
        "other images between two calls": other_images,
        "other code between two calls": other_code,
        "another version of torch between two calls": other_torch,
    }
    return [Case("Checkpoints", what, do) for what, do in cases.items()]


def run_cases() -> list[Case]:
    here = functools.partial
    cases = {
        "kill -9 in an epoch, then again": here(stopped_by, signal.SIGKILL),
        "Ctrl-C in an epoch, then again": here(stopped_by, signal.SIGINT),
        "SIGTERM in an epoch, then again": here(stopped_by, signal.SIGTERM),
        "stopped for a while (SIGSTOP, SIGCONT)": paused,
        "the disk is full at the checkpoint": here(disk_full, "unfinished"),
        "the disk is full at model.pt": here(disk_full, "model.pt"),
        "the disk is full at misclassified.npz": here(disk_full, "misclassified.npz"),
        "the disk is full at record.json": here(disk_full, "record.json"),
        "the folder of runs is removed during training": folder_removed,
        "a folder of runs that is read-only": here(
            read_only, lambda disk: trained(disk.parent, runs_dir=str(disk), **SIX)),
        "a folder of figures that is read-only": here(read_only, summary_into),
        "power lost after a file got its name": synced_before_renamed,
        "two runs at once, of one name and alike": two_at_once,
        "two runs at once, of one name and unlike": here(two_at_once, lr=0.05),
        "one run name again with other parameters": one_after_the_other,
        "twelve runs at once in one folder": twelve_at_once,
        "eight processes that try one folder": twelve_tried_folders,
        "a network that swallows packets": network_that_swallows,
        "a server that answers and never sends": here(network_that_stalls, Silent),
        "a server that sends a page in place of the data": here(network_that_stalls, Garbage),
        "three runs at once that need one download": one_download,
        "the clock is set back": clock_set_back,
        "other number of threads when it continues": threads_changed,
        "system times that stand still": times_stand_still,
        "a container with two cores of 64": two_cores_of_64,
        "a system without what Unix alone has": without_unix,
        "a study that is killed, then again": killed_study,
        "a study of which one run is missing": one_run_missing,
        "a summary that is killed, then again": killed_summary,
    }
    return [Case("Faults of a run", what, do) for what, do in cases.items()]
