"""Numeric tolerances: how far a number may move between machines, batch sizes and kernels, by precision.

A measurement carries its tolerance, and its snapshot stores it. ``snapshots/extension.py`` compares two numbers with
the larger of the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log10

FLOAT_NOISE: Mapping[str, float] = {"float64": 1e-5, "float32": 2e-4, "tf32": 0.05, "bfloat16": 0.5, "float16": 0.05}
"""How far a logit may move between machines, batch sizes and kernels, in logits, by dtype.

The values follow from the measured distance to float64 (docs/verdicts.md, "How much is float noise") by
``tolerance_from``, on the assumption that other kernels are about as far from exact arithmetic. The distance is that of
single prompts for float32, and that of means for bfloat16, where single prompts move by half a logit. float16 has three
more bits of mantissa than bfloat16 and gets a tenth of its tolerance. So does TF32, whose factors have as many bits as
float16; it was not measured, since no GPU was available. float64 is not exact either: parts of the bridge, such as its
softmax, compute in float32."""

PROBABILITY_NOISE: Mapping[str, float] = {
    "float64": 1e-6,
    "float32": 1e-5,
    "tf32": 5e-3,
    "bfloat16": 0.05,
    "float16": 5e-3,
}
"""How far a probability, such as an attention weight, may move, by dtype."""

ACTIVATION_NOISE: Mapping[str, float] = {
    "float64": 1e-6,
    "float32": 1e-5,
    "tf32": 5e-4,
    "bfloat16": 4e-3,
    "float16": 5e-4,
}
"""How far two runs may differ in an activation, relative to its size, and still count as equal there, by dtype.

Runs of equal tokens in batches of one shape are equal bit by bit. After a difference elsewhere, a softmax lets a tiny
part of it through, which must not count."""


def noise_of_logits(precision: str, largest: float) -> float:
    """The largest difference between two passes over the same tokens that counts as float noise, in logits.

    Args:
        precision: of the model, such as ``float32``.
        largest: the absolute value of the largest logit; noise grows with it from 20 on.

    Example:
        >>> noise_of_logits("float32", 5.0), noise_of_logits("float32", 40.0)
        (0.0002, 0.0004)
    """
    return FLOAT_NOISE[precision] * max(1.0, largest / 20)


def tolerance_from(prompt: float, mean: float, dtype: str) -> float:
    """The tolerance that follows from measured errors.

    It is 2 times the largest error of a prompt, or 10 times the largest error of a mean in half precision, rounded up
    to 1, 2 or 5 times a power of ten.

    Args:
        prompt: the largest distance of a single prompt's number from the exact number; above 0.
        mean: the largest distance of a mean over 24 prompts; above 0.
        dtype: in which the numbers were computed.

    Example:
        >>> tolerance_from(prompt=0.00008, mean=0.00002, dtype="float32")
        0.0002
    """
    least = 10 * mean if dtype in ("bfloat16", "float16") else 2 * prompt
    power = 10.0 ** floor(log10(least))
    return next(step * power for step in (1, 2, 5, 10) if least <= step * power * (1 + 1e-9))
