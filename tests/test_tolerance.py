"""The comparison of saved outputs: what it forgives and what it does not."""

import re
import sys

import nbformat
import pytest
import tolerance
from helpers import run

from coursepack.files import ROOT
from coursepack.runs.records import RECIPES, load_record
from coursepack.train.loop import report_epoch

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
    for line in ("# TOL:", "# TOL: relative=1", "# TOL: rel=1e-3 0.1"):
        with pytest.raises(ValueError, match="TOL"):
            tolerance.tolerance(f"{line}\nprint(1.0)")


# ------------------------------------------------------------------------------------- nbval
def said(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


TABLE = nbformat.v4.new_output(  # as pandas gives one
    "execute_result", execution_count=1,
    data={"text/plain": "   loss\n0   0.5", "text/html": "<td>0.5</td>"})
SHOWN = """# TOL: rel=0.01
class Table:
    def __repr__(self):
        return "   loss\\n0   %s"
    def _repr_html_(self):
        return "<td>%s</td>"
Table()"""
CELLS = [  # source, saved outputs, and whether they agree
    ("# TOL: abs=0.1\nprint('loss', 1.05)", [said("loss 1.0\n")], True),
    ("print('loss', 1.05)", [said("loss 1.0\n")], False),  # without a tolerance
    ("# TOL: abs=0.1\nprint('loss', 1.0)", [said("loss 1.0\nend\n")], False),
    ("# TOL: abs=0.1\nprint('loss', float('nan'))", [said("loss nan\n")], False),
    ("import sys\nprint('bar 100 %', file=sys.stderr)\nprint(1)",
     [said("1\n"), said("bar 99 %", "stderr")], True),
    (SHOWN % (0.501, 0.501), [TABLE], True), (SHOWN % (0.52, 0.5), [TABLE], False),
    ("print(sys.executable)", [said(f"{sys.executable}\n")], True),
]


@pytest.mark.slow
def test_nbval_compares_so_in_the_interpreter_that_started_it(folder, foreign):
    """Whatever a machine has as kernel "python3", and as a personal profile."""
    cells = [nbformat.v4.new_code_cell(source, execution_count=1, outputs=outputs)
             for source, outputs, _ in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "cells.ipynb")
    done = run([sys.executable, "-m", "pytest", "-rA", "--nbval", folder], **foreign)
    lines = re.findall(r"^(PASSED|FAILED) \S*/cells.ipynb::Cell (\d+)", done.stdout, re.MULTILINE)
    assert {*lines} == {("PASSED" if same else "FAILED", str(number))
                        for number, (_, _, same) in enumerate(CELLS)}, done.stdout


# ------------------------------------------------------------- the limits that the recipes set
def forgiving_cells(folder, notebooks="0[123]_*.ipynb"):
    """Limits and printed text of each cell of the recipes that has limits."""
    for path in sorted((ROOT / folder).glob(notebooks)):
        for cell in nbformat.read(path, 4).cells:
            limits = cell.cell_type == "code" and tolerance.tolerance(cell.source)
            if limits:
                yield limits, "".join(out.get("text", "") for out in cell.outputs)


@pytest.mark.parametrize(("folder", "share"), [("notebooks", "50.00"), ("tests/golden", "99.49")])
def test_no_cell_of_the_recipes_takes_almost_all_for_half_nor_inf_for_a_number(folder, share):
    """Half right for almost all: of the trainings, whose cells have a rel. Those with abs alone are
    short experiments on few images, which end points apart on two machines.
    """
    cells = list(forgiving_cells(folder))
    assert (len(cells), sum("rel" in limits for limits, _ in cells)) == (21, 12)
    for limits, text in cells:
        assert tolerance.agrees(text, text, **limits)
        for found in re.finditer(r"\d+\.\d+(%?)", text):
            for wrong in ["inf", "nan", *([share] if found[1] and "rel" in limits else [])]:
                other = text[:found.start()] + wrong + found[1] + text[found.end():]
                assert not tolerance.agrees(other, text, **limits), other
                assert not tolerance.agrees(text, other, **limits), other


@pytest.mark.parametrize(("name", "notebook"), RECIPES.items())
def test_limits_of_the_epochs_forgive_another_number_of_threads(name, notebook, capsys):
    """The same recipe and seed: with one thread, of a study, for what is saved, with two."""
    cells = forgiving_cells("notebooks", f"{notebook}.ipynb")
    limits, saved = next(cell for cell in cells if cell[1].startswith("epoch"))
    history = load_record(ROOT / "results" / "seed001" / f"{name}-seed1.json")["epochs"]
    for epoch in range(1, 21):
        report_epoch(history[:epoch], 20)
    assert tolerance.agrees(capsys.readouterr().out, saved, **limits)
