"""What can go wrong, by what the reader should do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InterpError(Exception):
    """The root of everything that pytest-interp raises on purpose."""


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

    __module__ = "pytest_interp"  # as users import it, and short enough for a terminal


def nearest(word: str, known: Iterable[str]) -> str:
    """The clause that names what may have been meant, e.g. ``"; nearest: gpt2"``, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.4)
    return f"; nearest: {', '.join(close)}" if close else ""
