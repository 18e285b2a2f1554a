"""The plan of the house: who imports whom, and what an import leaves alone."""

import ast
import json
import re
import subprocess
import sys

import pytest

from coursepack.files import ROOT

ROOMS = ("files", "threads", "sources", "data", "recipe", "batches", "steps", "checkpoints",
         "training", "measures", "mistakes", "records", "laboratory", "compare",
         "effects", "figures", "pictures", "charts")  # in the order that the data goes


def imported(file):
    """Names of all modules that a file imports, wherever it does: coursepack.files, torch ..."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def rooms_imported(file):
    return {name.split(".")[1] for name in imported(file) if name.startswith("coursepack.")
            and name.split(".")[1] in ROOMS}


def wrong_arrows(arrows):
    """Those of arrows, {room: rooms that it imports}, that do not lead to an earlier room."""
    return [f"{room} imports {other}, which comes after it" for room, others in arrows.items()
            for other in sorted(others) if ROOMS.index(other) >= ROOMS.index(room)]


def test_each_room_imports_only_from_rooms_before_it():
    assert {path.stem for path in (ROOT / "coursepack").glob("*.py")} == {"__init__", *ROOMS}
    assert wrong_arrows({room: rooms_imported(f"coursepack/{room}.py") for room in ROOMS}) == []


def test_exercises_build_on_grading_and_the_rooms_and_on_no_other_exercises():
    for path in (ROOT / "coursepack" / "exercises").glob("*.py"):
        names = imported(path.relative_to(ROOT))
        own = {name for name in names if name.startswith("coursepack.exercises")}
        assert own <= {"coursepack.exercises.grading", "coursepack.exercises.grading.Exercise",
                       "coursepack.exercises.grading.take"}, path.name
        assert not names & {"utils", "exercises"}


def test_a_wrong_arrow_would_be_named():
    assert wrong_arrows({"data": {"files", "recipe"}, "files": {"files"}}) == [
        "data imports recipe, which comes after it", "files imports files, which comes after it"]


def test_no_room_imports_the_table_of_contents_and_model_imports_no_room():
    for room in ROOMS:
        assert "utils" not in imported(f"coursepack/{room}.py")
    assert not {name for name in imported("model.py") if name.startswith(("coursepack", "utils"))}


@pytest.mark.parametrize("room", ["compare", "effects", "figures", "pictures", "charts"])
def test_what_compares_and_draws_names_no_torch(room):
    assert not {name for name in imported(f"coursepack/{room}.py") if name.startswith("torch")}
    assert not re.search(r"\btorch\b", (ROOT / "coursepack" / f"{room}.py").read_text(
        encoding="utf-8"))


def test_utils_is_a_table_of_contents_of_what_notebooks_call_in_the_order_of_the_rooms():
    """Every line of code is an import from a room, with a comment before it that says what for."""
    text = (ROOT / "utils.py").read_text(encoding="utf-8")
    docstring, *imports = ast.parse(text).body
    assert isinstance(docstring, ast.Expr)
    order = [node.module.removeprefix("coursepack.") for node in imports]
    assert order == sorted({*order}, key=ROOMS.index)
    lines = text.splitlines()
    assert all(lines[node.lineno - 2].startswith("# ") for node in imports)
    offered = {alias.name for node in imports for alias in node.names}
    called = {name for path in (ROOT / "notebooks").glob("*.ipynb")
              for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
              for name in re.findall(r"\butils\.(\w+)", "".join(cell["source"]))}
    assert offered == called - {"__file__", "py"}


def test_tools_and_tests_import_the_rooms_and_patch_no_name_of_utils():
    """A patched re-export changes nothing, and its test would pass in vain."""
    for path in [*(ROOT / "tools").glob("*.py"), *(ROOT / "tests").glob("*.py")]:
        if path.name != "test_house.py":
            assert "utils" not in imported(path.relative_to(ROOT)), path.name
            assert not re.search(r"(setattr|patch\w*)\(\s*[\"']?utils\b",
                                 path.read_text(encoding="utf-8"))


STATE = """
import json, sys
import matplotlib, seaborn, torch
if sys.argv[1:]:
    sys.path.insert(0, sys.argv[1])
def state():
    torch.tensor([1e-42]).mul_(1)  # a first operation, as any program has
    denormal = torch.tensor([1e-38]) * 1e-4  # zero where denormals are flushed
    return [denormal.item() != 0, torch.get_num_threads(), torch.get_default_dtype().__str__(),
            torch.initial_seed(), {k: str(v) for k, v in matplotlib.rcParams.items()}]
before = state()
names = sys.argv[2:]
for name in names:
    __import__(name)
print(json.dumps([before, state()]))
if "coursepack.show.figures" in names:
    import coursepack.show.figures
    coursepack.figures.set_up()
    print(json.dumps(state()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("names", [
    ["model"], ["utils"], [f"coursepack.{room}" for room in ROOMS],
], ids=["model", "utils", "rooms"])
def test_an_import_leaves_the_process_as_it_was(names):
    """Denormal mode, threads, random state and plot settings; one call changes them afterwards."""
    done = subprocess.run([sys.executable, "-c", STATE, ROOT, *names], capture_output=True,
                          encoding="utf-8", check=True)
    both, *after_set_up = map(json.loads, done.stdout.splitlines())
    before, after = both
    assert before == after
    for denormals, _, _, _, settings in after_set_up:
        assert not denormals
        assert settings["axes.titlesize"] == "15.0" != after[4]["axes.titlesize"]


def test_no_room_changes_the_process_where_it_is_imported():
    """Such calls stand inside functions only: set_up_torch() and set_up()."""
    for room in ROOMS:
        for node in ast.parse((ROOT / "coursepack" / f"{room}.py").read_bytes()).body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                source = ast.unparse(node)
                assert not re.search(r"\bset_|mallopt|\.seed\(|environ\[|filterwarnings", source)


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


@pytest.mark.parametrize("place", ["*.py", "coursepack/**/*.py", "tools/*.py", "tests/**/*.py"])
def test_no_locale_decides_how_a_file_is_read(place):
    found = {path.name: [*opened_as_the_locale_has_it(path)] for path in ROOT.glob(place)}
    assert {name: lines for name, lines in found.items() if lines} == {}


WINDOWS = """
import ctypes, os, platform, sys
def libc_ver(*args, **kwargs):
    raise OSError("an alias of the Windows store cannot be read")
platform.libc_ver = libc_ver
sys.path.insert(0, sys.argv[1])
import torch, joblib, papermill, filelock, scipy.stats, seaborn  # know where they are
import fastjsonschema
for name in ("sched_getaffinity", "getuid", "geteuid", "fork", "getloadavg", "O_DIRECTORY"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
sys.platform = "win32"
import utils
utils.set_up()
print("imported")
"""


@pytest.mark.slow
def test_import_needs_nothing_that_windows_lacks():
    done = subprocess.run([sys.executable, "-c", WINDOWS, ROOT], capture_output=True,
                          encoding="utf-8", check=False)
    assert done.stdout == "imported\n", done.stderr
