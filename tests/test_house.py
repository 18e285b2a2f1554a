"""The plan of the house, CONTRIBUTING.md's table: who imports whom, what an import leaves alone."""

import ast
import importlib
import json
import os
import re
import sys

import pytest
import website

from coursepack.files import ROOT

ROOMS = website.modules()[2:]  # coursepack.files, coursepack.threads, coursepack.data.sources ...
ORDER = [ROOMS[0], "model", *ROOMS[1:]]  # each imports only those before it
PLACES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in [
    *ROOT.glob("coursepack/**/[!_]*.py"), *ROOT.glob("[emu]*.py")]}
EXERCISES = [name for name in PLACES if name.startswith("coursepack.exercises.")]


def wings(rooms):
    return [room.rpartition(".")[0] for room in rooms]


def imported(text):
    """Names of all modules, and of what is taken from them, that a text imports anywhere."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def test_table_of_rooms_is_of_all_that_there_are_and_each_wing_is_in_one_piece():
    assert {*PLACES} == {*ORDER, *EXERCISES, "exercises", "utils"}
    assert wings(ROOMS) == sorted(wings(ROOMS), key=[*dict.fromkeys(wings(ROOMS))].index)
    for path in ROOT.glob("coursepack/**/__init__.py"):  # what a wing is for; it re-exports nothing
        (docstring,) = ast.parse(path.read_bytes()).body
        assert ast.literal_eval(docstring.value).endswith("."), path


@pytest.mark.parametrize("name", [*ORDER, *EXERCISES])
def test_a_room_imports_only_rooms_before_it_and_its_import_changes_nothing(name):
    text = PLACES[name].read_text(encoding="utf-8")
    before = ORDER[: ORDER.index(name)] if name in ORDER else [
        *ORDER, "coursepack.exercises.grading"]
    assert {*imported(text)} & {*PLACES} <= {*before}
    if name.startswith("coursepack.show."):
        assert not re.search(r"\btorch\b", text)
    for node in ast.parse(text).body:  # and changes nothing: set_up() and set_up_torch() do
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            changes = r"\bset_|mallopt|\.seed\(|environ\[|rcParams|\.use\(|filterwarnings"
            assert not re.search(changes, ast.unparse(node))


def test_utils_is_a_table_of_contents_of_what_notebooks_call_in_the_order_of_the_wings():
    docstring, *imports = ast.parse(PLACES["utils"].read_bytes()).body
    rooms = [node.module for node in imports]
    assert len(rooms) == len({*rooms} & {*ROOMS})
    assert wings(rooms) == sorted(wings(rooms), key=wings(ROOMS).index)
    offered = {alias.name for node in imports for alias in node.names}
    called = {name for path in ROOT.glob("notebooks/*.ipynb")
              for cell in json.loads(path.read_bytes())["cells"]
              for name in re.findall(r"\butils\.(\w+)", "".join(cell["source"]))}
    assert offered == called - {"__file__", "py"}


def test_no_locale_decides_how_the_course_reads_a_file():
    for file in [*PLACES.values(), *ROOT.glob("tools/*.py"), *ROOT.glob("upkeep/*.py")]:
        for node in ast.walk(ast.parse(file.read_bytes())):
            call = ast.unparse(node) if isinstance(node, ast.Call) else ""
            if re.match(r"open\(|.*\.(read|write)_text\(|.*\btext=True", call):
                assert re.search(r"encoding=|'[rwax+]*b[+]?'", call), f"{file.name}: {call}"


def test_an_import_needs_nothing_that_windows_lacks(monkeypatch):
    for name in PLACES:  # the libraries know from now on where they are
        importlib.import_module(name)
    for name in [name for name in sys.modules if name in PLACES or name.startswith("coursepack")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("fcntl", "resource", "pwd", "grp", "termios"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("sched_getaffinity", "getuid", "geteuid", "fork", "getloadavg", "O_DIRECTORY"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    for name in PLACES:
        importlib.import_module(name)
