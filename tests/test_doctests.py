"""The examples in docstrings run. They need no model, or planted-ioi, which is loaded once for all of them."""

import doctest
from functools import cache
from importlib import import_module

import pytest
from models import ROOT

import pytest_interp

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "pytest_interp").rglob("*.py")
    if ">>>" in path.read_text()
)


@pytest.fixture(scope="module", autouse=True)
def shared_checkpoint():
    """Each `load` of the same name in an example gives the same checkpoint: an example must not depend on another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pytest_interp, "load", cache(pytest_interp.load), raising=False)
        yield


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    failed, attempted = doctest.testmod(import_module(name))
    assert attempted
    assert not failed
