"""Each golden notebook runs a second time, in the kernel that its comparison has left.

Now there is a GPU, the stand-in (tests/README.md), and whatever a learner has to fill in is filled
in. With fewer images and no pictures this takes a quarter of the first run.
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
ENTER = f"""sys.path.append({str(ROOT / "tests" / "stand_in")!r})
import stand_in
gpu_of_this_test = stand_in.gpu("KIND")
gpu_of_this_test.__enter__()
utils.show = lambda *arguments, **options: plt.close("all")"""
LEAVE = "gpu_of_this_test.__exit__(None, None, None)"
FIGURES = [*(graph.name.replace(" ", "_") for graph in GRAPHS.values()),
           *(f"misclassified_{run}" for run in RECIPES)]


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
                said = "".join(self.run(filled(cell)) for cell in code[setup + 1:])
                self.check(said, [json.loads(file.read_bytes())["environment"]["device"]
                                  for file in Path(folder).glob("*/record.json")])
        finally:
            self.run(LEAVE)

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
        for name in FIGURES if number == "04" else ():  # of the first run, beside its notebook
            picture = (ROOT / "runs" / "golden" / "images" / f"{name}.png").stat()
            assert picture.st_size > 10_000
            assert picture.st_mtime > STARTED

    def reportinfo(self):
        return self.path, 0, self.nodeid
