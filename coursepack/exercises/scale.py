"""Notebook 03: what layer norm costs, half the weights, and two kinds of weight decay."""

import copy

import torch
from torch import Tensor, nn

from coursepack.exercises.grading import Exercise
from model import Net


# -------------------------------------------------------------------- layer_norm_parameters
def layer_norm_parameters(shapes):
    return sum(2 * c * h * w for c, h, w in shapes)


def shapes_cases() -> list[tuple]:
    return [([(16, 24, 24), (8, 10, 10), (16, 4, 4)],), ([(24, 32, 32)],),
            ([(5, 3, 7), (6, 2, 2)],)]


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
    "Only the first norm is counted. Add them all up.":
        lambda shapes: layer_norm_parameters(shapes[:1]),
    "Only the last norm is counted. Add them all up.":
        lambda shapes: layer_norm_parameters(shapes[-1:]),
    "The running means and variances are batch norm's. Layer norm has a gain and a bias per "
    "element, and nothing else.": lambda shapes: sum(4 * c * h * w for c, h, w in shapes),
}


# ------------------------------------------------------------------------------------- halve
def halve(net):
    import copy

    half = copy.deepcopy(net)
    convolutions = [layer for layer in half.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        for convolution in convolutions[:-1]:
            convolution.weight /= 2
    return half


def use_halve(answer: object) -> object:
    """How much is left of each parameter of a network, and of the network that was handed over.

    Each is the least and the greatest factor over all numbers of a parameter; none is zero.
    """
    draw = torch.Generator().manual_seed(0)
    net = Net("mnist_8k", "group").double()
    for w in net.parameters():
        nn.init.uniform_(w, 0.5, 1.5, generator=draw)
    before = {name: w.detach().clone() for name, w in net.named_parameters()}
    half = answer(net)
    if half is ...:
        return half
    if not isinstance(half, nn.Module):
        raise TypeError(f"a network is asked for, and this is of type {type(half).__name__}")
    after = dict(half.named_parameters())
    times = {f"{name}, times": after[name] / w for name, w in before.items()}
    given = torch.cat([(w / before[name]).flatten() for name, w in net.named_parameters()])
    return {name: torch.stack([ratio.min(), ratio.max()])
            for name, ratio in (times | {"the network that was given, times": given}).items()}


def wrong_halve(which=slice(-1), factor=0.5, kind=nn.Conv2d, in_place=False) -> object:
    """Half the weights with one thing wrong: see the arguments."""
    def way(net: Net) -> Net:
        half = net if in_place else copy.deepcopy(net)
        layers = [layer for layer in half.modules() if isinstance(layer, kind)]
        with torch.no_grad():
            for layer in layers[which]:
                layer.weight *= factor
        return half
    return way


def halve_all(net: Net) -> Net:
    half = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in half.parameters():
            parameter /= 2
    return half


HALVE_WRONG = {
    "All parameters are halved. Gains and biases of norms, and the last convolution, stay as they "
    "were.": halve_all,
    "The last convolution is halved, too. No norm follows it, so its scale counts.":
        wrong_halve(slice(None)),
    "Only the last convolution is halved: all others are asked for.": wrong_halve(slice(-1, None)),
    "Only the first convolution is halved: all but the last are asked for.": wrong_halve(slice(1)),
    "The first convolution is left out, and the last is halved. It is the other way round: all but "
    "the last are asked for.": wrong_halve(slice(1, None)),
    "The first convolution is left out. Its output reaches a norm, too.":
        wrong_halve(slice(1, -1)),
    "The last two convolutions are left out: only the last has no norm behind it.":
        wrong_halve(slice(-2)),
    "The gains of the norms are halved, and no weights of convolutions.":
        wrong_halve(slice(None), kind=nn.GroupNorm),
    "The gains of the norms are halved, too. Convolutions alone are asked for.":
        wrong_halve(kind=nn.Conv2d | nn.GroupNorm),
    "The weights are doubled.": wrong_halve(factor=2.0),
    "The weights are divided by four.": wrong_halve(factor=0.25),
    "The weights are halved, but their signs are turned around.": wrong_halve(factor=-0.5),
    "The network that was handed over is changed. Work on a copy (`copy.deepcopy`).":
        wrong_halve(in_place=True),
    "Nothing is halved.": wrong_halve(factor=1.0),
}


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
    return [(w, gradient, 0.1, decay, optimizer, decoupled) for decay in (0.5, 0.0)
            for optimizer in ("descent", "adam") for decoupled in (False, True)]


def wrong_step(coupled=None, size="right", corrected=True, rate=True, after=False, adam=True,
               sign=1.0, times=1.0) -> object:
    """The step with one thing wrong: see the arguments."""
    def way(w: Tensor, gradient: Tensor, lr: float, decay: float, optimizer: str,
            decoupled: bool) -> Tensor:
        decoupled = decoupled if coupled is None else not coupled
        g = gradient if decoupled else gradient + times * decay * w
        step = g
        if optimizer == "adam" and adam:
            by = {"right": g.abs() + 1e-8, "no epsilon": g.abs(), "signed": g + 1e-8,
                  "epsilon inside": (g**2 + 1e-8).sqrt()}[size]
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
    "Adam divides by the size of the gradient: its absolute value.": wrong_step(size="signed"),
    "This is the change of the weights. Asked for are the new weights.":
        lambda w, *others: first_step(w, *others) - w,
    "The gradient of decay / 2 * w ** 2 is decay * w, without a 2.": wrong_step(times=2.0),
    "The gradient of decay / 2 * w ** 2 is decay * w: the halves cancel.": wrong_step(times=0.5),
}

EXERCISES = {
    "layer_norm_parameters": Exercise(
        "03", layer_norm_parameters, shapes_cases, SHAPES_WRONG,
        ["How many elements has one image in front of a norm?",
         "Each element has a gain and a bias."],
        "With the five norms of this network: 24,320. The convolutions have 7,272 weights."),
    "halve": Exercise(
        "03", halve, lambda: [()], HALVE_WRONG,
        ["`[layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]` lists the "
         "convolutions in order.",
         "Change a copy, `copy.deepcopy(net)`, and inside of `torch.no_grad()`."],
        "A network has many twins: same answers, other weights. A penalty tells them apart, the "
        "loss does not.", use_halve),
    "first_step": Exercise(
        "03", first_step, step_cases, STEP_WRONG,
        ["L2 changes the gradient: gradient + decay * w. Decoupled decay changes the weight: "
         "(1 - lr * decay) * w.",
         "Plain descent: w - lr * gradient. Adam divides the gradient by its size first; so what "
         "is in the gradient is divided, too."],
        "Under plain descent both decays are the same. In Adam's first step L2 shrinks a weight "
        "only where it turns the sign of the gradient."),
}
