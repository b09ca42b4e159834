"""Assertions about what reacts when heads are knocked out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Unpack

from pytest_interp.assertions.answer import answer, conclude
from pytest_interp.assertions.capability import certainly, require_capability
from pytest_interp.assertions.controls import CONTROLS, Controls
from pytest_interp.assertions.demands import POSITIVE, BoundArgs, Demands, SetBoundArgs, named_heads
from pytest_interp.assertions.evidence import with_evidence
from pytest_interp.assertions.members import HeadSet
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.assertions.subject import bias_text, place_of
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.heads import Head, HeadLike, as_heads, names_of
from pytest_interp.measurement import Measurement, quote
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.judge import Verdict, judge

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment
    from pytest_interp.engine.patch import Ablation
    from pytest_interp.measure.backup import BackupEffect


@checked
@in_one_state
def assert_backup_heads(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    knocked_out: HeadLike | Iterable[HeadLike],
    ablation: Ablation = "mean",
    value_bias: ValueBias = "kept",
    controls: Controls = CONTROLS,
    **bound: Unpack[SetBoundArgs],
) -> Verdict:
    """Asserts that heads write more into the answer's direction when others are knocked out at END.

    The bound is on the rise of the set, in logits, and must hold with the final norm's scale frozen at the clean
    run's and with its own. A head that lowered the answer before by more than a tenth of its rise is released, not
    a backup: naming one as a backup refutes the claim. The total logit difference after, and the naive prediction,
    stand in the record. Of several backups, and of several knocked-out heads, the verdict says what each adds.

    Args:
        experiment: checkpoint and data set.
        heads: the heads that should rise.
        knocked_out: the heads whose z at END is replaced.
        ablation: ``mean`` over ABC prompts of the same template, or ``zero``.
        value_bias: what ``zero`` leaves: with ``kept`` the heads' value biases stay, with ``removed`` they go too.
        controls: how many random heads of the same layers to watch beside them, or how many of each kind.
        **bound: in logits; ``members_at_least=`` and ``members_at_most=`` bound each of several backups.

    Raises:
        NotApplicable: the model does not do the task, no backup comes after a knocked-out head, or the knock-out takes
            nothing away.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_backup_heads(experiment, "4.1", knocked_out=["3.0", "3.1", "3.2"], at_least=3).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import backup_effect

    demands = Demands.of(bound, of_set=True)
    require_capability(experiment)
    ablated_heads, watched = as_heads(knocked_out), named_heads(heads, demands)
    effect = backup_effect(experiment, watched, knocked_out=ablated_heads, ablation=ablation, value_bias=value_bias)
    frozen, live = (judge(effect.rise(watched, norm), demands.bound) for norm in _NORMS)
    # Where the claim is that nothing rises, a released head is no counterexample.
    released = [] if demands.bound.accepts(0) else [head for head in watched if _is_released(effect, head)]
    verdict = frozen if frozen.outcome != "supported" else live
    norm: Literal["frozen", "live"] = "frozen" if verdict is frozen else "live"
    notes = verdict.notes
    if verdict is live and live.outcome != "supported":
        notes = (*notes, "the rise holds with the norm's scale frozen, not with the run's own: it is rescaling")
    if released:
        verdict = replace(verdict, outcome="refuted")
        notes = (*notes, f"{names_of(released)} lowered the answer before: released, not a backup")
    details = {
        "one by one": ", ".join(
            f"{head} {quote(effect.before[head].value)} to {quote(effect.after[head].value)}"
            f" (live {quote(effect.after_live[head].value)})"
            for head in watched
        ),
        "rise live": quote(live.measurement.value),
        "logit diff": f"{quote(effect.total_before.value)} before, {quote(effect.total_after.value)} after, "
        f"{quote(effect.naive.value)} if nothing reacted",
    }
    how = f"{ablation}{bias_text(value_bias, 'kept')}"
    subject = f"rise of {names_of(watched)} without {names_of(ablated_heads)} ({how}) on {place_of(experiment)}"
    total_rise = partial(_rise, ablation=ablation, value_bias=value_bias)
    sets = (
        HeadSet(watched, effect.rise),
        HeadSet(ablated_heads, partial(total_rise, experiment, watched), "knocked-out"),
    )
    measure = Measure.of_heads(total_rise, None, ablated_heads, norm=norm)
    question = Question(experiment, measure, demands, subject, watched, excluded=frozenset(ablated_heads), sets=sets)
    return conclude(with_evidence(replace(verdict, notes=notes, details=details), question, controls), subject)


@checked
@in_one_state
def assert_self_repair(
    experiment: Experiment,
    knocked_out: HeadLike | Iterable[HeadLike],
    *,
    ablation: Ablation = "mean",
    value_bias: ValueBias = "kept",
    controls: Controls = 0,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts the share of knocked-out heads' direct effect that the rest of the model makes up for.

    ``(after - naive) / (before - naive)``, each a mean logit difference: 0 if nothing reacts, 1 if the loss is
    made good, negative if the rest makes it worse. Names no backup, so it makes sense on any checkpoint. Of several
    knocked-out heads the verdict says how much of the direct effect each is.

    Args:
        experiment: checkpoint and data set.
        knocked_out: the heads whose z at END is replaced.
        ablation: ``mean`` over ABC prompts of the same template, or ``zero``.
        value_bias: what ``zero`` leaves: with ``kept`` the heads' value biases stay, with ``removed`` they go too.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: a share; any real number.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_self_repair(experiment, ["3.0", "3.1", "3.2"], at_least=0.3).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure.backup import removed_attribution, self_repair

    demands = Demands.of(bound)
    require_capability(experiment)
    ablated_heads = as_heads(knocked_out)
    how = f"{ablation}{bias_text(value_bias, 'kept')}"
    subject = f"self-repair without {names_of(ablated_heads)} ({how}) on {place_of(experiment)}"
    measure = Measure.of_model(self_repair, ablated_heads, ablation=ablation, value_bias=value_bias)
    written = partial(removed_attribution, experiment, ablation=ablation, value_bias=value_bias)
    sets = (HeadSet(ablated_heads, written, "knocked-out"),)
    return answer(Question(experiment, measure, demands, subject, sets=sets), controls)


def _is_released(effect: BackupEffect, head: Head) -> bool:
    """Whether a head surely rises, and surely lowered the answer before by more than a tenth of its rise."""
    rise = effect.rise([head])
    return certainly(rise, POSITIVE) and certainly(effect.before[head], Bound.of(at_most=-0.1 * rise.value))


def _rise(
    experiment: Experiment,
    heads: tuple[Head, ...],
    knocked_out: tuple[Head, ...],
    norm: Literal["frozen", "live"] = "frozen",
    *,
    ablation: Ablation,
    value_bias: ValueBias,
) -> Measurement:
    """What heads write more, together, when others are knocked out; in logits."""
    from pytest_interp.measure import backup_effect

    effect = backup_effect(experiment, heads, knocked_out=knocked_out, ablation=ablation, value_bias=value_bias)
    return effect.rise(heads, norm)


_NORMS: tuple[Literal["frozen"], Literal["live"]] = ("frozen", "live")
