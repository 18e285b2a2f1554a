"""How an answer is graded: against the right way, then against the known wrong ones.

An exercise is answered by a function or a class. Its `use` turns an answer and the arguments of a
case into a result: numbers, tensors, or tuples and dictionaries of them. An answer is right where
its results are those of the solution, in all cases, and what it was given is as it was. Otherwise
its results are compared with those of each known wrong way: see `mistake`. Where none fits, the
message says where an answer goes wrong, what it gives there, what was expected, and the exercise's
clue: what the result lacks. Nothing here raises, whatever an answer is or does, nothing of it
stays, and nothing depends on the machine. For that it runs inside `in_time` alone, and what leaves
there is a `Result`, in types of ours.
"""

import builtins
import contextlib
import copy
import ctypes
import inspect
import itertools
import math
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from numbers import Number
from operator import is_

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

OPEN, WRONG, RIGHT = "not answered yet", "not yet", "right"
ADVICE = {  # what PyTorch says, and what a learner can do about it
    "must match the size of tensor":
        "Print both shapes. A mean or variance over some axes fits x again with `keepdim=True`, a "
        "number per channel with `.view(1, -1, 1, 1)`; weights have the axes (out, in, H, W).",
    "a leaf Variable that requires grad":
        "Weights are changed inside `with torch.no_grad():`, or by way of their `.data`.",
    "cannot assign": "Numbers of a weight are set by way of its `.data`; a new weight or bias is "
                     "an `nn.Parameter`.",
    "is invalid for input of size":
        "The sizes of the new shape, multiplied, have to give the size of the old one.",
    "size mismatch": "In `a @ b` the last axis of a is as long as b. Print both shapes: is one of "
                     "the two left from an earlier round?",
    "is not defined": "Is it a module? Import it inside of the function.",
    "for ^": "A power is `**`.",
    "cannot access local variable": "It is not set on each way there. What one method keeps for "
                                    "another, or for the next call, begins with `self.`.",
    "bitwise_and": "Each comparison needs brackets: `(a >= b) & (a < c)`.",
    "Boolean value of Tensor":
        "Comparisons of tensors are joined by `&`; `.clamp` and `torch.where` take the place of "
        "`max` and `if`.",
    "only one element tensors can be converted": "Of a tensor the root is `torch.sqrt`.",
    "failed to unpack the object": "`/` makes a float; `//` makes a whole number.",
    "dtype": "The tensors of a check are in float64.",
    "'NoneType' object has no attribute 'data'":
        "A convolution without a bias has None in its place; a new one is an `nn.Parameter`.",
    "'NoneType' object": "None is what a function gives that does not end in a `return`.",
    "division by zero": "A case may have 0 there: say what comes of it before you divide.",
    "empty sequence": "What comes of an empty list is said by `default=`: `max([], default=0.0)`.",
}
KINDS = {  # what a result is instead of a number or a tensor, and what a learner can do about it
    "NoneType": "Does each way through the function end in a `return`?",
    "tuple": "Is there a comma or a bracket too many behind `return`?",
    "list": "Return what is in it; `sum` makes one number of several, `torch.stack` one tensor.",
    "a max": "`.max(0)` takes the largest along axis 0. What is below 0 is cut by `.clamp(min=0)`.",
    "complex": "In Python the root of a negative number is complex: `(-4) ** 0.5`.",
    "nested": "`torch.stack`, or `.reshape` with the shape of x, makes an ordinary one.",
}
CLEAR = ("The answer is ", "The result is right, but ")  # how messages begin that need no hint
SECONDS = 10.0  # that an answer may take for all cases; ours take a hundredth
TOLERANCE = 1e-6  # relative to the largest number of a result; cases are in float64
ITEMS, NUMBERS = 200, 10_000  # of a result, of one tensor; ours have at most 17, and 288
PATCHED = (builtins, sys, torch, nn, nn.functional, Tensor, nn.Module, np, math, random, copy, time,
           threading, warnings)  # where an answer may patch something that is put back


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
    clue: Callable[..., str] | None = None  # where no wrong way fits: by a result, the right one
    # and the arguments of the case, a sentence on what the result lacks


class Failed(Exception):
    """An answer that could not be used; its text says why."""


