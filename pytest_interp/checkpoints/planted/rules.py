"""A transformer whose every head is known, because it was written down and not trained.

The residual stream is a direct sum of named subspaces, and each head is one :class:`Rule`. The weights are written from
the table :data:`RULES` (``build.py``); a variant is a table with a changed row (``family.py``). What each measurement
must give follows from the construction: it judges the measuring code before that code judges a trained model.
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
    """One term of a head's attention score: ``gain * <query at the destination, key at the source>``.

    Attributes:
        query: the subspace that is read at the destination.
        key: the subspace that is read at the source, of the same width.
        gain: the factor.
        shift: for ``position``: the source is so many positions after the destination.
    """

    query: str
    key: str
    gain: float
    shift: int = 0


@dataclass(frozen=True)
class Write:
    """One term of what a head writes.

    Attributes:
        read: the subspace that is read at the source.
        into: the subspace of the destination into which it is written.
        gain: the factor.
    """

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
        rest: the score of BOS; where no token scores higher, the head attends to BOS and writes nothing.
        writes: terms of the output.

    Example:
        >>> rule = RULES[Head(3, 0)]
        >>> rule.role, rule.writes
        ('name_mover', (Write(read='token', into='output', gain=6),))
    """

    head: Head
    role: str
    scores: tuple[Match, ...]
    rest: float
    writes: tuple[Write, ...]


def _mover(head: Head, gain: float) -> Rule:
    """From END to names that are not inhibited; their code, times ``gain``, to the output."""
    scores = (Match("is_end", "is_name", 20), Match("inhibition", "token", -6))
    return Rule(head, "name_mover", scores, 10, (Write("token", "output", gain),))


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
    """The table :data:`RULES` without these heads, which then write nothing.

    Example:
        >>> Head(3, 0) in without(Head(3, 0))
        False
    """
    return {head: rule for head, rule in RULES.items() if head not in heads}


def with_rule(rule: Rule) -> Mapping[Head, Rule]:
    """The table :data:`RULES` with one rule replaced or added.

    Args:
        rule: whose head decides which row it is.
    """
    return {**RULES, rule.head: rule}


@cache
def vocabulary() -> tuple[str, ...]:
    """The words of the planted models by id: BOS, unknown, the first 40 names, then all others of the IOI prompts.

    The others are in order of appearance.
    """
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
    """The code of each token: a vector of its own, ``CODE`` numbers.

    Names have orthonormal codes, in the first dimensions; BOS has 0. Other words have unit vectors in the dimensions
    that names leave, of signs over a square root; two of them overlap by at most a half. Python's own generator draws
    the signs, so the weights are the same on every machine.
    """
    width = CODE - N_NAMES  # of other words
    rng = random.Random(0)
    signs: list[tuple[int, ...]] = []
    while len(signs) < len(vocabulary()) - 2 - N_NAMES + 1:
        code = tuple(rng.choice((-1, 1)) for _ in range(width))
        if all(abs(sum(a * b for a, b in zip(code, other, strict=True))) * 2 <= width for other in signs):
            signs.append(code)
    words = [tuple([0.0] * N_NAMES + [sign / width**0.5 for sign in code]) for code in signs]
    names = [tuple(float(i == j) for j in range(CODE)) for i in range(N_NAMES)]
    bos = tuple([0.0] * CODE)
    return (bos, words[0], *names, *words[1:])
