"""The edits of a batch of passes, made of their patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from pytest_interp.engine.patch import HEAD_SITES, Node, Patch, Rows, Source

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor

    from pytest_interp.checkpoints.hooks import Edit
    from pytest_interp.engine.experiment import Experiment


def edits_of(experiment: Experiment, index: int, jobs: Sequence[Sequence[Patch]], rows: Rows) -> Mapping[str, Edit]:
    """What replaces activations where several passes over the same rows stand in one batch, one after the other.

    Args:
        experiment: checkpoint and data set.
        index: of the group.
        jobs: the patches of each pass. Of an activation that not all of them have, the first ones have it.
        rows: which rows of the group run.
    """
    # A patch that several passes share is put in place in all of them at once.
    passes: dict[Patch, list[int]] = {}
    for number, job in enumerate(jobs):
        for patch in job:
            passes.setdefault(patch, []).append(number)
    parts: dict[str, list[_Part]] = {}
    for patch, numbers in passes.items():
        spare = _by_hook(experiment, patch.spare)
        for hook, nodes in _by_hook(experiment, patch.nodes).items():
            parts.setdefault(hook, []).append(_Part(patch.source, nodes, spare.get(hook, []), numbers))
    made: dict[str, Edit] = {}
    for hook, some in parts.items():
        edit = _edit(experiment, index, hook, some, rows)
        for where, one in _placed(experiment, some[0].nodes[0], hook, edit).items():
            made[where] = _after(made[where], one) if where in made else one
    return made


class _Part(NamedTuple):
    """What a patch does at one hook, in which passes of the batch."""

    source: Source
    nodes: list[Node]
    spare: list[Node]
    numbers: list[int]


def _edit(experiment: Experiment, index: int, hook: str, parts: list[_Part], rows: Rows) -> Edit:
    axis = 2 if parts[0].nodes[0].site == "pattern" else 1
    length = experiment.data.clean.groups[index].tokens.shape[1]

    def replace(value: Tensor) -> Tensor:
        count = value.shape[axis]
        out = value.reshape(-1, len(rows), *value.shape[1:]).clone()
        for source, nodes, spare, some in parts:
            if not (numbers := [number for number in some if number < len(out)]):
                continue
            mask = _mask(experiment, index, nodes, rows, out[0])
            if spare:
                mask = mask & ~_mask(experiment, index, spare, rows, out[0])
            if source.since:
                # What it says nothing about stays.
                where = torch.arange(length - count, length, device=mask.device)
                known = where >= source.since(index)[rows][:, None]
                mask = mask & known.view(len(rows), *(count if i == axis else 1 for i in range(1, mask.ndim)))
            if source.whole:
                new = torch.stack([source.give(hook, index, rows, out[number]) for number in numbers])
            else:
                new = _last(source.give(hook, index, rows, out[numbers[0]]), count, axis)[None]
            out[numbers] = torch.where(mask, new.to(out.dtype), out[numbers])
        return out.flatten(0, 1)

    return replace


def _placed(experiment: Experiment, node: Node, hook: str, edit: Edit) -> Mapping[str, Edit]:
    """Where an edit has to stand.

    The bridge's ``hook_resid_mid`` is the input of the second norm: what is put in there reaches the MLP and not the
    residual stream. So ``resid_mid`` is exchanged by the attention's output, which is what is added to ``resid_pre``.
    """
    if node.site != "resid_mid":
        return {hook: edit}
    seen: dict[str, Tensor] = {}

    def see(value: Tensor) -> Tensor:
        seen["resid_pre"] = value
        return value

    def add(value: Tensor) -> Tensor:
        return edit(seen["resid_pre"] + value) - seen["resid_pre"]

    checkpoint = experiment.checkpoint
    return {checkpoint.sites.hook("resid_pre", node.layer): see, checkpoint.sites.hook("attn_out", node.layer): add}


def _by_hook(experiment: Experiment, nodes: Sequence[Node]) -> dict[str, list[Node]]:
    by_hook: dict[str, list[Node]] = {}
    for node in nodes:
        by_hook.setdefault(experiment.checkpoint.sites.hook(node.site, node.layer), []).append(node)
    return by_hook


def _after(first: Edit, second: Edit) -> Edit:
    return lambda value: second(first(value))


def _last(value: Tensor, count: int, axis: int) -> Tensor:
    """The last positions; where there are fewer, zeros stand for the first, which nothing puts in place."""
    missing = count - value.shape[axis]
    if missing <= 0:
        return value.narrow(axis, -missing, count)
    shape = [*value.shape]
    shape[axis] = missing
    return torch.cat([value.new_zeros(shape), value], axis)


def _mask(experiment: Experiment, index: int, nodes: Sequence[Node], rows: Rows, value: Tensor) -> Bool[Tensor, ...]:
    """True where an activation is to be replaced; broadcasts over its last axis.

    Its positions are the last ones of the prompts. Shapes: ``(row, pos, 1)`` of a residual site, ``(row, pos, head,
    1)`` of q, k, v, z, ``(row, head, pos, 1)`` of patterns.
    """
    headed, pattern = nodes[0].site in HEAD_SITES, nodes[0].site == "pattern"
    length = value.shape[2] if pattern else value.shape[1]
    heads = (value.shape[1] if pattern else value.shape[2]) if headed else 1
    start = experiment.data.clean.groups[index].tokens.shape[1] - length
    mask = torch.zeros(len(rows), length, heads, dtype=torch.bool, device=value.device)
    for node in nodes:
        chosen = slice(None) if node.index is None else node.index
        for where in experiment.positions(index, node.at):
            if where is None:
                mask[:, :, chosen] = True
                continue
            shifted = where[rows] - start
            (inside,) = (shifted >= 0).nonzero(as_tuple=True)
            mask[inside, shifted[inside], chosen] = True
    if not headed:
        return mask
    return mask.transpose(1, 2)[..., None] if pattern else mask[..., None]