@dataclass(frozen=True, eq=False)
class Result:
    """What an answer gave, in types of ours: to look at it runs none of the answer's code."""
    name: str  # "a float", "an int"
    value: object  # ..., text, tensor, list or dictionary of Results, a set's tuple; else None
    changed: str = ""  # the argument that an answer changed by the way


def grade(exercise: Exercise, answer: object) -> tuple[str, str]:
    """OPEN, WRONG or RIGHT, and a sentence that says more. Leaves everything as it was."""
    try:
        results = results_in_time(exercise, answer)
        return in_time(lambda: verdict(exercise, results))
    except Failed as failed:
        return WRONG, str(failed)


def results_in_time(exercise: Exercise, answer: object) -> list[Result]:
    """What an answer gives in all cases; one blank, if it is one. Raises Failed."""
    if answer is ...:
        return [plain(answer)]
    if not callable(answer):
        name = exercise.solution.__name__
        raise Failed(f"{CLEAR[0]}{a_or_an(answer)}; {exercise.needs} is asked for, by its name "
                     f'alone: `exercises.check("{name}", {name})`.')
    return in_time(lambda: [attempt(exercise, answer, case) for case in exercise.cases()])


@contextlib.contextmanager
def drawn_anew(shift: int) -> Iterator[None]:
    """Whatever cases draw, they draw from seeds that are so much higher than those on the page."""
    kept = torch.Generator, torch.manual_seed

    class Generator(torch.Generator):
        def manual_seed(self, seed: int) -> torch.Generator:
            return super().manual_seed(seed + shift)

    torch.Generator, torch.manual_seed = Generator, lambda seed: kept[1](seed + shift)
    try:
        yield
    finally:
        torch.Generator, torch.manual_seed = kept


def verdict(exercise: Exercise, results: Sequence[Result]) -> tuple[str, str]:
    """The same, by what an answer gave."""
    if any(map(has_blank, results)):
        return OPEN, ""
    right = results_of(exercise, exercise.solution)
    problems = [problem(*pair) for pair in zip(results, right)]
    if any(problems):
        first = next(i for i, found in enumerate(problems) if found)
        case = exercise.cases()[first]
        return WRONG, (mistake(exercise, results, right) or where(exercise, case) + problems[first]
                       + clue(exercise, results[first], right[first], case))
    changed = next((result.changed for result in results if result.changed), "")
    if changed:
        return WRONG, (f"{CLEAR[1]}`{changed}` was changed by the way, as `+=`, `.mul_()` or "
                       "`.sort()` do. Make something new: `x = x + 1`.")
    return RIGHT, exercise.remark


@cache
def results_of(exercise: Exercise, way: Callable) -> list[object]:
    """What a right or wrong way of ours gives in each case: kept, or worked out once."""
    return getattr(way, "kept", None) or [exercise.use(way, *case) for case in exercise.cases()]


def flat(result: object) -> list[object]:
    """The numbers, tensors and whatever else is in a result, one after the other."""
    value = getattr(result, "value", result)
    value = list(value.values()) if isinstance(value, Mapping) else value
    return [each for item in value for each in flat(item)] if isinstance(value, list | tuple) else [
        value]


def mistake(exercise: Exercise, results: Sequence[Result], right: Sequence[object]) -> str:
    """What the known wrong way is told that is most like an answer; "" where none is like it.

    It has to agree with the answer where this first goes wrong. If it agrees wherever the answer is
    wrong, it is all that is wrong. If not, there are two mistakes. To agree in a single number
    could be chance, above all in a whole one.
    """
    given, expected, found = flat(results), flat(right), []
    wrong = unlike(given, expected)
    if not wrong or len(given) != len(expected):
        return ""
    first = min(wrong)
    several = as_tensor(expected[first]).numel() > 1
    for said, way in exercise.wrong.items():
        ours = flat(results_of(exercise, way))
        if problem(given[first], ours[first]):
            continue
        other, shown = unlike(given, ours), unlike(ours, expected)
        sure = several or len(wrong) > 1 or not float(ours[first]).is_integer()
        if not other or sure and not other & wrong:
            found.append((0, len(other), said))
        elif several or len(shown) > 1 and not shown & other:
            more = "(That is not all: correct it, and check again.)"
            found.append((1, len(other), f"{said} {more}"))
    return min(found, default=("",), key=lambda each: each[:2])[-1]


