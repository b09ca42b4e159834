"""Assertions about what changes when something is replaced: streams, paths, ablated heads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Unpack

from pytest_interp.assertions.question import (
    CONTROLS,
    BoundArgs,
    Controls,
    Demands,
    HeadSet,
    Question,
    SetBoundArgs,
    answer,
    bias_text,
    conclude,
    control,
    in_trial,
    named_heads,
    require_capability,
    where,
    with_evidence,
)
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.heads import Head, HeadLike, as_heads, names_of
from pytest_interp.measurement import Measurement, quote
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.judge import Verdict, judge

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment
    from pytest_interp.engine.metric import Metric
    from pytest_interp.engine.patch import Ablation, At
    from pytest_interp.measure.patching import Direction, Stream
    from pytest_interp.measure.path_patching import Into, MLPs


@checked
@in_one_state
def assert_patch_effect(
    experiment: Experiment,
    site: Stream,
    layer: int,
    *,
    at: At = None,
    direction: Direction = "denoise",
    corruption: str = "s2-exchanged",
    metric: Metric | str = "recovered",
    controls: Controls = 0,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts the effect of exchanging a layer's residual stream or output between clean and corrupted run.

    The same layer at the data set's other named positions is measured beside it.

    Args:
        experiment: checkpoint and data set.
        site: ``resid_pre``, ``resid_mid``, ``resid_post``, ``attn_out`` or ``mlp_out``.
        layer: from 0.
        at: a named position, an index, several, or None for all.
        direction: ``denoise`` (clean into corrupted) or ``noise``.
        corruption: the corrupted run.
        metric: ``recovered`` (0 corrupted, 1 clean), ``logit_diff``, ``log_prob``, ``kl`` ... or a ``Metric``.
        controls: further ones, by kind: ``{"other_names": 1, "random_model": 1}``.
        **bound: in the unit of the metric.

    Raises:
        NotApplicable: the model does not do the task on these prompts, has no such site, or both runs are equal there.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import patch_effect

    demands = Demands.of(bound)
    require_capability(experiment)

    def measure(on: Experiment, place: At) -> Measurement:
        return patch_effect(on, site, layer, at=place, direction=direction, corruption=corruption, metric=metric)

    verdict = judge(measure(experiment, at), demands.bound)
    beside = isinstance(at, str) and not in_trial()
    others = [name for name in experiment.data.clean.position_names if beside and name != at]
    checks = tuple(
        control(name, partial(measure, experiment, name), "position", verdict.measurement, demands.bound)
        for name in others
    )
    subject = f"patch effect of {site} {layer} ({direction} at {_text(at)}, {corruption}) on {where(experiment)}"
    caveats = _corruption_caveat(experiment, corruption, verdict.measurement, demands.bound)
    question = Question(experiment, lambda on, _: measure(on, at), demands, subject, caveats=caveats)
    return conclude(with_evidence(replace(verdict, controls=checks), question, controls), subject)


@checked
@in_one_state
def assert_path_patch_effect(
    experiment: Experiment,
    senders: HeadLike | Iterable[HeadLike],
    receivers: HeadLike | Iterable[HeadLike] | Literal["logits"],
    *,
    into: Into | None = None,
    at: At = "END",
    corruption: str = "abc",
    mlps: MLPs = "recompute",
    metric: Literal["logit_diff", "of_clean"] = "logit_diff",
    controls: Controls = CONTROLS,
    **bound: Unpack[SetBoundArgs],
) -> Verdict:
    """Asserts what heads do to the logit difference along direct paths into other heads, or into the logits.

    Of several senders or receivers the verdict says what each adds.

    Args:
        experiment: checkpoint and data set.
        senders: one head or several, corrupted at all positions.
        receivers: heads after them, or ``"logits"``.
        into: the receivers' ``q``, ``k`` or ``v``; None for the logits.
        at: the positions of the receivers' input; None for all.
        corruption: where the senders' output comes from.
        mlps: ``recompute`` (as in the IOI paper) or ``freeze`` (the residual stream alone carries).
        metric: ``logit_diff`` (patched minus clean) or ``of_clean`` (as a share of the clean logit difference).
        controls: how many random senders of the same layers to measure beside it, or how many of each kind.
        **bound: in the unit of the metric; negative where the path helps the task. ``members_at_least=`` and
            ``members_at_most=`` bound each of several senders.

    Raises:
        NotApplicable: the model does not do the task; no receiver comes after a sender; what is sent is equal in both
            runs at the receivers' positions.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import path_patch_effect
    from pytest_interp.measure.path_patching import is_logits

    demands = Demands.of(bound, of_set=True)
    require_capability(experiment)
    named = named_heads(senders, demands)
    # Receivers are no controls of their senders, though they may share a layer with some.
    target: tuple[Head, ...] | Literal["logits"] = "logits" if is_logits(receivers) else as_heads(receivers)

    def measure(on: Experiment, some: tuple[Head, ...]) -> Measurement:
        return path_patch_effect(on, some, target, into=into, at=at, corruption=corruption, mlps=mlps, metric=metric)

    def into_receivers(some: tuple[Head, ...]) -> Measurement:
        return path_patch_effect(
            experiment, named, some, into=into, at=at, corruption=corruption, mlps=mlps, metric=metric
        )

    senders_and_receivers = [HeadSet(named, partial(measure, experiment))]
    if target != "logits":
        senders_and_receivers.append(HeadSet(target, into_receivers, "receiver"))
    end = "the logits" if target == "logits" else f"{into} of {names_of(target)} at {_text(at)}"
    subject = f"path from {names_of(named)} to {end} ({corruption}, MLPs {mlps}) on {where(experiment)}"
    question = Question(experiment, measure, demands, subject, named, sets=tuple(senders_and_receivers))
    return answer(question, controls)


