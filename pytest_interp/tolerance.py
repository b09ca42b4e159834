"""How far a number may move between machines, batch sizes and kernels: constants by precision, and their rule."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log10

FLOAT_NOISE: Mapping[str, float] = {"float64": 1e-5, "float32": 2e-4, "tf32": 0.05, "bfloat16": 0.5, "float16": 0.05}
"""How far a logit may move between machines, batch sizes and kernels, by dtype.

Any kernel is as far from exact arithmetic as ours, so these are :func:`tolerance_from` the distance from float64 that
docs/verdicts.md shows ("How much is float noise"): in float32 of single prompts, in bfloat16, where single prompts move
by half a logit, of means; float16 has three bits more, a tenth stands for it, and for products in TF32, whose factors
have as many (not measured: no GPU was at hand). In float64 too parts of the bridge (its softmax, for one) compute in
float32."""

PROBABILITY_NOISE: Mapping[str, float] = {
    "float64": 1e-6,
    "float32": 1e-5,
    "tf32": 5e-3,
    "bfloat16": 0.05,
    "float16": 5e-3,
}
"""The same for a probability such as an attention weight."""

ACTIVATION_NOISE: Mapping[str, float] = {
    "float64": 1e-6,
    "float32": 1e-5,
    "tf32": 5e-4,
    "bfloat16": 4e-3,
    "float16": 5e-4,
}
"""How far an activation may move, relative to its size, before two runs count as different there.

Two runs of equal tokens, in batches of one shape, were equal bit by bit; a softmax lets a little of any key through."""


def tolerance_from(prompt: float, mean: float, dtype: str) -> float:
    """A tolerance, rounded up to 1, 2 or 5: twice the furthest that a prompt moved; in half precision ten means.

    Args:
        prompt: the furthest that any one prompt's number was from exact.
        mean: the furthest that any mean over 24 prompts was.
        dtype: which they were computed in.
    """
    enough = 10 * mean if dtype in ("bfloat16", "float16") else 2 * prompt
    power = 10.0 ** floor(log10(enough))
    return next(step * power for step in (1, 2, 5, 10) if enough <= step * power * (1 + 1e-9))
