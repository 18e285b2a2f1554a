"""Figures: lines, bands and styles, and texts that do not touch."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import make_record, several_seeds

from coursepack import compare, figures
from coursepack.mistakes import Misclassified


@pytest.mark.parametrize("seeds", [1, 2, 4])
@pytest.mark.parametrize("key", figures.GRAPHS)
def test_graph_has_a_line_a_recipe_and_a_band_for_three_seeds(seeds, key):
    rng = np.random.default_rng(0)
    records = several_seeds({"batch": 0.97, "layer": 0.95}, 0.001, seeds, rng)
    figure = figures.plot_graph(records, [key])
    [ax] = figure.axes
    assert len(ax.lines) == 2
    assert len(ax.collections) == (2 if seeds > 2 else 0)
    means = [compare.final_values(runs, key).mean() for runs in compare.by_recipe(records).values()]
    shown = [line.get_ydata()[-1] for line in ax.lines]
    expected = [1 - mean if "accuracy" in key else mean for mean in means]
    np.testing.assert_allclose(shown, expected)
    styles = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert len(styles) == 2
    texts = " ".join(text.get_text() for text in figure.texts)
    assert ("band: 95 % interval" in texts) == (seeds > 2)
    assert (f"mean of {seeds} seeds" in texts) == (seeds > 1)


def test_recipes_of_one_norm_differ_in_their_markers():
    records = [make_record("batch", 1, 0.9 + skip / 50, skip=skip) for skip in (False, True)]
    [ax] = figures.plot_graph(records, ["test_accuracy"]).axes
    markers = [line.get_marker() for line in ax.lines]
    assert all(a != b for a, b in itertools.pairwise(markers))


def test_caption_tells_one_run_each_from_several_seeds():
    runs = [[make_record("batch", 1, 0.9)], [make_record("layer", 2, 0.9)]]
    assert figures.seeds_text(runs) == "; one run each"  # and no "mean of seeds 1, 2"
    assert figures.seeds_text(runs[:1]) == ", seed 1"
    runs[0] += [make_record("batch", 3, 0.9), make_record("batch", 4, 0.9)]
    assert figures.seeds_text(runs).startswith("; mean of 1 to 3 seeds, band")


NAMES = {"three": ["BN", "GN(2)", "LN"], "as many as a study has": ["BN"] * 12,
         "more than there is room for": ["BN"] * 40,
         "long ones": [f"BN + L1 + L2, {', '.join(['dropout 0.05'] * 9)}"] * 3}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("end", [0.0, 0.5, 1.0])
def test_names_of_lines_stay_beside_the_axes_and_do_not_touch(names, end):
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    ax.set(xlim=(0, 1), ylim=(0, 1))
    figures.label_ends(ax, [(1, end, name, "black") for name in names])
    figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.y0)
    frame = ax.get_window_extent()
    assert frame.y0 - 1 <= boxes[0].y0
    assert boxes[-1].y1 <= frame.y1 + 1
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))
    plt.close(figure)


def mistakes(label, prediction):
    """Mistakes of some classes, with blank images."""
    count = len(label)
    return Misclassified(np.arange(count), np.zeros((count, 1, 28, 28), np.uint8),
                         np.array(label, int), np.array(prediction, int),
                         np.full(count, 0.9), np.full(count, 0.1))


def test_a_run_without_mistakes_is_drawn():
    record = make_record("batch", 1, 1.0)
    figure = figures.plot_misclassified(mistakes([], []), "0123456789", record)
    assert figure.get_suptitle() == "BN: no mistakes"
    for classes in ("0123456789", [str(i) for i in range(100)]):
        figure = figures.plot_confusions([mistakes([], [])], classes, record)
        assert figure.axes[0].get_title(loc="left").startswith("0 mistakes of one run")
        figure.canvas.draw()


def test_mixed_up_classes_say_that_an_image_counts_once_a_run():
    record, wrong = make_record("batch", 1, 0.9), mistakes([3, 3, 5], [8, 8, 3])
    figure = figures.plot_confusions([wrong] * 3, "0123456789", record)
    [ax] = figure.axes
    assert ax.get_title(loc="left") == "9 mistakes of 3 runs"
    assert sorted(text.get_text() for text in ax.texts) == ["3", "6"]
    assert "once for each run" in figure.texts[-1].get_text()


def test_of_many_classes_those_that_are_mixed_up_most_are_shown():
    rng, names = np.random.default_rng(0), [f"class {i}" for i in range(100)]
    often = mistakes([40] * 99 + list(rng.permutation(100)), [70] * 99 + list(rng.permutation(100)))
    [ax] = figures.plot_confusions([often], names, make_record("batch", 1, 0.9)).axes
    shown = [text.get_text() for text in ax.get_xticklabels()]
    assert len(shown) == 12
    assert {"class 40", "class 70"} <= {*shown}
    assert "12 of 100 classes" in ax.get_title(loc="left")


@pytest.mark.filterwarnings("error")
def test_loss_of_zero_is_drawn():
    record = make_record("batch", 1, 1.0)
    [ax] = figures.plot_graph([record], ["loss"]).axes
    assert 0 < ax.get_ylim()[0] < ax.get_ylim()[1]


LONG = "said: " + ", ".join(["automobile"] * 12)


@pytest.mark.parametrize("text", [LONG, "said: 7 (99%)", "said: T-shirt (99%)",
                                  "said: car, cat, truck"], ids=lambda text: text[:20])
def test_texts_below_images_do_not_touch(text):
    figure = figures.show_images(np.zeros((10, 1, 28, 28), np.uint8), below=[text] * 10, columns=5)
    figure.canvas.draw()
    boxes = [ax.xaxis.label.get_window_extent() for ax in figure.axes[:5]]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))
    assert figure.get_size_inches()[0] < 5 * 3
    assert all(box.y0 > figure.axes[5].get_window_extent().y1 for box in boxes)
    plt.close(figure)
