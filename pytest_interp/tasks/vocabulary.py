"""What a tokenizer has no token for: words of a text, ids of another vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.text import shown


def check_text(tokenizer: Any, row: int, text: str, ids: Sequence[int]) -> None:
    """Refuses an empty prompt, and one with a word that the tokenizer does not know.

    Args:
        tokenizer: a Hugging Face tokenizer.
        row: which prompt of its list it is, for the message.
        text: the prompt.
        ids: its tokens.

    Raises:
        UsageError: it is empty, or has such a word; both are named.
    """
    if not text.strip() or not ids:
        raise UsageError(f"prompt {row} is empty ({shown(text)}); pass what the model reads before the answer")
    if not _has_unknown(tokenizer, text, ids):
        return
    words = text.split()
    pieces = tokenizer(words, add_special_tokens=False)["input_ids"]
    unknown = [word for word, piece in zip(words, pieces, strict=True) if _has_unknown(tokenizer, word, piece)]
    raise UsageError(
        f"prompt {row}, {shown(text)}: {shown((unknown or [text])[0])} is not in the tokenizer's vocabulary; use "
        "words that are"
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
    if tokenizer.unk_token_id in ids and not _unk_is_a_word(tokenizer):
        raise UsageError(
            f"{what} has the token id {tokenizer.unk_token_id}, which is {shown(tokenizer.unk_token)}: what the "
            "tokenizer "
            "does not know; use other tokens"
        )


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids as it is, without any clean-up of spaces."""
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def _has_unknown(tokenizer: Any, text: str, ids: Sequence[int]) -> bool:
    said = text.count(tokenizer.unk_token) if _unk_is_a_word(tokenizer) else 0
    return tokenizer.unk_token_id is not None and list(ids).count(tokenizer.unk_token_id) > said


def _unk_is_a_word(tokenizer: Any) -> bool:
    """Whether the token for the unknown is BOS or EOS too, as in GPT-2, where a prompt may say it on purpose."""
    return tokenizer.unk_token_id is not None and tokenizer.unk_token_id in (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    )
