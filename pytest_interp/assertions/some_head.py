"""Assertions that name no head: some head of the model does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_interp.assertions.answer import conclude
from pytest_interp.assertions.capability import capability_caveat
from pytest_interp.assertions.demands import POSITIVE
from pytest_interp.assertions.members import NEGLIGIBLE
from pytest_interp.assertions.subject import place_of
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head, names_of
from pytest_interp.measurement import quote
from pytest_interp.text import counted
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.judge import RANK, Outcome, Verdict, judge

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.engine import Experiment


@checked
@in_one_state
def assert_some_head(
    experiment: Experiment,
    *,
    found_on: Experiment,
    to: str,
    minus: Sequence[str],
    at: str = "END",
    names: Sequence[str],
    k: int = 5,
    negative: bool = False,
    copy_at_least: float = 0.8,
) -> Verdict:
    """Asserts that some head of the model is a (negative) name mover, whichever it is.

    Such a head attends from ``at`` to ``to`` more than to ``minus`` together, has a (negative) copy score
    of at least ``copy_at_least``, and raises (lowers) the answer directly. Candidates are the heads for which this
    is so on ``found_on``, by point value; each is confirmed on ``experiment``, with intervals corrected for the
    number of candidates (Holm's first step, Bonferroni), since the best of several is looked for.

    Args:
        experiment: what candidates are confirmed on.
        found_on: what they are looked for on; other prompts, such as the fixture ``ioi_find``.
        to: the position that such a head reads.
        minus: positions that it reads less.
        at: the position where it acts.
        names: for the copy score.
        k: for the copy score.
        negative: look for a head that lowers what it reads.
        copy_at_least: for the copy score.

    Raises:
        UsageError: both experiments have the same prompts.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> from pytest_interp.tasks import single_token_names
        >>> other_prompts = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="find", n=24, seed=0, bos=True))
        >>> names = single_token_names(checkpoint.tokenizer, "confirm")
        >>> verdict = assert_some_head(experiment, found_on=other_prompts, to="IO", minus=["S1", "S2"], names=names)
        >>> verdict.outcome, verdict.details["confirmed"]
        ('supported', '3.0, 3.1, 3.2')
    """
    __tracebackhide__ = True
    from pytest_interp.measure import (
        attention,
        attention_sweep,
        direct_logit_attribution,
        direct_logit_attribution_sweep,
        logit_diff,
    )

    checkpoint = experiment.checkpoint
    if not 0 <= copy_at_least <= 1:
        raise UsageError(f"copy_at_least is {copy_at_least:g}; a copy score is a share: pass 0 to 1")
    common_prompts = {prompt.text for prompt in experiment.data.clean.prompts} & {
        p.text for p in found_on.data.clean.prompts
    }
    if common_prompts:
        raise UsageError(
            f"found_on has {len(common_prompts)} of the experiment's {counted(len(experiment.data.clean), 'prompt')}; "
            "heads must be found on others, e.g. ioi_find"
        )
    side = Bound.positive(-1 if negative else 1)
    written = direct_logit_attribution_sweep(found_on)
    read = attention_sweep(found_on, at=at, to=to, minus=minus)
    writers_that_read = [head for head in written if side.slack(written[head].value) > 0 and read[head].value > 0]
    candidates = [head for head in writers_that_read if _copies(checkpoint, head, names, k, negative) >= copy_at_least]
    # Without a candidate, the strongest writer shows which condition fails.
    strongest_writer = max(written, key=lambda head: side.slack(written[head].value))
    level = 1 - 0.05 / max(1, len(candidates))
    verdicts = {}
    for head in candidates or (strongest_writer,):
        reading = judge(attention(experiment, head, at=at, to=to, minus=minus), POSITIVE, level=level)
        effect = judge(direct_logit_attribution(experiment, head), side, level=level)
        verdicts[head] = reading if RANK[reading.outcome] <= RANK[effect.outcome] else effect
    deciding_head = max(verdicts, key=lambda head: (RANK[verdicts[head].outcome], side.slack(written[head].value)))
    confirmed = [head for head in candidates if verdicts[head].outcome == "supported"]
    outcome: Outcome = verdicts[deciding_head].outcome if candidates else "refuted"
    details = {
        "found": names_of(sorted(candidates)) or "no head",
        "confirmed": names_of(sorted(confirmed)) or "no head",
        "specific": f"true of {len(confirmed)} of {counted(len(written), 'head')}; "
        f"level corrected for {len(candidates)} found",
    }
    kind = "negative name mover" if negative else "name mover"
    subject = f"some head is a {kind} ({deciding_head}: {at} to {to}) on {place_of(experiment)}"
    measurement = verdicts[deciding_head].measurement
    measurement = replace(measurement, context=replace(measurement.context, claim="some_head"))
    verdict = replace(verdicts[deciding_head], measurement=measurement, outcome=outcome, details=details)
    attribution, total = direct_logit_attribution(experiment, deciding_head).value, logit_diff(experiment).value
    size = f"{deciding_head} writes {quote(attribution)} logits of the logit difference of {quote(total)}"
    caveats, notes = (*verdict.caveats, *capability_caveat(experiment)), verdict.notes
    if abs(attribution) < NEGLIGIBLE * abs(total):
        caveats = (*caveats, size)
    else:
        notes = (*notes, size)
    return conclude(replace(verdict, caveats=caveats, notes=notes), subject)


def _copies(checkpoint: Checkpoint, head: Head, names: Sequence[str], k: int, negative: bool) -> float:
    """The copy score, or 0 for a head that writes nothing into the unembedding."""
    from pytest_interp.measure import copy_score

    try:
        return copy_score(checkpoint, head, names=names, k=k, negative=negative).value
    except NotApplicable:
        return 0.0
