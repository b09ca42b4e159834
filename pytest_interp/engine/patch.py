"""What is put in place of an activation, and where: nodes, sources, and the patches of a pass made of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from pytest_interp.checkpoints.value_bias import check_value_bias
from pytest_interp.errors import UsageError
from pytest_interp.tasks.positions import At
from pytest_interp.text import shown

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine.experiment import Experiment
    from pytest_interp.tasks import PromptSet

Rows: TypeAlias = "Int[Tensor, ' row']"

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

    def __post_init__(self) -> None:
        if isinstance(self.at, list):  # which has no hash
            object.__setattr__(self, "at", tuple(self.at))


@dataclass(frozen=True, eq=False)
class Source:
    """What activations become.

    Attributes:
        give: gets a hook name, the group's index, the rows of it that run and their activation; returns theirs, which
            may have more positions than the activation: its last ones count.
        run: the unedited run that it is of, if it is of one.
        full_scan: whether it needs the activation at every position.
        first_position: gets the group's index; per row, the first position for which the source has values. None means
            every position.
    """

    give: Callable[[str, int, Rows, Tensor], Tensor]
    run: str | None = None
    full_scan: bool = False
    first_position: Callable[[int], Rows] | None = None


@dataclass(frozen=True, eq=False)
class Patch:
    """Nodes and what is put there, but not at the spared ones."""

    nodes: tuple[Node, ...]
    source: Source
    spare: tuple[Node, ...] = ()


def from_run(experiment: Experiment, nodes: Iterable[Node], run: str) -> Source:
    """The activations of another, unedited run of the same prompts."""
    hooks = sorted({experiment.checkpoint.sites.hook(node.site, node.layer) for node in nodes})
    kept = experiment.activations(hooks, experiment.data.run(run))
    return Source(lambda hook, index, rows, _: kept[hook][index][rows], run=run)


def recorded(activations: Mapping[str, Sequence[Tensor]], first_position: Callable[[int], Rows]) -> Source:
    """Activations that a patched pass kept, by hook name and group; they may lack the first positions."""
    return Source(lambda hook, index, rows, _: activations[hook][index][rows], first_position=first_position)


def ablated(
    experiment: Experiment,
    nodes: Iterable[Node],
    how: Ablation,
    *,
    seed: int = 0,
    value_bias: ValueBias = "kept",
) -> Source:
    """What ablation puts in place of heads' outputs z.

    ``zero``; ``mean``: the mean over reference prompts (for IOI: three different names, at least 16) of the same
    template and token length, position by position; ``resample``: one of these reference prompts, drawn for each
    prompt; ``permute``: the head's own numbers of the same prompt, shuffled over positions and dimensions.

    After ``zero`` what the value bias writes stays in the run (``kept``), or goes too (``removed``). A mean and another
    prompt's z have the same bias as the z that they replace: there both are equal.

    Raises:
        UsageError: an unknown ablation or value bias; ``permute`` with ``removed``; a data set without a reference, or
            one that lacks a template or has it in another length.
    """
    if how not in ABLATIONS:
        raise UsageError(f"ablation is {shown(how)}; allowed: {', '.join(map(repr, ABLATIONS))}")
    check_value_bias(value_bias)
    if how == "zero":
        return _nothing(experiment, nodes, value_bias)
    if how == "permute":
        if value_bias == "removed":
            raise UsageError(
                "permute shuffles z without its value bias, which stays in the run: with value_bias='removed' there is "
                "no such ablation; leave value_bias out, or pass ablation='zero'"
            )
        sizes = [len(group.rows) for group in experiment.data.clean.groups]
        return Source(
            lambda hook, index, rows, value: _permuted(value, rows, sizes[index], f"{hook} {index}", seed),
            full_scan=True,
        )
    hooks = sorted({experiment.checkpoint.sites.hook(node.site, node.layer) for node in nodes})
    pools = _reference_rows(experiment)
    stand_in = _mean(experiment, hooks, pools) if how == "mean" else _drawn(experiment, hooks, pools, seed)

    def give(hook: str, index: int, rows: Rows, _: Tensor) -> Tensor:
        in_order = experiment.data.clean.groups[index].rows
        return torch.stack([stand_in(hook, in_order[i]) for i in rows.tolist()])

    return Source(give)


def _nothing(experiment: Experiment, nodes: Iterable[Node], value_bias: ValueBias) -> Source:
    """The z of heads that write nothing, or nothing but their value bias."""
    layers = {experiment.checkpoint.sites.hook(node.site, node.layer): node.layer for node in nodes}
    # If the bias goes, it is z with its bias in it that is zero; if it stays, z without.
    zero_at: ValueBias = "kept" if value_bias == "removed" else "removed"

    def give(hook: str, index: int, rows: Rows, value: Tensor) -> Tensor:  # noqa: ARG001
        return torch.zeros_like(value) - bias_by_head(experiment.checkpoint, layers[hook], value.shape[-2], zero_at)

    return Source(give)


def bias_by_head(checkpoint: Checkpoint, layer: int, heads: int, value_bias: ValueBias) -> Float[Tensor, "head d_head"]:
    """What is added to v or z of a layer for it to hold the value bias, or to lack it, head by head.

    Args:
        checkpoint: the loaded model.
        layer: from 0.
        heads: how many the activation has; query heads that share a key-value head share its bias.
        value_bias: ``kept`` or ``removed``.

    Raises:
        NotApplicable: the biases are not known.
    """
    bias = checkpoint.weights.value_bias(layer, value_bias)
    return bias.repeat_interleave(heads // len(bias), dim=0)


_Pools: TypeAlias = Mapping[str, tuple[int, list[int]]]
_StandIn: TypeAlias = Callable[[str, int], "Tensor"]
"""Gets a hook name and a prompt's row in the data set; returns what comes in place of its activation."""


