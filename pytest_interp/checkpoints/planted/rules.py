"""A transformer whose every head is known, because it was written down and not trained.

The residual stream is a direct sum of named subspaces, each head is one :class:`Rule`, and the weights are written
(``planted_build``) from the table :data:`RULES`; a variant (``planted_family``) is a table with a changed row. What
each measurement must give follows from the construction: it judges the measuring code before that code judges a
trained model.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from pytest_interp.heads import Head
from pytest_interp.tasks.ioi_words import NAMES, OBJECTS, PLACES, TEMPLATES

N_LAYERS, N_HEADS, D_HEAD, N_POSITIONS = 5, 4, 144, 40
N_NAMES, CODE = 40, 64

SUBSPACES = {
    "token": CODE,  # the token's own code, from the embedding
    "previous": CODE,  # the code of the token before, from head 0.0
    "inhibition": CODE,  # codes that the movers shall not read
    "output": CODE,  # what the unembedding reads
    "position": N_POSITIONS,
    "one": 1,  # set at every token
    "bos": 1,
    "not_bos": 1,
    "is_name": 1,
    "is_end": 1,  # set at " to"
    "duplicated": 1,
    "inducted": 1,
}
END_WORD = "to"


@dataclass(frozen=True)
class Match:
    """One term of a head's attention score: ``gain * <query part at the destination, key part at the source>``."""

    query: str
    key: str
    gain: float
    shift: int = 0


@dataclass(frozen=True)
class Write:
    """One term of what a head writes: ``gain *`` the source's ``read`` part, into ``into``."""

    read: str
    into: str
    gain: float


@dataclass(frozen=True)
class Rule:
    """What one head does.

    Attributes:
        head: layer and head.
        role: for the circuit file and the tests.
        scores: terms of the attention score.
        rest: the score of BOS; where nothing scores higher, the head rests there and writes nothing.
        writes: terms of the output.
    """

    head: Head
    role: str
    scores: tuple[Match, ...]
    rest: float
    writes: tuple[Write, ...]


def _mover(head: Head, gain: float, role: str = "name_mover") -> Rule:
    """From END to names that are not inhibited; their code, times ``gain``, to the output."""
    scores = (Match("is_end", "is_name", 20), Match("inhibition", "token", -6))
    return Rule(head, role, scores, 10, (Write("token", "output", gain),))


def _inhibitor(head: Head, flag: str) -> Rule:
    """From END to a name that carries ``flag``; half of its code to the inhibition subspace."""
    scores = (Match("is_end", "is_name", 20), Match("is_end", flag, 20))
    return Rule(head, "s_inhibition", scores, 30, (Write("token", "inhibition", 0.5),))


RULES: Mapping[Head, Rule] = {
    rule.head: rule
    for rule in (
        Rule(
            Head(0, 0),
            "previous_token",
            (Match("position", "position", 40, shift=-1),),
            0,
            (Write("token", "previous", 1),),
        ),
        Rule(
            Head(0, 1),
            "duplicate_token",
            (Match("token", "token", 40), Match("position", "position", -80)),
            30,
            (Write("not_bos", "duplicated", 1),),
        ),
        Rule(
            Head(1, 0),
            "induction",
            (Match("token", "previous", 40),),
            30,
            (Write("token", "output", 1), Write("not_bos", "inducted", 1)),
        ),
        _inhibitor(Head(2, 0), "duplicated"),
        _inhibitor(Head(2, 1), "inducted"),
        _mover(Head(3, 0), 6),
        _mover(Head(3, 1), 4),
        _mover(Head(3, 2), 3),
        Rule(
            Head(4, 0),
            "negative_name_mover",
            (Match("output", "token", 3),),
            15,
            (Write("token", "output", -4),),
        ),
        Rule(
            Head(4, 1),
            "backup_name_mover",
            (Match("is_end", "is_name", 20), Match("inhibition", "token", -12), Match("output", "token", -6)),
            14,
            (Write("token", "output", 5),),
        ),
    )
}


def without(*heads: Head) -> Mapping[Head, Rule]:
    """The table with these heads silent."""
    return {head: rule for head, rule in RULES.items() if head not in heads}


def with_rule(rule: Rule) -> Mapping[Head, Rule]:
    """The table with one row changed or added."""
    return {**RULES, rule.head: rule}


@cache
def vocabulary() -> tuple[str, ...]:
    """BOS, unknown, the first 40 names, then every other word of the IOI prompts in order of appearance."""
    words: dict[str, None] = {"<bos>": None, "<unk>": None}
    words.update(dict.fromkeys(_planted_names()))
    for text in (*TEMPLATES, *PLACES, *OBJECTS):
        for slot in ("{A}", "{B}", "{S}", "{place}", "{object}"):
            text = text.replace(slot, " ")  # noqa: PLW2901
        words.update(dict.fromkeys(text.replace(",", " ,").replace(".", " .").split()))
    return tuple(words)


def _planted_names() -> tuple[str, ...]:
    """Twenty names of each half of the list."""
    return NAMES[:N_NAMES]


@cache
def codes() -> tuple[tuple[float, ...], ...]:
    """The code of each token: names orthonormal, BOS zero, the others unit vectors that overlap by at most a half.

    Signs over a square root, drawn with Python's own generator, so that the weights are the same everywhere.
    """
    rest = CODE - N_NAMES
    rng = random.Random(0)
    signs: list[tuple[int, ...]] = []
    while len(signs) < len(vocabulary()) - 2 - N_NAMES + 1:
        code = tuple(rng.choice((-1, 1)) for _ in range(rest))
        if all(abs(sum(a * b for a, b in zip(code, other, strict=True))) * 2 <= rest for other in signs):
            signs.append(code)
    words = [tuple([0.0] * N_NAMES + [sign / rest**0.5 for sign in code]) for code in signs]
    names = [tuple(float(i == j) for j in range(CODE)) for i in range(N_NAMES)]
    bos = tuple([0.0] * CODE)
    return (bos, words[0], *names, *words[1:])
