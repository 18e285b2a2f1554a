"""The pages: generated ones are current, their links and figures exist, every command, too."""

import re

import findings
import nbformat
import pytest
import regression
import report
from helpers import run

from coursepack.files import ROOT

FOLDERS = [path for path in ROOT.iterdir() if path.is_dir()
           and not re.match(r"\.|(runs|build|data)$", path.name)]
PAGES = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in folder.rglob("*.md"))])
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
README = TEXT[ROOT / "README.md"]
NOTEBOOKS = {path: "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells
                               if cell.cell_type == "markdown")
             for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
REPORT = "what make report writes has changed: run it, and look at the difference"
MAKE = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


# --------------------------------------------------------------------------- generated pages
def test_page_of_studies_is_that_of_the_kept_records():
    """They are of full data; a recipe that misses its goal is one on other seeds or a first try."""
    saved, studies = report.load_saved(), report.load_studies()
    assert report.page(saved, studies) == TEXT[ROOT / "results" / "studies.md"], REPORT
    assert report.summary(studies) in README, REPORT
    assert {f"study_{study}" for study in studies} == {
        path.stem for path in ROOT.glob("images/study_*.png")}
    for record in [*saved, *(record for records in studies.values() for record in records)]:
        assert record["data"]["source"] != "sample"
        assert [record["parameters"][name] for name in ("holdout", "train_size", "data_dir")] == [
            0, 0, ""]
        assert record["parameters"]["runs_dir"].startswith("runs")  # no path of a machine
    for study, records in studies.items():
        rows = report.goal_rows({study: records})
        if not study.endswith(("_fresh", "_first")):
            assert [row for row in rows if row[-1].endswith("missed")] == []


def test_findings_on_pages_are_those_that_the_notebooks_print():
    questions = findings.read_questions()
    found = findings.summary(questions)
    assert found in README, REPORT
    assert findings.page(questions) == TEXT[ROOT / "results" / "laboratory.md"], REPORT
    for pieces in questions.values():
        assert {kind for kind, _ in pieces} == {"expected", "figure", "found", "run"}
    assert [int(n) for n in re.findall(r"^- \*\*(\d)\.", found, re.MULTILINE)] == [*range(1, 10)]


def test_regression_table_is_of_all_cases_and_each_still_stands_once_where_it_says():
    table = TEXT[ROOT / "results" / "regression.md"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[4:]]
    cases = regression.MUTANTS | regression.MACHINES
    assert [row[0] for row in rows][: len(cases)] == [*cases]
    for name, expected, found, *_ in rows:
        assert expected == found == ("red" if name in regression.MUTANTS else "green")
    for name, (file, old, new) in [(name, case) for name, case in cases.items() if len(case) == 3]:
        assert (ROOT / file).read_text(encoding="utf-8").count(old) == 1, name
        assert new != old


# -------------------------------------------------------------------------- links and figures
def links(text):
    """Text and target of each link and figure of a page in Markdown, but for its code."""
    return re.findall(r"\[([^\]\[]*)\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.S))


def anchors(text):
    """What links may point at in a page: its headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path, text):
    for _, target in links(text):
        if not target.startswith(("http:", "https:")):
            file, _, anchor = target.partition("#")
            other = (path.parent / file).resolve() if file else path
            if not other.exists() or (
                    anchor and anchor not in anchors(other.read_text(encoding="utf-8"))):
                yield target


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere_and_every_figure_has_a_text(path):
    text = (TEXT | NOTEBOOKS)[path]
    assert list(broken_links(path, text)) == []
    assert all(len(alt) > 10 for alt, _ in re.findall(r"(?<!\[)!\[(.*?)\]\((.*?)\)", text))


def test_every_page_can_be_reached_from_the_readme_and_every_figure_is_on_one():
    targets = {page: {(page.parent / target.partition("#")[0]).resolve()
                      for _, target in links(text)} for page, text in TEXT.items()}
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        page = page / "README.md" if page.is_dir() else page
        if page not in reached and page in TEXT:
            reached.add(page)
            todo += targets[page]
    assert {*PAGES} == reached
    assert {*ROOT.glob("images/*.png")} <= set().union(*targets.values())


# ----------------------------------------------------------------------------------- commands
def test_every_make_command_of_a_page_exists():
    for page, text in TEXT.items():
        if page.name != "CHANGELOG.md":  # what was
            named = re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)
            assert {*named} <= {*MAKE}, page


@pytest.mark.slow
def test_make_help_names_every_command():
    assert re.findall(r"^make (\w+) ", run(["make", "help"]).stdout, re.MULTILINE) == MAKE
