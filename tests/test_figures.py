"""Figures: lines, bands and styles, and texts that do not touch."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import make_record, several_seeds

from coursepack.runs import recipes
from coursepack.show import figures


@pytest.mark.parametrize("seeds", [1, 2, 4])
@pytest.mark.parametrize("key", figures.GRAPHS)
def test_graph_has_a_line_a_recipe_and_a_band_for_three_seeds(seeds, key):
    rng = np.random.default_rng(0)
    records = several_seeds({"batch": 0.97, "layer": 0.95}, 0.001, seeds, rng)
    figure = figures.plot_graph(records, [key])
    [ax] = figure.axes
    assert len(ax.lines) == 2
    assert len(ax.collections) == (2 if seeds > 2 else 0)
    means = [recipes.final_values(runs, key).mean() for runs in recipes.by_recipe(records).values()]
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
    assert all(line.get_markersize() > 8 for line in ax.lines)
    signs = [text.get_text()[0] for text in ax.texts]
    assert len({*signs}) == len(records)
    assert {*signs} <= {*figures.MARKERS.values()}


@pytest.mark.parametrize("key", ["loss", "test_accuracy"])
def test_bands_of_few_seeds_are_whole_and_stay_in_the_axes(key):
    records = [make_record(norm, seed, accuracy) for norm in ("batch", "layer")
               for seed, accuracy in enumerate((0.9, 0.1, 0.15))]
    [ax] = figures.plot_graph(records, [key]).axes
    bottom, top = sorted(ax.get_ylim())
    for band, line in zip(ax.collections, ax.lines):
        [path] = band.get_paths()
        heights = path.vertices[:, 1]
        assert bottom <= heights.min() <= line.get_ydata().min()
        assert line.get_ydata().max() <= heights.max() <= top
        last = path.vertices[path.vertices[:, 0] == line.get_xdata()[-1], 1]
        end = line.get_ydata()[-1]
        if key == "loss" or last.max() < 1:
            assert last.max() / end == pytest.approx(end / last.min())
    if key == "test_accuracy":
        assert max(band.get_paths()[0].vertices[:, 1].max() for band in ax.collections) == 1


def test_a_title_says_what_the_runs_are_of():
    record = make_record("batch", 1, 0.9)
    for of, title in (("", "Test accuracy"), ("seed002", "Test accuracy: seed002")):
        [ax] = figures.plot_graph([record], ["test_accuracy"], of).axes
        assert ax.get_title(loc="left") == title


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
