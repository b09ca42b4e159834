"""What came of a claim that was run again: in float32, under conditions that should not matter, and on mutants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_interp.ledger.record import Record

Seen: TypeAlias = Literal["killed", "inconclusive", "not applicable", "error", "survived", "equivalent"]
"""The outcome of a claim on a mutant.

``killed``: a verdict was refuted. ``survived``: all were supported. ``equivalent``: the claim also holds for every head
that could take the place of the damaged ones, so that the mutant proves nothing.
"""


@dataclass(frozen=True)
class Float32Run:
    """The outcome in float32 of a claim that failed in half precision.

    Attributes:
        moved: whether it is supported in float32, so that precision alone made it fail.
        summary: the same as text, with the numbers of both precisions; the ledger has it under ``said``.
        records: of its verdicts in float32.
    """

    moved: bool
    summary: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Movement:
    """One verdict of a claim under one condition that should not matter, or that draws other prompts.

    Attributes:
        condition: the name of one of ``noise.CONDITIONS``.
        quantity: what was measured.
        unit: of the numbers.
        by: value under the condition minus value without it, in ``unit``; None where the run has no such
            verdict.
        margin: distance of the interval (or value) from the bound without the condition; negative outside the bound.
        tolerance: the distance within which the snapshot accepts a value.
        outcome: the verdict under the condition, or the reason why there is none.
        floor: whether the condition changes neither prompts nor random draws, so that any movement is float noise.
    """

    condition: str
    quantity: str
    unit: str
    by: float | None
    margin: float
    tolerance: float
    outcome: str
    floor: bool


@dataclass(frozen=True)
class Mutant:
    """One mutant (damaged weights or a wrong protocol), and the outcome of a claim on it.

    Attributes:
        name: of ``mutants.MUTANTS``.
        expected: ``die`` where the claim must be refuted, ``live`` where it must still be supported.
        seen: the outcome of the claim.
        reason: the reason of an outcome that no verdict explains; otherwise empty.
        on_heads: whether the mutant damages the heads that the claim names.
    """

    name: str
    expected: Literal["die", "live"]
    seen: Seen
    reason: str = ""
    on_heads: bool = False


@dataclass(frozen=True)
class Falsified:
    """The outcomes of a claim on its mutants.

    Attributes:
        mutants: those on which it was run, in order.
        died: on how many it was refuted, as text.
        survived: the complaint about a claim that no mutant refutes, or that is refuted where it must hold; empty for
            a claim that did as expected.
    """

    mutants: tuple[Mutant, ...]
    died: str
    survived: str
