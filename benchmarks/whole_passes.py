"""A pytest plugin that takes the engine out: every patched pass is whole again. ``pytest -p whole_passes claims``."""

from collections.abc import Sequence
from typing import Any

from pytest_interp.checkpoints.checkpoint import Checkpoint
from pytest_interp.checkpoints.resume import Prepared


def whole(self: Checkpoint, tokens: Any, keep: Sequence[str] = ()) -> Prepared:
    """What nothing can start from but the beginning: logits, and what was asked for."""
    key = ("whole", tuple(tokens.shape), tokens.cpu().numpy().tobytes(), tuple(keep))
    found = self.memory.get(key)
    if found is None:
        # Once for each set of prompts, as a careful loop would have it.
        self.memory[key] = found = tuple(self.run(tokens, keep=keep))
    return Prepared((), found[0], {}, "whole", found[1])


def pytest_configure() -> None:
    """For all claims of the run."""
    Checkpoint.prepare = whole  # type: ignore[method-assign]
