"""Assertions about what is read off the model: next tokens, the logit lens, components' attribution."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Unpack

from pytest_interp.assertions._core import BoundArgs, conclude, where
from pytest_interp.errors import UsageError
from pytest_interp.judge import Bound, Control, Verdict, judge
from pytest_interp.table import Table, name_of

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment
    from pytest_interp.engine.metric import Metric


def assert_next_token(
    experiment: Experiment, metric: Metric | str = "log_prob", *, run: str = "clean", **bound: Unpack[BoundArgs]
) -> Verdict:
    """Asserts a score of the next token: log-probability, probability, rank or logit of the answer or another token.

    Args:
        experiment: checkpoint and data set.
        metric: ``log_prob``, ``probability``, ``rank`` ... of the answer at END, or a ``Metric`` for another token or
            position.
        run: ``clean`` or a corruption, scored with the clean run's answers.
        **bound: in the metric's unit; a mean over prompts.
    """
    __tracebackhide__ = True
    from pytest_interp.engine.metric import as_metric
    from pytest_interp.measure import next_token

    accepted = Bound.of(**bound)
    measurement = next_token(experiment, metric, run=run)
    return conclude(judge(measurement, accepted), f"{as_metric(metric).text} on {where(experiment)}")


def assert_top_k(experiment: Experiment, k: int = 1, *, run: str = "clean", **bound: Unpack[BoundArgs]) -> Verdict:
    """Asserts the share of prompts whose answer is among the k likeliest tokens of the whole vocabulary.

    Args:
        experiment: checkpoint and data set.
        k: how many.
        run: ``clean`` or a corruption.
        **bound: a share in [0, 1].
    """
    __tracebackhide__ = True
    from pytest_interp.measure import top_k

    accepted = Bound.of(**bound)
    return conclude(judge(top_k(experiment, k, run=run), accepted), f"answer in the top {k} on {where(experiment)}")


def assert_loss(experiment: Experiment, *, run: str = "clean", **bound: Unpack[BoundArgs]) -> Verdict:
    """Asserts the mean cross-entropy of the prompts' own tokens.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.
        **bound: in nats.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import loss

    accepted = Bound.of(**bound)
    return conclude(judge(loss(experiment, run=run), accepted), f"loss of the {run} prompts on {where(experiment)}")


def assert_logit_lens(
    experiment: Experiment,
    layer: int,
    *,
    site: Literal["resid_pre", "resid_mid", "resid_post"] = "resid_post",
    metric: Metric | str = "logit_diff",
    norm: Literal["live", "frozen"] = "live",
    run: str = "clean",
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts what the unembedding reads in the residual stream at END at a layer.

    The layers before and after are shown beside it.

    Args:
        experiment: checkpoint and data set.
        layer: from 0.
        site: ``resid_pre``, ``resid_mid`` or ``resid_post`` of that layer.
        metric: ``logit_diff`` or another score of the answer.
        norm: ``live`` (each residual's own scale) or ``frozen`` (the finished run's).
        run: ``clean`` or a corruption.
        **bound: in the metric's unit.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import logit_lens

    accepted = Bound.of(**bound)
    table = logit_lens(experiment, sites=(site,), metric=metric, norm=norm, run=run)
    subject = f"logit lens at {site} of layer {layer} ({norm} norm) on {where(experiment)}"
    return _layer_claim(table, layer, site, accepted, subject)


def assert_component_attribution(
    experiment: Experiment,
    layer: int | Literal["start"],
    component: Literal["attn_out", "mlp_out", "embed", "pos_embed"],
    *,
    run: str = "clean",
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts what a layer's attention or MLP, or an embedding, writes into the answer's direction at END.

    The same component of the layers before and after is shown beside it.

    Args:
        experiment: checkpoint and data set.
        layer: from 0, or ``start`` for the embeddings.
        component: ``attn_out``, ``mlp_out``; ``embed``, ``pos_embed`` at the start.
        run: ``clean`` or a corruption.
        **bound: in logits.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import component_attributions

    accepted = Bound.of(**bound)
    table = component_attributions(experiment, run=run)
    subject = f"direct logit attribution of {component} of layer {layer} on {where(experiment)}"
    return _layer_claim(table, layer, component, accepted, subject)


def _layer_claim(table: Table, layer: int | str, column: str, bound: Bound, subject: str) -> Verdict:  # type: ignore[type-arg]
    """A verdict on one row, with its neighbours as controls."""
    __tracebackhide__ = True
    key = table.key((layer, column))
    rows = [cell for cell in table if cell[1] == column]
    if key not in rows:
        raise UsageError(f"the table has no {name_of(key)}")
    i = rows.index(key)
    beside = [rows[j] for j in (i - 1, i + 1) if 0 <= j < len(rows)]
    checks = tuple(Control(name_of(cell), table[cell].value) for cell in beside)
    return conclude(replace(judge(table[key], bound), controls=checks), subject)
