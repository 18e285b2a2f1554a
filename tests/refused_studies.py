"""What is refused: files of studies, tables and parts of rows; command lines of all tools."""

from functools import partial
from unittest import mock

import refused
import study as tools
from refused import ALONE, calling, tool

from coursepack import files
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
control: none
common: {epochs: 2, arch: mnist_8k, dataset: mnist_sample, train_size: 200, augment: none}
grid: {norm: [batch, group]}
seeds: [1, 2]
measure: [sparsity]
"""
GN, BN = "{notebook: 02_group_norm_l1", "{notebook: 01_batch_norm_l1_l2"
BOMB = "[&a0 [x, x], " + ", ".join(f"&a{n} [{f'*a{n - 1}, ' * 9}]" for n in range(1, 5)) + "]"
GRID = "seeds: [1]\ngrid: "

OF_NOTEBOOKS = {  # what stands in the file above: what is put there, words of the message
    NOTEBOOK: [("- 1\n- 2\n", "no keys")],
    "kind: notebook": [("kind: no_such_kind", "kind='no_such_kind'", "notebook, rows")],
    "about: x": [
        ("x: [", "line", "Mend studies/mine.yaml"), ("abuot: x", "Did you mean 'about'"),
        ("about: !!python/object/apply:os.getcwd []", "a tag"), ("about: 5", "a sentence"),
        ("about: x\nexpected: y", "kind notebook='expected'", "recipes"),
        ("about: ''", "about", "a sentence"), ("threads: 0", "0", "1 to 1000"),
        ("threads: 1001", "1001"), ("about: x\nfactors: [momentum]", "momentum", "batch_s")],
    "epochs: 2": [
        ("no_such: 1", "parameter='no_such'"), ("seed: 3", "'seed'"), ("epochs: 0", "epochs=0"),
        ("lr: 010", "lr is '010'", "10.0"), ("lr: [0.1]", "lr=[0.1]", "a number"),
        ("lr: 1:30", "lr='1:30'"), ("lr: !!int 010", "a tag"), ("skip: yes", "skip='yes'"),
        ("lr: 0.1, lr: 0.2", "lr is given twice")],
    "seeds: [1, 2]": [
        ("seeds: [1]\nseeds: [1]", "seeds is given twice", "line"), ("", "needs seeds"),
        ("seeds: 3", "seeds is 3", "[1, 2, 3]"), ("seeds: [010]", "'010'", "whole numbers"),
        ("seeds: [1, 2, 1]", "1 of seeds", "twice"), (f"{GRID}{{l2: 0.1}}", "l2 of grid", "list"),
        (f"{GRID}{{dropout: []}}", "list"), (f"{GRID}{{l1: [0.1, 0.1]}}", "0.1 of l1", "twice"),
        (f"{GRID}{{epochs: [2, 3]}}", "epochs", "common", "grid"),
        (f"{GRID}{{norm: [bn, batch]}}", "gn-norm_bn", "gn-norm_batch", "same recipe"),
        (f"{GRID}{{lr: [0.1, 0.2]}}", "lr", "0.1 in", "0.2 in", "factors: [lr]"),
        (f"{GRID}{{lr: {[*range(100)]}, l1: {[*range(100)]}}}", "20,000 runs. Choose 10,000"),
        ("seeds: [1]\nto_reach: {bn: 99.0}", "to_reach='bn'", "gn, ln"),
        ("seeds: [1]\nto_reach: {gn: much}", "gn", "much", "99.3"),
        ("seeds: [1]\nto_reach: {gn: 990}", "percentage")],
    f"gn: {GN}}}": [
        ("gn:", "gn of recipes is None", "notebook"),
        ("gn: {notebook: 02_group_norm}", "Did you mean '02_group_norm_l1'"),
        (f"g n: {BN}}}", "run_name", "g n"), (f"gn: {GN}}}\n  GN: {BN}}}", "gn-seed1", "GN-seed1"),
        ("gn: {notebook: 03_layer_norm_l2, momentum: 0.9}", "gn and ln", "same recipe")],
}
OF_ROWS = {
    "expected: nothing\n": [("", "needs expected"), ("recipes: {}\n", "rows='recipes'", "grid")],
    "control: none\n": [("", "needs control", "the run, made in the same way")],
    "{norm: [batch, group]}": [
        ("{}", "needs grid"), ("{norm: [no_such_norm]}", "no_such_norm"),
        ("{norm: [batch], two: [{norm: group}]}", "norm of grid", "two of grid"),
        ("{seed: [1, 2]}", "'seed'"), ("{device: [cpu]}", "'device'"),
        ("{norm: [batch, BN]}", "norm_batch and norm_BN", "same"),
        ("{holdout: [0, 100]}", "holdout is in grid", "under common")],
    "[sparsity]": [("[no_such_measure]", "measure='no_such_measure'", "weight_norms")],
}
REPEATS = [  # a study that repeats the one above; "again" repeats it already
    ("repeats: mine\nseeds: [3, 2]", "seed 2", "mine", "fresh"), ("repeats: mine", "needs seeds"),
    ("repeats: mine\nseeds: [3]\ncommon: {lr: 0.2}", "common", "mine", "Remove"),
    ("repeats: mien\nseeds: [3]", "repeats='mien'", "Did you mean 'mine'"),
    ("repeats: again\nseeds: [4]", "again", "no recipes of its own"),
]


def plan(folder, name="mine", **files):
    """What make study does with these files before the first run."""
    for stem, text in files.items():
        (folder / f"{stem}.yaml").write_text(text, encoding="utf-8")
    with mock.patch.object(studies, "STUDIES", folder):
        runs = studies.read_study(name, str(folder / "runs"))
        studies.check_runs(name, runs)


def of_kind(text, table):
    for old, values in table.items():
        assert old in text
        for new, *words in values:
            yield (f"{text.split()[1]}: {new[:60]!r} for {old[-30:]!r}",
                   partial(plan, mine=text.replace(old, new, 1)), *words)


def join(name, old, new, folder, held=".lock"):
    """Join the rows of the study above, two in its table and two in a part, after one is changed.

    held: what another process has locked.
    """
    with mock.patch.object(studies, "STUDIES", folder):
        (folder / FILE).write_text(ROWS, encoding="utf-8")
        study = tools.Rows("mine", str(folder))
        head = study.head | {"data": {"content": "0"}}
        made = [{"norm": recipe.norm, "seed": recipe.seed, "status": "finished", "epoch": 2}
                for recipe in study.recipes]
        for file, some in ((study.table, made[:2]), (folder / PART, made[2:])):
            rows.write_table(file, head, some)
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        text = text.replace(old, new, 1).encode()
        (folder / name).write_bytes(text if name == FILE else files.seal(text)[1])
        before = {file: file.read_bytes() for file in (study.table, folder / PART)}
        with study.hold(held):
            try:
                tools.Rows("mine", str(folder)).end()
            finally:
                assert before == {file: file.read_bytes() for file in before}, "it was changed"


PART, FILE = ".part1of1.csv", "mine.yaml"
SPOILT = [  # a file, what in it is replaced by what, words of the message
    (PART, '"epochs": 2', '"epochs": 9', PART, "common", "'epochs': 9"),
    (PART, '"content": "0', '"content": "f', "data", "'content': 'f"),
    (FILE, "[sparsity]", "[fit]", "another measure", "fit"),
    (FILE, "{norm:", "{lr: [0.1], norm:", "another factors", "lr"),
]
LINES = {  # words after the name of a tool, and of the message
    "study": [
        ("rats", "study='rats'", "Did you mean 'rates'"),
        ("trial --job no_such_job", "job='no_such_job'", "gn-seed1"),
        ("trial_lab --folder README.md --job 1of1", "README.md", "cannot write"),
        ("trial_lab --folder studies/x --job 1of1", "own files"),
        ("trial --folder .", "runs_dir is", "own files")],
    "course": [
        ("-p run_name mine", "run_name='mine' would go to 3 notebooks"),
        ("-p runs_dir elsewhere", "Write --runs elsewhere."),
        ("--notebook 00 --runs notebooks", "--runs is", "where the course's own files lie"),
        ("--notebook 00 --runs README.md", "cannot write to --runs"),
        ("saved --runs elsewhere", "saved has parameters of its own")],
    "collect": [
        (str(studies.STUDIES), "holds no notebook"),
        (". --csv ada.ipynb", "--csv='ada.ipynb'", "*.csv", "Choose such as class.csv"),
        (". --page no_such/a.html", "--page='no_such/a.html'", "in a folder that is there")],
    "report": [("sed000", "Did you mean 'seed000'")],
    "bench": [("--out /dev/null", "cannot write to --out")],
}

CASES = refused.rows("study files", [
    *of_kind(NOTEBOOK, OF_NOTEBOOKS), *of_kind(ROWS, OF_ROWS),
    ("lists of lists of lists, by aliases", partial(plan, mine=f"about: {BOMB}\n"),
     "line 1", "an alias", "write out", ALONE),
    ("brackets 1,000 deep", partial(plan, mine="[" * 1000), "cannot be read", ALONE),
    *[(f"{text!r} in one that repeats another", partial(
        plan, name="third", third=f"kind: notebook\nabout: x\n{text}", mine=NOTEBOOK,
        again="kind: notebook\nabout: x\nrepeats: mine\nseeds: [3]"), "third", *words)
      for text, *words in REPEATS],
    *[(f"the study {name!r}", partial(plan, name=name, **{"mine": NOTEBOOK, "my study": NOTEBOOK}),
       f"study={name!r}", "mine") for name in ("../mine", "my study")],
]) + refused.rows("tables of studies", [
    *[(f"{file} with {new!r} for {old!r}", partial(join, file, old, new), *words)
      for file, old, new, *words in SPOILT],
    ("one of no study", calling(rows.load_table, "no_such"), "study='no_such'", "There are: batch"),
    ("no records of a study", calling(rows.load_records, "trial"), "study='trial'", "make report"),
    ("a part that another process adds to", partial(join, FILE, "x", "y", held=f"{PART}.lock"),
     "study mine", "another process", "RUNS=folder"),
]) + refused.rows("command lines", [
    (f"{name}.py {line}", tool(name, line), *words)
    for name, lines in LINES.items() for line, *words in lines])
