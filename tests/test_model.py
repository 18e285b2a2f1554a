"""Untrained networks: the exact numbers of the course, and norms against PyTorch's layers."""

import copy
import math

import pytest
import torch
from torch import nn

import model
from model import ARCHITECTURES, NORMS, ORDERS, Net, count, make_norm, receptive_field

NUMBERS = {  # parameters without a norm, with a gain and a bias per channel, and with them per
    # element; receptive field at the end; parts of the rows by first letter
    "mnist_7k": (7_272, 7_416, 31_592, 28, "ca cadn c p cadn cadn cadn cadn p c"),
    "mnist_8k": (7_680, 7_816, 27_128, 28, "cadn p cadn cadn cadn cadn p c"),
    "mnist_quick": (7_740, 7_880, 18_408, 28, "c padn cadn cadn cadn cadn p c"),
    "mnist_best": (7_740, 7_880, 26_520, 28, "cadn p cadn cadn cadn cadn p c"),
    "mnist_10k": (9_992, 10_224, 74_284, 44,
                  "cand cand p cand cand cand cand p cand cand cand c p"),
    "cifar_35k": (34_488, 34_872, 178_872, 72,
                  "cnad cnad c p cnad cnad cnad c p cnad cnad cnad p c"),
    "cifar_best": (44_560, 46_448, 392_720, 72,
                   "cadn cadn p" + " cadn" * 6 + " p" + " cadn" * 6 + " p c"),
    "cifar_50k": (48_656, 49_712, 232_976, 96,
                  "cadn c padn cadn cadn cadn p cadn cadn cadn p c"),
}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_images(arch, n=2):
    return draw(n, *ARCHITECTURES[arch].image).float()


