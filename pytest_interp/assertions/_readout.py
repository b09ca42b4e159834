"""Assertions about what is read off the model: next tokens, the logit lens, components' attribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import log
from typing import TYPE_CHECKING, Any, Literal, Unpack

from pytest_interp.assertions.question import (
    BoundArgs,
    Controls,
    Demands,
    Question,
    answer,
    conclude,
    control,
    in_trial,
    where,
    with_evidence,
)
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.table import Table, name_of
from pytest_interp.verdict.caveats import chance_caveat
from pytest_interp.verdict.judge import Verdict, judge

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment
    from pytest_interp.engine.metric import Metric


@checked
@in_one_state
def assert_next_token(
    experiment: Experiment,
    metric: Metric | str = "log_prob",
    *,
    run: str = "clean",
    controls: Controls = 0,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts a score of the next token: log-probability, probability, rank or logit of the answer or another token.

    Args:
        experiment: checkpoint and data set.
        metric: ``log_prob``, ``probability``, ``rank`` ... of the answer at END, or a ``Metric`` for another token or
            position.
        run: ``clean`` or a corruption, scored with the clean run's answers.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: in the metric's unit; a mean over prompts.
    """
    __tracebackhide__ = True
    from pytest_interp.engine.metric import as_metric
    from pytest_interp.measure import next_token

    demands = Demands.of(bound)
    subject = f"{as_metric(metric).text} on {where(experiment)}"
    return answer(Question(experiment, lambda on, _: next_token(on, metric, run=run), demands, subject), controls)


@checked
@in_one_state
def assert_top_k(
    experiment: Experiment,
    k: int = 1,
    *,
    run: str = "clean",
    controls: Controls = 0,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts the share of prompts whose answer is among the k likeliest tokens of the whole vocabulary.

    Args:
        experiment: checkpoint and data set.
        k: how many.
        run: ``clean`` or a corruption.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: a share in [0, 1].
    """
    __tracebackhide__ = True
    from pytest_interp.measure import top_k

    demands = Demands.of(bound)
    subject = f"answer in the top {k} on {where(experiment)}"
    chance = k / experiment.checkpoint.shape.d_vocab
    # A prompt's answer is not a token like any other: below a tenth of the vocabulary its share says something.
    caveats = chance_caveat(f"{k} of the vocabulary", demands.bound, chance) if chance >= 0.1 else ()
    question = Question(experiment, lambda on, _: top_k(on, k, run=run), demands, subject, caveats=caveats)
    return answer(question, controls)


@checked
@in_one_state
def assert_loss(
    experiment: Experiment, *, run: str = "clean", controls: Controls = 0, **bound: Unpack[BoundArgs]
) -> Verdict:
    """Asserts the mean cross-entropy of the prompts' own tokens.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.
        controls: by kind: ``{"random_model": 1}``; none by default.
        **bound: in nats.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import loss

    demands = Demands.of(bound)
    subject = f"loss of the {run} prompts on {where(experiment)}"
    chance = log(experiment.checkpoint.shape.d_vocab)
    caveats = chance_caveat("the loss of equal probabilities", demands.bound, chance)
    return answer(Question(experiment, lambda on, _: loss(on, run=run), demands, subject, caveats=caveats), controls)


@checked
@in_one_state
def assert_logit_lens(
    experiment: Experiment,
    layer: int,
    *,
    site: Literal["resid_pre", "resid_mid", "resid_post"] = "resid_post",
    metric: Metric | str = "logit_diff",
    norm: Literal["live", "frozen"] = "live",
    run: str = "clean",
    controls: Controls = 0,
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
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: in the metric's unit.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import logit_lens

    demands = Demands.of(bound)

    def sweep(on: Experiment) -> Table[Any]:
        return logit_lens(on, sites=(site,), metric=metric, norm=norm, run=run)

    subject = f"logit lens at {site} of layer {layer} ({norm} norm) on {where(experiment)}"
    return _layer_claim(experiment, sweep, (layer, site), demands, subject, controls)


@checked
@in_one_state
def assert_component_attribution(
    experiment: Experiment,
    layer: int | Literal["start"],
    component: Literal["attn_out", "mlp_out", "embed", "pos_embed"],
    *,
    run: str = "clean",
    controls: Controls = 0,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts what a layer's attention or MLP, or an embedding, writes into the answer's direction at END.

    The same component of the layers before and after is shown beside it.

    Args:
        experiment: checkpoint and data set.
        layer: from 0, or ``start`` for the embeddings.
        component: ``attn_out``, ``mlp_out``; ``embed``, ``pos_embed`` at the start.
        run: ``clean`` or a corruption.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: in logits.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import component_attributions

    demands = Demands.of(bound)

    def sweep(on: Experiment) -> Table[Any]:
        return component_attributions(on, run=run)

    subject = f"direct logit attribution of {component} of layer {layer} on {where(experiment)}"
    return _layer_claim(experiment, sweep, (layer, component), demands, subject, controls)


def _layer_claim(
    experiment: Experiment,
    sweep: Callable[[Experiment], Table[Any]],
    cell: tuple[int | str, str],
    demands: Demands,
    subject: str,
    controls: Controls,
) -> Verdict:
    """A verdict on one row, with its neighbours as controls."""
    __tracebackhide__ = True
    table = sweep(experiment)
    key = table.key(cell)
    rows = [other for other in table if other[1] == cell[1]]
    i = rows.index(key)
    beside = [rows[j] for j in (i - 1, i + 1) if 0 <= j < len(rows) and not in_trial()]
    verdict = judge(table[key], demands.bound)
    checks = tuple(
        control(name_of(other), partial(table.__getitem__, other), "neighbour", table[key], demands.bound)
        for other in beside
    )
    verdict = replace(verdict, controls=checks)
    question = Question(experiment, lambda on, _: sweep(on)[key], demands, subject)
    return conclude(with_evidence(verdict, question, controls), subject)
