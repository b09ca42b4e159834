"""Sentences with slots: text from a template and words, with the place of each slot in the text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.tasks.prompts import encode, single_tokens
from pytest_interp.tasks.vocabulary import unknown_token
from pytest_interp.text import shown

Half: TypeAlias = Literal["find", "confirm", "all"]
"""Which part of templates and names: that on which heads are found, that on which claims are judged, or both."""

_SLOT = re.compile(r"\{(\w+)\}")


def fill(template: str, words: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, ...]]]:
    """Puts words into the slots of a template.

    Returns:
        The text; and for each slot the number of characters up to the end of its word, once for each time that the slot
        stands in the template.

    Example:
        >>> fill("{N} is a {K}. So {N}", {"N": "Rex", "K": "dog"})
        ('Rex is a dog. So Rex', {'N': (3, 20), 'K': (12,)})
    """
    text, at = "", 0
    ends: dict[str, tuple[int, ...]] = {}
    for slot in _SLOT.finditer(template):
        text += template[at : slot.start()] + words[slot[1]]
        ends[slot[1]] = (*ends.get(slot[1], ()), len(text))
        at = slot.end()
    return text + template[at:], ends


def half_of(words: Sequence[Any], half: str) -> tuple[Any, ...]:
    """The entries at even places of a list (``find``), those at odd places (``confirm``), or all of them.

    Raises:
        UsageError: another half.

    Example:
        >>> half_of("abcde", "confirm")
        ('b', 'd')
    """
    if half not in ("find", "confirm", "all"):
        raise UsageError(f"half is {shown(half)}; allowed: 'find', 'confirm', 'all'")
    return tuple(words) if half == "all" else tuple(words[half == "confirm" :: 2])


def single_words(tokenizer: Any, words: Sequence[str], least: int, what: str) -> tuple[str, ...]:
    """The words that are one token with their leading space.

    Raises:
        NotApplicable: fewer than are needed.
    """
    known_words = single_tokens(tokenizer, words)
    if len(known_words) < least:
        raise NotApplicable(
            f"only {len(known_words)} of {len(words)} {what} are single tokens of this tokenizer and {least} are "
            "needed; build a task of your own with from_strings"
        )
    return known_words


def known(tokenizer: Any, text: str) -> bool:
    """Whether the tokenizer has a token for every part of a text."""
    return unknown_token(tokenizer) not in encode(tokenizer, text)


def known_templates(tokenizer: Any, templates: Sequence[str]) -> tuple[str, ...]:
    """The templates whose own words the tokenizer knows.

    Raises:
        NotApplicable: there are none.
    """
    kept = tuple(template for template in templates if known(tokenizer, _SLOT.sub("", template)))
    if not kept:
        raise NotApplicable(
            f"none of {len(templates)} wordings is in the words of this tokenizer; build a task of your own with "
            "from_strings"
        )
    return kept
