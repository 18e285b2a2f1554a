"""Notebook 03: what layer norm costs, networks that stay twins, two kinds of weight decay."""

import math

import torch
from torch import Tensor

from coursepack.exercises.grading import Exercise


# -------------------------------------------------------------------- layer_norm_parameters
def layer_norm_parameters(shapes):
    return sum(2 * c * h * w for c, h, w in shapes)


def shapes_cases() -> list[tuple]:
    draw = torch.Generator().manual_seed(3)  # shapes that are nowhere: no constant fits
    drawn = [tuple((2 + torch.randperm(28, generator=draw)[:3]).tolist()) for _ in range(3)]
    return [([(24, 32, 32)],), ([(16, 24, 24), (8, 10, 10), (16, 4, 4)],),
            ([(5, 3, 7), (6, 2, 2)],), (drawn,)]


SHAPES_WRONG = {
    "That is a gain and a bias per channel, as in group norm. PyTorch's layer norm has them per "
    "element.": lambda shapes: sum(2 * c for c, h, w in shapes),
    "Gains alone are counted: there are as many biases.":
        lambda shapes: sum(c * h * w for c, h, w in shapes),
    "That is one gain and one bias per layer. Each element of an image has its own.":
        lambda shapes: 2 * len(shapes),
    "Channels are forgotten: the elements are C x H x W.":
        lambda shapes: sum(2 * h * w for c, h, w in shapes),
    "Only one side of the map is counted: the elements are C x H x W.":
        lambda shapes: sum(2 * c * h for c, h, w in shapes),
    "C, H and W are multiplied, not added: each channel has H x W elements.":
        lambda shapes: sum(2 * sum(shape) for shape in shapes),
    "The norms are added up, not multiplied.":
        lambda shapes: math.prod(2 * c * h * w for c, h, w in shapes),
    "The map need not be a square: the elements are C x H x W.":
        lambda shapes: sum(2 * c * h * h for c, h, w in shapes),
    "Each element has a bias of its own, too, and not each channel.":
        lambda shapes: sum(c * h * w + c for c, h, w in shapes),
    "Each element has a bias of its own, too, and not each norm.":
        lambda shapes: sum(c * h * w + 1 for c, h, w in shapes),
    "A mean and a variance are no parameters: they are calculated, and not learned.":
        lambda shapes: sum(2 * c * h * w + 2 for c, h, w in shapes),
    "Only the first norm is counted. Add them all up.":
        lambda shapes: layer_norm_parameters(shapes[:1]),
    "Only the last norm is counted. Add them all up.":
        lambda shapes: layer_norm_parameters(shapes[-1:]),
    "The running means and variances are batch norm's. Layer norm has a gain and a bias per "
    "element, and nothing else.": lambda shapes: sum(4 * c * h * w for c, h, w in shapes),
}


def for_each_element(given: list[Tensor], right: list[int], shapes: list[tuple]) -> str:
    """How many parameters a count stands for; or, as a single norm comes first, what is wrong."""
    if len(shapes) > 1:
        return "With a single norm it is right: look at how those of several come together."
    elements = math.prod(shapes[0])
    return (f"An image has {elements} elements, so that would be {given[0] / elements:.6g} "
            "parameters for each.")


# -------------------------------------------------------------------------------- twin_rates
def twin_rates(factor, lr, l2):
    return lr * factor**2, l2 / factor**2


def twin_cases() -> list[tuple]:
    return [(0.5, 0.1, 1e-4), (3.0, 0.02, 1e-3), (10.0, 0.05, 5e-4)]


def with_powers(of_lr=2, of_l2=-2) -> object:
    """Twins with another power of the factor."""
    return lambda factor, lr, l2: (lr * factor**of_lr, l2 * factor**of_l2)


