"""Checks that there is a tokenizer, that it works, and that it is the model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_interp.checkpoints.sources.library_errors import as_usage_error, listed
from pytest_interp.errors import UsageError

_FILES = ("tokenizer.*json", "*.model", "*vocab*", "tekken.json", "*.tiktoken", "*.spm")
_COPY = "copy tokenizer.json and tokenizer_config.json from the model that it was trained from: "
_COPY += "AutoTokenizer.from_pretrained(NAME).save_pretrained(DIR)"
_TEXT = "When Mary and John went to the store \u2603"


def check_has_tokenizer(folder: Path) -> None:
    """Accepts a folder with one of the files that tokenizers are read from.

    Raises:
        UsageError: it has none.
    """
    if not any(path.is_file() for pattern in _FILES for path in folder.glob(pattern)):
        raise UsageError(f"{folder} has no tokenizer; {_COPY}")


def adds_bos(tokenizer: Any) -> bool:
    """Whether a tokenizer puts its BOS before a text if nothing else is asked of it."""
    bos = tokenizer.bos_token_id
    return bos is not None and list(tokenizer(_TEXT)["input_ids"][:1]) == [bos]


def check_tokenizer(tokenizer: Any, d_vocab: int, owner: str) -> None:
    """Accepts a tokenizer of transformers that encodes a text into ids of the model.

    Args:
        tokenizer: as a loader returned it.
        d_vocab: the size of the model's vocabulary.
        owner: the model or checkpoint, for the message.

    Raises:
        UsageError: it is no tokenizer, it has no words, or is another model's.
    """
    from transformers import PreTrainedTokenizerBase

    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise UsageError(
            f"{owner}: its tokenizer is {type(tokenizer).__name__}; pass one of transformers, such as "
            "AutoTokenizer.from_pretrained(NAME)"
        )
    with as_usage_error(f"{owner}: its tokenizer does not work", f"it is damaged or of another version; {_COPY}"):
        words = tokenizer.get_vocab()
        added = tokenizer.get_added_vocab()
        if words.keys() <= added.keys():
            raise UsageError(f"{owner}: its tokenizer has no words, only {listed(sorted(words))}; {_COPY}")
        if foreign := sorted(word for word, i in words.items() if i >= d_vocab and word not in added):
            raise UsageError(
                f"{owner}: its tokenizer has {len(foreign)} tokens with ids from {d_vocab} on ({listed(foreign)}), "
                f"which its model does not have: it is another model's; {_COPY}"
            )
        tokenizer(_TEXT, add_special_tokens=False)
