"""The exercises: right ways accepted, known wrong ways named, and nothing that makes a check raise.

That the notebooks run with all solutions filled in is tested in test_filled_in.py.
"""

import _thread
import math
import signal
import threading

import numpy as np
import pytest
import torch
from torch import nn

import exercises
import model
from coursepack.exercises import grading
from coursepack.exercises.grading import OPEN, RIGHT, WRONG, Exercise, grade, problem, take
from exercises import EXERCISES

CASES = [(name, said) for name, exercise in EXERCISES.items() for said in exercise.wrong]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing is done yet, and no hint was given."""
    monkeypatch.setattr(exercises, "state", dict.fromkeys(EXERCISES, OPEN))
    monkeypatch.setattr(exercises, "hints_given", dict.fromkeys(EXERCISES, 0))


def answer_of(name):
    """What the printed solution of an exercise makes, with the names that notebooks have."""
    scope = {"torch": torch, "nn": nn, "np": np, "model": model}
    exec(exercises.solution_text(name), scope)
    return scope[name]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_printed_solution_is_accepted(name, capsys):
    exercises.check(name, answer_of(name))
    said = capsys.readouterr().out
    assert said.startswith(f"{name}: right. ")
    assert exercises.state[name] == RIGHT


@pytest.mark.parametrize(("name", "said"), CASES, ids=lambda part: str(part)[:30])
def test_each_known_wrong_way_is_rejected_with_its_own_message(name, said):
    exercise = EXERCISES[name]
    assert grade(exercise, exercise.wrong[said]) == (WRONG, said)


@pytest.mark.parametrize("name", EXERCISES)
def test_there_are_wrong_ways_and_hints_enough(name):
    assert len(EXERCISES[name].wrong) >= 2
    assert len(EXERCISES[name].hints) >= 2


class Odd:
    """An object that breaks whatever touches it."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __eq__(self, other):
        raise RuntimeError("==")

    __hash__ = None

    def __repr__(self):
        raise RuntimeError("repr")

    def __call__(self, *args):
        return self


def stops(*args):
    raise SystemExit(3)


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def speechless(*args):
    raise Speechless


def recurses(*args):
    return recurses(*args)


NONSENSE = {
    "text": "a", "none": None, "number": -123.456, "complex": 1j, "nan": float("nan"),
    "infinite": math.inf, "huge": 10**400, "list": [1], "empty": {}, "object": Odd(),
    "class": int, "exception class": Exception, "text from function": lambda *args: "x",
    "none from function": lambda *args: None, "raises": lambda *args: 1 / 0, "exits": stops,
    "raises without text": speechless, "recurses": recurses,
    "takes nothing": lambda: 3, "wrong shape": lambda *args: torch.zeros(2, 7),
    "other class from function": lambda *args: Odd(), "nan from function": lambda *args: math.nan,
    "complex from function": lambda *args: 1j, "generator": lambda *args: (i for i in range(3)),
    "list from function": lambda *args: [None, "a"], "tensor of nan": torch.full((3,), math.nan),
    "its arguments": lambda *args: args, "first argument": lambda *args: args[0] if args else None,
}


@pytest.mark.parametrize("what", NONSENSE)
@pytest.mark.parametrize("name", EXERCISES)
def test_nonsense_neither_raises_nor_passes(name, what, capsys):
    exercises.check(name, NONSENSE[what])
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"{name}: not yet. "), said
    assert exercises.state[name] == WRONG


@pytest.mark.parametrize("name", EXERCISES)
def test_a_blank_is_not_answered_yet(name, capsys):
    blanks = [...]
    if EXERCISES[name].use is not take and EXERCISES[name].needs == "a function":
        blanks.append(lambda *args: ...)
    for blank in blanks:
        exercises.check(name, blank)
        said = " ".join(capsys.readouterr().out.split())
        assert said == f'{name}: not answered yet. exercises.hint("{name}") helps.'
    assert exercises.state[name] == OPEN


def test_a_check_leaves_random_numbers_as_they_were():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    for name in EXERCISES:
        exercises.check(name, lambda *args: torch.rand(3))
    assert torch.equal(torch.rand(2), expected)


def test_an_answer_that_changes_its_arguments_changes_no_other_case():
    def in_place(x, axes, eps):
        x -= x.mean(axes, keepdim=True)
        return x / ((x**2).mean(axes, keepdim=True) + eps).sqrt()

    assert grade(EXERCISES["normalize"], in_place)[0] == RIGHT


