"""Turns the patches of a batch of passes into edits: functions that replace an activation at a hook.

Several jobs over the same rows stand in one batch, one after the other, so an activation in a pass has the shape
``(job * row, pos, ...)``. An edit for a hook gets it and returns it with the patches of each job put in place:

1. Patches are sorted by hook. A patch that several jobs share is put in place in all of them at once.
2. For each patch a mask says where it replaces the activation: at its nodes, not at its spared nodes, and only at
   positions for which its source has values.
3. The source gives the new values, and ``torch.where`` merges them.

A pass may start at a later position. Then the activation has the last positions of the prompts only, and so have masks
and new values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from pytest_interp.engine.patch import HEAD_SITES, Node, Patch, Rows, Source

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor

    from pytest_interp.checkpoints.hooks import Edit
    from pytest_interp.engine.experiment import Experiment


def edits_of(experiment: Experiment, index: int, jobs: Sequence[Sequence[Patch]], rows: Rows) -> Mapping[str, Edit]:
    """The edits, by hook name, for a batch that concatenates several jobs over the same rows.

    Args:
        experiment: checkpoint and data set.
        index: of the group.
        jobs: the patches of each job. If an activation exists for only some jobs, those are the first ones in the
            batch.
        rows: which rows of the group run.

    Returns:
        For each hook name a function of the activation there, ``(job * row, pos, ...)``.
    """
    jobs_by_patch: dict[Patch, list[int]] = {}
    for number, job in enumerate(jobs):
        for patch in job:
            jobs_by_patch.setdefault(patch, []).append(number)
    parts_by_hook: dict[str, list[_Part]] = {}
    for patch, numbers in jobs_by_patch.items():
        spare = _by_hook(experiment, patch.spare)
        for hook, nodes in _by_hook(experiment, patch.nodes).items():
            parts_by_hook.setdefault(hook, []).append(_Part(patch.source, nodes, spare.get(hook, []), numbers))
    edits: dict[str, Edit] = {}
    for hook, parts in parts_by_hook.items():
        replace = _Replacement(experiment, index, hook, parts, rows)
        for target, edit in _at_hooks_that_are_read(experiment, parts[0].nodes[0], hook, replace).items():
            edits[target] = _chained(edits[target], edit) if target in edits else edit
    return edits


class _Part(NamedTuple):
    """What a patch does at one hook.

    Attributes:
        source: gives the new values.
        nodes: what is replaced.
        spare: what stays nevertheless.
        jobs: numbers of the jobs in the batch that have the patch.
    """

    source: Source
    nodes: list[Node]
    spare: list[Node]
    jobs: list[int]


@dataclass(frozen=True, eq=False)
class _Replacement:
    """The edit at one hook: a function of the activation.

    Attributes:
        experiment: checkpoint and data set.
        index: of the group.
        hook: the name of the activation.
        parts: what patches do there, in the order in which they are put in place.
        rows: of the group that run.
    """

    experiment: Experiment
    index: int
    hook: str
    parts: list[_Part]
    rows: Rows

    @property
    def position_axis(self) -> int:
        """The axis of positions in ``(row, pos, ...)``; of patterns ``(row, head, destination, source)`` the third."""
        return 2 if self.parts[0].nodes[0].site == "pattern" else 1

    def __call__(self, value: Tensor) -> Tensor:
        """The activation with all patches in place; shape ``(job * row, pos, ...)``, as it came."""
        by_job = value.reshape(-1, len(self.rows), *value.shape[1:]).clone()  # (job, row, pos, ...)
        for part in self.parts:
            jobs = [number for number in part.jobs if number < len(by_job)]  # later ones have not joined the batch
            if jobs:
                mask = self._mask(part, by_job[0])
                values = self._new_values(part, by_job, jobs)
                by_job[jobs] = torch.where(mask, values.to(by_job.dtype), by_job[jobs])
        return by_job.flatten(0, 1)

    def _mask(self, part: _Part, value: Tensor) -> Bool[Tensor, ...]:
        """Where a part replaces an activation ``(row, pos, ...)``; broadcasts over its last axis."""
        mask = _node_mask(self.experiment, self.index, part.nodes, self.rows, value)
        if part.spare:
            mask = mask & ~_node_mask(self.experiment, self.index, part.spare, self.rows, value)
        if part.source.first_position:
            length = self.experiment.data.clean.groups[self.index].tokens.shape[1]
            count = value.shape[self.position_axis]
            positions = torch.arange(length - count, length, device=mask.device)
            has_values = positions >= part.source.first_position(self.index)[self.rows][:, None]  # (row, pos)
            shape = [count if axis == self.position_axis else 1 for axis in range(1, mask.ndim)]
            mask = mask & has_values.view(len(self.rows), *shape)
        return mask

    def _new_values(self, part: _Part, by_job: Tensor, jobs: list[int]) -> Tensor:
        """What a source puts in place, ``(job, row, pos, ...)``.

        A source that needs no full scan does not depend on the activation: the axis of jobs then has size 1.
        """
        give, count = part.source.give, by_job.shape[1 + self.position_axis]
        if part.source.full_scan:
            return torch.stack([give(self.hook, self.index, self.rows, by_job[number]) for number in jobs])
        value = give(self.hook, self.index, self.rows, by_job[jobs[0]])
        return _last_positions(value, count, self.position_axis)[None]


def _at_hooks_that_are_read(experiment: Experiment, node: Node, hook: str, edit: Edit) -> Mapping[str, Edit]:
    """An edit at the hooks where the model reads it.

    The bridge's ``hook_resid_mid`` is the input of the second norm: what is put in there reaches the MLP and not the
    residual stream. So ``resid_mid`` is exchanged by the attention's output, which is what is added to ``resid_pre``:
    ``attn_out = edit(resid_pre + attn_out) - resid_pre``.
    """
    if node.site != "resid_mid":
        return {hook: edit}
    stream: dict[str, Tensor] = {}

    def remember(value: Tensor) -> Tensor:
        stream["resid_pre"] = value
        return value

    def exchange(attn_out: Tensor) -> Tensor:
        return edit(stream["resid_pre"] + attn_out) - stream["resid_pre"]

    sites = experiment.checkpoint.sites
    return {sites.hook("resid_pre", node.layer): remember, sites.hook("attn_out", node.layer): exchange}


def _by_hook(experiment: Experiment, nodes: Sequence[Node]) -> dict[str, list[Node]]:
    """Nodes by the hook name of their site and layer."""
    by_hook: dict[str, list[Node]] = {}
    for node in nodes:
        by_hook.setdefault(experiment.checkpoint.sites.hook(node.site, node.layer), []).append(node)
    return by_hook


def _chained(first: Edit, second: Edit) -> Edit:
    """An edit that applies two, one after the other."""
    return lambda value: second(first(value))


def _last_positions(value: Tensor, count: int, axis: int) -> Tensor:
    """The last ``count`` positions, left-padded with zeros; padded positions are masked out and never written."""
    missing = count - value.shape[axis]
    if missing <= 0:
        return value.narrow(axis, -missing, count)
    shape = [*value.shape]
    shape[axis] = missing
    return torch.cat([value.new_zeros(shape), value], axis)


def _node_mask(
    experiment: Experiment, index: int, nodes: Sequence[Node], rows: Rows, value: Tensor
) -> Bool[Tensor, ...]:
    """True where nodes are in an activation; broadcasts over its last axis.

    Args:
        experiment: checkpoint and data set.
        index: of the group.
        nodes: of one site and layer.
        rows: of the group, those of the activation.
        value: the activation, the last positions of the prompts: ``(row, pos, d_model)`` of a residual site, ``(row,
            pos, head, d_head)`` of q, k, v, z, ``(row, head, destination, source)`` of patterns.

    Returns:
        Shapes ``(row, pos, 1)``, ``(row, pos, head, 1)`` and ``(row, head, destination, 1)``.
    """
    has_heads, is_pattern = nodes[0].site in HEAD_SITES, nodes[0].site == "pattern"
    position_axis, head_axis = (2, 1) if is_pattern else (1, 2)
    count, heads = value.shape[position_axis], value.shape[head_axis] if has_heads else 1
    first = experiment.data.clean.groups[index].tokens.shape[1] - count  # the position of column 0
    mask = torch.zeros(len(rows), count, heads, dtype=torch.bool, device=value.device)
    for node in nodes:
        head = slice(None) if node.index is None else node.index
        for position in experiment.positions(index, node.at):
            if position is None:  # all positions
                mask[:, :, head] = True
                continue
            column = position[rows] - first
            (present,) = (column >= 0).nonzero(as_tuple=True)
            mask[present, column[present], head] = True
    if not has_heads:
        return mask
    return mask.transpose(1, 2)[..., None] if is_pattern else mask[..., None]
