"""Text of others as a terminal may have it: control characters escaped, long values shortened, lines cut by columns.

Names, prompts, docstrings and circuit files come from anywhere: an escape sequence would colour or clear the screen, a
direction override would turn a line round, and a value of a hundred thousand characters would bury everything else.
"""

from __future__ import annotations

import re
import reprlib
import textwrap
import unicodedata
from typing import Any

LONG = 200
"""Characters from which on a value is shortened in the middle."""

_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode: control, format (direction, zero width), surrogate, separators of lines and paragraphs."""

_WIDE = re.compile("[\u1100-\U0003fffd]")
_LONG_WORD = re.compile(rf"\S{{{LONG + 1},}}")
_FILLER = "\0"


class _Escapes(dict[int, str]):
    """The escape of each unsafe character, as Python writes it."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        unsafe = unicodedata.category(character) in _UNSAFE
        self[code] = made = character.encode("unicode_escape").decode() if unsafe else character
        return made


class _Lines(_Escapes):
    """The same for text of several lines, whose ends stay."""

    def __missing__(self, code: int) -> str:
        return "\n" if code == 10 else super().__missing__(code)


class _Repr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = LONG
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = self.maxarray = 10


_escapes, _lines, _repr = _Escapes(), _Lines(), _Repr()


def shown(value: Any) -> str:
    """A value as Python writes it, for an error: without control characters, and shortened where it is long."""
    try:
        text = _repr.repr(value)
    except Exception:
        return f"a value of the type {type(value).__name__}"
    length = f" ({len(value)} characters)" if isinstance(value, str) and len(value) > LONG else ""
    return re.sub(r"\s*\n\s*", " ", text).translate(_escapes) + length


def line(text: object, limit: int = LONG) -> str:
    """A text for one line: control characters and ends of lines as escapes; the middle of what is long is left out."""
    return _without_middle(str(text), limit).translate(_escapes)


def paragraph(text: str, limit: int) -> str:
    """A text of several lines without other control characters; the middle of what is long is left out."""
    return _without_middle(text, limit).translate(_lines)


def _without_middle(text: str, limit: int) -> str:
    """The text if it is short; else with its longest words shortened, and itself if that is not enough."""
    if len(text) <= limit:
        return text
    words = _LONG_WORD.sub(lambda word: _shortened(word[0], LONG), text)
    length = 30  # what a shortened word says of its length
    return words if len(words) <= limit + length else _shortened(text, limit)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2]} ... {text[-limit // 2 :]} ({len(text)} characters)"


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(map(_width, text))


def cut(text: str, width: int) -> str:
    """The end of a text that fits into so many columns, with dots before it where it is not all."""
    if columns(text) <= width:
        return text
    taken, room = 0, width - 3
    for start in range(len(text) - 1, -1, -1):
        taken += _width(text[start])
        if taken > room:
            return f"...{text[start + 1 :]}"
    return text


def wrapped(
    text: object, width: int, first: str = "", rest: str = "", *, limit: int = 5 * LONG, hyphens: bool = True
) -> list[str]:
    """The lines of a text, each of at most so many columns; words that are longer are broken.

    Args:
        text: with or without control characters, which are escaped.
        width: columns, the indents among them.
        first: what the first line begins with.
        rest: what the others begin with.
        limit: characters from which on the text is shortened.
        hyphens: whether a line may end after a hyphen.
    """
    # textwrap counts characters: a filler after each wide one makes it count columns.
    filled = _WIDE.sub(lambda match: match[0] + _FILLER * (_width(match[0]) - 1), line(text, limit))
    made = textwrap.wrap(filled, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=hyphens)
    return [part.replace(_FILLER, "") for part in made]


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
