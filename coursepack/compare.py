"""Comparing recipes by the records of their runs: means, intervals, differences."""

import functools
import itertools
import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from coursepack.recipe import ALIKE, PLACES
from coursepack.records import listed
from model import ARCHITECTURES, LAYERS, check_norm

LEAST_SEEDS = 3  # of a recipe, for a statement about it
OWN = ("seed", "run_name", *PLACES)  # parameters that a run has, and not its recipe
NEW_SEEDS, NEW_IMAGES = "95 % interval, new seeds", "95 % interval, new test images"


class Look(NamedTuple):
    short: str
    colour: str
    line: str | tuple  # matplotlib's style


STYLES = {  # Okabe and Ito's colours, which colour-blind people can tell apart, and a line for each
    "batch": ("#0072B2", "-"),
    "group": ("#D55E00", "--"),
    "layer": ("#009E73", "-."),
    "instance": ("#CC79A7", ":"),
    "rms": ("#E69F00", (0, (6, 1, 1, 1, 1, 1))),
    "none": ("#555555", (0, (1, 3))),
}
LOOKS = {norm: Look(LAYERS[norm].short if norm in LAYERS else "no norm", *style)
         for norm, style in STYLES.items()}


def check_comparable(records: Sequence[dict], factors: Sequence[str] = ()) -> None:
    """Raise ValueError unless the runs agree in all but their recipes: data, epochs, rate ...

    factors: parameters of ALIKE in which they may differ. The message names every value's runs.
    """
    for part in ALIKE:
        if part not in factors:
            check_alike(part, records, lambda record, part=part: record["parameters"][part])
    check_alike("the data set", records, lambda record: record["data"]["name"])
    check_alike("the sample or the full data", records, lambda record: "the sample"
                if record["data"]["source"] == "sample" else "the full data")
    check_alike("the classes", records, lambda record: ", ".join(record["data"]["classes"])[:99])
    check_alike("the number of test images", records, lambda record: record["data"]["test_size"])
    if not {"train_size", "holdout"} & {*factors}:
        check_alike("the number of training images", records,
                    lambda record: record["data"]["train_size"])
        known = [record for record in records if record["data"].get("content")]  # not of old ones
        check_alike("the images (not the same images)", known,
                    lambda record: record["data"]["content"])


def check_alike(what: str, records: Sequence[dict], value_of: Callable[[dict], object]) -> None:
    """Raise ValueError unless value_of() is the same for all runs."""
    runs: dict[object, list[str]] = {}
    for record in records:
        runs.setdefault(value_of(record), []).append(record["parameters"]["run_name"])
    if len(runs) > 1:
        values = ", ".join(f"{value!r} ({listed(names)})" for value, names in runs.items())
        factor = f", or name {what} among the factors" if what in ALIKE else ""
        raise ValueError(f"These runs differ in {what}: {values}. "
                         f"Run them again with the same, leave some out{factor}.")


def recipe_title(record: dict) -> str:
    """Short name of a run, such as "BN + L1 + L2" or "GN(2) + L1"."""
    p = record["parameters"]
    norm = check_norm(p["norm"])
    name = LOOKS[norm].short + (f"({p['groups']})" if norm == "group" else "")
    return " + ".join([name] + ["L1"] * (p["l1"] > 0) + ["L2"] * (p["l2"] > 0))


def acting(parameters: dict[str, object]) -> dict[str, object]:
    """The parameters that make a recipe: those that do something, spelled in one way."""
    norm, spec = check_norm(parameters["norm"]), ARCHITECTURES.get(parameters["arch"])
    order = parameters["order"] or (spec.order if spec else "")
    idle = [*OWN, *["groups"] * (norm != "group"), *["layer_affine"] * (norm != "layer")]
    spelled = parameters | {"norm": norm, "order": order}
    return {name: value for name, value in spelled.items() if name not in idle}


