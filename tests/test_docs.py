"""The pages: generated ones are current, their links and figures exist, every command, too."""

import re

import findings
import nbformat
import pytest
import regression
import report
from helpers import run

from coursepack.files import ROOT

PAGES = [path for folder in (".", "results", "site", "studies", "tests")
         for path in sorted((ROOT / folder).glob("*.md"))]
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
README = TEXT[ROOT / "README.md"]
NOTEBOOKS = {path: "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells
                               if cell.cell_type == "markdown")
             for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


# --------------------------------------------------------------------------- generated pages
def test_what_make_report_writes_is_that_of_the_kept_records_and_saved_notebooks():
    saved, studies = report.load_saved(), report.load_studies()
    questions = findings.read_questions()
    for name, text in [("studies", report.page(saved, studies)),
                       ("laboratory", findings.page(questions))]:
        assert text == TEXT[ROOT / "results" / f"{name}.md"], "make report, and see what changed"
    assert report.summary(studies) in README
    assert findings.summary(questions) in README
    assert {f"study_{study}" for study in studies} == {
        path.stem for path in ROOT.glob("images/study_*.png")}
    for record in [*saved, *(record for records in studies.values() for record in records)]:
        assert record["data"]["source"] != "sample"
        assert not any(record["parameters"][name] for name in ("holdout", "train_size", "data_dir"))
        assert record["parameters"]["runs_dir"].startswith("runs")  # no path of a machine
    assert [int(heading[0]) for heading in questions] == [*range(1, 10)]
    for pieces in questions.values():
        assert {kind for kind, _ in pieces} == {"expected", "figure", "found", "run"}


def test_regression_table_is_of_all_cases_and_each_still_stands_once_where_it_says():
    table = TEXT[ROOT / "results" / "regression.md"]
    for cases, colour in [(regression.MUTANTS, "red"), (regression.MACHINES, "green")]:
        for name, (file, *change) in cases.items():
            assert f"| {name} | {colour} | {colour} |" in table
            if change:  # else a machine's variables
                assert (ROOT / file).read_text(encoding="utf-8").count(change[0]) == 1, name
                assert change[0] != change[1], name


# -------------------------------------------------------------------------- links and figures
def links(text):
    """Targets of the links and figures of a page in Markdown, but for its code."""
    return re.findall(r"\[[^\]\[]*\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.S))


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere_and_every_figure_has_a_text(path):
    text = (TEXT | NOTEBOOKS)[path]
    for target in links(text):
        if not target.startswith(("http:", "https:")):
            file, _, anchor = target.partition("#")
            other = (path.parent / file).resolve() if file else path
            assert other.exists(), target
            headings = re.findall(r"^#+ (.*)$", TEXT.get(other, ""), re.MULTILINE)
            named = [re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings]
            assert not anchor or anchor in named, target  # as GitHub names them
    assert all(len(alt) > 10 for alt, _ in re.findall(r"(?<!\[)!\[(.*?)\]\((.*?)\)", text))


def test_every_page_can_be_reached_from_the_readme_and_every_figure_is_on_one():
    shown, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        page = page / "README.md" if page.is_dir() else page
        if page not in shown:
            shown.add(page)
            todo += [(page.parent / target.partition("#")[0]).resolve()
                     for target in links(TEXT.get(page, ""))]
    assert {*PAGES, *ROOT.glob("images/*.png")} <= shown


# ----------------------------------------------------------------------------------- commands
@pytest.mark.slow
def test_make_help_names_every_command_and_pages_no_other():
    there = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.findall(r"^make (\w+) ", run(["make", "help"]).stdout, re.MULTILINE) == there
    for page, text in TEXT.items():
        if page.name != "CHANGELOG.md":  # what was
            assert {*re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)} <= {*there}, page
