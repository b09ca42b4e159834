"""Hooks that a project's conftest.py may define."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_interp.checkpoints.spec import CheckpointSpec


@pytest.hookspec
def pytest_interp_checkpoints(config: pytest.Config) -> Iterable[CheckpointSpec]:  # type: ignore[empty-body]
    """Returns the project's own checkpoints, each a ``CheckpointSpec(name, loader=..., circuit=...)``.

    ``loader`` is called when the first claim needs the model, and again when a claim has damaged it; it returns a
    new TransformerBridge, or a transformers model and its tokenizer. Claims run on these checkpoints and on the
    registered ones, or on these alone with ``--interp-model NAME``; test ids carry the name.

    Args:
        config: of the run.

    Returns:
        A list or tuple of specs.
    """