def clue(exercise: Exercise, result: Result, right: object, case: tuple) -> str:
    """What else can be said of a wrong result, where it has the form of the right one."""
    given, expected = flat(result), flat(right)
    if not exercise.clue or len(given) != len(expected) or not unlike(given, expected) or not all(
            isinstance(one, Tensor) and one.isfinite().all() for one in given) or any(
            one.shape != as_tensor(other).shape for one, other in zip(given, expected)):
        return ""
    return f" {exercise.clue(given, expected, *case)}".rstrip()


def mean_and_variance(given: Tensor, right: Tensor, axes: tuple[int, ...]) -> str:
    """For a clue: what is wrong with these of a normalized result."""
    (mean, variance), (_, expected) = (
        (one.mean(axes).flatten(), one.var(axes, correction=0).flatten()) for one in (given, right))
    if mean.abs().max() > 1e-6:
        return (f"What is normalized together has to have the mean 0; here one mean is "
                f"{mean[mean.abs().argmax()]:.3g}.")
    worst = (variance / expected - 1).abs().argmax()
    if torch.isclose(variance[worst], expected[worst]):
        return "Means and variances are right, but the numbers are not in their places."
    return (f"All means are 0, as they have to be. But one variance is {variance[worst]:.6g}, and "
            f"has to be {expected[worst]:.6g}.")


def on_sizes(given: list[Tensor], right: list[int], shape: tuple[int, ...], *others) -> str:
    """For a clue: which sizes a count should be made of and is not, or the other way round."""
    sizes = dict(zip(("N", "C", "H", "W", "groups"), (*shape, others[-1])))
    first = min(unlike(given, right))
    found, expected = (min((way for way in itertools.product((0, 1, -1), repeat=len(sizes))
                            if math.isclose(math.prod(map(pow, sizes.values(), way)), count[first])
                            ), key=lambda way: sum(map(abs, way)), default=())
                       for count in (given, right))
    if not found:
        return f"No product of some of {', '.join(sizes)}, divided by others, is {given[first]:g}."
    should = "should not depend on", "should be multiplied by", "should be divided by"  # -1: last
    return "It " + " and ".join(f"{should[power]} {name}" for name, power, was
                                in zip(sizes, expected, found) if power != was) + "."


def unlike(some: list[object], others: list[object]) -> set[int]:
    """Where two results, made flat, differ."""
    return {i for i, pair in enumerate(zip(some, others)) if problem(*pair)}


def attempt(exercise: Exercise, answer: object, case: tuple) -> Result:
    """What an answer gives in a case. Raises Failed."""
    try:
        given = copy.deepcopy(case)
        result = plain(exercise.use(answer, *given))
        changed = [name for name, before, after in zip(names(exercise), case, given)
                   if isinstance(before, Tensor | list) and problem(plain(after), before)]
        return replace(result, changed="".join(changed[:1]))
    except BaseException as error:  # noqa: BLE001 - whatever a learner's code may raise
        name = a_or_an(error).partition(" ")[2]
        try:
            text = " ".join(word(str(error)).split())[:120]
        except BaseException:  # noqa: BLE001 - even that may be broken
            text = ""
    advice = next((f" ({said})" for words, said in ADVICE.items() if words in text), "")
    raised = f"{name}: {text}" if text else name
    stop = "" if raised.endswith((".", "!", "?")) else "."
    stops = f"{where(exercise, case)}It stops with {raised}{stop}{advice}"
    raise Failed(stops)  # here, where the error is gone


def snapshot() -> Callable[[], None]:
    """A function that puts back what an answer may change: settings, random numbers, patches."""
    settings = [(put, get()) for get, put in (
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
        (torch.get_rng_state, torch.set_rng_state), (random.getstate, random.setstate),
        (np.random.get_state, np.random.set_state),
        (sys.getrecursionlimit, sys.setrecursionlimit))]
    filters, kept = warnings.filters[:], [(place, dict(vars(place))) for place in PATCHED]

    def restore() -> None:
        builtins.__dict__.update(kept[0][1])  # first, and by none of them: the rest needs them
        for place, before in kept:
            now = vars(place)
            if len(now) == len(before) and all(map(is_, now.values(), before.values())):
                continue  # quickly: there are three thousand of them
            for name in now.keys() | before.keys():
                if name in before and now.get(name, kept) is not before[name]:
                    setattr(place, name, before[name])
                elif name not in before and not isinstance(now[name], type(math)):  # an import
                    delattr(place, name)
        warnings.resetwarnings()  # lets warnings know
        warnings.filters[:] = filters
        for put, value in settings:
            put(value)
    return restore


