"""Studies of many small runs: each is a row of a table, trained without a notebook.

A worker adds its rows to a part, a table of its own; at the end they move into that of the study.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import textwrap
import time
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from coursepack import files, threads
from coursepack.data.datasets import Dataset, content_checksum, take_part
from coursepack.lab import measures, studies
from coursepack.runs import recipes
from coursepack.threads import pick_device
from coursepack.train import checkpoints, loop
from coursepack.train.recipe import FIELDS, PLACES, Recipe, with_defaults

pd = files.Later("pandas")

OF_A_RUN = ("seed", "subset_seed", "run_name", *PLACES)  # what the runs of a study differ in anyway
FIGURES = ("loss", "penalty", "accuracy", "test_loss", "test_accuracy")  # of the last epoch
TEXTS = ("status", "device", "torch", "code")  # columns of a table that hold no numbers
MADE_WITH = ["seconds", "device", "threads", "torch", "code"]  # columns, after what was measured
EXPECTED, CONTROL = "Expected before it ran: ", "Control: "  # printed before what a study says


@threads.own_torch()
def run_once(recipe: Recipe, data: Dataset, measure: Sequence[str] = ()) -> dict[str, object]:
    """Train a recipe from its first to its last epoch, then test: a row, with nothing written.

    data: the whole data set, of which the recipe takes its part. A run that diverges is a result:
    its status and epoch say so, and it has no other values.
    """
    started = time.perf_counter()
    device = pick_device(recipe.device)
    data = recipe.take_part(data).to(device)
    model, history = loop.train_beside(data, recipe)
    last = dict(zip(("test_loss", "test_accuracy"), loop.evaluate(model, data))) | history[-1]
    row = {"status": "diverged" if loop.diverged(last) else "finished", "epoch": len(history)}
    if row["status"] == "finished":
        row |= {name: last[name] for name in FIGURES}
        row |= measures.measure(measure, model, data, recipe)
    return row | {"seconds": time.perf_counter() - started, "device": device.type,
                  "threads": torch.get_num_threads(), "torch": str(torch.__version__),
                  "code": checkpoints.code_checksum()}


def try_out(data: Dataset, common: dict[str, object], measure: Sequence[str] = (),
            **grid: Sequence[object]) -> pd.DataFrame:
    """A small experiment at once: a run for each combination of levels, and a printed line each.

    data: what is trained and tested on; common: parameters of every run, where a train_size of more
    images than there are means all; grid: levels by parameter.
    """
    rows, most = [], len(data.train_labels)
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values))
        asked = common | point
        recipe = Recipe(**asked | {"train_size": min(asked.get("train_size", 0), most)})
        rows.append(point | {"seed": recipe.seed} | run_once(recipe, data, measure))
        print(describe_row(rows[-1], list(grid)))
    return pd.DataFrame(rows)


def describe_row(row: dict[str, object], factors: Sequence[str]) -> str:
    """A row in a line, for those who watch."""
    if row["status"] == "diverged":
        return f"{describe_point(row, factors)}: diverged in epoch {row['epoch']}"
    return f"{describe_point(row, factors)}: test accuracy {row['test_accuracy']:.2%}"


def describe_point(row: dict[str, object], factors: Sequence[str]) -> str:
    """What tells a row from the others."""
    return ", ".join(f"{name} {row[name]}" for name in (*factors, "seed"))


def table_head(study: dict[str, object], recipes: Sequence[Recipe],
               data: Dataset | None = None) -> dict[str, object]:
    """What all rows of a study have in common, how many they are, and of which data, if known."""
    head = {key: study[key] for key in ("study", "about", "expected", "factors", "measure")} | {
        "runs": len(recipes),
        "common": {key: value for key, value in asdict(recipes[0]).items()
                   if key not in (*OF_A_RUN, *study["factors"])}}
    if data is None:
        return head
    data = take_part(data, 0, holdout=recipes[0].holdout)
    return head | {"data": {
        "name": data.name, "test_size": len(data.test_labels), "content": content_checksum(data)}}


def check_head(file: Path, there: dict, head: dict) -> None:
    """Raise ValueError if a file with the head there holds rows of other settings than head's.

    A parameter that is younger than the file had its default.
    """
    for name in [n for n in ("factors", "common", "data", "measure", "study") if n in there]:
        old, new = there[name], head.get(name, there[name])
        if name == "common":
            old, new = with_defaults(old), with_defaults(new)
        if old != new:
            if isinstance(old, dict):
                old, new = dict(old.items() - new.items()), dict(new.items() - old.items())
            raise ValueError(f"{file} holds runs of another {name}: {old}, and here it is {new}. "
                             "Restore the study's file or the data, or move that file away.")


def check_points(file: Path, points: Iterable[str], asked: Container[str]) -> None:
    """Raise ValueError unless all points of a file are asked for by its study, each once."""
    counts = Counter(points)
    if extra := [point for point in counts if point not in asked or counts[point] > 1]:
        raise ValueError(f"{file} has {extra[0]}, for which the study's file does not ask, or not "
                         "twice. Restore one of the two (git checkout).")


def read_table(file: Path) -> tuple[dict, pd.DataFrame]:
    """Head and rows of a table; factors and seed are exactly what they were in the recipes."""
    text = files.read_kept(file, "Restore it, or move it away: make study makes its runs again.")
    first, rest = text.decode().split("\n", 1)
    head = json.loads(first.removeprefix("# "))
    del head["digest"]
    rows = pd.read_csv(io.StringIO(rest), dtype=str, keep_default_na=False)
    for name in rows:
        if name in (*head["factors"], "seed"):
            kind = FIELDS[files.check_choice(f"column of {file}", name, FIELDS)].type
            read = ["False", "True"].index if kind is bool else kind
            rows[name] = pd.Series([kind(read(text)) for text in rows[name]])
        elif name not in TEXTS:
            rows[name] = pd.to_numeric(rows[name])
    return head, rows


def read_rows(file: Path) -> tuple[dict, list[dict[str, object]]]:
    """The same, each row with the values that it has; nothing where there is no such file."""
    if not os.path.lexists(file):
        return {}, []
    head, table = read_table(file)
    return head, [{name: value for name, value in row.items() if pd.notna(value)}
                  for row in table.to_dict("records")]


def write_table(file: Path, head: dict, rows: Iterable[dict[str, object]]) -> None:
    """Write a table of these rows, in the order of their factors and seeds."""
    keys = [*head["factors"], "seed"]
    rows = sorted(rows, key=len, reverse=True)  # one that diverged lacks what others have
    names = sorted(dict.fromkeys(itertools.chain(*rows)), key=MADE_WITH.__contains__)
    table = pd.DataFrame(rows, columns=names).sort_values(keys, kind="stable")
    table[keys] = table[keys].astype(object).map(spell)
    text = table.to_csv(index=False, float_format="%.7g", lineterminator="\n")
    head = json.dumps({"digest": files.BLANK} | head)
    files.replace_file(file, lambda path: path.write_bytes(f"# {head}\n{text}".encode()), kept=True)


def spell(value: object) -> str:
    """A value as a table spells it: as short as can be, if it is read again as the same."""
    if isinstance(value, float) and float(short := f"{value:.7g}") == value:
        return short
    return str(value)


def load_table(study: str) -> pd.DataFrame:
    """The published table of a study, if there is one; attrs["missing"]: how many it lacks."""
    file = files.ROOT / studies.RESULTS / f"{study}.csv"
    if not os.path.lexists(file):
        there = sorted(path.stem for path in file.parent.glob("*.csv"))
        raise ValueError(f"study={study!r} has no table in {studies.RESULTS}/. There are: "
                         f"{', '.join(there)}. Make it with: make study STUDY={study}")
    head, rows = read_table(file)
    asked = studies.check_runs(study, studies.read_study(study))
    check_head(file, head, table_head(studies.read_file(study), asked))
    check_points(file, (describe_point(row, head["factors"]) for row in rows.to_dict("records")),
                 {describe_point(vars(one), head["factors"]) for one in asked})
    rows.attrs |= head | {"runs": len(asked), "missing": len(asked) - len(rows),
                          "control": studies.read_file(study)["control"]}
    return rows


def load_records(study: str) -> pd.DataFrame:
    """The kept records of a study of notebooks as such a table, a row a run."""
    runs, kept = studies.load_kept(study)
    if not kept:
        raise ValueError(f"study={study!r} has no records in {studies.RESULTS}/. Make them with: "
                         f"make study STUDY={study}, then make report STUDY={study}")
    recipes.check_comparable(kept, studies.read_file(study)["factors"])
    kept.sort(key=lambda record: record["parameters"]["run_name"])
    table = pd.DataFrame([record["parameters"] | record["epochs"][-1] | {"status": "finished"}
                          for record in kept])
    first, last = kept[0]["parameters"], kept[0]["epochs"][-1]
    same = [name for name in first if table[name].astype(str).nunique() == 1]
    table.attrs |= {"study": study, "runs": len(runs), "missing": len(runs) - len(kept),
                    "common": {name: first[name] for name in same
                               if name not in (*OF_A_RUN, *last)}, "data": kept[0]["data"]}
    return table


def describe_table(table: pd.DataFrame) -> str:
    """A study in a few lines: how many runs, what was expected before the first, its control."""
    head = table.attrs
    runs = (f"study {head['study']}: {len(table)} of {head['runs']} runs, "
            f"{table['seed'].nunique()} seeds, {sum(table['status'] == 'diverged')} diverged")
    if "expected" not in head:
        return runs
    return f"{runs}\n{wrap(EXPECTED + head['expected'])}\n{wrap(CONTROL + head['control'])}".strip()


def wrap(*sentences: str) -> str:
    """Sentences as one paragraph, in lines that fit a page, and an empty line."""
    return textwrap.fill(" ".join(sentences), 80) + "\n"
