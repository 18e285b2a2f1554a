"""Experiments of many small runs: each is a row of a table, trained without a notebook."""

import io
import itertools
import json
import textwrap
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import filelock
import pandas as pd
import torch

from coursepack import files, threads
from coursepack.data.datasets import Dataset, content_checksum, take_part
from coursepack.lab import measures
from coursepack.runs import records
from coursepack.threads import pick_device
from coursepack.train import checkpoints, loop
from coursepack.train.recipe import PLACES, Recipe

TABLES = Path("results")  # results/<study>.csv
OWN = ("seed", "subset_seed", "run_name", *PLACES)  # what a run has, and not its study
EXPECTED = "Expected before it ran: "  # printed before a study's expectation
LAST = ["seconds", "threads", "torch", "code"]  # columns, after what was measured
SAME = ("factors", "common", "data", "measure")  # what the rows of a table have to agree in


@threads.own_torch()
def run_once(recipe: Recipe, data: Dataset, measure: Sequence[str] = ()) -> dict[str, object]:
    """Train a recipe from its first to its last epoch, then test: a row, with nothing written.

    data: the whole data set, of which the recipe takes its part. A run that diverges is a result:
    its status and epoch say so, and it has no other values.
    """
    started = time.perf_counter()
    data = take_part(data, recipe.train_size, recipe.subset_seed, recipe.label_noise)
    data = data.to(pick_device(recipe.device))
    model, history = loop.train_beside(data, recipe)
    test, last = loop.evaluate(model, data), history[-1]
    finished = not loop.diverged(last) and test[0] <= loop.DIVERGED
    row: dict[str, object] = {"status": "finished" if finished else "diverged",
                              "epoch": len(history)}
    if finished:
        row |= {k: last[k] for k in ("loss", "penalty", "accuracy")}
        row |= {"test_loss": test[0], "test_accuracy": test[1]}
        row |= measures.measure(measure, model, data, recipe)
    return row | {"seconds": time.perf_counter() - started, "threads": torch.get_num_threads(),
                  "torch": str(torch.__version__), "code": checkpoints.code_checksum()}


def try_out(data: Dataset, common: dict[str, object], measure: Sequence[str] = (),
            **grid: Sequence[object]) -> pd.DataFrame:
    """A small experiment at once: a run for each combination of levels, and a printed line each.

    data: what is trained and tested on; common: parameters of every run; grid: levels by parameter.
    """
    rows = []
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values))
        recipe = Recipe(**common | point)
        rows.append(point | {"seed": recipe.seed} | run_once(recipe, data, measure))
        print(describe_row(rows[-1], list(grid)))
    return pd.DataFrame(rows)


def describe_row(row: dict[str, object], factors: Sequence[str]) -> str:
    """A row in a line, for those who watch."""
    values = ", ".join(f"{name} {row[name]}" for name in (*factors, "seed"))
    if row["status"] == "diverged":
        return f"{values}: diverged in epoch {row['epoch']}"
    return f"{values}: test accuracy {row['test_accuracy']:.2%}"


# ---------------------------------------------------------------------------------- its table
def table_head(study: dict[str, object], recipes: Sequence[Recipe], data: Dataset) -> dict:
    """What all runs of a study have in common, and how many there are."""
    factors = study["factors"]
    common = {k: v for k, v in asdict(recipes[0]).items() if k not in (*OWN, *factors)}
    about = {key: study[key] for key in ("study", "about", "expected") if key in study}
    return about | {
        "runs": len(recipes), "factors": list(factors), "measure": list(study["measure"]),
        "common": common, "data": {"name": data.name, "test_size": len(data.test_labels),
                                   "content": content_checksum(data)}}


def read_table(file: Path) -> tuple[dict, pd.DataFrame]:
    """Head and rows of a table. Raises ValueError that names the file, if it is none."""
    try:
        text = file.read_text(encoding="utf-8")
        first, rest = text.split("\n", 1)
        head = json.loads(first.removeprefix("# "))
        rows = pd.read_csv(io.StringIO(rest), keep_default_na=False, na_values=[""])
        if missing := {*head["factors"], "seed", "status", "epoch"} - {*rows.columns}:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is no table of a study: {error}. Restore it, or make it again "
                         "with make study.") from error
    return head, rows


