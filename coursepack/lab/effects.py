"""What the table of a study says: means with intervals, and differences that are beyond chance.

A run that diverged has no response: it is counted, not averaged. Where runs are missing that a
function needs, it refuses and names them; it never guesses.
"""

from __future__ import annotations

import bisect
import itertools
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from coursepack.files import Later
from coursepack.runs.recipes import LEAST_SEEDS, by_recipe, final_values
from coursepack.runs.records import listed

pd, stats = Later("pandas"), Later("scipy.stats")
multitest = Later("statsmodels.stats.multitest")

LEVEL = 0.95
NOTHING = 1e-9  # a difference below it is rounding
WILD = 3  # of runs on a logarithmic axis: beyond it, a mean stands for none of them
NEW_SEEDS, NEW_IMAGES = "95 % interval, new seeds", "95 % interval, new test images"


def by_point(table: pd.DataFrame, response: str, by: Sequence[str], log: bool = False,
             limits: tuple[float, float] = (-np.inf, np.inf)) -> pd.DataFrame:
    """Of each point: its runs, how many failed, the others' mean, interval (from three) and median.

    log: for a logarithmic axis, the geometric mean and Student's interval of the logarithms. Where
    an interval would leave the limits of what is possible, or runs are wild, there is none (nan):
    show each run and the median. Wild, on such an axis: the largest is beyond WILD times the least.
    Where most runs failed, the others stand for nobody: there is nothing (nan).
    """
    rows = []
    for point, runs in table.groupby(list(by), sort=False, dropna=False):
        values, ends = with_response(runs, response)[response].to_numpy(float), (np.nan,) * 3
        most = 2 * len(values) >= len(runs)
        if most:
            ends = interval(values, log)
            wild = log and values.max() > WILD * values.min()
            if len(values) < LEAST_SEEDS or wild or ends[1] < limits[0] or ends[2] > limits[1]:
                ends = ends[0], np.nan, np.nan
        rows.append((*point, len(runs), len(runs) - len(values), *ends,
                     np.median(values) if most else np.nan))
    return pd.DataFrame(rows, columns=[*by, "runs", "failed", "mean", "low", "high", "median"])


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


def places_of(table: pd.DataFrame, at: str | Sequence[str]) -> dict[tuple, pd.DataFrame]:
    """The runs at each level of a factor, or combination of levels of several; at none: all."""
    at = np.atleast_1d(at).tolist()
    return dict(iter(table.groupby(at))) if at else {(): table}


def differences(rows: Iterable[Sequence[object]], at: str | Sequence[str] = ()) -> pd.DataFrame:
    """Where, of, to, difference, low, high, p as a table, and what that says.

    Undecided: 0 is within, or p, corrected for all that are tested together, is not below 5 %.
    """
    columns = [*np.atleast_1d(at).tolist(), "of", "to", "difference", "low", "high", "p"]
    table = pd.DataFrame(rows, columns=columns)
    says = np.where(table["low"] > NOTHING, "higher",
                    np.where(table["high"] < -NOTHING, "lower", "undecided"))
    return table.assign(says=np.where(table["p"] >= 1 - LEVEL, "undecided", says))


def describe_differences(found: pd.DataFrame, where: str = "") -> str:
    """A line for each difference of shares, in percentage points, with the place where it is.

    where: what comes before that. p is given where it leaves open what an interval of one
    difference would decide.
    """
    return "\n".join(
        f"{where}{place}{row['of']} minus {row['to']}: {100 * row['low']:+.2f} to "
        f"{100 * row['high']:+.2f} points, {row['says']}"
        + (f" (p = {readable_p(row['p'])})" * (row["says"] == "undecided"
                                               and row["low"] * row["high"] > 0))
        for place, row in zip(place_names(found, ": "), found.to_dict("records")))


def place_names(found: pd.DataFrame, end: str = "") -> list[str]:
    """The place of each difference in words: a number with its factor's name, a word alone."""
    names = found.columns[:found.columns.get_loc("of")]
    return [", ".join(value if isinstance(value, str) else f"{name.replace('_', ' ')} {value:g}"
                      for name, value in zip(names, place)) + end if len(names) else ""
            for place in found[names].itertuples(index=False)]


def games_howell(table: pd.DataFrame, response: str, among: str, least_error: float = 0.0,
                 at: str | Sequence[str] = ()) -> pd.DataFrame:
    """Differences between all levels of a factor, with intervals that hold together.

    By Games and Howell 1976: Tukey's method, without his equal spreads and numbers of runs. at: the
    same at each level of other factors, where all intervals of all places hold together
    (Bonferroni). least_error: below it no standard error of a difference goes; without it, a
    difference of two levels whose runs are all alike has none, and is undecided.
    """
    rows, places = [], places_of(table, at)
    for place, runs in places.items():
        groups = samples(runs, response, among, where=f" at {at} {place}" if place else "")
        for (one, first), (two, second) in itertools.combinations(groups.items(), 2):
            difference, half, p = first.mean() - second.mean(), np.inf, 1.0
            squares = [max(v.var(ddof=1) / len(v), least_error**2 / 2) for v in (first, second)]
            if (error := sum(squares)**0.5) > NOTHING:
                freedom = error**4 / (squares[0]**2 / (len(first) - 1)
                                      + squares[1]**2 / (len(second) - 1))  # Welch 1947
                law = stats.studentized_range(len(groups), freedom)
                half = law.isf((1 - LEVEL) / len(places)) * error / 2**0.5
                p = min(1, len(places) * law.sf(abs(difference) * 2**0.5 / error))
            rows.append((*place, one, two, difference, difference - half, difference + half, p))
    return differences(rows, at)


