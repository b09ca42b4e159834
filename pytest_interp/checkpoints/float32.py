"""A checkpoint in half precision, with the weights of its source in float32 meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_interp.checkpoints.checkpoint import Checkpoint
from pytest_interp.errors import UsageError


@contextmanager
def in_float32(checkpoint: Checkpoint) -> Iterator[None]:
    """The weights of a checkpoint are those of its source in float32 meanwhile, for all who have it in hand.

    The second model is loaded on first use and kept beside the first, with what was measured of it.

    Raises:
        UsageError: it cannot be loaded, or its loader gives a bridge, which has a precision of its own.
        Unavailable: its weights cannot be had any more.
    """
    if checkpoint.exact is None:
        if checkpoint.spec.kind == "user" and checkpoint.parity[0].before != "the raw model":
            raise UsageError(
                f"the loader of {checkpoint.name} gives a bridge in {checkpoint.dtype}, which is left as it is"
            )
        checkpoint.exact = Checkpoint(checkpoint.spec, device=str(checkpoint.device))
        checkpoint.exact.budget = checkpoint.budget
    checkpoint.exact.cache = checkpoint.cache
    checkpoint.exact.claimed(checkpoint.circuit, bos=checkpoint.bos)
    # Fixtures hold this object, not its attributes: what they ask of it is asked of the other model.
    half, checkpoint.__dict__ = checkpoint.__dict__, checkpoint.exact.__dict__
    try:
        yield
    finally:
        checkpoint.__dict__ = half
