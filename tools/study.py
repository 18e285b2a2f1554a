"""The runs of a study, a file studies/<name>.yaml. studies/Snakefile makes one job of each.

A study is recipes x grid x seeds. Its file has
    about:    what it is, in a sentence
    to_reach: accuracy by recipe, in percent, such as its source claims (optional)
    common:   parameters of every run (optional)
    grid:     parameters that take several values, each with a list (optional)
    recipes:  by name, each with its notebook and what it changes
    seeds:    a list
    factors:  parameters in which its runs may differ, though runs have to agree in them (optional)
    threads:  how many each run takes (optional)
    repeats:  the study whose recipes it has, in place of all keys but about, seeds and threads
"""

import ast
import functools
import itertools
import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import filelock
import papermill
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from coursepack import threads
from coursepack.data.datasets import SAMPLE
from coursepack.files import ROOT, check_choice
from coursepack.runs.records import load_record
from coursepack.train.recipe import ALIKE, PLACES, Recipe, with_defaults
from model import check_norm

STUDIES = ROOT / "studies"
KEYS = {  # of a study's file: the type of its value, and an example
    "about": (str, "a sentence"),
    "to_reach": (dict, "percent by recipe, such as {gn: 99.3}"),
    "common": (dict, "parameters, such as {epochs: 5, lr: 0.1}"),
    "grid": (dict, "lists of values by parameter, such as {dropout: [0.0, 0.1]}"),
    "recipes": (dict, "recipes by name, such as {gn: {notebook: 02_group_norm_l1}}"),
    "seeds": (list, "a list of whole numbers, such as [1, 2, 3]"),
    "factors": (list, "a list of parameters, such as [lr]"),
    "threads": (int, "a whole number from 1 to 1000"),
    "repeats": (str, "the name of another study"),
}
EMPTY = {"to_reach": {}, "common": {}, "grid": {}, "factors": [], "threads": 0}  # if left out
OWN = ("about", "seeds", "threads", "repeats")  # all that a study has which repeats another
SET_HERE = ("seed", "run_name", "runs_dir")  # by the study itself
MOST_RUNS = 10_000


class Run(NamedTuple):
    name: str  # recipe, grid values and seed
    notebook: str
    parameters: dict[str, object]  # what is passed to it


# ------------------------------------------------------------------------ what its file says
class UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which it would silently take the last."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value]
        for i, (key, _) in enumerate(node.value):
            if key.value in keys[:i]:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is given twice",
                                           problem_mark=key.start_mark)
        return node


def study_names() -> list[str]:
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def load_yaml(name: str, folder: Path) -> object:
    """What the file of a study holds. Raises ValueError, with the line, if it is no YAML."""
    check_choice("study", name, sorted(path.stem for path in folder.glob("*.yaml")))
    check_plain("study", name, "[A-Za-z0-9_.-]+")
    try:
        return yaml.load((folder / f"{name}.yaml").read_bytes(), UniqueKeys)
    except Exception as error:  # what YAML's tags raise has no common class
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        place = "studies" if folder == STUDIES else "studies/laboratory"
        raise ValueError(f"study {name} cannot be read, {line}{problem}. Mend "
                         f"{place}/{name}.yaml; studies/README.md shows how.") from error


def read_own(name: str) -> dict[str, object]:
    """The keys that the file of a study has itself, each of its type."""
    study = load_yaml(name, STUDIES)
    if not isinstance(study, dict):
        raise ValueError(f"study {name} has no keys in its file. Write about, recipes and seeds; "
                         "studies/README.md shows how.")
    for key, value in study.items():
        check_choice(f"key of study {name}", key, KEYS)
        kind, example = KEYS[key]
        if type(value) is not kind or (key == "threads" and not 0 < value <= 1000):
            raise ValueError(f"{key} of study {name} is {value!r:.60}. Write {example}.")
    return study


