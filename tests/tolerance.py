"""nbval with tolerance, for the saved outputs of the notebooks: a plugin of pytest.

nbval compares text exactly. Here it still does, except that what a notebook writes to stderr does
not count, and that in a cell with a line such as `# TOL: rel=1e-6 abs=0.01` a float may differ from
the saved one by abs, or by rel times it. Integers and words stay exact. A float before a % counts
as the fraction that it is.
"""

import math
import re

from nbval.plugin import IPyNbCell

NUMBER = r"[-+]?(?:\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|nan|inf)\b"
FLOAT = re.compile(rf"({NUMBER}(?: ?%)?)", re.IGNORECASE)


def tolerance(source):
    """rel and abs of a cell's TOL line, or None. Raises ValueError for one that says neither."""
    line = re.search(r"^# TOL:(.*)$", source, re.MULTILINE)
    if not line:
        return None
    values = dict(re.findall(r"(rel|abs)=(\S+)", line[1]))
    if not values or len(values) != len(line[1].split()):
        raise ValueError(f"{line[0]!r} is not understood. Write '# TOL: rel=1e-3 abs=0.01'.")
    return {name: float(value) for name, value in values.items()}


def value_of(token):
    number = float(token.rstrip(" %"))
    return number / 100 if token.endswith("%") else number


def agrees(new, saved, rel=0.0, abs=0.0):
    """Are two texts the same but for floats within the tolerance (and the width of columns)?"""
    new_parts, saved_parts = FLOAT.split(new), FLOAT.split(saved)
    if [part.split() for part in new_parts[::2]] != [part.split() for part in saved_parts[::2]]:
        return False
    pairs = zip(map(value_of, new_parts[1::2]), map(value_of, saved_parts[1::2]))
    return all(math.fabs(a - b) <= max(abs, rel * math.fabs(b)) for a, b in pairs)


def forgiven(new, saved, limits):
    """The outputs of a run, with the saved text in place of every text that agrees with it."""
    for n, s in zip(new, saved):
        texts = [(n, s, "text")] if n.output_type == s.output_type == "stream" else [
            (n.data, s.data, kind) for kind in n.get("data", {}) if kind in s.get("data", {})]
        for container, reference, kind in texts:
            old = reference[kind]
            if isinstance(old, str) and agrees(container[kind], old, **limits):
                container[kind] = old
    return new


exact_comparison = IPyNbCell.compare_outputs


def compare_outputs(self, test, ref, skip_compare=None):
    test, ref = ([out for out in outputs if out.get("name") != "stderr"] for outputs in (test, ref))
    limits = tolerance(self.cell.source)
    if limits:
        test = forgiven(test, ref, limits)
    return exact_comparison(self, test, ref, skip_compare)


IPyNbCell.compare_outputs = compare_outputs
