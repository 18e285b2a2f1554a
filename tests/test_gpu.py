"""A GPU that computes on the CPU: what lies on the wrong device, and what would make a step wait.

stand_in/ makes it, for CUDA and for Apple's. Notebooks run on it in golden/conftest.py. What that
proves, and what not: tests/README.md.
"""

import contextlib
import copy
import importlib
import inspect
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
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
from coursepack.runs import mistakes, records
from coursepack.train import batches, checkpoints, loop, updates

ROOMS = [".".join(path.relative_to(ROOT).with_suffix("").parts)
         for path in (ROOT / "coursepack").glob("**/*.py") if "exercises" not in path.parts]


def random_images(arch="mnist_7k", count=30):
    """As many images to train and to test on, of five classes, on the CPU."""
    channels, size = model.ARCHITECTURES[arch].image
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, channels, size, size), generator=draw, dtype=torch.uint8)
    labels, shades = torch.arange(count) % 5, torch.full((channels,), 0.5)
    return Dataset("mnist", "npz", images, labels, images, labels, shades, shades, (*"01234",))


def on_gpu(gpu):
    """A tensor and a layer of the GPU, and a tensor of the CPU."""
    return (torch.arange(6.0).view(2, 3).to(gpu.device), nn.Linear(3, 3).to(gpu.device),
            torch.ones(2, 3))


REFUSED = {  # what PyTorch refuses where x lies on a GPU and c does not
    "same device": [
        lambda x, layer, c: x + c, lambda x, layer, c: x.add_(c), lambda x, layer, c: layer(c),
        lambda x, layer, c: layer.cpu()(x), lambda x, layer, c: torch.cat([x, c]),
        lambda x, layer, c: torch.stack([x.sum(), c.sum()]),
        lambda x, layer, c: nn.functional.nll_loss(x, c[:, 0].long()),
        lambda x, layer, c: x.index_select(0, c[0].long()),
        lambda x, layer, c: x.__setitem__(c[0].long(), c)],
    "indices": [lambda x, layer, c: c[x[0].long()]],
    "Tensor.cpu": [lambda x, layer, c: x.numpy(), lambda x, layer, c: np.asarray(x)],
}
WAITS = [  # where the CPU waits for the GPU
    lambda x: x.sum().item(), lambda x: x.tolist(), lambda x: float(x.sum()),
    lambda x: 1 if x.sum() else 0, lambda x: f"{x.sum():.1f}", lambda x: x.nonzero(),
    lambda x: x[x > 1], lambda x: x[torch.tensor([1])], lambda x: x.cpu(), lambda x: x.to("cpu"),
    lambda x: torch.ones(2).to(x.device), lambda x: x.copy_(torch.ones(2, 3)),
    lambda x: torch.ones(2, 3).__setitem__(0, x[0]),
]


def test_the_stand_in_refuses_what_a_gpu_refuses():
    for words, calls in REFUSED.items():
        for call in calls:
            with (stand_in.gpu("cuda") as gpu,
                  pytest.raises((RuntimeError, TypeError), match=words)):
                call(*on_gpu(gpu))


def test_the_stand_in_notes_where_the_cpu_would_wait():
    for call in WAITS:
        with stand_in.gpu("cuda") as gpu:
            x, _, _ = on_gpu(gpu)
            gpu.waits.clear()
            x.mul(2).sum(0)[:1] + 1  # nothing to wait for
            assert gpu.waits == []
            call(x)
            assert len(gpu.waits) == 1


def test_on_the_stand_in_numbers_gradients_copies_and_files_are_those_of_the_cpu(tmp_path):
    with stand_in.gpu("cuda") as gpu:
        x, layer, _ = on_gpu(gpu)
        assert {str(p.device) for p in layer.parameters()} == {"cuda:0"}
        assert all(isinstance(p, nn.Parameter) and p.is_leaf for p in layer.parameters())
        twin = copy.deepcopy(layer)
        layer(x).square().sum().backward()
        assert layer.weight.grad.is_cuda
        assert twin.weight.is_cuda
        assert twin.weight.grad is None
        torch.save(layer.state_dict(), tmp_path / "state.pt")
        kept = torch.load(tmp_path / "state.pt", map_location="cpu", weights_only=True)
        twin.cpu().load_state_dict(kept)
        twin(x.cpu()).square().sum().backward()
        assert torch.equal(twin.weight.grad, layer.weight.grad.cpu())
        assert not twin.weight.is_cuda
        assert repr(x[0]) == "tensor([0., 1., 2.], device='cuda:0')"
    assert not torch.cuda.is_available()


def test_on_apples_nothing_is_in_float64():
    with stand_in.gpu("mps") as gpu:
        x, layer, _ = on_gpu(gpu)
        for call in (x.double, layer.double, lambda: torch.ones(1).double().to(gpu.device),
                     lambda: torch.zeros(1, dtype=torch.float64, device="mps")):
            with pytest.raises(TypeError, match="float64"):
                call()


