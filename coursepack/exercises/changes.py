"""Notebooks 05 and 06: dropout before a norm, pooling, interactions, harmless penalties."""

import itertools
import math

import torch
from torch import Tensor

from coursepack.exercises.grading import Exercise


# -------------------------------------------------------------------------- dropout_variance
def dropout_variance(mean, variance, p):
    return (variance + mean**2) / (1 - p) - mean**2


def dropout_cases() -> list[tuple]:
    return [(0.0, 1.0, 0.5), (1.5, 2.0, 0.2), (-3.0, 0.5, 0.6), (2.0, 3.0, 0.1)]


DROPOUT_WRONG = {
    "The mean is forgotten. Zeros are far from a mean that is not 0, and that is variance, too: "
    "begin with the mean of the squares.": lambda mean, variance, p: variance / (1 - p),
    "The variance grows, too: 1 / (1 - p) times, beside what the mean adds.":
        lambda mean, variance, p: variance + p * mean**2 / (1 - p),
    "The numbers that stay are not divided by 1 - p.":
        lambda mean, variance, p: (1 - p) * (variance + mean**2) - ((1 - p) * mean) ** 2,
    "The numbers that stay are not divided by 1 - p. And so the mean becomes smaller, too.":
        lambda mean, variance, p: (1 - p) * (variance + mean**2) - mean**2,
    "Nothing changes here, but zeros and larger numbers lie further apart: the variance grows.":
        lambda mean, variance, p: variance,
    "The square of the mean is subtracted: variance = mean of the squares - mean ** 2.":
        lambda mean, variance, p: (variance + mean**2) / (1 - p) + mean**2,
    "The mean is forgotten, or added once too often: the mean of the squares is variance + "
    "mean ** 2, and mean ** 2 is subtracted at the end.":
        lambda mean, variance, p: variance / (1 - p) + mean**2,
    "This is the standard deviation. Asked for is the variance.":
        lambda mean, variance, p: math.sqrt(dropout_variance(mean, variance, p)),
    "The mean stays as it was: those that stay are divided by 1 - p.":
        lambda mean, variance, p: (variance + mean**2) / (1 - p) - ((1 - p) * mean) ** 2,
    "The mean is not divided by 1 - p: a share p of zeros takes back what the others gain.":
        lambda mean, variance, p: (variance + mean**2) / (1 - p) - (mean / (1 - p)) ** 2,
    "The mean is subtracted and never added: begin with the mean of the squares, variance + "
    "mean ** 2.": lambda mean, variance, p: variance / (1 - p) - mean**2,
    "What is subtracted is the square of the mean.":
        lambda mean, variance, p: (variance + mean**2) / (1 - p) - mean,
    "The mean is not squared: the mean of the squares is variance + mean ** 2.":
        lambda mean, variance, p: (variance + mean) / (1 - p) - mean,
    "The numbers that stay are not divided by 1 - p, and the mean is forgotten.":
        lambda mean, variance, p: (1 - p) * variance,
    "This is the variance of what says who stays (0 or 1). Asked for is that of the numbers.":
        lambda mean, variance, p: p * (1 - p),
    "Divided by (1 - p) squared: the squares are, but only a share 1 - p of them stays. And the "
    "mean is forgotten.": lambda mean, variance, p: variance / (1 - p) ** 2,
    "Divided by (1 - p) squared: the squares are, but only a share 1 - p of them stays.":
        lambda mean, variance, p: (variance + mean**2) / (1 - p) ** 2 - mean**2,
    "The part of the mean is divided by 1 - p, too: those that stay are larger.":
        lambda mean, variance, p: variance / (1 - p) + p * mean**2,
    "This is the mean of the squares. The variance is that less the square of the mean.":
        lambda mean, variance, p: (variance + mean**2) / (1 - p),
    "p and 1 - p are mixed up: p is the probability of being set to zero.":
        lambda mean, variance, p: (variance + mean**2) / p - mean**2,
    "p and 1 - p are mixed up, and the mean is forgotten.":
        lambda mean, variance, p: variance / p,
    "This is what dropout adds to the variance. Asked for is the new variance.":
        lambda mean, variance, p: (variance + mean**2) * p / (1 - p),
    "This is the ratio to the variance before. Asked for is the variance itself.":
        lambda mean, variance, p: dropout_variance(mean, variance, p) / variance,
}