def check_head(file: Path, head: dict) -> None:
    """Raise ValueError if a table holds rows of other settings than these."""
    if not file.exists():
        return
    there, _ = read_table(file)
    for part in SAME:
        old, new = there.get(part), head[part]
        if isinstance(old, dict) and isinstance(new, dict):
            differ = [k for k in {**old, **new} if old.get(k) != new.get(k)]
            old, new = ({k: d.get(k) for k in differ} for d in (old, new))
        if old != new:
            raise ValueError(f"{file} holds runs of another {part}: {old}, and here it is {new}. "
                             "Restore the study's file or the data, or move the table away.")


def key_of(row: dict[str, object], factors: Sequence[str]) -> tuple[str, ...]:
    """What tells the runs of a study apart, as a table spells it."""
    values = (row[name] for name in (*factors, "seed"))
    return tuple(f"{v:.7g}" if isinstance(v, int | float) and not isinstance(v, bool) else str(v)
                 for v in values)


def finished_keys(file: Path, factors: Sequence[str]) -> set[tuple[str, ...]]:
    """Which runs a table has."""
    if not file.exists():
        return set()
    rows = read_table(file)[1].to_dict("records")
    return {key_of(row, factors) for row in rows}


def add_row(file: Path, head: dict, row: dict[str, object], lock: Path) -> None:
    """Put a row into a table, in its place, while no other process does. A row there is stays."""
    with filelock.FileLock(lock):
        rows = read_table(file)[1].to_dict("records") if file.exists() else []
        check_head(file, head)
        factors = head["factors"]
        if key_of(row, factors) in {key_of(other, factors) for other in rows}:
            return
        rows = [*rows, row]
        longest = max(rows, key=lambda r: sum(not isinstance(v, float) or v == v
                                              for v in r.values()))
        names = dict.fromkeys(itertools.chain(longest, *rows))
        names = [name for name in names if name not in LAST] + LAST
        table = pd.DataFrame(rows, columns=names).sort_values([*factors, "seed"], kind="stable")
        text = "# " + json.dumps(head) + "\n" + table.to_csv(index=False, float_format="%.7g",
                                                             lineterminator="\n")
        files.replace_file(file, lambda path: path.write_text(text, encoding="utf-8"))


def load_table(study: str) -> pd.DataFrame:
    """The published runs of a laboratory study; attrs["missing"]: how many it still lacks.

    Raises ValueError that names the study's command if there is no table of it.
    """
    file = files.ROOT / TABLES / f"{study}.csv"
    if not file.exists():
        there = sorted(path.stem for path in file.parent.glob("*.csv"))
        raise ValueError(f"study={study!r} has no table in {TABLES}/. There are: "
                         f"{', '.join(there)}. Make it with: make study STUDY={study}")
    head, rows = read_table(file)
    rows.attrs |= head | {"missing": head["runs"] - len(rows)}
    return rows


def load_records(study: str) -> pd.DataFrame:
    """The kept records of a study of notebooks as such a table, a row a run.

    attrs["missing"]: how many seeds its recipes lack, taken together, of those that one of them
    has. Raises ValueError if nothing is kept of such a study.
    """
    folder = files.ROOT / TABLES / study
    kept = [records.load_record(file) for file in sorted(folder.glob("*.json"))]
    if not kept:
        raise ValueError(f"study={study!r} has no records in {TABLES}/. Make them with: make study "
                         f"STUDY={study}, then make report STUDY={study}")
    table = pd.DataFrame([record["parameters"] | record["epochs"][-1] | {"status": "finished"}
                          for record in kept])
    points = table.drop(columns=[*OWN, *LAST, *kept[0]["epochs"][-1]], errors="ignore").astype(str)
    same = [name for name in points if points[name].nunique() == 1]
    expected = len(points.drop_duplicates()) * table["seed"].nunique()
    table.attrs |= {"study": study, "runs": expected, "missing": expected - len(table),
                    "common": {name: kept[0]["parameters"][name] for name in same
                               if name in kept[0]["parameters"]},
                    "data": kept[0]["data"]}
    return table


def describe_table(table: pd.DataFrame) -> str:
    """A study in a few lines: how many runs there are, and what was expected before the first."""
    head = table.attrs
    diverged = int((table["status"] == "diverged").sum())
    runs = (f"study {head['study']}: {len(table)} of {head['runs']} runs, "
            f"{table['seed'].nunique()} seeds, {diverged} diverged")
    if "expected" not in head:
        return runs
    return f"{runs}\n{wrap(EXPECTED + head['expected'])}".strip()


def wrap(*sentences: str) -> str:
    """Sentences as one paragraph, in lines that fit a page, and an empty line."""
    return textwrap.fill(" ".join(sentences), 80) + "\n"
