"""Tests of model.py: the exact numbers of the course, and normalization against PyTorch's layers.

Everything here is about untrained networks: no data, a few seconds.
"""

import itertools
import math
import re

import pytest
import torch
from torch import nn

import model
from model import (
    ARCHITECTURES,
    NORMS,
    ORDERS,
    Net,
    count,
    count_means,
    make_norm,
    receptive_field,
)

NORM_TYPES = {
    "batch": nn.BatchNorm2d, "group": nn.GroupNorm, "layer": model.LayerNorm,
    "instance": nn.InstanceNorm2d, "rms": model.RMSNorm,
}


def random_images(arch: str, n: int = 2) -> torch.Tensor:
    channels, size = ARCHITECTURES[arch].image
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(0))


def says(*words):
    """For pytest.raises(match=...): a message with all of these words, in any order."""
    return "(?s)" + "".join(f"(?=.*{re.escape(str(word))})" for word in words)


# ------------------------------------------------------------------------------------- counts
PARAMETERS = [
    ("mnist_7k", {"norm": "none"}, 7_272),
    ("mnist_7k", {"norm": "batch"}, 7_416),
    ("mnist_7k", {"norm": "instance"}, 7_416),
    ("mnist_7k", {"norm": "group", "groups": 1}, 7_416),
    ("mnist_7k", {"norm": "group", "groups": 2}, 7_416),
    ("mnist_7k", {"norm": "group", "groups": 4}, 7_416),
    ("mnist_7k", {"norm": "group", "groups": 8}, 7_416),
    ("mnist_7k", {"norm": "layer"}, 31_592),
    ("mnist_7k", {"norm": "layer", "layer_affine": "channel"}, 7_416),
    ("mnist_7k", {"norm": "rms"}, 19_432),
    ("mnist_8k", {"norm": "none"}, 7_680),
    ("mnist_8k", {"norm": "batch"}, 7_816),
    ("mnist_8k", {"norm": "group", "groups": 4}, 7_816),
    ("mnist_8k", {"norm": "layer"}, 27_128),
    ("mnist_best", {"norm": "batch"}, 7_880),
    ("mnist_best", {"norm": "group"}, 7_880),
    ("mnist_best", {"norm": "layer", "layer_affine": "channel"}, 7_880),
    ("mnist_10k", {"norm": "none"}, 9_992),
    ("mnist_10k", {"norm": "batch"}, 10_224),
    ("mnist_10k", {"norm": "instance"}, 10_224),
    ("mnist_10k", {"norm": "group", "groups": 2}, 10_224),
    ("mnist_10k", {"norm": "layer"}, 74_284),
    ("mnist_10k", {"norm": "layer", "layer_affine": "channel"}, 10_224),
    ("cifar_35k", {"norm": "none"}, 34_488),
    ("cifar_35k", {"norm": "batch"}, 34_872),
    ("cifar_35k", {"norm": "instance"}, 34_872),
    ("cifar_35k", {"norm": "group", "groups": 8}, 34_872),
    ("cifar_35k", {"norm": "layer"}, 178_872),
    ("cifar_35k", {"norm": "layer", "layer_affine": "channel"}, 34_872),
    ("cifar_best", {"norm": "batch"}, 46_448),
    ("cifar_best", {"norm": "group", "groups": 8}, 46_448),
    ("cifar_best", {"norm": "layer", "layer_affine": "channel"}, 46_448),
]


@pytest.mark.parametrize(("arch", "options", "parameters"), PARAMETERS)
def test_parameter_count_is_exact(arch, options, parameters):
    assert count(Net(arch, **options)).parameters == parameters
    assert count(Net(arch, dropout=0.1, **options)).parameters == parameters
    if any(model.keeps_shape(ARCHITECTURES[arch])):
        assert count(Net(arch, skip=True, **options)).parameters == parameters


def test_multiply_adds_of_cifar_35k():
    assert round(model.multiply_adds(Net("cifar_35k"), "cifar_35k") / 1e6, 2) == 10.89


@pytest.mark.parametrize(("norm", "means"), [
    ("batch", 16), ("layer", 4), ("group", 4 * 2), ("instance", 4 * 16), ("rms", 4), ("none", 0),
])
def test_number_of_means_for_a_batch_of_4_with_16_channels(norm, means):
    assert count(make_norm(norm, 16, 5, groups=2), batch_size=4).means == means


