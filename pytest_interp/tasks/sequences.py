"""Sequences to continue: digits, even numbers, digits downwards, number words, days, months, letters, ordinals.

A prompt has four consecutive elements, and the answer is the fifth. A second stretch of the same kind gives the
distractor, its fifth element, and the corruptions:

- ``sequence-exchanged``: the four elements of the second stretch, so the answer flips;
- ``last-changed``: only the last element is that of the second stretch;
- ``shuffled``: the first three elements in another order, so the answer is less clear; nothing favours the distractor.

If a space and a digit are two tokens, the prompt ends with the space, so that the answer is one token. Kinds whose
elements are not single tokens are left out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pytest_interp.common.arguments import checked
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.tasks.dataset import DataSet, build, redrawable
from pytest_interp.tasks.prompts import Prompt, encode, is_single_token
from pytest_interp.tasks.shared_words import owner_of, tokenizers_of
from pytest_interp.tasks.slots import Half, fill, half_of, is_known
from pytest_interp.text import shown

_KINDS: dict[str, tuple[str, ...]] = {
    "digits": tuple("123456789"),
    "even": ("2", "4", "6", "8", "10", "12", "14", "16", "18"),
    "down": tuple("987654321"),
    "words": ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    "days": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "months": ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
    "letters": tuple("ABCDEFGHIJ"),
    "ordinals": ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
}

_WORDINGS = (
    "In order: {a} {b} {c} {d}",
    "They come one after the other: {a}, {b}, {c}, {d},",
    "The list reads {a} {b} {c} {d}",
    "Please go on: {a}, {b}, {c}, {d},",
    "She said {a}, then {b}, then {c}, then {d}, then",
    "We counted {a}, {b}, {c}, {d},",
)


@checked
@redrawable
def sequences(
    tokenizer: Any, *, half: Half, n: int, seed: int, bos: bool, kinds: Sequence[str] = tuple(_KINDS)
) -> DataSet:
    """A seeded sample of sequences: each kind in each template of a half in turn.

    Positions: FIRST, THIRD and LAST (of the four elements), END.

    Args:
        tokenizer: a Hugging Face tokenizer.
        half: the half of the templates.
        n: the number of prompts.
        seed: of the random choice of stretches.
        bos: whether BOS stands before each prompt.
        kinds: of sequences: ``digits``, ``even``, ``down``, ``words``, ``days``, ``months``, ``letters``, ``ordinals``.

    Raises:
        UsageError: an unknown kind.
        NotApplicable: no kind whose elements are single tokens, in words that the tokenizer knows.
    """
    if unknown := [kind for kind in kinds if kind not in _KINDS]:
        raise UsageError(f"{shown(unknown[0])} is no kind of sequence; allowed: {', '.join(_KINDS)}")
    rng = random.Random(f"{half} {seed}")
    cells = [
        (kind, wording)
        for wording in half_of(_WORDINGS, half)
        for kind in kinds
        if _is_tokenizable(tokenizer, wording, _KINDS[kind])
    ]
    if not cells:
        raise NotApplicable(
            f"no sequence is in single tokens of {owner_of(tokenizer)}; build a task of your own with from_strings"
        )
    clean: list[Prompt] = []
    corrupted: dict[str, list[Prompt]] = {"sequence-exchanged": [], "last-changed": [], "shuffled": []}
    for i in range(n):
        kind, wording = cells[i % len(cells)]
        elements = _KINDS[kind]
        start, other = rng.sample(range(len(elements) - 4), 2)
        stretch, other_stretch = elements[start : start + 4], elements[other : other + 4]
        shuffled = list(stretch[:3])
        while tuple(shuffled) == stretch[:3]:
            rng.shuffle(shuffled)
        write = _Writer(tokenizer, kind, wording, elements[start + 4], elements[other + 4])
        clean.append(write(stretch))
        corrupted["sequence-exchanged"].append(write(other_stretch))
        corrupted["last-changed"].append(write((*stretch[:3], other_stretch[3])))
        corrupted["shuffled"].append(write((*shuffled, stretch[3])))
    name = f"sequences/{half}"
    return build(tokenizer, clean, corrupted, None, bos=bos, name=name, population="sampled", seed=seed)


class _Writer:
    """Writes the prompts of one kind and template with one answer and distractor.

    The space before the answer belongs to the answer if both together are one token, else to the prompt.
    """

    def __init__(self, tokenizer: Any, kind: str, wording: str, answer: str, distractor: str) -> None:
        self.kind, self.wording = kind, wording
        space_in_answer = is_single_token(tokenizer, f" {answer}")
        self.end, space = ("", " ") if space_in_answer else (" ", "")
        self.answer, self.distractor = f"{space}{answer}", f"{space}{distractor}"

    def __call__(self, four: Sequence[str]) -> Prompt:
        text, ends = fill(self.wording, dict(zip("abcd", four, strict=True)))
        marks = {"FIRST": ends["a"][0], "THIRD": ends["c"][0], "LAST": ends["d"][0]}
        template, tags = f"{self.kind}: {self.wording}", {"kind": self.kind, "wording": self.wording}
        return Prompt(text + self.end, self.answer, self.distractor, marks, template, tags)


def _is_tokenizable(tokenizer: Any, wording: str, elements: Sequence[str]) -> bool:
    """Whether the tokenizer knows the template's words and has each element as one token, with or after its space."""
    if not is_known(tokenizer, fill(wording, dict.fromkeys("abcd", ""))[0]):
        return False
    if all(is_single_token(tokenizer, f" {element}") for element in elements):
        return True
    return all(
        is_single_token(each, element)
        and len(space := encode(each, " ")) == 1
        and encode(each, f"x {element}")[-2:] == [*space, *encode(each, element)]
        for each in tokenizers_of(tokenizer)
        for element in elements
    )
