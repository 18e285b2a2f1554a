"""The files of studies, studies/<name>.yaml, and the runs that each of them stands for.

A study is recipes x grid x seeds. Of kind "notebook" it is runs of the recipe notebooks, each with
its record; of kind "rows" small runs, each a row of a table. studies/README.md explains the keys.
"""

import ast
import contextlib
import functools
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from coursepack.data.datasets import SAMPLE
from coursepack.files import ROOT, check_choice
from coursepack.lab.measures import MEASURES
from coursepack.runs.records import RECIPES, RECORD, load_record
from coursepack.train.recipe import MUST_AGREE, PLACES, PLAIN, Recipe, with_defaults
from model import check_norm

STUDIES, RESULTS = ROOT / "studies", Path("results")  # the latter with a table or folder of each
NOTEBOOK, ROWS = KINDS = ("notebook", "rows")
KEYS = {  # of a study's file: the kinds that have it, its type, that of what it holds, an example
    "kind": (KINDS, str, (), "notebook or rows"),
    "about": (KINDS, str, (), "a sentence"),
    "expected": ((ROWS,), str, (), "the answer that you expect"),
    "analysis": ((ROWS,), str, (), "what is compared with what, and by which test"),
    "control": ((ROWS,), str, (), "the run, made in the same way, that would show the same picture "
                "if the explanation were wrong; or none, and what is found is an observation"),
    "minutes": ((ROWS,), int, (), "a whole number, from a run on two cores"),
    "to_reach": ((NOTEBOOK,), dict, (int, float), "percentages by recipe, such as {gn: 99.3}"),
    "common": (KINDS, dict, (), "parameters, such as {epochs: 5, lr: 0.1}"),
    "grid": (KINDS, dict, (list,), "lists of values by parameter, such as {dropout: [0.0, 0.1]}"),
    "recipes": ((NOTEBOOK,), dict, (dict,), "recipes by name, each with its notebook and what it "
                "changes, such as {gn: {notebook: 02_group_norm_l1, l1: 0.0}}"),
    "seeds": (KINDS, list, (int,), "a list of whole numbers, such as [1, 2, 3]"),
    "measure": ((ROWS,), list, (), f"a list of {', '.join(MEASURES)}"),
    "factors": ((NOTEBOOK,), list, (), "a list of parameters, such as [lr]"),
    "threads": ((NOTEBOOK,), int, (), "a whole number from 1 to 1000"),
    "repeats": ((NOTEBOOK,), str, (), "the name of another study"),
}
NEEDED = {NOTEBOOK: ("about", "recipes", "seeds"),
          ROWS: ("about", "expected", "analysis", "control", "common", "grid", "seeds")}
NOT_REPEATED = ("kind", "about", "seeds", "threads", "repeats")  # what a study that repeats has
SET_HERE = ("seed", "subset_seed", "run_name", "runs_dir")  # by the study itself
MOST_RUNS = 10_000


class Run(NamedTuple):
    name: str  # recipe, grid values and seed
    notebook: str  # "": none, it is a row
    parameters: dict[str, object]  # other than the defaults


# ------------------------------------------------------------------------ what its file says
class StudyYaml(yaml.SafeLoader):
    """YAML 1.2's numbers (1.1 makes 8 of 010), no key twice, no tags or aliases (endless ones)."""
    yaml_implicit_resolvers = {}

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node:
        event, seen = self.peek_event(), set()
        if self.check_event(yaml.AliasEvent) or event.tag:
            raise yaml.MarkedYAMLError(problem="an alias or a tag: write out what it stands for",
                                       problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if str(key.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is given twice",
                                           problem_mark=key.start_mark)
            seen.add(str(key.value))
        return node


for kind, pattern in {"bool": "[Tt]rue|[Ff]alse", "null": "null|~|", "int": "[-+]?(0|[1-9][0-9]*)",
                      "float": r"[-+]?(\d+\.\d*([eE][-+]?\d+)?|\.\d+|\d+[eE][-+]?\d+)"}.items():
    pattern = re.compile(f"({pattern})$", re.ASCII)
    StudyYaml.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", pattern, None)
parse = functools.cache(functools.partial(yaml.load, Loader=StudyYaml))  # asked for often


@contextlib.contextmanager
def named(what: str) -> Iterator[None]:
    """Every refusal within says first what it is of."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def check(right: object, what: object, value: object, example: object) -> None:
    """Raise ValueError unless a value is right."""
    if not right:
        raise ValueError(f"{what} is {value!r:.60}. Write {example}.")


def study_names() -> list[str]:
    """The studies that are here."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml") if PLAIN.fullmatch(path.stem))


