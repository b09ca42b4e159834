"""The examples in docstrings run. They need no model, or planted-ioi, which is built in seconds."""

import doctest
from importlib import import_module

import pytest
from models import ROOT

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "pytest_interp").rglob("*.py")
    if ">>>" in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    failed, attempted = doctest.testmod(import_module(name))
    assert attempted
    assert not failed
