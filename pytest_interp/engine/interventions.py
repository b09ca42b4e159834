"""What is put in place of an activation, and where: nodes, sources, and the edits of a pass made of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from pytest_interp.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Edit
    from pytest_interp.engine.experiment import Experiment
    from pytest_interp.tasks import Group, PromptSet

At: TypeAlias = str | int | Sequence[str | int] | None
"""A named position, an index where all prompts have one length, several of them, or None for all positions."""

Source: TypeAlias = Callable[[str, int, "Tensor"], "Tensor"]
"""What an activation becomes: gets its hook name, the group's index and its value, returns a whole new one."""

Edits: TypeAlias = Callable[[int, "Group"], Mapping[str, "Edit"]]
Ablation: TypeAlias = Literal["mean", "zero", "resample", "permute"]
ABLATIONS: tuple[Ablation, ...] = ("mean", "zero", "resample", "permute")

HEAD_SITES = ("z", "q", "k", "v", "pattern")
LAYER_SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")


@dataclass(frozen=True)
class Node:
    """A part of an activation.

    Attributes:
        site: such as ``z`` or ``resid_pre``.
        layer: from 0.
        index: the head along the activation's own head axis (for ``k`` and ``v`` the key-value head); None for
            sites without one, or for all heads.
        at: which positions (for ``pattern``: destinations).
    """

    site: str
    layer: int
    index: int | None = None
    at: At = None


def overwrite(experiment: Experiment, nodes: Iterable[Node], source: Source, *, spare: Iterable[Node] = ()) -> Edits:
    """The edits that put a source in place at these nodes, but not at the spared ones, and leave the rest as it is."""
    by_hook, spared = _by_hook(experiment, nodes), _by_hook(experiment, spare)

    def edits(index: int, _: Group) -> Mapping[str, Edit]:
        def edit(hook: str) -> Edit:
            def replace(value: Tensor) -> Tensor:
                mask = mask_of(experiment, index, by_hook[hook], value)
                if hook in spared:
                    mask = mask & ~mask_of(experiment, index, spared[hook], value)
                return torch.where(mask, source(hook, index, value).to(value.dtype), value)

            return replace

        made: dict[str, Edit] = {}
        for hook, some in by_hook.items():
            for where, one in _placed(experiment, some[0], hook, edit(hook)).items():
                made[where] = _after(made[where], one) if where in made else one
        return made

    return edits


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
    return {checkpoint.hook("resid_pre", node.layer): see, checkpoint.hook("attn_out", node.layer): add}


def _by_hook(experiment: Experiment, nodes: Iterable[Node]) -> dict[str, list[Node]]:
    by_hook: dict[str, list[Node]] = {}
    for node in nodes:
        by_hook.setdefault(experiment.checkpoint.hook(node.site, node.layer), []).append(node)
    return by_hook


def together(*several: Edits) -> Edits:
    """Edits of the same passes, at different hooks or one after the other at the same."""

    def edits(index: int, group: Group) -> Mapping[str, Edit]:
        merged: dict[str, Edit] = {}
        for some in several:
            for hook, edit in some(index, group).items():
                merged[hook] = _after(merged[hook], edit) if hook in merged else edit
        return merged

    return edits


def _after(first: Edit, second: Edit) -> Edit:
    return lambda value: second(first(value))


def mask_of(experiment: Experiment, index: int, nodes: Sequence[Node], value: Tensor) -> Bool[Tensor, ...]:
    """True where an activation of a group is to be replaced; broadcasts over its last axis.

    Shapes: ``(row, pos, 1)`` of a residual site, ``(row, pos, head, 1)`` of q, k, v, z, ``(row, head, pos, 1)`` of
    patterns.
    """
    headed, pattern = nodes[0].site in HEAD_SITES, nodes[0].site == "pattern"
    # Copies of a group in one batch (engine.path_patching) are masked alike.
    rows, length = value.shape[0], value.shape[2] if pattern else value.shape[1]
    heads = (value.shape[1] if pattern else value.shape[2]) if headed else 1
    mask = torch.zeros(rows, length, heads, dtype=torch.bool, device=value.device)
    for node in nodes:
        chosen = slice(None) if node.index is None else node.index
        for where in positions_of(experiment, index, node.at):
            if where is None:
                mask[:, :, chosen] = True
            else:
                copies = rows // len(where)
                mask[torch.arange(rows, device=mask.device), where.repeat(copies), chosen] = True
    if not headed:
        return mask
    return mask.transpose(1, 2)[..., None] if pattern else mask[..., None]


def positions_of(experiment: Experiment, index: int, at: At) -> list[Tensor | None]:
    """The index in each row for each position that ``at`` names; ``[None]`` for all positions.

    Runs are aligned token by token, so a position of the clean run is that of every other.
    """
    if at is None:
        return [None]
    group = experiment.data.clean.groups[index]
    several = [at] if isinstance(at, str | int) else list(at)
    if not several:
        raise UsageError("an empty list of positions was passed; name one, or pass None for all positions")
    found: list[Tensor | None] = []
    for one in several:
        if isinstance(one, str):
            found.append(experiment.position(group, one))
            continue
        lengths = sorted({g.tokens.shape[1] for g in experiment.data.clean.groups})
        if len(lengths) > 1:
            raise UsageError(
                f"position {one} is an index, but the prompts of {experiment.data.name} have {len(lengths)} lengths "
                f"({lengths[0]} to {lengths[-1]}); name a position, such as {experiment.data.clean.position_names[0]}"
            )
        if not 0 <= one < lengths[0]:
            raise UsageError(f"position {one} is not in prompts of {lengths[0]} tokens; pass 0 to {lengths[0] - 1}")
        found.append(torch.full((len(group.rows),), one, device=experiment.checkpoint.device))
    return found


