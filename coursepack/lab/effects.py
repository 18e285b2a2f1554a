"""What the table of a study says: means with intervals, and differences that are beyond chance.

A run that diverged has no response: it is counted, not averaged. Where runs are missing that a
function needs, it refuses and names them; it never guesses.
"""

import functools
import itertools
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import statsmodels.formula.api as models
from scipy import stats
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower

from coursepack.runs.recipes import LEAST_SEEDS, by_recipe, final_values
from coursepack.runs.records import listed

LEVEL = 0.95
NOTHING = 1e-9  # a difference below it is rounding
NEW_SEEDS, NEW_IMAGES = "95 % interval, new seeds", "95 % interval, new test images"


def by_point(table: pd.DataFrame, response: str, by: Sequence[str]) -> pd.DataFrame:
    """Of each point: its runs, how many failed, the others' mean, from three on its interval."""
    rows = []
    for point, runs in table.groupby(list(by), sort=False, dropna=False):
        values = with_response(runs, response)[response].to_numpy(float)
        mean = values.mean() if len(values) else np.nan
        half = mean_interval(values)[1] if len(values) >= LEAST_SEEDS else np.nan
        rows.append((*point, len(runs), len(runs) - len(values), mean, mean - half, mean + half))
    return pd.DataFrame(rows, columns=[*by, "runs", "failed", "mean", "low", "high"])


def with_response(table: pd.DataFrame, response: str) -> pd.DataFrame:
    """The runs that finished and have a response."""
    return table[(table["status"] == "finished") & table[response].notna()]


def samples(table: pd.DataFrame, response: str, among: str, *control: object,
            where: str = "") -> dict[object, np.ndarray]:
    """The values of a response at each level of a factor; a level of failed runs alone is none.

    Raises ValueError unless there are two levels, each with two values, and the control's.
    """
    found = {level: runs[response].to_numpy(float) for level, runs in
             with_response(table, response).groupby(among, sort=False, dropna=False)}
    there = ", ".join(f"{level} ({len(values)})" for level, values in found.items()) or "none"
    if missing := [level for level in control if level not in found]:
        raise ValueError(f"{among}={missing[0]!r} has no finished run. There are: {there}.")
    if len(found) < 2 or min(map(len, found.values())) < 2:
        raise ValueError(f"Differences in {response} take two levels of {among}, with two finished "
                         f"runs or more. There are{where}: {there}. Add runs, or leave one out.")
    return found


def differences(rows: Iterable[Sequence[object]]) -> pd.DataFrame:
    """Of, to, difference, low, high as a table, and what that says: if 0 is within, undecided."""
    table = pd.DataFrame(rows, columns=["of", "to", "difference", "low", "high"])
    table["says"] = np.where(table["low"] > NOTHING, "higher",
                             np.where(table["high"] < -NOTHING, "lower", "undecided"))
    return table


def describe_differences(found: pd.DataFrame, where: str = "") -> str:
    """A line for each difference of shares, in percentage points; where: what comes before it."""
    return "\n".join(f"{where}{row['of']} minus {row['to']}: {100 * row['low']:+.2f} to "
                     f"{100 * row['high']:+.2f} points, {row['says']}"
                     for row in found.to_dict("records"))


@functools.cache  # it takes a moment
def tukey_width(groups: int, freedom: int) -> float:
    """Half the width of Tukey's 95 % intervals, in standard errors of a difference."""
    return stats.studentized_range.ppf(LEVEL, groups, freedom) / 2**0.5


def tukey(table: pd.DataFrame, response: str, among: str, least_error: float = 0.0) -> pd.DataFrame:
    """Differences between all levels of a factor, with intervals that hold together.

    By Tukey 1949, and Kramer 1956 for unequal sizes; the variance is pooled. least_error: below it
    no standard error of a difference goes.
    """
    groups = samples(table, response, among)
    freedom = sum(len(values) - 1 for values in groups.values())
    variance = sum(((v - v.mean()) ** 2).sum() for v in groups.values()) / freedom
    width, rows = tukey_width(len(groups), freedom), []
    for (one, first), (two, second) in itertools.combinations(groups.items(), 2):
        error = np.sqrt(variance * (1 / len(first) + 1 / len(second)))
        mean, half = first.mean() - second.mean(), width * max(error, least_error)
        rows.append((one, two, mean, mean - half, mean + half))
    return differences(rows)


def dunnett(table: pd.DataFrame, response: str, among: str, control: object) -> pd.DataFrame:
    """Differences of each level of a factor to one of them, holding together (Dunnett)."""
    groups = samples(table, response, among, control)
    others = [level for level in groups if level != control]
    with warnings.catch_warnings(action="ignore"):  # of a p-value, where runs are all alike
        found = stats.dunnett(*(groups[level] for level in others), control=groups[control],
                              rng=np.random.default_rng(0))  # its integral is of random points
    return differences((level, control, groups[level].mean() - groups[control].mean(), low, high)
                       for level, low, high in zip(others, *found.confidence_interval(LEVEL)))


