"""A GPU that computes on the CPU: what lies on the wrong device, and what would make a step wait.

stand_in/ makes it, for CUDA and for Apple's. Notebooks run on it in golden/conftest.py. What that
proves, and what not: tests/README.md.
"""

import contextlib
import importlib
import inspect
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from unittest import mock

import pytest
import stand_in
import torch
from helpers import fit, make_recipe, without_seconds
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import model
from coursepack.data.datasets import Dataset
from coursepack.files import ROOT
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


# ------------------------------------------------------------------------------- a run on it
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
    {"norm": "batch", "optimizer": "adamw", "weight_decay": 0.1, "norm_batch": 4},
    {"norm": "batch", "l1_step": "proximal"},
    {"norm": "batch", "l2_step": "learning_rate", "momentum": 0.0, "l1": 0.0},
]


@pytest.mark.parametrize(("kind", "choices"), [
    *(("cuda", choices) for choices in RUNS), ("mps", RUNS[0]), ("mps", RUNS[-3])])
def test_a_run_keeps_to_the_gpu_and_no_step_waits_for_it(tmp_path, kind, choices):
    record, steps, waits = run(tmp_path, kind, **choices)
    assert (record["environment"]["device"], steps, waits) == (f"{kind}:0", 4, [])


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


# ------------------------------------------------------------------------------ planted faults
def planted(room, name, changes):
    """A function of a room, some of its text changed, but not on which line anything stands."""
    source = Path(room.__file__).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert source.count(old) == 1, f"{old!r} has to stand once in {room.__file__}"
        source = source.replace(old, new)
    scope = {"__name__": room.__name__}
    exec(compile(source, room.__file__, "exec"), scope)
    return mock.patch.object(room, name, scope[name])


WAITING = {  # in place of lines of train_epoch's loop, and of take_step
    "loss.backward() ": "loss.backward(), loss.item() ",
    "log_probabilities = model(x) ": "log_probabilities = model(x) if x.sum() > -1e9 else None ",
    "optimizer.step()": "optimizer.step(), value.item()",
}


def test_what_makes_a_step_wait_or_lies_on_the_wrong_device_is_named_by_its_line(tmp_path):
    with (planted(loop, "train_epoch", WAITING),
          planted(batches, "training_batches", {".to(order.device)": ""})):
        _, _, waits = run(tmp_path, norm="none")
    for line in [f"loop.py: {line}" for line in WAITING] + ["batches.py: there = movement.to(x)"]:
        assert sum(where.startswith(line) for where in waits) >= 3, line
    with (planted(batches, "to_input", {"values.to(x)": "values.to(x.dtype)"}),
          pytest.raises(RuntimeError, match="same device") as error):
        run(tmp_path, norm="none")
    places = [stand_in.place([frame]) for frame in traceback.extract_tb(error.tb)]
    assert "batches.py: return x.sub_(mean).div_(std)" in places


# --------------------------------------------------------------------- launches of a step
class Launches(TorchDispatchMode):
    """Counts the operations that start a kernel, all but views, up to the end of each step."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.counts[str(operation)] += not operation.is_view and operation.namespace == "aten"
        return operation(*args, **kwargs or {})


def test_a_step_of_gn_and_l1_starts_at_most_75_kernels(tmp_path):
    """On a GPU a step of so small a network is all launches. 106 of them before _foreach."""
    recipe = make_recipe(tmp_path, norm="group", l1=1e-5, augment="rotate+shift", batch_size=8)
    data, ends = random_images(count=24), []
    net = loop.build_model(recipe, data)
    with Launches() as mode:
        bar = mock.Mock(update=lambda: ends.append(mode.counts.copy()))
        loop.train_epoch(net, data, recipe, loop.make_optimizer(net, recipe), 1, bar)
    step = ends[2] - ends[1]
    assert 50 < step.total() <= 75
    assert sum(count for name, count in step.items() if "_foreach" in name) == 5


# ----------------------------------------------------- every function that takes a network
FEW = random_images(count=10)
CALLS = {function.__name__: function for function in measures.MEASURES.values()} | {
    "measure": lambda *run: measures.measure([*measures.MEASURES][:1], *run),
    "scores": lambda net, data, _: measures.scores(net.eval(), data.test_images[:4], data),
    "predict": lambda net, data, _: loop.predict(net, data),
    "evaluate": lambda net, data, _: loop.evaluate(net, data),
    "train": lambda *run: without_seconds(loop.train(*run)),
    "multiply_adds": lambda net, *_: [model.multiply_adds(net, "mnist_8k")],
}
IN_RUNS = {"make_optimizer", "train_epochs", "train_epoch", "place", "visit", "resume", "save_run",
           "penalized_parameters", "scale_free_weights", "count", "count_means"}  # as above


def test_every_function_that_takes_a_network_is_called():
    rooms = [model, *(importlib.import_module(f"coursepack.{file.parent.name}.{file.stem}")
                      for file in (ROOT / "coursepack").glob("[!e]*/*.py"))]
    assert CALLS.keys() | IN_RUNS == {
        name for room in rooms for name, function in inspect.getmembers(room, inspect.isfunction)
        if function.__module__ == room.__name__ and any(
            argument.annotation in (model.Net, nn.Module)
            for argument in inspect.signature(function).parameters.values())}


@pytest.mark.parametrize("norm", model.NORMS)
def test_every_function_that_takes_a_network_takes_data_wherever_they_lie(tmp_path, norm):
    def called(call, device, of_data):
        with stand_in.gpu("cuda"), tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            recipe = make_recipe(Path(folder), norm=norm, device=device, arch="mnist_8k",
                                 batch_size=8, l1=1e-4, l2=1e-3)
            net, data = loop.build_model(recipe, FEW), FEW.to(torch.device(of_data))
            return call(net, data, recipe)

    for call in CALLS.values():
        expected = called(call, "cpu", "cpu")
        for of_data in ("cpu", "cuda") if norm == "batch" else ("cpu",):
            torch.testing.assert_close(called(call, "cuda", of_data), expected, rtol=1e-3,
                                       atol=1e-6, check_device=False)
