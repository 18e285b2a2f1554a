"""Each golden notebook runs a second time, in the kernel that its comparison has left.

Now there is a GPU, the stand-in (tests/README.md), and whatever a learner fills in is filled in.
"""

import json
import re
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbCell

import exercises
from coursepack.files import ROOT
from coursepack.runs.records import RECIPES
from coursepack.show.figures import GRAPHS

STARTED = time.time()
GPUS = {"01": ("cuda", "mps")}  # of the others CUDA's alone
SMALLER = {"train_size": 200, "epochs": 1, "live_images": 64, "device": "auto", "shown": 2}
# What only draws or describes a table of results, as the first run did; and steps on the CPU.
QUIET = ("plot_effect", "plot_runs", "plot_path", "plot_graph", "plot_differences",
         "plot_misclassified", "add_note", "draw_power", "dunnett", "describe_differences")
LEFT_OUT = ("setup", "why-learn")
ENTER = f"""sys.path.append({str(ROOT / "tests" / "stand_in")!r})
from unittest import mock
import stand_in
gpu_of_this_test = stand_in.gpu("KIND")
gpu_of_this_test.__enter__()
import gc
gc.freeze()  # statsmodels collects garbage at each correction: seconds beside PyTorch
utils.show = lambda *arguments, **options: plt.close("all")
for name in {QUIET}:
    setattr(utils, name, mock.MagicMock())
def first_images(*arguments, load=utils.load_dataset):
    data = load(*arguments)
    return data._replace(test_images=data.test_images[:100], test_labels=data.test_labels[:100])
utils.load_dataset = first_images"""


@pytest.hookimpl(tryfirst=True)  # tests/conftest.py puts them behind the cells of their notebooks
def pytest_collection_modifyitems(items):
    items += [SecondRun.from_parent(item.parent, name=f"filled in, on {kind}", cell_num=0,
                                    cell=kind, options={})
              for item in items if item.path.parent == Path(__file__).parent
              and isinstance(item, IPyNbCell) and item.cell_num == 0
              for kind in GPUS.get(item.path.stem[:2], ["cuda"])]


def filled(cell):
    """The source of a cell: an exercise with its printed solution, a prediction of 3."""
    if "exercise" in cell.metadata.get("tags", []):
        call = re.search(r'^exercises\.check\("(\w+)", \1\)$', cell.source, re.MULTILINE)
        return f"{exercises.solution_text(call[1])}\n\n\n{call[0]}"
    is_prediction = "prediction" in cell.metadata.get("tags", [])
    return cell.source.replace("...", "3") if is_prediction else cell.source


class SecondRun(IPyNbCell):
    """All cells but the setup; what they say of answers and predictions, and what they leave."""

    def runtest(self):
        code = [cell for cell in self.parent.nb.cells if cell.cell_type == "code"]
        [setup] = [i for i, cell in enumerate(code) if cell.id == "setup"]
        self.run(ENTER.replace("KIND", self.cell))
        try:
            with tempfile.TemporaryDirectory() as folder:
                parameters = "\n".join(cell.source for cell in code[:setup])
                smaller = SMALLER | {"images_dir": folder}
                if self.path.stem in RECIPES.values():  # the summary reads what is kept
                    smaller["runs_dir"] = folder
                self.run(parameters + "".join(f"\n{name} = {value!r}" for name, value in
                                              smaller.items() if f"{name}: " in parameters))
                said = "".join(self.run(filled(cell)) for cell in code[setup:]
                               if cell.id not in LEFT_OUT)
                self.check(said, [json.loads(file.read_bytes())["environment"]["device"]
                                  for file in Path(folder).glob("*/record.json")])
        finally:
            self.run("gpu_of_this_test.__exit__(None, None, None)")

    def run(self, source):
        """What a cell prints; raises nbval's error, with the source, if it fails."""
        item = IPyNbCell.from_parent(self.parent, name=self.name, cell_num=0,
                                     cell=nbformat.v4.new_code_cell(source),
                                     options=defaultdict(bool))
        item.runtest()
        return "".join(out.get("text", "") for out in item.test_outputs)

    def check(self, said, devices):
        number = self.path.stem[:2]
        solved = sum(one.notebook == number for one in exercises.EXERCISES.values())
        assert len(re.findall(r"^\w+: right\. ", said, re.MULTILINE)) == solved, said
        assert f"{solved} of {solved} exercises done." in said
        assert "No prediction made." not in said
        assert devices == [f"{self.cell}:0" for name in RECIPES.values() if name == self.path.stem]
        if number == "04":  # what the first run drew, beside its notebook
            graphs = {graph.name.replace(" ", "_") for graph in GRAPHS.values()}
            drawn = {file.stem for file in (ROOT / "runs" / "golden" / "images").glob("*.png")
                     if file.stat().st_size > 10_000 and file.stat().st_mtime > STARTED}
            assert graphs | {f"misclassified_{run}" for run in RECIPES} <= drawn
