"""Pages and figures of the results, from the records in results/, and their part of the README.

    report.py               of every study that has records there
    report.py seed000 ...   first keep the finished runs of these studies there

A record is kept as results/<study>/<run>.json. Nothing is kept of a study with runs on the sample.
The tables go to results/studies.md, what the notebooks of the laboratory found to
results/laboratory.md, summaries of both to README.md.
"""

import argparse
import shutil
import sys
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tools"))

import findings
from readme import markdown_table, write_page, write_part

from coursepack import files
from coursepack.files import ROOT
from coursepack.lab import effects
from coursepack.lab.studies import (
    NOTEBOOK,
    check_kept,
    finished,
    read_file,
    read_study,
    record_file,
    study_names,
)
from coursepack.runs import recipes
from coursepack.runs.records import RECIPES, load_record
from coursepack.show import figures, looks
from model import ARCHITECTURES, Net, count

SHOWN = ("parameters", "seeds", "final test accuracy", effects.NEW_SEEDS, effects.NEW_IMAGES,
         "weights below 0.001")
VERSIONS = ("_first", "", "_fresh")  # of a study: before it was retuned, itself, on new seeds
TO_REACH = {  # what it is, by how the name of a study begins
    "seed": "what the write-up reports, the best epoch, on its test set, of one run of another "
            "recipe",
    "best": "this pack's own goal",
    "": "what the file of the study names",
}
SAVED = "mnist_7k"  # the folder of the recipe notebooks' own records
INTRODUCTION = """\
# Results of the recipe notebooks and of the studies

Written by `make report` from the records beside this page. How to read it: [README](README.md).
"""


# ------------------------------------------------------------------------------- what is kept
def keep_records(study: str) -> int:
    """Copy the records of a study's finished runs to results/; returns how many there are."""
    runs = read_study(study)
    for file in filter(Path.is_file, map(record_file, runs)):
        if load_record(file)["data"]["source"] == "sample":
            raise ValueError(f"{file.parent.name} of {study} was trained on the sample: set "
                             f"DATA_DIR, then make study STUDY={study}")
    folder, done = ROOT / "results" / study, [run for run in runs if finished(run)]
    for run in done:
        folder.mkdir(parents=True, exist_ok=True)
        files.replace_file(folder / f"{run.name}.json", partial(shutil.copy, record_file(run)))
    return len(done)


def load_study(study: str) -> list[dict]:
    """The kept records of a study, in its own order.

    Raises ValueError unless every one is that of a run of its file, with the same parameters.
    """
    kept = {file.stem: load_record(file)
            for file in sorted((ROOT / "results" / study).glob("*.json"))}
    runs = read_study(study)
    check_kept(study, runs, kept)
    return [kept[run.name] for run in runs if run.name in kept]


def base_of(study: str) -> str:
    """The study that X_first and X_fresh belong to: X."""
    return study.removesuffix("_first").removesuffix("_fresh")


def load_studies() -> dict[str, list[dict]]:
    """The kept records of every study that has some: X_first, X and X_fresh side by side."""
    def place(study: str) -> tuple[str, int]:
        return base_of(study), VERSIONS.index(study.removeprefix(base_of(study)))

    studies = {study: load_study(study) for study in sorted(study_names(NOTEBOOK), key=place)}
    return {study: records for study, records in studies.items() if records}


def load_saved() -> list[dict]:
    """The records of the recipe notebooks as they are saved."""
    return [load_record(ROOT / "results" / SAVED / f"{run}.json") for run in RECIPES]


def goals(study: str, grouped: dict[str, list[dict]]) -> list[str]:
    """For each recipe of a study the accuracy to reach; nothing if no file names one.

    X_first had to reach what X has to.
    """
    to_reach = read_file(study)["to_reach"]
    if not to_reach and base_of(study) in study_names(NOTEBOOK):
        to_reach = read_file(base_of(study))["to_reach"]
    labels = [runs[0]["parameters"]["run_name"].split("-")[0] for runs in grouped.values()]
    return [f"{to_reach[label]:.2f}%" for label in labels] if to_reach else []


# ---------------------------------------------------------------------------------- the page
def framed(table: pd.DataFrame) -> str:
    rows = [[name, *row] for name, row in zip(table.index, table.values)]
    return markdown_table(["recipe", *table.columns], rows)


def saved_section(records: list[dict]) -> str:
    """The recipe notebooks as saved: one run each."""
    table = effects.results_table(records)
    table = table[["parameters", "final test accuracy", effects.NEW_IMAGES,
                   "final training accuracy", "final penalty"]]
    data, parameters = records[0]["data"], records[0]["parameters"]
    about = (f"All of {data['name']} ({data['train_size']:,} images to train, "
             f"{data['test_size']:,} to test), {parameters['epochs']} epochs, one run each, seed "
             f"{parameters['seed']}.")
    names = [graph.name for graph in figures.GRAPHS.values()]
    graphs = [f"![{name.capitalize()} of the three recipes by epoch]"
              f"(../images/{name.replace(' ', '_')}.png)" for name in names]
    grids = [f"![The most confident mistakes of {recipes.recipe_title(record)}, with true class, "
             f"prediction and confidence](../images/misclassified_{run}.png)"
             for run, record in zip(RECIPES, records)]
    sure = "![How sure each network was, and how right](../images/reliability.png)"
    shared = "![The mistakes that all three share](../images/misclassified_by_all.png)"
    return "\n\n".join(["## The recipe notebooks, as saved", about, framed(table).strip(), *graphs,
                        *grids, sure, shared])


