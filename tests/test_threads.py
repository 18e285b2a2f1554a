"""A run's process: its threads, its device and PyTorch's state, whatever else there is."""

import contextlib
from collections import namedtuple
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from helpers import arrays, fit, make_recipe, says, set_free, without_seconds

from coursepack import threads
from coursepack.data.datasets import load_dataset
from coursepack.lab import rows
from coursepack.train import loop

Times = namedtuple("Times", "idle user")


def test_container_with_two_cores_of_64_takes_two(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("coursepack.threads.torch.get_num_threads", lambda: 64)
    monkeypatch.setattr("coursepack.threads.joblib.cpu_count", lambda: 2)
    assert threads.default_threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "64")  # somebody said so
    assert threads.default_threads() == 64


@pytest.mark.parametrize(("number", "busy", "passed", "warned"), [
    (2, 0.0, 0.2, False), (2, 0.1, 0.2, True), (2, 0.2, 0.2, True),
    (2, 0.0, 0.0, False),  # in some containers times stand still
    (1, 0.2, 0.2, False)])  # one thread always has its core
def test_threads_do_not_follow_other_processes_but_a_line_says_that_it_will_be_slow(
        monkeypatch, capsys, number, busy, passed, warned):
    times = iter([Times(50, 50), Times(50 + passed - busy, 50 + busy)])
    for name, value in {"psutil.cpu_times": lambda: next(times), "psutil.cpu_count": lambda: 2,
                        "count_cores": lambda: 2}.items():
        monkeypatch.setattr(f"coursepack.threads.{name}", value)
    before = torch.get_num_threads()
    try:
        threads.fix_threads(number)
        assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(before)
    said = capsys.readouterr()
    assert said.out == ""  # stdout is compared between machines
    assert ("OMP_NUM_THREADS=1" in said.err) == warned


@pytest.mark.parametrize(("cuda", "apple", "there"), [
    (True, True, ["cuda", "mps", "cpu"]), (False, True, ["mps", "cpu"]), (False, False, ["cpu"])])
def test_auto_is_cuda_else_apples_gpu_else_the_cpu(monkeypatch, cuda, apple, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
    assert threads.pick_device("auto") == torch.device(there[0])
    assert threads.pick_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match=says("device='?'", ", ".join(["auto", *there]))):
        threads.pick_device("?")


@contextlib.contextmanager
def put(set_to, value, back):
    set_to(value)
    try:
        yield
    finally:
        set_to(back)


STATES = [  # of PyTorch, such as cells may leave it
    torch.no_grad, torch.inference_mode, lambda: torch.device("meta"),
    lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    lambda: torch.autograd.set_detect_anomaly(True),
    lambda: torch.autograd.set_multithreading_enabled(False),
    *[partial(put, *values) for values in [
        (torch.set_default_dtype, torch.float64, torch.float32),
        (partial(torch.set_autocast_enabled, "cpu"), True, False),
        (partial(setattr, torch.backends.mkldnn, "enabled"), False, True),
        (torch.set_float32_matmul_precision, "medium", "highest"),
        (partial(setattr, torch.backends.mkldnn.conv, "fp32_precision"), "bf16", "none"),
        (torch.set_flush_denormal, False, True),
        (torch.set_deterministic_debug_mode, "error", "default"), (torch.manual_seed, 7, 0),
        (torch.set_num_threads, 3, threads.THREADS)]]]


def state_of_torch():
    """What own_torch() sets: each of STATES but the last ones and the threads of autograd."""
    kernels = torch.backends
    return [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype(),
            torch.get_default_device(), torch.is_autocast_enabled("cpu"), kernels.mkldnn.enabled,
            torch.is_anomaly_enabled(), kernels.mkldnn.matmul.fp32_precision,
            kernels.mkldnn.conv.fp32_precision, kernels.cuda.matmul.fp32_precision,
            (torch.tensor(1e-38, dtype=torch.float32, device="cpu") * 1e-4).item()]


def numbers_of_a_run(folder):
    """All that a run computes: data, history, mistakes, the probe, and a run beside it."""
    folder.mkdir()
    np.savez(folder / "mnist.npz", **arrays())
    recipe = make_recipe(folder, arch="mnist_8k", augment="rotate+shift", l1=1e-4, dropout=0.1,
                         batch_size=8)
    data = load_dataset("mnist", str(folder))
    model, history = fit(data, recipe)
    set_free(recipe)
    trained, beside = loop.train_beside(data, recipe)
    return [data.std.tolist(), without_seconds(history), loop.predict(model, data).tolist(), beside,
            rows.run_once(recipe, data, ["variance_shift"])["loss"],
            loop.probe(data, replace(recipe, batch_size=2))]


def test_a_run_is_the_same_whatever_cells_have_set_and_they_find_it_as_they_left_it(tmp_path):
    undisturbed = numbers_of_a_run(tmp_path / "undisturbed")
    with contextlib.ExitStack() as stack:
        for state in STATES:
            stack.enter_context(state())
        before = state_of_torch()
        with threads.own_torch():
            assert state_of_torch() == [True, False, torch.float32, torch.device("cpu"), False,
                                        True, False, "ieee", "ieee", "ieee", 0.0]
        assert numbers_of_a_run(tmp_path / "disturbed") == undisturbed
        assert state_of_torch() == before
