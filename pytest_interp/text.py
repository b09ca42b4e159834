"""Makes foreign text safe for a terminal: escapes control characters, shortens long values, wraps lines by columns.

Names, prompts, docstrings and circuit files come from anywhere. An escape sequence could colour or clear the screen, a
direction override could reverse a line, and a value of a hundred thousand characters would hide everything else.
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
    """A table for ``str.translate`` that replaces unsafe characters by their Python escapes."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        unsafe = unicodedata.category(character) in _UNSAFE
        self[code] = character.encode("unicode_escape").decode() if unsafe else character
        return self[code]


class _Lines(_Escapes):
    """The same table for text of several lines: newlines stay."""

    def __missing__(self, code: int) -> str:
        return "\n" if code == 10 else super().__missing__(code)


class _Repr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = LONG
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = self.maxarray = 10


_escapes, _lines, _repr = _Escapes(), _Lines(), _Repr()


def shown(value: Any) -> str:
    """The ``repr`` of a value in one line, for messages; control characters are escaped, long values shortened.

    Example:
        >>> shown("Mary")
        "'Mary'"
        >>> shown(list(range(100)))
        '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]'
    """
    try:
        text = _repr.repr(value)
    except Exception:
        return f"a value of the type {type(value).__name__}"
    length = f" ({len(value)} characters)" if isinstance(value, str) and len(value) > LONG else ""
    return re.sub(r"\s*\n\s*", " ", text).translate(_escapes) + length


def line(text: object, limit: int = LONG) -> str:
    """A text in one line; control characters and newlines are escaped, and the middle of a long text is left out.

    Args:
        text: any text.
        limit: characters from which on it is shortened.
    """
    return _without_middle(str(text), limit).translate(_escapes)


def counted(count: int, noun: str) -> str:
    """A number and its noun, in the plural unless the number is 1.

    Args:
        count: of things.
        noun: in the singular, with a regular plural.

    Example:
        >>> counted(1, "claim"), counted(0, "claim"), counted(1200, "prompt")
        ('1 claim', '0 claims', '1200 prompts')
    """
    return f"{count} {noun}{'s' * (count != 1)}"


def paragraph(text: str, limit: int) -> str:
    """A text of several lines; other control characters are escaped, and the middle of a long text is left out.

    Args:
        text: any text.
        limit: characters from which on it is shortened.
    """
    return _without_middle(text, limit).translate(_lines)


def _without_middle(text: str, limit: int) -> str:
    """A text within a limit: its longest words are shortened first, and the text itself if that is not enough."""
    if len(text) <= limit:
        return text
    words = _LONG_WORD.sub(lambda word: _shortened(word[0], LONG), text)
    length = 30  # a shortened word also has its number of characters
    return words if len(words) <= limit + length else _shortened(text, limit)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2]} ... {text[-limit // 2 :]} ({len(text)} characters)"


def columns(text: str) -> int:
    """The number of terminal columns that a text takes.

    Example:
        >>> columns("head"), columns("\u982d")
        (4, 2)
    """
    return sum(map(_width, text))


def cut(text: str, width: int) -> str:
    """The end of a text that fits into ``width`` columns, with three dots before it if something was cut.

    Example:
        >>> cut("When Mary and John went", 14)
        '...d John went'
    """
    if columns(text) <= width:
        return text
    used, available = 0, width - 3
    for start in range(len(text) - 1, -1, -1):
        used += _width(text[start])
        if used > available:
            return f"...{text[start + 1 :]}"
    return text


def wrapped(
    text: object, width: int, first: str = "", rest: str = "", *, limit: int = 5 * LONG, hyphens: bool = True
) -> list[str]:
    """The lines of a text, each of at most ``width`` columns; longer words are broken.

    Args:
        text: any text; control characters are escaped.
        width: columns of a line, its indent included.
        first: the indent of the first line.
        rest: the indent of the other lines.
        limit: characters from which on the text is shortened.
        hyphens: whether a line may end after a hyphen.
    """
    # textwrap counts characters: a filler after each wide one makes it count columns.
    filled = _WIDE.sub(lambda match: match[0] + _FILLER * (_width(match[0]) - 1), line(text, limit))
    lines = textwrap.wrap(filled, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=hyphens)
    return [text_line.replace(_FILLER, "") for text_line in lines]


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
