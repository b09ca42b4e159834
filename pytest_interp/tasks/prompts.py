"""Tokenised prompts in groups of equal token length, with named positions.

There is no padding: END is the last token of each row. A named position is an index that was checked against its word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_interp.errors import UsageError
from pytest_interp.tasks.copies import Copied, Copies
from pytest_interp.tasks.positions import END
from pytest_interp.tasks.shared_words import tokenizers_of
from pytest_interp.tasks.vocabulary import check_texts, unknown_token
from pytest_interp.text import counted, shown

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor


@dataclass(frozen=True)
class Prompt:
    """A prompt as text.

    Attributes:
        text: what the model reads, without the answer.
        answer: the right next token, with its leading space.
        distractor: the token that the answer is compared with.
        marks: position name -> the number of characters of ``text`` up to the end of the marked word.
        template: the template that it was made from; prompts of one template are not independent.
        tags: further strata, such as ``order`` and the names.
    """

    text: str
    answer: str
    distractor: str
    marks: Mapping[str, int] = field(default_factory=dict)
    template: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # All claims of a session share the prompts, so no claim may change them.
        object.__setattr__(self, "marks", MappingProxyType(dict(self.marks)))
        object.__setattr__(self, "tags", MappingProxyType(dict(self.tags)))


@dataclass(frozen=True, eq=False)
class Group:
    """The prompts of one token length.

    Attributes:
        rows: indices of the prompts in data-set order.
        positions: name -> index of its token in each row, shape ``(row,)``.
        tokens: token ids, shape ``(row, pos)``.
        answers: token id of each answer, shape ``(row,)``.
        distractors: token id of each distractor, shape ``(row,)``.
    """

    rows: tuple[int, ...]
    positions: Mapping[str, Int[Tensor, " row"]]
    tokens: Copied = Copied()  # noqa: RUF009  (a descriptor)
    answers: Copied = Copied()  # noqa: RUF009  (a descriptor)
    distractors: Copied = Copied()  # noqa: RUF009  (a descriptor)

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", Copies(self.positions))

    @property
    def pairs(self) -> Int[Tensor, "row 2"]:
        """Token ids of answer and distractor side by side."""
        import torch

        return torch.stack([self.answers, self.distractors], dim=1)

    def first_difference(self, other: Group) -> Int[Tensor, " row"]:
        """The first position of each row whose token is not that of another run; the prompts' length where none is.

        Args:
            other: the same prompts in the other run.
        """
        import torch

        differ = self.tokens != other.tokens
        return torch.where(differ.any(1), differ.int().argmax(1), differ.shape[1])


@dataclass(frozen=True)
class PromptSet:
    """The tokenised prompts of a run (clean, or a corruption).

    Attributes:
        prompts: as text, in data-set order.
        groups: as tokens, a group for each token length.
        bos: whether BOS stands before each prompt.
        digest: the hash of texts, answers, tokens, positions and BOS.
    """

    prompts: tuple[Prompt, ...]
    groups: tuple[Group, ...]
    bos: bool
    digest: str

    def __len__(self) -> int:
        return len(self.prompts)

    def __repr__(self) -> str:
        return f"<PromptSet of {self.summary}: {shown(self.prompts[0].text)} ...>"

    @property
    def summary(self) -> str:
        """The number of prompts and tokens, such as ``96 prompts of 15 to 19 tokens (BOS)``; BOS is counted."""
        lengths = [group.tokens.shape[1] for group in self.groups]
        span = str(min(lengths)) if len(set(lengths)) == 1 else f"{min(lengths)} to {max(lengths)}"
        return f"{counted(len(self), 'prompt')} of {span} tokens ({'BOS' if self.bos else 'no BOS'})"

    @cached_property
    def inputs(self) -> str:
        """The hash of what a model reads: the tokens in their groups, without answers and positions."""
        tokens = hashlib.sha256()
        for group in self.groups:
            tokens.update(f"{tuple(group.tokens.shape)}".encode() + group.tokens.numpy().tobytes())
        return tokens.hexdigest()[:12]

    @cached_property
    def identity(self) -> str:
        """The hash of all that a measurement depends on; it has answers as tokens, since two may have the same text."""
        labels = hashlib.sha256(self.digest.encode())
        for group in self.groups:
            for tensor in (group.answers, group.distractors, *(group.positions[name] for name in group.positions)):
                labels.update(tensor.numpy().tobytes())
        return labels.hexdigest()[:16]

    @property
    def position_names(self) -> tuple[str, ...]:
        """The positions that every prompt has."""
        return tuple(self.groups[0].positions)


def tokenize(tokenizer: Any, prompts: Sequence[Prompt], *, bos: bool) -> PromptSet:
    """Tokenises prompts, groups them by token length, and checks each named position against its word.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompts: as text.
        bos: whether BOS stands before each prompt.

    Raises:
        UsageError: no prompts, an empty prompt, a word that the tokenizer does not know, an answer that is not one
            token or equals the distractor, a mark that does not fall on the end of a token, a BOS that is no bool or
            that the tokenizer lacks.
    """
    if not prompts:
        raise UsageError("a data set needs at least one prompt")
    start = _start(tokenizer, bos)
    ids_of = encode_all(tokenizer, (text for prompt in prompts for text in (prompt.text, *_prefixes(prompt))))
    check_texts(tokenizer, [prompt.text for prompt in prompts], [ids_of[prompt.text] for prompt in prompts])
    for row, prompt in enumerate(prompts):
        _check_ends(tokenizer, row, prompt, ids_of[prompt.text], start)
    encoded = [start + ids_of[prompt.text] for prompt in prompts]
    words = {word for prompt in prompts for word in (prompt.answer, prompt.distractor)}
    token_of = {word: single_token(tokenizer, word) for word in words}
    answers = [token_of[prompt.answer] for prompt in prompts]
    distractors = [token_of[prompt.distractor] for prompt in prompts]
    marks = [_positions(ids_of, prompt, len(start), ids) for prompt, ids in zip(prompts, encoded, strict=True)]
    for prompt, answer, distractor in zip(prompts, answers, distractors, strict=True):
        if answer == distractor:
            raise UsageError(f"the answer and the distractor of {shown(prompt.text)} are both {shown(prompt.answer)}")
    return _grouped(prompts, encoded, answers, distractors, marks, bos)


def prompts_of_ids(
    tokenizer: Any,
    prompts: Sequence[tuple[Prompt, Sequence[int], int, int]],
    positions: Sequence[Mapping[str, int]],
    *,
    bos: bool,
) -> PromptSet:
    """Groups prompts of token ids by length; their text is for reading only.

    Args:
        tokenizer: a Hugging Face tokenizer; only its BOS is used.
        prompts: for each prompt its description, its token ids, the id of its answer and that of its distractor.
        positions: for each prompt, position name -> index in the ids, counted from 0.
        bos: whether BOS stands before each prompt.

    Raises:
        UsageError: a BOS that is no bool or that the tokenizer lacks.
    """
    start = _start(tokenizer, bos)
    encoded = [[*start, *ids] for _, ids, _, _ in prompts]
    at = [
        {name: index + len(start) for name, index in marked.items()} | {END: len(ids) - 1}
        for marked, ids in zip(positions, encoded, strict=True)
    ]
    answers, distractors = [answer for _, _, answer, _ in prompts], [other for _, _, _, other in prompts]
    return _grouped([prompt for prompt, _, _, _ in prompts], encoded, answers, distractors, at, bos)


def _grouped(
    prompts: Sequence[Prompt],
    encoded: Sequence[Sequence[int]],
    answers: Sequence[int],
    distractors: Sequence[int],
    marks: Sequence[Mapping[str, int]],
    bos: bool,
) -> PromptSet:
    """The prompts in groups of equal length, with the hash over texts and tokens."""
    import torch

    names = [key for key in marks[0] if all(key in row for row in marks)]
    groups = []
    for length in sorted({len(ids) for ids in encoded}):
        rows = [row for row, ids in enumerate(encoded) if len(ids) == length]
        groups.append(
            Group(
                rows=tuple(rows),
                tokens=torch.tensor([encoded[row] for row in rows]),
                positions={key: torch.tensor([marks[row][key] for row in rows]) for key in names},
                answers=torch.tensor([answers[row] for row in rows]),
                distractors=torch.tensor([distractors[row] for row in rows]),
            )
        )
    content = json.dumps(
        [
            bos,
            *(
                [p.text, p.answer, p.distractor, p.template, ids, mark]
                for p, ids, mark in zip(prompts, encoded, marks, strict=True)
            ),
        ]
    )
    return PromptSet(tuple(prompts), tuple(groups), bos, hashlib.sha256(content.encode()).hexdigest()[:12])


def _check_ends(tokenizer: Any, row: int, prompt: Prompt, ids: Sequence[int], start: Sequence[int]) -> None:
    """Refuses a prompt that begins with BOS if BOS is added too, and one that ends in a space if the answer has one."""
    if start and ids[0] == start[0]:
        raise UsageError(
            f"prompt {row}, {shown(prompt.text)}, begins with {shown(tokenizer.bos_token)}, which bos=True puts "
            "before it too; "
            "leave out one of them"
        )
    if prompt.text[-1:].isspace() and prompt.answer[:1].isspace():
        raise UsageError(
            f"prompt {row}, {shown(prompt.text)}, ends in a space, and its answer {shown(prompt.answer)} begins with "
            "one; leave "
            "it out of the prompt"
        )


def encode(tokenizer: Any, text: str) -> list[int]:
    """The token ids of a text, without special tokens before or after."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode_all(tokenizer: Any, texts: Iterable[str]) -> dict[str, list[int]]:
    """The token ids of each text; a single call tokenises all different texts."""
    if not (unique := list(dict.fromkeys(texts))):
        return {}
    return dict(zip(unique, tokenizer(unique, add_special_tokens=False)["input_ids"], strict=True))


