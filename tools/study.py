"""What a study lacks, and the jobs that studies/Snakefile makes of it.

    study.py rates                             the runs that it lacks
    study.py rates --folder runs/x --job 1of4  a part of its rows; or, by its name, a notebook's run
    study.py rates --folder runs/x --end       what comes last: the table, or the summary

"make study STUDY=rates" starts the jobs. The format of a study's file: studies/README.md.
"""

import argparse
import contextlib
import functools
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import filelock

from coursepack import threads
from coursepack.data.datasets import load_dataset
from coursepack.files import ROOT, check_choice, check_writable, clear_rests
from coursepack.lab import rows, studies


class Study:
    """What the file of a study says, and its runs by their names, all of them possible."""

    def __init__(self, name: str, folder: str) -> None:
        self.name, self.folder, self.says = name, folder, studies.read_file(name)
        runs = studies.read_study(name, folder)
        self.recipes, self.runs = studies.check_runs(name, runs), {run.name: run for run in runs}

    def hold(self, name: str = ".lock") -> filelock.AcquireReturnProxy:
        """The right to run the study, or a part of it, for as long as this process lives."""
        check_writable("folder", folder := ROOT / self.folder)
        try:
            return filelock.FileLock(folder / name).acquire(blocking=False)
        except filelock.Timeout:
            raise ValueError(
                f"study {self.name} is being run by another process, in {folder}. Wait for its "
                "end, or choose another folder: make study RUNS=folder.") from None


class Notebooks(Study):
    """Of kind notebook: a job is one of its runs, and at the end comes the summary."""

    def lacks(self) -> list[str]:
        return [name for name, run in self.runs.items() if not studies.finished(run)]

    def do(self, job: str) -> None:
        run = self.runs[check_choice("job", job, self.runs)]
        run_notebook(run.notebook, f"{self.folder}/{run.name}.ipynb", run.parameters)

    def end(self) -> None:
        run_notebook("04_summary", f"{self.folder}/summary.ipynb", {
            "runs": ", ".join(self.runs), "factors": ", ".join(self.says["factors"]),
            "runs_dir": self.folder, "images_dir": f"{self.folder}/images"})


def run_notebook(notebook: str, output: str, parameters: dict[str, object]) -> None:
    """Run a notebook, but for the cells of tag "lesson": no other needs what they make."""
    import nbformat  # takes seconds, which a study of rows does not need
    import papermill
    from kernels import own_kernel
    os.environ |= own_kernel() | {"TQDM_DISABLE": "1"}
    source = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    source["cells"] = [cell for cell in source["cells"]
                       if "lesson" not in cell["metadata"].get("tags", [])]
    papermill.execute_notebook(nbformat.from_dict(source), output, parameters,
                               progress_bar=False, stdout_file=sys.stdout)


class Rows(Study):
    """Of kind rows: a job is a part of them, a table that one worker alone writes.

    At the end the parts move into the published table, or into one in the folder asked for.
    """

    def __init__(self, name: str, folder: str) -> None:
        super().__init__(name, folder)
        self.recipes.sort(key=lambda recipe: -recipe.epochs * (recipe.train_size or 60_000)
                          * (1 + 100 / recipe.batch_size))  # the longest first
        self.point = functools.partial(rows.describe_point, factors=self.says["factors"])
        self.runs = {self.point(vars(recipe)): recipe for recipe in self.recipes}
        self.head = rows.table_head(self.says, self.recipes)
        own = folder != f"runs/{name}"
        self.table = ROOT / (folder if own else studies.RESULTS) / f"{name}.csv"

    def parts(self) -> list[Path]:
        return sorted((ROOT / self.folder).glob(".part*.csv"))

    def read(self, head: dict, *tables: Path) -> tuple[dict, dict[str, dict[str, object]]]:
        """All rows of these tables, each once, and what is in the heads of all, which are alike."""
        found = {}
        for table in tables:
            own, some = rows.read_rows(table)
            rows.check_head(table, own, head)
            rows.check_points(table, map(self.point, some), self.runs)
            head, found = own | head, {self.point(row): row for row in some} | found
        return head, found

    def lacks(self) -> list[str]:
        done = self.read(self.head, self.table, *self.parts())[1]
        return [point for point in self.runs if point not in done]

    def do(self, job: str) -> None:
        """Of 4of9: every ninth run that the table lacks, from the fourth on, but for those done."""
        file, (part, parts) = ROOT / self.folder / f".part{job}.csv", map(int, job.split("of"))
        keys, one = (*self.says["factors"], "seed"), self.recipes[0]
        with self.hold(f"{file.name}.lock"):
            clear_rests(file.parent, file.name)
            data = load_dataset(one.dataset, one.data_dir)
            head, there = self.read(rows.table_head(self.says, self.recipes, data), self.table)
            head, done = self.read(head, file)
            mine = [point for point in self.runs if point not in there][part - 1::parts]
            todo = [point for point in mine if point not in done]
            for number, point in enumerate(todo, 1):
                recipe = self.runs[point]
                done[point] = row = {key: getattr(recipe, key) for key in keys} | rows.run_once(
                    recipe, data, self.says["measure"])
                rows.write_table(file, head, done.values())
                count = len(self.runs.keys() & {*there, *self.read(head, *self.parts())[1]})
                minutes = row["seconds"] * (len(todo) - number) / 60
                print(f"{self.name} {count}/{len(self.runs)}: "
                      f"{rows.describe_row(row, self.says['factors'])}, {row['seconds']:.0f} s, "
                      f"then about {minutes:.0f} min", flush=True)

    def end(self) -> None:
        """Move the rows of all parts into the table, unless a process still adds to one."""
        parts = self.parts()
        with contextlib.ExitStack() as locks:
            for part in parts:
                locks.enter_context(self.hold(f"{part.name}.lock"))
            head, found = self.read(self.head, self.table, *parts)
            clear_rests(self.table.parent, self.table.name)
            if parts:
                rows.write_table(self.table, head, found.values())
            for part in parts:
                part.unlink()


def plan(name: str, folder: str) -> Notebooks | Rows:
    """A study, by the kind that its file says."""
    return (Rows if studies.read_file(name)["kind"] == studies.ROWS else Notebooks)(name, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--folder", help="of its runs, in place of runs/<study>")
    parser.add_argument("--job", help="the one to do")
    parser.add_argument("--end", action="store_true", help="do what comes after all jobs")
    args = parser.parse_args()
    threads.set_up_torch()
    try:
        study = plan(args.study, args.folder or f"runs/{args.study}")
        if args.job:
            study.do(args.job)
        elif args.end:
            study.end()
        else:
            print(*study.lacks(), sep="\n")
    except (ValueError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
