"""How an answer is graded: against the right way, then against the known wrong ones.

An exercise is answered by a function or a class. Its `use` turns an answer and the arguments of a
case into a result: numbers, tensors, or tuples and dictionaries of them. An answer is right where
its results are those of the solution, in all cases. Otherwise its results are compared with those
of each known wrong way, and the first that agrees in all cases names the mistake; if none does,
because there are two mistakes, the first that agrees where the answer first goes wrong. Nothing
here raises, whatever an answer is or does, and nothing depends on the machine; an answer that does
not come to an end is ended.
"""

import copy
import ctypes
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from numbers import Number

import numpy as np
import torch
from torch import Tensor

OPEN, WRONG, RIGHT = "not answered yet", "not yet", "right"
ADVICE = {  # what PyTorch says, and what a learner can do about it
    "must match the size of tensor":
        "A mean or variance over some axes fits x again with `keepdim=True`, a number per channel "
        "with `.view(1, -1, 1, 1)`; weights have the axes (out, in, H, W).",
    "a leaf Variable that requires grad":
        "Weights are changed inside `with torch.no_grad():`, or by way of their `.data`.",
    "cannot assign": "Numbers of a weight are set by way of its `.data`; a new weight or bias is "
                     "an `nn.Parameter`.",
    "is invalid for input of size":
        "The sizes of the new shape, multiplied, have to give the size of the old one.",
    "bitwise_and": "Each comparison needs brackets: `(a >= b) & (a < c)`.",
    "Boolean value of Tensor":
        "Comparisons of tensors are joined by `&`; `.clamp` and `torch.where` take the place of "
        "`max` and `if`.",
    "only one element tensors can be converted": "Of a tensor the root is `torch.sqrt`.",
    "failed to unpack the object": "`/` makes a float; `//` makes a whole number.",
    "dtype": "The tensors of a check are in float64.",
    "'NoneType' object has no attribute 'data'":
        "A convolution without a bias has None in its place; a new one is an `nn.Parameter`.",
}
SECONDS = 10.0  # that an answer may take for all cases; ours take a hundredth
TOLERANCE = 1e-6  # relative to the largest number of a result; cases are in float64


def call(answer: object, *arguments: object) -> object:
    """The usual use of an answer: it is a function, and its result counts."""
    return answer(*arguments)


@dataclass(frozen=True, eq=False)
class Exercise:
    notebook: str  # the first two digits of its name
    solution: Callable  # the right way
    cases: Callable[[], Sequence[tuple]]  # makes the arguments of each use
    wrong: Mapping[str, Callable]  # known wrong ways, by what is said about them
    hints: Sequence[str]
    remark: str  # said when the answer is right: what it is good for
    use: Callable = call
    needs: str = "a function"  # what an answer has to be


class Failed(Exception):
    """An answer that could not be used; its text says why."""


def grade(exercise: Exercise, answer: object) -> tuple[str, str]:
    """OPEN, WRONG or RIGHT, and a sentence that says more. Leaves random numbers as they were."""
    if answer is ...:
        return OPEN, ""
    with torch.random.fork_rng(devices=[]):
        return grade_given(exercise, answer)


def grade_given(exercise: Exercise, answer: object) -> tuple[str, str]:
    """The same, of an answer that is not blank."""
    if not callable(answer):
        return WRONG, f"The answer is {a_or_an(answer)}; {exercise.needs} is asked for."
    try:
        results = in_time(lambda: [attempt(exercise, answer, case) for case in exercise.cases()])
        if any(has_blank(result) for result in results):
            return OPEN, ""
        right = results_of(exercise, exercise.solution)
        problems = [problem(*pair) for pair in zip(results, right)]
        if not any(problems):
            return RIGHT, exercise.remark
        for said, way in exercise.wrong.items():
            if not any(problem(*pair) for pair in zip(results, results_of(exercise, way))):
                return WRONG, said
        said = first_mistake(exercise, results, right)
        if said:
            return WRONG, f"{said} (That is not all: correct it, and check again.)"
        first = next(i for i, found in enumerate(problems) if found)
        return WRONG, where(exercise, first) + problems[first]
    except Failed as failed:
        return WRONG, str(failed)


@cache
def results_of(exercise: Exercise, way: Callable) -> list[object]:
    """What a right or wrong way of ours gives in each case, worked out once."""
    return [exercise.use(way, *case) for case in exercise.cases()]


def flat(results: Sequence[object]) -> list[object]:
    """What is in all results, one after the other."""
    return [item for result in results
            for item in (result.values() if isinstance(result, Mapping) else
                         result if isinstance(result, list | tuple) else [result])]


def first_mistake(exercise: Exercise, results: Sequence[object], right: Sequence[object]) -> str:
    """What a known wrong way is told that agrees with an answer where this first goes wrong, or "".

    Only where a tensor goes wrong: single numbers agree by chance.
    """
    given, expected = flat(results), flat(right)
    if len(given) != len(expected):
        return ""
    first = next((i for i, pair in enumerate(zip(given, expected)) if problem(*pair)), None)
    if first is None or (tensor := as_tensor(expected[first])) is None or tensor.numel() < 2:
        return ""
    return next((said for said, way in exercise.wrong.items()
                 if not problem(given[first], flat(results_of(exercise, way))[first])), "")