def mean_of_squares(given: list[Tensor], right: list[float], mean: float, variance: float,
                    p: float) -> str:
    """What happens to the mean of the squares, and to the mean."""
    squares = variance + mean**2
    return (f"The mean of the squares is {squares:g} before dropout and {squares / (1 - p):g} "
            f"after it; the mean stays {mean:g}.")


# ------------------------------------------------------------------------------ last_average
def last_average(averages, gain, bias):
    others = (averages - bias[:-1]) / gain[:-1]
    return bias[-1] - gain[-1] * others.sum()


def average_cases() -> list[tuple]:
    """Groups of four channels, of two, and of one."""
    averages, gain, bias = torch.tensor(
        [[0.4, -1.1, 0.9, 0], [1.5, 0.8, 2.0, 1.2], [-0.3, 0.2, 0.6, 0.9]], dtype=torch.float64)
    return [(averages[:size - 1], gain[:size], bias[:size]) for size in (4, 2, 1)]


AVERAGE_WRONG = {
    "Gain and bias are forgotten. The means add up to 0 before these: take the biases away, and "
    "divide by the gains.": lambda averages, gain, bias: -averages.sum(),
    "The gains are forgotten: the means add up to 0 before gain and bias.":
        lambda averages, gain, bias: bias[-1] - (averages - bias[:-1]).sum(),
    "The biases are forgotten: the means add up to 0 before gain and bias.":
        lambda averages, gain, bias: -gain[-1] * (averages / gain[:-1]).sum(),
    "Gain and bias of the other channels are forgotten: before the means add up to 0, take their "
    "biases away, and divide by their gains.":
        lambda averages, gain, bias: bias[-1] - gain[-1] * averages.sum(),
    "The sign: the means add up to 0, so the last is minus the sum of the others.":
        lambda averages, gain, bias: 2 * bias[-1] - last_average(averages, gain, bias),
    "The last is minus the sum of the others, and not their mean.":
        lambda averages, gain, bias: bias[-1] - gain[-1] * (
            (averages - bias[:-1]) / gain[:-1]).mean(),
    "The norm multiplied by the gains. To go back, divide.":
        lambda averages, gain, bias: bias[-1] - gain[-1] * (
            (averages - bias[:-1]) * gain[:-1]).sum(),
    "The bias was added after the gain. To go back, take it away first, then divide.":
        lambda averages, gain, bias: bias[-1] - gain[-1] * (averages / gain[:-1] - bias[:-1]).sum(),
    "That is the last mean before gain and bias. It still goes through those of its channel.":
        lambda averages, gain, bias: (last_average(averages, gain, bias) - bias[-1]) / gain[-1],
    "The bias of the last channel is missing.":
        lambda averages, gain, bias: last_average(averages, gain, bias) - bias[-1],
    "The gain of the last channel is missing.":
        lambda averages, gain, bias: bias[-1] - ((averages - bias[:-1]) / gain[:-1]).sum(),
    "The means add up to 0, and not to 1, and they do so before gain and bias.":
        lambda averages, gain, bias: 1 - averages.sum(),
    "Gain and bias of the other channels are forgotten: take their biases away, and divide by "
    "their gains.": lambda averages, gain, bias: bias[-1] - averages.sum(),
    "The gains are forgotten, and the bias of the last channel is missing.":
        lambda averages, gain, bias: -(averages - bias[:-1]).sum(),
    "The gains of the other channels are forgotten: divide by them before you add up.":
        lambda averages, gain, bias: bias[-1] - gain[-1] * (averages - bias[:-1]).sum(),
    "The last mean is multiplied by the gain of its channel, and not divided by it.":
        lambda averages, gain, bias: bias[-1] - (
            (averages - bias[:-1]) / gain[:-1]).sum() / gain[-1],
    "That is so where a group has one channel. Where it has several, the others count.":
        lambda averages, gain, bias: bias[-1],
    "Bias, then gain? The norm multiplies by the gain first, and adds the bias to that.":
        lambda averages, gain, bias: gain[-1] * (
            bias[-1] - ((averages - bias[:-1]) / gain[:-1]).sum()),
}


