"""Facts: a surname that the prompt has given before, and capitals that the model must know.

- ``surnames``, such as "The new teacher was Emma Stone. On the first day Emma". The corruptions: ``surname`` (another
  surname is given; the answer flips), ``first-name`` (another first name is given with the surname), ``last-name``
  (another first name is asked about).
- ``capitals``, such as "The capital of France is the city of". The corruption ``country-exchanged`` asks about the
  other country; the answer flips.
- ``alex_hart``: the stimulus of a published notebook on patching, "Her name was Alex Hart. When Alex", with the
  corruptions of ``surnames``.
"""

from __future__ import annotations

import random
from typing import Any

from pytest_interp.common.arguments import checked
from pytest_interp.errors import NotApplicable
from pytest_interp.tasks.dataset import DataSet, build, redrawable
from pytest_interp.tasks.listed import from_strings
from pytest_interp.tasks.prompts import Prompt, encode, is_single_token
from pytest_interp.tasks.shared_words import owner_of
from pytest_interp.tasks.slots import Half, fill, half_of, known_templates, single_token_words
from pytest_interp.tasks.vocabulary import decode

_FIRST = ("Alice", "Robert", "Emma", "David", "Sarah", "James", "Laura", "Michael", "Anna", "Thomas", "Julia", "Daniel",
          "Helen", "Peter", "Susan", "Mark", "Linda", "Paul", "Karen", "George")  # fmt: skip
_LAST = ("Hart", "Carroll", "Stone", "Baker", "Wood", "King", "Young", "Hill", "Green", "Bell", "Ward", "Cook", "Fox",
         "Price", "Long", "Ross", "Gray", "Brown", "White", "Black")  # fmt: skip

_SURNAME_TEMPLATES = (
    "The new teacher was {F} {L}. On the first day {F}",
    "They gave the prize to {F} {L}. Afterwards {F}",
    "A letter came for {F} {L}. The next morning {F}",
    "The doctor on duty is {F} {L}. If you need help, ask for {F}",
    "I once worked with {F} {L}. Years later I met {F}",
    "The painting was made by {F} {L}. Critics adored {F}",
    "Our guest tonight is {F} {L}. Please welcome {F}",
    "The captain, {F} {L}, was calm. Everybody trusted {F}",
    "A book by {F} {L} lay there. It was the first of {F}",
    "We voted for {F} {L}. The winner was {F}",
    "The witness was named {F} {L}. In court {F}",
    "The song was sung by {F} {L}. Nobody sings like {F}",
    "The lawyer was {F} {L}. The judge asked {F}",
    "The house belongs to {F} {L}. It was built for {F}",
    "My neighbour is called {F} {L}. Every evening {F}",
    "The report was signed by {F} {L}. Nobody but {F}",
)

_CAPITALS = (
    ("France", "Paris"),
    ("Italy", "Rome"),
    ("Japan", "Tokyo"),
    ("Germany", "Berlin"),
    ("Spain", "Madrid"),
    ("Russia", "Moscow"),
    ("China", "Beijing"),
    ("Egypt", "Cairo"),
    ("Greece", "Athens"),
    ("Ireland", "Dublin"),
    ("Poland", "Warsaw"),
    ("Austria", "Vienna"),
    ("Cuba", "Havana"),
    ("Iran", "Tehran"),
    ("Turkey", "Ankara"),
    ("Norway", "Oslo"),
)
_CAPITAL_TEMPLATES = (
    "The capital of {C} is the city of",
    "In {C}, the government sits in the city of",
    "As everybody knows, the capital city of {C} is",
    "She moved to {C} and now lives in its capital,",
    "The largest embassy in {C} stands in its capital,",
    "Question: what is the capital of {C}? Answer:",
    "The president of {C} works in the capital,",
    "Trains from all over {C} arrive in the capital,",
    "On the map of {C} the capital is marked as",
    "Tourists who visit {C} start in its capital,",
    "The parliament of {C} meets in",
    "The name of the capital of {C} is",
    "If you fly to the capital of {C}, you land in",
    "Most ministries of {C} are found in",
    "The national museum of {C} is in its capital,",
    "He studied in the capital of {C}, that is, in",
)


