"""What a step of training does to the weights: penalties, learning rate, optimizer."""

import inspect
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from coursepack.files import check_choice
from model import Net, convolutions

PENALIZE = ("weights", "all", "last", "hidden")
L1_STEPS, L2_STEPS = ("subgradient", "proximal"), ("gradient", "learning_rate")


def penalized_parameters(model: nn.Module, penalize: str = "weights") -> list[Tensor]:
    """What L1 and L2 act on: "all", or "weights" of convolutions (the "last", the "hidden")."""
    if check_choice("penalize", penalize, PENALIZE) == "all":
        return list(model.parameters())
    weights = [conv.weight for conv in convolutions(model)]
    return {"last": weights[-1:], "hidden": weights[:-1]}.get(penalize, weights)


def penalty(parameters: Sequence[Tensor], l1: float, l2: float) -> Tensor:
    """l1 * sum |w| + l2 / 2 * sum w^2 over all elements w of the parameters.

    Its gradient is l1 * sign(w) + l2 * w: l2 is what torch's optimizers call weight_decay
    (Tibshirani 1996 for L1; Hoerl and Kennard 1970 for L2).
    """
    w = torch.cat([parameter.flatten() for parameter in parameters])
    return l1 * w.abs().sum() + l2 / 2 * (w**2).sum()


@torch.no_grad()
def add_penalty(parameters: Sequence[Tensor], l1: float, l2: float,
                l1_step: str = "subgradient") -> Tensor:
    """Add the gradient of penalty() to the gradients of the parameters; returns its value.

    By hand and for all weights at once: autograd, or a call for each, would take several times as
    long. L1 of "proximal" is left to shrink().
    """
    pull = l1 if l1_step == "subgradient" else 0.0
    pulls = torch._foreach_mul(torch._foreach_sign(parameters), pull)  # pull * sign(w) ...
    torch._foreach_add_(pulls, torch._foreach_mul(parameters, l2))  # ... + l2 * w
    torch._foreach_add_([w.grad for w in parameters], pulls)
    return penalty(parameters, l1, l2)


@torch.no_grad()
def shrink(parameters: Sequence[Tensor], threshold: float) -> None:
    """The proximal step of L1: every weight towards zero by threshold, and to zero, never past it.

    The subgradient steps over zero and back, and makes hardly a weight exactly zero.
    Daubechies, Defrise and De Mol 2004; Parikh and Boyd 2014, https://doi.org/10.1561/2400000003.
    """
    for w in parameters:
        w.copy_(w.sign() * (w.abs() - threshold).clamp(min=0))


@torch.no_grad()
def decay(parameters: Sequence[Tensor], share: float) -> None:
    """Weight decay that no gradient knows of: every weight loses a share of itself, lr * decay.

    Adam would divide L2's gradient. Loshchilov and Hutter 2017, https://arxiv.org/abs/1711.05101
    """
    for w in parameters:
        w.mul_(1 - share)


# A learning rate lr by schedule, at a step of all steps, counted from 0. To add one, add its row.
def one_cycle(lr: float, step: int, steps: int, steps_per_epoch: int) -> float:
    """Up from lr / 25 to lr in the first 30 %, then down to almost 0, along half cosines.

    Smith and Topin 2017, https://arxiv.org/abs/1708.07120; numbers as in torch's OneCycleLR.
    """
    top, end = 0.3 * steps - 1, steps - 1
    if step <= top:
        start, stop, share = lr / 25, lr, step / top
    else:
        start, stop, share = lr, lr / 25e4, (step - top) / (end - top)
    return stop + (start - stop) * (1 + math.cos(math.pi * share)) / 2