def test_a_right_answer_stays_done_when_its_cell_is_emptied_and_not_when_it_is_spoiled():
    exercises.check("number_of_means", answer_of("number_of_means"))
    exercises.check("number_of_means", ...)
    assert exercises.state["number_of_means"] == RIGHT
    exercises.check("number_of_means", lambda *args: 3)
    assert exercises.state["number_of_means"] == WRONG


def test_hints_come_one_after_the_other_and_the_last_stays(capsys):
    for i in (1, 2, 2):
        exercises.hint("number_of_means")
        assert capsys.readouterr().out.startswith(f"number_of_means, hint {i} of 2: ")


@pytest.mark.parametrize("name", ["nothing", "", None, ["normalize"], Odd()], ids=range(5))
def test_an_unknown_name_is_answered_with_those_that_there_are(name, capsys):
    for call in (exercises.hint, exercises.solution, lambda name: exercises.check(name, 3)):
        call(name)
        said = capsys.readouterr().out
        assert said.startswith("No exercise is called ")
        assert "number_of_means" in said


def test_progress_counts_what_is_done(capsys):
    exercises.check("normalize", answer_of("normalize"))
    exercises.check("number_of_means", lambda *args: 3)
    capsys.readouterr()
    exercises.progress("00")
    assert capsys.readouterr().out.splitlines() == [
        "00  number_of_means: not yet", "00  normalize: right", "00  BatchNorm: not answered yet",
        "1 of 3 exercises done."]
    exercises.progress()
    assert capsys.readouterr().out.splitlines()[-1] == f"1 of {len(EXERCISES)} exercises done."


@pytest.mark.parametrize(("prediction", "result", "said"), [
    (..., 24.7, "No prediction made."),
    ([..., ...], [1, 2], "No prediction made."),
    (25, 24.7, "You predicted 25 %; it is 24.7 %. Well predicted."),
    (2, 24.7, "You predicted 2 %; it is 24.7 %: 12 times too low."),
    (20, 24.7, "You predicted 20 %; it is 24.7 %: 4.7 % too low."),
    (30, 24.7, "You predicted 30 %; it is 24.7 %: 5.3 % too high."),
    ("a few", 24.7, "A prediction here is a finite number, not a str."),
    (None, 24.7, "A prediction here is a finite number, not a NoneType."),
    (1j, 24.7, "A prediction here is a finite number."),
    (math.nan, 24.7, "A prediction here is a finite number."),
    (10**400, 24.7, "A prediction here is a finite number."),
    ("Up", "up", "As you predicted: up."),
    ("down", "up", "You predicted down; it is up."),
    (3, "up", "A prediction here is a word in quotes, not an int."),
    ([1, ...], [1, 2], "You predicted 1 %; it is 1 %. Well predicted.\nno prediction made."),
    (3, [1, 2], "no prediction made.\nno prediction made."),
    ({"a": 1}, {"a": 1, "b": 2},
     "a: You predicted 1 %; it is 1 %. Well predicted.\nb: no prediction made."),
    (0, 0, "You predicted 0 %; it is 0 %. Well predicted."),
    (5, 0, "You predicted 5 %; it is 0 %: 5 % too high."),
], ids=str)
def test_a_prediction_is_told_how_far_off_it_was(prediction, result, said, capsys):
    exercises.compare(prediction, result, " %")
    assert capsys.readouterr().out == said + "\n"


@pytest.mark.parametrize(("prediction", "result", "unit", "said"), [
    (15, 14.0, "", "You predicted 15; it is 14: 1 too high."),
    (7400, 7416, "", "You predicted 7400; it is 7416: 16 too low."),
    (14, np.int64(14), "", "You predicted 14; it is 14. Well predicted."),
    (0.294, 29.4, " of 100", "You predicted 0.294 of 100; it is 29.4 of 100: 100 times too low. "
     "(A share? Multiply it by 100.)"),
    (1e8, 8.0, "", "You predicted 1e+08; it is 8: 12,500,000 times too high."),
    (True, True, "", "As you predicted: True."),
    (False, np.True_, "", "You did not predict that: True."),
    ("Batch norm", "batch", "", "As you predicted: batch."),
])
def test_counts_are_right_or_not_and_shares_and_words_are_understood(
        prediction, result, unit, said, capsys):
    exercises.compare(prediction, result, unit)
    assert " ".join(capsys.readouterr().out.split()) == said


