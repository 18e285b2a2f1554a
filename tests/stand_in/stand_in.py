"""A GPU that computes: tensors that say they lie on one, and compute on the CPU.

    with stand_in.gpu("cuda") as gpu:  # or "mps", Apple's, on which nothing is in float64
        training.train(...)
    gpu.waits  # where the CPU would have waited for the GPU: "file.py: line of code"

Storage, kernels and autograd are the ordinary ones, so all numbers are those of the CPU. Only where
a tensor lies is made up: OnGpu marks those that a GPU would hold, and Gpu, which sees every call of
PyTorch in its thread, refuses what a GPU refuses and notes what the CPU would have to wait for. A
kernel has it before its first cell by way of sitecustomize.py. What it proves: tests/README.md.
"""

import contextlib
import functools
import os
import traceback
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

ROOT = Path(__file__).resolve().parents[2]
ROOMS = str(ROOT / "coursepack")
ANSWERS = {  # what PyTorch says where there is such a GPU
    "cuda": {"cuda.is_available": True, "cuda.device_count": 1, "cuda.current_device": 0,
             "cuda.synchronize": None, "cuda.is_current_stream_capturing": False,
             "accelerator.current_accelerator": None, "backends.mps.is_available": False},
    "mps": {"cuda.is_available": False, "backends.mps.is_available": True, "mps.synchronize": None},
}
WAITING = {  # calls that hand a value over, or whose result has a size that depends on values
    "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__format__", "__repr__",
    "__contains__", "nonzero", "argwhere", "unique", "masked_select", "bincount", "equal",
    "allclose"}
MOVING = {"to", "cpu", "cuda", "type_as"}
BETWEEN = {*MOVING, "copy_", "data", "_has_compatible_shallow_copy_type"}  # take both kinds


class OnGpu(Tensor):
    """A tensor of the GPU. (A parameter is one, too: PyTorch marks it by an attribute.)"""

    __torch_function__ = torch._C._disabled_torch_function_impl


def mapped(change, part):
    """A tree of tuples, lists and dictionaries with its leaves changed."""
    if isinstance(part, dict):
        return {key: mapped(change, value) for key, value in part.items()}
    if not isinstance(part, tuple | list) or isinstance(part, torch.Size):
        return change(part)
    parts = [mapped(change, one) for one in part]
    return type(part)(*parts) if hasattr(part, "_fields") else type(part)(parts)


def tensors_in(part):
    """The tensors among its leaves."""
    if isinstance(part, Tensor):
        return [part]
    parts = part.values() if isinstance(part, dict) else part
    return [x for one in parts for x in tensors_in(one)] if isinstance(
        part, dict | tuple | list) else []


def name_of(function):
    """The name of a function or method, or of the property that a getter or setter is of."""
    name = getattr(function, "__name__", "")
    return function.__self__.__name__ if name in ("__get__", "__set__") else name


def place(frames):
    """The innermost of these frames that is the course's or a notebook's: "file: line of code"."""
    own = [frame for frame in frames if frame.filename.startswith(ROOMS)
           or os.path.dirname(frame.filename) == str(ROOT)
           or "ipykernel_" in frame.filename]
    return f"{os.path.basename(own[-1].filename)}: {own[-1].line}" if own else "elsewhere"


