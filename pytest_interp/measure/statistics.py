"""Descriptions of q, k, v and z: means, variances and norms, by layer or head. What they mean, a claim must say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from pytest_interp.cache.store import cached
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.engine.patch import bias_by_head
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head
from pytest_interp.measure.attention import pearson
from pytest_interp.measure.patching import named_positions
from pytest_interp.measure.per_prompt import per_prompt
from pytest_interp.measurement import Measurement, Sample
from pytest_interp.table import Table, heads_table
from pytest_interp.tolerance import PROBABILITY_NOISE

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment

Projection: TypeAlias = Literal["q", "k", "v"]

_BIASED = ("v", "z")
"""The activations that hold the value bias in the raw model."""


@checked
@cached
def activation_statistics(
    experiment: Experiment,
    site: Projection | Literal["z"],
    *,
    run: str = "clean",
    value_bias: ValueBias = "removed",
) -> Table[tuple[int, str]]:
    """Mean and variance of the numbers in q, k, v (before rotation) or z of each layer, the first token left out.

    Over heads, dimensions and positions of a prompt; the first token, on which many heads rest, has activations of
    another size.

    Args:
        experiment: checkpoint and data set.
        site: ``q``, ``k``, ``v`` or ``z``.
        run: ``clean`` or a corruption.
        value_bias: whether v and z hold the value bias (``kept``), as in the raw model, or lack it (``removed``). In q
            and k there is none.

    Returns:
        A table with a row for each layer and the columns ``mean`` and ``variance``; a value for each prompt.
    """
    cells: dict[tuple[int, str], Measurement] = {}
    for layer in layers_after_a_pass(experiment, run, lambda layer: [_site(experiment, site, layer)]):
        flat = [x[:, 1:].flatten(1).float() for x in _activation(experiment, site, layer, run, value_bias)]
        context = experiment.context(
            heads=None, intervention=None, metric=None, run=run, site=site, layer=layer, first_token=False
        )
        if site in _BIASED:
            context = context.noting(value_bias=value_bias)
        for name, by_group in (
            ("mean", [x.mean(1) for x in flat]),
            ("variance", [x.var(1, correction=0) for x in flat]),
        ):
            values = experiment.in_order(by_group)
            cells[layer, name] = per_prompt(experiment, f"{site}_{name}", values, context, unit="activation")
    return Table(cells, ("layer", "statistic"))


@checked
@in_one_state
def activation_values(
    experiment: Experiment,
    site: Projection | Literal["z"],
    layer: int,
    *,
    run: str = "clean",
    value_bias: ValueBias = "removed",
) -> Tensor:
    """All numbers of q, k, v or z of a layer, first token left out: what a histogram is drawn from.

    ``value_bias`` as for :func:`activation_statistics`.
    """
    activations = _activation(experiment, site, layer, run, value_bias)
    return torch.cat([x[:, 1:].flatten().float().cpu() for x in activations])


@checked
@cached
def head_norms(
    experiment: Experiment, *, at: str | int | None = None, run: str = "clean", value_bias: ValueBias = "removed"
) -> Table[Head]:
    """The norm of z of every head, layer by head: at a position, or the mean over all of them.

    Args:
        experiment: checkpoint and data set.
        at: a named position, an index, or None for the mean over all positions.
        run: ``clean`` or a corruption.
        value_bias: whether z holds the value bias (``kept``), as in the raw model, or lacks it (``removed``).
    """
    shape = experiment.checkpoint.shape
    cells = {}
    for layer in layers_after_a_pass(experiment, run, partial(_z, experiment)):
        norms = _norms(experiment, layer, at, run, value_bias)
        for head in range(shape.n_heads):
            cells[Head(layer, head)] = per_prompt(
                experiment,
                "z_norm",
                norms[:, head],
                experiment.context(
                    heads=(Head(layer, head),),
                    intervention=None,
                    metric=None,
                    run=run,
                    at="all positions" if at is None else at,
                    value_bias=value_bias,
                ),
                unit="norm",
            )
    return heads_table(cells)


@checked
@cached
def position_norms(
    experiment: Experiment,
    *,
    positions: Sequence[str | int] | None = None,
    run: str = "clean",
    value_bias: ValueBias = "removed",
) -> Table[tuple[int, str | int]]:
    """The norm of z, mean over the heads of a layer: layer by position; ``value_bias`` as for :func:`head_norms`."""
    columns = named_positions(experiment) if positions is None else positions
    return Table(
        {
            (layer, column): per_prompt(
                experiment,
                "z_norm",
                _norms(experiment, layer, column, run, value_bias).mean(1),
                experiment.context(
                    heads=None, intervention=None, metric=None, run=run, at=column, layer=layer, value_bias=value_bias
                ),
                unit="norm",
            )
            for layer in layers_after_a_pass(experiment, run, partial(_z, experiment))
            for column in columns
        },
        ("layer", "position"),
    )


@checked
@cached
def occurrence_difference(
    experiment: Experiment, first: str = "S1", second: str = "S2", *, run: str = "clean"
) -> Table[Head]:
    """How differently each head treats two mentions of a name: the mean of ``|z[first] - z[second]|``, by head.

    The value bias is in both, so that it does not matter.
    """
    shape = experiment.checkpoint.shape
    cells = {}
    for layer in layers_after_a_pass(experiment, run, partial(_z, experiment)):
        means = _difference(experiment, layer, first, second, run)
        for head in range(shape.n_heads):
            context = experiment.context(
                heads=(Head(layer, head),), intervention=None, metric=None, run=run, first=first, second=second
            )
            cells[Head(layer, head)] = per_prompt(
                experiment, "occurrence_difference", means[:, head], context, unit="activation"
            )
    return heads_table(cells)


@checked
@cached
def selectivity(
    experiment: Experiment, first: str = "S1", second: str = "S2", *, run: str = "clean"
) -> Table[tuple[int, str]]:
    """How unequally the heads of a layer treat two mentions of a name.

    The mean of the two largest over the mean of the two smallest of the heads' mean ``|z[first] - z[second]|``; at
    least 1.

    Raises:
        NotApplicable: fewer than four heads; heads that do not tell the mentions apart at all.
    """
    shape = experiment.checkpoint.shape
    if shape.n_heads < 4:
        raise NotApplicable(f"{experiment.checkpoint.name} has {shape.n_heads} heads in a layer; the ratio needs four")
    cells: dict[tuple[int, str], Measurement] = {}
    for layer in layers_after_a_pass(experiment, run, partial(_z, experiment)):
        means = _difference(experiment, layer, first, second, run).sort(dim=1).values
        bottom = means[:, :2].mean(1)
        if float(bottom.min()) <= 0:
            continue  # heads that write nothing at all: the ratio is undefined there
        context = experiment.context(
            heads=None, intervention=None, metric=None, run=run, layer=layer, first=first, second=second
        )
        cells[layer, "ratio"] = per_prompt(
            experiment, "selectivity", means[:, -2:].mean(1) / bottom, context, unit="ratio", tolerance=1e-3
        )
    if not cells:
        raise NotApplicable(f"in every layer of {experiment.checkpoint.name} two heads do not differ at all between "
                            f"{first} and {second}: the ratio is undefined")  # fmt: skip
    return Table(cells, ("layer", "statistic"))


@checked
def correlation(one: Table[Head], other: Table[Head]) -> Measurement:
    """Pearson's r between two quantities of the same heads, over heads; the values' mean is r.

    Raises:
        UsageError: tables of different heads.
    """
    if set(one) != set(other):
        raise UsageError("the tables are of different heads; sweep both over the same layers")
    a, b = (torch.tensor([table[head].value for head in one], dtype=torch.float64) for table in (one, other))
    if float(a.std()) == 0 or float(b.std()) == 0:
        raise NotApplicable(f"{one.quantity} or {other.quantity} is the same for all heads: no correlation")
    names = tuple(str(head) for head in one)
    return Measurement(
        f"{one.quantity}_{other.quantity}_correlation",
        "correlation",
        tuple(pearson(a, b).tolist()),
        Sample(names, names, "fixed"),
        tolerance=PROBABILITY_NOISE["float32"],
        context=replace(next(iter(one.values())).context, heads=tuple(one), each="head"),
    )


def _difference(experiment: Experiment, layer: int, first: str, second: str, run: str) -> Tensor:
    by_group = []
    hook = experiment.checkpoint.sites.hook("z", layer)
    for group, z in zip(experiment.data.clean.groups, experiment.activation(hook, run), strict=True):
        rows = torch.arange(len(z), device=z.device)
        a, b = (z[rows, experiment.position(group, name)] for name in (first, second))
        by_group.append((a - b).abs().mean(-1))
    return experiment.in_order(by_group)


def _norms(experiment: Experiment, layer: int, at: str | int | None, run: str, value_bias: ValueBias) -> Tensor:
    by_group = []
    for index, z in enumerate(_activation(experiment, "z", layer, run, value_bias)):
        (where,) = experiment.positions(index, at)
        norms = z.float().norm(dim=-1)
        by_group.append(norms.mean(1) if where is None else norms[torch.arange(len(z), device=z.device), where])
    return experiment.in_order(by_group)


def layers_after_a_pass(experiment: Experiment, run: str, hooks_of: Callable[[int], list[str]]) -> range:
    """Every layer, after one pass that keeps what will be asked of each."""
    layers = range(experiment.checkpoint.shape.n_layers)
    experiment.activations([hook for layer in layers for hook in hooks_of(layer)], experiment.data.run(run))
    return layers


def _z(experiment: Experiment, layer: int) -> list[str]:
    return [experiment.checkpoint.sites.hook("z", layer)]


def _activation(experiment: Experiment, site: str, layer: int, run: str, value_bias: ValueBias) -> list[Tensor]:
    """An activation with heads, by group; v and z with their value bias or without."""
    activations = experiment.activation(_site(experiment, site, layer), run)
    if site not in _BIASED:
        return activations
    bias = bias_by_head(experiment.checkpoint, layer, activations[0].shape[-2], value_bias)
    return [value + bias for value in activations]


def _site(experiment: Experiment, site: str, layer: int) -> str:
    return experiment.checkpoint.sites.hook(site, layer)
