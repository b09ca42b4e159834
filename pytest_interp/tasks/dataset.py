"""Data sets: the clean prompts of a task, their corruptions, and the reference prompts for mean ablation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from types import MappingProxyType
from typing import Any

from pytest_interp.errors import UsageError, nearest
from pytest_interp.measurement import Population, Sample, check_population
from pytest_interp.tasks.prompts import Prompt, PromptSet, tokenize
from pytest_interp.text import counted, line, shown


@dataclass(frozen=True)
class DataSet:
    """A task's prompts: the clean run, its corruptions, and the reference for mean ablation.

    Attributes:
        name: as records show it, such as ``ioi/confirm``.
        clean: the prompts of the clean run.
        corrupted: the prompts of each corrupted run, by name; each run is aligned with ``clean`` prompt by prompt and
            token by token, and is scored with the answers of the clean run.
        reference: the prompts over which mean ablation averages, by template; None without such prompts.
        population: ``sampled`` from templates and names, or ``fixed``.
        seed: the seed it was drawn with; None where nothing was drawn.
        rebuild: makes the data set of some of its prompts, from their rows.
        remarks: what a reader of a verdict on it must know, a sentence each.
        redraw: draws the task again with another ``seed`` or ``bos``; None for listed prompts.

    Example:
        >>> from pytest_interp import load
        >>> from pytest_interp.tasks import ioi
        >>> data = ioi(load("planted-ioi").tokenizer, half="confirm", n=24, seed=0, bos=True)
        >>> len(data.select(order="ABBA").clean)
        12
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

    @property
    def sample(self) -> Sample:
        """The prompts of the clean run, as all measurements of it share them."""
        return self.samples["clean"]

    @cached_property
    def samples(self) -> Mapping[str, Sample]:
        """The prompts of each run, with the answers, templates and names of the clean run."""
        prompts = self.clean.prompts
        clean = Sample(
            labels=tuple(f"{prompt.text} ->{prompt.answer}" for prompt in prompts),
            clusters=tuple(prompt.template for prompt in prompts),
            population=self.population,
            names=tuple((prompt.answer.strip(), prompt.distractor.strip()) for prompt in prompts),
        )
        corrupted = {
            name: replace(
                clean,
                labels=tuple(
                    f"{other.text} ->{prompt.answer}" for other, prompt in zip(run.prompts, prompts, strict=True)
                ),
            )
            for name, run in self.corrupted.items()
        }
        return {"clean": clean, **corrupted}

    @property
    def digest(self) -> str:
        """The hash that identifies the data set: 12 hex digits over prompts, answers, tokens, BOS and corruptions."""
        parts = [self.clean.digest, *(f"{name}:{run.digest}" for name, run in sorted(self.corrupted.items()))]
        parts.append(self.reference.digest if self.reference else "no reference")
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]

    @property
    def texts(self) -> str:
        """The hash of prompts, answers and corruptions as texts: the same for all tokenizers, with BOS and without."""
        runs = [self.clean, *(run for _, run in sorted(self.corrupted.items())), *filter(None, [self.reference])]
        content = [[(prompt.text, prompt.answer, prompt.distractor) for prompt in run.prompts] for run in runs]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]

    def run(self, name: str) -> PromptSet:
        """The prompts of a run.

        Args:
            name: ``clean`` or a corruption.

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
        """The data set of the prompts that carry these tags.

        Args:
            **tags: the value of each tag, such as ``order="ABBA"``.

        Raises:
            UsageError: no prompt carries them.
        """
        rows = [
            row
            for row, prompt in enumerate(self.clean.prompts)
            if all(prompt.tags.get(key) == value for key, value in tags.items())
        ]
        if not rows:
            values = {key: sorted({prompt.tags.get(key, "") for prompt in self.clean.prompts}) for key in tags}
            raise UsageError(f"no prompt of {self.name} has {tags}; its values are {values}")
        selection = ", ".join(f"{key}={value}" for key, value in tags.items())
        return replace(self.rebuild(rows), name=f"{self.name}, {selection}")

    def part_of(self, name: str, total: int) -> DataSet:
        """This data set, named and marked as a part of a larger one; unchanged if it has all of its prompts.

        Args:
            name: of the larger data set.
            total: the number of its prompts.
        """
        count = len(self.clean)
        if count >= total:
            return self
        remark = f"part of {name}: {count} of its {counted(total, 'prompt')}"
        return replace(self, name=f"{name}, {count} of {total}", remarks=(*self.remarks, remark))


def redrawable(draw: Callable[..., DataSet]) -> Callable[..., DataSet]:
    """A decorator for a task's function: its data sets can be drawn again with other choices (``DataSet.redraw``)."""

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
    """Tokenises the prompts of a data set, groups them by token length, and checks them.

    Args:
        tokenizer: a Hugging Face tokenizer.
        clean: the prompts of the clean run.
        corrupted: the prompts of each corruption, aligned with ``clean``.
        reference: the prompts over which mean ablation averages; None without them.
        bos: whether BOS stands before each prompt.
        name: as records show it.
        population: ``sampled`` or ``fixed``.
        seed: the seed it was drawn with; None where nothing was drawn.
        remarks: what a reader of a verdict on it must know, a sentence each.

    Raises:
        UsageError: a prompt that ``tokenize`` refuses, or a corruption that is not aligned.
    """
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

    Args:
        name: of the corruption.
        clean: the clean run.
        run: the corrupted run.

    Raises:
        UsageError: another number of prompts, or a prompt of another token length.
    """
    if len(run) != len(clean):
        raise UsageError(
            f"corruption {shown(name)} has {counted(len(run), 'prompt')} for {len(clean)} clean ones; pass one for each"
        )
    lengths = zip(_lengths(clean), _lengths(run), strict=True)
    for row, (clean_length, corrupted_length) in enumerate(lengths):
        if clean_length != corrupted_length:
            raise UsageError(
                f"corruption {shown(name)}: {shown(run.prompts[row].text)} has {corrupted_length} tokens, its clean "
                f"prompt {shown(clean.prompts[row].text)} has {clean_length}; patching needs the same length"
            )


def _lengths(run: PromptSet) -> Iterable[int]:
    """The token length of each prompt, in data-set order."""
    length = {row: group.tokens.shape[1] for group in run.groups for row in group.rows}
    return [length[row] for row in range(len(run))]
