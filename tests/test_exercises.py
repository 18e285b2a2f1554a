"""Exercises: right ways accepted, wrong ones named, no check raises."""

import _thread
import math
import random
import re
import signal
import sys
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import exercises
import model
from coursepack.exercises import batch, by_hand, changes, fair, grading, groups, scale
from coursepack.exercises.grading import OPEN, RIGHT, WRONG, grade
from exercises import EXERCISES


@pytest.fixture(autouse=True)
def said(capsys, monkeypatch):
    """A function that calls another and returns what it prints, in one line; nothing is done."""
    monkeypatch.setattr(exercises, "state", dict.fromkeys(EXERCISES, OPEN))
    monkeypatch.setattr(exercises, "hints_given", dict.fromkeys(EXERCISES, 0))

    def call_and_read(function, *arguments):
        function(*arguments)
        return " ".join(capsys.readouterr().out.split())
    return call_and_read


def solve(name):
    """What the printed solution of an exercise makes, with the names that notebooks have."""
    scope = {"torch": torch, "nn": nn, "np": np, "model": model}
    exec(exercises.solution_text(name), scope)
    return scope[name]


class Odd(Exception):
    """An object that breaks whatever touches it; raised, it has no text."""

    def broken(self, *args):
        raise Odd

    __getattr__ = __eq__ = __str__ = __repr__ = __call__ = broken
    __hash__ = None


def recurses(*args):
    return recurses(*args)


NONSENSE = [
    "a", None, 1j, math.nan, math.inf, 10**400, [1], {}, Odd(), int, Exception, recurses,
    torch.full((3,), math.nan), lambda *args: 1 / 0, lambda *args: sys.exit(3),
    lambda *args: Odd().broken(), lambda *args: args, lambda *args: (i for i in range(3)),
    *(lambda *args, result=result: result for result in (
        "x", Odd(), math.nan, [None, "a"], torch.ones(2, 7)))]


def test_every_answer_gets_its_verdict(subtests, said):
    before = torch.get_rng_state()
    for name, exercise in EXERCISES.items():
        with subtests.test(name):
            assert min(len(exercise.wrong), len(exercise.hints)) >= 2
            for blank in [..., lambda *args: ...][:2 if exercise.needs == "a function" else 1]:
                assert said(exercises.check, name, blank) == (
                    f'{name}: not answered yet. exercises.hint("{name}") helps.')
            for answer in NONSENSE:
                assert said(exercises.check, name, answer).startswith(f"{name}: not yet. ")
            verdicts = {message: grade(exercise, way) for message, way in exercise.wrong.items()}
            assert verdicts == {message: (WRONG, message) for message in exercise.wrong}
            assert said(exercises.check, name, solve(name)).startswith(f"{name}: right. ")
    assert torch.equal(torch.get_rng_state(), before)  # although an answer drew random numbers


def test_what_is_done_is_counted_and_undone_by_a_wrong_answer_alone(said):
    said(exercises.check, "number_of_means", int)
    for answer, state in ((..., OPEN), (int, WRONG), (solve("normalize"), RIGHT), (..., RIGHT)):
        said(exercises.check, "normalize", answer)
        assert exercises.state["normalize"] == state
    assert said(exercises.progress, "00") == (
        "00 number_of_means: not yet 00 normalize: right 00 BatchNorm: not answered yet "
        "1 of 3 exercises done.")
    assert said(exercises.progress).endswith(f"1 of {len(EXERCISES)} exercises done.")


def test_hints_come_one_after_the_other_and_are_offered_where_no_mistake_is_named(said):
    for i in (1, 2, 2):
        assert said(exercises.hint, "group_counts").startswith(f"group_counts, hint {i} of 2: ")
    for counts, offered in ((lambda shape, groups: (7, 7), True),
                            (groups.with_counts(gain=lambda *sizes: 7), True), (7, False),
                            (groups.with_counts(gain=lambda n, *sizes: n), False)):
        answer = said(exercises.check, "group_counts", counts)
        assert ('exercises.hint("group_counts") helps.' in answer) == offered


