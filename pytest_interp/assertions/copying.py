"""Assertions about whether a head copies what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, Unpack

from pytest_interp.assertions.answer import answer
from pytest_interp.assertions.controls import CONTROLS, Controls
from pytest_interp.assertions.demands import BoundArgs, Demands
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.assertions.subject import place_of
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.heads import HeadLike, as_head, as_heads
from pytest_interp.text import shown
from pytest_interp.verdict.judge import Verdict

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.engine import Experiment

_CHEAP = 10**12  # multiply-adds up to which every head of the model is looked at, some twenty seconds on two cores


@checked
@in_one_state
def assert_copy_score(
    checkpoint: Checkpoint,
    head: HeadLike,
    *,
    names: Sequence[str],
    k: int = 5,
    negative: bool = False,
    controls: Controls = CONTROLS,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts the copy score of a head: the share of names its OV circuit ranks among its own top k.

    Args:
        checkpoint: the loaded model.
        head: a query head.
        names: single-token words, without the leading space.
        k: how many of the top logits count.
        negative: of the OV circuit with its sign turned, as for negative name movers.
        controls: how many random heads of the same layers to measure beside it, or how many of each kind.
        **bound: a share in [0, 1].

    Example:
        >>> from pytest_interp import load
        >>> from pytest_interp.tasks import single_token_names
        >>> checkpoint = load("planted-ioi")
        >>> names = single_token_names(checkpoint.tokenizer, "confirm")
        >>> assert_copy_score(checkpoint, "3.0", names=names, at_least=0.9).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import copy_score, copy_score_sweep

    demands = Demands.of(bound)
    if repeated := sorted({name for name in names if list(names).count(name) > 1}):
        raise UsageError(f"{shown(repeated[0])} is named twice among {len(names)} names; name each once")
    subject = f"{'negative ' if negative else ''}copy score of {as_head(head)} (top {k}) on {checkpoint.name}"
    shape = checkpoint.shape
    cheap = shape.n_layers * shape.n_heads * len(names) * shape.d_model * shape.d_vocab <= _CHEAP
    sweep = partial(copy_score_sweep, reach=max(0.0, demands.bound.low)) if cheap else None
    measure = Measure.of_head(copy_score, sweep, names=names, k=k, negative=negative)
    return answer(Question(checkpoint, measure, demands, subject, as_heads(head)), controls)


@checked
@in_one_state
def assert_prompt_copy_score(
    experiment: Experiment,
    head: HeadLike,
    *,
    at: Sequence[str] = ("IO", "S1", "S2"),
    k: int = 5,
    negative: bool = False,
    ln1: bool = False,
    controls: Controls = CONTROLS,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts the copy score of a head over prompts: of the names as the first block leaves them in context.

    Args:
        experiment: checkpoint and data set.
        head: a query head after the first layer.
        at: the positions of the names.
        k: how many of the top logits count.
        negative: of the OV circuit with its sign turned.
        ln1: whether the head's input norm is applied; published counts leave it out.
        controls: how many random heads of the same layers to measure beside it, or how many of each kind.
        **bound: a share in [0, 1].

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_prompt_copy_score(experiment, "3.0", at_least=0.8).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import prompt_copy_score

    demands = Demands.of(bound)
    measure = Measure.of_head(prompt_copy_score, None, at=at, k=k, negative=negative, ln1=ln1)
    kind = f"{'negative ' if negative else ''}copy score over prompts"
    subject = f"{kind} of {as_head(head)} (top {k}) on {place_of(experiment)}"
    return answer(Question(experiment, measure, demands, subject, as_heads(head)), controls)


@checked
@in_one_state
def assert_ov_eigenvalue_score(
    checkpoint: Checkpoint,
    head: HeadLike,
    *,
    through: Literal["residual", "tokens"] = "tokens",
    controls: Controls = CONTROLS,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts the copying score of a head's OV eigenvalues, their sum over the sum of their sizes.

    It calls some negative name movers copying heads too: a claim about their sign needs the negative copy score.

    Args:
        checkpoint: the loaded model.
        head: a query head.
        through: ``tokens`` (embedding to unembedding) or ``residual`` (the OV circuit alone).
        controls: how many random heads of the same layers to measure beside it, or how many of each kind.
        **bound: a score in [-1, 1].

    Example:
        >>> from pytest_interp import load
        >>> checkpoint = load("planted-ioi")
        >>> assert_ov_eigenvalue_score(checkpoint, "3.0", at_least=0.9).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import ov_eigenvalue_score

    demands = Demands.of(bound)
    measure = Measure.of_head(ov_eigenvalue_score, None, through=through)
    subject = f"OV eigenvalue score of {as_head(head)} ({through}) on {checkpoint.name}"
    return answer(Question(checkpoint, measure, demands, subject, as_heads(head)), controls)
