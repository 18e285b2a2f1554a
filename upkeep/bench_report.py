"""The report of upkeep/bench.py: Markdown and two figures, from nothing but its bench.json.

    bench_report.py             print what was measured before, and draw it, in runs/bench
    bench_report.py folder      the same of a bench.json that lies elsewhere
    bench_report.py --publish   keep it, too: numbers and report in results/, figures in images/

Each part of the benchmark has a function of its name here, from all results to its Markdown.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from readme import markdown_table, write, write_page

from coursepack import files
from coursepack.show import looks
from coursepack.show.looks import LOOKS

GOAL = 0.993  # test accuracy to reach, and to keep
CONTENDERS = {"student": "student loop", "same": "same recipe, here", "default": "default recipe",
              "limit": "bare compute"}
RUNNERS = {"student": "student loop, its recipe", "quick": "`quick.yaml`, here"}  # to the goal


# ----------------------------------------------------------------------------- seconds of a run
def epoch_seconds(run: dict) -> list[float]:
    """Seconds of each epoch, its test included."""
    return [row["train_seconds"] + row["test_seconds"] for row in run["epochs"]]


def time_to_goal(run: dict) -> tuple[float, bool]:
    """Seconds to the end of the first epoch from which the accuracy stays at GOAL; whether it did.

    A run that does not stay there counts with all of its seconds: it takes longer than that.
    """
    below = [i for i, row in enumerate(run["epochs"]) if row["test_accuracy"] < GOAL]
    needed = below[-1] + 2 if below else 1
    return sum(epoch_seconds(run)[:needed]), needed <= len(run["epochs"])


# ----------------------------------------------------------------------------- words and tables
def spread(values: Sequence[float], form: str) -> str:
    """Median and, in brackets, the range of several values."""
    if len(values) == 1:
        return format(values[0], form)
    low, high = (format(end, form) for end in (min(values), max(values)))
    return f"{format(statistics.median(values), form)} ({low} to {high})"


def ratios(of: Sequence[float], to: Sequence[float]) -> str:
    """How many times as fast: median and range of the ratios of seconds, turn by turn."""
    return spread([there / here for here, there in zip(of, to)], ".2f")


def mean_and_each(shares: Sequence[float]) -> str:
    """Mean of several accuracies and, in brackets, each of them."""
    return f"{statistics.mean(shares):.2%} ({', '.join(f'{share:.2%}' for share in shares)})"


def turns(results: dict, part: str) -> str:
    """How often a part was measured, for its heading."""
    return f"{results['turns'][part]} turn{'s' * (results['turns'][part] > 1)}"


def table(about: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A sentence and, below it, a table."""
    return f"{about}\n\n{markdown_table(heads, rows)}"


# ------------------------------------------------------------------------------------ the parts
def speed(results: dict) -> str:
    """Images a second of each contender, and who is how many times as fast as whom."""
    rows, images = [], results["run"]["images"]
    for norm, seconds in results["speed"].items():
        student, same, default, limit = (seconds[name] for name in CONTENDERS)
        rates = [spread([images / s for s in seconds[name]], ",.0f") for name in CONTENDERS]
        rows.append([LOOKS[norm].short, *rates, ratios(same, student), ratios(default, student),
                     ratios(same, limit), ratios(default, limit)])
    heads = [f"({letter}) {name}" for letter, name in zip("abcd", CONTENDERS.values())]
    return table(f"Images a second, tests after each epoch included ({turns(results, 'speed')}):",
                 ["norm", *heads, "b/a", "c/a", "b/d", "c/d"], rows)


def profile(results: dict) -> str:
    """Where the seconds of an epoch go."""
    rows = []
    for norm, turn in results["profile"].items():
        sections = list(turn["sections"].values())
        rest = turn["seconds"] - turn["limit"] - sum(sections)
        seconds = [f"{part:.2f}" for part in (turn["seconds"], turn["limit"], *sections, rest)]
        shares = ", ".join(f"{name} {part:.0%}" for name, part in turn["operations"].items())
        rows.append([LOOKS[norm].short, *seconds, shares])
    return table("Where the seconds of an epoch of the default recipe go (shares are of PyTorch's "
                 "operations, by its profiler; bare compute is another process, so the noise of "
                 f"the machine can make the rest negative; {turns(results, 'profile')}):",
                 ["norm", "in all", "bare compute", "images and their movements", "test",
                  "checkpoint", "penalty, counters, the rest", "operations"], rows)


