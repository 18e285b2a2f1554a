"""Put the website together and build it: website.py, which leaves it in build/site.

Its pages are those of site/, the notebooks as they are saved, and the Markdown pages of the course;
nothing is executed and nothing fetched. They are copied side by side, as they lie in the course, so
that a link between two of them leads from page to page; a link to any other file leads to the
repository once make publish has stamped its address, and is plain text until then.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import playground
import slides
from findings import slug
from readme import without_badges, write

from coursepack.files import ROOT

BUILD = ROOT / "build"
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "studies/README.md", "tests/README.md",
         "results/*.md", "notebooks/*.ipynb")
SLIDES = "slides.md"
HANDOUTS = ("quiz.gift",)  # files of site/ that a page offers as they are
FIRST = "notebooks/00_normalization_by_hand.ipynb"
STILL = "With twice the channels"  # how the text of its still picture of the explorer begins


def read(place: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / place, as_version=4)


def address() -> list[str]:
    """Repository and tag that make publish has stamped into the notebooks; empty until then."""
    text = "".join(cell.source for cell in read(FIRST).cells)
    return json.loads("[{}]".format(*re.findall(r"(?m)^COURSE_REPO, COURSE_REF = (.*)$", text)))


def modules() -> list[str]:
    """What the reference describes: rooms in their order, which a table of CONTRIBUTING.md says."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = re.findall(r"(?m)^\| `([\w.]+)` \|", text)
    return ["model", "exercises", *(f"coursepack.{room}" for room in rooms)]


def relink(text: str, place: str, pages: dict[str, Path], repo: str, ref: str) -> str:
    """Make each relative link of a page lead somewhere: see the head of this file."""
    if pages[place].parent.name == "site":  # these come to the top
        text = text.replace("](../", "](")

    def mend(match: re.Match) -> str:
        words, target = match.groups()
        if re.match(r"https?:|#|mailto:", target):
            return match[0]
        path = os.path.normpath(Path(place).parent / target.split("#")[0])
        if path == SLIDES:  # no page of Sphinx, whose links to files are downloads
            return f'<a href="slides.html">{words}</a>'
        if path in (*pages, *HANDOUTS) or path.startswith("images/"):
            return match[0]
        module = path.removesuffix(".py").replace("/", ".")
        if module in modules():
            return f"[{words}](/reference/{module}.md)"
        kind = "blob" if Path(path).suffix else "tree"
        return f"[{words}]({repo}/{kind}/{ref}/{path})" if repo else words

    return re.sub(r"(?<!!)\[((?:[^][]|\[[^][]*\])*)\]\(([^()\s]+)\)", mend, text)


def notebook_list(pages: dict[str, Path]) -> str:
    """Goal, needs and time of each notebook, from its own first cell: for the teachers' page."""
    parts = []
    for place in [place for place in pages if place.endswith(".ipynb")]:
        title, *paragraphs = [" ".join(paragraph.split())
                              for paragraph in read(place).cells[0].source.split("\n\n")]
        [goal] = [text for text in paragraphs if text.startswith("**Afterwards you can** ")]
        _, goal, needs, time = re.split(r" ?\*\*(?:Afterwards you can|You need|Time:)\*\* ", goal)
        text = (f"**[{title.lstrip('# ')}]({place})**\n\n- Afterwards one can {goal}\n"
                f"- One needs {needs}\n- Time: {time}\n")
        parts.append(re.sub(r"\]\((\d\d_)", r"](notebooks/\1", text))
    return "\n".join(parts)


def experiments() -> dict[str, str]:
    """Of a question's anchor in notebook 05 or 06 the experiments of playground.md about it."""
    found: dict[str, list[str]] = {}
    text = (ROOT / "site" / "playground.md").read_text(encoding="utf-8")
    for part in re.split(r"(?m)^### ", text)[1:]:
        title = part.split("\n")[0]
        for anchor in sorted({*re.findall(r"notebooks/0[56]_\w+\.ipynb#([\w-]+)", part)}):
            found.setdefault(anchor, []).append(
                f"[{title}](../playground.md#{slug(title)})")
    return {anchor: f"**Train on the page:** {'; '.join(links)}" for anchor, links in found.items()}


def still() -> tuple[bytes, str]:
    """The picture that stands in for the explorer where there is no JavaScript, and its text."""
    [output] = [output for cell in read(FIRST).cells for output in cell.get("outputs", [])
                if STILL in output.get("metadata", {}).get("image/png", {}).get("alt", "")]
    return base64.b64decode(output["data"]["image/png"]), output["metadata"]["image/png"]["alt"]


def stage(folder: Path) -> None:
    """Copy all that the website is made of into an empty folder: notebooks with saved outputs."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = {path.relative_to(ROOT).as_posix(): path  # by their places on the website
             for pattern in PAGES for path in sorted(ROOT.glob(pattern))}
    pages |= {path.name: path for path in sorted(ROOT.glob("site/*.md"))}  # these come to the top
    pages.pop(SLIDES)
    write(folder / "slides.html", slides.page())
    (repo, ref), (picture, alt), trained = address(), still(), experiments()
    explorer = f"```{{container}} norm-explorer\n![{alt}](/explorer.png)\n```"
    parts = {"explorer": explorer, "notebooks": notebook_list(pages),
             "modules": "\n".join(f"reference/{name}" for name in modules())}

    def mended(text: str, place: str) -> str:  # the website has buttons of its own
        return without_badges(relink(text, place, pages, repo, ref))

    for place, path in pages.items():
        if path.suffix == ".ipynb":
            notebook = read(place)
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    heading = re.match(r"#+ (.*)", cell.source)
                    tried = heading and trained.pop(slug(heading[1]), "")
                    cell.source = mended(cell.source, place) + (f"\n\n{tried}" if tried else "")
            if place == FIRST:
                after = next(i for i, cell in enumerate(notebook.cells) if STILL in cell.source)
                text = f"Or choose shape and norm yourself, and point at a number:\n\n{explorer}"
                notebook.cells.insert(after + 1, nbformat.v4.new_markdown_cell(text, id="explorer"))
            text = nbformat.writes(notebook)
        else:
            text = mended(path.read_text(encoding="utf-8"), place)
            for name, part in parts.items():
                text = text.replace(f"<!-- {name} -->", part)
        write(folder / place, text)
    for module in modules():
        write(folder / "reference" / f"{module}.md", f"# {module.removeprefix('coursepack.')}\n\n"
              f"```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```\n")
    write(folder / "address.json", json.dumps([repo, ref]))
    shutil.copytree(ROOT / "images", folder / "images")
    (folder / "explorer.png").write_bytes(picture)
    for name in ("conf.py", "explorer.js", "site.css", "playground/playground.js", *HANDOUTS):
        shutil.copy(ROOT / "site" / name, folder)


def main() -> None:
    stage(BUILD / "source")
    playground.write_data(BUILD / "source")
    shutil.rmtree(BUILD / "site", ignore_errors=True)
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "auto",
                           "-d", BUILD / "doctrees", BUILD / "source", BUILD / "site"])
    if done.returncode:
        sys.exit("The website was not built: see the warnings above.")
    print(f"The website is in {BUILD.relative_to(ROOT) / 'site' / 'index.html'}.")


if __name__ == "__main__":
    main()