@pytest.mark.parametrize(("prediction", "result", "unit", "expected"), [
    (..., 24.7, " %", "No prediction made."), ([..., ...], [1, 2], "", "No prediction made."),
    (25, 24.7, " %", "You predicted 25 %; it is 24.7 %. Well predicted."),
    (2, 24.7, " %", "You predicted 2 %; it is 24.7 %: 12 times too low."),
    (30, 24.7, " %", "You predicted 30 %; it is 24.7 %: 5.3 % too high."),
    (-9, -2.5, "", "You predicted -9; it is -2.5: 3.6 times too far."),
    (0.294, 29.4, " of 100", "You predicted 0.294 of 100; it is 29.4 of 100: 100 times too low. "
     "(A share? Multiply it by 100.)"),
    (7400, np.int64(7416), "", "You predicted 7400; it is 7416: 16 too low."),
    (None, 24.7, "", "A prediction here is a finite number, not a NoneType."),
    (10**400, 24.7, "", "A prediction here is a finite number."),
    (False, np.True_, "", "You did not predict that: True."),
    (np.array([1, 3]), torch.tensor([1.0, 2.0]), "", "You predicted 1; it is 1. Well predicted. "
     "You predicted 3; it is 2: 1 too high."),
    (torch.tensor([5.0]), pd.Series([5.0], ["a"]), "", "You predicted 5; it is 5. Well predicted."),
    (math.inf, math.inf, "", "The result is inf, and no prediction can be compared with it."),
    (math.inf, 24.7, "", "A prediction here is a finite number."),
    (np.array(["up"]), "up", "", "As you predicted: up."),
    ("Batch norm", "batch", "", "As you predicted: batch."),
    ("down", "up", "", "You predicted down; it is up."),
    (3, "up", "", "A prediction here is a word in quotes, not an int."),
    (3, [1, 2], "", "You predicted 3; it is 1: 3 times too high. no prediction made."),
    ({"a": 1}, {"a": 1, "b": 2}, "", "a: You predicted 1; it is 1. Well predicted. "
     "b: no prediction made.")], ids=str)
def test_a_prediction_is_told_how_far_off_it_was(prediction, result, unit, expected, said):
    assert said(exercises.compare, prediction, result, unit) == expected


def test_a_name_may_be_anything(said):
    for odd in NONSENSE:
        for call in (exercises.hint, exercises.solution, lambda name: exercises.check(name, 3)):
            assert re.match("No exercise is called .*: number_of_means", said(call, odd))


def set_weight(net):
    net.layers[0].conv.weight = net.layers[0].conv.weight / 2


def in_place(w, gradient, lr, decay, optimizer, decoupled):
    w += scale.first_step(w, gradient, lr, decay, optimizer, decoupled) - w
    return w


def one_side(only_first, only_other):
    tosses = only_first + only_other
    return 1.0 if not tosses else 2 * fair.tail(only_first, only_other, min(only_first, only_other))


LOOKED_UP = dict(zip((str(case[0]) for case in scale.shapes_cases()[:-1]),  # but for the drawn one
                     grading.results_of(EXERCISES["layer_norm_parameters"],
                                        scale.layer_norm_parameters)))


