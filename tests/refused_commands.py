"""What is refused: command lines of tools/ and upkeep/."""

from unittest import mock

from refused import Refused, tool

LINES = [  # a tool, the words after its name, and words of the message
    ("course", "-p run_name mine", "run_name='mine' would go to 3 notebooks"),
    ("course", "--notebook 01 02 -p run_name mine", "would go to 2 notebooks"),
    ("course", "-p runs_dir elsewhere", "Write --runs elsewhere."),
    ("course", "--notebook 77", "invalid choice: '77'"),
    ("course", "--epochs many", "invalid int value: 'many'"),
    ("course", "-p lr", "expected 2 arguments"),
    ("course", "no_such_scale", "invalid choice: 'no_such_scale'"),
    ("course", "golden --epochs 3", "golden has parameters of its own"),
    ("course", "saved -p lr 0.1", "saved has parameters of its own"),
    ("course", "saved --runs elsewhere", "saved has parameters of its own"),
    ("collect", "{folder}", "holds no notebook"),
    ("collect", "", "the following arguments are required: folder"),
    ("report", "sed000", "Did you mean 'seed000'"),
    ("publish", "", "make publish REPO=owner/name REF=tag"),
    ("publish", "owner/name a..b", "make publish REPO=owner/name REF=tag"),
    ("bench", "--parts no_such_part", "no_such_part"),
    ("bench", "--images 11", "--images=11"),
    ("bench", "--seeds 0", "--seeds=0"),
    ("bench", "--out /dev/null", "cannot write to --out"),
    ("bench", "--dataset no_such_data", "no_such_data"),
]


def run_nothing(name, words):
    """Call a tool that has nothing to do: what it would start, it must not start."""
    def call(folder):
        with mock.patch("subprocess.run", side_effect=AssertionError("it started something")):
            tool(name, words.replace("{folder}", str(folder)))(folder)
    return call


CASES = [Refused("command lines", f"{name}.py {words}", run_nothing(name, words), (said,))
         for name, words, said in LINES]
