"""What stands around the course: workflows, Binder, devcontainer, citation, changelog, versions.

Their hosts are not here: what can be tested is that each is well-formed, and fits the course.
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

from coursepack.files import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
OTHER_NAMES = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib",  # conda-forge's
               "python-fastjsonschema": "fastjsonschema"}


def requirements(*files):
    """The packages that requirements files name: name -> Requirement."""
    lines = [line.split("#")[0].strip() for file in files
             for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    return {one.name.lower(): one for one in map(Requirement, filter(None, lines))}


def steps_of(path):
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_there_are_workflows_for_tests_and_pages():
    assert [path.stem for path in WORKFLOWS] == ["pages", "tests"]


@pytest.mark.slow
def test_workflows_are_as_their_schema_says():
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema",
                           "vendor.github-workflows", *WORKFLOWS], capture_output=True,
                          encoding="utf-8")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_command_of_a_workflow_is_one_of_the_course(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    runs = [shlex.split(step["run"]) for step in steps_of(path) if "run" in step]
    assert runs
    for command in runs:
        assert command[0] in ("make", "test")
        assert command[0] != "make" or command[1] in targets
    assert "constraints.txt" in path.read_text(encoding="utf-8")


def test_tests_run_on_the_oldest_and_the_newest_python_and_every_week():
    workflow = yaml.safe_load(WORKFLOWS[1].read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    oldest = re.search(r"sys.version_info >= \((\d+), (\d+)\)", makefile)
    assert workflow["jobs"]["tests"]["strategy"]["matrix"]["python"] == [
        ".".join(oldest.groups()), "3.x"]
    assert len(workflow[True]["schedule"][0]["cron"].split()) == 5  # YAML reads "on" as true


def test_pages_are_not_published_without_a_front_page():
    steps = steps_of(WORKFLOWS[0])
    names = [step.get("run") or step["uses"].split("@")[0] for step in steps]
    front = names.index("test -s build/site/index.html")
    assert names.index("make site") < front < names.index("actions/upload-pages-artifact")
    upload = steps[names.index("actions/upload-pages-artifact")]
    assert upload["with"]["path"] == "build/site"


def test_exact_versions_are_of_all_that_is_required_and_fit():
    exact = requirements("constraints.txt")
    for name, required in requirements("requirements.txt", "site/requirements.txt").items():
        (pin,) = exact[name].specifier
        assert pin.operator == "=="
        assert pin.version in required.specifier, name


def imports_of(files):
    """Top-level packages that files import, wherever they do."""
    names = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split(".")[0])
    return names


def test_binder_has_what_the_notebooks_import():
    environment = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"]
    given = {re.split("[=<>]", line)[0] for line in environment["dependencies"]}
    given = {OTHER_NAMES.get(name, name) for name in given}
    needed = imports_of([ROOT / "utils.py", ROOT / "model.py", ROOT / "exercises.py",
                         *(ROOT / "coursepack").glob("**/*.py")])
    needed -= {*sys.stdlib_module_names, "coursepack", "model", "utils"}
    # IPython comes with jupyterlab; numpy, pandas and packaging with the others.
    assert needed - {"IPython", "numpy", "pandas", "packaging", "tqdm"} <= given


def test_devcontainer_installs_with_a_command_of_the_course():
    about = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert about["postCreateCommand"] == "make .venv/bin/ready"
    image = (ROOT / ".devcontainer" / about["build"]["dockerfile"]).read_text(encoding="utf-8")
    assert image.splitlines()[1].startswith("FROM python:3")
    assert all(tool in image for tool in ("chromium", "git", "make"))


def test_citation_has_what_its_format_requires_and_the_version_of_the_changelog():
    assert CITATION["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "date-released"} <= CITATION.keys()
    assert all(author.keys() & {"name", "family-names"} for author in CITATION["authors"])
    day = datetime.date.fromisoformat(CITATION["date-released"])
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+) \((\S+)\)$", changes, re.MULTILINE)
    assert newest.groups() == (CITATION["version"], str(day))
    assert CITATION["license"] in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_publish_adds_the_badge_of_the_tests_and_the_address_to_cite():
    badge = publish.tests_badge("owner/name")
    assert "owner/name/actions/workflows/tests.yml/badge.svg" in badge
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    once = publish.cite(text, "owner/name")
    assert yaml.safe_load(once)["repository-code"] == "https://github.com/owner/name"
    assert publish.cite(once, "other/name").count("repository-code") == 1


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """What make publish changes, in another folder."""
    for name in ("notebooks", "tests/golden"):
        for path in (ROOT / name).glob("*.ipynb"):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / name)
    for name in ("README.md", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    monkeypatch.setattr(website, "ROOT", tmp_path)
    return tmp_path


def stamp(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["publish.py", *arguments])
    publish.main()


INVISIBLE = 'v2";print(1)#'  # git allows it


@pytest.mark.parametrize("ref", ["v2", INVISIBLE, "feature/\u00fc"])
def test_publish_stamps_notebooks_and_badges(ref, copy, monkeypatch):
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


REFUSED = ['v1"; import os; os.abort() #', "", "a..b", "-x", "x@{1}", "x.lock", "x.lock/y", ".x",
           "a/.b", "x.", "x/", "/x", "a//b", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "x y",
           "x\n", "a\x7f", "HEAD"]
ALLOWED = ["v1", "1.0-rc_2", "feature/x", "a@b", "\u00fc", "x{1}", INVISIBLE]


@pytest.mark.parametrize("arguments", [
    (), ("owner/name",), ("owner", "v1"), ("owner/..", "v1"), ("o wner/name", "v1"),
    ('owner/name"', "v1"), ("owner/name\n", "v1"), ("-owner/name", "v1"), ("\u00f6/name", "v1"),
    *(("owner/name", ref) for ref in REFUSED)], ids=repr)
def test_publish_refuses_what_is_no_repository_or_no_ref(arguments, copy, monkeypatch):
    before = {path: path.read_bytes() for path in copy.glob("**/*.*")}
    with pytest.raises(SystemExit, match="make publish REPO=owner/name REF=tag"):
        stamp(monkeypatch, *arguments)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("git"), reason="git has the rule")
@pytest.mark.parametrize("ref", REFUSED + ALLOWED)
def test_publish_takes_the_refs_that_git_takes(ref):
    git = subprocess.run(["git", "check-ref-format", "--branch", ref], capture_output=True)
    assert bool(publish.NO_REF.search(ref)) == bool(git.returncode) == (ref in REFUSED)


def test_publish_reads_every_file_before_it_writes_one(copy, monkeypatch):
    (copy / "CITATION.cff").write_bytes(b"\xff is no UTF-8")
    before = {path: path.read_bytes() for path in copy.glob("**/*.*") if path.is_file()}
    with pytest.raises(UnicodeDecodeError):
        stamp(monkeypatch, "owner/name", "v1")
    assert {path: path.read_bytes() for path in before} == before


ASCII = """
import pathlib, sys
sys.path.insert(0, sys.argv[1] + "/tools")
import publish, website
website.stage(pathlib.Path(sys.argv[2]))
publish.stamped("owner/name", "v1")
"""


@pytest.mark.slow
def test_publish_and_website_work_where_the_locale_is_not_utf_8(tmp_path):
    done = run([sys.executable, "-W", "error::EncodingWarning", "-X", "warn_default_encoding",
                "-c", ASCII, ROOT, tmp_path / "staged"],
               LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0, done.stderr
