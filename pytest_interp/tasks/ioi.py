"""Indirect object identification (Wang et al. 2022, section 2): "When Mary and John ..., John gave ... to".

Each prompt names IO and S, then S again; the answer is IO. ABBA has IO first, BABA has S first. The corruptions:

- ``s2-exchanged``: the second S becomes IO, so the answer flips;
- ``names-exchanged``: IO and S change places everywhere, so the answer flips and the order of names too;
- ``abc``: three other names, none repeated, so the question has no answer;
- ``random-names``: two other names in the same pattern.

Templates and names fall into two halves, one to find heads on and one to confirm them.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeAlias

from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.tasks.dataset import DataSet, build, redrawable
from pytest_interp.tasks.ioi_words import NAMES, OBJECTS, PLACES, TEMPLATES
from pytest_interp.tasks.positions import IO, S1, S1_NEXT, S2
from pytest_interp.tasks.prompts import Prompt, encode_all, single_tokens
from pytest_interp.tasks.slots import Half, fill, half_of
from pytest_interp.text import shown

Order: TypeAlias = Literal["ABBA", "BABA"]
ORDERS: tuple[Order, Order] = ("ABBA", "BABA")
REFERENCE_PER_TEMPLATE = 16


@checked
def single_token_names(tokenizer: Any, half: Half = "all") -> tuple[str, ...]:
    """The first names that are one token with their leading space, of one half of the list.

    Raises:
        UsageError: fewer than four are left, too few for the ABC corruption.
    """
    names = single_tokens(tokenizer, half_of(NAMES, half))
    if len(names) < 4:
        raise UsageError(
            f"only {len(names)} of {len(NAMES)} first names are single tokens of this tokenizer; "
            "the IOI prompts need four: build a task of your own with from_strings"
        )
    return names


@checked
@redrawable
def ioi(
    tokenizer: Any,
    *,
    half: Half,
    n: int,
    seed: int,
    bos: bool,
) -> DataSet:
    """A seeded sample of IOI prompts: every template in both orders in turn, names without repetition.

    Args:
        tokenizer: a Hugging Face tokenizer.
        half: the half of templates and names to draw from; ``find`` and ``confirm`` share neither.
        n: how many prompts; best a multiple of twice the number of templates.
        seed: for this object's own generator.
        bos: whether BOS stands before each prompt.

    Raises:
        UsageError: n < 2, or too few single-token names.
    """
    if n < 2:
        raise UsageError(f"--interp-prompts is {n}; pass at least 2")
    rng = random.Random(f"{half} {seed}")
    names = single_token_names(tokenizer, half)
    templates = half_of(TEMPLATES, half)
    places, objects = _single(tokenizer, PLACES), _single(tokenizer, OBJECTS)
    # Templates change fastest, so that a sample smaller than the grid takes different templates first: of the templates
    # 1, 2 and 3 it is 1 ABBA, 2 ABBA, 3 ABBA, 1 BABA, 2 BABA, 3 BABA.
    cells = [(template, order) for order in ORDERS for template in templates]
    bag = _Bag(names, rng)
    clean: list[Prompt] = []
    corrupted: dict[str, list[Prompt]] = {key: [] for key in ("s2-exchanged", "names-exchanged", "abc", "random-names")}
    for i in range(n):
        template, order = cells[i % len(cells)]
        io, s = bag.draw(2)
        place, thing = rng.choice(places), rng.choice(objects)
        others = rng.sample([name for name in names if name not in (io, s)], 3 if len(names) > 4 else 2)
        others = others if len(others) == 3 else [*others, io]
        write = _Filler(template, order, place, thing, answer=io, distractor=s)
        clean.append(write(io, s, s))
        corrupted["s2-exchanged"].append(write(io, s, io))
        corrupted["names-exchanged"].append(write(s, io, io))
        corrupted["abc"].append(write(others[0], others[1], others[2]))
        corrupted["random-names"].append(write(others[0], others[1], others[1]))
    reference = _reference(rng, templates, names, places, objects)
    data = build(tokenizer, clean, corrupted, reference, bos=bos, name=f"ioi/{half}", population="sampled", seed=seed)
    _check_answers(tokenizer, data)
    return data


@checked
def ioi_grid(tokenizer: Any, pairs: Collection[tuple[str, str]], *, half: Half, bos: bool) -> DataSet:
    """Given (IO, S) pairs over every template of a half, in both orders: no draw at all.

    Raises:
        UsageError: a name of several tokens, or a pair of one name.
    """
    for io, s in pairs:
        _check_names(io, s)
    place, thing = _single(tokenizer, PLACES)[0], _single(tokenizer, OBJECTS)[0]
    clean = [
        _Filler(template, order, place, thing, answer=io, distractor=s)(io, s, s)
        for io, s in pairs
        for template in half_of(TEMPLATES, half)
        for order in ORDERS
    ]
    return build(tokenizer, clean, {}, None, bos=bos, name=f"ioi-grid/{half}", population="fixed", seed=None)


@checked
def ioi_prompt(
    tokenizer: Any, io: str, s: str, *, wording: int, order: Order, place: int, thing: int, half: Half, bos: bool
) -> DataSet:
    """One prompt, all of whose choices are given: a fixed population of one.

    Args:
        tokenizer: a Hugging Face tokenizer.
        io: the answer, without its leading space.
        s: the subject.
        wording: which template of the half; counted round.
        order: ``ABBA`` or ``BABA``.
        place: which place; counted round.
        thing: which object; counted round.
        half: of the templates.
        bos: whether BOS stands before it.
    """
    _check_names(io, s)
    templates, places, objects = half_of(TEMPLATES, half), _single(tokenizer, PLACES), _single(tokenizer, OBJECTS)
    write = _Filler(
        templates[wording % len(templates)], order, places[place % len(places)], objects[thing % len(objects)],
        answer=io, distractor=s,
    )  # fmt: skip
    return build(tokenizer, [write(io, s, s)], {}, None, bos=bos, name="ioi-prompt", population="fixed", seed=None)


def _check_names(io: str, s: str) -> None:
    """Refuses a name that is no word.

    Raises:
        UsageError: it is empty or has spaces around it.
    """
    if wrong := [name for name in (io, s) if not name or name != name.strip()]:
        raise UsageError(f"{shown(wrong[0])} is no name; pass one without spaces around it, such as 'Mary'")


class _Filler:
    """A template with everything but the names filled in; answers stay those of the clean prompt."""

    def __init__(self, template: str, order: Order, place: str, thing: str, *, answer: str, distractor: str) -> None:
        self.template, self.order = template, order
        self.text = template.replace("{place}", place).replace("{object}", thing)
        self.answer, self.distractor = answer, distractor
        self.tags = {"place": place, "object": thing}

    def __call__(self, io: str, s1: str, s2: str) -> Prompt:
        """The prompt with these names at IO, S1 and S2."""
        first, second = (IO, S1) if self.order == "ABBA" else (S1, IO)
        names = {IO: io, S1: s1}
        text, ends = fill(self.text, {"A": names[first], "B": names[second], "S": s2})
        marks = {first: ends["A"][0], second: ends["B"][0], S2: ends["S"][0]}
        marks[S1_NEXT] = marks[S1] + _next_word(text[marks[S1] :])
        tags = {"order": self.order, "IO": io, "S": s2, **self.tags}
        return Prompt(text, f" {self.answer}", f" {self.distractor}", marks, self.template, tags)


def _next_word(text: str) -> int:
    """Characters up to the end of the next word or punctuation mark."""
    at = 1 if text.startswith(" ") else 0
    if not text[at].isalnum():
        return at + 1
    stop = at
    while stop < len(text) and text[stop].isalnum():
        stop += 1
    return stop


class _Bag:
    """Draws names without repetition until all were used, then begins again."""

    def __init__(self, names: Sequence[str], rng: random.Random) -> None:
        self.names, self.rng = names, rng
        self.left: list[str] = []

    def draw(self, count: int) -> tuple[str, ...]:
        drawn: list[str] = []
        while len(drawn) < count:
            if not self.left:
                self.left = self.rng.sample(self.names, len(self.names))
            name = self.left.pop()
            if name not in drawn:
                drawn.append(name)
        return tuple(drawn)


def _reference(
    rng: random.Random, templates: Sequence[str], names: Sequence[str], places: Sequence[str], objects: Sequence[str]
) -> list[Prompt]:
    """At least 16 ABC prompts of each template: the population that mean ablation averages over."""
    prompts = []
    for template in templates:
        for _ in range(REFERENCE_PER_TEMPLATE):
            a, b, c = rng.sample(names, 3)
            write = _Filler(template, "ABBA", rng.choice(places), rng.choice(objects), answer=a, distractor=b)
            prompts.append(write(a, b, c))
    return prompts


def _single(tokenizer: Any, words: Sequence[str]) -> tuple[str, ...]:
    """The words of one token, so that all prompts of a template have one length."""
    kept = single_tokens(tokenizer, words)
    if not kept:
        raise UsageError(f"none of {', '.join(words)} is a single token of this tokenizer")
    return kept


def _check_answers(tokenizer: Any, data: DataSet) -> None:
    """Every name occurs where its position says it does, and the sample is diverse."""
    ids = encode_all(tokenizer, (word for prompt in data.clean.prompts for word in (prompt.answer, prompt.distractor)))
    for group in data.clean.groups:
        for i, row in enumerate(group.rows):
            prompt = data.clean.prompts[row]
            tokens = group.tokens[i].tolist()
            for position, name in ((IO, prompt.answer), (S1, prompt.distractor), (S2, prompt.distractor)):
                if ids[name] != [tokens[int(group.positions[position][i])]]:
                    raise UsageError(
                        f"{position} of {shown(prompt.text)} is not the token of {shown(name)}: a fault of this tool"
                    )
    texts = {prompt.text for prompt in data.clean.prompts}
    if len(texts) < len(data.clean):
        raise UsageError(
            f"{len(data.clean)} IOI prompts were asked for, only {len(texts)} of those drawn differ; ask for fewer"
        )
