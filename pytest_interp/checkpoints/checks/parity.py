"""Checks that a bridge gives the raw model's logits, up to rounding.

Every layer rounds, and rounding errors add up like a random walk: after ``L`` layers the logits are off by about
``u * sqrt(L)`` of their own size, where ``u`` is the unit roundoff of the dtype. The multiple of it that is allowed was
measured (docs/verdicts.md, "Whether the bridge is the model"). The root mean square of the differences is compared. The
largest of a hundred thousand differences would grow with the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from pytest_interp.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

Stage: TypeAlias = Literal["the raw model", "its bridge", "the bridge in compatibility mode"]

UNIT_ROUNDOFF: Mapping[str, float] = {
    "float64": 2**-24, "float32": 2**-24, "tf32": 2**-11, "bfloat16": 2**-8, "float16": 2**-11
}  # fmt: skip
"""Half the distance from 1 to the next number. In float64 parts of the bridge compute in float32."""

COARSE = ("tf32", "bfloat16", "float16")
"""Precisions in which a sum of products is far from that in float32."""

ROUNDINGS: Mapping[Stage, tuple[int, int]] = {
    "its bridge": (16, 3),  # the same weights, in mostly the same operations
    "the bridge in compatibility mode": (16, 6),  # the weights are multiplied with each other, and rounded once more
}
"""How many roundings a layer may add to arrive at a stage: in float32, and in half precision (its sums are float32)."""


class Step(NamedTuple):
    """How far logits moved from one stage of loading to the next, up to a constant for each position.

    Attributes:
        before: the earlier stage.
        after: the later stage.
        difference: root mean square, in logits.
        size: root mean square of the logits at the earlier stage.
        allowed: the largest difference that rounding explains, in logits.
    """

    before: Stage
    after: Stage
    difference: float
    size: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether rounding explains the difference."""
        return self.difference <= self.allowed


def steps_of(logits: Mapping[Stage, Tensor], n_layers: int, dtype: str) -> tuple[Step, ...]:
    """The steps between stages of loading.

    Args:
        logits: by stage, in the order of loading, on the same tokens: ``(row, pos, vocab)``.
        n_layers: of the model.
        dtype: the precision in which it computes, such as ``float32`` or ``tf32``.
    """
    return tuple(
        _step(before, after, logits[before], logits[after], n_layers, dtype) for before, after in pairwise(logits)
    )


def _step(before: Stage, after: Stage, logits_before: Tensor, logits_after: Tensor, n_layers: int, dtype: str) -> Step:
    """The step between two stages."""
    size = _root_mean_square(logits_before)
    roundings = ROUNDINGS[after][dtype in COARSE]
    allowed = roundings * UNIT_ROUNDOFF[dtype] * n_layers**0.5 * size
    return Step(before, after, _root_mean_square(logits_after - logits_before), size, allowed)


def _root_mean_square(logits: Tensor) -> float:
    return float(logits.double().pow(2).mean().sqrt())


def check_parity(name: str, steps: Sequence[Step], n_layers: int, dtype: str) -> None:
    """Accepts a bridge that gives the raw model's logits.

    Args:
        name: of the checkpoint, for the message.
        steps: of its loading.
        n_layers: of the model.
        dtype: the precision in which it computes.

    Raises:
        UsageError: a step is larger than rounding explains, or its logits are not finite; the message has what was
            measured.
    """
    half = dtype in COARSE
    for step in steps:
        if not isfinite(step.difference):
            advice = "; pass --interp-dtype float32 if they are beyond the range of this one" if half else ""
            raise UsageError(f"{name}: {step.after} gives NaN or infinite logits in {dtype} on random tokens{advice}")
        if not step.holds:
            advice = "; --interp-dtype float32 tells the two apart by far less" if half else ""
            raise UsageError(
                f"{name}: the logits of {step.after} differ from those of {step.before} by {step.difference:.2g} (root "
                f"mean squares; the logits have {step.size:.2g}), and rounding in {dtype} over {n_layers} "
                f"layers explains up to {step.allowed:.2g}; this architecture is not bridged faithfully, do not trust "
                f"claims on it{advice}"
            )
