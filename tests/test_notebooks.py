"""The committed notebooks: their form, and that they run from everywhere and survive a kill."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest
import study

from coursepack.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RECIPES = [path for path in NOTEBOOKS if path.name[:2] in ("01", "02", "03")]
NBCONVERT = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace"]
SMALL = {"epochs": 1, "train_size": 400, "device": "cpu"}


@pytest.fixture
def folder():
    """An empty folder inside the course, because Jupyter starts a kernel in its notebook's."""
    (ROOT / "runs").mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="test-", dir=ROOT / "runs"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def no_data(monkeypatch, tmp_path):
    """A data folder without data: the sample is used."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens: no download
    monkeypatch.setenv("TQDM_DISABLE", "1")


def run(command, cwd=ROOT):
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)


def papermill_command(name, output, **parameters):
    pairs = [part for key, value in parameters.items() for part in ("-p", key, value)]
    notebook = ROOT / "notebooks" / name
    return [sys.executable, "-m", "papermill", "--no-progress-bar", notebook, output, *pairs]


def outputs(path):
    notebook = nbformat.read(path, as_version=4)
    return [out for cell in notebook.cells for out in cell.get("outputs", [])]


# ---------------------------------------------------------------------------------------- form
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_form(path):
    text, notebook = path.read_text(), nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info.name == "python"
    assert not {"papermill", "widgets"} & set(notebook.metadata)
    assert [i for i, cell in enumerate(notebook.cells)
            if "parameters" in cell.metadata.get("tags", [])] == [1]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert {out.output_type for cell in code for out in cell.outputs} <= {
        "stream", "display_data", "execute_result"}
    assert not re.search(r'(?<![:\w/])/(home|root|tmp|work|Users|content|usr)/|[A-Z]:\\\\', text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_typed_and_explained(path):
    source = nbformat.read(path, as_version=4).cells[1].source
    described = papermill.inspect_notebook(path)
    for line in source.splitlines():
        name = line.split(":")[0]
        assert re.fullmatch(r"\w+: (str|int|float|bool) = [^=]+  # [^=]+", line)
        assert described[name]["help"] == line.split("# ", 1)[1]
    assert len(described) == len(source.splitlines())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_saved_figure_has_alt_text(path):
    assert not re.search(r"!\[\s*\]\(", path.read_text())
    images = [out for out in outputs(path) if "image/png" in out.get("data", {})]
    assert all(out.metadata["image/png"]["alt"] for out in images)
    assert images


def test_recipe_notebooks_are_one_story():
    def story(path):
        cells = nbformat.read(path, as_version=4).cells
        return [cell.source for i, cell in enumerate(cells) if cell.cell_type == "code" and i != 1]

    def parameters(path):
        return {name: p["default"] for name, p in papermill.inspect_notebook(path).items()}

    assert story(RECIPES[0]) == story(RECIPES[1]) == story(RECIPES[2])
    first = parameters(RECIPES[0])
    for path in RECIPES[1:]:
        other = parameters(path)
        assert {k for k in first if first[k] != other[k]} <= {"norm", "l1", "l2", "run_name"}


@pytest.mark.parametrize(("path", "own"), zip(RECIPES, [
    {"l1": 1e-5, "l2": 1e-4, "run_name": "bn_l1_l2"},
    {"norm": "group", "l1": 1e-5, "run_name": "gn_l1"},
    {"norm": "layer", "l2": 1e-4, "run_name": "ln_l2"},
]), ids=[path.stem for path in RECIPES])
def test_defaults_are_those_of_a_recipe_but_for_these(path, own):
    """Recipe's defaults fill an old record, so a new parameter has to have them here as well."""
    expected = {field.name: field.default for field in fields(Recipe)} | {"lr": 0.05} | own
    assert study.notebook_defaults(path.stem) == expected


