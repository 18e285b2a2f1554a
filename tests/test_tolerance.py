"""The comparison of saved outputs: what it forgives and what it does not."""

from pathlib import Path

import nbformat
import pandas as pd
import pytest

import conftest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(("new", "saved", "same"), [
    ("loss 0.1234", "loss 0.1234", True),
    ("loss 0.1239", "loss 0.1234", True),
    ("loss 0.1334", "loss 0.1234", False),
    ("loss -0.1234", "loss 0.1234", False),
    ("1.2e-05", "1.2e-05", True),
    ("1e-5 1", "2e-5 1", True),
    ("accuracy 99.31%", "accuracy 99.35%", True),
    ("accuracy 98.31%", "accuracy 99.35%", False),
    ("accuracy 99.31", "accuracy 99.35%", False),
    ("lost 0.1234", "loss 0.1234", False),
    ("7,417 parameters", "7,416 parameters", False),
    ("epoch 2 loss 0.1", "epoch 1 loss 0.1", False),
    ("loss nan", "loss 0.1234", False),
    ("loss nan", "loss nan", False),
    ("loss inf", "loss 0.1234", False),
    ("loss 0.1\n", "loss 0.1\nloss 0.1\n", False),
    ("loss 0.1 0.1", "loss 0.1", False),
    ("a  9.999\n", "a 10.000\n", True),
])
def test_floats_within_the_tolerance_agree_and_nothing_else_may_differ(new, saved, same):
    assert conftest.agrees(new, saved, rel=0.001, abs=0.001) == same


def test_without_tolerance_nothing_is_forgiven():
    assert conftest.tolerance("print(1.0)") is None


@pytest.mark.parametrize("line", ["# TOL:", "# TOL: relative=1", "# TOL: rel=1e-3 0.1"])
def test_a_tolerance_that_says_nothing_is_an_error(line):
    with pytest.raises(ValueError, match="TOL"):
        conftest.tolerance(f"{line}\nprint(1.0)")


@pytest.fixture
def checked(pytester):
    """Save a one-cell notebook with given source and outputs, and check it with nbval."""
    def check(source, *outputs):
        cell = nbformat.v4.new_code_cell(source, execution_count=1, outputs=list(outputs))
        notebook = nbformat.v4.new_notebook(cells=[cell])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, pytester.path / "one.ipynb")
        pytester.makeconftest((ROOT / "conftest.py").read_text())
        return pytester.runpytest_subprocess("--nbval", "one.ipynb").ret == 0
    return check


def stdout(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


@pytest.mark.parametrize(("source", "saved", "green"), [
    ("# TOL: abs=0.1\nprint('loss', 1.05)", "loss 1.0\n", True),
    ("# TOL: abs=0.1\nprint('loss', 1.15)", "loss 1.0\n", False),
    ("print('loss', 1.05)", "loss 1.0\n", False),
    ("# TOL: abs=0.1\nprint('loss', 1.0)", "loss 1.0\nend\n", False),
    ("# TOL: abs=0.1\nprint('loss', 1.0)\nprint('more')", "loss 1.0\n", False),
])
def test_nbval_with_tolerance(checked, source, saved, green):
    assert checked(source, stdout(saved)) == green


def test_nbval_does_not_look_at_stderr(checked):
    source = "import sys\nprint('bar 100 %', file=sys.stderr)\nprint(1)"
    assert checked(source, stdout("1\n"), stdout("bar 99 %", "stderr"))


def test_nbval_compares_tables_with_tolerance(checked):
    source = "# TOL: rel=0.01\nimport pandas\npandas.DataFrame({'loss': [%s]})"
    frame = pd.DataFrame({"loss": [0.5]})
    table = nbformat.v4.new_output(
        "execute_result", execution_count=1,
        data={"text/plain": repr(frame), "text/html": frame._repr_html_()})
    assert checked(source % 0.501, table)
    assert not checked(source % 0.52, table)