def text_of(at: At) -> str | int | list[str | int]:
    """Positions for records."""
    return "all positions" if at is None else at if isinstance(at, str | int) else list(at)


def from_run(experiment: Experiment, nodes: Iterable[Node], run: str) -> Source:
    """The activations of another, unedited run of the same prompts."""
    hooks = sorted({experiment.checkpoint.hook(node.site, node.layer) for node in nodes})
    kept = experiment.activations(hooks, experiment.data.run(run))
    return lambda hook, index, value: _copies(kept[hook][index], value)


def ablated(experiment: Experiment, nodes: Iterable[Node], how: Ablation, *, seed: int = 0) -> Source:
    """What ablation puts in place.

    ``zero``; ``mean``: the mean over reference prompts (for IOI: three different names, at least 16) of the same
    template and token length, position by position; ``resample``: one of these reference prompts, drawn for each
    prompt; ``permute``: the head's own numbers of the same prompt, shuffled over positions and dimensions.

    Raises:
        UsageError: an unknown ablation; a data set without a reference, or one that lacks a template or has it in
            another length.
    """
    if how not in ABLATIONS:
        raise UsageError(f"ablation is {how!r}; allowed: {', '.join(map(repr, ABLATIONS))}")
    if how == "zero":
        return lambda hook, index, value: torch.zeros_like(value)  # noqa: ARG005
    if how == "permute":
        return lambda hook, index, value: _permuted(value, f"{hook} {index}", seed)
    hooks = sorted({experiment.checkpoint.hook(node.site, node.layer) for node in nodes})
    pools = _reference_rows(experiment)
    kept = experiment.activations(hooks, _reference(experiment))
    generator = torch.Generator().manual_seed(seed)
    prompts = experiment.data.clean.prompts
    draws = torch.randint(2**31, (len(prompts),), generator=generator).tolist()

    def source(hook: str, index: int, value: Tensor) -> Tensor:
        made = []
        for row in experiment.data.clean.groups[index].rows:
            where, rows = pools[prompts[row].template]
            pool = kept[hook][where]
            made.append(pool[rows].mean(0) if how == "mean" else pool[rows[draws[row] % len(rows)]])
        return _copies(torch.stack(made), value)

    return source


def _reference(experiment: Experiment) -> PromptSet:
    reference = experiment.data.reference
    if reference is None:
        raise UsageError(
            f"data set {experiment.data.name} has no reference prompts to take means over; "
            "pass ablation='zero' or 'permute', or use the IOI set"
        )
    return reference


def _reference_rows(experiment: Experiment) -> Mapping[str, tuple[int, list[int]]]:
    """For each template of the clean run: the group of its reference prompts, and their rows in it."""
    reference, data = _reference(experiment), experiment.data
    pools: dict[str, tuple[int, list[int]]] = {}
    lengths: dict[str, int] = {}
    for index, group in enumerate(reference.groups):
        for i, row in enumerate(group.rows):
            template = reference.prompts[row].template
            if lengths.setdefault(template, group.tokens.shape[1]) != group.tokens.shape[1]:
                raise UsageError(
                    f"the reference prompts of the template {template!r} have several token lengths; "
                    "a mean by position needs one"
                )
            pools.setdefault(template, (index, []))[1].append(i)
    for group in data.clean.groups:
        for row in group.rows:
            template = data.clean.prompts[row].template
            if template not in pools:
                raise UsageError(f"the reference of {data.name} has no prompts of the template {template!r}")
            if lengths[template] != group.tokens.shape[1]:
                raise UsageError(
                    f"the reference prompts of the template {template!r} have {lengths[template]} tokens, the prompt "
                    f"{data.clean.prompts[row].text!r} has {group.tokens.shape[1]}; means are taken at equal length"
                )
    return pools


def _permuted(value: Tensor, label: str, seed: int) -> Tensor:
    """The numbers of each head of each prompt in another order, over positions and dimensions."""
    from transformer_lens.utilities.statistics import derive_generator

    rows, length, heads, width = value.shape
    generator = derive_generator(seed, label)
    flat = value.permute(0, 2, 1, 3).reshape(rows, heads, length * width)
    order = torch.rand(flat.shape, generator=generator).argsort(-1).to(value.device)
    return flat.gather(-1, order).reshape(rows, heads, length, width).permute(0, 2, 1, 3)


def _copies(new: Tensor, value: Tensor) -> Tensor:
    """A group's activation, repeated where a batch holds several copies of the group."""
    return new.repeat(value.shape[0] // new.shape[0], *(1 for _ in new.shape[1:]))
