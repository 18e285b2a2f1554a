"""How Sphinx builds the website from what upkeep/website.py has put together."""

import json
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

SOURCE = Path(__file__).resolve().parent
COURSE = SOURCE.parents[1]
sys.path.insert(0, str(COURSE))  # model, exercises and the rooms, for their docstrings

project = html_title = "Normalization, L1 and L2"
author = copyright = "The authors of the course"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["README.md"]  # the front page includes it
html_theme = "sphinx_book_theme"
html_extra_path = ["slides.html"]
html_static_path = ["site.css", "explorer.js", "playground.js", "playground-data.js"]
html_css_files = ["site.css"]
html_js_files = [("explorer.js", {"defer": "defer"})]
html_show_sphinx = html_show_copyright = html_copy_source = False
html_use_index = html_domain_indices = False
html_theme_options = {"use_download_button": False, "show_toc_level": 2,
                      "max_navbar_depth": 1, "home_page_in_toc": True,
                      "navbar_persistent": [], "footer_content_items": []}

nb_execution_mode = "off"  # outputs as saved
nb_merge_streams = True
nb_number_source_lines = False
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_block", "deflist"]

default_role = "code"  # a docstring says `name`
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
add_module_names = False

REPO, REF = json.loads((SOURCE / "address.json").read_text(encoding="utf-8"))
if REPO:  # make publish has said where the course is
    html_theme_options |= {
        "repository_url": REPO, "repository_branch": REF, "use_repository_button": True,
        "launch_buttons": {"notebook_interface": "jupyterlab",
                           "colab_url": "https://colab.research.google.com",
                           "binderhub_url": "https://mybinder.org"}}


def keep_alternative_texts(app: Sphinx, doctree: nodes.document) -> None:
    """Give each figure of a notebook the text that its output carries; myst-nb drops it."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    outputs = [output for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
               for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    figures = [node for node in doctree.findall(nodes.image) if "jupyter_execute" in node["uri"]]
    if len(outputs) != len(figures):
        raise ValueError(f"{path.name} has {len(outputs)} figures, its page {len(figures)}.")
    for output, figure in zip(outputs, figures):
        figure["alt"] = output["metadata"]["image/png"]["alt"]


def plain_docstring(app: Sphinx, what: str, name: str, thing: object, options: object,
                    lines: list[str]) -> None:
    """Docstrings here are plain text: what reStructuredText would take for markup is escaped.

    Lines of aligned columns stay lines.
    """
    for i, line in enumerate(lines):
        parts = re.split(r"(`[^`]*`)", line)  # code stays as it is
        lines[i] = "".join(part if part.startswith("`") else re.sub(r"([*|\\]|_\b)", r"\\\1", part)
                           for part in parts)
        if re.search(r"\S {2,}\S", line):
            lines[i] = re.sub(r"^( *)", r"\1| ", lines[i])


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", keep_alternative_texts)
    app.connect("autodoc-process-docstring", plain_docstring)
