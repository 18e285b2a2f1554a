"""What stands around the course: requirements, workflows, Binder, citation, publish."""

import json
import re
import sys
from importlib.metadata import packages_distributions
from urllib.parse import quote

import nbformat
import publish
import pytest
import website
import yaml
from packaging.requirements import Requirement
from readme import write
from test_house import imported

from coursepack.files import ROOT

CONDAS = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib",
          "python-fastjsonschema": "fastjsonschema"}
COURSE = ["[emu]*.py", "coursepack/**/*.py"]
CALLED = {"jupyterlab", "nbconvert", "nbval", "snakemake"}  # as commands
CALLED_BY_UPKEEP = {"nbstripout", "pytest-timeout", "pytest-xdist", "ruff"}


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


def test_requirements_name_what_is_imported_or_called_constraints_a_version_of_each_and_binder():
    needed, more = requirements("requirements.txt"), requirements("requirements-dev.txt")
    assert packages(*COURSE, "tools/*.py") | CALLED == {*needed}
    assert packages("upkeep/*.py", "tests/**/*.py") - {*needed} | CALLED_BY_UPKEEP == {*more}
    exact = requirements("constraints.txt")
    for name, required in (needed | more | requirements("site/requirements.txt")).items():
        (pin,) = exact[name].specifier
        assert pin.operator == "=="
        assert pin.version in required.specifier, name
    binder = yaml.safe_load(read(".binder/environment.yml"))["dependencies"]
    given = {re.split("[=<>]", line)[0] for line in binder}
    assert packages(*COURSE) <= {CONDAS.get(name, name) for name in given}


def test_workflows_call_commands_of_the_course_on_the_oldest_python_and_citation_is_current():
    tests, makefile = read(".github/workflows/tests.yml"), read("Makefile")
    called = {*re.findall(r"(?m)run: make (\w+)$", tests + read(".github/workflows/pages.yml"))}
    assert {"test", "browser", "survival", "site"} <= called
    assert called <= {*re.findall(r"(?m)^([a-z]+):", makefile)}
    oldest = re.search(r"sys.version_info >= \((\d+), (\d+)\)", makefile).groups()
    assert f'python: ["{".".join(oldest)}", "3.x"]' in tests
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}  # its format says
    newest = re.search(r"(?m)^## (\S+) \((\S+)\)$", read("CHANGELOG.md"))
    assert newest.groups() == (citation["version"], str(citation["date-released"]))


@pytest.fixture
def stamp(tmp_path, monkeypatch):
    """make publish in another folder, with what it changes: of the notebooks two."""
    for name in ("notebooks/04_summary.ipynb", "tests/golden/04_summary.ipynb", website.FIRST,
                 "README.md", "CITATION.cff"):
        write(tmp_path / name, read(name))
    for module in (publish, website):
        monkeypatch.setattr(module, "ROOT", tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["publish.py", *arguments])
        publish.main()

    return run


def test_publish_stamps_notebooks_badges_and_citation(stamp, tmp_path):
    for repo, ref in [("someone/course", "1.0-rc_2"), ("owner/name", "feature/\u00fc"),
                      ("owner/name", 'v2";print(1)#a@b{x}')]:  # git allows all of them
        stamp(repo, ref)
        assert website.address() == [f"https://github.com/{repo}", ref]
    address = f'"https://github.com/owner/name", {json.dumps(ref)}'  # no code gets in
    for path in [*tmp_path.glob("**/*.ipynb"), tmp_path / "README.md"]:
        text = path.read_text(encoding="utf-8")
        assert "someone" not in text
        assert text.count(f".com/github/owner/name/blob/{quote(ref)}/notebooks/") == 1
        assert ("owner/name/actions/workflows/tests.yml" in text) == (path.suffix == ".md")
        assert ("mybinder" in text) == path.name.startswith("04")
        line = json.dumps(f"COURSE_REPO, COURSE_REF = {address}\n")
        assert (line in text) == (path.suffix == ".ipynb")
    citation = yaml.safe_load((tmp_path / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == "https://github.com/owner/name"


def test_publish_refuses_or_fails_before_it_writes_a_file(stamp, tmp_path):
    (tmp_path / "CITATION.cff").write_bytes(b"\xff is no UTF-8")
    before = {path: path.read_bytes() for path in tmp_path.glob("**/*.*")}
    repos = ["owner", "owner/..", "o w/name", 'owner/name"', "a/b\n", "-owner/name", "\u00f6/name"]
    refs = ["", "HEAD", "-x", "a..b", "x@{1}", "x.lock/y", "a/.b", "x.", "/x", "a//b",
            *(f"a{sign}" for sign in "~^:?*[\\ \n\x7f")]  # git check-ref-format --branch
    for words in [*((repo, "v1") for repo in repos), *(("owner/name", ref) for ref in refs)]:
        with pytest.raises(SystemExit, match="make publish REPO=owner/name REF=tag"):
            stamp(*words)
    with pytest.raises(UnicodeDecodeError):
        stamp("owner/name", "v1")
    assert {path: path.read_bytes() for path in before} == before
