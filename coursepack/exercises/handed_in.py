"""What a student handed in: read without running it, and graded in processes apart.

Nothing that a notebook printed counts as an answer. One is taken out of its cells by their syntax
trees: what the exercise's check asks for, and the statements that this needs. tools/apart.py tries
it on the cases, and on cases that were drawn anew, in a process of its own. What comes back is
numbers and text, and is compared here: a forger has to forge numbers that he has not seen.
"""

import ast
import dis
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import joblib
import torch
from torch import Tensor

from coursepack.exercises import grading
from coursepack.exercises.grading import OPEN, RIGHT, WRONG, Exercise, Result, word
from coursepack.files import ROOT

MOST_BYTES = 2**26  # of a notebook; ours have two million
ATTEMPTS = 3  # so many checks of one exercise are graded, the last ones
SECONDS = 120  # of a process apart; what a thread can end has ended before, see grading.SECONDS
DIED = "It ends its process, or takes more than 2 GB or half a minute."
FORKS = sys.platform == "linux"  # elsewhere each answer has a process that imports PyTorch anew
COMPARED = re.compile(  # what exercises.compare prints, which may be wrapped: the result
    r"^(?:You predicted .+?;\s+it\s+is\s+|As you predicted:\s+|You did not predict that:\s+)"
    r"(.+?)(?:\.(?=\s|$)|:\s)|^(?:no prediction made|A prediction here|The result is)", re.M | re.S)


class Statement(NamedTuple):
    text: str
    stores: frozenset[str]  # names of the notebook that it sets
    loads: frozenset[str]  # and that it needs, at once or when it is called


class Cell(NamedTuple):
    kind: str  # "code", "markdown"
    id: str
    tags: Sequence[object]
    source: str
    printed: str = ""
    error: str = ""  # that it stopped with
    tree: ast.Module = ast.Module([], [])  # empty where the source is not Python
    statements: Sequence[Statement] = ()
    fault: str = ""  # why it is not


class Answer(NamedTuple):
    exercise: str
    statements: Sequence[str]
    value: str  # the expression that was checked
    fault: str = ""  # why there is none


class Slot(NamedTuple):
    """One number or word that is predicted."""
    name: str  # of the variable
    place: int | None  # in it, where it is a list
    unit: str = ""

    def label(self) -> str:
        return self.name if self.place is None else f"{self.name}[{self.place}]"


class Question(NamedTuple):
    """What a cell of the course asks to be predicted."""
    place: str  # the first two digits of the notebook's name, and the section's title
    text: str  # Markdown
    comment: str  # what the numbers are of
    slots: Sequence[Slot]


@dataclass
class Row:
    """What is known of a notebook that was handed in."""
    name: str
    note: str = ""  # where it stopped, or why it cannot be read
    answers: list[Answer] = field(default_factory=list)
    verdicts: dict[str, tuple[str, str]] = field(default_factory=dict)  # by exercise
    predicted: dict[Slot, object] = field(default_factory=dict)
    measured: dict[Slot, float | str] = field(default_factory=dict)


# ------------------------------------------------------------------------ reading a notebook
def read_cells(path: Path) -> list[Cell]:
    """The cells of a notebook, whatever else is in it. Raises ValueError if it is none."""
    try:
        if not path.is_file():
            raise ValueError("no file")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES:,} bytes")
        return [read_cell(cell) for cell in json.loads(path.read_bytes())["cells"]]
    except Exception as error:
        why = str(error) if type(error) is ValueError else type(error).__name__
        raise ValueError(f"not a notebook ({why})") from error


