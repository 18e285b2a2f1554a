"""Runs of the recipe notebooks that have no record yet, then their summary.

The records alone say what is finished, so nothing that a run has written is ever removed or made
again: what Snakemake takes for the output of a run is an empty mark, which vanishes afterwards.
"""

import os
import pathlib
import shlex

from kernels import own_kernel
from study import (check_runs, finished, hold_folder, read_file, read_study, threads_each,
                   written)

try:
    SAYS = read_file(STUDY)
    RUNS = {run.name: run for run in read_study(STUDY, FOLDER)}
    if workflow.is_main_process:  # a job on another machine reads this file again
        check_runs(STUDY, list(RUNS.values()))
        LOCK = None if DRY_RUN else hold_folder(STUDY, FOLDER)
except (ValueError, OSError) as error:
    sys.exit(str(error))  # the message alone: Snakemake would add a traceback
os.environ |= own_kernel()  # which jobs inherit
MISSING = [name for name, run in RUNS.items() if not finished(run)]
FACTORS = ", ".join(SAYS["factors"])
THREADS = threads_each(SAYS["threads"], len(MISSING))
MARK = f"{FOLDER}/.{{run}}.finished"
RECORD = f"{FOLDER}/{{run}}/record.json"
PAPERMILL = (f"PYTHONUNBUFFERED=1 TQDM_DISABLE=1 {shlex.quote(sys.executable)} -m papermill"
             " --no-progress-bar --log-level WARNING")
LESSONS = f"{shlex.quote(sys.executable)} tools/lessons.py"
if workflow.is_main_process:
    print(f"study {STUDY}: {len(RUNS)} runs, {len(MISSING)} of them to do, threads of each: "
          f"{THREADS}", file=sys.stderr)
    for name in MISSING:  # a mark without a record means nothing
        pathlib.Path(MARK.format(run=name)).unlink(missing_ok=True)
# The marks, too: to an old summary, a missing one would not matter.
WANTED = [*expand(MARK, run=MISSING), f"{FOLDER}/summary.ipynb"]


onsuccess:
    for mark in pathlib.Path(FOLDER).glob(".*.finished"):
        mark.unlink()


rule summary:
    input:
        expand(MARK, run=MISSING),
        expand(RECORD, run=[name for name in RUNS if name not in MISSING]),
    output:
        f"{FOLDER}/summary.ipynb",
    params:
        runs=", ".join(RUNS),
        factors=["-p", "factors", FACTORS] if FACTORS else [],
    shell:
        "{PAPERMILL} notebooks/04_summary.ipynb {output:q} -p runs {params.runs:q}"
        " -p runs_dir {FOLDER:q} -p images_dir {FOLDER:q}/images {params.factors:q}"


rule run:
    output:
        touch(MARK),
    params:
        notebook=lambda wildcards: RUNS[wildcards.run].notebook,
        parameters=lambda wildcards: written(RUNS[wildcards.run]),
        # Where a file wants more threads than there are cores, Snakemake lowers {threads} and
        # MKL its own: the digits of a run would depend on the machine.
        threads=lambda wildcards, threads: SAYS["threads"] or threads,
    threads: THREADS
    shell:
        "{LESSONS} notebooks/{params.notebook}.ipynb"
        " | OMP_NUM_THREADS={params.threads} MKL_NUM_THREADS={params.threads} MKL_DYNAMIC=FALSE"
        " {PAPERMILL} --stdout-file - - {FOLDER:q}/{wildcards.run}.ipynb -y {params.parameters:q}"
        " | while IFS= read -r line; do echo \"{wildcards.run}: $line\"; done"
