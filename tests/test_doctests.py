"""The examples in docstrings run. Those that need a model load ``planted-ioi``."""

import doctest
from importlib import import_module

import pytest

MODULES = [
    "cache.store",
    "checkpoints.checkpoint",
    "checkpoints.damage",
    "checkpoints.device",
    "checkpoints.hooks",
    "checkpoints.memo",
    "checkpoints.open",
    "checkpoints.planted.build",
    "checkpoints.planted.family",
    "checkpoints.planted.rules",
    "checkpoints.shape",
    "checkpoints.sites",
    "checkpoints.sources.library_errors",
    "checkpoints.spec",
    "checkpoints.weights",
    "cli",
    "engine.experiment",
    "engine.metric",
    "engine.passes",
    "engine.patch",
    "heads",
    "strategies",
    "tasks.reference",
    "tasks.slots",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    failed, attempted = doctest.testmod(import_module(f"pytest_interp.{name}"))
    assert attempted
    assert not failed
