"""What is refused: files of studies, tables and parts of rows, command lines of a study."""

from functools import partial
from unittest import mock

import study as tools
from refused import Refused, tool

from coursepack.lab import rows, studies

NOTEBOOK = """\
kind: notebook
about: x
common: {epochs: 2, arch: mnist_8k, dataset: mnist}
recipes:
  gn: {notebook: 02_group_norm_l1}
  ln: {notebook: 03_layer_norm_l2}
seeds: [1, 2]
"""
ROWS = """\
kind: rows
about: x
expected: nothing
analysis: none
common: {epochs: 2, arch: mnist_8k, dataset: mnist_sample, train_size: 200, augment: none}
grid: {norm: [batch, group]}
seeds: [1, 2]
measure: [sparsity]
"""
ABOUT, COMMON, SEEDS = "about: x", "epochs: 2", "seeds: [1, 2]"
GN, TWO = "{notebook: 02_group_norm_l1", NOTEBOOK[NOTEBOOK.index("  gn"):NOTEBOOK.index("seeds")]
BN = "{notebook: 01_batch_norm_l1_l2"
BOMB = "[&a0 [x, x], " + ", ".join(f"&a{n} [{f'*a{n - 1}, ' * 9}]" for n in range(1, 10)) + "]"

BOTH = {  # what stands in a file of either kind: what is put there, words of the message
    "kind: ": [("kind: no_such_kind #", "kind='no_such_kind'", "notebook, rows")],
    ABOUT: [
        ("x: [", "line", "Mend studies/mine.yaml"), ("abuot: x", "Did you mean 'about'"),
        ("about: !!python/object/apply:os.getcwd []", "cannot be read"), ("about: 5", "a sentence"),
        ("about: ''", "about", "a sentence"), ("about: \0", "cannot be read")],
    SEEDS: [
        (f"{SEEDS}\n{SEEDS}", "seeds is given twice", "line"), ("", "needs seeds"),
        ("seeds: []", "[1, 2, 3]"), ("seeds: 3", "seeds is 3", "[1, 2, 3]"),
        ("seeds: [true]", "True", "whole numbers"), ("seeds: [1, 2, 1]", "1 of seeds", "twice"),
        ("seeds: [1, -1]", "seed-1", "seed=-1", "out of range")],
    COMMON: [(f"epochs: {bad}", *said) for bad, *said in [
        ("2, no_such: 1", "parameter='no_such'"), ("2, seed: 3", "'seed'"), ("0", "epochs=0"),
        ("2, run_name: x", "'run_name'"), ("null", "epochs=None", "whole number"),
        ("2, lr: 1e-4", "lr is '1e-4'", "0.0001"), ("2, lr: [0.1]", "lr=[0.1]", "a number")]],
}
OF_NOTEBOOKS = {
    NOTEBOOK: [(nothing, "no keys") for nothing in ("", "- 1\n- 2\n")],
    "kind: notebook": [("", "kind=None")],
    ABOUT: [(f"about: x\n{bad}", *said) for bad, *said in [
        ("expected: y", "kind notebook='expected'", "recipes"), ("threads: 0", "0", "1 to 1000"),
        ("threads: 1001", "1001"), ("factors: lr", "'lr'", "[lr]"),
        ("factors: [momentum]", "momentum", "batch_size")]],
    SEEDS: [(f"seeds: [1]\n{bad}", *said) for bad, *said in [
        ("grid: [norm]", "grid", "lists of values"), ("grid: {dropout: 0.1}", "dropout", "list"),
        ("grid: {dropout: []}", "list"), ("grid: {dropout: [0.1, 0.1]}", "0.1 of dropout", "twice"),
        ("grid: {notebook: [x]}", "notebook"), ("grid: {dropout: [[0.1]]}", "dropout=[0.1]"),
        ("grid: {epochs: [2, 3]}", "epochs", "common", "grid"),
        ("grid: {norm: [bn, batch]}", "gn-norm_bn", "gn-norm_batch", "same recipe"),
        ("grid: {augment: [rotate+shift]}", "augment_rotate+shift-seed1"),
        ("grid: {lr: [0.1, 0.2]}", "lr", "0.1 in", "0.2 in", "factors: [lr]"),
        (f"grid: {{lr: {[*range(100)]}, l1: {[*range(100)]}}}", "20,000 runs. Choose 10,000"),
        ("to_reach: {bn: 99.0}", "to_reach='bn'", "gn, ln"),
        ("to_reach: {gn: much}", "gn", "much", "99.3"), ("to_reach: {gn: 990}", "percentage")]],
    TWO: [("  - gn\n", "recipes", "by name"), ("  {}\n", "needs recipes")],
    f"gn: {GN}}}": [
        ("gn:", "gn of recipes is None", "notebook"), ("gn: {l1: 0.0}", "notebook=None"),
        ("gn: {notebook: 02_group_norm}", "Did you mean '02_group_norm_l1'"),
        (f"g n: {BN}}}", "run_name", "g n"), (f"gn: {GN}}}\n  GN: {BN}}}", "gn-seed1", "GN-seed1"),
        ("gn: {notebook: 03_layer_norm_l2, momentum: 0.9}", "gn and ln", "same recipe"),
        (f"a: {BN}}}\n  b: {BN}, norm: BN}}", "a and b"), (f"gn: {GN}, device: mps}}", "device"),
        (f"gn: {GN}, groups: 3}}", "run gn-seed1", "groups=3"),
        (f"gn: {GN}, lr: 0.3}}", "differ in lr", "common")],
}
REPEATS = [  # a study that repeats the one above; "again" repeats it already
    ("repeats: mine\nseeds: [3, 2]", "seed 2", "mine", "fresh"), ("repeats: mine", "needs seeds"),
    ("repeats: mine\nseeds: [3]\ncommon: {lr: 0.2}", "common", "mine", "Remove"),
    ("repeats: mien\nseeds: [3]", "repeats='mien'", "Did you mean 'mine'"),
    ("repeats: again\nseeds: [4]", "again", "no recipes of its own"),
]
OF_ROWS = {
    "expected: nothing\n": [("", "needs expected")], "analysis: none": [("analysis: ''", "needs")],
    SEEDS: [(f"{SEEDS}\nminutes: ten", "minutes is 'ten'"),
            (f"{SEEDS}\nrecipes: {{}}", "kind rows='recipes'", "grid")],
    "{norm: [batch, group]}": [
        ("{}", "needs grid"), ("{norm: [no_such_norm]}", "no_such_norm"),
        ("{norm: [batch], two: [{norm: group}]}", "norm of grid", "two of grid"),
        ("{seed: [1, 2]}", "'seed'"), ("{device: [cpu]}", "'device'"),
        ("{norm: [batch, BN]}", "norm_batch and norm_BN", "same"),
        ("{holdout: [0, 100]}", "holdout is in grid", "under common")],
    "[sparsity]": [("[no_such_measure]", "measure='no_such_measure'", "weight_norms")],
    COMMON: [(f"{COMMON}, l1_step: proximal, optimizer: adamw", "l1_step=proximal")],
}


