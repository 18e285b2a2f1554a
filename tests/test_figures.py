"""Figures: lines, bands and styles, axes that show what they are given, texts that do not touch."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import make_record, several_seeds

from coursepack.runs import recipes
from coursepack.show import figures
from coursepack.show.figures import GRAPHS, Axis, Graph

pytestmark = pytest.mark.usefixtures("figures_closed")


def caption(figure):
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


@pytest.mark.parametrize(("key", "seeds"), [
    ("test_accuracy", 1), ("test_accuracy", 2), *((key, 4) for key in GRAPHS)])
def test_graph_has_a_line_a_recipe_and_a_band_for_three_seeds(key, seeds):
    records = several_seeds({"batch": 0.97, "layer": 0.95}, 0.001, seeds, np.random.default_rng(0))
    figure = figures.plot_graph(records, [key], "of BN" if seeds == 1 else "")
    [ax] = figure.axes
    means = [recipes.final_values(runs, key).mean() for runs in recipes.by_recipe(records).values()]
    shown = [line.get_ydata()[-1] for line in ax.lines]
    assert shown == pytest.approx([1 - mean if "accuracy" in key else mean for mean in means])
    assert ax.yaxis.get_inverted() == ("accuracy" in key)  # of errors: the fewer, the higher
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 2
    assert len(ax.collections) == (2 if seeds > 2 else 0)
    assert ("band: 95 % interval" in caption(figure)) == (seeds > 2)
    assert (f"mean of {seeds} seeds" in caption(figure)) == (seeds > 1)
    assert ax.get_title(loc="left").startswith(GRAPHS[key].name.capitalize())
    assert ax.get_title(loc="left").endswith(": of BN") == (seeds == 1)


def test_recipes_of_one_norm_differ_in_their_markers():
    records = [make_record("batch", 1, 0.9 + skip / 50, skip=skip) for skip in (False, True)]
    [ax] = figures.plot_graph(records, ["test_accuracy"]).axes
    one, two = (line.get_marker() for line in ax.lines)
    assert one != two
    assert all(line.get_markersize() > 8 for line in ax.lines)
    assert {text.get_text()[0] for text in ax.texts} == {figures.MARKERS[one], figures.MARKERS[two]}


@pytest.mark.parametrize("key", ["loss", "test_accuracy"])
def test_bands_of_few_seeds_are_whole_and_stay_in_the_axes(key):
    records = [make_record(norm, seed, accuracy) for norm in ("batch", "layer")
               for seed, accuracy in enumerate((0.9, 0.1, 0.15))]
    [ax] = figures.plot_graph(records, [key]).axes
    bottom, top = sorted(ax.get_ylim())
    for band, line in zip(ax.collections, ax.lines):
        x, y = band.get_paths()[0].vertices.T
        assert bottom <= y.min() <= line.get_ydata().min()
        assert line.get_ydata().max() <= y.max() <= top
        last, end = y[x == 2], line.get_ydata()[-1]
        if key == "loss":
            assert last.max() / end == pytest.approx(end / last.min())
        else:
            assert last.max() == 1  # more errors than images there are not


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("key", ["loss", "test_accuracy"])
def test_zero_is_drawn_at_the_end_of_a_logarithmic_axis_and_the_caption_says_so(key):
    for none_wrong, accuracy in ((True, 0.99), (False, 0.98)):  # in the first of two epochs
        figure = figures.plot_graph([make_record("batch", 1, accuracy)], [key])
        assert min(figure.axes[0].get_ylim()) > 0
        assert ("beyond the axis is drawn at its end" in caption(figure)) == none_wrong


def test_a_new_graph_is_a_row_and_its_axis_may_go_below_zero(monkeypatch):
    monkeypatch.setitem(GRAPHS, "gap", Graph("gap", Axis("loss minus test loss")))
    records = [make_record("batch", seed, 0.9) for seed in (1, 2, 3)]
    for seed, record in enumerate(records, 1):
        record["epochs"] = [row | {"gap": 0.1 - seed} for row in record["epochs"]]
    [ax] = figures.plot_graph(records, ["gap"]).axes
    assert ax.lines[0].get_ydata() == pytest.approx([-1.9, -1.9])
    assert (ax.get_yscale(), ax.get_ylabel()) == ("linear", "loss minus test loss")
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min() + band.max()) / 2 == pytest.approx(-1.9)
    assert ax.get_ylim()[0] < band.min() < band.max() < ax.get_ylim()[1]


def test_caption_tells_one_run_each_from_several_seeds():
    runs = [[make_record("batch", 1, 0.9)], [make_record("layer", 2, 0.9)]]
    assert figures.seeds_text(runs) == "; one run each"  # and no "mean of seeds 1, 2"
    assert figures.seeds_text(runs[:1]) == ", seed 1"
    runs[0] += [make_record("batch", 3, 0.9), make_record("batch", 4, 0.9)]
    assert figures.seeds_text(runs).startswith("; mean of 1 to 3 seeds, band")


@pytest.mark.parametrize(("names", "end"), [
    (["BN", "GN(2)", "LN"], 0.0), (["BN"] * 12, 0.5), (["BN"] * 40, 1.0),
    ([f"BN + L1 + L2, {', '.join(['dropout 0.05'] * 9)}"] * 3, 1.0)],
    ids=["three", "as many as a study has", "more than there is room for", "long ones"])
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


@pytest.mark.parametrize("text", ["said: " + ", ".join(["automobile"] * 12), "said: 7 (99%)"])
def test_texts_below_images_do_not_touch(text):
    figure = figures.show_images(np.zeros((10, 1, 28, 28), np.uint8), below=[text] * 10, columns=5)
    figure.canvas.draw()
    boxes = [ax.xaxis.label.get_window_extent() for ax in figure.axes[:5]]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert figure.get_size_inches()[0] < 5 * 3
    assert all(box.y0 > figure.axes[5].get_window_extent().y1 for box in boxes)
