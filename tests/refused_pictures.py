"""What pictures are not drawn of."""

from helpers import make_record
from refused import Refused

from coursepack.show import figures, pictures


def graph(keys, **changes):
    """A call that draws a graph of a run whose first epoch is changed."""
    def call(folder):
        record = make_record("batch", 1, 0.9)
        record["epochs"][0] |= changes
        figures.plot_graph([record], keys)
    return call


CASES = [Refused("pictures", what, call, words) for what, call, words in [
    ("a loss below zero", graph(["loss"], loss=-0.3),
     ("loss=-0.3", "batch-seed1", "epoch 1", "from 0 to inf", "GRAPHS")),
    ("a loss that is no number", graph(["loss"], loss=float("nan")), ("loss=nan", "epoch 1")),
    ("an accuracy above one", graph(["accuracy"], accuracy=1.2),
     ("accuracy=1.2", "from 0 to 1", "GRAPHS")),
    ("a graph that there is not", graph(["loss", "no_such_value"]),
     ("key='no_such_value'", "test_loss")),
    ("a graph of values that have different axes", graph(["loss", "accuracy"]),
     ("loss", "accuracy", "a graph for each")),
    ("the weights of networks of different layers",
     lambda folder: pictures.plot_weights({"free": [[1, 2]]}, ["one", "two"]),
     ("'free' has 1 layers", "2 names")),
]]
