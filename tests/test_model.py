"""Tests of model.py: the exact numbers of the course, and normalization against PyTorch's layers.

Everything here is about untrained networks: no data, a few seconds.
"""

import itertools
import math

import pytest
import torch
from helpers import says
from torch import nn

import model
from model import ARCHITECTURES, NORMS, ORDERS, Net, count, make_norm, receptive_field

CHANNEL = {"norm": "layer", "layer_affine": "channel"}
NUMBERS = {  # parameters with a norm; receptive field, row by row; parts by first letter
    "mnist_7k": (
        {"none": 7_272, "batch": 7_416, "instance": 7_416, "group": 7_416, "layer": 31_592,
         "channel": 7_416, "rms": 19_432}, [3, 5, 5, 6, 10, 14, 18, 22, 28, 28],
        "ca cadn c p cadn cadn cadn cadn p c"),
    "mnist_8k": (
        {"none": 7_680, "batch": 7_816, "group": 7_816, "layer": 27_128},
        [3, 4, 8, 12, 16, 20, 28, 28], "cadn p cadn cadn cadn cadn p c"),
    "mnist_best": (
        {"batch": 7_880, "group": 7_880, "channel": 7_880}, [3, 4, 8, 12, 16, 20, 28, 28],
        "cadn p cadn cadn cadn cadn p c"),
    "mnist_10k": (
        {"none": 9_992, "batch": 10_224, "instance": 10_224, "group": 10_224, "layer": 74_284,
         "channel": 10_224}, [3, 5, 6, 6, 10, 14, 18, 20, 20, 28, 36, 36, 44],
        "cand cand p cand cand cand cand p cand cand cand c p"),
    "cifar_35k": (
        {"none": 34_488, "batch": 34_872, "instance": 34_872, "group": 34_872, "layer": 178_872,
         "channel": 34_872}, [3, 5, 5, 6, 10, 14, 18, 18, 20, 28, 36, 44, 72, 72],
        "cnad cnad c p cnad cnad cnad c p cnad cnad cnad p c"),
    "cifar_best": (
        {"batch": 46_448, "group": 46_448, "channel": 46_448},
        [3, 5, 6, 10, 10, 14, 14, 18, 18, 20, 28, 28, 36, 36, 44, 44, 72, 72],
        "cadn cadn p" + " cadn" * 6 + " p" + " cadn" * 6 + " p c"),
}
CIFAR_TABLE = """
conv     1  32  1  1  1  3   3  32   1
conv     3  32  1  1  1  3   5  32   1
maxpool  5  32  1  2  0  2   6  16   2
conv     6  16  2  1  1  3  10  16   2
conv    10  16  2  1  1  3  14  16   2
conv    14  16  2  1  1  3  18  16   2
maxpool 18  16  2  2  0  2  20   8   4
conv    20   8  4  1  1  3  28   8   4
conv    28   8  4  1  1  3  36   8   4
conv    36   8  4  1  1  3  44   8   4
avgpool 44   8  4  8  0  8  72   1  32
"""  # layer, rf_in, size_in, jump_in, stride, padding, kernel, rf_out, size_out, jump_out


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_images(arch, n=2):
    channels, size = ARCHITECTURES[arch].image
    return draw(n, channels, size, size).float()


def blocks_of(arch):
    return sum(row.after == "block" for row in ARCHITECTURES[arch].rows)


# --------------------------------------------------------------------------------- exact numbers
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_an_architecture_has_the_numbers_and_parts_of_the_documents(arch):
    parameters, fields, parts = NUMBERS[arch]
    for norm, expected in parameters.items():
        options = CHANNEL if norm == "channel" else {"norm": norm}
        assert count(Net(arch, **options)).parameters == expected
        assert count(Net(arch, dropout=0.1, **options)).parameters == expected
        if any(model.keeps_shape(ARCHITECTURES[arch])):
            assert count(Net(arch, skip=True, **options)).parameters == expected
    assert [field.rf_out for field in receptive_field(arch)] == fields
    blocks = [dict(block.named_children()) for block in Net(arch, dropout=0.1).layers]
    assert " ".join("".join(name[0] for name in block) for block in blocks) == parts


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_the_number_of_groups_adds_no_parameters(groups):
    assert count(Net("mnist_7k", "group", groups)).parameters == 7_416


