"""Claims over a series of checkpoints: when each emerges, dips or turns round, and how fast its number still moves.

Source of the statistics of a series: Tigges et al. 2024, "LLM circuit analyses are consistent across training and
scale", which follows circuits over training with the exponentially weighted Jaccard of adjacent checkpoints. Here the
sets are those of supported claims, and the average is over the moves of one number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from math import isfinite
from pathlib import PurePath

from pytest_interp.common.steps import ordered
from pytest_interp.compare.comparison import claims_by_key, verdict_of
from pytest_interp.compare.moves import causes_of, record_pairs
from pytest_interp.errors import UsageError, nearest
from pytest_interp.ledger.ledger import Ledger
from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.ledger.record import Record
from pytest_interp.text import counted
from pytest_interp.verdict.bound import Bound

WEIGHT = 0.5
"""Weight of the newest move in the change rate."""
NO_VERDICT = ("no finding", "error", "not checked", "not applicable")
"""Outcomes that are no verdict. Emergence, dips and Jaccard pass over them."""


@dataclass(frozen=True)
class Number:
    """A number of a claim over the steps.

    Attributes:
        subject: what it is about, such as ``copy_score of 9.9``.
        quantity: what was measured.
        unit: of the values.
        bound: in words, at the last step that has it.
        values: at each step; None where it was not measured.
        intervals: the 95 % intervals; None as above, and for a fixed population.
        tolerance: how far float noise may move a value, in ``unit``.
    """

    subject: str
    quantity: str
    unit: str
    bound: str
    values: tuple[float | None, ...]
    intervals: tuple[tuple[float, float] | None, ...]
    tolerance: float

    @property
    def change(self) -> float | None:
        """How much the number still moves at the end, in [0, 1]; None with fewer than two values.

        The moves from step to step, as shares of the range from the smallest value to the largest one, in an
        exponentially weighted average in which the newest move has the weight 0.5. It is 0 where no value differs from
        another by more than float noise.
        """
        values = [value for value in self.values if value is not None]
        if len(values) < 2:
            return None
        width = max(values) - min(values)
        if width <= self.tolerance:
            return 0.0
        moves = [abs(after - before) / width for before, after in pairwise(values)]
        average = moves[0]
        for move in moves[1:]:
            average = WEIGHT * move + (1 - WEIGHT) * average
        return average

    @property
    def ends(self) -> tuple[float, ...]:
        """The numbers that the bound names as its ends."""
        bound = Bound.read(self.bound)
        return () if bound is None else tuple(end for end in (bound.low, bound.high) if isfinite(end))

    def sign(self, step: int) -> int:
        """Returns the side of 0 on which a value and its interval lie.

        Args:
            step: the place of the step.

        Returns:
            1 or -1; 0 where the value is missing, or not surely on one side.
        """
        value, interval = self.values[step], self.intervals[step]
        if value is None:
            return 0
        low, high = interval or (value - self.tolerance, value + self.tolerance)
        return 1 if low > 0 else -1 if high < 0 else 0


@dataclass(frozen=True)
class ClaimSeries:
    """A claim over the steps.

    Attributes:
        name: of the claim, without the checkpoint.
        role: the role whose heads it is about; empty without one.
        statement: what it states, in one line.
        words: its outcome at each step; None where the ledger does not have it.
        numbers: its numbers; the first is that of its first verdict.
    """

    name: str
    role: str
    statement: str
    words: tuple[str | None, ...]
    numbers: tuple[Number, ...]

    @cached_property
    def judged(self) -> tuple[int, ...]:
        """The places of the steps at which it has a verdict."""
        return tuple(place for place, word in enumerate(self.words) if word is not None and word not in NO_VERDICT)

    @property
    def supported(self) -> frozenset[int]:
        """The places of the steps at which it is supported."""
        return frozenset(place for place in self.judged if self.words[place] == "supported")

    @property
    def emergence(self) -> int | None:
        """The first step from which it is supported at every later verdict; None where the last one is no support."""
        first = None
        for place in reversed(self.judged):
            if place not in self.supported:
                break
            first = place
        return first

    @property
    def dips(self) -> tuple[tuple[int, int], ...]:
        """The first and last step of each time that it was supported, then not, then again."""
        ends = min(self.supported, default=0), max(self.supported, default=0)
        inside = [place for place in self.judged if ends[0] < place < ends[1]]
        groups = [
            (is_dip, list(places)) for is_dip, places in groupby(inside, lambda place: place not in self.supported)
        ]
        return tuple((places[0], places[-1]) for is_dip, places in groups if is_dip)

    @property
    def reversals(self) -> tuple[int, ...]:
        """The steps at which it is refuted, with its number surely on the other side of 0 than when last supported."""
        reversals, sign = [], 0
        for place in self.judged if self.numbers else ():
            now = self.numbers[0].sign(place)
            if place in self.supported:
                sign = now
            elif now * sign < 0 and self.words[place] in ("refuted", "expected failure"):
                reversals.append(place)
        return tuple(reversals)

    @property
    def change(self) -> float | None:
        """The change rate of its first number; None without one."""
        return self.numbers[0].change if self.numbers else None


@dataclass(frozen=True)
class Step:
    """A checkpoint of a series.

    Attributes:
        label: its name in the series.
        checkpoint: its name.
        source: the ledger's name.
        ended: number of claims of the ledger that came to their end.
        collected: number of claims that were to run.
    """

    label: str
    checkpoint: str
    source: str
    ended: int
    collected: int


@dataclass(frozen=True)
class Series:
    """Claims over a series of checkpoints.

    Attributes:
        steps: the checkpoints in their order.
        by_number: whether the order is that of the numbers in their names; else it is the order of the ledgers.
        claims: by role, in the order of the first ledger that has them.
        reference: the place of the step with which every step is compared.
        causes: what differs between steps beside the weights, such as ``prompts 96 -> 24``.
    """

    steps: tuple[Step, ...]
    by_number: bool
    claims: tuple[ClaimSeries, ...]
    reference: int
    causes: tuple[str, ...]

    @cached_property
    def roles(self) -> Mapping[str, tuple[ClaimSeries, ...]]:
        """The claims by role; those without one under an empty text, last."""
        names = sorted({claim.role for claim in self.claims}, key=lambda role: (not role, role))
        return {role: tuple(claim for claim in self.claims if claim.role == role) for role in names}

    @property
    def adjacent(self) -> tuple[float | None, ...]:
        """The Jaccard index of the supported claims of each step and the step before; None for the first."""
        return (None, *(self.jaccard(place - 1, place) for place in range(1, len(self.steps))))

    @property
    def to_reference(self) -> tuple[float | None, ...]:
        """The Jaccard index of the supported claims of each step and of the reference."""
        return tuple(self.jaccard(place, self.reference) for place in range(len(self.steps)))

    def jaccard(self, first: int, second: int) -> float | None:
        """Returns the Jaccard index of the sets of supported claims of two steps.

        Args:
            first: the place of a step.
            second: the place of another.

        Returns:
            Claims supported at both, over claims supported at one at least; of claims with a verdict at both. None
            where none is supported.
        """
        both = [claim for claim in self.claims if {first, second} <= set(claim.judged)]
        union = sum(bool({first, second} & claim.supported) for claim in both)
        return sum({first, second} <= claim.supported for claim in both) / union if union else None


def series_of(ledgers: Mapping[str, Ledger], reference: str | None = None) -> Series:
    """Returns the claims of several ledgers over their checkpoints.

    Args:
        ledgers: by name, such as that of the file. A ledger of several checkpoints gives a step for each.
        reference: the name of a checkpoint or ledger; the last step by default.

    Returns:
        The series, in the order of the numbers in the names of checkpoints where all have another number, else in the
        order of the ledgers.

    Raises:
        UsageError: fewer than two steps, a step without a claim in common with another, or no such reference.
    """
    parts = [
        (source, ledger, name, ledger.of(name).claims) for source, ledger in ledgers.items() for name in ledger.names
    ]
    if len(parts) < 2:
        holding = counted(len(parts), "checkpoint")
        raise UsageError(
            f"a series needs at least two checkpoints; {' and '.join(ledgers) or 'no ledger'} has {holding}"
        )
    labels = _labels([(source, name) for source, _, name, _ in parts])
    order = ordered(labels)
    if order is not None:
        parts, labels = [parts[place] for place in order], [labels[place] for place in order]
    steps = tuple(
        Step(label, name, source, ledger.run.ended, ledger.run.collected)
        for label, (source, ledger, name, _) in zip(labels, parts, strict=True)
    )
    tables = [{key[1]: claim for key, claim in claims_by_key(claims, across=True).items()} for *_, claims in parts]
    for place, step in enumerate(steps):
        others = {name for other, table in enumerate(tables) if other != place for name in table}
        if not others & tables[place].keys():
            holding = f"{counted(len(tables[place]), 'claim')}, such as {next(iter(tables[place]))}"
            raise UsageError(f"{step.source} has no claim in common with the other ledgers ({holding}); leave it out")
    names = dict.fromkeys(name for table in tables for name in table)
    claims = tuple(_claim(name, [table.get(name) for table in tables]) for name in names)
    return Series(
        steps,
        order is not None,
        tuple(sorted(claims, key=lambda claim: (not claim.role, claim.role))),
        len(steps) - 1 if reference is None else _place(reference, steps),
        _causes(tables),
    )


def _labels(parts: Sequence[tuple[str, str]]) -> list[str]:
    """Returns a label for each pair of a ledger's and a checkpoint's name: the latter, where no two are the same."""
    names, sources = [name for _, name in parts], [PurePath(source).stem for source, _ in parts]
    if len(set(names)) == len(names):
        return names
    return sources if len(set(sources)) == len(sources) else [f"{source}: {name}" for source, name in parts]


def _place(reference: str, steps: Sequence[Step]) -> int:
    """Returns the place of the step that a user named."""
    for place, step in enumerate(steps):
        if reference in (step.label, step.checkpoint, step.checkpoint.partition("@")[2], step.source):
            return place
    labels = [step.label for step in steps]
    raise UsageError(f"--reference is {reference!r}; pass one of {', '.join(labels)}{nearest(reference, labels)}")


def _claim(name: str, outcomes: Sequence[ClaimOutcome | None]) -> ClaimSeries:
    """Returns a claim over the steps."""
    first = next(outcome for outcome in outcomes if outcome is not None)
    by_key: dict[tuple[str, ...], list[Record | None]] = {}
    for place, outcome in enumerate(outcomes):
        seen: set[tuple[str, ...]] = set()
        for record in outcome.records if outcome is not None else ():
            key: tuple[str, ...] = (record.quantity, *map(str, record.context.heads or ()))
            while key in seen:  # verdicts of the same quantity about the same heads are told apart by their order
                key = (*key, "again")
            seen.add(key)
            by_key.setdefault(key, [None] * len(outcomes))[place] = record
    return ClaimSeries(
        name,
        first.claim.role or "",
        first.claim.statement or "",
        tuple(None if outcome is None else verdict_of(outcome) for outcome in outcomes),
        tuple(map(_number, by_key.values())),
    )


def _number(records: Sequence[Record | None]) -> Number:
    """Returns a number over the steps."""
    last = next(record for record in reversed(records) if record is not None)
    return Number(
        last.subject,
        last.quantity,
        last.unit,
        last.bound,
        tuple(None if record is None else record.value for record in records),
        tuple(None if record is None else record.interval for record in records),
        max(record.tolerance for record in records if record is not None),
    )


def _causes(tables: Sequence[Mapping[str, ClaimOutcome]]) -> tuple[str, ...]:
    """Returns what differs between adjacent steps beside the weights."""
    causes = [
        cause
        for before, after in pairwise(tables)
        for name in before.keys() & after.keys()
        for pair in record_pairs(before[name].records, after[name].records)
        for cause in causes_of(*pair)
        if not cause.startswith("weights ")
    ]
    return tuple(sorted(set(causes)))
