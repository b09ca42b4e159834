"""Assertions about where a head looks, and how widely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from pytest_interp.assertions.answer import answer
from pytest_interp.assertions.controls import CONTROLS, Controls
from pytest_interp.assertions.demands import POSITIVE, BoundArgs, Demands
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.assertions.subject import bias_text, place_of
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.heads import HeadLike, as_head, as_heads
from pytest_interp.verdict.judge import Verdict
from pytest_interp.verdict.recording import in_trial

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment


@checked
@in_one_state
def assert_attention(
    experiment: Experiment,
    head: HeadLike,
    *,
    at: str,
    to: str,
    minus: Sequence[str] = (),
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
        minus: positions whose attention is taken off; without a bound the rest must be more than 0.
        weighted: by the norm of what is moved from each position.
        run: ``clean`` or a corruption.
        value_bias: for ``weighted``: whether values are without their bias (``removed``) or with it (``kept``).
        controls: how many random heads of the same layers to measure beside it, or how many of each kind.
        **bound: a probability, or a difference of probabilities.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_attention(experiment, "3.0", at="END", to="IO", minus=["S1", "S2"], at_least=0.5).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import attention, attention_sweep

    demands = Demands.of(bound, POSITIVE if minus else None)
    measure = Measure.of_head(
        attention, attention_sweep, at=at, to=to, minus=minus, weighted=weighted, run=run, value_bias=value_bias
    )
    less = f" minus {', '.join(minus)}" if minus else ""
    kind = "value-weighted attention" if weighted else "attention"
    bias = bias_text(value_bias, "removed")
    subject = f"{kind} of {as_head(head)} from {at} to {to}{less}{bias} on {place_of(experiment, run)}"
    checkpoint = experiment.checkpoint
    looks_at_weights = not weighted and not in_trial()
    moves = not looks_at_weights or checkpoint.weights.moves_anything(checkpoint.check_head(as_head(head)))
    caveats = () if moves else (f"{as_head(head)} moves nothing: its values or output weights are 0",)
    return answer(Question(experiment, measure, demands, subject, as_heads(head), caveats=caveats), controls)


@checked
@in_one_state
def assert_attention_entropy(
    experiment: Experiment,
    head: HeadLike,
    *,
    at: str,
    run: str = "clean",
    controls: Controls = CONTROLS,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts the entropy of a head's attention from a named position: how widely it looks.

    Args:
        experiment: checkpoint and data set.
        head: a query head.
        at: the position that attends.
        run: ``clean`` or a corruption.
        controls: how many random heads of the same layers to measure beside it, or how many of each kind.
        **bound: in nats, 0 or more; ``log n`` is equal attention to ``n`` positions.

    Raises:
        UsageError: a head, position or run that is not there.
        ClaimFailed: the entropy does not surely meet the bound.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_attention_entropy(experiment, "3.0", at="END", at_most=1).outcome  # nats
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import attention_entropy, attention_entropy_sweep

    demands = Demands.of(bound)
    measure = Measure.of_head(attention_entropy, attention_entropy_sweep, at=at, run=run)
    subject = f"entropy of the attention of {as_head(head)} from {at} on {place_of(experiment, run)}"
    return answer(Question(experiment, measure, demands, subject, as_heads(head)), controls)
