"""Hooks that a project's conftest.py may define."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_interp.checkpoints.spec import CheckpointSpec


@pytest.hookspec
def pytest_interp_checkpoints(config: pytest.Config) -> Iterable[CheckpointSpec]:  # type: ignore[empty-body]
    """Returns checkpoints that this project brings in, each a ``CheckpointSpec(name, loader=..., circuit=...)``.

    ``loader`` is called when the first claim needs the model, and again when a claim has damaged it; it returns a
    new TransformerBridge, or a transformers model and its tokenizer. The checkpoints run beside the registered
    ones, or alone with ``--interp-model NAME``; ids carry the name.
    """