def test_only_the_number_of_batch_norm_means_does_not_depend_on_the_batch():
    for n in (4, 8):
        assert count(Net("mnist_7k", "batch"), n).means == 72  # channels of its 5 norms together
        assert count(Net("mnist_7k", "layer"), n).means == 5 * n
        assert count(Net("mnist_7k", "rms"), n).means == 5 * n  # of squares
        assert count(Net("mnist_7k", "group", groups=4), n).means == 5 * 4 * n
        assert count(Net("mnist_7k", "instance"), n).means == 72 * n


def test_buffers_are_counted_apart_from_parameters():
    assert count(make_norm("batch", 16, 5)) == (2 * 16, 2 * 16 + 1, 16)
    assert count(Net("mnist_7k", "batch")).buffers == 2 * 72 + 5
    assert {count(Net("mnist_7k", norm)).buffers for norm in NORMS if norm != "batch"} == {0}


# --------------------------------------------------------------------------- receptive field
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


def test_receptive_field_of_cifar_35k_row_by_row():
    cells = [row.split() for row in CIFAR_TABLE.strip().splitlines()]
    expected = [(layer, *map(int, numbers)) for layer, *numbers in cells]
    rows = [
        (f.layer, f.rf_in, f.size_in, f.jump_in, f.stride, f.padding, f.kernel, f.rf_out,
         f.size_out, f.jump_out)
        for f in receptive_field("cifar_35k") if f.kernel > 1
    ]
    assert rows == expected


FIELDS = [  # of cifar_35k: row by row, above
    ("mnist_7k", [3, 5, 5, 6, 10, 14, 18, 22, 28, 28]),
    ("mnist_8k", [3, 4, 8, 12, 16, 20, 28, 28]),
    ("mnist_best", [3, 4, 8, 12, 16, 20, 28, 28]),
    ("mnist_10k", [3, 5, 6, 6, 10, 14, 18, 20, 20, 28, 36, 36, 44]),
    ("cifar_best", [3, 5, 6, 10, 10, 14, 14, 18, 18, 20, 28, 28, 36, 36, 44, 44, 72, 72]),
]


@pytest.mark.parametrize(("arch", "fields"), FIELDS)
def test_receptive_field_grows_as_in_the_documents(arch, fields):
    assert [field.rf_out for field in receptive_field(arch)] == fields


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_receptive_field_sizes_are_those_of_real_tensors(arch):
    net, sizes = Net(arch), []
    for block in net.layers:
        block.register_forward_hook(
            lambda _, inputs, output: sizes.append((*inputs[0].shape[2:], *output.shape[2:]))
        )
    net(random_images(arch))
    assert sizes == [(f.size_in, f.size_in, f.size_out, f.size_out) for f in receptive_field(arch)]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_receptive_field_is_what_the_gradient_reaches(arch):
    fields, size = receptive_field(arch), ARCHITECTURES[arch].image[1]
    rows = max(i for i, f in enumerate(fields) if f.rf_out <= size / 2) + 1  # clear of the edges
    net = Net(arch, norm="none")
    for parameter in net.parameters():  # positive weights: no ReLU cuts a path
        nn.init.ones_(parameter)
    for block in net.layers:
        if hasattr(block, "pool"):  # a maximum would pass the gradient to one element only
            block.pool = nn.AvgPool2d(block.pool.kernel_size)
    images = torch.ones_like(random_images(arch)).requires_grad_()
    output = net.layers[:rows](images)
    middle = output.shape[2] // 2
    output[0, 0, middle, middle].backward()
    reached = images.grad[0].sum((0, 2)).nonzero().flatten()
    assert reached[-1] - reached[0] + 1 == fields[rows - 1].rf_out


# ------------------------------------------------------------------- normalization by hand
BY_HAND = [(norm, 2) for norm in model.AXES] + [("group", groups) for groups in (1, 4, 8)]


