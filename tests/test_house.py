"""The plan of the house: who imports whom, and what an import leaves alone.

The order of the rooms stands once, in the table of CONTRIBUTING.md.
"""

import ast
import importlib
import json
import os
import re
import sys

import pytest
import website

from coursepack.files import ROOT

PACK = ROOT / "coursepack"
ROOMS = website.rooms()  # files, threads, data.sources ...


def wings(rooms):
    return [room.rpartition(".")[0] for room in rooms]


def imported(text):
    """Names of all modules, and of what is taken from them, that a text imports anywhere."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def rooms_imported(names):
    return {name.removeprefix("coursepack.") for name in names} & {*ROOMS}


def test_table_of_rooms_is_of_all_that_there_are_and_each_wing_is_in_one_piece():
    there = {".".join(path.relative_to(PACK).with_suffix("").parts)
             for path in PACK.glob("**/*.py") if path.name != "__init__.py"}
    assert {name for name in there if not name.startswith("exercises.")} == {*ROOMS}
    in_order = [*dict.fromkeys(wings(ROOMS))]
    assert wings(ROOMS) == sorted(wings(ROOMS), key=in_order.index)
    for path in PACK.glob("**/__init__.py"):  # says what the wing is for, and re-exports nothing
        (docstring,) = ast.parse(path.read_bytes()).body
        assert ast.literal_eval(docstring.value).endswith("."), path


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_before_it_and_its_import_changes_nothing(room):
    text = (PACK / f"{room.replace('.', '/')}.py").read_text(encoding="utf-8")
    names = {*imported(text)}
    assert rooms_imported(names) <= {*ROOMS[: ROOMS.index(room)]}
    assert not {"utils", "exercises"} & names
    if "." not in room:
        assert "model" not in names  # which imports files
    if room.startswith("show."):
        assert not re.search(r"\btorch\b", text)
    for node in ast.parse(text).body:  # and changes nothing: set_up() and set_up_torch() do
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            changes = r"\bset_|mallopt|\.seed\(|environ\[|rcParams|\.use\(|filterwarnings"
            assert not re.search(changes, ast.unparse(node))


def test_model_imports_files_alone_and_no_exercise_another():
    assert rooms_imported(imported((ROOT / "model.py").read_bytes())) <= {"files"}
    for path in PACK.glob("exercises/*.py"):
        others = [name for name in imported(path.read_bytes())
                  if "exercises" in name or name == "utils"]
        assert all(name.startswith("coursepack.exercises.grading") for name in others), path.name


def test_utils_is_a_table_of_contents_of_what_notebooks_call_in_the_order_of_the_wings():
    docstring, *imports = ast.parse((ROOT / "utils.py").read_bytes()).body
    rooms = [node.module.removeprefix("coursepack.") for node in imports]
    assert len(rooms) == len({*rooms} & {*ROOMS})
    assert wings(rooms) == sorted(wings(rooms), key=wings(ROOMS).index)
    offered = {alias.name for node in imports for alias in node.names}
    called = {name for path in (ROOT / "notebooks").glob("*.ipynb")
              for cell in json.loads(path.read_bytes())["cells"]
              for name in re.findall(r"\butils\.(\w+)", "".join(cell["source"]))}
    assert offered == called - {"__file__", "py"}


def test_no_locale_decides_how_the_course_reads_a_file():
    for place in ("*.py", "coursepack/**/*.py", "tools/*.py", "upkeep/*.py"):
        for file in ROOT.glob(place):
            for node in ast.walk(ast.parse(file.read_bytes())):
                call = ast.unparse(node) if isinstance(node, ast.Call) else ""
                if re.match(r"open\(|.*\.(read|write)_text\(|.*\btext=True", call):
                    assert re.search(r"encoding=|'[rwax+]*b[+]?'", call), f"{file.name}: {call}"


def test_an_import_needs_nothing_that_windows_lacks(monkeypatch):
    names = ["model", *(f"coursepack.{room}" for room in ROOMS), "utils", "exercises"]
    for name in names:  # the libraries know from now on where they are
        importlib.import_module(name)
    for name in [name for name in sys.modules if name in names or name.startswith("coursepack")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("fcntl", "resource", "pwd", "grp", "termios"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("sched_getaffinity", "getuid", "geteuid", "fork", "getloadavg", "O_DIRECTORY"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    for name in names:
        importlib.import_module(name)
