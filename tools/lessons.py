"""Print a notebook without its lessons: what a study's run needs, and nothing beside its training.

    lessons.py notebooks/01_batch_norm_l1_l2.ipynb | papermill - run.ipynb

A cell with the tag "lesson" shows something to a reader. No other cell needs what it makes.
"""

import json
import sys
from pathlib import Path


def without_lessons(notebook: dict) -> dict:
    """A notebook without the cells that have the tag "lesson"."""
    kept = [cell for cell in notebook["cells"] if "lesson" not in cell["metadata"].get("tags", [])]
    return notebook | {"cells": kept}


if __name__ == "__main__":
    [path] = sys.argv[1:]
    json.dump(without_lessons(json.loads(Path(path).read_text(encoding="utf-8"))), sys.stdout)