@pytest.mark.parametrize(("norm", "groups"), BY_HAND)
@pytest.mark.parametrize("layer_affine", model.LAYER_AFFINES)
def test_normalize_equals_torchs_layer_forward_and_gradient(norm, groups, layer_affine):
    draw = torch.Generator().manual_seed(0)
    x = 3 + 2 * torch.randn(4, 8, 5, 5, generator=draw, dtype=torch.float64)
    upstream = torch.randn(x.shape, generator=draw, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    by_hand = model.normalize(ours, norm, groups)
    by_torch = make_norm(norm, 8, 5, groups, layer_affine).double()(theirs)
    torch.testing.assert_close(by_hand, by_torch, rtol=0, atol=1e-12)
    (by_hand * upstream).sum().backward()
    (by_torch * upstream).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("norm", "groups"), BY_HAND)
def test_mean_index_says_which_elements_share_a_mean(norm, groups):
    x = torch.randn(4, 8, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    index = model.mean_index(tuple(x.shape), norm, groups).flatten()
    size = torch.bincount(index)
    mean = (torch.bincount(index, x.flatten()) / size)[index].view_as(x) * (norm != "rms")
    square = torch.bincount(index, (x - mean).flatten() ** 2)
    variance = (square / size)[index].view_as(x)
    torch.testing.assert_close(
        (x - mean) / (variance + 1e-5).sqrt(), model.normalize(x, norm, groups), rtol=0, atol=1e-12
    )
    means = count(make_norm(norm, 8, 3, groups), batch_size=4).means
    assert index.unique().tolist() == list(range(means))


def test_normalize_none_changes_nothing():
    x = random_images("mnist_7k")
    assert torch.equal(model.normalize(x, "none"), x)


# ------------------------------------------------------------------------------- the network
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_output_is_log_probabilities(arch, norm):
    output = Net(arch, norm, dropout=0.1)(random_images(arch, 3))
    assert output.shape == (3, 10)
    torch.testing.assert_close(output.exp().sum(1), torch.ones(3))


def test_number_of_classes_can_be_chosen():
    assert Net("mnist_10k", classes=7)(random_images("mnist_10k", 3)).shape == (3, 7)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_only_the_chosen_norm_exists_once_a_block(arch, norm):
    blocks = sum(row.after == "block" for row in ARCHITECTURES[arch].rows)
    found = [type(m) for m in Net(arch, norm).modules() if type(m) in NORM_TYPES.values()]
    assert found == ([] if norm == "none" else [NORM_TYPES[norm]] * blocks)


def test_every_norm_has_its_layer_by_hand_in_its_turn():
    assert list(model.AXES) == list(model.LAYERS)
    assert {norm: row.kind for norm, row in model.LAYERS.items()} == NORM_TYPES


def test_layer_affine_channel_is_group_norm_with_one_group():
    norms = [m for m in Net(norm="layer", layer_affine="channel").modules()
             if type(m) in NORM_TYPES.values()]
    assert [(type(m), m.num_groups) for m in norms] == [(nn.GroupNorm, 1)] * 5


@pytest.mark.parametrize(("alias", "norm"), [
    ("BN", "batch"), ("bn", "batch"), ("Bn", "batch"), ("BATCH", "batch"), ("GN", "group"),
    ("gN", "group"), ("LN", "layer"), ("ln", "layer"), ("IN", "instance"), ("None", "none"),
    ("rms", "rms"), ("RMS", "rms"),
])
def test_alias_in_any_case_gives_the_same_network(alias, norm):
    assert model.check_norm(alias) == norm
    assert str(Net(norm=alias)) == str(Net(norm=norm))


PARTS = [  # by first letter: conv, act, drop, norm, pool
    ("mnist_7k", "ca cadn c p cadn cadn cadn cadn p c"),
    ("mnist_8k", "cadn p cadn cadn cadn cadn p c"),
    ("mnist_best", "cadn p cadn cadn cadn cadn p c"),
    ("mnist_10k", "cand cand p cand cand cand cand p cand cand cand c p"),
    ("cifar_35k", "cnad cnad c p cnad cnad cnad c p cnad cnad cnad p c"),
    ("cifar_best", "cadn cadn p" + " cadn" * 6 + " p" + " cadn" * 6 + " p c"),
]


@pytest.mark.parametrize(("arch", "rows"), PARTS)
def test_network_has_the_parts_of_the_documents_in_their_order(arch, rows):
    blocks = [dict(block.named_children()) for block in Net(arch, dropout=0.1).layers]
    assert " ".join("".join(name[0] for name in block) for block in blocks) == rows


def test_every_architecture_has_its_numbers_tested():
    assert {arch for arch, *_ in PARAMETERS} == set(ARCHITECTURES)
    assert {arch for arch, _ in FIELDS} | {"cifar_35k"} == set(ARCHITECTURES)
    assert {arch for arch, _ in PARTS} == set(ARCHITECTURES)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_block_has_its_parts_in_the_chosen_order(arch, order):
    net = Net(arch, dropout=0.1, order=order)
    for block, row in zip(net.layers, ARCHITECTURES[arch].rows):
        if row.after == "block":
            assert list(dict(block.named_children())) == ["conv", *order.split("-")]


@pytest.mark.parametrize(("arch", "kind"), [
    ("mnist_7k", model.Dropout), ("mnist_10k", nn.Dropout2d), ("cifar_35k", model.Dropout),
])
def test_dropout_is_of_the_right_kind_and_absent_at_zero(arch, kind):
    def dropouts(p: float) -> list[tuple]:
        kinds = (nn.Dropout, nn.Dropout2d)
        return [(type(m), m.p) for m in Net(arch, dropout=p).modules() if isinstance(m, kinds)]

    blocks = sum(row.after == "block" for row in ARCHITECTURES[arch].rows)
    assert dropouts(0.1) == [(kind, 0.1)] * blocks
    assert dropouts(0.0) == []


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("arch", "skip", "skipping"), [
    ("mnist_10k", False, {}), ("mnist_10k", True, {5, 6}),
    ("cifar_35k", False, {}), ("cifar_35k", True, {1, 5, 6, 10, 11}),
])
def test_skip_adds_the_input_of_blocks_that_keep_the_shape(arch, skip, skipping, norm):
    net, images = Net(arch, norm, skip=skip).double(), random_images(arch).double()
    x = images
    for i, block in enumerate(net.layers):
        y = x
        for part in block.children():
            y = part(y)
        x = x + y if i in skipping else y
    expected = x.flatten(1).log_softmax(1)
    torch.testing.assert_close(net(images), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_relu_in_place_leaves_every_gradient_as_it_is(arch, norm):
    images, gradients = random_images(arch).double(), []
    for order, inplace in itertools.product(ORDERS, (True, False)):
        torch.manual_seed(0)
        net = Net(arch, norm, dropout=0.2, order=order).double()
        for module in net.modules():
            if isinstance(module, nn.ReLU):
                assert module.inplace
                module.inplace = inplace
        net(images)[:, 3].sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    for one, other in zip(gradients[::2], gradients[1::2]):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


# ------------------------------------------------------ layers of the course and their twins
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", [model.LayerNorm, model.RMSNorm])
def test_layer_and_rms_norm_equal_torchs_in_both_layouts_forward_and_gradient(kind, memory):
    generator = torch.Generator().manual_seed(0)
    x, weights = torch.randn(2, 4, 6, 5, 3, dtype=torch.float64, generator=generator)
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


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
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


def test_dropout_passes_everything_on_in_evaluation_mode_or_at_zero():
    x = torch.randn(3, 2, 5, 5)
    assert torch.equal(model.Dropout(0.5).eval()(x), x)
    assert torch.equal(model.Dropout(0.0)(x), x)


def test_dropout_of_a_view_keeps_each_element_in_its_place():
    x = torch.randn(4, 6, 8, 10).transpose(1, 3)[:, ::2]
    output = model.Dropout(0.3)(x)
    kept = output != 0
    torch.testing.assert_close(output[kept], x[kept] / 0.7, rtol=1e-4, atol=0)


def test_dropout_in_double_precision_stays_double_and_odd_sizes_work():
    output = model.Dropout(0.999)(torch.ones(3, 3, dtype=torch.float64))
    assert (output.dtype, output.shape) == (torch.float64, (3, 3))


# --------------------------------------------------------------------------- wrong arguments
@pytest.mark.parametrize(("arguments", "words"), [
    ({"norm": "btach"}, ["norm", "btach", "batch"]),
    ({"norm": ""}, ["norm", "''", "batch"]),
    ({"norm": "group", "groups": 3}, ["groups", "3", "1, 2, 4, 8"]),
    ({"norm": "group", "groups": 0}, ["groups", "0", "1, 2, 4, 8"]),
    ({"norm": "gn", "groups": 16}, ["groups", "16", "1, 2, 4, 8"]),
    ({"norm": "group", "groups": 4, "arch": "mnist_10k"}, ["groups", "4", "1, 2"]),
    ({"arch": "mnist7k"}, ["arch", "mnist7k", "mnist_7k"]),
    ({"dropout": 1.5}, ["dropout", "1.5", "< 1"]),
    ({"dropout": 1.0}, ["dropout", "1.0", "< 1"]),
    ({"dropout": -0.1}, ["dropout", "-0.1", "0 <="]),
    ({"dropout": float("nan")}, ["dropout", "nan", "0 <="]),
    ({"arch": "mnist_7k", "skip": True}, ["skip", "True", "mnist_7k", "cifar_35k"]),
    ({"order": "norm-act"}, ["order", "norm-act", "norm-act-drop"]),
    ({"layer_affine": "chanel"}, ["layer_affine", "chanel", "channel"]),
])
def test_wrong_argument_is_refused_before_anything_is_built(monkeypatch, arguments, words):
    def fail(*args, **kwargs):
        pytest.fail("something was built before all arguments were checked")

    monkeypatch.setattr(model, "make_norm", fail)
    monkeypatch.setattr(nn, "Conv2d", fail)
    with pytest.raises(ValueError, match=says(*words)):
        Net(**arguments)


@pytest.mark.parametrize(("arguments", "words"), [
    (("btach", 8, 5), ["btach", "batch"]),
    (("group", 8, 5, 3), ["3", "1, 2, 4, 8"]),
    (("layer", 8, 5, 2, "chanel"), ["chanel", "channel"]),
])
def test_make_norm_refuses_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=says(*words)):
        make_norm(*arguments)


