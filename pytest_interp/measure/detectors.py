"""Head detectors: how much a head attends to the token before, to an equal token, or to the token after one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, HeadLike, as_head
from pytest_interp.measure.per_prompt import per_prompt
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table, heads_table
from pytest_interp.tolerance import PROBABILITY_NOISE

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment

Detector: TypeAlias = Literal["previous_token", "duplicate_token", "induction"]


@checked
@cached
def detector_score(experiment: Experiment, head: HeadLike, kind: Detector) -> Measurement:
    """The mean attention of a head along one diagonal of its pattern, on random tokens that are said twice.

    ``previous_token``: to the token before, over all positions after the first token; ``duplicate_token``: from the
    second copy to the same token of the first; ``induction``: from the second copy to the token after it.

    Args:
        experiment: a checkpoint on random tokens repeated in full, such as the fixture ``repeated_tokens``.
        head: a query head.
        kind: which diagonal.

    Returns:
        One value for each sequence, a probability in [0, 1].

    Raises:
        UsageError: prompts that are not one sequence said twice, or too short.

    Elhage et al. 2021 and Olsson et al. 2022 on induction; Wang et al. 2022, appendix H.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import repeated_tokens
        >>> checkpoint = load("planted-ioi")
        >>> data = repeated_tokens(checkpoint.tokenizer, length=5, n=8, seed=0, bos=True, complete=True)
        >>> round(detector_score(Experiment(checkpoint, data), "1.0", "induction").value, 2)
        1.0
    """
    checked = experiment.checkpoint.check_head(as_head(head))
    values = []
    for group, pattern in zip(
        experiment.data.clean.groups,
        experiment.activation(experiment.checkpoint.sites.hook("pattern", checked.layer)),
        strict=True,
    ):
        start = int(experiment.data.clean.bos)
        length = _length_of_copy(experiment, group.tokens[:, start:])
        destinations = torch.arange(start + (1 if kind == "previous_token" else length), group.tokens.shape[1])
        back = {"previous_token": 1, "duplicate_token": length, "induction": length - 1}[kind]
        values.append(pattern[:, checked.head, destinations, destinations - back].mean(-1))
    return per_prompt(
        experiment,
        f"{kind}_score",
        experiment.in_order(values),
        experiment.context(heads=(checked,), intervention=None, metric=None, detector=kind),
        unit="probability",
        tolerance=PROBABILITY_NOISE[experiment.checkpoint.precision],
    )


@checked
@cached
def detector_score_sweep(experiment: Experiment, kind: Detector) -> Table[Head]:
    """The detector score of every head, layer by head, from one pass.

    Args:
        experiment: a checkpoint on random tokens repeated in full, such as the fixture ``repeated_tokens``.
        kind: which diagonal, as for :func:`detector_score`.

    Returns:
        A table of layer by head; each cell is :func:`detector_score`, a probability.

    Raises:
        UsageError: prompts that are not one sequence said twice, or too short.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import repeated_tokens
        >>> checkpoint = load("planted-ioi")
        >>> data = repeated_tokens(checkpoint.tokenizer, length=5, n=8, seed=0, bos=True, complete=True)
        >>> round(detector_score_sweep(Experiment(checkpoint, data), "previous_token")["0.0"].value, 2)
        1.0
    """
    shape = experiment.checkpoint.shape
    hooks = [experiment.checkpoint.sites.hook("pattern", layer) for layer in range(shape.n_layers)]
    experiment.activations(hooks, experiment.data.clean)
    return heads_table({head: detector_score(experiment, head, kind) for head in shape.heads})


def _length_of_copy(experiment: Experiment, tokens: torch.Tensor) -> int:
    """The length of the sequence that is said twice."""
    length, odd = divmod(tokens.shape[1], 2)
    if odd or length < 2 or not bool((tokens[:, :length] == tokens[:, length:]).all()):
        raise UsageError(
            f"the detectors need one sequence of at least 2 tokens said twice; the prompts of {experiment.data.name} "
            f"have {tokens.shape[1]} tokens that are not: use the fixture `repeated_tokens`"
        )
    return length
