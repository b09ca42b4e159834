"""The examples in docstrings run. They need no model, or planted-ioi, which is built in seconds."""

import doctest
from importlib import import_module

import pytest

MODULES = [
    "circuit",
    "cli",
    "common.arguments",
    "common.builtin_types",
    "common.files",
    "errors",
    "figures",
    "heads",
    "rerun.exchange",
    "rerun.falsify",
    "strategies",
    "tasks.dataset",
    "tasks.ioi",
    "tasks.listed",
    "tasks.positions",
    "tasks.reference",
    "tasks.slots",
    "text",
    "tolerance",
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
