"""A pytest plugin that takes the engine out: every patched pass is whole again. ``pytest -p whole_passes claims``."""

from collections.abc import Sequence
from typing import Any

from pytest_interp.checkpoints.checkpoint import Checkpoint
from pytest_interp.checkpoints.prepared import Prepared


def whole(self: Checkpoint, tokens: Any, keep: Sequence[str] = ()) -> Prepared:
    """What nothing can start from but the beginning: logits, and what was asked for."""
    logits, kept = self.run(tokens, keep=keep)
    return Prepared((), logits, {}, "whole", kept)


def pytest_configure() -> None:
    """For all claims of the run."""
    Checkpoint.prepare = whole  # type: ignore[method-assign]
