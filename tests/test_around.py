"""What stands around the course: requirements, workflows, Binder, devcontainer, citation, publish.

The hosts are not here: what can be tested is that each is well-formed, and fits the course.
"""

import ast
import datetime
import json
import re
import shlex
import shutil
import subprocess
import sys
from urllib.parse import quote

import nbformat
import publish
import pytest
import website
import yaml
from helpers import run
from packaging.requirements import Requirement
from test_house import imported

from coursepack.files import ROOT

TEXT = {name: (ROOT / name).read_text(encoding="utf-8")
        for name in ("Makefile", "CITATION.cff", "CHANGELOG.md", "LICENSE")}
WORKFLOWS = {path.stem: path for path in (ROOT / ".github" / "workflows").glob("*.yml")}
TARGETS = re.findall(r"^([a-z]+):", TEXT["Makefile"], re.MULTILINE)
OTHER_NAMES = {"PIL": "pillow", "yaml": "pyyaml", "pytorch-cpu": "torch",  # conda-forge's, too
               "matplotlib-base": "matplotlib", "python-fastjsonschema": "fastjsonschema"}
COURSE = "[emu]*.py", "coursepack/**/*.py", "tools/*.py", "notebooks/*.ipynb"
OWN = "*.py", "tools/*.py", "upkeep/*.py", "tests/**/*.py"
CALLED = {"jupyterlab", "nbconvert", "nbval", "snakemake"}  # as commands
CALLED_BY_UPKEEP = {"check-jsonschema", "nbstripout", "pytest-timeout", "pytest-xdist", "ruff"}


# ---------------------------------------------------------------------------- what is needed
def requirements(*files):
    """The packages that requirements files name: name -> Requirement."""
    lines = [line.split("#")[0].strip() for file in files
             for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    return {one.name.lower(): one for one in map(Requirement, filter(None, lines))}


def packages(*places):
    """What the files of these places import of others, as the package's name."""
    texts = []
    for path in [path for place in places for path in ROOT.glob(place)]:
        if path.suffix == ".ipynb":
            texts += [cell.source for cell in nbformat.read(path, as_version=4).cells
                      if cell.cell_type == "code" and not cell.source.startswith("%%")]
        else:
            texts.append(path.read_text(encoding="utf-8"))
    names = {name.split(".")[0] for text in texts for name in imported(text)}
    own = {path.stem for place in OWN for path in ROOT.glob(place)} | {"coursepack"}
    return {OTHER_NAMES.get(name, name).lower() for name in names - sys.stdlib_module_names - own}




def test_requirements_name_what_is_imported_or_called_and_nothing_else():
    needed, more = requirements("requirements.txt"), requirements("requirements-dev.txt")
    assert packages(*COURSE) | CALLED == {*needed}
    assert packages("upkeep/*.py", "tests/**/*.py") - {*needed} | CALLED_BY_UPKEEP == {*more}


def test_exact_versions_are_of_all_that_is_required_and_fit():
    exact = requirements("constraints.txt")
    for name, required in requirements("requirements.txt", "requirements-dev.txt",
                                       "site/requirements.txt").items():
        (pin,) = exact[name].specifier
        assert pin.operator == "=="
        assert pin.version in required.specifier, name


def test_binder_and_devcontainer_have_what_notebooks_and_commands_need():
    environment = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"]
    given = {re.split("[=<>]", line)[0] for line in environment["dependencies"]}
    assert packages(*COURSE[:2], *COURSE[3:]) <= {OTHER_NAMES.get(name, name) for name in given}
    about = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert about["postCreateCommand"] == "make .venv/bin/dev"
    image = (ROOT / ".devcontainer" / about["build"]["dockerfile"]).read_text(encoding="utf-8")
    assert all(part in image for part in ("FROM python:3", "chromium", "git", "make"))


# --------------------------------------------------------------------------------- workflows
@pytest.mark.slow
def test_workflows_are_as_their_schema_says():
    done = run([sys.executable, "-m", "check_jsonschema", "--builtin-schema",
                "vendor.github-workflows", *WORKFLOWS.values()])
    assert done.returncode == 0, done.stdout


def test_workflows_call_commands_of_the_course_on_the_oldest_and_newest_python_every_week():
    jobs = {}
    for path in WORKFLOWS.values():
        jobs |= yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
        assert "constraints.txt" in path.read_text(encoding="utf-8")
    steps = {name: [step["run"] if "run" in step else step["uses"].split("@")[0]
                    for step in job["steps"]] for name, job in jobs.items()}
    commands = [shlex.split(step) for own in steps.values() for step in own if "make " in step]
    assert all(command[0] == "make" and command[1] in TARGETS for command in commands)
    assert {"test", "browser", "survival", "site"} <= {command[1] for command in commands}
    oldest = re.search(r"sys.version_info >= \((\d+), (\d+)\)", TEXT["Makefile"]).groups()
    assert jobs["tests"]["strategy"]["matrix"]["python"] == [".".join(oldest), "3.x"]
    workflow = yaml.safe_load(WORKFLOWS["tests"].read_text(encoding="utf-8"))
    assert len(workflow[True]["schedule"][0]["cron"].split()) == 5  # YAML reads "on" as true
    pages = steps["publish"]  # never without a front page
    places = [pages.index(step) for step in (
        "make site", "test -s build/site/index.html", "actions/upload-pages-artifact")]
    assert places == sorted(places)
    assert jobs["publish"]["steps"][places[-1]]["with"]["path"] == "build/site"


# ------------------------------------------------------------------------ citation, publishing
def test_citation_has_what_its_format_requires_and_the_version_of_the_changelog():
    citation = yaml.safe_load(TEXT["CITATION.cff"])
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "date-released"} <= citation.keys()
    assert all(author.keys() & {"name", "family-names"} for author in citation["authors"])
    day = datetime.date.fromisoformat(citation["date-released"])
    newest = re.search(r"^## (\S+) \((\S+)\)$", TEXT["CHANGELOG.md"], re.MULTILINE)
    assert newest.groups() == (citation["version"], str(day))
    assert citation["license"] in TEXT["LICENSE"]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """What make publish changes, in another folder: of the notebooks two."""
    for name in ("notebooks/00*.ipynb", "notebooks/04*.ipynb", "tests/golden/04*.ipynb",
                 "README.md", "CITATION.cff"):
        for path in ROOT.glob(name):
            to = tmp_path / path.relative_to(ROOT)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    monkeypatch.setattr(website, "ROOT", tmp_path)
    return tmp_path


