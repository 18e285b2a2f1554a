"""The built website in a real browser: the explorer's numbers, keyboard, layout, contrast, search.

Times are measured and kept in build/times.json, not asserted: two cores are shared and noisy.
"""

import functools
import http.server
import json
import os
import random
import shutil
import statistics
import threading
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import website
from torch import nn

from coursepack.files import ROOT

SITE = ROOT / "build" / "site"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)
if not os.environ.get("SITE"):
    pytest.skip("make browser tests the built site", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
axe = pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")
if CHROMIUM is None:
    pytest.skip("there is no Chromium on this machine", allow_module_level=True)

PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.glob("**/*.html")
               if "_static" not in path.parts)
# One of each kind; make browser ALL=1 takes every page and every width.
SOME = ["index.html", "teachers.html", "reference/coursepack.train.updates.html",
        "notebooks/02_group_norm_l1.html"]
LOOKED_AT = PAGES if os.environ.get("ALL") else SOME
MEASURED = [name for name in PAGES if name in LOOKED_AT or not name.startswith("reference/")]
WIDTHS, SCHEMES = (390, 820, 1440), ("light", "dark")
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


@pytest.fixture(scope="module")
def address():
    """The website from a server of this process: search and fetch need one."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def contexts(browser):
    """A context for each kind of reader; its pages share what was fetched once."""
    made = {}

    def context(**options):
        key = tuple(options.items())
        if key not in made:
            made[key] = browser.new_context(**options)
            made[key].set_default_timeout(5000)  # milliseconds
        return made[key]

    yield context
    for one in made.values():
        one.close()


@pytest.fixture
def open_page(contexts, address):
    """Open a page; nothing may be asked of another host, and no script may fail."""
    pages, wrong = [], []

    def watch(request):
        if not request.url.startswith((address, "data:", "file:", "blob:")):
            wrong.append(f"asked for {request.url}")

    def open_it(name="index.html", width=1440, scheme="light", **options):
        page = contexts(color_scheme=scheme, **options).new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": 900})
        page.on("request", watch)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(name if "://" in name else address + name)
        return page

    yield open_it
    for page in pages:
        page.close()
    assert wrong == []


@pytest.fixture(scope="module")
def keep_times():
    """What was measured, into build/times.json."""
    times = {}
    yield times
    if times:
        (ROOT / "build" / "times.json").write_bytes(json.dumps(times, indent=1).encode() + b"\n")


# ---------------------------------------------------------------------- the explorer's arithmetic
def random_case(norm, draw):
    """A batch of any shape, scale and offset, and its groups."""
    shape = [draw.randint(1, 9), draw.choice([1, 2, 3, 4, 6, 8]), draw.randint(1, 4),
             draw.randint(1, 4)]
    if norm in ("batch", "group", "instance") and shape[2] * shape[3] == 1:
        shape[2] = 2  # PyTorch refuses the mean of a single number
    groups = draw.choice([g for g in range(1, shape[1] + 1) if shape[1] % g == 0])
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(
        draw.randrange(2**31))) * 10 ** draw.uniform(-3, 2) + draw.uniform(-20, 20)
    return values, groups, 10.0 ** draw.randint(-8, -1)


BY_TORCH = {
    "batch": lambda x, groups, eps: F.batch_norm(x, None, None, training=True, eps=eps),
    "layer": lambda x, groups, eps: F.layer_norm(x, x.shape[1:], eps=eps),
    "group": lambda x, groups, eps: F.group_norm(x, groups, eps=eps),
    "instance": lambda x, groups, eps: F.instance_norm(x, eps=eps),
    "rms": lambda x, groups, eps: F.rms_norm(x, x.shape[1:], eps=eps),
    "none": lambda x, groups, eps: x,
}


@pytest.mark.parametrize("norm", BY_TORCH)
def test_explorer_gives_the_numbers_of_torch(open_page, norm):
    draw = random.Random(norm)
    cases = [random_case(norm, draw) for _ in range(200)]
    batches = [{"values": x.flatten().tolist(), "shape": list(x.shape), "norm": norm,
                "groups": groups, "eps": eps} for x, groups, eps in cases]
    results = open_page().evaluate("batches => batches.map("
                                   "batch => [...normExplorer.normalize(batch).result])", batches)
    for (x, groups, eps), result in zip(cases, results):
        ours = torch.tensor(result, dtype=torch.float64).view(x.shape)
        torch.testing.assert_close(ours, BY_TORCH[norm](x, groups, eps), rtol=1e-6, atol=1e-6)


def test_running_statistics_and_evaluation_mode_are_those_of_torch(open_page):
    draw, page = random.Random(0), open_page()
    for times in (1, 2, 50):
        x, _, eps = random_case("batch", draw)
        layer = nn.BatchNorm2d(x.shape[1], eps=eps, affine=False).double()
        for _ in range(times):
            layer(x)
        batch = {"values": x.flatten().tolist(), "shape": list(x.shape), "norm": "batch",
                 "eps": eps, "times": times}
        mean, variance, result = page.evaluate("""batch => {
            const C = batch.shape[1];
            const seen = normExplorer.normalize(batch);
            let running = { mean: Array(C).fill(0), variance: Array(C).fill(1) };
            for (let k = 0; k < batch.times; k++) running = normExplorer.observe(running, seen);
            const { result } = normExplorer.normalize({ ...batch, running });
            return [running.mean, running.variance, [...result]]; }""", batch)
        close = functools.partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)
        close(torch.tensor(mean, dtype=torch.float64), layer.running_mean)
        close(torch.tensor(variance, dtype=torch.float64), layer.running_var)
        close(torch.tensor(result, dtype=torch.float64), layer.eval()(x).flatten())


# ---------------------------------------------------------------------------- the explorer in use
def explorer(page):
    return page.locator(".norm-explorer").first


def choose(page, label, value):
    explorer(page).get_by_label(label, exact=True).select_option(value)


def says(page):
    return explorer(page).locator(".says").inner_text()


def test_first_numbers_are_the_notebooks_and_pointing_lights_up_all_that_share_a_mean(open_page):
    page = open_page()
    formula = explorer(page).locator(".formula").inner_text()
    assert "(4 − 4.8125) / √(8.4023 + 0.00001) = −0.2803" in formula
    for norm, lit in [("batch", 16), ("group", 8), ("layer", 16), ("instance", 4), ("rms", 16),
                      ("none", 1)]:
        choose(page, "norm", norm)
        explorer(page).locator(".input [data-i='20']").hover()
        for panel in (".input", ".result"):
            assert explorer(page).locator(f"{panel} .lit").count() == lit, norm
        assert "image 1, channel 1" in says(page).lower()
    page.mouse.move(0, 0)
    assert says(page).startswith("Image 0, channel 0, row 0, column 0")


@pytest.mark.parametrize(("norm", "results", "images"), [
    ("batch", 16, 4), ("group", 8, 1), ("layer", 16, 1), ("instance", 4, 1), ("none", 1, 1)])
def test_a_changed_number_changes_whose_results(open_page, norm, results, images):
    page = open_page()
    choose(page, "norm", norm)
    explorer(page).get_by_role("button", name="one more").click()
    effect = explorer(page).locator(".effect").inner_text()
    assert f"{results} of 64 results changed, in {images} of 4 images" in effect
    assert explorer(page).locator(".result .changed").count() == results


def test_epsilon_keeps_a_flat_image_flat(open_page):
    page = open_page()
    choose(page, "norm", "layer")
    choose(page, "contrast of its image", "0.001")
    largest = """() => { const it = document.querySelector(".norm-explorer").explorer;
        return Math.max(...it.now.result.slice(0, 16).map(Math.abs)); }"""
    assert page.evaluate(largest) > 0.5  # the contrast is restored
    explorer(page).locator("input[type=range]").fill("-1")
    assert page.evaluate(largest) < 0.1
    choose(page, "contrast of its image", "0")
    assert page.evaluate(largest) == 0


def test_evaluation_mode_agrees_with_training_mode_after_many_batches(open_page):
    page = open_page()
    numbers = """() => [...document.querySelector(".norm-explorer").explorer.now.result]"""
    in_training = torch.tensor(page.evaluate(numbers))
    choose(page, "batch norm's mode", "evaluation")
    assert "running mean" in says(page)
    before = (torch.tensor(page.evaluate(numbers)) - in_training).abs().max()
    explorer(page).get_by_role("button", name="50 times").click()
    after = (torch.tensor(page.evaluate(numbers)) - in_training).abs().max()
    assert before > 1
    assert after < 0.1
    assert "seen: 50 batches" in explorer(page).locator(".memory").inner_text()


def test_all_of_the_explorer_is_reached_by_keyboard(open_page):
    page = open_page()
    choose(page, "norm", "group")  # batch norm's own controls: below
    for norm in ("group", "batch"):
        choose(page, "norm", norm)
        expected = page.evaluate("""() => [...document.querySelectorAll(
            ".norm-explorer :is(select, input, button), .norm-explorer [tabindex='0']")]
            .filter(e => e.checkVisibility() && !e.disabled).length""")
        explorer(page).locator("select").first.focus()
        reached = 1
        while reached < 50:
            page.keyboard.press("Tab")
            if not page.evaluate("document.activeElement.closest('.norm-explorer') !== null"):
                break
            reached += 1
        assert reached == expected


def test_arrow_keys_walk_and_plus_and_enter_change(open_page):
    page = open_page()
    explorer(page).locator(".input [tabindex='0']").focus()
    for key, place in [("ArrowRight", "image 0, channel 0, row 0, column 1"),
                       ("ArrowRight", "image 0, channel 1, row 0, column 0"),
                       ("ArrowDown", "image 0, channel 1, row 1, column 0"),
                       ("ArrowDown", "image 1, channel 1, row 0, column 0"),
                       ("PageDown", "image 2, channel 1, row 0, column 0"),
                       ("End", "image 2, channel 3, row 0, column 1"),
                       ("PageUp", "image 1, channel 3, row 0, column 1"),
                       ("Home", "image 1, channel 0, row 0, column 0"),
                       ("ArrowLeft", "image 1, channel 0, row 0, column 0")]:
        page.keyboard.press(key)
        label = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert label.startswith(f"x of {place}: ")
        assert says(page).lower().startswith(place)
    page.keyboard.press("+")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").endswith(": 8")
    page.keyboard.press("Enter")
    page.keyboard.type("2.5")
    page.keyboard.press("Tab")
    changed = explorer(page).locator(".input [data-i='16']")
    assert changed.get_attribute("aria-label").endswith("2.5")


def test_no_number_changes_nothing(open_page):
    for typed in ("\b", "1e999", "abc"):
        page = open_page()
        explorer(page).get_by_label("change x").focus()
        page.keyboard.press("Control+a")
        page.keyboard.type(typed)
        page.keyboard.press("Tab")
        values = page.evaluate("[...document.querySelector('.norm-explorer').explorer.values]")
        assert values[:4] == [4, 9, 3, 0]


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_every_shape_can_be_drawn(open_page, norm):
    page = open_page(width=390)
    choose(page, "norm", norm)
    for images, channels, size in [("1", "1", "1"), ("32", "8", "3"), ("2", "6", "2")]:
        choose(page, "images", images)
        choose(page, "channels", channels)
        choose(page, "rows, columns", size)
        count = int(images) * int(channels) * int(size) ** 2
        assert explorer(page).locator(".result [data-i]").count() == count
        assert "NaN" not in explorer(page).inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_times_of_the_explorer_are_measured(open_page, keep_times):
    """What the script takes for a pointer that moves over 32 images, and to answer at all."""
    page = open_page()
    choose(page, "images", "32")
    for norm in ("batch", "layer"):
        choose(page, "norm", norm)
        milliseconds = page.evaluate("""() => {
            const cells = [...document.querySelectorAll(".norm-explorer .input [data-i]")];
            return cells.slice(0, 300).map((cell, k) => {
                const other = cells[(k * 37) % cells.length];
                const start = performance.now();
                other.dispatchEvent(new PointerEvent("pointermove", { bubbles: true }));
                return performance.now() - start; }); }""")
        keep_times[f"pointer move, {norm} norm, 32 images: median milliseconds"] = round(
            statistics.median(milliseconds), 2)
    seconds = []
    for turn in range(5):  # a new context each: nothing is cached
        page = open_page(f"file://{SITE}/index.html", timezone_id=f"Etc/GMT+{turn}")
        page.wait_for_selector(".norm-explorer .lit")
        seconds.append(page.evaluate("performance.getEntriesByName('explorer')[0].startTime") / 1e3)
    keep_times["first page from disk until the explorer answers: median seconds"] = round(
        statistics.median(seconds), 2)
    assert len(seconds) == 5


# ------------------------------------------------------------------------------ pages, as they look
OVERLAPS = """() => {
    const boxes = [];
    const main = document.querySelector("article") || document.querySelector("main");
    const walk = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const node = walk.currentNode, parent = node.parentElement;
        if (!node.textContent.trim() || !parent.checkVisibility()) continue;
        if (parent.closest("pre, svg, script, style, .visually-hidden, .answers")) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        for (const box of range.getClientRects())
            if (box.width > 2 && box.height > 2) boxes.push([box, node.textContent.trim()]);
    }
    boxes.sort((a, b) => a[0].top - b[0].top);
    const wrong = [];
    for (let i = 0; i < boxes.length; i++)
        for (let j = i + 1; j < boxes.length && boxes[j][0].top < boxes[i][0].bottom; j++) {
            const [a, b] = [boxes[i][0], boxes[j][0]];
            const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (x > 3 && y > 6) wrong.push(`${boxes[i][1]} | ${boxes[j][1]}`);
        }
    return wrong; }"""


@pytest.mark.parametrize("name", MEASURED)
def test_a_page_fits_every_width(open_page, name):
    page = open_page(name)
    for width in WIDTHS if name in LOOKED_AT else WIDTHS[:1]:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_page_is_readable_for_all(open_page, name, scheme):
    """Contrast, names of controls, order of headings and so on: what axe-core finds."""
    (script,) = Path(axe.__file__).parent.glob("**/axe.min.js")
    for width in WIDTHS if os.environ.get("ALL") else WIDTHS[-1:]:
        page = open_page(name, width, scheme)  # not resized: the theme looks once what scrolls
        page.add_style_tag(content="* { transition: none !important }")  # no colour half-way
        page.evaluate(script.read_text(encoding="utf-8"))
        found = page.evaluate("tags => axe.run({ runOnly: tags })", WCAG)
        assert [(rule["id"], [node["html"] for node in rule["nodes"]])
                for rule in found["violations"]] == []


@pytest.mark.parametrize("name", SOME)
def test_a_page_can_be_read_without_javascript(open_page, name):
    page = open_page(name, java_script_enabled=False)
    assert len(page.locator("main").inner_text()) > 500
    for image in page.locator("main img").all():
        assert image.is_visible()
    if name == "index.html":  # a still picture stands for the explorer
        assert website.STILL in explorer(page).locator("img").get_attribute("alt")


@pytest.mark.parametrize(("words", "chapters"), [
    ("running variance", ["00_normalization_by_hand", "05_what_norms_change"]),
    ("proximal", ["02_group_norm_l1", "06_what_penalties_change"]),
    ("McNemar", ["04_summary"])])
def test_search_finds_the_right_chapter(open_page, words, chapters):
    page = open_page(f"search.html?q={words.replace(' ', '+')}")
    page.wait_for_selector("#search-results li")
    page.wait_for_timeout(500)  # pages come in one by one
    links = [link.get_attribute("href") for link in page.locator("#search-results li > a").all()]
    notebooks = [link for link in links if "notebooks/" in link]
    best = {Path(link).stem for link in notebooks[: len(chapters)]}
    assert best == set(chapters)


def test_dark_and_light_can_be_chosen(open_page):
    page = open_page()
    for _ in range(3):
        page.locator(".theme-switch-button").first.click()
    assert page.evaluate("document.documentElement.dataset.mode") in ("light", "dark", "auto")