def _drawn(experiment: Experiment, hooks: Sequence[str], pools: _Pools, seed: int) -> _StandIn:
    """One reference prompt for each prompt."""
    kept, prompts = experiment.activations(hooks, _reference(experiment)), experiment.data.clean.prompts
    draws = torch.randint(2**31, (len(prompts),), generator=torch.Generator().manual_seed(seed)).tolist()

    def stand_in(hook: str, row: int) -> Tensor:
        index, others = pools[prompts[row].template]
        return kept[hook][index][others[draws[row] % len(others)]]

    return stand_in


def _mean(experiment: Experiment, hooks: Sequence[str], pools: _Pools) -> _StandIn:
    """The mean over the template's reference prompts at each position; of all layers from one pass, and kept."""
    checkpoint, reference, prompts = experiment.checkpoint, _reference(experiment), experiment.data.clean.prompts
    memo = checkpoint.guard.memory
    means = {hook: memo.get((reference.digest, hook, "means")) for hook in hooks}
    if missing := [hook for hook, found in means.items() if found is None]:
        largest = max(reference.groups, key=lambda group: group.tokens.numel())
        wanted = checkpoint.with_other_layers(missing, [largest])
        made: dict[str, dict[str, Tensor]] = {hook: {} for hook in wanted}
        for index, group in enumerate(reference.groups):
            kept = checkpoint.run(group.tokens, keep=wanted).activations
            for template, rows in ((name, rows) for name, (where, rows) in pools.items() if where == index):
                for hook in wanted:
                    made[hook][template] = kept[hook][rows].mean(0)
        memo.update({(reference.digest, hook, "means"): found for hook, found in made.items()})
        means |= made
    return lambda hook, row: means[hook][prompts[row].template]


def _reference(experiment: Experiment) -> PromptSet:
    reference = experiment.data.reference
    if reference is None:
        raise UsageError(
            f"data set {experiment.data.name} has no reference prompts to take means over; "
            "pass ablation='zero' or 'permute', or use the IOI set"
        )
    return reference


def _reference_rows(experiment: Experiment) -> _Pools:
    """For each template of the clean run: the group of its reference prompts, and their rows in it."""
    reference, data = _reference(experiment), experiment.data
    pools: dict[str, tuple[int, list[int]]] = {}
    lengths: dict[str, int] = {}
    for index, group in enumerate(reference.groups):
        for i, row in enumerate(group.rows):
            template = reference.prompts[row].template
            if lengths.setdefault(template, group.tokens.shape[1]) != group.tokens.shape[1]:
                raise UsageError(
                    f"the reference prompts of the template {shown(template)} have several token lengths; "
                    "a mean by position needs one"
                )
            pools.setdefault(template, (index, []))[1].append(i)
    for group in data.clean.groups:
        for row in group.rows:
            template = data.clean.prompts[row].template
            if template not in pools:
                raise UsageError(f"the reference of {data.name} has no prompts of the template {shown(template)}")
            if lengths[template] != group.tokens.shape[1]:
                raise UsageError(
                    f"the reference prompts of the template {shown(template)} have {lengths[template]} tokens, the "
                    "prompt "
                    f"{shown(data.clean.prompts[row].text)} has {group.tokens.shape[1]}; means are taken at equal "
                    "length"
                )
    return pools


def _permuted(value: Tensor, which: Rows, total: int, label: str, seed: int) -> Tensor:
    """The numbers of each head of each prompt in another order, over positions and dimensions."""
    from transformer_lens.utilities.statistics import derive_generator

    rows, length, heads, width = value.shape
    generator = derive_generator(seed, label)
    flat = value.permute(0, 2, 1, 3).reshape(rows, heads, length * width)
    # Drawn for all rows of the group, so that it does not matter which of them run together.
    order = torch.rand(total, heads, length * width, generator=generator)[which.cpu()].argsort(-1).to(value.device)
    return flat.gather(-1, order).reshape(rows, heads, length, width).permute(0, 2, 1, 3)
