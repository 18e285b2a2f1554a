"""Where the tools put what they generate: a page in results/, or a part of README.md."""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from coursepack import files


def write(file: Path, text: str) -> None:
    """Write a text, in one piece, into a folder that need not be there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    files.clear_rests(file.parent, file.name)
    files.replace_file(file, partial(Path.write_text, data=text, encoding="utf-8"))


def write_page(name: str, text: str) -> None:
    """Write results/<name>.md."""
    write(files.ROOT / "results" / f"{name}.md", text)


def write_part(name: str, text: str) -> None:
    """Put text into README.md, between its two marks <!-- name -->."""
    readme, mark = files.ROOT / "README.md", f"<!-- {name} -->\n"
    before, _, after = readme.read_text(encoding="utf-8").split(mark)
    write(readme, mark.join([before, text, after]))


def markdown_table(heads: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def without_badges(text: str) -> str:
    """A text without the line that says where it can be opened, which make publish has written."""
    return re.sub(r"(?m)^\[!\[Open in .*\n\n", "", text)
