"""What is refused: command lines of tools/ and upkeep/; what pictures are not drawn of."""

from unittest import mock

from helpers import make_record
from refused import Refused, tool

from coursepack.show import figures, pictures

LINES = [  # a tool, the words after its name, and words of the message
    ("course", "-p run_name mine", "run_name='mine' would go to 3 notebooks"),
    ("course", "-p runs_dir elsewhere", "Write --runs elsewhere."),
    ("course", "--notebook 77", "invalid choice: '77'"), ("course", "-p lr", "expected 2 arg"),
    ("course", "--epochs many", "invalid int value: 'many'"),
    ("course", "golden --epochs 3", "golden has parameters of its own"),
    ("course", "saved --runs elsewhere", "saved has parameters of its own"),
    ("collect", "{folder}", "holds no notebook"), ("report", "sed000", "Did you mean 'seed000'"),
    ("publish", "", "make publish REPO=owner/name REF=tag"),
    ("publish", "owner/name a..b", "make publish REPO=owner/name REF=tag"),
    ("bench", "--parts no_such_part", "no_such_part"),
    ("bench", "--out /dev/null", "cannot write to --out"),
]


def run_nothing(name, words):
    """Call a tool that has nothing to do: what it would start, it must not start."""
    def call(folder):
        with mock.patch("subprocess.run", side_effect=AssertionError("it started something")):
            tool(name, words.replace("{folder}", str(folder)))(folder)
    return call


def graph(keys, **changes):
    """A call that draws a graph of a run whose first epoch is changed."""
    def call(folder):
        record = make_record("batch", 1, 0.9)
        record["epochs"][0] |= changes
        figures.plot_graph([record], keys)
    return call


CASES = [Refused("command lines", f"{name}.py {words}", run_nothing(name, words), (said,))
         for name, words, said in LINES] + [Refused("pictures", *row) for row in [
    ("a loss below zero", graph(["loss"], loss=-0.3),
     ("loss=-0.3", "batch-seed1", "epoch 1", "from 0 to inf", "GRAPHS")),
    ("a loss that is no number", graph(["loss"], loss=float("nan")), ("loss=nan", "epoch 1")),
    ("an accuracy above one", graph(["accuracy"], accuracy=1.2), ("accuracy=1.2", "0 to 1")),
    ("a graph that there is not", graph(["no_such_value"]), ("key='no_such_value'", "test_loss")),
    ("a graph of two axes", graph(["loss", "accuracy"]), ("loss", "accuracy", "for each")),
    ("the weights of networks of different layers",
     lambda folder: pictures.plot_weights({"free": [[1, 2]]}, ["one", "two"]),
     ("'free' has 1 layers", "2 names"))]]