def growth(results: dict) -> str:
    """Seconds an epoch, by the number of images and the size of a batch."""
    cases: dict[str, list[dict]] = {}
    for case in results["growth"]:
        cases.setdefault(case["norm"], []).append(case)
    heads = [f"{case['images']:,} images, batch {case['batch_size']}"
             for case in next(iter(cases.values()))]
    rows = [[LOOKS[norm].short, *(spread(case["seconds"], ".2f") for case in own)]
            for norm, own in cases.items()]
    return table("Seconds an epoch of the default recipe, as the work grows "
                 f"({turns(results, 'growth')}):",
                 ["norm", *heads], rows)


def busy(results: dict) -> str:
    """Seconds an epoch, alone and beside another process."""
    rows = [[LOOKS[norm].short, spread(seconds["alone"], ".2f"), spread(seconds["beside"], ".2f"),
             ratios(seconds["alone"], seconds["beside"])]
            for norm, seconds in results["busy"].items()]
    return table("Seconds an epoch of the default recipe, beside a process that never rests "
                 f"({turns(results, 'busy')}):",
                 ["norm", "alone", "beside it", "times slower"], rows)


def notebooks(results: dict) -> str:
    """Start-up, memory and final accuracy of the recipe notebooks."""
    part, rows = results["notebooks"], []
    for small in part["small"]:
        full = [run for run in part["full"] if run["notebook"] == small["notebook"]]
        peaks = full[0]["peak_mb"]
        rows.append([
            small["notebook"], spread([run["first_step_seconds"] for run in full], ".1f"),
            f"{small['seconds']:.1f}", spread([run["training_seconds"] for run in full], ".0f"),
            f"{peaks[:2][-1]:,.0f}", f"{peaks[-1]:,.0f}",
            mean_and_each([run["test_accuracy"] for run in full])])
    epochs, seeds = len(part["full"][0]["peak_mb"]), len(part["full"]) // len(part["small"])
    importing = statistics.median(part["import_seconds"])
    return table(f"The recipe notebooks by papermill, {epochs} epochs, seeds 1 to {seeds} "
                 f"(`import utils` takes {importing:.1f} s):",
                 ["notebook", "seconds to the first step",
                  "seconds in all, 1 epoch of 1,000 images", "seconds of training",
                  "peak MB, epoch 2", f"peak MB, epoch {epochs}",
                  "final test accuracy: mean (each)"], rows)


def goal(results: dict) -> str:
    """Seconds until the test accuracy stays at GOAL."""
    rows, means, all_stay = [], {}, True
    for name, runs in results["goal"].items():
        times = [time_to_goal(run) for run in runs]
        means[name] = statistics.mean(seconds for seconds, _ in times)
        all_stay &= all(stays for _, stays in times)
        each = ", ".join(f"{'' if stays else 'over '}{seconds:.0f}" for seconds, stays in times)
        final = [run["epochs"][-1]["test_accuracy"] for run in runs]
        rows.append([RUNNERS[name], len(runs[0]["epochs"]),
                     f"{means[name]:.0f} ({each})", mean_and_each(final)])
    words = "" if all_stay else "; a run that does not stay there counts with all of its seconds"
    return table(f"GN + L1, seconds until the test accuracy stays at {GOAL:.2%} or more: "
                 f"{means['student'] / means['quick']:.1f} times sooner with the preset{words}.",
                 ["", "epochs", "seconds: mean (each seed)", "final: mean (each seed)"], rows)


PARTS = {part.__name__: part for part in (speed, profile, growth, busy, notebooks, goal)}


def report(results: dict) -> str:
    """Everything that was measured, as Markdown."""
    about, run = results["machine"], results["run"]
    text = ("# All measurements of speed\n\n"
            f"Measured on {about['processor']}, {about['cores']} cores, {about['threads']} threads,"
            f" {about['memory_gb']} GB, {about['system']}, Python {about['python']}, torch "
            f"{about['torch']}, torchvision {about['torchvision']}; {run['images']:,} training "
            f"images an epoch from {run['data']} (source: {run['source']}). Medians, range in "
            "brackets.\n")
    return "\n".join([text, *(part(results) for name, part in PARTS.items() if name in results)])


