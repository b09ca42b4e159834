"""Assertions about what an activation does when it is exchanged between two runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Unpack

from pytest_interp.assertions.answer import answer, conclude
from pytest_interp.assertions.capability import require_capability
from pytest_interp.assertions.controls import CONTROLS, Controls, control
from pytest_interp.assertions.demands import BoundArgs, Demands, SetBoundArgs, named_heads
from pytest_interp.assertions.evidence import with_evidence
from pytest_interp.assertions.members import HeadSet
from pytest_interp.assertions.other_tasks import Knockout
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.assertions.subject import place_of, position_text
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.heads import Head, HeadLike, names_of
from pytest_interp.measurement import Measurement, quote
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.judge import Verdict, judge
from pytest_interp.verdict.recording import in_trial

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment
    from pytest_interp.engine.metric import Metric
    from pytest_interp.measure.patching import Activation, Direction, Stream
    from pytest_interp.tasks.positions import At


@checked
@in_one_state
def assert_head_patch_effect(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    site: Activation = "z",
    at: At = None,
    direction: Direction = "denoise",
    corruption: str | None = None,
    metric: Metric | str = "recovered",
    controls: Controls = CONTROLS,
    **bound: Unpack[SetBoundArgs],
) -> Verdict:
    """Asserts the effect of exchanging an activation of heads between clean and corrupted run.

    Of several heads the verdict says what each adds: its effect alone, and the set's effect minus that without it.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several; several are exchanged at once.
        site: ``z``, ``q``, ``k``, ``v`` or ``pattern``.
        at: a named position, an index, several, or None for all.
        direction: ``denoise`` (clean into corrupted) or ``noise``.
        corruption: the corrupted run; by default the data set's only one, and ``s2-exchanged`` where it has several.
        metric: ``recovered`` (0 corrupted, 1 clean) or ``logit_diff`` (patched minus unpatched, in logits).
        controls: how many random heads of the same layers to measure beside it, or how many of each kind;
            ``{"other_task": 1}``: the share of the logit difference that a corrupted activation costs on another task.
        **bound: in the unit of the metric; ``members_at_least=`` and ``members_at_most=`` bound each of several heads.

    Raises:
        NotApplicable: the model does not do the task on these prompts, or both runs are equal there on all of them.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_head_patch_effect(experiment, "3.0", at="END", at_least=0.3).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import head_patch_effect
    from pytest_interp.measure.patching import corruption_of

    demands = Demands.of(bound, of_set=True)
    corrupted = corruption_of(experiment, corruption)
    require_capability(experiment)
    claimed_heads = named_heads(heads, demands)
    measure = Measure.of_heads(
        head_patch_effect, None, site=site, at=at, direction=direction, corruption=corrupted, metric=metric
    )
    setting = f"{direction} {site} at {position_text(at)}, {corrupted}"
    subject = f"patch effect of {names_of(claimed_heads)} ({setting}) on {place_of(experiment)}"
    shared = site in ("k", "v")
    # When clean is put into corrupted, the divergence from the clean run that doing nothing leaves is not known.
    unknown = direction == "denoise" and str(metric).startswith("kl")
    sets = () if unknown else (HeadSet(claimed_heads, partial(measure.of, experiment)),)
    knockout = Knockout(lambda on, at: _cost(on, claimed_heads, site, at, corrupted), at)
    question = Question(experiment, measure, demands, subject, claimed_heads, shared, sets=sets, knockout=knockout)
    return answer(question, controls)


def _cost(on: Experiment, heads: tuple[Head, ...], site: Activation, at: At, corruption: str) -> Measurement:
    """What it costs to take an activation from the claim's corruption; on a task without it, from that task's first."""
    from pytest_interp.measure import exchange_cost

    run = corruption if corruption in on.data.corrupted else next(iter(on.data.corrupted))
    return exchange_cost(on, heads, site=site, at=at, corruption=run)


