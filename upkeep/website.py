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

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "studies/README.md", "tests/README.md",
         "results/*.md")
STATIC = ("explorer.js", "site.css")
FIRST = "00_normalization_by_hand.ipynb"
STILL = "With twice the channels"  # how the text of its still picture of the explorer begins


def address() -> tuple[str, str]:
    """Repository and tag that make publish has stamped into the notebooks; empty until then."""
    text = "".join(cell.source for cell in read(FIRST).cells)
    values = re.search(r'^COURSE_REPO, COURSE_REF = (".*", ".*")$', text, re.MULTILINE)
    return tuple(json.loads(f"[{values[1]}]"))


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "notebooks" / name, as_version=4)


def sources() -> dict[str, Path]:
    """Every page by its place on the website: pages of site/ come to the top."""
    paths = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    paths += sorted((ROOT / "notebooks").glob("*.ipynb"))
    pages = {path.relative_to(ROOT).as_posix(): path for path in paths}
    return pages | {path.name: path for path in sorted((ROOT / "site").glob("*.md"))}


def rooms() -> list[str]:
    """The rooms of coursepack in their order, which stands in a table of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([\w.]+)` \|", text, re.M)


def modules() -> list[str]:
    """What the reference describes."""
    return ["model", "exercises", *(f"coursepack.{room}" for room in rooms())]


def relink(text: str, place: str, pages: dict[str, Path], repo: str, ref: str) -> str:
    """Make each relative link of a page lead somewhere: see the head of this file."""
    if pages.get(place, ROOT).parent == ROOT / "site":  # these come to the top
        text = text.replace("](../", "](")

    def mend(match: re.Match) -> str:
        words, target = match.groups()
        if re.match(r"https?:|#|mailto:", target):
            return match[0]
        path = os.path.normpath(Path(place).parent / target.split("#")[0])
        if path in pages or path.startswith("images/"):
            return match[0]
        module = path.removesuffix(".py").replace("/", ".")
        if module in modules():
            up = "../" * place.count("/")
            return f"[{words}]({up}reference/{module}.md)"
        kind = "blob" if Path(path).suffix else "tree"
        return f"[{words}]({repo}/{kind}/{ref}/{path})" if repo else words

    return re.sub(r"(?<!!)\[((?:[^][]|\[[^][]*\])*)\]\(([^()\s]+)\)", mend, text)


def without_badges(text: str) -> str:
    """The website has its own buttons, and asks no other host for a picture."""
    return re.sub(r"^\[!\[Open in .*\n\n", "", text, flags=re.MULTILINE)


def about(source: str) -> dict[str, str]:
    """What the first cell of a notebook says of it: its title, goal, needs and time."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in source.split("\n\n")]
    goal = next(text for text in paragraphs if text.startswith("**Afterwards you can** "))
    _, *texts = re.split(r" ?\*\*(?:Afterwards you can|You need|Time:)\*\* ", goal)
    return dict(zip(["title", "goal", "needs", "time"], [paragraphs[0].lstrip("# "), *texts]))


def notebook_list() -> str:
    """Goal, needs and time of each notebook, from its own first cell: for the teachers' page."""
    parts = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        says = {name: re.sub(r"\]\((\d\d_)", r"](notebooks/\1", text)
                for name, text in about(read(path.name).cells[0].source).items()}
        parts.append(f"**[{says['title']}](notebooks/{path.name})**\n\n"
                     f"- Afterwards one can {says['goal']}\n- One needs {says['needs']}\n"
                     f"- Time: {says['time']}\n")
    return "\n".join(parts)


def still() -> tuple[bytes, str]:
    """The picture that stands in for the explorer where there is no JavaScript, and its text."""
    outputs = [output for cell in read(FIRST).cells for output in cell.get("outputs", [])
               if STILL in output.get("metadata", {}).get("image/png", {}).get("alt", "")]
    (output,) = outputs
    return base64.b64decode(output["data"]["image/png"]), output["metadata"]["image/png"]["alt"]


def explorer(up: str) -> str:
    return f"```{{container}} norm-explorer\n![{still()[1]}]({up}explorer.png)\n```"


def stage_notebook(path: Path, place: str, pages: dict[str, Path], repo: str, ref: str) -> str:
    """A notebook as the website shows it: saved outputs, its own links, no badges."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = without_badges(relink(cell.source, place, pages, repo, ref))
    if path.name == FIRST:
        after = next(i for i, cell in enumerate(notebook.cells) if STILL in cell.source)
        text = f"Or choose shape and norm yourself, and point at a number:\n\n{explorer('../')}"
        notebook.cells.insert(after + 1, nbformat.v4.new_markdown_cell(text, id="explorer"))
    return nbformat.writes(notebook)


def stage(folder: Path) -> None:
    """Copy all that the website is made of into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    pages, (repo, ref) = sources(), address()
    parts = {"explorer": explorer(""), "notebooks": notebook_list(),
             "modules": "\n".join(f"reference/{name}" for name in modules())}
    for place, path in pages.items():
        to = folder / place
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".ipynb":
            to.write_text(stage_notebook(path, place, pages, repo, ref), encoding="utf-8")
        else:
            text = without_badges(relink(path.read_text(encoding="utf-8"), place, pages, repo, ref))
            for name, part in parts.items():
                text = text.replace(f"<!-- {name} -->", part)
            to.write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "images", folder / "images")
    (folder / "explorer.png").write_bytes(still()[0])
    (folder / "_static").mkdir()
    for name in STATIC:
        shutil.copy(ROOT / "site" / name, folder / "_static" / name)
    shutil.copy(ROOT / "site" / "conf.py", folder)
    (folder / "address.json").write_text(json.dumps([repo, ref]), encoding="utf-8")
    (folder / "reference").mkdir()
    for module in modules():
        (folder / "reference" / f"{module}.md").write_text(
            f"# {module.removeprefix('coursepack.')}\n\n"
            f"```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```\n",
            encoding="utf-8")


def main() -> None:
    stage(BUILD / "source")
    shutil.rmtree(BUILD / "site", ignore_errors=True)
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "auto",
                           "-d", BUILD / "doctrees", BUILD / "source", BUILD / "site"])
    if done.returncode:
        sys.exit("The website was not built: see the warnings above.")
    for unused in (BUILD / "site").glob("**/*.map"):  # for debugging the theme's own files
        unused.unlink()
    print(f"The website is in {BUILD.relative_to(ROOT) / 'site' / 'index.html'}.")


if __name__ == "__main__":
    main()