# -------------------------------------------------------------------------------------- figures
def plot_speed(results: dict) -> plt.Figure:
    """Images a second of the contenders, a point for the median and a line for the range."""
    figure, ax = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for k, (norm, seconds) in enumerate(results["speed"].items()):
        look = LOOKS[norm]
        for row, name in enumerate(CONTENDERS):
            rates = results["run"]["images"] / np.array(seconds[name])
            y, middle = row + 0.24 * (k - 1), statistics.median(rates)
            ax.plot([0, middle], [y, y], color=look.colour, linestyle=look.line, linewidth=1.2)
            ax.plot([rates.min(), rates.max()], [y, y], color=look.colour, linewidth=5, alpha=0.4)
            ax.plot(middle, y, "o", color=look.colour)
            ax.annotate(f"{look.short} {middle:,.0f}", (rates.max(), y), xytext=(8, 0),
                        textcoords="offset points", va="center", color=look.colour, fontsize=11)
    ax.set_yticks(range(len(CONTENDERS)), CONTENDERS.values())
    ax.set(xlabel="training images a second", title="Speed of training", ylim=(3.6, -0.6))
    ax.set_xlim(0, ax.get_xlim()[1] * 1.12)
    ax.grid(axis="y", visible=False)
    add_note(figure, results, "point: median; bar: range of the turns")
    return figure


def plot_goal(results: dict) -> plt.Figure:
    """Test errors against seconds, a line a seed."""
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    looks = {"student": ("#555555", "-"), "quick": (LOOKS["group"].colour, LOOKS["group"].line)}
    for name, runs in results["goal"].items():
        colour, line = looks[name]
        for run in runs:
            x, y = np.cumsum(epoch_seconds(run)), [1 - e["test_accuracy"] for e in run["epochs"]]
            ax.plot(x, np.maximum(y, 1e-4), color=colour, linestyle=line, marker="o", markersize=3)
        ax.annotate(RUNNERS[name].replace("`", ""), (x[0], max(y[0], 1e-4)), xytext=(14, -6),
                    textcoords="offset points", color=colour, weight="bold", va="center")
    ax.axhline(1 - GOAL, color="black", linewidth=1)
    ax.text(0.01, 1 - GOAL, f"{GOAL:.1%}", transform=ax.get_yaxis_transform(), va="bottom")
    ax.set(xscale="log", yscale="log", xlabel="seconds of training and testing",
           ylabel="test images classified right", title="GN + L1: time to accuracy")
    levels = [50, 80, 90, 95, 98, 99, 99.5, 99.8]
    limits = ax.get_ylim()
    ax.set_yticks([1 - level / 100 for level in levels], [f"{level} %" for level in levels])
    ax.set_ylim(limits[1], limits[0] * 0.8)
    ax.yaxis.set_minor_locator(plt.NullLocator())
    ax.xaxis.set_major_locator(plt.LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(plt.NullLocator())
    add_note(figure, results, f"a line for each of {len(runs)} seeds")
    return figure


def add_note(figure: plt.Figure, results: dict, text: str) -> None:
    """Put a line of small text below a figure: how much was measured and on what, then text."""
    about, run = results["machine"], results["run"]
    sample = " of the 5,000-digit SAMPLE, repeated" if run["source"] == "sample" else ""
    figure.text(0.01, -0.01, f"{run['images']:,} images{sample}; {about['processor']}, "
                f"{about['cores']} cores; {text}", fontsize=11, color="#444444", va="top")


PLOTS = {"speed": plot_speed, "goal": plot_goal}


def draw(results: dict, folder: Path) -> None:
    """The figures of those parts that were measured, as <part>.png in a folder."""
    for part, plot in PLOTS.items():
        if part in results:
            figure = plot(results)
            files.replace_file(folder / f"{part}.png", figure.savefig)
            plt.close(figure)


# ---------------------------------------------------------------------------------------- files
def write_json(results: dict, file: Path) -> None:
    write(file, json.dumps(results, indent=1) + "\n")


def publish(results: dict) -> None:
    """Keep what was measured on the full data for the repository: numbers, report and figures."""
    if results["run"]["source"] == "sample":
        sys.exit("not published: this is the sample. Set DATA_DIR to the full data.")
    if not results.keys() & PARTS.keys():
        sys.exit("not published: no part was measured with these numbers on this machine.")
    write_json(results, files.ROOT / "results" / "bench.json")
    write_page("bench", report(results))
    draw(results, files.ROOT / "images")


def show(results: dict, folder: Path, keep: bool) -> None:
    """Draw the figures in a folder, print the report and, to keep them, publish both."""
    draw(results, folder)
    print(f"\n{report(results)}\nThe same in {folder / 'bench.json'}, figures beside it.")
    if keep:
        publish(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=files.ROOT / "runs" / "bench")
    parser.add_argument("--publish", action="store_true", help="keep the results, see above")
    args = parser.parse_args()
    file = args.folder / "bench.json"
    if not file.is_file():
        sys.exit(f"{file} is not there. Measure first: python upkeep/bench.py --out {args.folder}")
    looks.set_up()
    show(json.loads(file.read_text(encoding="utf-8")), args.folder, args.publish)


if __name__ == "__main__":
    main()
