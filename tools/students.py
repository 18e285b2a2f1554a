"""The students' edition of the course, without solutions: students.py leaves it in build/students.

It holds what is needed to read, run and check: notebooks without saved outputs, which would stand
right below what is to be predicted, and exercises without their solutions and known wrong ways.
Of these their results are kept (coursepack/exercises/kept.py), so a check says what it says here.
What else is in the folder, such as .git or runs/, stays.
"""

import ast
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import nbformat  # noqa: E402

from coursepack.exercises import handed_in, kept  # noqa: E402
from coursepack.exercises.handed_in import Statement, names_of  # noqa: E402
from coursepack.files import check_writable  # noqa: E402
from exercises import EXERCISES  # noqa: E402

FOLDER = ROOT / "build" / "students"
PARTS = ("LICENSE", "coursepack", "exercises.py", "model.py", "notebooks", "requirements.txt",
         "results", "studies", "tools", "utils.py")
TEACHERS = ("apart.py", "class_page.py", "collect.py", "handed_in.py", "students.py")
NO_PART = ("*.md", "__pycache__", ".*")
IMPORT, STUB = "from coursepack.exercises.kept import kept", "Your teacher has the solution."
README = """# Normalization, L1 and L2

Seven notebooks, from `notebooks/00_normalization_by_hand.ipynb` on. With Python 3.11 or newer, in
this folder:

    python3 -m venv .venv
    .venv/bin/python -m pip install -r requirements.txt
    .venv/bin/jupyter lab notebooks

On Windows it is `python -m venv .venv`, then `.venv\\Scripts\\` in place of `.venv/bin/`. Without
data and network the course runs on 5,000 digits that come with a package, and says so.

Run the cells from above. Where a line ends in `...`, an answer or a prediction of yours may stand;
left blank, the notebook runs all the same. Predict before you run the next cell. A check says what
is wrong with an answer, and `exercises.hint("normalize")` helps. Hand in the notebooks.

Code: MIT licence. Text and figures: CC BY 4.0, https://creativecommons.org/licenses/by/4.0/.
"""


def parts(tree: ast.Module) -> Iterator[Statement]:
    """The statements of a room of exercises, with stubs in place of what is not for students."""
    own = {}
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Exercise":
            solution, wrong = call.args[1].id, call.args[3].id
            own |= {solution: "", wrong: f"{wrong} = kept({solution})"}
    for node in [*ast.parse(IMPORT).body, *tree.body[1:]]:
        for name in names_of(node)[0] & own.keys():
            if own[name]:
                node = ast.parse(own[name]).body[0]
            else:
                node.body = ast.parse(repr(STUB)).body
        yield Statement(ast.unparse(node), *names_of(node))


def without_answers(source: str) -> str:
    """The text of a room of exercises without solutions, wrong ways, and what these alone need."""
    tree = ast.parse(source)
    needed = handed_in.needed("EXERCISES", [*parts(tree)])
    return "\n\n".join([f'"""{ast.get_docstring(tree)}"""', *needed]) + "\n"


def blank_notebook(path: Path) -> nbformat.NotebookNode:
    """A notebook without outputs. Raises ValueError if an exercise or prediction is filled in."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if {"exercise", "prediction"} & {*cell.metadata.get("tags", [])} and (
                "..." not in cell.source):
            raise ValueError(f"notebooks/{path.name}: cell {cell.id} is filled in, and it would be "
                             f"handed out. Put ... there, or: git restore notebooks/{path.name}")
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def make(folder: Path) -> None:
    """Leave the students' edition in a folder. Raises ValueError or OSError before it begins."""
    notebooks = {path.name: blank_notebook(path)
                 for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    rooms = {sys.modules[exercise.solution.__module__] for exercise in EXERCISES.values()}
    check_writable("folder", folder)
    for part in PARTS:
        source, target = ROOT / part, folder / part
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*TEACHERS, *NO_PART))
        else:
            shutil.copy(source, target)
    for room in rooms:
        path = Path(room.__file__)
        text = without_answers(path.read_text(encoding="utf-8"))
        (folder / path.relative_to(ROOT)).write_text(text, encoding="utf-8")
    (folder / kept.FILE.relative_to(ROOT)).write_bytes(kept.pack(EXERCISES))
    for name, notebook in notebooks.items():
        nbformat.write(notebook, folder / "notebooks" / name)
    (folder / "README.md").write_text(README, encoding="utf-8")


if __name__ == "__main__":
    try:
        make(FOLDER)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print(f"The students' edition is in {FOLDER.relative_to(ROOT)}.")
