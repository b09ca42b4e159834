"""What an unedited pass leaves for others to start from, and what those give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Way: TypeAlias = Literal["position", "layer", "whole"]
"""From where a pass can start: a layer and a position, a layer alone, or the beginning."""


class Prepared(NamedTuple):
    """What an unedited pass leaves for others to start from.

    Attributes:
        residual: at the entry of each layer, and after the last one; each of shape ``(row, pos, d_model)``.
        logits: of the last position, ``(row, vocab)``.
        cache: keys and values by layer as attention uses them (rotated), each ``(row, kv_head, pos, d_head)``.
        way: from where other passes can start.
        kept: other activations that were asked for, by hook name.
    """

    residual: Sequence[Tensor]
    logits: Tensor
    cache: Mapping[int, tuple[Tensor, Tensor]]
    way: Way
    kept: Mapping[str, Tensor] = {}


class Resumed(NamedTuple):
    """What a resumed pass gives: the residual stream after the last block that ran, and what was kept by hook name."""

    residual: Float[Tensor, "row pos d_model"]
    kept: Mapping[str, Tensor]


class KeyValues:
    """What attention takes for a key-value cache: remembers keys and values, or sets those of a prefix before them."""

    def __init__(self, before: Callable[[int], tuple[Tensor, Tensor]] | None = None) -> None:
        self.before = before
        self.seen: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any) -> tuple[Tensor, Tensor]:
        """What attention calls with its new keys and values; gives all that it attends to."""
        if self.before is None:
            self.seen[layer] = keys, values
            return keys, values
        old_keys, old_values = self.before(layer)
        return _after(old_keys, keys), _after(old_values, values)


def _after(old: Tensor, new: Tensor) -> Tensor:
    """What stood before, the same for each pass in a batch, and what each has itself: along positions."""
    rows, heads, start, width = old.shape
    joined = new.new_empty(len(new), heads, start + new.shape[2], width)
    joined.view(-1, rows, *joined.shape[1:])[:, :, :, :start] = old
    joined[:, :, start:] = new
    return joined
