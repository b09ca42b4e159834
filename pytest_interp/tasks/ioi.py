"""Indirect object identification (Wang et al. 2022, section 2): "When Mary and John ..., John gave ... to".

Each prompt mentions IO and S, then S again; the answer is IO. In the order ABBA IO comes first, in BABA S. The
corruptions:

- ``s2-exchanged``: the second S becomes IO, so the answer flips;
- ``names-exchanged``: IO and S change places everywhere, so the answer flips and so does the order of the names;
- ``abc``: three other names, none repeated, so the question has no answer;
- ``random-names``: two other names in the same pattern.

Templates and names are divided into two halves: heads are found on one and confirmed on the other.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeAlias

from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.tasks.dataset import DataSet, build, redrawable
from pytest_interp.tasks.ioi_words import FURTHER_TEMPLATES, NAMES, OBJECTS, PLACES, TEMPLATES
from pytest_interp.tasks.positions import IO, S1, S1_NEXT, S2
from pytest_interp.tasks.prompts import Prompt, encode_all, single_tokens
from pytest_interp.tasks.shared_words import owner_of
from pytest_interp.tasks.slots import Half, fill, half_of, is_known, own_words
from pytest_interp.text import shown

Order: TypeAlias = Literal["ABBA", "BABA"]
ORDERS: tuple[Order, Order] = ("ABBA", "BABA")
REFERENCE_PER_TEMPLATE = 16
"""Reference prompts of each template, over which mean ablation averages."""


@checked
def single_token_names(tokenizer: Any, half: Half = "all") -> tuple[str, ...]:
    """The first names that are one token with their leading space.

    Args:
        tokenizer: a Hugging Face tokenizer.
        half: the half of the list of names.

    Raises:
        UsageError: fewer than four, too few for the corruption ``abc``.

    Example:
        >>> from pytest_interp import load
        >>> single_token_names(load("planted-ioi").tokenizer, "find")[:3]
        ('Mary', 'Alice', 'Emma')
    """
    names = single_tokens(tokenizer, half_of(NAMES, half))
    if len(names) < 4:
        raise UsageError(
            f"only {len(names)} of {len(half_of(NAMES, half))} first names are single tokens of {owner_of(tokenizer)}; "
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
    """A seeded sample of IOI prompts: each template of a half in both orders in turn.

    Names are drawn without repetition until all have been used.

    Args:
        tokenizer: a Hugging Face tokenizer.
        half: the half of templates and names; ``find`` and ``confirm`` share neither.
        n: the number of prompts, at least 2; a multiple of twice the number of templates is best.
        seed: of the random choice of names, places and objects.
        bos: whether BOS stands before each prompt.

    Returns:
        The data set with four corruptions, and a reference of 16 ABC prompts for each template.

    Raises:
        UsageError: n < 2, or too few single-token names.

    Example:
        >>> from pytest_interp import load
        >>> data = ioi(load("planted-ioi").tokenizer, half="confirm", n=24, seed=0, bos=True)
        >>> data.clean.position_names, list(data.corrupted)
        (('IO', 'S1', 'S2', 'S1+1', 'END'), ['s2-exchanged', 'names-exchanged', 'abc', 'random-names'])
    """
    # Templates change fastest, so that a sample smaller than the grid takes different templates first: of the templates
    # 1, 2 and 3 it is 1 ABBA, 2 ABBA, 3 ABBA, 1 BABA, 2 BABA, 3 BABA.
    cells = [(template, order) for order in ORDERS for template in half_of(TEMPLATES, half)]
    return _drawn(tokenizer, "ioi", cells, half=half, n=n, seed=seed, bos=bos)


@checked
@redrawable
def ioi_wordings(
    tokenizer: Any,
    *,
    half: Half,
    n: int,
    seed: int,
    bos: bool,
) -> DataSet:
    """A seeded sample of IOI prompts in many wordings: 40 templates a half where the tokenizer knows their words.

    Intervals over templates are about half as wide as those of :func:`ioi`, which has 12 a half. Everything else is as
    there.

    Args:
        tokenizer: a Hugging Face tokenizer.
        half: the half of templates and names; ``find`` and ``confirm`` share neither.
        n: the number of prompts, at least 2; a multiple of the number of templates is best.
        seed: of the random choice of names, places and objects.
        bos: whether BOS stands before each prompt.

    Returns:
        The data set with four corruptions, and a reference of 16 ABC prompts for each template.

    Raises:
        UsageError: n < 2, or too few single-token names.

    Example:
        >>> from pytest_interp import load
        >>> data = ioi_wordings(load("planted-ioi").tokenizer, half="find", n=24, seed=0, bos=True)
        >>> data.name, len(set(data.sample.clusters))  # planted models know the words of the usual wordings alone
        ('ioi_wordings/find', 12)
    """
    further = [template for template in half_of(FURTHER_TEMPLATES, half) if is_known(tokenizer, own_words(template))]
    templates = (*half_of(TEMPLATES, half), *further)
    # Orders alternate, so that few prompts have both: of three templates it is 1 ABBA, 2 BABA, 3 ABBA, 1 BABA, 2 ABBA.
    cells = [(template, ORDERS[(i + turn) % 2]) for turn in (0, 1) for i, template in enumerate(templates)]
    return _drawn(tokenizer, "ioi_wordings", cells, half=half, n=n, seed=seed, bos=bos)


@checked
def ioi_grid(tokenizer: Any, pairs: Collection[tuple[str, str]], *, half: Half, bos: bool) -> DataSet:
    """IOI prompts of these pairs of names, with each template of a half in both orders; nothing is drawn.

    Args:
        tokenizer: a Hugging Face tokenizer.
        pairs: (IO, S) of each pair.
        half: the half of the templates.
        bos: whether BOS stands before each prompt.

    Returns:
        A fixed population without corruptions; place and object are the same in all prompts.

    Raises:
        UsageError: a name of several tokens, or a pair of equal names.

    Example:
        >>> from pytest_interp import load
        >>> len(ioi_grid(load("planted-ioi").tokenizer, [("Mary", "John")], half="find", bos=True).clean)
        24
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
    """A data set of a single IOI prompt, with every choice passed by the caller.

    Args:
        tokenizer: a Hugging Face tokenizer.
        io: the answer, without its leading space.
        s: the subject.
        wording: the index of the template in its half, modulo their number.
        order: ``ABBA`` or ``BABA``.
        place: the index of the place, modulo their number.
        thing: the index of the object, modulo their number.
        half: the half of the templates.
        bos: whether BOS stands before the prompt.

    Returns:
        A fixed population of one prompt, without corruptions.

    Example:
        >>> from pytest_interp import load
        >>> tokenizer = load("planted-ioi").tokenizer
        >>> data = ioi_prompt(
        ...     tokenizer, "Mary", "John", wording=0, order="ABBA", place=0, thing=0, half="find", bos=True
        ... )
        >>> data.clean.prompts[0].text
        'When Mary and John arrived at the market, John handed a book to'
    """
    _check_names(io, s)
    templates, places, objects = half_of(TEMPLATES, half), _single(tokenizer, PLACES), _single(tokenizer, OBJECTS)
    write = _Filler(
        templates[wording % len(templates)], order, places[place % len(places)], objects[thing % len(objects)],
        answer=io, distractor=s,
    )  # fmt: skip
    return build(tokenizer, [write(io, s, s)], {}, None, bos=bos, name="ioi-prompt", population="fixed", seed=None)


