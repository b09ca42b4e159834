"""The assertion about the effect of heads along direct paths."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Literal, Unpack

from pytest_interp.assertions.answer import answer
from pytest_interp.assertions.capability import require_capability
from pytest_interp.assertions.controls import CONTROLS, Controls
from pytest_interp.assertions.demands import Demands, SetBoundArgs, named_heads
from pytest_interp.assertions.members import HeadSet
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.assertions.subject import place_of, position_text
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.heads import Head, HeadLike, as_heads, names_of
from pytest_interp.verdict.judge import Verdict

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment
    from pytest_interp.measure.path_patching import Into, MLPs
    from pytest_interp.tasks.positions import At


@checked
@in_one_state
def assert_path_patch_effect(
    experiment: Experiment,
    senders: HeadLike | Iterable[HeadLike],
    receivers: HeadLike | Iterable[HeadLike] | Literal["logits"],
    *,
    into: Into | None = None,
    at: At = "END",
    corruption: str | None = None,
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
        corruption: the run that the senders' output comes from; by default the data set's only corruption, and ``abc``
            where it has several.
        mlps: ``recompute`` (as in the IOI paper) or ``freeze`` (the residual stream alone carries).
        metric: ``logit_diff`` (patched minus clean) or ``of_clean`` (as a share of the clean logit difference).
        controls: how many random senders of the same layers to measure beside it, or how many of each kind.
        **bound: in the unit of the metric; negative where the path helps the task. ``members_at_least=`` and
            ``members_at_most=`` bound each of several senders.

    Raises:
        NotApplicable: the model does not do the task; no receiver comes after a sender; what is sent is equal in both
            runs at the receivers' positions.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_path_patch_effect(experiment, ["2.0", "2.1"], ["3.0", "3.1", "3.2"], into="q", at_most=-1).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import path_patch_effect
    from pytest_interp.measure.patching import corruption_of
    from pytest_interp.measure.path_patching import is_logits

    demands = Demands.of(bound, of_set=True)
    corrupted = corruption_of(experiment, corruption, "abc")
    require_capability(experiment)
    sending_heads = named_heads(senders, demands)
    target: tuple[Head, ...] | Literal["logits"] = "logits" if is_logits(receivers) else as_heads(receivers)
    effect = partial(path_patch_effect, into=into, at=at, corruption=corrupted, mlps=mlps, metric=metric)
    measure = Measure.of_heads(effect, None, target)
    senders_and_receivers = [HeadSet(sending_heads, partial(measure.of, experiment))]
    if target != "logits":
        senders_and_receivers.append(HeadSet(target, partial(effect, experiment, sending_heads), "receiver"))
    target_text = "the logits" if target == "logits" else f"{into} of {names_of(target)} at {position_text(at)}"
    subject = (
        f"path from {names_of(sending_heads)} to {target_text} ({corrupted}, MLPs {mlps}) on {place_of(experiment)}"
    )
    # Receivers are no controls of their senders, though they may share a layer with some.
    excluded = frozenset(() if target == "logits" else target)
    sets = tuple(senders_and_receivers)
    return answer(
        Question(experiment, measure, demands, subject, sending_heads, excluded=excluded, sets=sets), controls
    )
