"""Assertions that name heads: patching, attention, attribution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Unpack

from pytest_interp.assertions.question import (
    CONTROLS,
    POSITIVE,
    BoundArgs,
    Controls,
    Demands,
    HeadSet,
    Question,
    SetBoundArgs,
    answer,
    bias_text,
    capability_caveat,
    in_trial,
    named_heads,
    require_capability,
    where,
)
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.heads import Head, HeadLike, as_head, as_heads, names_of
from pytest_interp.measurement import Measurement, quote
from pytest_interp.verdict.judge import Verdict

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment
    from pytest_interp.engine.metric import Metric
    from pytest_interp.measure.detectors import Detector
    from pytest_interp.measure.patching import Activation, Direction
    from pytest_interp.table import Table


@checked
@in_one_state
def assert_head_patch_effect(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    activation: Activation = "z",
    at: str | None = None,
    direction: Direction = "denoise",
    corruption: str = "s2-exchanged",
    metric: Metric | str = "recovered",
    controls: Controls = CONTROLS,
    **bound: Unpack[SetBoundArgs],
) -> Verdict:
    """Asserts the effect of exchanging an activation of heads between clean and corrupted run.

    Of several heads the verdict says what each adds: its effect alone, and the set's effect minus that without it.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several; several are exchanged at once.
        activation: ``z``, ``q``, ``k``, ``v`` or ``pattern``.
        at: a named position, or None for all.
        direction: ``denoise`` (clean into corrupted) or ``noise``.
        corruption: the corrupted run.
        metric: ``recovered`` (0 corrupted, 1 clean) or ``logit_diff`` (patched minus unpatched, in logits).
        controls: how many random heads of the same layers to measure beside it, or how many of each kind.
        **bound: in the unit of the metric; ``members_at_least=`` and ``members_at_most=`` bound each of several heads.

    Raises:
        NotApplicable: the model does not do the task on these prompts, or both runs are equal there on all of them.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import head_patch_effect

    demands = Demands.of(bound, of_set=True)
    require_capability(experiment)

    def measure(on: Experiment, some: tuple[Head, ...]) -> Measurement:
        return head_patch_effect(
            on, some, activation=activation, at=at, direction=direction, corruption=corruption, metric=metric
        )

    named = named_heads(heads, demands)
    way = f"{direction} {activation} at {at or 'all positions'}, {corruption}"
    subject = f"patch effect of {names_of(named)} ({way}) on {where(experiment)}"
    shared = activation in ("k", "v")
    # Of a divergence from the clean run that of doing nothing is not known when clean is put into corrupted.
    unknown = direction == "denoise" and str(metric).startswith("kl")
    sets = () if unknown else (HeadSet(named, partial(measure, experiment)),)
    return answer(Question(experiment, measure, demands, subject, named, shared, sets=sets), controls)


