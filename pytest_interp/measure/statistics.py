"""Descriptions of q, k, v and z: means, variances and norms, by layer or head. A claim must say what they mean.

Example:
    >>> from pytest_interp import Experiment, load
    >>> from pytest_interp.tasks import ioi
    >>> checkpoint = load("planted-ioi")
    >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
    >>> activation_statistics(experiment, "z").columns
    ('mean', 'variance')
    >>> activation_values(experiment, "q", 0).ndim
    1
    >>> round(head_norms(experiment, at="END")["4.0"].value, 2)
    1.0
    >>> round(position_norms(experiment, positions=("S2", "END"))[3, "END"].value, 2)
    0.75

    Heads that read IO at END write towards the answer, or against it:

    >>> from pytest_interp.measure import attention_sweep, direct_logit_attribution_sweep
    >>> read, written = attention_sweep(experiment, at="END", to="IO"), direct_logit_attribution_sweep(experiment)
    >>> round(correlation(read, written).value, 1)
    0.5
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from pytest_interp.cache.store import cached
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.checkpoints.device import sent
from pytest_interp.common.arguments import checked
from pytest_interp.engine.patch import bias_by_head
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head
from pytest_interp.measure.attention_write import pearson
from pytest_interp.measure.patching import named_positions
from pytest_interp.measure.per_prompt import per_prompt
from pytest_interp.measurement import Measurement, Sample
from pytest_interp.table import Table, heads_table
from pytest_interp.tolerance import PROBABILITY_NOISE

if TYPE_CHECKING:
    from jaxtyping import Float
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

    Raises:
        UsageError: a site or run that is not there.
        NotApplicable: ``kept`` where the value biases are not known.
    """
    cells: dict[tuple[int, str], Measurement] = {}
    for layer in layers_after_a_pass(experiment, run, lambda layer: [_hook(experiment, site, layer)]):
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

    Args:
        experiment: checkpoint and data set.
        site: ``q``, ``k``, ``v`` or ``z``.
        layer: from 0.
        run: ``clean`` or a corruption.
        value_bias: as for :func:`activation_statistics`.

    Returns:
        A vector of float32 on the CPU, over prompts, positions, heads and dimensions.

    Raises:
        UsageError: a site, layer or run that is not there.
        NotApplicable: ``kept`` where the value biases are not known.
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

    Returns:
        A table of layer by head; a value for each prompt, 0 or more, in the unit of z.

    Raises:
        UsageError: a position or run that is not there.
        NotApplicable: ``kept`` where the value biases are not known.
    """
    shape = experiment.checkpoint.shape
    cells = {}
    for layer in layers_after_a_pass(experiment, run, partial(z_hooks, experiment)):
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
    """The norm of z at each position, mean over the heads of a layer: layer by position.

    Args:
        experiment: checkpoint and data set.
        positions: the columns: named positions or indices. By default every index where all prompts have one length,
            else the named positions.
        run: ``clean`` or a corruption.
        value_bias: whether z holds the value bias (``kept``), as in the raw model, or lacks it (``removed``).

    Returns:
        A table of layer by position; a value for each prompt, 0 or more, in the unit of z.

    Raises:
        UsageError: a position or run that is not there.
        NotApplicable: ``kept`` where the value biases are not known.
    """
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
            for layer in layers_after_a_pass(experiment, run, partial(z_hooks, experiment))
            for column in columns
        },
        ("layer", "position"),
    )


@checked
def correlation(first: Table[Head], other: Table[Head]) -> Measurement:
    """Pearson's r between two quantities of the same heads, over heads.

    Args:
        first: a table of layer by head.
        other: a table of another quantity, of the same heads.

    Returns:
        One value for each head; their mean is r, in [-1, 1], and their spread that of r
        (:func:`~pytest_interp.measure.attention_write.pearson`). The population is fixed.

    Raises:
        UsageError: tables of different heads.
        NotApplicable: a quantity that is the same for all heads.
    """
    if set(first) != set(other):
        raise UsageError("the tables are of different heads; sweep both over the same layers")
    a, b = (torch.tensor([table[head].value for head in first], dtype=torch.float64) for table in (first, other))
    if float(a.std()) == 0 or float(b.std()) == 0:
        raise NotApplicable(f"{first.quantity} or {other.quantity} is the same for all heads: no correlation")
    names = tuple(str(head) for head in first)
    return Measurement(
        f"{first.quantity}_{other.quantity}_correlation",
        "correlation",
        tuple(pearson(a, b).tolist()),
        Sample(names, names, "fixed"),
        tolerance=PROBABILITY_NOISE["float32"],
        context=replace(next(iter(first.values())).context, heads=tuple(first), observation="head"),
    )


def _norms(
    experiment: Experiment, layer: int, at: str | int | None, run: str, value_bias: ValueBias
) -> Float[Tensor, "prompt head"]:
    """The norm of z of each head of a layer, at a position or as the mean over all positions."""
    by_group = []
    for index, z in enumerate(_activation(experiment, "z", layer, run, value_bias)):
        (positions,) = experiment.positions(index, at)
        norms = z.float().norm(dim=-1)
        by_group.append(norms.mean(1) if positions is None else norms[range(len(z)), sent(positions, z.device)])
    return experiment.in_order(by_group)


def layers_after_a_pass(experiment: Experiment, run: str, hooks_of: Callable[[int], list[str]]) -> range:
    """Every layer of the model, after one pass that keeps the activations to be asked of each.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.
        hooks_of: the hook names that a layer needs.

    Returns:
        The layers, from 0. Without this pass, each layer's activations would take a pass of their own.
    """
    layers = range(experiment.checkpoint.shape.n_layers)
    experiment.activations([hook for layer in layers for hook in hooks_of(layer)], experiment.data.run(run))
    return layers


def z_hooks(experiment: Experiment, layer: int) -> list[str]:
    """The hook name of z of a layer, as a list.

    Args:
        experiment: checkpoint and data set.
        layer: from 0.

    Returns:
        One hook name, for :func:`layers_after_a_pass`.
    """
    return [experiment.checkpoint.sites.hook("z", layer)]


def _activation(experiment: Experiment, site: str, layer: int, run: str, value_bias: ValueBias) -> list[Tensor]:
    """An activation with heads, by group; v and z with their value bias or without."""
    activations = experiment.activation(_hook(experiment, site, layer), run)
    if site not in _BIASED:
        return activations
    bias = bias_by_head(experiment.checkpoint, layer, activations[0].shape[-2], value_bias)
    return [value + bias for value in activations]


def _hook(experiment: Experiment, site: str, layer: int) -> str:
    return experiment.checkpoint.sites.hook(site, layer)
