"""A GPU that computes on the CPU: what lies on the wrong device, and what would make a step wait.

stand_in/ makes it, for CUDA and for Apple's. Notebooks run on it in golden/conftest.py. What that
proves, and what not: tests/README.md.
"""

import contextlib
from unittest import mock

import pytest
import stand_in
import torch
from helpers import first, fit, make_recipe, without_seconds
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from coursepack.lab import measures
from coursepack.runs import records
from coursepack.train import batches, loop
from model import NORMS

REFUSED = [  # by PyTorch, where x lies on a GPU and c does not
    ("same device", lambda x, c: x + c), ("same device", lambda x, c: nn.Linear(3, 3)(x)),
    ("same device", lambda x, c: c[x[0].long()]), ("Tensor.cpu", lambda x, c: x.numpy())]
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


def run(folder, data, kind="cuda", **choices):
    """The record of a run on data of the CPU, its number of steps, and where they waited.

    After the first step and up to the last: without those waits that an epoch has once.
    """
    every = {"dropout": 0.1, "l1": 1e-4, "l2": 1e-3, "augment": "rotate+shift", "batch_size": 8,
             "device": "auto"}
    with stand_in.gpu(kind) as gpu:
        recipe, ends = make_recipe(folder, **every | choices), []
        bar = mock.Mock(update=lambda: ends.append(len(gpu.waits)))
        with mock.patch("coursepack.train.loop.tqdm", return_value=bar):
            net, history = fit(data, recipe)
        record = records.save_run(net, data, recipe, history)
        return record, len(ends), gpu.waits[ends[0]: ends[-1]]


RUNS = [{"norm": norm} for norm in NORMS] + [
    {"arch": "mnist_10k", "norm": "layer", "layer_affine": "channel", "penalize": "all"},
    {"arch": "mnist_10k", "norm": "group", "skip": True, "augment": "flip"},
    {"norm": "batch", "optimizer": "adamw", "weight_decay": 0.1, "norm_batch": 4},
    {"norm": "batch", "l1_step": "proximal"}, {"norm": "group", "optimizer": "muon"},
    {"norm": "batch", "l2_step": "learning_rate", "momentum": 0.0, "l1": 0.0}]


@pytest.mark.parametrize(("kind", "choices"), [
    *(("cuda", choices) for choices in RUNS), ("mps", RUNS[-3])])
def test_a_run_keeps_to_the_gpu_and_no_step_waits_for_it(tmp_path, few, kind, choices):
    record, steps, waits = run(tmp_path, first(few, 16, 20), kind, **choices)
    assert (record["environment"]["device"], steps, waits) == (f"{kind}:0", 2, [])


def test_a_line_of_a_step_that_asks_for_a_value_is_named(tmp_path, few):
    def ask(*arguments, to_input=batches.to_input):
        x = to_input(*arguments)
        return x if x.sum() else x

    with mock.patch("coursepack.train.batches.to_input", ask):
        _, _, waits = run(tmp_path, first(few, 16, 20), norm="none")
    assert {where.split("(")[0] for where in waits} == {"batches.py: x = to_input"}


def test_a_run_on_the_gpu_goes_on_where_it_stopped(tmp_path, few):
    with (mock.patch("coursepack.train.loop.report_epoch", side_effect=KeyboardInterrupt),
          contextlib.suppress(KeyboardInterrupt)):
        run(tmp_path, first(few, 16, 20), epochs=2)
    _, steps, _ = run(tmp_path, first(few, 16, 20), epochs=2)
    assert steps == 2  # of the second epoch alone


class Launches(TorchDispatchMode):
    """Counts the operations that start a kernel: all but views."""

    count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += operation.namespace == "aten" and not operation.is_view
        return operation(*args, **kwargs or {})


def test_a_step_of_gn_and_l1_starts_at_most_75_kernels(tmp_path, few):
    """On a GPU a step of so small a network is all launches. 106 of them before _foreach."""
    recipe = make_recipe(tmp_path, norm="group", l1=1e-5, augment="rotate+shift", batch_size=8)
    data, ends = first(few, 24, 10), []
    net = loop.build_model(recipe, data)
    with Launches() as launches:
        bar = mock.Mock(update=lambda: ends.append(launches.count))
        loop.train_epoch(net, data, recipe, loop.make_optimizer(net, recipe), 1, bar)
    assert 50 < ends[2] - ends[1] <= 75


CALLS = [*measures.MEASURES.values(), lambda *run: without_seconds(loop.train(*run))]


@pytest.mark.parametrize("call", CALLS)
def test_what_takes_a_network_takes_data_wherever_they_lie(tmp_path, few, call):
    """And says the same there, but for rounding: on a CPU the channels are last in memory."""
    expected = None
    for device, of_data in [("cpu", "cpu"), ("cuda", "cpu"), ("cuda", "cuda")]:
        with stand_in.gpu("cuda"):
            recipe = make_recipe(tmp_path / f"{device}-{of_data}", device=device, arch="mnist_8k",
                                 batch_size=8, l1=1e-4)
            data = first(few, 20, 20).to(torch.device(of_data))
            found = call(loop.build_model(recipe, data), data, recipe)
        expected = expected or found
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
