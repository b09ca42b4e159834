"""Direct logit attribution: what heads write into the answer's direction at END."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch

from pytest_interp.arguments import checked
from pytest_interp.cache import cached
from pytest_interp.heads import Head, HeadLike, as_heads
from pytest_interp.measure._per_prompt import per_prompt
from pytest_interp.measurement import Json, Measurement
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
    there is no final norm); without ``b_O`` and ``b_U``.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several.
        run: ``clean`` or a corruption.
        value_bias: whether what the value bias writes counts as the head's: ``removed``: it does not, it stands in
            ``b_O``; ``kept``: it does, as in the raw model.

    Returns:
        One value for each prompt, in logits; any real number.

    Raises:
        NotApplicable: ``kept`` where the value biases are not known.

    Wang et al. 2022, section 3.1; Elhage et al. 2021, "Mathematical Framework", on the direct path.
    """
    checked = [experiment.checkpoint.check_head(head) for head in as_heads(heads)]
    values = attributions(experiment, checked, run=run, value_bias=value_bias).sum(1)
    about: dict[str, Json] = {"heads": [str(head) for head in checked], "run": run, "value_bias": value_bias}
    return per_prompt(experiment, "direct_logit_attribution", values, about=about)


@checked
@cached
def head_attributions(experiment: Experiment, *, run: str = "clean", value_bias: ValueBias = "removed") -> Table[Head]:
    """The direct logit attribution of every head, layer by head; arguments as for :func:`direct_logit_attribution`."""
    heads = experiment.checkpoint.shape.heads
    values = attributions(experiment, heads, run=run, value_bias=value_bias)
    about: dict[str, Json] = {"run": run, "value_bias": value_bias}
    return heads_table(
        {
            head: per_prompt(
                experiment, "direct_logit_attribution", values[:, i], about={"heads": [str(head)], **about}
            )
            for i, head in enumerate(heads)
        }
    )