def attempt(exercise: Exercise, answer: object, case: tuple) -> object:
    """What an answer gives in a case. Raises Failed."""
    try:
        return exercise.use(answer, *copy.deepcopy(case))
    except (Exception, SystemExit) as error:  # whatever a learner's code may raise
        try:
            text = " ".join(str(error).split())[:120]
        except Exception:  # noqa: BLE001 - even that may be broken
            text = ""
        name = type(error).__name__
        advice = next((f" ({said})" for words, said in ADVICE.items() if words in text), "")
        raised = f"{name}: {text}" if text else name
        stop = "" if raised.endswith((".", "!", "?")) else "."
        raise Failed(f"It stops with {raised}{stop}{advice}") from None


def in_time(work: Callable[[], object]) -> object:
    """What work returns or raises. Raises Failed if that takes too long; an interrupt ends it, too.

    It works in a thread of its own, so that whatever it does, this one goes on.
    """
    outcome: list[tuple[object, BaseException | None]] = []
    done = threading.Event()  # an interrupted join() would take the thread for ended

    def run() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:  # noqa: BLE001 - raised where it was asked for
            outcome.append((None, error))
        done.set()

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    try:
        # Briefly again and again: on Windows an interrupt comes only between two of them.
        late = not any(done.wait(0.05) for _ in range(round(SECONDS / 0.05)))
    except BaseException:
        end(worker)
        raise
    if late:
        end(worker)
        raise Failed(f"It was not done after {SECONDS:g} seconds and was ended. Is there a loop "
                     "that never ends?")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


def end(worker: threading.Thread) -> None:
    """End a thread, whatever Python it runs: by an exception that is raised wherever it is.

    Where an `except:` swallows that, it comes again as soon as it is dropped, and so behind the
    `except:`. What waits outside of Python, in a sleep, ends when it comes back from there.
    """
    ended = type("Ended", (BaseException,), {})
    throw = partial(ctypes.pythonapi.PyThreadState_SetAsyncExc, ctypes.c_ulong(worker.ident),
                    ctypes.py_object(ended))  # no function: that would be ended itself
    ended.__del__ = staticmethod(throw)
    for _ in range(20):
        if not worker.is_alive():
            break
        throw()
        time.sleep(0.02)
    ended.__del__ = staticmethod(int)  # nothing: another thread may get its number


def where(exercise: Exercise, index: int) -> str:
    """For a message: the case it is about, if that can be said in a few words."""
    case = exercise.cases()[index]
    simple = [repr(value) for value in case if isinstance(value, str | int | float | tuple)]
    if len(simple) < len(case) or not case:
        return ""
    return f"For {', '.join(simple)}: "


def a_or_an(value: object) -> str:
    name = type(value).__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def has_blank(value: object) -> bool:
    """Is an ellipsis left somewhere in a result?"""
    if isinstance(value, Mapping):
        value = list(value.values())
    return any(map(has_blank, value)) if isinstance(value, list | tuple) else value is ...


def as_tensor(value: object) -> Tensor | None:
    """A number, an array or a tensor in float64; None for anything else."""
    try:
        if isinstance(value, Tensor):
            return value.detach().cpu().double()
        if isinstance(value, Number | np.ndarray | np.generic):
            return torch.as_tensor(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        pass
    return None


def problem(result: object, right: object) -> str:
    """What is wrong with a result, without giving the right one away; "" where nothing is."""
    if isinstance(right, Mapping):
        if not isinstance(result, Mapping) or set(map(str, result)) != set(map(str, right)):
            return f"A dictionary with {', '.join(map(str, right))} is expected."
        by_name = {str(key): value for key, value in result.items()}
        return next((f"{key}: {said}" for key in right
                     if (said := problem(by_name[str(key)], right[key]))), "")
    if isinstance(right, list | tuple):
        several = isinstance(result, list | tuple) or (
            isinstance(result, Tensor | np.ndarray) and result.ndim > 0)
        if not several or len(result) != len(right):
            return f"{len(right)} results are expected."
        return next((f"Number {i} of {len(right)}: {said}" for i, pair
                     in enumerate(zip(result, right), 1) if (said := problem(*pair))), "")
    if isinstance(right, str):
        return "" if isinstance(result, str) and result.strip().lower() == right else (
            "The answer is another one." if isinstance(result, str) else
            f"The result is {a_or_an(result)}; a word in quotes is expected.")
    return number_problem(result, as_tensor(right))


def number_problem(result: object, right: Tensor) -> str:
    """What is wrong with a number or a tensor, beside the right one; or ""."""
    kind = "a number" if right.ndim == 0 else "a tensor"
    given = as_tensor(result)
    if given is None:
        return f"The result is {a_or_an(result)}; {kind} is expected."
    if right.ndim == 0 and given.numel() == 1:
        given = given.reshape(())
    if given.shape != right.shape:
        return (f"The result has the shape {tuple(given.shape)}; "
                f"{tuple(right.shape) if right.ndim else kind} is expected.")
    if not given.isfinite().all():
        return "The result is not a finite number."
    if torch.allclose(given, right, rtol=TOLERANCE, atol=TOLERANCE * max(1e-6, right.abs().max())):
        return ""
    if right.ndim == 0:
        return f"The result is {given.item():.6g}, and that is not it."
    return f"The results differ from the right ones by up to {(given - right).abs().max():.3g}."
