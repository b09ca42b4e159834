"""Attention heads as values: ``Head(9, 9)`` is layer 9, head 9, both counted from 0, and is shown as ``9.9``.

An argument that is a head may be ``Head(9, 9)``, ``"9.9"``, ``"L9H9"`` or ``(9, 9)``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Self, TypeAlias, cast

from pytest_interp.errors import UsageError
from pytest_interp.text import shown

_PATTERN = re.compile(r"(?P<layer>[0-9]{1,6})\.(?P<head>[0-9]{1,6})")
_LETTERED = re.compile(r"L(?P<layer>[0-9]{1,6})H(?P<head>[0-9]{1,6})")
_SPELLINGS = "write '9.9', 'L9H9' or (9, 9): layer and head, whole numbers from 0"
_MOST = 10**6


@dataclass(frozen=True, order=True)
class Head:
    """A query head: it has an attention pattern and writes to the residual stream.

    Attributes:
        layer: counted from 0.
        head: its index within the layer, counted from 0.

    Example:
        >>> str(Head(9, 6)), sorted([Head(10, 0), Head(9, 9)])[0]
        ('9.6', Head(layer=9, head=9))
    """

    layer: int
    head: int

    def __post_init__(self) -> None:
        _check_place(self)

    def __str__(self) -> str:
        return f"{self.layer}.{self.head}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The head that a text names.

        Args:
            text: such as ``9.9`` or ``L9H9``.

        Raises:
            UsageError: the text has neither form.

        Example:
            >>> Head.parse("L9H6")
            Head(layer=9, head=6)
        """
        stripped = text.strip() if isinstance(text, str) else ""
        match = _PATTERN.fullmatch(stripped) or _LETTERED.fullmatch(stripped)
        if match is None:
            raise UsageError(f"{shown(text)} is not a head; {_SPELLINGS}")
        return cls(int(match["layer"]), int(match["head"]))


@dataclass(frozen=True, order=True)
class KVHead:
    """A key-value head of a model with grouped-query attention, which several query heads read.

    Attributes:
        layer: counted from 0.
        head: its index among the key-value heads of the layer, counted from 0.

    Example:
        >>> str(KVHead(9, 3)), KVHead.parse("kv 9.3") == KVHead(9, 3)
        ('kv 9.3', True)
    """

    layer: int
    head: int

    def __post_init__(self) -> None:
        _check_place(self)

    def __str__(self) -> str:
        return f"kv {self.layer}.{self.head}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key-value head that a text names.

        Args:
            text: such as ``kv 9.3``.

        Raises:
            UsageError: the text is not kv LAYER.HEAD.
        """
        head = Head.parse(text.removeprefix("kv "))
        return cls(head.layer, head.head)


def _check_place(head: Head | KVHead) -> None:
    """Refuses a layer or head that is not a whole number from 0; True and False are refused too."""
    if any(type(number) is not int or not 0 <= number < _MOST for number in (head.layer, head.head)):
        raise UsageError(f"layer {shown(head.layer)}, head {shown(head.head)} is not a head; {_SPELLINGS}")


HeadLike: TypeAlias = Head | str | tuple[int, int]


def as_head(value: HeadLike) -> Head:
    """A head from any of its forms.

    Args:
        value: ``Head(9, 9)``, ``"9.9"``, ``"L9H9"`` or ``(9, 9)``.

    Raises:
        UsageError: the value has none of these forms, or a number below 0.

    Example:
        >>> as_head("9.9") == as_head("L9H9") == as_head((9, 9)) == Head(9, 9)
        True
    """
    if isinstance(value, Head):
        return value
    if isinstance(value, str):
        return Head.parse(value)
    if isinstance(value, tuple) and len(value) == 2:
        return Head(value[0], value[1])
    raise UsageError(f"{shown(value)} is not a head; {_SPELLINGS}")


def is_head(value: object) -> bool:
    """Whether a value is meant as a single head, not as a collection of heads.

    Example:
        >>> is_head((9, 9)), is_head("9.9"), is_head(["9.9"])
        (True, True, False)
    """
    if isinstance(value, tuple) and value and isinstance(value[0], int):
        return True
    return isinstance(value, Head | str | bytes | Mapping) or not _entries(value)


def _entries(value: object) -> bool:
    """Whether a value can be iterated; a tensor without dimensions has ``__iter__`` but cannot."""
    return hasattr(value, "__iter__") and getattr(value, "ndim", 1) > 0


def as_heads(value: HeadLike | Iterable[HeadLike]) -> tuple[Head, ...]:
    """A head, or a collection of heads, as a sorted tuple.

    Args:
        value: a head, or a collection of heads, in any of their forms.

    Raises:
        UsageError: the collection is empty, an entry is not a head, or a head is named twice.

    Example:
        >>> names_of(as_heads(["10.0", "L9H6"]))
        '9.6, 10.0'
    """
    if is_head(value):
        return (as_head(cast("HeadLike", value)),)
    heads = sorted(as_head(item) for item in cast("Iterable[HeadLike]", value))
    if not heads:
        raise UsageError("an empty set of heads was passed; name at least one, such as '9.9'")
    if repeated := sorted({str(head) for head in heads if heads.count(head) > 1}):
        raise UsageError(f"{', '.join(repeated)} is named twice in a set of {len(heads)} heads; name each head once")
    return tuple(heads)


def optional_heads(value: HeadLike | Iterable[HeadLike] | None) -> tuple[Head, ...]:
    """A head, or a collection of heads, as a sorted tuple; an empty tuple for None and for an empty collection.

    Example:
        >>> optional_heads(None), optional_heads("9.9")
        ((), (Head(layer=9, head=9),))
    """
    sized = isinstance(value, Sized) and not isinstance(value, str | bytes) and _entries(value)
    empty = value is None or (sized and not len(cast("Sized", value)))
    return () if empty else as_heads(cast("HeadLike", value))


def names_of(heads: Sequence[Head | KVHead]) -> str:
    """The names of heads in one text, such as ``9.9, 10.0``."""
    return ", ".join(str(head) for head in heads)
