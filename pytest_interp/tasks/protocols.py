"""A data set measured by another protocol: what is wrong on purpose (mutants), and what must make no difference.

Each function takes a data set and returns one with another hash; nothing is drawn or tokenised again. The wrong ones
are mistakes that people make: logits read one token too early, a position mixed up, labels of other prompts, signs.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_interp.errors import NotApplicable
from pytest_interp.tasks.dataset import DataSet
from pytest_interp.tasks.positions import END, S1, S2
from pytest_interp.tasks.prompts import Group, PromptSet

if TYPE_CHECKING:
    from torch import Tensor

Protocol: TypeAlias = Callable[[DataSet], DataSet]


def end_one_earlier(data: DataSet) -> DataSet:
    """Logits are read one token before END: every run without its last token."""

    def change(group: Group) -> Group:
        last = group.tokens.shape[1] - 2
        return replace(
            group, tokens=group.tokens[:, :-1], positions={k: v.clamp(max=last) for k, v in group.positions.items()}
        )

    return _each(data, end_one_earlier, change, reference=True)


def positions_one_earlier(data: DataSet) -> DataSet:
    """Every named position but END is one token too early.

    Raises:
        NotApplicable: the data set has no other position.
    """
    if set(data.clean.position_names) <= {END}:
        raise NotApplicable(f"{data.name} has no position but END")

    def change(group: Group) -> Group:
        early = {name: (where - int(name != END)).clamp(min=0) for name, where in group.positions.items()}
        return replace(group, positions=early)

    return _each(data, positions_one_earlier, change)


def s1_read_for_s2(data: DataSet) -> DataSet:
    """The position S2 is where S1 is.

    Raises:
        NotApplicable: the data set has no S1 and S2.
    """
    if not {S1, S2} <= set(data.clean.position_names):
        raise NotApplicable(f"{data.name} has no positions S1 and S2")
    return _each(data, s1_read_for_s2, _reading(S1, where=S2))


def s2_read_for_end(data: DataSet) -> DataSet:
    """The position END is where S2 is, for what is patched or attends there; logits are read at the end all the same.

    Raises:
        NotApplicable: the data set has no S2.
    """
    if S2 not in data.clean.position_names:
        raise NotApplicable(f"{data.name} has no position S2")
    return _each(data, s2_read_for_end, _reading(S2, where=END))


def names_permuted(data: DataSet) -> DataSet:
    """Each prompt is scored with answer and distractor of another, which are not its own.

    Raises:
        NotApplicable: all prompts have the same ones.
    """
    prompts = data.clean.prompts
    own = [{prompt.answer, prompt.distractor} for prompt in prompts]
    n = len(prompts)
    # The labels of prompt i come from the first prompt after it, in a circle, that shares no word with it.
    sources = [
        next((other for other in chain(range(row + 1, n), range(row)) if not own[row] & own[other]), None)
        for row in range(n)
    ]
    source = [other for other in sources if other is not None]
    if len(source) < n:
        raise NotApplicable(f"prompts of {data.name} share their answers: there are no others to score them with")
    return _relabelled(data, names_permuted, source, swap=False)


def answer_and_distractor_exchanged(data: DataSet) -> DataSet:
    """The distractor is taken for the answer."""
    return _relabelled(data, answer_and_distractor_exchanged, range(len(data.clean)), swap=True)


def runs_exchanged(data: DataSet, corruption: str | None = None) -> DataSet:
    """A corrupted run is taken for the clean one, by default the first corruption's; answers stay.

    Raises:
        NotApplicable: the data set has no corruption.
    """
    if not data.corrupted:
        raise NotApplicable(f"{data.name} has no corruption")
    name = corruption or next(iter(data.corrupted))
    clean, other = data.clean, data.run(name)
    groups = tuple(replace(mine, tokens=theirs.tokens) for mine, theirs in zip(clean.groups, other.groups, strict=True))
    exchanged = replace(clean, groups=groups, digest=_digest(clean.digest, other.digest))
    return _under(
        data,
        lambda other: runs_exchanged(other, corruption),
        clean=exchanged,
        corrupted={**data.corrupted, name: replace(clean, digest=_digest(other.digest, clean.digest))},
    )


def right_padded(pad: int) -> Protocol:
    """Prompts are filled up at their ends to one more than the longest: index -1 is read, which is never END."""

    def padded(data: DataSet) -> DataSet:
        import torch

        longest = 1 + max(group.tokens.shape[1] for group in data.clean.groups)

        def fill(group: Group) -> Group:
            filling = torch.full((len(group.rows), longest - group.tokens.shape[1]), pad)
            return replace(group, tokens=torch.cat([group.tokens, filling], dim=1))

        return replace(_each(data, padded, fill), name=f"{data.name}, right-padded")

    padded.__name__ = f"right_padded with {pad}"
    return padded


def in_batches(size: int) -> Protocol:
    """At most ``size`` prompts in a forward pass: the same numbers but for float noise."""

    def split(run: PromptSet) -> PromptSet:
        groups = tuple(
            Group(
                rows=group.rows[start : start + size],
                positions={key: where[start : start + size] for key, where in group.positions.items()},
                tokens=group.tokens[start : start + size],
                answers=group.answers[start : start + size],
                distractors=group.distractors[start : start + size],
            )
            for group in run.groups
            for start in range(0, len(group.rows), size)
        )
        return replace(run, groups=groups, digest=_digest(run.digest, f"batches of {size}"))

    def change(data: DataSet) -> DataSet:
        corrupted = {key: split(run) for key, run in data.corrupted.items()}
        return _under(data, change, clean=split(data.clean), corrupted=corrupted)

    return change


def in_another_order(data: DataSet) -> DataSet:
    """The same prompts in another order."""
    order = list(range(len(data.clean)))
    random.Random(1).shuffle(order)
    return data.rebuild(order)


def drawn_with(**choices: Callable[[DataSet], object]) -> Protocol:
    """The task drawn again with another choice, such as ``seed``, which follows from the data set.

    Raises:
        NotApplicable: (when applied) the prompts are listed, not drawn.
    """

    def change(data: DataSet) -> DataSet:
        if data.redraw is None:
            raise NotApplicable(f"{data.name} is a listed set of prompts, not drawn")
        return data.redraw(**{name: choose(data) for name, choose in choices.items()})

    return change


def _reading(name: str, *, where: str) -> Callable[[Group], Group]:
    """A group in which one position is where another is."""
    return lambda group: replace(group, positions={**group.positions, where: group.positions[name]})


def _each(data: DataSet, protocol: Protocol, change: Callable[[Group], Group], *, reference: bool = False) -> DataSet:
    def of(run: PromptSet) -> PromptSet:
        return replace(run, groups=tuple(map(change, run.groups)), digest=_digest(run.digest, protocol.__name__))

    return _under(
        data,
        protocol,
        clean=of(data.clean),
        corrupted={key: of(run) for key, run in data.corrupted.items()},
        reference=of(data.reference) if reference and data.reference else data.reference,
    )


def _under(data: DataSet, protocol: Protocol, **changed: Any) -> DataSet:
    """A data set under a protocol that stays where some of its prompts are taken and where it is drawn again."""
    draw = data.redraw
    redraw = None if draw is None else lambda **choices: protocol(draw(**choices))
    return replace(data, **changed, rebuild=lambda rows: protocol(data.rebuild(rows)), redraw=redraw)


def _relabelled(data: DataSet, protocol: Protocol, source: Sequence[int], *, swap: bool) -> DataSet:
    """The clean run with the answer and distractor of the prompts in ``source``; exchanged if ``swap``."""
    import torch

    clean = data.clean
    answers: list[Tensor | None] = [None] * len(clean)
    distractors: list[Tensor | None] = [None] * len(clean)
    for group in clean.groups:
        for i, row in enumerate(group.rows):
            answers[row], distractors[row] = group.answers[i], group.distractors[i]
    if swap:
        answers, distractors = distractors, answers
    groups = tuple(
        replace(
            group,
            answers=torch.stack([answers[source[row]] for row in group.rows]),  # type: ignore[misc]
            distractors=torch.stack([distractors[source[row]] for row in group.rows]),  # type: ignore[misc]
        )
        for group in clean.groups
    )
    prompts = []
    for row, prompt in enumerate(clean.prompts):
        labels = clean.prompts[source[row]]
        answer, distractor = (labels.distractor, labels.answer) if swap else (labels.answer, labels.distractor)
        prompts.append(replace(prompt, answer=answer, distractor=distractor))
    new = replace(clean, groups=groups, prompts=tuple(prompts), digest=_digest(clean.digest, protocol.__name__))
    return _under(data, protocol, clean=new)


def _digest(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


WRONG: dict[str, Protocol] = {
    "END one earlier": end_one_earlier,
    "others one earlier": positions_one_earlier,
    "S1 read for S2": s1_read_for_s2,
    "S2 read for END": s2_read_for_end,
    "names permuted": names_permuted,
    "answer exchanged": answer_and_distractor_exchanged,
    "runs exchanged": runs_exchanged,
}
"""The mistakes by name."""

__all__ = ["WRONG", "Protocol", "drawn_with", "in_another_order", "in_batches", "right_padded"]
