"""The built website in a real browser: the explorer, by mouse and keyboard, and how pages look."""

import itertools
import os
import shutil

import pytest
import torch
import torch.nn.functional as F
import website
from torch import nn

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if not (os.environ.get("SITE") and CHROMIUM):
    pytest.skip("make browser tests the built site, where Chromium is", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

SITE = website.BUILD / "site"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.glob("**/*.html")
               if "_static" not in path.parts)
SOME = ["index.html", "teachers.html", "notebooks/02_group_norm_l1.html",  # one of each kind
        "reference/coursepack.train.updates.html"]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"])


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


# ---------------------------------------------------------------------- the explorer's arithmetic
BY_TORCH = {
    "batch": lambda x, groups, eps: F.batch_norm(x, None, None, training=True, eps=eps),
    "layer": lambda x, groups, eps: F.layer_norm(x, x.shape[1:], eps=eps),
    "group": lambda x, groups, eps: F.group_norm(x, groups, eps=eps),
    "instance": lambda x, groups, eps: F.instance_norm(x, eps=eps),
    "rms": lambda x, groups, eps: F.rms_norm(x, x.shape[1:], eps=eps),
    "none": lambda x, groups, eps: x,
}


def close(result, expected):
    result = torch.tensor(result, dtype=torch.float64).view(expected.shape)
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)


def test_explorer_gives_the_numbers_of_torch(open_page):
    torch.manual_seed(0)
    page = open_page()
    for norm, (groups, *shape), scale, offset, eps in itertools.product(
            BY_TORCH, [(1, 1, 1, 2, 2), (2, 3, 2, 3, 1), (3, 2, 6, 2, 1), (4, 9, 8, 4, 4)],
            (1e-3, 1.0, 100.0), (-20.0, 0.0), (1e-8, 1e-5, 0.1)):
        x = torch.randn(shape, dtype=torch.float64) * scale + offset
        batch = {"values": x.flatten().tolist(), "shape": shape, "norm": norm, "groups": groups,
                 "eps": eps}
        close(page.evaluate("batch => [...normExplorer.normalize(batch).result]", batch),
              BY_TORCH[norm](x, groups, eps))


# ---------------------------------------------------------------------------- the explorer in use
VALUES = "document.querySelector('.norm-explorer').explorer.values"
RESULT = "[...document.querySelector('.norm-explorer').explorer.now.result]"


def choose(page, label, value):
    page.get_by_label(label, exact=True).select_option(value)


def says(page, part=".says"):
    return page.locator(part).inner_text()


def test_all_that_share_a_mean_light_up_and_change(open_page):
    page = open_page()
    formula = "(4 − 4.8125) / √(8.4023 + 0.00001) = −0.2803"  # as in the notebook
    assert formula in says(page, ".formula")
    for norm, lit, images in [("batch", 16, 4), ("group", 8, 1), ("layer", 16, 1),
                              ("instance", 4, 1), ("rms", 16, 1), ("none", 1, 1)]:
        choose(page, "norm", norm)
        page.locator(".input [data-i='20']").hover()
        for panel in (".input", ".result"):
            assert page.locator(f"{panel} .lit").count() == lit, norm
        assert "image 1, channel 1" in says(page).lower()
        page.get_by_role("button", name="one more").click()
        assert says(page).startswith("Image 0, channel 0, row 0, column 0")
        if norm != "rms":  # there 0 stays 0
            assert f"{lit} of 64 results changed, in {images} of 4 images" in says(page, ".effect")
            assert page.locator(".result .changed").count() == lit


def test_evaluation_learns_what_training_sees_and_epsilon_keeps_a_flat_image_flat(open_page):
    page = open_page()
    choose(page, "batch norm's mode", "evaluation")
    assert "running mean" in says(page)
    x = torch.tensor(page.evaluate(VALUES)).double().view(4, 4, 2, 2)
    layer = nn.BatchNorm2d(4, affine=False).double()
    for button, times in [("train on this batch", 1), ("50 times", 50)]:
        page.get_by_role("button", name=button).click()
        for _ in range(times):
            layer.train()(x)
        close(page.evaluate(RESULT), layer.eval()(x))
    assert "seen: 51 batches" in says(page, ".memory")
    choose(page, "norm", "layer")
    for contrast, epsilon, least, most in [  # a small contrast is restored, unless epsilon is large
            ("0.001", "-5", 0.5, 9.0), ("0.001", "-1", 1e-4, 0.1), ("0", "-1", 0.0, 0.0)]:
        choose(page, "contrast of its image", contrast)
        page.locator("input[type=range]").fill(epsilon)
        assert least <= max(map(abs, page.evaluate(RESULT)[:16])) <= most


def test_every_number_is_reached_and_changed_by_keyboard(open_page):
    page = open_page()
    current = page.locator(".input [tabindex='0']")
    current.focus()
    for key, *place in [("ArrowRight", 0, 0, 0, 1), ("ArrowRight", 0, 1, 0, 0),
                        ("ArrowDown", 0, 1, 1, 0), ("ArrowDown", 1, 1, 0, 0),
                        ("PageDown", 2, 1, 0, 0), ("End", 2, 3, 0, 1), ("PageUp", 1, 3, 0, 1),
                        ("Home", 1, 0, 0, 0), ("ArrowLeft", 1, 0, 0, 0)]:
        page.keyboard.press(key)
        name = "image {}, channel {}, row {}, column {}".format(*place)
        assert page.locator(":focus").get_attribute("aria-label").startswith(f"x of {name}: ")
        assert says(page).lower().startswith(name)
    page.keyboard.press("+")
    assert current.get_attribute("aria-label").endswith(": 8")
    for typed in ("2.5", "\b", "1e999", "abc"):  # what is no number changes nothing
        current.focus()
        page.keyboard.press("Enter")
        page.keyboard.type(typed)
        page.keyboard.press("Tab")
        assert current.get_attribute("aria-label").endswith(": 2.5")


# ------------------------------------------------------------------------------ pages, as they look
@pytest.mark.parametrize("name", [name for name in PAGES if name[:10] != "reference/"])
def test_a_page_fits_a_phone_and_has_a_text_for_every_figure(open_page, name):
    page = open_page(name, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    texts = [image.get_attribute("alt") for image in page.locator("main img").all()]
    assert all(" " in text for text in texts)  # not the name of a file


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