@checked
@redrawable
def surnames(tokenizer: Any, *, half: Half, n: int, seed: int, bos: bool) -> DataSet:
    """A seeded sample of full names whose surname is asked for; each template of a half in turn.

    Positions: FIRST (the first mention of the first name), SURNAME, END (the second mention of the first name).

    Args:
        tokenizer: a Hugging Face tokenizer.
        half: the half of the templates.
        n: the number of prompts.
        seed: of the random choice of names.
        bos: whether BOS stands before each prompt.

    Raises:
        NotApplicable: too few names that are single tokens, or no template that the tokenizer knows.
    """
    rng = random.Random(f"{half} {seed}")
    firsts = single_token_words(tokenizer, _FIRST, 2, "first names")
    lasts = single_token_words(tokenizer, _LAST, 2, "surnames")
    templates = known_templates(tokenizer, half_of(_SURNAME_TEMPLATES, half))
    clean: list[Prompt] = []
    corrupted: dict[str, list[Prompt]] = {"surname": [], "first-name": [], "last-name": []}
    for i in range(n):
        template = templates[i % len(templates)]
        (f, other_f), (last, other_l) = rng.sample(firsts, 2), rng.sample(lasts, 2)
        before, after = template.rsplit("{F}", 1)
        asking = f"{before}{{A}}{after}"

        def prompt(f1: str, f2: str, surname: str, asking: str = asking, template: str = template,
                   answer: str = last, distractor: str = other_l) -> Prompt:  # fmt: skip
            text, ends = fill(asking, {"F": f1, "A": f2, "L": surname})
            marks = {"FIRST": ends["F"][0], "SURNAME": ends["L"][0]}
            return Prompt(text, f" {answer}", f" {distractor}", marks, template)

        clean.append(prompt(f, f, last))
        corrupted["surname"].append(prompt(f, f, other_l))
        corrupted["first-name"].append(prompt(other_f, f, last))
        corrupted["last-name"].append(prompt(f, other_f, last))
    name = f"surnames/{half}"
    return build(tokenizer, clean, corrupted, None, bos=bos, name=name, population="sampled", seed=seed)


@checked
@redrawable
def capitals(tokenizer: Any, *, half: Half, n: int, seed: int, bos: bool) -> DataSet:
    """A seeded sample of countries whose capital is asked for; each template of a half in turn.

    Positions: COUNTRY, END. Only countries are used that are one token, with capitals of one token.

    Args:
        tokenizer: a Hugging Face tokenizer.
        half: the half of the templates.
        n: the number of prompts.
        seed: of the random choice of countries.
        bos: whether BOS stands before each prompt.

    Raises:
        NotApplicable: fewer than two such countries, or no template that the tokenizer knows.
    """
    rng = random.Random(f"{half} {seed}")
    pairs = [pair for pair in _CAPITALS if all(is_single_token(tokenizer, f" {word}") for word in pair)]
    if len(pairs) < 2:
        raise NotApplicable(
            f"only {len(pairs)} countries with capitals are single tokens of {owner_of(tokenizer)}; build a task of "
            "your own with from_strings"
        )
    templates = known_templates(tokenizer, half_of(_CAPITAL_TEMPLATES, half))
    clean: list[Prompt] = []
    exchanged: list[Prompt] = []
    for i in range(n):
        template = templates[i % len(templates)]
        (country, capital), (other, other_capital) = rng.sample(pairs, 2)
        for name, into in ((country, clean), (other, exchanged)):
            text, ends = fill(template, {"C": name})
            into.append(Prompt(text, f" {capital}", f" {other_capital}", {"COUNTRY": ends["C"][0]}, template))
    corrupted = {"country-exchanged": exchanged}
    name = f"capitals/{half}"
    return build(tokenizer, clean, corrupted, None, bos=bos, name=name, population="sampled", seed=seed)


@checked
def alex_hart(tokenizer: Any, *, bos: bool) -> DataSet:
    """The published prompt "Her name was Alex Hart. When Alex", and its three corruptions.

    The corruptions replace Hart by Carroll, the first Alex by Sarah, or the second Alex by Sarah. Of a surname of
    several tokens, the first is the answer.

    Args:
        tokenizer: a Hugging Face tokenizer.
        bos: whether BOS stands before the prompt.

    Raises:
        UsageError: the two surnames begin alike, or the prompts do not align.
    """
    clean = "Her name was Alex Hart. When Alex"
    answer, distractor = (decode(tokenizer, encode(tokenizer, f" {name}")[:1]) for name in ("Hart", "Carroll"))
    return from_strings(
        tokenizer,
        clean=[clean],
        answers=[answer],
        distractors=[distractor],
        corrupted={
            "surname": [clean.replace("Hart", "Carroll")],
            "first-name": [clean.replace("Alex", "Sarah", 1)],
            "last-name": ["Her name was Alex Hart. When Sarah"],
        },
        positions={"FIRST": ["Her name was Alex"], "SURNAME": ["Hart"]},
        bos=bos,
        name="alex-hart",
        population="fixed",
    )
