"""Words that several tokenizers share, so that models with different tokenizers are asked the same texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class SharedWords:
    """The words that are single tokens of several tokenizers.

    Attributes:
        tokenizers: at least two of different vocabularies, each by the name of a checkpoint that has it.
        summary: who shares them, and how many names are left, such as ``shared by the tokenizers of gpt2 and mine: 40
            of 242 first names are left``.
    """

    tokenizers: Mapping[str, Any]
    summary: str


class SharedTokenizer:
    """A checkpoint's own tokenizer, of which only words that other tokenizers share count as known single tokens.

    It is the own tokenizer in all else: :func:`tokenizers_of` is how functions that choose words ask the others.
    """

    def __init__(self, own: Any, words: SharedWords) -> None:
        self.own, self.words = own, words

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the own tokenizer makes of texts."""
        return self.own(*args, **kwargs)

    def __len__(self) -> int:
        return len(self.own)

    def __getattr__(self, name: str) -> Any:
        if name == "own":  # not set yet, as while it is copied
            raise AttributeError(name)
        return getattr(self.own, name)


def tokenizers_of(tokenizer: Any) -> tuple[Any, ...]:
    """The tokenizers of which a word has to be a known single token: the tokenizer itself, unless words are shared."""
    return tuple(tokenizer.words.tokenizers.values()) if isinstance(tokenizer, SharedTokenizer) else (tokenizer,)


def owner_of(tokenizer: Any) -> str:
    """Whose single tokens words have to be, for a message: ``this tokenizer``, or several by name."""
    if not isinstance(tokenizer, SharedTokenizer):
        return "this tokenizer"
    return f"all of the tokenizers of {', '.join(tokenizer.words.tokenizers)}"
