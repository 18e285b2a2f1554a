"""The plan of the house, CONTRIBUTING.md's table: who imports whom."""

import ast
import re
import subprocess
import sys

import pytest
import website

from coursepack.files import ROOT

ROOMS = website.modules()[2:]  # coursepack.files, coursepack.threads, coursepack.data.sources ...
ORDER = [ROOMS[0], "model", *ROOMS[1:]]  # each imports only those before it
PLACES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in [
    *ROOT.glob("coursepack/**/[!_]*.py"), *ROOT.glob("[emu]*.py")]}
EXERCISES = [name for name in PLACES if name.startswith("coursepack.exercises.")]


def imported(text):
    """Names of all modules, and of what is taken from them, that a text imports anywhere."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Later"):
            yield node.args[0].value


@pytest.mark.parametrize("name", [*ORDER, *EXERCISES])
def test_a_room_imports_only_rooms_before_it(name):
    text = PLACES[name].read_text(encoding="utf-8")
    before = ORDER[: ORDER.index(name)] if name in ORDER else [
        *ORDER, "coursepack.exercises.grading"]
    assert {*imported(text)} & {*PLACES} <= {*before}
    assert not {*imported(text)} & {"fcntl", "grp", "pwd", "resource", "termios"}  # nor has Windows
    assert not re.search(r"os\.(get[ug]id|geteuid|sched_\w+|getloadavg|uname|mkfifo)\b", text)


def test_each_room_is_in_the_table():
    assert {*PLACES} == {*ORDER, *EXERCISES, "exercises", "utils"}


def test_no_locale_decides_how_the_course_reads_a_file():
    for file in [*PLACES.values(), *ROOT.glob("tools/*.py"), *ROOT.glob("upkeep/*.py")]:
        for node in ast.walk(ast.parse(file.read_bytes())):
            call = ast.unparse(node) if isinstance(node, ast.Call) else ""
            if re.match(r"open\(|.*\.(read|write)_text\(|.*\btext=True", call):
                assert re.search(r"encoding=|'utf-8'|'[rwax+]*b[+]?'", call), f"{file.name}: {call}"


def test_training_loads_nothing_that_it_does_not_use():
    said = subprocess.run(
        [sys.executable, "-c", "import sys, utils; data = utils.load_dataset('mnist_sample')\n"
         "utils.train_beside(data.head(9), utils.Recipe(epochs=1)); print(*sys.modules)"],
        cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout
    assert not {*said.split()} & {"matplotlib.pyplot", "pandas", "scipy", "seaborn", "statsmodels",
                                  "torch._dynamo", "torchvision"}
