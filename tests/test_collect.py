"""What students hand in: a class of twenty, some of it forged or broken, graded and drawn."""

import contextlib
import csv
import io
import json
import math
import os
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from refused import tool

import exercises
from coursepack.exercises import grading, handed_in
from coursepack.files import ROOT
from exercises import EXERCISES

sys.path.insert(0, str(ROOT / "tools"))
import class_page  # noqa: E402

GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.ipynb"))
ASKED = [slot for question in handed_in.find_questions(GOLDEN[0]) for slot in question.slots]
RIGHT = {slot: 10.0 * place for place, slot in enumerate(ASKED, 1)} | {ASKED[-1]: "batch"}
SOLVED = {name: exercises.solution_text(name) for name in EXERCISES}
NAMES = ("number_of_means", "normalize", "BatchNorm")  # of notebook 00
WRONG = SOLVED | {"normalize": "normalize = lambda x, axes, eps: x - x.mean(axes, keepdim=True)"}
SAID = next(said for said in EXERCISES["normalize"].wrong if "nothing is divided" in said)
MARK = "\N{REPLACEMENT CHARACTER}"


def printed(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def hand_in(answers, predictions=None, path=GOLDEN[0]):
    """A golden notebook with answers and predictions in its cells, and what they then print."""
    notebook, given = json.loads(path.read_bytes()), predictions or {}
    for cell in notebook["cells"]:
        tags, source = cell["metadata"].get("tags", []), "".join(cell["source"])
        compares = [*handed_in.calls(handed_in.read_cell(cell), "compare")]
        if "exercise" in tags and (name := source.split('check("')[1].split('"')[0]) in answers:
            cell["source"] = f"{answers[name]}\n\n\nexercises.check('{name}', {name})"
        elif "prediction" in tags and given:
            cell["source"] = "\n".join(f"{slot.name} = {given[slot]!r}" for slot in ASKED
                                       if f"{slot.name} " in source.replace(",", " "))
        elif compares and given:
            own = [slot for slot in ASKED if slot.name in handed_in.compared(compares[0])]
            with contextlib.redirect_stdout(io.StringIO()) as said:
                exercises.compare(*([values[slot] for slot in own] for values in (given, RIGHT)))
            cell["outputs"] = [printed(f"You predicted 1; it is 5.\n\n{said.getvalue()}")]
    return notebook


def guesses(student):
    """Of three one predicts right, one twice and one three times as much, or another word."""
    return {slot: value * (1 + student % 3) for slot, value in RIGHT.items()
            if slot != ASKED[-1]} | {ASKED[-1]: ("Batch norm", "layer", "=$1")[student % 3]}


def forged():
    """Says that all is right, and measures something else."""
    notebook = hand_in({}, guesses(0) | {ASKED[0]: "=\x1b[31m"})
    lies = [*(f"{name}: right. Well done." for name in NAMES), *3 * ["You predicted 1; it is 999."]]
    for cell in notebook["cells"]:
        if cell.get("outputs"):
            cell["outputs"] += [printed("\n".join(lies))]
    return notebook


def lost():
    """Answers of other names, in another cell, no ids and no tags; the blanks stay below."""
    cells = [cell | {"id": "", "metadata": {}} for cell in hand_in({}, guesses(0))["cells"]]
    source = "\n".join([*(SOLVED[name] for name in NAMES), "eps = 0 * torch.ones(1)", "!ls",
                        *(f'exercises.check("{name}", {name})' for name in NAMES[::2]),
                        "mine = lambda *case: normalize(*case) + eps",
                        'exercises.check("normalize", mine)'])
    code = {"cell_type": "code", "source": source.splitlines(keepends=True)}
    return {"cells": [*cells[:5], code, *cells[5:]]}


def odd():
    """All right, among cells with outputs, metadata and sources of other types."""
    outputs = [{"text": None}, {}, 5, printed(5), {"output_type": "error", "ename": "=Error"}]
    cells = [{"cell_type": "code", "source": source, "outputs": outputs, "metadata": [], "id": 5}
             for source in (5, None, "(" * 10**4, "x = 1e999, 10**400, '\0'")]
    return {"cells": hand_in(SOLVED, guesses(0))["cells"] + cells}


def with_deeds(*deeds):
    """Answers that begin so: a deed for each exercise of notebook 00."""
    heads = [f"def {name}(*case):\n    " for name in NAMES[:2]] + [
        "class BatchNorm:\n    def __init__(self, *case):\n        "]
    return hand_in({name: head + deed for name, head, deed in zip(NAMES, heads, deeds)}, guesses(0))


BROKEN = {  # name of the file: what is in it, and how its three exercises are graded
    "forged.ipynb": (forged, ["blank"] * 3), "lost.ipynb": (lost, ["yes"] * 3),
    "=1+1.IPYNB": (odd, ["yes"] * 3), "text.ipynb": (lambda: 5, [""] * 3),
    os.fsdecode(b"\xff\x1b.ipynb"): (lambda: "{", [""] * 3),
    "does.ipynb": (lambda: with_deeds(
        "import os; os.remove('t.ipynb')", "import time; time.sleep(10**6)",
        "import os; os._exit(0)"), ["no"] * 3),
    "asks.ipynb": (lambda: with_deeds(
        "import socket; socket.create_connection(('::1', 1))",
        "import sys; return sys._getframe(2).f_locals['exercise'].solution(*case)",
        "import exercises; return exercises.EXERCISES['BatchNorm'].solution()"), ["no"] * 3),
}


@pytest.fixture
def handed(tmp_path, monkeypatch):
    """Twelve who do as they are asked, one of any other kind, a pipe; and all that is solved."""
    made = {f"ada_{i:02}.ipynb": hand_in((SOLVED, WRONG, {})[i % 3], guesses(i)) for i in range(12)}
    made |= {name: make() for name, (make, _) in BROKEN.items()}
    made |= {f"all/{path.name}": hand_in(SOLVED, path=path) for path in GOLDEN}
    (tmp_path / "all").mkdir()
    for name, notebook in made.items():
        text = notebook if isinstance(notebook, str) else json.dumps(notebook)
        (tmp_path / name).write_text(text, encoding="utf-8")
    os.mkfifo(tmp_path / "pipe.ipynb")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_class_is_graded_and_drawn(handed, capsys):
    before = {file: file.read_bytes() for file in handed.rglob("*.*") if file.is_file()}
    tool("collect", ". --csv t.csv --page t.html")(handed)
    assert {file: file.read_bytes() for file in before} == before
    with open("t.csv", encoding="utf-8-sig", newline="") as file:
        rows = {row["notebook"]: row for row in csv.DictReader(file)}
    assert len(rows) == 20 + len(GOLDEN)
    found = {name: [row[exercise] for exercise in NAMES] for name, row in rows.items()}
    for i in range(12):
        assert found[f"ada_{i:02}"] == [["yes"] * 3, ["yes", f"no: {SAID}", "yes"],
                                       ["blank"] * 3][i % 3]
    for (_, graded), name in zip(BROKEN.values(), [
            "forged", "lost", "'=1+1", "text", MARK * 2, "does", "asks"]):
        assert [verdict.split(":")[0] for verdict in found[name]] == graded
    solved = [row[name] for row in rows.values() for name in EXERCISES if "all/" in row["notebook"]]
    assert sorted(filter(None, solved)) == ["yes"] * len(EXERCISES)
    first, last = ASKED[0].label(), ASKED[-1].label()
    assert [rows["ada_01"][name] for name in (first, f"{first}, measured")] == ["20", "10"]
    assert rows["forged"][first] == f"'={MARK}[31m"
    assert rows["'=1+1"]["note"].startswith("'=Error in cell ")
    assert rows["pipe"]["note"] == "not a notebook (no file)"
    assert "\x1b" not in capsys.readouterr().out
    page = (handed / "t.html").read_text(encoding="utf-8")
    assert "ada_" not in page
    for slot, near in zip(ASKED[:-1], [8] + [9] * len(ASKED)):
        assert f"{slot.label()}: it is {RIGHT[slot]:g}{slot.unit}; {near} of 17 predict" in page
    assert f"{last}: it is batch; 9 of 17 predicted that." in page
    assert f"4 x {SAID}" in page
    for bar, counts in zip(page.split("<div class=bar>")[1:], [(11, 2, 5), (7, 6, 5), (11, 2, 5)]):
        for mark, count in zip(("yes", "no", "blank"), counts):
            assert f'<span class={mark} style="flex: {count}">{count}<' in bar


def test_who_knows_the_cases_of_the_page_does_not_know_those_that_are_drawn_anew():
    known = EXERCISES["normalize"]
    table = [(str(case), known.solution(*case)) for case in known.cases()]

    def by_heart(*case):
        return next((y for seen, y in table if seen == str(case)), ...)
    assert grading.grade(known, by_heart)[0] == grading.RIGHT
    with grading.drawn_anew(5):
        assert grading.grade(replace(known), by_heart)[0] == grading.OPEN
        for exercise in EXERCISES.values():
            assert grading.grade(replace(exercise), exercise.solution)[0] == grading.RIGHT


@pytest.mark.parametrize("value", [
    ..., None, "x", 2.5, math.nan, torch.ones(2, 3), torch.zeros(0, 3), torch.ones(1).expand(20000),
    [1, ...], {"a": [torch.ones(2)], 2: "b"}, {1, 2}], ids=str)
def test_a_result_comes_back_from_a_process_apart_as_it_was(value):
    text = json.dumps(grading.plain(value), default=handed_in.encode)
    assert str(json.loads(text, object_hook=handed_in.decode)) == str(grading.plain(value))


@pytest.mark.parametrize(("source", "expected"), [
    ("a, b = 1, -2.5", {"a": 1, "b": -2.5}), ("a = b = 'x'", {"a": "x", "b": "x"}),
    ("a: int = 3  # no", {"a": 3}), ("a = [1, True]", {"a": [1, True]}),
    *((text, {"a": ..., "b": ...}) for text in ("a, b = 1", "a, b = ..., f()")),
    ("a = 10**3\na += 1", {"a": ...}), ("a = (", {})])
def test_a_prediction_is_a_literal_or_blank(source, expected):
    cell = handed_in.read_cell({"cell_type": "code", "source": source})
    assert handed_in.literals(cell) == expected


@pytest.mark.parametrize(("values", "right", "expected"), [
    ([1, 3, 3], 2, ([0.5, 1.5, 2.5, 3.5], [1, 0, 2])),
    ([7, 60, 400.0], 10, ([5, 10, 20, 50, 100, 200, 500], [1, 0, 0, 1, 0, 1])),
    (["a", "B norm", "b"], "b", (["b", "a"], [2, 1])), ([3], "b", (["3", "b"], [1, 0])),
    ([True, False, True], None, (["true", "false"], [2, 1]))])
def test_a_histogram_counts_right(values, right, expected):
    assert class_page.tally(values, right) == expected


FLOATS = st.floats(-9e14, 9e14, allow_subnormal=False)


@given(st.lists(FLOATS | st.integers() | st.text(), min_size=1), FLOATS)
def test_a_histogram_counts_every_number_and_holds_the_right_one(values, right):
    edges, counts = class_page.tally(values, right)
    assert sum(counts) == sum(class_page.as_number(value) is not None for value in values)
    slack = 1e-6 * (edges[-1] - edges[0])  # of matplotlib's ticks
    assert edges[0] - slack <= right <= edges[-1] + slack
    assert len(counts) == len(edges) - 1 < 80
