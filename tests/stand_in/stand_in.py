"""A GPU that computes: tensors that say they lie on one, and compute on the CPU.

    with stand_in.gpu("cuda") as gpu:  # or "mps", Apple's, on which nothing is in float64
        loop.train(...)
    gpu.waits  # where the CPU would have waited for the GPU: "file.py: line of code"

Storage, kernels and autograd are the ordinary ones. Only where a tensor lies is made up: OnGpu
marks those that a GPU would hold, and Gpu, which sees every call of PyTorch in its thread, refuses
what a GPU refuses and notes what the CPU would have to wait for. See tests/README.md.
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
from torch.utils._pytree import tree_leaves, tree_map

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = {  # what PyTorch says where there is such a GPU
    "cuda": {"cuda.is_available": True, "cuda.device_count": 1, "cuda.current_device": 0,
             "cuda.synchronize": None, "cuda.is_current_stream_capturing": False,
             "cuda.mem_get_info": (2**34, 2**34), "cuda.memory_reserved": 0,
             "cuda.memory_allocated": 0,
             "accelerator.current_accelerator": None, "backends.mps.is_available": False},
    "mps": {"cuda.is_available": False, "backends.mps.is_available": True, "mps.synchronize": None},
}
WAITING = {  # calls that hand a value over, or whose result has a size that depends on values
    "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__format__", "__repr__",
    "__contains__", "nonzero", "argwhere", "unique", "masked_select", "bincount", "equal",
    "allclose"}
ON_THE_CPU = {"__format__", "__repr__", "__reduce_ex__"}  # what says or saves the numbers
MOVING = {"to", "cpu"}
BETWEEN = {  # calls that take both kinds
    *MOVING, "copy_", "data", "module_load", "_has_compatible_shallow_copy_type"}


class OnGpu(Tensor):
    """A tensor of the GPU. (A parameter is one, too: PyTorch marks it by an attribute.)"""

    __torch_function__ = torch._C._disabled_torch_function_impl


def on_gpu(x):
    return isinstance(x, OnGpu)


def tensors_in(part):
    return [x for x in tree_leaves(part) if isinstance(x, Tensor)]


def place(frames):
    """The innermost of these frames that is the course's: "file: line of code"."""
    own = [frame for frame in frames if frame.filename.startswith(str(ROOT / "coursepack"))
           or os.path.dirname(frame.filename) == str(ROOT)]
    return f"{os.path.basename(own[-1].filename)}: {own[-1].line}" if own else "elsewhere"


class Gpu(TorchFunctionMode):
    """Answers every call of PyTorch as if one GPU of a kind, cuda or mps, were there."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.device, self.waits = kind, torch.device(kind, 0), []
        self.properties = {"device": self.device, "is_cuda": kind == "cuda", "is_cpu": False}

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        if name in ("__get__", "__set__"):  # of a property
            name = function.__self__.__name__
        if function in (torch.device, torch._C._nn._parse_to):  # names, and nothing that lies there
            return function(*args, **kwargs)
        tensors = tensors_in((args, kwargs))
        source = any(map(on_gpu, tensors[:1] if name in MOVING else tensors))
        target = self.goes_to_gpu(name, args, kwargs, source)
        if self.waits_for(name, args, tensors, source, target):
            self.waits.append(place(traceback.extract_stack(limit=40)))
        if source and on_gpu(args[0]):
            if name in self.properties:
                return self.properties[name]
            if name in ON_THE_CPU:
                return function(args[0].detach().as_subclass(Tensor), *args[1:])
            if hasattr(self, f"of_{name}"):
                return getattr(self, f"of_{name}")(*args)
        if source and name not in BETWEEN:
            check_together(name, args, tensors, self.device)
        args, kwargs = tree_map(self.in_truth, (args, kwargs))
        result = function(*args, **kwargs)
        if name in MOVING and source != target:  # two memories: what one does, the other lacks
            result = result.as_subclass(Tensor).clone()
        given = {id(x) for x in tensors}  # what a call in place returns
        return tree_map(lambda x: self.placed(x) if isinstance(x, Tensor) and id(x) not in given
                        else x, result) if target else result

    def goes_to_gpu(self, name, args, kwargs, source):
        """Does the result of a call lie on the GPU?"""
        if name == "cpu":
            return False
        asked = [*args[1:2], *kwargs.values()] if name in MOVING else [kwargs.get("device")]
        for x in asked:
            if isinstance(x, Tensor):
                return on_gpu(x)
            if isinstance(x, str | torch.device):
                return torch.device(x).type == self.kind
        return source

    def waits_for(self, name, args, tensors, source, target):
        """Does the CPU wait in this call for the GPU?"""
        if name in MOVING:
            return source != target
        if name in ("copy_", "__setitem__"):
            return len({*map(on_gpu, tensors)}) > 1
        if name == "__getitem__":  # by a mask, or by an index that has to be copied
            return source and any(x.dtype == torch.bool or x.dim() and not on_gpu(x)
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

    # What a tensor of the GPU answers itself: of_ and the name of a method.
    def of_numpy(self, x, *_):
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use "
                        "Tensor.cpu() to copy the tensor to host memory first.")

    of___array__ = of_numpy

    def of___iter__(self, x):
        return iter([self.placed(part) for part in x.unbind(0)])

    def of___deepcopy__(self, x, memo):
        twin = x.detach().as_subclass(Tensor).clone().as_subclass(OnGpu)
        twin.__dict__.update(x.__dict__)
        memo[id(x)] = twin.requires_grad_(x.requires_grad)
        return twin


def check_together(name, args, tensors, device):
    """Raise PyTorch's own error where a call has tensors of the GPU and others that matter."""
    if name in ("__getitem__", "__setitem__"):  # an index may lie on the CPU, and what is copied
        tensors = [args[0], *tensors_in(args[2:])] if tensors_in(args[1]) else []
    others = [x for x in tensors if not on_gpu(x) and x.device.type == "cpu"]
    if any(x.dim() > 0 or name in ("cat", "stack") for x in others):
        raise RuntimeError("Expected all tensors to be on the same device, but found at least two "
                           f"devices, {device} and cpu! (when calling {name})")


@contextlib.contextmanager
def gpu(kind):
    """Inside, there is a GPU of this kind. Yields a Gpu."""
    with contextlib.ExitStack() as stack:
        for name, answer in ANSWERS[kind].items():
            says = functools.cache(lambda *_, answer=answer, **__: answer)  # has __wrapped__
            stack.enter_context(mock.patch(f"torch.{name}", says))
        swapping = "torch.__future__._swap_module_params_on_conversion"
        stack.enter_context(mock.patch(swapping, True))  # Module.to() changes the class of weights
        yield stack.enter_context(Gpu(kind))