def in_time(work: Callable[[], object]) -> object:
    """What work returns. Raises Failed if it raises or takes too long; an interrupt ends it, too.

    It works in a thread of its own, so that whatever it does, this one goes on. PyTorch's modes and
    device are those of a thread: in the new one they are the usual, and what it sets stays there.
    """
    outcome: list[object] = []
    done = threading.Lock()  # an interrupted join() would take the thread for ended
    done.acquire()

    def run() -> None:
        try:
            outcome.append(work())
        except:  # noqa: E722 - BaseException may be patched
            outcome.append(sys.exc_info()[1])  # is kept: see end()
        done.release()

    # Briefly again and again: on Windows an interrupt comes only between two of them.
    waits, any_of = (done.acquire(timeout=0.05) for _ in range(round(SECONDS / 0.05))), any
    worker, restore, late = threading.Thread(target=run, daemon=True), snapshot(), True
    torch.set_default_dtype(torch.float32)
    worker.start()
    try:
        late = not any_of(waits)  # by its old name it may be patched by now
    finally:
        restore()
        if late:
            end(worker)
            restore()
    if late:
        raise Failed(f"It was not done after {SECONDS:g} seconds and was ended. Is there a loop "
                     "that never ends?")
    if isinstance(outcome[0], BaseException):
        raise Failed(*outcome[0].args if type(outcome[0]) is Failed else ["It stops."])
    return outcome[0]


def end(worker: threading.Thread) -> None:
    """End a thread, whatever Python it runs: by an exception that is raised wherever it is.

    Where an `except:` swallows that, it comes again as soon as it is dropped, and so behind the
    `except:`. What waits outside of Python, in a sleep, ends when it comes back from there.
    """
    ended = type("Ended", (SystemExit,), {})  # that kind ends a thread without a word
    throw = partial(ctypes.pythonapi.PyThreadState_SetAsyncExc, ctypes.c_ulong(worker.ident),
                    ctypes.py_object(ended))  # no function: that would be ended itself
    ended.__del__ = staticmethod(throw)
    for _ in range(20):
        if not worker.is_alive():
            break
        throw()
        time.sleep(0.02)
    ended.__del__ = staticmethod(int)  # nothing: another thread may get its number


def names(exercise: Exercise) -> list[str]:
    """What the arguments of a case are called."""
    return list(inspect.signature(exercise.solution).parameters)


def where(exercise: Exercise, case: tuple) -> str:
    """For a message: the case it is about, as far as that can be said in a few words."""
    short = [value.tolist() if isinstance(value, Tensor) and len(value) == value.numel() < 5 else
             value for value in case]
    said = [f"{name}={value!r}" for name, value in zip(names(exercise), short)
            if isinstance(value, str | int | float | tuple | list)]
    return f"With {', '.join(said)}: " if said else ""


def a_or_an(value: object) -> str:
    name = word(vars(type)["__name__"].__get__(type(value)))[:80]  # whatever its own class says
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def word(value: object) -> str | None:
    """The first thousand characters of a text, as they can be printed; None of anything else."""
    if not issubclass(type(value), str):
        return None
    return str.__getitem__(value, slice(1000)).encode("utf-8", "replace").decode()


def plain(value: object, left: Iterator | None = None, depth: int = 4) -> Result:
    """A result in types of ours. left: as many items as it may still have; all share them."""
    kind, name, found = type(value), a_or_an(value), None
    left = left or iter(range(ITEMS))
    try:
        if value is ...:
            found = value
        elif issubclass(kind, str):
            found = word(value)
        elif kind is pd.Series:
            found = plain(value.to_numpy(), left).value
        elif kind is np.ndarray and value.dtype.kind in "OUb" and value.size <= ITEMS:
            found = plain(value.tolist(), left).value
        elif issubclass(kind, Mapping):
            found = {word(str(key)): plain(value[key], left, depth - 1)
                     for _, key in zip(left, value if depth else ())}
        elif issubclass(kind, list | tuple | set | frozenset):
            found = [plain(item, left, depth - 1) for _, item in zip(left, value if depth else ())]
            if not issubclass(kind, list | tuple):
                found = tuple(sorted(found, key=lambda item: item.value))
        elif (found := as_tensor(value)) is None and issubclass(kind, Tensor | np.ndarray):
            name = ("a nested tensor" if getattr(value, "is_nested", False) else
                    "a complex tensor" if "complex" in str(value.dtype) else
                    "a tensor of a special kind (sparse, quantized or meta)")
    except BaseException:  # noqa: BLE001 - whatever its own code may raise
        found = None
    return Result(name, found)


