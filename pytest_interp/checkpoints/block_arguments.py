"""The arguments of a block beside the residual stream (masks, position ids, rotary embeddings), cut to a pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

_POSITION_AXIS = {1: 0, 2: 1, 3: 1, 4: 2}
"""Which axis of a block's argument runs over positions, by the number of its axes: position ids ``(pos,)`` or ``(row,
pos)``, rotary embeddings ``(row, pos, width)``, masks ``(row, head, destination, source)``."""


def _with_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A block's argument with a function applied to each tensor in it.

    The model's own key-value cache becomes None: ours takes its place.
    """
    if isinstance(value, tuple | list):
        return type(value)(_with_tensors(item, change) for item in value)
    if isinstance(value, dict):
        return {name: _with_tensors(item, change) for name, item in value.items()}
    if hasattr(value, "update"):  # a key-value cache
        return None
    return change(value) if isinstance(value, torch.Tensor) else value


def shared_by_rows(value: Any, rows: int) -> Any:
    """A block's argument for any number of rows: the first row's, with an axis of size 1.

    Prompts of one length have the same masks and positions, since none is padded.
    """
    return _with_tensors(value, lambda tensor: tensor[:1] if tensor.ndim > 1 and len(tensor) == rows else tensor)


def last_positions(value: Any, count: int, length: int) -> Any:
    """A block's argument for the last ``count`` of ``length`` positions; of masks, the last destinations."""

    def last(tensor: Tensor) -> Tensor:
        axis = _POSITION_AXIS.get(tensor.ndim)
        if axis is None or tensor.shape[axis] != length:
            return tensor
        return tensor.narrow(axis, length - count, count)

    return _with_tensors(value, last)
