"""One thin function for each measurement: measure, judge, record.

Every assertion takes exactly one bound (``at_least=x``, ``at_most=x``, ``between=(low, high)`` or
``near=(value, tolerance)``), returns its :class:`~pytest_interp.judge.Verdict`, and fails with
:class:`~pytest_interp.errors.ClaimFailed` where the verdict is refuted or inconclusive. Those that name heads
measure the same on control heads: random heads of the same layers outside the circuit.

torch is imported inside the bodies only: collecting claims must stay cheap.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from pytest_interp.errors import ClaimFailed, NotApplicable, UsageError
from pytest_interp.explain import explain
from pytest_interp.heads import Head, HeadLike, as_head, as_heads, names_of
from pytest_interp.judge import Bound, Control, Outcome, Verdict, judge
from pytest_interp.ledger import record_of, write
from pytest_interp.measurement import Measurement, Population, quote

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.engine import Experiment
    from pytest_interp.measure.backup import Ablation
    from pytest_interp.measure.patching import Activation, Direction, Metric

CONTROLS = 3


class BoundArgs(TypedDict, total=False):
    """The bound grammar: exactly one of these."""

    at_least: float
    at_most: float
    between: Sequence[float]
    near: Sequence[float]


def assert_logit_diff(experiment: Experiment, *, run: str = "clean", **bound: Unpack[BoundArgs]) -> Verdict:
    """Asserts the mean logit difference, logit(answer) - logit(distractor) at END.

    Args:
        experiment: checkpoint and data set; ``ioi.where(order="ABBA")`` for one order of names.
        run: ``clean`` or a corruption.
        **bound: in logits.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import logit_diff

    accepted = Bound.of(**bound)
    return _conclude(judge(logit_diff(experiment, run=run), accepted), f"logit difference on {_where(experiment)}")


def assert_accuracy(experiment: Experiment, *, run: str = "clean", **bound: Unpack[BoundArgs]) -> Verdict:
    """Asserts the share of prompts on which the answer's logit is above the distractor's.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.
        **bound: a share in [0, 1].
    """
    __tracebackhide__ = True
    from pytest_interp.measure import accuracy

    accepted = Bound.of(**bound)
    return _conclude(judge(accuracy(experiment, run=run), accepted), f"share right on {_where(experiment)}")


