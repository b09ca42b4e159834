"""The bound grammar: which region of a measured unit a claim accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from numbers import Real
from typing import Any

from pytest_interp.errors import UsageError, nearest
from pytest_interp.text import shown

_PAIRS = {"between": "a pair of numbers (low, high)", "near": "a pair of numbers (value, tolerance)"}


@dataclass(frozen=True)
class Bound:
    """The accepted region, a closed interval of the measured unit."""

    low: float
    high: float
    text: str
    strict: bool = False

    @classmethod
    def positive(cls, sign: int = 1) -> Bound:
        """More than 0 (or less, for sign -1), by more than float noise."""
        return cls(0, inf, "more than 0", strict=True) if sign > 0 else cls(-inf, 0, "less than 0", strict=True)

    @classmethod
    def of(
        cls,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        between: Sequence[float] | None = None,
        near: Sequence[float] | None = None,
        **unknown: object,
    ) -> Bound:
        """Exactly one of ``at_least=x``, ``at_most=x``, ``between=(low, high)``, ``near=(value, tolerance)``.

        Raises:
            UsageError: none or several of them, numbers that are not finite, an empty region.
        """
        for word in unknown:
            allowed = ("at_least", "at_most", "between", "near")
            raise UsageError(f"{word}= is no argument here and no bound ({', '.join(allowed)}){nearest(word, allowed)}")
        given = {
            key: value
            for key, value in (("at_least", at_least), ("at_most", at_most), ("between", between), ("near", near))
            if value is not None
        }
        if len(given) != 1:
            raise UsageError(
                f"a bound is one of at_least=x, at_most=x, between=(low, high), near=(value, tolerance); "
                f"got {', '.join(given) or 'none'}"
            )
        key, value = next(iter(given.items()))
        several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        numbers: Any = value if several else (value,)
        if several is (key[:2] == "at") or (several and len(numbers) != 2):
            raise UsageError(f"{key}={shown(value)}: pass {'one number' if key[:2] == 'at' else _PAIRS[key]}")
        if not all(map(_is_real, numbers)):
            raise UsageError(f"{key}={shown(value)} is not a finite number")
        if key == "near" and numbers[1] < 0:
            raise UsageError(f"{key}={shown(value)} accepts nothing: the tolerance is negative")
        # Numbers of numpy would not travel between the processes of pytest-xdist.
        numbers = tuple(float(number) for number in numbers)
        if key == "at_least":
            return cls(numbers[0], inf, f"at least {numbers[0]:g}")
        if key == "at_most":
            return cls(-inf, numbers[0], f"at most {numbers[0]:g}")
        if key == "between":
            low, high = numbers
            text = f"between {low:g} and {high:g}"
        else:
            low, high = numbers[0] - numbers[1], numbers[0] + numbers[1]
            text = f"within {numbers[1]:g} of {numbers[0]:g}"
        if low > high:
            raise UsageError(f"{key}={shown(value)} accepts nothing; the lower end is above the upper one")
        return cls(low, high, text)

    def accepts(self, value: float, tolerance: float = 0.0) -> bool:
        """Whether a value lies in the region, widened by a numeric tolerance."""
        return self.low - tolerance <= value <= self.high + tolerance

    def shortfall(self, value: float) -> float:
        """How far a value lies outside the region; 0 inside."""
        return max(self.low - value, value - self.high, 0.0)

    def slack(self, value: float) -> float:
        """How far a value lies inside the region; negative outside."""
        return min(value - self.low, self.high - value)


def _is_real(number: Any) -> bool:
    """Whether a value is a finite number, of numpy too; True and False are none."""
    try:
        return not isinstance(number, bool) and isinstance(number, Real) and isfinite(number)
    except OverflowError:  # a whole number that is larger than any float
        return False
