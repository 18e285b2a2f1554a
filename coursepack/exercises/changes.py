"""Notebooks 05 and 06: dropout before a norm, pooling, interactions, harmless penalties."""

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
    "This is the ratio to the variance before. Asked for is the variance itself.":
        lambda mean, variance, p: dropout_variance(mean, variance, p) / variance,
}


# ------------------------------------------------------------------------- pooled_dimensions
def pooled_dimensions(norm, groups, channels, order):
    if order == "norm, ReLU":
        return channels
    lost = {"batch": 0, "group": groups, "instance": channels}[norm]
    return channels - lost


def pooled_cases() -> list[tuple]:
    return [(norm, 4, channels, order) for channels in (16, 24)
            for norm in ("batch", "group", "instance") for order in ("ReLU, norm", "norm, ReLU")]


def with_lost(**others) -> object:
    """A wrong way: pooled_dimensions, but for the dimensions that some norms lose."""
    def way(norm, groups, channels, order):
        if norm not in others:
            return pooled_dimensions(norm, groups, channels, order)
        return channels - (others[norm](groups, channels) if order == "ReLU, norm" else 0)
    return way


POOLED_WRONG = {
    "These are the dimensions that are lost. Asked for are those that are left.":
        lambda norm, groups, channels, order:
            channels - pooled_dimensions(norm, groups, channels, order),
    "The order is forgotten: a mean over what a ReLU has cut is not fixed by the norm before it.":
        lambda norm, groups, channels, order:
            pooled_dimensions(norm, groups, channels, "ReLU, norm"),
    "The orders are mixed up: the average loses dimensions where the norm comes last.":
        lambda norm, groups, channels, order: pooled_dimensions(
            norm, groups, channels, "norm, ReLU" if order == "ReLU, norm" else "ReLU, norm"),
    "Batch norm fixes the mean over all images, not that of each one: the average loses nothing.":
        with_lost(batch=lambda groups, channels: channels),
    "Batch norm has no groups: it fixes the mean over all images, and the average loses nothing.":
        with_lost(batch=lambda groups, channels: groups),
    "Groups count for group norm alone. Batch norm fixes the mean over all images, and loses "
    "nothing; instance norm fixes that of every channel, and loses all.":
        with_lost(batch=lambda groups, channels: groups,
                  instance=lambda groups, channels: groups),
    "With instance norm the mean of every channel is fixed, so all are lost.":
        with_lost(instance=lambda groups, channels: groups),
    "With instance norm the mean of every channel is fixed; not even one dimension is left.":
        with_lost(instance=lambda groups, channels: channels - 1),
    "Each group loses one dimension, however many channels it has.":
        with_lost(group=lambda groups, channels: channels // groups),
    "Of each group one dimension is lost, and the others are left.":
        with_lost(group=lambda groups, channels: channels - groups),
    "The groups are subtracted from the channels, not divided by: each group loses one dimension, "
    "and keeps the others.":
        with_lost(group=lambda groups, channels: channels - channels // groups),
    "All groups together lose more than one dimension: each has a mean of its own.":
        with_lost(group=lambda groups, channels: 1),
}


# ------------------------------------------------------------------------------- interaction
def interaction(neither, norm_only, penalty_only, both):
    return (both - norm_only) - (penalty_only - neither)


def interaction_cases() -> list[tuple]:
    return [(1.0, 3.0, 1.5, 3.5), (-1.5, -2.7, -0.6, -3.0), (2.0, 0.25, 5.0, 1.0),
            (0.5, -1.0, 0.2, 0.4)]


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
    "The sign is lost: an interaction may be below zero.":
        lambda *losses: abs(interaction(*losses)),
    "This is what both would give if there were no interaction. How far is `both` from it?":
        lambda neither, norm_only, penalty_only, both: norm_only + penalty_only - neither,
}


# ------------------------------------------------------------------------ strongest_harmless
def strongest_harmless(rows, margin):
    harmless = [strength for strength, low, high in rows if low > -margin]
    return max(harmless, default=0.0)


def harmless_cases() -> list[tuple]:
    """Strengths, with the ends of the interval of a gain; the strengths are not in order."""
    rows = [(0.001, -0.1, 0.3), (0.1, -0.9, -0.4), (0.01, -0.2, 0.1), (0.0001, -0.1, 0.1),
            (0.03, -0.4, 0.2), (0.05, -0.6, -0.2)]
    return [(rows, 0.3), (rows, 0.15), (rows, 0.05), (rows, 0.5), (rows, 2.0), (rows, 0.4),
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
    "This is the weakest one that is harmless. Asked for is the strongest.":
        chosen(lambda low, high, margin: low > -margin, min),
    "The rows are in no order: take the largest strength, not the last.":
        chosen(lambda low, high, margin: low > -margin, lambda found: found[-1]),
    "The rows are in no order: take the largest strength, not the first.":
        chosen(lambda low, high, margin: low > -margin, lambda found: found[0]),
    "This is how many are harmless. Asked for is the strength of the strongest.":
        lambda rows, margin: sum(low > -margin for _, low, _ in rows),
}

EXERCISES = {
    "dropout_variance": Exercise(
        "05", dropout_variance, dropout_cases, DROPOUT_WRONG,
        ["The variance is the mean of the squares less the square of the mean. What are both after "
         "dropout?",
         "The mean stays. A share 1 - p of the squares stays, and each is divided by (1 - p) ** 2.",
         "Before dropout the mean of the squares is variance + mean ** 2."],
        "Divided by the variance before, it is 1 / (1 - p) and more where the mean is not 0: at "
        "least 2 for p = 0.5, as at the first norm in question 5."),
    "pooled_dimensions": Exercise(
        "05", pooled_dimensions, pooled_cases, POOLED_WRONG,
        ["Which means are fixed, whatever the image? The average over positions is such a mean.",
         "A group whose channels have a mean of zero together loses one dimension. Instance norm: "
         "each channel is a group. Batch norm: the mean of one image is not fixed.",
         "A ReLU after the norm changes the means: then nothing is lost."],
        "So 16 channels leave 12 dimensions with four groups, 16 with batch norm, and none with "
        "instance norm, where the norm comes last."),
    "interaction": Exercise(
        "06", interaction, interaction_cases, INTERACTION_WRONG,
        ["The effect of the penalty without a norm is penalty_only - neither. And with a norm?",
         "An interaction is a difference of differences."],
        "It is zero where the lines of the figure are parallel. The effect of the norm with and "
        "without a penalty gives the same number."),
    "strongest_harmless": Exercise(
        "06", strongest_harmless, harmless_cases, HARMLESS_WRONG,
        ["What is the worst that an interval does not exclude? Its lower end.",
         "Collect the strengths whose lower end is above -margin, and take the largest.",
         "`max(found, default=0.0)` answers when none is found."],
        "That a difference is undecided is no proof of harmlessness: with few runs every interval "
        "is wide."),
}
