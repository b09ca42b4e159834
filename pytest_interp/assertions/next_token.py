"""Assertions about what the model says next."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Unpack

from pytest_interp.assertions.answer import answer
from pytest_interp.assertions.controls import Controls
from pytest_interp.assertions.demands import BoundArgs, Demands
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.assertions.subject import place_of
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.verdict.caveats import chance_caveat
from pytest_interp.verdict.judge import Verdict

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment
    from pytest_interp.engine.metric import Metric


@checked
@in_one_state
def assert_next_token(
    experiment: Experiment,
    metric: Metric | str = "log_prob",
    *,
    run: str = "clean",
    controls: Controls = 0,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts a score of the next token: log-probability, probability, rank or logit of the answer or another token.

    Args:
        experiment: checkpoint and data set.
        metric: ``log_prob``, ``probability``, ``rank`` ... of the answer at END, or a ``Metric`` for another token or
            position.
        run: ``clean`` or a corruption, scored with the clean run's answers.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: in the metric's unit; a mean over prompts.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_next_token(experiment, "rank", at_most=1.5).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.engine.metric import as_metric
    from pytest_interp.measure import next_token

    demands = Demands.of(bound)
    subject = f"{as_metric(metric).text} on {place_of(experiment, run)}"
    return answer(Question(experiment, Measure.of_model(next_token, metric, run=run), demands, subject), controls)


@checked
@in_one_state
def assert_top_k(
    experiment: Experiment,
    k: int = 1,
    *,
    run: str = "clean",
    controls: Controls = 0,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts the share of prompts whose answer is among the k likeliest tokens of the whole vocabulary.

    Args:
        experiment: checkpoint and data set.
        k: how many.
        run: ``clean`` or a corruption.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: a share in [0, 1].

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_top_k(experiment, 1, at_least=0.8).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import top_k

    demands = Demands.of(bound)
    subject = f"answer in the top {k} on {place_of(experiment, run)}"
    chance = k / experiment.checkpoint.shape.d_vocab
    # A prompt's answer is not a token like any other: below a tenth of the vocabulary its share says something.
    caveats = chance_caveat(f"{k} of the vocabulary", demands.bound, chance) if chance >= 0.1 else ()
    measure = Measure.of_model(top_k, k, run=run)
    return answer(Question(experiment, measure, demands, subject, caveats=caveats), controls)


@checked
@in_one_state
def assert_loss(
    experiment: Experiment, *, run: str = "clean", controls: Controls = 0, **bound: Unpack[BoundArgs]
) -> Verdict:
    """Asserts the mean cross-entropy of the prompts' own tokens.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.
        controls: by kind: ``{"random_model": 1}``; none by default.
        **bound: in nats.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_loss(experiment, at_most=6).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import loss

    demands = Demands.of(bound)
    subject = f"loss of the {run} prompts on {place_of(experiment)}"
    chance = log(experiment.checkpoint.shape.d_vocab)
    caveats = chance_caveat("the loss of equal probabilities", demands.bound, chance)
    measure = Measure.of_model(loss, run=run)
    return answer(Question(experiment, measure, demands, subject, caveats=caveats), controls)
