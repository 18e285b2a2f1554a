"""The ground: files that are never half written; a process and its threads."""

import contextlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from helpers import arrays, files_in, fit, make_recipe, says, set_free, without_seconds

from coursepack import files, threads
from coursepack.data.datasets import load_dataset
from coursepack.lab import rows
from coursepack.train import loop


@pytest.mark.parametrize(("error", "words"), [
    (OSError(28, "No space left on device"), ["No space left", "Make room"]),
    (RuntimeError("[enforce fail at inline_container.cc] . file write failed"), ["write failed"])])
def test_a_file_that_cannot_be_written_stays_as_it_was_and_says_so(tmp_path, error, words):
    file = tmp_path / "record.json"

    def fail_half_way(path):
        path.write_text("hal", encoding="utf-8")
        raise error

    steps = mock.Mock()  # on the disk before it has its name
    with mock.patch("os.fsync", steps.fsync), mock.patch("os.replace", steps.replace):
        files.replace_file(tmp_path / "a", Path.touch)
    assert [name for name, *_ in steps.mock_calls] == ["fsync", "replace"]
    for before in ([], ["record.json"]):
        with pytest.raises(OSError, match=says("record.json", tmp_path, *words)):
            files.replace_file(file, fail_half_way)
        assert files_in(tmp_path) == before
        files.replace_file(file, lambda path: path.write_text("whole", encoding="utf-8"))
        assert (file.read_text(encoding="utf-8"), files_in(tmp_path)) == ("whole", ["record.json"])


# ------------------------------------------------------------------------------ a process
def test_container_with_two_cores_of_64_takes_two(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("coursepack.threads.torch.get_num_threads", lambda: 64)
    monkeypatch.setattr("coursepack.threads.joblib.cpu_count", lambda: 2)
    assert threads.default_threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "64")  # somebody said so
    assert threads.default_threads() == 64


@pytest.mark.parametrize(("busy", "own", "chosen", "expected"), [
    (0.0, 0.0, None, 4), (10.0, 0.0, None, 4), (40.0, 0.0, None, 2), (40.0, 160.0, None, 4),
    (100.0, 100.0, None, 1), (100.0, 0.0, None, 1), (100.0, 0.0, "4", 4)])
def test_a_run_takes_the_cores_that_are_free_says_so_where_fewer_and_keeps_to_it(
        busy, own, chosen, expected, monkeypatch, capsys):
    for name, value in [("psutil.cpu_percent", lambda: busy), ("THREADS", 4),
                        ("OWN.cpu_percent", lambda: own), ("psutil.cpu_count", lambda: 4)]:
        monkeypatch.setattr(f"coursepack.threads.{name}", value)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    asked = threads.free_threads.__wrapped__  # not what this process has found before
    said = f"about {expected} of 4" if expected < 4 else ""
    assert asked() == expected
    printed = capsys.readouterr()
    assert (printed.out, bool(printed.err)) == ("", bool(said))  # stdout is compared
    assert said in printed.err


STATES = [  # of PyTorch, such as cells may leave it
    torch.no_grad, torch.inference_mode, lambda: torch.device("meta"),
    lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    lambda: torch.autograd.set_detect_anomaly(True),
    lambda: torch.autograd.set_multithreading_enabled(False)]
SETTINGS = [  # how, to what, and back
    (torch.set_default_dtype, torch.float64, torch.float32),
    (partial(torch.set_autocast_enabled, "cpu"), True, False),
    (partial(setattr, torch.backends.mkldnn, "enabled"), False, True),
    (torch.set_float32_matmul_precision, "medium", "highest"),
    (partial(setattr, torch.backends.mkldnn.conv, "fp32_precision"), "bf16", "none"),
    (torch.set_flush_denormal, False, True),
    (torch.set_deterministic_debug_mode, "error", "default"), (torch.manual_seed, 7, 0),
    (torch.set_num_threads, 3, threads.THREADS)]


def state_of_torch():
    """What own_torch() sets, but for the threads of autograd."""
    kernels = torch.backends
    return [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype(),
            torch.get_default_device(), torch.is_autocast_enabled("cpu"), kernels.mkldnn.enabled,
            torch.is_anomaly_enabled(), kernels.mkldnn.matmul.fp32_precision,
            kernels.mkldnn.conv.fp32_precision, kernels.cuda.matmul.fp32_precision,
            (torch.tensor(1e-38, dtype=torch.float32, device="cpu") * 1e-4).item()]


def numbers_of_a_run(folder):
    """All that a run computes: data, history, mistakes, the probe, and a run beside it."""
    recipe = make_recipe(folder, arch="mnist_8k", augment="rotate+shift", l1=1e-4, dropout=0.1,
                         batch_size=8)
    np.savez(folder / "mnist.npz", **arrays())
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
        for setting, value, back in SETTINGS:
            stack.callback(setting, back)
            setting(value)
        before = state_of_torch()
        with threads.own_torch():
            assert state_of_torch() == [True, False, torch.float32, torch.device("cpu"), False,
                                        True, False, "ieee", "ieee", "ieee", 0.0]
        assert numbers_of_a_run(tmp_path / "disturbed") == undisturbed
        assert state_of_torch() == before
