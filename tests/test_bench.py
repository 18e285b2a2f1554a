"""The benchmark: both loops do the same mathematics, each part measures its own and is reported."""

import json
import re
import sys
from pathlib import Path

import bench
import pytest
import steps
import student_loop
import torch
from torch.utils.data import DataLoader, TensorDataset

from coursepack.data.datasets import load_dataset
from coursepack.files import ROOT
from coursepack.train import batches, loop
from coursepack.train.recipe import Recipe

KEPT = json.loads((ROOT / "results" / "bench.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("changed", [(), steps.LOOP[1:]], ids=["as it is", "changed"])
@pytest.mark.parametrize("norm", bench.DEFAULTS)
def test_student_loop_and_the_same_recipe_take_the_same_step(tmp_path, norm, changed):
    """One batch of all images, so that their order does not count; neither moved nor dropped."""
    data = load_dataset("mnist_sample").head(60)
    recipe = Recipe(**bench.DEFAULTS[norm] | bench.STUDENT | {
        "augment": "none", "dropout": 0.0, "l1": 1e-3, "l2": 1e-2, "batch_size": 60,
        "device": "cpu", "runs_dir": str(tmp_path)})
    ours, theirs = (loop.build_model(recipe, data).double() for _ in range(2))
    row = loop.train_epoch(ours, data, recipe, loop.make_optimizer(ours, recipe), epoch=1)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=recipe.lr, momentum=recipe.momentum,
                                weight_decay=0 if changed else recipe.l2, nesterov=True)
    inputs = batches.to_input(data.train_images, data, torch.float64)
    loader = DataLoader(TensorDataset(inputs, data.train_labels), batch_size=60)
    assert student_loop.train(theirs, loader, optimizer, recipe, changed) == row["accuracy"]
    for one, other in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    loss, accuracy = student_loop.test(theirs, loader)
    assert 0 <= accuracy <= 1 < loss


@pytest.mark.parametrize("step", steps.LOOP)
def test_each_step_of_the_loop_trains_as_the_course_does(tmp_path, step):
    """On one batch of all images, so that their order does not count; neither moved nor dropped."""
    sources = [ROOT / "model.py", *ROOT.glob("coursepack/**/*.py"), ROOT / "upkeep/student_loop.py"]
    assert steps.STEPS[step].code in "".join(map(Path.read_text, sources))
    data = load_dataset("mnist_sample").head(60)
    recipe = Recipe(**bench.DEFAULTS["group"] | bench.STUDENT | {
        "augment": "none", "dropout": 0.0, "l1": 1e-2, "l2": 1e-1, "lr": 0.1, "momentum": 0.0,
        "batch_size": 60, "epochs": 3, "device": "cpu", "runs_dir": str(tmp_path)})
    rows = student_loop.run(data, recipe, steps.LOOP[1 : steps.LOOP.index(step) + 1])["epochs"]
    for row, own in zip(rows, loop.train(loop.build_model(recipe, data), data, recipe)):
        for value in ("accuracy", "test_loss", "test_accuracy"):
            assert row[value] == pytest.approx(own[value], rel=1e-5)


@pytest.mark.slow
def test_trial_of_every_part(tmp_path, monkeypatch, capsys):
    """Of one norm; one job runs in a process of its own, and no notebook does."""
    measure, stub = bench.measure, KEPT["notebooks"]["small"][0] | {"notebook": "stub"}
    for name, value in {"measure": lambda job, *asked: (
                            measure if job == "beside" else bench.work)(job, *asked),
                        "run_notebook": lambda *asked: stub, "RECIPES": {"": "stub"},
                        "DEFAULTS": {"group": bench.DEFAULTS["group"]}}.items():
        monkeypatch.setattr(bench, name, value)
    command = ["bench.py", "--trial", "--out", str(tmp_path)]
    for parts in (["speed", "profile", "growth"], ["busy", "notebooks", "steps"]):
        monkeypatch.setattr(sys, "argv", [*command, "--parts", *parts])
        bench.main()  # the second time beside what was measured before
    results = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert results["run"] == {"data": "mnist_sample", "source": "sample", "images": 60}
    assert results["turns"] == dict.fromkeys(bench.PARTS, 1)
    assert [case["images"] for case in results["growth"]] == [5, 15, 60, 15, 15]
    profile = results["profile"]["group"]
    for parts, whole in ((profile["sections"], profile["seconds"]), (profile["operations"], 1)):
        assert 0 < sum(parts.values()) < whole
    page = bench.report(results)
    assert page in capsys.readouterr().out
    assert len(re.findall(r"\n\| (?:GN|stub)", page)) == 5
    ladder = (tmp_path / "steps.md").read_text(encoding="utf-8")
    names = [step.name for step in steps.STEPS.values()]
    assert re.findall(r"\n\| \d+\. (.*?) \|", ladder) == names
    assert {f"{part}.png" for part in bench.PLOTS} == {path.name for path in tmp_path.glob("*.png")}
    monkeypatch.setattr(sys, "argv", [*command, "--publish"])
    with pytest.raises(SystemExit, match="this is the sample"):
        bench.main()


def test_report_of_the_kept_numbers_is_the_kept_one():
    page, ladder = ((ROOT / "results" / name).read_text(encoding="utf-8")
                    for name in ("bench.md", "steps.md"))
    assert page == bench.report(KEPT)
    assert ladder.startswith(bench.steps_page(KEPT, bench.ladder(KEPT)))
    explained = re.findall(r"(?m)^\d+\. \*\*(.*?)\.\*\*", ladder)
    assert [*map(str.lower, explained)] == [step.name.lower() for step in steps.STEPS.values()]
