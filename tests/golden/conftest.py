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
CHECK = re.compile(r'^exercises\.check\("(\w+)", (\w+)\)$', re.MULTILINE)
ENTER = f"""sys.path.append({str(ROOT / "tests" / "stand_in")!r})
import stand_in
gpu_of_this_test = stand_in.gpu("KIND")
gpu_of_this_test.__enter__()
utils.show = lambda *arguments, **options: plt.close("all")"""
LEAVE = "gpu_of_this_test.__exit__(None, None, None)"


@pytest.hookimpl(tryfirst=True)  # tests/conftest.py puts them behind the cells of their notebooks
def pytest_collection_modifyitems(items):
    first = [item for item in items if isinstance(item, IPyNbCell) and item.cell_num == 0
             and item.path.parent == Path(__file__).parent]
    items += [SecondRun.from_parent(item.parent, name=f"filled in, on {kind}", cell_num=0,
                                    cell=kind, options={})
              for item in first for kind in GPUS.get(item.path.stem[:2], ["cuda"])]


def filled(cell):
    """The source of a cell: an exercise with its printed solution, a prediction of 3."""
    tags = cell.metadata.get("tags", [])
    if "exercise" in tags:
        name, answer = CHECK.search(cell.source).groups()
        assert name == answer
        return f'{exercises.solution_text(name)}\n\n\nexercises.check("{name}", {name})'
    return cell.source.replace("...", "3") if "prediction" in tags else cell.source


class SecondRun(IPyNbCell):
    """All cells but the setup; what they say of answers and predictions, and what they leave."""

    def runtest(self):
        code = [cell for cell in self.parent.nb.cells if cell.cell_type == "code"]
        start = next(i for i, cell in enumerate(code) if cell.id == "setup")
        self.run(ENTER.replace("KIND", self.cell))
        try:
            with tempfile.TemporaryDirectory() as folder:
                smaller = SMALLER | {"runs_dir": folder, "images_dir": folder}
                parameters = "\n".join(cell.source for cell in code[:start])
                if self.path.stem[:2] == "04":
                    del smaller["runs_dir"]
                self.run("\n".join([parameters, *(
                    f"{name} = {value!r}" for name, value in smaller.items()
                    if f"{name}: " in parameters)]))
                said = "".join(self.run(filled(cell)) for cell in code[start + 1:])
                self.check(said, [json.loads(file.read_bytes())
                                  for file in Path(folder).glob("*/record.json")])
        finally:
            self.run(LEAVE)

    def run(self, source):
        """What a cell prints; raises nbval's error, with the source, if it fails."""
        cell = nbformat.v4.new_code_cell(source)
        item = IPyNbCell.from_parent(self.parent, name=self.name, cell_num=0, cell=cell,
                                     options=defaultdict(bool))
        item.runtest()
        return "".join(out.get("text", "") for out in item.test_outputs)

    def check(self, said, records):
        number = self.path.stem[:2]
        solved = sum(one.notebook == number for one in exercises.EXERCISES.values())
        assert len(re.findall(r"^\w+: right\. ", said, re.MULTILINE)) == solved, said
        assert f"{solved} of {solved} exercises done." in said
        assert "No prediction made." not in said
        devices = [record["environment"]["device"] for record in records]
        assert devices == [f"{self.cell}:0"] * (self.path.stem in RECIPES.values())
        if number == "04":  # of the first run: these notebooks keep no pictures
            for name in [*(graph.name.replace(" ", "_") for graph in GRAPHS.values()),
                         *(f"misclassified_{run}" for run in RECIPES)]:
                picture = (ROOT / "runs" / "golden" / "images" / f"{name}.png").stat()
                assert picture.st_size > 10_000
                assert picture.st_mtime > STARTED

    def reportinfo(self):
        return self.path, 0, self.nodeid
