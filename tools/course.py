"""Run the notebooks of the course and keep what they produce.

    course.py                         all of them into runs/, with pages and figures
    course.py --epochs 5 -p lr 0.1    the three recipes with other parameters
    course.py --notebook 02 04        some of them
    course.py saved                   at full scale, kept as what is published: outputs in
                                      notebooks/, figures in images/, records in results/mnist_7k/
    course.py golden                  at a small scale, kept for the tests: tests/golden/

Whatever starts this needs the packages of requirements.txt, and nothing else: no make, no shell.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

try:
    import joblib
    from kernels import own_kernel

    from coursepack.files import check_writable
    from coursepack.runs.records import MISTAKES, RECIPES
    from coursepack.threads import THREADS
    from coursepack.train.recipe import Recipe, with_defaults
except ModuleNotFoundError as error:
    sys.exit(f"The package {error.name} is missing. Install what the course needs with:\n"
             f"    {sys.executable} -m pip install -r {ROOT / 'requirements.txt'}")

NOTEBOOKS = {path.stem[:2]: path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
PUBLISHED, GOLDEN = ROOT / "results" / "mnist_7k", ROOT / "tests" / "golden"
SMALL = {"dataset": "mnist_sample", "train_size": 1000, "epochs": 2, "device": "cpu",
         "lr": 0.02,  # at 0.05 sixteen steps with layer norm end elsewhere on another machine
         "live_images": 200, "live_epochs": 1}
LIVE = ("live_images", "live_epochs")  # parameters of the notebooks of the laboratory alone
SHARED = ("dataset", "data_dir", "seed")  # and those that they share with the recipes
TEXTS = [field.name for field in fields(Recipe) if field.type is str]
# What papermill and widgets leave in a notebook, and what changes with every version of Python.
STRIP = ("metadata.papermill cell.metadata.papermill cell.metadata.execution metadata.widgets "
         "metadata.language_info.version metadata.language_info.codemirror_mode")
STARTING = threading.Lock()  # of two kernels that start at once, one may die: of the same port


def call(module: str, *arguments: object, before: str = "", **variables: str) -> None:
    """Run a module as a command; its failure ends this one with the same exit status.

    A notebook's printed lines go to the terminal at once, each with a word before it that tells two
    notebooks apart; its progress bars would fill the pages. variables: of the environment.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    ours = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "TQDM_DISABLE": "1"}
    with STARTING:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
                                   env=os.environ | ours | own_kernel() | variables)
        first = process.stdout.readline()  # by then its kernel is there
    with process:
        for line in filter(None, itertools.chain([first], process.stdout)):
            print(before + line, end="", flush=True)
    if process.returncode:
        print(f"{before}{module} ended with status {process.returncode}", file=sys.stderr)
        sys.exit(process.returncode)


