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

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_notebooks_come_as_they_are_saved_and_every_part_of_a_page_is_filled_in(tmp_path):
    website.stage(tmp_path)
    teachers = (tmp_path / "teachers.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert code_cells(path) == code_cells(tmp_path / "notebooks" / path.name)
        title = nbformat.read(path, as_version=4).cells[0].source.split("\n")[0].lstrip("# ")
        assert f"**[{title}](notebooks/{path.name})**" in teachers
    for page in [*tmp_path.glob("*.md"), *tmp_path.glob("notebooks/*")]:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<!-- (explorer|notebooks|modules) -->|\[!\[Open in", text)
        explorers = text.count("{container} norm-explorer")
        assert explorers == (page.name in ("index.md", Path(website.FIRST).name))
    pytest.importorskip("sphinx", reason="make site installs it")
    for repo in ("", "https://host/a"):  # buttons that open a notebook elsewhere
        (tmp_path / "address.json").write_text(json.dumps([repo, "v1"]), encoding="utf-8")
        options = runpy.run_path(tmp_path / "conf.py")["html_theme_options"]
        assert options.get("repository_url", "") == repo
        assert ("launch_buttons" in options) == bool(repo)


def test_a_link_leads_to_a_page_else_to_the_repository_else_it_is_text():
    pages = {"index.md": Path("site/index.md"), "results/a.md": Path("results/a.md")}
    host = "https://host/a"
    for repo, file, folder in [("", "x", "x"), (host, f"[x]({host}/blob/v1/results/b.csv)",
                                                f"[x]({host}/tree/v1/studies)")]:
        for place, text, expected in [
                ("results/a.md", "[x](b.csv)", file), ("index.md", "[x](../studies/)", folder),
                ("results/a.md", "[x](../model.py)", "[x](/reference/model.md)"),
                ("index.md", "[x](../results/a.md#part)", "[x](results/a.md#part)"),
                *(("results/a.md", same, same) for same in (
                    "[x](../index.md)", "[x](https://other)", "[x](#here)", "![x](gone.png)"))]:
            assert website.relink(text, place, pages, repo, "v1") == expected


def elements_of(path):
    """The tag and the attributes of every element of a page."""
    found, parser = [], HTMLParser()
    parser.handle_starttag = lambda tag, pairs: found.append((tag, dict(pairs)))
    parser.feed(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.skipif(not os.environ.get("SITE"), reason="make browser tests the built site")
def test_built_pages_link_to_what_is_there_and_say_what_each_figure_shows():
    site, outside = website.BUILD / "site", set()
    pages = {path: elements_of(path) for path in site.glob("**/*.html")
             if "_static" not in path.parts}  # where the theme's templates are
    anchors = {path: {found.get(key) for _, found in elements for key in ("id", "name")}
               for path, elements in pages.items()}
    for page, elements in pages.items():
        for tag, found in elements:
            target = found.get("href") or found.get("src") or ""
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                assert tag == "a" or parts.scheme == "data", f"{page} asks another host: {target}"
                outside.add(target)
            else:
                place = (page.parent / unquote(parts.path)).resolve() if parts.path else page
                assert place.is_file(), f"{page}: {target}"
                assert not parts.fragment or unquote(parts.fragment) in anchors[place], target
            if tag == "img":
                assert re.search(r"[A-Za-z]+ \w+ \w+", found["alt"]), f"{page}: {target}"
                assert not re.search(r"\.(png|svg|html)\b", found["alt"]), f"{page}: {target}"
    for path in NOTEBOOKS:
        saved = [output["metadata"]["image/png"]["alt"] for cell in code_cells(path)
                 for output in cell.outputs if "image/png" in output.get("data", {})]
        assert saved == [found["alt"] for tag, found in pages[site / f"notebooks/{path.stem}.html"]
                         if tag == "img" and "explorer" not in found["src"]], path.name
    (website.BUILD / "links_to_other_hosts.txt").write_text(  # these are not followed
        "\n".join(sorted(outside)) + "\n", encoding="utf-8")