def with_repeated(name: str, study: dict[str, object]) -> dict[str, object]:
    """A study that repeats another, with all that it takes from that one."""
    other = check_choice(f"repeats of study {name}", study["repeats"], study_names())
    source = read_own(other)
    if extra := [key for key in study if key not in OWN]:
        raise ValueError(f"study {name} repeats {other}, and {extra[0]} comes from there. "
                         f"Remove {extra[0]} or repeats.")
    if "repeats" in source:
        raise ValueError(f"study {name} repeats {other}, which repeats {source['repeats']}. "
                         "Name a study with recipes of its own.")
    if both := [seed for seed in study.get("seeds", []) if seed in source.get("seeds", [])]:
        raise ValueError(f"study {name} has seed {both[0]!r}, as {other} has, which it repeats. "
                         "Choose fresh seeds: only they can confirm a result.")
    return {key: value for key, value in source.items() if key not in OWN} | study


def read_file(name: str) -> dict[str, object]:
    """What the file of a study says, with what it repeats; optional keys it leaves out are empty.

    Raises ValueError that says what to change in it.
    """
    study = read_own(name)
    if "repeats" in study:
        study = with_repeated(name, study)
    for key in ("about", "recipes", "seeds"):
        if not study.get(key):
            raise ValueError(f"study {name} needs {key}. Write {KEYS[key][1]}.")
    study = EMPTY | study
    check_count(name, study)
    check_seeds(name, study["seeds"])
    check_recipes(name, study["recipes"])
    check_grid(name, study)
    check_to_reach(name, study)
    check_known(f"factor of study {name}", study["factors"], ALIKE)
    check_once(f"factors of study {name}", study["factors"])
    return study


def check_known(name: str, values: Iterable, allowed: Iterable[str]) -> None:
    for value in values:
        check_choice(name, value, allowed)


def check_plain(what: str, name: object, pattern: str) -> None:
    """Raise ValueError for a name that could not be part of a file's everywhere."""
    if not isinstance(name, str) or not re.fullmatch(pattern, name) or not name[0].isalnum():
        raise ValueError(f"{what} {name!r:.60} is no plain name. Choose letters, digits and '_'; "
                         "a number, or a word such as yes, needs quotes.")


def check_once(what: str, values: list) -> None:
    if again := [value for i, value in enumerate(values) if value in values[:i]]:
        raise ValueError(f"{what}: {again[0]!r} is there twice. Remove one of them.")


def check_count(name: str, study: dict[str, object]) -> None:
    lists = [values for values in study["grid"].values() if isinstance(values, list)]
    count = math.prod(map(len, [study["recipes"], study["seeds"], *lists]))
    if count > MOST_RUNS:
        raise ValueError(f"study {name} has {count:,} runs. Choose {MOST_RUNS:,} or fewer.")


def check_seeds(name: str, seeds: list) -> None:
    if bad := [seed for seed in seeds if type(seed) is not int]:
        raise ValueError(f"seeds of study {name}: {bad[0]!r:.60} is none. Write whole numbers.")
    check_once(f"seeds of study {name}", seeds)


def check_recipes(name: str, recipes: dict) -> None:
    for recipe, own in recipes.items():
        check_plain(f"study {name}: recipe", recipe, "[A-Za-z0-9_]+")
        if not isinstance(own, dict):
            raise ValueError(f"study {name}: recipe {recipe} is {own!r:.60}. Write its notebook "
                             "and what it changes, such as {notebook: 02_group_norm_l1, l1: 0.0}.")


def check_grid(name: str, study: dict[str, object]) -> None:
    for key, values in study["grid"].items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"grid of study {name}: {key} is {values!r:.60} and needs a list of "
                             "values, such as [0.0, 0.1].")
        check_once(f"grid of study {name}, {key}", values)
        for place, own in {"common": study["common"], **study["recipes"]}.items():
            if key in own:
                raise ValueError(f"study {name}: {key} is set in grid and in {place}. "
                                 "Remove one of them.")


def check_to_reach(name: str, study: dict[str, object]) -> None:
    check_known(f"to_reach of study {name}", study["to_reach"], study["recipes"])
    for recipe, value in study["to_reach"].items():
        if type(value) not in (int, float) or not 0 < value <= 100:
            raise ValueError(f"to_reach of study {name}: {recipe} is {value!r:.60}. Write a "
                             "percentage, such as 99.3.")


