"""Sentences with slots: text from a template and words, with the place of each slot in the text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.tasks.prompts import encode, single_tokens
from pytest_interp.tasks.vocabulary import unknown_token
from pytest_interp.text import shown

_SLOT = re.compile(r"\{(\w+)\}")


def fill(template: str, words: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, ...]]]:
    """The text, and for each slot where its words end, one number for each time that it stands in the template."""
    text, at = "", 0
    ends: dict[str, tuple[int, ...]] = {}
    for found in _SLOT.finditer(template):
        text += template[at : found.start()] + words[found[1]]
        ends[found[1]] = (*ends.get(found[1], ()), len(text))
        at = found.end()
    return text + template[at:], ends


def half_of(words: Sequence[Any], half: str) -> tuple[Any, ...]:
    """The part of a list that heads are found on, the part that they are confirmed on, or all of it."""
    if half not in ("find", "confirm", "all"):
        raise UsageError(f"half is {shown(half)}; allowed: 'find', 'confirm', 'all'")
    return tuple(words) if half == "all" else tuple(words[half == "confirm" :: 2])


def single_words(tokenizer: Any, words: Sequence[str], least: int, what: str) -> tuple[str, ...]:
    """The words that are one token with their leading space.

    Raises:
        NotApplicable: fewer than are needed.
    """
    kept = single_tokens(tokenizer, words)
    if len(kept) < least:
        raise NotApplicable(
            f"only {len(kept)} of {len(words)} {what} are single tokens of this tokenizer and {least} are needed; "
            "build a task of your own with from_strings"
        )
    return kept


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