@pytest.mark.parametrize(("name", "answer", "words"), [
    ("normalize", lambda x, axes, eps: by_hand.normalize(x, axes, eps) + x.zero_(), ["`x` was"]),
    ("BatchNorm", by_hand.wrong_batch_norm(divisor=1, move=by_hand.turned),  # of two the first
     ["normalizes with the unbiased variance", "not all"]),
    ("number_of_means", by_hand.with_means(batch=lambda *sizes: 1, group=lambda n, c, h, w, g: g),
     ["Batch norm: that is one for all.", "not all"]),
    ("mcnemar", one_side, ["`min(1.0, ...)`"]),  # wrong in fewer cases than the known way is
    ("normalize", lambda x, axes, eps: x - x.mean(axes),
     ["With axes=(0, 2, 3), eps=1e-05: It stops with", ". (", "keepdim=True"]),
    ("group_norm", lambda x, groups, eps: x.reshape(len(x), groups, *x.shape[1:]), ["multiplied"]),
    ("fold_all", lambda net: net.layers[0].conv.weight.div_(2), ["torch.no_grad()"]),
    ("fold_all", set_weight, ["nn.Parameter"]),
    ("first_step", in_place, ["`w` was changed"]),
    ("normalize", lambda x, axes, eps: x * 0 + 5, ["one mean is 5."]),
    ("normalize", lambda x, axes, eps: 3 * by_hand.normalize(x, axes, eps),
     ["All means are 0", "is 8.99", "has to be 0.99"]),
    ("group_norm", lambda *case: groups.group_norm(*case).flip(-1), ["not in their places"]),
    ("BatchNorm", by_hand.wrong_batch_norm(momentum=0.5), ["Right would be: 0.3447 is subtracted"]),
    ("proximal_step", lambda w, threshold: 0 * w - 1, ["A weight of -2 moves towards zero by 0.2"]),
    ("twin_rates", lambda factor, lr, l2: (7 * lr, l2), ["It was 1e-05, and is 7e-05."]),
    ("last_average", lambda averages, gain, bias: 5 * bias[-1], ["add up to"]),
    ("reliability", lambda *case: [(row[0], row[1] / 7, row[2]) for row in fair.reliability(*case)],
     ["number is the mean confidence of"]),
    ("dropout_variance", lambda mean, variance, p: 77.7, ["is 1 before dropout and 2 after it"]),
    ("errors_by_batch", lambda *case: dict.fromkeys((2, 8, 22), 0.25), ["5.5 of 22"]),
    ("mcnemar", lambda *case: 0.9, ["too large", "either way round"]),
    ("number_of_means", by_hand.with_means(group=lambda n, c, h, w, g: c * g),
     ["should be multiplied by N and should not depend on C."]),
    ("group_counts", groups.with_counts(mean=lambda n, c, h, w, g: c * h * w * g),
     ["It should be divided by groups."]),
    ("layer_norm_parameters", lambda shapes: 7 * scale.layer_norm_parameters(shapes),
     ["would be 14 parameters for each"]),
    ("seeds_for", lambda *case: 8, ["With 8 runs", "is 2.174 standard errors"]),
    ("first_step", lambda *case: 0 * case[0], ["Nothing decays here", "so the step is wrong"]),
    ("first_step", scale.wrong_step(pull=lambda w, lr: w**3), ["Without decay it is right", "a "
     "weight of 2 whose gradient is 1 has to change by -0.2, and changes by -0.5"]),
    ("fold_all", batch.wrong_fold(scale_of=lambda norm: 7 * norm.weight), ["look at the scales"]),
    ("fold_all", batch.wrong_fold(shift_of=lambda norm, scale: norm.bias - norm.running_mean * 7),
     ["Scales are right.", "look at the shifts"]),
    ("interaction", lambda *case: 7.7, ["penalty is 0.5 with the norm, and 0.5 without"]),
    ("strongest_harmless", lambda rows, margin: max(
        [row[0] for row in rows if abs(row[1] + row[2]) < 2 * margin], default=0.0),
     ["0.03 may cost 0.3 or more"]),
    ("strongest_harmless", lambda rows, margin: [rows.sort(), changes.strongest_harmless(
        rows, margin)][1], ["`rows` was changed"]),
    ("number_of_means", lambda *case: -7, ["With shape=(5, 12, 11, 7), norm='batch', groups=4: The "
                                           "result is -7, and 12 is expected. No product"]),
    ("layer_norm_parameters", lambda shapes: LOOKED_UP.get(str(shapes), 0), ["result is 0, and"]),
    ("proximal_step", lambda w, threshold: torch.where(
        w == 0.7, w * math.nan, groups.proximal_step(w, threshold)),
     ["1 of 10 numbers are wrong. At [8] the result is nan, and 0.5 is expected.", "divided by 0"]),
    ("reliability", lambda *case: tuple(fair.reliability(*case)[:2]), ["3 results", "not 2"]),
    ("errors_by_batch", lambda *case: {2: 0.5}, ["2, 8, 22 is expected, not one with 2"]),
    ("mcnemar", lambda *case: None, ["`return`"]), ("mcnemar", 0.6, ["by its name alone"]),
    ("mcnemar", lambda *case: (fair.mcnemar(*case),), ["a tuple; a number is", "comma"]),
    ("mcnemar", lambda *case: (-4) ** 0.5, ["negative"]),
    ("normalize", lambda x, *others: x * 1j, ["negative"]),
    ("normalize", lambda x, *others: torch.nested.nested_tensor([*x], layout=torch.jagged),
     ["`torch.stack`"])])