def assert_head_patch_effect(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    activation: Activation = "z",
    at: str | None = None,
    direction: Direction = "denoise",
    corruption: str = "s2-exchanged",
    metric: Metric = "recovered",
    controls: int = CONTROLS,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts the effect of exchanging an activation of heads between clean and corrupted run.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several; several are exchanged at once.
        activation: ``z``, ``q``, ``k``, ``v`` or ``pattern``.
        at: a named position, or None for all.
        direction: ``denoise`` (clean into corrupted) or ``noise``.
        corruption: the corrupted run.
        metric: ``recovered`` (0 corrupted, 1 clean) or ``logit_diff`` (patched minus unpatched, in logits).
        controls: how many random sets of heads of the same layers to measure beside it.
        **bound: in the unit of the metric.

    Raises:
        NotApplicable: the model does not do the task on these prompts.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import head_patch_effect

    accepted = Bound.of(**bound)
    _require_capability(experiment)

    def measure(some: Sequence[Head]) -> Measurement:
        return head_patch_effect(
            experiment, some, activation=activation, at=at, direction=direction, corruption=corruption, metric=metric
        )

    named = as_heads(heads)
    way = f"{direction} {activation} at {at or 'all positions'}, {corruption}"
    subject = f"patch effect of {names_of(named)} ({way}) on {_where(experiment)}"
    return _head_claim(experiment.checkpoint, named, measure, accepted, subject, controls, experiment.seed)


def assert_copy_score(
    checkpoint: Checkpoint,
    head: HeadLike,
    *,
    names: Sequence[str],
    k: int = 5,
    negative: bool = False,
    controls: int = CONTROLS,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts the copy score of a head: the share of names its OV circuit ranks among its own top k.

    Args:
        checkpoint: the loaded model.
        head: a query head.
        names: single-token words, without the leading space.
        k: how many of the top logits count.
        negative: of the OV circuit with its sign turned, as for negative name movers.
        controls: how many random heads of the same layer to measure beside it.
        **bound: a share in [0, 1].
    """
    __tracebackhide__ = True
    from pytest_interp.measure import copy_score

    accepted = Bound.of(**bound)

    def measure(some: Sequence[Head]) -> Measurement:
        return copy_score(checkpoint, some[0], names=names, k=k, sign=-1 if negative else 1)

    subject = f"{'negative ' if negative else ''}copy score of {as_head(head)} (top {k}) on {checkpoint.name}"
    return _head_claim(checkpoint, as_heads(head), measure, accepted, subject, controls, seed=0)


def assert_attention(
    experiment: Experiment,
    head: HeadLike,
    *,
    at: str,
    to: str,
    more_than: Sequence[str] = (),
    run: str = "clean",
    controls: int = CONTROLS,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts how much a head attends from one named position to another, or by how much more than to others.

    Args:
        experiment: checkpoint and data set.
        head: a query head.
        at: the position that attends.
        to: the position attended to.
        more_than: positions whose attention is taken off; without a bound the rest must be at least 0.
        run: ``clean`` or a corruption.
        controls: how many random heads of the same layer to measure beside it.
        **bound: a probability, or a difference of probabilities.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import attention

    if more_than and not bound:
        bound = {"at_least": 0.0}
    accepted = Bound.of(**bound)

    def measure(some: Sequence[Head]) -> Measurement:
        return attention(experiment, some[0], at=at, to=to, more_than=more_than, run=run)

    less = f" minus {', '.join(more_than)}" if more_than else ""
    subject = f"attention of {as_head(head)} from {at} to {to}{less} on {_where(experiment)}"
    return _head_claim(experiment.checkpoint, as_heads(head), measure, accepted, subject, controls, experiment.seed)


def assert_direct_logit_attribution(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    run: str = "clean",
    controls: int = CONTROLS,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts what heads write into the answer's direction at END, summed over the heads.

    Attribution alone does not make a name mover: look at where the head reads and at its copy score too.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several.
        run: ``clean`` or a corruption.
        controls: how many random sets of heads of the same layers to measure beside it.
        **bound: in logits.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import direct_logit_attribution

    accepted = Bound.of(**bound)
    named = as_heads(heads)

    def measure(some: Sequence[Head]) -> Measurement:
        return direct_logit_attribution(experiment, some, run=run)

    subject = f"direct logit attribution of {names_of(named)} on {_where(experiment)}"
    return _head_claim(experiment.checkpoint, named, measure, accepted, subject, controls, experiment.seed)


def assert_backup_heads(
    experiment: Experiment,
    knocked_out: HeadLike | Iterable[HeadLike],
    backups: HeadLike | Iterable[HeadLike],
    *,
    ablation: Ablation = "mean",
    controls: int = CONTROLS,
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
        controls: how many random sets of heads of the same layers to watch beside them.
        **bound: in logits.

    Raises:
        NotApplicable: the model does not do the task, or no backup comes after a knocked-out head.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import backup_effect

    accepted = Bound.of(**bound)
    _require_capability(experiment)
    out, watched = as_heads(knocked_out), as_heads(backups)
    effect = backup_effect(experiment, out, watched, ablation=ablation)
    frozen, live = judge(effect.rise, accepted), judge(effect.rise_live, accepted)
    released = [
        head
        for head in watched
        if _certainly(effect.rises[head], _POSITIVE)
        and _certainly(effect.before[head], Bound.of(at_most=-0.1 * effect.rises[head].value))
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
        "rise live": quote(effect.rise_live.value),
        "logit diff": f"{quote(effect.total_before.value)} before, {quote(effect.total_after.value)} after, "
        f"{quote(effect.naive.value)} if nothing reacted",
    }
    excluded = frozenset(out)
    checks = _controls(
        experiment.checkpoint,
        watched,
        lambda some: backup_effect(experiment, out, some, ablation=ablation).rise,
        controls,
        experiment.seed,
        excluded,
    )
    subject = f"rise of {names_of(watched)} without {names_of(out)} ({ablation}) on {_where(experiment)}"
    return _conclude(replace(verdict, notes=notes, controls=checks, details=details), subject)


def assert_self_repair(
    experiment: Experiment,
    knocked_out: HeadLike | Iterable[HeadLike],
    *,
    ablation: Ablation = "mean",
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts the share of knocked-out heads' direct effect that the rest of the model makes up for.

    ``(after - naive) / (before - naive)``, each a mean logit difference: 0 if nothing reacts, 1 if the loss is
    made good, negative if the rest makes it worse. Names no backup, so it makes sense on any checkpoint.

    Args:
        experiment: checkpoint and data set.
        knocked_out: the heads whose z at END is replaced.
        ablation: ``mean`` over ABC prompts of the same template, or ``zero``.
        **bound: a share; any real number.
    """
    __tracebackhide__ = True
    from pytest_interp.measure.backup import self_repair

    accepted = Bound.of(**bound)
    _require_capability(experiment)
    out = as_heads(knocked_out)
    subject = f"self-repair without {names_of(out)} ({ablation}) on {_where(experiment)}"
    return _conclude(judge(self_repair(experiment, out, ablation=ablation), accepted), subject)


def assert_some_head(
    experiment: Experiment,
    *,
    found_on: Experiment,
    reads: str,
    more_than: Sequence[str],
    at: str = "END",
    names: Sequence[str],
    k: int = 5,
    negative: bool = False,
    copy_at_least: float = 0.8,
) -> Verdict:
    """Asserts that some head of the model is a (negative) name mover, whichever it is.

    Such a head attends from ``at`` to ``reads`` more than to ``more_than`` together, has a (negative) copy score
    of at least ``copy_at_least``, and raises (lowers) the answer directly. Candidates are the heads for which this
    is so on ``found_on``, by point value; each is confirmed on ``experiment``, with intervals corrected for the
    number of candidates (Bonferroni), since the best of several is looked for.

    Args:
        experiment: what candidates are confirmed on.
        found_on: what they are looked for on; other prompts, such as the fixture ``ioi_find``.
        reads: the position that such a head reads.
        more_than: positions that it reads less.
        at: the position where it acts.
        names: for the copy score.
        k: for the copy score.
        negative: look for a head that lowers what it reads.
        copy_at_least: for the copy score.

    Raises:
        UsageError: both experiments have the same prompts.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import attention, direct_logit_attribution, head_attentions, head_attributions

    checkpoint = experiment.checkpoint
    if experiment.data.digest == found_on.data.digest:
        raise UsageError(
            "found_on has the same prompts as the experiment; heads must be found on others, e.g. ioi_find"
        )
    side = Bound.of(at_most=0.0) if negative else _POSITIVE
    written = head_attributions(found_on)
    read = head_attentions(found_on, at=at, to=reads, more_than=more_than)
    scores = {
        head: score
        for head in written
        if side.slack(written[head].value) > 0
        and read[head].value > 0
        and (score := _copies(checkpoint, head, names, k, negative)) >= copy_at_least
    }
    # Where nothing was found, the strongest writer shows what is missing.
    best = max(written, key=lambda head: side.slack(written[head].value))
    level = 1 - 0.05 / max(1, len(scores))
    verdicts = {}
    for head in scores or (best,):
        reading = judge(attention(experiment, head, at=at, to=reads, more_than=more_than), _POSITIVE, level=level)
        effect = judge(direct_logit_attribution(experiment, head), side, level=level)
        verdicts[head] = reading if _RANK[reading.outcome] <= _RANK[effect.outcome] else effect
    shown = max(verdicts, key=lambda head: (_RANK[verdicts[head].outcome], side.slack(written[head].value)))
    confirmed = [head for head in scores if verdicts[head].outcome == "supported"]
    outcome: Outcome = verdicts[shown].outcome if scores else "refuted"
    details = {
        "found": names_of(sorted(scores)) or "no head",
        "confirmed": names_of(sorted(confirmed)) or "no head",
        "specific": f"true of {len(confirmed)} of {len(written)} heads; level corrected for {len(scores)} found",
    }
    kind = "negative name mover" if negative else "name mover"
    subject = f"some head is a {kind} ({shown}: {at} to {reads}) on {_where(experiment)}"
    return _conclude(replace(verdicts[shown], outcome=outcome, details=details), subject)


def assert_measurement(
    values: Iterable[float],
    *,
    unit: str,
    name: str = "measurement",
    clusters: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    population: Population = "sampled",
    control: Iterable[float] | None = None,
    tolerance: float = 1e-6,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts a bound on a user's own numbers (a probe, an SAE latent, a steering direction).

    Args:
        values: one number for each prompt; a list, an array or a one-dimensional tensor.
        unit: what they are measured in.
        name: what they measure; part of the snapshot's key.
        clusters: the template or source of each; values of one cluster are not independent. By default each
            value is its own cluster.
        labels: what each value belongs to.
        population: ``sampled`` (the mean with its interval decides) or ``fixed`` (the mean decides).
        control: the same quantity where the claim should not hold; shown by its mean.
        tolerance: how far float noise alone may move the mean.
        **bound: in ``unit``.
    """
    __tracebackhide__ = True
    accepted = Bound.of(**bound)
    numbers = _floats(values, "values")
    rows = [f"value {i}" for i in range(len(numbers))]
    measurement = Measurement(
        quantity=name,
        unit=unit,
        values=numbers,
        labels=tuple(labels) if labels is not None else tuple(rows),
        clusters=tuple(clusters) if clusters is not None else tuple(rows),
        population=population,
        tolerance=tolerance,
        about={"n": len(numbers)},
    )
    checks: tuple[Control, ...] = ()
    if control is not None:
        other = _floats(control, "control")
        checks = (Control("control", sum(other) / len(other)),)
    return _conclude(replace(judge(measurement, accepted), controls=checks), name)


_POSITIVE = Bound.of(at_least=0.0)
_RANK: dict[Outcome, int] = {"refuted": 0, "inconclusive": 1, "supported": 2}


def _copies(checkpoint: Checkpoint, head: Head, names: Sequence[str], k: int, negative: bool) -> float:
    """The copy score, or 0 for a head that writes nothing into the unembedding."""
    from pytest_interp.measure import copy_score

    try:
        return copy_score(checkpoint, head, names=names, k=k, sign=-1 if negative else 1).value
    except NotApplicable:
        return 0.0


def _head_claim(
    checkpoint: Checkpoint,
    heads: tuple[Head, ...],
    measure: Callable[[Sequence[Head]], Measurement],
    bound: Bound,
    subject: str,
    controls: int,
    seed: int,
) -> Verdict:
    """Measures the claimed heads and their controls; where the claim fails, the heads of the same role too."""
    __tracebackhide__ = True
    verdict = judge(measure(heads), bound)
    verdict = replace(verdict, controls=_controls(checkpoint, heads, measure, controls, seed))
    siblings = () if verdict.outcome == "supported" else _siblings(checkpoint, heads, measure)
    return _conclude(verdict, subject, siblings)


def _conclude(verdict: Verdict, subject: str, siblings: Sequence[Control] = ()) -> Verdict:
    """Records the verdict; raises from a frame that holds no tensors where it is not support."""
    __tracebackhide__ = True
    write(record_of(verdict, subject))
    if verdict.outcome != "supported":
        raise ClaimFailed(explain(verdict, subject, siblings))
    return verdict


def _controls(
    checkpoint: Checkpoint,
    heads: Sequence[Head],
    measure: Callable[[Sequence[Head]], Measurement],
    count: int,
    seed: int,
    excluded: frozenset[Head] = frozenset(),
) -> tuple[Control, ...]:
    """The measurement on random heads of the same layers, outside the circuit and the claim."""
    circuit = checkpoint.circuit.heads if checkpoint.circuit else frozenset()
    rng = random.Random(f"{seed} {names_of(heads)}")
    pools = {}
    for layer in {head.layer for head in heads}:
        everyone = {Head(layer, index) for index in range(checkpoint.shape.n_heads)}
        pools[layer] = sorted(everyone - circuit - excluded - set(heads))
    drawn: list[tuple[Head, ...]] = []
    for _ in range(10 * count):
        if len(drawn) == count:
            break
        picked: set[Head] = set()
        for head in heads:
            left = [other for other in pools[head.layer] if other not in picked]
            if not left:
                return (Control("none", None, f"(too few heads of layer {head.layer} outside the circuit)"),)
            picked.add(rng.choice(left))
        candidate = tuple(sorted(picked))
        if candidate not in drawn:
            drawn.append(candidate)
    return tuple(_control(names_of(heads), heads, measure) for heads in drawn)


def _control(label: str, heads: Sequence[Head], measure: Callable[[Sequence[Head]], Measurement]) -> Control:
    try:
        return Control(label, measure(heads).value)
    except NotApplicable:
        return Control(label, None, "no score")


def _siblings(
    checkpoint: Checkpoint, heads: Sequence[Head], measure: Callable[[Sequence[Head]], Measurement]
) -> tuple[Control, ...]:
    """The other heads of the first claimed head's role, one by one."""
    role = checkpoint.circuit.role_of(heads[0]) if checkpoint.circuit else None
    others = [head for head in role.heads if head not in heads] if role else []
    return tuple(_control(str(head), (head,), measure) for head in others)


def _require_capability(experiment: Experiment) -> None:
    """A causal claim means something only where the model does the task at all."""
    from pytest_interp.measure import logit_diff

    measurement = logit_diff(experiment)
    if not _certainly(measurement, _POSITIVE):
        raise NotApplicable(
            f"{experiment.checkpoint.name} does not do the task on {experiment.data.name}: "
            f"its mean logit difference is {quote(measurement.value)}, not surely above 0"
        )


def _certainly(measurement: Measurement, bound: Bound) -> bool:
    return judge(replace(measurement, tolerance=0.0), bound).outcome == "supported"


def _where(experiment: Experiment) -> str:
    return f"{experiment.checkpoint.name}, {experiment.data.name}"


def _floats(values: Iterable[float], what: str) -> tuple[float, ...]:
    numbers: Any = values.tolist() if hasattr(values, "tolist") else list(values)
    if not isinstance(numbers, list) or not all(isinstance(number, int | float) for number in numbers):
        raise UsageError(f"{what} must be one-dimensional: one number for each prompt; got {type(values).__name__}")
    if not numbers:
        raise UsageError(f"{what} is empty; pass one number for each prompt")
    return tuple(float(number) for number in numbers)
