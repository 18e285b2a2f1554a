"""What is refused: files of studies, tables and parts of rows, command lines of a study."""

import functools
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
KIND, ABOUT, COMMON, SEEDS = "kind: notebook", "about: x", "epochs: 2", "seeds: [1, 2]"
GN, TWO = "gn: {notebook: 02_group_norm_l1}", NOTEBOOK[NOTEBOOK.index("  gn"):]
GRID, MEASURE = "{norm: [batch, group]}", "[sparsity]"
BN = "{notebook: 01_batch_norm_l1_l2"

BOTH = [  # what stands in a file of either kind, what is put there, words of the message
    (KIND, "kind: no_such_kind", "kind='no_such_kind'", "notebook, rows"),
    (ABOUT, "x: [", "line", "Mend studies/mine.yaml"), (ABOUT, "\tabout: x", "line 2"),
    (ABOUT, "about: !!python/object/apply:os.getcwd []", "cannot be read"),
    (ABOUT, "about: !!timestamp x", "cannot be read"), (ABOUT, "about: x\n---\nabout: y", "line 3"),
    (ABOUT, "about: \0", "cannot be read"), (ABOUT, "about: ''", "about", "a sentence"),
    (ABOUT, "about: 5", "about", "5", "a sentence"), (ABOUT, "abuot: x", "Did you mean 'about'"),
    (ABOUT, "5: {}", "5"), (ABOUT, "[" * 5000, "cannot be read"),
    (SEEDS, f"{SEEDS}\n{SEEDS}", "seeds is given twice", "line"),
    (COMMON, f"{COMMON}, {COMMON}", "epochs is given twice"), (SEEDS, "", "needs seeds"),
    *[(SEEDS, f"seeds: {bad}", "seeds", *said) for bad, *said in [
        ("[]", "[1, 2, 3]"), ("3", "3", "[1, 2, 3]"), ("[0.5]", "0.5", "whole numbers"),
        ("['1']", "'1'"), ("[true]", "True"), ("[1, 2, 1]", "1", "twice")]],
    (SEEDS, "seeds: [1, -1]", "seed-1", "seed=-1", "out of range"),
    (SEEDS, "seeds: [10000000000]", "seed=10000000000"),
    (SEEDS, f"seeds: {[*range(10001)]}", "runs. Choose 10,000"),
    *[(COMMON, f"epochs: {bad}", *said) for bad, *said in [
        ("2, no_such: 1", "parameter='no_such'"), ("2, epoch: 3", "Did you mean 'epochs'"),
        ("2, seed: 3", "'seed'"), ("2, run_name: x", "'run_name'"), ("null", "epochs=None"),
        ("2, lr: [0.1, 0.2]", "lr=[0.1, 0.2]", "a number"),
        ("2, lr: 1e-4", "lr is '1e-4'", "0.0001"),
        ("2, lr: fast", "lr='fast'"), (f"2, lr: {10**400}", "a number"),
        ("2, lr: '0.1'", "Write 0.1"),
        ("true", "epochs=True", "a whole number"), ("0", "epochs=0"), ("2.5", "epochs=2.5"),
        ("2, dropout: 2", "dropout=2"), ("2, skip: yes please", "skip='yes please'")]],
    ("common: {", "common: [{", "cannot be read"),
    *[(SEEDS, f"seeds: [1]\ngrid: {bad}", "grid", *said) for bad, *said in [
        ("[norm]", "lists of values"), ("{dropout: 0.1}", "dropout", "list"),
        ("{dropout: []}", "dropout", "list")]],
]
OF_NOTEBOOKS = [
    *[(NOTEBOOK, nothing, "no keys") for nothing in ("", "- 1\n- 2\n", "ten, please")],
    (KIND, "", "kind=None"), (ABOUT, "expected: y", "kind notebook='expected'", "recipes"),
    *[(SEEDS, f"seeds: [1]\ngrid: {bad}", *said) for bad, *said in [
        ("{dropout: [0.1, 0.1]}", "0.1 of dropout", "twice"), ("{notebook: [x]}", "notebook"),
        ("{dropout: [[0.1]]}", "dropout=[0.1]"), ("{epochs: [2, 3]}", "epochs", "common", "grid"),
        ("{norm: [bn, batch]}", "gn-norm_bn", "gn-norm_batch", "same recipe"),
        ("{augment: [rotate+shift]}", "augment_rotate+shift-seed1"),
        ("{lr: [0.1, 0.2]}", "lr", "0.1 in", "0.2 in", "factors: [lr]")]],
    (SEEDS, "seeds: [1]\nto_reach: {bn: 99.0}", "to_reach='bn'", "gn, ln"),
    (SEEDS, "seeds: [1]\nto_reach: {gn: much}", "gn", "much", "99.3"),
    (SEEDS, "seeds: [1]\nto_reach: {gn: 990}", "gn", "990", "percentage"),
    (TWO, "  - gn\nseeds: [1]\n", "recipes", "by name"),
    (TWO, "  {}\nseeds: [1]\n", "needs recipes"),
    (GN, "gn:", "gn", "None", "notebook"), (GN, "gn: 02_group_norm_l1", "gn", "notebook: "),
    (GN, "gn: {l1: 0.0}", "notebook=None"), (GN, "gn: {notebook: 04_summary}", "04_summary"),
    (GN, "gn: {notebook: 02_group_norm}", "Did you mean '02_group_norm_l1'"),
    *[(GN, f"{name}: {BN}}}", "run_name", name) for name in ("../gn", "g n", "grün", "x" * 101)],
    (GN, f"'': {BN}}}", "run_name='-seed1'"),
    (GN, f"{GN}\n  GN: {BN}}}", "gn-seed1", "GN-seed1"),
    (GN, "gn: {notebook: 03_layer_norm_l2}", "gn and ln", "same recipe"),
    (GN, "gn: {notebook: 03_layer_norm_l2, momentum: 0.9}", "gn and ln"),
    (GN, "gn: {notebook: 03_layer_norm_l2, device: cpu}", "gn and ln"),
    (GN, f"a: {BN}}}\n  b: {BN}, norm: BN}}", "a and b"),
    (GN, "gn: {notebook: 02_group_norm_l1, groups: 3}", "run gn-seed1", "groups=3"),
    (GN, "gn: {notebook: 02_group_norm_l1, lr: 0.3}", "differ in lr", "common"),
    (TWO, f"  gn: {BN}, dropout: 0.2}}\nseeds: [1]\ngrid: {{dropout: [0.1]}}", "dropout", "in gn"),
    (GN, "gn: {notebook: 02_group_norm_l1, device: mps}", "device"),
    *[(ABOUT, f"about: x\nthreads: {bad}", "threads", bad.title(), "1 to 1000")
      for bad in ("0", "true", "1001", "Two")],
    (COMMON, f"{COMMON}, norm: no_such_norm", "no_such_norm"),
    (COMMON, f"{COMMON}, augment: no_such", "augment='no_such'"),
    (ABOUT, "about: x\nfactors: lr", "factors", "'lr'", "[lr]"),
    (ABOUT, "about: x\nfactors: [momentum]", "momentum", "batch_size"),
    (ABOUT, "about: x\nfactors: [lr, lr]", "'lr' of factors", "twice"),
]
REPEATS = [  # a study that repeats the one above; "again" repeats it already
    ("repeats: mine\nseeds: [3, 2]", "seed 2", "mine", "fresh"), ("repeats: mine", "needs seeds"),
    ("repeats: mine\nseeds: [3]\ncommon: {lr: 0.2}", "common", "mine", "Remove"),
    ("repeats: mien\nseeds: [3]", "repeats='mien'", "Did you mean 'mine'"),
    ("repeats: again\nseeds: [4]", "again", "which repeats mine", "recipes of its own"),
    ("repeats: 5\nseeds: [3]", "repeats is 5", "another study"),
]
OF_ROWS = [
    *[(f"{line}\n", "", f"needs {line.split(':')[0]}") for line in ROWS.splitlines()[2:4]],
    ("analysis: none", "analysis: ''", "needs analysis", "which test"),
    (SEEDS, f"{SEEDS}\nminutes: ten", "minutes is 'ten'"), (f"grid: {GRID}\n", "", "needs grid"),
    ("analysis: none", "analysis: none\nrecipes: {}", "kind rows='recipes'", "grid"),
    *[(GRID, bad, *said) for bad, *said in [
        ("{}", "needs grid"), ("[norm]", "grid is ['norm']"), ("{norm: []}", "norm", "list"),
        ("{norm: batch}", "norm", "list"), ("{norm: [batch, batch]}", "'batch' of norm", "twice"),
        ("{norm: [no_such_norm]}", "no_such_norm"), ("{nrom: [batch]}", "Did you mean 'norm'"),
        ("{norm: [batch], two: [{norm: group}]}", "norm of grid", "two of grid"),
        ("{epochs: [1, 2]}", "epochs", "common", "grid"), ("{seed: [1, 2]}", "'seed'"),
        ("{device: [cpu]}", "'device'"), ("{norm: [batch, BN]}", "norm_batch and norm_BN", "same"),
        ("{holdout: [0, 100]}", "holdout is in grid", "under common")]],
    (MEASURE, "[no_such_measure]", "measure='no_such_measure'", "weight_norms"),
    (MEASURE, "sparsity", "measure is 'sparsity'"), (MEASURE, "[fit, fit]", "'fit'", "twice"),
    *[(COMMON, f"{COMMON}, {bad}", *said) for bad, *said in [
        ("label_noise: 1.0", "label_noise"), ("norm_batch: -2", "norm_batch"),
        ("l1_step: no_such_step", "l1_step='no_such_step'"),
        ("l1_step: proximal, optimizer: adamw", "l1_step=proximal"),
        ("l2_step: learning_rate", "momentum")]],
]


