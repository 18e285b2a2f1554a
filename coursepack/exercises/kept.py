"""What the right way and the known wrong ones give in the cases of an exercise, without their code.

Grading compares an answer's results with theirs, so it needs no more. In the students' edition,
which tools/students.py makes, a room of exercises has `kept(solution)` in place of its wrong ways.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from coursepack.exercises.grading import Exercise, as_tensor, results_of

FILE = Path(__file__).with_name("kept.json.gz")  # packed: nobody reads a result by mistake


@dataclass(frozen=True, eq=False)
class Way:
    """A way that is known by its results."""
    kept: list[object]


def pack(exercises: Mapping[str, Exercise]) -> bytes:
    """What FILE holds in the students' edition: results, and what is said about the wrong ones."""
    found = {name: {"right": results_of(one, one.solution),
                    "wrong": {said: results_of(one, way) for said, way in one.wrong.items()}}
             for name, one in exercises.items()}
    text = json.dumps(found, default=lambda value: {"tensor": as_tensor(value).tolist()})
    return gzip.compress(text.encode(), mtime=0)


def kept(solution: Callable) -> dict[str, Way]:
    """The wrong ways of the exercise that is called like its solution, which has the right ones.

    Raises OSError where no students' edition was made.
    """
    found = read(FILE)[solution.__name__]
    solution.kept = found["right"]
    return {said: Way(results) for said, results in found["wrong"].items()}


@cache
def read(file: Path) -> dict[str, dict]:
    return json.loads(gzip.decompress(file.read_bytes()), object_hook=unpack)


def unpack(found: dict) -> object:
    """A dictionary of the file, or the tensor that it stands for."""
    if found.keys() == {"tensor"}:
        return torch.tensor(found["tensor"], dtype=torch.float64)
    return found
