"""Every bad input that we know is refused by a message of ours; results/faults.md counts them."""

import importlib
import multiprocessing
import os
import resource
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest
from refused import is_ours

from coursepack.files import ROOT

TABLES = sorted(path.stem for path in (ROOT / "tests").glob("refused_*.py"))
CASES = [case for table in TABLES for case in importlib.import_module(table).CASES]
SECONDS, MEMORY = 60, 4 * 2**30  # bytes: limits of a row
PAGE = ROOT / "results" / "faults.md"
TEXT = f"""\
# What is tried to break the course

Each of these bad inputs has to be refused within {SECONDS} seconds by a message of our own that
names the value and the fix: [tests/test_refusals.py](../tests/test_refusals.py). `make test` tries
them all; `make refusals` writes this page. By faults of a run on its way nothing may be lost:
[tests/test_survival.py](../tests/test_survival.py), of which `make survival` tries all.

| | tried |
| --- | ---: |
"""


def page() -> str:
    """The text of results/faults.md."""
    tried = Counter(case.group for case in CASES)
    rows = [*sorted(tried.items()), ("All", tried.total())]
    return TEXT + "".join(f"| {name} | {count} |\n" for name, count in rows)


def refuse(number, folder):
    """Do what a row says; what the message says that refuses it."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whose it is, is the test
        CASES[number].call(folder)
    assert is_ours(caught.value), f"not our own message: {caught.value!r}"
    return str(caught.value)


def refuse_alone(number, folder):
    """The same in a process of its own, which must not have more memory nor time."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    return refuse(number, folder)


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("number", [
    pytest.param(number, id=f"{case.group}: {case.what}"[:120],
                 marks=[pytest.mark.slow] if case.alone else [])
    for number, case in enumerate(CASES)])
def test_it_is_refused(number, tmp_path, monkeypatch, some_digits, capsys):
    monkeypatch.setenv("DATA_DIR", str(some_digits))
    monkeypatch.setattr("subprocess.run", None)  # what is refused starts nothing
    if CASES[number].alone:
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            said = pool.submit(refuse_alone, number, tmp_path).result()
    else:
        said = refuse(number, tmp_path)
    if said == "2":  # argparse's
        said = capsys.readouterr().err
    assert not [word for word in CASES[number].says if word not in said], said


def test_the_page_says_how_many_are_tried():
    if "PAGE" in os.environ:
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page(), "make refusals writes it anew"
    assert len({(case.group, case.what) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("wrong", [lambda: int("one"), lambda: PAGE.rmdir()])
def test_a_message_of_a_library_is_not_ours(wrong):
    with pytest.raises((ValueError, OSError)) as caught:  # noqa: PT011
        wrong()
    assert not is_ours(caught.value)
