"""Exchanges of heads: the heads of a claim trade places with other heads of their layers.

What trades places is a *unit*: one query head, or a *group*, which is all query heads that read one key-value head. A
single query head can only be exchanged with a head of its own group, since the keys and values stay where they are. A
whole group can be exchanged with any other group of the layer. Without grouped queries there is one group size, 1, and
any two heads of a layer can trade places.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from pytest_interp.heads import Head

_TRIES = 4
"""How many random exchanges are drawn for a set of heads; a single head gets as many times its layer's heads."""


def exchanges(
    heads: Sequence[Head], n_heads: int, n_kv_heads: int, *, within_groups: bool, seed: int
) -> Iterator[dict[Head, Head]]:
    """Different exchanges of these heads with heads that are not among them, in random order.

    For a single head nearly all possible exchanges are drawn, for a set a few.

    Args:
        heads: the heads that a claim names.
        n_heads: query heads of a layer.
        n_kv_heads: key-value heads of a layer.
        within_groups: whether only single query heads are exchanged, each within its group.
        seed: of the random choice.

    Yields:
        For each head that moves, the head whose place it takes; both heads of a pair are keys.

    Example:
        >>> next(exchanges([Head(1, 0)], n_heads=2, n_kv_heads=2, within_groups=False, seed=0))
        {Head(layer=1, head=0): Head(layer=1, head=1), Head(layer=1, head=1): Head(layer=1, head=0)}
    """
    rng = random.Random(f"{seed} {tuple(heads)}")
    group_size = n_heads // n_kv_heads
    unit_sizes = (1,) if within_groups or group_size == 1 else (group_size, 1)
    drawn: list[dict[Head, Head]] = []
    for _ in range(_TRIES * (n_heads if len(heads) == 1 else 1)):
        for unit_size in unit_sizes:
            partner: dict[Head, Head] = {}
            for layer in sorted({head.layer for head in heads}):
                partner |= _exchange_in_layer(layer, heads, n_heads, group_size, unit_size, rng)
            if partner and partner not in drawn:
                drawn.append(partner)
                yield partner


def _exchange_in_layer(
    layer: int, heads: Sequence[Head], n_heads: int, group_size: int, unit_size: int, rng: random.Random
) -> dict[Head, Head]:
    """A random exchange of the claimed units of a layer with unclaimed ones, for as many as there are.

    Args:
        layer: the layer.
        heads: the claimed heads, of any layer.
        n_heads: query heads of a layer.
        group_size: query heads that read one key-value head.
        unit_size: query heads of a unit: 1, or ``group_size``.
        rng: makes the choices.
    """
    claimed = {head.head // unit_size for head in heads if head.layer == layer}

    def pool_of(unit: int) -> int:
        """Units of one pool can trade places: heads of one group, or all units of the layer."""
        return unit // group_size if unit_size < group_size else 0

    free: dict[int, list[int]] = {}
    for unit in range(n_heads // unit_size):
        if unit not in claimed:
            free.setdefault(pool_of(unit), []).append(unit)
    for pool in free.values():
        rng.shuffle(pool)
    partner: dict[Head, Head] = {}
    for unit in sorted(claimed):
        if unclaimed := free.get(pool_of(unit)):
            other = unclaimed.pop()
            # Inside a group all query heads read the same keys and values, so their order is free.
            for i, j in enumerate(rng.sample(range(unit_size), unit_size)):
                head, other_head = Head(layer, unit * unit_size + i), Head(layer, other * unit_size + j)
                partner |= {head: other_head, other_head: head}
    return partner
