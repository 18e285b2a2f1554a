"""The rows that a laboratory study's table lacks, by as many processes as there are cores.

Each process takes the next run that no other has taken. The rows alone say what is finished: what
Snakemake takes for the output of a process is an empty mark, which vanishes afterwards.
"""

import pathlib
import shlex

from laboratory import missing_runs, place_of_table, read_study, table_file, time_left
from study import hold_folder

from coursepack.threads import count_cores

try:
    RUNS = read_study(STUDY)[1]
    TABLE = place_of_table(STUDY, FOLDER)
    MISSING = missing_runs(STUDY, TABLE)
    if workflow.is_main_process:
        LOCK = None if DRY_RUN else hold_folder(STUDY, FOLDER)
        print(f"study {STUDY}: {len(RUNS)} runs, {len(MISSING)} of them to do"
              f"{time_left(MISSING, table_file(STUDY, TABLE))}", file=sys.stderr)
except (ValueError, OSError) as error:
    sys.exit(str(error))
PARTS = range(1, 1 + min(len(MISSING), workflow.cores or count_cores()))
MARK = f"{FOLDER}/.process{{part}}.finished"
if workflow.is_main_process:
    for part in PARTS:  # a mark of before
        pathlib.Path(MARK.format(part=part)).unlink(missing_ok=True)
WANTED = expand(MARK, part=PARTS)


onsuccess:
    for mark in pathlib.Path(FOLDER).glob(".*.finished"):
        mark.unlink()


rule process:
    output:
        touch(MARK),
    threads: 1
    shell:
        "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONUNBUFFERED=1"
        f" {shlex.quote(sys.executable)} tools/laboratory.py {{STUDY}} --folder {{TABLE:q}}"
