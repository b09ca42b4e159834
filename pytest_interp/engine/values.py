"""What the value bias of each head adds to its values, and so to its output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.checkpoints.value_bias import ValueBias


def bias_by_head(checkpoint: Checkpoint, layer: int, heads: int, value_bias: ValueBias) -> Float[Tensor, "head d_head"]:
    """What is added to v or z of a layer for it to hold the value bias, or to lack it, head by head.

    Args:
        checkpoint: the loaded model.
        layer: from 0.
        heads: how many the activation has; query heads that share a key-value head share its bias.
        value_bias: ``kept`` or ``removed``.

    Raises:
        NotApplicable: the biases are not known.
    """
    bias = checkpoint.value_bias(layer, value_bias)
    return bias.repeat_interleave(heads // len(bias), dim=0)
