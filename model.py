"""The networks of the course: small image classifiers with an exchangeable normalization.

Read from top to bottom: the normalizations (by hand, then as PyTorch layers), a block, the
architectures as tables and the network that reads them, and what can be counted without running it.

Shapes, everywhere: N images in a batch, C channels, H x W positions, G groups of channels.

Batch normalization     Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167
Layer normalization     Ba, Kiros and Hinton 2016, https://arxiv.org/abs/1607.06450
Instance normalization  Ulyanov, Vedaldi and Lempitsky 2016, https://arxiv.org/abs/1607.08022
Group normalization     Wu and He 2018, https://arxiv.org/abs/1803.08494
RMS normalization       Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467
"""

import functools
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursepack.files import check_choice

# ------------------------------------------------------------------- normalization, by hand
AXES = {  # of a batch seen as (N, G, C / G, H, W): the elements along them share a mean
    "batch": (0, 3, 4),  # one mean per channel, over the whole batch
    "layer": (1, 2, 3, 4),  # one per image
    "group": (2, 3, 4),  # one per image and group
    "instance": (3, 4),  # one per image and channel
    "rms": (1, 2, 3, 4),  # one per image: of the squares alone, nothing is subtracted
}
NORMS = (*AXES, "none")


def check_norm(norm: str) -> str:
    """Full name of a normalization: one of NORMS, or its alias (BN, GN, LN, IN, RMS)."""
    name = str(norm).lower()
    aliases = {row.short.lower(): full for full, row in LAYERS.items()}
    return check_choice("norm", aliases.get(name, name if name in NORMS else norm), NORMS)


def check_groups(groups: int, channels: Iterable[int]) -> None:
    """Raise ValueError unless groups divides every one of the channel counts."""
    channels = sorted(set(channels))
    allowed = [g for g in range(1, channels[0] + 1) if all(c % g == 0 for c in channels)]
    if groups not in allowed:
        raise ValueError(f"groups={groups!r} does not divide {' and '.join(map(str, channels))} "
                         f"channels. Choose one of: {', '.join(map(str, allowed))}.")


def split_channels(shape: tuple[int, ...], norm: str, groups: int) -> tuple[int, ...]:
    """(N, C, H, W) as (N, G, C / G, H, W). Only group norm has more than one group."""
    n, c, h, w = shape
    groups = groups if norm == "group" else 1
    check_groups(groups, [c])
    return n, groups, c // groups, h, w


def normalize(x: Tensor, norm: str, groups: int = 2, eps: float = 1e-5) -> Tensor:
    """Normalize a batch by hand: (x - mean) / sqrt(variance + eps), in training mode, no affine.

    x: (N, C, H, W), floating point; the result has the same shape. Which axes are averaged over is
    all that tells the normalizations apart; RMS norm also subtracts no mean. The variance is the
    biased one (divide by the number of elements). torch's layers then have a gain and a bias.
    """
    norm = check_norm(norm)
    if norm == "none":
        return x
    split = x.reshape(split_channels(tuple(x.shape), norm, groups))
    mean = 0 if norm == "rms" else split.mean(AXES[norm], keepdim=True)
    variance = ((split - mean) ** 2).mean(AXES[norm], keepdim=True)
    return ((split - mean) / torch.sqrt(variance + eps)).reshape(x.shape)


def mean_index(shape: tuple[int, int, int, int], norm: str, groups: int = 2) -> Tensor:
    """Number of the mean that each element of a batch is normalized with.

    shape: (N, C, H, W). Returns an integer tensor of that shape: two elements share a mean (RMS
    norm: of squares) exactly when their numbers are equal; the highest + 1 is how many there are.
    """
    norm = check_choice("norm", check_norm(norm), AXES)  # without a norm there is no mean
    split = split_channels(shape, norm, groups)
    means = [1 if axis in AXES[norm] else length for axis, length in enumerate(split)]
    return torch.arange(math.prod(means)).view(means).expand(split).reshape(shape)


