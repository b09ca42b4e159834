"""Assertions about what reacts when heads are knocked out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Unpack

from pytest_interp.assertions._controls import draw_controls
from pytest_interp.assertions._core import (
    CONTROLS,
    POSITIVE,
    BoundArgs,
    Controls,
    Question,
    answer,
    bias_text,
    certainly,
    conclude,
    counts_of,
    in_trial,
    require_capability,
    where,
    with_controls,
)
from pytest_interp.heads import Head, HeadLike, as_heads, names_of
from pytest_interp.measurement import Measurement, quote
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.judge import Control, Verdict, judge

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment
    from pytest_interp.engine.interventions import Ablation


def assert_backup_heads(
    experiment: Experiment,
    knocked_out: HeadLike | Iterable[HeadLike],
    backups: HeadLike | Iterable[HeadLike],
    *,
    ablation: Ablation = "mean",
    value_bias: ValueBias = "kept",
    controls: Controls = CONTROLS,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts that heads write more into the answer's direction when others are knocked out at END.

    The bound is on the rise of the set, in logits, and must hold with the final norm's scale frozen at the clean
    run's and with its own. A head that lowered the answer before by more than a tenth of its rise is released, not
    a backup: naming one as a backup refutes the claim. The total logit difference after, and the naive prediction,
    stand in the record.

    Args:
        experiment: checkpoint and data set.
        knocked_out: the heads whose z at END is replaced.
        backups: the heads that should rise.
        ablation: ``mean`` over ABC prompts of the same template, or ``zero``.
        value_bias: what ``zero`` leaves: with ``kept`` the heads' value biases stay, with ``removed`` they go too.
        controls: how many random heads of the same layers to watch beside them, or how many of each kind.
        **bound: in logits.

    Raises:
        NotApplicable: the model does not do the task, or no backup comes after a knocked-out head.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import backup_effect

    accepted = Bound.of(**bound)
    require_capability(experiment)
    out, watched = as_heads(knocked_out), as_heads(backups)
    count = 0 if in_trial() else counts_of(controls).get("same_layer", 0)
    drawn = draw_controls(experiment.checkpoint, watched, count, experiment.seed, frozenset(out))
    everyone = {*watched, *(head for heads in drawn for head in heads)}
    effect = backup_effect(experiment, out, everyone, ablation=ablation, value_bias=value_bias)
    frozen, live = (judge(effect.rise(watched, norm), accepted) for norm in _NORMS)
    released = [
        head
        for head in watched
        if certainly(rise := effect.rise([head]), POSITIVE)
        and certainly(effect.before[head], Bound.of(at_most=-0.1 * rise.value))
    ]
    verdict = frozen if frozen.outcome != "supported" else live
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
    checks = tuple(Control(names_of(heads), effect.rise(heads).value, kind="same_layer") for heads in drawn)
    how = f"{ablation}{bias_text(value_bias, 'kept')}"
    subject = f"rise of {names_of(watched)} without {names_of(out)} ({how}) on {where(experiment)}"
    verdict = replace(verdict, notes=notes, controls=checks, details=details)

    def measure(on: Experiment, some: tuple[Head, ...]) -> Measurement:
        return backup_effect(on, out, some, ablation=ablation, value_bias=value_bias).rise(some)

    question = Question(experiment, measure, accepted, subject, watched, excluded=frozenset(out))
    return conclude(with_controls(verdict, question, {**counts_of(controls), "same_layer": 0}), subject)


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
    made good, negative if the rest makes it worse. Names no backup, so it makes sense on any checkpoint.

    Args:
        experiment: checkpoint and data set.
        knocked_out: the heads whose z at END is replaced.
        ablation: ``mean`` over ABC prompts of the same template, or ``zero``.
        value_bias: what ``zero`` leaves: with ``kept`` the heads' value biases stay, with ``removed`` they go too.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: a share; any real number.
    """
    __tracebackhide__ = True
    from pytest_interp.measure.backup import self_repair

    accepted = Bound.of(**bound)
    require_capability(experiment)
    out = as_heads(knocked_out)
    subject = f"self-repair without {names_of(out)} ({ablation}{bias_text(value_bias, 'kept')}) on {where(experiment)}"

    def measure(on: Experiment, _: tuple[Head, ...]) -> Measurement:
        return self_repair(on, out, ablation=ablation, value_bias=value_bias)

    return answer(Question(experiment, measure, accepted, subject), controls)


_NORMS: tuple[Literal["frozen"], Literal["live"]] = ("frozen", "live")
