"""TransformerLens's own attribution patching, which needs gradients, on a frozen model."""

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
        checkpoint: the loaded model.
        clean: token ids of a clean prompt.
        corrupted: token ids of its corrupted twin.
        metric: gets logits ``(1, pos, vocab)``, returns a scalar.

    Returns:
        By TransformerLens's key of a node, in the metric's unit.
    """
    from transformer_lens.tools.analysis import attribution_patch

    with _differentiable(checkpoint.bridge):
        tokens = clean.to(checkpoint.device), corrupted.to(checkpoint.device)
        scores: Mapping[Any, float] = attribution_patch(checkpoint.bridge, *tokens, metric).node_scores
    return scores


@contextmanager
def _differentiable(bridge: Any) -> Iterator[None]:
    """Inside the block torch records a graph, which starts at the embedding; afterwards the model is frozen as before.

    Nothing calls backward on a parameter, so none gets a gradient.
    """
    embedding = list(bridge.embed.parameters())
    flags = [parameter.requires_grad for parameter in embedding]
    try:
        for parameter in embedding:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for parameter, requires_grad in zip(embedding, flags, strict=True):
            parameter.requires_grad_(requires_grad)
