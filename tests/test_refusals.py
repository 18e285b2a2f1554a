"""Every bad input that we know is refused, by a message of ours that says what to change."""

import importlib

import pytest
from refused import is_ours

from coursepack.files import ROOT

TABLES = sorted(path.stem for path in (ROOT / "tests").glob("refused_*.py"))
CASES = [case for table in TABLES for case in importlib.import_module(table).CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.what}"[:120])
def test_it_is_refused(case, tmp_path, monkeypatch, some_digits):
    monkeypatch.setenv("DATA_DIR", str(some_digits))
    with pytest.raises(Exception) as caught:  # noqa: B017, PT011 - whose error it is, is the test
        case.call(tmp_path)
    assert is_ours(caught.value), f"not our own message: {caught.value!r}"
    missing = [word for word in case.says if word not in str(caught.value)]
    assert not missing, f"{caught.value} does not say {missing}"


@pytest.mark.parametrize(("wrong", "ours"), [
    (lambda: int("one"), False), (lambda: {}["lr"], False),
    (lambda: importlib.import_module("coursepack.files").check_range("lr", -1, 0), True)])
def test_a_message_of_a_library_is_not_ours(wrong, ours):
    with pytest.raises(Exception) as caught:  # noqa: B017, PT011
        wrong()
    assert is_ours(caught.value) == ours