@checked
@in_one_state
def assert_ablation_effect(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    ablation: Ablation = "mean",
    at: At = "END",
    metric: Metric | str = "logit_diff",
    run: str = "clean",
    value_bias: ValueBias = "kept",
    controls: Controls = CONTROLS,
    **bound: Unpack[SetBoundArgs],
) -> Verdict:
    """Asserts the change of a metric when heads are ablated, all of them in one pass: ablated minus unablated.

    Of several heads the verdict says what each adds.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several.
        ablation: ``mean`` over ABC prompts of the same template, ``zero``, ``resample`` or ``permute``.
        at: a named position, an index, several, or None for all.
        metric: ``logit_diff``, ``log_prob``, ``kl`` ... or a ``Metric``.
        run: ``clean`` or a corruption.
        value_bias: what ``zero`` leaves: with ``kept`` the heads' value biases stay, with ``removed`` they go too.
        controls: how many random heads of the same layers to ablate beside it, or how many of each kind.
        **bound: in the unit of the metric; negative where the heads help. ``members_at_least=`` and
            ``members_at_most=`` bound each of several heads.

    Raises:
        NotApplicable: the model does not do the task on these prompts, or nothing is taken away from any.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import ablation_effect

    demands = Demands.of(bound, of_set=True)
    require_capability(experiment)

    def measure(on: Experiment, some: tuple[Head, ...]) -> Measurement:
        return ablation_effect(on, some, ablation=ablation, at=at, metric=metric, run=run, value_bias=value_bias)

    named = named_heads(heads, demands)
    bias = bias_text(value_bias, "kept")
    subject = f"{ablation} ablation of {names_of(named)} at {_text(at)}{bias} on {where(experiment)}"
    return answer(Question(experiment, measure, demands, subject, named), controls)


@checked
@in_one_state
def assert_flips(
    experiment: Experiment, corruption: str, *, controls: Controls = 0, **bound: Unpack[BoundArgs]
) -> Verdict:
    """Asserts the share of prompts whose answer a corruption flips; the data set's other corruptions are shown too.

    A patching effect from a corruption that leaves the answer as it is means nothing: put this beside it.

    Args:
        experiment: checkpoint and data set.
        corruption: the corrupted run.
        controls: further ones, by kind: ``{"other_names": 1, "random_model": 1}``.
        **bound: a share in [0, 1].
    """
    __tracebackhide__ = True
    from pytest_interp.measure import flips

    demands = Demands.of(bound)
    verdict = judge(flips(experiment, corruption), demands.bound)
    others = [name for name in experiment.data.corrupted if name != corruption and not in_trial()]
    checks = tuple(
        control(name, partial(flips, experiment, name), "corruption", verdict.measurement, demands.bound)
        for name in others
    )
    subject = f"{corruption} flips the answer on {where(experiment)}"
    question = Question(experiment, lambda on, _: flips(on, corruption), demands, subject)
    return conclude(with_evidence(replace(verdict, controls=checks), question, controls), subject)


def _corruption_caveat(experiment: Experiment, corruption: str, effect: Measurement, bound: Bound) -> tuple[str, ...]:
    """The caveat where a corruption as a whole changes no more than a claim of no effect allows."""
    if in_trial() or not str(effect.about.get("metric")).startswith("logit_diff") or not bound.accepts(0):
        return ()
    change = float((experiment.logit_diffs() - experiment.logit_diffs(corruption)).mean())
    if not (bound.accepts(change) and bound.accepts(-change)):
        return ()
    return (f"the corruption itself changes the logit difference by {quote(change)} only: nothing could do more",)


def _text(at: At) -> str:
    return "all positions" if at is None else str(at) if isinstance(at, str | int) else ", ".join(map(str, at))
