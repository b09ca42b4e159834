"""Sequences that go on: digits, steps of two, counting down, number words, days, months, letters, ordinals.

Four elements are given and the fifth is the answer. The distractor is what would follow in the corrupted prompt:

- ``sequence-exchanged``: another stretch of the same kind, so that the answer flips;
- ``last-changed``: only the last element is that of the other stretch;
- ``shuffled``: the first three elements in another order: what follows is less clear, but nothing speaks for the
  distractor.

Where a tokenizer writes a digit as a space and a digit apart, the prompt ends with the space, so that the answer is
one token; kinds that it cannot say in single tokens are left out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pytest_interp.common.arguments import checked
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.tasks.dataset import DataSet, build, redrawable
from pytest_interp.tasks.prompts import Prompt, encode, is_single_token
from pytest_interp.tasks.slots import Half, fill, half_of, known
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
    """A seeded sample of sequences: every kind in every wording of a half in turn.

    Positions: FIRST, THIRD and LAST element, END.

    Args:
        tokenizer: a Hugging Face tokenizer.
        half: of the wordings.
        n: how many prompts.
        seed: for this object's own generator.
        bos: whether BOS stands before each prompt.
        kinds: which.

    Raises:
        UsageError: an unknown kind.
        NotApplicable: no kind that the tokenizer can say in single tokens.
    """
    if unknown := [kind for kind in kinds if kind not in _KINDS]:
        raise UsageError(f"{shown(unknown[0])} is no kind of sequence; allowed: {', '.join(_KINDS)}")
    rng = random.Random(f"{half} {seed}")
    cells = [
        (kind, wording)
        for wording in half_of(_WORDINGS, half)
        for kind in kinds
        if _sayable(tokenizer, wording, _KINDS[kind])
    ]
    if not cells:
        raise NotApplicable(
            "this tokenizer says no sequence in single tokens; build a task of your own with from_strings"
        )
    clean: list[Prompt] = []
    corrupted: dict[str, list[Prompt]] = {"sequence-exchanged": [], "last-changed": [], "shuffled": []}
    for i in range(n):
        kind, wording = cells[i % len(cells)]
        elements = _KINDS[kind]
        start, other = rng.sample(range(len(elements) - 4), 2)
        mine, theirs = elements[start : start + 4], elements[other : other + 4]
        order = list(mine[:3])
        while tuple(order) == mine[:3]:
            rng.shuffle(order)
        write = _Writer(tokenizer, kind, wording, elements[start + 4], elements[other + 4])
        clean.append(write(mine))
        corrupted["sequence-exchanged"].append(write(theirs))
        corrupted["last-changed"].append(write((*mine[:3], theirs[3])))
        corrupted["shuffled"].append(write((*order, mine[3])))
    name = f"sequences/{half}"
    return build(tokenizer, clean, corrupted, None, bos=bos, name=name, population="sampled", seed=seed)


class _Writer:
    """A wording of a kind, with answer and distractor; the space before them stands in the prompt where it must."""

    def __init__(self, tokenizer: Any, kind: str, wording: str, answer: str, distractor: str) -> None:
        self.kind, self.wording = kind, wording
        joined = is_single_token(tokenizer, f" {answer}")
        self.end, space = ("", " ") if joined else (" ", "")
        self.answer, self.distractor = f"{space}{answer}", f"{space}{distractor}"

    def __call__(self, four: Sequence[str]) -> Prompt:
        text, ends = fill(self.wording, dict(zip("abcd", four, strict=True)))
        marks = {"FIRST": ends["a"][0], "THIRD": ends["c"][0], "LAST": ends["d"][0]}
        template, tags = f"{self.kind}: {self.wording}", {"kind": self.kind, "wording": self.wording}
        return Prompt(text + self.end, self.answer, self.distractor, marks, template, tags)


def _sayable(tokenizer: Any, wording: str, elements: Sequence[str]) -> bool:
    """Whether every element is one token, with its space or after one, and the wording's words are known."""
    if not known(tokenizer, fill(wording, dict.fromkeys("abcd", ""))[0]):
        return False
    if all(is_single_token(tokenizer, f" {element}") for element in elements):
        return True
    space = encode(tokenizer, " ")
    return len(space) == 1 and all(
        is_single_token(tokenizer, element)
        and encode(tokenizer, f"x {element}")[-2:] == [*space, *encode(tokenizer, element)]
        for element in elements
    )
