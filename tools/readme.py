"""What the tools have in common: their results stand in the README between two marks."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def keep(name: str, text: str) -> None:
    """Write text to results/<name>.md, and into the README between its marks <!-- name -->."""
    (ROOT / "results" / f"{name}.md").write_text(text)
    readme, mark = ROOT / "README.md", f"<!-- {name} -->\n"
    before, _, after = readme.read_text().split(mark)
    readme.write_text(mark.join([before, text, after]))
