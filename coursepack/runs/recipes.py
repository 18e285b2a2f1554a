"""Runs as recipes: those that differ in their seed alone, and what may be compared."""

import itertools
import json
from collections.abc import Sequence

import numpy as np

from coursepack.runs.records import listed
from coursepack.train.recipe import MUST_AGREE, PLACES
from model import ARCHITECTURES, LAYERS, check_norm

LEAST_SEEDS = 3  # of a recipe, for a statement about it


def check_comparable(records: Sequence[dict], factors: Sequence[str] = ()) -> None:
    """Raise ValueError unless the runs agree in all but their recipes and factors of MUST_AGREE."""
    parameters, data = ([record[of] for record in records] for of in ("parameters", "data"))
    alike = {name: [p[name] for p in parameters] for name in MUST_AGREE if name not in factors} | {
        "the data set": [d["name"] for d in data],
        "the sample or the full data": [
            "the sample" if d["source"] == "sample" else "the full data" for d in data],
        "the classes": [", ".join(d["classes"])[:99] for d in data],
        "the number of test images": [d["test_size"] for d in data]}
    cuts = [(p["train_size"], p["holdout"]) for p in parameters]  # one, if they are no factors
    for cut in {*cuts}:
        same, where = [d if own == cut else {} for d, own in zip(data, cuts)], f"of the cut {cut}"
        alike |= {f"the number of training images {where}": [d.get("train_size") for d in same],
                  f"the images (not the same images) {where}": [d.get("content") for d in same]}
    for what, values in alike.items():
        runs: dict[object, list[str]] = {}
        for p, value in zip(parameters, values):
            if value is not None:  # the checksum of the images, in an old record
                runs.setdefault(value, []).append(p["run_name"])
        if len(runs) > 1:
            found = ", ".join(f"{value!r} ({listed(names)})" for value, names in runs.items())
            factor = f", or name {what} among the factors" if what in MUST_AGREE else ""
            raise ValueError(f"These runs differ in {what}: {found}. "
                             f"Run them again with the same, leave some out{factor}.")


def norm_name(norm: str) -> str:
    """What a normalization is called in tables and figures."""
    return LAYERS[norm].short if norm in LAYERS else "no norm"


def recipe_title(record: dict) -> str:
    """Short name of a run, such as "BN + L1 + L2" or "GN(2) + L1"."""
    p = record["parameters"]
    norm = check_norm(p["norm"])
    name = norm_name(norm) + (f"({p['groups']})" if norm == "group" else "")
    return " + ".join([name, *(key.upper() for key in ("l1", "l2") if p[key] > 0)])


def recipe_of(parameters: dict[str, object]) -> dict[str, object]:
    """Of a run's parameters those that make its recipe: what does nothing there is left out."""
    norm, spec = check_norm(parameters["norm"]), ARCHITECTURES.get(parameters["arch"])
    order = parameters["order"] or (spec.order if spec else "")
    of_one_norm = {"groups": "group", "layer_affine": "layer"}
    return {name: value for name, value in (parameters | {"norm": norm, "order": order}).items()
            if name not in ("seed", "run_name", *PLACES) and of_one_norm.get(name, norm) == norm}


def by_recipe(records: Sequence[dict]) -> dict[str, list[dict]]:
    """The runs of each recipe: those that differ in their seed alone. Keys are names for people.

    Recipes of the same title, see recipe_title(), are told apart by the parameters that differ.
    What runs as a rule agree in, MUST_AGREE, stands in every name if it differs between any two.
    Raises ValueError for a seed given twice.
    """
    recipes: dict[str, list[dict]] = {}
    for record in records:
        key = json.dumps(recipe_of(record["parameters"]), sort_keys=True)
        recipes.setdefault(key, []).append(record)
    groups = [sorted(runs, key=lambda run: run["parameters"]["seed"]) for runs in recipes.values()]
    shared = [recipe_of(runs[0]["parameters"]) for runs in groups]
    titles = [recipe_title(runs[0]) for runs in groups]
    named = {}
    for runs, mine, title in zip(groups, shared, titles):
        for one, two in itertools.pairwise(run["parameters"] for run in runs):
            if one["seed"] == two["seed"]:
                raise ValueError(f"{one['run_name']} and {two['run_name']} are one recipe with one "
                                 f"seed, {one['seed']}, and would count as two. Leave one out, or "
                                 "run it again with another seed.")
        twins = [other for other, name in zip(shared, titles) if name == title]
        differ = [k for k in mine if any(
            mine[k] != other[k] for other in (shared if k in MUST_AGREE else twins))]
        values = [str(mine[k]).lower() if type(mine[k]) is bool else mine[k] for k in differ]
        named[", ".join([title, *(f"{k} {value}" for k, value in zip(differ, values))])] = runs
    return named


def final_values(runs: Sequence[dict], key: str = "test_accuracy") -> np.ndarray:
    """A value of the last epoch of each run."""
    return np.array([run["epochs"][-1][key] for run in runs])
