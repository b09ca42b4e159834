"""Unedited passes over prompts that begin as others do: they go on where the prompts begin to differ.

A corruption that exchanges the second subject leaves two thirds of a prompt as it is. What is computed there is that of
the clean run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from pytest_interp.checkpoints.hooks import Edit
from pytest_interp.checkpoints.resume import CleanPass
from pytest_interp.checkpoints.rows import Rows
from pytest_interp.tolerance import noise_of_logits

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

    from pytest_interp.checkpoints.forward import Forward


class _Reached(Exception):
    """Ends a pass at an activation.

    Attributes:
        value: the activation.
    """

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value


def activation_at(
    forward: Forward, tokens: Int[Tensor, "row pos"], hook: str, edits: Mapping[str, Edit] = {}
) -> Tensor | None:
    """One activation, by a pass that ends there, as TransformerLens's own ``stop_at_layer`` does.

    Args:
        forward: the passes of a model.
        tokens: shape ``(row, pos)``.
        hook: its hook name.
        edits: hook name -> what replaces that activation.

    Returns:
        The activation; None where no pass reaches it.
    """

    def end(value: Tensor) -> Tensor:
        raise _Reached(value)

    try:
        forward.run(tokens, edits={**edits, hook: end}, check=False)
    except _Reached as reached:
        return reached.value
    return None


def continued_pass(
    forward: Forward, other: CleanPass, tokens: Int[Tensor, "row pos"], start: int, activations: Mapping[str, Tensor]
) -> CleanPass | None:
    """An unedited pass over prompts that are those of another pass up to a position.

    The first one of each token length is compared with a whole pass over its last prompt.

    Args:
        forward: the passes of a model.
        other: the other pass, over the same number of prompts of the same length; passes can start at its positions.
        tokens: shape ``(row, pos)``.
        start: the first position at which any row differs.
        activations: those of the other prompts that are wanted of these too, by hook name, ``(row, pos, ...)``.

    Returns:
        The pass; None where it is better made whole: no pass reaches the entry of layer 0, the first comparison failed,
        or the device has too little memory for all rows at once.
    """
    length, blocks = tokens.shape[1], forward.blocks
    if tokens.numel() > blocks.most_tokens or not blocks.can_continue.get(length, True):
        return None
    try:
        continued = _continued(forward, other, tokens, start, activations)
        if continued is not None and length not in blocks.can_continue:
            blocks.can_continue[length] = _is_whole(forward, continued, tokens)
    except torch.OutOfMemoryError:
        return None
    return continued if blocks.can_continue.get(length) else None


def _continued(
    forward: Forward, other: CleanPass, tokens: Tensor, start: int, activations: Mapping[str, Tensor]
) -> CleanPass | None:
    """The pass, unchecked; arguments are those of :func:`continued_pass`."""
    blocks = forward.blocks
    entry = activation_at(forward, tokens, blocks.stream_hooks[0])
    if entry is None:
        return None
    before = {**activations, **dict(zip(blocks.stream_hooks, other.residual, strict=True))}
    rows = Rows.of(range(len(tokens)), len(tokens), blocks.device)
    from_entry = other._replace(residual=[entry, *other.residual[1:]])
    after = forward.resume(from_entry, rows, [0], start, keep=list(before), records=True)
    joined = {hook: torch.cat([before[hook][:, :start], after.activations[hook]], 1) for hook in before}
    return other._replace(
        residual=[joined[hook] for hook in blocks.stream_hooks],
        logits=forward.read(after.residual[:, -1], None).logits,
        keys_values=after.keys_values,
        activations={hook: joined[hook] for hook in activations},
    )


def _is_whole(forward: Forward, continued: CleanPass, tokens: Tensor) -> bool:
    """Whether the logits of the last prompt are those of a whole pass."""
    expected = forward.run(tokens[-1:], check=False).logits
    allowed = noise_of_logits(forward.blocks.precision, float(expected.abs().max()))
    return bool((continued.logits[-1:] - expected).abs().max() <= allowed)
