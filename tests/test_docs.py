"""The pages: generated ones are current, their links and figures exist, every command, too."""

import re

import findings
import nbformat
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


def test_regression_table_is_of_all_cases_and_each_still_stands_once_where_it_says():
    for cases, colour in [(regression.MUTANTS, "red"), (regression.MACHINES, "green")]:
        for name, (file, *change) in cases.items():
            assert f"| {name} | {colour} | {colour} |" in TEXT[ROOT / "results" / "regression.md"]
            if change:  # else a machine's variables
                assert (ROOT / file).read_text(encoding="utf-8").count(change[0]) == 1, name


def test_links_lead_somewhere_figures_have_a_text_and_no_page_or_figure_is_forgotten():
    linked = {ROOT / "README.md"}
    for path, text in TEXT.items():
        for target in re.findall(r"\[[^\]\[]*\]\(([^)\s]+)\)", re.sub(r"(?s)```.*?```", "", text)):
            if not target.startswith(("http:", "https:")):
                file, _, anchor = target.partition("#")
                other = (path.parent / file).resolve() if file else path
                assert other.exists(), f"{path}: {target}"
                other = other / "README.md" if other.is_dir() else other
                linked |= {other} - {path}
                headings = re.findall(r"(?m)^#+ (.*)$", TEXT.get(other, ""))
                named = [re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings]
                assert not anchor or anchor in named, f"{path}: {target}"  # as GitHub names them
        assert not re.search(r"(?m)^%(?!%)", text), path  # Sphinx leaves out such a line
        assert all(len(alt) > 10 for alt in re.findall(r"(?<!\[)!\[(.*?)\]\(", text)), path
    assert {*PAGES, *ROOT.glob("images/*.png")} <= linked


def test_pages_name_commands_that_there_are():
    there = re.findall(r"(?m)^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"))
    for page in PAGES:
        if page.name != "CHANGELOG.md":  # what was
            assert {*re.findall(r"(?m)(?:`|^)make ([a-z]+)", TEXT[page])} <= {*there}, page