def sum_of_means(given: list[Tensor], right: list[Tensor], averages: Tensor, gain: Tensor,
                 bias: Tensor) -> str:
    """To what the means before gain and bias add up with an answer."""
    means = (torch.cat([averages, given[0].view(1)]) - bias) / gain
    return f"With it the means before gain and bias add up to {means.sum():.3g}, and not to 0."


# ------------------------------------------------------------------------------- interaction
def interaction(neither, norm_only, penalty_only, both):
    return (both - norm_only) - (penalty_only - neither)


def interaction_cases() -> list[tuple]:
    """None is below 0, so that a second logarithm stops nowhere, and is told from the first."""
    return [(1.0, 3.0, 1.5, 3.5), (1.6, 0.4, 2.5, 0.1), (2.0, 0.25, 5.0, 1.0),
            (1.6, 0.1, 1.3, 1.5)]


INTERACTION_WRONG = {
    "This is what norm and penalty do together. Take away what each of them does alone.":
        lambda neither, norm_only, penalty_only, both: both - neither,
    "This is what the penalty does where there is a norm. Compare it with what it does without.":
        lambda neither, norm_only, penalty_only, both: both - norm_only,
    "This is what the norm does where there is a penalty. Compare it with what it does without.":
        lambda neither, norm_only, penalty_only, both: both - penalty_only,
    "This compares both with the better of the two, and the one with neither does not count.":
        lambda neither, norm_only, penalty_only, both: both - min(norm_only, penalty_only),
    "This compares both with the larger of the two, and the one with neither does not count.":
        lambda neither, norm_only, penalty_only, both: both - max(norm_only, penalty_only),
    "This is the effect of the penalty, averaged over norm and no norm. An interaction is the "
    "difference of the two effects.": lambda neither, norm_only, penalty_only, both:
        (both - norm_only + penalty_only - neither) / 2,
    "This is the effect of the norm, averaged over penalty and no penalty. An interaction is the "
    "difference of the two effects.": lambda neither, norm_only, penalty_only, both:
        (both - penalty_only + norm_only - neither) / 2,
    "The sign is turned: where both together give more than the sum of the two effects, the "
    "interaction is above zero.": lambda neither, norm_only, penalty_only, both:
        -interaction(neither, norm_only, penalty_only, both),
    "The one with neither is missing: effects are differences to it.":
        lambda neither, norm_only, penalty_only, both: both - norm_only - penalty_only,
    "These are logarithms already: effects on them are differences, not ratios.":
        lambda neither, norm_only, penalty_only, both: both * neither / (norm_only * penalty_only),
    "These are logarithms already: take the sum of the two effects away, do not divide.":
        lambda neither, norm_only, penalty_only, both: both / (norm_only * penalty_only),
    "The logarithm is taken twice: these are logarithms already.":
        lambda *losses: interaction(*map(math.log, losses)),
    "The logarithms are undone here. The effects are differences of them as they are.":
        lambda *losses: interaction(*map(math.exp, losses)),
    "This is the factor by which both together change the loss beyond their effects. Asked for is "
    "its logarithm.": lambda *losses: math.exp(interaction(*losses)),
    "Half of it: some write an interaction so. Here it is the difference of the two effects.":
        lambda *losses: interaction(*losses) / 2,
    "The two effects are added here. An interaction is their difference.":
        lambda neither, norm_only, penalty_only, both: both - norm_only + penalty_only - neither,
    "The two effects are multiplied here, as columns of a regression are. The interaction is what "
    "both together do beyond their sum.": lambda neither, norm_only, penalty_only, both: (
        (norm_only - neither) * (penalty_only - neither)),
    "Effects have a sign: one that lowers the loss is below zero.":
        lambda neither, norm_only, penalty_only, both: (
            abs(both - norm_only) - abs(penalty_only - neither)),
    "This compares both with the middle of the two. Compare it with the sum of their effects.":
        lambda neither, norm_only, penalty_only, both: both - (norm_only + penalty_only) / 2,
    "The two effects are divided here. An interaction is their difference.":
        lambda neither, norm_only, penalty_only, both: (
            (both - norm_only) / (penalty_only - neither)),
    "Brackets: the whole effect without a norm is subtracted, so `neither` comes with a plus.":
        lambda neither, norm_only, penalty_only, both: both - norm_only - penalty_only - neither,
    "The sign is lost: an interaction may be below zero.":
        lambda *losses: abs(interaction(*losses)),
    "This is what both would give if there were no interaction. How far is `both` from it?":
        lambda neither, norm_only, penalty_only, both: norm_only + penalty_only - neither,
}


