"""Every bad input that we know is refused by a message of ours; results/faults.md counts them."""

import importlib
import os
from collections import Counter

import pytest
from refused import is_ours

from coursepack.files import ROOT

TABLES = sorted(path.stem for path in (ROOT / "tests").glob("refused_*.py"))
CASES = [case for table in TABLES for case in importlib.import_module(table).CASES]
SECONDS = 60  # limit of a row
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


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.what}"[:120])
def test_it_is_refused(case, tmp_path, monkeypatch, some_digits, capsys):
    monkeypatch.setenv("DATA_DIR", str(some_digits))
    monkeypatch.setattr("subprocess.run", None)  # what is refused starts nothing
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whose it is, is the test
        case.call(tmp_path)
    assert is_ours(caught.value), f"not our own message: {caught.value!r}"
    said = str(caught.value)
    if said == "2":  # argparse's
        said = capsys.readouterr().err
    assert not [word for word in case.says if word not in said], said


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
