"""The steps from the loop of most write-ups to the preset quick.yaml: a row each, for bench.py.

A step is all the steps before it and one change more. Why it helps is told in results/steps.md.
"""

from typing import NamedTuple


class Step(NamedTuple):
    name: str
    code: str = ""  # its line; "": its changes
    changes: dict | None = None  # of the recipe; None: the loop is changed, and learns the same


STEPS = {
    "student": Step("write-ups' loop",
                    "DataLoader(images, recipe.batch_size, shuffle=True, num_workers=2)"),
    "tests": Step("test images as tensors", "for part in data.test_images.split(at_once)"),
    "moves": Step("moves of a whole batch",
                  "there = movement.to(x).view(2 * n, 3) @ positions(h, w, x.dtype, x.device)"),
    "counters": Step("counters once an epoch", "outputs.append(output.detach())"),
    "penalty": Step("penalty beside autograd",
                    "torch._foreach_add_([w.grad for w in parameters], pulls)"),
    "process": Step("memory kept", "ctypes.CDLL(None).mallopt(-3, 2**25)"),
    "layout": Step("channels last", "model.to(memory_format=torch.channels_last)"),
    "dropout": Step("cheap dropout", "draws = words.view(torch.int16)[: x.numel()]"),
    "network": Step("early pooling", changes={"arch": "mnist_quick"}),
    "layers": Step("no dropout layers", changes={"dropout": 0.0}),
    "shift": Step("small shifts as well", changes={"augment": "rotate+shift+half"}),
    "weights": Step("L1 on weights alone", changes={"penalize": "weights"}),
    "rate": Step("one cycle, Nesterov", changes={"lr": 0.1, "schedule": "one_cycle"}),
    "few": Step("four epochs", changes={"epochs": 4}),
    "quick": Step("Muon", "papermill -f notebooks/params/quick.yaml", {}),
}
LOOP = [name for name, step in STEPS.items() if step.changes is None]  # all but the first change it
