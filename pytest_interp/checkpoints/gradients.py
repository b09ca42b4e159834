"""Attribution patching as TransformerLens has it, on a frozen model: gradients for a moment, none left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint


def node_scores(
    checkpoint: Checkpoint,
    clean: Int[Tensor, "1 pos"],
    corrupted: Int[Tensor, "1 pos"],
    metric: Callable[[Tensor], Tensor],
) -> Mapping[Any, float]:
    """``(clean - corrupted) . d metric / d activation`` at the corrupted run, by TransformerLens's nodes.

    Args:
        checkpoint: whose bridge is asked.
        clean: one prompt.
        corrupted: its corrupted twin.
        metric: of logits of shape ``(1, pos, vocab)``, a scalar.
    """
    from transformer_lens.tools.analysis import attribution_patch

    with _differentiable(checkpoint.bridge):
        one, other = clean.to(checkpoint.device), corrupted.to(checkpoint.device)
        scores: Mapping[Any, float] = attribution_patch(checkpoint.bridge, one, other, metric).node_scores
    return scores


@contextmanager
def _differentiable(bridge: Any) -> Iterator[None]:
    """A graph starts at a parameter that wants a gradient; no parameter gets one."""
    start = list(bridge.embed.parameters())
    frozen = [parameter.requires_grad for parameter in start]
    try:
        for parameter in start:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for parameter, before in zip(start, frozen, strict=True):
            parameter.requires_grad_(before)