@pytest.mark.parametrize("what", NONSENSE)
@pytest.mark.parametrize("result", [24.7, "up", [1, 2], {"a": 1}], ids=str)
def test_a_prediction_may_be_anything(what, result):
    exercises.compare(NONSENSE[what], result)


def test_what_is_wrong_is_said_without_giving_the_answer_away():
    assert problem(3, 128) == "The result is 3, and that is not it."
    assert "(2,) is expected" in problem(torch.zeros(3), torch.ones(2))
    assert problem({"a": 1}, {"b": 1}) == "A dictionary with b is expected."
    assert problem({"b": 1, "c": 2}, {"b": 2, "c": 2}).startswith("b: ")
    assert problem((1, 2), (1, 3)).startswith("Number 2 of 2: ")


def test_of_two_mistakes_the_first_is_named():
    """A wrong variance in training mode, and momentum the wrong way round."""
    class Twice:
        def __init__(self, channels, momentum=0.1, eps=1e-5):
            self.mean, self.variance, self.eps = torch.zeros(channels), torch.ones(channels), eps

        def __call__(self, x, training):
            mean, variance = self.mean, self.variance
            if training:
                mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
                self.mean = 0.1 * self.mean + 0.9 * mean
                self.variance = 0.1 * self.variance + 0.9 * variance
            mean, variance = mean.view(1, -1, 1, 1), variance.view(1, -1, 1, 1)
            return (x - mean) / (variance + self.eps).sqrt()

    verdict, said = grade(exercises.EXERCISES["BatchNorm"], Twice)
    assert verdict == WRONG
    assert "normalizes with the unbiased variance" in said
    assert "not all" in said


def set_weight(net):
    net.layers[0].conv.weight = net.layers[0].conv.weight / 2


def halve_in_place(net):
    net.layers[0].conv.weight /= 2


@pytest.mark.parametrize(("name", "answer", "advice"), [
    ("normalize", lambda x, axes, eps: x - x.mean(axes), "keepdim=True"),
    ("group_norm", lambda x, groups, eps: x.reshape(len(x), groups, *x.shape[1:]), "multiplied"),
    ("halve", halve_in_place, "torch.no_grad()"),
    ("fold_all", set_weight, "nn.Parameter"),
])
def test_an_error_of_pytorch_comes_with_advice(name, answer, advice):
    _, said = grade(exercises.EXERCISES[name], answer)
    assert "It stops with " in said
    assert advice in said.split(". (")[1]


def endless(*args):
    while True:
        pass


def swallows(*args):
    while True:
        try:
            torch.rand(300, 300).sum()  # almost all of the time is spent inside of the try
        except:  # noqa: E722 - as learners write it
            continue


def ends_badly(*args):
    try:
        endless()
    finally:
        endless()


@pytest.mark.parametrize("answer", [endless, swallows, ends_badly])
def test_an_answer_without_an_end_is_ended(answer, monkeypatch, capsys):
    monkeypatch.setattr(grading, "SECONDS", 0.1)
    threads = threading.active_count()
    exercises.check("normalize", answer)
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("normalize: not yet. It was not done after 0.1 seconds")
    assert threading.active_count() == threads
    exercises.check("normalize", answer_of("normalize"))
    assert exercises.state["normalize"] == RIGHT


def test_an_interrupt_still_interrupts(request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))  # a background job has none
    started = threading.active_count()
    threading.Timer(0.2, _thread.interrupt_main).start()  # what a SIGINT does
    with pytest.raises(KeyboardInterrupt):
        exercises.check("normalize", endless)
    assert threading.active_count() == started


def test_where_no_mistake_is_named_a_hint_is_offered(capsys):
    exercises.check("group_counts", lambda shape, groups: (7, 7))
    assert 'exercises.hint("group_counts") helps.' in " ".join(capsys.readouterr().out.split())
    exercises.check("group_counts", lambda shape, groups: (2 * groups, shape[0] * groups))
    assert "hint" not in capsys.readouterr().out


def test_a_value_can_be_an_answer():
    exercise = Exercise("00", "answer = 15", lambda: [()], {}, ["a"], "Good.", take)
    assert grade(exercise, 15) == (RIGHT, "Good.")
    assert grade(exercise, 16)[0] == grade(exercise, int)[0] == WRONG