def test_cifar_35k_has_its_table_and_multiply_adds():
    cells = [row.split() for row in CIFAR_TABLE.strip().splitlines()]
    rows = [(f.layer, f.rf_in, f.size_in, f.jump_in, f.stride, f.padding, f.kernel, f.rf_out,
             f.size_out, f.jump_out) for f in receptive_field("cifar_35k") if f.kernel > 1]
    assert rows == [(layer, *map(int, numbers)) for layer, *numbers in cells]
    assert round(model.multiply_adds(Net("cifar_35k"), "cifar_35k") / 1e6, 2) == 10.89


@pytest.mark.parametrize(("norm", "means"), [
    ("batch", lambda n: 16), ("layer", lambda n: n), ("group", lambda n: 2 * n),
    ("instance", lambda n: 16 * n), ("rms", lambda n: n), ("none", lambda n: 0)])
def test_only_the_number_of_batch_norms_means_does_not_depend_on_the_batch(norm, means):
    for n in (4, 8):
        assert count(make_norm(norm, 16, 5, groups=2), n).means == means(n)
        per_block = count(Net("mnist_8k", norm), n).means
        assert per_block == sum(count(make_norm(norm, c, 5), n).means for c in (8, 16, 16, 16, 12))
    assert (count(Net("mnist_7k", norm)).buffers > 0) == (norm == "batch")


def test_buffers_are_counted_apart_from_parameters():
    assert count(make_norm("batch", 16, 5)) == (2 * 16, 2 * 16 + 1, 16)
    assert count(Net("mnist_7k", "batch")).buffers == 2 * 72 + 5


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_receptive_field_is_what_the_gradient_reaches_at_the_sizes_of_real_tensors(arch):
    fields, size = receptive_field(arch), ARCHITECTURES[arch].image[1]
    rows = max(i for i, f in enumerate(fields) if f.rf_out <= size / 2) + 1  # clear of the edges
    net, sizes = Net(arch, norm="none"), []
    for parameter in net.parameters():  # positive weights: no ReLU cuts a path
        nn.init.ones_(parameter)
    for block in net.layers:
        if hasattr(block, "pool"):  # a maximum would pass the gradient to one element only
            block.pool = nn.AvgPool2d(block.pool.kernel_size)
        block.register_forward_hook(lambda _, inputs, output: sizes.append(
            (*inputs[0].shape[2:], *output.shape[2:])))
    images = torch.ones_like(random_images(arch)).requires_grad_()
    net(images)
    assert sizes == [(f.size_in, f.size_in, f.size_out, f.size_out) for f in fields]
    output = net.layers[:rows](images)
    middle = output.shape[2] // 2
    output[0, 0, middle, middle].backward()
    reached = images.grad[0].sum((0, 2)).nonzero().flatten()
    assert reached[-1] - reached[0] + 1 == fields[rows - 1].rf_out


# ------------------------------------------------------------------- normalization by hand
BY_HAND = [(norm, 2) for norm in model.AXES] + [("group", groups) for groups in (1, 4, 8)]


@pytest.mark.parametrize(("norm", "groups"), BY_HAND)
def test_by_hand_is_torchs_layer_forward_and_gradient_and_shares_the_means_it_says(norm, groups):
    x, upstream = 3 + 2 * draw(4, 8, 5, 5), draw(4, 8, 5, 5, seed=1)
    for affine in model.LAYER_AFFINES:
        ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        by_hand = model.normalize(ours, norm, groups)
        by_torch = make_norm(norm, 8, 5, groups, affine).double()(theirs)
        torch.testing.assert_close(by_hand, by_torch, rtol=0, atol=1e-12)
        (by_hand * upstream).sum().backward()
        (by_torch * upstream).sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-12)
    index = model.mean_index(tuple(x.shape), norm, groups).flatten()
    size = torch.bincount(index)
    mean = torch.bincount(index, x.flatten()) / size if norm != "rms" else torch.zeros(len(size))
    rest = x - mean[index].view_as(x)
    variance = (torch.bincount(index, rest.flatten() ** 2) / size)[index].view_as(x)
    torch.testing.assert_close(rest / (variance + 1e-5).sqrt(), by_hand, rtol=0, atol=1e-12)
    means = count(make_norm(norm, 8, 5, groups), batch_size=4).means
    assert index.unique().tolist() == list(range(means))


