"""What stands beside a measured number: controls, of how many heads it is true, what each member of a set adds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pytest_interp.measurement import Measurement, quote

Contribution: TypeAlias = Literal["adds", "adds nothing", "is not shown to add", "works against the set"]


@dataclass(frozen=True)
class Control:
    """The same measurement where the claim should not hold.

    Attributes:
        label: what was measured instead: heads, ``other names``, ``random model 1``.
        value: None where there is no number.
        reason: why there is none.
        kind: of control, such as ``same_layer``; empty for what is only shown beside the claim.
        same: whether it does as much as the claim: it meets the bound, or is not told apart from the claimed value.
        measurement: the value prompt by prompt.
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
    """Of which other heads the same is true, of how many."""

    true: tuple[str, ...]
    others: int

    def __str__(self) -> str:
        return f"also true of {len(self.true)} of {self.others} other heads"

    @property
    def unspecific(self) -> bool:
        """Whether it is true of most heads."""
        return 2 * len(self.true) > self.others


@dataclass(frozen=True)
class Member:
    """What one head does in a set that a claim names.

    Attributes:
        label: the head, with the kind of set where a claim has several: ``3.0``, ``receiver 9.9``.
        alone: its effect alone; None where it can have none.
        marginal: the effect of the set minus that of the set without it, prompt by prompt.
        contribution: ``adds nothing`` where both lie within float noise, or 2 % of the set's effect, of 0; else ``is
            not shown to add`` where the intervals of both hold 0; ``works against the set`` where both lie on the
            other side of 0 than the set's effect; else ``adds``.
    """

    label: str
    alone: Measurement | None
    marginal: Measurement
    contribution: Contribution

    def __str__(self) -> str:
        alone = "none" if self.alone is None else quote(self.alone.value)
        return f"{self.label} {alone} alone, {quote(self.marginal.value)} in the set"
