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
BUILT = pytest.mark.skipif(not os.environ.get("SITE"), reason="make browser tests the built site")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "source"
    website.stage(folder)
    return folder


def cells_of(path, kind):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


# ------------------------------------------------------------------- what it is put together from
def test_notebooks_come_as_they_are_saved_and_every_part_of_a_page_is_filled_in(staged):
    teachers = (staged / "teachers.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        ours, theirs = (cells_of(file, "code") for file in (path, staged / "notebooks" / path.name))
        assert ours == theirs
        says = website.about(nbformat.read(path, as_version=4).cells[0].source)
        assert len(says) == 4, path.name
        assert says["title"] in teachers
        assert says["time"] in teachers
    for page in [*staged.glob("*.md"), *(staged / "notebooks").iterdir()]:
        text = page.read_text(encoding="utf-8")
        assert not re.search("<!-- (explorer|notebooks|modules) -->", text)
        explorers = 1 if page.name in ("index.md", website.FIRST) else 0
        assert text.count("{container} norm-explorer") == explorers
    assert (staged / "explorer.png").read_bytes().startswith(b"\x89PNG")
    expected = ["model", "exercises", *(f"coursepack.{room}" for room in website.rooms())]
    assert len(expected) > 20
    assert {path.stem for path in (staged / "reference").iterdir()} == set(expected)


PAGES = {"index.md": Path("index.md"), "results/a.md": Path("results/a.md")}


@pytest.mark.parametrize(("place", "target", "with_address", "without"), [
    ("index.md", "results/a.md#part", "[x](results/a.md#part)", "[x](results/a.md#part)"),
    ("results/a.md", "../index.md", "[x](../index.md)", "[x](../index.md)"),
    ("results/a.md", "../model.py", "[x](../reference/model.md)", "[x](../reference/model.md)"),
    ("results/a.md", "b.csv", "[x](https://host/a/blob/v1/results/b.csv)", "x"),
    ("index.md", "studies/", "[x](https://host/a/tree/v1/studies)", "x"),
    ("index.md", "https://other", "[x](https://other)", "[x](https://other)"),
    ("index.md", "#here", "[x](#here)", "[x](#here)"),
])
def test_a_link_leads_to_a_page_else_to_the_repository_else_it_is_text(
        place, target, with_address, without):
    text = f"[x]({target}), ![figure](images/gone.png)"
    for repo, expected in [("https://host/a", with_address), ("", without)]:
        mended = website.relink(text, place, PAGES, repo, "v1")
        assert mended == f"{expected}, ![figure](images/gone.png)"


@pytest.mark.parametrize("repo", ["", "https://host/a"])
def test_launch_buttons_come_with_an_address_and_only_then(staged, repo):
    pytest.importorskip("sphinx", reason="make site installs it")
    (staged / "address.json").write_text(json.dumps([repo, "v1"]), encoding="utf-8")
    options = runpy.run_path(staged / "conf.py")["html_theme_options"]
    assert options.get("repository_url", "") == repo
    assert ("launch_buttons" in options) == bool(repo)


def test_the_website_asks_no_other_host_and_leaves_out_badges():
    for name in ("explorer.js", "site.css"):
        text = (ROOT / "site" / name).read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[\w./]+", text)) <= {"http://www.w3.org/2000/svg"}
    line = "[![Open in Colab](https://host/badge.svg)](https://host/book)"
    assert website.without_badges(f"# Title\n\n{line}\n\nText.") == "# Title\n\nText."


def test_explorer_begins_with_the_batch_of_the_first_notebook():
    printed = next(output["text"] for cell in cells_of(NOTEBOOKS[0], "code")
                   for output in cell.outputs if "image 0: channel 0:" in output.get("text", ""))
    in_notebook = [float(x) for x in re.findall(r"\d+\.\d+", printed)]
    script = (ROOT / "site" / "explorer.js").read_text(encoding="utf-8")
    table = re.search(r"const FIRST = \[(.*?)\n  \]", script, re.DOTALL)[1]
    assert [float(x) for x in re.findall(r"\d+", table)] == in_notebook


# --------------------------------------------------------------------------- what it was built to
class Page(HTMLParser):
    """The anchors, links, loaded files and images of a page."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loads, self.images = set(), [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, pairs):
        found = dict(pairs)
        self.ids |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in found:
            self.loads.append(found["src"])
        if tag == "link" and found.get("rel") in ("stylesheet", "preload", "icon"):
            self.loads.append(found["href"])
        if tag == "img":
            self.images.append(found)


@pytest.fixture(scope="module")
def built():
    """All pages but the theme's templates."""
    return {path.relative_to(SITE).as_posix(): Page(path) for path in SITE.glob("**/*.html")
            if "_static" not in path.parts}


@BUILT
def test_front_page_is_there_and_all_of_it_is_small(built):
    assert "index.html" in built
    assert sum(path.stat().st_size for path in SITE.glob("**/*") if path.is_file()) < 15e6


@BUILT
def test_every_internal_link_and_anchor_is_alive(built):
    dead, outside = [], set()
    for name, page in built.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                outside.add(link)
                continue
            place = unquote(parts.path)
            place = os.path.normpath(Path(name).parent / place) if place else name
            if place not in built:
                if not (SITE / place).is_file():
                    dead.append(f"{name}: {link}")
            elif parts.fragment and unquote(parts.fragment) not in built[place].ids:
                dead.append(f"{name}: {link}")
    listed = ROOT / "build" / "links_to_other_hosts.txt"  # not followed
    listed.write_text("\n".join(sorted(outside)) + "\n", encoding="utf-8")
    assert dead == []


@BUILT
def test_no_page_loads_a_file_from_another_host(built):
    for name, page in built.items():
        for file in page.loads:
            parts = urlsplit(file)
            assert not parts.netloc, f"{name} loads {file}"
            assert (SITE / Path(name).parent / unquote(parts.path)).is_file(), f"{name}: {file}"


@BUILT
def test_every_figure_has_a_text_that_is_a_sentence_and_in_notebooks_its_own(built):
    alts = {name: [(image["src"], image.get("alt") or "") for image in page.images]
            for name, page in built.items()}
    assert sum(map(len, alts.values())) > 60
    for name, source, alt in [(name, *image) for name, images in alts.items() for image in images]:
        assert re.search(r"[A-Za-z]+ \w+ \w+", alt), f"{name}: {source} says {alt!r}"
        assert not re.search(r"\.(png|svg|html)\b", alt), f"{name}: {alt!r} is a file"
    for path in NOTEBOOKS:
        saved = [output["metadata"]["image/png"]["alt"] for cell in cells_of(path, "code")
                 for output in cell.outputs if "image/png" in output.get("data", {})]
        shown = [alt for source, alt in alts[f"notebooks/{path.stem}.html"]
                 if "explorer" not in source]
        assert shown == saved, path.name
