"""The website: what it is put together from. Where make site built it: tests/test_browser.py."""

import re
from pathlib import Path

import nbformat
import website
from helpers import code_cells

from coursepack.files import ROOT


def test_notebooks_come_as_they_are_saved_and_every_part_of_a_page_is_filled_in(tmp_path):
    website.stage(tmp_path)
    menu, behind = ({*re.findall(r"(?m)^[\w/]+$", (tmp_path / name).read_text(encoding="utf-8"))}
                    for name in ("index.md", "built.md"))
    assert {"CONTRIBUTING", "results/faults", "results/regression", "tests/README"} <= behind - menu
    teachers = (tmp_path / "teachers.md").read_text(encoding="utf-8")
    for path in ROOT.glob("notebooks/*.ipynb"):
        assert code_cells(path) == code_cells(tmp_path / "notebooks" / path.name)
        title = nbformat.read(path, as_version=4).cells[0].source.split("\n")[0].lstrip("# ")
        assert f"**[{title}](notebooks/{path.name})**" in teachers
    for anchor, links in website.experiments().items():  # a question links to what links to it
        cells = [cell.source for path in tmp_path.glob("notebooks/0[56]*.ipynb")
                 for cell in nbformat.read(path, 4).cells if links in cell.source]
        assert anchor in [website.slug(cell.split("\n")[0].lstrip("# ")) for cell in cells]
    for page in [*tmp_path.glob("*.md"), *tmp_path.glob("notebooks/*")]:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<!-- (explorer|notebooks|modules) -->|\[!\[Open in", text)
        explorers = text.count("{container} norm-explorer")
        assert explorers == (page.name in ("index.md", Path(website.FIRST).name))


def test_a_link_leads_to_a_page_else_to_the_repository_else_it_is_text():
    pages = {"index.md": Path("site/index.md"), "results/a.md": Path("results/a.md")}
    host = "https://host/a"
    for repo, text, expected in [
            ("", "[x](../model.py)", "[x](/reference/model.md)"),
            ("", "[x](../results/a.md#part)", "[x](results/a.md#part)"),
            ("", "[x](../studies/)", "x"),
            (host, "[x](../studies/)", f"[x]({host}/tree/v1/studies)"),
            (host, "[x](../results/b.csv)", f"[x]({host}/blob/v1/results/b.csv)"),
            *((host, same, same) for same in ("[x](https://other)", "[x](#here)"))]:
        assert website.relink(text, "index.md", pages, repo, "v1") == expected
