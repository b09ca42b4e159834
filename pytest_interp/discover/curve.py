"""Stage 8: faithfulness over circuit sizes, by the grid and the measure CMD of the MIB benchmark.

Heads are kept at every position, those of the circuit first, then the others by the size of their effects. The
faithfulness of a circuit is ``(m(C) - m(no head)) / (m(M) - m(no head))``; CMD is the area between the curve and 1,
by trapezoids over the share of heads. Mueller et al. 2025, "MIB: a mechanistic interpretability benchmark", section 3.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_interp.circuit import EVERYWHERE
from pytest_interp.heads import Head
from pytest_interp.measure.places import MEAN, Place, circuit_scores

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment

GRID = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of the heads that MIB evaluates."""
PROMPTS = 24
"""Prompts on which the curve is measured, at most."""
RANDOM_ORDERS = 5
"""Random orders of all heads; the band is from their smallest to their largest faithfulness."""


@dataclass(frozen=True)
class Curve:
    """Faithfulness over circuit sizes.

    Attributes:
        sizes: the number of heads at each share of :data:`GRID`.
        by_ablation: the faithfulness at each, by ablation: the corrupted run (counterfactual), and ``mean``.
        cmd: the area between the curve and 1, by ablation; 0 is best.
        band: the smallest and the largest faithfulness of random circuits of each size, counterfactual ablation.
    """

    sizes: tuple[int, ...]
    by_ablation: Mapping[str, tuple[float, ...]]
    cmd: Mapping[str, float]
    band: tuple[tuple[float, float], ...]


def curve_of(experiment: Experiment, order: Sequence[Head], corruption: str, seed: int) -> Curve:
    """Returns the faithfulness of the first heads of an order, for each size of the grid.

    Args:
        experiment: checkpoint and data set.
        order: all heads of the model, the most important first.
        corruption: the corrupted run whose z is put in.
        seed: of the random orders.
    """
    if len(experiment.data.clean) > PROMPTS:
        experiment = replace(experiment, data=experiment.data.rebuild(range(PROMPTS)))
    sizes = tuple(int(share * len(order)) for share in GRID)
    by_ablation = {run: _faithful(experiment, [order], sizes, run)[0] for run in (corruption, MEAN)}
    rng = random.Random(seed)
    orders = [rng.sample(list(order), len(order)) for _ in range(RANDOM_ORDERS)]
    at_random = _faithful(experiment, orders, sizes, corruption)
    band = tuple((min(column), max(column)) for column in zip(*at_random, strict=True))
    return Curve(sizes, by_ablation, {run: area_from_1(curve) for run, curve in by_ablation.items()}, band)


def area_from_1(faithfulness: Sequence[float]) -> float:
    """Returns CMD: the area between a curve over :data:`GRID` and 1, by trapezoids.

    Example:
        >>> area_from_1([1.0] * 10), round(area_from_1([0.0] * 10), 3)
        (0.0, 0.999)
    """
    gaps = [abs(1 - value) for value in faithfulness]
    steps = zip(GRID, GRID[1:], gaps, gaps[1:], strict=False)
    return sum((right - left) * (first + second) / 2 for left, right, first, second in steps)


def _faithful(
    experiment: Experiment, orders: Sequence[Sequence[Head]], sizes: Sequence[int], ablation: str
) -> list[tuple[float, ...]]:
    """The faithfulness of the first heads of each order at each size."""
    different = sorted(set(sizes) - {0, len(orders[0])})
    circuits = [[Place(head, EVERYWHERE) for head in order[:size]] for order in orders for size in different]
    scores = [float(score) for score in circuit_scores(experiment, [[], *circuits], ablation=ablation).mean(1)]
    nothing, whole = scores[0], float(experiment.logit_diffs().mean())
    curves = []
    for number in range(len(orders)):
        part = scores[1 + number * len(different) : 1 + (number + 1) * len(different)]
        at_size = {0: nothing, len(orders[0]): whole, **dict(zip(different, part, strict=True))}
        curves.append(tuple((at_size[size] - nothing) / (whole - nothing) for size in sizes))
    return curves
