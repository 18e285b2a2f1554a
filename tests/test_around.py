"""What stands around the course: workflows, Binder, devcontainer, citation, changelog, versions.

Their hosts are not here: what can be tested is that each is well-formed, and fits the course.
"""

import ast
import datetime
import json
import re
import shlex
import subprocess
import sys

import publish
import pytest
import yaml
from packaging.requirements import Requirement

from coursepack.files import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
OTHER_NAMES = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib",  # conda-forge's
               "python-fastjsonschema": "fastjsonschema"}


def requirements(*files):
    """The packages that requirements files name: name -> Requirement."""
    lines = [line.split("#")[0].strip() for file in files
             for line in (ROOT / file).read_text().splitlines()]
    return {one.name.lower(): one for one in map(Requirement, filter(None, lines))}


def steps_of(path):
    jobs = yaml.safe_load(path.read_text())["jobs"]
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
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    runs = [shlex.split(step["run"]) for step in steps_of(path) if "run" in step]
    assert runs
    for command in runs:
        assert command[0] in ("make", "test")
        assert command[0] != "make" or command[1] in targets
    assert "constraints.txt" in path.read_text()


def test_tests_run_on_the_oldest_and_the_newest_python_and_every_week():
    workflow = yaml.safe_load(WORKFLOWS[1].read_text())
    oldest = re.search(r"sys.version_info >= \((\d+), (\d+)\)", (ROOT / "Makefile").read_text())
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
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split(".")[0])
    return names


def test_binder_has_what_the_notebooks_import():
    environment = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    given = {re.split("[=<>]", line)[0] for line in environment["dependencies"]}
    given = {OTHER_NAMES.get(name, name) for name in given}
    needed = imports_of([ROOT / "utils.py", ROOT / "model.py", ROOT / "exercises.py",
                         *(ROOT / "coursepack").glob("**/*.py")])
    needed -= {*sys.stdlib_module_names, "coursepack", "model", "utils"}
    # IPython comes with jupyterlab; numpy, pandas and packaging with the others.
    assert needed - {"IPython", "numpy", "pandas", "packaging", "tqdm"} <= given


def test_devcontainer_installs_with_a_command_of_the_course():
    about = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert about["postCreateCommand"] == "make .venv/bin/ready"
    image = (ROOT / ".devcontainer" / about["build"]["dockerfile"]).read_text()
    assert image.splitlines()[1].startswith("FROM python:3")
    assert all(tool in image for tool in ("chromium", "git", "make"))


def test_citation_has_what_its_format_requires_and_the_version_of_the_changelog():
    assert CITATION["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "date-released"} <= CITATION.keys()
    assert all(author.keys() & {"name", "family-names"} for author in CITATION["authors"])
    day = datetime.date.fromisoformat(CITATION["date-released"])
    newest = re.search(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest.groups() == (CITATION["version"], str(day))
    assert CITATION["license"] in (ROOT / "LICENSE").read_text()


def test_publish_adds_the_badge_of_the_tests_and_the_address_to_cite():
    badge = publish.tests_badge("owner/name")
    assert "owner/name/actions/workflows/tests.yml/badge.svg" in badge
    text = (ROOT / "CITATION.cff").read_text()
    once = publish.cite(text, "owner/name")
    assert yaml.safe_load(once)["repository-code"] == "https://github.com/owner/name"
    assert publish.cite(once, "other/name").count("repository-code") == 1
