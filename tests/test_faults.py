"""tools/faults.py: its judge notices what it is for, and its page lists every case."""

import os
import re
import time

import faults
import numpy as np
import psutil
import pytest
from fault_inputs import Case

from coursepack import files


def refused(folder):
    files.check_range("lr", -1, 0)


def met(folder):
    return int("one")


def tried(do, folder, says=("lr",)):
    case = Case("group", "what", do, says)
    return faults.judge(case, faults.attempt(case, folder))


def test_a_message_of_ours_is_well_where_it_has_the_words(tmp_path):
    assert tried(refused, tmp_path) == ""
    assert tried(refused, tmp_path, ("lr", "seed")) == "does not say 'seed'"


@pytest.mark.parametrize(("do", "why"), [
    (lambda folder: "all is well", "silent success"),
    (met, "not our own message"),
    (lambda folder: os.stat(folder / "lr"), "not our own message"),
    (lambda folder: os.abort(), "no end"),
])
def test_a_bad_input_fails_where_it_is_not_refused_by_us(tmp_path, do, why):
    assert why in tried(do, tmp_path)


def test_what_has_to_work_fails_where_it_is_refused(tmp_path):
    assert tried(refused, tmp_path, ()) == "it does not work"
    assert tried(lambda folder: "a finished run", tmp_path, ()) == ""


@pytest.mark.parametrize(("line", "why"), [
    ("ValueError: lr=0 is out of range", ""),
    ("course.py: error: argument lr", ""),
    ("KeyError: 'lr'", "not our own message"),
    ("FileNotFoundError: [Errno 2] lr", "not our own message"),
])
def test_the_last_line_of_a_command_has_to_be_ours(tmp_path, line, why):
    def say(folder):
        os.execvp("sh", ["sh", "-c", f'echo "{line}"; exit 1'])
    assert tried(say, tmp_path) == why


def test_silence_is_noticed_and_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("watched.SILENCE", 0.3)
    assert "silence" in tried(lambda folder: time.sleep(60), tmp_path)


@pytest.mark.parametrize("seconds", [0, 60])
def test_memory_is_noticed_even_where_it_is_given_back_at_once(tmp_path, monkeypatch, seconds):
    def eat(folder):
        np.ones(10**8)
        time.sleep(seconds)
        files.check_range("lr", -1, 0)
    monkeypatch.setattr("watched.MEMORY", psutil.Process().memory_info().rss + 3 * 10**8)
    assert "memory" in tried(eat, tmp_path)


def test_the_page_says_nothing_of_a_machine_or_a_process(tmp_path):
    said = (f"OSError: {tmp_path}/tmpabc/runs of {files.ROOT}/x: .4711-model.pt, "
            "unfinished-1a2b.pt a|b")
    assert faults.cleaned(said, tmp_path) == (
        "OSError: .../runs of .../x: .model.pt, unfinished-*.pt a\\|b")


def test_the_page_lists_every_case_and_none_that_fails():
    text = (files.ROOT / "results" / "faults.md").read_text(encoding="utf-8")
    cases = faults.all_cases()
    for case in cases:
        assert f"| {faults.cleaned(case.what)} |" in text, case.what
    inputs = [case for case in cases if case.group not in faults.FAULTS]
    assert len(inputs) >= 150
    assert len(cases) - len(inputs) >= 16
    assert len({(case.group, case.what) for case in cases}) == len(cases)
    assert not re.findall(r"^.*FAILS.*$", text, re.MULTILINE)