def plan(folder, name="mine", **files):
    """What make study does with these files before the first run."""
    for stem, text in files.items():
        (folder / f"{stem}.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with mock.patch.object(studies, "STUDIES", folder):
        runs = studies.read_study(name, str(folder / "runs"))
        studies.check_runs(name, runs)


def of_kind(kind, text, *tables):
    rows = [(old, *row) for table in tables for old, some in table.items() for row in some]
    assert all(old in text for old, *_ in rows)
    return [(f"of {kind}, {new[:50]!r} for {old[-30:]!r}", partial(
        plan, mine=text.replace(old, new, 1)), words) for old, new, *words in rows]


# ------------------------------------------------------------------------- tables and parts
def whole(folder):
    """The study of rows above, as if it had been run: two rows in its table, two in a part."""
    (folder / "mine.yaml").write_text(ROWS, encoding="utf-8")
    study = tools.Rows("mine", str(folder))
    head = study.head | {"data": {"content": "0"}}
    made = [{"norm": recipe.norm, "seed": recipe.seed, "status": "finished", "epoch": 2,
             "seconds": 1.0, "threads": 1, "torch": "2", "code": "0e1"} for recipe in study.recipes]
    rows.write_table(study.table, head, made[:2])
    rows.write_table(folder / PART, head, made[2:])
    return study


def spoilt(name, old, new):
    """Join the rows after a file was changed; old "" is all that it holds."""
    def call(folder):
        with mock.patch.object(studies, "STUDIES", folder):
            study, file = whole(folder), folder / name
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace(old, new, 1) if old else new, encoding="utf-8")
            assert (spoilt := file.read_text(encoding="utf-8")) != text
            try:
                tools.Rows("mine", str(folder)).end()
            finally:
                assert file.read_text(encoding="utf-8") == spoilt, "it was changed"
                assert study.table.exists()
    return call


