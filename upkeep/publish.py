"""Stamp the repository into the notebooks and badges: publish.py owner/name tag.

A notebook opened alone then fetches exactly this version of the course. Run it before tagging.
"""

import re
import sys
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from readme import without_badges, write

from coursepack.files import ROOT

HOST = "https://github.com"
OWNER_NAME = r"[A-Za-z0-9](-?[A-Za-z0-9]){0,38}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}"  # as on GitHub
TAG = r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*"  # what git and an address take as it is


def badges(repo: str, ref: str, notebook: str) -> str:
    """One line of markdown: where a notebook can be opened."""
    path, colab = f"{repo}/blob/{ref}/notebooks/{notebook}", "https://colab.research.google.com"
    links = [("Colab", f"{colab}/assets/colab-badge.svg", f"{colab}/github/{path}"),
             ("Kaggle", "https://kaggle.com/static/images/open-in-kaggle.svg",
              f"https://kaggle.com/kernels/welcome?src={HOST}/{path}"),
             ("Codespaces", "https://github.com/codespaces/badge.svg",
              f"https://codespaces.new/{repo}?ref={ref}")]
    if notebook.startswith("04"):
        links.append(("Binder", "https://mybinder.org/badge_logo.svg",
                      f"https://mybinder.org/v2/gh/{repo}/{ref}?labpath=notebooks/{notebook}"))
    return " ".join(f"[![Open in {name}]({image})]({link})" for name, image, link in links)


def stamp(text: str, line: str) -> str:
    """Put a line of badges below the first heading, in place of an earlier one."""
    return without_badges(text).replace("\n\n", f"\n\n{line}\n\n", 1)


def stamp_notebook(path: Path, repo: str, ref: str) -> str:
    """The text of a notebook with badges, and with the repository and ref as texts in its setup."""
    notebook = nbformat.read(path, as_version=4)
    title, setup = notebook.cells[0], next(cell for cell in notebook.cells if cell.id == "setup")
    title.source = stamp(title.source, badges(repo, ref, path.name))
    line = f'COURSE_REPO, COURSE_REF = "{HOST}/{repo}", "{ref}"'
    setup.source, times = re.subn(r"(?m)^COURSE_REPO, COURSE_REF = .*$", line, setup.source)
    assert times == 1, f"the setup of {path.name} has {times} lines to stamp"
    return nbformat.writes(notebook) + "\n"


def stamped(repo: str, ref: str) -> dict[Path, str]:
    """The new text of each file that says where the course is."""
    texts = {path: stamp_notebook(path, repo, ref) for folder in ("notebooks", "tests/golden")
             for path in sorted((ROOT / folder).glob("*.ipynb"))}
    readme, citation, address = ROOT / "README.md", ROOT / "CITATION.cff", f"{HOST}/{repo}"
    tests = f"{address}/actions/workflows/tests.yml"
    line = badges(repo, ref, "00_normalization_by_hand.ipynb")
    texts[readme] = stamp(readme.read_text(encoding="utf-8"),
                          f"{line} [![Tests]({tests}/badge.svg)]({tests})")
    rest = re.sub(r"(?m)^repository-code: .*\n", "", citation.read_text(encoding="utf-8"))
    return texts | {citation: f'{rest}repository-code: "{address}"\n'}


def main() -> None:
    repo, ref = sys.argv[1:] if len(sys.argv) == 3 else ("", "")
    if not (re.fullmatch(OWNER_NAME, repo) and re.fullmatch(TAG, ref)):
        sys.exit(f"REPO={repo[:60]!r} is no repository on GitHub, or REF={ref[:60]!r} no tag.\n"
                 "Say where the course will be: make publish REPO=owner/name REF=v1.0.0")
    for path, text in stamped(repo, ref).items():  # all are read before the first is written
        write(path, text)
        print("stamped", path.relative_to(ROOT))


if __name__ == "__main__":
    main()
