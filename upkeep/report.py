"""Pages and figures of the results, from the records in results/, and their part of the README.

    report.py               of every study that has records there
    report.py seed000 ...   first keep the finished runs of these studies there

A record is kept as results/<study>/<run>.json. Nothing is kept of a study with runs on the sample.
The tables go to results/studies.md, what the notebooks of the laboratory found to
results/laboratory.md, summaries of both to README.md. Page and figures of speed are made anew, too.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bench
import findings
from readme import markdown_table, write, write_page, write_part

from coursepack import files
from coursepack.files import ROOT
from coursepack.lab import effects, studies
from coursepack.runs import recipes
from coursepack.runs.records import RECIPES, load_record
from coursepack.show import figures, looks
from model import ARCHITECTURES, Net, count

SHOWN = ["parameters", "seeds", "final test accuracy", effects.NEW_SEEDS, effects.NEW_IMAGES,
         "weights below 0.001"]
SHOWN_SAVED = ["parameters", "final test accuracy", effects.NEW_IMAGES, "final training accuracy",
               "final penalty"]
TO_REACH = {  # what it is, by how the name of a study begins
    "seed": "what the write-up reports, the best epoch, on its test set, of one run of another "
            "recipe", "best": "this pack's own goal"}
SAVED = "mnist_7k"  # the folder of the recipe notebooks' own records
INTRODUCTION = """\
# Results of the recipe notebooks and of the studies

Written by `make report` from the records beside this page. How to read it: [README](README.md).

## What was to be reached
"""


# ------------------------------------------------------------------------------- what is kept
def keep_records(study: str) -> int:
    """Copy the records of a study's finished runs to results/; returns how many there are."""
    runs = studies.read_study(study)
    for file in filter(Path.is_file, map(studies.record_file, runs)):
        if load_record(file)["data"]["source"] == "sample":
            raise ValueError(f"{file.parent.name} of {study} was trained on the sample: set "
                             f"DATA_DIR, then make study STUDY={study}")
    done = [run for run in runs if studies.finished(run)]
    for run in done:
        write(ROOT / "results" / study / f"{run.name}.json",
              studies.record_file(run).read_text(encoding="utf-8"))
    return len(done)


def load_studies() -> dict[str, list[dict]]:
    """The kept records of every study that has some: X_first, X and X_fresh side by side."""
    def place(study: str) -> tuple[str, bool, str]:
        base = study.removesuffix("_first").removesuffix("_fresh")
        return base, not study.endswith("_first"), study

    names = sorted(studies.study_names(), key=place)  # of rows, there are no records
    return {study: records for study in names if (records := studies.load_kept(study)[1])}


def load_saved() -> list[dict]:
    """The records of the recipe notebooks as they are saved."""
    return [load_record(ROOT / "results" / SAVED / f"{run}.json") for run in RECIPES]


def goals(study: str, grouped: dict[str, list[dict]]) -> list[str]:
    """For each recipe of a study the accuracy to reach; "" if the study's file names none."""
    to_reach = studies.read_file(study)["to_reach"]
    labels = [runs[0]["parameters"]["run_name"].split("-")[0] for runs in grouped.values()]
    return [f"{to_reach[label]:.2f}%" if label in to_reach else "" for label in labels]


# ---------------------------------------------------------------------------------- the page
def saved_section(records: list[dict]) -> str:
    """The recipe notebooks as saved: one run each."""
    data, parameters = records[0]["data"], records[0]["parameters"]
    alts = {graph.name.replace(" ", "_"): f"{graph.name.capitalize()} of the three recipes by epoch"
            for graph in figures.GRAPHS.values()} | {
        f"misclassified_{run}": f"The most confident mistakes of {recipes.recipe_title(record)}, "
        "with true class, prediction and confidence" for run, record in zip(RECIPES, records)} | {
        "reliability": "How sure each network was, and how right",
        "misclassified_by_all": "The mistakes that all three share"}
    table = effects.results_table(records)[SHOWN_SAVED]
    return "\n\n".join([
        "## The recipe notebooks, as saved",
        f"All of {data['name']} ({data['train_size']:,} images to train, {data['test_size']:,} to "
        f"test), {parameters['epochs']} epochs, one run each, seed {parameters['seed']}.",
        markdown_table(["recipe", *table], table.itertuples()),
        *(f"![{alt}](../images/{name}.png)" for name, alt in alts.items())])