def share_cores(notebooks: int) -> tuple[int, dict[str, str]]:
    """How many of so many notebooks run at a time, and the variable with the threads of each.

    Two with half of the cores each end sooner than one after the other with all of them; a third
    would take another gigabyte. Where OMP_NUM_THREADS is set, they run one after the other.
    """
    cores = joblib.cpu_count()
    if "OMP_NUM_THREADS" in os.environ or min(notebooks, cores) < 2:
        return 1, {}
    return 2, {"OMP_NUM_THREADS": str(cores // 2)}


def run_all(names: list[str], folder: str, parameters: dict[str, object], images: str = "",
            kept: Path | None = None) -> list[Path]:
    """Run notebooks into folder; parameters are those of the recipes and of live runs.

    images: where figures go, instead of images/. kept: where records of the recipes are copied to,
    and where the summary reads them. Defaults are not passed on: a passed one becomes a cell.
    """
    runs = {} if folder == "runs" else {"runs_dir": folder}
    drawn = {"images_dir": images} if images else {}
    summary = {"runs_dir": kept.relative_to(ROOT).as_posix()} if kept else runs
    recipe = runs | {k: v for k, v in parameters.items() if k not in LIVE}
    live = drawn | {k: v for k, v in parameters.items() if k in LIVE + SHARED}
    own = {"00": {}, "04": summary | drawn, "05": live, "06": live}
    outputs = [ROOT / folder / f"{name}.ipynb" for name in names]
    (ROOT / folder).mkdir(parents=True, exist_ok=True)

    def run(name: str, output: Path, threads: dict[str, str], pool: ThreadPoolExecutor) -> None:
        print(f"== {name}\n", end="", flush=True)  # at once: another may print its own
        # -r passes a value as it is written, where -p would make a number of the run_name 001.
        pairs = [part for key, value in own.get(name[:2], recipe).items()
                 for part in ("-r" if key in TEXTS else "-p", key, value)]
        try:
            call("papermill", "--no-progress-bar", "--log-level", "WARNING", "--stdout-file", "-",
                 ROOT / "notebooks" / output.name, output, *pairs, before=f"{name[:2]}  ",
                 **threads)
        except SystemExit:  # what runs beside it ends, and no other begins
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        if kept:
            keep_records(folder, kept, [name])

    for last in (False, True):  # the summary is of what the others leave
        group = [pair for pair in zip(names, outputs) if (pair[0][:2] == "04") == last]
        at_once, threads = share_cores(len(group))
        pool = ThreadPoolExecutor(at_once)
        try:
            for job in [pool.submit(run, *pair, threads, pool) for pair in group]:
                job.result()
        finally:  # interrupted as well
            pool.shutdown(cancel_futures=True)
    return outputs


def keep_records(folder: str, kept: Path, names: list[str]) -> None:
    """Copy the records and mistakes that recipe notebooks left in folder, a pair of files a run.

    Whatever is kept is in git's care: a copy that is broken off loses nothing.
    """
    for run, notebook in RECIPES.items():
        new, old = ROOT / folder / run / "record.json", kept / f"{run}.json"
        if notebook in names and not (kept.parent == GOLDEN and old.exists()
                                      and results(new) == results(old)):
            shutil.copy(new, old)
            shutil.copy(new.with_name(MISTAKES), old.with_suffix(".npz"))


def results(file: Path) -> dict[str, object]:
    """A record without what differs between two runs of one recipe: times, machine, code."""
    record = json.loads(file.read_bytes())
    for epoch in record["epochs"]:
        epoch.update(train_seconds=0, test_seconds=0)
    return record | {"parameters": with_defaults(record["parameters"]), "seconds": 0,
                     "environment": {}, "mistakes": "", "digest": ""}


def keep_outputs(outputs: list[Path], folder: Path) -> None:
    """Keep notebooks that were run, without what differs from one run to the next.

    Golden ones without pictures: nobody looks at them, and nbval compares their texts.
    """
    import nbformat  # takes seconds, which a learner's run does not need

    for path in outputs:
        notebook = nbformat.read(path, as_version=4)
        for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
            if "injected-parameters" in cell.metadata.get("tags", []):
                cell.id = "injected-parameters"  # papermill draws one
            before, cell.outputs = cell.outputs, []
            for out in before:
                if folder == GOLDEN:
                    out.get("data", {}).pop("image/png", None)
                if cell.outputs and out.get("name") == cell.outputs[-1].get("name") == "stdout":
                    cell.outputs[-1].text += out.text  # in one piece, however it came
                elif out.get("name") != "stderr":  # busy cores, an earlier run
                    cell.outputs.append(out)
        nbformat.write(notebook, folder / path.name)
    call("nbstripout", "--keep-output", "--keep-count", "--keep-id", "--extra-keys", STRIP,
         *(folder / path.name for path in outputs))


def on_the_sample(folder: str) -> list[str]:
    """The recipes' runs in folder that saw the 5,000 digits instead of the data asked for."""
    records = [ROOT / folder / run / "record.json" for run in RECIPES]
    return [file.parent.name for file in records
            if file.is_file() and json.loads(file.read_bytes())["data"]["source"] == "sample"]


def make_course(names: list[str], folder: str, parameters: dict[str, object]) -> None:
    """Into folder, with pages, and a word on runs that are of the sample."""
    outputs = run_all(names, folder, parameters, images=f"{folder}/images")
    print("== pages", flush=True)
    call("nbconvert", "--log-level", "WARN", "--to", "html", "--template", "classic",
         "--TagRemovePreprocessor.enabled=True",
         "--TagRemovePreprocessor.remove_input_tags=hide-input", *outputs)  # what is folded
    print(f"== done: notebooks and pages in {folder}/, figures in {folder}/images/")
    for run in on_the_sample(folder):
        print(f"{folder}/{run} is of the 5,000-digit SAMPLE")


def restore_records(names: list[str]) -> None:
    """Put the published runs of those recipes into runs/ that are not to be run again.

    A summary alone is of them. Exits if runs/ holds another run of that name: it must not be lost.
    """
    for run in (run for run, notebook in RECIPES.items() if notebook not in names):
        own, published = ROOT / "runs" / run / "record.json", PUBLISHED / f"{run}.json"
        if not own.exists():
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(published.with_suffix(".npz"), own.with_name(MISTAKES))
            shutil.copy(published, own)
        elif own.read_bytes() != published.read_bytes():
            sys.exit(f"runs/{run} is another run than the published one, and the summary would be "
                     "of it. Move it away, or make the recipe notebooks again as well.")


def make_saved(names: list[str]) -> None:
    """At full scale, kept as what is published."""
    if NOTEBOOKS["04"] in names:
        restore_records(names)
    outputs = run_all(names, "runs", {})
    if sample := on_the_sample("runs"):
        sys.exit(f"nothing is kept: {', '.join(sample)} saw the sample. Set DATA_DIR to the full "
                 "data and run again.")
    keep_records("runs", PUBLISHED, names)
    keep_outputs(outputs, ROOT / "notebooks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scale", nargs="?", choices=("course", "saved", "golden"), default="course")
    parser.add_argument("--notebook", nargs="+", choices=NOTEBOOKS, default=list(NOTEBOOKS),
                        metavar="NUMBER", help=f"only these of {', '.join(NOTEBOOKS)}")
    parser.add_argument("--epochs", type=int, help="of the three recipes")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                        help="any parameter of the three recipes, or of the live runs of 05 and 06")
    parser.add_argument("--runs", default="runs", metavar="FOLDER", help="in place of runs/")
    parser.add_argument("--data-dir", metavar="FOLDER", help="where mnist.npz is (or DATA_DIR)")
    args = parser.parse_args()
    names = [NOTEBOOKS[number] for number in sorted(set(args.notebook))]
    parameters = ({"epochs": args.epochs} if args.epochs is not None else {}) | dict(args.p)
    recipes = [name for name in names if name in RECIPES.values()]
    if "run_name" in parameters and len(recipes) > 1:
        parser.error(f"run_name={parameters['run_name']!r} would go to {len(recipes)} notebooks, "
                     "and each run would move the one before aside. Choose one with --notebook.")
    if "runs_dir" in parameters:  # the summary, the pages and what is kept would not follow
        parser.error(f"runs_dir is --runs here. Write --runs {parameters['runs_dir']}.")
    try:
        check_writable("--runs", ROOT / args.runs)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if args.data_dir:
        os.environ["DATA_DIR"] = args.data_dir
    if args.scale == "course":
        make_course(names, Path(args.runs).as_posix(), parameters)
    elif parameters or args.runs != "runs":
        parser.error(f"{args.scale} has parameters of its own. Leave out --epochs, -p and --runs.")
    elif args.scale == "saved":
        os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))  # whatever else the machine does
        make_saved(names)
    else:
        os.environ["OMP_NUM_THREADS"] = "1"  # as make test: with two, sums are in another order
        shutil.rmtree(ROOT / "runs" / "golden", ignore_errors=True)
        outputs = run_all(names, "runs/golden", SMALL, "runs/golden/images", GOLDEN / "records")
        keep_outputs(outputs, GOLDEN)


if __name__ == "__main__":
    main()