def single_token(tokenizer: Any, word: str) -> int:
    """The id of a word that must be one known token.

    Raises:
        UsageError: the word is several tokens, or the tokenizer does not know it. The message proposes the word with or
            without a space before it if that is one token.
    """
    ids = encode(tokenizer, word)
    if len(ids) != 1:
        pieces = tokenizer.convert_ids_to_tokens(ids)
        raise UsageError(
            f"{shown(word)} is {len(ids)} tokens here ({pieces}); use a word of one token{_hint(tokenizer, word)}"
        )
    if ids[0] == unknown_token(tokenizer):
        raise UsageError(f"{shown(word)} is not in the tokenizer's vocabulary; use a word that is")
    return ids[0]


def _hint(tokenizer: Any, word: str) -> str:
    """A clause with the spelling that is one token, with or without a space: ``; did you mean ' Berlin'?``."""
    spellings = [f" {word.strip()}", word.strip()]
    single = [text for text in spellings if text.strip() and text != word and is_single_token(tokenizer, text)]
    return f"; did you mean {shown(single[0])}?" if single else ""


def single_tokens(tokenizer: Any, words: Sequence[str]) -> tuple[str, ...]:
    """The words that are one known token with a space before them, in their order."""
    single = tuple(words)
    for each in tokenizers_of(tokenizer):
        ids, unknown = encode_all(each, (f" {word}" for word in single)), unknown_token(each)
        single = tuple(word for word in single if len(ids[f" {word}"]) == 1 and ids[f" {word}"][0] != unknown)
    return single


