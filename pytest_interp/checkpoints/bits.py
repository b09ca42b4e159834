"""Hashes of the bits of tensors: equal only where every bit is."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

import torch
import xxhash

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

_CPU = torch.device("cpu")
_CHUNK = 2**17
"""How many integers are hashed at a time: so many fit into a processor's cache."""
INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""The type of integers of a size in bytes."""


def hash_of_bits(tensors: Iterable[Tensor]) -> int:
    """A hash of the bits of tensors, computed where they are: those of the CPU by xxHash.

    No number is converted, so NaN and -0 count too.

    Args:
        tensors: parameters or buffers, in a fixed order.

    Returns:
        The same number in each process that has the tensors on the same devices.
    """
    digest = xxhash.xxh3_128()
    elsewhere: list[tuple[int, Tensor]] = []
    for place, tensor in enumerate(tensors, start=1):
        stored = tensor.detach().contiguous()
        if not stored.numel():
            continue
        if stored.device == _CPU:
            digest.update(f"{place} {stored.dtype} {tuple(stored.shape)}".encode())
            digest.update(stored.reshape(-1).view(torch.uint8).numpy().data)
        else:
            elsewhere.append((place, stored))
    return digest.intdigest() + hash_on_device(elsewhere)


def hash_on_device(tensors: Iterable[tuple[int, Tensor]]) -> int:
    """A hash of the bits of tensors, computed on their own device in 64-bit integers.

    1. The bits of a tensor are read as integers, eight bytes at a time where its rows can be cut so.
    2. Each row (the first axis) becomes one integer: the sum of its integers, each times an odd pseudo-random number
       that belongs to its column. Arithmetic is modulo 2**64.
    3. Each tensor becomes one integer in the same way, from its rows; tensors add up, each times its place in the list.

    A product with an odd number modulo 2**64 can be undone, so a change of one entry changes the sum. Factors differ,
    so exchanged entries, rows or tensors change it too, but for a chance of about 2**-64.

    Args:
        tensors: contiguous, not empty, each with its place in the list.

    Returns:
        The same number in each process.
    """
    hashes: dict[torch.device, list[tuple[int, Tensor]]] = {}
    for place, stored in tensors:
        size = stored.element_size()
        by_eight = stored.ndim and stored.shape[-1] * size % 8 == 0 and stored.data_ptr() % 8 == 0
        integers = stored.view(torch.int64 if by_eight else INTEGERS[size])
        of_tensor = _hash_of_rows(integers.reshape(len(integers), -1) if stored.ndim else integers.reshape(1, 1))
        hashes.setdefault(stored.device, []).append((place, of_tensor))
    total = 0
    for numbered in hashes.values():  # a GPU is waited for once
        places, of_tensors = zip(*numbered, strict=True)
        total += sum(place * number for place, number in zip(places, torch.stack(of_tensors).tolist(), strict=True))
    return total


def _hash_of_rows(rows: Tensor) -> Int[Tensor, ""]:
    """The hash of one tensor of integers, shape ``(row, column)``: steps 2 and 3 of :func:`hash_on_device`.

    Before a product, the upper bits are added to the lower ones. A changed sign of a float changes only the highest
    bit, and an odd factor leaves that bit alone: two such changes in a row would cancel. The sum ``x + (x >> 29)``
    grows with ``x``, so different integers stay different, up to an overflow that only bit patterns of NaN reach.
    (``x ^ (x >> 29)`` would be the same for 0 and -1.)
    """
    column_factors = _odd_numbers(rows.shape[1], rows.device)
    rows_at_once = max(1, _CHUNK // rows.shape[1])
    sums = []
    for start in range(0, len(rows), rows_at_once):
        part = rows[start : start + rows_at_once].long()
        mixed = part >> 29
        mixed += part
        mixed *= column_factors
        sums.append(mixed.sum(1))
    by_row = torch.cat(sums)
    return ((by_row + (by_row >> 31)) * _odd_numbers(len(rows), rows.device)).sum()


@cache
def _odd_numbers(count: int, device: torch.device) -> Tensor:
    """Pseudo-random odd 64-bit integers, the same in each process: splitmix64 (Steele et al. 2014) of 1, 2, 3, ...

    Its constants are written as signed integers, as torch has no unsigned ones of 64 bits.
    """
    numbers = torch.arange(1, count + 1, device=device, dtype=torch.int64) * -7046029254386353131
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        numbers = (numbers ^ (numbers >> shift)) * factor
    return numbers ^ (numbers >> 31) | 1
