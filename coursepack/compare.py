"""Comparing recipes by the records of their runs: means, intervals, differences."""

import itertools
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from coursepack.recipe import ALIKE, PLACES
from model import LAYERS, check_norm


class Look(NamedTuple):
    short: str
    colour: str
    line: str | tuple  # matplotlib's style


STYLES = {  # Okabe and Ito's colours, which colour-blind people can tell apart, and a line for each
    "batch": ("#0072B2", "-"),
    "group": ("#D55E00", "--"),
    "layer": ("#009E73", "-."),
    "instance": ("#CC79A7", ":"),
    "none": ("#555555", (0, (1, 3))),
}
LOOKS = {norm: Look(LAYERS[norm].short if norm in LAYERS else "no norm", *style)
         for norm, style in STYLES.items()}


def recipe_title(record: dict) -> str:
    """Short name of a run, such as "BN + L1 + L2" or "GN(2) + L1"."""
    p = record["parameters"]
    norm = check_norm(p["norm"])
    name = LOOKS[norm].short + (f"({p['groups']})" if norm == "group" else "")
    return " + ".join([name] + ["L1"] * (p["l1"] > 0) + ["L2"] * (p["l2"] > 0))


def check_comparable(records: Sequence[dict]) -> None:
    """Raise ValueError unless the runs agree in all but their recipes: data, epochs, rate ..."""
    for part in ALIKE:
        values = {recipe_title(record): record["parameters"][part] for record in records}
        if len(set(values.values())) > 1:
            raise ValueError(f"These runs differ in {part}: {values}. "
                             "Run them again with the same.")
    if len({record["data"]["source"] for record in records}) > 1:
        raise ValueError("Some of these runs saw the sample, some the full data. Run them again.")


def by_recipe(records: Sequence[dict]) -> dict[str, list[dict]]:
    """The runs of each recipe: those that differ in their seed alone. Keys are names for people.

    Recipes of the same title, see recipe_title(), are told apart by the parameters that differ.
    """
    own = ("seed", "run_name", *PLACES)
    recipes: dict[str, list[dict]] = {}
    for record in records:
        shared = {k: v for k, v in record["parameters"].items() if k not in own}
        recipes.setdefault(json.dumps(shared, sort_keys=True), []).append(record)
    groups = [sorted(runs, key=lambda run: run["parameters"]["seed"]) for runs in recipes.values()]
    named = {}
    for runs in groups:
        name, mine = recipe_title(runs[0]), runs[0]["parameters"]
        twins = [other[0]["parameters"] for other in groups if recipe_title(other[0]) == name]
        differ = [k for k in mine if k not in own and any(mine[k] != twin[k] for twin in twins)]
        named[", ".join([name, *(f"{k} {mine[k]}".lower() for k in differ)])] = runs
    return named


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
    """A row for each recipe: final values, as means over its seeds, and an interval.

    The interval is mean_interval() of several seeds; of a single run, accuracy_interval().
    """
    rows = {}
    for name, runs in by_recipe(records).items():
        accuracy = final_values(runs)
        mean, half = mean_interval(accuracy)
        low, high = mean - half, min(mean + half, 1)
        if len(runs) == 1:
            low, high = accuracy_interval(float(mean), runs[0]["data"]["test_size"])
        best = np.mean([max(e["test_accuracy"] for e in run["epochs"]) for run in runs])
        rows[name] = {
            "parameters": f"{runs[0]['parameter_count']:,}", "seeds": len(runs),
            "final test accuracy": f"{mean:.2%}", "95 % interval": f"{low:.2%} to {high:.2%}",
            "each seed": ", ".join(f"{value:.2%}" for value in accuracy),
            "final training accuracy": f"{final_values(runs, 'accuracy').mean():.2%}",
            "final penalty": f"{final_values(runs, 'penalty').mean():.4f}",
            "weights below 0.001": f"{np.mean([run['near_zero'] for run in runs]):.1%}",
            "best epoch, on the test set": f"{best:.2%}",
        }
    return pd.DataFrame(rows).T


class Difference(NamedTuple):
    """Recipe minus other recipe, in final test accuracy, paired by seed."""

    recipe: str
    other: str
    seeds: int  # that both have
    mean: float
    low: float  # of an interval for the mean; all pairs' intervals hold together in 95 %
    high: float
    p_values: list[float]  # of McNemar's exact test, one a seed

    def __str__(self) -> str:
        """A finding, in words that say no more than the runs support."""
        if self.seeds < 2:
            return f"{self.recipe} and {self.other}: one run each supports no statement."
        if self.low <= 0 <= self.high:
            most = max(-self.low, self.high)
            return (f"{self.recipe} and {self.other}: no difference larger than {100 * most:.2f} "
                    f"percentage points is supported by these {self.seeds} seeds.")
        word = "higher" if self.mean > 0 else "lower"
        least, most = sorted((abs(self.low), abs(self.high)))
        return (f"{self.recipe} ends {word} than {self.other}, by {100 * least:.2f} to "
                f"{100 * most:.2f} percentage points ({self.seeds} seeds).")


def pairwise_differences(records: Sequence[dict]) -> list[Difference]:
    """Every recipe of the records against every other, over the seeds that both have.

    The intervals are widened for the number of pairs (Bonferroni), because with many pairs one
    would look different by chance. McNemar's test (1947) compares two runs on the same test
    images: of the images that only one of them gets wrong, is it as often the one as the other?
    """
    recipes = {name: {run["parameters"]["seed"]: run for run in runs}
               for name, runs in by_recipe(records).items()}
    pairs, found = list(itertools.combinations(recipes, 2)), []
    for name, other in pairs:
        seeds = sorted(recipes[name].keys() & recipes[other].keys())
        if not seeds:
            continue
        runs, others = ([recipes[n][seed] for seed in seeds] for n in (name, other))
        mean, half = mean_interval(final_values(runs) - final_values(others), 1 - 0.05 / len(pairs))
        p_values = []
        for run, twin in zip(runs, others):
            wrong, wrong_twin = set(run["misclassified"]), set(twin["misclassified"])
            only, only_twin = len(wrong - wrong_twin), len(wrong_twin - wrong)
            test = stats.binomtest(only, only + only_twin) if only + only_twin else None
            p_values.append(float(test.pvalue) if test else 1.0)
        found.append(Difference(name, other, len(seeds), float(mean), float(mean - half),
                                float(mean + half), p_values))
    return found
