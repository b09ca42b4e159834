"""Where a head looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from pytest_interp.heads import Head, HeadLike, as_head
from pytest_interp.measure._per_prompt import per_prompt
from pytest_interp.measurement import PROBABILITY_NOISE, Measurement

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment


def attention(
    experiment: Experiment,
    head: HeadLike,
    *,
    at: str,
    to: str,
    more_than: Sequence[str] = (),
    run: str = "clean",
) -> Measurement:
    """The attention probability from one named position to another, minus that to others.

    ``pattern[at, to] - sum(pattern[at, other] for other in more_than)``, after the causal mask and softmax.

    Args:
        experiment: checkpoint and data set.
        head: a query head.
        at: the position that attends (destination).
        to: the position attended to (source).
        more_than: positions whose attention is taken off.
        run: ``clean`` or a corruption.

    Returns:
        One value for each prompt: a probability in [0, 1], or a difference of probabilities in [-1, 1].

    Raises:
        UsageError: a head or position that is not there.

    Wang et al. 2022, section 3.1 (name movers attend from END to IO).
    """
    head = experiment.checkpoint.check_head(as_head(head))
    patterns = experiment.activation(experiment.checkpoint.hook("pattern", head.layer), run)
    values = []
    for group, pattern in zip(experiment.data.clean.groups, patterns, strict=True):
        rows = torch.arange(len(group.rows), device=pattern.device)
        from_here = pattern[rows, head.head, experiment.position(group, at)]
        value = from_here[rows, experiment.position(group, to)]
        for other in more_than:
            value = value - from_here[rows, experiment.position(group, other)]
        values.append(value)
    return per_prompt(
        experiment,
        "attention",
        experiment.in_order(values),
        unit="probability",
        tolerance=PROBABILITY_NOISE[experiment.checkpoint.dtype],
        about={"heads": [str(head)], "at": at, "to": to, "more_than": list(more_than), "run": run},
    )


def head_attentions(
    experiment: Experiment, *, at: str, to: str, more_than: Sequence[str] = (), run: str = "clean"
) -> Mapping[Head, Measurement]:
    """The attention of every head of the model, as a table of measurements, from one pass."""
    checkpoint = experiment.checkpoint
    heads = [
        Head(layer, head) for layer in range(checkpoint.shape.n_layers) for head in range(checkpoint.shape.n_heads)
    ]
    hooks = [checkpoint.hook("pattern", layer) for layer in range(checkpoint.shape.n_layers)]
    experiment.activations(hooks, experiment.data.run(run))
    return {head: attention(experiment, head, at=at, to=to, more_than=more_than, run=run) for head in heads}
