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

Bad inputs, of which each has to be refused by a message of our own that names the value and the
fix: [tests/test_refusals.py](../tests/test_refusals.py) tries {cases}, at most {seconds} seconds
and {memory} GB each. And what happens to a run on its way, which must lose nothing by it:
[tests/test_survival.py](../tests/test_survival.py) tries {survived}. `make test` tries all inputs
and some of the others, `make survival` the others, and `make refusals` writes this page.

| bad inputs | tried |
| --- | ---: |
{inputs}

| what happens to a run | tried |
| --- | ---: |
{faults}
"""


def rows(counts: Counter) -> str:
    in_order = sorted(counts.items(), key=lambda row: row[0].lower())
    return "\n".join(f"| {name} | {count} |" for name, count in in_order)


def page() -> str:
    """The text of results/faults.md."""
    survived: Counter = Counter()
    for test in vars(test_survival).values():
        marks = {mark.name: mark.args for mark in getattr(test, "pytestmark", [])}
        if "survival" in marks:
            [kind] = marks["survival"]
            survived[kind] += len(marks["parametrize"][1]) if "parametrize" in marks else 1
    return TEXT.format(cases=len(CASES), seconds=SECONDS, memory=MEMORY // 2**30,
                       survived=survived.total(), faults=rows(survived),
                       inputs=rows(Counter(case.group for case in CASES)))


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
