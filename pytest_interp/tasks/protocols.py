"""Protocols: functions that change how a data set is measured, as deliberate mistakes or without any effect.

Each takes a data set and returns one with another hash. The deliberate mistakes (``WRONG``) are ones that people make:
logits read one token too early, two positions mixed up, labels of other prompts, a wrong sign. A claim must fail on
them. Other batches or another order must make no difference but for float noise.
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
    """Every run without its last token, so that logits are read one token before END."""

    def change(group: Group) -> Group:
        last = group.tokens.shape[1] - 2
        return replace(
            group, tokens=group.tokens[:, :-1], positions={k: v.clamp(max=last) for k, v in group.positions.items()}
        )

    return _each(data, end_one_earlier, change, reference=True)


def positions_one_earlier(data: DataSet) -> DataSet:
    """Every named position but END moved to the token before it.

    Raises:
        NotApplicable: the data set has no other position.
    """
    if set(data.clean.position_names) <= {END}:
        raise NotApplicable(f"{data.name} has no position but END")

    def change(group: Group) -> Group:
        earlier = {name: (index - int(name != END)).clamp(min=0) for name, index in group.positions.items()}
        return replace(group, positions=earlier)

    return _each(data, positions_one_earlier, change)


def s1_read_for_s2(data: DataSet) -> DataSet:
    """The position S2 moved to S1.

    Raises:
        NotApplicable: the data set has no S1 and S2.
    """
    if not {S1, S2} <= set(data.clean.position_names):
        raise NotApplicable(f"{data.name} has no positions S1 and S2")
    return _each(data, s1_read_for_s2, _moved(S2, to=S1))


def s2_read_for_end(data: DataSet) -> DataSet:
    """The position END moved to S2 for patching and attention; logits are still read at the last token.

    Raises:
        NotApplicable: the data set has no S2.
    """
    if S2 not in data.clean.position_names:
        raise NotApplicable(f"{data.name} has no position S2")
    return _each(data, s2_read_for_end, _moved(END, to=S2))


def names_permuted(data: DataSet) -> DataSet:
    """Each prompt scored with the answer and distractor of another prompt that shares neither with it.

    Raises:
        NotApplicable: a prompt shares a label with every other one.
    """
    labels = [{prompt.answer, prompt.distractor} for prompt in data.clean.prompts]
    n = len(labels)
    sources = []
    for row in range(n):
        # The labels come from the next prompt that shares none; after the last prompt the search starts at the first.
        later_then_earlier = chain(range(row + 1, n), range(row))
        source = next((other for other in later_then_earlier if not labels[row] & labels[other]), None)
        if source is None:
            raise NotApplicable(f"prompts of {data.name} share their answers: there are no others to score them with")
        sources.append(source)
    return _relabelled(data, names_permuted, sources, swap=False)


def answer_and_distractor_exchanged(data: DataSet) -> DataSet:
    """Each prompt scored with the distractor as its answer."""
    return _relabelled(data, answer_and_distractor_exchanged, range(len(data.clean)), swap=True)


def runs_exchanged(data: DataSet, corruption: str | None = None) -> DataSet:
    """The clean and a corrupted run exchanged; answers stay.

    Args:
        data: with at least one corruption.
        corruption: the corrupted run; by default the first one.

    Raises:
        NotApplicable: the data set has no corruption.
    """
    if not data.corrupted:
        raise NotApplicable(f"{data.name} has no corruption")
    name = corruption or next(iter(data.corrupted))
    clean, other = data.clean, data.run(name)
    pairs = zip(clean.groups, other.groups, strict=True)
    groups = tuple(replace(group, tokens=corrupted.tokens) for group, corrupted in pairs)
    exchanged = replace(clean, groups=groups, digest=_digest(clean.digest, other.digest))
    return _under(
        data,
        lambda other: runs_exchanged(other, corruption),
        clean=exchanged,
        corrupted={**data.corrupted, name: replace(clean, digest=_digest(other.digest, clean.digest))},
    )


def right_padded(pad: int) -> Protocol:
    """The protocol that pads all prompts at their ends to one token more than the longest has.

    Index -1, where logits are read, is then never END.

    Args:
        pad: the id of the token to pad with.
    """

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
    """The protocol that puts at most ``size`` prompts into a forward pass: equal numbers but for float noise.

    Args:
        size: at least 1.
    """

    def split(run: PromptSet) -> PromptSet:
        groups = tuple(
            Group(
                rows=group.rows[start : start + size],
                positions={key: index[start : start + size] for key, index in group.positions.items()},
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
    """The same prompts in another order, which is always the same: equal numbers but for float noise."""
    order = list(range(len(data.clean)))
    random.Random(1).shuffle(order)
    return data.rebuild(order)


def drawn_with(**choices: Callable[[DataSet], object]) -> Protocol:
    """The protocol that draws the task again with other choices.

    Args:
        **choices: for each argument of the task's function, such as ``seed``, a function that computes it from the data
            set.

    Raises:
        NotApplicable: (when applied) the prompts are listed, not drawn.
    """

    def change(data: DataSet) -> DataSet:
        if data.redraw is None:
            raise NotApplicable(f"{data.name} is a listed set of prompts, not drawn")
        return data.redraw(**{name: choose(data) for name, choose in choices.items()})

    return change


def _moved(name: str, *, to: str) -> Callable[[Group], Group]:
    """A change of groups: a named position gets the index of another one."""
    return lambda group: replace(group, positions={**group.positions, name: group.positions[to]})


def _each(data: DataSet, protocol: Protocol, change: Callable[[Group], Group], *, reference: bool = False) -> DataSet:
    """The data set with every group of every run changed, and of the reference too if asked."""

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
    """The changed data set; its parts (``rebuild``) and redraws (``redraw``) are changed by the same protocol."""
    draw = data.redraw
    redraw = None if draw is None else lambda **choices: protocol(draw(**choices))
    return replace(data, **changed, rebuild=lambda rows: protocol(data.rebuild(rows)), redraw=redraw)


def _relabelled(data: DataSet, protocol: Protocol, source: Sequence[int], *, swap: bool) -> DataSet:
    """The data set with other labels.

    Args:
        data: as it was.
        protocol: the change, which names the new data set's hash.
        source: for each prompt, the row of the prompt whose answer and distractor it gets.
        swap: whether answer and distractor are exchanged.
    """
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
"""The deliberate mistakes, by the names that mutants have."""

__all__ = ["WRONG", "Protocol", "drawn_with", "in_another_order", "in_batches", "right_padded"]
