"""The assertion about head detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from pytest_interp.assertions.answer import answer
from pytest_interp.assertions.controls import CONTROLS, Controls
from pytest_interp.assertions.demands import BoundArgs, Demands
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.assertions.subject import place_of
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.heads import HeadLike, as_head, as_heads
from pytest_interp.verdict.judge import Verdict

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment
    from pytest_interp.measure.detectors import Detector

_ONE_LENGTH = "all sequences have one length: a head that looks back by a fixed distance has this score too"


@checked
@in_one_state
def assert_detector_score(
    experiment: Experiment, head: HeadLike, kind: Detector, *, controls: Controls = CONTROLS, **bound: Unpack[BoundArgs]
) -> Verdict:
    """Asserts how much a head attends as a previous-token, duplicate-token or induction head does.

    Args:
        experiment: a checkpoint on random tokens that are repeated in full: the fixture ``repeated_tokens``.
        head: a query head.
        kind: ``previous_token``, ``duplicate_token`` or ``induction``.
        controls: how many random heads of the same layers to measure beside it, or how many of each kind.
        **bound: a probability in [0, 1].

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import repeated_tokens
        >>> checkpoint = load("planted-ioi")
        >>> data = repeated_tokens(checkpoint.tokenizer, length=5, n=8, seed=0, bos=True, complete=True)
        >>> assert_detector_score(Experiment(checkpoint, data), "1.0", "induction", at_least=0.5).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import detector_score, detector_score_sweep

    demands = Demands.of(bound)
    measure = Measure.of_head(detector_score, detector_score_sweep, kind)
    subject = f"{kind.replace('_', '-')} score of {as_head(head)} on {place_of(experiment)}"
    lengths = {group.tokens.shape[1] for group in experiment.data.clean.groups}
    notes = () if len(lengths) > 1 or kind == "previous_token" else (_ONE_LENGTH,)
    return answer(Question(experiment, measure, demands, subject, as_heads(head), notes=notes), controls)