# ---------------------------------------------------------------------------------- its runs
@functools.cache
def notebook_defaults(name: str) -> dict[str, object]:
    """The parameters of a recipe notebook, with their defaults."""
    described = papermill.inspect_notebook(ROOT / "notebooks" / f"{name}.ipynb")
    return {key: ast.literal_eval(value["default"]) for key, value in described.items()}


def read_study(name: str, folder: str = "") -> list[Run]:
    """All runs of a study, whose records go to folder (runs/<name>).

    Raises ValueError that says what to change in its file. Whether the values of the parameters
    are possible, check_runs() says.
    """
    study, runs = read_file(name), []
    grid = study["grid"]
    for recipe, own in study["recipes"].items():
        changed = study["common"] | own
        notebook = check_parameters(f"study {name}: recipe {recipe}", changed, grid)
        changed.pop("notebook")
        for values in itertools.product(*grid.values()):
            point = dict(zip(grid, values))
            label = "-".join([recipe, *(f"{key}_{value}" for key, value in point.items())])
            for seed in study["seeds"]:
                run = f"{label}-seed{seed}"
                place = {"seed": seed, "run_name": run, "runs_dir": folder or f"runs/{name}"}
                runs.append(Run(run, notebook, changed | point | place))
    check_names(name, runs)
    check_alike(name, runs, study["factors"])
    return runs


def check_parameters(recipe: str, changed: dict[str, object], grid: dict[str, list]) -> str:
    """Raise ValueError for what cannot be a parameter of a recipe; returns its notebook."""
    notebooks = sorted(path.stem for path in (ROOT / "notebooks").glob("0[1-3]*.ipynb"))
    notebook = check_choice(f"{recipe}: notebook", changed.get("notebook"), notebooks)
    defaults = notebook_defaults(notebook)
    allowed = [key for key in defaults if key not in SET_HERE]
    pairs = [(key, value) for key, value in changed.items() if key != "notebook"]
    pairs += [(key, value) for key, values in grid.items() for value in values]
    for key, value in pairs:
        check_choice(f"{recipe}: parameter", key, allowed)
        if not isinstance(value, str | int | float):
            raise ValueError(f"{recipe}: {key} is {value!r:.60}. Write one value; several belong "
                             "under grid.")
        number = re.fullmatch(r"([+-]?\d+\.?\d*|[+-]?\.\d+)[eE]([+-]?\d{1,3})", str(value))
        if isinstance(value, str) and not isinstance(defaults[key], str) and number:
            written = f"{float(number[1])}e{int(number[2]):+}"
            raise ValueError(f"{recipe}: {key} is {value}, a word in YAML. Write {written}.")
    return notebook


def check_names(name: str, runs: list[Run]) -> None:
    """Raise ValueError for names of runs that cannot be those of files, or of one file each."""
    names: dict[str, str] = {}
    for run in runs:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", run.name):
            raise ValueError(f"study {name}: {run.name!r:.99} cannot be the name of a run. Write a "
                             "recipe for each of these values, in place of grid.")
        other = names.setdefault(run.name.casefold(), run.name)
        if other is not run.name:
            raise ValueError(f"study {name}: {other} and {run.name} are one name where case does "
                             "not count. Rename a recipe.")


def check_alike(name: str, runs: list[Run], factors: list[str]) -> None:
    """Raise ValueError for what the summary would refuse when all runs have been made."""
    for key in [key for key in ALIKE if key not in factors]:
        values = {all_parameters(run)[key]: run.name for run in runs}
        if len(values) > 1:
            differ = ", ".join(f"{value!r} in {run}" for value, run in values.items())
            raise ValueError(f"study {name}: its runs differ in {key} ({differ}), so a summary "
                             f"cannot compare them. Set {key} once, under common, or write "
                             f"factors: [{key}] if that is what the study is about.")


