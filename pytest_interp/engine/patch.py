"""Nodes (which part of an activation is replaced), sources (by what), and patches, which combine the two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from pytest_interp.checkpoints.device import sent
from pytest_interp.checkpoints.rows import Rows
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

Positions: TypeAlias = "Int[Tensor, ' row']"
"""A position of each row of a group, on the CPU."""

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
        at: which positions (for ``pattern``: destinations); None for all.

    Example:
        The output of head 9.9 at END, and the residual stream at layer 7 at S1 and S2:

        >>> Node("z", 9, 9, "END")
        Node(site='z', layer=9, index=9, at='END')
        >>> Node("resid_pre", 7, at=["S1", "S2"]).at
        ('S1', 'S2')
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
    """Gives the values that replace activations.

    Attributes:
        give: a function of a hook name, the group's index, the rows of the group that run, and their activation ``(row,
            pos, ...)``, of which only a full scan reads the numbers. It returns the values for these rows. They may
            have more positions than the activation: then the last ones are taken.
        run: the unedited run that the values come from; None where they come from elsewhere.
        full_scan: whether it needs the activation at every position.
        first_position: gets the group's index; per row, the first position for which the source has values. None means
            every position.
    """

    give: Callable[[str, int, Rows, Tensor], Tensor]
    run: str | None = None
    full_scan: bool = False
    first_position: Callable[[int], Positions] | None = None


@dataclass(frozen=True, eq=False)
class Patch:
    """Nodes and the source of their new values.

    Attributes:
        nodes: what is replaced.
        source: gives the new values.
        spare: nodes that keep their activation, where ``nodes`` cover them too.

    Example:
        Head 3.0 of the clean run writes at END what it writes on the corrupted prompts:

        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=8, seed=0, bos=True))
        >>> nodes = (Node("z", 3, 0, "END"),)
        >>> patch = Patch(nodes, from_run(experiment, nodes, "s2-exchanged"))
        >>> patch.source.run
        's2-exchanged'
    """

    nodes: tuple[Node, ...]
    source: Source
    spare: tuple[Node, ...] = ()


def from_run(experiment: Experiment, nodes: Iterable[Node], run: str) -> Source:
    """The activations of another, unedited run.

    Args:
        experiment: checkpoint and data set.
        nodes: whose activations are wanted; their positions do not matter.
        run: ``clean`` or a corruption.

    Raises:
        NotApplicable: a site that the model lacks.
        UsageError: no such run.
    """
    hooks = sorted({experiment.checkpoint.sites.hook(node.site, node.layer) for node in nodes})
    activations = experiment.activations(hooks, experiment.data.run(run))
    return Source(lambda hook, index, rows, _: activations[hook][index][rows.index], run=run)


def recorded(activations: Mapping[str, Sequence[Tensor]], first_position: Callable[[int], Positions]) -> Source:
    """The activations that a patched pass kept, see :class:`~pytest_interp.engine.passes.Passes`.

    Args:
        activations: by hook name, for each group ``(row, pos, ...)``; they may lack the first positions.
        first_position: gets the group's index; per row, the first position that the activations have.
    """
    return Source(lambda hook, index, rows, _: activations[hook][index][rows.index], first_position=first_position)


def ablated(
    experiment: Experiment,
    nodes: Iterable[Node],
    ablation: Ablation,
    *,
    seed: int = 0,
    value_bias: ValueBias = "kept",
) -> Source:
    """What an ablation puts in place of the outputs z of heads.

    * ``zero``: zeros.
    * ``mean``: the mean over the reference prompts of the same template and token length, position by position. For IOI
      these have three different names (ABC), and there are at least 16.
    * ``resample``: z of one of these reference prompts, drawn for each prompt.
    * ``permute``: z of the same head on the same prompt, its numbers shuffled over positions and dimensions.

    Args:
        experiment: checkpoint and data set.
        nodes: of z; whose layers are ablated.
        ablation: one of the four.
        seed: for ``resample`` and ``permute``.
        value_bias: for ``zero``: whether what the value bias writes stays in the run (``kept``) or goes too
            (``removed``). A mean and another prompt's z have the same bias as the z that they replace, so there both
            words mean the same.

    Raises:
        UsageError: an unknown ablation or value bias; ``permute`` with ``removed``; a data set without a reference, or
            one that lacks a template or has it in another length.
    """
    if ablation not in ABLATIONS:
        raise UsageError(f"ablation is {shown(ablation)}; allowed: {', '.join(map(repr, ABLATIONS))}")
    check_value_bias(value_bias)
    if ablation == "zero":
        return _nothing(experiment, nodes, value_bias)
    if ablation == "permute":
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
    stand_in = _mean(experiment, hooks, pools) if ablation == "mean" else _drawn(experiment, hooks, pools, seed)

    def give(hook: str, index: int, rows: Rows, _: Tensor) -> Tensor:
        in_order = experiment.data.clean.groups[index].rows
        return torch.stack([stand_in(hook, in_order[i]) for i in rows.numbers.tolist()])

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
    """What has to be added to v or z of a layer for it to hold the value bias, or to lack it, head by head.

    Args:
        checkpoint: the loaded model.
        layer: from 0.
        heads: how many the activation has; query heads that share a key-value head share its bias.
        value_bias: ``kept`` or ``removed``.

    Returns:
        Shape ``(head, d_head)``.

    Raises:
        NotApplicable: the biases are not known.
    """
    bias = checkpoint.weights.value_bias(layer, value_bias)
    return bias.repeat_interleave(heads // len(bias), dim=0)


_Pools: TypeAlias = Mapping[str, tuple[int, list[int]]]
"""For each template: the group of its reference prompts, and their rows in that group."""
_StandIn: TypeAlias = Callable[[str, int], "Tensor"]
"""Gets a hook name and a prompt's row in the data set; returns the values for it, ``(pos, head, d_head)``."""


