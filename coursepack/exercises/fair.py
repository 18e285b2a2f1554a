"""Notebook 04: McNemar's test from two counts, seeds for a difference, a reliability diagram."""

import math
from collections.abc import Callable
from math import comb

import numpy as np
import torch
from torch import Tensor

from coursepack.exercises.grading import Exercise, unlike


# --------------------------------------------------------------------------------- mcnemar
def mcnemar(only_first, only_other):
    from math import comb

    tosses, fewer = only_first + only_other, min(only_first, only_other)
    one_side = sum(comb(tosses, k) for k in range(fewer + 1)) / 2**tosses
    return min(1.0, 2 * one_side)


def mcnemar_cases() -> list[tuple]:
    return [(28, 33), (3, 12), (9, 9), (1, 0), (0, 0), (40, 17)]


def tail(first: int, other: int, last: int) -> float:
    """The probability of 0 to last heads in first + other tosses."""
    return sum(comb(first + other, k) for k in range(last + 1)) / 2 ** (first + other)


MCNEMAR_WRONG = {
    "That is one side only: 3 to 12 is as uneven as 12 to 3, so both count.":
        lambda first, other: tail(first, other, min(first, other)),
    "Twice one side is above 1 where the two counts are equal, and a probability is not: "
    "`min(1.0, ...)`.":
        lambda first, other: 2 * tail(first, other, min(first, other)),
    "That is the probability of exactly this split. More uneven ones count, too.":
        lambda first, other: comb(first + other, first) / 2 ** (first + other),
    "That is the probability of exactly this split, both ways round. More uneven ones count, too.":
        lambda first, other: min(1.0, 2 * comb(first + other, first) / 2 ** (first + other)),
    "The split itself is left out. It counts as well: `range(fewer + 1)`.":
        lambda first, other: min(1.0, 2 * tail(first, other, min(first, other) - 1)),
    "Counted are the less uneven splits: sum up to the smaller of the two counts.":
        lambda first, other: min(1.0, 2 * tail(first, other, max(first, other))),
    "The split itself is left out, and the other side as well: `range(fewer + 1)`, and twice it.":
        lambda first, other: tail(first, other, min(first, other) - 1),
    "Summed up to the first count, and one side only. Twice the sum up to the smaller one counts.":
        lambda first, other: tail(first, other, first),
    "That is the probability of a less uneven split, 1 - p.":
        lambda first, other: 1 - mcnemar(first, other),
    "That is the approximation (b - c)² / (b + c). Asked for is the exact p.":
        lambda first, other: (first - other) ** 2 / max(first + other, 1),
    "That is the approximation (|b - c| - 1)² / (b + c). Asked for is the exact p.":
        lambda first, other: (abs(first - other) - 1) ** 2 / max(first + other, 1),
    "That is the approximation by the chi-squared distribution. Asked for is the exact p, by coin "
    "tosses.":
        lambda first, other: math.erfc(abs(first - other) / max(2 * (first + other), 1) ** 0.5),
    "That is the approximation by the chi-squared distribution, with its correction of 1. Asked "
    "for is the exact p, by coin tosses.":
        lambda first, other: math.erfc(
            abs(abs(first - other) - 1) / max(2 * (first + other), 1) ** 0.5),
    "That is an approximation by the normal distribution, and one side only. Asked for is the "
    "exact p, by coin tosses.":
        lambda first, other: math.erfc(abs(first - other) / max(2 * (first + other), 1) ** 0.5) / 2,
    "That is the mid-p, in which the split itself counts half. Here it counts in full.":
        lambda first, other: (2 * tail(first, other, min(first, other))
                              - comb(first + other, first) / 2 ** (first + other)),
    "Summed up to the first count. It is the smaller of the two that counts.":
        lambda first, other: min(1.0, 2 * tail(first, other, first)),
    "Without a toss nothing speaks for a difference: p is 1.":
        lambda first, other: mcnemar(first, other) if first + other else 0.0,
    "That is how far the two counts are apart, as a share, and no test.":
        lambda first, other: abs(first - other) / max(first + other, 1),
    "That is the share of one of the two counts, and no test.":
        lambda first, other: first / max(first + other, 1),
}


def what_is_counted(given: list[Tensor], right: list[float], *counts: int) -> str:
    """Whether it is too much, and what is asked for."""
    return (f"That is too {'large' if given[0] > right[0] else 'small'}. Asked for is how likely a "
            "split is that is as uneven as this one or more so, either way round.")


# -------------------------------------------------------------------------------- seeds_for
def seeds_for(difference, spread):
    return int(np.ceil(2 * ((1.96 + 0.84) * spread / difference) ** 2))


def seeds_cases() -> list[tuple]:
    return [(0.05, 0.046), (0.1, 0.046), (0.2, 0.33), (1.0, 0.9)]


