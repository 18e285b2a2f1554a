"""What a study lacks, and the jobs that studies/Snakefile makes of it.

    study.py rates                             the runs that it lacks
    study.py rates --folder runs/x --job 1of4  a part of its rows; or, by its name, a notebook's run
    study.py rates --folder runs/x --end       what comes last: the table, or the summary

"make study STUDY=rates" starts the jobs. The format of a study's file: studies/README.md.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import filelock

from coursepack import threads
from coursepack.data.datasets import load_dataset
from coursepack.files import ROOT, check_choice, check_writable
from coursepack.lab import rows
from coursepack.lab.studies import ROWS, check_runs, finished, read_file, read_rows, read_study
from coursepack.train.recipe import Recipe


def hold(study: str, folder: Path, name: str = ".lock") -> filelock.FileLock:
    """The right to run a study, or a part of it, into folder, for as long as this process lives.

    Raises ValueError if another process has it.
    """
    check_writable("folder", folder)
    lock = filelock.FileLock(folder / name)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise ValueError(f"study {study} is being run by another process, in {folder}. Wait for "
                         "its end, or choose another folder: make study RUNS=folder.") from None
    return lock


# ------------------------------------------------------------------------------ of notebooks
def run_notebook(notebook: str, output: str, parameters: dict[str, object],
                 said: TextIO | None = None) -> None:
    """Run a notebook, without the cells that only show something; said: where it may print."""
    import nbformat  # takes seconds, which a study of rows does not need
    import papermill
    from kernels import own_kernel
    os.environ |= own_kernel() | {"TQDM_DISABLE": "1"}
    source = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    papermill.execute_notebook(nbformat.from_dict(without_lessons(source)), output, parameters,
                               progress_bar=False, stdout_file=said)


def without_lessons(notebook: dict) -> dict:
    """A notebook without the cells that have the tag "lesson": no other needs what they make."""
    kept = [cell for cell in notebook["cells"] if "lesson" not in cell["metadata"].get("tags", [])]
    return notebook | {"cells": kept}


# ----------------------------------------------------------------------------------- of rows
class Rows(NamedTuple):
    """A study of rows: what its file says, all its runs, and where finished rows are."""

    study: dict[str, object]
    recipes: list[Recipe]
    table: Path
    folder: Path  # of the parts: files that one worker each adds its rows to

    @classmethod
    def of(cls, name: str, folder: str) -> "Rows":
        """Its table is among the published ones, unless another folder was asked for."""
        place = rows.TABLES if folder == f"runs/{name}" else folder
        return cls(*read_rows(name), ROOT / place / f"{name}.csv", ROOT / folder)

    def parts(self) -> list[Path]:
        return sorted(self.folder.glob(".part*.jsonl"))

    def done(self) -> list[dict[str, object]]:
        """All rows that are there, in the table or in a part."""
        return rows.read_rows(self.table)[1] + [
            row for part in self.parts() for row in rows.read_part(part)[1]]

    def missing(self, done: list[dict[str, object]]) -> list[Recipe]:
        """The runs that none of these rows is of, the longest first."""
        factors = self.study["factors"]
        keys = {rows.key_of(row, factors) for row in done}
        return sorted((recipe for recipe in self.recipes
                       if rows.key_of(vars(recipe), factors) not in keys), key=work, reverse=True)

    def time_left(self, done: list[dict[str, object]]) -> str:
        """How long the missing runs will take, for a sentence, judged by these rows."""
        missing = self.missing(done)
        left, whole = (sum(map(work, some)) for some in (missing, self.recipes))
        if not missing or left == whole:
            return ""
        cores = min(threads.count_cores(), len(missing))
        minutes = sum(row["seconds"] for row in done) * left / (whole - left) / cores / 60
        return f", about {minutes:.0f} min on {cores} core{'s' * (cores > 1)}"

    def do_part(self, job: str) -> None:
        """Of 4of9: every ninth run that the table lacks, from the fourth on, but for those done."""
        name, factors = self.study["study"], self.study["factors"]
        file, (part, parts) = self.folder / f".part{job}.jsonl", map(int, job.split("of"))
        lock = hold(name, self.folder, f"{file.name}.lock")
        (old, there), (own, done) = rows.read_rows(self.table), rows.read_part(file)
        keys = {rows.key_of(row, factors) for row in done}
        mine = [recipe for recipe in self.missing(there)[part - 1::parts]
                if rows.key_of(vars(recipe), factors) not in keys]
        for recipe in mine:
            if recipe is mine[0]:
                data = load_dataset(recipe.dataset, recipe.data_dir, holdout=recipe.holdout)
                head = rows.table_head(self.study, self.recipes, data)
                rows.check_head(self.table, old, head)
                rows.check_head(file, own, head)
                own or rows.append(file, head)
            row = {factor: getattr(recipe, factor) for factor in factors} | {"seed": recipe.seed}
            row |= rows.run_once(recipe, data, self.study["measure"])
            rows.append(file, row)
            done = self.done()
            print(f"{name} {len(self.recipes) - len(self.missing(done))}/{len(self.recipes)}: "
                  f"{rows.describe_row(row, factors)}, {row['seconds']:.0f} s"
                  f"{self.time_left(done)}", flush=True)
        lock.release()

    def join(self) -> None:
        """Move the rows of all parts into the table: each once, and in its place.

        Raises ValueError if a process adds to one of them, or if one is of other settings.
        """
        name, factors, parts = self.study["study"], self.study["factors"], self.parts()
        locks = [hold(name, self.folder, f"{part.name}.lock") for part in parts]
        now = rows.table_head(self.study, self.recipes)
        head, there = rows.read_rows(self.table)
        rows.check_head(self.table, head, now)
        found = {rows.key_of(row, factors): row for row in there}
        for part in parts:
            own, some = rows.read_part(part)
            rows.check_head(part, own, head | now)
            head = own | now
            found = {rows.key_of(row, factors): row for row in some} | found
        if len(found) > len(there):
            rows.write_table(self.table, head, found.values())
        for part, lock in zip(parts, locks):
            part.unlink()
            lock.release()


def work(recipe: Recipe) -> float:
    """How long a run takes, compared with others: small batches take longer."""
    return recipe.epochs * (recipe.train_size or 60_000) * (1 + 100 / recipe.batch_size)


# -------------------------------------------------------------------------------------- both
def lacks(name: str, folder: str) -> tuple[int, list[str], str]:
    """How many runs a study has, which of them are missing, and how long these will take."""
    if read_file(name)["kind"] == ROWS:
        plan = Rows.of(name, folder)
        done, columns = plan.done(), (*plan.study["factors"], "seed")
        return len(plan.recipes), [", ".join(f"{key} {getattr(recipe, key)}" for key in columns)
                                   for recipe in plan.missing(done)], plan.time_left(done)
    runs = read_study(name, folder)
    check_runs(name, runs)
    return len(runs), [run.name for run in runs if not finished(run)], ""


def begin(name: str, folder: str) -> filelock.FileLock:
    """What comes before all jobs: nobody else may run it, and old parts are joined."""
    lock = hold(name, ROOT / folder)
    if read_file(name)["kind"] == ROWS:
        Rows.of(name, folder).join()
    return lock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--folder", help="of its runs, in place of runs/<study>")
    parser.add_argument("--job", help="the one to do")
    parser.add_argument("--end", action="store_true", help="do what comes after all jobs")
    args = parser.parse_args()
    name, folder = args.study, args.folder or f"runs/{args.study}"
    threads.set_up_torch()
    try:
        study = read_file(name)
        if not (args.job or args.end):
            print(*lacks(name, folder)[1], sep="\n")
        elif study["kind"] == ROWS:
            plan = Rows.of(name, folder)
            plan.do_part(args.job) if args.job else plan.join()
        else:
            runs = {run.name: run for run in read_study(name, folder)}
            if args.job:
                run = runs[check_choice("job", args.job, runs)]
                run_notebook(run.notebook, f"{folder}/{run.name}.ipynb", run.parameters, sys.stdout)
            else:
                run_notebook("04_summary", f"{folder}/summary.ipynb", {
                    "runs": ", ".join(runs), "factors": ", ".join(study["factors"]),
                    "runs_dir": folder, "images_dir": f"{folder}/images"})
    except (ValueError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