# ------------------------------------------------------------------ normalization, as layers
class LayerNorm(nn.LayerNorm):
    """nn.LayerNorm([C, H, W]) that stays fast when the channels are last in memory.

    There, (N, H, W, C) is the order in which a mean over an image can be read without a copy.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.is_contiguous():
            return super().forward(x)
        gain, bias = self.weight.permute(1, 2, 0), self.bias.permute(1, 2, 0)
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(x, gain.shape, gain, bias, self.eps).permute(0, 3, 1, 2)


class RMSNorm(nn.RMSNorm):
    """nn.RMSNorm([C, H, W]): a gain per element, no bias; as fast as LayerNorm, and its epsilon."""

    def __init__(self, normalized_shape: list[int]):
        super().__init__(normalized_shape, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        if x.is_contiguous():
            return super().forward(x)
        gain = self.weight.permute(1, 2, 0)
        return F.rms_norm(x.permute(0, 2, 3, 1), gain.shape, gain, self.eps).permute(0, 3, 1, 2)


class SubBatchNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d that normalizes each part of so many images with the part's own statistics.

    So the batch of the statistics can be smaller than that of the optimizer (Hoffer, Hubara and
    Soudry 2017, https://arxiv.org/abs/1705.08741: "ghost batches"). The last part may be smaller.
    The parts share one step of the running statistics, each in proportion to its images.
    """

    def __init__(self, num_features: int, images: int):
        super().__init__(num_features)
        self.images = images

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        outputs, mean, variance = [], 0, 0
        for part in x.split(self.images):
            own = [torch.zeros_like(self.running_mean) for _ in range(2)]
            outputs.append(F.batch_norm(part, *own, self.weight, self.bias, True, 1.0, self.eps))
            share = len(part) / len(x)  # a momentum of 1 leaves the part's statistics alone
            mean, variance = mean + share * own[0], variance + share * own[1]
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        return torch.cat(outputs)


class Layer(NamedTuple):
    short: str  # name of the norm in tables and figures, and an alias of it in any case
    kind: type[nn.Module]
    arguments: Callable[..., dict[str, object]]  # for C channels, S = (H, W), G groups


LAYERS = {
    "batch": Layer("BN", nn.BatchNorm2d, lambda c, s, g: {"num_features": c}),
    "layer": Layer("LN", LayerNorm, lambda c, s, g: {"normalized_shape": [c, *s]}),
    "group": Layer("GN", nn.GroupNorm, lambda c, s, g: {"num_groups": g, "num_channels": c}),
    "instance": Layer("IN", nn.InstanceNorm2d, lambda c, s, g: {"num_features": c, "affine": True}),
    "rms": Layer("RMS", RMSNorm, lambda c, s, g: {"normalized_shape": [c, *s]}),
}
LAYER_AFFINES = ("element", "channel")


def make_norm(norm: str, channels: int, size: int | tuple[int, int], groups: int = 2,
              layer_affine: str = "element", norm_batch: int = 0) -> nn.Module:
    """PyTorch's layer for a normalization of (N, channels, H, W).

    size: (H, W), or one number for both.
    layer_affine: "element" is LayerNorm([C, H, W]) with a gain and a bias per element; "channel" is
    GroupNorm(1, C), the same statistics with a gain and a bias per channel.
    norm_batch: images that share a mean of batch norm; 0 is the whole batch.
    Raises ValueError for an unknown norm or layer_affine, or groups that do not divide channels.
    """
    norm = check_norm(norm)
    check_choice("layer_affine", layer_affine, LAYER_AFFINES)
    if norm == "none":
        return nn.Identity()
    check_groups(groups if norm == "group" else 1, [channels])
    if norm == "layer" and layer_affine == "channel":
        norm, groups = "group", 1
    if norm == "batch" and norm_batch:
        return SubBatchNorm(channels, norm_batch)
    size = size if isinstance(size, tuple) else (size, size)
    return LAYERS[norm].kind(**LAYERS[norm].arguments(channels, size, groups))


