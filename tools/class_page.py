"""The page that a teacher shows: what a class predicted, what is right, and what it solved.

For collect.py. The page stands alone, and nobody's name is in it.
"""

import base64
import html
import io
import math
from collections import Counter
from collections.abc import Sequence
from statistics import median_low

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from nbconvert.filters import markdown2html  # noqa: E402

from coursepack.exercises.grading import OPEN, RIGHT, WRONG  # noqa: E402
from coursepack.exercises.handed_in import Question, Row, Slot  # noqa: E402
from coursepack.show import figures, looks  # noqa: E402
from exercises import EXERCISES  # noqa: E402

MARKS = {OPEN: "blank", WRONG: "no", RIGHT: "yes"}  # from worst to best
RIGHT_COLOUR, OTHER_COLOUR = "#007a58", "#9ecae9"
HEAD = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>The class</title><style>
body {font: 20px/1.4 sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem}
h1 {font-size: 2.2rem} h2 {font-size: 1.5rem; margin-top: 4rem} img {width: 100%}
section {break-inside: avoid; margin: 2.5rem 0; border-top: 1px solid #ddd} code {font-size: 90%}
.bar {display: flex; height: 2rem; line-height: 2rem; text-align: center; margin-top: 1.2rem}
.bar b {flex: 0 0 16rem; text-align: left} .small {font-size: 80%; color: #555}
.yes {background: #007a58; color: #fff} .no {background: #f5b183} .blank {background: #e4e4e4}
</style>"""


def as_number(value: object) -> float | None:
    """A prediction as a number, if it is one that can be drawn."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e15 else None


def printable(text: str) -> str:
    """A text without codes for a terminal, and not long."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text[:300])


def as_word(value: object) -> str:
    """A prediction as exercises.compare reads a word."""
    return printable(str(value).strip().lower().removesuffix(" norm"))[:30]


def right_value(rows: Sequence[Row], slot: Slot) -> float | str | None:
    """What most notebooks measured: the median or the most frequent word, which no joker moves."""
    found = [row.measured[slot] for row in rows if slot in row.measured]
    words = [value for value in found if isinstance(value, str)]
    if 2 * len(words) > len(found):
        return Counter(words).most_common(1)[0][0]
    return median_low(value for value in found if not isinstance(value, str)) if found else None


def tally(values: Sequence[object], right: float | str | None) -> tuple[list, list[int]]:
    """Words and how many said each; or the edges of bins, one more, and how many are in each."""
    numbers = [number for value in values if (number := as_number(value)) is not None]
    if isinstance(right, str) or right is None and 2 * len(numbers) < len(values):
        counts = Counter(map(as_word, values))
        counts.update([] if right is None else {as_word(right): 0})
        places, heights = zip(*counts.most_common())
        return [*places], [*heights]
    every = np.array([*numbers, *([] if right is None else [right])])
    low, high, fixed = every.min(), every.max(), np.median(every) if right is None else right
    if low > 0 and high / low > 30:  # edges at 1, 2, 5, 10 ..., none further off than a million
        low, high = max(low, fixed / 1e6), min(high, fixed * 1e6)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        edges = np.array([step * 10.0**power for power in powers for step in (1, 2, 5)])
        first, last = np.searchsorted(edges, [low, high], side="right")
        edges = edges[max(first - 1, 0):last + 1]
    else:  # what is far from all others counts at the end
        quarter, three = np.quantile(every, [0.25, 0.75])
        reach = 3 * (three - quarter) or high - low
        low, high = max(low, min(quarter - reach, fixed)), min(high, max(three + reach, fixed))
        if np.all(every == every.round()) and high - low <= 15:
            edges = np.arange(round(low), round(high) + 2) - 0.5
        else:
            edges = plt.MaxNLocator(10).tick_values(low, high)
    inside = np.clip(numbers, edges[0], np.nextafter(edges[-1], -math.inf))
    return edges.tolist(), np.histogram(inside, edges)[0].tolist()


def draw(ax: plt.Axes, slot: Slot, values: Sequence[object], right: float | str | None) -> str:
    """A histogram of what the class predicted, with the right value in it; and in a sentence."""
    places, counts = tally(values, right)
    words, top, name = len(places) == len(counts), max(1, *counts), slot.label()
    if words:
        starts, widths = np.arange(len(places)) - 0.4, np.full(len(places), 0.8)
        hit = [place == as_word(right) for place in places]
        ax.set_xticks(range(len(places)), [figures.wrap(place, 12, 2) for place in places],
                      parse_math=False)
    else:
        starts, widths = np.array(places[:-1]), np.diff(places)
        hit = [right is not None and low <= right < high for low, high in zip(places, places[1:])]
        if widths.max() > 1.5 * widths.min():
            figures.make_logarithmic(ax, "x", 1, *((2, 5) if len(places) < 8 else ()))
    bars = ax.bar(starts, counts, widths, align="edge", edgecolor="white",
                  color=[RIGHT_COLOUR if one else OTHER_COLOUR for one in hit])
    ax.bar_label(bars, [count or "" for count in counts], padding=2)
    ax.set(yticks=[], ylim=(0, 1.5 * top))
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.set_title(name, family="monospace", fontsize=13, pad=12)
    if right is None:
        return f"{name}: {len(values)} predictions; no notebook has measured it."
    if words:
        return f"{name}: it is {right}; {counts[hit.index(True)]} of {len(values)} predicted that."
    across = ax.transLimits.transform(ax.transScale.transform((right, 0)))[0]
    ax.plot(right, 1.2 * top, "v", color=RIGHT_COLOUR, markersize=9)
    ax.text(right, 1.29 * top, f"{right:.4g}{slot.unit}", color=RIGHT_COLOUR, weight="bold",
            ha="right" if across > 0.8 else "left" if across < 0.2 else "center")
    near = sum(abs(number - right) <= abs(right) / 10
               for number in map(as_number, values) if number is not None)
    return (f"{name}: it is {right:.4g}{slot.unit}; {near} of {len(values)} predictions are at "
            "most a tenth off.")


def show_question(question: Question, rows: Sequence[Row]) -> str:
    """A question of the course, what the class predicted, and what is right; "" if none did."""
    drawn = {slot: values for slot in question.slots if (values := [
        row.predicted[slot] for row in rows if row.predicted.get(slot, ...) is not ...])}
    if not drawn:
        return ""
    figure, axes = figures.axes_grid(len(drawn), min(3, len(drawn)), 11 / min(3, len(drawn)), 3.4)
    figure.get_layout_engine().set(w_pad=0.15)  # their numbers do not touch
    said = [draw(ax, slot, values, right_value(rows, slot))
            for ax, (slot, values) in zip(axes, drawn.items())]
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    plt.close(figure)
    data, alt = base64.b64encode(picture.getvalue()).decode(), html.escape(" ".join(said))
    comment = f"<p class=small>{html.escape(question.comment)}</p>" if question.comment else ""
    return (f"<section><p class=small>Notebook {html.escape(question.place)}</p>"
            f"{markdown2html(question.text)}{comment}"
            f'<img alt="{alt}" src="data:image/png;base64,{data}">'
            f"<p>{'<br>'.join(map(html.escape, said))}</p></section>")


def show_exercise(name: str, verdicts: Sequence[tuple[str, str]]) -> str:
    """How many solved an exercise, and the mistakes that were made most often."""
    counts = Counter(MARKS[verdict] for verdict, _ in verdicts)
    parts = "".join(f'<span class={mark} style="flex: {counts[mark]}">{counts[mark]}</span>'
                    for mark in reversed(MARKS.values()) if counts[mark])
    wrong = Counter(said for verdict, said in verdicts
                    if verdict == WRONG and said in EXERCISES[name].wrong)
    common = markdown2html("\n".join(f"- {count} x {said}" for said, count in wrong.most_common(2)))
    return f"<div class=bar><b><code>{name}</code></b>{parts}</div><div class=small>{common}</div>"


def make_page(rows: Sequence[Row], questions: Sequence[Question]) -> str:
    """A page of HTML that stands alone, with nobody's name in it."""
    looks.set_up()
    asked = "".join(show_question(question, rows) for question in questions)
    solved = "".join(
        show_exercise(name, verdicts) for name in EXERCISES
        if (verdicts := [row.verdicts[name] for row in rows if name in row.verdicts]))
    return (f"{HEAD}<h1>What the class predicted</h1><p>{len(rows)} notebooks. Green is "
            f"what was measured: the median of the notebooks that ran.</p>{asked}"
            "<h2>What it solved</h2><p><span class=yes>&nbsp;solved&nbsp;</span> "
            "<span class=no>&nbsp;not yet&nbsp;</span> <span class=blank>&nbsp;left open&nbsp;"
            f"</span></p>{solved}</html>")


