"""How a head's attention to a token goes with what it writes towards that token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from pytest_interp.cache.store import cached
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked, require_some
from pytest_interp.errors import NotApplicable
from pytest_interp.heads import HeadLike, as_head
from pytest_interp.measure.attention import attention
from pytest_interp.measure.per_prompt import per_prompt
from pytest_interp.measure.readout import Readout, readout_hooks
from pytest_interp.measurement import Measurement
from pytest_interp.tasks.positions import END

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment


@checked
@in_one_state
def attention_and_write(
    experiment: Experiment,
    head: HeadLike,
    *,
    to: Sequence[str] = ("IO", "S1", "S2"),
    run: str = "clean",
    value_bias: ValueBias = "removed",
) -> tuple[tuple[str, Tensor, Tensor], ...]:
    """The attention of a head from END to source positions, and what it writes towards the tokens there.

    The write is ``z W_O . W_U[token at the source] / scale`` at END. These are the points of the scatter in Wang et al.
    2022, figure 3c.

    Args:
        experiment: checkpoint and data set.
        head: a query head.
        to: the source positions.
        run: ``clean`` or a corruption.
        value_bias: whether ``z`` holds its value bias (``kept``) or lacks it (``removed``), as for
            :func:`~pytest_interp.measure.direct_logit_attribution`.

    Returns:
        For each source position: its name, the attention to it (a probability), and the write (in logits). Both are
        vectors with one value for each prompt.

    Raises:
        UsageError: a head, position or run that is not there; no positions.
        NotApplicable: ``kept`` where the value biases are not known; parts of this checkpoint do not add up.
    """
    checkpoint, head = experiment.checkpoint, experiment.checkpoint.check_head(as_head(head))
    z_hook = checkpoint.sites.hook("z", head.layer)
    hooks = [z_hook, *readout_hooks(checkpoint, [head.layer])]
    activations = experiment.activations(hooks, experiment.data.run(run))
    readout = Readout(experiment, activations)
    bias = checkpoint.weights.value_bias(head.layer, value_bias)[checkpoint.kv_head(head).head]
    require_some("to", to)
    points = []
    for source in to:
        writes = []
        for index, group in enumerate(experiment.data.run(run).groups):
            # The run's own token stands at the clean run's position: runs are aligned.
            positions = experiment.position(experiment.data.clean.groups[index], source).cpu()
            tokens = group.tokens[torch.arange(len(positions)), positions]
            written = readout.written(index, head, activations[z_hook][index][:, -1, head.head] + bias)
            writes.append((written * readout.direction(index, tokens)).sum(-1))
        read = torch.tensor(attention(experiment, head, at=END, to=source, run=run).values)
        points.append((source, read, experiment.in_order(writes)))
    return tuple(points)


@checked
@cached
def attention_write_correlation(
    experiment: Experiment,
    head: HeadLike,
    *,
    to: Sequence[str] = ("IO", "S1", "S2"),
    run: str = "clean",
    value_bias: ValueBias = "removed",
) -> Measurement:
    """The correlation between a head's attention to a name at END and what it writes towards that name.

    Pearson's r over all prompts and source positions, ``mean(a w)`` of the standardised attention ``a`` and write
    ``w``. A prompt's value is r plus what the prompt moves it by, ``a w - r (a^2 + w^2) / 2``: their mean is r, their
    spread that of r.

    Args:
        experiment: checkpoint and data set.
        head: a query head.
        to: the source positions: those of the names.
        run: ``clean`` or a corruption.
        value_bias: whether ``z`` holds its value bias (``kept``) or lacks it (``removed``).

    Returns:
        One value for each prompt; their mean is in [-1, 1]: near 1 for a head that copies what it reads, near -1
        for one that suppresses it.

    Raises:
        NotApplicable: attention or write do not vary, as in a head that does nothing.

    Wang et al. 2022, section 3.1 and figure 3c.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(attention_write_correlation(experiment, "3.0").value, 2)
        1.0
    """
    points = attention_and_write(experiment, head, to=to, run=run, value_bias=value_bias)
    read, written = torch.stack([p[1] for p in points]).double(), torch.stack([p[2] for p in points]).double()
    if float(read.std()) < 1e-6 or float(written.std()) < experiment.noise:
        raise NotApplicable(f"attention or write of {as_head(head)} do not vary over these prompts: no correlation")
    return per_prompt(
        experiment,
        "attention_write_correlation",
        pearson(read, written).mean(0),
        experiment.context(
            heads=(as_head(head),), intervention=None, metric=None, run=run, to=list(to), value_bias=value_bias
        ),
        unit="correlation",
    )


def pearson(first: Tensor, second: Tensor) -> Tensor:
    """Values of the same shape whose mean is Pearson's r and whose spread is that of r.

    ``a w - r (a^2 + w^2) / 2 + r`` for the standardised ``a`` and ``w``: r plus its influence function.

    Args:
        first: any shape.
        second: the same shape.

    Returns:
        A tensor of that shape.
    """
    a, w = ((x - x.mean()) / x.std(correction=0) for x in (first, second))
    r = (a * w).mean()
    return a * w - r * (a**2 + w**2) / 2 + r
