"""Every number of README and laboratory.md once more, by pandas and scipy alone, from the tables.

Nothing here imports the toolbox: what it gets wrong, a notebook prints and this does not.
"""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
README, LABORATORY = (ROOT.joinpath(name).read_text(encoding="utf-8")
                      for name in ("README.md", "results/laboratory.md"))
WORDS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "seven": 7, "eight": 8, "ten": 10}


def numbers(text):
    """The numbers of a text in their order, as they are written; small ones may be words."""
    found = re.findall(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?|\b(?:" + "|".join(WORDS) + r")\b",
                       text, re.IGNORECASE)
    return [str(WORDS.get(word.lower(), word.lstrip("+"))) for word in found]


def table(study):
    rows = pd.read_csv(ROOT / "results" / f"{study}.csv", comment="#", keep_default_na=False)
    for name in rows.columns:
        numeric = pd.to_numeric(rows[name], errors="coerce")
        if numeric.notna().any() and name != "code":
            rows[name] = numeric
    return rows


def records(study):
    rows = []
    for file in sorted((ROOT / "results" / study).glob("*.json")):
        record = json.loads(file.read_bytes())
        rows.append(record["parameters"] | record["epochs"][-1])
    return pd.DataFrame(rows)


def question_1():
    rates, start = table("rates"), table("rates_start")
    batch = rates[(rates["norm"] == "batch") & (rates["init"] == "default")]
    wide = [lr for lr, runs in batch.groupby("lr")
            if all(right > 0.98 for right in pd.to_numeric(runs["test_accuracy"]))]
    he = start.query("init == 'he' and not conv_bias and epochs == 20")
    good = [int((he.loc[he["lr"] == lr, "test_accuracy"].astype(float) > 0.95).sum())
            for lr in (0.01, 0.3)]
    yield "all five runs above 98 %", [5, 5, 98, f"{wide[0]:g}", f"{wide[-1]:g}", 20, 95,
                                            good[0], 10, "0.01", good[1], "0.3"]


def question_2():
    runs = table("groups")
    last = runs[runs["order"] == "act-drop-norm"]
    of8, none = last[(last["norm"] == "group") & (last["groups"] == 8)], last[
        last["norm"] == "instance"]
    yield ("With the norm last", [8, f"{of8['pooled_rank'].mean():.0f}", 16,
                                  f"{100 * of8['test_accuracy'].mean():.1f}",
                                  f"{none['pooled_rank'].mean():.0f}",
                                  f"{100 * none['test_accuracy'].mean():.1f}"])
    runs = table("groups_cifar")
    right = runs.groupby(["norm", "groups", "lr"])["test_accuracy"].mean()
    right = 100 * right.groupby(["norm", "groups"]).max()
    yield "CIFAR-10, each at its own rate", [10, 1, f"{right['group', 1]:.1f}", 8, *(
        f"{right[place]:.1f}" for place in [("group", 8), ("batch", 1)])]


def question_3():
    runs = table("order").query("dropout == 0 and layer_affine == 'element'")
    right = 100 * runs.groupby(["norm", "order"])["test_accuracy"].mean().unstack()
    lost = right["act-norm-drop"] - right["norm-act-drop"]
    yield "the norm before the ReLU, not after it", [
        *(f"{abs(lost[norm]):.1f}" for norm in ("batch", "layer")),
        *(f"{right.at['instance', order]:.0f}" for order in ("norm-act-drop", "act-norm-drop"))]
    right = 100 * records("best_cifar_order").groupby(["norm", "order"])["test_accuracy"].mean()
    lost = right.unstack()["act-drop-norm"] - right.unstack()["norm-act-drop"]
    yield "with the ReLU last", [10, *(f"{lost[norm]:.1f}" for norm in ("group", "layer"))]


def question_4():
    runs = table("batch")
    wrong = 100 - 100 * runs.groupby(["norm", "batch_size"])["test_accuracy"].mean()
    yield "Trained in batches of two", [2, f"{wrong['batch', 2]:.1f}",
                                        f"{wrong['group', 2]:.1f}", 4]
    whole = table("norm_batch").query("norm_batch == 0")
    yield "Tested in batches of two", [2, f"{100 - 100 * whole['accuracy_at_2'].mean():.0f}",
                                       f"{100 - 100 * whole['test_accuracy'].mean():.1f}"]


def question_5():
    half = table("order").query("norm == 'batch' and dropout == 0.5 and order == 'drop-norm-act'")
    yield "dropped right before it", [
        f"{half.filter(like='variance_ratio').mean().max():.0f}",
        *(f"{100 * half[what].mean():.0f}" for what in ("test_accuracy", "recomputed_accuracy"))]


def question_6():
    runs = table("l2").query("l2 > 0")
    runs["length"] = np.log((runs.filter(regex="^norm_[1-5]$") ** 2).sum(axis=1)) / 2
    mean = runs.groupby(["norm", "l2", "lr"])["length"].mean().reset_index("lr")
    first, last = (mean.groupby(["norm", "l2"]).agg(end) for end in ("first", "last"))
    power = (last["length"] - first["length"]) / np.log(last["lr"] / first["lr"])
    normed, none = power.drop("none", level="norm").groupby("l2"), power["none"]
    ends = zip(normed.min(), normed.max(), sorted(runs["l2"].unique()))
    yield "the length of the weights", [
        *(number for low, high, l2 in [*ends][1:] for number in (
            f"{low:.2f}", f"{high:.2f}", l2)), "0.25", f"{none.min():.2f}", f"{none.max():.2f}"]
    runs = table("l2_noise").query("norm == 'batch'")
    right = 100 * runs.groupby(["l2", "l2_step", "penalize", "schedule"])["test_accuracy"].mean()
    yield "with L2 on the last layer", [40, *(f"{right[way]:.1f}" for way in [
        (0, "gradient", "weights", "one_cycle"), (0.03, "gradient", "weights", "one_cycle"),
        (0.03, "learning_rate", "weights", "one_cycle"), (0.03, "gradient", "last", "one_cycle")])]


