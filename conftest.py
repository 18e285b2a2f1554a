"""Settings of every test run: paths, threads, and the comparison of saved outputs."""

import os
import sys
from pathlib import Path

# Runs are compared to the last bit, so their threads must not follow what else the machine does.
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
# A thread that waits spins briefly: beside another busy process, seconds would become minutes.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
# This repository's model.py, utils.py, tools and tests, and no others of those names.
ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / part) for part in ("", "tools", "upkeep", "tests", "tests/stand_in")]

from kernels import own_kernel  # noqa: E402 - of our tools

os.environ |= own_kernel()

pytest_plugins = ["tolerance"]
