"""Assertions about whether a head copies what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Unpack

from pytest_interp.assertions.question import CONTROLS, BoundArgs, Controls, Demands, Question, answer, where
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, HeadLike, as_head, as_heads
from pytest_interp.measurement import Measurement
from pytest_interp.text import shown
from pytest_interp.verdict.judge import Verdict

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.engine import Experiment
    from pytest_interp.table import Table

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
    """
    __tracebackhide__ = True
    from pytest_interp.measure import copy_score, copy_score_sweep

    demands = Demands.of(bound)
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        raise UsageError(f"{shown(twice[0])} is named twice among {len(names)} names; name each once")

    def measure(on: Checkpoint, some: tuple[Head, ...]) -> Measurement:
        return copy_score(on, some[0], names=names, k=k, negative=negative)

    def everywhere(on: Checkpoint) -> Table[Head]:
        return copy_score_sweep(on, names=names, k=k, negative=negative, reach=max(0.0, demands.bound.low))

    subject = f"{'negative ' if negative else ''}copy score of {as_head(head)} (top {k}) on {checkpoint.name}"
    shape = checkpoint.shape
    cheap = shape.n_layers * shape.n_heads * len(names) * shape.d_model * shape.d_vocab <= _CHEAP
    everyone = everywhere if cheap else None
    return answer(Question(checkpoint, measure, demands, subject, as_heads(head), everywhere=everyone), controls)


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
    """
    __tracebackhide__ = True
    from pytest_interp.measure import prompt_copy_score

    demands = Demands.of(bound)

    def measure(on: Experiment, some: tuple[Head, ...]) -> Measurement:
        return prompt_copy_score(on, some[0], at=at, k=k, negative=negative, ln1=ln1)

    kind = f"{'negative ' if negative else ''}copy score over prompts"
    subject = f"{kind} of {as_head(head)} (top {k}) on {where(experiment)}"
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
    """
    __tracebackhide__ = True
    from pytest_interp.measure import ov_eigenvalue_score

    demands = Demands.of(bound)

    def measure(on: Checkpoint, some: tuple[Head, ...]) -> Measurement:
        return ov_eigenvalue_score(on, some[0], through=through)

    subject = f"OV eigenvalue score of {as_head(head)} ({through}) on {checkpoint.name}"
    return answer(Question(checkpoint, measure, demands, subject, as_heads(head)), controls)
