"""Descriptions of attention scores and of their softmax, by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked
from pytest_interp.errors import NotApplicable
from pytest_interp.measure.per_prompt import per_prompt
from pytest_interp.measure.statistics import layers_after_a_pass
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment

Kind: TypeAlias = Literal["scores", "pattern"]
Variant: TypeAlias = Literal["per_head", "concatenated"]


@checked
@cached
def score_statistics(
    experiment: Experiment, kind: Kind = "scores", *, variant: Variant = "per_head", run: str = "clean"
) -> Table[tuple[int, str]]:
    """Mean and standard deviation of the attention scores of each layer, or of their softmax.

    ``scores``: ``q . k / sqrt(d_head)`` after rotation, of each head, at or before the destination (causal);
    ``pattern``: its softmax over sources, likewise. ``concatenated`` is what a notebook in the literature plots:
    queries and keys of all heads as one long vector, every pair of positions, no mask, over ``sqrt(d_head)``, softmax
    over all positions. It is not attention, and stands here to be compared with it.

    Args:
        experiment: checkpoint and data set.
        kind: ``scores`` or ``pattern``.
        variant: ``per_head`` or ``concatenated``.
        run: ``clean`` or a corruption.

    Returns:
        A table with a row for each layer and the columns ``mean`` and ``sd``; a value for each prompt.

    Raises:
        UsageError: a run that is not there.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> table = score_statistics(experiment)
        >>> table.columns, round(table[0, "sd"].value, 1)
        (('mean', 'sd'), 11.2)
    """
    cells: dict[tuple[int, str], Measurement] = {}
    for layer in layers_after_a_pass(experiment, run, lambda layer: _queries_and_keys(experiment, layer, variant)):
        means, deviations = [], []
        for scores in _scores(experiment, layer, variant, run):
            causal = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
            if variant == "per_head":
                causal = causal.tril()
                scores = scores.masked_fill(~causal, float("-inf"))  # noqa: PLW2901
            described = scores if kind == "scores" else scores.softmax(-1)
            flat = described[..., causal].flatten(1).float()
            means.append(flat.mean(1))
            deviations.append(flat.std(1, correction=0))
        context = experiment.context(
            heads=None, intervention=None, metric=None, run=run, layer=layer, variant=variant, kind=kind
        )
        unit = "score" if kind == "scores" else "probability"
        for name, by_group in (("mean", means), ("sd", deviations)):
            cells[layer, name] = per_prompt(
                experiment, f"{kind}_{name}", experiment.in_order(by_group), context, unit=unit
            )
    return Table(cells, ("layer", "statistic"))


def _scores(experiment: Experiment, layer: int, variant: Variant, run: str) -> list[Tensor]:
    """Scores without a mask, for each group ``(row, head, query, key)``; one head for the concatenated variant."""
    checkpoint = experiment.checkpoint
    hooks = _queries_and_keys(experiment, layer, variant)
    activations = experiment.activations(hooks, experiment.data.run(run))
    scores = []
    for q, k in zip(*(activations[hook] for hook in hooks), strict=True):
        q, k = q.transpose(1, 2), k.transpose(1, 2)  # noqa: PLW2901
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)  # noqa: PLW2901
        if variant == "concatenated":
            q, k = (x.transpose(1, 2).flatten(2).unsqueeze(1) for x in (q, k))  # noqa: PLW2901
        scores.append(q.float() @ k.float().transpose(-1, -2) / checkpoint.shape.d_head**0.5)
    return scores


def _queries_and_keys(experiment: Experiment, layer: int, variant: Variant) -> list[str]:
    """The hooks that scores are made of: after rotation, but for the concatenated variant."""
    if variant == "concatenated":
        return [experiment.checkpoint.sites.hook(site, layer) for site in "qk"]
    return [_rotated(experiment, site, layer) for site in "qk"]


def _rotated(experiment: Experiment, site: str, layer: int) -> str:
    """The hook of a query or key as scores are made of it: after rotation where there is one."""
    try:
        return experiment.checkpoint.sites.hook(f"rot_{site}", layer)
    except NotApplicable:
        return experiment.checkpoint.sites.hook(site, layer)
