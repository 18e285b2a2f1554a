"""Pictures of shared means and of weights: every colour and every number in its place."""

import numpy as np
import pytest
from helpers import make_record

import model
from coursepack.runs.mistakes import Misclassified
from coursepack.show import pictures
from coursepack.show.looks import LOOKS

pytestmark = pytest.mark.usefixtures("figures_closed")
DIGITS, RECORD = "0123456789", make_record("batch", 1, 0.9)


@pytest.mark.parametrize("shape", [(4, 2, 2, 2), (2, 4, 1, 3), (5, 6, 1, 1), (1, 1, 1, 1)])
def test_elements_have_one_colour_exactly_where_they_share_a_mean(shape):
    groups = 2 if shape[1] % 2 == 0 else 1
    index = {norm: model.mean_index(shape, norm, groups)
             for norm in ("batch", "layer", "group", "instance")}
    figure = pictures.plot_means(np.arange(np.prod(shape)).reshape(shape), index)
    for (norm, means), ax in zip(index.items(), figure.axes):
        means = means.numpy().ravel()
        colours = [patch.get_facecolor() for patch in ax.patches]
        assert len(colours) == means.size
        assert len(set(zip(colours, means.tolist()))) == len(set(colours)) == means.max() + 1
        assert ax.get_title(loc="left") == f"{norm} norm: {means.max() + 1} means"
        names = [label.get_text() for label in (*ax.get_xticklabels(), *ax.get_yticklabels())]
        assert names == [*(f"image {i}" for i in range(shape[0])),
                         *(f"channel {i}" for i in range(shape[1]))]
        x, y = np.transpose([text.get_position() for text in ax.texts]).reshape(2, *shape)
        assert (np.diff(x, axis=0) > 0).all()  # images to the right
        assert (np.diff(y, axis=1) < 0).all()  # channels below each other
        numbers = [int(text.get_text()) for text in ax.texts]
        assert numbers == list(range(means.size))


def test_of_a_large_batch_the_first_corner_is_shown_and_said():
    x = np.zeros((32, 16, 5, 4))
    figure = pictures.plot_means(x, {"batch": model.mean_index(x.shape, "batch")})
    assert len(figure.axes[0].patches) == np.prod(pictures.SHOWN)
    assert figure.axes[0].get_title(loc="left") == "batch norm: 16 means"
    assert "of 32 x 16 x 5 x 4" in figure.texts[0].get_text()


def test_weights_of_all_layers_are_inside_the_axes_and_networks_differ():
    rng = np.random.default_rng(0)
    layers = [rng.standard_t(2, size) for size in (20, 700, 3)]
    networks = {"before": layers, "with": [3 * w for w in layers], "free": [9 * w for w in layers]}
    figure = pictures.plot_weights(networks, ["one", "two", "three"])
    [ax] = figure.axes
    least, most = 9 * min(w.min() for w in layers), 9 * max(w.max() for w in layers)
    assert ax.get_xlim()[0] < least < most < ax.get_xlim()[1]
    ends = np.concatenate([np.concatenate(bars.get_segments()) for bars in ax.collections])
    assert ends[:, 0].max() == most
    medians = [line.get_xdata().tolist() for line in ax.lines]
    assert medians[1] == pytest.approx([3 * np.median(w) for w in layers])
    assert len({line.get_color() for line in ax.lines}) == 3
    assert not {line.get_color() for line in ax.lines} & {look.colour for look in LOOKS.values()}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(networks)


def test_reliability_adds_up_the_runs_of_a_recipe():
    runs = [make_record(norm, seed, 0.9) | {"calibration": [
        dict(zip(("above", "images", "confidence", "accuracy"), row)) for row in rows]}
        for norm, seed, rows in (
            ("batch", 1, [(0.5, 10, 0.5, 0.4), (0.9, 90, 0.95, 1.0)]),
            ("batch", 2, [(0.5, 30, 0.55, 0.8)]), ("layer", 1, [(0.9, 100, 0.99, 0.9)]))]
    above, below = pictures.plot_reliability(runs).axes
    diagonal, batch, layer = above.lines
    assert batch.get_xdata() == pytest.approx([(10 * 0.5 + 30 * 0.55) / 40, 0.95])
    assert batch.get_ydata() == pytest.approx([(4 + 24) / 40, 1.0])
    assert layer.get_color() == LOOKS["layer"].colour
    assert [line.get_ydata().tolist() for line in below.lines] == [[40, 90], [100]]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())


def mistakes(label, prediction):
    """Mistakes of some classes, with blank images."""
    count = len(label)
    return Misclassified(np.arange(count), np.zeros((count, 1, 28, 28), np.uint8),
                         np.array(label, int), np.array(prediction, int),
                         np.full(count, 0.9), np.full(count, 0.1))


def test_a_run_without_mistakes_is_drawn():
    figure = pictures.plot_misclassified(mistakes([], []), DIGITS, RECORD)
    assert figure.get_suptitle() == "BN: no mistakes"
    figure = pictures.plot_confusions([mistakes([], [])], DIGITS, RECORD)
    assert figure.axes[0].get_title(loc="left") == "0 mistakes of one run"
    figure.canvas.draw()


def test_mixed_up_classes_are_counted_and_of_many_the_most_frequent_are_shown():
    for classes in (DIGITS, [str(i) for i in range(100)]):
        figure = pictures.plot_confusions([mistakes([3, 3, 5], [8, 8, 3])] * 3, classes, RECORD)
        [ax] = figure.axes
        title = ax.get_title(loc="left").replace("\n", " ")
        assert title.startswith("9 mistakes of 3 runs, on 3 images")
        assert ("between the 12 of 100 classes" in title) == (len(classes) > 12)
        assert {text.get_text(): text.get_position() for text in ax.texts} == {
            "6": (8.5, 3.5), "3": (3.5, 5.5)}  # said, true
        assert "once for each run" in figure.texts[-1].get_text()
    often = mistakes([40] * 9 + [*range(99)], [70] * 9 + [*range(1, 100)])
    [ax] = pictures.plot_confusions([often], classes, RECORD).axes
    shown = [text.get_text() for text in ax.get_xticklabels()]
    assert len(shown) == 12
    assert {"40", "70"} <= {*shown}


def test_no_mistake_is_said_to_be_certain():
    said = {0.74: "74%", 0.994: "99%", 0.9951: "99.51%", 0.9998: "99.98%", 0.99994: "99.99%",
            0.99996: "> 99.99%", 1.0: "> 99.99%"}
    sure = mistakes([3] * len(said), [8] * len(said))._replace(
        probability=np.array([*said], np.float32))
    figure = pictures.plot_misclassified(sure, DIGITS, RECORD)
    assert [ax.get_xlabel() for ax in figure.axes[:len(said)]] == [
        f"said: 8 ({share})" for share in said.values()]
