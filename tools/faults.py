"""Every bad input and every fault that we know, tried: are they refused by a message of ours?

    faults.py                    all of them, and the table results/faults.md
    faults.py --only "disk full" those that have these words in their group or name; no table

It fails, and names the cases, where the last line said is not our own message, on silence of over
30 seconds, memory over 4 GB, and where a bad input ends as if all were well. Leave the machine to
it: beside other work, a pause can be longer than the one that a user would wait.
"""

import os

if __name__ == "__main__":  # before PyTorch is imported
    os.environ |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "GOMP_SPINCOUNT": "5000"}

import argparse
import functools
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import watched
from fault_inputs import Case, data_cases, parameter_cases
from fault_laboratory import laboratory_cases
from fault_records import other_cases, study_cases, summary_cases
from fault_runs import checkpoint_cases, run_cases
from readme import markdown_table, write_page
from watched import RAW, RAW_MESSAGE, REFUSED, WELL, Outcome, watch

from coursepack.data import sources
from coursepack.files import ROOT
from coursepack.show import looks

FAULTS = ("Checkpoints", "Faults of a run")  # groups that are no inputs
INTRODUCTION = """\
# What was tried to break the course, and what it said

Written by `make faults`, which fails where the last line is not a message of ours, on silence of
over 30 seconds, on memory over 4 GB, and where a bad input ends as if all were well. Each case runs
in a process and a folder of its own, on the 5,000 digits, without a network; `...` is a folder of
that machine. The cases: [fault_inputs.py](../tools/fault_inputs.py),
[fault_laboratory.py](../tools/fault_laboratory.py),
[fault_records.py](../tools/fault_records.py), [fault_runs.py](../tools/fault_runs.py).
"""


def all_cases() -> list[Case]:
    return [*parameter_cases(), *data_cases(), *study_cases(), *laboratory_cases(),
            *summary_cases(), *other_cases(), *checkpoint_cases(), *run_cases()]


def judge(case: Case, outcome: Outcome) -> str:
    """Why a case fails; "" if it does not."""
    missing = [word for word in case.says if word not in outcome.last]
    ours = outcome.status == REFUSED or (outcome.status != RAW and
                                         not RAW_MESSAGE.match(outcome.last))
    if outcome.memory > watched.MEMORY:
        return "memory over 4 GB"
    if outcome.silence > watched.SILENCE:
        return f"silence of over {watched.SILENCE} seconds"
    if outcome.status < 0:
        return f"no end within {watched.SECONDS} seconds, or killed"
    if not case.says:
        return "" if outcome.status == WELL else "it does not work"
    if outcome.status == WELL:
        return "silent success"
    if not ours:
        return "not our own message"
    return f"does not say {', '.join(map(repr, missing))}" if missing else ""


def prepare(base: Path) -> None:
    """The digits as a file, folders and proxies of no use to anybody: nothing is downloaded."""
    (base / "data").mkdir()
    arrays = sources.read_sample()
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(base / "data" / "mnist.npz", **dict(zip(names, arrays)))
    os.environ |= {"DATA_DIR": str(base / "data"), "https_proxy": "http://127.0.0.1:9",
                   "http_proxy": "http://127.0.0.1:9", "PYTHONUNBUFFERED": "1"}
    looks.set_up()


def attempt(case: Case, base: Path) -> Outcome:
    """Try a case in an empty folder."""
    folder = Path(tempfile.mkdtemp(dir=base))
    try:
        return watch(functools.partial(case.do, folder), base / f"{folder.name}.said")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cleaned(text: str, base: Path = ROOT) -> str:
    """What was said without what differs from machine to machine and from run to run, shortened."""
    text = re.sub(rf"{re.escape(str(base))}/?\w*", "...", text).replace(str(ROOT), "...")
    text = re.sub(r"\.\d+-(?=[\w.]+)", ".", text)  # number of a process in a temporary name
    text = re.sub(r"unfinished-[0-9a-f]+", "unfinished-*", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:*", text)
    text = re.sub(r"pos \d+ vs \d+", "pos * vs *", text)  # where in a file a disk was full
    text = re.sub(r"0x[0-9a-f]{6,}", "0x*", text)
    text = re.sub(r"x{40,}", "xxx...", text)
    text = re.sub(r"[\x00-\x1f]", " ", text).replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= 240 else text[:240].rsplit(" ", 1)[0] + " ..."


def table(rows: Sequence[tuple[Case, str, str]]) -> str:
    lines = [(cleaned(case.what), f"**FAILS: {why}.** {said}" if why else said)
             for case, said, why in rows]
    return markdown_table(["what was tried", "what was said"], lines)


def page(rows: Sequence[tuple[Case, str, str]]) -> str:
    """results/faults.md of the cases, what was said, and why each fails."""
    groups: dict[str, list] = {}
    for row in rows:
        groups.setdefault(row[0].group, []).append(row)
    faults = sum(len(groups[name]) for name in groups if name in FAULTS)
    failed = sum(bool(why) for _, _, why in rows)
    counts = (f"{len(rows) - faults} inputs and {faults} faults were tried; {failed} of them ended "
              "otherwise than they should.")
    parts = [f"## {name}: {len(some)}\n\n{table(some)}" for name, some in groups.items()]
    return "\n".join([INTRODUCTION, counts + "\n", *parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORDS", help="of a group or a case")
    only = parser.parse_args().only
    cases = [case for case in all_cases() if only in f"{case.group}: {case.what}"]
    rows = []
    base = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        prepare(base)
        for case in cases:
            outcome = attempt(case, base)
            why = judge(case, outcome)
            rows.append((case, cleaned(outcome.last, base), why))
            print(f"{'FAILS: ' + why if why else 'well'} | {cleaned(case.what)} | {rows[-1][1]}",
                  flush=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if not only:
        write_page("faults", page(rows))
    failed = [f"{case.group}: {case.what}: {why}" for case, _, why in rows if why]
    sys.exit("\n".join([f"{len(failed)} of {len(rows)} cases fail:", *failed]) if failed else 0)


if __name__ == "__main__":
    main()
