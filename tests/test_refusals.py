"""Every bad input that we know is refused, by a message of ours that says what to change.

results/faults.md says how many: "make refusals" tries them all and writes it.
"""

import importlib
import os
import resource
from collections import Counter

import pytest
import test_survival
from refused import is_ours, tool

from coursepack import files
from coursepack.files import ROOT

TABLES = sorted(path.stem for path in (ROOT / "tests").glob("refused_*.py"))
CASES = [case for table in TABLES for case in importlib.import_module(table).CASES]
SECONDS, MEMORY = 60, 4 * 2**30  # bytes: limits of a row
PAGE = ROOT / "results" / "faults.md"
TEXT = """\
# What is tried to break the course

{cases} bad inputs, of which each has to be refused within {seconds} seconds (and {memory} GB, where
it may take memory) by a message of our own that names the value and the fix:
[tests/test_refusals.py](../tests/test_refusals.py). And {faults} faults of a run on its way, by
which nothing may be lost: [tests/test_survival.py](../tests/test_survival.py). `make test` tries
all inputs and some faults, `make survival` all faults; `make refusals` writes this page.

| | tried |
| --- | ---: |
{rows}
"""


def page() -> str:
    """The text of results/faults.md."""
    inputs, faults = Counter(f"Inputs: {case.group.lower()}" for case in CASES), Counter()
    for test in vars(test_survival).values():
        marks = {mark.name: mark.args for mark in getattr(test, "pytestmark", [])}
        if "survival" in marks:
            cases = marks["parametrize"][1] if "parametrize" in marks else ["one"]
            faults[f"Faults: {marks['survival'][0]}"] += len(cases)
    rows = [f"| {name} | {count} |" for name, count in sorted((inputs + faults).items())]
    return TEXT.format(cases=inputs.total(), seconds=SECONDS, memory=MEMORY // 2**30,
                       faults=faults.total(), rows="\n".join(rows))


def call_alone(number, folder):
    """In a process of its own, which must not have more memory."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    return CASES[number].call(folder)


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("number", [
    pytest.param(number, id=f"{case.group}: {case.what}"[:120],
                 marks=[pytest.mark.slow] if case.alone else [])
    for number, case in enumerate(CASES)])
def test_it_is_refused(number, tmp_path, monkeypatch, some_digits, start, capsys):
    case = CASES[number]
    monkeypatch.setenv("DATA_DIR", str(some_digits))
    if case.alone:
        start(call_alone, number, tmp_path).refuses(*case.says)
        return
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whose it is, is the test
        case.call(tmp_path)
    assert is_ours(caught.value), f"not our own message: {caught.value!r}"
    said = capsys.readouterr().err if str(caught.value) == "2" else str(caught.value)
    assert not [word for word in case.says if word not in said], said


def test_the_page_says_how_many_are_tried():
    if "PAGE" in os.environ:
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page(), "make refusals writes it anew"
    assert len({(case.group, case.what) for case in CASES}) == len(CASES)


@pytest.mark.parametrize(("call", "ours"), [
    (lambda: int("one"), False), (lambda: {}["lr"], False), (lambda: PAGE.rmdir(), False),
    (lambda: files.check_range("lr", -1, 0), True),
    (lambda: tool("course", "--epochs many")(None), True)])
def test_a_message_of_a_library_is_not_ours(call, ours):
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        call()
    assert is_ours(caught.value) == ours