def _drawn(
    tokenizer: Any, name: str, cells: Sequence[tuple[str, Order]], *, half: Half, n: int, seed: int, bos: bool
) -> DataSet:
    """Prompts of templates and orders in turn, as :func:`ioi` describes them."""
    if n < 2:
        raise UsageError(f"--interp-prompts is {n}; pass at least 2")
    rng = random.Random(f"{half} {seed}")
    names = single_token_names(tokenizer, half)
    places, objects = _single(tokenizer, PLACES), _single(tokenizer, OBJECTS)
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
    templates = list(dict.fromkeys(template for template, _ in cells))
    reference = _reference(rng, templates, names, places, objects)
    data = build(
        tokenizer, clean, corrupted, reference, bos=bos, name=f"{name}/{half}", population="sampled", seed=seed
    )
    _check_answers(tokenizer, data)
    return data


def _check_names(io: str, s: str) -> None:
    """Refuses a name that is empty or has spaces around it.

    Raises:
        UsageError: such a name.
    """
    if wrong := [name for name in (io, s) if not name or name != name.strip()]:
        raise UsageError(f"{shown(wrong[0])} is no name; pass one without spaces around it, such as 'Mary'")


class _Filler:
    """Writes the prompts of one template, place and object with different names; all have the clean prompt's answer."""

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
    """The number of characters up to the end of the next word or punctuation mark."""
    start = 1 if text.startswith(" ") else 0
    if not text[start].isalnum():
        return start + 1
    stop = start
    while stop < len(text) and text[stop].isalnum():
        stop += 1
    return stop


class _Bag:
    """Draws names without repetition until all have been used, then starts again with all of them."""

    def __init__(self, names: Sequence[str], rng: random.Random) -> None:
        self.names, self.rng = names, rng
        self.undrawn: list[str] = []

    def draw(self, count: int) -> tuple[str, ...]:
        """So many different names."""
        drawn: list[str] = []
        while len(drawn) < count:
            if not self.undrawn:
                self.undrawn = self.rng.sample(self.names, len(self.names))
            name = self.undrawn.pop()
            if name not in drawn:
                drawn.append(name)
        return tuple(drawn)


def _reference(
    rng: random.Random, templates: Sequence[str], names: Sequence[str], places: Sequence[str], objects: Sequence[str]
) -> list[Prompt]:
    """16 ABC prompts of each template: the population that mean ablation averages over."""
    prompts = []
    for template in templates:
        for _ in range(REFERENCE_PER_TEMPLATE):
            a, b, c = rng.sample(names, 3)
            write = _Filler(template, "ABBA", rng.choice(places), rng.choice(objects), answer=a, distractor=b)
            prompts.append(write(a, b, c))
    return prompts


def _single(tokenizer: Any, words: Sequence[str]) -> tuple[str, ...]:
    """The words that are one token, so that all prompts of a template have one length.

    Raises:
        UsageError: none is.
    """
    single = single_tokens(tokenizer, words)
    if not single:
        raise UsageError(f"none of {', '.join(words)} is a single token of {owner_of(tokenizer)}")
    return single


def _check_answers(tokenizer: Any, data: DataSet) -> None:
    """Checks that the token at each named position is the name that it stands for, and that all prompts differ.

    Raises:
        UsageError: another token, or equal prompts.
    """
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
