"""Do the tests go red when the mathematics changes, and stay green when the machine does?

    regression.py          the table of all cases goes to results/regression.md
    regression.py WORD     the cases with this word in their name; nothing is written

Each case changes one thing in a copy of the course and runs TESTS there, until one is red.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from readme import markdown_table, write_page

from coursepack.files import ROOT

LOOP, UPDATES, MODEL = "coursepack/train/loop.py", "coursepack/train/updates.py", "model.py"
TRAINER = "site/playground/trainer.c"  # the same mathematics on the website
MUTANTS = {  # what is broken: file, what stands there once, what is put there
    "L1 dropped": (UPDATES, "_foreach_sign(parameters), pull)", "_foreach_sign(parameters), 0.0)"),
    "L1 a mean, not a sum": (UPDATES, "w.abs().sum()", "w.abs().mean()"),
    "L2 dropped": (UPDATES, "_foreach_mul(parameters, l2)", "_foreach_mul(parameters, 0.0)"),
    "penalty left out of the gradient": (UPDATES, "parameters], pulls)", "parameters], 0.0)"),
    "penalty on all parameters": (UPDATES, "in convolutions(model)]",
                                  'in model.modules() if hasattr(conv, "weight")]'),
    "layer norm in place of group norm": (MODEL, '"num_groups": g,', '"num_groups": 1,'),
    "twice the groups": (MODEL, '"num_groups": g,', '"num_groups": 2 * g,'),
    "eval() missing": (LOOP, "    model.eval()\n", ""),
    "learning rate 10 % higher": (LOOP, 'group["lr"] = rate', 'group["lr"] = 1.1 * rate'),
    "momentum changed": (UPDATES, "momentum=momentum,", "momentum=0.85,"),
    "Nesterov left out": (UPDATES, "nesterov=momentum > 0", "nesterov=False"),
    "seed changed": (LOOP, "(recipe.seed)\n    model", "(recipe.seed + 1)\n    model"),
    "test loss a sum over batches": (LOOP, "(log_probabilities.double()",  # of two
                                     "(2 * log_probabilities.double()"),
    "running statistics 10 % faster": (MODEL, 'features": c})', 'features": c, "momentum": 0.11})'),
    "epsilon twice as large": (MODEL, "(channels, size, groups))",
                               "(channels, size, groups), eps=2e-5)"),
    "L2 on the gains of the norms, too": (
        LOOP, "extra += take_step(", "updates.add_penalty([w for name, w in "
        'model.named_parameters() if name.endswith("norm.weight")], 0, recipe.l2)\n'
        "        extra += take_step("),
    "test images moved": (LOOP, "data, weight.dtype)", "data, weight.dtype, "
                          'batches.random_affine(len(images), "rotate+shift"))'),
    "columns of training and test swapped": (
        LOOP, 'row["test_accuracy"] = evaluate(model, data)', 'row["test_accuracy"], row["loss"], '
        'row["accuracy"] = row["loss"], row["accuracy"], *evaluate(model, data)'),
    "website: sign of a gradient": (TRAINER, "- (k == label)) / n", "+ (k == label)) / n"),
    "website: running variance biased": (TRAINER, "scale[c] * n * P / (n * P - 1)", "scale[c]"),
    "website: running mean 10 % faster": (TRAINER, "+= 0.1f * (mean[c]", "+= 0.11f * (mean[c]"),
}
MACHINES = {  # what is different: environment variables, or an edit as above
    "1 thread": {"OMP_NUM_THREADS": "1"},
    "2 threads": {"OMP_NUM_THREADS": "2"},
    "no vector instructions (ATEN_CPU_CAPABILITY=default)": {"ATEN_CPU_CAPABILITY": "default"},
    "oneDNN off": ("coursepack/threads.py", '"enabled", True)', '"enabled", False)'),
}
TESTS = (  # arguments of pytest: five steps of each recipe in float64, then what notebooks print
    ("tests/test_loop.py", "-k", "five_steps"), ("tests/golden", "--nbval", "-k", "Cell"))
IN_BROWSER = ("tests/test_playground.py", "-k", "equals"),  # in place of these, for TRAINER
LEFT_OUT = (".venv", ".git", "runs", "data", "build")  # of the course, in a copy


def try_out(change: dict | tuple) -> tuple[str, str]:
    """Run TESTS with one change, in a copy of the course. Red or green, and what failed first?"""
    with tempfile.TemporaryDirectory() as folder:
        copy, variables = Path(folder) / "course", change if isinstance(change, dict) else {}
        shutil.copytree(ROOT, copy, ignore=lambda place, _: LEFT_OUT if Path(place) == ROOT else ())
        if not variables:  # test_docs says that what is replaced stands there once
            file, old, new = change
            text = (copy / file).read_text(encoding="utf-8")
            (copy / file).write_text(text.replace(old, new), encoding="utf-8")
        for tests in IN_BROWSER if TRAINER in change else TESTS:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-x", *tests], cwd=copy,
                env=os.environ | variables | {"SITE": "1"}, capture_output=True, encoding="utf-8")
            failed = re.search(r"(?m)^FAILED tests/(.*?)( - .*)?$", done.stdout)
            if done.returncode and not failed:
                raise RuntimeError(f"the tests themselves broke:\n{done.stdout}\n{done.stderr}")
            if failed:
                return "red", failed[1].replace("::", ", ")
    return "green", ""


def main() -> None:
    only, rows = " ".join(sys.argv[1:]), []
    for name, change in (MUTANTS | MACHINES).items():
        if only in name:
            rows.append([name, "red" if name in MUTANTS else "green", *try_out(change)])
            print(*rows[-1], sep=" | ", flush=True)
    if not only:
        table = markdown_table(["change", "should be", "is", "first that differs"], rows)
        write_page("regression", "# Do the tests notice broken mathematics, and only that?\n\n"
                   f"{table}\n")
    wrong = sum(expected != found for _, expected, found, _ in rows)
    sys.exit(f"{wrong} of {len(rows)} are not as expected" if wrong or not rows else 0)


if __name__ == "__main__":
    main()
