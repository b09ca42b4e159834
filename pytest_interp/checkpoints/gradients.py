"""Gradients on a frozen model: by activation, and TransformerLens's own attribution patching."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from pytest_interp.checkpoints.hooks import Edit, hooked

if TYPE_CHECKING:
    from jaxtyping import Int

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


def activation_gradients(
    checkpoint: Checkpoint,
    tokens: Int[Tensor, "row pos"],
    metric: Callable[[Tensor], Tensor],
    hooks: Sequence[str],
) -> Mapping[str, Tensor]:
    """``d metric / d activation`` at an unedited run, for several activations.

    Args:
        checkpoint: the loaded model.
        tokens: token ids of prompts of one length.
        metric: gets logits ``(row, pos, vocab)``, returns a scalar.
        hooks: hook names of the activations.

    Returns:
        By hook name, in the activation's shape: the metric's unit over the activation's.

    Raises:
        NotApplicable: the model does not read one of the activations.
    """
    activations: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook_function(value: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
            # What a hook returns is what the model reads on, in the shape in which the hook got it.
            activations[name] = value.clone()
            return activations[name]

        return hook_function

    checkpoint.sites.check_edits(hooks)
    points = checkpoint.forward.blocks.points
    with (
        checkpoint.guard.lock,
        _differentiable(checkpoint.bridge),
        hooked(points, [(name, keep(name)) for name in hooks]),
    ):
        logits = checkpoint.bridge(tokens.to(checkpoint.device), return_type="logits")
        slopes = torch.autograd.grad(metric(logits), [activations[name] for name in hooks])
    return dict(zip(hooks, slopes, strict=True))


class EditedSlope(NamedTuple):
    """An activation of a pass in which it is replaced, and the slope of the metric there.

    Attributes:
        value: the activation as it came, before its edit; ``(row, pos, ...)``.
        slope: ``d metric / d activation`` after its edit, in the same shape.
    """

    value: Tensor
    slope: Tensor


def edited_gradients(
    checkpoint: Checkpoint,
    tokens: Int[Tensor, "row pos"],
    metric: Callable[[Tensor], Tensor],
    edits: Mapping[str, Edit],
) -> Mapping[str, EditedSlope]:
    """Activations that edits replace, and ``d metric / d activation`` of what they put there, in one pass.

    Args:
        checkpoint: the loaded model.
        tokens: token ids of prompts of one length.
        metric: gets the logits at END, ``(row, vocab)``; returns a scalar.
        edits: hook name -> what replaces that activation.

    Returns:
        By hook name.

    Raises:
        NotApplicable: the model does not read one of the activations.
    """
    before: dict[str, Tensor] = {}
    after: dict[str, Tensor] = {}

    def replaced(name: str, edit: Edit) -> Any:
        def hook_function(value: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
            before[name], after[name] = value.detach(), edit(value).clone()
            return after[name]

        return hook_function

    def end_only(value: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
        return value[:, -1:]

    checkpoint.sites.check_edits(edits)
    hooks = [*((name, replaced(name, edit)) for name, edit in edits.items()), ("unembed.hook_in", end_only)]
    with (
        checkpoint.guard.lock,
        _differentiable(checkpoint.bridge),
        hooked(checkpoint.forward.blocks.points, hooks),
    ):
        logits = checkpoint.bridge(tokens.to(checkpoint.device), return_type="logits")[:, -1]
        slopes = torch.autograd.grad(metric(logits), [after[name] for name in edits])
    return {name: EditedSlope(before[name], slope) for name, slope in zip(edits, slopes, strict=True)}


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
