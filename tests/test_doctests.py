"""The examples in docstrings run. A module is added to ``MODULES`` as soon as its examples need no model."""

import doctest
from importlib import import_module

import pytest

MODULES = [
    "cli",
    "heads",
    "rerun.exchange",
    "rerun.falsify",
    "strategies",
    "tasks.reference",
    "tasks.slots",
    "verdict.bound",
    "verdict.evidence",
    "verdict.intervals",
    "verdict.judge",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    failed, attempted = doctest.testmod(import_module(f"pytest_interp.{name}"))
    assert attempted
    assert not failed
