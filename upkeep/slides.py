"""Slides of site/slides.md, a page of HTML that stands alone: for each section its question, then
its figure, with what was found. slides.py leaves them in build/slides.html, and printed by Chromium
in build/slides.pdf.

A section names its figure by a notebook and a cell, such as <!-- 05 rates-full found 1 -->, and
which of the sentences that this question's cells print stands beside it. What is quoted (> ...)
comes before that.
"""

import html
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
from nbconvert.filters import markdown2html

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import findings

from coursepack.files import ROOT

INTRODUCTION = re.compile(r"# (.+)\n\n([^#]+)")
SECTION = re.compile(r"## (?P<title>.+)\n\n<!-- (?P<notebook>\d\d) (?P<cell>[\w-]+)"
                     r"(?: found (?P<found>\d))? -->\n(?P<question>[^>]+)(?P<answer>[^#]*)")
HEAD = """<!DOCTYPE html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title><style>
@page {{size: 1280px 720px; margin: 0}}
html {{font-size: calc(100vw / 80); scroll-snap-type: y proximity}}
@media print {{html {{font-size: 16px}}}}
body {{font: 2rem/1.4 sans-serif; color: #222; margin: 0; background: #fff}}
section {{width: 80rem; height: 45rem; box-sizing: border-box; padding: 2rem 4rem;
  overflow: hidden; position: relative; break-after: page; scroll-snap-align: start;
  display: flex; flex-direction: column; justify-content: center}}
section + section {{border-top: 1px solid #ddd}}
h1, h2 {{font-size: 2.6rem; line-height: 1.2; margin: 0 0 2rem}} p {{margin: 0 0 1rem}}
.shown {{justify-content: start; padding: 1.5rem 2rem}}
.shown h2 {{font-size: 2rem; margin: 0 0 .5rem}}
.shown div {{display: flex; gap: 1.5rem; align-items: center; flex: 1; min-height: 0}}
.shown img {{max-width: 56rem; max-height: 39rem}}
.shown aside {{font-size: 1.6rem}} .shown aside * {{margin-left: 0; margin-right: 0}}
footer {{position: absolute; right: 2rem; bottom: 1rem; font-size: 1.4rem; color: #555}}
</style>"""


def read() -> tuple[re.Match, list[re.Match]]:
    """Title and text of site/slides.md, and its sections. Raises ValueError where one is odd."""
    text = (ROOT / "site" / "slides.md").read_text(encoding="utf-8")
    head, *parts = re.split(r"(?m)^(?=## )", text)
    for part in parts:
        if not SECTION.fullmatch(part):
            raise ValueError(f"site/slides.md: a section is a title, a figure, a question and what "
                             f"is quoted, in this order, and not:\n{part}")
    return INTRODUCTION.fullmatch(head), [*map(SECTION.fullmatch, parts)]


@cache
def cells(notebook: str) -> dict[str, nbformat.NotebookNode]:
    """The cells of a saved notebook by their ids."""
    [path] = ROOT.glob(f"notebooks/{notebook}_*.ipynb")
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}


def figure(notebook: str, cell_id: str) -> str:
    """The first figure of a cell of a saved notebook, as HTML."""
    cell = cells(notebook)[cell_id]
    output = next(out for out in cell.outputs if "image/png" in out.get("data", {}))
    data = output.data["image/png"].replace("\n", "")
    alt = html.escape(output.metadata["image/png"]["alt"])
    return f'<img alt="{alt}" src="data:image/png;base64,{data}">'


def found(section: re.Match) -> str:
    """What stands beside the figure of a section, as Markdown."""
    answer = re.sub(r"(?m)^> ?", "", section["answer"]).strip()
    if section["found"]:
        pieces = findings.read_questions()[section["title"]]
        sentences = [text for text in pieces if text.startswith(findings.FOUND)]
        answer += sentences[int(section["found"]) - 1].removeprefix(findings.FOUND)
    return answer


def page() -> str:
    """All slides, each a section of HTML."""
    (title, text), parts = read()[0].groups(), read()[1]
    slides = [f"<h1>{html.escape(title)}</h1>{markdown2html(text)}"]
    for one in parts:
        head, foot = f"<h2>{html.escape(one['title'])}</h2>", f"<footer>{one['notebook']}</footer>"
        slides += [f"{head}{markdown2html(one['question'])}{foot}",
                   f"{head}<div>{figure(one['notebook'], one['cell'])}"
                   f"<aside>{markdown2html(found(one))}</aside></div>{foot}"]
    return HEAD.format(title=html.escape(title)) + "<main>" + "\n".join(
        f"<section{' class=shown' if '<img' in slide else ''}>{slide}</section>"
        for slide in slides) + "</main></html>"


def chromium() -> str | None:
    """The browser that prints, measures and tests the website, where there is one."""
    return shutil.which("chromium") or shutil.which("google-chrome")


def main() -> None:
    place = ROOT / "build" / "slides.html"
    place.parent.mkdir(exist_ok=True)
    place.write_text(page(), encoding="utf-8")
    if not (browser := chromium()):
        sys.exit("build/slides.html is written. For a PDF it takes Chromium, which is not here: "
                 "open the page in any browser, and print it.")
    subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu",
                    "--no-pdf-header-footer", f"--print-to-pdf={place.with_suffix('.pdf')}",
                    place.as_uri()], check=True, stderr=subprocess.DEVNULL)
    print("The slides are in build/slides.html and build/slides.pdf.")


if __name__ == "__main__":
    main()