def same_as_torchs(ours, theirs, x):
    """Assert that two layers give the same outputs and gradients; returns the outputs."""
    outputs, gradients = [], []
    for layer in (ours, theirs):
        twin = x.clone(memory_format=torch.preserve_format).requires_grad_()
        outputs.append(layer(twin))
        (outputs[-1] * draw(*outputs[-1].shape, seed=1)).sum().backward()
        gradients.append(twin.grad)
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-12)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
    return outputs[0]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_network_has_the_numbers_of_the_documents_and_gives_log_probabilities(arch):
    none, channel, element, field, parts = NUMBERS[arch]
    others = {"none": none, "layer": element, "rms": (none + element) // 2}  # it has no bias
    kind = nn.Dropout2d if arch == "mnist_10k" else model.Dropout
    blocks = parts.count("n")
    for norm in NORMS:
        for skip in {False, any(model.keeps_shape(ARCHITECTURES[arch]))}:
            net = Net(arch, norm, dropout=0.1, skip=skip)
            assert count(net).parameters == others.get(norm, channel)
            made = [type(module) for module in net.modules()]
            norms = [model.LAYERS[norm].kind] * blocks if norm != "none" else []
            assert [of for of in made if "Norm" in of.__name__] == norms  # and no other one
            assert [of for of in made if "Dropout" in of.__name__] == [kind] * blocks
        output = Net(arch, norm, classes=7)(random_images(arch, 3))
        assert output.shape == (3, 7)
        torch.testing.assert_close(output.exp().sum(1), torch.ones(3))
    assert {module.p for module in net.modules() if isinstance(module, kind)} == {0.1}
    assert "Dropout" not in str(Net(arch))
    assert count(Net(arch, "layer", layer_affine="channel")).parameters == channel
    assert receptive_field(arch)[-1].rf_out == field
    children = [dict(block.named_children()) for block in Net(arch, dropout=0.1).layers]
    assert " ".join("".join(name[0] for name in block) for block in children) == parts


def test_what_is_counted_and_that_a_norm_has_an_alias_in_any_case():
    assert count(make_norm("batch", 16, 5)) == (2 * 16, 2 * 16 + 1, 16)  # and buffers
    assert count(Net("mnist_7k", "batch")).buffers == 2 * 72 + 5
    assert not any(count(Net("mnist_7k", norm)).buffers for norm in NORMS if norm != "batch")
    assert round(model.multiply_adds(Net("cifar_35k"), "cifar_35k") / 1e6, 2) == 10.89
    for norm, row in model.LAYERS.items():
        for alias in (row.short, row.short.lower(), norm.upper()):
            assert model.check_norm(alias) == norm


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_network_takes_images_from_its_least_size_on_of_any_shape_and_no_smaller_one(arch):
    least, (channels, *_), first = model.least_size(arch), ARCHITECTURES[arch].image, NUMBERS[arch]
    for image in ((3, least, least + 17), (1, 45, least)):
        for norm in NORMS:
            net, outputs = Net(arch, norm, dropout=0.1, image=image, classes=3), []
            for part in net.layers.modules():
                if not [*part.children()]:
                    part.register_forward_hook(
                        lambda _, __, output, seen=outputs: seen.append(output.numel()))
            output = net(draw(1, *image).float())  # of one image, in training: no norm refuses it
            assert (output.shape, bool(output.isfinite().all())) == ((1, 3), True)
            assert model.count_outputs(net, arch, image) == pytest.approx(sum(outputs), rel=0.01)
        stem = Net(arch).layers[0].conv.weight[:, :1].numel()  # the first convolution's, a channel
        assert count(Net(arch, image=image)).parameters == first[1] + (image[0] - channels) * stem
    with pytest.raises(ValueError, match=f"at least {least} x {least} .*{least - 1} x 40"):
        Net(arch, image=(channels, least - 1, 40))


@pytest.mark.parametrize(("image", "arch"), [
    ((1, 28, 28), "mnist_7k"), ((3, 32, 32), "cifar_35k"), ((3, 28, 28), "mnist_7k"),
    ((3, 30, 30), "cifar_35k"), ((1, 30, 30), "mnist_7k"), ((3, 64, 48), "cifar_35k"),
    ((1, 24, 30), "mnist_7k"), ((1, 20, 20), "cifar_35k"), ((1, 8, 8), "cifar_35k")])
def test_auto_is_the_network_that_was_built_for_the_nearest_size_of_those_that_fit(image, arch):
    assert model.check_arch("auto", image) == arch
    assert str(Net("auto", "layer", image=image)) == str(Net(arch, "layer", image=image))


@pytest.mark.parametrize("size", [0, 41])  # 0: that which it was built for
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_receptive_field_is_what_the_gradient_reaches_at_the_sizes_of_real_tensors(arch, size):
    channels, built, _ = ARCHITECTURES[arch].image
    fields, size = receptive_field(arch, size), size or built
    rows = max(i for i, f in enumerate(fields) if f.rf_out <= size / 2) + 1  # clear of the edges
    net = Net(arch, norm="none", image=(channels, size, size))
    for parameter in net.parameters():  # positive weights: no ReLU cuts a path
        nn.init.ones_(parameter)
    for block in net.layers:
        if hasattr(block, "pool"):  # a maximum would pass the gradient to one element only
            block.pool = nn.AvgPool2d(block.pool.kernel_size)
    images = torch.ones(2, channels, size, size, requires_grad=True)
    output = net.layers[:rows](images)
    assert output.shape[2] == fields[rows - 1].size_out
    middle = output.shape[2] // 2
    output[0, 0, middle, middle].backward()
    reached = images.grad[0].sum((0, 2)).nonzero().flatten()
    assert reached[-1] - reached[0] + 1 == fields[rows - 1].rf_out


@pytest.mark.parametrize(("norm", "groups"), [
    *((norm, 2) for norm in model.AXES), ("group", 1), ("group", 8)])
def test_by_hand_is_torchs_layer_forward_and_gradient_and_shares_the_means_it_says(norm, groups):
    x = 3 + 2 * draw(4, 8, 5, 5)
    for affine in model.LAYER_AFFINES:
        torchs = make_norm(norm, 8, 5, groups, affine).double()
        by_hand = same_as_torchs(lambda x: model.normalize(x, norm, groups), torchs, x)
    index = model.mean_index(tuple(x.shape), norm, groups).flatten()
    size = torch.bincount(index)
    mean = torch.bincount(index, x.flatten()) / size if norm != "rms" else torch.zeros(len(size))
    rest = x - mean[index].view_as(x)
    variance = (torch.bincount(index, rest.flatten() ** 2) / size)[index].view_as(x)
    torch.testing.assert_close(rest / (variance + 1e-5).sqrt(), by_hand, rtol=0, atol=1e-12)
    expected = {"batch": 8, "layer": 4, "group": 4 * groups, "instance": 4 * 8, "rms": 4}[norm]
    assert index.unique().tolist() == list(range(expected))
    assert count(make_norm(norm, 8, 5, groups), batch_size=4).means == expected
    assert torch.equal(model.normalize(x, "none"), x)


@pytest.mark.parametrize(("arch", "skipping"), [
    ("mnist_10k", {5, 6}), ("cifar_35k", {1, 5, 6, 10, 11})])
def test_skip_adds_the_input_of_blocks_that_keep_the_shape(arch, skipping):
    for skip in (False, True):
        x = images = random_images(arch).double()
        net = Net(arch, "group", skip=skip).double()
        for i, block in enumerate(net.layers):
            y = nn.Sequential(*block.children())(x)
            x = x + y if skip and i in skipping else y
        expected = x.flatten(1).log_softmax(1)
        torch.testing.assert_close(net(images), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("norm", NORMS)
def test_parts_follow_the_order_and_relu_in_place_changes_nothing_that_a_gradient_needs(norm):
    arch = "mnist_10k" if norm == "batch" else "mnist_8k"  # which zeroes maps, which elements
    for order in ORDERS:
        net = Net(arch, norm, dropout=0.2, order=order)
        parts = [part for part in order.split("-") if (part, norm) != ("norm", "none")]
        for block in [block for block in net.layers if hasattr(block, "act")]:
            assert list(dict(block.named_children())) == ["conv", *parts]
        net(random_images(arch)).sum().backward()  # else PyTorch refuses here


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", [model.LayerNorm, model.RMSNorm])
def test_layer_and_rms_norm_equal_torchs_in_both_layouts_forward_and_gradient(kind, memory):
    x, ours = draw(4, 6, 5, 3).contiguous(memory_format=memory), kind([6, 5, 3]).double()
    for gain_or_bias in ours.parameters():
        gain_or_bias.data.copy_(draw(6, 5, 3, seed=2))
    theirs = kind.__base__([6, 5, 3], eps=1e-5).double()
    theirs.load_state_dict(ours.state_dict())
    assert same_as_torchs(ours, theirs, x).is_contiguous(memory_format=memory)
    torch.testing.assert_close([w.grad for w in ours.parameters()],
                               [w.grad for w in theirs.parameters()])


def test_a_separable_convolution_is_torchs_with_products_of_its_weights():
    ours = model.SeparableConv2d(3, 4, (5, 5), 2, bias=True).double()
    torchs = nn.Conv2d(3, 4, 5, padding=2).double()
    torchs.weight.data = ours.depthwise.weight[:, 0] * ours.pointwise.weight
    torchs.bias.data = ours.pointwise.bias.data
    same_as_torchs(ours, torchs, draw(2, 3, 9, 7))
    torch.testing.assert_close(
        ours.pointwise.weight.grad[:, :, 0, 0],
        (torchs.weight.grad * ours.depthwise.weight[:, 0]).sum((2, 3)))


@pytest.mark.parametrize(("number", "images"), [(12, 4), (10, 4), (6, 1), (6, 6), (4, 9)])
def test_statistics_of_a_part_of_the_batch_are_torchs_part_by_part(number, images):
    """And a step of the running ones is the mean of torch's, of each part alone, by its images."""
    x, parts = draw(number, 3, 5, 5), math.ceil(number / images)
    ours, torchs = make_norm("batch", 3, 5, norm_batch=images).double(), nn.BatchNorm2d(3).double()
    for layer in (ours, torchs):
        layer.weight.data.copy_(draw(3, seed=1))
    fresh = [copy.deepcopy(torchs) for _ in range(parts)]
    same_as_torchs(ours, lambda x: torch.cat([torchs(part) for part in x.split(images)]), x)
    torch.testing.assert_close(ours.weight.grad, torchs.weight.grad)
    for layer, part in zip(fresh, x.split(images)):
        layer(part)
    for name in ("running_mean", "running_var"):
        steps = [getattr(layer, name) * len(part) / number
                 for layer, part in zip(fresh, x.split(images))]
        torch.testing.assert_close(getattr(ours, name), sum(steps))
    assert model.count_means(ours, number) == 3 * parts


def test_hes_weights_keep_the_size_of_what_passes_a_relu():
    torch.manual_seed(0)
    net, small = (Net("cifar_35k", "none", init=init, conv_bias=True) for init in ("he", "default"))
    x = torch.randn(8, 3, 32, 32)
    for layers, least, most in ((net.layers, 0.3, 3), (small.layers, 0, 0.3)):
        spread = nn.Sequential(*layers[:-2])(x).square().mean().sqrt().item()
        assert least < spread < most
    assert not any(block.conv.bias.any() for block in net.layers if hasattr(block, "conv"))
    with pytest.raises(ValueError, match="init='xavier'.*default, he"):
        Net(init="xavier")
    with pytest.raises(ValueError, match="mnist_10k has biases"):
        Net("mnist_10k", conv_bias=True)


@pytest.mark.parametrize("seen", [
    torch.Tensor.contiguous, lambda x: x.contiguous(memory_format=torch.channels_last),
    lambda x: x.double().transpose(1, 3)[:, ::2]])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_zeroes_independent_elements_with_its_probability(p, seen):
    torch.manual_seed(0)
    x = seen(torch.rand(51, 9, 20, 25) + 1).requires_grad_()
    output = model.Dropout(p)(x)
    dropped = output == 0
    torch.testing.assert_close(output, x * ~dropped / (1 - p), rtol=1e-4, atol=0)
    tolerance = 5 * (p * (1 - p) / x.numel()) ** 0.5  # five standard errors
    assert abs(dropped.double().mean().item() - p) < tolerance
    for a, b in [(dropped[1:], dropped[:-1]), (dropped[:, 1:], dropped[:, :-1]),
                 (dropped[..., 1:], dropped[..., :-1]), (dropped[..., 4:], dropped[..., :-4])]:
        assert abs((a & b).double().mean().item() - p**2) < 2 * tolerance
    assert not torch.equal(model.Dropout(p)(x) == 0, dropped)  # another mask every time
    output.sum().backward()
    torch.testing.assert_close(x.grad, ~dropped / x.new_tensor(1 - p), rtol=1e-4, atol=0)
    assert torch.equal(model.Dropout(p).eval()(x), x)
    assert torch.equal(model.Dropout(0.0)(x), x)