@checked
@in_one_state
def assert_attention(
    experiment: Experiment,
    head: HeadLike,
    *,
    at: str,
    to: str,
    more_than: Sequence[str] = (),
    weighted: bool = False,
    run: str = "clean",
    value_bias: ValueBias = "removed",
    controls: Controls = CONTROLS,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts how much a head attends from one named position to another, or by how much more than to others.

    Args:
        experiment: checkpoint and data set.
        head: a query head.
        at: the position that attends.
        to: the position attended to.
        more_than: positions whose attention is taken off; without a bound the rest must be more than 0.
        weighted: by the norm of what is moved from each position.
        run: ``clean`` or a corruption.
        value_bias: for ``weighted``: whether values are without their bias (``removed``) or with it (``kept``).
        controls: how many random heads of the same layers to measure beside it, or how many of each kind.
        **bound: a probability, or a difference of probabilities.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import attention, head_attentions

    demands = Demands.of(bound, POSITIVE if more_than else None)

    def measure(on: Experiment, some: tuple[Head, ...]) -> Measurement:
        return attention(
            on, some[0], at=at, to=to, more_than=more_than, weighted=weighted, run=run, value_bias=value_bias
        )

    def everywhere(on: Experiment) -> Table[Head]:
        return head_attentions(on, at=at, to=to, more_than=more_than, weighted=weighted, run=run, value_bias=value_bias)

    less = f" minus {', '.join(more_than)}" if more_than else ""
    kind = "value-weighted attention" if weighted else "attention"
    subject = (
        f"{kind} of {as_head(head)} from {at} to {to}{less}{bias_text(value_bias, 'removed')} on {where(experiment)}"
    )
    checkpoint = experiment.checkpoint
    asked = not weighted and not in_trial()
    moves = not asked or checkpoint.moves_anything(checkpoint.check_head(as_head(head)))
    caveats = () if moves else (f"{as_head(head)} moves nothing: its values or output weights are 0",)
    question = Question(experiment, measure, demands, subject, as_heads(head), everywhere=everywhere, caveats=caveats)
    return answer(question, controls)


@checked
@in_one_state
def assert_direct_logit_attribution(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    run: str = "clean",
    value_bias: ValueBias = "removed",
    controls: Controls = CONTROLS,
    **bound: Unpack[SetBoundArgs],
) -> Verdict:
    """Asserts what heads write into the answer's direction at END, summed over the heads.

    Attribution alone does not make a name mover: look at where the head reads and at its copy score too.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several.
        run: ``clean`` or a corruption.
        value_bias: whether what their value biases write counts as theirs (``kept``) or not (``removed``).
        controls: how many random heads of the same layers to measure beside it, or how many of each kind.
        **bound: in logits; ``members_at_least=`` and ``members_at_most=`` bound each of several heads.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import direct_logit_attribution, head_attributions

    demands = Demands.of(bound, of_set=True)
    named = named_heads(heads, demands)

    def measure(on: Experiment, some: tuple[Head, ...]) -> Measurement:
        return direct_logit_attribution(on, some, run=run, value_bias=value_bias)

    def everywhere(on: Experiment) -> Table[Head]:
        return head_attributions(on, run=run, value_bias=value_bias)

    subject = f"direct logit attribution of {names_of(named)}{bias_text(value_bias, 'removed')} on {where(experiment)}"
    caveats = capability_caveat(experiment)
    question = Question(experiment, measure, demands, subject, named, everywhere=everywhere, caveats=caveats)
    return answer(question, controls)


@checked
@in_one_state
def assert_attention_write_correlation(
    experiment: Experiment,
    head: HeadLike,
    *,
    to: Sequence[str] = ("IO", "S1", "S2"),
    run: str = "clean",
    value_bias: ValueBias = "removed",
    controls: Controls = CONTROLS,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts the correlation between a head's attention to names at END and what it writes towards each.

    Args:
        experiment: checkpoint and data set.
        head: a query head.
        to: the positions of the names.
        run: ``clean`` or a corruption.
        value_bias: whether what the head's value bias writes counts as its (``kept``) or not (``removed``).
        controls: how many random heads of the same layers to measure beside it, or how many of each kind.
        **bound: Pearson's r, in [-1, 1]; negative for a head that suppresses what it reads.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import attention_write_correlation, direct_logit_attribution

    demands = Demands.of(bound)

    def measure(on: Experiment, some: tuple[Head, ...]) -> Measurement:
        return attention_write_correlation(on, some[0], to=to, run=run, value_bias=value_bias)

    bias = bias_text(value_bias, "removed")
    subject = f"correlation of attention and write of {as_head(head)}{bias} on {where(experiment)}"
    notes: tuple[str, ...] = ()
    if not in_trial():
        written = direct_logit_attribution(experiment, head, run=run, value_bias=value_bias).value
        notes = (f"a correlation has no size: on average the head writes {quote(written)} logits",)
    return answer(Question(experiment, measure, demands, subject, as_heads(head), notes=notes), controls)


@checked
@in_one_state
def assert_detector_score(
    experiment: Experiment, head: HeadLike, kind: Detector, *, controls: Controls = CONTROLS, **bound: Unpack[BoundArgs]
) -> Verdict:
    """Asserts how much a head attends as a previous-token, duplicate-token or induction head does.

    Args:
        experiment: a checkpoint on random tokens that are said twice: the fixture ``doubled``.
        head: a query head.
        kind: ``previous_token``, ``duplicate_token`` or ``induction``.
        controls: how many random heads of the same layers to measure beside it, or how many of each kind.
        **bound: a probability in [0, 1].
    """
    __tracebackhide__ = True
    from pytest_interp.measure import detector_score, detector_scores

    demands = Demands.of(bound)

    def measure(on: Experiment, some: tuple[Head, ...]) -> Measurement:
        return detector_score(on, some[0], kind)

    def everywhere(on: Experiment) -> Table[Head]:
        return detector_scores(on, kind)

    subject = f"{kind.replace('_', '-')} score of {as_head(head)} on {where(experiment)}"
    lengths = {group.tokens.shape[1] for group in experiment.data.clean.groups}
    notes = () if len(lengths) > 1 or kind == "previous_token" else (_ONE_LENGTH,)
    question = Question(experiment, measure, demands, subject, as_heads(head), everywhere=everywhere, notes=notes)
    return answer(question, controls)


_ONE_LENGTH = "all sequences have one length: a head that looks back by a fixed distance has this score too"
