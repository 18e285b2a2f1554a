"""The page on which networks train, in a real browser: its mathematics against the toolbox's."""

import base64
import json

import numpy as np
import playground
import pytest
import torch
import torch.nn.functional as F

import model
from coursepack.show.looks import LOOKS
from coursepack.train import batches, loop, updates
from coursepack.train.recipe import Recipe

STEPS, BATCH, NEAR = 20, 16, 1e-4
# Small rates and large penalties: a ReLU that rounding turns the other way moves weights by the
# rate, and the next steps enlarge that; what a fault moves is far more.
PENALTIES = {"none": {}, "L1": {"l1": 0.05}, "L2": {"l2": 0.5},
             "proximal L1": {"l1": 0.05, "l1_step": "proximal"}}
# Train a network for some steps; tell what it was before, after the first step, and after the last.
TRAIN = """async ([wasm, table, data, recipe, steps]) => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const module = await WebAssembly.compile(bytes(wasm));
  const images = bytes(data.images), labels = bytes(data.labels);
  const network = new Network(module, table, labels.length, recipe, data);
  const { net, trainer } = network;
  network.bytes(network.desk.images, images.length).set(images);
  network.bytes(network.desk.labels, labels.length).set(labels);
  new Int32Array(trainer.memory.buffer, network.desk.order, labels.length).set([...labels.keys()]);
  network.watch(true);
  const look = (part) => network.parameters().map((one) => [...one[part]]);
  const running = () => network.layers.filter((layer) => layer.running_mean).map((layer) =>
    ["running_mean", "running_variance"].map((name) =>
      [...network.numbers(layer[name], layer.channels)]));
  const result = { before: look("value"), losses: [], penalties: [] };
  for (let step = 0; step < steps; step++) {
    const rate = recipe.schedule === "constant" ? recipe.lr
      : trainer.one_cycle(recipe.lr, step, steps);
    result.losses.push(trainer.train(step * recipe.batch_size, recipe.batch_size, rate,
      recipe.momentum, recipe.l1, recipe.l2, recipe.l1_step === "proximal" ? 1 : 0, 0));
    result.penalties.push(network.penalty);
    if (!step) Object.assign(result, { gradients: look("gradient"), sizes: network.sizes() });
  }
  result.after = look("value");
  result.running = running();
  result.tests = [trainer.test(0, recipe.batch_size, 0) / recipe.batch_size];
  return JSON.stringify(result);
}"""


@pytest.fixture(scope="module")
def wasm():
    return base64.b64encode(playground.compile_trainer()).decode()


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    page.add_script_tag(path=playground.SOURCES / "worker.js")
    return page


def as_here(arrays, net):
    """The browser's parameters in the shapes of the toolbox's, without what fills up a vector."""
    for flat, own in zip(arrays, net.parameters(), strict=True):
        flat = torch.tensor(flat)
        if own.ndim == 4:
            out, into, *kernel = own.shape
            yield flat.view(*kernel, into, -1).permute(3, 2, 0, 1)[:out]
        else:  # of a channel, or (RMS norm) of an element, channels last
            yield flat.view(*own.shape[1:], -1).movedim(-1, 0) if own.ndim == 3 else flat


def both(page, wasm, digits, steps=STEPS, **changes):
    """The same training there and here: what the browser told, and what is to be compared."""
    table = playground.networks()[changes.pop("arch", playground.BASE)]
    recipe = Recipe(dataset="mnist_sample", arch=playground.BASE, groups=4, layer_affine="channel",
                    batch_size=BATCH,
                    **{"seed": 2, "lr": 5e-4, "init": "he", "schedule": "constant"} | changes)
    used = slice(steps * BATCH)
    images, labels = digits.train_images[used], digits.train_labels[used]
    # speckle on black, as in loop.probe(): of equal values, rounding picks a maximum
    speckle = torch.randint(32, images.shape, generator=torch.Generator().manual_seed(1))
    images = images.maximum(speckle.to(torch.uint8))
    data = {"images": images.numpy().tobytes(), "labels": labels.to(torch.uint8).numpy().tobytes()}
    data = {name: base64.b64encode(part).decode() for name, part in data.items()}
    data |= {"mean": digits.mean.item(), "std": digits.std.item()}
    there = json.loads(page.evaluate(TRAIN, [wasm, table, data, vars(recipe), steps]))
    return there, train_here(there, recipe, table, images, labels, digits, steps)


