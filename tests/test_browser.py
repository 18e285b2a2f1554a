"""The built website in a real browser: the explorer, by mouse and keyboard, and how pages look."""

import json
import os
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import website

import model
from model import mean_index

axe = pytest.importorskip("axe_playwright_python.sync_playwright")

SITE = website.BUILD / "site"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.glob("**/*.html")
               if "_static" not in path.parts)
SOME = ["index.html", "teachers.html", "playground.html", "notebooks/02_group_norm_l1.html",
        "reference/coursepack.train.updates.html", "slides.html"]  # one of each kind


@pytest.fixture
def open_page(browser):
    """Open a page from disk; nothing may be asked of another host, and no script may fail."""
    asked, errors = [], []

    def open_it(name="index.html", width=1440, **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        page.set_default_timeout(5000)  # milliseconds
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(f"file://{SITE}/{name}")
        return page

    yield open_it
    for context in browser.contexts:  # each page has its own
        context.close()
    assert errors == []
    assert [url for url in asked if not url.startswith(("data:", "file:", "blob:"))] == []


# ------------------------------------------------------------------------- the explorer, at random
EXPLORER = "document.querySelector('.norm-explorer').explorer"
# Act at random on whatever is there to act on; keep all that is shown after each action.
WALK = """async ([seed, count]) => {
  await new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)));  // after a resize
  const root = document.querySelector(".norm-explorer");
  const all = (query) => [...root.querySelectorAll(query)];
  const pick = (list, power = 1) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return list[Math.floor((seed / 2 ** 32) ** power * list.length)];
  };
  const name = (thing) => typeof thing === "string" ? thing
    : (thing.labels[0] || thing).textContent.trim();
  const often = { pointerleave: 2, click: 10, keydown: 10, "contrast of its image": 12, images: 1,
    channels: 1, "rows, columns": 1, "new numbers": 1 };  // 4 of all others
  const act = () => {
    const controls = all("select, input, button").filter((control) =>
      !control.disabled && !control.closest("[hidden]"));
    const what = pick(["pointermove", "pointerleave", "click", "keydown", ...controls].flatMap(
      (thing) => Array(often[name(thing)] ?? 4).fill(thing)));
    if (typeof what === "string") {
      const cell = pick(all(what === "keydown" ? "[tabindex='0']" : "[data-i]"));
      const key = pick(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown",
        "Home", "End", "+", "-", "Enter"]);
      if (what === "keydown") cell.focus();
      (what === "pointerleave" ? cell.closest(".panel") : cell).dispatchEvent(
        new (what === "keydown" ? KeyboardEvent : PointerEvent)(what, { key, bubbles: true }));
      return [what === "keydown" ? key : what, Number(cell.dataset.i)];
    }
    if (what.type === "number") what.focus();
    else document.activeElement.blur();
    if (what.type === "button") { what.click(); return [name(what), ""]; }
    const value = what.options ? pick([...what.options], often[name(what)] === 1 ? 3 : 1).value
      : String(pick(what.type === "range" ? [-8, -5, -3, -1, 0] : ["", -20, 0.001, 2.5, 7, 100]));
    what.value = value;
    what.dispatchEvent(new Event(what.type === "range" ? "input" : "change"));
    return [name(what), value];
  };
  const numbers = (texts) => texts.map((text) => Number(text.replace("−", "-")));
  const places = (query) => all(query).map((cell) => Number(cell.dataset.i)).sort((a, b) => a - b);
  const states = [], errors = [];
  addEventListener("error", (event) => errors.push(event.message));
  while (states.length < count && !errors.length) {
    const did = act(), cells = all("[data-i]");
    const labels = cells.map((cell) => cell.getAttribute("aria-label").split(": ")[1]);
    const written = cells.map((cell, i) => cell.textContent || labels[i]);
    states.push(JSON.stringify({ did, errors, labels: numbers(labels), cells: numbers(written),
      x: root.explorer.values, y: [...root.explorer.now.result],
      places: [".lit", ".here", "[tabindex='0']"].map((which) =>
        [places(`.input ${which}`), places(`.result ${which}`)]),
      marked: places(".result .changed"), typing: document.activeElement.type === "number",
      fields: all("select, input").map((field) => field.value || "nan"),
      texts: ["output", ".says", ".formula", ".memory", ".effect"].map((part) =>
        all(part)[0].textContent),
    }));
  }
  return [seed, `[${states}]`];
}"""
BY_TORCH = {
    "batch": lambda x, groups, eps: F.batch_norm(x, None, None, training=True, eps=eps),
    "layer": lambda x, groups, eps: F.layer_norm(x, x.shape[1:], eps=eps),
    "group": lambda x, groups, eps: F.group_norm(x, groups, eps=eps),
    "instance": lambda x, groups, eps: F.instance_norm(x, eps=eps),
    "rms": lambda x, groups, eps: F.rms_norm(x, x.shape[1:], eps=eps),
    "none": lambda x, groups, eps: x.clone(),
}


def near(shown, expected, digits=1e-6):
    shown, expected = np.asarray(shown, float), np.asarray(expected, float)
    return shown.shape == expected.shape and bool(
        (abs(shown - expected) <= digits + 1e-6 * abs(expected)).all())


def numbers(text):
    return [float(number.replace("−", "-")) for number in re.findall(r"−?\d+(?:\.\d+)?", text)]


class Twin:
    """What the explorer has to hold and to show after the same actions, kept with PyTorch."""

    def __init__(self, x):
        self.fields = {"norm": "batch", "groups": "2", "images": "4", "channels": "4",
                       "rows, columns": "2", "epsilon": "-5", "batch norm's mode": "training"}
        self.renew(x)

    def renew(self, x):
        groups, N, C, S = map(int, list(self.fields.values())[1:5])
        self.fields["groups"] = str(min(2, C) if C % groups else groups)
        self.x = torch.tensor(x, dtype=torch.float64).view(N, C, S, S)
        self.base, self.contrasts = self.x.clone(), ["1"] * N
        self.running, self.seen = (torch.zeros(C).double(), torch.ones(C).double()), 0
        self.chosen, self.pointed, self.moved = 0, None, None

    def results(self):
        """y, and whether PyTorch refuses to train on such a batch: the explorer shows 0 then."""
        self.norm, self.eps = self.fields["norm"], 10.0 ** int(self.fields["epsilon"])
        self.learned = self.norm == "batch" and self.fields["batch norm's mode"] == "evaluation"
        if self.learned:
            return F.batch_norm(self.x, *self.running, eps=self.eps), False
        try:
            return BY_TORCH[self.norm](self.x, int(self.fields["groups"]), self.eps), False
        except ValueError:
            return torch.zeros_like(self.x), True

    def act(self, what, value, shown):
        """shown: the numbers that are there now, for when they are new."""
        (N, C, S, S), i, before = self.x.shape, self.chosen, self.results()[0]
        n, x = i // (C * S * S), self.x.flatten()[i].item()
        steps = {"ArrowLeft": (0, -1), "ArrowRight": (0, 1), "ArrowUp": (-1, 0),
                 "ArrowDown": (1, 0), "PageUp": (-S, 0), "PageDown": (S, 0),
                 "Home": (0, -C * S), "End": (0, C * S)}
        becomes = {"one less": x - 1, "-": x - 1, "one more": x + 1, "+": x + 1, "change x": value}
        times = {"train on this batch": 1, "50 times": 50}
        if what in self.fields:
            self.fields[what] = value
        if what in ("pointermove", "pointerleave"):
            self.pointed = value if what == "pointermove" else None
        elif what == "click":
            self.chosen = value
        elif what in steps:
            grid = np.arange(N * C * S * S).reshape(N, C, S, S).swapaxes(1, 2).reshape(N * S, C * S)
            place = np.argwhere(grid == i)[0] + steps[what]
            self.chosen = int(grid[tuple(np.clip(place, 0, (N * S - 1, C * S - 1)))])
            self.pointed = None
        elif what in ("images", "channels", "rows, columns", "new numbers"):
            self.renew(shown)
        elif what != "Enter" and (what, value) != ("change x", ""):
            if what in becomes:
                self.x.view(-1)[i] = self.base.view(-1)[i] = float(becomes[what])
            elif what == "contrast of its image":
                self.contrasts[n] = value
                self.x[n] = torch.lerp(self.base[n].mean(), self.base[n], float(value))
            elif what in times:
                self.seen += times[what]
                F.batch_norm(self.x, *self.running, training=True, momentum=1 - 0.9 ** times[what])
            self.moved = (self.results()[0] - before).abs().flatten().numpy()

    def wrong(self, state):
        """The parts of what is shown that are not as they have to be."""
        i = self.chosen if self.pointed is None else self.pointed
        n, c, h, w = map(int, np.unravel_index(i, self.x.shape))
        y, refused = self.results()
        rows = torch.cat([self.x, y]).transpose(1, 2).flatten().numpy()  # as they lie on the page
        x, y, size = self.x.flatten(), y.flatten(), self.x[0].numel()
        alone = self.norm == "none" or self.learned
        lit = [i]
        if not alone:
            index = mean_index(self.x.shape, self.norm, int(self.fields["groups"])).flatten()
            lit = (index == index[i]).nonzero().flatten().tolist()
        mean, variance = x[lit].mean(), x[lit].var(correction=0)
        if self.learned:
            mean, variance = self.running[0][c], self.running[1][c]
        elif self.norm == "rms":
            variance = x[lit].square().mean()
        terms = [(x[i], 5e-5), (mean, 5e-5), (variance, 5e-9 if variance < 0.01 else 5e-5),
                 (self.eps, 0), (y[i], 5e-5)]  # a number, and half of the last digit shown of it
        terms = {"none": terms[:1], "rms": terms[:1] + terms[2:]}.get(self.norm, terms)
        epsilon, says, formula, memory, effect = state["texts"]
        *settings, typed, contrast = state["fields"]
        marked = np.isin(np.arange(len(y)), state["marked"])
        as_it_is = np.repeat(np.array(self.contrasts) == "1", size)
        return state["errors"] + [part for part, right in {
            "x": near(state["x"], x) and (state["x"] == x.numpy())[as_it_is].all(),
            "y": near(state["y"], y),
            "labels": near(state["labels"], rows, 5e-5),
            "cells": near(state["cells"], rows, 0.05 + (abs(rows) > 99) * abs(rows) / 2),
            "places": state["places"] == [[lit] * 2, [[i]] * 2, [[self.chosen]] * 2],
            "sentence": says.startswith(f"Image {n}, channel {c}, row {h}, column {w}")
            and (f" with {len(lit) - 1} other number" in says) != alone
            and ("PyTorch refuses" in says) == refused,
            "formula": near(numbers(formula), *zip(*terms)),
            "memory": near(numbers(memory), [self.seen, *torch.cat(self.running)], 0.005),
            "settings": settings == list(self.fields.values()) and near(epsilon, self.eps, 0)
            and contrast == self.contrasts[self.chosen // size],
            "typed": state["typing"] or near(typed, x[self.chosen]),
            "changed": not (effect or marked.any()) if self.moved is None else
            ((self.moved > 1e-9) == marked)[abs(self.moved - 1e-9) > 1e-10].all()
            and numbers(effect)[-4:] == [
                marked.sum(), len(y), marked.reshape(-1, size).any(axis=1).sum(), len(self.x)],
        }.items() if not right]


def test_explorer_on_a_random_walk_shows_what_torch_computes(open_page):
    """10,000 actions, and after each all numbers, marks and fields."""
    page, seed, done = open_page(), 2, []
    twin = Twin(page.evaluate(f"{EXPLORER}.values"))
    for width in 5 * (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        seed, states = page.evaluate(WALK, [seed, 1000])
        for state in json.loads(states):
            done.append(state["did"])
            twin.act(*state["did"], state["x"])
            wrong = twin.wrong(state)
            assert not wrong, f"{wrong} after {len(done)}: {done[-8:]} {state['texts']}"
            twin.x = twin.x.new_tensor(state["x"]).view_as(twin.x)  # rounding apart, the same
    assert len(done) == 10_000


# ---------------------------------------------------------------------------- the explorer in use
def choose(page, label, value):
    page.get_by_label(label, exact=True).select_option(value)


def says(page, part=".says"):
    return page.locator(part).inner_text()


def test_the_explorer_gives_the_answers_of_the_front_page(open_page):
    page = open_page()

    def results():
        return np.array(page.evaluate(f"[...{EXPLORER}.now.result]"))

    assert "(4 − 4.8125) / √(8.4023 + 0.00001) = −0.2803" in says(page, ".formula")  # notebook 00
    page.locator(".input [data-i='20']").hover()
    assert page.locator(".input .lit").count() == page.locator(".result .lit").count() == 16
    assert says(page).startswith("Image 1, channel 1, row 0, column 0 ")
    for norm, images in [("batch", 4), ("layer", 1)]:
        choose(page, "norm", norm)
        page.get_by_role("button", name="one more").click()
        assert f"16 of 64 results changed, in {images} of 4 images" in says(page, ".effect")
    for groups, norm in [("1", "layer"), ("4", "instance")]:
        choose(page, "norm", "group")
        choose(page, "groups", groups)
        as_groups = results()
        choose(page, "norm", norm)
        assert (results() == as_groups).all()
    page.reload()
    choose(page, "norm", "layer")
    choose(page, "contrast of its image", "0.001")
    for power, variance in [("-5", "0.48"), ("-8", "1.00"), ("0", "0.00")]:
        page.locator("input[type=range]").fill(power)
        assert f"{results()[:16].var():.2f}" == variance
    assert "= 0.48 in place of 1" in page.locator("details").text_content()
    choose(page, "norm", "batch")
    training = results()
    choose(page, "batch norm's mode", "evaluation")
    assert abs(results() - training).max() > 1
    page.get_by_role("button", name="50 times").click()
    assert abs(results() - training).max() < 0.1


def test_numbers_are_reached_and_changed_by_keyboard(open_page):
    page = open_page()
    current = page.locator(".input [tabindex='0']")
    current.focus()
    for key, *place in [("ArrowRight", 0, 0, 0, 1), ("PageDown", 1, 0, 0, 1), ("Home", 1, 0, 0, 0)]:
        page.keyboard.press(key)
        name = "image {}, channel {}, row {}, column {}".format(*place)
        assert page.locator(":focus").get_attribute("aria-label").startswith(f"x of {name}: ")
        assert says(page).lower().startswith(name)
    page.set_viewport_size({"width": 390, "height": 900})  # drawn anew, and still there
    page.wait_for_function("document.querySelector('.input').clientWidth < 390")
    page.keyboard.press("+")
    assert current.get_attribute("aria-label").endswith(": 8")
    for typed in ("2.5", "\b", "1e999", "abc"):  # what is no number changes nothing
        current.focus()
        page.keyboard.press("Enter")
        page.keyboard.type(typed)
        page.keyboard.press("Tab")
        assert current.get_attribute("aria-label").endswith(": 2.5")


# --------------------------------------------------------------- the page on which networks train
PLAYGROUND = "document.querySelector('.playground').playground"
# Act at random on whatever there is; after each action, nothing that is shown may be nonsense.
TRAIN_AT_RANDOM = """async ([seed, count]) => {
  const root = document.querySelector(".playground"), wrong = [];
  const pick = (list) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return list[Math.floor(seed / 2 ** 32 * list.length)];
  };
  globalThis.save = () => {};
  const links = [...document.querySelectorAll("a.try")].map((link) => link.hash);
  for (let i = 0; i < count && !wrong.length; i++) {
    const what = pick([...root.querySelectorAll("select, button:not(:disabled)"), "link"]);
    if (what === "link") location.hash = pick([...links, "#lr=none&batch_size=256&train_size=100"]);
    else if (what.tagName === "SELECT") {
      what.value = pick([...what.options]).value;
      what.dispatchEvent(new Event("change"));
    } else if (!what.textContent.includes("CSV")) what.click();
    await new Promise((done) => setTimeout(done, i % 20 ? 0 : 100));
    const shown = root.textContent.match(/.{20}(NaN|undefined|Infinity|null|\\[object).{10}/);
    if (shown) wrong.push(shown[0]);
    if (root.querySelector("path[d*='NaN']")) wrong.push("a path");
    for (const { settings } of root.playground.networks)
      if (settings.batch_size > settings.train_size) wrong.push(JSON.stringify(settings));
  }
  return [seed, wrong];
}"""


def wait(page, condition, seconds=60):
    page.wait_for_function(condition.replace("OWN", PLAYGROUND), timeout=1000 * seconds)


def open_training(open_page, link="", **options):
    page = open_page(f"playground.html{link}", **options)
    wait(page, "OWN", 20)
    return page


def test_training_survives_random_actions(open_page):
    page, seed = open_training(open_page), 1
    for width in (1440, 360):
        page.set_viewport_size({"width": width, "height": 900})
        seed, wrong = page.evaluate(TRAIN_AT_RANDOM, [seed, int(os.environ.get("ACTIONS", 200))])
        assert wrong == []
    page.evaluate(f"{PLAYGROUND}.open('#norm=batch&epochs=1')")
    page.evaluate(f"{PLAYGROUND}.go(true)")  # and then it still trains
    wait(page, "OWN.ended(OWN.networks[0])")
    assert page.evaluate(f"{PLAYGROUND}.networks[0].points.at(-1).test_accuracy") > 0.5


def test_each_experiment_can_be_set_and_a_broken_link_says_what_it_could_not(open_page):
    page = open_training(open_page)
    links = [link.get_attribute("href") for link in page.locator("a.try").all()]
    assert len(links) == 10
    for link in links:
        page.evaluate("(link) => { location.hash = link; }", link)
        wait(page, f"location.hash === '{link}'")  # as it is written again from what was set
        assert says(page, ".playground div.no") == ""
    link = "#norm=batch,colour&batch_size=256&train_size=100&speed=1&lr=1&lr=3"
    page = open_training(open_page, link)
    said = says(page, ".playground div.no")
    assert all(part in said for part in ("norm=colour", "A batch of 256", "speed is no setting",
                                         "lr is there twice"))
    assert page.evaluate(f"{PLAYGROUND}.networks.map((n) => n.settings.batch_size)") == [64, 64]


def test_networks_train_by_keyboard_pause_when_hidden_and_go_on_with_another_rate(open_page):
    page = open_training(open_page, "#norm=batch,none&train_size=500")
    page.get_by_role("button", name="train", exact=True).focus()
    page.keyboard.press("Enter")
    wait(page, "OWN.networks.every((n) => n.points.length)")
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
                  "document.dispatchEvent(new Event('visibilitychange'))")
    assert not page.evaluate(f"{PLAYGROUND}.going")
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    choose(page, "learning rate *", "0.3")
    assert page.evaluate(f"{PLAYGROUND}.networks.every((n) => n.points.length)")
    choose(page, "batch", "256")
    choose(page, "training images", "100")
    assert "larger than the 100" in says(page, "#playground-train_size-no")
    choose(page, "norm", "group")
    wait(page, "OWN.networks.every((n) => OWN.ended(n))")
    page.get_by_role("button", name="take a test image").click()
    wait(page, "/^A: \\d .*B: \\d/.test(OWN.verdict.textContent)")


def test_an_experiment_stays_in_sight_with_its_answer_and_seeds_add_up_in_a_row(open_page):
    page = open_training(open_page)
    link, shown = page.locator("a.try").first, page.locator(".playground .experiment")
    link.evaluate("(link) => { link.hash = '#norm=batch,none&epochs=1&train_size=200'; }")  # quick

    def train(name):
        page.get_by_role("button", name=name, exact=True).click()
        wait(page, "!OWN.going")
        wait(page, "!OWN.waiting")
        return [row.inner_text() for row in page.locator(".playground .ends tr").all()[1:]]

    assert not shown.is_visible()
    link.click()
    assert page.evaluate("document.activeElement.textContent") == "train"
    said = shown.inner_text()
    assert "1. No norm in a deep network" in said
    assert "How large is" in said
    assert not shown.locator("details").is_visible()
    rows = train("train")
    assert len(rows) == 2
    assert not any(" to " in row for row in rows)
    assert page.get_by_role("button", name="one step").is_disabled()
    assert shown.locator("details").text_content() == page.locator(
        "section > details").first.text_content()
    choose(page, "seed", "2")
    rows = train("train")
    assert len(rows) == 2
    assert all(re.search(r"\b1: .* %; 2: .* to ", row) for row in rows)
    assert shown.is_visible()
    choose(page, "learning rate *", "0.3")
    assert not shown.is_visible()
    rows = train("5 seeds")
    assert len(rows) == 4
    assert sum("5: " in row for row in rows) == 2
    assert page.get_by_label("seed", exact=True).input_value() == "2"
    terms = page.evaluate("""[...document.querySelectorAll(".playground label")].flatMap((one) => {
      one.parentNode.dispatchEvent(new Event("pointerenter"));
      return document.querySelector(".help a")?.hash.slice(1) ?? []; })""")
    glossary = (SITE / "glossary.html").read_text(encoding="utf-8")
    assert len(terms) > 10
    assert all(f'id="{term}"' in glossary for term in terms)


def test_the_cell_of_python_trains_the_network_of_the_page(open_page):
    link = "#norm=group&arch=mnist_deep&lr=0.03&epochs=1&train_size=200&l1=0.001&l1_step=proximal"
    page = open_training(open_page, link)
    cell = page.evaluate(f"{PLAYGROUND}.code.textContent").split("# No notebook")[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(model.ARCHITECTURES, "mnist_deep", None)  # and away again
        scope = {}
        exec(cell, scope)
    assert len(scope["history"]) == 1
    assert scope["recipe"].l1_step == "proximal"
    assert sum(hasattr(block, "norm") for block in scope["network"].layers) == 10


# ------------------------------------------------------------------------------ pages, as they look
@pytest.mark.parametrize("name", [name for name in PAGES if name[:10] != "reference/"])
def test_a_page_fits_a_phone_and_has_a_text_for_every_figure(open_page, name):
    page = open_page(name, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    texts = page.locator("main img").evaluate_all(  # at once: scripts take still pictures away
        "(images) => images.map((image) => image.getAttribute('alt'))")
    assert all(" " in text for text in texts)  # not the name of a file


def test_nothing_on_a_slide_is_cut_off_and_all_of_it_can_be_read(open_page):
    page = open_page("slides.html", width=1280)  # as wide as it is made, and half as wide
    for slide in page.locator("section").all():
        sizes = slide.evaluate("""slide => [slide.scrollWidth - slide.clientWidth,
          slide.scrollHeight - slide.clientHeight,
          ...[...slide.querySelectorAll("img, p, h2")].flatMap((part) => {
            const inner = part.getBoundingClientRect(), outer = slide.getBoundingClientRect();
            return [outer.left - inner.left, inner.right - outer.right,
                    outer.top - inner.top, inner.bottom - outer.bottom]; })]""")
        assert max(sizes) <= 0
        assert min(slide.evaluate("""slide => [...slide.querySelectorAll("h1, h2, p, footer")].map(
          (part) => parseFloat(getComputedStyle(part).fontSize))""")) >= 22  # pixels


@pytest.mark.parametrize("name", SOME)
def test_a_page_is_readable_for_all_and_without_javascript(open_page, name):
    """Contrast, names of controls, headings: what axe-core finds."""
    for scheme in ("light", "dark"):
        page = open_page(name, color_scheme=scheme)
        page.add_style_tag(content="* { transition: none !important }")  # no colour half-way
        found = axe.Axe().run(page, options={
            "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
        assert not found.violations_count, found.generate_report()
    page = open_page(name, java_script_enabled=False)
    assert len(says(page, "main")) > 500
    assert all(image.is_visible() for image in page.locator("main img").all())
