"""Figures: lines, bands and styles, and texts that do not touch."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import make_record, several_seeds

from coursepack import compare, figures


@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize("key", figures.GRAPHS)
def test_graph_has_a_line_a_recipe_and_a_band_for_several_seeds(seeds, key):
    rng = np.random.default_rng(0)
    records = several_seeds({"batch": 0.97, "layer": 0.95}, 0.001, seeds, rng)
    figure = figures.plot_graph(records, [key])
    [ax] = figure.axes
    assert len(ax.lines) == 2
    assert len(ax.collections) == (2 if seeds > 1 else 0)
    means = [compare.final_values(runs, key).mean() for runs in compare.by_recipe(records).values()]
    shown = [line.get_ydata()[-1] for line in ax.lines]
    expected = [1 - mean if "accuracy" in key else mean for mean in means]
    np.testing.assert_allclose(shown, expected)
    styles = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert len(styles) == 2
    texts = " ".join(text.get_text() for text in figure.texts)
    assert ("band: 95 % interval" in texts) == (seeds > 1)


def test_recipes_of_one_norm_differ_in_their_markers():
    records = [make_record("batch", 1, 0.9 + skip / 50, skip=skip) for skip in (False, True)]
    [ax] = figures.plot_graph(records, ["test_accuracy"]).axes
    markers = [line.get_marker() for line in ax.lines]
    assert all(a != b for a, b in itertools.pairwise(markers))


@pytest.mark.parametrize("text", ["said: 7 (99%)", "said: T-shirt (99%)", "said: car, cat, truck"])
def test_texts_below_images_do_not_touch(text):
    figure = figures.show_images(np.zeros((10, 1, 28, 28), np.uint8), below=[text] * 10, columns=5)
    figure.canvas.draw()
    boxes = [ax.xaxis.label.get_window_extent() for ax in figure.axes[:5]]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))
    plt.close(figure)