def plan(folder, name="mine", **files):
    """What make study does with these files before the first run."""
    for stem, text in files.items():
        (folder / f"{stem}.yaml").write_bytes(text.encode())
    with mock.patch.object(studies, "STUDIES", folder):
        runs = studies.read_study(name, str(folder / "runs"))
        studies.check_runs(name, runs)


def changed(text, old, new):
    assert old in text
    return lambda folder: plan(folder, mine=text.replace(old, new))


def of_kind(kind, text, table):
    return [Refused("study files", f"of {kind}, {new[:50]!r} for {old[-30:]!r}",
                    changed(text, old, new), tuple(words)) for old, new, *words in table]


# ------------------------------------------------------------------------- tables and parts
def whole(folder):
    """The study of rows above, as if it had been run: three rows in its table, one in a part."""
    (folder / "mine.yaml").write_text(ROWS, encoding="utf-8")
    study = tools.Rows.of("mine", str(folder))
    head = rows.table_head(study.study, study.recipes) | {"data": {"content": "0"}}
    made = [{"norm": recipe.norm, "seed": recipe.seed, "status": "finished", "epoch": 2,
             "seconds": 1.0, "threads": 1, "torch": "2", "code": "0e1"} for recipe in study.recipes]
    rows.write_table(study.table, head, made[:3])
    for line in (head, made[3]):
        rows.append(folder / ".part1of1.jsonl", line)
    return study


