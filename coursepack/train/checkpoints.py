"""An unfinished run: what it is of, who may write to it, and going on after an interruption."""

import contextlib
import functools
import io
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import filelock
import joblib
import torch

from coursepack import files, threads
from coursepack.data.datasets import Dataset, describe_data
from coursepack.train.recipe import PLACES, Recipe

CODE = ("model.py", *(f"coursepack/{room}.py" for room in (
    "files", "threads", "data/sources", "data/datasets", "train/updates", "train/recipe",
    "train/batches", "train/loop")))
SAVED = "model.pt", "misclassified.npz", "record.json"  # what a finished run leaves, in this order
History = list[dict[str, float]]  # a row for each finished epoch
LOCKS: dict[Path, filelock.FileLock] = {}  # of runs of this process, until saved


def identity(recipe: Recipe, data: Dataset) -> dict[str, object]:
    """All that decides what a run computes, but for its number of threads and kind of device."""
    return {"parameters": what_counts(asdict(recipe)), "data": describe_data(data),
            "code": code_checksum(), "torch": str(torch.__version__)}


def what_counts(parameters: dict[str, object]) -> dict[str, object]:
    """Of a run's parameters those that do not merely say where and under which name it is."""
    return {k: v for k, v in parameters.items() if k not in ("run_name", *PLACES)}


@functools.cache
def code_checksum() -> str:
    """A checksum (CRC-32) of the code that decides a run's numbers, as it was when asked first."""
    text = "".join((files.ROOT / name).read_text(encoding="utf-8") for name in CODE)
    return f"{zlib.crc32(text.encode()):08x}"


def checkpoint_file(recipe: Recipe, run: dict[str, object]) -> Path:
    """Where an unfinished run is kept: a name of its own for every identity."""
    text = json.dumps(run, sort_keys=True)
    return recipe.run_dir / f"unfinished-{zlib.crc32(text.encode()):08x}.pt"


@contextlib.contextmanager
def locked(recipe: Recipe, until_saved: bool = False) -> Iterator[None]:
    """Keep other processes from writing to this run's folder: PermissionError names the run.

    until_saved: for longer, until the run is locked without it or an error ends what is done here.
    """
    folder = recipe.run_dir
    lock = LOCKS.get(folder, filelock.FileLock(folder / ".lock"))
    try:
        with contextlib.suppress(NotImplementedError):  # a file system without locks
            lock.acquire(timeout=0)
            files.clear_rests(folder)
    except filelock.Timeout as error:
        raise PermissionError(f"run {recipe.run_name!r} is being trained by another process, in "
                              f"{folder}. Wait for its end, or choose another run_name.") from error
    LOCKS[folder] = lock
    with contextlib.ExitStack() as at_the_end:
        at_the_end.callback(lambda: LOCKS.pop(folder, lock).release(force=True))
        yield
        if until_saved:
            at_the_end.pop_all()


@contextlib.contextmanager
def visit(recipe: Recipe, data: Dataset, model: torch.nn.Module,
          optimizer: torch.optim.Optimizer) -> Iterator[tuple[History, int, Callable]]:
    """A run as an interruption left it, model and optimizer too, or its start: locked till saved.

    That is its history, the threads that it began with, and a function that adds the row of an
    epoch and keeps the run as it is. Raises PermissionError if its folder cannot be written or
    another process trains it, ValueError for a broken checkpoint, which stays.
    """
    files.check_writable("runs_dir", recipe.run_dir)
    for place in (recipe.run_dir / name for name in (*SAVED, ".lock")):
        if os.path.lexists(place) and not place.is_file():
            raise ValueError(f"{place} is a folder, or a link to nothing, and the run could not be "
                             "saved there. Move it away, or choose another run_name.")
    with locked(recipe, until_saved=True):
        run = identity(recipe, data)
        file = checkpoint_file(recipe, run)
        history, used = resume(file, run, model, optimizer)

        def keep(row: dict[str, float]) -> None:
            history.append(row)
            state = {"run": run, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                     "history": history, "threads": torch.get_num_threads()}
            files.replace_file(file, functools.partial(torch.save, state), kept=True)

        yield history, used, keep


def resume(file: Path, run: dict[str, object], model: torch.nn.Module,
           optimizer: torch.optim.Optimizer) -> tuple[History, int]:
    """Load a checkpoint into model and optimizer: its history and threads; without one [] and 0."""
    if not os.path.lexists(file):
        if others := sorted(path.name for path in file.parent.glob("unfinished-*.pt")):
            print(f"{file.parent} holds {', '.join(others)}, of other parameters, images, code or "
                  "PyTorch: that stays as it is, and this run begins anew.", file=sys.stderr)
        return [], 0
    instead = "Remove it, and the run begins anew; or choose another run_name."
    state = torch.load(io.BytesIO(files.read_kept(file, instead)), "cpu", weights_only=True)
    history, used = state["history"], state["threads"]
    if state["run"] != run:
        raise ValueError(f"{file} is of another run than its name says. {instead}")
    if used > max(joblib.cpu_count(), threads.THREADS):
        raise ValueError(f"{file} was made with {used} threads, more than there are cores, and its "
                         f"digits depend on that. Go on with OMP_NUM_THREADS={used}. {instead}")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"This run was interrupted: continuing after epoch {len(history)}, with {used} "
          f"{'thread' if used == 1 else 'threads'} as before.")
    return history, used
