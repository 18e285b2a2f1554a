"""The built website in a real browser: the explorer, by mouse and keyboard, and how pages look."""

import http.server
import os
import random
import shutil
import threading
from functools import cache, partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import website
from torch import nn

from coursepack.files import ROOT

SITE = ROOT / "build" / "site"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if not os.environ.get("SITE"):
    pytest.skip("make browser tests the built site", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
axe = pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")
if CHROMIUM is None:
    pytest.skip("there is no Chromium on this machine", allow_module_level=True)

PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.glob("**/*.html")
               if "_static" not in path.parts)
# One of each kind; make browser ALL=1 takes every page and every width.
ALL = bool(os.environ.get("ALL"))
SOME = PAGES if ALL else ["index.html", "teachers.html", "notebooks/02_group_norm_l1.html",
                          "reference/coursepack.train.updates.html"]
MEASURED = [name for name in PAGES if name in SOME or not name.startswith("reference/")]
WIDTHS = 390, 820, 1440
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


@pytest.fixture(scope="module")
def served():
    """Where this process serves the website, for search and fetch; a context by its options."""
    files = partial(http.server.SimpleHTTPRequestHandler, directory=SITE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with server, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        yield f"http://127.0.0.1:{server.server_port}/", cache(browser.new_context)
        browser.close()
        server.shutdown()


@pytest.fixture
def open_page(served):
    """Open a page; nothing may be asked of another host, and no script may fail."""
    (address, context), pages, asked, errors = served, [], [], []

    def open_it(name="index.html", width=1440, scheme="light", **options):
        page = context(color_scheme=scheme, **options).new_page()
        pages.append(page)
        page.set_default_timeout(5000)  # milliseconds
        page.set_viewport_size({"width": width, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(name if "://" in name else address + name)
        return page

    yield open_it
    for page in pages:
        page.close()
    assert errors == []
    assert [url for url in asked if not url.startswith((address, "data:", "file:", "blob:"))] == []


# ---------------------------------------------------------------------- the explorer's arithmetic
def random_case(norm, draw):
    """A batch of any shape, scale and offset, for PyTorch; and the same for the explorer."""
    shape = [draw.randint(1, 9), draw.choice([1, 2, 3, 4, 6, 8]), draw.randint(2, 4),
             draw.randint(1, 4)]
    groups = draw.choice([g for g in range(1, shape[1] + 1) if shape[1] % g == 0])
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(
        draw.randrange(2**31))) * 10 ** draw.uniform(-3, 2) + draw.uniform(-20, 20)
    return values, {"values": values.flatten().tolist(), "shape": shape, "norm": norm,
                    "groups": groups, "eps": 10.0 ** draw.randint(-8, -1)}


def close(result, expected):
    result = torch.tensor(result, dtype=torch.float64).view(expected.shape)
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)


BY_TORCH = {
    "batch": lambda x, groups, eps: F.batch_norm(x, None, None, training=True, eps=eps),
    "layer": lambda x, groups, eps: F.layer_norm(x, x.shape[1:], eps=eps),
    "group": lambda x, groups, eps: F.group_norm(x, groups, eps=eps),
    "instance": lambda x, groups, eps: F.instance_norm(x, eps=eps),
    "rms": lambda x, groups, eps: F.rms_norm(x, x.shape[1:], eps=eps),
    "none": lambda x, groups, eps: x,
}


def test_explorer_gives_the_numbers_of_torch_in_training_and_in_evaluation_mode(open_page):
    page, draw = open_page(), random.Random(0)
    for norm, by_torch in BY_TORCH.items():
        cases = [random_case(norm, draw) for _ in range(200)]
        results = page.evaluate(
            "batches => batches.map(batch => [...normExplorer.normalize(batch).result])",
            [batch for _, batch in cases])
        for (x, batch), result in zip(cases, results):
            close(result, by_torch(x, batch["groups"], batch["eps"]))
    for times in (1, 2, 50):
        x, batch = random_case("batch", draw)
        layer = nn.BatchNorm2d(x.shape[1], eps=batch["eps"], affine=False).double()
        for _ in range(times):
            layer(x)
        close(page.evaluate("""([batch, times]) => {
            const C = batch.shape[1], seen = normExplorer.normalize(batch);
            let running = { mean: Array(C).fill(0), variance: Array(C).fill(1) };
            for (let k = 0; k < times; k++) running = normExplorer.observe(running, seen);
            return [...normExplorer.normalize({ ...batch, running }).result]; }""",
                            [batch, times]), layer.eval()(x))


# ---------------------------------------------------------------------------- the explorer in use
RESULTS = "() => [...document.querySelector('.norm-explorer').explorer.now.result]"
FOCUSED = "document.activeElement.getAttribute('aria-label')"


def explorer(page):
    return page.locator(".norm-explorer").first


def choose(page, label, value):
    explorer(page).get_by_label(label, exact=True).select_option(value)


def says(page, part=".says"):
    return explorer(page).locator(part).inner_text()


def test_first_numbers_are_the_notebooks_and_all_that_share_a_mean_light_up_and_change(open_page):
    page = open_page(f"file://{SITE}/index.html")  # works from disk, too
    assert "(4 − 4.8125) / √(8.4023 + 0.00001) = −0.2803" in says(page, ".formula")
    for norm, lit, images in [("batch", 16, 4), ("group", 8, 1), ("layer", 16, 1),
                              ("instance", 4, 1), ("rms", 16, 1), ("none", 1, 1)]:
        choose(page, "norm", norm)
        explorer(page).locator(".input [data-i='20']").hover()
        for panel in (".input", ".result"):
            assert explorer(page).locator(f"{panel} .lit").count() == lit, norm
        assert "image 1, channel 1" in says(page).lower()
        explorer(page).get_by_role("button", name="one more").click()
        assert says(page).startswith("Image 0, channel 0, row 0, column 0")
        if norm != "rms":  # there 0 stays 0
            changed = f"{lit} of 64 results changed, in {images} of 4 images"
            assert changed in says(page, ".effect")
            assert explorer(page).locator(".result .changed").count() == lit


def test_epsilon_keeps_a_flat_image_flat_and_evaluation_learns_what_training_sees(open_page):
    page = open_page()
    choose(page, "norm", "layer")
    choose(page, "contrast of its image", "0.001")
    assert max(map(abs, page.evaluate(RESULTS)[:16])) > 0.5  # the contrast is restored
    explorer(page).locator("input[type=range]").fill("-1")
    assert max(map(abs, page.evaluate(RESULTS)[:16])) < 0.1
    choose(page, "contrast of its image", "0")
    assert not any(page.evaluate(RESULTS)[:16])
    page.reload()
    in_training = torch.tensor(page.evaluate(RESULTS))
    choose(page, "batch norm's mode", "evaluation")
    assert "running mean" in says(page)
    assert (torch.tensor(page.evaluate(RESULTS)) - in_training).abs().max() > 1
    explorer(page).get_by_role("button", name="50 times").click()
    assert (torch.tensor(page.evaluate(RESULTS)) - in_training).abs().max() < 0.1
    assert "seen: 50 batches" in says(page, ".memory")


def test_all_of_the_explorer_is_reached_by_keyboard_and_does_what_a_pointer_does(open_page):
    page = open_page()
    for norm in ("group", "batch"):  # these have controls of their own
        choose(page, "norm", norm)
        expected = page.evaluate("""() => [...document.querySelectorAll(
            ".norm-explorer :is(select, input, button), .norm-explorer [tabindex='0']")]
            .filter(e => e.checkVisibility() && !e.disabled).length""")
        explorer(page).locator("select").first.focus()
        reached = 0
        while page.evaluate("document.activeElement.closest('.norm-explorer') !== null"):
            page.keyboard.press("Tab")
            reached += 1
            assert reached <= expected
        assert reached == expected
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
        assert page.evaluate(FOCUSED).startswith(f"x of {place}: ")
        assert says(page).lower().startswith(place)
    page.keyboard.press("+")
    assert page.evaluate(FOCUSED).endswith(": 8")
    for typed, value in [("2.5", "2.5"), ("\b", "2.5"), ("1e999", "2.5"), ("abc", "2.5")]:
        explorer(page).locator(".input [tabindex='0']").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Control+a")
        page.keyboard.type(typed)  # no number changes nothing
        page.keyboard.press("Tab")
        label = explorer(page).locator(".input [data-i='16']").get_attribute("aria-label")
        assert label.endswith(f": {value}")


def test_every_shape_can_be_drawn(open_page):
    page = open_page(width=390)
    for norm in ("batch", "group", "none"):
        choose(page, "norm", norm)
        for images, channels, size in [(1, 1, 1), (32, 8, 3), (2, 6, 2)]:
            choose(page, "images", str(images))
            choose(page, "channels", str(channels))
            choose(page, "rows, columns", str(size))
            count = images * channels * size**2
            assert explorer(page).locator(".result [data-i]").count() == count
            assert "NaN" not in explorer(page).inner_text()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390


# ------------------------------------------------------------------------------ pages, as they look
OVERLAPS = """() => {
    const boxes = [], wrong = [];
    const main = document.querySelector("article") || document.querySelector("main");
    const walk = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const text = walk.currentNode.textContent.trim(), range = document.createRange();
        const parent = walk.currentNode.parentElement;
        if (!text || !parent.checkVisibility()) continue;
        if (parent.closest("pre, svg, script, style, .visually-hidden, .answers")) continue;
        range.selectNodeContents(walk.currentNode);
        for (const box of range.getClientRects()) boxes.push([box, text]);
    }
    boxes.forEach(([a, text], i) => boxes.slice(i + 1).forEach(([b, other]) => {
        const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (x > 3 && y > 6) wrong.push(`${text} | ${other}`);
    }));
    return wrong; }"""


@pytest.mark.parametrize("name", MEASURED)
def test_a_page_fits_every_width_and_is_readable_for_all_and_without_javascript(open_page, name):
    """No text lies over another; contrast, names of controls, headings: what axe-core finds."""
    (script,) = Path(axe.__file__).parent.glob("**/axe.min.js")
    for width in WIDTHS if name in SOME else WIDTHS[:1]:
        for scheme in ("light", "dark") if name in SOME and (ALL or width == 1440) else ():
            page = open_page(name, width, scheme)  # not resized: the theme looks once what scrolls
            page.add_style_tag(content="* { transition: none !important }")  # no colour half-way
            page.evaluate(script.read_text(encoding="utf-8"))
            found = page.evaluate("tags => axe.run({ runOnly: tags })", WCAG)
            assert [(rule["id"], [node["html"] for node in rule["nodes"]])
                    for rule in found["violations"]] == []
        page = open_page(name, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVERLAPS) == []
    if name in SOME:
        page = open_page(name, java_script_enabled=False)
        assert len(page.locator("main").inner_text()) > 500
        assert all(image.is_visible() for image in page.locator("main img").all())
        if name == "index.html":  # a still picture stands for the explorer
            assert website.STILL in explorer(page).locator("img").get_attribute("alt")


def test_search_finds_the_right_chapter_and_dark_and_light_can_be_chosen(open_page):
    for words, chapters in [
            ("running variance", {"00_normalization_by_hand", "05_what_norms_change"}),
            ("proximal", {"02_group_norm_l1", "06_what_penalties_change"}),
            ("McNemar", {"04_summary"})]:
        page = open_page(f"search.html?q={words.replace(' ', '+')}")
        page.wait_for_selector("#search-results li")
        page.wait_for_timeout(500)  # pages come in one by one
        links = page.locator("#search-results li > a").all()
        found = [link.get_attribute("href") for link in links]
        best = [Path(href).stem for href in found if "notebooks/" in href][: len(chapters)]
        assert {*best} == chapters
    for mode in ("light", "dark", "auto"):
        page.locator(".theme-switch-button").first.click()
        page.locator(f".theme-change-button[data-mode={mode}]").first.click()
        assert page.evaluate("document.documentElement.dataset.mode") == mode
