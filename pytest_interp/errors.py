"""The exceptions of pytest-interp, divided by what the reader should do about them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pytest_interp.text import line, paragraph


class InterpError(Exception):
    """The base of all exceptions that pytest-interp raises on purpose.

    Control characters in the text are escaped, since the text may quote prompts and files.
    """

    max_length = 2_000
    """Characters from which on the text is shortened; only text that it quotes can be so long."""

    def __init__(self, text: object = "") -> None:
        super().__init__(paragraph(str(text), self.max_length))


class UsageError(InterpError, ValueError):
    """An argument, option or file is wrong; the message says what is allowed."""


class Unavailable(InterpError):
    """Weights are not available on this machine; the message says how to get them."""


class NotApplicable(InterpError):
    """The measurement is undefined on this checkpoint: no such site, or the model cannot do the task.

    It neither supports nor refutes a claim; the plugin shows it as a skip with the reason.
    """


class ClaimFailed(InterpError, AssertionError):
    """A claim was refuted, or is inconclusive; the message has the measured numbers."""

    max_length = 50_000
    __module__ = "pytest_interp"  # as users import it, and short enough for a terminal


def nearest(word: object, known: Iterable[object]) -> str:
    """A clause with the known words that are most like a word.

    Args:
        word: as it was passed; a value that is no string has no nearest word.
        known: the words that are allowed.

    Returns:
        The clause, such as ``; nearest: gpt2``; an empty string if no word is like it.

    Example:
        >>> nearest("gtp2", ["gpt2", "planted-ioi"])
        '; nearest: gpt2'
    """
    if not isinstance(word, str) or len(word) > _LONGEST_WORD:
        return ""
    close = difflib.get_close_matches(word, [name for name in known if isinstance(name, str)], n=3, cutoff=0.4)
    return f"; nearest: {', '.join(map(line, close))}" if close else ""


_LONGEST_WORD = 200
"""Characters up to which a word is compared: a longer one is no typing error, and the comparison would be slow."""
