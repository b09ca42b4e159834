"""The tokens of a vocabulary: ordinary tokens, control tokens, the unknown token; and checks of texts and token ids.

Everything here follows from the texts of the tokens and from what the tokenizer makes of a text. A tokenizer's own
lists (special tokens, padding, end, unknown) are not used: for the same file they differ between library versions.
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
"""Two letters that no vocabulary has, without a byte in common: a token that stands for both is the unknown token."""


def control_tokens(tokenizer: Any) -> tuple[int, ...]:
    """The ids of the control tokens, such as ``<|endoftext|>``, in ascending order."""
    return tuple(sorted(token for text, token in tokenizer.get_vocab().items() if _CONTROL.fullmatch(text)))


def ordinary_tokens(tokenizer: Any) -> tuple[int, ...]:
    """The ids of all tokens that are no control tokens, in ascending order."""
    return tuple(sorted(vocabulary_of(tokenizer).values()))


def vocabulary_of(tokenizer: Any) -> dict[str, int]:
    """The ids of all tokens that are no control tokens, by their text."""
    return {text: token for text, token in tokenizer.get_vocab().items() if not _CONTROL.fullmatch(text)}


def fill_token(tokenizer: Any) -> int:
    """The id of the first control token, for the one protocol that pads prompts (a deliberate mistake).

    Raises:
        NotApplicable: the vocabulary has no control token.
    """
    if not (control := control_tokens(tokenizer)):
        raise NotApplicable("this vocabulary has no control token, such as <|endoftext|>, to fill up prompts with")
    return control[0]


def unknown_token(tokenizer: Any) -> int | None:
    """The id of the unknown token; None for a tokenizer that can spell any text, for example by bytes."""
    first, second = tokenizer(list(_NOWHERE), add_special_tokens=False)["input_ids"]
    return int(first[-1]) if first and second and first[-1] == second[-1] else None


def check_texts(tokenizer: Any, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> None:
    """Refuses an empty prompt, and a prompt with a word that the tokenizer does not know.

    Args:
        tokenizer: a Hugging Face tokenizer.
        texts: the prompts.
        ids: the token ids of each prompt.

    Raises:
        UsageError: such a prompt; the message has the prompt and the word.
    """
    unknown = unknown_token(tokenizer)
    for row, (text, tokens) in enumerate(zip(texts, ids, strict=True)):
        if not text.strip() or not tokens:
            raise UsageError(f"prompt {row} is empty ({shown(text)}); pass what the model reads before the answer")
        if unknown in tokens:
            words = text.split()
            pieces = tokenizer(words, add_special_tokens=False)["input_ids"]
            word = next((word for word, piece in zip(words, pieces, strict=True) if unknown in piece), text)
            raise UsageError(
                f"prompt {row}, {shown(text)}: {shown(word)} is not in the tokenizer's vocabulary; use words that are"
            )


def check_ids(tokenizer: Any, ids: Sequence[int], what: str) -> None:
    """Refuses token ids that this tokenizer does not have.

    Args:
        tokenizer: a Hugging Face tokenizer.
        ids: token ids.
        what: the prompt they belong to, for the message, such as ``prompt 3``.

    Raises:
        UsageError: an id that is no whole number.
        NotApplicable: an id outside the vocabulary.
    """
    if not_whole := [token for token in ids if not isinstance(token, int) or isinstance(token, bool)]:
        raise UsageError(
            f"{what} has the token id {shown(not_whole[0])}; pass whole numbers (of a tensor, its .tolist())"
        )
    if outside := [token for token in ids if not 0 <= token < len(tokenizer)]:
        raise NotApplicable(
            f"{what} has the token id {outside[0]}, and this tokenizer has 0 to {len(tokenizer) - 1}: the ids belong "
            "to another vocabulary"
        )


def check_known(tokenizer: Any, ids: Sequence[int], what: str) -> None:
    """Refuses the unknown token among token ids.

    Args:
        tokenizer: a Hugging Face tokenizer.
        ids: token ids of its vocabulary.
        what: the prompt they belong to, for the message.

    Raises:
        UsageError: one of them is the unknown token.
    """
    unknown = unknown_token(tokenizer)
    if unknown in ids:
        raise UsageError(
            f"{what} has the token id {unknown}, which is {shown(tokenizer.convert_ids_to_tokens(unknown))}: what the "
            "tokenizer does not know; use other tokens"
        )


def check_tokens(tokenizer: Any, ids: Sequence[int], what: str) -> None:
    """Refuses token ids that this tokenizer does not have, and the unknown token among them.

    Args:
        tokenizer: a Hugging Face tokenizer.
        ids: token ids.
        what: the prompt they belong to, for the message.

    Raises:
        UsageError: an id that is no whole number, or the unknown token.
        NotApplicable: an id outside the vocabulary.
    """
    check_ids(tokenizer, ids, what)
    check_known(tokenizer, ids, what)


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids, without any clean-up of spaces."""
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))
