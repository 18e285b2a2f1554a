"""What the notebooks of the laboratory found, from their saved outputs: a page and a summary."""

import itertools
import re
from collections.abc import Iterator

import nbformat

from coursepack.files import ROOT
from coursepack.lab.rows import CONTROL, EXPECTED

INTRODUCTION = """\
# The laboratory: nine questions

Written by `make report` from the saved outputs of
[notebook 5](../notebooks/05_what_norms_change.ipynb) and
[notebook 6](../notebooks/06_what_penalties_change.ipynb): for each question what was found, what
was expected before its first run, the run that could have refuted it (its control), and the
figures. What has no control is an observation. The notebooks say why, and what others found; the
numbers are in the tables beside this page, a row a run."""
FOUND = "**Found:** "


def read_questions() -> dict[str, list[str]]:
    """By its title: heading, what was found, the rest that the notebook says, and its place."""
    questions = {}
    for path in sorted((ROOT / "notebooks").glob("0[56]_*.ipynb")):
        pieces = []  # of what comes before the first question: dropped
        for cell in nbformat.read(path, as_version=4).cells:
            if heading := re.match(r"## (\d.*)", cell.source):
                pieces = questions.setdefault(heading[1], [f"## {heading[1]}"])
                pieces.append(f"[Its section](../notebooks/{path.name}#{slug(heading[1])})")
            pieces += pieces_of(cell)
    for pieces in questions.values():  # the sentence comes first, the place last
        pieces[1:] = sorted(pieces[2:], key=lambda text: not text.startswith(FOUND)) + pieces[1:2]
    return questions


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def pieces_of(cell: nbformat.NotebookNode) -> Iterator[str]:
    """The commands of its studies, what was expected or found, its figures."""
    outputs = cell.get("outputs", [])
    printed = "".join(output.get("text", "") for output in outputs)  # it came in pieces
    if run := re.search(r"(?ms)^\*\*Run it:\*\*.*", cell.source):
        yield run[0]
    elif EXPECTED in printed:
        yield f"*Expected:* {paragraph(printed.split(EXPECTED)[-1])}"
        yield f"*Control:* {paragraph(printed.split(CONTROL)[-1])}"
    elif "finding" in cell.metadata.get("tags", []):
        yield FOUND + paragraph(printed)
    for output in outputs:
        shown = output.get("metadata", {}).get("image/png", {})
        if "file" in shown:
            yield f"![{shown['alt']}](../images/{shown['file']})"


def paragraph(text: str) -> str:
    """The first of a text, in one line."""
    return " ".join(text.split("\n\n")[0].split())


def page(questions: dict[str, list[str]]) -> str:
    """results/laboratory.md."""
    return "\n\n".join([INTRODUCTION, *itertools.chain(*questions.values())]) + "\n"


def summary(questions: dict[str, list[str]]) -> str:
    """The README's part: what was found, by question."""
    lines = ""
    for heading, pieces in questions.items():
        found = [text.removeprefix(FOUND) for text in pieces if text.startswith(FOUND)]
        lines += f"- **{heading}** " + "\n  ".join(found) + "\n"
    return lines
