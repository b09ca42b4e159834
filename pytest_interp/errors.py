"""What can go wrong, by what the reader should do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pytest_interp.text import line, paragraph


class InterpError(Exception):
    """The root of everything that pytest-interp raises on purpose; its text has no control characters of others."""

    most = 2_000
    """Characters from which on its text is shortened: no sentence of ours is that long, what it quotes may be."""

    def __init__(self, text: object = "") -> None:
        super().__init__(paragraph(str(text), self.most))


class UsageError(InterpError, ValueError):
    """What was passed cannot be meant; the message says what is allowed."""


class Unavailable(InterpError):
    """Weights that cannot be had on this machine now; the message says how to get them."""


class NotApplicable(InterpError):
    """The question has no answer on this checkpoint: no such site, or the model cannot do the task.

    Neither support nor refutation; the plugin shows it as a skip with the reason.
    """


class ClaimFailed(InterpError, AssertionError):
    """A claim that was refuted or could not be decided; the message says what was seen."""

    most = 50_000
    __module__ = "pytest_interp"  # as users import it, and short enough for a terminal


def nearest(word: object, known: Iterable[object]) -> str:
    """The clause that names what may have been meant, e.g. ``"; nearest: gpt2"``, or an empty string."""
    if not isinstance(word, str) or len(word) > _MOST:
        return ""
    close = difflib.get_close_matches(word, [name for name in known if isinstance(name, str)], n=3, cutoff=0.4)
    return f"; nearest: {', '.join(map(line, close))}" if close else ""


_MOST = 200
"""Characters up to which a word is compared with those that are known: longer ones are no slip of a key."""
