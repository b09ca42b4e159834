"""Direct logit attribution: what heads write into the answer's direction at END."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked
from pytest_interp.heads import Head, HeadLike, as_heads
from pytest_interp.measure.per_prompt import per_prompt
from pytest_interp.measure.readout import Readout, readout_hooks
from pytest_interp.measurement import Measurement
from pytest_interp.table import Row, Table, heads_table

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment


@checked
@cached
def direct_logit_attribution(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    run: str = "clean",
    value_bias: ValueBias = "removed",
) -> Measurement:
    """The direct logit attribution of heads to the logit difference at END, summed over the heads.

    ``z W_O . (W_U[answer] - W_U[distractor]) / scale``, with the scale of the final norm of the same run (1 where
    there is no final norm); without ``b_O`` and ``b_U``. A norm after attention stands in ``W_O`` with its gain, and
    divides by the run's own scale; a softcap of the logits counts with its slope in the run.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several.
        run: ``clean`` or a corruption.
        value_bias: whether what the value bias writes counts as the head's: ``removed``: it does not, it stands in
            ``b_O``; ``kept``: it does, as in the raw model.

    Returns:
        One value for each prompt, in logits; any real number.

    Raises:
        NotApplicable: ``kept`` where the value biases are not known; heads do not add up to their layer on this
            checkpoint, or the residual stream not to its logits.

    Wang et al. 2022, section 3.1; Elhage et al. 2021, "Mathematical Framework", on the direct path.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(direct_logit_attribution(experiment, "3.0").value, 2)
        5.94
    """
    checked = [experiment.checkpoint.check_head(head) for head in as_heads(heads)]
    values = attributions(experiment, checked, run=run, value_bias=value_bias).sum(1)
    context = experiment.context(heads=checked, intervention=None, metric=None, run=run, value_bias=value_bias)
    return per_prompt(experiment, "direct_logit_attribution", values, context)


@checked
@cached
def direct_logit_attribution_sweep(
    experiment: Experiment, *, run: str = "clean", value_bias: ValueBias = "removed"
) -> Table[Head]:
    """The direct logit attribution of every head, layer by head.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.
        value_bias: as for :func:`direct_logit_attribution`.

    Returns:
        A table of layer by head; each cell is :func:`direct_logit_attribution`, in logits.

    Raises:
        NotApplicable: as for :func:`direct_logit_attribution`.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> table = direct_logit_attribution_sweep(experiment)
        >>> [(str(head), round(written.value, 2)) for head, written in table.top(2)]
        [('3.0', 5.94), ('3.1', 3.96)]
    """
    heads = experiment.checkpoint.shape.heads
    values = attributions(experiment, heads, run=run, value_bias=value_bias)
    context = experiment.context(heads=(), intervention=None, metric=None, run=run, value_bias=value_bias)
    return heads_table(
        {
            head: per_prompt(experiment, "direct_logit_attribution", values[:, i], replace(context, heads=(head,)))
            for i, head in enumerate(heads)
        }
    )


@checked
@cached
def source_attribution_sweep(
    experiment: Experiment,
    source: str,
    *,
    of: Literal["answer", "logit_diff"] = "answer",
    run: str = "clean",
    value_bias: ValueBias = "removed",
) -> Table[Head]:
    """What every head writes from one source position alone: its part of the direct logit attribution at END.

    ``attention(END -> source) * v(source) W_O . W_U[answer] / scale``: summed over all sources it is what the head
    writes into the answer's logit.

    Args:
        experiment: checkpoint and data set.
        source: a named position, such as ``IO``.
        of: ``answer``: its logit alone; ``logit_diff``: minus the distractor's.
        run: ``clean`` or a corruption.
        value_bias: as for :func:`direct_logit_attribution`: whether ``v`` holds its bias.

    Returns:
        A table of logits, layer by head.

    Raises:
        UsageError: a position or run that is not there.
        NotApplicable: as for :func:`direct_logit_attribution`.

    McDougall et al. 2023 (copy suppression), figure 9, with ``source="IO"``.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(source_attribution_sweep(experiment, "IO")["3.0"].value, 2)
        5.94
    """
    checkpoint = experiment.checkpoint
    layers = range(checkpoint.shape.n_layers)
    hooks = [checkpoint.sites.hook(site, layer) for layer in layers for site in ("pattern", "v")]
    activations = experiment.activations([*hooks, *readout_hooks(checkpoint, layers)], experiment.data.run(run))
    readout = Readout(experiment, activations)
    values: dict[Head, list[Tensor]] = {head: [] for head in checkpoint.shape.heads}
    for index, group in enumerate(experiment.data.clean.groups):
        source_position = experiment.position(group, source)
        rows = torch.arange(len(group.rows), device=source_position.device)
        direction = readout.direction(index, group.answers)
        if of == "logit_diff":
            direction = readout.difference(index)
        for head in checkpoint.shape.heads:
            read = activations[checkpoint.sites.hook("pattern", head.layer)][index][
                rows, head.head, -1, source_position
            ]
            kv_head = checkpoint.kv_head(head).head
            value = activations[checkpoint.sites.hook("v", head.layer)][index][rows, source_position, kv_head]
            value = value + checkpoint.weights.value_bias(head.layer, value_bias)[kv_head]
            values[head].append(read * (readout.written(index, head, value) * direction).sum(-1))
    return heads_table(
        {
            head: per_prompt(
                experiment,
                "source_attribution",
                experiment.in_order(by_group),
                experiment.context(
                    heads=(head,), intervention=None, metric=None, run=run, source=source, of=of, value_bias=value_bias
                ),
            )
            for head, by_group in values.items()
        }
    )


@checked
@cached
def component_attribution_sweep(experiment: Experiment, *, run: str = "clean") -> Table[tuple[Row, int | str]]:
    """The direct logit attribution of every component: embeddings, and attention and MLP of each layer.

    ``x . (W_U[answer] - W_U[distractor]) / scale`` for ``x`` what the component adds to the residual stream at END,
    its biases included. Together with the difference of ``b_U`` they add up to the logit difference (where the logits
    pass a softcap: to first order, with the softcap's slope in the run).

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.

    Returns:
        A table of logits: the row ``start`` with the embeddings, then each layer's ``attn_out`` and ``mlp_out``.

    Raises:
        NotApplicable: the components do not add up to the residual stream on this checkpoint.

    Elhage et al. 2021; Wang et al. 2022, section 3.1.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> table = component_attribution_sweep(experiment)
        >>> round(table[3, "attn_out"].value, 2), round(table[4, "attn_out"].value, 2)
        (12.87, -4.02)
    """
    checkpoint = experiment.checkpoint
    checkpoint.check_identity("components")
    hooks: dict[tuple[Row, int | str], str] = {
        ("start", name): hook for name, hook in checkpoint.sites.embedding_hooks.items()
    }
    for layer in range(checkpoint.shape.n_layers):
        hooks |= {(layer, site): checkpoint.sites.hook(site, layer) for site in ("attn_out", "mlp_out")}
    activations = experiment.activations([*hooks.values(), *readout_hooks(checkpoint)], experiment.data.run(run))
    readout = Readout(experiment, activations)
    directions = [readout.difference(index) for index in range(len(experiment.data.clean.groups))]
    return Table(
        {
            key: per_prompt(
                experiment,
                "direct_logit_attribution",
                # A position embedding may come as one row for all prompts.
                experiment.in_order(
                    [(x[:, -1].float() * d).sum(-1) for x, d in zip(activations[hook], directions, strict=True)]
                ),
                experiment.context(heads=None, intervention=None, metric=None, run=run, component=f"{key[0]} {key[1]}"),
            )
            for key, hook in hooks.items()
        },
        ("layer", "component"),
    )


def attributions(
    experiment: Experiment, heads: Sequence[Head], *, run: str = "clean", value_bias: ValueBias = "removed"
) -> Float[Tensor, "prompt head"]:
    """The attribution of each of several heads in an unedited run.

    Args:
        experiment: checkpoint and data set.
        heads: query heads.
        run: ``clean`` or a corruption.
        value_bias: as for :func:`direct_logit_attribution`.

    Returns:
        Logits, a row for each prompt in data-set order.
    """
    checkpoint = experiment.checkpoint
    layers = sorted({head.layer for head in heads})
    hooks = [*(checkpoint.sites.hook("z", layer) for layer in layers), *readout_hooks(checkpoint, layers)]
    activations = experiment.activations(hooks, experiment.data.run(run))
    return attribute(experiment, heads, activations, Readout(experiment, activations), value_bias)


def attribute(
    experiment: Experiment,
    heads: Sequence[Head],
    activations: Mapping[str, Sequence[Tensor]],
    readout: Readout,
    value_bias: ValueBias = "removed",
) -> Float[Tensor, "prompt head"]:
    """The attribution of each of several heads, from z of one run and the norms of the same run or of another.

    Args:
        experiment: checkpoint and data set.
        heads: query heads.
        activations: of the run whose z is read, by hook name; one tensor for each group.
        readout: the norms and the unembedding of the run that they are taken from.
        value_bias: as for :func:`direct_logit_attribution`.

    Returns:
        Logits, a row for each prompt in data-set order.
    """
    checkpoint = experiment.checkpoint
    by_group = []
    for index in range(len(experiment.data.clean.groups)):
        direction, columns = readout.difference(index), []
        for head in heads:
            z = activations[checkpoint.sites.hook("z", head.layer)][index][:, -1, head.head]
            z = z + checkpoint.weights.value_bias(head.layer, value_bias)[checkpoint.kv_head(head).head]
            columns.append((readout.written(index, head, z) * direction).sum(-1))
        by_group.append(torch.stack(columns, dim=1))
    return experiment.in_order(by_group)
