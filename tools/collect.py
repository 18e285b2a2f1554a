"""What a class predicted, and what it solved: collect.py FOLDER prints a row for each notebook.

Notebooks are read as they were handed in, and need not have run. Answers are tried anew, each in a
process apart (tools/apart.py): solved (yes), wrong (no), not answered (blank). A prediction is what
stands in its cell. --csv has the sentence about each wrong answer, too, and what was measured where
a notebook ran; --page shows the class to itself, in histograms and without a name.
"""

import argparse
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from class_page import MARKS, as_number, make_page, printable  # noqa: E402

from coursepack.exercises import handed_in  # noqa: E402
from coursepack.exercises.grading import OPEN, WRONG  # noqa: E402
from coursepack.exercises.handed_in import Question, Row  # noqa: E402
from coursepack.files import replace_file  # noqa: E402
from coursepack.show.figures import plain  # noqa: E402
from exercises import EXERCISES  # noqa: E402

FORMULAS = ("=", "+", "-", "@")  # what a spreadsheet computes begins so


def collect(folder: Path, questions: Sequence[Question], own: dict[str, str]
            ) -> tuple[list[Row], bool]:
    """A row for each notebook in a folder and those in it; were all answers tried closed off?"""
    slots = [slot for question in questions for slot in question.slots]
    rows = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix.lower() != ".ipynb" or any(part[0] == "." for part in inside.parts):
            continue  # Jupyter keeps old versions in .ipynb_checkpoints
        rows.append(row := Row(inside.with_suffix("").as_posix()))
        try:
            cells = handed_in.read_cells(path)
            row.note = next((f"{cell.error} in cell {number}" for number, cell
                             in enumerate(cells, 1) if cell.error), "")
            row.predicted = handed_in.predicted(cells, slots)
            row.measured = handed_in.measured(cells, slots)
            row.answers = handed_in.find_answers(cells, own, EXERCISES.keys())
        except Exception as error:  # whatever a student handed in, the others are still read
            row.note = str(error) if type(error) is ValueError else type(error).__name__
    answers = [one for row in rows for one in row.answers]
    print(f"{len(rows)} notebooks, {len(answers)} answers to try ...", file=sys.stderr)
    verdicts, closed = handed_in.grade_all(answers, EXERCISES)
    given = iter(verdicts)
    for row in rows:
        for answer in row.answers:  # of several the best counts: nobody is fined for a retry
            old, new = row.verdicts.get(answer.exercise, (OPEN, "")), next(given)
            row.verdicts[answer.exercise] = max(old, new, key=lambda one: [*MARKS].index(one[0]))
    return rows, closed


def tidy(value: object) -> str:
    """A value for a table: no formula of a spreadsheet, no code of a terminal, not long."""
    number = as_number(value)
    if number is not None:
        return plain(number)
    text = "" if value is ... else value if isinstance(value, str) else repr(value)
    text = printable(text)
    is_formula = unicodedata.normalize("NFKC", text).lstrip().startswith(FORMULAS)
    return "'" * is_formula + text


def make_table(rows: Sequence[Row], questions: Sequence[Question]) -> pd.DataFrame:
    """A row a notebook: exercises, predictions and what was measured, as far as any has them."""
    table = []
    for row in rows:
        cells = {"notebook": tidy(row.name)}
        for name, (verdict, said) in row.verdicts.items():
            cells[name] = MARKS[verdict] + (f": {tidy(said)}" if verdict == WRONG else "")
        for slot, value in row.predicted.items():
            cells[slot.label()] = "blank" if value is ... else tidy(value)
            cells[f"{slot.label()}, measured"] = tidy(row.measured.get(slot, ...))
        table.append(cells | {"note": tidy(row.note)})
    labels = [slot.label() for question in questions for slot in question.slots]
    order = ["notebook", *EXERCISES, *(f"{label}{more}" for label in labels
                                       for more in ("", ", measured")), "note"]
    found = pd.DataFrame(table)
    return found[[name for name in order if name in found]].fillna("").set_index("notebook")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the notebooks, those in its folders included")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="write the table there, too")
    parser.add_argument("--page", type=Path, metavar="FILE.html", help="what to show to the class")
    args = parser.parse_args()
    for option, file, kind in (("csv", args.csv, ".csv"), ("page", args.page, ".html")):
        if file and (file.suffix.lower() != kind or not file.parent.is_dir()):
            parser.error(f"--{option}={str(file)!r} is not a file *{kind} in a folder that is "
                         f"there: nothing else is written over. Choose such as class{kind}.")
    questions, own = [], {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        questions += handed_in.find_questions(path)
        own |= handed_in.find_exercises(path)
    try:
        rows, closed = collect(args.folder, questions, own)
        if not rows:
            sys.exit(f"{args.folder} holds no notebook (*.ipynb). Give the folder into which you "
                     "put what was handed in.")
        table = make_table(rows, questions)
        if args.csv:  # with a mark by which Excel knows the encoding
            replace_file(args.csv, lambda file: table.to_csv(file, encoding="utf-8-sig"))
        if args.page:
            page = make_page(rows, questions)
            replace_file(args.page, lambda file: file.write_text(page, encoding="utf-8"))
    except OSError as error:
        sys.exit(str(error))
    shown = table.loc[:, [name for name in table if not name.endswith(", measured")]]
    text = shown.replace(r"^no: .*", "no", regex=True).to_string()
    print(text.encode(coding := sys.stdout.encoding or "utf-8", "replace").decode(coding))
    if not closed:
        print("This system keeps answers from network and disks by way of Python alone. Collect "
              "those of strangers in a container without a network.", file=sys.stderr)


if __name__ == "__main__":
    main()
