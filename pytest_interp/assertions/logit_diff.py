"""Assertions about how well a model does a two-way task."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Unpack

from pytest_interp.assertions.answer import answer
from pytest_interp.assertions.controls import Controls
from pytest_interp.assertions.demands import BoundArgs, Demands, SetBoundArgs, named_heads
from pytest_interp.assertions.members import HeadSet
from pytest_interp.assertions.other_tasks import Knockout
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.assertions.subject import bias_text, place_of
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.heads import HeadLike, names_of, optional_heads
from pytest_interp.tasks.positions import END
from pytest_interp.verdict.caveats import chance_caveat
from pytest_interp.verdict.judge import Verdict

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment
    from pytest_interp.engine.patch import Ablation


@checked
@in_one_state
def assert_logit_diff(
    experiment: Experiment,
    *,
    run: str = "clean",
    knocked_out: HeadLike | Iterable[HeadLike] = (),
    ablation: Ablation = "mean",
    value_bias: ValueBias = "kept",
    controls: Controls = 0,
    **bound: Unpack[SetBoundArgs],
) -> Verdict:
    """Asserts the mean logit difference, logit(answer) - logit(distractor) at END.

    Where several heads are knocked out the verdict says what each of them changes.

    Args:
        experiment: checkpoint and data set; ``ioi.select(order="ABBA")`` for one order of names.
        run: ``clean`` or a corruption.
        knocked_out: heads that are knocked out at END; none by default.
        ablation: ``mean`` over ABC prompts of the same template, or ``zero``.
        value_bias: what ``zero`` leaves: with ``kept`` the heads' value biases stay, with ``removed`` they go too.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``, with ``knocked_out`` also
            ``{"other_task": 1}``; none by default.
        **bound: in logits; ``members_at_least=`` and ``members_at_most=`` bound what each of several knocked-out heads
            changes.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_logit_diff(experiment, at_least=8).outcome
        'supported'
        >>> assert_logit_diff(experiment, knocked_out=["3.0", "3.1", "3.2"], at_most=8).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import ablation_effect, knockout_cost, logit_diff

    demands = Demands.of(bound, of_set=True)
    knocked_heads = named_heads(knocked_out, demands) if optional_heads(knocked_out) else ()
    measure = Measure.of_model(logit_diff, run=run, knocked_out=knocked_heads, ablation=ablation, value_bias=value_bias)
    without_text = (
        f" without {names_of(knocked_heads)} ({ablation}{bias_text(value_bias, 'kept')})" if knocked_heads else ""
    )
    subject = f"logit difference{without_text} on {place_of(experiment, run)}"
    change = partial(ablation_effect, experiment, ablation=ablation, value_bias=value_bias)
    sets = (HeadSet(knocked_heads, change, "knocked-out"),)
    cost = partial(knockout_cost, heads=knocked_heads, ablation=ablation, value_bias=value_bias)
    knockout = Knockout(lambda on, at: cost(on, at=at), END) if knocked_heads else None
    return answer(Question(experiment, measure, demands, subject, sets=sets, knockout=knockout), controls)


@checked
@in_one_state
def assert_accuracy(
    experiment: Experiment, *, run: str = "clean", controls: Controls = 0, **bound: Unpack[BoundArgs]
) -> Verdict:
    """Asserts the share of prompts on which the answer's logit is above the distractor's.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: a share in [0, 1].

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_accuracy(experiment, at_least=0.8).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import accuracy

    demands = Demands.of(bound)
    subject = f"share right on {place_of(experiment, run)}"
    caveats = chance_caveat("the share of right guesses between two", demands.bound, 0.5)
    measure = Measure.of_model(accuracy, run=run)
    return answer(Question(experiment, measure, demands, subject, caveats=caveats), controls)