# ------------------------------------------------------------------------------- the network
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_network_gives_log_probabilities_and_has_its_norm_alone_once_a_block(arch, norm):
    net = Net(arch, norm, dropout=0.1, classes=7)
    output = net(random_images(arch, 3))
    assert output.shape == (3, 7)
    torch.testing.assert_close(output.exp().sum(1), torch.ones(3))
    assert torch.equal(model.normalize(output, "none"), output)
    norms = [type(m) for m in net.modules() if "Norm" in type(m).__name__]
    assert norms == ([model.LAYERS[norm].kind] * blocks_of(arch) if norm != "none" else [])
    drops = [(type(m), m.p) for m in net.modules() if isinstance(m, nn.Dropout | nn.Dropout2d)]
    kind = nn.Dropout2d if arch == "mnist_10k" else model.Dropout
    assert drops == [(kind, 0.1)] * blocks_of(arch)
    assert not [m for m in Net(arch, norm).modules() if "Dropout" in type(m).__name__]


def test_every_norm_by_hand_is_a_layer_in_its_turn_and_a_channels_gain_is_one_groups():
    assert list(model.AXES) == list(model.LAYERS) == [norm for norm in NORMS if norm != "none"]
    norms = [m for m in Net(**CHANNEL).modules() if "Norm" in type(m).__name__]
    assert [(type(m), m.num_groups) for m in norms] == [(nn.GroupNorm, 1)] * 5


@pytest.mark.parametrize("norm", NORMS)
def test_alias_in_any_case_gives_the_same_network(norm):
    short = model.LAYERS[norm].short if norm in model.LAYERS else norm
    assert short in ("BN", "GN", "LN", "IN", "RMS", "none")
    for alias in (short, short.lower(), short.title(), norm.upper()):
        assert model.check_norm(alias) == norm
        assert str(Net(norm=alias)) == str(Net(norm=norm))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("arch", "skipping"), [
    ("mnist_10k", {5, 6}), ("cifar_35k", {1, 5, 6, 10, 11})])
def test_skip_adds_the_input_of_blocks_that_keep_the_shape(arch, skipping, norm):
    for skip in (False, True):
        net = Net(arch, norm, skip=skip).double()
        x = images = random_images(arch).double()
        for i, block in enumerate(net.layers):
            y = x
            for part in block.children():
                y = part(y)
            x = x + y if skip and i in skipping else y
        expected = x.flatten(1).log_softmax(1)
        torch.testing.assert_close(net(images), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("norm", NORMS)
def test_parts_follow_the_order_and_relu_in_place_leaves_every_gradient_as_it_is(norm):
    arch, images, gradients = "mnist_10k", random_images("mnist_10k").double(), []
    for order, inplace in itertools.product(ORDERS, (True, False)):
        torch.manual_seed(0)
        net = Net(arch, norm, dropout=0.2, order=order).double()
        parts = [part for part in order.split("-") if (part, norm) != ("norm", "none")]
        for block, row in zip(net.layers, ARCHITECTURES[arch].rows):
            if row.after == "block":
                assert list(dict(block.named_children())) == ["conv", *parts]
                assert block.act.inplace
                block.act.inplace = inplace
        net(images)[:, 3].sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    for one, other in zip(gradients[::2], gradients[1::2]):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


# ------------------------------------------------------ layers of the course and their twins
LAYOUTS = pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])


