"""The benchmark: both loops do the same mathematics, each part measures its own and is reported."""

import json
import re
import sys

import bench
import pytest
import student_loop
import torch
from torch.utils.data import DataLoader, TensorDataset

from coursepack.data.datasets import load_dataset
from coursepack.files import ROOT
from coursepack.train import batches, loop
from coursepack.train.recipe import Recipe

KEPT = json.loads((ROOT / "results" / "bench.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("norm", bench.DEFAULTS)
def test_student_loop_and_the_same_recipe_take_the_same_step(tmp_path, norm):
    """One batch of all images, so that their order does not count; neither moved nor dropped."""
    data = load_dataset("mnist_sample").head(60)
    recipe = Recipe(**bench.DEFAULTS[norm] | bench.STUDENT | {
        "augment": "none", "dropout": 0.0, "l1": 1e-3, "l2": 1e-2, "batch_size": 60,
        "device": "cpu", "runs_dir": str(tmp_path)})
    ours, theirs = (loop.build_model(recipe, data).double() for _ in range(2))
    row = loop.train_epoch(ours, data, recipe, loop.make_optimizer(ours, recipe), epoch=1)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=recipe.lr, weight_decay=recipe.l2,
                                momentum=recipe.momentum, nesterov=True)
    inputs = batches.to_input(data.train_images, data, torch.float64)
    loader = DataLoader(TensorDataset(inputs, data.train_labels), batch_size=60)
    assert student_loop.train(theirs, loader, optimizer, recipe.l1) == row["accuracy"]
    for one, other in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    loss, accuracy = student_loop.test(theirs, loader)
    assert 0 <= accuracy <= 1 < loss


@pytest.mark.slow
def test_trial_of_every_part(tmp_path, monkeypatch, capsys):
    """Of one norm; each job runs once, one of them in a process of its own; no notebook does."""
    measure, done = bench.measure, {"stub": KEPT["notebooks"]["small"][0] | {"notebook": "stub"}}

    def once(job, *asked):
        if job not in done:
            done[job] = (measure if job == "limit" else bench.work)(job, *asked)
        return done[job]

    for name, value in {"measure": once, "run_notebook": once, "RECIPES": {"": "stub"},
                        "DEFAULTS": {"group": bench.DEFAULTS["group"]}}.items():
        monkeypatch.setattr(bench, name, value)
    command = ["bench.py", "--trial", "--out", str(tmp_path)]
    for parts in (["speed", "profile", "growth"], ["busy", "notebooks", "goal"]):
        monkeypatch.setattr(sys, "argv", [*command, "--parts", *parts])
        bench.main()  # the second time beside what was measured before
    results = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert results["run"] == {"data": "mnist_sample", "source": "sample", "images": 60}
    assert results["turns"] == dict.fromkeys(bench.TABLES, 1)
    assert [case["images"] for case in results["growth"]] == [5, 15, 60, 15, 15]
    profile = results["profile"]["group"]
    for parts, whole in ((profile["sections"], profile["seconds"]), (profile["operations"], 1)):
        assert 0 < sum(parts.values()) < whole
    page = bench.report(results)
    assert page in capsys.readouterr().out
    assert len(re.findall(r"\n\| (?:GN|stub|student|`quick)", page)) == 7
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["goal.png", "speed.png"]
    monkeypatch.setattr(sys, "argv", [*command, "--publish"])
    with pytest.raises(SystemExit, match="this is the sample"):
        bench.main()


def test_report_of_the_kept_numbers_is_the_kept_one():
    assert bench.report(KEPT) == (ROOT / "results" / "bench.md").read_text(encoding="utf-8")