# ------------------------------------------------------------------------------- a run on it
class Bar:
    """In place of a progress bar, which training updates at the end of each step."""

    def __init__(self, gpu):
        self.gpu, self.ends = gpu, []

    def update(self):
        self.ends.append(len(self.gpu.waits))

    def close(self):
        pass

    def in_steps(self):
        """Waits after the first step and up to the last: without those that an epoch has once."""
        return self.gpu.waits[self.ends[0]: self.ends[-1]]


def run(folder, kind="cuda", **choices):
    """The record of a run of four steps on data of the CPU, and its bar."""
    every = {"dropout": 0.1, "l1": 1e-4, "l2": 1e-3, "augment": "rotate+shift", "batch_size": 8,
             "device": "auto"}
    with stand_in.gpu(kind) as gpu:
        recipe, bar = make_recipe(folder, **every | choices), Bar(gpu)
        data = random_images(recipe.arch)
        with mock.patch("coursepack.train.loop.tqdm", return_value=bar):
            net, history = fit(data, recipe)
        return records.save_run(net, data, recipe, history), bar


RUNS = [{"norm": norm} for norm in model.NORMS] + [
    {"norm": "layer", "layer_affine": "channel"},
    {"arch": "mnist_10k", "norm": "batch", "penalize": "all"},
    {"arch": "cifar_35k", "norm": "group", "skip": True, "augment": "flip"},
    {"norm": "batch", "optimizer": "adamw", "weight_decay": 0.1, "norm_batch": 4},
    {"norm": "batch", "l1_step": "proximal"},
    {"norm": "batch", "l2_step": "learning_rate", "momentum": 0.0, "l1": 0.0},
]


@pytest.mark.parametrize(("kind", "choices"), [
    *(("cuda", choices) for choices in RUNS), *(("mps", choices) for choices in RUNS[1::5])])
def test_a_run_keeps_to_the_gpu_and_no_step_waits_for_it(tmp_path, kind, choices):
    record, bar = run(tmp_path, kind, **choices)
    assert record["environment"]["device"] == f"{kind}:0"
    assert len(bar.ends) == 4
    assert bar.in_steps() == []


def test_a_run_on_the_gpu_has_the_numbers_of_one_on_the_cpu(tmp_path):
    """But for rounding: there the channels are last in memory. And it goes on where it stopped."""
    choices = {"dropout": 0.0, "epochs": 2}
    here, _ = run(tmp_path / "cpu", device="cpu", **choices)
    with (mock.patch("coursepack.train.loop.report_epoch", side_effect=KeyboardInterrupt),
          contextlib.suppress(KeyboardInterrupt)):
        run(tmp_path / "gpu", **choices)
    there, bar = run(tmp_path / "gpu", **choices)
    assert len(bar.ends) == 4  # of the second epoch alone
    for one, other in zip(without_seconds(here["epochs"]), without_seconds(there["epochs"])):
        assert other == pytest.approx(one, rel=1e-3)


# ------------------------------------------------------------------------------ planted faults
def planted(room, changes):
    """A room's names, some of its text changed, but not on which line of it anything stands."""
    source = Path(room.__file__).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert source.count(old) == 1, f"{old!r} has to stand once in {room.__file__}"
        source = source.replace(old, new)
    scope = {"__name__": room.__name__}
    exec(compile(source, room.__file__, "exec"), scope)
    return scope


WAITING = {  # in place of lines of train_epoch's loop, and of take_step
    "optimizer.zero_grad()": "optimizer.zero_grad(), labels.tolist()",
    "loss.backward() ": "loss.backward(), loss.item() ",
    "log_probabilities = model(x) ": "log_probabilities = model(x) if x.sum() > -1e9 else None ",
    "targets.append(labels)": "targets.append(labels.cpu().to(labels))",
    "step += 1": "step += len(labels.nonzero()) > 0",
    "bar.update()": "bar.update(), float(loss.detach())",
    "optimizer.step()": "optimizer.step(), value.item()",
}


def test_what_makes_a_step_wait_is_counted_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_epoch", planted(loop, WAITING)["train_epoch"])
    changed = planted(batches, {".to(order.device)": ""})
    monkeypatch.setattr(batches, "training_batches", changed["training_batches"])
    _, bar = run(tmp_path, norm="none")
    for line in [f"loop.py: {line}" for line in WAITING] + ["batches.py: there = movement.to(x)"]:
        assert sum(where.startswith(line) for where in bar.in_steps()) >= 3, line


def test_what_lies_on_the_wrong_device_is_named_with_file_and_line(tmp_path, monkeypatch):
    changed = planted(batches, {"values.to(x)": "values.to(x.dtype)"})
    monkeypatch.setattr(batches, "to_input", changed["to_input"])
    with pytest.raises(RuntimeError, match="same device") as error:
        run(tmp_path, norm="none")
    places = [stand_in.place([frame]) for frame in traceback.extract_tb(error.tb)]
    assert "batches.py: return x.sub_(mean).div_(std)" in places


