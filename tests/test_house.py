"""The plan of the house: who imports whom, and what an import leaves alone.

The order of the rooms stands once, in the table of CONTRIBUTING.md.
"""

import ast
import json
import re
import sys

import pytest
import website
from helpers import run

from coursepack.files import ROOT

ROOMS = website.rooms()  # files, threads, data.sources ...
WINGS = list(dict.fromkeys(room.split(".")[0] for room in ROOMS if "." in room))


def code(room):
    return (ROOT / "coursepack" / f"{room.replace('.', '/')}.py").read_text(encoding="utf-8")


def imported(text):
    """Names of all modules, and of what is taken from them, that a text imports anywhere."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def rooms_imported(text):
    return {name.removeprefix("coursepack.") for name in imported(text)} & {*ROOMS}


def test_table_of_rooms_is_of_all_that_there_are_and_each_wing_is_in_one_piece():
    files = (ROOT / "coursepack").glob("**/*.py")
    there = {".".join(path.relative_to(ROOT / "coursepack").with_suffix("").parts)
             for path in files if path.name != "__init__.py"}
    assert {name for name in there if not name.startswith("exercises.")} == {*ROOMS}
    wings = [room.split(".")[0] for room in ROOMS if "." in room]
    assert wings == sorted(wings, key=WINGS.index)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_before_it(room):
    before = ROOMS[: ROOMS.index(room)]
    assert rooms_imported(code(room)) <= {*before}
    assert not {"utils", "exercises"} & {*imported(code(room))}
    if "." not in room:
        assert "model" not in imported(code(room))  # which imports files
    if room.startswith("show."):
        assert not re.search(r"\btorch\b", code(room))


def test_model_imports_files_alone_and_no_exercise_imports_another():
    assert rooms_imported((ROOT / "model.py").read_text(encoding="utf-8")) <= {"files"}
    exercises = "coursepack.exercises"
    for path in (ROOT / "coursepack" / "exercises").glob("*.py"):
        names = {*imported(path.read_text(encoding="utf-8"))}
        assert not names & {"utils", "exercises", exercises}
        assert all(name.startswith(f"{exercises}.grading") for name in names
                   if name.startswith(exercises)), path.name


def test_a_wing_says_what_it_is_for_and_re_exports_nothing():
    for path in (ROOT / "coursepack").glob("**/__init__.py"):
        (docstring,) = ast.parse(path.read_bytes()).body
        assert ast.literal_eval(docstring.value).endswith("."), path


def test_utils_is_a_table_of_contents_of_what_notebooks_call_in_the_order_of_the_wings():
    docstring, *imports = ast.parse((ROOT / "utils.py").read_bytes()).body
    assert isinstance(docstring, ast.Expr)
    rooms = [node.module.removeprefix("coursepack.") for node in imports]
    assert len(rooms) == len({*rooms} & {*ROOMS})
    wings = ["" if "." not in room else room.split(".")[0] for room in rooms]
    assert wings == sorted(wings, key=["", *WINGS].index)
    offered = {alias.name for node in imports for alias in node.names}
    called = {name for path in (ROOT / "notebooks").glob("*.ipynb")
              for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
              for name in re.findall(r"\butils\.(\w+)", "".join(cell["source"]))}
    assert offered == called - {"__file__", "py"}


@pytest.mark.parametrize("place", ["*.py", "coursepack/**/*.py", "tools/*.py", "upkeep/*.py",
                                   "tests/**/*.py"])
def test_no_locale_decides_how_a_file_is_read(place):
    found = {path.name: [*opened_as_the_locale_has_it(path)] for path in ROOT.glob(place)}
    assert {name: lines for name, lines in found.items() if lines} == {}


def opened_as_the_locale_has_it(file):
    """Lines of a file that read or write text, or what a process prints, and do not say how."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            words = {word.arg: ast.unparse(word.value) for word in node.keywords}
            binary = any(re.fullmatch("'[rwax+]*b[+]?'", ast.unparse(part)) for part in node.args)
            text = (name in ("read_text", "write_text") or words.get("text") == "True"
                    or isinstance(node.func, ast.Name) and name == "open" and not binary)
            if text and "encoding" not in words:
                yield node.lineno


IMPORT_ALL = """
import json, os, platform, sys
import fastjsonschema, filelock, joblib, matplotlib, papermill, scipy.stats, seaborn, torch
for name in ("sched_getaffinity", "getuid", "geteuid", "fork", "getloadavg", "O_DIRECTORY"):
    vars(os).pop(name, None)  # what Windows lacks; the libraries know already where they are
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
def libc_ver(*args, **kwargs):
    raise OSError("an alias of the Windows store cannot be read")
platform.libc_ver, sys.platform = libc_ver, "win32"

def state():
    torch.tensor([1e-42]).mul_(1)  # a first operation, as any program has
    denormal = torch.tensor([1e-38]) * 1e-4  # zero where denormals are flushed
    return [denormal.item() != 0, torch.get_num_threads(), str(torch.get_default_dtype()),
            torch.initial_seed(), {k: str(v) for k, v in matplotlib.rcParams.items()}]

sys.path.insert(0, sys.argv[1])
states = {"": state()}
for name in sys.argv[2:]:
    __import__(name)
    states[name] = state()
import utils
utils.set_up()
print(json.dumps([states, state()]))
"""


@pytest.mark.slow
def test_an_import_leaves_the_process_as_it_was_and_needs_nothing_that_windows_lacks():
    """Denormals, threads, random state, settings of plots; set_up() changes them afterwards."""
    rooms = [f"coursepack.{room}" for room in ROOMS]
    done = run([sys.executable, "-c", IMPORT_ALL, ROOT, "model", *rooms, "utils", "exercises"])
    assert done.returncode == 0, done.stderr
    states, (denormals, *_, settings) = json.loads(done.stdout)
    assert [name for name, state in states.items() if state != states[""]] == []
    assert not denormals
    assert settings["axes.titlesize"] == "15.0" != states[""][4]["axes.titlesize"]


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_changes_the_process_where_it_is_imported(room):
    """Such calls stand inside functions only: set_up_torch() and set_up()."""
    for node in ast.parse(code(room)).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            assert not re.search(r"\bset_|mallopt|\.seed\(|environ\[|filterwarnings",
                                 ast.unparse(node))
