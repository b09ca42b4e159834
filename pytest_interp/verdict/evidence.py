"""Evidence beside a measured number: its controls, how many other heads do the same, what each member of a set adds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pytest_interp.heads import Head
from pytest_interp.measurement import Measurement, quote
from pytest_interp.table import Table

Contribution: TypeAlias = Literal["adds", "adds nothing", "is not shown to add", "works against the set"]


@dataclass(frozen=True)
class Control:
    """The same measurement where the claim should not hold.

    Attributes:
        label: what was measured instead: heads, ``other names``, ``random model 1``.
        value: the measured value; None where there is no number.
        reason: why there is no number.
        kind: the kind of control, such as ``same_layer``; empty for a number that is only shown beside the claim.
        same: whether the control does as much as the claim: it meets the bound, or cannot be distinguished from the
            claimed value.
        measurement: the values prompt by prompt.
    """

    label: str
    value: float | None
    reason: str = ""
    kind: str = ""
    same: bool = False
    measurement: Measurement | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.label} {self.reason or 'none' if self.value is None else quote(self.value)}"


@dataclass(frozen=True)
class Specificity:
    """How specific a claim about heads is.

    Attributes:
        true: the other heads that meet the bound too.
        others: how many other heads were measured.
        table: the same measurement on every head, the claimed one included; None where it is not known.

    Example:
        >>> str(Specificity(true=("9.6",), others=143))
        'also true of 1 of 143 other heads'
    """

    true: tuple[str, ...]
    others: int
    table: Table[Head] | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"also true of {len(self.true)} of {self.others} other heads"

    @property
    def unspecific(self) -> bool:
        """Whether more than half of the other heads meet the bound."""
        return 2 * len(self.true) > self.others


@dataclass(frozen=True)
class Member:
    """What one head adds to a set of heads that a claim names.

    Attributes:
        label: the head, with the kind of set where a claim has several: ``3.0``, ``receiver 9.9``.
        alone: the effect of this head alone; None where it cannot have one.
        marginal: the effect of the set minus that of the set without this head, prompt by prompt.
        contribution: the first that applies: ``adds nothing`` (both effects differ from 0 by no more than float noise
            or 2 % of the set's effect); ``is not shown to add`` (the intervals of both contain 0); ``works against the
            set`` (both lie on the other side of 0 than the set's effect); ``adds``.
    """

    label: str
    alone: Measurement | None
    marginal: Measurement
    contribution: Contribution

    def __str__(self) -> str:
        alone = "none" if self.alone is None else quote(self.alone.value)
        return f"{self.label} {alone} alone, {quote(self.marginal.value)} in the set"