def by_recipe(records: Sequence[dict]) -> dict[str, list[dict]]:
    """The runs of each recipe: those that differ in their seed alone. Keys are names for people.

    Recipes of the same title, see recipe_title(), are told apart by the parameters that differ.
    What runs as a rule agree in, ALIKE, stands in every name if it differs between any of them.
    Raises ValueError for a seed given twice.
    """
    recipes: dict[str, list[dict]] = {}
    for record in records:
        key = json.dumps(acting(record["parameters"]), sort_keys=True)
        recipes.setdefault(key, []).append(record)
    groups = [sorted(runs, key=lambda run: run["parameters"]["seed"]) for runs in recipes.values()]
    shared = [acting(runs[0]["parameters"]) for runs in groups]
    titles = [recipe_title(runs[0]) for runs in groups]
    named = {}
    for runs, mine, title in zip(groups, shared, titles):
        check_seeds(runs)
        twins = [other for other, name in zip(shared, titles) if name == title]
        differ = [part for part in mine if any(
            mine[part] != other[part] for other in (shared if part in ALIKE else twins))]
        values = [str(mine[k]).lower() if type(mine[k]) is bool else mine[k] for k in differ]
        named[", ".join([title, *(f"{k} {value}" for k, value in zip(differ, values))])] = runs
    return named


def check_seeds(runs: Sequence[dict]) -> None:
    """Raise ValueError unless the runs of a recipe, sorted by seed, are of one seed each."""
    for one, two in itertools.pairwise(run["parameters"] for run in runs):
        if one["seed"] == two["seed"]:
            raise ValueError(f"{one['run_name']} and {two['run_name']} are one recipe with one "
                             f"seed, {one['seed']}, and would count as two. Leave one out, or run "
                             "it again with another seed.")


def final_values(runs: Sequence[dict], key: str = "test_accuracy") -> np.ndarray:
    """A value of the last epoch of each run."""
    return np.array([run["epochs"][-1][key] for run in runs])