@LAYOUTS
@pytest.mark.parametrize("kind", [model.LayerNorm, model.RMSNorm])
def test_layer_and_rms_norm_equal_torchs_in_both_layouts_forward_and_gradient(kind, memory):
    x, weights = draw(2, 4, 6, 5, 3)
    ours, theirs = kind([6, 5, 3]).double(), kind.__base__([6, 5, 3], eps=1e-5).double()
    for layer in (ours, theirs):
        for parameter, values in zip(layer.parameters(), weights):  # gain; bias of layer norm
            parameter.data.copy_(values)
    inputs = [x.clone(memory_format=memory).requires_grad_(), x.clone().requires_grad_()]
    outputs = [layer(x) for layer, x in zip((ours, theirs), inputs)]
    assert outputs[0].is_contiguous(memory_format=memory)
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-12)
    for output in outputs:
        (output * weights).sum().backward()
    for one, other in [inputs, *zip(ours.parameters(), theirs.parameters())]:
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("number", "images"), [(12, 4), (10, 4), (3, 8), (6, 1)])
def test_statistics_of_a_part_of_the_batch_are_torchs_part_by_part(number, images):
    """Outputs and gradients of nn.BatchNorm2d, which is given one part after the other."""
    x, parts = draw(number, 3, 5, 5), math.ceil(number / images)
    ours, torchs = make_norm("batch", 3, 5, norm_batch=images).double(), nn.BatchNorm2d(3).double()
    for layer in (ours, torchs):
        layer.weight.data.copy_(draw(3, seed=1))
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    torchs.momentum = 0.1 / parts
    out, expected = ours(mine), torch.cat([torchs(part) for part in theirs.split(images)])
    torch.testing.assert_close(out, expected)
    (out ** 3).sum().backward()
    (expected ** 3).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(ours.weight.grad, torchs.weight.grad)
    torch.testing.assert_close(ours.running_var, torchs.running_var)
    torch.testing.assert_close(ours.eval()(x), torchs.eval()(x))
    assert model.count_means(ours, number) == 3 * parts
    assert type(make_norm("batch", 4, 5)) is nn.BatchNorm2d  # of the whole batch


@LAYOUTS
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_zeroes_independent_elements_with_its_probability(p, memory):
    torch.manual_seed(0)
    x = (torch.rand(50, 8, 20, 25) + 1).contiguous(memory_format=memory).requires_grad_()
    output = model.Dropout(p)(x)
    dropped = output == 0
    gain = output[~dropped] / x[~dropped]
    torch.testing.assert_close(gain, torch.full_like(gain, 1 / (1 - p)), rtol=1e-4, atol=0)
    tolerance = 5 * (p * (1 - p) / x.numel()) ** 0.5  # five standard errors
    assert abs(dropped.double().mean().item() - p) < tolerance
    for a, b in [(dropped[1:], dropped[:-1]), (dropped[:, 1:], dropped[:, :-1]),
                 (dropped[..., 1:], dropped[..., :-1]), (dropped[..., 4:], dropped[..., :-4])]:
        assert abs((a & b).double().mean().item() - p**2) < 2 * tolerance
    assert not torch.equal(model.Dropout(p)(x) == 0, dropped)  # another mask every time
    output.sum().backward()
    torch.testing.assert_close(x.grad, (~dropped) * gain[0], rtol=1e-4, atol=0)


def test_dropout_of_views_odd_sizes_doubles_and_in_evaluation():
    x = torch.randn(4, 6, 8, 10).transpose(1, 3)[:, ::2]
    output = model.Dropout(0.3)(x)
    kept = output != 0
    torch.testing.assert_close(output[kept], x[kept] / 0.7, rtol=1e-4, atol=0)
    output = model.Dropout(0.999)(torch.ones(3, 3, dtype=torch.float64))
    assert (output.dtype, output.shape) == (torch.float64, (3, 3))
    assert torch.equal(model.Dropout(0.5).eval()(x), x)
    assert torch.equal(model.Dropout(0.0)(x), x)


def test_a_wrong_argument_is_refused_before_anything_is_built(monkeypatch):
    def fail(*args, **kwargs):
        pytest.fail("something was built before all arguments were checked")

    monkeypatch.setattr(model, "make_norm", fail)
    monkeypatch.setattr(nn, "Conv2d", fail)
    for name, value in [("norm", "no_such_norm"), ("arch", "no_such_arch"), ("dropout", 1.0),
                        ("order", "act"), ("layer_affine", "no_such"), ("skip", True)]:
        with pytest.raises(ValueError, match=says(name, value)):
            Net(**{name: value})