# ---------------------------------------------------------------------------------------- runs
def test_course_from_three_places(folder):
    """papermill from the root and from notebooks/, nbconvert in the notebook's own folder."""
    starts = [ROOT, ROOT / "notebooks", ROOT]
    for path, cwd in zip(RECIPES, starts):
        done = run(papermill_command(path.name, folder / path.name, runs_dir=folder, **SMALL), cwd)
        assert done.returncode == 0, done.stderr[-3000:]
    summary = folder / "04_summary.ipynb"
    done = run(papermill_command(summary.name, summary, runs_dir=folder, images_dir=folder,
                                 shown=10), ROOT / "notebooks")
    assert done.returncode == 0, done.stderr[-3000:]
    names = ["training_loss", "test_loss", "training_accuracy", "test_accuracy",
             "misclassified_bn_l1_l2", "misclassified_gn_l1", "misclassified_ln_l2"]
    assert all((folder / f"{name}.png").stat().st_size > 10_000 for name in names)
    for name in ("bn_l1_l2", "gn_l1", "ln_l2"):
        record = json.loads((folder / name / "record.json").read_text())
        assert record["data"]["source"] == "sample"
        assert record["parameters"]["run_name"] == name
    done = run([*NBCONVERT, folder / RECIPES[0].name, summary])
    assert done.returncode == 0, done.stderr[-3000:]
    assert "SAMPLE" in "".join(out.get("text", "") for out in outputs(folder / RECIPES[0].name))


def test_notebook_by_hand_where_jupyter_starts_it(folder):
    shutil.copy(NOTEBOOKS[0], folder)
    done = run([*NBCONVERT, folder / NOTEBOOKS[0].name])
    assert done.returncode == 0, done.stderr[-3000:]


def test_one_changed_digit_in_a_saved_output_is_noticed(folder):
    golden = ROOT / "tests" / "golden" / NOTEBOOKS[0].name
    assert golden.read_text().count("mean 4.8125") == 1
    changed = folder / golden.name
    changed.write_text(golden.read_text().replace("mean 4.8125", "mean 4.8126"))
    done = run([sys.executable, "-m", "pytest", "-q", "--nbval", changed])
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert f"{golden.name}::Cell 8" in failed[0]


def test_summary_without_records_says_which_command_makes_them(folder):
    command = papermill_command("04_summary.ipynb", folder / "out.ipynb", runs_dir=folder,
                                images_dir=folder)
    done = run(command)
    assert done.returncode != 0
    assert "papermill notebooks/01_batch_norm_l1_l2.ipynb" in done.stderr


@pytest.mark.parametrize(("name", "value", "said"), [
    ("epoch", 5, "Did you mean 'epochs'"), ("norm", "btach", "Did you mean 'batch'")])
def test_wrong_parameter_stops_before_training(folder, name, value, said):
    done = run(papermill_command("01_batch_norm_l1_l2.ipynb", folder / "out.ipynb",
                                 runs_dir=folder, **{name: value}))
    assert done.returncode != 0
    assert said in done.stderr
    assert not list(folder.glob("*/*"))


def test_killed_kernel_continues(folder):
    """SIGKILL in mid-training; the same command goes on and ends like an undisturbed run."""
    def command(runs_dir):
        return papermill_command("02_group_norm_l1.ipynb", folder / "out.ipynb",
                                 runs_dir=runs_dir, **{**SMALL, "epochs": 6, "train_size": 1500})

    def history(runs_dir):
        record = json.loads((runs_dir / "gn_l1" / "record.json").read_text())
        return [{k: v for k, v in row.items() if not k.endswith("seconds")}
                for row in record["epochs"]]

    process = subprocess.Popen([str(part) for part in command(folder / "killed")], cwd=ROOT,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run_dir = folder / "killed" / "gn_l1"
    while process.poll() is None and not list(run_dir.glob("unfinished-*.pt")):
        time.sleep(0.02)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    assert process.wait() != 0
    assert not (run_dir / "record.json").exists()

    done = run(command(folder / "killed"))
    assert done.returncode == 0, done.stderr[-3000:]
    printed = "".join(out.get("text", "") for out in outputs(folder / "out.ipynb"))
    assert "continuing after epoch" in printed
    run(command(folder / "undisturbed"))
    assert history(folder / "killed") == history(folder / "undisturbed")


def test_cifar_parameters(folder):
    """The network and parameters of CIFAR-10, on a small file in its layout."""
    import numpy as np

    rng = np.random.default_rng(0)
    data = {f"{x}_{split}": rng.integers(0, high, (40, 32, 32, 3)[: 4 if x == "x" else 1]).astype(
        np.uint8) for split in ("train", "test") for x, high in (("x", 256), ("y", 10))}
    np.savez(Path(os.environ["DATA_DIR"]) / "cifar10.npz", **data)
    command = papermill_command("03_layer_norm_l2.ipynb", folder / "out.ipynb", epochs=1,
                                runs_dir=folder)
    done = run([*command, "-f", ROOT / "notebooks" / "params" / "cifar10.yaml"])
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((folder / "ln_l2" / "record.json").read_text())
    assert record["parameter_count"] == 34_872
