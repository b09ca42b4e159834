"""A pytest plugin that takes the engine out: every patched pass is whole again. ``pytest -p whole_passes claims``."""

from typing import Any

from pytest_interp.checkpoints.blocks import Prepared
from pytest_interp.checkpoints.checkpoint import Checkpoint


def _whole(self: Checkpoint, tokens: Any) -> Prepared:
    return Prepared((), self.run(tokens).logits, {}, "whole")


Checkpoint.prepare = _whole  # type: ignore[method-assign]