@checked
@cached
def source_attributions(
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

    McDougall et al. 2023 (copy suppression), figure 9, with ``source="IO"``.
    """
    checkpoint = experiment.checkpoint
    layers = range(checkpoint.shape.n_layers)
    hooks = [checkpoint.hook(site, layer) for layer in layers for site in ("pattern", "v")]
    scale_hook = [checkpoint.scale_hook] if checkpoint.scale_hook else []
    kept = experiment.activations([*hooks, *scale_hook], experiment.data.run(run))
    scales, w_u = final_scale(experiment, kept), checkpoint.w_u()
    values: dict[Head, list[Tensor]] = {head: [] for head in checkpoint.shape.heads}
    for index, group in enumerate(experiment.data.clean.groups):
        rows = torch.arange(len(group.rows), device=w_u.device)
        where = experiment.position(group, source)
        direction = w_u[:, group.answers.to(w_u.device)].T
        if of == "logit_diff":
            direction = direction - w_u[:, group.distractors.to(w_u.device)].T
        for head in checkpoint.shape.heads:
            read = kept[checkpoint.hook("pattern", head.layer)][index][rows, head.head, -1, where]
            kv_head = checkpoint.kv_head(head).head
            value = kept[checkpoint.hook("v", head.layer)][index][rows, where, kv_head]
            value = value + checkpoint.value_bias(head.layer, value_bias)[kv_head]
            written = (value @ checkpoint.w_o(head.layer)[head.head]).float()
            values[head].append(read * (written * direction.float()).sum(-1) / scales[index])
    return heads_table(
        {
            head: per_prompt(
                experiment,
                "source_attribution",
                experiment.in_order(one),
                about={"heads": [str(head)], "source": source, "of": of, "run": run, "value_bias": value_bias},
            )
            for head, one in values.items()
        }
    )


@checked
@cached
def component_attributions(experiment: Experiment, *, run: str = "clean") -> Table[tuple[Row, int | str]]:
    """The direct logit attribution of every component: embeddings, and attention and MLP of each layer.

    ``x . (W_U[answer] - W_U[distractor]) / scale`` for ``x`` what the component adds to the residual stream at END,
    its biases included. Together with the difference of ``b_U`` they add up to the logit difference.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.

    Returns:
        A table of logits: the row ``start`` with the embeddings, then each layer's ``attn_out`` and ``mlp_out``.

    Elhage et al. 2021; Wang et al. 2022, section 3.1.
    """
    checkpoint = experiment.checkpoint
    hooks: dict[tuple[Row, int | str], str] = {
        ("start", name): hook for name, hook in checkpoint.embedding_hooks.items()
    }
    for layer in range(checkpoint.shape.n_layers):
        hooks |= {(layer, site): checkpoint.hook(site, layer) for site in ("attn_out", "mlp_out")}
    scale_hook = [checkpoint.scale_hook] if checkpoint.scale_hook else []
    kept = experiment.activations([*hooks.values(), *scale_hook], experiment.data.run(run))
    directions = _directions(experiment, final_scale(experiment, kept))
    return Table(
        {
            key: per_prompt(
                experiment,
                "direct_logit_attribution",
                # A position embedding may come as one row for all prompts.
                experiment.in_order(
                    [(x[:, -1].float() * d).sum(-1) for x, d in zip(kept[hook], directions, strict=True)]
                ),
                about={"component": f"{key[0]} {key[1]}", "run": run},
            )
            for key, hook in hooks.items()
        },
        ("layer", "component"),
    )


def attributions(
    experiment: Experiment, heads: Sequence[Head], *, run: str = "clean", value_bias: ValueBias = "removed"
) -> Float[Tensor, "prompt head"]:
    """The attribution of each of several heads in an unedited run."""
    checkpoint = experiment.checkpoint
    hooks = [checkpoint.hook("z", layer) for layer in sorted({head.layer for head in heads})]
    scale_hook = checkpoint.scale_hook
    kept = experiment.activations([*hooks, *([scale_hook] if scale_hook else [])], experiment.data.run(run))
    return attribute(experiment, heads, kept, final_scale(experiment, kept), value_bias)


def final_scale(experiment: Experiment, kept: Mapping[str, Sequence[Tensor]]) -> list[Tensor]:
    """The final norm's scale at END in a run, for each group, shape ``(row,)``; ones where there is no norm."""
    hook = experiment.checkpoint.scale_hook
    if hook is None:
        device = experiment.checkpoint.device
        return [torch.ones(len(group.rows), device=device) for group in experiment.data.clean.groups]
    return [scale[:, -1].flatten(1)[:, 0].float() for scale in kept[hook]]


def attribute(
    experiment: Experiment,
    heads: Sequence[Head],
    kept: Mapping[str, Sequence[Tensor]],
    scale: Sequence[Tensor],
    value_bias: ValueBias = "removed",
) -> Float[Tensor, "prompt head"]:
    """Attribution from kept activations z and a final scale for each group."""
    checkpoint = experiment.checkpoint
    by_group = []
    for index, direction in enumerate(_directions(experiment, scale)):
        columns = []
        for head in heads:
            z = kept[checkpoint.hook("z", head.layer)][index][:, -1, head.head]
            z = (z + checkpoint.value_bias(head.layer, value_bias)[checkpoint.kv_head(head).head]).float()
            columns.append(((z @ checkpoint.w_o(head.layer)[head.head].float()) * direction).sum(-1))
        by_group.append(torch.stack(columns, dim=1))
    return experiment.in_order(by_group)


def _directions(experiment: Experiment, scale: Sequence[Tensor]) -> list[Tensor]:
    """For each group ``(W_U[answer] - W_U[distractor]) / scale``, shape ``(row, d_model)``."""
    w_u = experiment.checkpoint.w_u()
    made = []
    for group, one in zip(experiment.data.clean.groups, scale, strict=True):
        answers, distractors = group.answers.to(w_u.device), group.distractors.to(w_u.device)
        made.append((w_u[:, answers] - w_u[:, distractors]).T.float() / one[:, None])
    return made