def read_cell(cell: dict) -> Cell:
    """A cell of a notebook's JSON, in which any value may be of any type."""
    metadata, source = cell.get("metadata"), text_of(cell.get("source"))
    tags = list_of(metadata.get("tags")) if isinstance(metadata, dict) else []
    plain = Cell(text_of(cell.get("cell_type")), text_of(cell.get("id")), tags, source)
    if plain.kind != "code":
        return plain
    outputs = [out for out in list_of(cell.get("outputs")) if isinstance(out, dict)]
    errors = [text_of(out.get("ename")) for out in outputs if out.get("output_type") == "error"]
    plain = plain._replace(error=next(iter(errors), ""), printed="".join(
        text_of(out.get("text")) for out in outputs if out.get("name") == "stdout"))
    try:
        tree = parse(source)
        parts = [part for one in tree.body  # the setup cell tries its imports
                 for part in (one.body if isinstance(one, ast.Try) else [one])]
        return plain._replace(tree=tree, statements=[
            Statement(ast.unparse(one), *names_of(one)) for one in parts
            if not isinstance(one, ast.Expr)])
    except Exception as error:  # brackets 10,000 deep are a MemoryError
        return plain._replace(fault=f"Its cell is not Python: {error}.")


def list_of(value: object) -> list:
    return value if isinstance(value, list) else []


def text_of(value: object) -> str:
    """A text of a notebook, which may be a list of lines; of anything else nothing."""
    lines = [value] if isinstance(value, str) else list_of(value)
    return "".join(line for line in lines if isinstance(line, str))


def parse(source: str) -> ast.Module:
    """The syntax tree of a cell, which may have magics (%time, !ls) in it."""
    from IPython.core.inputtransformer2 import TransformerManager  # takes half a second

    with warnings.catch_warnings(action="ignore"):  # of a backslash in a text
        try:
            return ast.parse(source)
        except SyntaxError:
            return ast.parse(TransformerManager().transform_cell(source))


