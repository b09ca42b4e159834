"""Names of positions: how a position is written, and the positions of an IOI prompt (Wang et al. 2022, section 2).

Where a position is in a prompt is worked out in ``tasks/prompts.py``, when its text becomes tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

At: TypeAlias = str | int | Sequence[str | int] | None
"""A named position, an index where all prompts have one length, several of them, or None for all positions."""

IO = "IO"
"""The indirect object: the name that is the answer."""
S1 = "S1"
"""The subject's first mention."""
S1_NEXT = "S1+1"
"""The token after the subject's first mention."""
S2 = "S2"
"""The subject's second mention."""
END = "END"
"""The last token before the answer."""


def text_of(at: At) -> str | int | list[str | int]:
    """A position, or several, as records have them.

    Example:
        >>> text_of(None), text_of(("IO", "S1"))
        ('all positions', ['IO', 'S1'])
    """
    return "all positions" if at is None else at if isinstance(at, str | int) else list(at)
