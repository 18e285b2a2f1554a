"""The website: what it is put together from; and, where make site has built it, what it became."""

import json
import os
import re
import runpy
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import website

from coursepack.files import ROOT

SITE = ROOT / "build" / "site"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


# ------------------------------------------------------------------- what it is put together from
def test_notebooks_come_as_they_are_saved_and_every_part_of_a_page_is_filled_in(tmp_path):
    staged = tmp_path / "source"
    website.stage(staged)
    teachers = (staged / "teachers.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert code_cells(path) == code_cells(staged / "notebooks" / path.name)
        says = website.about(nbformat.read(path, as_version=4).cells[0].source)
        assert len(says) == 4, path.name
        assert says["title"] in teachers
        assert says["time"] in teachers
    for page in [*staged.glob("*.md"), *(staged / "notebooks").iterdir()]:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<!-- (explorer|notebooks|modules) -->|\[!\[Open in", text)
        explorers = 1 if page.name in ("index.md", website.FIRST) else 0
        assert text.count("{container} norm-explorer") == explorers
    assert (staged / "explorer.png").read_bytes().startswith(b"\x89PNG")
    expected = ["model", "exercises", *(f"coursepack.{room}" for room in website.rooms())]
    assert {path.stem for path in (staged / "reference").iterdir()} == set(expected)
    pytest.importorskip("sphinx", reason="make site installs it")
    for repo in ("", "https://host/a"):  # buttons that open a notebook elsewhere
        (staged / "address.json").write_text(json.dumps([repo, "v1"]), encoding="utf-8")
        options = runpy.run_path(staged / "conf.py")["html_theme_options"]
        assert options.get("repository_url", "") == repo
        assert ("launch_buttons" in options) == bool(repo)


@pytest.mark.parametrize(("repo", "file", "folder"), [
    ("", "x", "x"),
    ("https://host/a", "[x](https://host/a/blob/v1/results/b.csv)",
     "[x](https://host/a/tree/v1/studies)")])
def test_a_link_leads_to_a_page_else_to_the_repository_else_it_is_text(repo, file, folder):
    pages = {"index.md": Path("index.md"), "results/a.md": Path("results/a.md")}
    for place, text, expected in [
            ("results/a.md", "[x](b.csv)", file),
            ("index.md", "[x](studies/)", folder),
            ("results/a.md", "[x](../model.py)", "[x](../reference/model.md)"),
            *(("index.md", same, same) for same in (
                "[x](results/a.md#part)", "[x](https://other)", "[x](#here)", "![x](gone.png)")),
            ("results/a.md", "[x](../index.md)", "[x](../index.md)")]:
        assert website.relink(text, place, pages, repo, "v1") == expected


def test_explorer_begins_with_the_batch_of_the_first_notebook():
    printed = next(output["text"] for cell in code_cells(NOTEBOOKS[0])
                   for output in cell.outputs if "image 0: channel 0:" in output.get("text", ""))
    in_notebook = [float(x) for x in re.findall(r"\d+\.\d+", printed)]
    script = (ROOT / "site" / "explorer.js").read_text(encoding="utf-8")
    table = re.search(r"const FIRST = \[(.*?)\n  \]", script, re.DOTALL)[1]
    assert [float(x) for x in re.findall(r"\d+", table)] == in_notebook


# --------------------------------------------------------------------------- what it was built to
class Page(HTMLParser):
    """The elements of a page, each with its attributes; and what links may point at in it."""

    def __init__(self, path):
        super().__init__()
        self.elements = []
        self.feed(path.read_text(encoding="utf-8"))
        self.anchors = {found.get(key) for _, found in self.elements for key in ("id", "name")}

    def handle_starttag(self, tag, pairs):
        self.elements.append((tag, dict(pairs)))


@pytest.mark.skipif(not os.environ.get("SITE"), reason="make browser tests the built site")
def test_built_pages_are_small_link_to_what_is_there_and_say_what_each_figure_shows():
    pages = {path.relative_to(SITE).as_posix(): Page(path) for path in SITE.glob("**/*.html")
             if "_static" not in path.parts}  # where the theme's templates are
    assert "index.html" in pages
    assert sum(path.stat().st_size for path in SITE.glob("**/*") if path.is_file()) < 15e6
    outside = set()
    for name, page in pages.items():
        for tag, found in page.elements:
            target = found.get("href") or found.get("src") or ""
            parts = urlsplit(target)
            place = os.path.normpath(Path(name).parent / unquote(parts.path))
            place = place if parts.path else name
            if parts.scheme or parts.netloc:
                assert tag == "a" or parts.scheme == "data", f"{name} asks another host: {target}"
                outside.add(target)
            else:
                assert (SITE / place).is_file(), f"{name}: {target}"
                assert not parts.fragment or unquote(parts.fragment) in pages[place].anchors, target
            if tag == "img":
                assert re.search(r"[A-Za-z]+ \w+ \w+", found["alt"]), f"{name}: {target}"
                assert not re.search(r"\.(png|svg|html)\b", found["alt"]), f"{name}: {target}"
    for path in NOTEBOOKS:
        saved = [output["metadata"]["image/png"]["alt"] for cell in code_cells(path)
                 for output in cell.outputs if "image/png" in output.get("data", {})]
        elements = pages[f"notebooks/{path.stem}.html"].elements
        assert saved == [found["alt"] for tag, found in elements
                         if tag == "img" and "explorer" not in found["src"]], path.name
    (ROOT / "build" / "links_to_other_hosts.txt").write_text(  # these are not followed
        "\n".join(sorted(outside)) + "\n", encoding="utf-8")