def names_of(statement: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    """Which names of the notebook a statement sets, and which it needs; functions are seen into."""
    stores, loads = set(), set()
    with warnings.catch_warnings(action="ignore"):
        codes = [compile(ast.Module([statement], []), "", "exec")]
    for code in codes:
        codes += [part for part in code.co_consts if isinstance(part, CodeType)]
        for step in dis.get_instructions(code):
            if re.fullmatch(r"LOAD_\w*(NAME|GLOBAL)S?", step.opname):
                loads.add(step.argval)
            elif step.opname == "STORE_GLOBAL" or step.opname == "STORE_NAME" and code is codes[0]:
                stores.add(step.argval)
    if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
        stores.add("*")
    return frozenset(stores), frozenset(loads)


# --------------------------------------------------------------------------------- answers
def calls(cell: Cell, function: str) -> Iterator[ast.Call]:
    """The calls of exercises.check or exercises.compare in a cell."""
    return (node for node in ast.walk(cell.tree) if isinstance(node, ast.Call) and node.args
            and isinstance(node.func, ast.Attribute) and node.func.attr == function)


def find_answers(cells: Sequence[Cell], own: Mapping[str, str],
                 exercises: Collection[str]) -> list[Answer]:
    """What was checked, and in cells that ask for no check any more, what has their name.

    own: the exercise of each of the course's cells, by the cell's id.
    """
    found: dict[str, list[Answer]] = {}
    for i, cell in enumerate(cells):
        checked = {call.args[0].value: ast.unparse(call.args[1]) for call in calls(cell, "check")
                   if len(call.args) == 2 and isinstance(call.args[0], ast.Constant)}
        if cell.fault:
            checked = dict.fromkeys(re.findall(r'exercises\.check\(\s*["\'](\w+)', cell.source))
        if cell.id in own and (cell.tree.body or cell.fault):
            checked = {own[cell.id]: own[cell.id]} | checked
        for name in exercises & checked.keys():
            before = [one for each in cells[:i + 1] for one in each.statements]
            statements = [] if cell.fault else needed(checked[name], before)
            found.setdefault(name, []).append(Answer(name, statements, checked[name], cell.fault))
    return [answer for name in found for answer in found[name][-ATTEMPTS:]]


def find_exercises(path: Path) -> dict[str, str]:
    """The exercise of each cell of a notebook of the course that asks for one, by the cell's id."""
    return {cell.id: call.args[0].value for cell in read_cells(path)
            for call in calls(cell, "check")}


def needed(value: str, statements: Sequence[Statement]) -> list[str]:
    """Those statements that an expression needs, and that those need, in their order."""
    wanted = {"*", *names_of(ast.parse(value).body[0])[1]}
    while True:
        chosen = [one for one in statements if one.stores & wanted]
        more = wanted.union(*(one.loads for one in chosen))
        if more == wanted:
            return [one.text for one in chosen]
        wanted = more


def grade_all(answers: Sequence[Answer], exercises: Mapping[str, Exercise]
              ) -> tuple[list[tuple[str, str]], bool]:
    """Verdict and sentence of each answer, and whether the system closed all processes off.

    Raises OSError if no answer can be tried here, whatever it is.
    """
    shift, tried = 1000 + secrets.randbelow(10**6), [one for one in answers if not one.fault]
    tasks = [{"exercise": one.exercise, "room": exercises[one.exercise].solution.__module__,
              "statements": one.statements, "value": one.value} for one in tried]
    servers = min(len(tasks), joblib.cpu_count()) if FORKS else len(tasks)
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        shares = list(pool.map(lambda i: try_apart(tasks[i::servers], shift), range(servers)))
    outcomes = iter([shares[i % servers][i // servers] for i in range(len(tasks))])
    anew = {name: replace(exercise) for name, exercise in exercises.items()}  # has other results
    verdicts, closed = [], True
    for one in answers:
        outcome = {"failed": one.fault} if one.fault else next(outcomes)
        verdicts.append(judge(outcome, exercises[one.exercise], "results"))
        if verdicts[-1][0] == RIGHT:
            with grading.drawn_anew(shift):
                verdicts[-1] = judge(outcome, anew[one.exercise], "anew")
        closed &= outcome.get("closed") is not False
    return verdicts, closed


def judge(outcome: dict, exercise: Exercise, cases: str) -> tuple[str, str]:
    """Verdict and sentence, by what came back of an answer: results of the cases, or no."""
    results = outcome.get(cases)
    if not isinstance(results, list) or not all(isinstance(one, Result) for one in results):
        return WRONG, word(outcome.get("failed")) or DIED
    if len(results) == 1 and results[0].value is ...:
        return OPEN, ""
    if len(results) != len(exercise.cases()):  # what is missing would count as right
        return WRONG, DIED
    return grading.verdict(exercise, results)


def try_apart(tasks: Sequence[dict], shift: int) -> list[dict]:
    """What tools/apart.py says of each task, in a process without our environment."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [path for path in sys.path if os.path.isabs(path)]
        job = {"path": [str(ROOT), *paths], "folder": folder, "tasks": tasks, "shift": shift,
               "seconds": SECONDS, "forks": FORKS}
        own = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH", "SYSTEMROOT")
               if name in os.environ}
        (room := Path(folder, "room")).mkdir()
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-B", ROOT / "tools" / "apart.py"], cwd=room,
                input=json.dumps(job).encode(), capture_output=True,
                timeout=60 + (SECONDS + 5) * len(tasks),
                env=own | {"OMP_NUM_THREADS": "1", "HOME": str(room), "TMPDIR": str(room)})
        except subprocess.TimeoutExpired as late:
            done = late
        if done.stdout is None or not done.stdout.startswith(b"ready"):
            said = (done.stderr or b"").decode("utf-8", "replace").strip().split("\n")[-1]
            raise OSError(f"no answer can be graded here, tools/apart.py does not start: {said}")
        return [outcome(Path(folder, f"{i}.json")) for i in range(len(tasks))]


def outcome(path: Path) -> dict:
    """What a process apart has written: nothing, if it has died."""
    try:
        found = json.loads(path.read_bytes(), object_hook=decode)
    except Exception:  # noqa: BLE001 - an answer may have written it
        found = {}
    return found if isinstance(found, dict) else {}


def encode(value: object) -> dict:
    """What JSON does not know of a Result, as json.dumps(default=encode) asks for it."""
    if isinstance(value, Result):
        return {"name": value.name, "kind": type(value.value).__name__, "value": value.value,
                "changed": value.changed}
    if isinstance(value, Tensor):  # one that is refused by its shape is expanded: nothing is in it
        return {"shape": value.shape, "flat": value.tolist() if value.ndim == 0 else
                value.flatten().tolist() if 0 not in value.stride() else []}
    return {}  # a blank: its kind says it


def decode(found: dict) -> object:
    """The same again, as json.loads(object_hook=decode) asks for it."""
    if found.keys() == {"shape", "flat"}:
        flat = torch.tensor(found["flat"] or 0.0, dtype=torch.float64)
        return flat.reshape(found["shape"]) if found["flat"] else flat.expand(found["shape"])
    if found.keys() != {"name", "kind", "value", "changed"}:
        return found
    value = {"ellipsis": lambda _: ..., "tuple": tuple}.get(found["kind"], lambda value: value)
    return Result(word(found["name"]), value(found["value"]), word(found["changed"]))


# ----------------------------------------------------------------------------- predictions
def find_questions(path: Path) -> list[Question]:
    """What a notebook of the course asks to be predicted."""
    cells, units, found = read_cells(path), {}, []
    for call in (call for cell in cells for call in calls(cell, "compare")):
        unit = call.args[2].value if len(call.args) == 3 else ""
        units |= dict.fromkeys(compared(call), unit)
    title = ""
    for before, cell in zip(cells, cells[1:]):
        title = [title, *re.findall(r"(?m)^## (.+)", before.source)][-1]
        if "prediction" in cell.tags:
            slots = [Slot(name, place, units.get(name, ""))
                     for name, value in literals(cell).items()
                     for place in (range(len(value)) if isinstance(value, list) else [None])]
            lead, _, text = before.source.rpartition("**Predict:**")
            text = text.strip().split("\n\n")[0]
            asked = re.search(r"[^.!?]+\?\s*$|$", lead)[0]  # a question just before it
            text = f"{asked.strip()} {text[:1].upper()}{text[1:]}"
            comment = re.search(r"# (.+)", cell.source)
            found.append(Question(f"{path.name[:2]} {title}", text,
                                  comment[1] if comment else "", slots))
    return found


def literals(cell: Cell) -> dict[str, object]:
    """What a cell assigns to each name, where that is a literal; else a blank."""
    found = {}
    for node in cell.tree.body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        for target in targets if isinstance(node, ast.Assign | ast.AnnAssign) else []:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple | ast.List):
                values = getattr(node.value, "elts", [None] * len(target.elts))
                pairs = zip(target.elts, values)
            for name, value in pairs:
                try:
                    literal = ast.literal_eval(value)
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    literal = ...
                found[getattr(name, "id", "")] = literal
    return found


def compared(call: ast.Call) -> list[str]:
    """The names of the predictions that a call of exercises.compare is about."""
    return [node.id for node in getattr(call.args[0], "elts", [call.args[0]])
            if isinstance(node, ast.Name)]


def predicted(cells: Sequence[Cell], slots: Iterable[Slot]) -> dict[Slot, object]:
    """What a student predicted, where a notebook has the name: a literal, or a blank."""
    found: dict[str, object] = {}
    for cell in sorted(cells, key=lambda cell: "prediction" in cell.tags):  # these last: they count
        found |= literals(cell)
    values = {}
    for slot in (slot for slot in slots if slot.name in found):
        value = found[slot.name]
        if slot.place is not None:
            value = value[slot.place] if slot.place < len(list_of(value)) else ...
        values[slot] = value
    return values


def measured(cells: Sequence[Cell], slots: Sequence[Slot]) -> dict[Slot, float | str]:
    """What a notebook that ran has printed beside each prediction: a number or a word."""
    found = {}
    for cell in cells:
        for call in calls(cell, "compare"):
            own = [slot for name in compared(call) for slot in slots if slot.name == name]
            said = [match[1] for match in COMPARED.finditer(cell.printed)][-len(own):]
            found |= {slot: as_value(text, slot.unit) for slot, text in zip(own, said)
                      if text and len(said) == len(own)}
    return found


def as_value(text: str, unit: str) -> float | str:
    """A printed result: a number without its unit, or a word."""
    text = " ".join(text.split())
    try:
        number = float(text.removesuffix(unit.strip()))
        return number if abs(number) < 1e15 else text
    except ValueError:
        return text
