"""Templates: sentences with slots that words are put into, and their halves for finding and for confirming heads.

A slot is a name in braces, such as ``{N}``. The same slot may stand in a template several times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.tasks.prompts import encode, single_tokens
from pytest_interp.tasks.shared_words import owner_of, tokenizers_of
from pytest_interp.tasks.vocabulary import unknown_token
from pytest_interp.text import shown

Half: TypeAlias = Literal["find", "confirm", "all"]
"""The part of templates and names: ``find`` to find heads on, ``confirm`` to judge claims on, ``all`` for both."""

_SLOT = re.compile(r"\{(\w+)\}")


def fill(template: str, words: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, ...]]]:
    """The text of a template with words in its slots, and the place of each word.

    Args:
        template: a sentence with slots.
        words: the word for each slot.

    Returns:
        The text, and for each slot the character offsets at which its word ends, in the order of the text.

    Example:
        >>> fill("{N} is a {K}. So {N}", {"N": "Rex", "K": "dog"})
        ('Rex is a dog. So Rex', {'N': (3, 20), 'K': (12,)})
    """
    text = ""
    ends: dict[str, tuple[int, ...]] = {}
    copied = 0  # characters of the template that are in the text already
    for slot in _SLOT.finditer(template):
        name = slot[1]
        text += template[copied : slot.start()] + words[name]
        ends[name] = (*ends.get(name, ()), len(text))
        copied = slot.end()
    return text + template[copied:], ends


def half_of(words: Sequence[Any], half: str) -> tuple[Any, ...]:
    """One half of a list: its entries at even indices (``find``), at odd indices (``confirm``), or all of them.

    Args:
        words: templates, names or other entries.
        half: ``find``, ``confirm`` or ``all``.

    Raises:
        UsageError: ``half`` is none of these.

    Example:
        >>> half_of("abcde", "confirm")
        ('b', 'd')
    """
    if half not in ("find", "confirm", "all"):
        raise UsageError(f"half is {shown(half)}; allowed: 'find', 'confirm', 'all'")
    if half == "all":
        return tuple(words)
    return tuple(words[0::2] if half == "find" else words[1::2])


def single_token_words(tokenizer: Any, words: Sequence[str], least: int, label: str) -> tuple[str, ...]:
    """The words that are one token with their leading space.

    Args:
        tokenizer: a Hugging Face tokenizer.
        words: candidates, without spaces.
        least: how many are needed.
        label: what the words are, for the message, such as ``surnames``.

    Raises:
        NotApplicable: fewer than ``least`` are one token.
    """
    single = single_tokens(tokenizer, words)
    if len(single) < least:
        raise NotApplicable(
            f"only {len(single)} of {len(words)} {label} are single tokens of {owner_of(tokenizer)} and {least} are "
            "needed; build a task of your own with from_strings"
        )
    return single


def is_known(tokenizer: Any, text: str) -> bool:
    """Whether the tokenizer has a token for every part of a text."""
    return all(unknown_token(each) not in encode(each, text) for each in tokenizers_of(tokenizer))


def own_words(template: str) -> str:
    """A template without its slots.

    Example:
        >>> own_words("{A} gave it to")
        ' gave it to'
    """
    return _SLOT.sub("", template)


def known_templates(tokenizer: Any, templates: Sequence[str]) -> tuple[str, ...]:
    """The templates whose own words the tokenizer knows; what its slots hold does not count.

    Raises:
        NotApplicable: it knows none of them.
    """
    known = tuple(template for template in templates if is_known(tokenizer, own_words(template)))
    if not known:
        raise NotApplicable(
            f"none of {len(templates)} wordings is in the words of {owner_of(tokenizer)}; build a task of your own "
            "with from_strings"
        )
    return known