def section(study: str, records: list[dict]) -> str:
    """A study: what it is, its table beside what its source claims, its findings, its graph."""
    spec = studies.read_file(study)
    recipes.check_comparable(records, spec["factors"])
    table = effects.results_table(records)[SHOWN]
    grouped = recipes.by_recipe(records)
    made, threads = (sorted({str(record["environment"].get(key, 0)) for record in records})
                     for key in ("device", "threads"))  # on which a run's last digits depend
    notes = f"Made on {' and '.join(made)}, threads of a run: {' or '.join(threads)}."
    if any(to_reach := goals(study, grouped)):
        table.insert(3, "to reach", to_reach)
        notes += f" *To reach* is {TO_REACH.get(study[:4], 'what the file of the study names')}."
    return "\n\n".join([
        f"## {study}", f"{spec['about']}.",
        markdown_table(["recipe", *table], table.itertuples()), notes,
        "\n".join(f"- {sentence}" for sentence in effects.findings(records)),
        f"![Test accuracy by epoch: {', '.join(grouped)}](../images/study_{study}.png)"])


def networks() -> str:
    """Every architecture with the parameters that it has with each kind of normalization."""
    rows = []
    for arch, spec in ARCHITECTURES.items():
        counts = [count(Net(arch, groups=1, norm=norm)).parameters
                  for norm in ("batch", "layer", "none")]
        rows.append([f"`{arch}`", " x ".join(map(str, spec.image)), *(f"{n:,}" for n in counts)])
    heads = ["`arch`", "images", "gain and bias per channel", "per element (layer norm)", "no norm"]
    return markdown_table(heads, rows)


def page(saved: list[dict], kept: dict[str, list[dict]]) -> str:
    """results/studies.md, from nothing but the kept records: of saved notebooks, by study."""
    heads = ["study", "recipe", "seeds", "final test accuracy", "to reach"]
    return "\n\n".join([
        INTRODUCTION.strip(), markdown_table(heads, goal_rows(kept)), decided_pairs(kept),
        saved_section(saved), *(section(*study) for study in kept.items()),
        "## Parameters of each network, by what its norms learn", networks()]) + "\n"


# ------------------------------------------------------------------------------- summaries
def goal_rows(kept: dict[str, list[dict]]) -> list[list[object]]:
    """A row for each recipe that had an accuracy to reach."""
    rows = []
    for study, records in kept.items():
        grouped, named = recipes.by_recipe(records), study
        for (name, runs), goal in zip(grouped.items(), goals(study, grouped)):
            if not goal:
                continue
            mean, half = effects.mean_interval(recipes.final_values(runs))
            interval = f" ± {half:.2%}" if len(runs) >= recipes.LEAST_SEEDS else ""
            above = round(100 * (mean - float(goal[:-1]) / 100), 2)
            said = "missed" if above < 0 else "reached"
            said += "" if interval and abs(above) > 100 * half else ", undecided"
            rows.append([named, name, len(runs), f"{mean:.2%}{interval}", f"{goal}, {said}"])
            named = ""  # in its first row alone
    return rows


def decided_pairs(kept: dict[str, list[dict]]) -> str:
    """How many differences are larger than chance, and in which studies."""
    pairs = {study: effects.pairwise_differences(records) for study, records in kept.items()}
    decided = {study: sum(found["says"] != "undecided") for study, found in pairs.items()}
    total = sum(map(len, pairs.values()))
    others = ", ".join(f"{study} {number}" for study, number in decided.items() if number)
    return (f"Of {total} pairs of recipes with at least three seeds each, "
            f"{total - sum(decided.values())} are undecided: the interval of their difference "
            f"holds zero. The others, by study: {others or 'none'}.")


def summary(kept: dict[str, list[dict]]) -> str:
    """The README's sentences about the studies of notebooks."""
    rows = goal_rows(kept)
    reach, miss = ([row[-1] for row in rows if word in row[-1]] for word in ("reached", "missed"))
    within = [sum(said.endswith("undecided") for said in some) for some in (reach, miss)]
    return (f"Of {len(rows)} recipes with an accuracy to reach, {len(reach)} reach it as a mean "
            f"over seeds and {len(miss)} miss it. Of these, {within[0]} and {within[1]} are "
            "undecided, because the goal is within the interval of the mean; so "
            f"{len(reach) - within[0]} reach it and {len(miss) - within[1]} miss it beyond chance. "
            f"{decided_pairs(kept)}\n")


def main() -> None:
    looks.set_up()
    for study in sys.argv[1:]:
        print(f"{study}: {keep_records(study)} records kept")
    kept, questions = load_studies(), findings.read_questions()
    for study, records in kept.items():
        figure = figures.plot_graph(records, ["test_accuracy"],
                                    f"{study}, {records[0]['data']['name']}")
        files.replace_file(ROOT / "images" / f"study_{study}.png", figure.savefig)
        plt.close(figure)
    write_page("studies", page(load_saved(), kept))
    write_part("results", summary(kept))
    write_page("laboratory", findings.page(questions))
    write_part("laboratory", findings.summary(questions))
    measured = json.loads((ROOT / "results" / "bench.json").read_bytes())
    bench.save(measured, ROOT / "results", ROOT / "images")


if __name__ == "__main__":
    main()
