"""What stands around the course: requirements, Binder, publish."""

import json
import re
import sys
from importlib.metadata import packages_distributions

import nbformat
import publish
import pytest
import website
import yaml
from packaging.requirements import Requirement
from readme import write
from test_house import imported

from coursepack.files import ROOT

CONDAS = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}
COURSE = ["[emu]*.py", "coursepack/**/*.py"]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def requirements(*files):
    """The packages that requirements files name: name -> Requirement."""
    lines = [line.split("#")[0].strip() for file in files for line in read(file).splitlines()]
    return {one.name.lower(): one for one in map(Requirement, filter(None, lines))}


def packages(*places):
    """The packages that notebooks and the files of these places import."""
    texts = [read(path) for place in places for path in ROOT.glob(place)]
    texts += [cell.source for path in ROOT.glob("notebooks/*.ipynb")
              for cell in nbformat.read(path, as_version=4).cells
              if cell.cell_type == "code" and not cell.source.startswith("%%")]
    names = {name.split(".")[0] for text in texts for name in imported(text)}
    of = packages_distributions()  # of modules that are installed: neither ours nor Python's
    return {package.lower() for name in names for package in of.get(name, [])}


def test_requirements_name_what_is_imported_constraints_a_version_of_each_and_binder():
    needed, more = requirements("requirements.txt"), requirements("requirements-dev.txt")
    assert packages(*COURSE, "tools/*.py") <= {*needed}
    site = requirements("site/requirements.txt")
    assert packages("upkeep/*.py", "tests/**/*.py") <= {*needed, *more, *site}
    exact = requirements("constraints.txt")
    for name, required in (needed | more | site).items():
        (pin,) = exact[name].specifier
        assert pin.operator == "=="
        assert pin.version in required.specifier, name
    binder = yaml.safe_load(read(".binder/environment.yml"))["dependencies"]
    given = {re.split("[=<>]", line)[0] for line in binder}
    assert packages(*COURSE) <= {CONDAS.get(name, name) for name in given}


def test_publish_stamps_notebooks_badges_and_citation_or_refuses(tmp_path, monkeypatch):
    for name in ("notebooks/04_summary.ipynb", "tests/golden/04_summary.ipynb", website.FIRST,
                 "README.md", "CITATION.cff"):  # in another folder
        write(tmp_path / name, read(name))
    for module in (publish, website):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    for repo, ref in [("someone/course", "1.0-rc_2"), ("owner/name", "v2")]:
        monkeypatch.setattr(sys, "argv", ["publish.py", repo, ref])
        publish.main()
        assert website.address() == [f"https://github.com/{repo}", ref]
    for words in [("owner", "v1"), ("o w/name", "v1"), ("owner/..", "v1"), ("a/b\n", "v1"),
                  *(("someone/course", ref) for ref in ["", "-x", "a..b", "x/y", 'v1";exit()#'])]:
        monkeypatch.setattr(sys, "argv", ["publish.py", *words])
        with pytest.raises(SystemExit, match="make publish REPO=owner/name REF=v1.0.0"):
            publish.main()
    for path in [*tmp_path.glob("**/*.ipynb"), tmp_path / "README.md"]:
        text = path.read_text(encoding="utf-8")
        assert "someone" not in text
        assert text.count(".com/github/owner/name/blob/v2/notebooks/") == 1
        assert ("owner/name/actions/workflows/tests.yml" in text) == (path.suffix == ".md")
        assert "codespaces.new/owner/name?ref=v2)" in text
        assert ("mybinder.org/v2/gh/owner/name/v2?" in text) == path.name.startswith("04")
        assert ("mybinder" in text) == path.name.startswith("04")
        line = json.dumps('COURSE_REPO, COURSE_REF = "https://github.com/owner/name", "v2"\n')
        assert (line in text) == (path.suffix == ".ipynb")
    citation = yaml.safe_load((tmp_path / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == "https://github.com/owner/name"