def stamp(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["publish.py", *arguments])
    publish.main()


INVISIBLE = 'v2";print(1)#'  # git allows it


@pytest.mark.parametrize("ref", ["v2", INVISIBLE, "feature/\u00fc"])
def test_publish_stamps_notebooks_badges_and_citation(ref, copy, monkeypatch):
    for arguments in (("someone/course", "v1"), ("owner/name", ref)):
        stamp(monkeypatch, *arguments)
    assert website.address() == ("https://github.com/owner/name", ref)
    link = f"colab.research.google.com/github/owner/name/blob/{quote(ref)}/notebooks/"
    for path in [*copy.glob("**/*.ipynb"), copy / "README.md"]:
        text = path.read_text(encoding="utf-8")
        assert "someone" not in text
        assert text.count(link) == 1
        if path.suffix == ".ipynb":
            [setup] = [cell for cell in nbformat.reads(text, as_version=4).cells
                       if cell.id == "setup"]
            [values] = [node.value for node in ast.parse(setup.source).body
                        if isinstance(node, ast.Assign) and "COURSE_REF" in ast.unparse(node)]
            assert ast.literal_eval(values) == ("https://github.com/owner/name", ref)
            assert ("mybinder" in text) == path.name.startswith("04")
        else:
            assert "owner/name/actions/workflows/tests.yml/badge.svg" in text
    citation = yaml.safe_load((copy / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == "https://github.com/owner/name"


REFUSED = ['v1"; import os; os.abort() #', "", "a..b", "-x", "x@{1}", "x.lock", "x.lock/y", ".x",
           "a/.b", "x.", "x/", "/x", "a//b", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "x y",
           "x\n", "a\x7f", "HEAD"]
ALLOWED = ["v1", "1.0-rc_2", "feature/x", "a@b", "\u00fc", "x{1}", INVISIBLE]
NO_REPO = ["owner", "owner/..", "o wner/name", 'owner/name"', "owner/name\n", "-owner/name",
           "\u00f6/name"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("git"), reason="git has the rule")
def test_publish_takes_the_refs_that_git_takes():
    for ref in REFUSED + ALLOWED:
        git = subprocess.run(["git", "check-ref-format", "--branch", ref], capture_output=True)
        assert bool(publish.NO_REF.search(ref)) == bool(git.returncode) == (ref in REFUSED), ref


def test_publish_refuses_or_fails_before_it_writes_a_file(copy, monkeypatch):
    for arguments in [(repo, "v1") for repo in NO_REPO] + [("owner/name", ref) for ref in REFUSED]:
        with pytest.raises(SystemExit, match="make publish REPO=owner/name REF=tag"):
            stamp(monkeypatch, *arguments)
    (copy / "CITATION.cff").write_bytes(b"\xff is no UTF-8")
    before = {path: path.read_bytes() for path in copy.glob("**/*.*")}
    with pytest.raises(UnicodeDecodeError):
        stamp(monkeypatch, "owner/name", "v1")
    assert {path: path.read_bytes() for path in before} == before
