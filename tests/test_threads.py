"""Threads: how many a run takes while other processes work."""

import time

import pytest
import torch

from coursepack import threads


@pytest.mark.parametrize(("free", "used"), [
    (2.0, 2), (1.7, 2), (1.2, 1), (0.4, 1), (0.0, 1), (7.9, 2),
])
def test_threads_leave_busy_cores_to_others(monkeypatch, capsys, free, used):
    """free: how many cores were idle, or busy with this process, in the second before."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("coursepack.threads.THREADS", 2)
    monkeypatch.setattr("coursepack.threads.cpu_clock", lambda: (101.0, 50.0 + free))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert threads.share_cores((100.0, 50.0)) == (101.0, 50.0 + free)
        assert torch.get_num_threads() == used
        said = capsys.readouterr()
        assert said.out == ""  # stdout is compared between machines
        assert ("threads" in said.err) == (used != 2)
        monkeypatch.setattr("coursepack.threads.cpu_clock", lambda: (101.01, 50.0 + free))
        reading = (101.0, 50.0 + free)
        assert threads.share_cores(reading) == reading  # too short to tell
        assert torch.get_num_threads() == used
        monkeypatch.setattr("coursepack.threads.cpu_clock", lambda: (102.0, 52.0 + free))
        threads.share_cores(reading)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_clock_counts_our_own_work_as_free_for_us():
    before, until = threads.cpu_clock(), time.monotonic() + 0.3
    own = time.process_time()
    while time.monotonic() < until:
        pass
    after = threads.cpu_clock()
    assert after[0] - before[0] >= 0.3
    assert after[1] - before[1] >= time.process_time() - own - 0.05


def test_omp_num_threads_fixes_the_threads(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(before))
    monkeypatch.setattr("coursepack.threads.cpu_clock", lambda: (101.0, 50.0))
    threads.share_cores((100.0, 50.0))
    assert torch.get_num_threads() == before