def section(study: str, records: list[dict]) -> str:
    """A study: what it is, its table beside what its source claims, its findings, its graph."""
    spec = read_file(study)
    recipes.check_comparable(records, spec["factors"])
    table = effects.results_table(records)[list(SHOWN)]
    grouped, notes = recipes.by_recipe(records), [threads_note(records)]
    if to_reach := goals(study, grouped):
        table.insert(3, "to reach", to_reach)
        about = next(text for start, text in TO_REACH.items() if study.startswith(start))
        notes.append(f"*To reach* is {about}.")
    done, planned = len(records), len(read_study(study))
    missing = f" ({done} of its {planned} runs so far)" if done < planned else ""
    found = [f"- {sentence}" for sentence in effects.findings(records)]
    image = f"![Test accuracy by epoch: {', '.join(grouped)}](../images/study_{study}.png)"
    return "\n\n".join([f"## {study}", f"{spec['about']}{missing}.", framed(table).strip(),
                        " ".join(notes), "\n".join(found), image])


def threads_note(records: list[dict]) -> str:
    """How many threads the runs had: the last digits of their numbers depend on it."""
    counts = sorted({record["environment"].get("threads", 0) for record in records})
    return f"Threads of a run: {' or '.join(map(str, counts))}."


def page(saved: list[dict], studies: dict[str, list[dict]]) -> str:
    """results/studies.md, from nothing but the kept records."""
    heads = ["study", "recipe", "seeds", "final test accuracy", "to reach"]
    table = markdown_table(heads, goal_rows(studies)).strip()
    sections = [section(study, records) for study, records in studies.items()]
    return "\n\n".join([INTRODUCTION.strip(), "## What was to be reached", table,
                        decided_pairs(studies), saved_section(saved), *sections,
                        "## Parameters of each network, by what its norms learn",
                        networks().strip()]) + "\n"


# ------------------------------------------------------------------------------- summaries
def goal_rows(studies: dict[str, list[dict]]) -> list[list[object]]:
    """A row for each recipe that had an accuracy to reach."""
    rows = []
    for study, records in studies.items():
        grouped = recipes.by_recipe(records)
        for first, (name, runs, goal) in enumerate(zip(grouped, grouped.values(),
                                                       goals(study, grouped))):
            mean, half = effects.mean_interval(recipes.final_values(runs))
            interval = f" ± {half:.2%}" if len(runs) >= recipes.LEAST_SEEDS else ""
            missed = ", missed" if round(100 * mean, 2) < float(goal[:-1]) else ""
            rows.append(["" if first else study, name, len(runs), f"{mean:.2%}{interval}",
                         goal + missed])
    return rows


def decided_pairs(studies: dict[str, list[dict]]) -> str:
    """How many differences are larger than chance, and in which studies."""
    decided, pairs = {}, 0
    for study, records in studies.items():
        differences = effects.pairwise_differences(records)
        pairs += len(differences)
        if here := sum(not pair.low <= 0 <= pair.high for pair in differences):
            decided[study] = here
    words = (f"Of {pairs} pairs of recipes with at least three seeds each, "
             f"{pairs - sum(decided.values())} are undecided: the interval of their difference "
             "holds zero.")
    others = ", ".join(f"{study} {here}" for study, here in decided.items())
    return f"{words} The others: {others}." if others else words


def summary(studies: dict[str, list[dict]]) -> str:
    """The README's sentences about the studies of notebooks."""
    rows = goal_rows(studies)
    missed = sum(row[-1].endswith("missed") for row in rows)
    return (f"Of {len(rows)} recipes with an accuracy to reach, {len(rows) - missed} reach it as a "
            f"mean over seeds and {missed} miss it. {decided_pairs(studies)}\n")


def networks() -> str:
    """Every architecture with the parameters that it has with each kind of normalization."""
    def parameters(arch: str, **options: str) -> str:
        return f"{count(Net(arch, groups=1, **options)).parameters:,}"

    rows = []
    for arch, spec in ARCHITECTURES.items():
        channels, size = spec.image
        rows.append([f"`{arch}`", f"{channels} x {size} x {size}", parameters(arch),
                     parameters(arch, norm="layer"), parameters(arch, norm="none")])
    heads = ["`arch`", "images", "gain and bias per channel", "per element (layer norm)", "no norm"]
    return markdown_table(heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*")
    looks.set_up()
    for study in parser.parse_args().studies:
        print(f"{study}: {keep_records(study)} records kept")
    saved, studies = load_saved(), load_studies()
    for study, records in studies.items():
        of = f"{study}, {records[0]['data']['name']}"
        figure = figures.plot_graph(records, ["test_accuracy"], of)
        files.replace_file(ROOT / "images" / f"study_{study}.png", figure.savefig)
        plt.close(figure)
    write_page("studies", page(saved, studies))
    write_part("results", summary(studies))
    questions = findings.read_questions()
    write_page("laboratory", findings.page(questions))
    write_part("laboratory", findings.summary(questions))


if __name__ == "__main__":
    main()
