"""Attention heads as values: ``Head(9, 9)`` is written ``9.9``, both numbers from 0."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias, cast

from pytest_interp.errors import UsageError

_PATTERN = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, order=True)
class Head:
    """A query head: the unit that has a pattern and writes to the residual stream."""

    layer: int
    head: int

    def __post_init__(self) -> None:
        if self.layer < 0 or self.head < 0:
            raise UsageError(f"{self.layer}.{self.head} is not a head; layer and head count from 0")

    def __str__(self) -> str:
        return f"{self.layer}.{self.head}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The head that ``"9.9"`` names.

        Raises:
            UsageError: the text is not LAYER.HEAD.
        """
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"{text!r} is not a head; write LAYER.HEAD, both from 0, such as '9.9'")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, order=True)
class KVHead:
    """A key-value head of a model with grouped queries: several query heads read it."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"kv {self.layer}.{self.head}"


HeadLike: TypeAlias = Head | str | tuple[int, int]


def as_head(value: HeadLike) -> Head:
    """The head meant by ``Head(9, 9)``, ``"9.9"`` or ``(9, 9)``."""
    if isinstance(value, Head):
        return value
    if isinstance(value, str):
        return Head.parse(value)
    if isinstance(value, tuple) and len(value) == 2:
        return Head(int(value[0]), int(value[1]))
    raise UsageError(f"{value!r} is not a head; pass Head(9, 9), '9.9' or (9, 9)")


def is_head(value: object) -> bool:
    """Whether a value means one head, not a set of them."""
    if isinstance(value, tuple) and value and isinstance(value[0], int):
        return True
    return isinstance(value, Head | str) or not hasattr(value, "__iter__")


def as_heads(value: HeadLike | Iterable[HeadLike]) -> tuple[Head, ...]:
    """One head or several, as a sorted tuple.

    Raises:
        UsageError: no head at all, or one that is named twice.
    """
    if is_head(value):
        return (as_head(cast("HeadLike", value)),)
    heads = sorted(as_head(item) for item in cast("Iterable[HeadLike]", value))
    if not heads:
        raise UsageError("an empty set of heads was passed; name at least one, such as '9.9'")
    if twice := sorted({str(head) for head in heads if heads.count(head) > 1}):
        raise UsageError(f"{', '.join(twice)} is named twice in a set of {len(heads)} heads; name each head once")
    return tuple(heads)


def names_of(heads: Sequence[Head | KVHead]) -> str:
    """Heads for a reader: ``"9.9, 10.0"``."""
    return ", ".join(str(head) for head in heads)