def train_here(there, recipe, table, images, labels, digits, steps):
    spec = model.ARCHITECTURES[playground.BASE]
    rows = tuple(model.Row(*row) for row in table["rows"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(model.ARCHITECTURES, playground.BASE, spec._replace(rows=rows))
        net = loop.build_model(recipe, digits).cpu().double()
        with torch.no_grad():
            for own, theirs in zip(net.parameters(), as_here(there["before"], net)):
                own.copy_(theirs)
    optimizer = loop.make_optimizer(net, recipe)
    parameters = updates.penalized_parameters(net, recipe.penalize)
    here = {"losses": [], "penalties": []}
    for step, (part, own) in enumerate(zip(images.split(BATCH), labels.split(BATCH))):
        rate = updates.SCHEDULES[recipe.schedule](recipe.lr, step, steps, steps)
        outputs = [batches.to_input(part, digits, torch.float64)]
        for block in net.layers:
            outputs.append(block(outputs[-1]))
            outputs[-1].retain_grad()
        loss = F.nll_loss(F.log_softmax(outputs[-1].flatten(1), 1), own)
        optimizer.zero_grad()
        loss.backward()
        here["losses"].append(loss.item())
        here["penalties"].append(loop.take_step(optimizer, parameters, rate, recipe).item())
        if not step:
            here["gradients"] = [w.grad.clone() for w in net.parameters()]
            for block, out in zip(net.layers, outputs[1:]):
                if isinstance(block[-1], torch.nn.ReLU):
                    out.grad *= out > 0  # there it takes out's place, and nothing else keeps that
            here["sizes"] = [[z.square().mean().sqrt().item() for z in (out, out.grad)]
                             for out in outputs[1:-1]]  # the last is filled up there
    net.eval()
    with torch.no_grad():
        scores = net(batches.to_input(images[:BATCH], digits, torch.float64))
    return here | {"net": net, "tests": [F.nll_loss(scores, labels[:BATCH]).item()]}


def apart(there, here):
    """The largest difference of each thing that is compared."""
    net = here["net"]
    found = {name: np.abs(np.array(there[name]) - here[name]).max()
             for name in ("losses", "penalties", "sizes", "tests")}
    for name, own in [("gradients", here["gradients"]), ("after", list(net.parameters()))]:
        pairs = zip(as_here(there[name], net), own)
        found[name] = max((a - b).abs().max().item() for a, b in pairs)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for theirs, norm in zip(there["running"] if norms else [], norms, strict=True):
        for name, own, flat in zip(("mean", "variance"), norm.buffers(), theirs):
            found[name] = max(found.get(name, 0), np.abs(own.numpy() - flat).max())
    return found


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("norm", model.NORMS)
def test_a_network_there_equals_one_here(page, wasm, digits, norm, penalty, momentum):
    """Loss, gradients of every layer, running statistics and all weights, over twenty steps."""
    there, here = both(page, wasm, digits, norm=norm, momentum=momentum, **PENALTIES[penalty])
    found = apart(there, here)
    assert max(found.values()) < NEAR, found


@pytest.mark.parametrize("changes", [
    {"arch": "mnist_shallow"}, {"arch": "mnist_deep", "norm": "group", "lr": 1e-4},
    {"arch": "mnist_deep", "order": "norm-act-drop"}, {"init": "default"},
    {"schedule": "one_cycle", "lr": 2e-3}, {"order": "norm-act-drop", "norm": "rms"}], ids=str)
def test_so_do_other_depths_orders_starts_and_rates(page, wasm, digits, changes):
    found = apart(*both(page, wasm, digits, **changes))
    assert max(found.values()) < NEAR, found


@pytest.mark.parametrize(("ground", "least"), playground.GROUNDS.values(), ids=playground.GROUNDS)
@pytest.mark.parametrize("norm", model.NORMS)
def test_four_networks_with_one_norm_are_told_apart_on_both_grounds(norm, ground, least):
    paper = playground.brightness(playground.linear(ground))
    lights = sorted(playground.brightness(playground.linear(shade))
                    for shade in playground.shades(LOOKS[norm].colour, ground, least))
    assert min(max(light / paper, paper / light) for light in lights) > 3
    assert min(b / a for a, b in zip(lights, lights[1:])) > 1.3