def question_7():
    runs = table("l1").query("norm == 'batch'").groupby(["l1", "l1_step"]).mean(numeric_only=True)
    zeros, right = 100 * runs["exact_zeros"][0.01], 100 * runs["test_accuracy"]
    lost = right[0, "subgradient"] - right[0.01, "proximal"]
    yield "With batch norm and l1", ["0.01", *(f"{zeros[step]:.0f}" for step in (
        "subgradient", "proximal")), f"{lost:.1f}"]
    cut = 100 * runs["accuracy_cut_70"].xs("subgradient", level="l1_step")
    yield "% of the weights cut", [70, f"{cut[0.001]:.1f}", "0.001", f"{cut[0]:.0f}"]


def question_8():
    runs, ways = table("penalties"), {}
    right = runs[(runs["label_noise"] == 0) & (runs["norm"] == "batch")]
    for few in (500, 10_000):
        some = right[right["train_size"] == few]
        recipe = some.groupby(["epochs", "l1", "l2", "dropout", "augment"])
        ways[few] = 100 * recipe["test_accuracy"].mean()
        nothing = some["epochs"].max(), 0, 0, 0, "none"
        ways[few] = ways[few][nothing], ways[few].drop(nothing).max()
    yield "500 images", [500, *(f"{right:.1f}" for right in ways[500][::-1]), "10,000",
                         f"{ways[10_000][1] - ways[10_000][0]:.1f}"]
    runs = runs[runs["label_noise"] == 0.4]
    few, most = runs["epochs"].agg(["min", "max"])
    done = runs[["l1", "l2", "dropout"]].sum(axis=1) + (runs["augment"] != "none")
    wrong = 100 - 100 * runs.groupby([done, runs["epochs"]])["test_accuracy"].mean()
    yield "if training stops", [40, f"{wrong[0, most]:.0f}", 100, f"{wrong[0, few]:.0f}",
                                     few, f"{wrong[wrong.index[1:]].drop((0, most)).min():.0f}"]
    runs = table("norm_batch_noise").query("norm == 'batch' and label_noise > 0 and epochs == 47")
    wrong = 100 - 100 * runs.groupby(["l2", "norm_batch"])["test_accuracy"].mean()
    yield "batch norm's statistics", [40, 64, f"{wrong[0, 0]:.0f}", 100, 2, f"{wrong[0, 2]:.0f}",
                                      f"{wrong[0.01, 2]:.0f}"]


def question_9():
    runs = table("crossed").query("layer_affine == 'element'")
    log_loss = np.log(runs["test_loss"]).groupby([runs["norm"], runs["l2"] > 0]).mean().unstack()
    times = np.exp(log_loss[True] - log_loss[False])
    yield "L2 lowers the test loss", [f"{times[norm]:.2f}"
                            for norm in ("batch", "instance", "group", "layer")]


QUESTIONS = [question_1, question_2, question_3, question_4, question_5, question_6, question_7,
             question_8, question_9]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_finding_has_the_numbers_of_its_table(question):
    for words, expected in question():
        said = [text for text in re.findall(r"(?m)^\*\*Found:\*\* (.*)$", LABORATORY)
                if words in text]
        assert [numbers(text) for text in said] == [[str(number) for number in expected]], words
        assert said[0] in " ".join(README.split())


def test_goals_and_pairs_of_the_readme():
    reached, missed, within, decided, pairs = 0, 0, [0, 0], 0, 0
    for file in sorted((ROOT / "studies").glob("*.yaml")):
        study, groups = yaml.safe_load(file.read_text(encoding="utf-8")), []
        runs = records(file.stem)
        goals = yaml.safe_load((file.parent / f"{study['repeats']}.yaml").read_bytes())["to_reach"
                ] if "repeats" in study else study.get("to_reach", {})
        recipe = runs["run_name"].str.replace(r"-seed\d+$", "", regex=True) if len(runs) else []
        for name, some in runs.groupby(recipe) if len(runs) else ():
            groups.append(some["test_accuracy"].to_numpy())
            if goal := goals.get(name.split("-")[0]):
                above = round(100 * groups[-1].mean() - goal, 2)
                half = 100  # of less than three seeds nothing is said
                if len(some) > 2:
                    half *= stats.t.ppf(0.975, len(some) - 1) * stats.sem(groups[-1])
                reached, missed = reached + (above >= 0), missed + (above < 0)
                within[int(above < 0)] += abs(above) <= half
        groups = [of for of in groups if len(of) > 2]
        if len(groups) > 1:
            p = stats.tukey_hsd(*groups, equal_var=False).pvalue[np.triu_indices(len(groups), 1)]
            decided, pairs = decided + (p < 0.05).sum(), pairs + len(p)
    [said] = re.findall(r"Of \d+ recipes with an accuracy.*", README)
    assert numbers(said)[:9] == [str(number) for number in (
        reached + missed, reached, missed, *within, reached - within[0], missed - within[1],
        pairs, 3)]
    assert f"{pairs - decided} are undecided" in said


def test_how_many_small_runs_there_are_each_counted_once():
    runs = set()
    for file in (ROOT / "results").glob("*.csv"):
        common = json.loads(file.read_text(encoding="utf-8").partition("\n")[0][2:])["common"]
        factors = table(file.stem).loc[:, :"seed"].to_dict("records")
        runs |= {str(sorted((common | {"init": "default", "conv_bias": False} | one).items()))
                 for one in factors}
    assert f"{len(runs) // 100 * 100:,} small runs" in README