def spoilt(name, change):
    def call(folder):
        with mock.patch.object(studies, "STUDIES", folder):
            study = whole(folder)
            text = change((folder / name).read_text(encoding="utf-8"))
            assert text != (folder / name).read_text(encoding="utf-8")
            (folder / name).write_text(text, encoding="utf-8")
            try:
                tools.Rows.of("mine", str(folder)).join()
            finally:
                assert (folder / name).read_text(encoding="utf-8") == text, "it was changed"
                assert study.table.exists()
    return call


GROUP = "tables of studies"
TABLE, PART, FILE = "mine.csv", ".part1of1.jsonl", "mine.yaml"
SPOILT = [  # which file, what became of it, words of the message
    (TABLE, lambda text: text[:40], TABLE), (TABLE, lambda text: "", TABLE, "make study"),
    (TABLE, lambda text: text.split("\n", 1)[1], TABLE),
    (TABLE, lambda text: "<html>\n</html>\n", TABLE),
    (TABLE, lambda text: text.replace("norm,seed", "nrom,seed"), "lacks norm"),
    (TABLE, lambda text: "# []\n" + text.split("\n", 1)[1], TABLE),
    (TABLE, lambda text: text.replace("batch,1", "batch,one"), TABLE),
    *[(name, lambda text: text.replace('"epochs": 2', '"epochs": 9'), name, "common", "'epochs': 9")
      for name in (TABLE, PART)],
    (PART, lambda text: text.replace('"content": "0', '"content": "f'), "data", "'content': 'f"),
    (PART, lambda text: text.replace("{", "[", 1), PART, "Remove it"),
    (PART, lambda text: text.replace('"seed": 2', '"seed" 2'), PART, "Remove it"),
    (FILE, lambda text: text.replace(COMMON, "epochs: 3"), "another common", "'epochs': 3"),
    (FILE, lambda text: text.replace("[sparsity]", "[fit]"), "another measure", "fit"),
    (FILE, lambda text: text.replace("{norm:", "{lr: [0.1], norm:"), "another factors", "lr"),
]


