"""Prompts of the populations that two sources draw from, written from their documented description.

``arena`` draws as ARENA's IOI data set does: a seed and a number of prompts fix them. ``enumerated`` takes prompts from
all those that ronakrm/ioi-enumerate lists, always the same ones; ``mentioned`` has one more sentence about a name.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ListedPrompt:
    """An IOI prompt up to END.

    Attributes:
        text: without the answer.
        io: the answer, without its leading space.
        s: the subject.
        template: what is not filled in.
    """

    text: str
    io: str
    s: str
    template: str


@cache
def lists() -> Mapping[str, Any]:
    """Templates, places, objects and both lists of names."""
    words: dict[str, Any] = tomllib.loads(Path(__file__).with_name("populations.toml").read_text(encoding="utf-8"))
    words["names"] = {key: text.split() for key, text in words["names"].items()}
    return words


def answer_first(template: str) -> str:
    """The template with IO named first: the first two names change places."""
    first, second = template.index("[B]"), template.index("[A]")
    return f"{template[:first]}[A]{template[first + 3 : second]}[B]{template[second + 3 :]}"


def arena(seed: int, prompts: int, *, symmetric: bool = False) -> Sequence[ListedPrompt]:
    """The prompts of ARENA's data set of this seed, type ``mixed``: 7 templates in both orders.

    Args:
        seed: of Python's generator, before the templates are shuffled.
        prompts: how many; fewer of one seed are the first of more.
        symmetric: whether each prompt is followed by its copy with both names exchanged.
    """
    words, names, draw = lists(), lists()["names"]["arena"], random.Random(seed)
    templates = words["templates"][:7] + [answer_first(template) for template in words["templates"][:7]]
    draw.shuffle(templates)
    drawn: list[ListedPrompt] = []
    while len(drawn) < prompts:
        template = draw.choice(templates)
        io, s, third = (draw.choice(names) for _ in range(3))
        while len({io, s, third}) < 3:
            io, s, third = (draw.choice(names) for _ in range(3))
        place, thing = draw.choice(words["places"]), draw.choice(words["objects"])
        pairs = [(io, s), (s, io)] if symmetric else [(io, s)]
        drawn += [_filled(template, *pair, place, thing) for pair in pairs]
    return drawn[:prompts]


def arenas(seeds: int, prompts: int, *, symmetric: bool = False) -> Sequence[ListedPrompt]:
    """The prompts of ARENA's data set of each seed from 0, one after the other; arguments as for ``arena``."""
    return [prompt for seed in range(seeds) for prompt in arena(seed, prompts, symmetric=symmetric)]


def enumerated(
    *, io: str | None = None, s: str | None = None, template: str | None = None, orders: Sequence[str] = ("BABA",)
) -> Sequence[ListedPrompt]:
    """Prompts of the population that ronakrm/ioi-enumerate lists: 15 templates, 99 names, 8 places, 8 objects.

    Args:
        io: only prompts with this answer.
        s: only prompts with this subject.
        template: only prompts whose template begins with this.
        orders: ``BABA`` has the subject first, as in the source; ``ABBA`` the answer, as in half of Wang et al.'s.

    Returns:
        Of both names: all 960 prompts. Of one name: 33 other names for each template, a third of them in turn. Of one
        template: every name as subject twice and as answer twice. Else 33 pairs for each template, every name as
        subject five times and as answer five times. Places and objects take turns.
    """
    words, names = lists(), lists()["names"]["easy_transformer"]
    places, things = words["places"], words["objects"]
    drawn: list[ListedPrompt] = []
    for number, text in enumerate(text for text in words["templates"] if text.startswith(template or "")):
        ordered = [text if order == "BABA" else answer_first(text) for order in orders]
        if io and s:
            drawn += [
                _filled(wording, io, s, place, thing) for wording in ordered for place in places for thing in things
            ]
            continue
        for at in range(0 if template else number % 3, 99, 1 if template else 3):
            for step in (13, 46) if template else (13 + 3 * number,):
                other = names[(at + step) % 99]
                answer, subject = (names[at], s) if s else (io or other, names[at])
                if answer != subject:
                    place, thing = places[(at + step) % 8], things[(at // 8 + number) % 8]
                    drawn += [_filled(wording, answer, subject, place, thing) for wording in ordered]
    return drawn


MENTIONS = (
    "had a good day",
    "was enjoying the situation",
    "was tired",
    "enjoyed being with a friend",
    "was an enthusiast person",
)
"""What the sentences between say of a name (Wang et al. 2022, appendix L)."""


def mentioned(name: str) -> Sequence[ListedPrompt]:
    """Prompts with one more mention of a name: the templates of two sentences with a sentence about it between them.

    Args:
        name: ``IO`` or ``S``.
    """
    letter = {"IO": "[A]", "S": "[B]"}[name]
    words, names = lists(), lists()["names"]["easy_transformer"]
    subject_first = [text for text in words["templates"] if "]. [B]" in text]
    templates = [wording for text in subject_first for wording in (text, answer_first(text))]
    drawn = []
    for number, text in enumerate(templates):
        for at in range(number % 5, 99, 5):
            wording = text.replace(". [B]", f". [mentioned] {MENTIONS[(at // 5 + number) % 5]}. [B]")
            place, thing = words["places"][(at + number) % 8], words["objects"][(at // 8 + number) % 8]
            other = names[(at + 13 + 3 * number) % 99]
            prompt = _filled(wording.replace("[mentioned]", letter), other, names[at], place, thing)
            # Prompts about either name have the same templates, so that both can be compared template by template.
            drawn.append(replace(prompt, template=wording))
    return drawn


def _filled(template: str, io: str, s: str, place: str, thing: str) -> ListedPrompt:
    text = template.removesuffix(" [A]").replace("[A]", io).replace("[B]", s)
    return ListedPrompt(text.replace("[PLACE]", place).replace("[OBJECT]", thing), io, s, template)
