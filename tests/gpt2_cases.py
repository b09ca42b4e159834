"""The prompts of the stimuli of claims/published as texts, written apart from the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from claims.published.populations import enumerated

SCENES = (
    ("When John and Mary went to the shops,{} gave the bag to", "Mary", "John"),
    ("When Tom and James went to the park,{} gave the ball to", "Tom", "James"),
    ("When Dan and Sid went to the shops,{} gave an apple to", "Dan", "Sid"),
    ("After Martin and Amy went to the park,{} gave a drink to", "Martin", "Amy"),
)
"""The eight prompts of TransformerLens's demos: each is asked with either name as the subject."""


@dataclass(frozen=True)
class Case:
    """One prompt of a stimulus.

    Attributes:
        text: up to END.
        answer: with its leading space, where it has one.
        distractor: the same.
        corrupted: the other runs' texts.
        template: which prompts it belongs to.
    """

    text: str
    answer: str
    distractor: str
    corrupted: Mapping[str, str]
    template: str = ""


def cases_of(stimulus: Mapping[str, Any]) -> Sequence[Case]:
    """The prompts of a stimulus, as texts."""
    if stimulus.get("fixture") == "p8":
        cases: list[Case] = []
        for scene, late, early in SCENES:
            for io, s in ((late, early), (early, late)):
                corrupted = {"s2-exchanged": scene.format(f" {io}")}
                cases.append(Case(scene.format(f" {s}"), f" {io}", f" {s}", corrupted))
    elif "enumerated" in stimulus:
        cases = [
            Case(prompt.text, f" {prompt.io}", f" {prompt.s}", {}, prompt.template)
            for prompt in enumerated(**stimulus["enumerated"])
        ]
    else:
        texts = _listed(stimulus["prompt"])
        answers, distractors = (_listed(stimulus[key], len(texts)) for key in ("answer", "distractor"))
        corrupted = {name: _listed(value) for name, value in (stimulus.get("corrupted") or {}).items()}
        cases = [
            Case(text, answer, distractor, {name: values[i] for name, values in corrupted.items()})
            for i, (text, answer, distractor) in enumerate(zip(texts, answers, distractors, strict=True))
        ]
    rows = stimulus.get("rows")
    if rows is None:
        return cases
    return [cases[rows]] if isinstance(rows, int) else cases[slice(*rows)]


def _listed(value: str | Sequence[str], length: int = 1) -> list[str]:
    return [value] * length if isinstance(value, str) else list(value)