def t_tests(pairs: Iterable[tuple[object, object, np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """Differences of two means, with unequal spreads (Welch 1947); pairs: of, to, values of both.

    Each has its own 95 % interval; p, corrected so that all hold together (Holm 1979), decides.
    """
    rows, p_values = [], []
    for of, to, one, other in pairs:
        low = high = difference = one.mean() - other.mean()
        p = float(abs(difference) < NOTHING)  # where nothing varies, a difference is one
        if np.ptp(one) + np.ptp(other) >= NOTHING:
            test = stats.ttest_ind(one, other, equal_var=False)
            (low, high), p = test.confidence_interval(LEVEL), test.pvalue
        rows.append((of, to, difference, low, high))
        p_values.append(p)
    table = differences(rows).assign(p=multipletests(p_values, method="holm")[1])
    table.loc[~(table["p"] < 1 - LEVEL), "says"] = "undecided"
    return table


def paired_t_tests(table: pd.DataFrame, response: str, among: str, control: object,
                   by: str = "seed") -> pd.DataFrame:
    """Differences of each level of a factor to one of them, run by run of the same seed.

    By Student's t test, see t_tests(). Raises ValueError for a level without two seeds in common
    with the control, or with two runs of one.
    """
    groups, good = samples(table, response, among, control), with_response(table, response)
    if good.duplicated([by, among]).any():
        raise ValueError(f"A {by} has two runs of one {among}. Choose runs that differ in {among} "
                         f"and {by} alone, or the factor that tells them apart as by.")
    good, pairs = good.pivot(index=by, columns=among, values=response), []
    for level in [level for level in table[among].unique() if level in groups and level != control]:
        one, other = good[[level, control]].dropna().to_numpy(float).T
        if len(one) < 2:
            raise ValueError(f"{among}={level!r} and {control!r} have fewer than two finished runs "
                             f"of the same {by}. Add runs, or leave this level out.")
        pairs.append((level, control, one - other, np.zeros(2)))  # zeros: Student's, of one sample
    return t_tests(pairs)


def welch_at(table: pd.DataFrame, response: str, among: str, at: str) -> pd.DataFrame:
    """The difference of a factor's two levels at each level of another, see t_tests()."""
    if len(samples(table, response, among)) > 2:
        raise ValueError(f"{among} has more than two levels. Choose two: one difference at each "
                         f"{at} is tested.")
    pairs = {}
    for place, runs in table.groupby(at):
        groups = samples(runs, response, among, where=f" at {at}={place!r}")
        (one, first), (two, second) = sorted(groups.items(), key=lambda item: str(item[0]))
        pairs[place] = (one, two, first, second)
    found = t_tests(pairs.values())
    found.insert(0, at, list(pairs))
    return found


def slope(table: pd.DataFrame, y: str, x: str) -> tuple[float, float, float]:
    """The power b of y ~ x^b by least squares on logarithms, with its 95 % interval (Student).

    Runs with a zero, which has no logarithm, are left out. Raises ValueError below three others.
    """
    good = table[(table["status"] == "finished") & (table[[x, y]] > 0).all(axis=1)]
    if len(good) < 3 or good[x].nunique() < 2:
        raise ValueError(f"A power of {x} takes three finished runs with {x} and {y} above 0, and "
                         f"two values of {x}: there are {len(good)}, of {good[x].nunique()}.")
    line = stats.linregress(np.log(good[x]), np.log(good[y]))
    half = stats.t.ppf((1 + LEVEL) / 2, len(good) - 2) * np.nan_to_num(line.stderr)  # of no spread
    return line.slope, line.slope - half, line.slope + half


def variance_table(table: pd.DataFrame, response: str, factors: Sequence[str],
                   block: str = "") -> pd.DataFrame:
    """Analysis of variance of crossed factors: shares of the sum of squares (type II), F tests.

    block: what runs share that is not asked about, such as the seed that draws their images; it
    crosses with no factor. All combinations need as many finished runs: only then are the sums of
    squares the parts of one total.
    """
    good, names = with_response(table, response), [*factors, block] if block else [*factors]
    cells = pd.MultiIndex.from_product([good[name].unique() for name in names])
    if min(cells.levshape) < 2:
        raise ValueError(f"Shares of the variation take two levels or more of {' and '.join(names)}"
                         f". There are {' and '.join(map(str, cells.levshape))}. Add runs.")
    runs, least = good.value_counts(names).reindex(cells, fill_value=0), 1 if block else 2
    if runs.min() < max(least, runs.max()):
        raise ValueError(f"Shares of the variation take as many runs with a {response} in every "
                         f"cell, {least} or more: that of {', '.join(map(str, runs.idxmin()))} has "
                         f"{runs.min()}, another {runs.max()}. Add runs, or leave a level out.")
    if np.ptp(good[response]) == 0:
        raise ValueError(f"All runs have the same {response}: there is no variation to share out.")
    good = good.rename(columns={response: "response_"})
    terms = " * ".join(f"C({name})" for name in factors) + (f" + C({block})" if block else "")
    found = anova_lm(models.ols(f"response_ ~ {terms}", good).fit(), typ=2)
    sources = found.index.str.replace(r"C\((\w+)\)", r"\1", regex=True).str.replace(":", " x ")
    return pd.DataFrame({"source": sources, "freedom": found["df"].astype(int).to_numpy(),
                         "share": (found["sum_sq"] / found["sum_sq"].sum()).to_numpy(),
                         "p": found["PR(>F)"].to_numpy()})


def readable_shares(shares: pd.DataFrame) -> pd.DataFrame:
    """The table of variance_table for readers: shares in percent; no p where there is no test."""
    return shares.assign(share=shares["share"].map("{:.1%}".format),
                         p=shares["p"].map(readable_p)).set_index("source")


def readable_p(p: float) -> str:
    """A p-value for readers: four digits, or "< 0.0001"; "" where there is no test."""
    return "" if np.isnan(p) else f"{p:.4f}" if p >= 1e-4 else "< 0.0001"


def seeds_needed(difference: float, spread: float, power: float = 0.8, level: float = 0.05) -> int:
    """Seeds of each of two recipes that show a difference of their means with a probability: power.

    spread: standard deviation over seeds, in the unit of the difference. By Student's t-test of two
    samples, two-sided, at a level (Cohen 1988).
    """
    if not (difference > 0 and spread > 0 and 0 < level < power < 1):
        raise ValueError(f"difference={difference}, spread={spread}, power={power}, level={level}: "
                         "choose a difference and a spread above 0, and 0 < level < power < 1.")
    test, size = TTestIndPower(), difference / spread
    if test.power(size, 2, level) >= power:
        return 2
    return int(np.ceil(np.max(test.solve_power(size, alpha=level, power=power))))


def accuracy_interval(share: float, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share seen in count trials (Wilson 1927)."""
    return stats.binomtest(round(share * count), count).proportion_ci(method="wilson")


def mean_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis, half the width of its interval (Student 1908; infinite for one)."""
    count = len(values)
    if count < 2:
        return values[0], np.full_like(values[0], np.inf)
    return values.mean(0), stats.t.ppf((1 + LEVEL) / 2, count - 1) * stats.sem(values)


def results_table(records: Sequence[dict]) -> pd.DataFrame:
    """A row for each recipe: final values, as means over its seeds, and two intervals of accuracy.

    NEW_SEEDS: where the mean of all seeds may lie, on these test images; blank below three seeds.
    NEW_IMAGES: where the accuracy of these networks on all images like these may lie.
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


def pairwise_differences(records: Sequence[dict]) -> pd.DataFrame:
    """Every recipe with three seeds or more against every other, by Tukey's method.

    Nothing is paired: on these data, accuracies of one seed do not go up and down together. They
    are counts of images, so the standard error of a difference is at least one of them.
    """
    accuracies = [(name, accuracy, "finished") for name, runs in by_recipe(records).items()
                  if len(runs) >= LEAST_SEEDS for accuracy in final_values(runs)]
    table = pd.DataFrame(accuracies, columns=["recipe", "accuracy", "status"])
    if table["recipe"].nunique() < 2:
        return differences([])
    return tukey(table, "accuracy", "recipe", 1 / records[0]["data"]["test_size"])


def findings(records: Sequence[dict]) -> list[str]:
    """What the runs say about differences between recipes, in one sentence or more."""
    seeds, sentences = {name: len(runs) for name, runs in by_recipe(records).items()}, []
    for row in pairwise_differences(records).to_dict("records"):
        one, two, low, high = row["of"], row["to"], 100 * row["low"], 100 * row["high"]
        least, most = sorted([abs(low), abs(high)])
        sentences.append(
            (f"{one} and {two}: undecided, from {low:+z.2f} to {high:+z.2f}"
             if row["says"] == "undecided" else
             f"{one} ends {row['says']} than {two}, by {least:.2f} to {most:.2f}")
            + f" percentage points ({seeds[one]} and {seeds[two]} seeds).")
    few = [name for name, count in seeds.items() if count < LEAST_SEEDS]
    if len(seeds) - len(few) == 1:
        [enough] = seeds.keys() - few
        sentences.append(f"{enough}: no other recipe with three seeds to compare it with.")
    if few:
        sentences.append(f"{listed(few, 20)}: fewer than three seeds, no statement.")
    return sentences


def mcnemar_test(run: dict, other: dict) -> tuple[int, int, float]:
    """Do two trained networks err equally often on the same test images? (McNemar 1947.)

    How many only the first gets wrong, how many only the other, and how likely a split as uneven is
    if each were a coin toss. It compares networks, not recipes: two seeds often differ as clearly.
    """
    wrong, wrong_other = set(run["misclassified"]), set(other["misclassified"])
    only, only_other = len(wrong - wrong_other), len(wrong_other - wrong)
    p = stats.binomtest(only, only + only_other).pvalue if only + only_other else 1.0
    return only, only_other, float(p)
