"""The exercises of the notebooks: check an answer, get a hint, see a solution.

    exercises.check("normalize", normalize)   is it right? and if not, what is wrong?
    exercises.hint("normalize")               a hint; called again, the next one
    exercises.solution("normalize")           the text of a solution
    exercises.progress("00")                  what is done of a notebook's exercises
    exercises.compare(prediction, result)     how far off a prediction was

None of them raises, whatever they are given: a notebook runs to its end with all answers left
empty. What is done is known to this kernel alone, and forgotten with it.
"""

import inspect
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from numbers import Number

import numpy as np

from coursepack.exercises import batch, by_hand, changes, fair, groups, scale
from coursepack.exercises.grading import OPEN, RIGHT, Exercise, a_or_an, as_tensor, grade

EXERCISES: dict[str, Exercise] = {
    **by_hand.EXERCISES,
    **batch.EXERCISES,
    **groups.EXERCISES,
    **scale.EXERCISES,
    **fair.EXERCISES,
    **changes.EXERCISES,
}
WIDTH = 78  # of what is printed, in characters
state = dict.fromkeys(EXERCISES, OPEN)
hints_given = dict.fromkeys(EXERCISES, 0)


def say(text: str) -> None:
    print(textwrap.fill(text, WIDTH))


def find(name: object) -> Exercise | None:
    """The exercise of a name; where there is none, a line that says which there are."""
    if isinstance(name, str) and name in EXERCISES:
        return EXERCISES[name]
    called = repr(name[:40]) if isinstance(name, str) else a_or_an(name)
    say(f"No exercise is called {called}. There are: {', '.join(EXERCISES)}.")
    return None


def check(name: str, answer: object) -> None:
    """Print whether an answer is right, and what is wrong with it if it is not."""
    exercise = find(name)
    if exercise is None:
        return
    verdict, more = grade(exercise, answer)
    if not (verdict == OPEN and state[name] == RIGHT):
        state[name] = verdict
    named = any(more.startswith(said) for said in exercise.wrong)
    if verdict != RIGHT and not named:
        more = f'{more} exercises.hint("{name}") helps.'.lstrip()
    say(f"{name}: {verdict}. {more}")


def hint(name: str) -> None:
    """Print a hint; called again, the next one."""
    exercise = find(name)
    if exercise is None:
        return
    index = min(hints_given[name], len(exercise.hints) - 1)
    hints_given[name] = index + 1
    say(f"{name}, hint {index + 1} of {len(exercise.hints)}: {exercise.hints[index]}")


def solution(name: str) -> None:
    """Print the text of a solution."""
    if find(name) is not None:
        print(solution_text(name))


def solution_text(name: str) -> str:
    """The code that answers an exercise, as it may stand in the notebook's cell."""
    return inspect.getsource(EXERCISES[name].solution).rstrip()


def progress(notebook: str = "") -> None:
    """Print which exercises are done: those of a notebook, such as "00", or all."""
    own = [name for name, exercise in EXERCISES.items()
           if notebook in ("", exercise.notebook)]
    for name in own:
        print(f"{EXERCISES[name].notebook}  {name}: {state[name]}")
    done = sum(state[name] == RIGHT for name in own)
    print(f"{done} of {len(own)} exercises done.")


def compare(prediction: object, result: object, unit: str = "") -> None:
    """Print how far off a prediction was.

    result: a number, a word, or a list or dictionary of them; the prediction is of the same kind,
    and numbers are in the same unit. An empty prediction, ..., is passed over in a few words.
    """
    guesses = list(prediction) if isinstance(prediction, list | tuple) else [prediction]
    if all(guess is ... for guess in guesses):
        print("No prediction made.")
    elif isinstance(result, Mapping):
        given = prediction if isinstance(prediction, Mapping) else {}
        for key, value in result.items():
            print(f"{key}: {difference(given.get(key, ...), value, unit)}")
    elif isinstance(result, Sequence) and not isinstance(result, str):
        given = guesses if isinstance(prediction, list | tuple) else []
        for value, guess in itertools.zip_longest(result, given[:len(result)], fillvalue=...):
            print(difference(guess, value, unit))
    else:
        say(difference(prediction, result, unit))


def difference(prediction: object, result: object, unit: str) -> str:
    """How far off one prediction was, in a sentence."""
    if prediction is ...:
        return "no prediction made."
    if isinstance(result, str):
        if not isinstance(prediction, str):
            return f"A prediction here is a word in quotes, not {a_or_an(prediction)}."
        said, right = prediction.strip(), result.lower()
        if said.lower() in (right, f"{right} norm"):
            return f"As you predicted: {result}."
        return f"You predicted {said[:40]}; it is {result}."
    if not isinstance(prediction, Number):
        return f"A prediction here is a finite number, not {a_or_an(prediction)}."
    guess = as_tensor(prediction)
    if guess is None or not guess.isfinite():
        return "A prediction here is a finite number."
    if isinstance(result, bool | np.bool_):
        right = guess.item() == result
        return f"As you predicted: {result}." if right else f"You did not predict that: {result}."
    return distance(guess.item(), float(result), unit)


def distance(guess: float, value: float, unit: str) -> str:
    """How far a number is from the right one: times, if it is not half to twice as large.

    Well predicted is what is at most a tenth off; a count (a whole number without a unit) is right
    or not.
    """
    is_count, off = value.is_integer() and not unit, abs(guess - value)
    digits = 6 if is_count else 4
    said = f"You predicted {guess:.6g}{unit}; it is {value:.{digits}g}{unit}"
    if off <= (0 if is_count else 0.1 * abs(value)):
        return f"{said}. Well predicted."
    if guess * value <= 0 or 0.5 < guess / value < 2:
        size = f"{off:.6g}" if is_count else f"{off:.2g}"
        return f"{said}: {size}{unit} too {'high' if guess > value else 'low'}."
    times = max(guess / value, value / guess)
    size = f"{times:,.0f}" if times >= 10 else f"{times:.2g}"
    way = "far" if value < 0 else "high" if guess > value else "low"
    is_share = unit in (" %", " of 100", " percent") and 0 < guess < 1 and times > 10
    return f"{said}: {size} times too {way}." + (
        " (A share? Multiply it by 100.)" if is_share else "")
