"""Attention: where a head looks, and how widely."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import TYPE_CHECKING

import torch

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, HeadLike, as_head
from pytest_interp.measure.per_prompt import per_prompt
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table, heads_table
from pytest_interp.tolerance import PROBABILITY_NOISE

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment


@checked
@cached
def attention(
    experiment: Experiment,
    head: HeadLike,
    *,
    at: str,
    to: str,
    minus: Sequence[str] = (),
    weighted: bool = False,
    run: str = "clean",
    value_bias: ValueBias = "removed",
) -> Measurement:
    """The attention probability from one named position to another, minus that to others.

    ``pattern[at, to] - sum(pattern[at, other] for other in minus)``, after the causal mask and softmax.

    Args:
        experiment: checkpoint and data set.
        head: a query head.
        at: the position that attends (destination).
        to: the position attended to (source).
        minus: positions whose attention is taken off.
        weighted: by the norm of what is moved, ``pattern * |v W_O|``, relative to the row's sum: a head that rests
            on BOS moves little from there.
        run: ``clean`` or a corruption.
        value_bias: for ``weighted``: whether ``v`` is without its bias (``removed``), which then stands in ``b_O`` and
            is no weight of any position, or with it (``kept``), as in the raw model.

    Returns:
        One value for each prompt: a probability in [0, 1], or a difference of probabilities in [-1, 1].

    Raises:
        UsageError: a head or position that is not there; a value bias where nothing is weighted.
        NotApplicable: ``kept`` where the value biases are not known.

    Wang et al. 2022, section 3.1 (name movers attend from END to IO); Kobayashi et al. 2020 on weighting by the norm.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(attention(experiment, "3.0", at="END", to="IO", minus=["S1", "S2"]).value, 2)
        0.99
    """
    if value_bias == "kept" and not weighted:
        raise UsageError(
            "a value bias is no part of attention that is not weighted; pass weighted=True, or leave it out"
        )
    head = experiment.checkpoint.check_head(as_head(head))
    patterns = experiment.activation(experiment.checkpoint.sites.hook("pattern", head.layer), run)
    values = []
    norms = _moved_norms(experiment, head, run, value_bias) if weighted else []
    for index, (group, pattern) in enumerate(zip(experiment.data.clean.groups, patterns, strict=True)):
        rows = torch.arange(len(group.rows), device=pattern.device)
        from_here = pattern[rows, head.head, experiment.position(group, at)]
        if weighted:
            moved = from_here * norms[index]
            from_here = moved / moved.sum(-1, keepdim=True).clamp(min=1e-30)
        value = from_here[rows, experiment.position(group, to)]
        for other in minus:
            value = value - from_here[rows, experiment.position(group, other)]
        values.append(value)
    context = experiment.context(
        heads=(head,), intervention=None, metric=None, run=run, at=at, to=to, minus=list(minus)
    )
    return per_prompt(
        experiment,
        "value_weighted_attention" if weighted else "attention",
        experiment.in_order(values),
        context.noting(value_bias=value_bias) if weighted else context,
        unit="probability",
        tolerance=PROBABILITY_NOISE[experiment.checkpoint.precision],
    )


@checked
@cached
def attention_entropy(experiment: Experiment, head: HeadLike, *, at: str, run: str = "clean") -> Measurement:
    """The entropy of a head's attention from a named position, over the source positions.

    ``-sum(p log p)`` of the row ``p = pattern[at, :]``, after the causal mask and softmax; ``0 log 0`` is 0. BOS is a
    source like any other.

    Args:
        experiment: checkpoint and data set.
        head: a query head.
        at: the position that attends (destination).
        run: ``clean`` or a corruption.

    Returns:
        One value for each prompt, in nats: 0 where one position has all the attention, ``log n`` where each of the
        ``n`` positions up to ``at`` has as much.

    Raises:
        UsageError: a head, position or run that is not there.

    Clark et al. 2019 ("What does BERT look at?"), section 3.3.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(attention_entropy(experiment, "3.0", at="END").value, 3)
        0.035
    """
    head = experiment.checkpoint.check_head(as_head(head))
    patterns = experiment.activation(experiment.checkpoint.sites.hook("pattern", head.layer), run)
    entropies = []
    for group, pattern in zip(experiment.data.clean.groups, patterns, strict=True):
        rows = torch.arange(len(group.rows), device=pattern.device)
        probabilities = pattern[rows, head.head, experiment.position(group, at)].double()
        entropies.append(torch.special.entr(probabilities).sum(-1))
    longest = max(pattern.shape[-1] for pattern in patterns)
    return per_prompt(
        experiment,
        "attention_entropy",
        experiment.in_order(entropies),
        experiment.context(heads=(head,), intervention=None, metric=None, run=run, at=at),
        unit="nats",
        tolerance=entropy_noise(PROBABILITY_NOISE[experiment.checkpoint.precision], longest),
    )


def entropy_noise(noise: float, length: int) -> float:
    """How far the entropy of an attention row may move when float noise moves each of its probabilities, in nats.

    ``t log(n - 1) + h(t)``, with the total variation ``t`` and the binary entropy ``h``: the sharp form of Fannes'
    inequality (Audenaert 2007). Both rows sum to 1, so if each of ``n`` probabilities moves by ``noise``, half of the
    moves are upwards, and ``t`` is at most ``n noise / 2``. At ``t = 1 - 1/n`` the bound is ``log n``, the largest
    entropy; it does not rise further.

    Args:
        noise: how far each probability may move, above 0.
        length: how many positions ``n`` the row has; a row of one position counts as two.

    Returns:
        The largest change of the entropy, in nats; above 0 and at most ``log n``.
    """
    n = max(length, 2)
    variation = min(n * noise / 2, 1 - 1 / n)
    return variation * log(n - 1) - variation * log(variation) - (1 - variation) * log(1 - variation)


@checked
@cached
def attention_entropy_sweep(experiment: Experiment, *, at: str, run: str = "clean") -> Table[Head]:
    """The entropy of every head's attention from a named position, from one pass.

    Args:
        experiment: checkpoint and data set.
        at: the position that attends (destination).
        run: ``clean`` or a corruption.

    Returns:
        A table of layer by head; each cell is :func:`attention_entropy`, in nats.

    Raises:
        UsageError: a position or run that is not there.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(attention_entropy_sweep(experiment, at="END")["3.0"].value, 3)
        0.035
    """
    checkpoint = experiment.checkpoint
    hooks = [checkpoint.sites.hook("pattern", layer) for layer in range(checkpoint.shape.n_layers)]
    experiment.activations(hooks, experiment.data.run(run))
    return heads_table({head: attention_entropy(experiment, head, at=at, run=run) for head in checkpoint.shape.heads})


def _moved_norms(experiment: Experiment, head: Head, run: str, value_bias: ValueBias) -> list[Tensor]:
    """The norm of what a head moves from every source position, ``|v W_O|``, shape ``(row, pos)`` for each group."""
    checkpoint = experiment.checkpoint
    checkpoint.check_identity("heads")
    index = checkpoint.kv_head(head).head
    w_o, bias = (
        checkpoint.weights.w_o(head.layer)[head.head],
        checkpoint.weights.value_bias(head.layer, value_bias)[index],
    )
    values = experiment.activation(checkpoint.sites.hook("v", head.layer), run)
    return [((v[:, :, index] + bias) @ w_o).norm(dim=-1) for v in values]


@checked
@cached
def attention_sweep(
    experiment: Experiment,
    *,
    at: str,
    to: str,
    minus: Sequence[str] = (),
    weighted: bool = False,
    run: str = "clean",
    value_bias: ValueBias = "removed",
) -> Table[Head]:
    """The attention of every head of the model, layer by head, from one pass.

    Args:
        experiment: checkpoint and data set.
        at: the position that attends (destination).
        to: the position attended to (source).
        minus: positions whose attention is taken off.
        weighted: by the norm of what is moved, as for :func:`attention`.
        run: ``clean`` or a corruption.
        value_bias: as for :func:`attention`.

    Returns:
        A table of layer by head; each cell is :func:`attention`.

    Raises:
        UsageError: a position or run that is not there; a value bias where nothing is weighted.
        NotApplicable: ``kept`` where the value biases are not known.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(attention_sweep(experiment, at="END", to="IO")["3.0"].value, 1)
        1.0
    """
    checkpoint = experiment.checkpoint
    hooks = [checkpoint.sites.hook("pattern", layer) for layer in range(checkpoint.shape.n_layers)]
    experiment.activations(hooks, experiment.data.run(run))
    return heads_table(
        {
            head: attention(
                experiment, head, at=at, to=to, minus=minus, weighted=weighted, run=run, value_bias=value_bias
            )
            for head in checkpoint.shape.heads
        }
    )