def read_file(name: str) -> dict[str, object]:
    """What a study's file says, with what it repeats; levels of the grid are dictionaries."""
    with named(f"study {check_choice('study', name, study_names())}"):
        study = read_own(name)
        if "repeats" in study:
            study = with_repeated(study)
        kind = study["kind"]
        if lacks := [key for key in NEEDED[kind] if not study.get(key)]:
            raise ValueError(f"it needs {lacks[0]}. Write {KEYS[lacks[0]][-1]}.")
        study = {key: of() for key, (kinds, of, *_) in KEYS.items() if kind in kinds} | study
        recipes, levels = study.get("recipes", {}), study["grid"].values()
        count = math.prod(map(len, [study["seeds"], *levels])) * max(1, len(recipes))
        if count > MOST_RUNS:
            raise ValueError(f"there are {count:,} runs. Choose {MOST_RUNS:,} or fewer.")
        for key, allowed in [("factors", MUST_AGREE), ("to_reach", recipes), ("measure", MEASURES)]:
            for value in study.get(key, ()):
                check_choice(key, value, allowed)
        lists = {key: value for key, value in study.items() if isinstance(value, list)}
        for key, values in (lists | study["grid"]).items():
            if again := [value for value, n in Counter(map(repr, values)).items() if n > 1]:
                raise ValueError(f"{again[0]} of {key} is there twice. Remove one of them.")
    grid = {factor: [level if isinstance(level, dict) else {factor: level} for level in levels]
            for factor, levels in study["grid"].items()}
    factors = dict.fromkeys(itertools.chain(*itertools.chain(*grid.values())))
    return {"study": name, "factors": [*factors]} | study | {"grid": grid}


def read_own(name: str) -> dict[str, object]:
    """The keys that the file of a study has itself, all of them its kind's and of their types."""
    try:
        study = parse((STUDIES / f"{name}.yaml").read_bytes())
    except Exception as error:  # what YAML's tags raise has no common class
        raise ValueError(f"it cannot be read: {' '.join(str(error).split()):.300}. Mend studies/"
                         f"{name}.yaml; studies/README.md shows how.") from error
    if not isinstance(study, dict):
        raise ValueError("there are no keys in its file. studies/README.md shows them.")
    kind = check_choice("kind", study.get("kind"), KINDS)
    keys = {key: rest for key, (kinds, *rest) in KEYS.items() if kind in kinds}
    for key, value in study.items():
        of, inside, example = keys[check_choice(f"key of kind {kind}", key, keys)]
        check(type(value) is of and (key != "threads" or 0 < value <= 1000), key, value, example)
        held = value if of is dict else {}
        if of is list:
            held = {f"number {number}": one for number, one in enumerate(value, 1)}
        for which, one in held.items():
            right = not inside or type(one) in inside and one != []
            right = right and (key != "to_reach" or 0 < one <= 100)
            check(right, f"{which} of {key}", one, example)
    return study


def with_repeated(study: dict[str, object]) -> dict[str, object]:
    """A study that repeats another, with all that it takes from that one."""
    other = check_choice("repeats", study["repeats"], study_names())
    source = read_own(other)
    if "recipes" not in source:
        raise ValueError(f"it repeats {other}, which has no recipes of its own. Name one that has.")
    if extra := [key for key in study if key not in NOT_REPEATED]:
        raise ValueError(f"it repeats {other}, and {extra[0]} comes from there. "
                         f"Remove {extra[0]} or repeats.")
    if both := [seed for seed in study.get("seeds", []) if seed in source.get("seeds", [])]:
        raise ValueError(f"it has seed {both[0]!r}, as {other} has, which it repeats. "
                         "Choose fresh seeds: only they can confirm a result.")
    return {key: value for key, value in source.items() if key not in NOT_REPEATED} | study


# ---------------------------------------------------------------------------------- its runs
@functools.cache
def notebook_defaults(name: str) -> dict[str, object]:
    """The parameters of a recipe notebook, or of a row (""), with their defaults."""
    if not name:
        return {key: value for key, value in with_defaults({}).items() if key not in PLACES}
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    [cell] = [cell for cell in json.loads(text)["cells"]
              if "parameters" in cell["metadata"].get("tags", [])]
    return {line.target.id: ast.literal_eval(line.value)  # each with its type: epochs: int = 20
            for line in ast.parse("".join(cell["source"])).body}


def read_study(name: str, folder: str = "") -> list[Run]:
    """All runs of a study, with records in folder (runs/<name>), before check_runs()."""
    study, runs, notebook = read_file(name), [], ""
    for recipe, own in study.get("recipes", {"": {}}).items():
        changed = study["common"] | own
        with named(f"study {name}, recipe {recipe}" if recipe else f"study {name}"):
            if study["kind"] == NOTEBOOK:
                notebook = check_choice("notebook", changed.pop("notebook", None), RECIPES.values())
            check_places(changed, study["grid"], notebook)
        for *levels, seed in itertools.product(*study["grid"].values(), study["seeds"]):
            point = {key: value for level in levels for key, value in level.items()}
            words = [recipe, *(f"{key}_{value}" for key, value in point.items()), f"seed{seed}"]
            run = "-".join(str(word) for word in words if word != "")
            place = {"run_name": run, "runs_dir": folder or f"runs/{name}"}
            if not notebook:  # a seed draws the images, too, where not all of them are taken
                place = {"subset_seed": seed if (changed | point).get("train_size") else 0}
            runs.append(Run(run, notebook, changed | point | {"seed": seed} | place))
    return runs


