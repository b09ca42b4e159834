"""The numbers of a claim before and after, and what else differs between the two runs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from pytest_interp.common.context import Context
from pytest_interp.ledger.record import Record
from pytest_interp.measurement import Measurement, paired_difference


@dataclass(frozen=True)
class Move:
    """A number of a claim before and after.

    Attributes:
        subject: what the number is about, such as ``copy_score of 9.9``.
        quantity: what was measured.
        unit: of the numbers.
        before: the value in the first ledger.
        after: the value in the second one.
        allowed: the distance that float noise may explain, in ``unit``; None where the prompts differ, so that no
            distance is expected.
        interval: the 95 % interval of the difference prompt by prompt; None where the prompts differ, where they are a
            fixed population, and where a ledger has no values by prompt.
    """

    subject: str
    quantity: str
    unit: str
    before: float
    after: float
    allowed: float | None
    interval: tuple[float, float] | None = None

    @property
    def distance(self) -> float:
        """The value after minus the value before."""
        return self.after - self.before

    @property
    def share(self) -> float:
        """The distance as a multiple of the allowed one; 0 where none is expected."""
        if self.allowed is None or not self.distance:
            return 0.0
        return abs(self.distance) / self.allowed if self.allowed else inf

    @property
    def is_beyond(self) -> bool:
        """Whether the number moved by more than float noise may explain."""
        return self.share > 1


def record_pairs(before: Sequence[Record], after: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The verdicts of a claim of which two ledgers have a record.

    Args:
        before: the records in the first one.
        after: those in the second one.

    Returns:
        Pairs in the order of the second one. Verdicts of the same quantity about the same heads are paired in their
        order.
    """
    waiting: dict[tuple[str, ...], list[Record]] = {}
    for record in before:
        waiting.setdefault(_key(record), []).append(record)
    return [(waiting[_key(record)].pop(0), record) for record in after if waiting.get(_key(record))]


def _key(record: Record) -> tuple[str, ...]:
    return (record.quantity, *map(str, record.context.heads or ()))


def move_of(before: Record, after: Record) -> Move:
    """The number of a verdict before and after.

    Args:
        before: its record in the first ledger.
        after: that in the second one.
    """
    comparable = not different_prompts(before.context, after.context) and before.n == after.n
    # Hypothesis draws other examples in each run, and the record is that of the worst.
    comparable &= before.examples is None and after.examples is None
    allowed = max(before.tolerance, after.tolerance) if comparable else None
    return Move(
        subject=after.subject,
        quantity=after.quantity,
        unit=after.unit,
        before=before.value,
        after=after.value,
        allowed=allowed,
        interval=_paired_interval(before, after) if comparable and before.value != after.value else None,
    )


def _paired_interval(before: Record, after: Record) -> tuple[float, float] | None:
    """The interval of the difference prompt by prompt."""
    measurements = [record.measurement() for record in (before, after)]
    if any(measurement is None or measurement.population == "fixed" for measurement in measurements):
        return None
    first, second = (measurement for measurement in measurements if measurement is not None)
    difference = paired_difference(second, first)
    return None if difference is None else _ends(difference)


def _ends(difference: Measurement) -> tuple[float, float] | None:
    """The ends of an interval; None where it has none, such as of a single template."""
    from pytest_interp.errors import InterpError
    from pytest_interp.verdict.intervals import interval_of  # numpy takes longer than the rest of a comparison

    try:
        interval = interval_of(difference)
    except InterpError:
        return None
    return interval.low, interval.high


def different_prompts(before: Context, after: Context) -> bool:
    """Whether two numbers were measured on different prompts.

    Args:
        before: of the first number.
        after: of the second one.
    """
    prompts = [context.data.prompts if context.data else None for context in (before, after)]
    return prompts[0] != prompts[1] or before.left_out != after.left_out


def causes_of(before: Record, after: Record) -> list[str]:
    """What differs between two runs of a verdict, apart from its number.

    Args:
        before: its record in the first ledger.
        after: that in the second one.

    Returns:
        A text for each difference, such as ``dtype float32 -> bfloat16``.
    """
    return [f"{name} {was} -> {value}" for name, was, value in _facts(before, after) if was != value]


def _facts(before: Record, after: Record) -> list[tuple[str, object, object]]:
    facts: list[tuple[str, object, object]] = [("bound", before.bound, after.bound)]
    if before.version != after.version:
        facts.append((f"definition of {after.quantity}, version", before.version, after.version))
    models = before.context.checkpoint, after.context.checkpoint
    if models[0] is not None and models[1] is not None:
        facts += [
            ("weights", models[0].fingerprint[:8], models[1].fingerprint[:8]),
            ("dtype", models[0].dtype, models[1].dtype),
            ("products in", models[0].precision or "full precision", models[1].precision or "full precision"),
            ("device", models[0].device, models[1].device),
            ("words", models[0].words or "its own", models[1].words or "its own"),
        ]
    data = before.context.data, after.context.data
    if data[0] is not None and data[1] is not None:
        choices: list[tuple[str, object, object]] = [
            ("seed", data[0].seed, data[1].seed),
            ("BOS", _yes(data[0].bos), _yes(data[1].bos)),
            ("prompts", data[0].n, data[1].n),
        ]
        facts += choices
        if all(was == value for _, was, value in choices):
            facts.append((f"text of {data[1].name}", data[0].prompts[:8], data[1].prompts[:8]))
    return facts


def _yes(bos: bool) -> str:
    return "yes" if bos else "no"