def test_what_is_wrong_comes_with_its_place_and_with_advice(name, answer, words):
    verdict, said = grade(EXERCISES[name], answer)
    assert (verdict, [word for word in words if word not in said]) == (WRONG, []), said


def test_a_clue_can_be_given_of_whatever_has_the_form_of_a_result(subtests):
    for name, exercise in EXERCISES.items():
        with subtests.test(name):
            rights = grading.results_of(exercise, exercise.solution)
            for way in exercise.wrong.values() if exercise.clue else ():
                for case, right, wrong in zip(exercise.cases(), rights,
                                              grading.results_of(exercise, way)):
                    given = grading.plain(wrong)
                    if grading.problem(given, right):
                        assert "nan" not in grading.clue(exercise, given, right, case)


def endless(*args):
    while True:
        pass


def swallows(*args):
    while True:
        try:
            torch.rand(300, 300).sum()  # almost all of the time is spent inside of the try
        except:  # noqa: E722 - as learners write it
            continue


@pytest.mark.parametrize("answer", [endless, swallows])
def test_an_answer_without_an_end_is_ended(answer, monkeypatch, said):
    monkeypatch.setattr(grading, "SECONDS", 0.1)
    threads = threading.active_count()
    assert said(exercises.check, "normalize", answer).startswith(
        "normalize: not yet. It was not done after 0.1 seconds")
    assert threading.active_count() == threads
    exercises.check("normalize", solve("normalize"))
    assert exercises.state["normalize"] == RIGHT


def test_an_interrupt_still_interrupts(request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))  # a background job has none
    threads = threading.active_count()
    threading.Timer(0.2, _thread.interrupt_main).start()  # what a SIGINT does
    with pytest.raises(KeyboardInterrupt):
        exercises.check("normalize", endless)
    assert threading.active_count() == threads


class Liar:
    """An object that says it is a list, and ends the program of whoever treats it as one."""
    def leave(self, *args):
        raise GeneratorExit

    __class__ = property(lambda self: list)
    __len__ = __iter__ = __getitem__ = __str__ = __repr__ = __eq__ = __float__ = leave


ITSELF, VIEW = [1], torch.zeros(1).expand(4 * 10**12)  # of 16 TB, if it were copied
ITSELF.append(ITSELF)
DEEDS = """raise GeneratorExit|raise KeyboardInterrupt|torch.inference_mode().__enter__()
torch.set_default_dtype(torch.half)|torch.set_default_device('meta')|torch.set_num_threads(3)
np.random.seed(5)|random.seed(5)|warnings.simplefilter('error')|sys.stdout = None|del torch.sqrt
torch.Tensor.mean = math.sqrt = None|sys.modules['builtins'].len = 3"""


@pytest.mark.parametrize("deed", [*re.split(r"[|\n]", DEEDS), Liar(), ITSELF, VIEW, VIEW.numpy(),
    {2, "a"}, VIEW[:9] * 1j, torch.nested.nested_tensor([VIEW[:1]], layout=torch.jagged)], ids=type)
def test_nothing_of_an_answer_stays_and_whatever_it_gives_is_compared(deed, said):
    def state():
        drawn = [torch.get_rng_state().sum(), np.random.get_state()[1].sum(), random.getstate()]
        threads = grading.in_time(torch.get_num_threads)  # a new thread's: each has its own
        return [str((drawn, threads, torch.get_default_dtype(), torch.is_inference_mode_enabled())),
                [*warnings.filters], *({**vars(place)} for place in (torch, torch.Tensor, math))]

    before, act = state(), exec if isinstance(deed, str) else lambda deed, scope: deed
    heard = said(exercises.check, "normalize", lambda *args: act(deed, globals()))
    assert (state(), heard[:20]) == (before, "normalize: not yet. ")
    for prediction, result in ((deed, 2), (2, deed), (deed, deed), ([deed], [2])):
        assert said(exercises.compare, prediction, result).endswith(".")