def twice(folder, name=".lock"):
    """Somebody runs the study already, or one of its parts goes on."""
    with mock.patch.object(studies, "STUDIES", folder):
        whole(folder)
        lock = tools.hold("mine", folder, name)
        assert lock.is_locked
        tools.begin("mine", str(folder))


CASES = [
    *of_kind("notebooks", NOTEBOOK, BOTH + OF_NOTEBOOKS),
    *of_kind("rows", ROWS, [("kind: rows" if old == KIND else old, *rest) for old, *rest in BOTH
                            if "grid" not in rest[0]] + OF_ROWS),
    *[Refused("study files", f"{text!r} in one that repeats another", functools.partial(
        plan, name="third", third=f"kind: notebook\nabout: x\n{text}", mine=NOTEBOOK,
        again="kind: notebook\nabout: x\nrepeats: mine\nseeds: [3]"), ("third", *words))
      for text, *words in REPEATS],
    *[Refused("study files", f"the study {name!r}", functools.partial(plan, name=name, **{
        "mine": NOTEBOOK, "my study": NOTEBOOK}), (f"study={name!r}", "mine"))
      for name in ("mein", "../mine", "my study", "")],
    Refused("study files", "bytes that are no text", lambda folder: (
        (folder / "mine.yaml").write_bytes(b"kind: rows\nabout: \xff\n"), plan(folder)), ("mine",)),
    *[Refused(GROUP, f"{name}, spoilt in way {way}", spoilt(name, change), words)
      for way, (name, change, *words) in enumerate(SPOILT)],
    Refused(GROUP, "one of no study", lambda folder: rows.load_table("no_such_study"),
            ("no_such_study", "There are: batch", "make study STUDY=no_such_study")),
    Refused(GROUP, "kept records of no study", lambda folder: rows.load_records("no_such_study"),
            ("study='no_such_study'", "make report")),
    *[Refused(GROUP, f"of a study that another process runs: {name}", functools.partial(
        twice, name=name), ("study mine", "another process", "RUNS=folder"))
      for name in (".lock", f"{PART}.lock")],
    *[Refused("command lines", f"study.py {line}", tool("study", line), words)
      for line, words in [
        ("rats", ("study='rats'", "Did you mean 'rates'")), ("rates --jobs", ("--jobs",)),
        ("trial --job no_such_job", ("job='no_such_job'", "gn-seed1")),
        ("trial_lab --folder README.md --job 1of1", ("README.md", "cannot write"))]],
]
