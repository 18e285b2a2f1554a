"""Stamp the repository into the notebooks and badges: publish.py owner/name tag.

A notebook opened alone then fetches exactly this version of the course. Run it before tagging.
"""

import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent


def badges(repo: str, ref: str, notebook: str) -> str:
    """One line of markdown: where a notebook can be opened."""
    path = f"{repo}/blob/{ref}/notebooks/{notebook}"
    colab = "https://colab.research.google.com"
    links = [("Open in Colab", f"{colab}/assets/colab-badge.svg", f"{colab}/github/{path}"),
             ("Open in Kaggle", "https://kaggle.com/static/images/open-in-kaggle.svg",
              f"https://kaggle.com/kernels/welcome?src=https://github.com/{path}"),
             ("Open in Codespaces", "https://github.com/codespaces/badge.svg",
              f"https://codespaces.new/{repo}?ref={ref}")]
    if notebook.startswith("04"):
        links.append(("Open in Binder", "https://mybinder.org/badge_logo.svg",
                      f"https://mybinder.org/v2/gh/{repo}/{ref}?labpath=notebooks/{notebook}"))
    return " ".join(f"[![{name}]({image})]({link})" for name, image, link in links)


def tests_badge(repo: str) -> str:
    """Whether the tests pass there, for the README."""
    workflow = f"https://github.com/{repo}/actions/workflows/tests.yml"
    return f"[![Tests]({workflow}/badge.svg)]({workflow})"


def cite(text: str, repo: str) -> str:
    """CITATION.cff with the address of the repository, in place of an earlier one."""
    text = re.sub(r"^repository-code: .*\n", "", text, flags=re.MULTILINE)
    return f'{text}repository-code: "https://github.com/{repo}"\n'


def stamp(text: str, line: str) -> str:
    """Put a line of badges below the first heading, in place of an earlier one."""
    text = re.sub(r"^\[!\[Open in .*\n\n", "", text, flags=re.MULTILINE)
    heading, rest = text.split("\n\n", 1)
    return f"{heading}\n\n{line}\n\n{rest}"


def main() -> None:
    if len(sys.argv) != 3 or not re.fullmatch(r"[\w.-]+/[\w.-]+", sys.argv[1]):
        sys.exit("Say where the course will be: make publish REPO=owner/name REF=tag")
    repo, ref = sys.argv[1:]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[0].source = stamp(notebook.cells[0].source, badges(repo, ref, path.name))
        for cell in notebook.cells:
            cell.source = re.sub(
                r'^COURSE_REPO, COURSE_REF = .*$',
                f'COURSE_REPO, COURSE_REF = "https://github.com/{repo}", "{ref}"',
                cell.source, flags=re.MULTILINE)
        nbformat.write(notebook, path)
        print("stamped", path.name)
    readme = ROOT / "README.md"
    first = badges(repo, ref, "00_normalization_by_hand.ipynb")
    readme.write_text(stamp(readme.read_text(), f"{first} {tests_badge(repo)}"))
    citation = ROOT / "CITATION.cff"
    citation.write_text(cite(citation.read_text(), repo))


if __name__ == "__main__":
    main()