def standard_errors(given: list[Tensor], right: list[int], difference: float, spread: float) -> str:
    """How large a difference is with so many runs."""
    if given[0] <= 0:
        return ""
    error = spread * math.sqrt(2 / given[0])
    return (f"With {given[0]:g} runs of each recipe the difference is {difference / error:.4g} "
            "standard errors. Asked for is the first whole number with which it is 2.8 or more.")


def seeds(times: float = 2, z: float = 1.96 + 0.84, power: int = 2, upside_down: bool = False,
          rounded: Callable[[float], float] = math.ceil) -> object:
    """The rule with something wrong: see the arguments."""
    def way(difference: float, spread: float) -> float:
        ratio = difference / spread if upside_down else spread / difference
        return rounded(times * (z * ratio) ** power)
    return way


SEEDS_WRONG = {
    "Both recipes vary: the variance of a difference is twice that of one.": seeds(times=1),
    "That is twice as many: those of both recipes together, or 2 in place of the root of 2.":
        seeds(times=4),
    "The square is missing: half the difference needs four times the seeds.": seeds(power=1),
    "Spread and difference are upside down: a smaller difference needs more seeds.":
        seeds(upside_down=True),
    "With 1.96 alone the difference is found in half of all studies. 0.84 is to be added for four "
    "in five.": seeds(z=1.96),
    "With 0.84 alone nothing is said of the test at 5 %: 1.96 is to be added.": seeds(z=0.84),
    "1.96 and 0.84 are added first, and then squared.": seeds(z=math.hypot(1.96, 0.84)),
    "1.96 + 0.84 is squared, too.":
        lambda difference, spread: math.ceil(2 * 2.8 * (spread / difference) ** 2),
    "2 is the variance's: it is not under a root here.": seeds(times=2**0.5),
    "2.58 is for a test at 1 %. At 5 % it is 1.96.": seeds(z=2.58 + 0.84),
    "The square is missing, and both recipes vary: 2 times the square of (1.96 + 0.84) x spread / "
    "difference.": seeds(times=1, power=1),
    "1.64 is for a difference whose sign is known. Here it may be either: 1.96.":
        seeds(z=1.64 + 0.84),
    "16 is 2 x 2.8² rounded up, Lehr's rule of thumb. Here the rule itself is asked for.":
        lambda difference, spread: math.ceil(16 * (spread / difference) ** 2),
    "1.28 is for a difference that is found in nine of ten studies. For four in five it is 0.84.":
        seeds(z=1.96 + 1.28),
    "Both recipes vary: twice as many. And 0.84 is to be added to 1.96.": seeds(times=1, z=1.96),
    "Both recipes vary: twice as many. And round up, not to the nearest number.":
        seeds(times=1, rounded=round),
    "Spread / difference is squared, too, and both recipes vary: that makes it twice as much.":
        lambda difference, spread: math.ceil(2.8**2 * spread / difference),
    "Rounded up before it is doubled. Round up at the end.":
        lambda difference, spread: 2 * math.ceil((2.8 * spread / difference) ** 2),
    "Rounded down, it is a seed short: round up.": seeds(rounded=math.floor),
    "One more is what the t-test asks for. The rule of thumb does without.":
        lambda difference, spread: seeds_for(difference, spread) + 1,
    "Rounded to the nearest number, it may be a seed short: round up.": seeds(rounded=round),
    "Both recipes vary: the variance of a difference is twice that of one. And there are no parts "
    "of a run: round up.": seeds(times=1, rounded=float),
    "There are no parts of a run: round up, `math.ceil`.": seeds(rounded=float),
}


# ------------------------------------------------------------------------------ reliability
def reliability(confidence, right, edges):
    rows = []
    for low, high in zip(edges, edges[1:]):
        chosen = (confidence >= low) & (confidence < high)
        rows.append((chosen.sum(), confidence[chosen].mean(), right[chosen].mean()))
    return rows


def reliability_cases() -> list[tuple]:
    """Overconfident answers; one lies on an edge."""
    draw = torch.Generator().manual_seed(0)
    confidence = 0.3 + 0.69 * torch.rand(60, generator=draw, dtype=torch.float64) ** 0.5
    confidence[0] = 0.8
    right = (torch.rand(60, generator=draw, dtype=torch.float64) < confidence - 0.2).double()
    return [(confidence, right, [0.3, 0.6, 0.8, 1.0]), (confidence, right, [0.0, 0.8, 0.9, 1.0])]


def wrong_reliability(row=None, upper=False, open_end=False, both=False) -> object:
    """A reliability table with one thing wrong: see the arguments."""
    def way(confidence: Tensor, right: Tensor, edges: list[float]) -> list[object]:
        rows = []
        for low, high in zip(edges, edges[1:]):
            chosen = (confidence >= low) & (confidence < high)
            if upper:
                chosen = (confidence > low) & (confidence <= high)
            if both:
                chosen = (confidence >= low) & (confidence <= high)
            if open_end:
                chosen = confidence >= low
            count, sure, share = chosen.sum(), confidence[chosen].mean(), right[chosen].mean()
            rows.append(row(count, sure, share, (low + high) / 2, len(right)) if row else
                        (count, sure, share))
        return rows
    return way