# ------------------------------------------------------------------------------------ a block
class Dropout(nn.Dropout):
    """nn.Dropout with cheap random numbers on a CPU, where nn.Dropout's take a third of a step.

    16 random bits an element decide, so p is rounded to a multiple of 1 / 65,536.
    Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        levels = 2**16
        dropped = min(round(self.p * levels), levels - 1)  # of the levels: at most all but one
        words = torch.empty(math.ceil(x.numel() / 4), dtype=torch.int64).random_(-(2**63), None)
        draws = words.view(torch.int16)[: x.numel()]  # 4 a word, -levels / 2 to levels / 2 - 1
        kept = draws >= dropped - levels // 2
        gain = kept.to(x.dtype) * (levels / (levels - dropped))  # in the order of x in memory ...
        as_x = torch.empty_like(x, device="meta").stride()  # ... and seen by x's axes
        return x * gain.as_strided(x.shape, as_x)


POOLS = {"maxpool": nn.MaxPool2d, "avgpool": nn.AvgPool2d}


class Row(NamedTuple):
    """One layer of an architecture: a convolution (stride 1) or a pooling (stride = kernel)."""

    layer: str  # conv, depthwise (a channel by itself), separable, maxpool or avgpool
    channels: int  # channels that come out
    kernel: int = 0  # 0, of the average pooling: all positions that are left
    padding: int = 0
    after: str = ""  # what follows it: "block", "act" (ReLU only) or nothing


class SeparableConv2d(nn.Sequential):
    """A convolution in two: over the positions of each channel by itself, then across channels.

    So K * K * C + C * D weights do for C channels in and D out, in place of K * K * C * D.
    Nothing stands between the two (Chollet 2017, https://arxiv.org/abs/1610.02357).
    """

    def __init__(self, channels: int, out_channels: int, kernel: tuple[int, int], padding: int,
                 bias: bool):
        super().__init__(OrderedDict(
            depthwise=nn.Conv2d(channels, channels, kernel, padding=padding, groups=channels,
                                bias=False),
            pointwise=nn.Conv2d(channels, out_channels, 1, bias=bias)))
        self.out_channels, self.padding = out_channels, (padding, padding)  # as of a Conv2d


class Block(nn.Sequential):
    """A convolution and what follows it; with skip, the input is added to the output.

    He, Zhang, Ren and Sun 2015, https://arxiv.org/abs/1512.03385
    """

    def __init__(self, parts: dict[str, nn.Module], skip: bool):
        super().__init__(OrderedDict(parts))
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x) if self.skip else super().forward(x)


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    """All of a network or a block, in order; of a separable one both."""
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]


def make_block(row: Row, channels: int, kernel: tuple[int, int], bias: bool,
               after: dict[str, nn.Module], skip: bool) -> Block:
    """A row of an architecture: a pooling, or a convolution of channels, and what comes after."""
    if row.layer in POOLS:
        return Block({"pool": POOLS[row.layer](kernel)} | after, skip=False)
    if row.layer == "separable":
        conv = SeparableConv2d(channels, row.channels, kernel, row.padding, bias)
    else:
        conv = nn.Conv2d(channels, row.channels, kernel, padding=row.padding, bias=bias,
                         groups=channels if row.layer == "depthwise" else 1)
    return Block({"conv": conv} | after, skip)


# -------------------------------------------------------------------------- the networks
class Architecture(NamedTuple):
    """A table of rows, and what all of its blocks have in common."""

    image: tuple[int, int, int]  # channels, height, width that it was built for; it takes others
    bias: bool  # do the convolutions have a bias?
    order: str  # order within a block, after the convolution
    dropout_maps: bool  # does dropout zero whole channels (Dropout2d) or single elements?
    rows: tuple[Row, ...]


ORDERS = tuple("-".join(parts) for parts in itertools.permutations(("act", "drop", "norm")))


@torch.no_grad()
def he(conv: nn.Conv2d) -> None:
    """Weights as large as keeps the size of what passes a ReLU; biases of zero.

    He, Zhang, Ren and Sun 2015, https://arxiv.org/abs/1502.01852
    """
    fan_in = conv.weight[0].numel()
    conv.weight.normal_(0, math.sqrt(2 / fan_in))
    if conv.bias is not None:
        conv.bias.zero_()


INITS = {"default": lambda conv: None, "he": he}  # PyTorch's own has been drawn by then


def keeps_shape(spec: Architecture) -> list[bool]:
    """For each row: is it a block whose output has the shape of its input?"""
    before = [0, *(row.channels for row in spec.rows)]  # never the image itself
    return [row.after == "block" and row.channels == channels and row.kernel == 2 * row.padding + 1
            for row, channels in zip(spec.rows, before)]


ARCHITECTURES = {
    "mnist_7k": Architecture((1, 28, 28), False, "act-drop-norm", False, (
        Row("conv",     8, 3, 0, "act"),    # 26 x 26 positions come out
        Row("conv",    16, 3, 0, "block"),  # 24
        Row("conv",     8, 1, 0),           # 24
        Row("maxpool",  8, 2),              # 12
        Row("conv",    16, 3, 0, "block"),  # 10
        Row("conv",     8, 3, 0, "block"),  # 8
        Row("conv",    16, 3, 0, "block"),  # 6
        Row("conv",    16, 3, 0, "block"),  # 4
        Row("avgpool", 16),                 # 1, as the mean of 4 x 4
        Row("conv",    10, 1, 0),           # 1
    )),
    "mnist_8k": Architecture((1, 28, 28), False, "act-drop-norm", False, (  # pools early: fast
        Row("conv",     8, 3, 0, "block"),  # 26 x 26 positions come out
        Row("maxpool",  8, 2),              # 13
        Row("conv",    16, 3, 0, "block"),  # 11
        Row("conv",    16, 3, 0, "block"),  # 9
        Row("conv",    16, 3, 0, "block"),  # 7
        Row("conv",    12, 3, 0, "block"),  # 5
        Row("avgpool", 12),                 # 1, as the mean of 5 x 5
        Row("conv",    10, 1, 0),           # 1
    )),
    "mnist_quick": Architecture((1, 28, 28), False, "act-drop-norm", False, (  # quick.yaml's
        Row("conv",     8, 3, 0),           # 26
        Row("maxpool",  8, 2, 0, "block"),  # 13: a quarter of the positions to normalize
        Row("conv",    12, 3, 0, "block"),  # 11
        Row("conv",    16, 3, 0, "block"),  # 9
        Row("conv",    16, 3, 0, "block"),  # 7
        Row("conv",    18, 3, 0, "block"),  # 5
        Row("avgpool", 18),                 # 1, as the mean of 5 x 5
        Row("conv",    10, 1, 0),           # 1
    )),
    "mnist_best": Architecture((1, 28, 28), False, "act-drop-norm", False, (  # of studies/best.yaml
        Row("conv",     8, 3, 0, "block"),  # 26
        Row("maxpool",  8, 2),              # 13
        Row("conv",    12, 3, 0, "block"),  # 11
        Row("conv",    16, 3, 0, "block"),  # 9
        Row("conv",    16, 3, 0, "block"),  # 7
        Row("conv",    18, 3, 0, "block"),  # 5
        Row("avgpool", 18),                 # 1, as the mean of 5 x 5
        Row("conv",    10, 1, 0),           # 1
    )),
    "mnist_10k": Architecture((1, 28, 28), True, "act-norm-drop", True, (
        Row("conv",    10, 3, 1, "block"),  # 28
        Row("conv",    16, 3, 1, "block"),  # 28
        Row("maxpool", 16, 2),              # 14
        Row("conv",     8, 1, 0, "block"),  # 14
        Row("conv",    16, 3, 1, "block"),  # 14
        Row("conv",    16, 3, 1, "block"),  # 14
        Row("conv",    16, 3, 1, "block"),  # 14
        Row("maxpool", 16, 2),              # 7
        Row("conv",     8, 1, 0, "block"),  # 7
        Row("conv",    10, 3, 0, "block"),  # 5
        Row("conv",    16, 3, 0, "block"),  # 3
        Row("conv",    10, 1, 0),           # 3
        Row("avgpool", 10),                 # 1, as the mean of 3 x 3
    )),
    "cifar_35k": Architecture((3, 32, 32), False, "norm-act-drop", False, (
        Row("conv",    24, 3, 1, "block"),  # 32
        Row("conv",    24, 3, 1, "block"),  # 32
        Row("conv",    16, 1, 0),           # 32
        Row("maxpool", 16, 2),              # 16
        Row("conv",    24, 3, 1, "block"),  # 16
        Row("conv",    24, 3, 1, "block"),  # 16
        Row("conv",    24, 3, 1, "block"),  # 16
        Row("conv",    16, 1, 0),           # 16
        Row("maxpool", 16, 2),              # 8
        Row("conv",    24, 3, 1, "block"),  # 8
        Row("conv",    24, 3, 1, "block"),  # 8
        Row("conv",    24, 3, 1, "block"),  # 8
        Row("avgpool", 24),                 # 1, as the mean of 8 x 8
        Row("conv",    10, 1, 0),           # 1
    )),
    "cifar_best": Architecture((3, 32, 32), False, "act-drop-norm", False, (  # best_cifar_order
        Row("conv",      16, 3, 1, "block"),  # 32
        Row("conv",      32, 3, 1, "block"),  # 32
        Row("maxpool",   32, 2),              # 16
        Row("depthwise", 32, 3, 1, "block"),  # 16
        Row("conv",      64, 1, 0, "block"),  # 16
        Row("depthwise", 64, 3, 1, "block"),  # 16
        Row("conv",      64, 1, 0, "block"),  # 16
        Row("depthwise", 64, 3, 1, "block"),  # 16
        Row("conv",      64, 1, 0, "block"),  # 16
        Row("maxpool",   64, 2),              # 8
        Row("depthwise", 64, 3, 1, "block"),  # 8
        Row("conv",      96, 1, 0, "block"),  # 8
        Row("depthwise", 96, 3, 1, "block"),  # 8
        Row("conv",      96, 1, 0, "block"),  # 8
        Row("depthwise", 96, 3, 1, "block"),  # 8
        Row("conv",      96, 1, 0, "block"),  # 8
        Row("avgpool",   96),                 # 1, as the mean of 8 x 8
        Row("conv",      10, 1, 0),           # 1
    )),
    "cifar_50k": Architecture((3, 32, 32), False, "act-drop-norm", False, (  # best_cifar
        Row("conv",      16, 3, 1, "block"),  # 32
        Row("conv",      32, 3, 1),           # 32
        Row("maxpool",   32, 2, 0, "block"),  # 16: a quarter of the positions to normalize
        Row("separable", 64, 3, 1, "block"),  # 16
        Row("separable", 64, 3, 1, "block"),  # 16
        Row("separable", 64, 3, 1, "block"),  # 16
        Row("maxpool",   64, 2),              # 8
        Row("separable", 96, 5, 2, "block"),  # 8
        Row("separable", 96, 5, 2, "block"),  # 8
        Row("separable", 96, 5, 2, "block"),  # 8
        Row("avgpool",   96),                 # 1, as the mean of 8 x 8
        Row("conv",      10, 1, 0),           # 1
    )),
}


class Net(nn.Module):
    """Any of the ARCHITECTURES: images (N, C, H, W) in, log-probabilities (N, classes) out.

    image: (C, H, W) of an image; None: what arch was built for; see check_arch. norm, groups,
    layer_affine, norm_batch: see make_norm. dropout: a probability; 0 leaves the layers out.
    order: of norm, act and drop within a block; "" is the architecture's own. skip: add its input
    to the output of every block that keeps the shape. init: of the convolutions, see INITS.
    conv_bias: give them one, where the architecture has none. Raises ValueError before building
    anything.
    """

    def __init__(self, arch: str = "mnist_7k", norm: str = "batch", groups: int = 2,
                 layer_affine: str = "element", dropout: float = 0.0, order: str = "",
                 skip: bool = False, norm_batch: int = 0, init: str = "default",
                 conv_bias: bool = False, image: tuple[int, int, int] | None = None,
                 classes: int = 10):
        super().__init__()
        if image is None:
            image = ARCHITECTURES[check_choice("arch", arch, ARCHITECTURES)].image
        spec = ARCHITECTURES[arch := check_arch(arch, image)]
        norm, order = check_norm(norm), check_choice("order", order or spec.order, ORDERS)
        check_choice("layer_affine", layer_affine, LAYER_AFFINES)
        check_choice("init", init, INITS)
        if conv_bias and spec.bias:
            raise ValueError(f"conv_bias=True: {arch} has biases already. Choose conv_bias=False.")
        if norm == "group":
            check_groups(groups, [row.channels for row in spec.rows if row.after == "block"])
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout!r} is not a probability. Choose 0 <= dropout < 1.")
        if skip and not any(keeps_shape(spec)):
            able = [name for name, spec in ARCHITECTURES.items() if any(keeps_shape(spec))]
            raise ValueError(f"skip=True needs a block that keeps the shape of its input; {arch} "
                             f"has none. Choose skip=False, or arch from: {', '.join(able)}.")

        def make(part: str, channels: int, size: tuple[int, int]) -> nn.Module:
            if part == "act":
                return nn.ReLU(inplace=True)  # no gradient needs its input
            if part == "drop":
                return nn.Dropout2d(dropout) if spec.dropout_maps else Dropout(dropout)
            return make_norm(norm, channels, size, groups, layer_affine, norm_batch)

        there = {"act": True, "drop": dropout > 0, "norm": norm != "none"}
        block = [part for part in order.split("-") if there[part]]
        last_conv = max(i for i, row in enumerate(spec.rows) if row.layer == "conv")
        self.layers, channels = nn.Sequential(), image[0]
        along_axes = zip(*(receptive_field(arch, size) for size in image[1:]))
        for i, (row, keeps, along) in enumerate(zip(spec.rows, keeps_shape(spec), along_axes)):
            row = row._replace(channels=classes) if i == last_conv else row
            kernel, size = (tuple(getattr(field, name) for field in along)
                            for name in ("kernel", "size_out"))
            parts = {"block": block, "act": ["act"], "": []}[row.after]
            after = {part: make(part, row.channels, size) for part in parts}
            self.layers.append(make_block(row, channels, kernel, spec.bias or conv_bias, after,
                                          skip and keeps))
            channels = row.channels
        for conv in convolutions(self):
            INITS[init](conv)

    def forward(self, images: Tensor) -> Tensor:
        scores = self.layers(images)  # (N, classes, 1, 1)
        return F.log_softmax(scores.flatten(1), dim=1)


# --------------------------------------------------------------- what can be known beforehand
class Field(NamedTuple):
    """One row of a receptive-field table; sizes and jumps in pixels of the input image."""

    layer: str
    kernel: int
    stride: int
    padding: int
    rf_in: int  # receptive field: pixels that one element sees, along an axis
    size_in: int  # positions along an axis
    jump_in: int  # distance between neighbouring elements
    rf_out: int
    size_out: int
    jump_out: int


def receptive_field(arch: str, size: int = 0) -> list[Field]:
    """Receptive field, size and jump before and after each row of an architecture, along an axis.

    size: pixels of the image along it; 0: as many as the architecture was built for.
    Araujo, Norris and Sim 2019, https://distill.pub/2019/computing-receptive-fields
    """
    spec = ARCHITECTURES[check_choice("arch", arch, ARCHITECTURES)]
    rf, size, jump, table = 1, size or spec.image[1], 1, []
    for row in spec.rows:
        kernel = row.kernel or max(size, 1)
        stride = kernel if row.layer in POOLS else 1
        before = (rf, size, jump)
        rf += (kernel - 1) * jump
        size = (size + 2 * row.padding - kernel) // stride + 1
        jump *= stride
        table.append(Field(row.layer, kernel, stride, row.padding, *before, rf, size, jump))
    return table


@functools.cache
def least_size(arch: str) -> int:
    """Height and width that an image has to have at least: each norm needs 2 x 2 positions.

    Of a single one, batch norm has no variance where the last batch is one image, and instance
    norm never has one.
    """
    blocks = [i for i, row in enumerate(ARCHITECTURES[arch].rows) if row.after == "block"]
    return next(size for size in itertools.count(2)
                if all(receptive_field(arch, size)[i].size_out >= 2 for i in blocks))


def check_arch(arch: str, image: tuple[int, int, int]) -> str:
    """Name of an architecture for images (C, H, W): one of ARCHITECTURES that takes them.

    "auto" is the one that was built for the nearest height and width: of several with as many
    channels, if there is such a one, and of those the first. Raises ValueError for an unknown
    name, and for images that are too small, with the least size.
    """
    check_choice("arch", arch, ("auto", *ARCHITECTURES))
    asked = ARCHITECTURES if arch == "auto" else [arch]
    least, height, width = min(map(least_size, asked)), *image[1:]
    fits = [name for name in ARCHITECTURES if least_size(name) <= min(height, width)]
    if min(height, width) < least:
        others = f"arch=auto or one of {', '.join(fits)}, or " if fits else ""
        raise ValueError(f"arch={arch} needs images of at least {least} x {least} pixels; these "
                         f"have {height} x {width}. Choose {others}larger images.")

    def distance(name: str) -> tuple[int, bool]:
        channels, *built = ARCHITECTURES[name].image
        return abs(height - built[0]) + abs(width - built[1]), channels != image[0]

    return min(fits, key=distance) if arch == "auto" else arch


class Counts(NamedTuple):
    parameters: int  # trained by gradient descent
    buffers: int  # numbers kept, not trained: batch norm's running statistics and step counters
    means: int  # for one batch in training, and as many variances (RMS norm: of squares alone)


def count(model: nn.Module, batch_size: int = 1) -> Counts:
    """Parameters and buffers of a model, and the means it computes for a batch of batch_size."""
    return Counts(sum(p.numel() for p in model.parameters()),
                  sum(b.numel() for b in model.buffers()),
                  sum(count_means(module, batch_size) for module in model.modules()))


def count_means(layer: nn.Module, batch_size: int) -> int:
    """How many means a normalization computes for a batch; 0 for any other layer."""
    for norm, row in LAYERS.items():
        if isinstance(layer, row.kind):
            groups = layer.num_groups if isinstance(layer, nn.GroupNorm) else 1
            parts = math.ceil(batch_size / layer.images) if isinstance(layer, SubBatchNorm) else 1
            lengths = batch_size, groups, len(layer.weight) // groups  # N, G, C / G
            return parts * math.prod(n for axis, n in enumerate(lengths) if axis not in AXES[norm])
    return 0


def count_outputs(model: Net, arch: str, image: tuple[int, int, int]) -> int:
    """Numbers that all layers of a network of arch put out, for one image (C, H, W)."""
    along_axes = (receptive_field(arch, size) for size in image[1:])
    return sum(getattr(part, "out_channels", row.channels) * high.size_out * wide.size_out
               for block, row, high, wide
               in zip(model.layers, ARCHITECTURES[arch].rows, *along_axes)
               for part in block.modules() if not [*part.children()])


def multiply_adds(model: nn.Module, arch: str) -> int:
    """Multiply-adds of the convolutions, for one image of the size that arch was built for."""
    return sum(part.weight.numel() * field.size_out**2  # weights times positions
               for block, field in zip(model.layers, receptive_field(arch))
               for part in convolutions(block))