# --------------------------------------------------------------------- launches of a step
class Launches(TorchDispatchMode):
    """Counts the operations that start a kernel: all but views of what is there."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.counts[str(operation)] += not operation.is_view and operation.namespace == "aten"
        return operation(*args, **kwargs or {})


def launches(recipe, images):
    """How many kernels an epoch of so many images starts."""
    data = random_images(count=images)
    net = loop.build_model(recipe, data)
    optimizer = loop.make_optimizer(net, recipe)
    loop.train_epoch(net, data, recipe, optimizer, 1)  # which also makes what is kept
    with Launches() as mode:
        loop.train_epoch(net, data, recipe, optimizer, 2)
    return mode.counts


def test_a_step_of_gn_and_l1_starts_at_most_75_kernels(tmp_path):
    """On a GPU a step of so small a network is all launches. 106 of them before _foreach."""
    recipe = make_recipe(tmp_path, norm="group", l1=1e-5, augment="rotate+shift", batch_size=8)
    one, three = (launches(recipe, images) for images in (8, 24))
    step = {name: count / 2 for name, count in (three - one).items()}
    assert sum(step.values()) <= 75
    assert sum(count for name, count in step.items() if "_foreach" in name) == 5


# ----------------------------------------------------- every function that takes a network
def of_training(net, data, recipe):
    rows = []
    loop.train_epochs(net, loop.place(net, data), recipe, loop.make_optimizer(net, recipe), [1],
                      lambda row, seconds: rows.append(row))
    return rows[0]


def of_checkpoints(net, data, recipe):
    for _ in "ab":
        with checkpoints.visit(recipe, data, net, loop.make_optimizer(net, recipe)) as run:
            if run.left:
                run.keep({"loss": 1.0})
    return run.history[0]


def of_save_run(net, data, recipe):
    history = loop.train(net, data, recipe)
    return history[0] | {"near_zero": records.save_run(net, data, recipe, history)["near_zero"]}


FEW = random_images(count=10)
CALLS = measures.MEASURES | dict.fromkeys(
    ("make_optimizer", "train_epoch", "train_epochs", "place"), of_training) | {
    "measure": lambda *run: measures.measure([*measures.MEASURES][:1], *run),
    "scores": lambda net, data, _: measures.scores(net.eval(), data.test_images[:4], data),
    "predict": lambda net, data, _: loop.predict(net, data),
    "evaluate": lambda net, data, _: loop.evaluate(net, data),
    "probabilities": lambda net, data, _: mistakes.probabilities(net, data),
    "penalized_parameters": lambda net, *_: [len(updates.penalized_parameters(net))],
    "scale_free_weights": lambda net, *_: [len(updates.scale_free_weights(net))],
    "visit": of_checkpoints, "resume": of_checkpoints,
    "train": of_save_run, "save_run": of_save_run,
    "count": lambda net, *_: model.count(net, 8), "count_means": lambda net, *_: [
        model.count_means(layer, 8) for layer in net.modules()],
    "multiply_adds": lambda net, *_: [model.multiply_adds(net, "mnist_8k")],
}


def taking_a_network():
    """Functions of model.py and of all rooms with an argument that is a network or a layer."""
    rooms = [model, *(map(importlib.import_module, ROOMS))]
    return {name for room in rooms for name, function in inspect.getmembers(
        room, inspect.isfunction) if function.__module__ == room.__name__ and any(
        argument.annotation in (model.Net, nn.Module)
        for argument in inspect.signature(function).parameters.values())}


def numbers(result):
    """All numbers of a result but seconds, as one list."""
    if isinstance(result, torch.Tensor):
        return result.detach().flatten().tolist()
    values = [v for k, v in result.items() if "seconds" not in k] if isinstance(
        result, dict) else result
    return [float(value) for value in values]


def test_every_function_that_takes_a_network_is_called():
    assert taking_a_network() == CALLS.keys()


@pytest.mark.parametrize("norm", model.NORMS)
def test_every_function_that_takes_a_network_takes_data_wherever_they_lie(tmp_path, norm):
    def called(call, device, of_data):
        with stand_in.gpu("cuda"), tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            recipe = make_recipe(Path(folder), norm=norm, device=device, arch="mnist_8k",
                                 batch_size=8, l1=1e-4, l2=1e-3)
            net, data = loop.build_model(recipe, FEW), FEW.to(torch.device(of_data))
            return numbers(call(net, data, recipe))

    for call in {*CALLS.values()}:
        expected = called(call, "cpu", "cpu")
        for of_data in ("cpu", "cuda") if norm == "batch" else ("cpu",):
            found = called(call, "cuda", of_data)
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-6), (call, of_data)
