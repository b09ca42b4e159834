"""How alike two sets of heads or two vectors of effects are: Jaccard, weighted Jaccard, Spearman."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import groupby
from math import sqrt

from pytest_interp.measurement import mean


def jaccard(first: Collection[str], second: Collection[str]) -> float | None:
    """Returns the share of heads of either set that both have; None of two empty sets.

    Example:
        >>> jaccard({"9.9", "9.6"}, {"9.9"})
        0.5
    """
    union = set(first) | set(second)
    return len(set(first) & set(second)) / len(union) if union else None


def weighted_jaccard(first: Mapping[str, float], second: Mapping[str, float]) -> float | None:
    """Returns the sum of minima over the sum of maxima of absolute effects, each vector normalised to sum 1.

    Args:
        first: the effect of each head.
        second: the same of another checkpoint.

    Returns:
        A number in [0, 1]; None where the heads differ, or all effects of a vector are 0.

    Example:
        >>> weighted_jaccard({"0.0": 1.0, "0.1": -1.0}, {"0.0": 2.0, "0.1": 0.0})
        0.3333333333333333
    """
    sums = [sum(map(abs, effects.values())) for effects in (first, second)]
    if first.keys() != second.keys() or not all(sums):
        return None
    pairs = [(abs(first[head]) / sums[0], abs(second[head]) / sums[1]) for head in first]
    return sum(map(min, pairs)) / sum(map(max, pairs))


def spearman(first: Mapping[str, float], second: Mapping[str, float]) -> float | None:
    """Returns the correlation of the ranks of two vectors of effects; equal effects have the mean of their ranks.

    Args:
        first: the effect of each head.
        second: the same of another checkpoint.

    Returns:
        A number in [-1, 1]; None where the heads differ, or all effects of a vector are equal.

    Example:
        >>> round(spearman({"0.0": 1, "0.1": 2, "0.2": 3}, {"0.0": 5, "0.1": 9, "0.2": 7}), 6)
        0.5
    """
    if first.keys() != second.keys():
        return None
    ranks = [_ranks(effects) for effects in (first, second)]
    centred = [[rank - mean(list(side.values())) for rank in (side[head] for head in first)] for side in ranks]
    norms = [sqrt(sum(rank * rank for rank in side)) for side in centred]
    if not all(norms):
        return None
    return float(sum(a * b for a, b in zip(*centred, strict=True)) / (norms[0] * norms[1]))


def _ranks(effects: Mapping[str, float]) -> dict[str, float]:
    """The rank of each head by its effect, from 1; the mean rank of those with the same effect."""
    ranks: dict[str, float] = {}
    for _, tied in groupby(sorted(effects, key=lambda head: effects[head]), key=lambda head: effects[head]):
        heads = list(tied)
        ranks |= dict.fromkeys(heads, len(ranks) + (1 + len(heads)) / 2)
    return ranks
