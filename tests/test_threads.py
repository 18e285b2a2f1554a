"""A run's process: how many threads it takes, and PyTorch's state, whatever else there is."""

import contextlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import arrays, first, fit, make_recipe, set_free, without_seconds
from torch import nn

from coursepack import threads
from coursepack.data.datasets import load_dataset
from coursepack.lab import rows
from coursepack.train import loop


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def times(monkeypatch, *readings):
    """Let the system count so many seconds of idle and busy cores."""
    readings = iter([SimpleCpu(*reading) for reading in readings])
    monkeypatch.setattr("coursepack.threads.psutil.cpu_times", lambda: next(readings))
    monkeypatch.setattr("coursepack.threads.psutil.cpu_count", lambda: 2)
    monkeypatch.setattr("coursepack.threads.count_cores", lambda: 2)


class SimpleCpu(SimpleNamespace):
    def __init__(self, idle, busy):
        super().__init__(idle=idle, user=busy)

    def __iter__(self):
        return iter((self.idle, self.user))


def test_container_with_two_cores_of_64_takes_two(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("coursepack.threads.torch.get_num_threads", lambda: 64)
    monkeypatch.setattr("coursepack.threads.joblib.cpu_count", lambda: 2)
    assert threads.default_threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "64")  # somebody said so
    assert threads.default_threads() == 64


@pytest.mark.parametrize(("busy", "warned"), [(0.0, False), (0.1, True), (0.2, True)])
def test_threads_do_not_follow_other_processes_but_a_line_says_that_it_will_be_slow(
    monkeypatch, capsys, two_threads, busy, warned
):
    times(monkeypatch, (50.0, 50.0), (50.2 - busy, 50.0 + busy))
    threads.fix_threads(2)
    assert torch.get_num_threads() == 2
    said = capsys.readouterr()
    assert said.out == ""  # stdout is compared between machines
    assert ("OMP_NUM_THREADS=1" in said.err) == warned


def test_times_that_stand_still_say_nothing(monkeypatch, capsys, two_threads):
    times(monkeypatch, (50.0, 50.0), (50.0, 50.0))
    threads.fix_threads(2)
    assert (torch.get_num_threads(), capsys.readouterr().err) == (2, "")


def test_one_thread_always_has_its_core(monkeypatch, capsys, two_threads):
    times(monkeypatch, (50.0, 50.0), (50.0, 50.2))
    threads.fix_threads(1)
    assert (torch.get_num_threads(), capsys.readouterr().err) == (1, "")


@contextlib.contextmanager
def put(set_to, value, back):
    set_to(value)
    try:
        yield
    finally:
        set_to(back)


STATES = {  # of PyTorch, such as a cell may leave it
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "float64": lambda: put(torch.set_default_dtype, torch.float64, torch.float32),
    "another device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast by name": lambda: put(lambda on: torch.set_autocast_enabled("cpu", on), True, False),
    "oneDNN off": lambda: put(lambda on: setattr(torch.backends.mkldnn, "enabled", on), False,
                              True),
    "rough products": lambda: put(torch.set_float32_matmul_precision, "medium", "highest"),
    "denormal numbers": lambda: put(torch.set_flush_denormal, False, True),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "deterministic": lambda: put(torch.use_deterministic_algorithms, True, False),
    "autograd in one thread": lambda: torch.autograd.set_multithreading_enabled(False),
    "other random numbers": lambda: put(torch.manual_seed, 7, 0),
    "another number of threads": lambda: put(torch.set_num_threads, 3, threads.THREADS),
}


def state_of_torch():
    return [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype(),
            torch.get_default_device(), torch.is_autocast_enabled("cpu"),
            torch.backends.mkldnn.enabled, torch.get_float32_matmul_precision(),
            torch.tensor([1e-38], dtype=torch.float32, device="cpu").mul(1e-4).tolist(),
            torch.is_anomaly_enabled(), torch.are_deterministic_algorithms_enabled()]


def numbers_of_a_run(data, folder):
    """All that a run computes: data, history, mistakes, the probe, and a run beside it."""
    recipe = make_recipe(folder, arch="mnist_8k", augment="rotate+shift", l1=1e-4, dropout=0.1)
    model, history = fit(data, recipe)
    set_free(recipe)
    trained, beside = loop.train_beside(data, recipe)
    np.savez(folder / "tiny.npz", **arrays())
    return [load_dataset("tiny", str(folder)).std.tolist(), without_seconds(history),
            loop.predict(model, data).tolist(), beside,
            rows.run_once(recipe, data, ["variance_shift"])["loss"],
            loop.probe(data, replace(recipe, batch_size=8))]


@pytest.fixture(scope="module")
def undisturbed(few, tmp_path_factory):
    return numbers_of_a_run(first(few, 100, 50), tmp_path_factory.mktemp("undisturbed") / "run")


@pytest.mark.parametrize("name", STATES)
def test_a_run_is_the_same_whatever_state_of_pytorch_a_cell_has_left(
        name, few, tmp_path, undisturbed):
    with STATES[name]():
        before = state_of_torch()
        assert numbers_of_a_run(first(few, 100, 50), tmp_path) == undisturbed
        assert state_of_torch() == before


def test_a_forgotten_hook_on_all_modules_is_refused_by_name(few, tmp_path):
    hook = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: 2 * output)
    try:
        with pytest.raises(ValueError, match=r"register_module_forward_hook.*remove\(\)"):
            loop.build_model(make_recipe(tmp_path), few)
    finally:
        hook.remove()
