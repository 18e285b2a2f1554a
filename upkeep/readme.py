"""Where the tools put what they generate: a page in results/, or a part of README.md."""

from collections.abc import Sequence

from coursepack import files


def write_page(name: str, text: str) -> None:
    """Write results/<name>.md, in one piece."""
    page = files.ROOT / "results" / f"{name}.md"
    files.replace_file(page, lambda path: path.write_text(text, encoding="utf-8"))


def write_part(name: str, text: str) -> None:
    """Put text into README.md, between its two marks <!-- name -->."""
    readme, mark = files.ROOT / "README.md", f"<!-- {name} -->\n"
    before, _, after = readme.read_text(encoding="utf-8").split(mark)
    whole = mark.join([before, text, after])
    files.replace_file(readme, lambda path: path.write_text(whole, encoding="utf-8"))


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