TABLE, PART, FILE = "mine.csv", ".part1of1.csv", "mine.yaml"
SPOILT = [  # a file, what in it is replaced by what, words of the message
    (TABLE, "", "", TABLE, "move it away", "make study"), (TABLE, "", "<html>\n</html>\n", TABLE),
    (TABLE, "", "# []\nnorm,seed\n", TABLE), (TABLE, "norm,seed", "nrom,seed", "lacks norm"),
    (TABLE, "batch,1", "batch,one", TABLE), (TABLE, '"epochs": 2', '"epochs": 9', TABLE, "common"),
    (PART, '"epochs": 2', '"epochs": 9', PART, "common", "'epochs': 9"),
    (PART, '"content": "0', '"content": "f', "data", "'content': 'f"),
    (FILE, COMMON, "epochs: 3", "another common", "'epochs': 3"),
    (FILE, "[sparsity]", "[fit]", "another measure", "fit"),
    (FILE, "{norm:", "{lr: [0.1], norm:", "another factors", "lr"),
]


def twice(folder, name):
    """Somebody runs the study already, or one of its parts goes on."""
    with mock.patch.object(studies, "STUDIES", folder):
        whole(folder)
        with tools.Rows("mine", str(folder)).hold(name):
            tools.Rows("mine", str(folder)).end()
            tools.Rows("mine", str(folder)).hold()


CASES = [Refused("study files", what, call, tuple(words), *alone) for what, call, words, *alone in [
    *of_kind("notebooks", NOTEBOOK, BOTH, OF_NOTEBOOKS), *of_kind("rows", ROWS, BOTH, OF_ROWS),
    ("lists of lists of lists, by aliases", partial(plan, mine=NOTEBOOK.replace(
        ABOUT, f"about: {BOMB}")), ("line 2", "write it out"), True),
    ("brackets 5,000 deep", partial(plan, mine="[" * 5000), ("cannot be read",), True),
    ("bytes that are no text", partial(plan, mine=b"kind: rows\nabout: \xff\n"), ("mine",)),
    *[(f"{text!r} in one that repeats another", partial(
        plan, name="third", third=f"kind: notebook\nabout: x\n{text}", mine=NOTEBOOK,
        again="kind: notebook\nabout: x\nrepeats: mine\nseeds: [3]"), ("third", *words))
      for text, *words in REPEATS],
    *[(f"the study {name!r}", partial(plan, name=name, **{"mine": NOTEBOOK, "my study": NOTEBOOK}),
       (f"study={name!r}", "mine")) for name in ("../mine", "my study")],
]] + [Refused("tables of studies", what, call, tuple(words)) for what, call, words in [
    *[(f"{file}, spoilt in way {way}", spoilt(file, *change), words)
      for way, (file, *change, words) in enumerate((*row[:3], row[3:]) for row in SPOILT)],
    ("one of no study", lambda folder: rows.load_table("no_such_study"),
     ("no_such_study", "There are: batch", "make study STUDY=no_such_study")),
    ("kept records of no study", lambda folder: rows.load_records("no_such_study"),
     ("study='no_such_study'", "make report")),
    *[(f"of a study that another process runs: {name}", partial(twice, name=name),
       ("study mine", "another process", "RUNS=folder")) for name in (".lock", f"{PART}.lock")],
]] + [Refused("command lines", f"study.py {line}", tool("study", line), tuple(words))
      for line, *words in [
        ("rats", "study='rats'", "Did you mean 'rates'"), ("rates --jobs", "--jobs"),
        ("trial --job no_such_job", "job='no_such_job'", "gn-seed1"),
        ("trial_lab --folder README.md --job 1of1", "README.md", "cannot write")]]
