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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import filelock

from coursepack import threads
from coursepack.data.datasets import load_dataset
from coursepack.files import ROOT, check_choice, check_writable
from coursepack.lab import rows, studies
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
def run_notebook(notebook: str, output: str, parameters: dict[str, object]) -> None:
    """Run a notebook, without the cells that only show something, which prints where we do."""
    import nbformat  # takes seconds, which a study of rows does not need
    import papermill
    from kernels import own_kernel
    os.environ |= own_kernel() | {"TQDM_DISABLE": "1"}
    source = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    papermill.execute_notebook(nbformat.from_dict(without_lessons(source)), output, parameters,
                               progress_bar=False, stdout_file=sys.stdout)


def without_lessons(notebook: dict) -> dict:
    """A notebook without the cells that have the tag "lesson": no other needs what they make."""
    kept = [cell for cell in notebook["cells"] if "lesson" not in cell["metadata"].get("tags", [])]
    return notebook | {"cells": kept}


# ----------------------------------------------------------------------------------- of rows
class Rows:
    """A study of rows: what its file says, the recipes of its runs, and where finished rows are.

    The longest runs are first. The table is among the published ones, unless another folder was
    asked for: that of the parts, files that one worker each adds its rows to.
    """

    def __init__(self, name: str, folder: str) -> None:
        runs = studies.read_study(name)
        studies.check_runs(name, runs)
        self.study, self.folder = studies.read_file(name), ROOT / folder
        self.recipes = [Recipe(**studies.spelled_out(run.parameters)) for run in runs]
        self.recipes.sort(key=lambda recipe: -recipe.epochs * (recipe.train_size or 60_000)
                          * (1 + 100 / recipe.batch_size))  # small batches take longer
        place = rows.TABLES if folder == f"runs/{name}" else folder
        self.table = ROOT / place / f"{name}.csv"

    def key(self, row: dict[str, object]) -> tuple[object, ...]:
        """What tells the runs of the study apart."""
        return tuple(row[name] for name in (*self.study["factors"], "seed"))

    def parts(self) -> list[Path]:
        return sorted(self.folder.glob(".part*.jsonl"))

    def in_parts(self) -> list[dict[str, object]]:
        """All rows that are in a part, and not yet in the table."""
        return [row for part in self.parts() for row in rows.read_part(part)[1]]

    def done(self) -> list[dict[str, object]]:
        """All rows that are there, in the table or in a part."""
        return rows.read_rows(self.table)[1] + self.in_parts()

    def missing(self, done: list[dict[str, object]]) -> list[Recipe]:
        """The runs that none of these rows is of."""
        keys = set(map(self.key, done))
        return [recipe for recipe in self.recipes if self.key(vars(recipe)) not in keys]

    def do_part(self, job: str) -> None:
        """Of 4of9: every ninth run that the table lacks, from the fourth on, but for those done."""
        file, (part, parts) = self.folder / f".part{job}.jsonl", map(int, job.split("of"))
        name, count, factors = self.study["study"], len(self.recipes), self.study["factors"]
        lock = hold(name, self.folder, f"{file.name}.lock")
        (old, there), (own, done) = rows.read_rows(self.table), rows.read_part(file)
        left = {*self.missing(done)}
        mine = [recipe for recipe in self.missing(there)[part - 1::parts] if recipe in left]
        for number, recipe in enumerate(mine):
            if number == 0:
                data = load_dataset(recipe.dataset, recipe.data_dir, holdout=recipe.holdout)
                head = rows.table_head(self.study, self.recipes, data)
                rows.check_head(self.table, old, head)
                rows.check_head(file, own, head)
                if not own:
                    rows.append(file, head)
            row = {key: getattr(recipe, key) for key in (*factors, "seed")}
            row |= rows.run_once(recipe, data, self.study["measure"])
            rows.append(file, row)
            minutes = row["seconds"] * (len(mine) - 1 - number) / 60
            print(f"{name} {count - len(self.missing(there + self.in_parts()))}/{count}: "
                  f"{rows.describe_row(row, factors)}, {row['seconds']:.0f} s, "
                  f"then about {minutes:.0f} min", flush=True)
        lock.release()

    def join(self) -> None:
        """Move the rows of all parts into the table: each once, and in its place.

        Raises ValueError if a process adds to one of them, or if one is of other settings.
        """
        parts, now = self.parts(), rows.table_head(self.study, self.recipes)
        locks = [hold(now["study"], self.folder, f"{part.name}.lock") for part in parts]
        head, there = rows.read_rows(self.table)
        rows.check_head(self.table, head, now)
        found = {self.key(row): row for row in there}
        for part in parts:
            own, some = rows.read_part(part)
            rows.check_head(part, own, head | now)
            head = own | now
            found = {self.key(row): row for row in some} | found
        if len(found) > len(there):
            rows.write_table(self.table, head, found.values())
        for part, lock in zip(parts, locks):
            part.unlink()
            lock.release()


# -------------------------------------------------------------------------------------- both
def lacks(name: str, folder: str) -> tuple[int, list[str]]:
    """How many runs a study has, and which of them are missing."""
    if studies.read_file(name)["kind"] == studies.ROWS:
        plan = Rows(name, folder)
        return len(plan.recipes), [rows.describe_point(vars(recipe), plan.study["factors"])
                                   for recipe in plan.missing(plan.done())]
    runs = studies.read_study(name, folder)
    studies.check_runs(name, runs)
    return len(runs), [run.name for run in runs if not studies.finished(run)]


def begin(name: str, folder: str) -> filelock.FileLock:
    """What comes before all jobs: nobody else may run it, and old parts are joined."""
    lock = hold(name, ROOT / folder)
    if studies.read_file(name)["kind"] == studies.ROWS:
        Rows(name, folder).join()
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
        study = studies.read_file(name)
        if not (args.job or args.end):
            print(*lacks(name, folder)[1], sep="\n")
        elif study["kind"] == studies.ROWS:
            plan = Rows(name, folder)
            plan.do_part(args.job) if args.job else plan.join()
        else:
            runs = {run.name: run for run in studies.read_study(name, folder)}
            if args.job:
                run = runs[check_choice("job", args.job, runs)]
                run_notebook(run.notebook, f"{folder}/{run.name}.ipynb", run.parameters)
            else:
                run_notebook("04_summary", f"{folder}/summary.ipynb", {
                    "runs": ", ".join(runs), "factors": ", ".join(study["factors"]),
                    "runs_dir": folder, "images_dir": f"{folder}/images"})
    except (ValueError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
