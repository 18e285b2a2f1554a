"""The runs of a laboratory study: a file studies/laboratory/<name>.yaml, a row a run.

    laboratory.py rates           do the runs that results/rates.csv lacks, one after the other
    laboratory.py rates --list    say which they are, and do nothing

Several of these at once share the runs: each takes the next that no other has taken. "make study
STUDY=rates" starts one for each core. A laboratory study is grid x seeds. Its file has
    about:    the question, in a sentence
    expected: the answer that was expected before it was run
    analysis: what is compared, and by which test; fixed before it was run, too
    minutes:  how long it takes on two cores, from a run
    common:   parameters of every run; any field of coursepack.recipe.Recipe
    grid:     by name, the levels of a factor: values, or several parameters that go together
    seeds:    a list; each draws the weights, the batches and, of train_size images, which
    measure:  what is measured in the trained networks (optional), of coursepack.measures
"""

import argparse
import itertools
import os
import sys
import time
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # several processes, a core each

import filelock
import pandas as pd
import study as studies

from coursepack import threads
from coursepack.data.datasets import load_dataset
from coursepack.files import ROOT, check_choice
from coursepack.lab import rows
from coursepack.lab.measures import MEASURES
from coursepack.train.recipe import Recipe
from model import check_norm

STUDIES = studies.STUDIES / "laboratory"
KEYS = {  # of a laboratory study's file: the type of its value, and an example
    "about": (str, "a question"),
    "expected": (str, "the answer that you expect"),
    "analysis": (str, "what is compared with what, and by which test"),
    "minutes": (int, "a whole number, from a run on two cores"),
    "common": (dict, "parameters, such as {epochs: 5, lr: 0.1}"),
    "grid": (dict, "levels by factor, such as {lr: [0.1, 1.0]}"),
    "seeds": (list, "a list of whole numbers, such as [1, 2, 3]"),
    "measure": (list, f"a list of {', '.join(MEASURES)}"),
}
SET_HERE = ("seed", "subset_seed", "run_name", "runs_dir", "data_dir", "device")


def study_names() -> list[str]:
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def is_laboratory(name: str) -> bool:
    """Is this a study without notebooks? Raises ValueError for a name that is none of a study."""
    check_choice("study", name, sorted([*study_names(), *studies.study_names()]))
    return name in study_names()


def read_file(name: str) -> dict[str, object]:
    """What the file of a laboratory study says. Raises ValueError that says what to change."""
    study = studies.load_yaml(name, STUDIES)
    if not isinstance(study, dict):
        raise ValueError(f"study {name} has no keys in its file. Write {', '.join(KEYS)}; "
                         "studies/README.md shows how.")
    for key, value in study.items():
        check_choice(f"key of study {name}", key, KEYS)
        if type(value) is not KEYS[key][0] or not value:
            raise ValueError(f"{key} of study {name} is {value!r:.60}. Write {KEYS[key][1]}.")
    for key in KEYS:
        if key not in study and key not in ("measure", "minutes"):
            raise ValueError(f"study {name} needs {key}. Write {KEYS[key][1]}.")
    studies.check_seeds(name, study["seeds"])
    for measure in study.setdefault("measure", []):
        check_choice(f"measure of study {name}", measure, MEASURES)
    return study


def points_of(name: str, study: dict[str, object]) -> list[dict[str, object]]:
    """The parameters of each point of the grid."""
    known = [field.name for field in fields(Recipe) if field.name not in SET_HERE]
    studies.check_known(f"common of study {name}", study["common"], known)
    axes, owner = [], {}
    for factor, levels in study["grid"].items():
        if not isinstance(levels, list) or not levels:
            raise ValueError(f"grid of study {name}: {factor} is {levels!r:.60} and needs a list "
                             "of levels, such as [0.0, 0.1].")
        studies.check_once(f"grid of study {name}, {factor}", levels)
        axes.append([level if isinstance(level, dict) else {factor: level} for level in levels])
        for level in axes[-1]:
            studies.check_known(f"grid of study {name}, {factor}", level, known)
            if both := [key for key in level if key in study["common"]]:
                raise ValueError(f"study {name}: {both[0]} is set in grid and in common. "
                                 "Remove one of them.")
            for key in level:
                if owner.setdefault(key, factor) != factor:
                    raise ValueError(f"grid of study {name}: {key} is set in {owner[key]} and in "
                                     f"{factor}. Remove one of them.")
    return [{k: v for level in levels for k, v in level.items()}
            for levels in itertools.product(*axes)]