def both_effects(given: list[Tensor], right: list[float], neither: float, norm_only: float,
                 penalty_only: float, both: float) -> str:
    """The two effects of which an interaction is the difference."""
    return (f"The effect of the penalty is {both - norm_only:g} with the norm, and "
            f"{penalty_only - neither:g} without it.")


# ------------------------------------------------------------------------ strongest_harmless
def strongest_harmless(rows, margin):
    harmless = [strength for strength, low, high in rows if low > -margin]
    return max(harmless, default=0.0)


def harmless_cases() -> list[tuple]:
    """Strengths, with the ends of the interval of a gain; the strengths are not in order."""
    rows = [(0.05, -0.6, -0.2), (0.001, -0.1, 0.3), (0.01, -0.2, 0.1), (0.0001, -0.1, 0.1),
            (0.03, -0.4, 0.2), (0.1, -0.9, -0.4)]
    return [(rows, 0.3), (rows, 0.15), (rows, 0.05), (rows, 0.5), (rows, 2.0), (rows, 0.4),
            ([(0.002, 0.4, 0.6), (0.001, -0.1, 0.2)], 0.3),
            ([(0.002, 0.4, 0.6), (0.004, 0.1, 0.9), (0.003, -0.35, 0.05)], 0.3)]


def chosen(harmless, choose=max) -> object:
    """A wrong way: another test of what is harmless, or another choice among what is."""
    def way(rows, margin):
        return choose([s for s, low, high in rows if harmless(low, high, margin)] or [0.0])
    return way


