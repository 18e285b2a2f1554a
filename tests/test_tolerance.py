"""The comparison of saved outputs: what it forgives and what it does not."""

from unittest import mock

import nbformat
import pytest
import tolerance
from nbval.plugin import IPyNbCell, nocolors

RULES = {  # limits, then new and saved texts that agree, and such as do not
    "abs=0.001": (
        [("loss 0.1239", "loss 0.1234"), ("1e-5 1", "2e-5 1"), ("a  9.999\n", "a 10.000\n"),
         ("accuracy 99.31%", "accuracy 99.35%")],
        [("loss 0.1334", "loss 0.1234"), ("loss -0.1234", "loss 0.1234"),
         ("98.31%", "99.35%"), ("0.9935", "99.35%"), ("lost 0.1234", "loss 0.1234"),
         ("epoch 2 loss 0.1", "epoch 1 loss 0.1"), ("nan", "0.1234"), ("nan", "nan"),
         ("0.1234", "inf"), ("inf", "inf"), ("loss 0.1 0.1", "loss 0.1")]),
    "rel=0.5": (  # of a share, of what is rarer: errors of 0.75 for 0.51 %
        [("99.25%", "99.49%"), ("99.45 %", "99.49 %"), ("0.51%", "0.49%"), ("0.15", "0.1")],
        [("99.20%", "99.49%"), ("50.00%", "99.49%"), ("0.80%", "0.49%"), ("51%", "50%"),
         ("inf", "inf"), ("0.16", "0.1")]),
    "rel=0.5 abs=0.1": (  # both hold: the others are within rel alone, and within abs alone
        [("loss 2.25", "loss 2.18")], [("loss 2.30", "loss 2.18"), ("loss 0.1", "loss 0.0175")]),
}


def test_floats_within_the_tolerance_agree_and_nothing_else_may_differ():
    for line, (same, different) in RULES.items():
        limits = tolerance.tolerance(f"# TOL: {line}\nprint(1.0)")
        assert [pair for pair in same if not tolerance.agrees(*pair, **limits)] == []
        assert [pair for pair in different if tolerance.agrees(*pair, **limits)] == []


def said(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


def table(text, page):
    """As pandas gives one."""
    data = {"text/plain": f"   loss\n0   {text}", "text/html": f"<td>{page}</td>"}
    return nbformat.v4.new_output("execute_result", data)


@pytest.mark.parametrize(("line", "new", "saved", "same"), [
    ("# TOL: abs=0.1", [said("loss 1.05\n")], [said("loss 1.0\n")], True),
    ("print()", [said("loss 1.05\n")], [said("loss 1.0\n")], False),  # without a tolerance
    ("# TOL: abs=0.1", [said("loss 1.0\n")], [said("loss 1.0\nend\n")], False),
    ("# TOL: abs=0.1", [said("loss nan\n")], [said("loss nan\n")], False),
    ("print()", [said("bar", "stderr"), said("1\n")], [said("1\n"), said("0", "stderr")], True),
    ("# TOL: rel=0.01", [table(0.501, 0.501)], [table(0.5, 0.5)], True),
    ("# TOL: rel=0.01", [table(0.52, 0.5)], [table(0.5, 0.5)], False),
    ("# TOL: rel=0.01", [table(0.5, 0.52)], [table(0.5, 0.5)], False),
])
def test_nbval_compares_so(line, new, saved, same):
    cell = mock.Mock(cell=mock.Mock(source=line), sanitize=str, colors=nocolors)
    assert IPyNbCell.compare_outputs(cell, new, saved, ["execution_count"]) == same
