"""Memory: what is remembered of passes, how large a batch of them may be, and estimates of both."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch

from pytest_interp.checkpoints.device import free_memory
from pytest_interp.checkpoints.shape import Shape
from pytest_interp.errors import UsageError

_LARGEST_BUDGET = 2**28
_BATCH_ON_CPU = 96 * 2**20
_SMALLEST_BUDGET = 2**24
_CAPACITY = 2**30
_LARGEST_CAPACITY = 6 * 2**30
_LARGE = 2**20
BY_SOURCE = ("pattern", "scores")
"""How names of hooks end whose activations have heads, destinations and sources as axes: ``(row, head, dest, src)``."""
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


class Memo(OrderedDict[Any, Any]):
    """Results by key, up to a number of bytes: a least-recently-used cache.

    The entries stand in the order of their last use, oldest first. If a new entry exceeds the capacity, the oldest
    large entries are dropped until the rest fits. Small entries stay: dropping them would free next to nothing. So does
    the new entry, however large it is.

    Attributes:
        capacity: bytes that the tensors of all entries may take.
        large: bytes from which on an entry may be dropped.
        used: bytes that the tensors of all entries take.

    Example:
        >>> import torch
        >>> memo = Memo(capacity=100, large=40)
        >>> memo["a"], memo["b"] = torch.zeros(10), torch.zeros(10)  # 40 bytes each
        >>> _ = memo.get("a")  # now "b" is the oldest
        >>> memo["c"] = torch.zeros(10)
        >>> list(memo), memo.used
        (['a', 'c'], 80)
    """

    def __init__(self, capacity: int = _CAPACITY, large: int = _LARGE) -> None:
        super().__init__()
        self.capacity, self.large, self.used = capacity, large, 0

    def get(self, key: Any, default: Any = None) -> Any:
        """The entry under a key, which becomes the last used one; the default where there is none."""
        if key not in self:
            return default
        self.move_to_end(key)
        return self[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if key in self:
            del self[key]
        super().__setitem__(key, value)
        self.used += bytes_in(value)
        while self.used > self.capacity:
            droppable = (old_key for old_key in self if old_key != key and bytes_in(self[old_key]) >= self.large)
            if (oldest := next(droppable, None)) is None:
                return
            del self[oldest]

    def __delitem__(self, key: Any) -> None:
        self.used -= bytes_in(self[key])
        super().__delitem__(key)

    def clear(self) -> None:
        """Drops all entries."""
        super().clear()
        self.used = 0


def bytes_in(value: Any) -> int:
    """The bytes of all tensors in a value: a tensor, or tensors in dictionaries, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sum(map(bytes_in, items))


def budget_of(device: torch.device) -> int:
    """The default budget of activations, in bytes: a quarter of what is free on the device, at least 16 MB.

    On a CPU at most 256 MB.

    Args:
        device: of the model.
    """
    budget = max(_SMALLEST_BUDGET, free_memory(device) // 4)
    return budget if device.type == "cuda" else min(_LARGEST_BUDGET, budget)


def largest_batch(device: torch.device, budget: int) -> int:
    """The number of bytes that one batch of passes may take: the budget, but on a CPU at most 96 MB of it.

    Then its largest tensor seldom has more than 32 MB. The allocator of Linux returns more than that to the kernel at
    once, which clears each page of the next tensor.

    Args:
        device: of the model.
        budget: what a batch may take.
    """
    return min(_BATCH_ON_CPU, budget) if device.type == "cpu" else budget


def capacity_of(device: torch.device, processes: int = 1) -> int:
    """The number of bytes that a memo may hold: part of what is free, at least 1 GB.

    On a GPU an eighth. On a CPU a quarter, shared by the processes that measure beside each other, and at most 6 GB.

    Args:
        device: of the model.
        processes: how many load a model on this machine.
    """
    if device.type == "cuda":
        return max(_CAPACITY, free_memory(device) // 8)
    return min(_LARGEST_CAPACITY, max(_CAPACITY, free_memory(device) // 4 // processes))


def bytes_of(text: str) -> int:
    """The number of bytes that a text means; the units K, M and G are powers of 1024.

    Raises:
        UsageError: it is no amount of memory, or zero.

    Example:
        >>> bytes_of("300M"), bytes_of("2 GB")
        (314572800, 2147483648)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?)I?B?\s*", text.upper())
    if not match or not float(match[1]):
        raise UsageError(f"{text!r} is no amount of memory; pass a number of bytes, or one such as 300M or 2G")
    return int(float(match[1]) * _UNITS[match[2]])


def bytes_of_row(shape: Shape, count: int, length: int, *, logits: bool) -> int:
    """An estimate of the bytes that one prompt takes in a pass over its last positions.

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
    """An estimate of the bytes that activations take at these hooks and the same ones of every other layer.

    Args:
        shape: of the model.
        hooks: hook names or sites.
        rows: how many prompts.
        length: of each prompt, in tokens.
    """
    by_source = all(hook.endswith(BY_SOURCE) for hook in hooks)
    width = shape.n_heads * length if by_source else max(shape.d_model, shape.n_heads * shape.d_head)
    return 4 * width * rows * length * shape.n_layers * len({hook.rpartition(".")[2] for hook in hooks})