@pytest.mark.parametrize("function", [
    receptive_field, lambda arch: model.multiply_adds(Net(), arch),
])
def test_unknown_architecture_is_refused_everywhere(function):
    with pytest.raises(ValueError, match=says("mnist_9k", "mnist_7k")):
        function("mnist_9k")


@pytest.mark.parametrize("function", [
    lambda norm: model.normalize(torch.ones(2, 8, 3, 3), norm),
    lambda norm: model.mean_index((2, 8, 3, 3), norm),
])
def test_unknown_norm_is_refused_by_hand_too(function):
    with pytest.raises(ValueError, match=says("btach", "batch")):
        function("btach")


@pytest.mark.parametrize("function", [
    lambda groups: model.normalize(torch.ones(2, 8, 3, 3), "group", groups),
    lambda groups: model.mean_index((2, 8, 3, 3), "group", groups),
])
def test_groups_that_do_not_divide_the_channels_are_refused_by_hand_too(function):
    with pytest.raises(ValueError, match=says("3", "1, 2, 4, 8")):
        function(3)


@pytest.mark.parametrize(("count", "images"), [(12, 4), (10, 4), (3, 8), (6, 1)])
def test_statistics_of_a_part_of_the_batch_are_torchs_part_by_part(count, images):
    """Outputs and gradients of nn.BatchNorm2d, which is given one part after the other."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, 5, 5, generator=draw, dtype=torch.float64)
    ours = make_norm("batch", 3, 5, norm_batch=images).double()
    torchs = nn.BatchNorm2d(3).double()
    for layer in (ours, torchs):
        nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(1))
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    parts = math.ceil(count / images)
    torchs.momentum = 0.1 / parts
    out, expected = ours(mine), torch.cat([torchs(part) for part in theirs.split(images)])
    torch.testing.assert_close(out, expected)
    (out ** 3).sum().backward()
    (expected ** 3).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(ours.weight.grad, torchs.weight.grad)
    torch.testing.assert_close(ours.running_var, torchs.running_var)
    torch.testing.assert_close(ours.eval()(x), torchs.eval()(x))
    assert count_means(ours, count) == 3 * parts


def test_statistics_of_the_whole_batch_are_batch_norm_itself():
    assert type(make_norm("batch", 4, 5)) is nn.BatchNorm2d
    torch.manual_seed(0)
    whole, part = Net("mnist_8k", "batch"), Net("mnist_8k", "batch", norm_batch=16)
    part.load_state_dict(whole.state_dict())
    x = torch.randn(16, 1, 28, 28)
    torch.testing.assert_close(part(x), whole(x), rtol=1e-4, atol=1e-5)