def has_blank(result: Result) -> bool:
    """Is an ellipsis left somewhere in a result?"""
    value = list(result.value.values()) if isinstance(result.value, dict) else result.value
    return any(map(has_blank, value)) if isinstance(value, list) else value is ...


def as_tensor(value: object) -> Tensor | None:
    """A number, an array or a tensor in float64, copied; None for anything else.

    Of more than NUMBERS the shape alone is kept, by which it is refused: that copies nothing.
    """
    kind = type(value)
    is_array, is_tensor = issubclass(kind, np.ndarray | np.generic), issubclass(kind, Tensor)
    if not is_array and not is_tensor and not issubclass(kind, Number):
        return None
    try:
        with torch._C.DisableTorchFunction():  # of a subclass
            found = Tensor.detach(value) if is_tensor else np.asarray(
                value if is_array else float(value))
            if math.prod(found.shape) > NUMBERS:
                return torch.zeros((), dtype=torch.float64).expand(found.shape)
            if "complex" in str(found.dtype):
                return None
            found = found.double().numpy(force=True) if is_tensor else found
            return torch.from_numpy(np.array(found, dtype=np.float64))
    except (AttributeError, TypeError, ValueError, RuntimeError, OverflowError):
        return None


def problem(result: object, right: object) -> str:
    """What is wrong with a result, where, and what is expected there; "" where nothing is."""
    result = result if isinstance(result, Result) else plain(result)
    value = result.value
    if isinstance(right, Mapping):
        if not isinstance(value, dict) or set(value) != set(map(str, right)):
            given = f"one with {', '.join(value)}" if isinstance(value, dict) else result.name
            return f"A dictionary with {', '.join(map(str, right))} is expected, not {given}."
        return next((f"{key}: {said}" for key in right
                     if (said := problem(value[str(key)], right[key]))), "")
    if isinstance(right, list | tuple):
        several = isinstance(value, list) or isinstance(value, Tensor) and value.ndim > 0
        if not several or len(value) != len(right):
            given = f"{len(value)}" if several else result.name
            return f"{len(right)} results are expected, not {given}."
        return next((f"Number {i} of {len(right)}: {said}" for i, pair
                     in enumerate(zip(value, right), 1) if (said := problem(*pair))), "")
    return number_problem(result, as_tensor(right))


def number_problem(result: Result, right: Tensor) -> str:
    """What is wrong with a number or a tensor, beside the right one; or ""."""
    kind = "a number" if right.ndim == 0 else "a tensor"
    given = result.value
    if not isinstance(given, Tensor):
        advice = next((f" {said}" for words, said in KINDS.items() if words in result.name), "")
        return f"The result is {result.name}; {kind} is expected.{advice}"
    if right.ndim == 0 and given.numel() == 1:
        given = given.reshape(())
    if given.shape != right.shape:
        return (f"The result has the shape {tuple(given.shape)}; "
                f"{tuple(right.shape) if right.ndim else kind} is expected.")
    size = max([1e-6, *right.abs().flatten().tolist()])
    bad = ~torch.isclose(given, right, rtol=TOLERANCE, atol=TOLERANCE * size,
                         equal_nan=True)  # as a wrong way may give; a right one never does
    if not bad.any():
        return ""
    off = (given - right).abs().nan_to_num(math.inf)
    index = tuple(map(int, np.unravel_index(off.argmax().item(), off.shape)))
    place = f"{bad.sum()} of {bad.numel()} numbers are wrong. At {list(index)} the"
    end = "" if given[index].isfinite() else (
        " (Is something divided by 0, or is it a root or a logarithm of a negative number?)")
    found, expected = given[index].item() + 0.0, right[index].item() + 0.0  # no -0
    return (f"{place if index else 'The'} result is {found:.8g}, and {expected:.8g} is "
            f"expected.{end}")
