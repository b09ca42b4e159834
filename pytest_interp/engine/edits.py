"""Turns the patches of a batch of passes into edits: functions that replace an activation at a hook.

Several jobs over the same rows stand in one batch, one after the other, so an activation in a pass has the shape
``(job * row, pos, ...)``. An edit for a hook gets it and returns it with the patches of each job put in place:

1. Patches are sorted by hook. The first one of each job is put in place, then the second of those jobs that have two
   there, and so on: one step for all jobs together.
2. A mask of each step says where it replaces the activation: at a patch's nodes, not at its spared nodes, and only at
   positions for which its source has values. It follows from the tokens, so it is worked out on the CPU.
3. The sources give the new values, and ``torch.where`` merges them.

A pass may start at a later position. Then the activation has the last positions of the prompts only, and so have masks
and new values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch

from pytest_interp.checkpoints.device import sent
from pytest_interp.checkpoints.rows import Rows
from pytest_interp.engine.patch import HEAD_SITES, Node, Patch, Source

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
    parts_by_patch: dict[Patch, dict[str, _Part]] = {}
    parts_by_hook: dict[str, dict[int, list[_Part]]] = {}  # of each job there, in order
    for number, job in enumerate(jobs):
        for patch in job:
            if patch not in parts_by_patch:
                parts_by_patch[patch] = _parts_of(experiment, patch)
            for hook, part in parts_by_patch[patch].items():
                parts_by_hook.setdefault(hook, {}).setdefault(number, []).append(part)
    edits: dict[str, Edit] = {}
    for hook, parts in parts_by_hook.items():
        replace = _Replacement(experiment, index, hook, _steps(parts), rows)
        for target, edit in _at_hooks_that_are_read(experiment, replace.node, hook, replace).items():
            edits[target] = _chained(edits[target], edit) if target in edits else edit
    return edits


class _Part(NamedTuple):
    """What a patch does at one hook.

    Attributes:
        source: gives the new values.
        nodes: what is replaced.
        spare: what stays nevertheless.
    """

    source: Source
    nodes: list[Node]
    spare: list[Node]


_Step: TypeAlias = Mapping[int, _Part]
"""What is put in place at once: for some jobs of a batch, by number, one part each."""


def _parts_of(experiment: Experiment, patch: Patch) -> dict[str, _Part]:
    """What a patch does, by hook name."""
    spare = _by_hook(experiment, patch.spare)
    nodes_by_hook = _by_hook(experiment, patch.nodes)
    return {hook: _Part(patch.source, nodes, spare.get(hook, [])) for hook, nodes in nodes_by_hook.items()}


def _steps(parts: Mapping[int, Sequence[_Part]]) -> list[_Step]:
    """The first part of each job, then the second one of each that has two, and so on."""
    count = max(map(len, parts.values()))
    return [{job: listed[i] for job, listed in parts.items() if i < len(listed)} for i in range(count)]


@dataclass(frozen=True, eq=False)
class _Replacement:
    """The edit at one hook: a function of the activation.

    Attributes:
        experiment: checkpoint and data set.
        index: of the group.
        hook: the name of the activation.
        steps: what patches do there, in order.
        rows: of the group that run.
    """

    experiment: Experiment
    index: int
    hook: str
    steps: list[_Step]
    rows: Rows

    @property
    def node(self) -> Node:
        """A node at this hook; all have its site and layer."""
        return next(iter(self.steps[0].values())).nodes[0]

    @property
    def position_axis(self) -> int:
        """The axis of positions in ``(row, pos, ...)``; of patterns ``(row, head, destination, source)`` the third."""
        return 2 if self.node.site == "pattern" else 1

    def __call__(self, value: Tensor) -> Tensor:
        """The activation with all patches in place; shape ``(job * row, pos, ...)``, as it came."""
        by_job = value.reshape(-1, len(self.rows), *value.shape[1:])  # (job, row, pos, ...)
        is_copy = False
        for step in self.steps:
            parts = {job: part for job, part in step.items() if job < len(by_job)}  # later ones have not joined
            if not parts:
                continue
            changed = by_job[min(parts) : max(parts) + 1]
            mask, new_values = self._mask(parts, changed), self._new_values(parts, changed)
            if len(changed) == len(by_job):
                by_job, is_copy = torch.where(mask, new_values, changed), True
                continue
            if not is_copy:
                by_job, is_copy = by_job.clone(), True
                changed = by_job[min(parts) : max(parts) + 1]
            torch.where(mask, new_values, changed, out=changed)
        return by_job.flatten(0, 1)

    def _mask(self, parts: _Step, by_job: Tensor) -> Bool[Tensor, "job row ..."]:
        """Where parts replace an activation ``(job, row, pos, ...)``; broadcasts over its last axis.

        It follows from the tokens alone. So it is worked out on the CPU, and sent to the device once.
        """
        first = min(parts)
        masks: dict[int, Tensor] = {}
        for part in parts.values():
            if id(part) not in masks:  # many jobs share one
                masks[id(part)] = self._part_mask(part, by_job[0])
        if len(masks) == 1 and len(parts) == len(by_job):
            mask = next(iter(masks.values()))[None]
        else:
            mask = torch.zeros(len(by_job), *next(iter(masks.values())).shape, dtype=torch.bool)
            for job, part in parts.items():
                mask[job - first] = masks[id(part)]
        return sent(mask, by_job.device)

    def _part_mask(self, part: _Part, value: Tensor) -> Bool[Tensor, "row ..."]:
        """Where a part replaces an activation ``(row, pos, ...)``; on the CPU."""
        mask = _node_mask(self.experiment, self.index, part.nodes, self.rows, value.shape)
        if part.spare:
            mask = mask & ~_node_mask(self.experiment, self.index, part.spare, self.rows, value.shape)
        if part.source.first_position:
            length = self.experiment.data.clean.groups[self.index].tokens.shape[1]
            count = value.shape[self.position_axis]
            positions = torch.arange(length - count, length)
            has_values = positions >= part.source.first_position(self.index)[self.rows.numbers][:, None]  # (row, pos)
            shape = [count if axis == self.position_axis else 1 for axis in range(1, mask.ndim)]
            mask = mask & has_values.view(len(self.rows), *shape)
        return mask

    def _new_values(self, parts: _Step, by_job: Tensor) -> Tensor:
        """What the sources of parts give, ``(job, row, pos, ...)`` in the dtype of the activation.

        A source that needs no full scan does not depend on the activation. If all jobs have the same one, the axis of
        jobs has size 1.
        """
        count, some_job = by_job.shape[1 + self.position_axis], min(parts)
        values: list[Tensor] = []
        place_of: dict[object, int] = {}  # of a source's values in that list
        places: list[int] = []  # of each job's values; any values do where its mask is False
        for job, value in enumerate(by_job, start=some_job):
            source = parts.get(job, parts[some_job]).source
            key = (source, job) if source.full_scan and job in parts else source
            if key not in place_of:
                place_of[key] = len(values)
                from_source = source.give(self.hook, self.index, self.rows, value)
                values.append(_last_positions(from_source, count, self.position_axis).to(by_job.dtype))
            places.append(place_of[key])
        return values[0][None] if len(values) == 1 else torch.stack([values[place] for place in places])


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
    experiment: Experiment, index: int, nodes: Sequence[Node], rows: Rows, shape: Sequence[int]
) -> Bool[Tensor, "row ..."]:
    """True where nodes are in an activation; broadcasts over its last axis.

    Args:
        experiment: checkpoint and data set.
        index: of the group.
        nodes: of one site and layer.
        rows: of the group, those of the activation.
        shape: of the activation, which has the last positions of the prompts: ``(row, pos, d_model)`` of a residual
            site, ``(row, pos, head, d_head)`` of q, k, v, z, ``(row, head, destination, source)`` of patterns.

    Returns:
        Shapes ``(row, pos, 1)``, ``(row, pos, head, 1)`` and ``(row, head, destination, 1)``, on the CPU.
    """
    has_heads, is_pattern = nodes[0].site in HEAD_SITES, nodes[0].site == "pattern"
    position_axis, head_axis = (2, 1) if is_pattern else (1, 2)
    count, heads = shape[position_axis], shape[head_axis] if has_heads else 1
    first = experiment.data.clean.groups[index].tokens.shape[1] - count  # the position of column 0
    mask = torch.zeros(len(rows), count, heads, dtype=torch.bool)
    for node in nodes:
        head = slice(None) if node.index is None else node.index
        for position in experiment.positions(index, node.at):
            if position is None:  # all positions
                mask[:, :, head] = True
                continue
            column = position[rows.numbers] - first
            (present,) = (column >= 0).nonzero(as_tuple=True)
            mask[present, column[present], head] = True
    if not has_heads:
        return mask
    return mask.transpose(1, 2)[..., None] if is_pattern else mask[..., None]
