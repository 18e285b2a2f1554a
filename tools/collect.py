"""What students solved: collect.py FOLDER prints a row for each notebook that was handed in.

The notebooks were run before, with papermill for example. Columns are the exercises: yes, no (a
wrong answer), or - (left blank, or never reached). With --csv FILE the table goes there, too.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # exercises.py

import exercises  # noqa: E402
from coursepack.exercises.grading import OPEN, RIGHT, WRONG  # noqa: E402

MARKS = {RIGHT: "yes", WRONG: "no", OPEN: "-"}
VERDICT = re.compile(rf"^(\w+): ({'|'.join(MARKS)})\.", re.MULTILINE)  # as a check prints it


def read_row(path: Path) -> dict[str, str]:
    """What a notebook that has run says of each exercise, and the cell in which it stopped."""
    row = {"notebook": path.stem}
    try:
        cells = nbformat.read(path, as_version=4).cells
    except Exception as error:  # whatever a student handed in, the others are still read
        return row | {"stopped in": f"not a notebook ({type(error).__name__})"}
    for number, cell in enumerate(cells):
        for output in cell.get("outputs", []):
            row |= {name: MARKS[verdict] for name, verdict
                    in VERDICT.findall(output.get("text", "")) if name in exercises.EXERCISES}
            if output.output_type == "error":
                row["stopped in"] = f"cell {number}: {output.ename}"
    return row


def collect(folder: Path) -> pd.DataFrame:
    """A row a notebook. Columns: those exercises that any of them has, in the course's order."""
    paths = sorted(folder.glob("*.ipynb"))
    if not paths:
        sys.exit(f"{folder} holds no notebook (*.ipynb). Give the folder that papermill wrote to.")
    table = pd.DataFrame([read_row(path) for path in paths]).set_index("notebook")
    order = [*exercises.EXERCISES, "stopped in"]
    return table[[name for name in order if name in table]].fillna("-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of notebooks that have run")
    parser.add_argument("--csv", type=Path, help="write the table to this file, too")
    args = parser.parse_args()
    table = collect(args.folder)
    print(table.to_string())
    if args.csv:
        table.to_csv(args.csv)


if __name__ == "__main__":
    main()
