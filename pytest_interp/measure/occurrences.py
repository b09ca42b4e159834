"""How differently heads treat two mentions of a name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked
from pytest_interp.errors import NotApplicable
from pytest_interp.heads import Head
from pytest_interp.measure.per_prompt import per_prompt
from pytest_interp.measure.statistics import layers_after_a_pass, z_hooks
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table, heads_table

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from pytest_interp.engine import Experiment


@checked
@cached
def occurrence_difference(
    experiment: Experiment, first: str = "S1", second: str = "S2", *, run: str = "clean"
) -> Table[Head]:
    """How differently each head treats two mentions of a name: the mean of ``|z[first] - z[second]|``, by head.

    The mean is over the dimensions of z. The value bias is in both mentions, so that it does not matter.

    Args:
        experiment: checkpoint and data set.
        first: the position of a mention.
        second: the position of another mention.
        run: ``clean`` or a corruption.

    Returns:
        A table of layer by head; a value for each prompt, 0 or more, in the unit of z.

    Raises:
        UsageError: a position or run that is not there.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> occurrence_difference(experiment)["1.0"].value > 0
        True
    """
    shape = experiment.checkpoint.shape
    cells = {}
    for layer in layers_after_a_pass(experiment, run, partial(z_hooks, experiment)):
        differences = _mention_differences(experiment, layer, first, second, run)
        for head in range(shape.n_heads):
            context = experiment.context(
                heads=(Head(layer, head),), intervention=None, metric=None, run=run, first=first, second=second
            )
            cells[Head(layer, head)] = per_prompt(
                experiment, "occurrence_difference", differences[:, head], context, unit="activation"
            )
    return heads_table(cells)


@checked
@cached
def selectivity(
    experiment: Experiment, first: str = "S1", second: str = "S2", *, run: str = "clean"
) -> Table[tuple[int, str]]:
    """How unequally the heads of a layer treat two mentions of a name.

    Of each prompt: take ``|z[first] - z[second]|``, mean over dimensions, of every head of the layer. The value is the
    mean of the two largest over the mean of the two smallest.

    Args:
        experiment: checkpoint and data set.
        first: the position of a mention.
        second: the position of another mention.
        run: ``clean`` or a corruption.

    Returns:
        A table with a row for each layer and the column ``ratio``; a value for each prompt, at least 1. A layer with a
        prompt on which two heads do not tell the mentions apart at all has no row.

    Raises:
        UsageError: a position or run that is not there.
        NotApplicable: fewer than four heads; no layer has a row.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> selectivity(experiment).rows  # in the other layers two heads write nothing
        (3,)
    """
    shape = experiment.checkpoint.shape
    if shape.n_heads < 4:
        raise NotApplicable(f"{experiment.checkpoint.name} has {shape.n_heads} heads in a layer; the ratio needs four")
    cells: dict[tuple[int, str], Measurement] = {}
    for layer in layers_after_a_pass(experiment, run, partial(z_hooks, experiment)):
        differences = _mention_differences(experiment, layer, first, second, run).sort(dim=1).values
        smallest, largest = differences[:, :2].mean(1), differences[:, -2:].mean(1)
        if float(smallest.min()) <= 0:
            continue  # the ratio is undefined
        context = experiment.context(
            heads=None, intervention=None, metric=None, run=run, layer=layer, first=first, second=second
        )
        cells[layer, "ratio"] = per_prompt(
            experiment, "selectivity", largest / smallest, context, unit="ratio", tolerance=1e-3
        )
    if not cells:
        raise NotApplicable(f"in every layer of {experiment.checkpoint.name} two heads do not differ at all between "
                            f"{first} and {second}: the ratio is undefined")  # fmt: skip
    return Table(cells, ("layer", "statistic"))


def _mention_differences(
    experiment: Experiment, layer: int, first: str, second: str, run: str
) -> Float[Tensor, "prompt head"]:
    """The mean over dimensions of ``|z[first] - z[second]|`` of each head of a layer."""
    by_group = []
    hook = experiment.checkpoint.sites.hook("z", layer)
    for group, z in zip(experiment.data.clean.groups, experiment.activation(hook, run), strict=True):
        rows = torch.arange(len(z), device=z.device)
        at_first, at_second = (z[rows, experiment.position(group, name)] for name in (first, second))
        by_group.append((at_first - at_second).abs().mean(-1))
    return experiment.in_order(by_group)