def dunnett(table: pd.DataFrame, response: str, among: str, control: object) -> pd.DataFrame:
    """Differences of each level of a factor to one of them, holding together (Dunnett)."""
    groups = samples(table, response, among, control)
    others = [level for level in groups if level != control]
    with warnings.catch_warnings(action="ignore"):  # of a p-value, where runs are all alike
        found = stats.dunnett(*(groups[level] for level in others), control=groups[control],
                              rng=np.random.default_rng(0))  # its integral is of random points
    return differences(
        (level, control, groups[level].mean() - groups[control].mean(), low, high, p)
        for level, low, high, p in zip(others, *found.confidence_interval(LEVEL), found.pvalue))


def paired_t_tests(table: pd.DataFrame, response: str, among: str, control: object,
                   by: str = "seed", at: str | Sequence[str] = ()) -> pd.DataFrame:
    """Differences of each level of a factor to one of them, run by run of the same seed.

    By Student's t test. Each has its own 95 % interval; p, corrected so that all hold together
    (Holm 1979), decides. at: the same at each level of other factors. Raises ValueError for a level
    without two seeds in common with the control, or with two runs of one.
    """
    rows = []
    for place, runs in places_of(table, at).items():
        groups = samples(runs, response, among, control, where=f" at {at} {place}" if place else "")
        good = with_response(runs, response)
        if good.duplicated([by, among]).any():
            raise ValueError(f"A {by} has two runs of one {among}. Choose runs that differ in "
                             f"{among} and {by} alone, or what tells them apart as by or at.")
        good = good.pivot(index=by, columns=among, values=response)
        for level in [name for name in runs[among].unique() if name in groups and name != control]:
            pairs = good[[level, control]].dropna().to_numpy(float)
            if len(pairs) < 2:
                raise ValueError(f"{among}={level!r} and {control!r} have fewer than two finished "
                                 f"runs of the same {by}. Add runs, or leave this level out.")
            difference = (pairs[:, 0] - pairs[:, 1]).mean()
            with warnings.catch_warnings(action="ignore"):  # of runs that are all alike
                found = stats.ttest_rel(*pairs.T)
                low, high, p = *found.confidence_interval(LEVEL), found.pvalue
            if not high - low > NOTHING:  # where nothing varies, a difference is one
                low, high, p = difference, difference, float(abs(difference) < NOTHING)
            rows.append([*place, level, control, difference, low, high, p])
    for row, p in zip(rows, multitest.multipletests([row[-1] for row in rows], method="holm")[1]):
        row[-1] = p
    return differences(rows, at)


def readable_p(p: float) -> str:
    """A p-value for readers: four digits, or "< 0.0001"; "" where there is no test."""
    return "" if np.isnan(p) else f"{p:.4f}" if p >= 1e-4 else "< 0.0001"


def seeds_needed(difference: float, spread: float, power: float = 0.8, level: float = 0.05,
                 groups: int = 2) -> int:
    """Seeds of each recipe that show a difference of two means with a probability: power.

    spread: standard deviation over seeds, in the unit of the difference. groups: how many recipes
    are compared, all pairs of them by games_howell(), at a level; of two, it is Student's t test,
    two-sided (Cohen 1988).
    """
    if not (difference > 0 and spread > 0 and 0 < level < power < 1 and groups >= 2):
        raise ValueError(f"difference={difference}, spread={spread}, power={power}, level={level}, "
                         f"groups={groups}: choose a difference and a spread above 0, "
                         "0 < level < power < 1, and two groups or more.")

    def power_of(seeds: int) -> float:
        freedom = 2 * seeds - 2
        least = stats.studentized_range.isf(level, groups, freedom) / 2**0.5
        return stats.nct.sf(least, freedom, difference / spread * (seeds / 2)**0.5)

    most = 2
    while power_of(most) < power:
        most *= 2
    return bisect.bisect_left(range(most), power, max(2, most // 2), most, key=power_of)


def accuracy_interval(share: float, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share seen in count trials (Wilson 1927)."""
    return stats.binomtest(round(share * count), count).proportion_ci(method="wilson")


def interval(values: np.ndarray, log: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the first axis, and the ends of its interval, see mean_interval().

    log: the geometric mean, by the same interval of the logarithms; a zero makes it 0, without one.
    """
    with np.errstate(all="ignore"):  # of zeros, which have no logarithm
        mean, half = mean_interval(np.log(values) if log else values)
        ends = mean, mean - half, mean + half
    return tuple(np.exp(end) for end in ends) if log else ends


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
    """Every recipe with three seeds or more against every other, see games_howell().

    Nothing is paired: on these data, accuracies of one seed do not go up and down together. They
    are counts of images, so the standard error of a difference is at least one of them.
    """
    accuracies = [(name, accuracy, "finished") for name, runs in by_recipe(records).items()
                  if len(runs) >= LEAST_SEEDS for accuracy in final_values(runs)]
    table = pd.DataFrame(accuracies, columns=["recipe", "accuracy", "status"])
    if table["recipe"].nunique() < 2:
        return differences([])
    return games_howell(table, "accuracy", "recipe", 1 / records[0]["data"]["test_size"])


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