class Gpu(TorchFunctionMode):
    """Answers every call of PyTorch as if one GPU of a kind, cuda or mps, were there."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.device, self.waits = kind, torch.device(kind, 0), []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, kwargs = name_of(function), kwargs or {}
        if function in (torch.device, torch._C._nn._parse_to):  # names, and nothing that lies there
            return function(*args, **kwargs)
        tensors = tensors_in((args, kwargs))
        if not tensors and not kwargs:
            return function(*args)
        source = any(isinstance(x, OnGpu) for x in (tensors[:1] if name in MOVING else tensors))
        target = self.goes_to_gpu(name, args, kwargs, source)
        if self.waits_for(name, args, tensors, source, target):
            self.waits.append(place(traceback.extract_stack(limit=40)))
        if source and isinstance(args[0], OnGpu) and hasattr(self, f"of_{name}"):
            return getattr(self, f"of_{name}")(*args)
        if source and name not in BETWEEN:
            check_together(name, args, tensors, self.device)
        if name == "cuda":
            function, args, kwargs = Tensor.to, (args[0], "cpu"), {}
        args, kwargs = mapped(self.in_truth, (args, kwargs))
        result = function(*args, **kwargs)
        if name in MOVING and source != target:  # two memories: what one does, the other lacks
            result = result.as_subclass(Tensor).clone()
        given = {id(x) for x in tensors}  # what a call in place returns
        return mapped(lambda x: self.placed(x) if isinstance(x, Tensor) and id(x) not in given
                      else x, result) if target else result

    def goes_to_gpu(self, name, args, kwargs, source):
        """Does the result of a call lie on the GPU?"""
        if name in ("cpu", "cuda"):
            return name == "cuda"
        asked = [*args[1:2], *kwargs.values()] if name in MOVING else [kwargs.get("device")]
        for x in asked:
            if isinstance(x, Tensor):
                return isinstance(x, OnGpu)
            if isinstance(x, str | torch.device):
                return torch.device(x).type == self.kind
        return source

    def waits_for(self, name, args, tensors, source, target):
        """Does the CPU wait in this call for the GPU?"""
        if name in MOVING:
            return source != target
        if name in ("copy_", "__setitem__"):
            return len({isinstance(x, OnGpu) for x in tensors}) > 1
        if name == "__getitem__":  # by a mask, or by an index that has to be copied
            return source and any(x.dtype == torch.bool or (x.dim() and not isinstance(x, OnGpu))
                                  for x in tensors_in(args[1]))
        return source and name in WAITING

    def in_truth(self, part):
        """Where this GPU is asked for, the CPU does it."""
        if isinstance(part, str):
            return "cpu" if part.split(":")[0] == self.kind else part
        is_own = isinstance(part, torch.device) and part.type == self.kind
        return torch.device("cpu") if is_own else part

    def placed(self, x):
        """A new tensor, on the GPU."""
        if self.kind == "mps" and x.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework "
                            "doesn't support float64. Please use float32 instead.")
        if x.requires_grad and x.is_leaf:
            return x.detach().as_subclass(OnGpu).requires_grad_()
        return x.as_subclass(OnGpu)

    # What a tensor of the GPU answers itself: of_ and the name of a method or property.
    def of_device(self, x):
        return self.device

    def of_is_cuda(self, x):
        return self.kind == "cuda"

    def of_is_mps(self, x):
        return self.kind == "mps"

    def of_is_cpu(self, x):
        return False

    def of_numpy(self, x, *_):
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use "
                        "Tensor.cpu() to copy the tensor to host memory first.")

    of___array__ = of_numpy

    def of___iter__(self, x):
        return iter([self.placed(part) for part in x.unbind(0)])

    def of___format__(self, x, how):
        return x.detach().as_subclass(Tensor).__format__(how)

    def of___repr__(self, x, **_):
        return f"{repr(x.detach().as_subclass(Tensor))[:-1]}, device='{self.device}')"

    def of___deepcopy__(self, x, memo):
        twin = x.detach().as_subclass(Tensor).clone().as_subclass(OnGpu)
        twin.__dict__.update(x.__dict__)
        memo[id(x)] = twin.requires_grad_(x.requires_grad)
        return twin

    def of___reduce_ex__(self, x, protocol):  # in a file, a tensor as any other
        return x.detach().as_subclass(Tensor).__reduce_ex__(protocol)


def check_together(name, args, tensors, device):
    """Raise PyTorch's own error where a call has tensors of the GPU and others that matter."""
    indexed = name in ("__getitem__", "__setitem__")
    index = tensors_in(args[1]) if indexed else []
    if any(isinstance(x, OnGpu) for x in index) and not isinstance(args[0], OnGpu):
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed "
                           "tensor (cpu)")
    if indexed and not index:  # a copy into a part, or a part
        return
    others = [x for x in tensors if not isinstance(x, OnGpu) and x.device.type == "cpu"
              and not any(x is i for i in index)]
    if any(x.dim() > 0 or name in ("cat", "stack") for x in others):
        raise RuntimeError("Expected all tensors to be on the same device, but found at least two "
                           f"devices, {device} and cpu! (when calling {name})")


def swapping(apply):
    """Module.to() and its like, which have to change the class of parameters, not only their data.

    PyTorch can do that: it is what torch.utils.swap_tensors() is for.
    """
    @functools.wraps(apply)
    def function(module, *arguments, **options):
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            return apply(module, *arguments, **options)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)
    return function


def saying(answer):
    """A function that answers so, and may be looked into as those of PyTorch are."""
    @functools.cache
    def function(*_, **__):
        return answer
    return function


@contextlib.contextmanager
def gpu(kind):
    """Inside, there is a GPU of this kind. Yields a Gpu."""
    with contextlib.ExitStack() as stack:
        for name, answer in ANSWERS[kind].items():
            stack.enter_context(mock.patch(f"torch.{name}", saying(answer)))
        stack.enter_context(mock.patch("torch.nn.Module._apply", swapping(torch.nn.Module._apply)))
        yield stack.enter_context(Gpu(kind))
