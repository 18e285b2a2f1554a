"""Stamp the repository into the notebooks and badges: publish.py owner/name tag.

A notebook opened alone then fetches exactly this version of the course. Run it before tagging.
"""

import json
import re
import sys
from pathlib import Path
from urllib.parse import quote

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from readme import write

from coursepack.files import ROOT

OWNER_NAME = r"[A-Za-z0-9](-?[A-Za-z0-9]){0,38}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}"  # as on GitHub
# What git check-ref-format --branch refuses, here also where there is no git.
NO_REF = re.compile(r"^(@|HEAD)?$|^-|[\0- \x7f~^:?*[\\]|\.\.|@\{|//|(^|/)\.|\.lock(/|$)|^/|[/.]$")


def check(repo: str, ref: str) -> None:
    """Raise ValueError unless they can be a repository on GitHub and a branch or tag of it."""
    if not re.fullmatch(OWNER_NAME, repo):
        raise ValueError(f"REPO={repo[:60]!r} is no repository on GitHub.")
    if NO_REF.search(ref):
        raise ValueError(f"REF={ref[:60]!r} is no name for a tag or a branch.")


def badges(repo: str, ref: str, notebook: str) -> str:
    """One line of markdown: where a notebook can be opened."""
    path = f"{repo}/blob/{quote(ref)}/notebooks/{notebook}"
    source = quote(f"https://github.com/{path}", safe="/:")
    colab = "https://colab.research.google.com"
    links = [("Open in Colab", f"{colab}/assets/colab-badge.svg", f"{colab}/github/{path}"),
             ("Open in Kaggle", "https://kaggle.com/static/images/open-in-kaggle.svg",
              f"https://kaggle.com/kernels/welcome?src={source}"),
             ("Open in Codespaces", "https://github.com/codespaces/badge.svg",
              f"https://codespaces.new/{repo}?ref={quote(ref, safe='')}")]
    if notebook.startswith("04"):
        binder = f"https://mybinder.org/v2/gh/{repo}/{quote(ref, safe='')}"
        links.append(("Open in Binder", "https://mybinder.org/badge_logo.svg",
                      f"{binder}?labpath=notebooks/{notebook}"))
    return " ".join(f"[![{name}]({image})]({link})" for name, image, link in links)


def stamp(text: str, line: str) -> str:
    """Put a line of badges below the first heading, in place of an earlier one."""
    text = re.sub(r"^\[!\[Open in .*\n\n", "", text, flags=re.MULTILINE)
    heading, rest = text.split("\n\n", 1)
    return f"{heading}\n\n{line}\n\n{rest}"


def stamp_notebook(path: Path, repo: str, ref: str) -> str:
    """The text of a notebook with badges, and with the repository and ref as texts in its setup."""
    notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    title = notebook.cells[0]
    title.source = stamp(title.source, badges(repo, ref, path.name))
    [setup] = [cell for cell in notebook.cells if cell.id == "setup"]
    values = json.dumps([f"https://github.com/{repo}", ref], ensure_ascii=False)[1:-1]
    setup.source, times = re.subn(r"(?m)^COURSE_REPO, COURSE_REF = .*$",
                                  lambda _: f"COURSE_REPO, COURSE_REF = {values}", setup.source)
    assert times == 1, f"the setup of {path.name} has {times} lines to stamp"
    return nbformat.writes(notebook) + "\n"


def stamped(repo: str, ref: str) -> dict[Path, str]:
    """The new text of each file that says where the course is."""
    texts = {path: stamp_notebook(path, repo, ref) for folder in ("notebooks", "tests/golden")
             for path in sorted((ROOT / folder).glob("*.ipynb"))}
    readme, citation = ROOT / "README.md", ROOT / "CITATION.cff"
    address = f"https://github.com/{repo}"
    tests = f"{address}/actions/workflows/tests.yml"
    line = badges(repo, ref, "00_normalization_by_hand.ipynb")
    texts[readme] = stamp(readme.read_text(encoding="utf-8"),
                          f"{line} [![Tests]({tests}/badge.svg)]({tests})")
    rest = re.sub(r"(?m)^repository-code: .*\n", "", citation.read_text(encoding="utf-8"))
    texts[citation] = f'{rest}repository-code: "{address}"\n'
    return texts


def main() -> None:
    try:
        repo, ref = sys.argv[1:] if len(sys.argv) == 3 else ("", "")
        check(repo, ref)
    except ValueError as error:
        sys.exit(f"{error}\nSay where the course will be: make publish REPO=owner/name REF=tag")
    for path, text in stamped(repo, ref).items():  # all are read before the first is written
        write(path, text)
        print("stamped", path.relative_to(ROOT))


if __name__ == "__main__":
    main()
