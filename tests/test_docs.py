"""The pages: generated ones are current, their links and figures exist, every command, too."""

import re

import findings
import nbformat
import pytest
import regression
import report

from coursepack.files import ROOT

PAGES = [path for folder in (".", "results", "site", "studies", "tests")
         for path in sorted((ROOT / folder).glob("*.md"))]
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES} | {
    path: "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells
                      if cell.cell_type == "markdown")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


def test_what_make_report_writes_is_that_of_the_kept_records_and_saved_notebooks():
    saved, kept, questions = report.load_saved(), report.load_studies(), findings.read_questions()
    for name, text in [("studies", report.page(saved, kept)),
                       ("laboratory", findings.page(questions))]:
        assert text == TEXT[ROOT / "results" / f"{name}.md"], "make report, and see what changed"
    assert report.summary(kept) in TEXT[ROOT / "README.md"]
    assert findings.summary(questions) in TEXT[ROOT / "README.md"]
    assert {f"study_{study}" for study in kept} == {
        path.stem for path in ROOT.glob("images/study_*.png")}
    for record in [*saved, *(record for records in kept.values() for record in records)]:
        assert record["data"]["source"] != "sample"
        assert not any(record["parameters"][name] for name in ("holdout", "train_size", "data_dir"))
        assert record["parameters"]["runs_dir"].startswith("runs")  # no path of a machine
    assert [int(heading[0]) for heading in questions] == [*range(1, 10)]
    for pieces in questions.values():
        assert {kind for kind, _ in pieces} == {"expected", "figure", "found", "run"}


def test_regression_table_is_of_all_cases_and_each_still_stands_once_where_it_says():
    for cases, colour in [(regression.MUTANTS, "red"), (regression.MACHINES, "green")]:
        for name, (file, *change) in cases.items():
            assert f"| {name} | {colour} | {colour} |" in TEXT[ROOT / "results" / "regression.md"]
            if change:  # else a machine's variables
                assert (ROOT / file).read_text(encoding="utf-8").count(change[0]) == 1, name
                assert change[0] != change[1], name


def links(text):
    """Targets of the links and figures of a page in Markdown, but for its code."""
    return re.findall(r"\[[^\]\[]*\]\(([^)\s]+)\)", re.sub(r"(?s)```.*?```", "", text))


@pytest.mark.parametrize("path", TEXT, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere_and_every_figure_has_a_text(path):
    for target in links(TEXT[path]):
        if not target.startswith(("http:", "https:")):
            file, _, anchor = target.partition("#")
            other = (path.parent / file).resolve() if file else path
            assert other.exists(), target
            headings = re.findall(r"(?m)^#+ (.*)$", TEXT.get(other, ""))
            named = [re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings]
            assert not anchor or anchor in named, target  # as GitHub names them
    assert all(len(alt) > 10 for alt in re.findall(r"(?<!\[)!\[(.*?)\]\(", TEXT[path]))


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


def test_make_help_describes_every_command_and_pages_name_no_other():
    there = re.findall(r"(?m)^([a-z]+):(.*##)?", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert all(described for _, described in there)
    for page in PAGES:
        if page.name != "CHANGELOG.md":  # what was
            assert {*re.findall(r"(?m)(?:`|^)make ([a-z]+)", TEXT[page])} <= {*dict(there)}, page