@checked
@in_one_state
def assert_patch_effect(
    experiment: Experiment,
    site: Stream,
    layer: int,
    *,
    at: At = None,
    direction: Direction = "denoise",
    corruption: str | None = None,
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
        corruption: the corrupted run; by default the data set's only one, and ``s2-exchanged`` where it has several.
        metric: ``recovered`` (0 corrupted, 1 clean), ``logit_diff``, ``log_prob``, ``kl`` ... or a ``Metric``.
        controls: further ones, by kind: ``{"other_names": 1, "random_model": 1}``.
        **bound: in the unit of the metric.

    Raises:
        NotApplicable: the model does not do the task on these prompts, has no such site, or both runs are equal there.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_patch_effect(experiment, "resid_pre", 1, at="S2", at_least=0.5).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import patch_effect
    from pytest_interp.measure.patching import corruption_of

    demands = Demands.of(bound)
    corrupted = corruption_of(experiment, corruption)
    require_capability(experiment)
    effect = partial(patch_effect, site=site, layer=layer, direction=direction, corruption=corrupted, metric=metric)
    verdict = judge(effect(experiment, at=at), demands.bound)
    at_one_position = isinstance(at, str) and not in_trial()
    other_positions = [name for name in experiment.data.clean.position_names if at_one_position and name != at]
    checks = tuple(
        control(name, partial(effect, experiment, at=name), "position", verdict.measurement, demands.bound)
        for name in other_positions
    )
    subject = (
        f"patch effect of {site} {layer} ({direction} at {position_text(at)}, {corrupted}) on {place_of(experiment)}"
    )
    caveats = _corruption_caveat(experiment, corrupted, verdict.measurement, demands.bound)
    question = Question(experiment, Measure.of_model(effect, at=at), demands, subject, caveats=caveats)
    return conclude(with_evidence(replace(verdict, controls=checks), question, controls), subject)


@checked
@in_one_state
def assert_flips(
    experiment: Experiment, corruption: str | None = None, *, controls: Controls = 0, **bound: Unpack[BoundArgs]
) -> Verdict:
    """Asserts the share of prompts whose answer a corruption flips; the data set's other corruptions are shown too.

    A patching effect from a corruption that leaves the answer as it is means nothing: put this beside it.

    Args:
        experiment: checkpoint and data set.
        corruption: the corrupted run; by default the data set's only one, and ``s2-exchanged`` where it has several.
        controls: further ones, by kind: ``{"other_names": 1, "random_model": 1}``.
        **bound: a share in [0, 1].

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_flips(experiment, at_least=0.8).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import flips
    from pytest_interp.measure.patching import corruption_of

    demands = Demands.of(bound)
    corrupted = corruption_of(experiment, corruption)
    verdict = judge(flips(experiment, corrupted), demands.bound)
    other_corruptions = [name for name in experiment.data.corrupted if name != corrupted and not in_trial()]
    checks = tuple(
        control(name, partial(flips, experiment, name), "corruption", verdict.measurement, demands.bound)
        for name in other_corruptions
    )
    subject = f"{corrupted} flips the answer on {place_of(experiment)}"
    question = Question(experiment, Measure.of_model(flips, corrupted), demands, subject)
    return conclude(with_evidence(replace(verdict, controls=checks), question, controls), subject)


def _corruption_caveat(experiment: Experiment, corruption: str, effect: Measurement, bound: Bound) -> tuple[str, ...]:
    """The caveat where a corruption as a whole changes no more than a claim of no effect allows."""
    if in_trial() or not (effect.context.metric or "").startswith("logit_diff") or not bound.accepts(0):
        return ()
    change = float((experiment.logit_diffs() - experiment.logit_diffs(corruption)).mean())
    if not (bound.accepts(change) and bound.accepts(-change)):
        return ()
    return (f"the corruption itself changes the logit difference by {quote(change)} only: nothing could do more",)