def a_tenth_every_six_epochs(lr: float, step: int, steps: int, steps_per_epoch: int) -> float:
    return lr * 0.1 ** (step // steps_per_epoch // 6)


def constant(lr: float, step: int, steps: int, steps_per_epoch: int) -> float:
    return lr


SCHEDULES = {"one_cycle": one_cycle, "step": a_tenth_every_six_epochs, "constant": constant}


def rate_for_l2(rate: float, l2: float, grown: float) -> tuple[float, float]:
    """The learning rate that does without L2 what rate does with it, for weights before a norm.

    grown: how many times longer these weights are than with L2, 1 at first; returned as well.
    Such weights w may be multiplied by any c > 0: the outputs stay, the gradient is divided by c.
    With L2, w(t + 1) = (1 - rate l2) w(t) - rate g(w(t)). Multiplied by c(t + 1), where
    c(t + 1) = c(t) / (1 - rate l2), that is the path of c w under gradient descent without L2, at
    the rate times c(t) c(t + 1). Li and Arora 2020, https://arxiv.org/abs/1910.07454
    """
    growing = grown / (1 - rate * l2)
    return rate * grown * growing, growing


def scale_free_weights(model: Net) -> list[Tensor]:
    """Weights of convolutions before a norm, whose scale no output shows (but for its epsilon)."""
    free, convs = [], []
    for block in model.layers:  # of a pooling with a norm, the convolutions before it
        convs = convolutions(block) or convs
        if hasattr(block, "norm") and convs[-1].bias is None:
            free += [conv.weight for conv in convs]
    return free


def light(kind: type[Optimizer]) -> type[Optimizer]:
    """An optimizer of PyTorch without what prepares it for torch.compile, a second of importing."""
    ours = {name: inspect.unwrap(getattr(kind, name)) for name in
            ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")}
    return type(kind.__name__, (kind,), ours | {"step": torch.no_grad()(ours["step"])})


SGD, Adam = light(torch.optim.SGD), light(torch.optim.Adam)


# An optimizer of groups of parameters. To add one, add its row.
def sgd(groups: list[dict], lr: float, momentum: float) -> Optimizer:
    """Gradient descent with Nesterov momentum (Sutskever et al. 2013)."""
    return SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=True)


def adamw(groups: list[dict], lr: float, momentum: float) -> Optimizer:
    """Adam (Kingma and Ba 2014, https://arxiv.org/abs/1412.6980); its decay is decay()."""
    return Adam(groups, lr=lr, betas=(momentum, 0.999), fused=True)


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T: all its singular values are made nearly 1 (0.7 to 1.2).

    Five steps of Newton and Schulz, each an odd polynomial of the matrix, so U and V stay. Its
    coefficients, for which small values grow fast, are of Jordan et al. 2024.
    """
    x = matrix / matrix.norm().clamp(min=1e-7)
    x = x if len(x) <= x.shape[1] else x.T  # so that the squares are small
    for _ in range(5):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=-4.775, alpha=2.0315), x,
                        beta=3.4445)
    return x if x.shape == matrix.shape else x.T


class Muon(SGD):
    """SGD with Nesterov momentum; the steps of all convolutions but the last are orthogonal().

    So each direction of such a weight moves equally far, however small its gradient is. A tall
    matrix moves farther, by the root of height over width. Linear layers count as convolutions.
    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon
    """

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            weights, momentum = group["params"], group["momentum"]
            for w in weights:
                if not self.state[w]:
                    self.state[w]["momentum_buffer"] = torch.zeros_like(w)
            speeds = [self.state[w]["momentum_buffer"] for w in weights]
            torch._foreach_mul_(speeds, momentum)
            torch._foreach_add_(speeds, [w.grad for w in weights])
            moves = [*torch._foreach_add([w.grad for w in weights], speeds, alpha=momentum)]
            for i in [i for i, w in enumerate(weights) if w.dim() > 1][:-1]:
                matrix = moves[i].flatten(1)
                tall = max(1, len(matrix) / matrix.shape[1]) ** 0.5
                moves[i] = tall * orthogonal(matrix).reshape(moves[i].shape)
            torch._foreach_add_(weights, moves, alpha=-group["lr"])


OPTIMIZERS = {"sgd": sgd, "adamw": adamw, "muon": Muon}