def accuracy_interval(share: float, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share seen in count trials (Wilson 1927)."""
    low, high = stats.binomtest(round(share * count), count).proportion_ci(method="wilson")
    return float(low), float(high)


def mean_interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis, and half the width of its confidence interval (Student 1908).

    The interval is that of the mean over all seeds, judged by these; infinite for a single value.
    """
    count = len(values)
    if count < 2:
        return values[0], np.full_like(values[0], np.inf)
    return values.mean(0), stats.t.ppf((1 + level) / 2, count - 1) * stats.sem(values)


def results_table(records: Sequence[dict]) -> pd.DataFrame:
    """A row for each recipe: final values, as means over its seeds, and two intervals of accuracy.

    NEW_SEEDS: where the mean of all seeds may lie, on these test images; see mean_interval(),
    blank below three seeds. NEW_IMAGES: where the accuracy of these networks on all images like
    these test images may lie; see accuracy_interval().
    """
    rows = {}
    for name, runs in by_recipe(records).items():
        accuracy = final_values(runs)
        mean, half = mean_interval(accuracy)
        seeds = share_range(mean - half, mean + half) if len(runs) >= LEAST_SEEDS else ""
        images = share_range(*accuracy_interval(float(mean), runs[0]["data"]["test_size"]))
        each = [f"{value:.2%}" for value in accuracy]
        best = np.mean([max(e["test_accuracy"] for e in run["epochs"]) for run in runs])
        rows[name] = {
            "parameters": f"{runs[0]['parameter_count']:,}", "seeds": len(runs),
            "final test accuracy": f"{mean:.2%}", NEW_SEEDS: seeds, NEW_IMAGES: images,
            "each seed": ", ".join(each) if len(each) < 8 else f"{min(each)} to {max(each)}",
            "final training accuracy": f"{final_values(runs, 'accuracy').mean():.2%}",
            "final penalty": f"{final_values(runs, 'penalty').mean():.4f}",
            "weights below 0.001": f"{np.mean([run['near_zero'] for run in runs]):.1%}",
            "best epoch, on the test set": f"{best:.2%}",
        }
    return pd.DataFrame(rows).T


def share_range(low: float, high: float) -> str:
    """From one share to another, as far as they are possible."""
    return f"{max(low, 0):.2%} to {min(high, 1):.2%}"


class Difference(NamedTuple):
    """Recipe minus other recipe, in final test accuracy."""

    recipe: str
    other: str
    seeds: int  # of recipe
    other_seeds: int
    mean: float
    low: float  # of an interval for the mean; all pairs' intervals hold together in 95 %
    high: float

    def __str__(self) -> str:
        """A finding, in words that say no more than the runs support."""
        seeds = f"({self.seeds} and {self.other_seeds} seeds)"
        if self.low <= 0 <= self.high:
            return (f"{self.recipe} and {self.other}: undecided, from {100 * self.low:+z.2f} to "
                    f"{100 * self.high:+z.2f} percentage points {seeds}.")
        word = "higher" if self.mean > 0 else "lower"
        least, most = sorted((abs(self.low), abs(self.high)))
        return (f"{self.recipe} ends {word} than {self.other}, by {100 * least:.2f} to "
                f"{100 * most:.2f} percentage points {seeds}.")


@functools.cache  # it takes a moment
def tukey_width(recipes: int, freedom: int) -> float:
    """Half the width of Tukey's 95 % intervals, in standard errors of a difference."""
    return stats.studentized_range.ppf(0.95, recipes, freedom) / 2**0.5


def pairwise_differences(records: Sequence[dict]) -> list[Difference]:
    """Every recipe with three seeds or more against every other, by Tukey's method.

    Their 95 % intervals hold together (Tukey 1949; Kramer 1956 for unequal numbers of seeds). This
    assumes runs that are independent, accuracies that are roughly normal, and one variance for all
    recipes, which is pooled over them. Nothing is paired by seed: a seed gives two recipes the
    same batches, but on these data their accuracies do not go up and down together. An accuracy
    is a count of images, so the standard error of a difference is at least one of them.
    """
    recipes = {name: final_values(runs) for name, runs in by_recipe(records).items()
               if len(runs) >= LEAST_SEEDS}
    if len(recipes) < 2:
        return []
    freedom = sum(len(values) - 1 for values in recipes.values())
    variance = sum(((v - v.mean()) ** 2).sum() for v in recipes.values()) / freedom
    width = tukey_width(len(recipes), freedom)
    found = []
    for (name, values), (other, others) in itertools.combinations(recipes.items(), 2):
        error = np.sqrt(variance * (1 / len(values) + 1 / len(others)))
        half = width * max(error, 1 / records[0]["data"]["test_size"])
        mean = values.mean() - others.mean()
        found.append(Difference(name, other, len(values), len(others), float(mean),
                                float(mean - half), float(mean + half)))
    return found


def findings(records: Sequence[dict]) -> list[str]:
    """What the runs say about differences between recipes: at least one sentence."""
    recipes, found = by_recipe(records), pairwise_differences(records)
    few = [name for name, runs in recipes.items() if len(runs) < LEAST_SEEDS]
    enough = [name for name in recipes if name not in few]
    sentences = [str(difference) for difference in found]
    if len(enough) == 1:
        sentences.append(f"{enough[0]}: no other recipe with three seeds to compare it with.")
    if few:
        sentences.append(f"{listed(few, 20)}: fewer than three seeds, no statement.")
    return sentences


def mcnemar_test(run: dict, other: dict) -> tuple[int, int, float]:
    """Do two trained networks err equally often on the same test images? (McNemar 1947.)

    Of the images that only one of them gets wrong: how many only the first does, how many only
    the other, and how likely a split as uneven is if each were a coin toss, by the exact test.
    This compares two networks, not recipes: two seeds of one recipe often differ as clearly.
    """
    wrong, wrong_other = set(run["misclassified"]), set(other["misclassified"])
    only, only_other = len(wrong - wrong_other), len(wrong_other - wrong)
    if only + only_other == 0:
        return 0, 0, 1.0
    return only, only_other, float(stats.binomtest(only, only + only_other).pvalue)
