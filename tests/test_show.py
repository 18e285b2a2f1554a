"""Graphs, pictures and charts: what is drawn where, in which look."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers import make_record
from matplotlib.collections import LineCollection, PathCollection
from scipy import stats

import model
from coursepack.lab import effects
from coursepack.runs import recipes
from coursepack.runs.mistakes import Misclassified
from coursepack.show import charts, figures, pictures
from coursepack.show.figures import GRAPHS, Graph
from coursepack.show.looks import LOOKS

DIGITS, RECORD = "0123456789", make_record("batch", 1, 0.9)


@pytest.fixture(autouse=True)
def _figures_closed():
    yield
    plt.close("all")


def titled(ax):
    return ax.get_title(loc="left").replace("\n", " ")


def small_print(figure):
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


def texts(labels):
    return [label.get_text() for label in labels]


# ------------------------------------------------------------------------- graphs by epoch
@pytest.mark.parametrize(("key", "seeds"), [*zip(GRAPHS, (4, 2, 1, 3))])
def test_graph_has_a_line_a_recipe_and_a_band_for_three_seeds(key, seeds):
    records = [make_record(norm, seed, accuracy) for norm in ("batch", "layer")
               for seed, accuracy in enumerate((0.9, 0.1, 0.15, 0.2)[:seeds])]
    figure = figures.plot_graph(records, [key], "of BN")
    [ax] = figure.axes
    values = [recipes.final_values(runs, key) for runs in recipes.by_recipe(records).values()]
    lines = [line for line in ax.lines if line.get_transform() == ax.transData]  # none to a name
    shown = [line.get_ydata()[-1] for line in lines]
    assert shown == pytest.approx([stats.gmean(1 - values if "accuracy" in key else values)
                                   for values in values])
    assert ax.yaxis.get_inverted() == ("accuracy" in key)  # of errors: the fewer, the higher
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 2
    assert len(ax.collections) == (2 if seeds > 2 else 0)
    assert ("band: its 95 % interval" in small_print(figure)) == (seeds > 2)
    assert (f"geometric mean of {seeds} seeds" in small_print(figure)) == (seeds > 1)
    assert titled(ax) == f"{GRAPHS[key].name.capitalize()}: of BN"
    bottom, top = sorted(ax.get_ylim())
    for band, end in zip(ax.collections, shown):
        x, y = band.get_paths()[0].vertices.T
        assert bottom <= y.min() <= end <= y.max() <= top
        last = y[x == 2]
        if "loss" in key:
            assert last.max() / end == pytest.approx(end / last.min())
        else:
            assert last.max() == 1  # more errors than images there are not


@pytest.mark.filterwarnings("error")
def test_zero_is_drawn_at_the_end_of_a_logarithmic_axis_and_the_caption_says_so():
    for none_wrong, accuracy in ((True, 0.99), (False, 0.98)):  # in the first of two epochs
        for keys in (["loss", "test_loss"], ["accuracy", "test_accuracy"]):
            figure = figures.plot_graph([make_record("batch", 1, accuracy)], keys)
            [ax] = figure.axes
            assert min(ax.get_ylim()) > 0
            assert ("beyond the axis is drawn at its end" in small_print(figure)) == none_wrong
            assert [titled(ax), *sorted(texts(ax.texts))] == ["BN", "test", "training"]


def test_a_new_graph_is_a_row_and_its_axis_may_go_below_zero(monkeypatch):
    monkeypatch.setitem(GRAPHS, "gap", Graph("gap", "loss minus test loss"))
    records = [make_record("batch", seed, 0.9) | {"epochs": [{"gap": 0.1 - seed}] * 2}
               for seed in (1, 2, 3)]
    [ax] = figures.plot_graph(records, ["gap"]).axes
    assert ax.lines[0].get_ydata() == pytest.approx([-1.9, -1.9])
    assert (ax.get_yscale(), ax.get_ylabel()) == ("linear", "loss minus test loss")
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert ax.get_ylim()[0] < band.min() < -1.9 < band.max() < ax.get_ylim()[1]


@pytest.mark.parametrize("shape", [(3, 4, 1, 2), (1, 1, 1, 1), (6, 2, 1, 5)])  # one is cut
def test_elements_have_one_colour_exactly_where_they_share_a_mean(shape):
    index = {norm: model.mean_index(shape, norm, groups=1 + (shape[1] > 1))
             for norm in ("batch", "layer", "group", "instance")}
    whole, corner = np.arange(np.prod(shape)).reshape(shape), tuple(map(slice, pictures.SHOWN))
    figure = pictures.plot_means(whole, index)
    numbers = whole[corner]
    for (norm, means), ax in zip(index.items(), figure.axes):
        assert titled(ax) == f"{norm} norm: {means.max() + 1} means"
        means = means[corner].numpy().ravel()
        colours = [patch.get_facecolor() for patch in ax.patches]
        assert len(colours) == means.size
        assert len(set(zip(colours, means.tolist()))) == len(set(colours)) == len(set(means))
        assert texts(ax.get_xticklabels()) == [f"image {i}" for i in range(numbers.shape[0])]
        x, y = np.transpose([text.get_position() for text in ax.texts]).reshape(2, *numbers.shape)
        assert (np.diff(x, axis=0) > 0).all()  # images to the right
        assert (np.diff(y, axis=1) < 0).all()  # channels below each other
        assert texts(ax.texts) == [str(number) for number in numbers.ravel()]
    assert ("of 6 x 2 x 1 x 5" in small_print(figure)) == (numbers.size < whole.size)


def test_weights_of_all_layers_are_inside_the_axes():
    rng = np.random.default_rng(0)
    layers = [rng.standard_t(2, size) for size in (20, 700, 3)]
    networks = {"before": layers, "with": [3 * w for w in layers], "free": [9 * w for w in layers]}
    figure = pictures.plot_weights(networks, ["one", "two", "three"])
    [ax] = figure.axes
    assert len({line.get_color() for line in ax.lines}) == 3
    assert texts(figure.legends[0].get_texts()) == [*networks]
    ends = np.concatenate([np.concatenate(bars.get_segments()) for bars in ax.collections])
    assert ends[:, 0].max() == 9 * max(w.max() for w in layers)
    assert ax.get_xlim()[0] < ends[:, 0].min() < ends[:, 0].max() < ax.get_xlim()[1]
    assert ax.lines[1].get_xdata() == pytest.approx([3 * np.median(w) for w in layers])


def test_reliability_has_a_panel_a_recipe_and_adds_up_its_runs_but_for_bins_of_a_few():
    runs = [make_record(norm, seed, 0.9) | {"calibration": [
        dict(zip(("above", "images", "confidence", "accuracy"), row)) for row in rows]}
        for norm, seed, rows in (
            ("batch", 1, [(0.3, 4, 0.4, 0.5), (0.5, 1, 0.5, 0.0), (0.9, 90, 0.95, 1.0)]),
            ("batch", 2, [(0.5, 4, 0.55, 0.75)]), ("layer", 1, [(0.9, 100, 0.99, 0.9)]),
            ("group", 1, [(0.9, 9, 0.9, 1)]), ("none", 1, [(0.9, 9, 0.9, 1)]))]
    figure = pictures.plot_reliability(runs)
    panels = [ax for ax in figure.axes if ax.axison]
    assert [titled(ax) for ax in panels if titled(ax)] == ["BN", "LN", "GN(2)", "no norm"]
    [diagonal, batch], [counts] = panels[0].lines, panels[3].lines
    assert batch.get_xdata() == pytest.approx([(0.5 + 4 * 0.55) / 5, 0.95])
    assert batch.get_ydata() == pytest.approx([3 / 5, 1.0])
    assert counts.get_ydata().tolist() == [5, 90]
    assert panels[1].lines[1].get_color() == LOOKS["layer"].colour
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())


def mistakes(label, prediction):
    """Mistakes of some classes, with blank images."""
    n = len(label)
    return Misclassified(np.arange(n), np.zeros((n, 1, 28, 28), np.uint8), np.array(label, int),
                         np.array(prediction, int), np.full(n, 0.9), np.full(n, 0.1))


def test_a_name_is_drawn_as_it_is_and_not_as_a_formula():
    record, name = RECORD | {"data": RECORD["data"] | {"name": "$x^$"}}, "$x^$"
    for figure in (figures.plot_graph([record], ["loss"], name),
                   figures.show_images(np.zeros((1, 1, 9, 9), np.uint8), [name], [name]),
                   pictures.plot_confusions([mistakes([3], [8])], [name] * 10, record)):
        figure.draw_without_rendering()


def test_mixed_up_classes_are_counted_and_of_many_the_most_frequent_are_shown():
    figure = pictures.plot_confusions([mistakes([3, 3, 5], [8, 8, 3])] * 3, DIGITS, RECORD)
    [ax] = figure.axes
    assert titled(ax) == "9 mistakes of 3 runs, on 3 images"
    assert {text.get_text(): text.get_position() for text in ax.texts} == {
        "6": (8.5, 3.5), "3": (3.5, 5.5)}  # said, true
    assert "once for each run" in small_print(figure)
    [ax] = pictures.plot_confusions([mistakes([], [])], DIGITS, RECORD).axes
    assert titled(ax) == "0 mistakes of one run"
    often = mistakes([40] * 9 + [*range(99)], [70] * 9 + [*range(1, 100)])
    [ax] = pictures.plot_confusions([often], [str(i) for i in range(100)], RECORD).axes
    assert "between the 12 of 100 classes" in titled(ax)
    assert len(shown := texts(ax.get_xticklabels())) == 12
    assert {"40", "70"} <= {*shown}


@pytest.mark.filterwarnings("ignore:Glyph")  # there may be no font for the last one
@pytest.mark.parametrize("name", [
    "Acrocephalus scirpaceus ssp. number {:03} x", "a_class_with_a_name_of_40_characters_{:03}",
    "\u5f88\u957f\u7684\u4e2d\u6587\u7c7b\u522b\u540d\u79f0\u5728\u8fd9\u91cc\u5199\u51fa\u6765{:03}"])
def test_long_names_of_a_hundred_classes_are_told_apart_inside_the_figure(name):
    classes, many = [name.format(i) for i in range(100)], np.arange(100)
    wrong = mistakes(many, np.roll(many, 1))
    for figure in (figures.show_images(wrong.image[:10], classes[:10]),
                   pictures.plot_misclassified(wrong, classes, RECORD, shown=10),
                   pictures.plot_confusions([wrong], classes, RECORD)):
        figure.draw_without_rendering()
        room = figure.bbox.padded(0.1 * figure.dpi)  # a tenth of an inch, which is saved as well
        for ax in (axes := figure.axes):
            labels = [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_yticklabels()]
            boxes = [label.get_window_extent() for label in labels if label.get_text()]
            assert all(room.containsx(x) and room.containsy(y)
                       for box in boxes for x, y in (box.min, box.max))
        titles = [ax.title.get_window_extent() for ax in axes if ax.get_title()]
        for one, other in itertools.combinations(titles, 2):
            assert not one.overlaps(other)
    shown = axes[0].get_yticklabels()  # of the confusions
    assert len({*texts(shown)}) == len(shown) == 12
    for one, other in itertools.pairwise(label.get_window_extent() for label in shown):
        assert not one.overlaps(other)


def test_the_most_confident_mistakes_are_shown_and_none_is_said_to_be_certain():
    figure = pictures.plot_misclassified(mistakes([], []), DIGITS, RECORD)
    assert figure.get_suptitle() == "BN: no mistakes"
    figure = pictures.plot_misclassified(mistakes([3] * 7, [8] * 7), DIGITS, RECORD, shown=2)
    assert figure.get_suptitle() == "BN: 2 of its 7 mistakes"
    said = {0.9: "90%", 0.994: "99%", 0.9951: "99.51%", 0.99994: "99.99%", 0.99996: "> 99.99%"}
    assert {share: pictures.percent(np.float32(share)) for share in said} == said
    assert figure.axes[0].get_title() == "true: 3"
    assert figure.axes[0].get_xlabel() == "said: 8 (90%)"


# ------------------------------------------------------------------------- charts of tables
@pytest.fixture
def table():
    points = itertools.product(("batch", "group", "none"), (0.1, 1.0, 10.0), range(5))
    table = pd.DataFrame(points, columns=["norm", "lr", "seed"]).assign(status="finished")
    table["test_accuracy"] = 0.9 + 0.01 * table["seed"] + 0.02 * (table["norm"] == "group")
    failed = (table["norm"] == "none") & (table["lr"] + table["seed"] > 3.5)
    table.loc[failed, ["status", "test_accuracy"]] = ["diverged", np.nan]
    table.attrs = {"data": {"name": "mnist"}, "common": {"train_size": 2000, "epochs": 5},
                   "runs": 45, "missing": 3}
    return table


def line_of(ax, norm):
    return next(line for line in ax.lines if line.get_color() == LOOKS[norm].colour)


def bars_of(ax):
    """The lower and upper ends of all intervals that are drawn."""
    return np.transpose([bar[:, 1] for bars in ax.findobj(LineCollection)
                         for bar in bars.get_segments() if len(bar)])


def heights_of_dots(ax):
    heights = np.concatenate([dots.get_offsets()[:, 1] for dots in ax.findobj(PathCollection)])
    return sorted(heights[np.isfinite(heights)])


def test_an_effect_has_a_line_a_norm_its_runs_as_dots_and_failures_as_crosses(table):
    figure = charts.plot_effect(table, "test_accuracy", "lr")
    [ax] = figure.axes
    styles = {line.get_color() for line in ax.lines if len(line.get_xdata()) == 3}
    assert styles == {LOOKS[norm].colour for norm in ("batch", "group", "none")}
    assert line_of(ax, "group").get_ydata() == pytest.approx([94, 94, 94])
    assert np.isnan(line_of(ax, "none").get_ydata()[-1])
    assert ax.get_xscale() == "log"
    assert {*texts(ax.texts)} == {"BN", "GN", "no norm", "1", "2", "diverged:"}
    crosses = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "x"]
    assert sorted(crosses) == [0.1, 1.0, 10.0]
    assert heights_of_dots(ax) == pytest.approx(sorted(100 * table["test_accuracy"].dropna()))
    charts.add_note(figure, table)
    assert small_print(figure).startswith("mnist, 2,000 training images, 5 epochs; 5 seeds, a dot")
    assert "INCOMPLETE: 3 of 45 runs are missing" in small_print(figure)
    words = table.assign(word=table["lr"].map({0.1: "z", 1.0: "a", 10: "k"}))  # not sorted
    [ax] = charts.plot_effect(words, "test_accuracy", "word").axes
    assert texts(ax.get_xticklabels()) == ["z", "a", "k"]
    lines = charts.plot_effect(table, "test_accuracy", "lr", "seed").axes[0].lines  # no norms
    assert len({line.get_color() for line in lines}) == 5
    wide = table.assign(test_accuracy=np.where(table["seed"] > 2, 0.99, 0.1))
    figure = charts.plot_effect(wide, "test_accuracy", "lr")  # intervals beyond none and all
    assert line_of(figure.axes[0], "group").get_ydata() == pytest.approx([10, 10, 10])
    assert np.ptp(bars_of(figure.axes[0]), axis=0) == pytest.approx(0)  # of runs that are alike
    assert "the median of runs too far apart" in figure.get_label()


def test_on_a_logarithmic_axis_means_are_geometric_wild_runs_have_a_median_and_zero_no_place(table):
    sizes = np.where(table["seed"] > 2, 0.4, 1.0) * np.where(table["lr"] > 0.1, 1, 0.1)
    wild = (table["lr"] == 1) & (table["seed"] == 0)
    table = table.assign(size=np.where(table["lr"] > 1, 0.0, np.where(wild, 0.1, sizes)))
    table = table[table["norm"] == "group"]
    figure = charts.plot_effect(table, "size", "lr", log="xy")
    [ax] = figure.axes
    mean, (low, high) = line_of(ax, "group").get_ydata(), bars_of(ax)
    assert mean[:2] == pytest.approx([0.1 * 0.4**0.4, 0.4])
    assert np.isnan(mean[2])  # zero is not drawn, and the figure no kilometre high
    assert max(figure.get_tightbbox().size) < 20  # inches
    assert mean[0] / low == pytest.approx(high / mean[0])
    assert len(low) == 1
    assert 0 < ax.get_ylim()[0] <= min(low)
    table.attrs["missing"] = 0
    charts.add_note(figure, table)
    assert "of the geometric mean; without a bar, the median" in small_print(figure)
    assert "INCOMPLETE" not in small_print(figure)
    charts.draw_power(figure, -0.5, (0.1, 2.0), 10.0, "predicted")  # a straight line here
    assert ax.lines[-1].get_ydata()[[0, -1]] == pytest.approx([2.0, 0.2])
    assert ax.texts[-1].get_text() == "predicted"


def test_runs_under_a_bound_are_counted_below_them_and_lines_of_one_norm_differ(table):
    table["way"] = table["norm"].where((table["norm"] != "group") | (table["lr"] != 1), "other")
    table = table.assign(norm=table["norm"].replace("group", "batch"), error=1 - table.pop(
        "test_accuracy"))
    figure = charts.plot_runs(table, "error", "lr", "way", 0.0875, "over 91.25 % right")
    above, below = figure.axes
    cells = {text.get_position(): text.get_text() for text in below.texts}
    assert texts(below.get_yticklabels()) == ["BN", "GN", "other", "no norm"]
    assert {cells[k, 0] for k in range(3)} == {"3"}
    assert [cells[place] for place in ((0, 1), (2, 1), (1, 2), (1, 3), (2, 3))] == list("5551×")
    assert cells[1.17, 3] == "2×"
    assert line_of(above, "none").get_ydata()[:2] == pytest.approx([0.085, 0.09])
    assert heights_of_dots(above) == pytest.approx(sorted(table["error"].dropna()))
    looks = charts.looks_of(table, "way")
    assert len({(look.colour, look.line) for look in looks.values()}) == 4
    words = table.assign(lr=table["lr"].map({0.1: "z", 1.0: "a", 10: "k"}))
    below = charts.plot_runs(words, "error", "lr", "way", 0.08, "").axes[1]
    assert texts(below.get_xticklabels()) == ["z", "a", "k"]


def test_each_difference_has_a_row_with_its_interval_and_says_if_it_is_decided():
    found = effects.differences([("batch", 2, "L1", "none", 0.02, 0.01, 0.03, 0.01),
                                 ("batch", 2, "L2", "none", 0.01, -0.01, 0.03, 0.5),
                                 ("rms", 4, "L1", "none", 0.01, -np.inf, np.inf, 1)], ["norm", "n"])
    [ax] = charts.plot_differences(found, margin=0.005).axes
    assert texts(ax.get_yticklabels()) == ["batch, n 2:  L1 minus no norm", "L2 minus no norm",
                                           "rms, n 4:  L1 minus no norm"]
    points = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == [2, 1, 1]
    assert [line.get_markerfacecolor() for line in points] == [
        LOOKS["batch"].colour, "white", "white"]
    bars = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 2.5]
    assert np.concatenate(bars).tolist() == pytest.approx([1, 3, -1, 3])
    assert texts(ax.texts) == ["within ± 0.5"]
    [ax] = charts.plot_differences(found[found["of"] == "L1"], names={"none": "nothing"}).axes
    assert texts(ax.get_yticklabels()) == ["batch, n 2", "rms, n 4"]
    assert ax.get_xlabel() == "L1 minus nothing (percentage points)"


def test_a_path_joins_the_means_in_the_order_of_a_factor_and_shows_each_run(table):
    table = table.assign(near_zeros=table["lr"] / 20, pruned_accuracy=table["test_accuracy"])
    [ax] = charts.plot_path(table, "near_zeros", "pruned_accuracy", "lr", "norm").axes
    assert line_of(ax, "group").get_xdata() == pytest.approx([0.5, 5, 50])
    assert line_of(ax, "group").get_ydata() == pytest.approx([94, 94, 94])
    assert heights_of_dots(ax) == pytest.approx(sorted(100 * table["test_accuracy"].dropna()))
    level = table.assign(pruned_accuracy=0.97, near_zeros=0.8)
    [ax] = charts.plot_path(level, "near_zeros", "pruned_accuracy", "lr", "norm").axes
    names = [line.get_ydata() for line in ax.lines if line.get_transform() == ax.transAxes]
    assert 0 <= np.min(names) <= np.max(names) <= 1.01  # beyond, a figure has a billion pixels


def test_ways_are_named_by_what_they_have():
    table = pd.DataFrame({"l1": [0, 1, 0, 1, 0], "dropout": [0, 0, 0.1, 0.1, 0], "norm": "batch",
                          "augment": ["none", "none", "shift", "none", "none"],
                          "train_size": [5, 5, 9, 5, 5], "epochs": [9, 9, 2, 9, 5]})
    assert charts.with_ways(table)["way"].to_list() == [
        "nothing", "L1", "dropout + augmentation", "L1 + dropout", "early stopping"]
