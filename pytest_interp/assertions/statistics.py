"""The assertion about attention and what it writes, over prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from pytest_interp.assertions.answer import answer
from pytest_interp.assertions.controls import CONTROLS, Controls
from pytest_interp.assertions.demands import BoundArgs, Demands
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.assertions.subject import bias_text, place_of
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.heads import HeadLike, as_head, as_heads
from pytest_interp.measurement import quote
from pytest_interp.verdict.judge import Verdict
from pytest_interp.verdict.recording import in_trial

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment


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

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_attention_write_correlation(experiment, "3.0", at_least=0.9).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import attention_write_correlation, direct_logit_attribution

    demands = Demands.of(bound)
    measure = Measure.of_head(attention_write_correlation, None, to=to, run=run, value_bias=value_bias)
    bias = bias_text(value_bias, "removed")
    subject = f"correlation of attention and write of {as_head(head)}{bias} on {place_of(experiment, run)}"
    notes: tuple[str, ...] = ()
    if not in_trial():
        written = direct_logit_attribution(experiment, head, run=run, value_bias=value_bias).value
        notes = (f"a correlation has no size: on average the head writes {quote(written)} logits",)
    return answer(Question(experiment, measure, demands, subject, as_heads(head), notes=notes), controls)
