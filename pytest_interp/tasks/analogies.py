"""Analogies: the kinds of two animals are given, and the kind of one of them is asked for.

An example is "Fido is a dog. Pebbles is a cat. So Fido is a". The wordings are this project's own. The corruptions:

- ``kinds-exchanged``: the two animals exchange their kinds, so the answer flips;
- ``asked-exchanged``: the other animal is asked about, so the answer flips;
- ``sentences-exchanged``: the two statements change places, and the answer must stay. It is a control, not a
  corruption to patch from.
"""

from __future__ import annotations

import random
from typing import Any

from pytest_interp.common.arguments import checked
from pytest_interp.tasks.dataset import DataSet, build, redrawable
from pytest_interp.tasks.prompts import Prompt
from pytest_interp.tasks.slots import Half, fill, half_of, known_templates, single_token_words

_NAMES = ("Max", "Rex", "Luna", "Daisy", "Ruby", "Oscar", "Felix", "Leo", "Bella", "Molly", "Rose", "Sam", "Ben",
          "Jack", "Charlie", "Lucy", "Sophie", "Toby", "Rocky", "Lily")  # fmt: skip
_KINDS = (
    "dog",
    "cat",
    "horse",
    "cow",
    "bird",
    "fish",
    "pig",
    "bear",
    "fox",
    "wolf",
    "rabbit",
    "duck",
    "sheep",
    "mouse",
)

_TEMPLATES = (
    "Here, {N1} is a {K1}. Next to it, {N2} is a {K2}. So {Q} is a",
    "There are two animals. The {K1} is called {N1}. The {K2} is called {N2}. As for {Q}, it is a",
    "We know that {N1} is a {K1} and that {N2} is a {K2}. Clearly, {Q} is a",
    "At home they have a {K1} named {N1} and a {K2} named {N2}. So {Q} is the name of a",
    "Today {N1} the {K1} met {N2} the {K2}. Remember: {Q} is a",
    "In this story {N1} is a {K1} while {N2} is a {K2}. In this story {Q} is a",
    "My neighbour has a {K1}, {N1}, and also a {K2}, {N2}. The one called {Q} is a",
    "Question: if {N1} is a {K1} and {N2} is a {K2}, what is {Q}? Answer: a",
    "On the farm, {N1} is the {K1} and {N2} is the {K2}. That means {Q} is the",
    "People see {N1}, a {K1}, and {N2}, a {K2}, every day. Of the two, {Q} is the",
    "First came {N1}, who is a {K1}. Then came {N2}, who is a {K2}. Now {Q} is a",
    "The vet saw a {K1} called {N1} before a {K2} called {N2}. The vet wrote that {Q} is a",
    "Both won: {N1} as the best {K1} and {N2} as the best {K2}. So {Q} is a",
    "The {K1} in the picture is {N1} and the {K2} is {N2}. In the picture, {Q} is the",
    "Nobody mixes up the {K1} {N1} and the {K2} {N2}, because {Q} is a",
    "Write it down: {N1}, {K1}; {N2}, {K2}. Again: {Q},",
)


@checked
@redrawable
def analogies(tokenizer: Any, *, half: Half, n: int, seed: int, bos: bool) -> DataSet:
    """A seeded sample of analogies; each template of a half in turn, first about the first animal, then the second.

    Positions: ASKED and OTHER (the animal that is asked about, and the other one, where they are introduced), ANSWER
    and DISTRACTOR (their kinds), QUESTION (the animal's name in the question), END.

    Args:
        tokenizer: a Hugging Face tokenizer.
        half: the half of the templates.
        n: the number of prompts.
        seed: of the random choice of names and kinds.
        bos: whether BOS stands before each prompt.

    Raises:
        NotApplicable: too few names or kinds that are single tokens, or no template that the tokenizer knows.
    """
    rng = random.Random(f"{half} {seed}")
    names = single_token_words(tokenizer, _NAMES, 2, "names")
    kinds = single_token_words(tokenizer, _KINDS, 2, "kinds of animals")
    templates = known_templates(tokenizer, half_of(_TEMPLATES, half))
    clean: list[Prompt] = []
    corrupted: dict[str, list[Prompt]] = {"kinds-exchanged": [], "asked-exchanged": [], "sentences-exchanged": []}
    for i in range(n):
        template, asked = templates[i % len(templates)], 1 + i // len(templates) % 2
        (n1, n2), (k1, k2) = rng.sample(names, 2), rng.sample(kinds, 2)
        answer, distractor = (k1, k2) if asked == 1 else (k2, k1)
        order = f"asked {'first' if asked == 1 else 'second'}"

        def prompt(words: tuple[str, str, str, str], q: str, template: str = template, asked: int = asked,
                   answer: str = answer, distractor: str = distractor, order: str = order) -> Prompt:  # fmt: skip
            text, ends = fill(template, dict(zip(("N1", "N2", "K1", "K2"), words, strict=True)) | {"Q": q})
            other = 3 - asked
            marks = {"ASKED": ends[f"N{asked}"][0], "OTHER": ends[f"N{other}"][0], "ANSWER": ends[f"K{asked}"][0],
                     "DISTRACTOR": ends[f"K{other}"][0], "QUESTION": ends["Q"][0]}  # fmt: skip
            return Prompt(text, f" {answer}", f" {distractor}", marks, template, {"order": order})

        q, not_q = (n1, n2) if asked == 1 else (n2, n1)
        clean.append(prompt((n1, n2, k1, k2), q))
        corrupted["kinds-exchanged"].append(prompt((n1, n2, k2, k1), q))
        corrupted["asked-exchanged"].append(prompt((n1, n2, k1, k2), not_q))
        corrupted["sentences-exchanged"].append(prompt((n2, n1, k2, k1), q))
    name = f"analogies/{half}"
    return build(tokenizer, clean, corrupted, None, bos=bos, name=name, population="sampled", seed=seed)
