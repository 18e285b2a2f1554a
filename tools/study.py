"""The runs of a study, a file studies/<name>.yaml. studies/Snakefile makes one job of each.

A study is recipes x grid x seeds. Its file has
    about:    what it is, in a sentence
    to_reach: accuracy by recipe, in percent, such as its source claims (optional)
    common:   parameters of every run (optional)
    grid:     parameters that take several values, each with a list (optional)
    recipes:  by name, each with its notebook and what it changes
    seeds:    a list
"""

import ast
import functools
import itertools
import json
import sys
from pathlib import Path
from typing import NamedTuple

import papermill
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from coursepack.files import ROOT
from coursepack.recipe import ALIKE, with_defaults
from model import check_choice

STUDIES = ROOT / "studies"
KEYS = ("about", "to_reach", "common", "grid", "recipes", "seeds")
SET_HERE = ("seed", "run_name", "runs_dir")  # by the study itself


class Run(NamedTuple):
    name: str  # recipe, grid values and seed
    notebook: str
    parameters: dict[str, object]  # what is passed to it


@functools.cache
def notebook_defaults(name: str) -> dict[str, object]:
    """The parameters of a recipe notebook, with their defaults."""
    described = papermill.inspect_notebook(ROOT / "notebooks" / f"{name}.ipynb")
    return {key: ast.literal_eval(value["default"]) for key, value in described.items()}


def read_study(name: str, folder: str = "") -> list[Run]:
    """All runs of a study, whose records go to folder (runs/<name>).

    Raises ValueError, before any run, that says what to change in its file.
    """
    check_choice("study", name, sorted(path.stem for path in STUDIES.glob("*.yaml")))
    study = yaml.safe_load((STUDIES / f"{name}.yaml").read_text())
    for key in study:
        check_choice(f"key of study {name}", key, KEYS)
    common, grid = study.get("common", {}), study.get("grid", {})
    recipes, seeds = study.get("recipes", {}), study.get("seeds", [])
    if not recipes or not seeds or any(type(seed) is not int for seed in seeds):
        raise ValueError(f"study {name} needs recipes, and a list of whole numbers as seeds")
    check_known(f"to_reach of study {name}", study.get("to_reach", {}), recipes)
    if bad := [key for key, values in grid.items() if not isinstance(values, list) or not values]:
        raise ValueError(f"grid of study {name}: {bad[0]} needs a list of values")
    notebooks = [path.stem for path in (ROOT / "notebooks").glob("0[1-3]*.ipynb")]
    runs = []
    for recipe, own in recipes.items():
        notebook = check_choice(f"notebook of {recipe}", own.get("notebook"), sorted(notebooks))
        changed = common | {key: value for key, value in own.items() if key != "notebook"}
        allowed = [key for key in notebook_defaults(notebook) if key not in SET_HERE]
        check_known(f"parameter of {recipe}", [*changed, *grid], allowed)
        for values in itertools.product(*grid.values()):
            point = dict(zip(grid, values))
            label = "-".join([recipe, *(f"{key}_{value}" for key, value in point.items())])
            for seed in seeds:
                run = f"{label}-seed{seed}"
                place = {"seed": seed, "run_name": run, "runs_dir": folder or f"runs/{name}"}
                runs.append(Run(run, notebook, changed | point | place))
    for key in ALIKE:  # else the summary would refuse them, when all have been made
        values = {all_parameters(run)[key]: run.name for run in runs}
        if len(values) > 1:
            differ = ", ".join(f"{value!r} in {run}" for value, run in values.items())
            raise ValueError(f"study {name}: its runs differ in {key} ({differ}), so a summary "
                             f"cannot compare them. Set {key} once, under common.")
    return runs


def all_parameters(run: Run) -> dict[str, object]:
    """What a run has after papermill: its notebook's defaults, and what is passed to it."""
    return notebook_defaults(run.notebook) | run.parameters


def written(run: Run) -> str:
    """The parameters of a run for papermill -y, which takes JSON's 1e-05 for a word."""
    return yaml.safe_dump(run.parameters, default_flow_style=True, width=10**6).strip()


def check_known(name: str, values: object, allowed: object) -> None:
    for value in values:
        check_choice(name, value, allowed)


def finished(run: Run) -> bool:
    """Is there a record of this run, with these parameters? It alone says so."""
    file = ROOT / run.parameters["runs_dir"] / run.name / "record.json"
    try:
        recorded = with_defaults(json.loads(file.read_text())["parameters"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    expected = with_defaults(all_parameters(run))
    places = ("data_dir", "device")  # these may differ from machine to machine
    return all(recorded.get(key) == value for key, value in expected.items() if key not in places)
