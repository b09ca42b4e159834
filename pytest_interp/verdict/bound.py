"""Bounds: which values of a measurement a claim accepts, and the four keywords that say so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from numbers import Real
from typing import Any

from pytest_interp.errors import UsageError, nearest
from pytest_interp.text import shown

_FORMS = {
    "at_least": "one number",
    "at_most": "one number",
    "between": "a pair of numbers (low, high)",
    "near": "a pair of numbers (value, tolerance)",
}
"""What each keyword of a bound takes."""
_PAIRS = ("between", "near")
_SIGNS = {"more than 0": 1, "less than 0": -1}
_NUMBER = r"(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
_TEXTS = {
    f"at least {_NUMBER}": "at_least",
    f"at most {_NUMBER}": "at_most",
    f"between {_NUMBER} and {_NUMBER}": "between",
    f"within {_NUMBER} of {_NUMBER}": "near",
}
"""The texts of bounds, and the keyword that makes each."""


@dataclass(frozen=True)
class Bound:
    """The values that a claim accepts: a closed interval in the unit of the measurement.

    Attributes:
        low: the lower end; -inf where there is none.
        high: the upper end; inf where there is none.
        text: the bound as messages show it, such as ``at least 0.8``.
        strict: whether the end itself is refused: a fixed population must then clear it by more than float noise.

    Example:
        >>> bound = Bound.of(near=(0.9, 0.05))
        >>> bound.text, bound.accepts(0.87), bound.accepts(0.8)
        ('within 0.05 of 0.9', True, False)
    """

    low: float
    high: float
    text: str
    strict: bool = False

    @classmethod
    def positive(cls, sign: int = 1) -> Bound:
        """The bound "more than 0", or "less than 0" for sign -1, by more than float noise.

        Args:
            sign: 1 or -1.

        Example:
            >>> Bound.positive().text, Bound.positive(-1).text
            ('more than 0', 'less than 0')
        """
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
        """The bound that exactly one of four keywords sets.

        Args:
            at_least: the smallest accepted value.
            at_most: the largest accepted value.
            between: the smallest and the largest accepted value.
            near: a value, and how far from it a number may lie; at least 0.
            **unknown: any other keyword; refused, with the nearest of the four.

        Raises:
            UsageError: none or several of them, numbers that are not finite, an empty region.

        Example:
            >>> Bound.of(at_least=0.8)
            Bound(low=0.8, high=inf, text='at least 0.8', strict=False)
        """
        for word in unknown:
            raise UsageError(f"{word}= is no argument here and no bound ({', '.join(_FORMS)}){nearest(word, _FORMS)}")
        keywords = {"at_least": at_least, "at_most": at_most, "between": between, "near": near}
        passed = {word: value for word, value in keywords.items() if value is not None}
        if len(passed) != 1:
            raise UsageError(
                f"a bound is one of at_least=x, at_most=x, between=(low, high), near=(value, tolerance); "
                f"got {', '.join(passed) or 'none'}"
            )
        word, value = next(iter(passed.items()))
        is_pair = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        numbers: Any = value if is_pair else (value,)
        if is_pair != (word in _PAIRS) or (is_pair and len(numbers) != 2):
            raise UsageError(f"{word}={shown(value)}: pass {_FORMS[word]}")
        if not all(map(_is_real, numbers)):
            raise UsageError(f"{word}={shown(value)} is not a finite number")
        if word == "near" and numbers[1] < 0:
            raise UsageError(f"{word}={shown(value)} accepts nothing: the tolerance is negative")
        # Numbers of numpy would not travel between the processes of pytest-xdist.
        numbers = tuple(float(number) for number in numbers)
        if word == "at_least":
            return cls(numbers[0], inf, f"at least {numbers[0]:g}")
        if word == "at_most":
            return cls(-inf, numbers[0], f"at most {numbers[0]:g}")
        if word == "between":
            low, high = numbers
            text = f"between {low:g} and {high:g}"
        else:
            low, high = numbers[0] - numbers[1], numbers[0] + numbers[1]
            text = f"within {numbers[1]:g} of {numbers[0]:g}"
        if low > high:
            raise UsageError(f"{word}={shown(value)} accepts nothing; the lower end is above the upper one")
        return cls(low, high, text)

    @classmethod
    def read(cls, text: str) -> Bound | None:
        """The bound that messages and records show as a text; its numbers have six digits there.

        Args:
            text: such as ``at least 0.8``.

        Returns:
            The bound; None of a text that names no fixed values, such as ``within 0.1 of the expected number``.

        Example:
            >>> Bound.read("between 0.2 and 0.4"), Bound.read("within 0.1 of the expected number")
            (Bound(low=0.2, high=0.4, text='between 0.2 and 0.4', strict=False), None)
        """
        if text in _SIGNS:
            return cls.positive(_SIGNS[text])
        for pattern, word in _TEXTS.items():
            if match := re.fullmatch(pattern, text):
                numbers = [float(number) for number in match.groups()]
                arguments: dict[str, Any] = {word: numbers[0] if len(numbers) == 1 else numbers}
                return cls.of(**arguments) if word != "near" else cls.of(near=numbers[::-1])
        return None

    def accepts(self, value: float, tolerance: float = 0.0) -> bool:
        """Whether a value lies inside the bound.

        Args:
            value: in the unit of the measurement.
            tolerance: by how much both ends are moved outwards; inwards where it is negative.
        """
        return self.low - tolerance <= value <= self.high + tolerance

    def shortfall(self, value: float) -> float:
        """The distance from a value to the bound, in the unit of the measurement; 0 inside."""
        return max(self.low - value, value - self.high, 0.0)

    def slack(self, value: float) -> float:
        """The distance from a value to the nearest end of the bound; negative outside."""
        return min(value - self.low, self.high - value)


def _is_real(number: Any) -> bool:
    """Whether a value is a finite number, a numpy scalar included; True and False are not."""
    try:
        return not isinstance(number, bool) and isinstance(number, Real) and isfinite(number)
    except OverflowError:  # a whole number that is larger than any float
        return False
