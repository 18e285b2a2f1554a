"""nbval with tolerance, for the saved outputs of the notebooks: a plugin of pytest.

nbval compares text exactly. Here it still does, except that what a notebook writes to stderr does
not count, and that in a cell with a line such as `# TOL: rel=0.5 abs=0.1` a float may differ from
the saved one: by at most abs, and by at most rel times it; with both, both hold. Integers and words
stay exact, and nan and inf agree with nothing. A float before a % is a share: its abs is of the
fraction, its rel of the share or of what is missing to 1, whichever is smaller. So rel=0.5 lets
99.5 % be 99.25 to 99.75 %: half as many errors more or fewer, not half of what is right.
"""

import re
from math import fabs, isfinite

from nbval.plugin import IPyNbCell

FLOAT = re.compile(r"([-+]?(?:\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|nan|inf)\b)", re.IGNORECASE)


def tolerance(source):
    """The limits of a cell's TOL line by their names; without such a line none."""
    line = re.search(r"^# TOL:(.*)$", source, re.MULTILINE)
    limits = (word.split("=") for word in line[1].split()) if line else ()
    return {name: float(value) for name, value in limits}


def within(new, saved, share, rel=None, abs=None):
    """Is a number near enough to the saved one? share: both are in percent."""
    if share:
        new, saved = new / 100, saved / 100
    size = min(fabs(saved), fabs(1 - saved)) if share else fabs(saved)
    far = fabs(new - saved)
    return isfinite(far) and (rel is None or far <= rel * size) and (abs is None or far <= abs)


def agrees(new, saved, **limits):
    """Are two texts the same but for floats within the limits (and the width of columns)?"""
    new_parts, saved_parts = FLOAT.split(new), FLOAT.split(saved)
    if [part.split() for part in new_parts[::2]] != [part.split() for part in saved_parts[::2]]:
        return False
    shares = [word.lstrip().startswith("%") for word in saved_parts[2::2]]
    floats = zip(map(float, new_parts[1::2]), map(float, saved_parts[1::2]), shares)
    return all(within(a, b, share, **limits) for a, b, share in floats)


def forgive(new, saved, limits):
    """Put the saved text in place of each that agrees with it; mark others, as nan equals "nan"."""
    for kind in {"text", "text/plain", "text/html"} & new.keys() & saved.keys():
        same = agrees(new[kind], saved[kind], **limits)
        new[kind] = saved[kind] if same else f"not within {limits}:\n{new[kind]}"


exact_comparison = IPyNbCell.compare_outputs


def compare_outputs(self, test, ref, skip_compare=None):
    test, ref = ([out for out in outputs if out.get("name") != "stderr"] for outputs in (test, ref))
    if limits := tolerance(self.cell.source):
        for new, saved in zip(test, ref):
            forgive(new, saved, limits)
            forgive(new.get("data", {}), saved.get("data", {}), limits)
    return exact_comparison(self, test, ref, skip_compare)


IPyNbCell.compare_outputs = compare_outputs
