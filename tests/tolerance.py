"""nbval with tolerance, for the saved outputs of the notebooks: a plugin of pytest.

nbval compares text exactly. Here it still does, except that what a notebook writes to stderr does
not count, and that in a cell with a line such as `# TOL: rel=0.5 abs=0.1` a float may differ from
the saved one: by at most abs, and by at most rel times it; with both, both hold. Integers and words
stay exact, and nan and inf agree with nothing. A float before a % is a share: its abs is of the
fraction, its rel of the share or of what is missing to 1, whichever is smaller. So rel=0.5 lets
99.5 % be 99.25 to 99.75 %: half as many errors more or fewer, not half of what is right.
"""

import math
import re

from nbval.plugin import IPyNbCell

FLOAT = re.compile(r"([-+]?(?:\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|nan|inf)\b)", re.IGNORECASE)


def tolerance(source):
    """rel and abs of a cell's TOL line, or None. Raises ValueError for one that says neither."""
    line = re.search(r"^# TOL:(.*)$", source, re.MULTILINE)
    if not line:
        return None
    values = dict(re.findall(r"(rel|abs)=(\S+)", line[1]))
    if not values or len(values) != len(line[1].split()):
        raise ValueError(f"{line[0]!r} is not understood. Write '# TOL: rel=1e-3 abs=0.01'.")
    return {name: float(value) for name, value in values.items()}


def within(new, saved, share=False, rel=None, abs=None):
    """Is a number near enough to the saved one? share: both are in percent."""
    if not (math.isfinite(new) and math.isfinite(saved)):
        return False
    if share:
        new, saved = new / 100, saved / 100
    size = min(math.fabs(saved), math.fabs(1 - saved)) if share else math.fabs(saved)
    difference = math.fabs(new - saved)
    return (rel is None or difference <= rel * size) and (abs is None or difference <= abs)


def agrees(new, saved, **limits):
    """Are two texts the same but for floats within the limits (and the width of columns)?"""
    new_parts, saved_parts = FLOAT.split(new), FLOAT.split(saved)
    if [part.split() for part in new_parts[::2]] != [part.split() for part in saved_parts[::2]]:
        return False
    shares = [word.lstrip().startswith("%") for word in saved_parts[2::2]]
    floats = zip(map(float, new_parts[1::2]), map(float, saved_parts[1::2]), shares)
    return all(within(a, b, share, **limits) for a, b, share in floats)


def forgiven(new, saved, limits):
    """The outputs of a run, with the saved text in place of every text that agrees with it.

    Any other text is marked, so that it is not equal to the saved one even if both say nan.
    """
    for n, s in zip(new, saved):
        texts = [(n, s, "text")] if n.output_type == s.output_type == "stream" else [
            (n.data, s.data, kind) for kind in n.get("data", {}) if kind in s.get("data", {})]
        for container, reference, kind in texts:
            old = reference[kind]
            if isinstance(old, str):
                same = agrees(container[kind], old, **limits)
                container[kind] = old if same else f"not within {limits}:\n{container[kind]}"
    return new


exact_comparison = IPyNbCell.compare_outputs


def compare_outputs(self, test, ref, skip_compare=None):
    test, ref = ([out for out in outputs if out.get("name") != "stderr"] for outputs in (test, ref))
    limits = tolerance(self.cell.source)
    if limits:
        test = forgiven(test, ref, limits)
    return exact_comparison(self, test, ref, skip_compare)


IPyNbCell.compare_outputs = compare_outputs