TWIN_WRONG = {
    "Rate: as it was, it makes steps that are too long or too short. The gradient is 1 / factor of "
    "the first one's, and the step has to be factor times as long.": with_powers(of_lr=0),
    "Rate: factor times makes steps as long as those of the first. But they have to be factor "
    "times as long, as the weights are.": with_powers(of_lr=1),
    "Rate: upside down. Where the weights are larger the gradient is smaller, and the step has to "
    "be larger: the rate grows.": with_powers(of_lr=-2),
    "Rate: upside down, and the square is missing: the gradient is 1 / factor, and the step has to "
    "be factor times as long.": with_powers(of_lr=-1),
    "L2: as it was, it takes another share of the weights, because the rate is another. The share "
    "of a step is lr * l2.": with_powers(of_l2=0),
    "L2: the share that a step takes, lr * l2, has to stay. The rate has the square of factor, so "
    "l2 is divided by the square.": with_powers(of_l2=-1),
    "L2: upside down. The share that a step takes is lr * l2, and it has to stay.":
        with_powers(of_l2=2),
    "L2: the share that a step takes, lr * l2, has to stay: if one grows, the other shrinks.":
        with_powers(of_l2=1),
    "Rate: that is the root of the factor. It is the square: factor for the longer step, and again "
    "for the smaller gradient.": with_powers(of_lr=0.5),
    "L2: that is the fourth power. What a step takes, lr * l2, has to stay, and lr has the square.":
        with_powers(of_l2=-4),
    "The factor need not be a half: what changes goes with its square.":
        lambda factor, lr, l2: (lr / 4, 4 * l2),
    "With both as they were the networks are no twins: steps turn shorter weights further.":
        with_powers(0, 0),
    "Both are upside down: the larger weights need the larger rate, and the smaller l2.":
        with_powers(-2, 2),
    "The two are in the wrong order: first the learning rate, then l2.":
        lambda *case: twin_rates(*case)[::-1],
}


def share_of_a_step(given: list[Tensor], right: list[Tensor], factor: float, lr: float,
                    l2: float) -> str:
    """Whether lr * l2 has stayed."""
    share = given[0].item() * given[1].item()
    if not math.isclose(share, lr * l2):
        return (f"A step takes the share lr * l2 of each weight, which has to stay. It was "
                f"{lr * l2:g}, and is {share:g}.")
    return "lr * l2, the share that a step takes, has stayed, as it has to. The rate is another."


# -------------------------------------------------------------------------------- first_step
def first_step(w, gradient, lr, decay, optimizer, decoupled):
    if not decoupled:
        gradient = gradient + decay * w
    step = gradient
    if optimizer == "adam":
        step = gradient / (gradient.abs() + 1e-8)
    if decoupled:
        w = (1 - lr * decay) * w
    return w - lr * step


def step_cases() -> list[tuple]:
    w = torch.tensor([2.0, -1.0, 0.5, 0.3], dtype=torch.float64)
    gradient = torch.tensor([1.0, 0.1, -0.01, 1e-7], dtype=torch.float64)
    return [(w, gradient, 0.1, decay, optimizer, decoupled) for decay in (0.0, 0.5)
            for optimizer in ("descent", "adam") for decoupled in (False, True)]


def step_or_decay(given: list[Tensor], right: list[Tensor], w: Tensor, gradient: Tensor, lr: float,
                  decay: float, *others: object) -> str:
    """Which of the two is wrong, as the cases come one after the other, and for which weight."""
    worst = (given[0] - right[0]).abs().argmax()
    return (f"{'Without decay it is right' if decay else 'Nothing decays here'}, so the "
            f"{'decay' if decay else 'step'} is wrong: a weight of {w[worst]:g} whose gradient is "
            f"{gradient[worst]:g} has to change by {(right[0] - w)[worst]:.4g}, and changes by "
            f"{(given[0] - w)[worst]:.4g}.")


def wrong_step(coupled=None, size="right", corrected=True, rate=True, after=False, adam=True,
               sign=1.0, pull=lambda w, lr: w) -> object:
    """The step with one thing wrong: see the arguments."""
    def way(w: Tensor, gradient: Tensor, lr: float, decay: float, optimizer: str,
            decoupled: bool) -> Tensor:
        decoupled = decoupled if coupled is None else not coupled
        g = gradient if decoupled else gradient + decay * pull(w, lr)
        step = g
        if optimizer == "adam" and adam:
            by = {"right": g.abs() + 1e-8, "no epsilon": g.abs(), "signed": g + 1e-8,
                  "squared": g**2 + 1e-8, "epsilon inside": (g**2 + 1e-8).sqrt(),
                  "length": g.norm() + 1e-8, "of the loss": gradient.abs() + 1e-8}[size]
            step = g / by if corrected else 0.1 * g / (0.001**0.5 * g.abs() + 1e-8)
        share = (lr if rate else 1.0) * decay if decoupled else 0.0
        if after:
            return (1 - share) * (w - sign * lr * step)
        return (1 - share) * w - sign * lr * step
    return way


