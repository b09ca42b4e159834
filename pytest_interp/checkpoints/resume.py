"""Passes that start where another one left off: what they start from, and what they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

StartFrom: TypeAlias = Literal["position", "layer", "whole"]
"""From where a pass can start: a layer and a position, a layer alone, or the beginning (a whole pass)."""


class CleanPass(NamedTuple):
    """An unedited pass, with what others need to start from it.

    Attributes:
        residual: at the entry of each layer, and after the last one; each of shape ``(row, pos, d_model)``. Empty where
            passes can only start from the beginning.
        logits: of the last position, ``(row, vocab)``.
        keys_values: keys and values by layer as attention uses them (rotated), each ``(row, kv_head, pos, d_head)``.
        start_from: from where other passes can start.
        activations: those that were requested, by hook name.
    """

    residual: Sequence[Tensor]
    logits: Tensor
    keys_values: Mapping[int, tuple[Tensor, Tensor]]
    start_from: StartFrom
    activations: Mapping[str, Tensor] = {}


class PartialPass(NamedTuple):
    """A pass that started at a layer and a position.

    Attributes:
        residual: the stream after the last block that ran, ``(row, pos, d_model)``; its first position is the start.
        activations: those that were requested, by hook name; they begin at the start too.
        keys_values: by layer, as those of :class:`CleanPass`, at all positions; empty where they were not recorded.
    """

    residual: Float[Tensor, "row pos d_model"]
    activations: Mapping[str, Tensor]
    keys_values: Mapping[int, tuple[Tensor, Tensor]] = {}


class KeyValues:
    """A key-value cache with the interface of transformers: it records keys and values, or puts a prefix before them.

    It can do both.

    Attributes:
        recorded: keys and values by layer, with the prefix; empty where they are not to be recorded.
    """

    def __init__(self, prefix: Callable[[int], tuple[Tensor, Tensor]] | None = None, *, records: bool = True) -> None:
        """An empty cache.

        Args:
            prefix: gives the keys and values of a layer at the positions before those that run, each ``(row, kv_head,
                start, d_head)``; None where all positions run.
            records: whether keys and values are recorded.
        """
        self.prefix, self.records = prefix, records
        self.recorded: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any) -> tuple[Tensor, Tensor]:
        """All keys and values that a layer attends to; attention calls it.

        Args:
            keys: of the positions that run, ``(row, kv_head, pos, d_head)``.
            values: likewise.
            layer: from 0.
            _: what else the interface passes.
        """
        if self.prefix is not None:
            prefix_keys, prefix_values = self.prefix(layer)
            keys, values = _joined(prefix_keys, keys), _joined(prefix_values, values)
        if self.records:
            self.recorded[layer] = keys, values
        return keys, values


def _joined(prefix: Tensor, following: Tensor) -> Tensor:
    """A prefix and what follows it, along positions.

    Args:
        prefix: shape ``(row, kv_head, start, d_head)``, the same for each pass in a batch.
        following: shape ``(pass * row, kv_head, pos, d_head)``.

    Returns:
        Shape ``(pass * row, kv_head, start + pos, d_head)``.
    """
    rows, heads, start, width = prefix.shape
    by_pass = following.reshape(-1, rows, heads, following.shape[2], width)
    prefixes = prefix.expand(len(by_pass), rows, heads, start, width)
    return torch.cat([prefixes, by_pass], 3).flatten(0, 1)
