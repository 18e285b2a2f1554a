"""The README's results, from the records under results/.

    report.py               tables, sentences and figures of every study that has records there
    report.py seed000 ...   first keep the finished runs of these studies there

A record is kept as results/<study>/<run>.json. Nothing is kept of a study with runs on the sample.
"""

import argparse
import shutil
import sys
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
import yaml
from readme import ROOT, keep
from study import STUDIES, finished, read_study

sys.path.insert(0, str(ROOT))

from coursepack import compare, figures, files
from coursepack.records import load_record

SHOWN = ("parameters", "seeds", "final test accuracy", "95 % interval", "weights below 0.001")


def keep_records(study: str) -> int:
    """Copy the records of a study's finished runs to results/; returns how many there are."""
    records = {run.name: ROOT / run.parameters["runs_dir"] / run.name / "record.json"
               for run in read_study(study) if finished(run)}
    for name, file in records.items():
        if load_record(file)["data"]["source"] == "sample":
            raise ValueError(f"{name} of {study} was trained on the sample: set DATA_DIR, "
                             "remove its record and run the study again")
    folder = ROOT / "results" / study
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in records.items():
        files.replace_file(folder / f"{name}.json", partial(shutil.copy, file))
    return len(records)


def load_study(study: str) -> list[dict]:
    """The kept records of a study, in its own order."""
    kept = [ROOT / "results" / study / f"{run.name}.json" for run in read_study(study)]
    return [load_record(file) for file in kept if file.is_file()]


def markdown(table: pd.DataFrame) -> str:
    columns = ["recipe", *table.columns]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += [f"| {name} | " + " | ".join(map(str, row)) + " |"
              for name, row in zip(table.index, table.values)]
    return "\n".join(lines)


def section(study: str, records: list[dict]) -> str:
    """A study as Markdown: what it is, its table beside what its source claims, its findings."""
    spec = yaml.safe_load((STUDIES / f"{study}.yaml").read_text())
    table = compare.results_table(records)[list(SHOWN)]
    recipes = compare.by_recipe(records)
    if goals := spec.get("to_reach"):
        labels = [runs[0]["parameters"]["run_name"].split("-")[0] for runs in recipes.values()]
        table.insert(3, "to reach", [f"{goals[label]:.2f}%" for label in labels])
    done, planned = len(records), len(read_study(study))
    missing = f" ({done} of its {planned} runs so far)" if done < planned else ""
    differences = compare.pairwise_differences(records)
    found = [f"- {difference}" for difference in differences]
    if found and all(difference.seeds < 2 for difference in differences):
        found = ["- One run each supports no statement about a difference."]
    image = f"![Test accuracy by epoch: {', '.join(recipes)}](images/study_{study}.png)"
    parts = [f"**{study}.** {spec['about']}{missing}.", markdown(table), "\n".join(found), image]
    return "\n\n".join(parts)


def kept() -> dict[str, list[dict]]:
    """The kept records of every study that has some."""
    studies = {study: load_study(study) for study in sorted(p.stem for p in STUDIES.glob("*.yaml"))}
    return {study: records for study, records in studies.items() if records}


def text(studies: dict[str, list[dict]]) -> str:
    """The README's section, from nothing but the kept records."""
    return "\n\n".join(section(study, records) for study, records in studies.items()) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*")
    figures.set_up()
    for study in parser.parse_args().studies:
        print(f"{study}: {keep_records(study)} records kept")
    studies = kept()
    for study, records in studies.items():
        figure = figures.plot_graph(records, ["test_accuracy"])
        files.replace_file(ROOT / "images" / f"study_{study}.png", figure.savefig)
        plt.close(figure)
    keep("studies", text(studies))


if __name__ == "__main__":
    main()
