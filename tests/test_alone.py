"""A notebook opened alone, as Colab opens it: it fetches the course and runs.

Some run to their end. All have one setup cell (test_notebooks.py), so of the others the cells up to
the check of their parameters are enough; the rest of them is run elsewhere.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TO_THE_END = ("00", "01", "04")


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """A git repository with the course as it is in the working tree."""
    folder = tmp_path_factory.mktemp("remote")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "course"], ["tag", "v1"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    return folder


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """An empty folder, with wrong model.py and utils.py in it and earlier on the path."""
    decoys = tmp_path / "decoys"
    folder = tmp_path / "alone"
    for place in (decoys, folder):
        place.mkdir()
        for name in ("model.py", "utils.py"):
            (place / name).write_text("raise ImportError('this is a decoy')\n")
    monkeypatch.setenv("PYTHONPATH", str(decoys))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("TQDM_DISABLE", "1")
    for name in ("DATA_DIR", "COURSE_REPO", "COURSE_REF"):
        monkeypatch.delenv(name, raising=False)
    return folder


def execute(path, folder):
    notebook = nbformat.read(path, as_version=4)
    small = {"epochs: int = 20": "epochs: int = 1", "train_size: int = 0": "train_size: int = 400"}
    if not path.name.startswith("01"):  # one without data and network is enough: it takes seconds
        small |= {'dataset: str = "mnist"': 'dataset: str = "mnist_sample"'}
    for old, new in small.items():
        notebook.cells[1].source = notebook.cells[1].source.replace(old, new)
    if not path.name.startswith(TO_THE_END):
        check = next(i for i, cell in enumerate(notebook.cells) if "globals()" in cell.source)
        notebook.cells = notebook.cells[: check + 1]
    NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_alone(path, remote, alone, monkeypatch):
    monkeypatch.setenv("COURSE_REPO", str(remote))
    monkeypatch.setenv("COURSE_REF", "v1")
    execute(path, alone)
    assert (alone / "course" / "model.py").is_file()


@pytest.mark.parametrize(("repo", "said"), [
    ("", "set the environment variable COURSE_REPO"), ("nowhere", "Could not fetch nowhere at")])
def test_alone_without_a_repository_says_what_to_do(repo, said, alone, monkeypatch):
    monkeypatch.setenv("COURSE_REPO", repo)
    with pytest.raises(CellExecutionError, match=said):
        execute(NOTEBOOKS[0], alone)


def test_publish_stamps_notebooks_and_badges(remote, tmp_path):
    shutil.copytree(remote, tmp_path / "course", ignore=shutil.ignore_patterns(".git"))
    publish = [sys.executable, "tools/publish.py"]
    for repo, ref in (("someone/course", "v1"), ("owner/name", "v2")):
        subprocess.run([*publish, repo, ref], cwd=tmp_path / "course", check=True)
    course = tmp_path / "course"
    for path in [*(course / "notebooks").glob("*.ipynb"), course / "README.md"]:
        text = path.read_text()
        assert "someone" not in text
        assert text.count("colab.research.google.com/github/owner/name/blob/v2/notebooks/") == 1
        if path.suffix == ".ipynb":
            assert 'COURSE_REPO, COURSE_REF = \\"https://github.com/owner/name\\", \\"v2\\"' in text
            assert ("mybinder" in text) == path.name.startswith("04")
    refused = subprocess.run([*publish], cwd=tmp_path / "course", capture_output=True, text=True)
    assert refused.returncode != 0
    assert "make publish REPO=owner/name REF=tag" in refused.stderr