HARMLESS_WRONG = {
    "An interval that holds zero is undecided: a loss larger than the margin may hide in it. "
    "Harmless is what loses less than the margin even at the interval's lower end.":
        chosen(lambda low, high, margin: high >= 0),
    "Undecided is not harmless: an interval that holds zero may reach far below the margin. And a "
    "gain is harmless, too.": chosen(lambda low, high, margin: low <= 0 <= high),
    "An interval that ends at the margin does not exclude it: its lower end has to be above that.":
        chosen(lambda low, high, margin: low >= -margin),
    "This asks for a gain that is beyond chance. Harmless is also a loss that is smaller than the "
    "margin.": chosen(lambda low, high, margin: low > 0),
    "The middle of the interval is above the margin's end, but the lower end counts.":
        chosen(lambda low, high, margin: (low + high) / 2 > -margin),
    "Compared is the upper end. The lower end counts: it is the largest loss not excluded.":
        chosen(lambda low, high, margin: high > -margin),
    "The sign of the margin: a loss is below zero, so the lower end is compared with -margin.":
        chosen(lambda low, high, margin: low > margin),
    "A gain does no harm, however large: only the lower end has to be within the margin.":
        chosen(lambda low, high, margin: max(-low, high) < margin),
    "A gain does no harm, however large: it is above -margin, too.":
        chosen(lambda low, high, margin: abs(low) < margin),
    "A loss is harmless as well, if it is smaller than the margin for sure.":
        chosen(lambda low, high, margin: low > -margin and high > 0),
    "It ends at the first strength that is not harmless. That one says nothing of stronger ones: "
    "its interval may just be wide.":
        lambda rows, margin: max([0.0, *(row[0] for row in itertools.takewhile(
            lambda row: row[1] > -margin, sorted(rows)))]),
    "It ends at the first row that is not harmless, and the rows are in no order.":
        lambda rows, margin: max([0.0, *(row[0] for row in itertools.takewhile(
            lambda row: row[1] > -margin, rows))]),
    "This is the weakest one that is not harmless. Asked for is the strongest that is.":
        lambda rows, margin: min([row[0] for row in rows if row[1] <= -margin] or [0.0]),
    "This is the weakest one that is harmless. Asked for is the strongest.":
        chosen(lambda low, high, margin: low > -margin, min),
    "The rows are in no order: take the largest strength, not the last.":
        chosen(lambda low, high, margin: low > -margin, lambda found: found[-1]),
    "The rows are in no order: take the largest strength, not the first.":
        chosen(lambda low, high, margin: low > -margin, lambda found: found[0]),
    "The width of an interval says how sure one is, and not how large a loss may be.":
        lambda rows, margin: max([s for s, low, high in rows if high - low < margin] or [0.0]),
    "These are the others: harmless is what is above -margin at its lower end.":
        chosen(lambda low, high, margin: low <= -margin),
    "This is how many are harmless. Asked for is the strength of the strongest.":
        lambda rows, margin: sum(low > -margin for _, low, _ in rows),
}

def its_interval(given: list[Tensor], right: list[float], rows: list[tuple], margin: float) -> str:
    """What the interval of a strength says."""
    low = {strength: low for strength, low, _ in rows}.get(given[0].item())
    if low is None:
        return "" if given[0] else f"{right[0]:g} is harmless."
    if low <= -margin:
        return f"{given[0]:g} may cost {margin:g} or more: its interval reaches down to {low:g}."
    return f"{given[0]:g} is harmless, and so is {right[0]:g}, which is stronger."


EXERCISES = {
    "dropout_variance": Exercise(
        "05", dropout_variance, dropout_cases, DROPOUT_WRONG,
        ["The variance is the mean of the squares less the square of the mean. What are both after "
         "dropout?",
         "The mean stays. A share 1 - p of the squares stays, and each is divided by (1 - p) ** 2.",
         "Before dropout the mean of the squares is variance + mean ** 2."],
        "Divided by the variance before, it is 1 / (1 - p) and more where the mean is not 0: at "
        "least 2 for p = 0.5, as at the first norm in question 5.", clue=mean_of_squares),
    "last_average": Exercise(
        "05", last_average, average_cases, AVERAGE_WRONG,
        ["Before gain and bias the means of a group's channels add up to 0.",
         "An average less its bias, divided by its gain, is the mean before both: "
         "`(averages - bias[:-1]) / gain[:-1]`.",
         "The last mean is minus the sum of these. Then it goes through the gain and the bias of "
         "its own channel."],
        "So each group loses a dimension. Where each channel is a group, as in instance norm, "
        "nothing but the biases is left.", clue=sum_of_means),
    "interaction": Exercise(
        "06", interaction, interaction_cases, INTERACTION_WRONG,
        ["The effect of the penalty without a norm is penalty_only - neither. And with a norm?",
         "An interaction is a difference of differences."],
        "It is 0 where the lines of the figure are parallel. The effect of the norm with and "
        "without a penalty gives the same number.", clue=both_effects),
    "strongest_harmless": Exercise(
        "06", strongest_harmless, harmless_cases, HARMLESS_WRONG,
        ["What is the worst that an interval does not exclude? Its lower end.",
         "Collect the strengths whose lower end is above -margin, and take the largest.",
         "`max(found, default=0.0)` answers when none is found."],
        "That a difference is undecided is no proof of harmlessness: with few runs every interval "
        "is wide.", clue=its_interval),
}
