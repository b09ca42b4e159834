"""The assertion about what is lost when heads are ablated."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Unpack

from pytest_interp.assertions.answer import answer
from pytest_interp.assertions.capability import require_capability
from pytest_interp.assertions.controls import CONTROLS, Controls
from pytest_interp.assertions.demands import Demands, SetBoundArgs, named_heads
from pytest_interp.assertions.other_tasks import Knockout
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.assertions.subject import bias_text, place_of, position_text
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.heads import HeadLike, names_of
from pytest_interp.verdict.judge import Verdict

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment
    from pytest_interp.engine.metric import Metric
    from pytest_interp.engine.patch import Ablation
    from pytest_interp.tasks.positions import At


@checked
@in_one_state
def assert_ablation_effect(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    ablation: Ablation = "mean",
    at: At = "END",
    metric: Metric | str = "logit_diff",
    run: str = "clean",
    value_bias: ValueBias = "kept",
    controls: Controls = CONTROLS,
    **bound: Unpack[SetBoundArgs],
) -> Verdict:
    """Asserts the change of a metric when heads are ablated, all of them in one pass: ablated minus unablated.

    Of several heads the verdict says what each adds.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several.
        ablation: ``mean`` over ABC prompts of the same template, ``zero``, ``resample`` or ``permute``.
        at: a named position, an index, several, or None for all.
        metric: ``logit_diff``, ``log_prob``, ``kl`` ... or a ``Metric``.
        run: ``clean`` or a corruption.
        value_bias: what ``zero`` leaves: with ``kept`` the heads' value biases stay, with ``removed`` they go too.
        controls: how many random heads of the same layers to ablate beside it, or how many of each kind;
            ``{"other_task": 1}``: the share of the logit difference that the same ablation costs on another task.
        **bound: in the unit of the metric; negative where the heads help. ``members_at_least=`` and
            ``members_at_most=`` bound each of several heads.

    Raises:
        NotApplicable: the model does not do the task on these prompts, or nothing is taken away from any.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_ablation_effect(experiment, "3.0", at_most=-0.1).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import ablation_effect, knockout_cost

    demands = Demands.of(bound, of_set=True)
    require_capability(experiment)
    claimed_heads = named_heads(heads, demands)
    measure = Measure.of_heads(
        ablation_effect, None, ablation=ablation, at=at, metric=metric, run=run, value_bias=value_bias
    )
    bias = bias_text(value_bias, "kept")
    subject = (
        f"{ablation} ablation of {names_of(claimed_heads)} at {position_text(at)}{bias} on {place_of(experiment, run)}"
    )
    cost = partial(knockout_cost, heads=claimed_heads, ablation=ablation, value_bias=value_bias)
    knockout = Knockout(lambda on, at: cost(on, at=at), at)
    return answer(Question(experiment, measure, demands, subject, claimed_heads, knockout=knockout), controls)
