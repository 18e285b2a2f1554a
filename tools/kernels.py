"""The kernel of the notebooks that tools and tests run: their own interpreter, nobody's settings.

Jupyter looks for a kernel "python3" in folders of the user and of the machine, where another
interpreter may have left its own, and IPython does in each what a person's profile says.
"""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

from ipykernel.kernelspec import write_kernel_spec


@functools.cache
def own_kernel() -> dict[str, str]:
    """Environment variables with which Jupyter, papermill and nbval start this interpreter.

    The folders that they name are there until this process ends.
    """
    folder = tempfile.mkdtemp(prefix="kernel-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_kernel_spec(Path(folder, "kernels", "python3"))
    paths = [folder, os.environ.get("JUPYTER_PATH")]  # the first that has the kernel counts
    return {"JUPYTER_PATH": os.pathsep.join(filter(None, paths)), "IPYTHONDIR": folder}
