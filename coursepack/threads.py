"""What a process needs before PyTorch works well in it; the threads and the device of a run."""

import contextlib
import ctypes
import functools
import os
import platform
import sys
import time
from collections.abc import Iterator

import joblib
import psutil
import torch
from torch.nn.modules import module

from coursepack.files import check_choice


def default_threads() -> int:
    """Threads of a run: what the environment variable OMP_NUM_THREADS says, else a core each."""
    threads = torch.get_num_threads()  # PyTorch knows the variable, but not a container's limit
    # joblib minds affinity, and the limit of the control group: of a container with 2 of 64, 2
    return threads if "OMP_NUM_THREADS" in os.environ else min(threads, joblib.cpu_count())


THREADS = default_threads()  # before anything in this process changes PyTorch's number
BEGAN, OWN = time.monotonic(), psutil.Process()
OWN.cpu_percent(), psutil.cpu_percent()  # each says from now on how busy it was since it was asked


def set_up_torch() -> None:
    """Settings of the process that make training several times faster, before its first tensor."""
    # L1 drives weights into denormal numbers, on which a CPU is many times slower: call them zero.
    torch.set_flush_denormal(True)
    # glibc gives freed memory back, and every batch would ask for it again: a third of a step.
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, in bytes: its maximum
        ctypes.CDLL(None).mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


@contextlib.contextmanager
def own_torch() -> Iterator[None]:
    """PyTorch as a run needs it, whatever cells before it have set; afterwards as they left it.

    Of its global state all that changes a run's numbers is set: gradients, the type and device of
    new tensors, autocast, denormal numbers, how exactly a CPU or GPU multiplies. Raises ValueError
    for hooks on all modules, of which nobody knows what they do.
    """
    if module._has_any_global_hook():
        raise ValueError("a hook is registered for all modules of PyTorch (by a function such as "
                         "register_module_forward_hook), and may change what a network computes. "
                         "Call remove() of what that function returned, or restart the kernel.")
    kernels = torch.backends
    with contextlib.ExitStack() as stack:  # what it is told to call, it calls at the end
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autograd.set_detect_anomaly(False))
        if torch.get_default_device().type != "cpu":  # else it would cost a little at each call
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        stack.callback(torch.set_flush_denormal, sys.float_info.min / 2 == 0)
        torch.set_flush_denormal(True)
        for where, name, value in [
                (kernels.mkldnn, "enabled", True), (kernels.mkldnn.conv, "fp32_precision", "ieee"),
                (kernels.mkldnn.matmul, "fp32_precision", "ieee"),
                (kernels.cuda.matmul, "fp32_precision", "ieee")]:
            stack.callback(setattr, where, name, getattr(where, name))
            setattr(where, name, value)
        yield


@functools.cache
def free_threads() -> int:
    """Threads of the runs of this process: as many as other processes leave cores free, or one.

    Each step waits for its slowest thread, and one that shares its core makes it several times
    slower: beside other work one thread is faster than two. The digits of a run depend on the
    number, because rounding does; so it is recorded, kept where a run goes on, and the same for all
    runs of a process. Where the environment variable OMP_NUM_THREADS says one, it is that.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return THREADS
    if time.monotonic() - BEGAN > 10:  # what was so then need not be so now
        OWN.cpu_percent(), psutil.cpu_percent()
        time.sleep(0.3)
    cores = psutil.cpu_count()  # all are idle where times stand still: in some containers
    others = cores * psutil.cpu_percent() - OWN.cpu_percent()  # percent of a core
    free = max(1, min(THREADS, round(cores - others / 100)))
    if free < THREADS:
        print(f"Other processes leave about {free} of {THREADS} cores free, so this process trains "
              f"with {free} thread{'s'[:free > 1]}; the last digits depend on that. To decide it, "
              "start with the environment variable OMP_NUM_THREADS.", file=sys.stderr)
    return free


def free_memory(device: torch.device) -> int:
    """Bytes that PyTorch can still take on a device. (Apple's GPU has those of the machine.)"""
    if device.type != "cuda":
        return psutil.virtual_memory().available
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def pick_device(device: str) -> torch.device:
    """The device that a name stands for. Raises ValueError if it is not there.

    "auto" is the first that is there of cuda, mps (Apple's GPU) and the CPU.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(),
             "cpu": True}
    there = [name for name in found if found[name]]
    check_choice("device", device, ["auto", *there])
    return torch.device(there[0] if device == "auto" else device)
