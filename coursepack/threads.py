"""What a process needs before PyTorch works well in it, and how many of its cores a run takes."""

import ctypes
import os
import platform
import sys
import time

import psutil
import torch

THREADS = torch.get_num_threads()  # as many as PyTorch would take


def set_up_torch() -> None:
    """Settings of the process that make training several times faster, before its first tensor."""
    # L1 drives weights into denormal numbers, on which a CPU is many times slower: call them zero.
    torch.set_flush_denormal(True)
    # glibc gives freed memory back, and every batch would ask for it again: a third of a step.
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, in bytes: its maximum
        ctypes.CDLL(None).mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def cpu_clock() -> tuple[float, float]:
    """Two readings in seconds: time, and the time of all cores that was ours or nobody's."""
    times = psutil.cpu_times()
    return time.monotonic(), times.idle + getattr(times, "iowait", 0.0) + time.process_time()


def share_cores(before: tuple[float, float]) -> tuple[float, float]:
    """Use as many threads as other processes left cores free since a reading of cpu_clock().

    Each step waits for its slowest thread, and one that shares its core with another process makes
    it several times slower. The environment variable OMP_NUM_THREADS fixes the number instead.
    Returns the reading for the next call.
    """
    now = cpu_clock()
    seconds = now[0] - before[0]
    if "OMP_NUM_THREADS" in os.environ:
        return now
    if seconds < 0.1:  # the system counts in hundredths: too short to tell
        return before
    free = round((now[1] - before[1]) / seconds)
    threads, used = max(1, min(THREADS, free)), torch.get_num_threads()
    if threads != used:
        torch.set_num_threads(threads)
        print(f"{free} of {psutil.cpu_count()} cores are free: {used} -> {threads} threads",
              file=sys.stderr)
    return now
