"""The steps from the loop of most write-ups to the preset quick.yaml: a row each, for bench.py.

A step is all the steps before it and one change more: of the loop (student_loop.py has both ways),
or of the recipe. What they are worth is measured; here is what they are.
"""

from typing import NamedTuple


class Step(NamedTuple):
    name: str
    why: str  # it helps, or what it is for
    changes: dict | None = None  # of the recipe; None: the loop is changed, and learns the same
    code: str = ""  # its line; "": its changes


STEPS = {
    "student": Step(
        "write-ups' loop",
        "Where it begins: for each image of each epoch two worker processes make a PIL image, "
        "rotate it, make a tensor of it and normalize that; batches of them travel to the process "
        "that trains.",
        code="DataLoader(images, recipe.batch_size, shuffle=True, num_workers=2)"),
    "tests": Step(
        "test images as tensors",
        "The test images never change, and yet each passed through PIL in each epoch. One tensor "
        "holds them all, and one call normalizes 250 of them.",
        code="for part in data.test_images.split(at_once)"),
    "moves": Step(
        "moves of a whole batch",
        "The same for training: one product of matrices says for all pixels of all images of a "
        "batch where they come from, and one call of `F.grid_sample` fetches them. No image "
        "travels, and both cores are free for the network. (torchvision's rotation takes the "
        "nearest pixel, this one a mean of four.)",
        code="there = movement.to(x).view(2 * n, 3) @ positions(h, w, x.dtype, x.device)"),
    "counters": Step(
        "counters once an epoch",
        "The loss and the accuracy of each batch, each with its `.item()`, and a text in the "
        "progress bar are many small calls for numbers that nobody reads. Now the outputs are "
        "kept, and counted after the epoch. (On a GPU it matters more: there, each `.item()` waits "
        "until all is computed.)",
        code="outputs.append(output.detach())"),
    "penalty": Step(
        "penalty beside autograd",
        "To find the gradient of l1 times the sum of |w|, autograd makes several calls for each "
        "parameter, forward and back. But it is known: l1 times the sign of w. Added to the "
        "gradients after `backward()`, it takes a few calls for all parameters together; and "
        "`SGD(fused=True)` makes the step itself one call.",
        code="torch._foreach_add_([w.grad for w in parameters], pulls)"),
    "process": Step(
        "memory kept",
        "The C library gives large pieces of memory back to the system as soon as a batch is done "
        "with them, and the next batch gets the same pages again, one by one. It can be told to "
        "keep them. And with `GOMP_SPINCOUNT=5000` a thread that waits for another goes to sleep "
        "sooner.",
        code="ctypes.CDLL(None).mallopt(-3, 2**25)"),
    "layout": Step(
        "channels last",
        "A convolution multiplies all channels of a position. Side by side in memory, they need "
        "not be gathered before each convolution and scattered after it.",
        code="model.to(memory_format=torch.channels_last)"),
    "dropout": Step(
        "cheap dropout",
        "A good random number for each element is slow to draw, and 16 bits are enough to decide: "
        "64 bits, drawn at once, decide four.",
        code="draws = words.view(torch.int16)[: x.numel()]"),
    "network": Step(
        "early pooling",
        "From here on it is the recipe. `mnist_8k` has 7,816 parameters in place of 7,416, but "
        "pools after its first convolution: all others see a quarter of the positions. It comes "
        "first, because it makes each later try cheaper.",
        {"arch": "mnist_8k"}),
    "layers": Step(
        "no dropout layers",
        "Dropout is to keep a network from learning its images by heart, for which so few weights "
        "have no room.",
        {"dropout": 0.0}),
    "shift": Step(
        "shifts as well", "The product of matrices that rotates an image shifts it, too.",
        {"augment": "rotate+shift"}),
    "weights": Step(
        "L1 on weights alone", "The gains and biases of the norms stay free.",
        {"penalize": "weights"}),
    "rate": Step(
        "one cycle, Nesterov",
        "With a norm a ten times larger rate is stable, if it rises and falls slowly. From here on "
        "it is the course's own training, which looks ahead by Nesterov's momentum and keeps a "
        "checkpoint of each epoch.",
        {"lr": 0.1, "schedule": "one_cycle"}),
    "quick": Step(
        "fewer epochs",
        "Once the rate has fallen, the accuracy is high, however short the cycle was (down to some "
        "length). This one, and all else in [quick.yaml](../notebooks/params/quick.yaml), was "
        "[chosen on held-out images](quick_tuning.md).",
        {}, "papermill -f notebooks/params/quick.yaml"),
}
LOOP = [name for name, step in STEPS.items() if step.changes is None]  # all but the first change it
INTRODUCTION = """\
For how long does GN + L1 train until {goal:.1%} of MNIST's test images are classified right, and
stay so? Row 0 is the loop and the recipe of most write-ups, the last row this course's preset;
each row between them changes one thing more. Blue: the loop. Orange: the recipe.

![{alt}](../images/steps.png)

{table}

*Seconds* are epochs times seconds an epoch, with its test. Changes of the loop leave the
mathematics alone, so they count with the epochs of row 0; each recipe was trained anew, with
{seeds} seeds. *Over*: with some seed the accuracy did not stay there, and the run counts with all
of its epochs. Two things to mind:

- **The order matters.** Seconds saved are a larger factor the fewer are left: in another order,
  every step would have another one.
- **Epochs are a matter of luck.** A run that ends at 99.31 % may need half the epochs of one that
  ends at 99.29 %. So compare recipes by their accuracy, too; that of one seed varies by about
  0.05 points.

## What held it up, and why the change helps

{steps}

Each change of the loop stands beside what it replaces in
[student_loop.py](../upkeep/student_loop.py), and a test trains with each. Measured on
{processor}, {cores} cores, {images:,} images; `make bench BENCH="--parts goal steps"` does it
here.
"""