def read_study(name: str) -> tuple[dict[str, object], list[Recipe]]:
    """What a study's file says, with its factors, and a Recipe for each of its runs.

    Raises ValueError that says what to change in the file.
    """
    study = read_file(name)
    points = points_of(name, study)
    varied = dict.fromkeys(key for point in points for key in point)
    recipes = []
    for point, seed in itertools.product(points, study["seeds"]):
        whole = study["common"] | point
        own = {"seed": seed, "subset_seed": seed if whole.get("train_size") else 0}
        try:
            whole["norm"] = check_norm(whole.get("norm", Recipe.norm))  # BN and batch are one
            recipes.append(Recipe(**whole | own))
        except (ValueError, OverflowError, TypeError) as error:
            raise ValueError(f"study {name}, {point}, seed {seed}: {error}") from error
    keys = [rows.key_of(vars(recipe), list(varied)) for recipe in recipes]
    studies.check_once(f"runs of study {name}", keys)
    return study | {"study": name, "factors": list(varied)}, recipes


def table_file(name: str, folder: str = "") -> Path:
    """Where the table of a study is: among the published results, or in another folder."""
    return ROOT / (folder or rows.TABLES) / f"{name}.csv"


def place_of_table(name: str, folder: str) -> str:
    """The folder of the table of a study that is run into a folder: its own only where asked."""
    return rows.TABLES.as_posix() if folder == f"runs/{name}" else folder


def missing_runs(name: str, folder: str = "") -> list[Recipe]:
    """The runs that a study's table lacks, the longest first."""
    study, recipes = read_study(name)
    return without_finished(recipes, table_file(name, folder), study["factors"])


def without_finished(recipes: list[Recipe], file: Path, factors: list[str]) -> list[Recipe]:
    done = rows.finished_keys(file, factors)
    lacks = [r for r in recipes if rows.key_of(vars(r), factors) not in done]
    return sorted(lacks, key=lambda r: -r.epochs * r.train_size * (1 + 100 / r.batch_size))


def seconds_left(done: pd.DataFrame, missing: list[Recipe]) -> float:
    """How long the missing runs take one core, by those of the same work that are in the table."""
    names = [name for name in ("arch", "train_size", "epochs", "batch_size", "norm_batch", "norm",
                               "dataset") if name in done.columns]
    total = 0.0
    for recipe in missing:
        alike = done[done["status"] == "finished"]
        for name in names:
            fewer = alike[alike[name] == getattr(recipe, name)]
            alike = fewer if len(fewer) else alike
        total += alike["seconds"].mean() if len(alike) else 0
    return total


def time_left(missing: list[Recipe], file: Path) -> str:
    """How long the missing runs will take, for a sentence; "" where none is finished yet."""
    if not missing or not file.exists():
        return ""
    cores = min(threads.count_cores(), len(missing))
    minutes = seconds_left(rows.read_table(file)[1], missing) / cores / 60
    return f", about {minutes:.0f} min on {cores} core{'s' * (cores > 1)}"


def work(name: str, folder: str = "") -> None:
    """Do the runs of a study that no other process does or has done."""
    study, recipes = read_study(name)
    factors, file, whole = study["factors"], table_file(name, folder), None
    place = file.parent if file.parent != ROOT / rows.TABLES else ROOT / "runs" / name
    claims = place / "claims"
    claims.mkdir(parents=True, exist_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    for recipe in without_finished(recipes, file, factors):
        key = rows.key_of(vars(recipe), factors)
        claim = filelock.FileLock(claims / f"{'_'.join(key)}.lock")
        try:
            claim.acquire(blocking=False)
        except filelock.Timeout:
            continue
        with claim:
            if key in rows.finished_keys(file, factors):
                continue
            if whole is None:
                whole = load_dataset(recipe.dataset, recipe.data_dir, holdout=recipe.holdout)
                head = rows.table_head(study, recipes, whole)
                rows.check_head(file, head)
            row = {factor: getattr(recipe, factor) for factor in factors} | {"seed": recipe.seed}
            row |= rows.run_once(recipe, whole, study["measure"])
            rows.add_row(file, head, row, claims / "table.lock")
            left = without_finished(recipes, file, factors)
            print(f"{name} {len(recipes) - len(left)}/{len(recipes)}: "
                  f"{rows.describe_row(row, factors)}, {row['seconds']:.0f} s"
                  f"{time_left(left, file)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--folder", default="", help="for the table, in place of results/")
    parser.add_argument("--list", action="store_true", help="the runs that are missing")
    args = parser.parse_args()
    threads.set_up_torch()
    try:
        if not args.list:
            started = time.perf_counter()
            work(args.study, args.folder)
            print(f"{args.study}: this process is done after "
                  f"{(time.perf_counter() - started) / 60:.1f} min")
            return
        factors = read_study(args.study)[0]["factors"]
        for recipe in missing_runs(args.study, args.folder):
            print(", ".join(f"{k} {getattr(recipe, k)}" for k in (*factors, "seed")))
    except (ValueError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