def _drawn(experiment: Experiment, hooks: Sequence[str], pools: _Pools, seed: int) -> _StandIn:
    """The activations of a reference prompt of the same template, drawn for each prompt."""
    activations, prompts = experiment.activations(hooks, _reference(experiment)), experiment.data.clean.prompts
    draws = torch.randint(2**31, (len(prompts),), generator=torch.Generator().manual_seed(seed)).tolist()

    def stand_in(hook: str, row: int) -> Tensor:
        index, candidates = pools[prompts[row].template]
        return activations[hook][index][candidates[draws[row] % len(candidates)]]

    return stand_in


def _mean(experiment: Experiment, hooks: Sequence[str], pools: _Pools) -> _StandIn:
    """The mean over the template's reference prompts at each position.

    One pass gives the means of all layers, where memory allows; they stay in the memo.
    """
    checkpoint, reference, prompts = experiment.checkpoint, _reference(experiment), experiment.data.clean.prompts
    memo = checkpoint.guard.memory
    means = {hook: memo.get((reference.digest, hook, "means")) for hook in hooks}
    if missing := [hook for hook, by_template in means.items() if by_template is None]:
        largest = max(reference.groups, key=lambda group: group.tokens.numel())
        all_layers = checkpoint.with_other_layers(missing, [largest])
        computed: dict[str, dict[str, Tensor]] = {hook: {} for hook in all_layers}
        for index, group in enumerate(reference.groups):
            activations = checkpoint.run(group.tokens, keep=all_layers).activations
            for template, (group_index, rows) in pools.items():
                if group_index == index:
                    for hook in all_layers:
                        computed[hook][template] = activations[hook][rows].mean(0)
        memo.update({(reference.digest, hook, "means"): by_template for hook, by_template in computed.items()})
        means |= computed
    return lambda hook, row: means[hook][prompts[row].template]


def _reference(experiment: Experiment) -> PromptSet:
    """The data set's reference prompts.

    Raises:
        UsageError: there are none.
    """
    reference = experiment.data.reference
    if reference is None:
        raise UsageError(
            f"data set {experiment.data.name} has no reference prompts to take means over; "
            "pass ablation='zero' or 'permute', or use the IOI set"
        )
    return reference


def _reference_rows(experiment: Experiment) -> _Pools:
    """For each template of the clean run: the group of its reference prompts, and their rows in it.

    Raises:
        UsageError: a template without reference prompts, or with reference prompts of another length.
    """
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


def _permuted(value: Tensor, rows: Rows, group_size: int, label: str, seed: int) -> Tensor:
    """The numbers of each head of each prompt in another order, over positions and dimensions.

    Args:
        value: z of the rows that run, ``(row, pos, head, d_head)``.
        rows: which rows of the group these are.
        group_size: how many rows the group has.
        label: of the group and hook, so that each has an order of its own.
        seed: of the generator.
    """
    from transformer_lens.utilities.statistics import derive_generator

    _, length, heads, width = value.shape
    generator = derive_generator(seed, label)
    by_head = value.transpose(1, 2).flatten(2)  # (row, head, pos * d_head)
    # Drawn for all rows of the group, so that it does not matter which of them run together.
    order = torch.rand(group_size, heads, length * width, generator=generator)[rows.numbers].argsort(-1)
    shuffled = by_head.gather(-1, sent(order, value.device))
    return shuffled.view(-1, heads, length, width).transpose(1, 2)
