"""Let the tests import model.py and utils.py of this repository, and no others of those names."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
