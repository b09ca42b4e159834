"""What a vocabulary is made of: ordinary and control tokens, and what it has no token for.

All of it follows from the texts of the tokens and from what the tokenizer makes of a text. What it *calls* special, its
padding, its end and its unknown token are names that differ between versions of a library for one and the same file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.text import shown

_CONTROL = re.compile(r"<.*\w.*>|\[.*\w.*\]|>>.*\w.*<<|\|.*\w.*\|", re.ASCII)
"""How control tokens are written: ``<|endoftext|>``, ``</s>``, ``[PAD]``, ``>>TITLE<<``, ``|||EMAIL|||``."""
_NOWHERE = ("\ua66e", "\U00010380")
"""Two letters that no vocabulary has, without a byte in common: a token for both is that for what is unknown."""


def control_tokens(tokenizer: Any) -> tuple[int, ...]:
    """The ids of the tokens that are written as marks for the model, not as text, in ascending order."""
    return tuple(sorted(token for text, token in tokenizer.get_vocab().items() if _CONTROL.fullmatch(text)))


def ordinary_tokens(tokenizer: Any) -> tuple[int, ...]:
    """The ids of all other tokens, in ascending order."""
    return tuple(sorted(token for text, token in tokenizer.get_vocab().items() if not _CONTROL.fullmatch(text)))


def fill_token(tokenizer: Any) -> int:
    """The id of the first control token: what prompts are filled up with where that is done at all.

    Raises:
        NotApplicable: the vocabulary has no control token.
    """
    if not (control := control_tokens(tokenizer)):
        raise NotApplicable("this vocabulary has no control token, such as <|endoftext|>, to fill up prompts with")
    return control[0]


def unknown_token(tokenizer: Any) -> int | None:
    """The id that stands for what the tokenizer does not know; None where it spells everything, as by bytes."""
    first, second = tokenizer(list(_NOWHERE), add_special_tokens=False)["input_ids"]
    return int(first[-1]) if first and second and first[-1] == second[-1] else None


def check_texts(tokenizer: Any, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> None:
    """Refuses an empty prompt, and one with a word that the tokenizer does not know.

    Args:
        tokenizer: a Hugging Face tokenizer.
        texts: the prompts.
        ids: the tokens of each.

    Raises:
        UsageError: one is empty, or has such a word; both are named.
    """
    unknown = unknown_token(tokenizer)
    for row, (text, tokens) in enumerate(zip(texts, ids, strict=True)):
        if not text.strip() or not tokens:
            raise UsageError(f"prompt {row} is empty ({shown(text)}); pass what the model reads before the answer")
        if unknown in tokens:
            words = text.split()
            pieces = tokenizer(words, add_special_tokens=False)["input_ids"]
            strange = [word for word, piece in zip(words, pieces, strict=True) if unknown in piece]
            raise UsageError(
                f"prompt {row}, {shown(text)}: {shown((strange or [text])[0])} is not in the tokenizer's vocabulary; "
                "use words that are"
            )


def check_ids(tokenizer: Any, ids: Sequence[int], what: str) -> None:
    """Refuses token ids that this tokenizer does not have.

    Args:
        tokenizer: a Hugging Face tokenizer.
        ids: token ids.
        what: whose they are, for the message, such as ``prompt 3``.

    Raises:
        UsageError: an id that is no whole number.
        NotApplicable: an id outside the vocabulary.
    """
    if no_numbers := [token for token in ids if not isinstance(token, int) or isinstance(token, bool)]:
        raise UsageError(
            f"{what} has the token id {shown(no_numbers[0])}; pass whole numbers (of a tensor, its .tolist())"
        )
    if outside := [token for token in ids if not 0 <= token < len(tokenizer)]:
        raise NotApplicable(
            f"{what} has the token id {outside[0]}, and this tokenizer has 0 to {len(tokenizer) - 1}: the ids belong "
            "to another vocabulary"
        )


def check_known(tokenizer: Any, ids: Sequence[int], what: str) -> None:
    """Refuses token ids that stand for what this tokenizer does not know.

    Args:
        tokenizer: a Hugging Face tokenizer.
        ids: token ids of its vocabulary.
        what: whose they are, for the message.

    Raises:
        UsageError: one of them is its token for the unknown.
    """
    unknown = unknown_token(tokenizer)
    if unknown in ids:
        raise UsageError(
            f"{what} has the token id {unknown}, which is {shown(tokenizer.convert_ids_to_tokens(unknown))}: what the "
            "tokenizer does not know; use other tokens"
        )


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids as it is, without any clean-up of spaces."""
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))
