"""Python runs this first in every process that has its folder on PYTHONPATH.

In the kernel of a notebook, and in no other, the environment variable STAND_IN (cuda or mps) puts a
GPU there that computes.
"""

import os
import sys

if os.environ.get("STAND_IN") and any("ipykernel" in word for word in sys.orig_argv):
    import stand_in

    context = stand_in.gpu(os.environ["STAND_IN"])
    context.__enter__()  # and never left: as long as the kernel lives
