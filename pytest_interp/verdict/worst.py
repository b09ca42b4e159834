"""The prompts that speak most against a claim."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from pytest_interp.measurement import Measurement, mean
from pytest_interp.verdict.bound import Bound


def worst(measurement: Measurement, bound: Bound, count: int = 3) -> list[tuple[str, float]]:
    """The prompts that speak most against the claim that a measurement meets a bound.

    Args:
        measurement: with its values prompt by prompt.
        bound: the values that the claim accepts.
        count: how many prompts, at most.

    Returns:
        Label and value of each, worst first. For a ratio it is the prompt's numerator over the mean denominator.
    """
    values: Sequence[float] = measurement.values
    if measurement.scale:
        bottom = mean(measurement.scale)
        values = [value / bottom for value in values]
    ranked = sorted(
        zip(measurement.labels, values, strict=True),
        key=lambda pair: (-bound.shortfall(pair[1]), pair[1] if bound.high == inf else -pair[1]),
    )
    return ranked[:count]
