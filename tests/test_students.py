"""The students' edition: no solution is in it, and it says of each answer what the course says."""

import ast
import gzip
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import students
from helpers import says

import exercises
from coursepack.exercises import kept
from coursepack.exercises.grading import grade
from coursepack.files import ROOT
from exercises import EXERCISES

TAUGHT = {"coursepack/train/updates.py": ["proximal_step"]}  # training needs it
FIRST = ROOT / "notebooks" / "00_normalization_by_hand.ipynb"
SOLVED = {name: exercises.solution_text(name) for name in EXERCISES}
ROOMS = {one.solution.__module__ for one in EXERCISES.values()}


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edition") / "students"
    students.make(folder)
    (folder / "runs").mkdir()
    students.make(folder)  # again, and what else is there stays
    assert (folder / "runs").is_dir()
    return folder


def code_of(path):
    """The Python of a file or notebook; of anything else nothing."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        return "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return path.read_text(encoding="utf-8") if path.suffix == ".py" else ""


def shape(*nodes):
    """Syntax trees, without the names that a writer chooses."""
    seen = {}
    return re.sub(r"\b(id|arg|name|asname)='(\w+)'", lambda match: str(
        seen.setdefault(match[2], len(seen))), " ".join(map(ast.dump, nodes)))


def steps(name):
    """What each function of a solution does: its statements, or what it returns at once."""
    for scope in ast.walk(ast.parse(SOLVED[name])):
        if isinstance(scope, ast.FunctionDef):
            only = scope.body[0] if len(scope.body) == 1 else None
            yield [only.value] if isinstance(only, ast.Return) else scope.body


def test_no_solution_can_be_found_in_any_file_and_no_wrong_way_be_read(edition):
    solved = {shape(*nodes): name for name in EXERCISES for nodes in steps(name)}
    lengths = {len(nodes) for name in EXERCISES for nodes in steps(name)}
    returned = {type(nodes[0]) for name in EXERCISES for nodes in steps(name)}
    written = {" ".join(solution.split()) for solution in SOLVED.values()}
    said = {said for one in EXERCISES.values() for said in one.wrong}
    for path in (path for path in edition.rglob("*") if path.is_file()):
        data = path.read_bytes()
        assert not [text for text in said if text in data.decode("utf-8", "replace")], path
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        text = " ".join(data.decode("utf-8", "replace").split())
        assert not [solution for solution in written if solution in text], path
        nodes = [*ast.walk(ast.parse(code_of(path)))]
        bodies = [node.body for node in nodes if isinstance(getattr(node, "body", 0), list)]
        found = {shape(*body[start:start + length]) for body in bodies
                 for start in range(len(body)) for length in lengths}
        found |= {shape(node) for node in nodes if type(node) in returned}
        own = TAUGHT.get(path.relative_to(edition).as_posix(), [])
        assert [solved[one] for one in found & solved.keys()] == own, path
    assert [path for path in edition.rglob("*") if path.name in ("kept.json.gz", *students.TEACHERS)
            ] == [edition / kept.FILE.relative_to(ROOT)]


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_the_edition_says_of_each_answer_what_the_course_says(edition, room, monkeypatch):
    monkeypatch.setattr(kept, "FILE", edition / kept.FILE.relative_to(ROOT))
    file = edition / Path(sys.modules[room].__file__).relative_to(ROOT)
    spec = importlib.util.spec_from_file_location("room_of_students", file)
    monkeypatch.setitem(sys.modules, spec.name, theirs := importlib.util.module_from_spec(spec))
    spec.loader.exec_module(theirs)
    for name, one in theirs.EXERCISES.items():
        ours = EXERCISES[name]
        assert (one.hints, one.remark, one.notebook) == (ours.hints, ours.remark, ours.notebook)
        others = [..., 7, lambda *case: ..., lambda *case: -7, lambda *case: 1 / 0]
        for answer in [ours.solution, *ours.wrong.values(), *others]:
            assert grade(one, answer) == grade(ours, answer)
        assert inspect.getsource(one.solution).count(students.STUB) == 1  # what is printed of it


@pytest.mark.slow
def test_its_first_notebook_runs_with_a_blank_a_right_and_a_wrong_answer(edition):
    wrong = "def normalize(x, axes, eps):\n    return x - x.mean(axes, keepdim=True)\n"
    answers = {"normalize": wrong, "BatchNorm": SOLVED["BatchNorm"]}
    check = re.compile(r'exercises\.check\("(\w+)", \1\)$', re.M)
    cells = [cell for cell in nbformat.read(edition / "notebooks" / FIRST.name, as_version=4).cells
             if cell.cell_type == "code" and not cell.id.startswith(("why-", "drawing"))]
    source = "\n".join(check.sub(lambda call: f"{answers.get(call[1], '')}\n{call[0]}", cell.source)
                       for cell in cells)
    done = subprocess.run([sys.executable, "-c", source], cwd=edition / "notebooks", check=True,
                          env=os.environ | {"MPLBACKEND": "agg"}, stdout=subprocess.PIPE)
    said = re.findall(r"(?m)^\w+: (?:not|right).*", done.stdout.decode())
    assert [line[:50] for line in said] == [
        "number_of_means: not answered yet. exercises.hint(",
        "normalize: not yet. The mean is subtracted, but no",
        "BatchNorm: right. It is nn.BatchNorm2d without gai"]


def test_a_notebook_that_is_filled_in_is_not_handed_out(tmp_path):
    notebook = nbformat.read(FIRST, as_version=4)
    [cell] = [cell for cell in notebook.cells if cell.id == "exercise-normalize"]
    cell.source = "normalize = 3"
    nbformat.write(notebook, tmp_path / FIRST.name)
    with pytest.raises(ValueError, match=says("exercise-normalize", "filled in", "git restore")):
        students.blank_notebook(tmp_path / FIRST.name)