def check_runs(name: str, runs: list[Run]) -> None:
    """Put every recipe and every seed of a study together as a Recipe, which checks it all.

    Raises ValueError that names the run; also for two recipes that are the same.
    """
    checked, recipes = set(), {}
    for run in runs:
        label, seed = run.name.rpartition("-seed")[0], run.parameters["seed"]
        if {label, seed} <= checked:
            continue
        checked |= {label, seed}
        try:
            recipe = Recipe(**all_parameters(run))
        except ValueError as error:
            raise ValueError(f"study {name}, run {run.name}: {error}") from error
        for key, value in run.parameters.items():  # "0.1" is taken for 0.1, but is another text
            if getattr(recipe, key) != value:
                raise ValueError(f"study {name}, run {run.name}: {key} is {value!r:.60}. Write "
                                 f"{getattr(recipe, key)!r}.")
        shared = {k: v for k, v in spelled_out(all_parameters(run)).items()
                  if k not in (*SET_HERE, *PLACES)}
        other = recipes.setdefault(frozenset(shared.items()), label)
        if other != label:
            raise ValueError(f"study {name}: {other} and {label} are the same recipe. "
                             "Change or remove one of them.")


def all_parameters(run: Run) -> dict[str, object]:
    """What a run has after papermill: its notebook's defaults, and what is passed to it."""
    return notebook_defaults(run.notebook) | run.parameters


def written(run: Run) -> str:
    """The parameters of a run for papermill -y, which takes JSON's 1e-05 for a word."""
    return yaml.safe_dump(run.parameters, default_flow_style=True, width=10**6).strip()


def threads_each(wanted: int, missing: int) -> int:
    """Threads of a run: what its study's file wants, else an equal share of the cores.

    Two runs of one thread each end sooner than one after the other with two threads each.
    """
    return wanted or max(1, threads.count_cores() // max(1, missing))


def hold_folder(study: str, folder: str) -> filelock.FileLock:
    """The right to run a study into folder, for as long as this process lives, however it ends.

    Raises ValueError if another process has it.
    """
    place = ROOT / folder
    place.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(place / ".lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise ValueError(f"study {study} is being run by another process, in {place}. Wait for its "
                         "end, or choose another folder: make study RUNS=folder.") from None
    return lock


# --------------------------------------------------------------------------------- its records
def spelled_out(parameters: dict[str, object]) -> dict[str, object]:
    """All parameters, with the full name of the norm."""
    whole = with_defaults(parameters)
    return whole | {"norm": check_norm(whole["norm"])}


def changed_since(run: Run, record: dict) -> dict[str, tuple[object, object]]:
    """Parameters that a record has otherwise than its run: what it has, what the run has.

    Folders and device may differ from machine to machine. A run that found nothing but the sample
    has not seen the data set that it asked for.
    """
    recorded, expected = spelled_out(record["parameters"]), spelled_out(all_parameters(run))
    if record["data"]["source"] == "sample":
        recorded["dataset"] = SAMPLE
    return {key: (recorded.get(key), value) for key, value in expected.items()
            if key not in PLACES and recorded.get(key) != value}


def record_file(run: Run) -> Path:
    return ROOT / run.parameters["runs_dir"] / run.name / "record.json"


def finished(run: Run) -> bool:
    """Is there a record of this run, with these parameters and data? It alone says so."""
    try:
        return not changed_since(run, load_record(record_file(run)))
    except (OSError, ValueError):
        return False


def check_kept(study: str, runs: list[Run], kept: dict[str, dict]) -> None:
    """Raise ValueError unless every kept record, by its name, is that of one of the runs."""
    by_name = {run.name: run for run in runs}
    for name, record in kept.items():
        file = f"results/{study}/{name}.json"
        if name not in by_name:
            raise ValueError(f"{file} is of no run of studies/{study}.yaml. Restore that file, or "
                             "remove the record.")
        for key, (old, new) in changed_since(by_name[name], record).items():
            raise ValueError(f"{file} has {key}={old!r}, studies/{study}.yaml {key}={new!r}. "
                             f"Restore that file, or run it as it is now: make study STUDY={study},"
                             f" then make report STUDY={study}.")