STEP_WRONG = {
    "Decoupled decay is treated as L2: it must not pass through the gradient.":
        wrong_step(coupled=True),
    "L2 is treated as decoupled decay: its gradient, decay * w, joins the gradient of the loss "
    "before the optimizer divides.": wrong_step(coupled=False),
    "The share that decoupled decay takes is lr * decay: the learning rate is missing.":
        wrong_step(rate=False),
    "Adam is missing: its step is the gradient divided by its size.": wrong_step(adam=False),
    "Adam's epsilon is missing: the size is |gradient| + 1e-8.": wrong_step(size="no epsilon"),
    "L2 is added after Adam has divided. It joins the gradient before. And Adam's epsilon is "
    "missing.": wrong_step(coupled=False, size="no epsilon"),
    "Adam's epsilon is under the root, as in a norm. Here it is added after the root: the size is "
    "|gradient| + 1e-8.": wrong_step(size="epsilon inside"),
    "Adam's averages are not corrected for their start at zero. After the correction the first "
    "step is gradient / (|gradient| + 1e-8).": wrong_step(corrected=False),
    "Decoupled decay takes its share of the weight before the step, not after it.":
        wrong_step(after=True),
    "The step goes up. It goes against the gradient: w - lr * step.": wrong_step(sign=-1.0),
    "There is no decay at all: L2 joins the gradient, decoupled decay the weight.":
        lambda w, gradient, lr, decay, *others: first_step(w, gradient, lr, 0.0, *others),
    "Decoupled decay is there with L2, too. It is one or the other.":
        lambda w, gradient, lr, decay, optimizer, decoupled: first_step(
            w, gradient, lr, decay, optimizer, decoupled) - (not decoupled) * lr * decay * w,
    "Adam divides each gradient by its own size, and not by the length of all of them.":
        wrong_step(size="length"),
    "Adam divides by the size of the gradient: its absolute value.": wrong_step(size="signed"),
    "This is the change of the weights. Asked for are the new weights.":
        lambda w, *others: first_step(w, *others) - w,
    "Adam divides by the size of what is in the gradient, and with L2 that is more than the "
    "gradient of the loss.": wrong_step(size="of the loss"),
    "L2 adds decay * w to the gradient, with a plus: the step goes against it, towards zero.":
        wrong_step(pull=lambda w, lr: -w),
    "The learning rate is missing: the step is lr times the gradient, or what Adam makes of it.":
        lambda w, gradient, lr, decay, optimizer, decoupled: first_step(
            w, gradient, 1.0, lr * decay if decoupled else decay, optimizer, decoupled),
    "Adam is everywhere. Where `optimizer` is \"descent\", the step is lr * gradient.":
        lambda w, gradient, lr, decay, optimizer, decoupled: first_step(
            w, gradient, lr, decay, "adam", decoupled),
    "The gradient of decay / 2 * w ** 2 is decay * w, without a 2.":
        wrong_step(pull=lambda w, lr: 2 * w),
    "The gradient of decay / 2 * w ** 2 is decay * w: the halves cancel.":
        wrong_step(pull=lambda w, lr: w / 2),
    "The learning rate counts twice for L2: it is in the step already.":
        wrong_step(pull=lambda w, lr: lr * w),
    "The learning rate is missing for L2: decay * w joins the gradient, and lr multiplies both.":
        wrong_step(pull=lambda w, lr: w / lr),
    "That is the gradient of L1. L2's is decay * w.": wrong_step(pull=lambda w, lr: w.sign()),
    "What is added is the gradient of the penalty, decay * w, and not the penalty itself.":
        wrong_step(pull=lambda w, lr: w**2),
    "What is added has the sign of w: L2's gradient is decay * w.":
        wrong_step(pull=lambda w, lr: w.abs()),
    "Adam divides by the root of the squared gradient, its absolute value, and not by the square.":
        wrong_step(size="squared"),
}

EXERCISES = {
    "layer_norm_parameters": Exercise(
        "03", layer_norm_parameters, shapes_cases, SHAPES_WRONG,
        ["How many elements has one image in front of a norm?",
         "Each element has a gain and a bias."],
        "With the five norms of this network: 24,320. The convolutions have 7,272 weights.",
        clue=for_each_element),
    "twin_rates": Exercise(
        "03", twin_rates, twin_cases, TWIN_WRONG,
        ["At weights that are factor times as long the gradient is 1 / factor as long: above, half "
         "the weights had twice the gradient.",
         "A step has to be factor times that of the first network: factor * lr * gradient, made of "
         "gradient / factor.",
         "L2 takes the share lr * l2 of each weight, and twins lose the same share."],
        "So lr / |w|² and lr * l2 are what counts in front of a norm: how far a step turns the "
        "weights, and which share of them it takes away.", clue=share_of_a_step),
    "first_step": Exercise(
        "03", first_step, step_cases, STEP_WRONG,
        ["L2 changes the gradient: gradient + decay * w. Decoupled decay changes the weight: "
         "(1 - lr * decay) * w.",
         "Plain descent: w - lr * gradient. Adam divides the gradient by its size first; so what "
         "is in the gradient is divided, too."],
        "Under plain descent both decays are the same. In Adam's first step L2 shrinks a weight "
        "only where it turns the sign of the gradient.", clue=step_or_decay),
}