RELIABILITY_WRONG = {
    "The edges: an answer on one belongs to the bin above it (low <= confidence < high).":
        wrong_reliability(upper=True),
    "Both edges belong to a bin: an answer on one is counted twice.":
        wrong_reliability(both=True),
    "A bin ends at its upper edge: answers above it belong to the next.":
        wrong_reliability(open_end=True),
    "That is the middle of the bin. Asked for is the mean confidence of the answers in it.":
        wrong_reliability(lambda count, sure, share, middle, total: (count, middle, share)),
    "That is the share of wrong answers. Asked for is that of right ones.":
        wrong_reliability(lambda count, sure, share, middle, total: (count, sure, 1 - share)),
    "Right answers are divided by all answers, and not by those of the bin.":
        wrong_reliability(lambda count, sure, share, middle, total:
                          (count, sure, share * count / total)),
    "That is how many are right in each bin. Divide by how many there are in it.":
        wrong_reliability(lambda count, sure, share, middle, total: (count, sure, share * count)),
    "`len` counts all answers. `chosen.sum()` counts those of the bin.":
        wrong_reliability(lambda count, sure, share, middle, total: (total, sure, share)),
    "Both sums are divided by all answers, and not by those of the bin.":
        wrong_reliability(lambda count, sure, share, middle, total:
                          (count, sure * count / total, share * count / total)),
    "Asked for is how many answers are in a bin, not their share.":
        wrong_reliability(lambda count, sure, share, middle, total: (count / total, sure, share)),
    "These are sums. Asked for are the mean confidence, and the share that is right.":
        wrong_reliability(lambda count, sure, share, middle, total:
                          (count, sure * count, share * count)),
    "The third number is the share that is right, not how far the confidence is from it.":
        wrong_reliability(lambda count, sure, share, middle, total: (count, sure, sure - share)),
    "Rows and columns are the wrong way round: a tuple for each bin, of three numbers.":
        lambda *case: list(zip(*reliability(*case))),
    "The share of right ones is that of all answers. Asked for is that of the bin.":
        lambda confidence, right, edges: [(*row[:2], right.mean()) for row in reliability(
            confidence, right, edges)],
    "The mean confidence is that of all answers. Asked for is that of the bin.":
        lambda confidence, right, edges: [(row[0], confidence.mean(), row[2]) for row in
                                          reliability(confidence, right, edges)],
    "Confidence comes before accuracy.":
        wrong_reliability(lambda count, sure, share, middle, total: (count, share, sure)),
    "The number of answers comes first.":
        wrong_reliability(lambda count, sure, share, middle, total: (sure, share, count)),
}

def of_a_bin(given: list[Tensor], right: list[Tensor], *case: object) -> str:
    """What the first number that is wrong should be."""
    name = ("how many answers the bin has", "the mean confidence of the bin's answers",
            "the share of right ones among the bin's answers")[min(unlike(given, right)) % 3]
    return f"This number is {name}."


EXERCISES = {
    "mcnemar": Exercise(
        "04", mcnemar, mcnemar_cases, MCNEMAR_WRONG,
        ["Toss a coin for each image that only one of the two gets wrong: only_first + only_other "
         "tosses. How likely is it that heads come up no more often than the smaller count?",
         "`math.comb(tosses, k) / 2**tosses` is the probability of k heads. Add up those of k = 0 "
         "to the smaller count, which counts as well.",
         "Splits as uneven the other way round count as well: twice that, and 1 at most."],
        "For the 28 and 33 of this page it is 0.61: such a split is to be expected.",
        clue=what_is_counted),
    "seeds_for": Exercise(
        "04", seeds_for, seeds_cases, SEEDS_WRONG,
        ["The standard error of a difference of two means of n runs is spread x sqrt(2 / n).",
         "It has to be so small that the difference is 1.96 + 0.84 standard errors. Solve for n, "
         "and round up."],
        "Roughly 16 (spread / difference)², Lehr's rule of 1992. Student's t-test, which does not "
        "know the spread beforehand, asks for one or two more.", clue=standard_errors),
    "reliability": Exercise(
        "04", reliability, reliability_cases, RELIABILITY_WRONG,
        ["`(confidence >= low) & (confidence < high)` chooses the answers of a bin.",
         "`confidence[chosen].mean()` and `right[chosen].mean()` are what the diagram shows."],
        "Drawn over each other, confidence and accuracy are the reliability diagram.",
        clue=of_a_bin),
}
