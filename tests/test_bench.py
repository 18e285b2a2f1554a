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
TURNS = [  # a turn of each part: jobs, what is changed in the notebook's recipe, images
    [("student", bench.STUDENT, 60), ("pack", bench.STUDENT, 60), ("pack", {}, 60),
     ("limit", {}, 60)],
    [("limit", {}, 60), ("profile", {}, 60)],
    [("pack", {"batch_size": batch}, images) for images, batch in (
        (5, 128), (15, 128), (60, 128), (15, 32), (15, 512))],
    [("pack", {}, 60), ("beside", {}, 60)],
    [("plain student", bench.STUDENT, 60),
     ("pack", {"arch": "mnist_8k", "lr": 0.1, "run_name": "quick"}, 60)],
]


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
    kinds = [type(module) for module in student_loop.build({"dropout": 0.1}).modules()]
    assert kinds.count(torch.nn.Dropout) == 5


@pytest.mark.slow
def test_trial_of_every_part(tmp_path, monkeypatch, capsys):
    """Of one norm; each job runs once, one of them in a process of its own; no notebook does."""
    own, asked = bench.DEFAULTS["group"], []
    done = {"stub": KEPT["notebooks"]["small"][0] | {"notebook": "stub"}}
    ways = {"limit": bench.measure}

    def once(*case):
        asked.append(case)
        if case[0] not in done:
            done[case[0]] = ways.get(case[0], bench.work)(*case)
        return done[case[0]]

    for name, value in {"measure": once, "run_notebook": once, "RECIPES": {"": "stub"},
                        "DEFAULTS": {"group": own}}.items():
        monkeypatch.setattr(bench, name, value)
    for name in ("turns", "seeds"):
        monkeypatch.setattr(bench.TRIAL, name, 2)
    command = ["bench.py", "--trial", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*command, "--publish"])
    with pytest.raises(SystemExit, match="not published: this is the sample"):
        bench.main()
    expected = [(job, own | {"seed": seed, "epochs": 1} | changes, "mnist_sample", images)
                for turn in TURNS for seed in (1, 2) for job, changes, images in turn]
    small = {"dataset": "mnist_sample", "epochs": 1}
    expected[-4:-4] = [("stub", small | {"train_size": 1000}),
                       *(("stub", small | {"train_size": 60, "seed": seed}) for seed in (1, 2))]
    assert asked == expected
    results = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert results["run"] == {"data": "mnist_sample", "source": "sample", "images": 60}
    assert results["turns"] == dict.fromkeys(bench.PARTS, 2)
    profile = results["profile"]["group"]
    for parts, whole in ((profile["sections"], profile["seconds"]), (profile["operations"], 1)):
        assert 0 < sum(parts.values()) < whole
    page = bench.report(results)
    assert page in capsys.readouterr().out
    assert len(re.findall(r"\n\| (?:GN|stub|student|`quick)", page)) == 7
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["goal.png", "speed.png"]
    monkeypatch.setattr(sys, "argv", [*command, "--parts"])
    bench.main()  # nothing new: what was measured before is reported again
    assert page in capsys.readouterr().out


@pytest.mark.parametrize(("accuracies", "seconds", "stays"), [
    ([0.99, 0.994, 0.9929, 0.993, 0.995], 8, True),  # not the first crossing: it fell below again
    ([0.993, 0.994], 2, True),
    ([0.99, 0.994, 0.992], 6, False),
])
def test_goal_counts_from_the_epoch_from_which_the_accuracy_stays(accuracies, seconds, stays):
    rows = [{"test_accuracy": a, "train_seconds": 1.5, "test_seconds": 0.5} for a in accuracies]
    assert bench.time_to_goal({"epochs": rows}) == (seconds, stays)


def test_what_is_published_from_the_kept_numbers_is_what_is_kept(tmp_path):
    only = {name: KEPT[name] for name in ("machine", "run", "turns")}
    with pytest.raises(SystemExit, match="not published: no part was measured"):
        bench.publish(only, tmp_path)
    (tmp_path / "images").mkdir()
    bench.publish(KEPT, tmp_path)
    for name in ("bench.json", "bench.md"):
        kept = (ROOT / "results" / name).read_bytes()
        assert (tmp_path / "results" / name).read_bytes() == kept
    assert sorted(path.name for path in tmp_path.glob("images/*")) == ["goal.png", "speed.png"]
