"""How much memory a batch of passes may take, and how much is kept of them."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch

from pytest_interp.checkpoints.device import free_memory
from pytest_interp.checkpoints.shape import Shape
from pytest_interp.errors import UsageError

_MOST = 2**28
_KEPT = 2**30
_SMALL = 2**20
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


class Memo(OrderedDict[Any, Any]):
    """What was computed, up to a number of bytes: what has not been asked for longest is forgotten first.

    What is small stays: to forget it gains nothing.
    """

    def __init__(self, most: int = _KEPT, small: int = _SMALL) -> None:
        super().__init__()
        self.most, self.small, self.held = most, small, 0

    def get(self, key: Any, default: Any = None) -> Any:
        """What is there; asked for just now."""
        if key not in self:
            return default
        self.move_to_end(key)
        return self[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if key in self:
            del self[key]
        super().__setitem__(key, value)
        self.held += bytes_in(value)
        while self.held > self.most:
            large = (other for other in self if other != key and bytes_in(self[other]) >= self.small)
            if (first := next(large, None)) is None:
                return
            del self[first]

    def __delitem__(self, key: Any) -> None:
        self.held -= bytes_in(self[key])
        super().__delitem__(key)

    def clear(self) -> None:
        """Nothing is there."""
        super().clear()
        self.held = 0


def bytes_in(value: Any) -> int:
    """The bytes of all tensors in a value."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sum(map(bytes_in, inside))


def budget_of(device: torch.device) -> int:
    """By default a quarter of what is free on the device, at most 256 MB: larger batches are no faster."""
    return max(2**24, min(_MOST, free_memory(device) // 4))


def bytes_of(text: str) -> int:
    """The number of bytes that ``300M`` or ``2GB`` says.

    Raises:
        UsageError: it says none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?)I?B?\s*", text.upper())
    if not found or not float(found[1]):
        raise UsageError(f"{text!r} is no amount of memory; pass a number of bytes, or one such as 300M or 2G")
    return int(float(found[1]) * _UNITS[found[2]])


def bytes_of_row(shape: Shape, count: int, length: int, *, logits: bool) -> int:
    """About what one prompt takes in a pass over its last positions.

    Args:
        shape: of the model.
        count: how many positions are computed.
        length: how many the prompt has.
        logits: whether the whole vocabulary is unembedded, at one position.
    """
    wide = shape.n_heads * shape.d_head
    stream = count * (8 * shape.d_model + 3 * shape.d_mlp + 6 * wide)
    attention = 3 * shape.n_heads * count * length + 4 * wide * length
    return 4 * (stream + attention + (2 * shape.d_vocab if logits else 0))


def bytes_of_sites(shape: Shape, hooks: Sequence[str], rows: int, length: int) -> int:
    """About what so many prompts' activations at these hooks take, in every layer."""
    by_key = all(hook.endswith(("pattern", "scores")) for hook in hooks)
    width = shape.n_heads * length if by_key else max(shape.d_model, shape.n_heads * shape.d_head)
    return 4 * width * rows * length * shape.n_layers * len({hook.rpartition(".")[2] for hook in hooks})
