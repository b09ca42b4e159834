"""Coordinates of the small drawings: an interval against its bound with the controls, and a number over steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from pytest_interp.ledger.record import Record
from pytest_interp.measurement import quote
from pytest_interp.text import counted
from pytest_interp.verdict.bound import Bound

WIDTH = 200.0
"""Width of a drawing, in its own units."""
ROOM = 0.08
"""Share of the range of the numbers that is left free on either side."""


@dataclass(frozen=True)
class Axis:
    """A range of numbers along a drawing.

    Attributes:
        low: the number at the start.
        high: the number at the end.
        length: of the axis, in the units of the drawing.
    """

    low: float
    high: float
    length: float = WIDTH

    @classmethod
    def around(cls, numbers: Iterable[float], length: float = WIDTH) -> Axis:
        """Returns an axis with room for numbers.

        Args:
            numbers: that lie on it; those that are not finite are left out.
            length: of the axis.
        """
        finite = [number for number in numbers if isfinite(number)] or [0.0]
        low, high = min(finite), max(finite)
        room = ROOM * (high - low) or ROOM * abs(low) or 1.0
        return cls(low - room, high + room, length)

    def place(self, number: float) -> float:
        """Returns the coordinate of a number; that of the nearer end for a number beyond the axis.

        Args:
            number: any number.
        """
        share = (number - self.low) / (self.high - self.low)
        return round(self.length * min(1.0, max(0.0, share)), 1)


@dataclass(frozen=True)
class IntervalDrawing:
    """A value and its interval against a bound; all coordinates go from left to right.

    Attributes:
        label: the same in words.
        value: coordinate of the value.
        interval: coordinates of the ends of its interval; None without one.
        accepted: start and width of the accepted numbers; None where the bound names no fixed ones.
        ends: the ends of the bound.
        controls: of the controls' values.
    """

    label: str
    value: float
    interval: tuple[float, float] | None
    accepted: tuple[float, float] | None
    ends: tuple[float, ...]
    controls: tuple[float, ...]


def interval_of(record: Record) -> IntervalDrawing | None:
    """Returns the drawing of a verdict; None where its value is no finite number.

    Args:
        record: of the verdict.
    """
    if not isfinite(record.value):
        return None
    bound = Bound.read(record.bound)
    ends = () if bound is None else tuple(end for end in (bound.low, bound.high) if isfinite(end))
    controls = tuple(value for _, value in record.controls if value is not None and isfinite(value))
    axis = Axis.around((record.value, *(record.interval or ()), *ends, *controls))
    accepted = None
    if bound is not None:
        start, end = axis.place(bound.low), axis.place(bound.high)
        accepted = start, round(end - start, 1)
    return IntervalDrawing(
        in_words(record),
        axis.place(record.value),
        None if record.interval is None else (axis.place(record.interval[0]), axis.place(record.interval[1])),
        accepted,
        tuple(map(axis.place, ends)),
        tuple(sorted(set(map(axis.place, controls)))),
    )


def in_words(record: Record) -> str:
    """Returns the number of a verdict, its interval and its bound as a text.

    Args:
        record: of the verdict.
    """
    ends = "" if record.interval is None else f", interval {quote(record.interval[0])} to {quote(record.interval[1])}"
    controls = f"; {counted(len(record.controls), 'control')}" if record.controls else ""
    return f"{quote(record.value)} {record.unit}{ends}; required: {record.bound}{controls}"


@dataclass(frozen=True)
class LineDrawing:
    """A number over the steps of a series, from left to right; 0 is at the top.

    Attributes:
        label: the same in words.
        parts: coordinates of the points, such as ``0,4 10,2``; a text for each stretch without a missing value.
        points: coordinates of the points.
        ends: heights of the ends of the bound.
    """

    label: str
    parts: tuple[str, ...]
    points: tuple[tuple[float, float], ...]
    ends: tuple[float, ...]


HEIGHT = 36.0
"""Height of the drawing of a series."""


def line_of(values: Sequence[float | None], ends: Sequence[float], label: str) -> LineDrawing:
    """Returns the drawing of a number over steps.

    Args:
        values: at each step; None where there is none.
        ends: of the bound.
        label: the same in words.
    """
    axis = Axis.around([*(value for value in values if value is not None), *ends], HEIGHT)
    width = WIDTH / max(1, len(values) - 1)
    parts: list[list[str]] = [[]]
    points = []
    for step, value in enumerate(values):
        if value is None:
            parts.append([])
            continue
        points.append((round(step * width, 1), round(HEIGHT - axis.place(value), 1)))
        parts[-1].append(f"{points[-1][0]},{points[-1][1]}")
    heights = tuple(round(HEIGHT - axis.place(end), 1) for end in ends)
    return LineDrawing(label, tuple(" ".join(part) for part in parts if part), tuple(points), heights)
