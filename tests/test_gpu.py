"""A GPU that is never there: what lies on the wrong device, and what would make a step wait.

PyTorch's fake tensors have a shape and a device, and no numbers. A recipe runs on them from the
first step to the record, on any machine. What that proves, and what not: tests/README.md.
"""

import traceback
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from helpers import make_recipe
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import model
from coursepack import batches, mistakes, records, steps, training
from coursepack.data import Dataset
from coursepack.files import ROOT


def why_not():
    """Why the installed torch cannot do this; "" if it can."""
    try:
        with FakeTensorMode():
            torch.zeros(1, device="cuda")
    except Exception as error:
        return f"torch {torch.__version__} makes no fake tensor on a GPU that is not there: {error}"
    return ""


REASON = why_not()
pytestmark = pytest.mark.skipif(REASON != "", reason=REASON)


# ------------------------------------------------------------------------------------ the GPU
def place(frames):
    """The innermost of these frames that is the course's own, as "file: line of code"."""
    own = [frame for frame in frames if Path(frame.filename).parent in (ROOT, ROOT / "coursepack")]
    return f"{Path(own[-1].filename).name}: {own[-1].line}"


class Counter(TorchDispatchMode):
    """Sees every operation: notes the places of those for which the CPU waits for the GPU.

    It waits where it asks for a value (.item(), float(), if, nonzero ...), and for a copy from one
    to the other: any operation that has tensors on both counts as one. update() and close() make
    it a progress bar, which training updates at the end of each step.
    """

    def __init__(self):
        super().__init__()
        self.waits, self.ends = [], []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        try:
            result, asks = operation(*args, **kwargs or {}), False
        except (DataDependentOutputException, DynamicOutputShapeException):
            result, asks = invented(operation, *inputs), True
        outputs = [x for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        devices = {x.device.type for x in inputs + outputs}
        if devices == {"cpu", "cuda"} or (asks and "cuda" in devices):
            self.waits.append(place(traceback.extract_stack()))
        return result

    def update(self):
        self.ends.append(len(self.waits))

    def close(self):
        pass

    def in_steps(self):
        """Waits after the first step and up to the last: without those that an epoch has once."""
        return self.waits[self.ends[0] : self.ends[-1]]


def invented(operation, x):
    """What stands for a result that depends on numbers: a fake tensor has none."""
    if operation is torch.ops.aten._local_scalar_dense.default:
        return 1.0 if x.is_floating_point() else 1
    if operation is torch.ops.aten.nonzero.default:
        return x.new_zeros((1, x.dim()), dtype=torch.int64)
    raise NotImplementedError(f"{operation} depends on the numbers in a tensor")


def zero_gradients(loss):
    """In place of Tensor.backward, which asks the GPU's driver: a gradient for each leaf."""
    todo, seen = [loss.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [before for before, _ in node.next_functions]
            if hasattr(node, "variable"):
                node.variable.grad = torch.zeros_like(node.variable)


def zeros_of_numpy(x):
    assert x.device.type == "cpu", "numpy() of a tensor that lies on a GPU"
    return np.zeros(x.shape)


@contextmanager
def no_gpu():
    """Inside, torch.device("cuda") works on every machine. Yields a Counter."""
    with ExitStack() as stack:
        library = stack.enter_context(torch.library._scoped_library("aten", "IMPL", "Meta"))
        library.impl("_fused_sgd_", lambda *args, **kwargs: None)  # in place, so no result
        stack.enter_context(mock.patch("torch.Tensor.backward", zero_gradients))
        stack.enter_context(mock.patch("torch.Tensor.numpy", zeros_of_numpy))
        stack.enter_context(mock.patch("coursepack.files.replace_file"))
        stack.callback(batches.positions.cache_clear)
        batches.positions.cache_clear()  # what is kept must not go from one world to the other
        stack.enter_context(FakeTensorMode())
        yield stack.enter_context(Counter())


def run(folder, **choices):
    """A run of four steps, from its data on the CPU to its record, and its Counter."""
    every = {"dropout": 0.1, "l1": 1e-4, "l2": 1e-3, "augment": "rotate+shift", "batch_size": 8}
    recipe = make_recipe(folder, **every | choices)
    channels, size = model.ARCHITECTURES[recipe.arch].image
    with no_gpu() as gpu, mock.patch("coursepack.training.tqdm", return_value=gpu):
        images, labels = torch.zeros(30, channels, size, size).byte(), torch.zeros(30).long()
        shades = torch.zeros(channels)
        data = Dataset("mnist", "npz", images, labels, images, labels, shades, shades, (*"01234",))
        with torch.device("cuda"):
            net = model.Net(**recipe.network(), classes=len(data.classes))
        history = training.train(net, data, recipe)
        training.evaluate(net, data)
        return records.save_run(net, data, recipe, history), gpu


# ---------------------------------------------------------------------------- the course on it
RUNS = [{"norm": norm} for norm in model.NORMS] + [
    {"norm": "layer", "layer_affine": "channel"},
    {"arch": "mnist_10k", "norm": "batch", "penalize": "all"},
    {"arch": "cifar_35k", "norm": "group", "skip": True, "augment": "flip"},
]


@pytest.mark.parametrize("choices", RUNS, ids=lambda choices: "-".join(map(str, choices.values())))
def test_a_run_keeps_to_the_gpu_and_no_step_waits_for_it(tmp_path, choices):
    record, gpu = run(tmp_path, **choices)
    assert record["environment"]["device"] == "cuda:0"
    assert len(gpu.ends) == 4
    assert gpu.in_steps() == []


def plant(monkeypatch, room, name, changes):
    """Change a function or class of a room, but not on which line of it anything stands."""
    source = Path(room.__file__).read_text()
    for old, new in changes.items():
        assert source.count(old) == 1, f"{old!r} has to stand once in {room.__file__}"
        source = source.replace(old, new)
    scope = {"__name__": room.__name__}
    exec(compile(source, room.__file__, "exec"), scope)
    monkeypatch.setattr(room, name, scope[name])


# Room, function, what stands there, what is put there, and which line fails then.
FAULTS = {
    "grid of pixel positions": (
        batches, "positions", "device=device)", 'device="cpu")',
        "batches.py: there = movement.to(x).view(2 * n, 3) @ positions(h, w, x.dtype, x.device)"),
    "labels": (
        batches, "training_batches", "data.train_labels[batch]",
        "data.train_labels.cpu()[batch.cpu()]",
        "training.py: loss = F.nll_loss(log_probabilities, labels)"),
    "dropout mask": (
        model, "Dropout", "not self.training or x.is_cuda", "not self.training",
        'model.py: return x * gain.as_strided(x.shape, torch.empty_like(x, device="meta").stride())'
    ),
    "mean and std": (
        batches, "to_input", "values.to(x)", "values.to(x.dtype)",
        "batches.py: return x.sub_(mean).div_(std)"),
    "order of the images": (
        batches, "training_batches", ".to(data.train_labels.device)", "",
        "batches.py: x = to_input(data.train_images.index_select(0, batch), data, dtype, movement)"
    ),
    "labels of the test": (
        training, "evaluate", ".to(log_probabilities.device)", "",
        "training.py: loss = F.nll_loss(log_probabilities.double(), labels)"),
    "probabilities of the mistakes": (
        mistakes, "probabilities", ".exp().cpu()", ".exp()",
        "mistakes.py: wrong = torch.nonzero(prediction != data.test_labels.cpu()).flatten()"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_lies_on_the_wrong_device_is_named_with_file_and_line(tmp_path, monkeypatch, fault):
    room, name, old, new, where = FAULTS[fault]
    plant(monkeypatch, room, name, {old: new})
    with pytest.raises(RuntimeError, match=r"devices.*(cuda:0.*cpu|cpu.*cuda:0)") as error:
        run(tmp_path, norm="none")
    assert place(traceback.extract_tb(error.tb)) == where


WAITS = {  # in place of lines of train_epoch's loop
    "optimizer.zero_grad()": "optimizer.zero_grad(), labels.tolist()",
    "loss.backward()": "loss.backward(), loss.item()",
    "log_probabilities = model(x)  # (batch, classes)":
        "log_probabilities = model(x) if x.sum() > 0 else None",
    "targets.append(labels)": "targets.append(labels.cpu().to(labels))",
    "step += 1": "step += len(labels.nonzero())",
    "bar.update()": "bar.update(), float(loss.detach())",
}


def test_what_makes_a_step_wait_is_counted_and_named(tmp_path, monkeypatch):
    plant(monkeypatch, training, "train_epoch", WAITS)
    _, gpu = run(tmp_path, norm="none")
    assert {*gpu.in_steps()} == {f"training.py: {line}" for line in WAITS}
    assert all(gpu.in_steps().count(where) >= 3 for where in gpu.in_steps())


def test_what_makes_a_step_of_the_weights_wait_is_named(tmp_path, monkeypatch):
    plant(monkeypatch, steps, "take_step", {"optimizer.step()": "optimizer.step(), value.item()"})
    _, gpu = run(tmp_path, norm="none")
    assert gpu.in_steps() == 3 * ["steps.py: optimizer.step()"]


def test_movements_left_on_the_cpu_would_make_each_step_wait(tmp_path, monkeypatch):
    plant(monkeypatch, batches, "training_batches", {".to(order.device)": ""})
    _, gpu = run(tmp_path, norm="none")
    assert gpu.in_steps() == 3 * [
        "batches.py: there = movement.to(x).view(2 * n, 3) @ positions(h, w, x.dtype, x.device)"]
