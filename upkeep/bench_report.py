"""The report of upkeep/bench.py: Markdown and two figures, from nothing but its bench.json.

Each part of the benchmark has a function of its name here, from what was measured to a table: a
sentence about it, heads and rows.
"""

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
from coursepack.show.looks import LOOKS

GOAL = 0.993  # test accuracy to reach, and to keep
CONTENDERS = {"student": "student loop", "same": "same recipe, here", "default": "default recipe",
              "limit": "bare compute"}
RUNNERS = {"student": "student loop, its recipe", "quick": "`quick.yaml`, here"}  # to the goal
Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]


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


def spread(values: Sequence[float], form: str) -> str:
    """Median and, in brackets, the range of several values."""
    middle, low, high = (format(of(values), form) for of in (statistics.median, min, max))
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def ratios(of: Sequence[float], to: Sequence[float]) -> str:
    """How many times as fast: median and range of the ratios of seconds, turn by turn."""
    return spread([there / here for here, there in zip(of, to)], ".2f")


def final_accuracy(shares: Sequence[float]) -> str:
    """Mean of several accuracies and, in brackets, each of them."""
    return f"{statistics.mean(shares):.2%} ({', '.join(f'{share:.2%}' for share in shares)})"


# ------------------------------------------------------------------------------------ the parts
def speed(found: dict, images: int) -> Table:
    """Images a second of each contender, and who is how many times as fast as whom."""
    rows = []
    for norm, seconds in found.items():
        student, same, default, limit = (seconds[name] for name in CONTENDERS)
        rates = [spread([images / s for s in seconds[name]], ",.0f") for name in CONTENDERS]
        rows.append([LOOKS[norm].short, *rates, ratios(same, student), ratios(default, student),
                     ratios(same, limit), ratios(default, limit)])
    heads = [f"({letter}) {name}" for letter, name in zip("abcd", CONTENDERS.values())]
    return ("Images a second, tests after each epoch included ({turns}):",
            ["norm", *heads, "b/a", "c/a", "b/d", "c/d"], rows)


def profile(found: dict, images: int) -> Table:
    """Where the seconds of an epoch go."""
    rows = []
    for norm, own in found.items():
        seconds = [own["seconds"], own["limit"], *own["sections"].values()]
        rest = seconds[0] - sum(seconds[1:])
        shares = ", ".join(f"{name} {part:.0%}" for name, part in own["operations"].items())
        rows.append([LOOKS[norm].short, *(f"{part:.2f}" for part in (*seconds, rest)), shares])
    return ("Where the seconds of an epoch of the default recipe go (shares are of PyTorch's "
            "operations, by its profiler; bare compute is another process, so the noise of the "
            "machine can make the rest negative; {turns}):",
            ["norm", "in all", "bare compute", "images and their movements", "test", "checkpoint",
             "penalty, counters, the rest", "operations"], rows)


def growth(found: list[dict], images: int) -> Table:
    """Seconds an epoch, by the number of images and the size of a batch."""
    heads, rows = ["norm"], {}
    for case in found:
        row = rows.setdefault(case["norm"], [LOOKS[case["norm"]].short])
        row.append(spread(case["seconds"], ".2f"))
        if len(rows) == 1:
            heads.append(f"{case['images']:,} images, batch {case['batch_size']}")
    return ("Seconds an epoch of the default recipe, as the work grows ({turns}):", heads,
            [*rows.values()])


def busy(found: dict, images: int) -> Table:
    """Seconds an epoch, alone and beside another process."""
    return ("Seconds an epoch of the default recipe, beside a process that never rests ({turns}):",
            ["norm", "alone", "beside it", "times slower"],
            [[LOOKS[norm].short, spread(seconds["alone"], ".2f"), spread(seconds["beside"], ".2f"),
              ratios(seconds["alone"], seconds["beside"])] for norm, seconds in found.items()])


def notebooks(found: dict, images: int) -> Table:
    """Start-up, memory and final accuracy of the recipe notebooks."""
    rows = []
    for small in found["small"]:
        full = [run for run in found["full"] if run["notebook"] == small["notebook"]]
        first, training, accuracies = ([run[key] for run in full] for key in (
            "first_step_seconds", "training_seconds", "test_accuracy"))
        peaks = full[0]["peak_mb"]
        rows.append([small["notebook"], spread(first, ".1f"), f"{small['seconds']:.1f}",
                     spread(training, ".0f"), f"{peaks[:2][-1]:,.0f}", f"{peaks[-1]:,.0f}",
                     final_accuracy(accuracies)])
    return (f"The recipe notebooks by papermill, {len(peaks)} epochs, seeds 1 to {len(full)} "
            f"(`import utils` takes {statistics.median(found['import_seconds']):.1f} s):",
            ["notebook", "seconds to the first step", "seconds in all, 1 epoch of 1,000 images",
             "seconds of training", "peak MB, epoch 2", f"peak MB, epoch {len(peaks)}",
             "final test accuracy: mean (each)"], rows)


def goal(found: dict, images: int) -> Table:
    """Seconds until the test accuracy stays at GOAL."""
    rows, means, words = [], {}, ""
    for name, runs in found.items():
        times = [time_to_goal(run) for run in runs]
        means[name] = statistics.mean(seconds for seconds, _ in times)
        if not all(stays for _, stays in times):
            words = "; a run that does not stay there counts with all of its seconds"
        each = ", ".join(f"{'' if stays else 'over '}{seconds:.0f}" for seconds, stays in times)
        rows.append([RUNNERS[name], len(runs[0]["epochs"]), f"{means[name]:.0f} ({each})",
                     final_accuracy([run["epochs"][-1]["test_accuracy"] for run in runs])])
    return (f"GN + L1, seconds until the test accuracy stays at {GOAL:.2%} or more: "
            f"{means['student'] / means['quick']:.1f} times sooner with the preset{words}.",
            ["", "epochs", "seconds: mean (each seed)", "final: mean (each seed)"], rows)


PARTS = {part.__name__: part for part in (speed, profile, growth, busy, notebooks, goal)}


def report(results: dict) -> str:
    """Everything that was measured, as Markdown."""
    about, run = results["machine"], results["run"]
    texts = [
        "# All measurements of speed\n\n"
        f"Measured on {about['processor']}, {about['cores']} cores, {about['threads']} threads, "
        f"{about['memory_gb']} GB, {about['system']}, Python {about['python']}, torch "
        f"{about['torch']}, torchvision {about['torchvision']}; {run['images']:,} training images "
        f"an epoch from {run['data']} (source: {run['source']}). Medians, range in brackets.\n"]
    for name in [name for name in PARTS if name in results]:
        sentence, heads, rows = PARTS[name](results[name], run["images"])
        turns = f"{results['turns'][name]} turn{'s' * (results['turns'][name] > 1)}"
        texts.append(f"{sentence.format(turns=turns)}\n\n{markdown_table(heads, rows)}\n")
    return "\n".join(texts)


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
