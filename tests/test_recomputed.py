"""Every number of README and laboratory.md once more, by pandas and scipy alone, from the tables.

Nothing here imports the toolbox: what it gets wrong, a notebook prints and this does not.
"""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
README, LABORATORY = (ROOT.joinpath(name).read_text(encoding="utf-8")
                      for name in ("README.md", "results/laboratory.md"))
WORDS = dict(zip("one two three four five six seven eight nine ten".split(), range(1, 11)))


def numbers(text):
    """The numbers of a text in their order, as they are written; small ones may be words."""
    found = re.findall(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?|\b(?:" + "|".join(WORDS) + r")\b",
                       text, re.IGNORECASE)
    return [str(WORDS.get(word.lower(), word.lstrip("+"))) for word in found]


def table(study):
    rows = pd.read_csv(ROOT / "results" / f"{study}.csv", comment="#", keep_default_na=False)
    for name in rows.columns:
        numeric = pd.to_numeric(rows[name], errors="coerce")
        if numeric.notna().any() and name != "code":
            rows[name] = numeric
    return rows


def records(study):
    rows = []
    for file in sorted((ROOT / "results" / study).glob("*.json")):
        record = json.loads(file.read_bytes())
        rows.append(record["parameters"] | record["epochs"][-1])
    return pd.DataFrame(rows)


def games_howell(*groups):
    """Ends of the interval of the first pair's difference."""
    limits = stats.tukey_hsd(*groups, equal_var=False).confidence_interval()
    return limits.low[0, 1], limits.high[0, 1]


def slope(rows, y, x):
    return stats.linregress(np.log(rows[x]), np.log(rows[y])).slope
