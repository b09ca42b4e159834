"""The logit lens: what the unembedding reads in the residual stream before the last layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked
from pytest_interp.engine.metric import LOGIT_DIFF, Metric, as_metric
from pytest_interp.errors import UsageError
from pytest_interp.measure.per_prompt import per_prompt
from pytest_interp.measurement import Measurement
from pytest_interp.table import Row, Table
from pytest_interp.text import shown

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment

Norm = Literal["live", "frozen"]
SITES = ("resid_pre", "resid_mid", "resid_post")


@checked
@cached
def logit_lens_sweep(
    experiment: Experiment,
    *,
    sites: tuple[str, ...] = ("resid_pre", "resid_mid"),
    metric: Metric | str = LOGIT_DIFF,
    norm: Norm = "live",
    run: str = "clean",
) -> Table[tuple[Row, int | str]]:
    """The metric that the unembedding gives on the residual stream at END after each part of each layer.

    ``norm(x) W_U + b_U`` for ``x`` the accumulated residual stream; the last row, after all layers, is the model's
    own output.

    Args:
        experiment: checkpoint and data set.
        sites: of each layer: ``resid_pre``, ``resid_mid`` (before its MLP), ``resid_post``. The last layer's
            ``resid_post`` is always there.
        metric: a score of the answer at END; ``logit_diff`` by default.
        norm: ``live``: the final norm with each residual's own scale (nostalgebraist 2020); ``frozen``: the scale of
            the finished run, so that rows differ by what layers add (TransformerLens's accumulated residual).
        run: ``clean`` or a corruption.

    Returns:
        A table with a row for each layer and a column for each site.

    Raises:
        UsageError: a site outside of the residual stream; a metric at another position, or ``kl``; an unknown run.
        NotApplicable: the architecture has no such site (no ``resid_mid`` where attention and MLP are parallel).

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> table = logit_lens_sweep(experiment, sites=("resid_post",))
        >>> [round(table[layer, "resid_post"].value, 2) for layer in (3, 4)]
        [12.87, 8.85]
    """
    score = _lens_metric(metric)
    checkpoint = experiment.checkpoint
    keys = _residuals(checkpoint.shape.n_layers, sites)
    hooks = {key: checkpoint.sites.hook(key[1], key[0]) for key in keys}
    checkpoint.check_identity("logits")
    scale = [checkpoint.sites.scale_hook] if checkpoint.sites.scale_hook else []
    activations = experiment.activations([*hooks.values(), *scale], experiment.data.run(run))
    w_u, b_u = checkpoint.weights.w_u(), checkpoint.weights.b_u()

    def logits_of(x: Tensor, index: int, tokens: Tensor | None) -> Tensor:
        """Logits of residuals at END: of some tokens of each row, or of the whole vocabulary."""
        if norm == "live":
            logits = checkpoint.forward.read(x, tokens).logits
            checkpoint.forward.check_finite([logits])
            return logits
        # In half precision the scale is float32, as the norm computes it; the model unembeds in its own precision.
        scaled = (x / activations[scale[0]][index][:, -1]).to(w_u.dtype) if scale else x
        if tokens is None:
            return checkpoint.weights.logits((scaled @ w_u + b_u).float())
        return checkpoint.weights.logits((torch.einsum("rd,rtd->rt", scaled, w_u.T[tokens]) + b_u[tokens]).float())

    def measured(key: tuple[int, str]) -> Measurement:
        """The metric on the residual stream of a layer and site."""
        values = []
        for index, group in enumerate(experiment.data.clean.groups):
            x = activations[hooks[key]][index][:, -1]
            if score == LOGIT_DIFF:  # two tokens of the vocabulary
                logits = logits_of(x, index, group.pairs.to(w_u.device))
                values.append(logits[:, 0] - logits[:, 1])
                continue
            end = torch.full((len(group.rows),), group.tokens.shape[1] - 1)
            values.append(score.of(logits_of(x, index, None), group, end, checkpoint, None))
        return per_prompt(
            experiment,
            "logit_lens",
            experiment.in_order(values),
            experiment.context(
                heads=None, intervention=None, metric=score.text, run=run, site=key[1], layer=key[0], norm=norm
            ),
            unit=score.unit,
            tolerance=score.noise(checkpoint.precision),
        )

    with torch.inference_mode():
        return Table({key: measured(key) for key in keys}, ("layer", "site"))


def _lens_metric(metric: Metric | str) -> Metric:
    """The metric, if it scores a token at END."""
    score = as_metric(metric)
    if score.at != "END":
        raise UsageError(f"the lens reads END; the metric's at is {shown(score.at)}")
    if score.score == "kl":
        raise UsageError("the lens scores a token; metric='kl' has none")
    return score


def _residuals(n_layers: int, sites: Sequence[str]) -> list[tuple[int, str]]:
    """The layers and sites that are read, in the order of the model; the last ``resid_post`` is one of them."""
    if unknown := [site for site in sites if site not in SITES]:
        raise UsageError(f"{shown(unknown[0])} is not in the residual stream; allowed: {', '.join(map(repr, SITES))}")
    keys = [(layer, site) for layer in range(n_layers) for site in sites]
    last = (n_layers - 1, "resid_post")
    return keys if last in keys else [*keys, last]
