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

from torch import Tensor

from coursepack.exercises import batch, by_hand, changes, fair, grading, groups, scale
from coursepack.exercises.grading import OPEN, RIGHT, Exercise, Result, a_or_an, plain, word

EXERCISES: dict[str, Exercise] = {
    **by_hand.EXERCISES,
    **batch.EXERCISES,
    **groups.EXERCISES,
    **scale.EXERCISES,
    **fair.EXERCISES,
    **changes.EXERCISES,
}
EMPTY = plain(...)
WIDTH = 78  # of what is printed, in characters
state = dict.fromkeys(EXERCISES, OPEN)
hints_given = dict.fromkeys(EXERCISES, 0)


def say(text: str) -> None:
    print(textwrap.fill(text, WIDTH))


def find(name: object) -> str:
    """The name of an exercise; where there is none, "" and a line that says which there are."""
    text = word(name)
    if text in EXERCISES:
        return text
    called = a_or_an(name) if text is None else repr(text[:40])
    say(f"No exercise is called {called}. There are: {', '.join(EXERCISES)}.")
    return ""


def check(name: str, answer: object) -> None:
    """Print whether an answer is right, and what is wrong with it if it is not."""
    if not (name := find(name)):
        return
    exercise = EXERCISES[name]
    verdict, more = grading.grade(exercise, answer)
    if not (verdict == OPEN and state[name] == RIGHT):
        state[name] = verdict
    if verdict != RIGHT and not more.startswith((*exercise.wrong, *grading.CLEAR)):
        more = f'{more} exercises.hint("{name}") helps.'.lstrip()
    say(f"{name}: {verdict}. {more}")


def hint(name: str) -> None:
    """Print a hint; called again, the next one."""
    if name := find(name):
        hints = EXERCISES[name].hints
        index = min(hints_given[name], len(hints) - 1)
        hints_given[name] = index + 1
        say(f"{name}, hint {index + 1} of {len(hints)}: {hints[index]}")


def solution(name: str) -> None:
    """Print the text of a solution."""
    if name := find(name):
        print(solution_text(name))


def solution_text(name: str) -> str:
    """The code that answers an exercise, as it may stand in the notebook's cell."""
    return inspect.getsource(EXERCISES[name].solution).rstrip()


def progress(notebook: str = "") -> None:
    """Print which exercises are done: those of a notebook, such as "00", or all."""
    wanted = word(notebook)
    own = [name for name, exercise in EXERCISES.items() if wanted in ("", exercise.notebook)]
    for name in own:
        print(f"{EXERCISES[name].notebook}  {name}: {state[name]}")
    done = sum(state[name] == RIGHT for name in own)
    print(f"{done} of {len(own)} exercises done.")


def compare(prediction: object, result: object, unit: str = "") -> None:
    """Print how far off a prediction was.

    result: a number, a word, or a list, array, tensor, series, set or dictionary of them; the
    prediction holds as many, and numbers are in the same unit. A set counts as sorted. An empty
    prediction, ..., is passed over in a few words.
    """
    try:
        guess, found, unit = grading.in_time(
            lambda: (plain(prediction), plain(result), word(unit) or ""))
    except grading.Failed as failed:
        say(str(failed))
        return
    guesses, values = items(guess), items(found)
    if all(each.value is ... for each in guesses):
        print("No prediction made.")
    elif isinstance(found.value, dict) and found.value:
        given = guess.value if isinstance(guess.value, dict) else {}
        for key, value in found.value.items():
            say(f"{key}: {difference(given.get(key, EMPTY), value, unit)}")
    else:
        given = guesses[:len(values)]
        for value, each in itertools.zip_longest(values, given, fillvalue=EMPTY):
            say(difference(each, value, unit))


def items(result: Result) -> list[Result]:
    """What is in a list, a set or an array that is not too long; or the result itself."""
    value = result.value
    if isinstance(value, Tensor) and value.ndim and value.numel() <= grading.ITEMS:
        return list(map(plain, value.flatten()))
    return list(value) if isinstance(value, list | tuple) and value else [result]


def difference(prediction: Result, result: Result, unit: str) -> str:
    """How far off one prediction was, in a sentence."""
    guess, value = prediction.value, result.value
    if guess is ...:
        return "no prediction made."
    if isinstance(value, str):
        if not isinstance(guess, str):
            return f"A prediction here is a word in quotes, not {prediction.name}."
        said, right = guess.strip(), value.lower()
        if said.lower() in (right, f"{right} norm"):
            return f"As you predicted: {value}."
        return f"You predicted {said[:40]}; it is {value}."
    if not isinstance(value, Tensor) or value.ndim or not value.isfinite():
        said = f"{value}" if isinstance(value, Tensor) and not value.ndim else result.name
        return f"The result is {said}, and no prediction can be compared with it."
    if prediction.name == "an int" and guess is None:
        return "A prediction here is a finite number."  # and not 10**400
    if not isinstance(guess, Tensor) or guess.ndim:
        return f"A prediction here is a finite number, not {prediction.name}."
    if not guess.isfinite():
        return "A prediction here is a finite number."
    if result.name in ("a bool", "a bool_"):
        said = "As you predicted" if guess == value else "You did not predict that"
        return f"{said}: {bool(value)}."
    return distance(guess.item(), value.item(), unit)


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
