"""A data set: the clean run, its corruptions, the reference for mean ablation; what identifies it is hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from types import MappingProxyType
from typing import Any

from pytest_interp.errors import UsageError, nearest
from pytest_interp.measurement import Population, Sample, check_population
from pytest_interp.tasks.prompts import Prompt, PromptSet, tokenize
from pytest_interp.text import line, shown


@dataclass(frozen=True)
class DataSet:
    """A task's prompts: the clean run, its corruptions, and the reference for mean ablation.

    Attributes:
        name: for records, such as ``ioi/confirm``.
        clean: the clean run.
        corrupted: by name; each aligned with ``clean`` prompt by prompt and token by token. Scored with
            the clean run's answers.
        reference: prompts over which mean ablation averages, by template; None where there are none.
        population: ``sampled`` from templates and names, or ``fixed``.
        seed: what it was drawn with.
        rebuild: the same of some of its prompts, by row.
        remarks: what a reader of a verdict on it must know, a sentence each.
        redraw: the same task with another ``seed`` or ``bos``; None where it was not drawn.
    """

    name: str
    clean: PromptSet
    corrupted: Mapping[str, PromptSet]
    reference: PromptSet | None
    population: Population
    seed: int | None
    rebuild: Callable[[Sequence[int]], DataSet] = field(repr=False, compare=False)
    remarks: tuple[str, ...] = ()
    redraw: Callable[..., DataSet] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_population(self.population)
        object.__setattr__(self, "corrupted", MappingProxyType(dict(self.corrupted)))
        if "clean" in self.corrupted:
            raise UsageError(
                f"a corruption of {self.name} is called 'clean', as the clean run is; give it another name"
            )

    def __repr__(self) -> str:
        """One line: how many prompts of which length, the population, corruptions, positions and reference."""
        parts = [
            f"{self.name}: {self.clean.summary}, {self.population}",
            *([f"corrupted: {', '.join(self.corrupted)}"] if self.corrupted else []),
            f"positions {', '.join(self.clean.position_names)}",
            *([f"reference of {len(self.reference)}"] if self.reference else []),
        ]
        return f"<DataSet {line('; '.join(parts), 300)}>"

    @cached_property
    def sample(self) -> Sample:
        """The clean prompts, as all measurements on this data set share them."""
        prompts = self.clean.prompts
        return Sample(
            labels=tuple(f"{prompt.text} ->{prompt.answer}" for prompt in prompts),
            clusters=tuple(prompt.template for prompt in prompts),
            population=self.population,
            names=tuple((prompt.answer.strip(), prompt.distractor.strip()) for prompt in prompts),
        )

    @property
    def digest(self) -> str:
        """The hash that identifies the data set: prompts, answers, tokens, BOS, corruptions."""
        parts = [self.clean.digest, *(f"{name}:{run.digest}" for name, run in sorted(self.corrupted.items()))]
        parts.append(self.reference.digest if self.reference else "no reference")
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]

    def run(self, name: str) -> PromptSet:
        """The run of that name: ``clean`` or a corruption.

        Raises:
            UsageError: the data set has no such corruption.
        """
        if name == "clean":
            return self.clean
        if name not in self.corrupted:
            known = ", ".join(self.corrupted) or "none"
            raise UsageError(
                f"data set {self.name} has no corruption {name!r}; it has {known}{nearest(name, self.corrupted)}"
            )
        return self.corrupted[name]

    def select(self, **tags: str) -> DataSet:
        """The prompts that carry these tags, such as ``order="ABBA"``.

        Raises:
            UsageError: no prompt carries them.
        """
        keep = [
            row
            for row, prompt in enumerate(self.clean.prompts)
            if all(prompt.tags.get(key) == value for key, value in tags.items())
        ]
        if not keep:
            seen = {key: sorted({prompt.tags.get(key, "") for prompt in self.clean.prompts}) for key in tags}
            raise UsageError(f"no prompt of {self.name} has {tags}; its values are {seen}")
        chosen = ", ".join(f"{key}={value}" for key, value in tags.items())
        return replace(self.rebuild(keep), name=f"{self.name}, {chosen}")

    def part_of(self, name: str, total: int) -> DataSet:
        """This data set, named as a part of another one of ``total`` prompts; unchanged if it is all of it."""
        count = len(self.clean)
        if count >= total:
            return self
        remark = f"part of {name}: {count} of its {total} prompts"
        return replace(self, name=f"{name}, {count} of {total}", remarks=(*self.remarks, remark))


def redrawable(draw: Callable[..., DataSet]) -> Callable[..., DataSet]:
    """Lets the data set that a task's function draws be drawn again with other choices."""

    @wraps(draw)
    def drawn(tokenizer: Any, **choices: Any) -> DataSet:
        return replace(draw(tokenizer, **choices), redraw=lambda **other: drawn(tokenizer, **{**choices, **other}))

    return drawn


def build(
    tokenizer: Any,
    clean: Sequence[Prompt],
    corrupted: Mapping[str, Sequence[Prompt]],
    reference: Sequence[Prompt] | None,
    *,
    bos: bool,
    name: str,
    population: Population,
    seed: int | None,
    remarks: tuple[str, ...] = (),
) -> DataSet:
    """Tokenises, groups and checks a data set."""
    clean_set = tokenize(tokenizer, clean, bos=bos)
    runs = {key: tokenize(tokenizer, prompts, bos=bos) for key, prompts in corrupted.items()}
    for key, run in runs.items():
        check_aligned(key, clean_set, run)

    def rebuild(rows: Sequence[int]) -> DataSet:
        part = build(
            tokenizer,
            [clean[row] for row in rows],
            {key: [prompts[row] for row in rows] for key, prompts in corrupted.items()},
            reference,
            bos=bos,
            name=name,
            population=population,
            seed=seed,
            remarks=remarks,
        )
        return part.part_of(name, len(clean))

    return DataSet(
        name=name,
        clean=clean_set,
        corrupted=runs,
        reference=tokenize(tokenizer, reference, bos=bos) if reference else None,
        population=population,
        seed=seed,
        rebuild=rebuild,
        remarks=remarks,
    )


def check_aligned(name: str, clean: PromptSet, run: PromptSet) -> None:
    """Refuses a corruption that is not aligned with the clean run prompt by prompt and token by token.

    Raises:
        UsageError: another number of prompts, or a prompt of another length.
    """
    if len(run) != len(clean):
        raise UsageError(
            f"corruption {shown(name)} has {len(run)} prompts for {len(clean)} clean ones; pass one for each"
        )
    lengths = [_lengths(clean), _lengths(run)]
    for row, (ours, theirs) in enumerate(zip(*lengths, strict=True)):
        if ours != theirs:
            raise UsageError(
                f"corruption {shown(name)}: {shown(run.prompts[row].text)} has {theirs} tokens, its clean prompt "
                f"{shown(clean.prompts[row].text)} has {ours}; patching needs the same length"
            )


def _lengths(run: PromptSet) -> Iterable[int]:
    length = {row: group.tokens.shape[1] for group in run.groups for row in group.rows}
    return [length[row] for row in range(len(run))]
