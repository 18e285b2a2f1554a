"""Threads: how many a run takes, whatever else the machine does."""

from types import SimpleNamespace

import pytest
import torch

from coursepack import threads


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
