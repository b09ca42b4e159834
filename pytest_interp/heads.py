"""Attention heads as values: ``Head(9, 9)`` is written ``9.9``, both numbers from 0."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Self, TypeAlias, cast

from pytest_interp.errors import UsageError
from pytest_interp.text import shown

_PATTERN = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})")

_MOST = 10**6


@dataclass(frozen=True, order=True)
class Head:
    """A query head: the unit that has a pattern and writes to the residual stream."""

    layer: int
    head: int

    def __post_init__(self) -> None:
        _check_place(self)

    def __str__(self) -> str:
        return f"{self.layer}.{self.head}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The head that ``"9.9"`` names.

        Raises:
            UsageError: the text is not LAYER.HEAD.
        """
        match = _PATTERN.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise UsageError(f"{shown(text)} is not a head; write LAYER.HEAD, both from 0, such as '9.9'")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, order=True)
class KVHead:
    """A key-value head of a model with grouped queries: several query heads read it."""

    layer: int
    head: int

    def __post_init__(self) -> None:
        _check_place(self)

    def __str__(self) -> str:
        return f"kv {self.layer}.{self.head}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key-value head that ``"kv 9.3"`` names.

        Raises:
            UsageError: the text is not kv LAYER.HEAD.
        """
        head = Head.parse(text.removeprefix("kv "))
        return cls(head.layer, head.head)


def _check_place(head: Head | KVHead) -> None:
    """Two whole numbers from 0; True and False are none."""
    if any(type(number) is not int or not 0 <= number < _MOST for number in (head.layer, head.head)):
        raise UsageError(
            f"layer {shown(head.layer)}, head {shown(head.head)} is not a head; both are whole numbers from 0"
        )


HeadLike: TypeAlias = Head | str | tuple[int, int]


def as_head(value: HeadLike) -> Head:
    """The head meant by ``Head(9, 9)``, ``"9.9"`` or ``(9, 9)``."""
    if isinstance(value, Head):
        return value
    if isinstance(value, str):
        return Head.parse(value)
    if isinstance(value, tuple) and len(value) == 2:
        return Head(value[0], value[1])
    raise UsageError(f"{shown(value)} is not a head; pass Head(9, 9), '9.9' or (9, 9)")


def is_head(value: object) -> bool:
    """Whether a value means one head, not a set of them."""
    if isinstance(value, tuple) and value and isinstance(value[0], int):
        return True
    return isinstance(value, Head | str | bytes | Mapping) or not _entries(value)


def _entries(value: object) -> bool:
    """Whether a value has entries; a tensor without dimensions says so and has none."""
    return hasattr(value, "__iter__") and getattr(value, "ndim", 1) > 0


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


def optional_heads(value: HeadLike | Iterable[HeadLike] | None) -> tuple[Head, ...]:
    """The same; no heads for None and for what is empty."""
    sized = isinstance(value, Sized) and not isinstance(value, str | bytes) and _entries(value)
    empty = value is None or (sized and not len(cast("Sized", value)))
    return () if empty else as_heads(cast("HeadLike", value))


def names_of(heads: Sequence[Head | KVHead]) -> str:
    """Heads for a reader: ``"9.9, 10.0"``."""
    return ", ".join(str(head) for head in heads)