def is_single_token(tokenizer: Any, word: str) -> bool:
    """Whether a word is one known token."""
    return all(
        len(ids := encode(each, word)) == 1 and ids[0] != unknown_token(each) for each in tokenizers_of(tokenizer)
    )


def _start(tokenizer: Any, bos: bool) -> list[int]:
    """The token ids before each prompt: BOS, or none."""
    if not isinstance(bos, bool):
        raise UsageError(f"bos is {shown(bos)}; pass True (BOS before each prompt) or False")
    if not bos:
        return []
    if tokenizer.bos_token_id is None:
        raise UsageError("bos=True, but this tokenizer has no BOS token; pass bos=False")
    return [int(tokenizer.bos_token_id)]


def _prefixes(prompt: Prompt) -> Iterable[str]:
    return (prompt.text[:stop] for stop in prompt.marks.values())


def _positions(ids_of: Mapping[str, list[int]], prompt: Prompt, offset: int, ids: Sequence[int]) -> dict[str, int]:
    """The index of each named position among the ids, which begin with ``offset`` tokens that are not of the text."""
    positions = {}
    for name, stop in prompt.marks.items():
        prefix = ids_of[prompt.text[:stop]]
        index = offset + len(prefix) - 1
        # A mark inside a token would make the prefix tokenise differently from the prompt.
        if not prefix or list(ids[offset : index + 1]) != prefix:
            raise UsageError(
                f"position {name} of {shown(prompt.text)} does not fall on the end of a token "
                f"(after {shown(prompt.text[:stop])}); mark the end of a word"
            )
        positions[name] = index
    if END in prompt.marks:
        raise UsageError(f"{END} is always the last token; do not mark it")
    positions[END] = len(ids) - 1
    return positions