def check_places(changed: dict[str, object], grid: dict[str, list[dict]], notebook: str) -> None:
    """Raise ValueError for what is no parameter, or is set in more than one place."""
    places = dict.fromkeys(changed, "common or a recipe")
    for factor, levels in grid.items():
        here = f"{factor} of grid"
        for key in itertools.chain(*levels):
            if places.setdefault(key, here) != here:
                raise ValueError(f"{key} is set in {places[key]} and in {here}. Choose one.")
            if not notebook and key in ("dataset", "holdout"):
                raise ValueError(f"{key} is in grid, and all rows of a table are of the same "
                                 f"images. Set {key} under common.")
    allowed = [key for key in notebook_defaults(notebook) if key not in SET_HERE]
    for key in places:
        check_choice("parameter", key, allowed)


def check_runs(name: str, runs: Sequence[Run]) -> list[Recipe]:
    """The recipes of a study's runs, all possible, no two the same, and such as can be compared."""
    recipes, names, study = [], {}, read_file(name)
    for run in runs:
        with named(f"study {name}, run {run.name}"):
            parameters = all_parameters(run.notebook, run.parameters)
            recipes.append(recipe := Recipe(**parameters))
            for key in run.parameters:  # "0.1" is taken for 0.1, but is a text
                taken = getattr(recipe, key)
                check(parameters[key] == taken, key, parameters[key], repr(taken))
            shared = tuple(value for key, value in vars(recipe).items()
                           if key not in (*SET_HERE, *PLACES))
            for key, own, what in (
                    (run.name.casefold(), run.name, "one name where case does not count"),
                    (shared, run.name.rpartition("-seed")[0], "the same recipe")):
                if (other := names.setdefault(key, own)) != own:
                    raise ValueError(f"{other} and {own} are {what}. Change or remove one.")
    for key in MUST_AGREE if study["kind"] == NOTEBOOK else ():
        values = {getattr(recipe, key): run.name for recipe, run in zip(recipes, runs)}
        if len(values) > 1 and key not in study["factors"]:
            differ = ", ".join(f"{value!r} in {run}" for value, run in values.items())
            raise ValueError(f"study {name}: its runs differ in {key} ({differ}), so a summary "
                             f"cannot compare them. Set {key} once, under common, or write "
                             f"factors: [{key}] if that is what the study is about.")
    return recipes


def all_parameters(notebook: str, passed: dict[str, object]) -> dict[str, object]:
    """What a run has after papermill: all parameters, with the full name of the norm."""
    whole = with_defaults(notebook_defaults(notebook) | passed)
    return whole | {"norm": check_norm(whole["norm"])}


# --------------------------------------------------------------------------------- its records
def changed_since(run: Run, record: dict) -> dict[str, tuple[object, object]]:
    """Parameters that a record has otherwise than its run: what it has, what the run has.

    Folders and device may differ, and auto is whichever network it took; a run on the sample has
    not seen the data that it asked for.
    """
    recorded, expected = (all_parameters(run.notebook, parameters)
                          for parameters in (record["parameters"], run.parameters))
    if record["data"]["source"] == "sample":
        recorded["dataset"] = SAMPLE
    if expected["arch"] == "auto":  # the record has the one that it took
        expected["arch"] = recorded["arch"]
    return {key: (recorded.get(key), value) for key, value in expected.items()
            if key not in PLACES and recorded.get(key) != value}


def record_file(run: Run) -> Path:
    return ROOT / run.parameters["runs_dir"] / run.name / RECORD


def finished(run: Run) -> bool:
    """Is there a record of this run, with these parameters and data? It alone says so."""
    try:
        return not changed_since(run, load_record(record_file(run)))
    except (OSError, ValueError):
        return False


def load_kept(study: str) -> tuple[list[Run], list[dict]]:
    """The runs of a study, and the records kept of them; ValueError for one that is of none."""
    runs, folder = {run.name: run for run in read_study(study)}, ROOT / RESULTS / study
    kept = {file.stem: load_record(file) for file in sorted(folder.glob("[!.]*.json"))}
    for name, record in kept.items():
        file = f"{RESULTS}/{study}/{name}.json"
        if name not in runs:
            raise ValueError(f"{file} is of no run of studies/{study}.yaml. Restore that file, or "
                             "remove the record.")
        for key, (old, new) in changed_since(runs[name], record).items():
            raise ValueError(f"{file} has {key}={old!r}, studies/{study}.yaml {key}={new!r}. "
                             f"Restore that file, or run it as it is now: make study STUDY={study},"
                             f" then make report STUDY={study}.")
    return [*runs.values()], [kept[name] for name in runs if name in kept]
