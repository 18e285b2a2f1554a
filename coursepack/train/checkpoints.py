"""An unfinished run: what it is of, who may write to it, and going on after an interruption."""

import functools
import json
import sys
import zlib
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError

import filelock
import torch
from torch import nn

from coursepack import files, threads
from coursepack.data.datasets import Dataset, describe_data
from coursepack.train.recipe import PLACES, Recipe

CODE = ("model.py", *(f"coursepack/{room}.py" for room in (
    "files", "threads", "data/sources", "data/datasets", "train/recipe", "train/batches",
    "train/updates", "train/loop")))
LOCKS: dict[Path, filelock.FileLock] = {}  # of the runs that this process is training


def identity(recipe: Recipe, data: Dataset) -> dict[str, object]:
    """All that decides what a run computes, but for its number of threads and kind of device.

    Parameters, the images themselves, this code and PyTorch's version: where one of them differs,
    it is another run.
    """
    places = ("run_name", *PLACES)
    return {"parameters": {k: v for k, v in asdict(recipe).items() if k not in places},
            "data": describe_data(data), "code": code_checksum(), "torch": str(torch.__version__)}


@functools.cache
def code_checksum() -> str:
    """A checksum (CRC-32) of the code that decides a run's numbers, as it was when asked first."""
    text = "".join((files.ROOT / name).read_text(encoding="utf-8") for name in CODE)
    return f"{zlib.crc32(text.encode()):08x}"


def checkpoint_file(recipe: Recipe, run: dict[str, object]) -> Path:
    """Where an unfinished run is kept: a name of its own for every identity."""
    text = json.dumps(run, sort_keys=True)
    return recipe.run_dir / f"unfinished-{zlib.crc32(text.encode()):08x}.pt"


def hold(recipe: Recipe) -> None:
    """Keep other processes from training this run, until release() or the end of this process.

    Raises PermissionError that names the run if another one is training it.
    """
    folder = recipe.run_dir
    lock = LOCKS.setdefault(folder, filelock.FileLock(folder / ".lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise PermissionError(f"run {recipe.run_name!r} is being trained by another process, in "
                              f"{folder}. Wait for its end, or choose another run_name.") from error
    except NotImplementedError:  # a file system without locks: as good as it gets there
        pass


def release(recipe: Recipe) -> None:
    """Let other processes train this run again."""
    if lock := LOCKS.pop(recipe.run_dir, None):
        lock.release(force=True)


def save_checkpoint(file: Path, run: dict[str, object], model: nn.Module,
                    optimizer: torch.optim.Optimizer, history: list[dict[str, float]]) -> None:
    state = {"run": run, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
             "history": history, "threads": torch.get_num_threads()}
    files.replace_file(file, functools.partial(torch.save, state))


def resume(file: Path, run: dict[str, object], model: nn.Module,
           optimizer: torch.optim.Optimizer) -> tuple[list[dict[str, float]], int]:
    """Load a checkpoint, if there is one, into model and optimizer.

    Returns its history and its number of threads. Raises ValueError that names the file if it is
    broken or of another run: what it holds may be worth something, so it is not for us to remove.
    """
    if not file.exists():
        if others := sorted(path.name for path in file.parent.glob("unfinished-*.pt")):
            print(f"{file.parent} holds {', '.join(others)}, of other parameters, images, code or "
                  "PyTorch: that stays as it is, and this run begins anew.", file=sys.stderr)
        return [], threads.THREADS
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        differ = [part for part in run if state["run"][part] != run[part]]
        if differ or not 0 < len(state["history"]) <= run["parameters"]["epochs"]:
            raise ValueError(f"it is of another run, which differs in {', '.join(differ)}")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        history, used = list(state["history"]), int(state["threads"])
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, EOFError,
            UnpicklingError) as error:
        why = (str(error) or repr(error)).splitlines()[0]
        raise ValueError(f"{file} cannot be continued: {why}. Remove it, and the run begins anew; "
                         "or choose another run_name.") from error
    print(f"This run was interrupted: continuing after epoch {len(history)}, with {used} "
          f"thread{'s' * (used != 1)} as before.")
    return history, used
