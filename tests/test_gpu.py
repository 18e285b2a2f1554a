"""A GPU that computes on the CPU: what lies on the wrong device, and what would make a step wait.

stand_in/ makes it, for CUDA and for Apple's. Notebooks run on it in golden/conftest.py. What that
proves, and what not: tests/README.md.
"""

import contextlib
from unittest import mock

import pytest
import stand_in
import torch
from helpers import fit, make_recipe, without_seconds
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import model
from coursepack.data.datasets import Dataset
from coursepack.lab import measures
from coursepack.runs import records
from coursepack.train import batches, loop


def random_images(arch="mnist_7k", count=30):
    """As many images to train and to test on, of five classes, on the CPU."""
    channels, size = model.ARCHITECTURES[arch].image
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, channels, size, size), generator=draw, dtype=torch.uint8)
    labels, shades = torch.arange(count) % 5, torch.full((channels,), 0.5)
    return Dataset("mnist", "npz", images, labels, images, labels, shades, shades, (*"01234",))


REFUSED = [  # by PyTorch, where x lies on a GPU and c does not
    ("same device", lambda x, c: x + c), ("same device", lambda x, c: nn.Linear(3, 3)(x)),
    ("indices", lambda x, c: c[x[0].long()]), ("Tensor.cpu", lambda x, c: x.numpy())]
WAITS = [  # where the CPU waits for the GPU
    lambda x: x.sum().item(), lambda x: 1 if x.sum() else 0, lambda x: x[x > 1],
    lambda x: x.to("cpu"), lambda x: torch.ones(2).to(x.device),
    lambda x: x.copy_(torch.ones(2, 3))]


def test_the_stand_in_refuses_what_a_gpu_refuses_and_notes_where_the_cpu_would_wait():
    with stand_in.gpu("cuda") as gpu:
        x = torch.arange(6.0).view(2, 3).to(gpu.device)
        for words, call in REFUSED:
            with pytest.raises((RuntimeError, TypeError), match=words):
                call(x, torch.ones(2, 3))
        for call in WAITS:
            gpu.waits.clear()
            x.mul(2).sum(0)[:1] + 1  # nothing to wait for
            assert gpu.waits == []
            call(x)
            assert len(gpu.waits) == 1
    with stand_in.gpu("mps"), pytest.raises(TypeError, match="float64"):
        torch.ones(1).to("mps").double()
    assert not torch.backends.mps.is_available()


def run(folder, kind="cuda", **choices):
    """The record of a run on data of the CPU, its number of steps, and where they waited.

    After the first step and up to the last: without those waits that an epoch has once.
    """
    every = {"dropout": 0.1, "l1": 1e-4, "l2": 1e-3, "augment": "rotate+shift", "batch_size": 8,
             "device": "auto"}
    with stand_in.gpu(kind) as gpu:
        recipe, ends = make_recipe(folder, **every | choices), []
        bar = mock.Mock(update=lambda: ends.append(len(gpu.waits)))
        data = random_images(recipe.arch)
        with mock.patch("coursepack.train.loop.tqdm", return_value=bar):
            net, history = fit(data, recipe)
        record = records.save_run(net, data, recipe, history)
        return record, len(ends), gpu.waits[ends[0]: ends[-1]]


RUNS = [{"norm": norm} for norm in model.NORMS] + [
    {"arch": "mnist_10k", "norm": "layer", "layer_affine": "channel", "penalize": "all"},
    {"arch": "cifar_35k", "norm": "group", "skip": True, "augment": "flip"},
    {"norm": "batch", "optimizer": "adamw", "weight_decay": 0.1, "norm_batch": 8},
    {"norm": "batch", "l1_step": "proximal"},
    {"norm": "batch", "l2_step": "learning_rate", "momentum": 0.0, "l1": 0.0}]


@pytest.mark.parametrize(("kind", "choices"), [
    *(("cuda", choices) for choices in RUNS), ("mps", RUNS[-3])])
def test_a_run_keeps_to_the_gpu_and_no_step_waits_for_it(tmp_path, kind, choices):
    record, steps, waits = run(tmp_path, kind, batch_size=16, **choices)
    assert (record["environment"]["device"], steps, waits) == (f"{kind}:0", 2, [])


def test_a_line_of_a_step_that_asks_for_a_value_is_named(tmp_path):
    def ask(*arguments, to_input=batches.to_input):
        x = to_input(*arguments)
        return x if x.sum() else x

    with mock.patch("coursepack.train.batches.to_input", ask):
        _, _, waits = run(tmp_path, norm="none")
    assert {where.split("(")[0] for where in waits} == {"batches.py: x = to_input"}


def test_a_run_on_the_gpu_has_the_numbers_of_one_on_the_cpu(tmp_path):
    """But for rounding: there the channels are last in memory. And it goes on where it stopped."""
    choices = {"dropout": 0.0, "epochs": 2}
    here, _, _ = run(tmp_path / "cpu", device="cpu", **choices)
    with (mock.patch("coursepack.train.loop.report_epoch", side_effect=KeyboardInterrupt),
          contextlib.suppress(KeyboardInterrupt)):
        run(tmp_path / "gpu", **choices)
    there, steps, _ = run(tmp_path / "gpu", **choices)
    assert steps == 4  # of the second epoch alone
    for one, other in zip(without_seconds(here["epochs"]), without_seconds(there["epochs"])):
        assert other == pytest.approx(one, rel=1e-3)


class Launches(TorchDispatchMode):
    """Notes the operations that start a kernel: all but views."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation.namespace == "aten" and not operation.is_view:
            self.names.append(str(operation))
        return operation(*args, **kwargs or {})


def test_a_step_of_gn_and_l1_starts_at_most_75_kernels(tmp_path):
    """On a GPU a step of so small a network is all launches. 106 of them before _foreach."""
    recipe = make_recipe(tmp_path, norm="group", l1=1e-5, augment="rotate+shift", batch_size=8)
    data, ends = random_images(count=24), []
    net = loop.build_model(recipe, data)
    assert loop.predict(net, data).shape == (24, 5)  # as many classes as the data have
    with Launches() as launches:
        bar = mock.Mock(update=lambda: ends.append(len(launches.names)))
        loop.train_epoch(net, data, recipe, loop.make_optimizer(net, recipe), 1, bar)
    step = launches.names[ends[1]: ends[2]]
    assert 50 < len(step) <= 75
    assert sum("_foreach" in name for name in step) == 5


CALLS = [
    *measures.MEASURES.values(),
    lambda net, data, _: measures.scores(net.eval(), data.test_images[:4], data),
    lambda net, data, _: loop.predict(net, data),
    lambda net, data, _: loop.evaluate(net, data),
    lambda *run: without_seconds(loop.train(*run)),
    lambda net, *_: [model.multiply_adds(net, "mnist_8k")]]


def test_what_takes_a_network_takes_data_wherever_they_lie(tmp_path):
    def called(call, device, of_data):
        with stand_in.gpu("cuda"):
            folder = tmp_path / f"{CALLS.index(call)}-{device}-{of_data}"
            recipe = make_recipe(folder, device=device, arch="mnist_8k", batch_size=8, l1=1e-4)
            data = random_images(count=10)
            net = loop.build_model(recipe, data)
            return call(net, data.to(torch.device(of_data)), recipe)

    for call in CALLS:
        expected = called(call, "cpu", "cpu")
        for of_data in ("cpu", "cuda"):
            torch.testing.assert_close(called(call, "cuda", of_data), expected, rtol=1e-3,
                                       atol=1e-6, check_device=False)
